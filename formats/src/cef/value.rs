//! What values of CEF say: escapes undone, numbers, instants and addresses as such.
//!
//! Invariant: a value is understood whole or stays the text it was.

use std::net::IpAddr;

use super::grammar::Piece;
use super::keys::Takes;
use crate::event::{Cell, Span};
use crate::text::Text;
use crate::{Context, Event, Time, rfc3164};

/// How a backslash is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// "Header: `\|` → `|`, `\\` → `\`; other kept as two characters."
    Header,
    /// There `\=`, `\n` and `\r` stand for one character as well.
    Extension,
}

/// Keeps a piece of the line with its escapes undone. No allocation without one.
#[inline]
pub(super) fn keep(event: &mut Event<'_>, text: &Text<'_>, piece: Piece, place: Place) -> Span {
    match piece.is_escaped {
        false => event.keep(text, piece.range()),
        true => keep_escaped(event, text, piece, place),
    }
}

#[cold]
#[inline(never)]
fn keep_escaped(event: &mut Event<'_>, text: &Text<'_>, piece: Piece, place: Place) -> Span {
    let written = text.piece(piece.range());
    event.span_with(|own| unescape(&written, place, own))
}

/// Appends the text with its escapes undone, from left to right: `\\n` is a backslash and an `n`.
pub(crate) fn unescape(written: &str, place: Place, out: &mut String) {
    let mut rest = written;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (char, used) = match (place, after.as_bytes().first()) {
            (_, Some(b'|')) => ('|', 1),
            (_, Some(b'\\')) => ('\\', 1),
            (Place::Extension, Some(b'=')) if !planted!("cef") => ('=', 1),
            (Place::Extension, Some(b'n')) => ('\n', 1),
            (Place::Extension, Some(b'r')) => ('\r', 1),
            // `C:\temp`, and a backslash at the end.
            _ => ('\\', 0),
        };
        out.push(char);
        rest = after.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The value as what a key takes; nothing when it is something else.
pub(super) fn typed(written: &str, takes: Takes, context: &Context) -> Option<Typed> {
    match takes {
        Takes::Text(_) | Takes::Mac | Takes::Address | Takes::Ipv6 => None,
        Takes::Int | Takes::Port | Takes::Long => whole(written).map(Typed::Int),
        Takes::Float => is_number(written).then_some(Typed::Number),
        Takes::Time => instant(written, context).map(Typed::Time),
    }
}

/// A value that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    Int(i64),
    Time(Time),
    /// As JSON writes numbers: kept as it is written.
    Number,
}

impl Typed {
    /// The cell of it; `span` is where the value stands.
    pub(super) fn cell(self, span: Span) -> Cell {
        match self {
            Typed::Int(number) => Cell::Int(number),
            Typed::Time(time) => Cell::Time(time.0),
            Typed::Number => Cell::Json(span),
        }
    }
}

