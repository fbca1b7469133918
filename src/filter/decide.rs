//! Why an expression holds or not: the part of it that decides, and what it says of events of which no more
//! than the class is known.

use std::fmt;

use wharfinger_formats::{Event, Field};

use super::{Expression, Filter, Literal, Operand, Test};

/// What is known of a class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It is this.
    Is(String),
    /// It begins so: `container.`.
    Begins(String),
    /// There is none, as with a line of syslog of no known product.
    None,
}

/// Whether an expression holds for events of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Always,
    /// It depends on what else the event says.
    Sometimes,
    Never,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision<'f> {
    pub holds: bool,
    /// The smallest part that alone makes it so; none for a filter that asks nothing.
    pub part: Option<Part<'f>>,
}

/// A part of an expression, to be shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part<'f>(&'f Expression);

impl Filter {
    /// Why the event is meant or not.
    pub fn decide(&self, event: &Event<'_>) -> Decision<'_> {
        let holds = self.has(event);
        let one = self.all.iter().find(|expression| expression.holds(event) == holds);
        // Of several that all must hold none alone makes it so; a configuration has one.
        let one = one.filter(|_| !holds || self.all.len() == 1);
        Decision { holds, part: one.map(|expression| Part(expression.decides(event))) }
    }

    /// What it says of events of a class.
    pub fn of_class(&self, class: &Class) -> Holds {
        self.all.iter().map(|expression| expression.of_class(class)).fold(Holds::Always, Holds::and)
    }

    /// The classes that it names.
    pub fn classes(&self) -> Vec<Class> {
        let mut classes = Vec::new();
        self.all.iter().for_each(|expression| expression.classes(&mut classes));
        classes
    }
}

impl Part<'_> {
    /// The field that it asks about, and what the event says there; none for what asks about several or about
    /// nothing.
    pub fn asks<'e>(&self, event: &'e Event<'_>) -> Option<(String, Option<wharfinger_formats::Value<'e>>)> {
        let mut expression = self.0;
        while let Expression::Not(inner) = expression {
            expression = inner;
        }
        match expression {
            Expression::Is(operand, ..) | Expression::In(operand, _) | Expression::Has(operand) => {
                Some((operand.to_string(), operand.of(event)))
            }
            _ => None,
        }
    }
}

impl Expression {
    /// The smallest part whose answer is that of the whole, whatever the others say.
    fn decides(&self, event: &Event<'_>) -> &Expression {
        let of = |parts: &'_ [Expression], holds: bool| parts.iter().position(|part| part.holds(event) == holds);
        match self {
            Expression::Any(parts) => of(parts, true).map_or(self, |at| parts[at].decides(event)),
            Expression::All(parts) => of(parts, false).map_or(self, |at| parts[at].decides(event)),
            // What decides within it decides here, but says the opposite: shown with the `!`.
            _ => self,
        }
    }

    fn of_class(&self, class: &Class) -> Holds {
        match self {
            Expression::Any(parts) => {
                parts.iter().map(|part| part.of_class(class).not()).fold(Holds::Always, Holds::and).not()
            }
            Expression::All(parts) => parts.iter().map(|part| part.of_class(class)).fold(Holds::Always, Holds::and),
            Expression::Not(part) => part.of_class(class).not(),
            Expression::Is(Operand::Field(Field::EventClass), test, literal) => test.of_class(class, literal),
            Expression::In(Operand::Field(Field::EventClass), literals) => {
                let equal = |literal| Test::Equal.of_class(class, literal).not();
                literals.iter().map(equal).fold(Holds::Always, Holds::and).not()
            }
            Expression::Has(Operand::Field(Field::EventClass)) => Holds::from(*class != Class::None),
            Expression::Is(..) | Expression::In(..) | Expression::Has(_) => Holds::Sometimes,
            Expression::Always(truth) => Holds::from(*truth),
        }
    }

