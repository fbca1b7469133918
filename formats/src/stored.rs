//! The compact form of an [`Event`] in a journal record: the raw bytes once, then the fields.
//!
//! On the way of an event it stands twice: intake encodes, every sink decodes. A text that is a
//! piece of the raw bytes is stored as a range into them, so a record is little longer than its
//! input. Layout, with `v` a LEB128 number:
//!
//! ```text
//! record  version:1 raw_len:v raw  fields:v (number:1 value)*  extras:v (group name value)*
//! value   head:v = payload << 3 | kind
//!         0 text, payload bytes follow     1 text, a range: payload bytes of raw from start:v
//!         2 JSON, payload bytes follow     3 JSON, a range
//!         4 whole number, payload zigzag   5 eight bytes: payload 0 an instant, 1 a whole number
//!         6 bool, payload 0 or 1           7 payload bytes of a kind still to come: skipped
//! text    head:v = payload << 2 | kind     0 bytes follow, 1 a range, 2 the group of the extra before
//! ```
//!
//! A reader skips field numbers and kinds it does not know and what follows the extras, so that
//! journals written by a later version can be read. The number of a [`Field`] never changes.
//!
//! Invariant: `decode` is total. No bytes make it panic, loop or ask for more memory than a small
//! multiple of their length.

use std::borrow::Cow;
use std::ops::Range;

use crate::{Event, Field, ParseError, Time, Value};

const VERSION: u8 = 1;

const TEXT: u64 = 0;
const TEXT_RANGE: u64 = 1;
const JSON: u64 = 2;
const JSON_RANGE: u64 = 3;
const SMALL_INT: u64 = 4;
const EIGHT_BYTES: u64 = 5;
const BOOL: u64 = 6;

const EIGHT_IS_TIME: u64 = 0;
const EIGHT_IS_INT: u64 = 1;

const SAME_GROUP: u64 = 2;

/// Appends the stored form of `event` to `out`.
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let raw = event.raw();
    let span = memory_span(raw);
    let fields = event.fields();
    // A field costs a few bytes over its text: one reservation serves an ordinary event.
    out.reserve(raw.len().saturating_add(256));
    out.push(VERSION);
    put_number(out, len64(raw));
    out.extend_from_slice(raw);
    put_number(out, u64::try_from(fields.len()).unwrap_or(0));
    for (field, value) in fields {
        out.push(field as u8);
        put_value(out, &span, value);
    }
    put_number(out, u64::try_from(event.extras().len()).unwrap_or(0));
    let mut group = "";
    for extra in event.extras() {
        if extra.group == group {
            put_number(out, SAME_GROUP);
        } else {
            put_text(out, &span, &extra.group, 2, TEXT);
            group = &extra.group;
        }
        put_text(out, &span, &extra.name, 2, TEXT);
        put_value(out, &span, &extra.value);
    }
}

/// Reads what [`encode`] wrote, into the memory of `reuse`.
///
/// What is only known when a record is read, such as its number, is set on the result:
///
/// ```
/// # use wharfinger_formats::{Event, Field, stored};
/// let mut record = Vec::new();
/// stored::encode(&Event::new(b"bytes"), &mut record);
/// let mut event = stored::decode(&record, Event::new(b""))?;
/// event.set(Field::EventId, "00000000deadbeef-0000000000000001");
/// # Ok::<(), wharfinger_formats::ParseError>(())
/// ```
///
/// # Errors
/// The bytes are not a whole stored event: the offset where that shows.
pub fn decode<'a>(bytes: &'a [u8], reuse: Event<'_>) -> Result<Event<'a>, ParseError> {
    let mut reader = Reader { rest: bytes };
    let error =
        |reader: &Reader<'_>, expected| ParseError::new(bytes.len().saturating_sub(reader.rest.len()), expected);
    if reader.byte() != Some(VERSION) {
        return Err(ParseError::new(0, "a stored event of version 1"));
    }
    let Some(raw) = reader.length().and_then(|len| reader.take(len)) else {
        return Err(error(&reader, "the raw bytes of a stored event"));
    };
    let mut event = reuse.reuse(raw);
    // Checked once, so that a range needs only its two ends checked.
    let source = Raw { bytes: raw, text: simdutf8::basic::from_utf8(raw).ok() };
    match read_fields(&mut reader, source, &mut event).and_then(|()| read_extras(&mut reader, source, &mut event)) {
        Some(()) => Ok(event),
        None => Err(error(&reader, "a field of a stored event")),
    }
}

fn read_fields<'a>(reader: &mut Reader<'a>, raw: Raw<'a>, event: &mut Event<'a>) -> Option<()> {
    for _ in 0..reader.number()? {
        let field = Field::from_number(reader.byte()?);
        let value = reader.value(raw)?;
        if let (Some(field), Some(value)) = (field, value) {
            event.set(field, value);
        }
    }
    Some(())
}

