//! `format:` of a sink: which emitter of the formats crate writes its records.
//!
//! Invariant: a record holds no line end, whatever bytes the event holds.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use wharfinger_formats::{Emit, EmitContext, Event, FORMATS};

use crate::part::with_hint;

/// The name of the native JSON format.
const NATIVE: &str = "json";
const RAW: &str = "raw";

/// A format that can be written, or `raw`: the bytes as they were received.
#[derive(Clone, Copy)]
pub struct Emitter {
    name: &'static str,
    /// Absent for `raw`.
    emit: Option<Emit>,
    /// Its records are JSON objects, as that of an event that knows nothing is.
    is_object: bool,
}

impl Emitter {
    const RAW: Emitter = Emitter { name: RAW, emit: None, is_object: false };

    /// The emitter users call `name`.
    pub fn named(name: &str) -> Option<Emitter> {
        if name == RAW {
            return Some(Emitter::RAW);
        }
        let format = FORMATS.iter().find(|format| format.name == name)?;
        let mut record = Vec::new();
        format.emit?(&Event::new(b""), &EmitContext::default(), &mut record);
        Some(Emitter { name: format.name, emit: format.emit, is_object: record.starts_with(b"{") })
    }

    /// Native JSON: one object with every field.
    pub fn native() -> Emitter {
        Emitter::named(NATIVE).unwrap_or(Emitter::RAW)
    }

    /// What users call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether its records are JSON objects.
    pub fn is_object(&self) -> bool {
        self.is_object
    }

    /// Appends one record to `out`, without a line end.
    pub fn emit(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        match self.emit {
            Some(emit) => emit(event, &EmitContext::default(), out),
            None => raw(event.raw(), out),
        }
    }

    /// What users may call one.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FORMATS.iter().filter(|format| format.emit.is_some()).map(|format| format.name).chain([RAW])
    }
}

/// The bytes as received on one line: a line end at the end is dropped, others become visible.
fn raw(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    rest = rest.strip_suffix(b"\r").unwrap_or(rest);
    while let Some(at) = memchr::memchr3(b'\n', b'\r', 0, rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            _ => b"\\0",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Its name, so that the reference shows which is the default.
impl serde::Serialize for Emitter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Emitter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Emitter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a format")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Emitter, E> {
                Emitter::named(name).ok_or_else(|| {
                    let known: Vec<String> = Emitter::names().map(|name| format!("`{name}`")).collect();
                    let cause = format!("`{name}` is not a format that can be written");
                    E::custom(with_hint(cause, &format!("one of {}", known.join(", "))))
                })
            }
        }
        deserializer.deserialize_str(Read)
    }
}

impl JsonSchema for Emitter {
    fn schema_name() -> Cow<'static, str> {
        "format".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Emitter::names().collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_is_one_line_whatever_it_holds() {
        let mut out = Vec::new();
        raw(b"a\nb\r\n<13>c\0\x1b\r\n", &mut out);
        assert_eq!(out, b"a\\nb\\r\\n<13>c\\0\x1b");
    }

    #[test]
    fn a_wrong_name_says_which_are_right() {
        let error = serde_json::from_str::<Emitter>("\"xml\"").map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("`xml` is not a format") && error.contains("`raw`")));
    }
}
