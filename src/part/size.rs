//! `64MiB`: a number of bytes as users write it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::with_hint;

/// A number of bytes: a bare number, or a number and `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of
/// 1024), `KB`, `MB`, `GB`, `TB` (powers of 1000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const HINT: &str = "write a whole number and a unit: `64MiB`, `1GiB`, `500KB`";

impl ByteSize {
    /// That many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// That many times 1024 bytes; at most `u64::MAX` bytes.
    pub const fn kib(number: u64) -> Self {
        ByteSize(number.saturating_mul(1 << 10))
    }

    /// That many times 1024² bytes; at most `u64::MAX` bytes.
    pub const fn mib(number: u64) -> Self {
        ByteSize(number.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes for use in memory: the largest possible number where it does not fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn parse(text: &str) -> Option<ByteSize> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let factor = match unit {
            "" => 1,
            _ => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(ByteSize)
    }
}

/// From arguments of the command line.
impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteSize, String> {
        ByteSize::parse(text.trim()).ok_or_else(|| format!("expected a size: {HINT}"))
    }
}

/// The largest unit of 1024 that leaves a whole number: `64MiB`.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |factor: &u64| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (unit, factor) = UNITS[..5].iter().rev().find(|(_, factor)| whole(factor)).unwrap_or(&UNITS[0]);
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as `64MiB`")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<ByteSize, E> {
                let cause = || E::custom(with_hint(format_args!("expected a size, found `{bytes}`"), HINT));
                u64::try_from(bytes).map(ByteSize).map_err(|_| cause())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                let cause = || E::custom(with_hint(format_args!("expected a size, found `{text}`"), HINT));
                ByteSize::parse(text.trim()).ok_or_else(cause)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "size" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("64MiB", 64 << 20),
            ("1 GiB", 1 << 30),
            ("5kb", 5_000),
            ("16777215TiB", ((1 << 24) - 1) << 40),
        ] {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "64M", "64 megs", "16777216TiB", "99999999999999999999"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }

    #[test]
    fn shown_as_written() {
        for text in ["64MiB", "1GiB", "1000B", "0B", "3KiB"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
    }
}
