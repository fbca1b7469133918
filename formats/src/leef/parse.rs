//! A LEEF line becomes an event: the inverse of the emitter, and lenient with everybody else's lines.
//!
//! A key that the emitter writes for a field becomes that field; all others stay extras of group `leef`.
//!
//! Invariant: every attribute of the line is in the event, and no later one replaces an earlier one.

use std::ops::Range;

use super::java_time;
use super::table::{How, IN_HEADER, MSG, ROWS};
use crate::cef::grammar::Pairs;
use crate::cef::value::{address, instant, saturating, whole};
use crate::event::Cell;
use crate::json_read::KEYS_MAX;
use crate::marker::Marker;
use crate::names::{Names, is_own, own};
use crate::repeats::repeated_names;
use crate::text::Text;
use crate::{Context, Event, Field, Kind, ParseError, carried, near};

const MARKER: Marker = Marker("LEEF:");

/// Group of attributes without a field.
const LEEF: &str = "leef";
/// What the emitter puts before names of the input.
const OF_INPUT: &str = "ad_";
/// How the sender writes its times.
const TIME_FORMAT: &str = "devTimeFormat";

pub(super) fn detect(input: &[u8]) -> u8 {
    MARKER.score(input)
}

pub(super) fn parse<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let at = MARKER.find(input).ok_or(ParseError::new(0, "`LEEF:`, a version and `|`"))?;
    if at > 0 && carried::with_header(input, at, &super::FORMAT, context, event)? {
        return Ok(());
    }
    let text = Text::of(event, input);
    let mark = event.extras().len();
    let mut line = Line { text, context, mark, done: 0, again: Vec::new(), time: None, time_format: None };
    line.read(at, event);
    if at > 0 {
        carried::unknown_header(&line.text, at, LEEF, event);
    }
    Ok(())
}

/// A line while it is read.
struct Line<'a, 'c> {
    text: Text<'a>,
    context: &'c Context,
    /// How many extras were there before the line's own.
    mark: usize,
    /// A bit for each field whose key has been met: the first one counts.
    done: u128,
    /// Keys of fields that were met again.
    again: Vec<&'static str>,
    time: Option<Range<usize>>,
    time_format: Option<Range<usize>>,
}

const _: () = assert!(Field::COUNT <= 128);

