//! The body of a request: what stands before, between and behind events, and what each of them is.
//!
//! Invariant: what a check found to be whole JSON is whole JSON with any events in it.

use serde::de::IgnoredAny;
use wharfinger_formats::{Event, Field, Time};

use super::config::{Batch, HttpConfig};
use crate::sinks::emitter::Emitter;
use crate::sinks::template::{Filling, Template};

/// What bodies are made by.
#[derive(Debug)]
pub(super) struct Body {
    prefix: String,
    separator: String,
    suffix: String,
    /// None: the record as it is, which need not be JSON.
    event: Option<Template>,
    format: Emitter,
}

impl Body {
    /// # Errors
    /// The template is wrong, or what it makes of events is no JSON.
    pub(super) fn new(config: &HttpConfig) -> Result<Body, String> {
        let (prefix, separator, suffix) = match config.batch {
            Batch::Ndjson => ("", "\n", "\n"),
            Batch::Array => ("[", ",", "]"),
            Batch::Single => ("", "", ""),
        };
        let or = |option: &Option<String>, default: &str| option.clone().unwrap_or_else(|| default.to_owned());
        let event = match (&config.event, config.batch) {
            (Some(template), _) => Some(Template::parse(template.trim_end_matches('\n'))?),
            (None, Batch::Array) => Some(Template::record()),
            (None, Batch::Ndjson | Batch::Single) => None,
        };
        let body = Body {
            prefix: or(&config.prefix, prefix),
            separator: or(&config.separator, separator),
            suffix: or(&config.suffix, suffix),
            event,
            format: config.format,
        };
        let count = if config.batch == Batch::Single { 1 } else { 3 };
        if body.event.is_some() || body.format.is_object() {
            body.check(count)?;
        }
        Ok(body)
    }

    pub(super) fn has_secret(&self) -> bool {
        self.event.as_ref().is_some_and(Template::has_secret)
    }

    /// Bytes behind the last event.
    pub(super) fn suffix(&self) -> &str {
        &self.suffix
    }

    /// Appends an event, behind what stands before it.
    pub(super) fn push(&self, event: &Event<'_>, is_first: bool, secret: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(if is_first { self.prefix.as_bytes() } else { self.separator.as_bytes() });
        match &self.event {
            Some(template) => template.fill(event, &Filling { format: self.format, secret }, out),
            None => self.format.emit(event, out),
        }
    }

    /// Whether events that know nothing or much make JSON: one value, or one behind the other.
    fn check(&self, count: usize) -> Result<(), String> {
        let mut known = Event::new(b"a \"line\"");
        for field in Field::ALL {
            known.set(*field, "a \"text\"");
        }
        for field in [Field::Time, Field::Start, Field::End, Field::ObservedTime] {
            known.set(field, Time(1_795_251_800_158_734_145));
        }
        for event in [&Event::new(b""), &known] {
            let mut body = Vec::new();
            for at in 0..count {
                self.push(event, at == 0, "secret", &mut body);
            }
            body.extend_from_slice(self.suffix.as_bytes());
            for value in serde_json::Deserializer::from_slice(&body).into_iter::<IgnoredAny>() {
                value.map_err(|error| {
                    let at = error.column().saturating_sub(1);
                    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or(&body);
                    let found = String::from_utf8_lossy(line.get(at..).unwrap_or_default());
                    let found: String = found.chars().take(20).collect();
                    format!("a body of {count} would be no JSON: {error}, at `{found}`")
                })?;
            }
        }
        Ok(())
    }
}