fn read_extras<'a>(reader: &mut Reader<'a>, raw: Raw<'a>, event: &mut Event<'a>) -> Option<()> {
    let mut group = "";
    for _ in 0..reader.number()? {
        group = reader.text(raw, group)?;
        let name = reader.text(raw, "")?;
        if let Some(value) = reader.value(raw)? {
            event.extra(group, name, value);
        }
    }
    Some(())
}

/// The raw bytes of a record, also as text when all of them are.
#[derive(Clone, Copy)]
struct Raw<'a> {
    bytes: &'a [u8],
    text: Option<&'a str>,
}

impl<'a> Raw<'a> {
    #[inline(always)]
    fn slice(self, start: usize, len: usize) -> Option<&'a str> {
        let range = start..start.checked_add(len)?;
        match self.text {
            Some(text) => text.get(range),
            None => std::str::from_utf8(self.bytes.get(range)?).ok(),
        }
    }
}

/// What is left of the record.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 { Some(first.into()) } else { self.long_number(first) }
    }

    #[cold]
    fn long_number(&mut self, first: u8) -> Option<u64> {
        let mut number = u64::from(first & 0x7f);
        for shift in [7, 14, 21, 28, 35, 42, 49, 56, 63] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    #[inline(always)]
    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    #[inline(always)]
    fn inline(&mut self, len: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(len)?).ok()
    }

    #[inline(always)]
    fn range(&mut self, raw: Raw<'a>, len: usize) -> Option<&'a str> {
        raw.slice(self.length()?, len)
    }

    #[inline(always)]
    fn text(&mut self, raw: Raw<'a>, group: &'a str) -> Option<&'a str> {
        let head = self.number()?;
        let len = usize::try_from(head.wrapping_shr(2)).ok()?;
        match head & 3 {
            TEXT => self.inline(len),
            TEXT_RANGE => self.range(raw, len),
            SAME_GROUP => Some(group),
            _ => None,
        }
    }

    /// The next value; `Some(None)` is a value of a kind this version does not know.
    #[inline(always)]
    fn value(&mut self, raw: Raw<'a>) -> Option<Option<Value<'a>>> {
        let head = self.number()?;
        let payload = head.wrapping_shr(3);
        let len = usize::try_from(payload).ok()?;
        Some(Some(match head & 7 {
            TEXT => Value::Str(Cow::Borrowed(self.inline(len)?)),
            TEXT_RANGE => Value::Str(Cow::Borrowed(self.range(raw, len)?)),
            JSON => Value::Json(Cow::Borrowed(self.inline(len)?)),
            JSON_RANGE => Value::Json(Cow::Borrowed(self.range(raw, len)?)),
            SMALL_INT => Value::Int(unzigzag(payload)),
            EIGHT_BYTES => {
                let number = i64::from_le_bytes(*self.take(8)?.first_chunk()?);
                match payload {
                    EIGHT_IS_TIME => Value::Time(Time(number)),
                    EIGHT_IS_INT => Value::Int(number),
                    _ => return Some(None),
                }
            }
            BOOL => Value::Bool(payload != 0),
            _ => {
                self.take(len)?;
                return Some(None);
            }
        }))
    }
}

fn put_value(out: &mut Vec<u8>, span: &Range<usize>, value: &Value<'_>) {
    match value {
        Value::Str(text) => put_text(out, span, text, 3, TEXT),
        Value::Json(text) => put_text(out, span, text, 3, JSON),
        Value::Time(time) => put_eight(out, EIGHT_IS_TIME, time.0),
        Value::Int(number) => match zigzag(*number) {
            small if small < 1_u64.wrapping_shl(60) => put_number(out, small.wrapping_shl(3) | SMALL_INT),
            _ => put_eight(out, EIGHT_IS_INT, *number),
        },
        Value::Bool(value) => put_number(out, u64::from(*value).wrapping_shl(3) | BOOL),
    }
}

/// A text as a range of the raw bytes where it is one, else its bytes; `kind` is that of bytes and
/// the one after it that of a range.
fn put_text(out: &mut Vec<u8>, span: &Range<usize>, text: &str, kind_bits: u32, kind: u64) {
    let head = len64(text.as_bytes()).wrapping_shl(kind_bits) | kind;
    let memory = memory_span(text.as_bytes());
    if span.start <= memory.start && memory.end <= span.end {
        put_number(out, head | 1);
        put_number(out, u64::try_from(memory.start.saturating_sub(span.start)).unwrap_or(0));
    } else {
        put_number(out, head);
        out.extend_from_slice(text.as_bytes());
    }
}

