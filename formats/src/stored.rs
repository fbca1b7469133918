//! The compact form of an [`Event`] in a journal record: the raw bytes once, then what was made of them.
//!
//! On the way of an event it stands twice: intake encodes, every sink decodes. An event keeps its
//! texts as ranges of its raw bytes or of its own text, and so does its stored form: both areas are
//! copied whole, and a value is a few bytes. Layout, `n` being a little-endian `u16`, or `u32` when
//! flag 1 is set:
//!
//! ```text
//! record  version u8, flags u8, raw length n, own length n, fields n, extras n, raw, own text, field*, extra*
//! field   number u8, value
//! extra   group text, name text, value
//! text    start n, length n: of the raw bytes followed by the own text (flag 2: of the own text alone)
//! value   kind u8: 0 text  1 JSON text  2 whole number i16  3 whole number i64  4 instant i64
//!         5 false  6 true  7 and above: n bytes of a kind still to come, skipped
//! ```
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

const TEXT: u8 = 0;
const JSON: u8 = 1;
const SMALL: u8 = 2;
const NUMBER: u8 = 3;
const INSTANT: u8 = 4;
const FALSE: u8 = 5;
const TRUE: u8 = 6;

/// Appends the stored form of `event` to `out`. Raw bytes and texts hold at most 4 GiB.
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let raw = event.raw();
    let (own, fields, extras) = event.parts();
    let area = raw.len().saturating_add(own.len());
    // The longest value is 9 bytes, the longest extra four wide numbers more.
    let most = fields.len().saturating_mul(10).saturating_add(extras.len().saturating_mul(25));
    out.reserve(area.saturating_add(most).saturating_add(32));
    if area.max(fields.len()).max(extras.len()) <= usize::from(u16::MAX) {
        write::<false>(event, out);
    } else {
        write::<true>(event, out);
    }
}

fn write<const IS_WIDE: bool>(event: &Event<'_>, out: &mut Vec<u8>) {
    let raw = event.raw();
    let (own, fields, extras) = event.parts();
    let is_text = event.raw_text().is_some();
    let mut out = Writer::<'_, IS_WIDE> { out, own_at: if is_text { raw.len() as u32 } else { 0 } };
    let flags = if IS_WIDE { WIDE } else { 0 } | if is_text { 0 } else { RAW_IS_NO_TEXT };
    out.out.extend_from_slice(&[VERSION, flags]);
    for number in [raw.len(), own.len(), fields.len(), extras.len()] {
        out.number(number as u32);
    }
    out.out.extend_from_slice(raw);
    out.out.extend_from_slice(own.as_bytes());
    for (field, cell) in fields {
        out.value(Some(*field), *cell);
    }
    for extra in extras {
        out.text(extra.group);
        out.text(extra.name);
        out.value(None, extra.value);
    }
}

struct Writer<'o, const IS_WIDE: bool> {
    out: &'o mut Vec<u8>,
    /// Where the own text begins in the text area.
    own_at: u32,
}

impl<const IS_WIDE: bool> Writer<'_, IS_WIDE> {
    #[inline(always)]
    fn number(&mut self, number: u32) {
        let bytes = number.to_le_bytes();
        match (IS_WIDE, bytes) {
            (false, [low, high, ..]) => self.out.extend_from_slice(&[low, high]),
            (true, _) => self.out.extend_from_slice(&bytes),
        }
    }

    #[inline(always)]
    fn text(&mut self, span: Span) {
        let own = span.start & Span::OWN != 0;
        let start = (span.start & !Span::OWN).wrapping_add(if own { self.own_at } else { 0 });
        if IS_WIDE {
            self.number(start);
            self.number(span.len);
        } else {
            self.out.extend_from_slice(&(start | span.len << 16).to_le_bytes());
        }
    }

    #[inline(always)]
    fn head(&mut self, field: Option<Field>, kind: u8) {
        match field {
            Some(field) => self.out.extend_from_slice(&[field as u8, kind]),
            None => self.out.push(kind),
        }
    }

    #[inline(always)]
    fn value(&mut self, field: Option<Field>, cell: Cell) {
        match cell {
            Cell::Str(span) => {
                self.head(field, TEXT);
                self.text(span);
            }
            Cell::Json(span) => {
                self.head(field, JSON);
                self.text(span);
            }
            Cell::Int(number) => match i16::try_from(number) {
                Ok(small) => {
                    self.head(field, SMALL);
                    self.out.extend_from_slice(&small.to_le_bytes());
                }
                Err(_) => {
                    self.head(field, NUMBER);
                    self.out.extend_from_slice(&number.to_le_bytes());
                }
            },
            Cell::Time(nanos) => {
                self.head(field, INSTANT);
                self.out.extend_from_slice(&nanos.to_le_bytes());
            }
            Cell::Bool(truth) => self.head(field, if truth { TRUE } else { FALSE }),
        }
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
    if flags & WIDE == 0 { read::<false>(bytes, rest, *flags, reuse) } else { read::<true>(bytes, rest, *flags, reuse) }
}

