//! The compact form of an [`Event`] in a journal record: the raw bytes once, then what was made of them.
//!
//! On the way of an event it stands twice: intake encodes, every sink decodes. An event keeps its
//! texts as ranges of its raw bytes or of its own text, and so does its stored form: both areas are
//! copied whole, and fields and extras are rows of one size, so that reading them is one loop without
//! a state. Layout, `n` being a little-endian `u16`, or `u32` when flag 1 is set:
//!
//! ```text
//! record  version u8, flags u8, raw length n, own length n, fields n, extras n,
//!         raw, own text, field*, extra*, (eight bytes)*
//! field   number u8, value
//! extra   group text, name text, value
//! text    start n, length n: of the raw bytes followed by the own text (flag 2: of the own text alone)
//! value   kind u8, then of the size of a text: 0 text  1 JSON text  2 whole number
//!         3 whole number, 4 instant: which of the eight bytes  5 false  6 true
//! ```
//!
//! Flag 4 says that the raw bytes were read as one JSON value when the event was made: an emitter that passes
//! them on believes it, as it believes the rest of a record.
//!
//! A reader skips field numbers and kinds it does not know and what follows the extras, so that
//! journals written by a later version can be read. The number of a [`Field`] never changes.
//!
//! Invariant: `decode` is total. No bytes make it panic, loop or ask for more memory than a small
//! multiple of their length.

use crate::event::{Cell, ExtraCell, Span};
use crate::{Event, Field, ParseError};

const VERSION: u8 = 1;

/// Lengths do not fit into 16 bits.
const WIDE: u8 = 1;
/// The raw bytes are not UTF-8: no text is a piece of them.
const RAW_IS_NO_TEXT: u8 = 2;
/// The raw bytes were read to their end as JSON: no emitter needs to look again.
const RAW_IS_JSON: u8 = 4;

const TEXT: u8 = 0;
const JSON: u8 = 1;
const SMALL: u8 = 2;
const NUMBER: u8 = 3;
const INSTANT: u8 = 4;
const FALSE: u8 = 5;
const TRUE: u8 = 6;

/// Bytes of a field and of an extra, narrow and wide.
const FIELD: [usize; 2] = [6, 10];
const EXTRA: [usize; 2] = [13, 25];

/// Appends the stored form of `event` to `out`. Raw bytes and texts hold at most 4 GiB.
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let raw = event.raw();
    let (own, fields, extras) = event.parts();
    let area = raw.len().saturating_add(own.len());
    let (fields, extras) = (fields.len(), extras.len());
    if area.max(fields).max(extras) <= usize::from(u16::MAX) {
        let most = fields.saturating_mul(14).saturating_add(extras.saturating_mul(21));
        out.reserve(area.saturating_add(most).saturating_add(10));
        Writer::<'_, { FIELD[0] }>::new(event, out).write(event);
    } else {
        Writer::<'_, { FIELD[1] }>::new(event, out).write(event);
    }
}

struct Writer<'o, const FIELD: usize> {
    out: &'o mut Vec<u8>,
    /// Where the own text begins in the text area.
    own_at: u32,
    /// Values of eight bytes so far.
    numbers: u32,
}

impl<'o, const FIELD: usize> Writer<'o, FIELD> {
    const IS_WIDE: bool = FIELD > 6;
    /// Bits of two numbers.
    const PAIR_BITS: u32 = if Self::IS_WIDE { 64 } else { 32 };

    fn new(event: &Event<'_>, out: &'o mut Vec<u8>) -> Self {
        Writer { out, own_at: event.raw_text().map_or(0, |text| text.len() as u32), numbers: 0 }
    }

