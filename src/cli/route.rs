//! `wharfinger explain --route`: which sink is sent an event, and which part of its `when` decided.

use wharfinger_formats::{Event, Field, Value};

use super::failure::{Exit, Failure};
use super::table::{Cell, table};
use super::visible::visible;
use crate::config::Config;

/// `NAME=VALUE`: what the gateway would know of the event and the line does not say.
#[derive(Debug, Clone)]
pub(super) struct Assignment(Field, Known);

#[derive(Debug, Clone)]
enum Known {
    Text(String),
    Int(i64),
    Bool(bool),
}

/// Reads `vm.name=web-1`.
pub(super) fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, value) = text.split_once('=').ok_or("write `FIELD=VALUE`")?;
    let field = Field::from_name(name).ok_or_else(|| format!("`{name}` is no field: see `wharfinger list fields`"))?;
    let known = match field.kind() {
        wharfinger_formats::Kind::Int => Known::Int(value.parse().map_err(|_| format!("`{name}` is a whole number"))?),
        wharfinger_formats::Kind::Bool => Known::Bool(value.parse().map_err(|_| format!("`{name}` is true or false"))?),
        wharfinger_formats::Kind::Time => return Err(format!("`{name}` is a time, which only a line can say")),
        _ => Known::Text(value.to_owned()),
    };
    Ok(Assignment(field, known))
}

/// Sets what is known.
pub(super) fn set(event: &mut Event<'_>, known: &[Assignment]) {
    for Assignment(field, value) in known {
        match value {
            Known::Text(text) => event.set(*field, text.as_str()),
            Known::Int(number) => event.set(*field, *number),
            Known::Bool(truth) => event.set(*field, *truth),
        }
    }
}

/// A line for each sink.
pub(super) fn routed(config: &Config, event: &Event<'_>) -> Result<String, Failure> {
    if config.sinks.is_empty() {
        let error = anyhow::anyhow!("the configuration has no sink");
        return Err(Failure::new(Exit::Config, error, "name one with `--config PATH`"));
    }
    let rows: Vec<[Cell; 3]> = config
        .sinks
        .iter()
        .map(|sink| {
            let decision = sink.every.when.decide(event);
            let sends = sink.every.when.sends(event);
            let why = match decision.part {
                None if sink.every.when.is_all() => "it has no `when`".to_owned(),
                _ if sends && !decision.holds => "gap records go to every sink".to_owned(),
                None => "all of its `when` holds".to_owned(),
                Some(part) => match part.asks(event) {
                    Some((name, Some(value))) => format!("`{part}`: {name} is {}", shown(value)),
                    Some((name, None)) => format!("`{part}`: the event has no {name}"),
                    None => format!("`{part}` {}", if decision.holds { "holds" } else { "does not hold" }),
                },
            };
            [Cell::from(&*sink.name), Cell::from(if sends { "yes" } else { "no" }), Cell::from(&*why)]
        })
        .collect();
    Ok(table(["sink", "sent", "why"], &rows))
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Str(text) | Value::Json(text) => {
            let start: String = text.chars().take(60).collect();
            format!("`{}`{}", visible(&start), if start.len() < text.len() { "…" } else { "" })
        }
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Time(time) => {
            let mut text = Vec::new();
            time.write_rfc3339(3, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        }
    }
}
