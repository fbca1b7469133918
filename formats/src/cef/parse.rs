//! A CEF line becomes an event: the inverse of the emitter, and lenient with everybody else's lines.
//!
//! A parser on the way of an event. A key that the emitter writes for a field becomes that field; a
//! custom key becomes extra `custom.<its label>`; what collectors and vendors add stays an extra of
//! group `cef` under its own name, typed by the dictionary. In front of the line a syslog header may stand.
//!
//! Invariant: every key of the line is in the event, and no later key replaces an earlier one: what is
//! put behind a value that nobody escaped cannot change who did what.

use std::borrow::Cow;
use std::ops::Range;

use super::grammar::{Header, MARKER, Pair, Pairs, Piece, header};
use super::keys::{KEYS, Known, Takes, family, lookup, row_of};
use super::stored::{Few, Stored};
use super::table::{How, Row};
use super::value::{Place, address, instant, is_host_name, keep, saturating, typed, unescape, whole};
use crate::event::Cell;
use crate::text::Text;
use crate::{Context, Event, Field, Kind, ParseError, carried};

/// Group of keys without a field.
pub(super) const CEF: &str = "cef";
/// Group of custom keys, by their labels.
const CUSTOM: &str = "custom";
/// What the emitter puts before names of the input.
const OF_INPUT: &str = "ad_";
/// A note tells no more of a key.
const NOTED_KEY_BYTES_MAX: usize = 64;

pub(super) fn detect(input: &[u8]) -> u8 {
    MARKER.score(input)
}

pub(super) fn parse<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    if u32::try_from(input.len()).is_err() {
        return Err(ParseError::new(0, "a line of less than 4 GiB"));
    }
    let at = MARKER.find(input).ok_or(ParseError::new(0, "`CEF:`, a version and `|`"))?;
    if at > 0 && carried::with_header(input, at, &super::FORMAT, context, event)? {
        return Ok(());
    }
    let mut line = Line { text: Text::of(event, input), context, done: 0, later: [None; 4] };
    line.read(at, event);
    if at > 0 {
        carried::unknown_header(&line.text, at, CEF, event);
    }
    Ok(())
}