    fn classes(&self, out: &mut Vec<Class>) {
        let is = |literal: &Literal| match literal {
            Literal::Text(text) => Some(Class::Is(text.clone())),
            _ => None,
        };
        match self {
            Expression::Any(parts) | Expression::All(parts) => parts.iter().for_each(|part| part.classes(out)),
            Expression::Not(part) => part.classes(out),
            Expression::Is(Operand::Field(Field::EventClass), Test::StartsWith, Literal::Text(text)) => {
                out.push(Class::Begins(text.clone()));
            }
            Expression::Is(Operand::Field(Field::EventClass), Test::Equal | Test::Unequal, literal) => {
                out.extend(is(literal));
            }
            Expression::In(Operand::Field(Field::EventClass), literals) => out.extend(literals.iter().filter_map(is)),
            _ => {}
        }
    }
}

impl Test {
    /// Of the class of an event against a literal.
    fn of_class(self, class: &Class, literal: &Literal) -> Holds {
        let Literal::Text(wanted) = literal else { return Holds::from(self == Test::Unequal) };
        match (class, self) {
            (Class::None, _) => Holds::from(self == Test::Unequal),
            (Class::Is(text), _) => Holds::from(self.holds(wharfinger_formats::Value::Str(text), literal)),
            (Class::Begins(prefix), Test::StartsWith) if prefix.starts_with(wanted.as_str()) => Holds::Always,
            (Class::Begins(prefix), Test::Contains) if prefix.contains(wanted.as_str()) => Holds::Always,
            (Class::Begins(_), Test::IsElement) => Holds::Never,
            (Class::Begins(prefix), Test::StartsWith | Test::Equal) => match wanted.starts_with(prefix.as_str()) {
                true => Holds::Sometimes,
                false => Holds::Never,
            },
            (Class::Begins(_), Test::Unequal) => Test::Equal.of_class(class, literal).not(),
            (Class::Begins(_), _) => Holds::Sometimes,
        }
    }
}

impl Holds {
    fn and(self, other: Holds) -> Holds {
        match (self, other) {
            (Holds::Never, _) | (_, Holds::Never) => Holds::Never,
            (Holds::Always, Holds::Always) => Holds::Always,
            _ => Holds::Sometimes,
        }
    }

    fn not(self) -> Holds {
        match self {
            Holds::Always => Holds::Never,
            Holds::Sometimes => Holds::Sometimes,
            Holds::Never => Holds::Always,
        }
    }
}

impl From<bool> for Holds {
    fn from(truth: bool) -> Holds {
        if truth { Holds::Always } else { Holds::Never }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Is(class) => f.write_str(class),
            Class::Begins(prefix) => write!(f, "{prefix}*"),
            Class::None => f.write_str("(none)"),
        }
    }
}