impl<'a> Line<'a, '_> {
    fn read(&mut self, at: usize, event: &mut Event<'a>) {
        let bytes = self.text.bytes();
        let Some(version) = MARKER.version(bytes, at) else { return };
        let has_delimiter = bytes.get(version.start) == Some(&b'2');
        if bytes.get(version.clone()) != Some(b"2.0") {
            event.extra(LEEF, "version", self.text.ascii(version.clone()));
        }
        let mut at = version.end.saturating_add(1);
        for field in [Field::DeviceVendor, Field::DeviceProduct, Field::DeviceVersion, Field::EventClass] {
            let end = field_end(bytes, at);
            planted!("leef" => { let _ = bytes[end.unwrap_or(bytes.len())]; });
            self.header_field(field, at..end.unwrap_or(bytes.len()), event);
            let Some(end) = end else {
                // "EventID is required", and the pipe behind it.
                return event.mark_partial(&ParseError::new(bytes.len(), "`|` and the rest of the header"), bytes);
            };
            if field == Field::EventClass && end == at {
                event.mark_partial(&ParseError::new(at, "an EventID"), bytes);
            }
            at = end.saturating_add(1);
        }
        let mut delimiter = None;
        if has_delimiter && let Some(end) = delimiter_end(bytes, at) {
            if end > at {
                delimiter = Delimiter::read(&self.text.piece(at..end));
                if delimiter.is_none() {
                    event.mark_partial(&ParseError::new(at, "one character or `x` and hex digits"), bytes);
                }
            }
            at = end.saturating_add(1);
        }
        self.attributes(at, delimiter, event);
        self.finish(event);
    }

    /// "Accept `\|`" for a pipe.
    fn header_field(&mut self, field: Field, range: Range<usize>, event: &mut Event<'a>) {
        let bytes = self.text.bytes().get(range.clone()).unwrap_or_default();
        match memchr::memmem::find(bytes, b"\\|") {
            None => event.set_piece(field, &self.text, range),
            Some(_) => event.set_text(field, self.text.piece(range).replace("\\|", "|")),
        }
    }

    /// Without a delimiter in the header it is TAB.
    fn attributes(&mut self, at: usize, delimiter: Option<Delimiter>, event: &mut Event<'a>) {
        let bytes = self.text.bytes();
        let has_tab = || memchr::memchr(b'\t', bytes.get(at..).unwrap_or_default()).is_some();
        if delimiter.is_none() && !has_tab() && Pairs::new(bytes, at).nth(1).is_some() {
            // Some senders write spaces: their values end as those of CEF do.
            event.mark_ambiguous("no TAB: attributes end at spaces, and a word with `=` may be text");
            let mut pairs = Pairs::new(bytes, at);
            self.without_key(pairs.before(), event);
            for pair in pairs.by_ref().take(KEYS_MAX as usize) {
                self.attribute(pair.key(), pair.value.range(), event);
            }
            if let Some(rest) = pairs.rest() {
                event.mark_partial(&ParseError::new(rest.start, "at most 2000 attributes"), bytes);
                event.extra(LEEF, "", &self.text.piece(rest));
            }
            return;
        }
        let delimiter = delimiter.unwrap_or(Delimiter::TAB);
        let mut start = at;
        for _ in 0..KEYS_MAX {
            let end = delimiter.find(bytes, start).unwrap_or(bytes.len());
            let piece = self.trimmed(start..end);
            let equals = near::find(bytes.get(..piece.end).unwrap_or_default(), piece.start, b'=');
            match equals {
                // "Split at the first `=`; no escape exists."
                Some(equals) => {
                    let key = self.trimmed(piece.start..equals);
                    self.attribute(key, equals.saturating_add(1)..piece.end, event);
                }
                None => self.without_key(piece, event),
            }
            if end >= bytes.len() {
                return;
            }
            start = end.saturating_add(delimiter.len);
        }
        event.mark_partial(&ParseError::new(start, "at most 2000 attributes"), bytes);
        event.extra(LEEF, "", &self.text.piece(start..bytes.len()));
    }

    /// Text without an equals sign: kept, and said.
    fn without_key(&mut self, range: Range<usize>, event: &mut Event<'a>) {
        if !range.is_empty() {
            // The first of them; what the line itself says of a reading before it is no reason to be silent.
            if !event.has(Field::ParseStatus) || self.done & bit(Field::ParseStatus) != 0 {
                event.mark_partial(&ParseError::new(range.start, "a key and `=`"), self.text.bytes());
            }
            event.extra(LEEF, "", &self.text.piece(range));
        }
    }

    fn attribute(&mut self, key: Range<usize>, value: Range<usize>, event: &mut Event<'a>) {
        let name = self.text.bytes().get(key.clone()).unwrap_or_default();
        let known = NAMES.find(name, |number| is_name(number, name));
        let cell = match known {
            None => match name.strip_prefix(OF_INPUT.as_bytes()) {
                Some(_) => return self.of_input(key.start.saturating_add(OF_INPUT.len())..key.end, value, event),
                None => None,
            },
            Some(number) => {
                let (name, field) = named(number);
                if self.is_again(field) {
                    self.again.push(name);
                    None
                } else {
                    match number {
                        TIME if !value.is_empty() => return self.time = Some(value),
                        FORMAT => return self.time_format = Some(value),
                        _ => self.cell(number, field, value.clone(), event).map(|cell| (field, cell)),
                    }
                }
            }
        };
        match cell {
            Some((field, cell)) => self.put(field, cell, event),
            None => self.extra(key, value, event),
        }
    }

    /// Whether the key of a field was met before; it has been from now on.
    fn is_again(&mut self, field: Field) -> bool {
        let is_again = self.done & bit(field) != 0;
        self.done |= bit(field);
        is_again
    }

    /// The value as what its key takes; nothing when it is something else, or when only the gateway may
    /// say it.
    fn cell(&self, number: u16, field: Field, value: Range<usize>, event: &mut Event<'a>) -> Option<Cell> {
        if !event.takes_from_line(field) || value.is_empty() {
            return None;
        }
        let written = self.text.piece(value.clone());
        let how = ROWS.get(usize::from(number)).map(|row| row.how);
        match how {
            Some(How::Severity) => saturating(&written).map(|severity| {
                if !(1..=10).contains(&severity) {
                    event.note("severity outside of 1 to 10");
                }
                Cell::Int(severity.clamp(0, 10))
            }),
            Some(How::Port) => whole(&written).filter(|port| (0..=65_535).contains(port)).map(Cell::Int),
            Some(How::Text) if matches!(field, Field::SrcIp | Field::DstIp) && address(&written).is_none() => None,
            Some(_) | None => match field.kind() {
                Kind::Text => Some(Cell::Str(event.keep(&self.text, value))),
                Kind::Int => whole(&written).map(Cell::Int),
                Kind::Bool => written.parse().ok().map(Cell::Bool),
                Kind::Time => instant(&written, self.context).map(|time| Cell::Time(time.0)),
            },
        }
    }

    /// `ad_<group>_<name>`: the group ends at the first `_`.
    fn of_input(&mut self, name: Range<usize>, value: Range<usize>, event: &mut Event<'a>) {
        let name = self.text.piece(name);
        let (group, name) = name.split_once('_').filter(|(group, _)| !group.is_empty()).unwrap_or(("", &name));
        let span = event.keep(&self.text, value);
        event.put_extra(group, name, Cell::Str(span));
    }

    fn extra(&mut self, key: Range<usize>, value: Range<usize>, event: &mut Event<'a>) {
        let span = event.keep(&self.text, value);
        event.put_extra(LEEF, &self.text.piece(key), Cell::Str(span));
    }

    /// Sets a field. What a header in front of the line said otherwise is kept.
    fn put(&mut self, field: Field, cell: Cell, event: &mut Event<'a>) {
        if let Some(before) = event.at(field).filter(|before| event.value(*before) != event.value(cell)) {
            event.put_extra("syslog", field.name(), before);
        }
        event.put(field, cell);
    }

    /// The time, whose form another attribute may say, and what came twice.
    fn finish(&mut self, event: &mut Event<'a>) {
        let format = self.time_format.take().map(|range| self.text.piece(range));
        if let Some(range) = self.time.take().filter(|range| !range.is_empty()) {
            let written = self.text.piece(range.clone());
            let by_format = format.as_deref().and_then(|format| java_time::read(&written, format, self.context));
            match by_format.or_else(|| instant(&written, self.context)) {
                Some(time) => self.put(Field::Time, Cell::Time(time.0), event),
                None => {
                    event.extra(LEEF, "devTime", &written);
                    event.note("no time that can be read");
                }
            }
        }
        if let Some(format) = format {
            event.extra(LEEF, TIME_FORMAT, &format);
        }
        let keys = event.extra_keys().skip(self.mark);
        if let Some(names) = repeated_names(keys, self.again.iter().copied()) {
            event.set(Field::ParseDuplicateKeys, &names);
        }
    }

    fn trimmed(&self, range: Range<usize>) -> Range<usize> {
        let bytes = self.text.bytes().get(range.clone()).unwrap_or_default();
        let start = range.start.saturating_add(bytes.len().saturating_sub(bytes.trim_ascii_start().len()));
        let end = range.start.saturating_add(bytes.trim_ascii_end().len());
        start.min(end)..end
    }
}