    fn write(mut self, event: &Event<'_>) {
        let raw = event.raw();
        let (own, fields, extras) = event.parts();
        let flags = if Self::IS_WIDE { WIDE } else { 0 }
            | if event.raw_text().is_some() { 0 } else { RAW_IS_NO_TEXT }
            | if event.raw_json().is_some() { RAW_IS_JSON } else { 0 };
        self.out.extend_from_slice(&[VERSION, flags]);
        let lengths = Self::pair(raw.len() as u32, own.len() as u32);
        let counts = Self::pair(fields.len() as u32, extras.len() as u32);
        self.row(u128::from(lengths) | u128::from(counts).wrapping_shl(Self::PAIR_BITS), Self::PAIR_BITS >> 2);
        self.out.extend_from_slice(raw);
        self.out.extend_from_slice(own.as_bytes());
        for (field, cell) in fields {
            let (kind, value) = self.value(*cell);
            let head = u128::from(*field as u8) | u128::from(kind) << 8;
            self.row(head | u128::from(value) << 16, FIELD as u32);
        }
        for extra in extras {
            let (kind, value) = self.value(extra.value);
            let names = u128::from(self.text(extra.group)) | u128::from(self.text(extra.name)) << Self::PAIR_BITS;
            self.row(names, Self::PAIR_BITS >> 2);
            self.row(u128::from(kind) | u128::from(value) << 8, (Self::PAIR_BITS >> 3).wrapping_add(1));
        }
        if self.numbers > 0 {
            let values = fields.iter().map(|(_, cell)| *cell).chain(extras.iter().map(|extra| extra.value));
            for number in values.filter_map(|cell| eight_bytes(cell).map(|(_, number)| number)) {
                self.out.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// The lowest bytes of a number; how many is known when this is compiled.
    #[inline(always)]
    fn row(&mut self, bits: u128, len: u32) {
        self.out.extend_from_slice(bits.to_le_bytes().get(..len as usize).unwrap_or_default());
    }

    /// Two numbers in their width.
    #[inline(always)]
    fn pair(a: u32, b: u32) -> u64 {
        u64::from(a) | u64::from(b).wrapping_shl(Self::PAIR_BITS >> 1)
    }

    #[inline(always)]
    fn text(&self, span: Span) -> u64 {
        let own = if span.start & Span::OWN == 0 { 0 } else { self.own_at };
        Self::pair((span.start & !Span::OWN).wrapping_add(own), span.len)
    }

    #[inline(always)]
    fn value(&mut self, cell: Cell) -> (u8, u64) {
        match cell {
            Cell::Str(span) => (TEXT, self.text(span)),
            Cell::Json(span) => (JSON, self.text(span)),
            Cell::Bool(truth) => (if truth { TRUE } else { FALSE }, 0),
            _ => match eight_bytes(cell) {
                Some((kind, _)) => {
                    let which = self.numbers;
                    self.numbers = which.wrapping_add(1);
                    (kind, Self::pair(which & 0xFFFF, which >> 16))
                }
                None => {
                    let small = if let Cell::Int(small) = cell { small as u32 } else { 0 };
                    let small = if planted!("stored") { small & 0xFFFF } else { small };
                    (SMALL, Self::pair(small & 0xFFFF, small >> 16))
                }
            },
        }
    }
}

/// The kind and the number of a value that needs eight bytes.
#[inline(always)]
fn eight_bytes(cell: Cell) -> Option<(u8, i64)> {
    match cell {
        Cell::Int(number) if i32::try_from(number).is_err() => Some((NUMBER, number)),
        Cell::Time(nanos) => Some((INSTANT, nanos)),
        _ => None,
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
    let [VERSION, flags, rest @ ..] = bytes else {
        return Err(ParseError::new(0, "a stored event of version 1"));
    };
    let raw_is_text = flags & RAW_IS_NO_TEXT == 0;
    let event = if flags & WIDE == 0 {
        read::<{ FIELD[0] }, { EXTRA[0] }>(rest, raw_is_text, reuse)
    } else {
        read::<{ FIELD[1] }, { EXTRA[1] }>(rest, raw_is_text, reuse)
    };
    let mut event = event.map_err(|(rest, expected)| ParseError::new(bytes.len().saturating_sub(rest), expected))?;
    if flags & RAW_IS_JSON != 0 {
        event.mark_json();
    }
    Ok(event)
}

/// Two numbers, in the width of so many bytes.
#[inline(always)]
fn pair(bytes: &[u8]) -> (u32, u32) {
    match bytes {
        [a, b, c, d] => (u16::from_le_bytes([*a, *b]).into(), u16::from_le_bytes([*c, *d]).into()),
        [a, b, c, d, e, f, g, h] => (u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h])),
        _ => (0, 0),
    }
}

/// An error is how many bytes were left, and what was expected there.
fn read<'a, const FIELD: usize, const EXTRA: usize>(
    bytes: &'a [u8],
    raw_is_text: bool,
    reuse: Event<'_>,
) -> Result<Event<'a>, (usize, &'static str)> {
    let size = FIELD.saturating_sub(2);
    let Some((head, rest)) = bytes.split_at_checked(size.saturating_mul(2)) else {
        return Err((bytes.len(), "the lengths of a stored event"));
    };
    let (lengths, counts) = head.split_at_checked(size).unwrap_or_default();
    let ((raw_len, own_len), (fields, extras)) = (pair(lengths), pair(counts));
    let Some((areas, rest)) = Areas::split(rest, raw_len as usize, own_len as usize, raw_is_text) else {
        return Err((rest.len(), "the raw bytes and texts of a stored event"));
    };
    let rows = rest.split_at_checked((fields as usize).saturating_mul(FIELD)).and_then(|(fields, rest)| {
        let (extras, rest) = rest.split_at_checked((extras as usize).saturating_mul(EXTRA))?;
        Some((fields, extras, rest))
    });
    let Some((fields, extras, numbers)) = rows else {
        return Err((rest.len(), "the fields of a stored event"));
    };
    let values = Values { areas, numbers: numbers.as_chunks().0 };
    let mut event = reuse.reuse_as(areas.raw, areas.text);
    event.own_mut().push_str(areas.own);
    for row in fields.as_chunks::<FIELD>().0 {
        let [number, kind, value @ ..] = row.as_slice() else { continue };
        let Some(field) = Field::from_number(*number).filter(|_| *kind <= TRUE) else { continue };
        let Some(cell) = values.value(*kind, value) else {
            return Err((rest.len(), "a field of a stored event"));
        };
        event.put(field, cell);
    }
    for row in extras.as_chunks::<EXTRA>().0 {
        let (group, rest_of_row) = row.split_at_checked(size).unwrap_or_default();
        let (name, rest_of_row) = rest_of_row.split_at_checked(size).unwrap_or_default();
        let [kind, value @ ..] = rest_of_row else { continue };
        if *kind > TRUE {
            continue;
        }
        let parts = (areas.span(pair(group)), areas.span(pair(name)), values.value(*kind, value));
        let (Some(group), Some(name), Some(value)) = parts else {
            return Err((rest.len(), "an extra of a stored event"));
        };
        event.push_extra(ExtraCell { group, name, value });
    }
    Ok(event)
}