/// As it is written in a configuration; empty if it asks nothing.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.all, " && ")
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Expression], between: &str) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(between)?;
        }
        match part {
            Expression::Any(_) | Expression::All(_) if parts.len() > 1 => write!(f, "({part})")?,
            _ => write!(f, "{part}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Any(parts) => joined(f, parts, " || "),
            Expression::All(parts) => joined(f, parts, " && "),
            Expression::Not(part) => match **part {
                Expression::Has(_) | Expression::Always(_) | Expression::Not(_) => write!(f, "!{part}"),
                _ => write!(f, "!({part})"),
            },
            Expression::Is(operand, test, literal) => match test {
                Test::Equal => write!(f, "{operand} == {literal}"),
                Test::Unequal => write!(f, "{operand} != {literal}"),
                Test::Less => write!(f, "{operand} < {literal}"),
                Test::LessOrEqual => write!(f, "{operand} <= {literal}"),
                Test::Greater => write!(f, "{operand} > {literal}"),
                Test::GreaterOrEqual => write!(f, "{operand} >= {literal}"),
                Test::StartsWith => write!(f, "{operand}.startsWith({literal})"),
                Test::EndsWith => write!(f, "{operand}.endsWith({literal})"),
                Test::Contains => write!(f, "{operand}.contains({literal})"),
                Test::IsElement => write!(f, "{literal} in {operand}"),
            },
            Expression::In(operand, literals) => {
                let literals: Vec<String> = literals.iter().map(Literal::to_string).collect();
                write!(f, "{operand} in [{}]", literals.join(", "))
            }
            Expression::Has(operand) => write!(f, "has({operand})"),
            Expression::Always(truth) => write!(f, "{truth}"),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Field(field) => f.write_str(field.name()),
            Operand::Extra(name) => write!(f, "fields[{}]", Literal::Text(name.clone())),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Text(text) => quoted(f, text),
            Literal::Int(number) => write!(f, "{number}"),
            Literal::Bool(truth) => write!(f, "{truth}"),
            Literal::Time(time) => {
                let mut text = Vec::new();
                time.write_rfc3339(9, &mut text);
                write!(f, "timestamp(\"{}\")", String::from_utf8_lossy(&text))
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' | '\\' => write!(f, "\\{letter}")?,
            _ if letter.is_control() => write!(f, "\\u{:04x}", u32::from(letter))?,
            _ => write!(f, "{letter}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_class_is_known_and_the_rest_is_not() {
        use Holds::{Always, Never, Sometimes};
        let (family, start, none) =
            (Class::Begins("container.".into()), Class::Is("container.start".into()), Class::None);
        for (text, of_family, of_start, of_none) in [
            ("event_class.startsWith('container.')", Always, Always, Never),
            ("event_class.startsWith('c')", Always, Always, Never),
            ("event_class.startsWith('container.s')", Sometimes, Always, Never),
            ("event_class == 'container.start'", Sometimes, Always, Never),
            ("event_class != 'container.start'", Sometimes, Never, Always),
            ("event_class == 'image.pull'", Never, Never, Never),
            ("event_class != 'image.pull'", Always, Always, Always),
            ("event_class in ['image.pull', 'container.start']", Sometimes, Always, Never),
            ("event_class.contains('tain')", Always, Always, Never),
            ("event_class.endsWith('start')", Sometimes, Always, Never),
            ("event_class < 'd'", Sometimes, Always, Never),
            ("severity >= 5", Sometimes, Sometimes, Sometimes),
            ("severity >= 5 && event_class == 'image.pull'", Never, Never, Never),
            ("severity >= 5 || event_class.startsWith('container.')", Always, Always, Sometimes),
            ("!(severity >= 5 || has(event_class))", Never, Never, Sometimes),
            ("!(event_class in ['image.pull']) && true", Always, Always, Always),
            ("false || !true", Never, Never, Never),
        ] {
            let filter = filter(text);
            let found = [&family, &start, &none].map(|class| filter.of_class(class));
            assert_eq!(found, [of_family, of_start, of_none], "{text}");
        }
        assert_eq!(Filter::all().of_class(&none), Always);
    }

    #[test]
    fn the_part_that_decides_is_the_smallest() {
        let mut event = Event::new(b"");
        event.set(Field::EventClass, "container.start");
        event.set(Field::Severity, 3);
        for (text, holds, part) in [
            ("severity >= 5", false, "severity >= 5"),
            ("severity >= 5 && has(vm.name)", false, "severity >= 5"),
            ("has(event_class) && (has(vm.name) || severity > 4)", false, "has(vm.name) || severity > 4"),
            ("has(vm.name) || (severity < 4 && 'a' != vm.name)", true, "severity < 4 && vm.name != \"a\""),
            (
                "has(vm.name) || event_class in ['container.start', 'x']",
                true,
                "event_class in [\"container.start\", \"x\"]",
            ),
            ("has(event_class) && !(severity in [3])", false, "!(severity in [3])"),
        ] {
            let filter = filter(text);
            let decision = filter.decide(&event);
            assert_eq!(decision.holds, holds, "{text}");
            assert_eq!(decision.part.unwrap().to_string(), part, "{text}");
        }
        assert_eq!(Filter::all().decide(&event), Decision { holds: true, part: None });
        let asked = filter("!(severity > 4)");
        let (name, value) = asked.decide(&event).part.unwrap().asks(&event).unwrap();
        assert_eq!((name.as_str(), value), ("severity", Some(wharfinger_formats::Value::Int(3))));
    }

    #[test]
    fn what_is_shown_means_the_same() {
        for text in [
            "event_class.startsWith(\"a\\\"\\\\\\n\") && !(severity < 5) && !has(vm.name)",
            "(a || b) && c".replace('a', "true").replace('b', "vm.name == 'x'").replace('c', "5 > severity").as_str(),
            "'prod' in vm.tags || fields[\"a.b\"] in ['x', 'é'] || time >= timestamp('2026-11-21T09:00:00.5Z')",
            "!!true || !(true && false) || parse.ambiguous || severity == -4",
        ] {
            let once = filter(text);
            assert_eq!(filter(&once.to_string()), once, "{text}: {once}");
        }
    }
}