/// The end of the header field that begins at `at`: a pipe without a backslash before it.
fn field_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at;
    loop {
        let pipe = near::find(bytes, from, b'|')?;
        if pipe == at || bytes.get(pipe.saturating_sub(1)) != Some(&b'\\') {
            return Some(pipe);
        }
        from = pipe.saturating_add(1);
    }
}

/// Where the field of the delimiter ends. In the wild it is left out: "if the text after the 5th pipe
/// contains `=` before any `|`, it is attributes with TAB".
fn delimiter_end(bytes: &[u8], at: usize) -> Option<usize> {
    let found = near::find2(bytes, at, b'|', b'=')?;
    match bytes.get(found..)? {
        [b'|', ..] => Some(found),
        // The delimiter itself.
        [b'=', b'|', ..] if found == at => Some(found.saturating_add(1)),
        _ => None,
    }
}

/// What stands between two attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delimiter {
    bytes: [u8; 4],
    len: usize,
}

impl Delimiter {
    const TAB: Delimiter = Delimiter { bytes: [b'\t', 0, 0, 0], len: 1 };

    /// "One character, or hex `0xHH`/`xHH` (1-4 hex digits)."
    fn read(written: &str) -> Option<Delimiter> {
        let mut chars = written.chars();
        let char = match (chars.next(), chars.next()) {
            (Some(char), None) => char,
            _ => {
                let digits = written.strip_prefix("0x").or_else(|| written.strip_prefix('x'))?;
                let is_hex = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let number = if is_hex { u32::from_str_radix(digits, 16).ok()? } else { return None };
                char::from_u32(number)?
            }
        };
        // It could not be told from the one behind a key.
        if char == '=' {
            return None;
        }
        let mut bytes = [0; 4];
        let len = char.encode_utf8(&mut bytes).len();
        Some(Delimiter { bytes, len })
    }

