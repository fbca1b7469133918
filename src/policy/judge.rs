//! The judge: asks the rules about every event and keeps the book of open findings.
//!
//! Invariants: a finding about a rule and a machine is told once in a quiet window, with the count of all that
//! happened; what was told but not stored is told again; the book is bounded.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharfinger_formats::{Event, Field, Time};

use super::finding::{self, Finding, State};
use super::{Answer, Policy, Rule};

/// So many findings may be open for one rule. Beyond, the one that was seen last the longest ago is forgotten: it
/// is told anew if it happens again.
const OPEN_MAX: usize = 10_000;
/// What names a machine in the book is cut at so many bytes.
const MACHINE_BYTES_MAX: usize = 256;

/// See above. One for a gateway.
#[derive(Debug)]
pub struct Judge {
    policy: Arc<Policy>,
    /// Of a rule that broke.
    broken: Rule,
    book: Mutex<Book>,
}

/// For each rule the open findings by machine; the last are those about broken rules.
#[derive(Debug)]
struct Book {
    open: Vec<HashMap<Box<str>, Open>>,
}

#[derive(Debug)]
struct Open {
    id: String,
    first: Time,
    last: Time,
    count: u64,
    /// When it was told last; none: it must be told.
    told: Option<Time>,
}

/// A finding that was told, to take it back when it cannot be stored.
#[derive(Debug)]
pub struct Told {
    rule: usize,
    machine: Box<str>,
}

impl Judge {
    pub fn new(policy: Arc<Policy>) -> Judge {
        let open = policy.rules.iter().map(|_| HashMap::new()).chain([HashMap::new()]).collect();
        let broken = Rule {
            id: "rule_broken".to_owned(),
            set: "",
            class: "finding.rule_broken".to_owned(),
            about: "A rule of the policy broke".to_owned(),
            when: crate::filter::Filter::all(),
            unless: None,
            severity: 7,
            why: "a rule could not be asked about this event".to_owned(),
            recommendation: "please report it, with the rule and the event".to_owned(),
        };
        Judge { policy, broken, book: Mutex::new(Book { open }) }
    }

    /// What it judges by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Calls `tell` with each finding that the event makes and that is not quiet.
    pub fn judge(&self, event: &Event<'_>, now: Time, mut tell: impl FnMut(&Finding<'_>, Told)) {
        let asked = Cell::new(None);
        let mut hit = |number: usize| {
            asked.set(Some(number));
            let Some(rule) = self.policy.rules.get(number) else { return };
            if self.policy.answer(rule, event, now) == Answer::Finding {
                self.note(number, rule, event, now, &mut tell);
            }
        };
        // A bug in a rule costs a finding about itself, never the event.
        let done = catch_unwind(AssertUnwindSafe(|| self.policy.index.select(event, &mut hit)));
        if done.is_err() {
            let id = asked.get().and_then(|number| self.policy.rules.get(number)).map_or("?", |rule| &rule.id);
            tracing::error!(rule = id, "a rule of the policy broke on an event: please report it");
            self.note(self.policy.rules.len(), &self.broken, event, now, &mut tell);
        }
    }

    fn note(
        &self,
        number: usize,
        rule: &Rule,
        event: &Event<'_>,
        now: Time,
        tell: &mut impl FnMut(&Finding<'_>, Told),
    ) {
        let machine = machine(event);
        let mut book = self.book();
        let Some(open) = book.open.get_mut(number) else { return };
        if !open.contains_key(machine) {
            if open.len() >= OPEN_MAX {
                forget_oldest(open);
            }
            let id = finding::id(&rule.id, machine, now);
            open.insert(machine.into(), Open { id, first: now, last: now, count: 0, told: None });
        }
        let Some(known) = open.get_mut(machine) else { return };
        known.count += 1;
        known.last = known.last.max(now);
        let state = match known.told {
            None => State::New,
            Some(told) if u128::from(now.0.saturating_sub(told.0).max(0).unsigned_abs()) >= self.quiet() => {
                State::Again
            }
            Some(_) => return,
        };
        known.told = Some(now);
        let Open { id, first, last, count, .. } = known;
        let finding = Finding { rule, id, state, count: *count, first: *first, last: *last };
        tell(&finding, Told { rule: number, machine: machine.into() });
    }

    fn quiet(&self) -> u128 {
        self.policy.quiet.as_nanos()
    }

    /// These could not be stored: they are told with the next event that makes them.
    pub fn take_back(&self, told: &mut Vec<Told>) {
        let mut book = self.book();
        for Told { rule, machine } in told.drain(..) {
            if let Some(known) = book.open.get_mut(rule).and_then(|open| open.get_mut(&machine)) {
                known.told = None;
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at all of them: this many findings about one rule are rare.
fn forget_oldest(open: &mut HashMap<Box<str>, Open>) {
    let oldest = open.iter().min_by_key(|(_, known)| known.last).map(|(machine, _)| machine.clone());
    oldest.map(|machine| open.remove(&machine));
}

/// The machine a finding is about: as it is known, and by its sender where it is not.
fn machine<'e>(event: &'e Event<'_>) -> &'e str {
    let names = [Field::VmUuid, Field::VmName, Field::HostName, Field::Peer];
    let name = names.into_iter().find_map(|field| event.text(field)).unwrap_or("unknown");
    name.get(..name.floor_char_boundary(MACHINE_BYTES_MAX)).unwrap_or_default()
}