/// A line while it is read.
struct Line<'a, 'c> {
    text: Text<'a>,
    context: &'c Context,
    /// A bit for each field that this line has set: the first key of a field has it.
    done: u128,
    /// `dhost`, and addresses that are names: what they mean depends on the other keys.
    later: [Option<(Pair, &'static Row)>; 4],
}

const _: () = assert!(Field::COUNT <= 128);

impl<'a> Line<'a, '_> {
    fn read(&mut self, at: usize, event: &mut Event<'a>) {
        let bytes = self.text.bytes();
        let Some(version) = MARKER.version(bytes, at) else { return };
        let header = header(bytes, version.end.saturating_add(1));
        if bytes.get(version.clone()) != Some(b"0") {
            event.extra(CEF, "version", self.text.ascii(version));
        }
        self.header(&header, event);
        match header.extension {
            Some(at) => self.extension(at, event),
            // "Fewer than 7 header pipes: keep header fields found; do not read extensions."
            None => event.mark_partial(&ParseError::new(bytes.len(), "`|` and the rest of the header"), bytes),
        }
    }

    fn header(&mut self, header: &Header, event: &mut Event<'a>) {
        let fields = [Field::DeviceVendor, Field::DeviceProduct, Field::DeviceVersion, Field::EventClass, Field::Name];
        for (field, piece) in fields.into_iter().zip(&header.fields).take(header.len) {
            if !piece.range().is_empty() {
                let span = keep(event, &self.text, *piece, Place::Header);
                self.put(field, Cell::Str(span), event);
            }
        }
        if let Some(severity) = header.fields.get(fields.len()).filter(|_| header.len > fields.len()) {
            self.severity(*severity, event);
        }
    }

    /// "Integer 0-10 or `Unknown Low Medium High Very-High` (case-insensitive)."
    fn severity(&mut self, piece: Piece, event: &mut Event<'a>) {
        let written = self.text.piece(piece.range());
        let word = written.trim_matches(' ');
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        let severity = match saturating(word) {
            Some(number) => {
                if !(0..=10).contains(&number) {
                    event.note("severity outside of 0 to 10");
                }
                Some(number.clamp(0, 10))
            }
            None if is("Low") => Some(2),
            None if is("Medium") => Some(5),
            None if is("High") => Some(8),
            None if is("Very-High") || is("VeryHigh") || is("Very High") => Some(10),
            None => None,
        };
        match severity {
            Some(severity) => {
                self.put(Field::Severity, Cell::Int(severity), event);
            }
            None if word.is_empty() || is("Unknown") => {}
            None => {
                let span = keep(event, &self.text, piece, Place::Header);
                event.put_extra(CEF, "severity", Cell::Str(span));
                event.note("severity not understood");
            }
        }
    }

    fn extension(&mut self, at: usize, event: &mut Event<'a>) {
        let mut pairs = Pairs::new(self.text.bytes(), at);
        let before = pairs.before();
        if !before.is_empty() {
            let piece = Piece { start: before.start as u32, end: before.end as u32, is_escaped: true };
            let span = keep(event, &self.text, piece, Place::Extension);
            event.put_extra(CEF, "", Cell::Str(span));
            event.mark_partial(&ParseError::new(before.start, "a key and `=`"), self.text.bytes());
        }
        let mut few = Few::default();
        let stored = Stored::new(&mut few, &mut pairs, self.text.bytes());
        if let Some(rest) = pairs.rest() {
            event.mark_partial(&ParseError::new(rest.start, "at most 2000 keys"), self.text.bytes());
            event.extra(CEF, "", &self.text.piece(rest));
        }
        let again = stored.repeated(&self.text);
        for (at, pair) in stored.pairs().iter().enumerate() {
            let is_again = !again.is_empty() && again.binary_search(&at).is_ok();
            self.pair(*pair, is_again, &stored, event);
        }
        self.place_later(event);
        if !again.is_empty() {
            self.duplicates(&again, &stored, event);
        }
        if let Some((before, key)) = self.ambiguous(&stored) {
            let name = |range| {
                let name = self.text.ascii(range);
                name.get(..NOTED_KEY_BYTES_MAX).unwrap_or(name)
            };
            event.mark_ambiguous(&format!("`{}=` may be text of `{}`", name(key), name(before)));
        }
    }

    fn pair(&mut self, pair: Pair, is_again: bool, stored: &Stored<'_, '_>, event: &mut Event<'a>) {
        let name = self.text.bytes().get(pair.key()).unwrap_or_default();
        if is_again || pair.value.range().is_empty() && family(name).is_none() {
            // "Keep it in the ordered list": the second of a key, and one that says nothing.
            return self.extra(pair, None, event);
        }
        if name.strip_suffix(b"Label").is_some_and(|base| family(base).is_some()) {
            // Its value takes it along. "A Label without value is dropped."
            return;
        }
        match lookup(name) {
            Known::Own(field) => self.own(field, pair, event),
            Known::Key(key) => self.key(pair, Some(key), stored, event),
            Known::No => match name.strip_prefix(OF_INPUT.as_bytes()) {
                Some(name) => self.of_input(name.len(), pair, event),
                None => self.key(pair, None, stored, event),
            },
        }
    }

    /// A key of the dictionary, a custom key, or one of neither.
    fn key(&mut self, pair: Pair, key: Option<u16>, stored: &Stored<'_, '_>, event: &mut Event<'a>) {
        let name = self.text.bytes().get(pair.key()).unwrap_or_default();
        let row = key.and_then(row_of);
        if let Some(takes) = family(name) {
            let Some(label) = stored.find(name, b"Label").filter(|label| !label.value.range().is_empty()) else {
                // "A value without Label keeps its own key."
                return self.extra(pair, Some(takes), event);
            };
            let label = self.plain(label.value);
            match row.filter(|row| row.label_text() == label.as_bytes()) {
                Some(row) if self.row(row, pair, event) => {}
                _ => self.value(CUSTOM, &label, pair.value, Some(takes), event),
            }
            return;
        }
        match row {
            Some(row) if self.waits(row, pair) => {}
            Some(row) if self.row(row, pair, event) => {}
            _ => {
                let takes = key.and_then(|key| KEYS.get(usize::from(key))).map(|key| key.takes);
                self.extra(pair, takes, event);
            }
        }
    }

    /// Puts aside what can only be placed when all keys are known.
    fn waits(&mut self, row: &'static Row, pair: Pair) -> bool {
        let is_name = || is_host_name(&self.plain(trimmed(&self.text, pair.value)));
        if row.field != Field::DstHost && !(matches!(row.how, How::Ipv4) && is_name()) {
            return false;
        }
        match self.later.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some((pair, row)),
            None => return false,
        }
        true
    }