/// What values refer to.
#[derive(Clone, Copy)]
struct Values<'a> {
    areas: Areas<'a>,
    numbers: &'a [[u8; 8]],
}

impl Values<'_> {
    #[inline(always)]
    fn value(self, kind: u8, bytes: &[u8]) -> Option<Cell> {
        let both = pair(bytes);
        let whole = both.0 & 0xFFFF | both.1.wrapping_shl(16);
        let eight = || self.numbers.get(whole as usize).map(|bytes| i64::from_le_bytes(*bytes));
        Some(match kind {
            TEXT => Cell::Str(self.areas.span(both)?),
            JSON => Cell::Json(self.areas.span(both)?),
            SMALL => Cell::Int(i64::from(whole as i32)),
            NUMBER => Cell::Int(eight()?),
            INSTANT => Cell::Time(eight()?),
            _ => Cell::Bool(kind == TRUE),
        })
    }
}

/// The raw bytes and the two texts that values are ranges of.
#[derive(Clone, Copy)]
struct Areas<'a> {
    raw: &'a [u8],
    /// The raw bytes as text, or empty.
    text: &'a str,
    own: &'a str,
}

impl<'a> Areas<'a> {
    /// Takes them from the front of `bytes`. One look at the encoding serves every range.
    fn split(bytes: &'a [u8], raw_len: usize, own_len: usize, raw_is_text: bool) -> Option<(Self, &'a [u8])> {
        let (both, rest) = bytes.split_at_checked(raw_len.checked_add(own_len)?)?;
        let (raw, own) = both.split_at_checked(raw_len)?;
        let (text, own) = match raw_is_text {
            true => simdutf8::basic::from_utf8(both).ok()?.split_at_checked(raw_len)?,
            false => ("", simdutf8::basic::from_utf8(own).ok()?),
        };
        (both.len() < Span::OWN as usize).then_some((Areas { raw, text, own }, rest))
    }

