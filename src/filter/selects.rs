//! What an event must be or have at all before an expression can hold: so that hundreds of expressions
//! need not be asked about every event.
//!
//! Invariant: an event that the expression means is always selected; the expression still decides.

use wharfinger_formats::Field;

use super::{Expression, Filter, Literal, Operand, Test};

/// One way to be selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// The event's class is this.
    Class(String),
    /// The event's class begins so.
    ClassPrefix(String),
    /// The event has this field.
    Has(Field),
}

impl Filter {
    /// The ways to be selected, of which one is enough; none: any event may be meant.
    pub fn selects(&self) -> Option<Vec<Select>> {
        best(&self.all)
    }

    /// Every field that it asks for; none: it asks for one that has no name of ours.
    pub fn fields(&self) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        self.all.iter().all(|expression| names(expression, &mut fields)).then_some(fields)
    }
}

fn selects(expression: &Expression) -> Option<Vec<Select>> {
    match expression {
        Expression::Any(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(selects(part)?);
            }
            Some(all)
        }
        Expression::All(parts) => best(parts),
        Expression::Is(Operand::Field(Field::EventClass), test, Literal::Text(text)) => match test {
            Test::Equal => Some(vec![Select::Class(text.clone())]),
            Test::StartsWith => Some(vec![Select::ClassPrefix(text.clone())]),
            Test::Unequal => None,
            _ => Some(vec![Select::Has(Field::EventClass)]),
        },
        Expression::In(Operand::Field(Field::EventClass), literals) => {
            let class = |literal: &Literal| match literal {
                Literal::Text(text) => Some(Select::Class(text.clone())),
                _ => None,
            };
            Some(literals.iter().filter_map(class).collect())
        }
        // What is absent is equal to nothing: only `!=` holds for it.
        Expression::Is(Operand::Field(field), test, _) if *test != Test::Unequal => Some(vec![Select::Has(*field)]),
        Expression::In(Operand::Field(field), _) | Expression::Has(Operand::Field(field)) => {
            Some(vec![Select::Has(*field)])
        }
        Expression::Always(false) => Some(Vec::new()),
        Expression::Is(..)
        | Expression::In(..)
        | Expression::Has(_)
        | Expression::Not(_)
        | Expression::Always(true) => None,
    }
}

/// Of parts that all must hold the one that selects least: classes before fields.
fn best(parts: &[Expression]) -> Option<Vec<Select>> {
    let wide = |ways: &Vec<Select>| ways.iter().filter(|way| matches!(way, Select::Has(_))).count();
    parts.iter().filter_map(selects).min_by_key(wide)
}

fn names(expression: &Expression, fields: &mut Vec<Field>) -> bool {
    match expression {
        Expression::Any(parts) | Expression::All(parts) => parts.iter().all(|part| names(part, fields)),
        Expression::Not(part) => names(part, fields),
        Expression::Is(operand, ..) | Expression::In(operand, _) | Expression::Has(operand) => match operand {
            Operand::Field(field) => {
                fields.push(*field);
                true
            }
            Operand::Extra(_) => false,
        },
        Expression::Always(_) => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_way_is_found() {
        let class = |text: &str| Select::Class(text.to_owned());
        let prefix = |text: &str| Select::ClassPrefix(text.to_owned());
        for (text, expected) in [
            ("event_class == 'a.b' && severity > 3", Some(vec![class("a.b")])),
            ("severity > 3 && event_class in ['a', 'b']", Some(vec![class("a"), class("b")])),
            (
                "event_class.startsWith('container.') || app == 'kernel'",
                Some(vec![prefix("container."), Select::Has(Field::App)]),
            ),
            ("has(user.name) && user.name != 'root'", Some(vec![Select::Has(Field::UserName)])),
            ("event_class.endsWith('x')", Some(vec![Select::Has(Field::EventClass)])),
            ("event_class != 'a'", None),
            ("!(event_class == 'a')", None),
            ("fields['a.b'] == 1", None),
            ("event_class == 'a' || fields['a.b'] == 1", None),
            ("true", None),
            ("false", Some(vec![])),
        ] {
            assert_eq!(Filter::parse(text).unwrap().selects(), expected, "{text}");
        }
        assert_eq!(Filter::parse("vm.name == 'a' || has(power)").unwrap().fields().unwrap().len(), 2);
        assert_eq!(Filter::parse("vm.name == 'a' || fields['b'] == 1").unwrap().fields(), None);
    }
}
