//! Filter: which events are meant, as an expression in a part of CEL, the Common Expression Language:
//!
//! ```text
//! event_class.startsWith("container.") && severity >= 5 && !(vm.name in ["vm-1", "vm-2"])
//! "environment:prod" in vm.tags
//! has(container.id) || fields["docker.scope"] == "local"
//! time >= timestamp("2026-11-21T09:00:00Z")
//! ```
//!
//! A name is a canonical field, or `fields["group.name"]` for what has none. Unlike in CEL, a field that an
//! event does not have is no error: it is equal to nothing, so `!=` holds and every other comparison does not.
//!
//! Invariant: what an event costs is bounded by the expression, which is read once and is short.

mod decide;
mod parse;
mod selects;

use std::borrow::Cow;
use std::cmp::Ordering;

use wharfinger_formats::{Event, Field, Time, Value};

pub use self::decide::{Class, Decision, Holds};
pub use self::parse::FilterError;
pub use self::selects::Select;

/// An expression, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    all: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Not(Box<Expression>),
    Is(Operand, Test, Literal),
    In(Operand, Vec<Literal>),
    Has(Operand),
    /// `true`, `false`.
    Always(bool),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Field(Field),
    /// `group.name`.
    Extra(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    StartsWith,
    EndsWith,
    Contains,
    /// `"a" in rule.groups`.
    IsElement,
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Text(String),
    Int(i64),
    Bool(bool),
    Time(Time),
}

impl Filter {
    /// The filter that every event passes.
    pub fn all() -> Filter {
        Filter { all: Vec::new() }
    }

    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is none, and what should stand there.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        Ok(Filter { all: vec![parse::parse(text)?] })
    }

    /// And the field must be that text.
    #[must_use]
    pub fn and_text(mut self, field: Field, text: &str) -> Filter {
        self.all.push(Expression::Is(Operand::Field(field), Test::Equal, Literal::Text(text.to_owned())));
        self
    }

    /// And one of the fields must be that text.
    #[must_use]
    pub fn and_any(mut self, fields: &[Field], text: &str) -> Filter {
        let is = |field: &Field| Expression::Is(Operand::Field(*field), Test::Equal, Literal::Text(text.to_owned()));
        self.all.push(Expression::Any(fields.iter().map(is).collect()));
        self
    }

    /// Whether it asks nothing.
    pub fn is_all(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a sink with this filter is sent the event. What says that something is missing always is: no loss
    /// is silent. (A line that somebody sent has a format.)
    pub fn sends(&self, event: &Event<'_>) -> bool {
        let is_gap = || event.text(Field::EventClass) == Some("gap") && !event.has(Field::Format);
        self.is_all() || self.has(event) || is_gap()
    }

    /// Whether the event is meant.
    pub fn has(&self, event: &Event<'_>) -> bool {
        self.all.iter().all(|expression| expression.holds(event))
    }
}

impl Expression {
    /// As deep as the expression is nested: the parser has a limit for that.
    fn holds(&self, event: &Event<'_>) -> bool {
        match self {
            Expression::Any(parts) => parts.iter().any(|part| part.holds(event)),
            Expression::All(parts) => parts.iter().all(|part| part.holds(event)),
            Expression::Not(part) => !part.holds(event),
            Expression::Is(operand, test, literal) => match operand.of(event) {
                Some(value) => test.holds(value, literal),
                None => *test == Test::Unequal,
            },
            Expression::In(operand, literals) => {
                operand.of(event).is_some_and(|value| literals.iter().any(|one| Test::Equal.holds(value, one)))
            }
            Expression::Has(operand) => operand.of(event).is_some(),
            Expression::Always(truth) => *truth,
        }
    }
}

impl Operand {
    fn of<'e>(&self, event: &'e Event<'_>) -> Option<Value<'e>> {
        match self {
            Operand::Field(field) => event.get(*field),
            Operand::Extra(name) => {
                let is_it = |group: &str, own: &str| match name.strip_prefix(group) {
                    Some(rest) if !group.is_empty() => rest.strip_prefix('.') == Some(own),
                    _ => group.is_empty() && name == own,
                };
                event.extras().find(|extra| is_it(extra.group, extra.name)).map(|extra| extra.value)
            }
        }
    }
}

impl Test {
    fn holds(self, value: Value<'_>, literal: &Literal) -> bool {
        let (Value::Str(text) | Value::Json(text), Literal::Text(wanted)) = (value, literal) else {
            return self.holds_for(order(value, literal));
        };
        match self {
            Test::StartsWith => text.starts_with(wanted.as_str()),
            Test::EndsWith => text.ends_with(wanted.as_str()),
            Test::Contains => memchr::memmem::find(text.as_bytes(), wanted.as_bytes()).is_some(),
            // Asked of few events: the list is read anew each time.
            Test::IsElement => {
                serde_json::from_str::<Vec<Cow<'_, str>>>(text).is_ok_and(|list| list.iter().any(|one| one == wanted))
            }
            _ => self.holds_for(Some(text.cmp(wanted.as_str()))),
        }
    }