fn put_eight(out: &mut Vec<u8>, what: u64, number: i64) {
    put_number(out, what.wrapping_shl(3) | EIGHT_BYTES);
    out.extend_from_slice(&number.to_le_bytes());
}

#[inline]
fn put_number(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        let [low, ..] = rest.to_le_bytes();
        out.push(low | 0x80);
        rest = rest.wrapping_shr(7);
    }
    let [low, ..] = rest.to_le_bytes();
    out.push(low);
}

/// Where bytes lie in memory: two texts with nested spans hold the same bytes.
fn memory_span(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start.saturating_add(bytes.len())
}

fn len64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(0)
}

/// Small numbers of either sign to small numbers.
fn zigzag(number: i64) -> u64 {
    (number.wrapping_shl(1) ^ number.wrapping_shr(63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    number.wrapping_shr(1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(event: &Event<'_>) -> Vec<u8> {
        let mut record = Vec::new();
        encode(event, &mut record);
        record
    }

    #[test]
    fn pieces_of_raw_are_stored_as_ranges() {
        let raw = "<13>host su: a message long enough to be worth a range";
        let mut event = Event::new(raw.as_bytes());
        event.set(Field::HostName, &raw[4..8]);
        event.set(Field::Msg, &raw[13..]);
        event.set(Field::EventClass, "syslog");
        event.set(Field::Time, Time(1_795_251_800_158_734_145));
        event.extra("sd", &raw[9..11], "value");
        event.extra("sd", "other", Value::Json(Cow::Borrowed(&raw[1..3])));
        let record = stored(&event);
        assert_eq!(record.windows(7).filter(|window| *window == b"message").count(), 1);
        assert_eq!(decode(&record, Event::new(b"")).unwrap(), event);
    }

    #[test]
    fn what_a_later_version_adds_is_skipped() {
        let mut event = Event::new(b"raw");
        event.set(Field::Action, "start");
        // Version, raw, three fields: one of an unknown number, one of an unknown kind, one known; then a tail.
        let mut record = vec![1, 3, b'r', b'a', b'w', 3];
        record.extend_from_slice(&[254, 5 << 3, b'o', b't', b'h', b'e', b'r']);
        record.extend_from_slice(&[Field::Outcome as u8, 2 << 3 | 7, 9, 9]);
        record.extend_from_slice(&[Field::Action as u8, 5 << 3, b's', b't', b'a', b'r', b't']);
        record.extend_from_slice(&[0, b't', b'a', b'i', b'l']);
        assert_eq!(decode(&record, Event::new(b"")).unwrap(), event);
    }

    #[test]
    fn cut_records_are_errors() {
        let mut event = Event::new("räw".as_bytes());
        event.set(Field::Severity, i64::MIN);
        event.set(Field::Msg, String::from("own"));
        event.extra("a", "b", true);
        let record = stored(&event);
        for len in 0..record.len() {
            decode(&record[..len], Event::new(b"")).unwrap_err();
        }
        assert_eq!(decode(&record, Event::new(b"")).unwrap(), event);
    }

    /// A value from plain parts: a piece of `raw`, own text, or a number.
    fn value<'a>(raw: &'a str, kind: u8, text: &str, number: i64) -> Value<'a> {
        let [from, to, ..] = number.to_le_bytes().map(usize::from);
        let piece = raw.get(from % (raw.len() + 1)..).and_then(|rest| rest.get(..to % (rest.len() + 1)));
        match kind % 7 {
            0 => Value::from(piece.unwrap_or("")),
            1 => Value::Json(Cow::Borrowed(piece.unwrap_or(""))),
            2 => Value::from(text.to_owned()),
            3 => Value::Json(Cow::Owned(text.to_owned())),
            4 => Value::Int(number),
            5 => Value::Time(Time(number)),
            _ => Value::Bool(number > 0),
        }
    }

    proptest! {
        #[test]
        fn decode_gives_back_what_was_encoded(
            raw in ".{0,60}",
            parts in proptest::collection::vec((any::<u8>(), any::<u8>(), ".{0,9}", any::<i64>()), 0..30),
        ) {
            let mut event = Event::new(raw.as_bytes());
            for (what, kind, text, number) in &parts {
                match Field::from_number(what / 2) {
                    Some(field) => event.set(field, value(&raw, *kind, text, *number)),
                    None => {
                        let group = ["", "sd", raw.as_str()][usize::from(what % 3)];
                        event.extra(group, text.as_str(), value(&raw, *kind, text, *number));
                    }
                }
            }
            let record = stored(&event);
            prop_assert_eq!(decode(&record, Event::new(b"")).unwrap(), event);
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, Event::new(b""));
            bytes.splice(0..0, [VERSION, 3, b'a', b'b', 0xff]);
            let _ = decode(&bytes, Event::new(b""));
        }
    }
}