    fn find(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let [first, ..] = self.bytes;
        if self.len == 1 {
            return near::find(bytes, at, first);
        }
        let found = memchr::memmem::find(bytes.get(at..)?, self.bytes.get(..self.len)?)?;
        Some(at.saturating_add(found))
    }
}

/// Numbers of names: places in [`ROWS`], these, and [`OWN`] and the number of a field.
const TIME: u16 = 0;
const FORMAT: u16 = 200;
const MSG_NUMBER: u16 = 201;
const OWN: u16 = 1_000;

/// The name that stands for a number, and its field.
fn named(number: u16) -> (&'static str, Field) {
    match (number, ROWS.get(usize::from(number))) {
        (_, Some(row)) => (row.key, row.field),
        // The format has no field: it shares the bit of one that no input may set.
        (FORMAT, _) => (TIME_FORMAT, Field::Format),
        (MSG_NUMBER, _) => (MSG, Field::Msg),
        _ => {
            let field = Field::ALL.get(usize::from(number.saturating_sub(OWN))).copied().unwrap_or(Field::Msg);
            (field.name(), field)
        }
    }
}

fn is_name(number: u16, name: &[u8]) -> bool {
    let (known, field) = named(number);
    if number >= OWN { is_own(field, name) } else { known.as_bytes() == name }
}

const fn bit(field: Field) -> u128 {
    1_u128.wrapping_shl(field as u32)
}

/// Whether the emitter may write the field under its own name: it is one that input may set, and no key
/// takes whatever it holds.
// Evaluated when the crate is compiled, as what follows.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn has_own_name(field: Field) -> bool {
    if field.is_reserved() || IN_HEADER[field as usize] {
        return false;
    }
    let mut at = 0;
    while at < ROWS.len() {
        if ROWS[at].field as usize == field as usize && !matches!(ROWS[at].how, How::Port) {
            return false;
        }
        at += 1;
    }
    true
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
static NAMES: Names<256> = {
    assert!(ROWS.len() < FORMAT as usize);
    let mut names = Names::new().with(TIME_FORMAT.as_bytes(), FORMAT).with(MSG.as_bytes(), MSG_NUMBER);
    let mut at = 0;
    while at < ROWS.len() {
        names = names.with(ROWS[at].key.as_bytes(), at as u16);
        at += 1;
    }
    at = 0;
    while at < Field::COUNT {
        if has_own_name(Field::ALL[at]) {
            let (name, len) = own(Field::ALL[at]);
            names = names.with(name.split_at(len).0, OWN + at as u16);
        }
        at += 1;
    }
    names
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known_as_what_it_is() {
        for row in ROWS {
            let found = NAMES.find(row.key.as_bytes(), |number| is_name(number, row.key.as_bytes()));
            assert_eq!(found.map(|number| named(number).1), Some(row.field), "{}", row.key);
        }
        assert_eq!(ROWS.first().map(|row| row.key), Some("devTime"), "TIME is its number");
        for name in ["src_ip", "vm_moref", "event_class", "x", ""] {
            assert_eq!(NAMES.find(name.as_bytes(), |number| is_name(number, name.as_bytes())), None, "{name}");
        }
    }

    #[test]
    fn delimiters() {
        for (written, expected) in [
            ("", None),
            ("^", Some("^")),
            ("é", Some("é")),
            ("x09", Some("\t")),
            ("0x40", Some("@")),
            ("x40", Some("@")),
            ("x", Some("x")),
            ("x00A6", Some("¦")),
            ("INVALID", None),
            ("0x", None),
            ("x12345", None),
            ("xD800", None),
            ("=", None),
            ("x3d", None),
        ] {
            let read = Delimiter::read(written);
            let bytes = read.as_ref().and_then(|read| read.bytes.get(..read.len));
            assert_eq!(bytes, expected.map(str::as_bytes), "{written:?}");
        }
    }
}
