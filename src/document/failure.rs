//! A failure of serde in the words of users: cause, and the hint that follows from it.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Expected, Unexpected};

use super::mistake::{Mistake, did_you_mean, hint_for_name, list};
use super::node::{Node, Place, Value};
use crate::part;

/// What serde says, kept apart so that words and hints can be made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// A value of the wrong type, or out of its range.
    Value {
        found: String,
        expected: String,
    },
    UnknownField {
        name: String,
        known: &'static [&'static str],
    },
    UnknownVariant {
        name: String,
        known: &'static [&'static str],
    },
    Missing {
        name: &'static str,
    },
    Other(String),
}

impl serde::de::Error for Failed {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Failed::Other(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Failed::Value { found: in_words(found), expected: expected.to_string() }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Failed::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Failed::Value { found: format!("{length} of them"), expected: expected.to_string() }
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Failed::UnknownVariant { name: name.to_owned(), known }
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Failed::UnknownField { name: name.to_owned(), known }
    }

    fn missing_field(name: &'static str) -> Self {
        Failed::Missing { name }
    }
}

impl std::error::Error for Failed {}

/// Only passed on: what users read is made by [`Failure::into_mistake`].
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Value { found, expected } => write!(f, "expected {expected}, found {found}"),
            Failed::UnknownField { name, .. } => write!(f, "unknown option `{name}`"),
            Failed::UnknownVariant { name, .. } => write!(f, "unknown value `{name}`"),
            Failed::Missing { name } => write!(f, "the option `{name}` is missing"),
            Failed::Other(text) => f.write_str(text),
        }
    }
}

/// A failure and where it happened.
pub(super) struct Failure {
    failed: Failed,
    place: Place,
    /// `sources.in.listen`
    path: String,
    /// What `failed` speaks of has been left out because of an earlier failure.
    follows: bool,
    /// The innermost entry around it, known on the way up.
    pub(super) entry: Option<Place>,
}

impl Failure {
    pub(super) fn new(failed: Failed, place: Place, path: String, node: &Node, left_out: &HashSet<Place>) -> Self {
        // Misspelt, or of a wrong type: one message is enough.
        let mut wrong = node.entries().iter().filter(|entry| left_out.contains(&entry.place));
        let mut is_wrong = |name: &str| wrong.any(|entry| did_you_mean(&entry.name, [name]).is_some());
        let follows = matches!(&failed, Failed::Missing { name } if is_wrong(name));
        Failure { failed, place, path, follows, entry: None }
    }

    /// The mistake for users; nothing when it only follows from one `before` it.
    pub(super) fn into_mistake(self, before: &[Mistake]) -> Option<Mistake> {
        if self.follows && !before.is_empty() {
            return None;
        }
        let path = self.path;
        let (cause, hint) = match self.failed {
            Failed::UnknownField { name, known } => {
                let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
                (format!("unknown option `{name}`{place}"), hint_for_option(&name, known))
            }
            Failed::UnknownVariant { name, known } => {
                (format!("`{path}`: unknown value `{name}`"), hint_for_name(&name, known))
            }
            Failed::Missing { name } => {
                let hint = format!("add `{name}: …` below `{}`", path.rsplit('.').next().unwrap_or_default());
                (format!("`{path}` lacks the option `{name}`"), hint)
            }
            Failed::Value { found, expected } => {
                let expected = expected_in_words(&expected);
                let hint = hint_for_type(&expected, &found);
                (format!("`{path}`: expected {expected}, found {found}"), hint)
            }
            Failed::Other(text) => match text.split_once(part::HINT) {
                Some((cause, hint)) => (format!("`{path}`: {cause}"), hint.to_owned()),
                None => {
                    (format!("`{path}`: {text}"), "see `wharfinger list` and the configuration reference".to_owned())
                }
            },
        };
        Some(Mistake::new(self.place, cause, hint))
    }
}

impl Node {
    /// What stands here, in serde's words. Never more than the kind of a list or table.
    pub(super) fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Int(value) => Unexpected::Signed(*value),
            Value::Float(value) => Unexpected::Float(*value),
            Value::String(value) => Unexpected::Str(&value.text),
            Value::List(_) => Unexpected::Seq,
            Value::Table(_) => Unexpected::Map,
        }
    }
}

fn in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("the boolean `{value}`"),
        Unexpected::Unsigned(value) => format!("the number `{value}`"),
        Unexpected::Signed(value) => format!("the number `{value}`"),
        Unexpected::Float(value) => format!("the number `{value}`"),
        Unexpected::Str(value) => format!("the string `{value}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Serde's derived code expects types of Rust; users write something else.
fn expected_in_words(expected: &str) -> String {
    let range = |max: u64| format!("a whole number from 0 to {max}");
    match expected {
        "u8" => range(u8::MAX.into()),
        "u16" => range(u16::MAX.into()),
        "u32" => range(u32::MAX.into()),
        "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a sequence" => "a list".to_owned(),
        "path string" => "a path".to_owned(),
        _ if expected.starts_with("struct ") || expected == "a map" => "a table of options".to_owned(),
        _ if expected.starts_with("a nonzero ") => "a whole number from 1".to_owned(),
        _ => expected.to_owned(),
    }
}

fn hint_for_type(expected: &str, found: &str) -> String {
    let value = found.split('`').nth(1).unwrap_or_default();
    let is_string = found.starts_with("the string");
    match expected {
        "a string" | "a path" if !value.is_empty() => format!("put it in quotes: `\"{value}\"`"),
        "`true` or `false`" => match value {
            "yes" | "on" | "1" | "True" => "write `true`".to_owned(),
            "no" | "off" | "0" | "False" => "write `false`".to_owned(),
            _ => "write one of the two, without quotes".to_owned(),
        },
        "a list" if is_string => format!("write a list: `[{value}]`"),
        "a list" => "write a list: `[a, b]`".to_owned(),
        "a table of options" => "write the options below it, indented, one `name: value` a line".to_owned(),
        _ if expected.starts_with("a whole number") && is_string && value.parse::<i64>().is_ok() => {
            format!("leave the quotes out: `{value}`")
        }
        _ if expected.starts_with("a whole number") => "write digits only".to_owned(),
        _ => format!("write {expected}"),
    }
}

/// Words of other shippers, for users who come from there.
const ELSEWHERE: &[(&str, &str)] = &[
    ("inputs", "leave it out: every sink reads the one journal, so it gets the events of every source"),
    ("encoding", "the format of what is written is the option `format`"),
    ("codec", "the format of what is written is the option `format`"),
    ("buffer", "leave it out: the journal is the only buffer; its size is `journal.bytes_max`"),
    ("acknowledgements", "leave it out: a source is answered when its events are on disk, always"),
];

/// Words that mean the same in one shipper or another; an option has one of them.
const SYNONYMS: &[&[&str]] =
    &[&["listen", "address", "bind", "host"], &["url", "endpoint", "endpoints", "uri"], &["path", "include", "file"]];

fn hint_for_option(name: &str, known: &[&str]) -> String {
    let synonyms = SYNONYMS.iter().filter(|words| words.contains(&name));
    if let Some(word) = synonyms.flat_map(|words| words.iter()).find(|word| known.contains(word)) {
        return format!("it is called `{word}` here");
    }
    let elsewhere = ELSEWHERE.iter().find(|(word, _)| *word == name);
    match elsewhere {
        Some((_, hint)) if !known.contains(&name) => (*hint).to_owned(),
        _ if known.is_empty() => "leave it out: there are no options here".to_owned(),
        _ => match did_you_mean(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the options here are {}", list(known)),
        },
    }
}
