//! `5s`: a length of time as users write it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::with_hint;

/// A length of time: whole numbers with `ms`, `s`, `m`, `h` or `d`, the largest first (`1h30m`).
/// Derefs to [`Duration`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(Duration);

/// Milliseconds of each unit. `ms` stands before `m` and `s`, so that a search by prefix finds it.
const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const HINT: &str = "write a whole number and a unit: `500ms`, `5s`, `10m`, `2h`, `7d`";

impl Interval {
    /// That many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Interval(Duration::from_secs(seconds))
    }

    /// That many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Interval(Duration::from_millis(millis))
    }

    /// As the standard library counts.
    pub const fn get(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Option<Interval> {
        let (mut rest, mut millis, mut last) = (text, 0_u64, u64::MAX);
        while !rest.is_empty() || text.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, unit) = rest.split_at(digits);
            let (name, factor) = UNITS.iter().find(|(name, _)| unit.starts_with(name))?;
            if *factor >= last {
                return None;
            }
            last = *factor;
            millis = number.parse::<u64>().ok()?.checked_mul(*factor)?.checked_add(millis)?;
            rest = unit.strip_prefix(name)?;
        }
        Some(Interval(Duration::from_millis(millis)))
    }
}

impl Deref for Interval {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Duration {
        interval.0
    }
}

/// As it would be written: `1h30m`, `0s`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        for (name, factor) in [UNITS[4], UNITS[3], UNITS[2], UNITS[1], UNITS[0]] {
            if millis >= factor {
                write!(f, "{}{name}", millis / factor)?;
                millis %= factor;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Interval;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `5s`")
            }

            // A bare number would leave the unit to be guessed.
            fn visit_u64<E: Error>(self, number: u64) -> Result<Interval, E> {
                let hint = format!("say the unit: `{number}s` for seconds, `{number}ms` for milliseconds");
                Err(E::custom(with_hint(format_args!("expected a duration, found the number `{number}`"), &hint)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Interval, E> {
                let cause = || E::custom(with_hint(format_args!("expected a duration, found `{text}`"), HINT));
                Interval::parse(text.trim()).ok_or_else(cause)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl serde::Serialize for Interval {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("5s", 5_000), ("500ms", 500), ("1m", 60_000), ("1h30m", 5_400_000), ("7d", 604_800_000)]
        {
            let interval = Interval::parse(text).unwrap();
            assert_eq!(interval.get(), Duration::from_millis(millis), "{text}");
            assert_eq!(interval.to_string(), text);
        }
        for text in
            ["", "5", "s", "5 s", "1.5s", "-1s", "5sec", "30m1h", "1s1s", "999999999999999999999d", "9999999999999d"]
        {
            assert_eq!(Interval::parse(text), None, "{text}");
        }
        assert_eq!(Interval::seconds(0).to_string(), "0s");
    }
}
