//! Index: which rules can be about an event, by its class or by a field that it has, before any expression
//! is asked.
//!
//! Invariant: an event that no rule selects costs two searches by its class and no allocation.

use std::collections::HashMap;

use wharfinger_formats::{Event, Field};

use crate::filter::{Filter, Select};

/// So many rules there can be.
pub(super) const RULES_MAX: usize = 256;

/// Numbers of rules, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Index {
    by_class: HashMap<Box<str>, Vec<u16>>,
    /// By what stands before the first full stop of the class.
    by_object: HashMap<Box<str>, Vec<u16>>,
    /// By any other beginning of the class.
    by_prefix: Vec<(Box<str>, u16)>,
    by_field: Vec<(Field, Vec<u16>)>,
    /// Rules that may be about any event.
    always: Vec<u16>,
}

impl Index {
    /// Adds the rule of that number.
    pub(super) fn add(&mut self, number: u16, when: &Filter) {
        let Some(ways) = when.selects() else { return self.always.push(number) };
        for way in ways {
            match way {
                Select::Class(class) => add(self.by_class.entry(class.into()).or_default(), number),
                Select::ClassPrefix(prefix) => match prefix.strip_suffix('.').filter(|object| !object.contains('.')) {
                    Some(object) => add(self.by_object.entry(object.into()).or_default(), number),
                    None => self.by_prefix.push((prefix.into(), number)),
                },
                Select::Has(field) => match self.by_field.iter_mut().find(|(known, _)| *known == field) {
                    Some((_, numbers)) => add(numbers, number),
                    None => self.by_field.push((field, vec![number])),
                },
            }
        }
    }

    /// Calls `found` with each rule that can be about the event, once.
    pub(super) fn select(&self, event: &Event<'_>, mut found: impl FnMut(usize)) {
        let mut seen = [0_u64; RULES_MAX / 64];
        let mut tell = |number: &u16| {
            let (word, bit) = (usize::from(number / 64), 1 << (number % 64));
            if let Some(word) = seen.get_mut(word).filter(|word| **word & bit == 0) {
                *word |= bit;
                found(usize::from(*number));
            }
        };
        if let Some(class) = event.text(Field::EventClass) {
            self.by_class.get(class).into_iter().flatten().for_each(&mut tell);
            let object = class.split_once('.').map_or(class, |(object, _)| object);
            // `container` alone does not begin with `container.`, but the expression decides.
            self.by_object.get(object).into_iter().flatten().for_each(&mut tell);
            let begins = |(prefix, _): &&(Box<str>, u16)| class.starts_with(&**prefix);
            self.by_prefix.iter().filter(begins).for_each(|(_, number)| tell(number));
        }
        for (_, numbers) in self.by_field.iter().filter(|(field, _)| event.has(*field)) {
            numbers.iter().for_each(&mut tell);
        }
        self.always.iter().for_each(&mut tell);
    }
}

fn add(numbers: &mut Vec<u16>, number: u16) {
    if numbers.last() != Some(&number) {
        numbers.push(number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_selected_once_by_class_or_field() {
        let mut index = Index::default();
        let rules = [
            "event_class == 'container.start'",
            "event_class.startsWith('container.') || app == 'kernel' || event_class == 'container.start'",
            "has(user.name)",
            "event_class.startsWith('container.exec_')",
            "vm.name != 'x'",
        ];
        for (number, rule) in (0..).zip(rules) {
            index.add(number, &Filter::parse(rule).unwrap());
        }
        let selected = |fields: &[(Field, &str)]| {
            let mut event = Event::new(b"");
            fields.iter().for_each(|(field, text)| event.set(*field, *text));
            let mut found = Vec::new();
            index.select(&event, |rule| found.push(rule));
            found.sort_unstable();
            found
        };
        assert_eq!(selected(&[]), [4]);
        assert_eq!(selected(&[(Field::EventClass, "container.start"), (Field::App, "kernel")]), [0, 1, 4]);
        assert_eq!(selected(&[(Field::EventClass, "container.exec_die"), (Field::UserName, "a")]), [1, 2, 3, 4]);
        assert_eq!(selected(&[(Field::EventClass, "unparsed"), (Field::App, "kernel")]), [1, 4]);
    }
}