    /// Sets the field of a row of the emitter's table, if the value is what its key takes.
    fn row(&mut self, row: &Row, pair: Pair, event: &mut Event<'a>) -> bool {
        // What only the gateway may say of an event stays what the sender says.
        if row.field.is_reserved() {
            return false;
        }
        let piece = trimmed(&self.text, pair.value);
        let cell = match row.how {
            // Everybody's files have hashes; an image's digest says by which algorithm: `sha256:…`.
            How::Text(_) if row.field == Field::ImageDigest && !self.plain(piece).contains(':') => None,
            How::Text(_) => Some(Cell::Str(keep(event, &self.text, pair.value, Place::Extension))),
            How::Millis => instant(&self.plain(piece), self.context).map(|time| Cell::Time(time.0)),
            How::Number => self.number(row.field, piece, event),
            How::Port => whole(&self.plain(piece)).filter(|port| (0..=65_535).contains(port)).map(Cell::Int),
            How::Ipv4 | How::Ipv6 => {
                address(&self.plain(piece)).map(|_| Cell::Str(keep(event, &self.text, piece, Place::Extension)))
            }
        };
        cell.is_some_and(|cell| self.put(row.field, cell, event))
    }

    /// The number of a field, as the kind of value that the field has.
    fn number(&self, field: Field, piece: Piece, event: &mut Event<'a>) -> Option<Cell> {
        let number = whole(&self.plain(piece))?;
        match field {
            Field::SyslogFacility if !(0..=23).contains(&number) => None,
            _ if field.kind() == Kind::Int => Some(Cell::Int(number)),
            _ => Some(Cell::Str(keep(event, &self.text, piece, Place::Extension))),
        }
    }

    /// A field that has no key, under its own name.
    fn own(&mut self, field: Field, pair: Pair, event: &mut Event<'a>) {
        let piece = pair.value;
        let cell = match field.kind() {
            Kind::Text => Some(Cell::Str(keep(event, &self.text, piece, Place::Extension))),
            Kind::Int => whole(&self.plain(piece)).map(Cell::Int),
            Kind::Bool => self.plain(piece).parse().ok().map(Cell::Bool),
            Kind::Time => instant(&self.plain(piece), self.context).map(|time| Cell::Time(time.0)),
        };
        if !cell.is_some_and(|cell| event.takes_from_line(field) && self.put(field, cell, event)) {
            self.extra(pair, None, event);
        }
    }

    /// `ad_<group>_<name>`: the group ends at the first `_`, for its name begins behind it. `len` is how
    /// much of the key is left behind `ad_`.
    fn of_input(&mut self, len: usize, pair: Pair, event: &mut Event<'a>) {
        let key = pair.key();
        let rest = self.text.ascii(key.end.saturating_sub(len)..key.end);
        let (group, name) = rest.split_once('_').filter(|(group, _)| !group.is_empty()).unwrap_or(("", rest));
        self.value(group, name, pair.value, None, event);
    }

    /// Keeps a pair under its own name.
    fn extra(&mut self, pair: Pair, takes: Option<Takes>, event: &mut Event<'a>) {
        self.value(CEF, self.text.ascii(pair.key()), pair.value, takes, event);
    }

    fn value(&self, group: &str, name: &str, value: Piece, takes: Option<Takes>, event: &mut Event<'a>) {
        let typed = takes.and_then(|takes| typed(&self.plain(trimmed(&self.text, value)), takes, self.context));
        if typed.is_none() && takes == Some(Takes::Time) {
            event.note("no time that can be read");
        }
        let piece = if typed.is_some() { trimmed(&self.text, value) } else { value };
        let span = keep(event, &self.text, piece, Place::Extension);
        event.put_extra(group, name, typed.map_or(Cell::Str(span), |typed| typed.cell(span)));
    }

