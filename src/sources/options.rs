//! Options that several sources share: how their frames are read.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use wharfinger_formats::{FORMATS, Offset};

use crate::intake::{Origin, Trust};
use crate::part::{Listen, Problem, with_hint};

/// The name of a format, or `auto` to detect it for each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FormatName(Option<&'static str>);

/// The zone of timestamps that name none: `Z`, `+01:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Zone(Offset);

/// How the frames of a source are read, and whose they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) format: FormatName,
    pub(super) zone: Zone,
    pub(super) trust: Trust,
}

impl Reading {
    /// Where frames come from that are read this way; `peer` is not an address.
    pub(super) fn origin(self, peer: &str) -> Origin {
        Origin {
            peer: peer.into(),
            address: None,
            address_unverified: false,
            trust: self.trust,
            format: self.format.0,
            zone_seconds: self.zone.0.0,
        }
    }
}

/// What is wrong with listening without TLS at that address, if anything.
pub(super) fn plaintext_problem(address: Listen, allowed: bool) -> Option<Problem> {
    (!address.is_loopback() && !allowed).then(|| Problem {
        option: "allow_plaintext",
        message: format!(
            "`{address}` can be reached by other machines, and anyone between reads and forges what is sent"
        ),
        hint: "add `tls`, listen on 127.0.0.1, or accept that with `allow_plaintext: true`".to_owned(),
    })
}

impl FormatName {
    /// That format, whatever the frames look like.
    pub(super) const fn only(name: &'static str) -> Self {
        FormatName(Some(name))
    }

    fn parse(name: &str) -> Option<FormatName> {
        if name == "auto" {
            return Some(FormatName(None));
        }
        let format = FORMATS.iter().find(|format| format.name == name && format.parse.is_some())?;
        Some(FormatName(Some(format.name)))
    }
}

impl Zone {
    fn parse(text: &str) -> Option<Zone> {
        if text.eq_ignore_ascii_case("utc") {
            return Some(Zone(Offset(0)));
        }
        let (offset, used) = Offset::parse(text.as_bytes())?;
        (used == text.len()).then_some(Zone(offset))
    }
}

impl<'de> Deserialize<'de> for FormatName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = FormatName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto` or the name of a format")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<FormatName, E> {
                let names = FORMATS.iter().filter(|format| format.parse.is_some()).map(|format| format.name);
                let hint = || format!("use `auto` or one of: {}", names.collect::<Vec<_>>().join(", "));
                FormatName::parse(name).ok_or_else(|| {
                    E::custom(with_hint(format_args!("`{name}` is not a format that can be read"), &hint()))
                })
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Zone;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a zone such as `+01:00`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Zone, E> {
                let cause = || with_hint(format_args!("expected a zone, found `{text}`"), "write `UTC` or `+01:00`");
                Zone::parse(text).ok_or_else(|| E::custom(cause()))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for FormatName {
    fn schema_name() -> Cow<'static, str> {
        "format".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "format name" })
    }
}

impl JsonSchema for Zone {
    fn schema_name() -> Cow<'static, str> {
        "zone".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "offset from UTC" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones() {
        for (text, expected) in [("UTC", Some(0)), ("Z", Some(0)), ("+01:00", Some(3600)), ("-0530", Some(-19_800))] {
            assert_eq!(Zone::parse(text).map(|zone| zone.0.0), expected, "{text}");
        }
        for text in ["", "CET", "+01:00x", "+1"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_unknown_format_is_no_format() {
        assert_eq!(FormatName::parse("auto"), Some(FormatName(None)));
        assert_eq!(FormatName::parse("no such"), None);
    }
}
