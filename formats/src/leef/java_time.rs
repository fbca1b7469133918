//! Times as a pattern of Java's SimpleDateFormat describes them: `devTimeFormat=MMM dd yyyy HH:mm:ss.SSS z`.
//!
//! Invariant: total; a letter that is not known here makes the time one that cannot be read.

use crate::time::number;
use crate::{Civil, Context, Offset, Time, rfc3164};

/// The time, when all of `written` is as `pattern` says.
pub(super) fn read(written: &str, pattern: &str, context: &Context) -> Option<Time> {
    let mut parts =
        Parts { year: None, month: 1, day: 1, hour: 0, minute: 0, second: 0, nanos: 0, pm: None, zone: None };
    let mut rest = written.trim().as_bytes();
    let mut pattern = pattern.trim().as_bytes();
    while let Some(letter) = pattern.first() {
        if *letter == b'\'' {
            let (literal, after) = quoted(pattern.get(1..)?)?;
            rest = rest.strip_prefix(literal)?;
            pattern = after;
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            rest = rest.strip_prefix(&[*letter])?;
            pattern = pattern.get(1..)?;
            continue;
        }
        let len = pattern.iter().take_while(|byte| *byte == letter).count();
        pattern = pattern.get(len..)?;
        // Digits that no other letter ends belong to their own letters alone.
        let is_joined = pattern.first().is_some_and(u8::is_ascii_alphabetic);
        rest = parts.read(*letter, len, is_joined, rest)?;
    }
    if rest.is_empty() { parts.time(context) } else { None }
}

/// The text up to the closing quote, and what stands behind it. Two quotes are one.
fn quoted(pattern: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = pattern.iter().position(|byte| *byte == b'\'')?;
    let after = pattern.get(end.saturating_add(1)..)?;
    if end == 0 { Some((b"'", after)) } else { Some((pattern.get(..end)?, after)) }
}

/// What of a time is known.
struct Parts {
    year: Option<i32>,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    nanos: u32,
    pm: Option<bool>,
    zone: Option<Offset>,
}

impl Parts {
    /// Reads what `len` times `letter` stand for; answers what follows.
    fn read<'t>(&mut self, letter: u8, len: usize, is_joined: bool, text: &'t [u8]) -> Option<&'t [u8]> {
        if letter == b'M' && len >= 3 {
            return self.month_name(text);
        }
        match letter {
            b'z' | b'Z' | b'X' => {
                let (zone, used) = rfc3164::zone_of(text)?;
                self.zone = Some(zone);
                return text.get(used..);
            }
            b'a' => {
                let half = text.get(..2)?;
                self.pm = Some(half.eq_ignore_ascii_case(b"pm"));
                return text.get(2..).filter(|_| self.pm == Some(true) || half.eq_ignore_ascii_case(b"am"));
            }
            // The name of a day says nothing that the date does not.
            b'E' => return text.get(text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()..),
            _ => {}
        }
        let most = if is_joined { len } else { 9 };
        let digits = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let value = number(text.get(..digits)?)?;
        let small = u8::try_from(value).ok();
        match letter {
            b'y' | b'u' if digits <= 2 => self.year = i32::try_from(value).ok()?.checked_add(2_000),
            b'y' | b'u' => self.year = i32::try_from(value).ok(),
            b'M' => self.month = small?,
            b'd' => self.day = small?,
            b'H' | b'h' => self.hour = small?,
            // 24 is midnight there.
            b'k' => self.hour = if value == 24 { 0 } else { small? },
            b'K' => self.hour = small?,
            b'm' => self.minute = small?,
            b's' => self.second = small?,
            // The number of milliseconds, not a fraction: `.5` are five of them.
            b'S' => self.nanos = value.checked_mul(1_000_000).filter(|_| value < 1_000)?,
            _ => return None,
        }
        text.get(digits..)
    }

    fn month_name<'t>(&mut self, text: &'t [u8]) -> Option<&'t [u8]> {
        let letters = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        self.month = rfc3164::month(text.get(..3)?)?;
        text.get(letters..)
    }

    /// Without a year it is that of receipt, or the one before when that lies more than a day ahead.
    fn time(self, context: &Context) -> Option<Time> {
        let hour = match (self.pm, self.hour) {
            (Some(true), hour @ 1..=11) => hour.checked_add(12)?,
            (Some(false), 12) => 0,
            (_, hour) => hour,
        };
        let received = context.received;
        let year = self.year.unwrap_or(received.civil().year);
        let civil = |year| Civil {
            year,
            month: self.month,
            day: self.day,
            hour,
            minute: self.minute,
            second: self.second,
            nanos: self.nanos,
        };
        let zone = self.zone.unwrap_or(context.zone);
        let time = civil(year).to_time(zone)?;
        match time.0.saturating_sub(received.0) > 86_400_000_000_000 && self.year.is_none() {
            true => civil(year.checked_sub(1)?).to_time(zone),
            false => Some(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_documentation_and_more() {
        let context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(3_600) };
        for (written, pattern, expected) in [
            ("Nov 21 2026 10:03:20", "MMM dd yyyy HH:mm:ss", Some(1_795_251_800_000_000_000)),
            ("Nov 21 2026 09:03:20.158 GMT", "MMM dd yyyy HH:mm:ss.SSS z", Some(1_795_251_800_158_000_000)),
            ("2026-11-21T09:03:20.158+0000", "yyyy-MM-dd'T'HH:mm:ss.SSSZ", Some(1_795_251_800_158_000_000)),
            ("20261121100320", "yyyyMMddHHmmss", Some(1_795_251_800_000_000_000)),
            ("21/11/26 10:03:20 AM", "dd/MM/yy hh:mm:ss a", Some(1_795_251_800_000_000_000)),
            ("Sat, 1 Nov 2026 12:00:00 am", "EEE, d MMM yyyy hh:mm:ss a", Some(1_793_487_600_000_000_000)),
            ("Nov 21 10:03:20", "MMM dd HH:mm:ss", Some(1_795_251_800_000_000_000)),
            ("Dec 31 10:03:20", "MMM dd HH:mm:ss", Some(1_767_171_800_000_000_000)),
            ("it's 2026", "'it''s' yyyy", None),
            ("2026-11-21", "yyyy-MM-dd HH", None),
            ("2026-11-21 x", "yyyy-MM-dd", None),
            ("2026-13-21", "yyyy-MM-dd", None),
            ("47", "ww", None),
            ("", "'", None),
        ] {
            assert_eq!(read(written, pattern, &context).map(|time| time.0), expected, "{written} {pattern}");
        }
    }
}