    /// What could not be placed before all keys were known.
    fn place_later(&mut self, event: &mut Event<'a>) {
        let waiting = std::mem::take(&mut self.later);
        let named = waiting.iter().flatten().filter(|(_, row)| row.field == Field::DstHost);
        for (pair, row) in named {
            let is_host =
                self.is_done(Field::HostName) && event.text(Field::HostName) == Some(&*self.plain(pair.value));
            // The emitter says of a machine that it is both where it was seen and what it was done to.
            if !is_host && !self.row(row, *pair, event) {
                self.extra(*pair, None, event);
            }
        }
        for (pair, row) in waiting.iter().flatten().filter(|(_, row)| row.field != Field::DstHost) {
            // "Hostnames appear in them in the wild: then it goes to the name field."
            let field = match row.field {
                Field::SrcIp => Field::SrcHost,
                Field::DstIp => Field::DstHost,
                _ => Field::HostName,
            };
            let name = keep(event, &self.text, trimmed(&self.text, pair.value), Place::Extension);
            if !self.put(field, Cell::Str(name), event) {
                self.extra(*pair, None, event);
            }
        }
    }

    fn duplicates(&self, again: &[usize], stored: &Stored<'_, '_>, event: &mut Event<'a>) {
        let name = |at: &usize| stored.pairs().get(*at).map(|pair| self.text.ascii(pair.key()));
        let mut names: Vec<&str> = again.iter().filter_map(name).collect();
        names.sort_unstable();
        names.dedup();
        event.set(Field::ParseDuplicateKeys, &names.join(","));
    }

    /// The first key that may have been meant as text, behind the key of that text: its value is free text,
    /// and the one behind it is neither of the dictionary nor the partner of a label.
    fn ambiguous(&self, stored: &Stored<'_, '_>) -> Option<(Range<usize>, Range<usize>)> {
        let name = |pair: &Pair| self.text.bytes().get(pair.key()).unwrap_or_default();
        let pairs = stored.pairs();
        let mut found = pairs.iter().zip(pairs.iter().skip(1)).filter(|(before, pair)| {
            is_free_text(name(before)) && !is_expected(name(pair)) && {
                let name = name(pair);
                let base = name.strip_suffix(b"Label");
                stored.find(name, b"Label").is_none() && base.is_none_or(|base| stored.find(base, b"").is_none())
            }
        });
        found.next().map(|(before, pair)| (before.key(), pair.key()))
    }

    /// Sets a field unless this line has set it before; answers whether it has now. What a header in
    /// front of the line said otherwise is kept.
    fn put(&mut self, field: Field, cell: Cell, event: &mut Event<'a>) -> bool {
        if self.is_done(field) {
            return false;
        }
        self.done |= bit(field);
        if let Some(before) = event.at(field).filter(|before| event.value(*before) != event.value(cell)) {
            event.put_extra("syslog", field.name(), before);
        }
        event.put(field, cell);
        true
    }

    fn is_done(&self, field: Field) -> bool {
        self.done & bit(field) != 0
    }

    /// A value with its escapes undone.
    fn plain(&self, piece: Piece) -> Cow<'a, str> {
        let written = self.text.piece(piece.range());
        if !piece.is_escaped {
            return written;
        }
        let mut plain = String::with_capacity(written.len());
        unescape(&written, Place::Extension, &mut plain);
        Cow::Owned(plain)
    }
}

const fn bit(field: Field) -> u128 {
    1_u128.wrapping_shl(field as u32)
}

/// A value without the spaces around it.
fn trimmed(text: &Text<'_>, piece: Piece) -> Piece {
    let bytes = text.bytes().get(piece.range()).unwrap_or_default();
    let before = bytes.len().saturating_sub(bytes.trim_ascii_start().len());
    let end = piece.start.saturating_add(bytes.trim_ascii_end().len() as u32);
    Piece { start: piece.start.saturating_add(before as u32).min(end), end, ..piece }
}

/// Keys whose values are written by people, in which a word may look like a key.
pub(super) fn is_free_text(key: &[u8]) -> bool {
    match key {
        [b'm', ..] => matches!(key, b"msg" | b"message"),
        [b'r', ..] => key.starts_with(b"request") || matches!(key, b"reason" | b"rawEvent"),
        [b'c' | b'd', ..] => matches!(family(key), Some(Takes::Text(_))),
        [b'f', ..] => key == b"filePath" || matches!(family(key), Some(Takes::Text(_))),
        _ => false,
    }
}

/// Whether a key may stand behind free text without a doubt: one of the dictionary, or what we write there. Fields
/// under their own names we write before it.
fn is_expected(key: &[u8]) -> bool {
    matches!(lookup(key), Known::Key(_))
        || family(key.strip_suffix(b"Label").unwrap_or(key)).is_some()
        || key.starts_with(OF_INPUT.as_bytes())
        || key == b"emit_cut"
}
