//! TOML into the tree.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Mistake;
use super::node::{Entry, Node, Place, Text, Value};

/// Reads a TOML file. Its parser bounds the depth and refuses names that stand twice.
pub(super) fn read_toml(text: &str) -> Result<Node, Mistake> {
    let table = DeTable::parse(text).map_err(|error| {
        let place = error.span().map(|span| place(text, span.start));
        let cause = format!("not TOML: {}", error.message().replace('\n', ": "));
        let hint = match error.message() {
            message if message.contains("duplicate") => "keep one of the two",
            _ => "strings stand in double quotes, tables begin with `[sources.name]`, one `name = value` a line",
        };
        Mistake::new(place, cause, hint)
    })?;
    let root = Place { line: 1, column: 1 };
    Ok(Node { place: root, value: read_table(text, table.get_ref())? })
}

fn read_table(text: &str, table: &DeTable<'_>) -> Result<Value, Mistake> {
    let mut entries = Vec::with_capacity(table.len());
    for (name, value) in table.iter() {
        let place = place(text, name.span().start);
        entries.push(Entry { name: name.get_ref().to_string(), place, node: read_value(text, value)? });
    }
    // The parser's table is sorted by name; people read in the order of the lines.
    entries.sort_by_key(|entry| entry.place);
    Ok(Value::Table(entries))
}

fn read_value(text: &str, value: &Spanned<DeValue<'_>>) -> Result<Node, Mistake> {
    let place = place(text, value.span().start);
    let too_large = |number: &str| {
        Mistake::new(
            place,
            format!("the number `{number}` is too large"),
            "put it in quotes if it is meant as a string",
        )
    };
    let value = match value.get_ref() {
        DeValue::String(value) => Value::String(Text { text: value.to_string(), replaced: false }),
        DeValue::Integer(value) => {
            let number = i64::from_str_radix(value.as_str(), value.radix());
            Value::Int(number.map_err(|_| too_large(value.as_str()))?)
        }
        DeValue::Float(value) => {
            let number = value.as_str().parse::<f64>().ok().filter(|number| number.is_finite());
            Value::Float(number.ok_or_else(|| too_large(value.as_str()))?)
        }
        DeValue::Boolean(value) => Value::Bool(*value),
        // No option is a date: the reader of the option says what it wants.
        DeValue::Datetime(value) => Value::String(Text { text: value.to_string(), replaced: false }),
        DeValue::Array(values) => {
            Value::List(values.iter().map(|value| read_value(text, value)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => read_table(text, table)?,
    };
    Ok(Node { place, value })
}

/// The line and column of a byte.
fn place(text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Place {
        line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}