    /// None: the two cannot be compared.
    fn holds_for(self, order: Option<Ordering>) -> bool {
        match (self, order) {
            (Test::Unequal, None) => true,
            (_, None) | (Test::StartsWith | Test::EndsWith | Test::Contains | Test::IsElement, _) => false,
            (Test::Equal, Some(order)) => order.is_eq(),
            (Test::Unequal, Some(order)) => order.is_ne(),
            (Test::Less, Some(order)) => order.is_lt(),
            (Test::LessOrEqual, Some(order)) => order.is_le(),
            (Test::Greater, Some(order)) => order.is_gt(),
            (Test::GreaterOrEqual, Some(order)) => order.is_ge(),
        }
    }
}

/// Senders write numbers as texts: against a number, a text that is one counts as it.
fn order(value: Value<'_>, literal: &Literal) -> Option<Ordering> {
    match (value, literal) {
        (Value::Int(number), Literal::Int(wanted)) => Some(number.cmp(wanted)),
        (Value::Str(text) | Value::Json(text), Literal::Int(wanted)) => Some(text.parse::<i64>().ok()?.cmp(wanted)),
        (Value::Int(number), Literal::Text(wanted)) => Some(number.cmp(&wanted.parse().ok()?)),
        (Value::Bool(truth), Literal::Bool(wanted)) => Some(truth.cmp(wanted)),
        (Value::Time(time), Literal::Time(wanted)) => Some(time.cmp(wanted)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        let mut event = Event::new(b"raw");
        event.set(Field::EventClass, "container.start");
        event.set(Field::Severity, 5);
        event.set(Field::VmName, "vm-1");
        event.set(Field::VmTags, Value::Json(r#"["prod","use:\u0064b"]"#));
        event.set(Field::RuleLevel, "12");
        event.set(Field::ParseAmbiguous, true);
        event.set(Field::Time, Time(1_795_251_600_000_000_000));
        event.extra("docker", "scope", "local");
        event.extra("", "plain", 7);
        Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).has(&event)
    }

    #[test]
    fn what_holds_and_what_does_not() {
        for text in [
            "event_class == \"container.start\"",
            "event_class.startsWith('container.') && severity >= 5",
            "event_class.endsWith(\".start\") && event_class.contains(\"ainer\")",
            "severity < 6 && severity > 4 && severity <= 5 && severity != 4 && 5 == severity",
            "!(vm.name in [\"vm-2\", \"vm-3\"]) && vm.name in ['vm-1']",
            "has(vm.name) && !has(container.id)",
            "'use:db' in vm.tags && !('use:d' in vm.tags) && !('db' in vm.name) && !('x' in rule.groups)",
            "fields[\"docker.scope\"] == \"local\" && fields['plain'] == 7",
            "container.id != \"x\"",
            "rule.level > 9 && parse.ambiguous == true && parse.ambiguous",
            "time >= timestamp(\"2026-11-21T09:00:00Z\") && time <= timestamp('2026-11-21T10:00:00+01:00')",
            "true || false && false",
            "vm.name == 'vm\\u002d1' && (((severity == 5)))",
        ] {
            assert!(holds(text), "{text}");
            assert!(!holds(&format!("!({text})")), "not {text}");
        }
        for text in ["container.id == ''", "container.id < 'x'", "severity == 'x'", "fields[\"docker\"] == 'x'"] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_says_where() {
        for (text, at) in [
            ("", 0),
            ("severity >", 10),
            ("severity = 5", 9),
            ("no.such == 1", 0),
            ("vm.name == \"a", 11),
            ("(severity == 5", 14),
            ("severity == 5 severity", 14),
            ("vm.name.matches('a')", 0),
            ("severity in 5", 12),
            ("severity == 99999999999999999999", 12),
            ("1 == 2", 5),
            ("time > timestamp('yesterday')", 17),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
        }
        let deep = format!("{}true{}", "(".repeat(1000), ")".repeat(1000));
        assert!(Filter::parse(&deep).is_err() && Filter::parse(&"!".repeat(10_000)).is_err());
        assert!(Filter::parse(&"true && ".repeat(10_000)).is_err(), "too long");
    }

    #[test]
    fn more_can_be_asked() {
        let mut event = Event::new(b"");
        event.set(Field::Source, "docker");
        event.set(Field::HostName, "vm-7");
        let filter = Filter::all().and_text(Field::Source, "docker").and_any(&[Field::VmName, Field::HostName], "vm-7");
        assert!(filter.has(&event) && Filter::all().has(&event));
        event.set(Field::Source, "other");
        assert!(!filter.has(&event));
    }
}