    /// The range as an event keeps it: emitters copy its bytes, so it must be one of whole characters.
    #[inline(always)]
    fn span(self, (start, len): (u32, u32)) -> Option<Span> {
        // Both texts are shorter than 2 GiB.
        let (text, start, own) = match start.checked_sub(self.text.len() as u32) {
            Some(start) if !self.own.is_empty() => (self.own, start, Span::OWN),
            _ => (self.text, start, 0),
        };
        let end = (start as usize).checked_add(len as usize)?;
        let whole = text.is_char_boundary(start as usize) && text.is_char_boundary(end);
        whole.then_some(Span { start: start | own, len })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Time, Value};

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
        event.extra("sd", "other", Value::Json(&raw[1..3]));
        let record = stored(&event);
        assert_eq!(record.windows(7).filter(|window| *window == b"message").count(), 1);
        assert_eq!(decode(&record, Event::new(b"")).unwrap(), event);
    }

    #[test]
    fn what_a_later_version_adds_is_skipped() {
        let mut event = Event::new(b"raw");
        event.set(Field::Action, "start");
        // Version, raw, three fields: one of an unknown number, one of an unknown kind, one known; then a tail.
        let mut record = vec![1, 0, 3, 0, 5, 0, 3, 0, 0, 0];
        record.extend_from_slice(b"rawstart");
        record.extend_from_slice(&[254, TEXT, 0, 0, 3, 0]);
        record.extend_from_slice(&[Field::Outcome as u8, 99, 2, 0, 9, 9]);
        record.extend_from_slice(&[Field::Action as u8, TEXT, 3, 0, 5, 0]);
        record.extend_from_slice(b"tail");
        assert_eq!(decode(&record, Event::new(b"")).unwrap(), event);
    }

    #[test]
    fn a_range_that_cuts_a_character_is_an_error() {
        let mut event = Event::new("ä".as_bytes());
        event.set(Field::Action, "ä");
        let record = stored(&event);
        let at = record.windows(6).position(|row| row == [Field::Action as u8, TEXT, 0, 0, 2, 0]).unwrap();
        for (start, len) in [(0, 1), (1, 1), (1, 0), (0, 3), (3, 0)] {
            let mut bad = record.clone();
            (bad[at + 2], bad[at + 4]) = (start, len);
            decode(&bad, Event::new(b"")).unwrap_err();
        }
    }

    #[test]
    fn cut_records_are_errors() {
        let mut event = Event::new("räw".as_bytes());
        event.set(Field::Severity, i64::MIN);
        event.set(Field::Msg, "own");
        event.extra("a", "b", true);
        let record = stored(&event);
        for len in 0..record.len() {
            decode(&record[..len], Event::new(b"")).unwrap_err();
        }
        assert_eq!(decode(&record, Event::new(b"")).unwrap(), event);
    }

    /// A value from plain parts: a piece of `raw`, own text, or a number.
    fn value<'a>(raw: &'a str, kind: u8, text: &'a str, number: i64) -> Value<'a> {
        let [from, to, ..] = number.to_le_bytes().map(usize::from);
        let piece = raw.get(from % (raw.len() + 1)..).and_then(|rest| rest.get(..to % (rest.len() + 1)));
        match kind % 7 {
            0 => Value::from(piece.unwrap_or("")),
            1 => Value::Json(piece.unwrap_or("")),
            2 => Value::from(text),
            3 => Value::Json(text),
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