fn read<'a, const IS_WIDE: bool>(
    bytes: &'a [u8],
    rest: &'a [u8],
    flags: u8,
    reuse: Event<'_>,
) -> Result<Event<'a>, ParseError> {
    let error = |rest: &[u8], expected| ParseError::new(bytes.len().saturating_sub(rest.len()), expected);
    let mut reader = Reader::<'_, IS_WIDE> { rest };
    let head = (reader.number(), reader.number(), reader.number(), reader.number());
    let (Some(raw_len), Some(own_len), Some(fields), Some(extras)) = head else {
        return Err(error(reader.rest, "the lengths of a stored event"));
    };
    let Some(areas) = reader.areas(raw_len as usize, own_len as usize, flags & RAW_IS_NO_TEXT == 0) else {
        return Err(error(reader.rest, "the raw bytes and texts of a stored event"));
    };
    let mut event = reuse.reuse_as(areas.raw, areas.text);
    event.own_mut().push_str(areas.own);
    let read = (0..fields).try_for_each(|_| reader.field(areas, &mut event));
    match read.and_then(|()| (0..extras).try_for_each(|_| reader.extra(areas, &mut event))) {
        Some(()) => Ok(event),
        None => Err(error(reader.rest, "a field of a stored event")),
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

impl Areas<'_> {
    /// The range as an event keeps it, if it is one of whole characters.
    #[inline(always)]
    fn span(self, start: u32, len: u32) -> Option<Span> {
        let in_own = (start as usize).checked_sub(self.text.len());
        let (text, at, own) = match in_own {
            Some(at) if at > 0 || !self.own.is_empty() => (self.own, at, Span::OWN),
            _ => (self.text, start as usize, 0),
        };
        text.get(at..at.checked_add(len as usize)?)?;
        Some(Span { start: at as u32 | own, len })
    }
}

/// What is left of the record.
struct Reader<'a, const IS_WIDE: bool> {
    rest: &'a [u8],
}

impl<'a, const IS_WIDE: bool> Reader<'a, IS_WIDE> {
    #[inline(always)]
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*chunk)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline(always)]
    fn number(&mut self) -> Option<u32> {
        if IS_WIDE { self.chunk().map(u32::from_le_bytes) } else { self.chunk().map(u16::from_le_bytes).map(u32::from) }
    }

    /// One look at the encoding serves every range.
    fn areas(&mut self, raw_len: usize, own_len: usize, raw_is_text: bool) -> Option<Areas<'a>> {
        let both = self.take(raw_len.checked_add(own_len)?)?;
        let (raw, own) = both.split_at_checked(raw_len)?;
        if raw_is_text {
            let (text, own) = simdutf8::basic::from_utf8(both).ok()?.split_at_checked(raw_len)?;
            return (both.len() < Span::OWN as usize).then_some(Areas { raw, text, own });
        }
        let own = simdutf8::basic::from_utf8(own).ok()?;
        (own.len() < Span::OWN as usize).then_some(Areas { raw, text: "", own })
    }

    #[inline(always)]
    fn field(&mut self, areas: Areas<'_>, event: &mut Event<'a>) -> Option<()> {
        let [number, kind] = self.chunk()?;
        let cell = self.value(kind, areas)?;
        if let (Some(field), Some(cell)) = (Field::from_number(number), cell) {
            event.put(field, cell);
        }
        Some(())
    }

    #[inline(always)]
    fn extra(&mut self, areas: Areas<'_>, event: &mut Event<'a>) -> Option<()> {
        let group = self.text(areas)?;
        let name = self.text(areas)?;
        let [kind] = self.chunk()?;
        if let Some(value) = self.value(kind, areas)? {
            event.push_extra(ExtraCell { group, name, value });
        }
        Some(())
    }

    #[inline(always)]
    fn text(&mut self, areas: Areas<'_>) -> Option<Span> {
        let (start, len) = (self.number()?, self.number()?);
        areas.span(start, len)
    }

    /// The next value; `Some(None)` is a value of a kind this version does not know.
    #[inline(always)]
    fn value(&mut self, kind: u8, areas: Areas<'_>) -> Option<Option<Cell>> {
        Some(Some(match kind {
            TEXT => Cell::Str(self.text(areas)?),
            JSON => Cell::Json(self.text(areas)?),
            SMALL => Cell::Int(i16::from_le_bytes(self.chunk()?).into()),
            NUMBER => Cell::Int(i64::from_le_bytes(self.chunk()?)),
            INSTANT => Cell::Time(i64::from_le_bytes(self.chunk()?)),
            FALSE => Cell::Bool(false),
            TRUE => Cell::Bool(true),
            _ => {
                let len = self.number()?;
                self.take(len as usize)?;
                return Some(None);
            }
        }))
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