/// A whole number as everybody writes it. With zeros before it or a plus sign it stays a text: what
/// comes out must be what came in.
#[inline]
pub(crate) fn whole(written: &str) -> Option<i64> {
    let digits = written.strip_prefix('-').unwrap_or(written).as_bytes();
    let is_plain = match digits {
        [b'0'] => written.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_plain { written.parse().ok() } else { None }
}

/// A whole number in any writing; one that no 64 bits hold is the nearest they do.
pub(crate) fn saturating(written: &str) -> Option<i64> {
    let digits = written.strip_prefix(['-', '+']).unwrap_or(written);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(written.parse().unwrap_or(if written.starts_with('-') { i64::MIN } else { i64::MAX }))
}

/// Whether it is a number of JSON.
pub(crate) fn is_number(written: &str) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let bytes = written.strip_prefix('-').unwrap_or(written).as_bytes();
    let whole = digits(bytes);
    if whole == 0 || (whole > 1 && bytes.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = bytes.get(whole..).unwrap_or_default();
    if let Some(after) = rest.strip_prefix(b".") {
        let fraction = digits(after);
        if fraction == 0 {
            return false;
        }
        rest = after.get(fraction..).unwrap_or_default();
    }
    if let [b'e' | b'E', after @ ..] = rest {
        let after = after.strip_prefix(b"-").or_else(|| after.strip_prefix(b"+")).unwrap_or(after);
        return !after.is_empty() && digits(after) == after.len();
    }
    rest.is_empty()
}

/// An instant in one of the forms of §1.3, or of the wild: seconds, milliseconds, microseconds or
/// nanoseconds since 1970 by their 10, 13, 16 or 19 digits, ISO 8601, any of them in quotes.
pub(crate) fn instant(written: &str, context: &Context) -> Option<Time> {
    let trimmed = written.trim_matches(' ');
    let inside = |quote| trimmed.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    let text = inside('"').or_else(|| inside('\'')).unwrap_or(trimmed);
    if text.as_bytes().iter().all(u8::is_ascii_digit) {
        let worth: i64 = match text.len() {
            10 => 1_000_000_000,
            13 => 1_000_000,
            16 => 1_000,
            19 => 1,
            // Milliseconds before September 2001.
            1..=12 => 1_000_000,
            _ => return None,
        };
        return text.parse::<i64>().ok()?.checked_mul(worth).map(Time);
    }
    let (time, used) = rfc3164::timestamp(text.as_bytes(), context)?;
    (used == text.len()).then_some(time)
}

/// An address, whichever version the line is of.
pub(crate) fn address(written: &str) -> Option<IpAddr> {
    written.parse().ok()
}

/// Whether a value of an address key is a host's name: that is met where the address was unknown.
pub(crate) fn is_host_name(written: &str) -> bool {
    let bytes = written.as_bytes();
    (1..=255).contains(&bytes.len())
        && bytes.iter().any(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offset;

    fn check(written: &str, place: Place, expected: &str) {
        let mut out = String::new();
        unescape(written, place, &mut out);
        assert_eq!(out, expected, "{written:?}");
    }

    #[test]
    fn escapes_from_left_to_right() {
        check(r"a\=b\\c\|d\ne\rf", Place::Extension, "a=b\\c|d\ne\rf");
        check(r"\\n\\\n\\\\n", Place::Extension, "\\n\\\n\\\\n");
        check(r"C:\temp\x\", Place::Extension, r"C:\temp\x\");
        check(r"C:\new", Place::Extension, "C:\new");
        check(r"a\|b\\c\=d\n\", Place::Header, r"a|b\c\=d\n\");
        check("\\é", Place::Extension, "\\é");
    }

    #[test]
    fn instants_of_the_standard_and_of_the_wild() {
        let context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };
        for (written, nanos) in [
            ("1795251800158", 1_795_251_800_158_000_000),
            ("1795251800", 1_795_251_800_000_000_000),
            ("1795251800158734", 1_795_251_800_158_734_000),
            ("1795251800158734145", 1_795_251_800_158_734_145),
            ("0", 0),
            ("999999999999", 999_999_999_999_000_000),
            ("Nov 21 2026 09:03:20", 1_795_251_800_000_000_000),
            ("Nov 21 2026 09:03:20.158 UTC", 1_795_251_800_158_000_000),
            ("Nov 21 2026 10:03:20 GMT+01:00", 1_795_251_800_000_000_000),
            ("Nov 21 2026 10:03:20 +01:00", 1_795_251_800_000_000_000),
            ("Nov 21 2026 04:03:20 EST", 1_795_251_800_000_000_000),
            ("Nov 21 09:03:20", 1_795_251_800_000_000_000),
            ("nov 1 09:03:20.5", 1_793_523_800_500_000_000),
            ("2026-11-21T09:03:20.158Z", 1_795_251_800_158_000_000),
            ("2026-11-21 10:03:20+01:00", 1_795_251_800_000_000_000),
            ("\"Nov 21 2026 09:03:20\"", 1_795_251_800_000_000_000),
            ("'1795251800158' ", 1_795_251_800_158_000_000),
        ] {
            assert_eq!(instant(written, &context), Some(Time(nanos)), "{written}");
        }
        for written in ["", "componentName", "12345678901234", "Nov 21 2026 09:03:20 x", "-1", "Nov 32 09:03:20"] {
            assert_eq!(instant(written, &context), None, "{written}");
        }
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        for (written, expected) in [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("00", None),
            ("-0", None),
            ("+1", None),
            ("1.0", None),
            ("", None),
            ("-", None),
            ("%llu", None),
        ] {
            assert_eq!(whole(written), expected, "{written}");
        }
        for (written, expected) in [
            ("38.915", true),
            ("-77.511", true),
            ("0", true),
            ("1e5", true),
            ("1.5E-3", true),
            ("01", false),
            ("1.", false),
            (".5", false),
            ("1e", false),
            ("NaN", false),
            ("", false),
        ] {
            assert_eq!(is_number(written), expected, "{written}");
        }
    }

    #[test]
    fn names_and_addresses() {
        assert!(address("2001:db8::1").is_some() && address("10.0.0.1").is_some() && address("00.00.00.00").is_none());
        for (written, expected) in
            [("hostname", true), ("web-1.example", true), ("00.00.00.00", false), ("", false), ("a b", false)]
        {
            assert_eq!(is_host_name(written), expected, "{written}");
        }
    }
}
