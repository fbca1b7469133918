//! ArcSight Common Event Format, revision 25: `CEF:0|vendor|product|version|class|name|severity|extension`.
//!
//! At both ends of an event's way: [`parse`] reads versions 0 and 1, and what is here writes version 0.
//! Canonical fields go to the dictionary keys of [`table`] in a fixed order; fields without a key of the dictionary go out under their own name
//! with `_` for `.`, and what else the input said under `ad_<group>_<name>`. No key of the
//! dictionary holds a `_`, and no field begins with `ad_`: the three cannot be mistaken for one another.
//! Only what came in as CEF goes on under its own key, if that is none of those ([`relay`]).
//!
//! Invariant: exactly one line with exactly these keys, each once, whatever bytes names and values hold.

pub(crate) mod grammar;
pub(crate) mod keys;
mod parse;
mod relay;
mod stored;
mod table;
pub(crate) mod value;
mod write;

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) use self::write::{Keys, piece, write_header, write_text};

use self::table::{EXTRA_BYTES_MAX, How, MSG, OWN_LEADS, ROWS, ROWS_OF, Row};
use self::write::{is_plain, is_trimmed};
use crate::event::{Cell, Span};
use crate::json_read::JsonReader;
use crate::lead::{Lead, lead};
use crate::{EmitContext, Event, Field, Format, Time, Value};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "cef",
    about: "ArcSight Common Event Format",
    detect: Some(parse::detect),
    starts: b"C",
    parse: Some(parse::parse),
    emit: Some(emit),
    open: None,
};

fn emit(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_mul(2).saturating_add(1_024));
    let cut = header(event, context, out);
    let start = out.len();
    let mut extension = Extension { event, out, done: IN_HEADER, cut, free_text: None };
    extension.rows();
    extension.fields_without_key();
    extension.extras();
    if event.has(Field::ParseStatus) {
        // What was not understood goes along as it came.
        extension.text(&RAW_LEAD, "rawEvent", &String::from_utf8_lossy(head(event.raw())), 4_000);
    }
    extension.msg();
    // The header's last pipe stands where the first key wrote the space before it.
    match out.get_mut(start) {
        Some(space) => *space = b'|',
        None => out.push(b'|'),
    }
}

/// Whether a field has gone out, by its number.
type Done = [bool; Field::COUNT];

/// The fields a header holds, and MSG, which comes last.
// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
static IN_HEADER: Done = {
    let fields = [
        Field::EventClass,
        Field::Name,
        Field::Severity,
        Field::DeviceVendor,
        Field::DeviceProduct,
        Field::DeviceVersion,
        Field::Msg,
    ];
    let mut done = [false; Field::COUNT];
    let mut at = 0;
    while at < fields.len() {
        done[fields[at] as usize] = true;
        at += 1;
    }
    done
};

/// The first row whose key takes free text. Behind free text every key but those of the dictionary may be part of
/// a text that nobody escaped, and readers say so: our own keys stand before it.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const FREE_TEXT: u32 = {
    let mut at = 0;
    while at < ROWS.len() && !is_free_text(ROWS[at].key.as_bytes()) {
        at += 1;
    }
    at as u32
};

/// "msg, cs*, flexString*, request*, reason, filePath, rawEvent"
const fn is_free_text(key: &[u8]) -> bool {
    matches!(
        key,
        b"msg"
            | b"reason"
            | b"filePath"
            | b"rawEvent"
            | [b'r', b'e', b'q', b'u', b'e', b's', b't', ..]
            | [b'c', b's', b'0'..=b'9']
            | [b'f', b'l', b'e', b'x', b'S', ..]
    )
}

static RAW_LEAD: Lead = Lead::EMPTY.then(" rawEvent=");
static CUT_LEAD: Lead = Lead::EMPTY.then(" emit_cut=");
static MSG_LEAD: Lead = Lead::EMPTY.then(" ").then(MSG.0).then("=");

/// The beginning of a header when neither event nor context names a device.
const OWN_DEVICE: &str = concat!("CEF:0|Wharfinger|Wharfinger|", env!("CARGO_PKG_VERSION"), "|");

/// Everything before the last pipe; answers the fields that were cut to the header's lengths.
fn header(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) -> String {
    let mut cut = String::new();
    let text = |field| match event.at(field)? {
        // What nothing is left of is read back as absent, so it is absent.
        Cell::Str(span) | Cell::Json(span) => Some(event.bytes(span)).filter(|bytes| !is_blank(bytes)),
        _ => None,
    };
    let class = text(Field::EventClass).or_else(|| text(Field::Format)).unwrap_or(b"event");
    let device = [Field::DeviceVendor, Field::DeviceProduct, Field::DeviceVersion];
    if *context == EmitContext::default() && !device.into_iter().any(|field| event.has(field)) {
        out.extend_from_slice(OWN_DEVICE.as_bytes());
    } else {
        out.extend_from_slice(b"CEF:0|");
        for ((field, own), bytes_max) in
            device.into_iter().zip([context.vendor, context.product, context.version]).zip([63, 63, 31])
        {
            if write_header(out, text(field).unwrap_or(own.as_bytes()), bytes_max) {
                note_cut(&mut cut, field.name());
            }
            out.push(b'|');
        }
    }
    let name = text(Field::Name).unwrap_or(class);
    for (field, text, bytes_max) in [(Field::EventClass, class, 1_023), (Field::Name, name, 512)] {
        if write_header(out, text, bytes_max) {
            note_cut(&mut cut, field.name());
        }
        out.push(b'|');
    }
    match event.get(Field::Severity) {
        Some(Value::Int(severity)) => write_number(out, severity.clamp(0, 10)),
        Some(Value::Str(word)) if ["Low", "Medium", "High", "Very-High"].contains(&word) => {
            out.extend_from_slice(word.as_bytes());
        }
        _ => out.extend_from_slice(b"Unknown"),
    }
    cut
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, 0..=b' ' | 0x7f))
}

/// Adds a key, or a field of the header, to the list of what was cut.
#[cold]
fn note_cut(cut: &mut String, key: &str) {
    if !cut.is_empty() {
        cut.push(',');
    }
    cut.push_str(key);
}

/// The extension while it is written. Each key brings the space before it.
struct Extension<'e, 'o> {
    event: &'e Event<'e>,
    out: &'o mut Vec<u8>,
    done: Done,
    /// Keys and fields of the header whose values were cut to the dictionary's lengths.
    cut: String,
    /// Where the first key of free text stands.
    free_text: Option<usize>,
}

/// What became of a value.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    /// Nothing is left of it once it is trimmed, or the key does not take it.
    No,
    Whole,
    Cut,
}

impl Extension<'_, '_> {
    fn is_done(&self, field: Field) -> bool {
        self.done.get(field as usize).copied().unwrap_or(false)
    }

    /// Canonical fields under the keys of the dictionary, in its order.
    fn rows(&mut self) {
        let rows_of = |field: Field| ROWS_OF.get(field as usize).copied().unwrap_or(0);
        let (_, fields, _) = self.event.parts();
        let mut wanted = fields.iter().fold(0_u64, |wanted, (field, _)| wanted | rows_of(*field));
        while let Some(row) = ROWS.get(usize::try_from(wanted.trailing_zeros()).unwrap_or(64)) {
            if wanted.trailing_zeros() >= FREE_TEXT && self.free_text.is_none() {
                self.free_text = Some(self.out.len());
            }
            wanted &= wanted.wrapping_sub(1);
            if let Some(cell) = self.event.at(row.field) {
                self.row(row, cell);
            }
        }
    }

    /// Writes a field under its key of the dictionary, if it is what the key takes.
    fn row(&mut self, row: &Row, cell: Cell) {
        // The first row that takes the value has it; a second key is only for a value no other field has.
        if self.is_done(row.unless.unwrap_or(row.field)) {
            return;
        }
        let event = self.event;
        let written = match (row.how, cell) {
            (How::Text(bytes_max), _) => write_value(self.out, event, cell, bytes_max, |out| row.lead.write(out)),
            (How::Millis, Cell::Time(nanos)) => self.number(row, Time(nanos).millis()),
            (How::Number, _) => event.whole(cell).map_or(Written::No, |number| self.number(row, number)),
            (How::Port, _) => match event.whole(cell) {
                Some(port @ 0..=65_535) => self.number(row, port),
                _ => Written::No,
            },
            (How::Ipv4, Cell::Str(span)) if event.str(span).parse::<Ipv4Addr>().is_ok() => self.plain(row, span),
            (How::Ipv6, Cell::Str(span)) if event.str(span).parse::<Ipv6Addr>().is_ok() => self.plain(row, span),
            _ => Written::No,
        };
        if written == Written::No {
            return;
        }
        if let Some(done) = self.done.get_mut(row.field as usize) {
            *done = true;
        }
        if let Some(label) = &row.label {
            label.write(self.out);
        }
        if written == Written::Cut {
            note_cut(&mut self.cut, row.key);
        }
    }

    fn number(&mut self, row: &Row, number: i64) -> Written {
        row.lead.write(self.out);
        write_number(self.out, number);
        Written::Whole
    }

    /// Writes an address, which holds nothing to escape.
    fn plain(&mut self, row: &Row, address: Span) -> Written {
        row.lead.write(self.out);
        self.out.extend_from_slice(self.event.bytes(address));
        Written::Whole
    }

    /// Writes a text, unless nothing is left of it once it is trimmed.
    fn text(&mut self, lead: &Lead, key: &str, text: &str, bytes_max: usize) {
        if write_piece(self.out, text.as_bytes(), bytes_max, |out| lead.write(out)) == Written::Cut {
            note_cut(&mut self.cut, key);
        }
    }

    /// Canonical fields the dictionary has no key for, or not for this value.
    fn fields_without_key(&mut self) {
        let (_, fields, _) = self.event.parts();
        let start = self.out.len();
        for (field, cell) in fields {
            if self.is_done(*field) {
                continue;
            }
            let lead = lead(&OWN_LEADS, *field);
            if write_value(self.out, self.event, *cell, EXTRA_BYTES_MAX, |out| lead.write(out)) == Written::Cut {
                note_cut(&mut self.cut, field.name());
            }
        }
        let from = self.free_text.unwrap_or(start);
        if self.out.len() > start
            && let Some(moved) = self.out.get_mut(from..)
        {
            moved.rotate_left(start.saturating_sub(from));
        }
    }

    fn extras(&mut self) {
        let event = self.event;
        let (_, _, extras) = event.parts();
        if extras.is_empty() {
            return;
        }
        let mut keys = Keys::default();
        let came_as_cef = relay::is_cef(event);
        for extra in extras {
            let mut key = 0..0;
            let (mut value, mut bytes_max) = (extra.value, EXTRA_BYTES_MAX);
            let relayed = if came_as_cef { relay::key(event, extra) } else { None };
            let begin = |out: &mut Vec<u8>| {
                let (group, name) = (event.bytes(extra.group), event.bytes(extra.name));
                let own = relayed.is_some().then(|| keys.write_own(out, name)).flatten();
                key = own.unwrap_or_else(|| keys.write(out, group, name));
                out.push(b'=');
            };
            if let Some(relayed) = relayed {
                (value, bytes_max) = (relayed.value, relayed.bytes_max);
            }
            if write_value(self.out, event, value, bytes_max, begin) == Written::Cut {
                let key = self.out.get(key).map(String::from_utf8_lossy).unwrap_or_default();
                note_cut(&mut self.cut, &key);
            }
        }
    }

    /// The keys that were cut, and then the message, which comes last.
    fn msg(&mut self) {
        let end = self.out.len();
        let msg = self.event.at(Field::Msg);
        let written = msg.map(|msg| write_value(self.out, self.event, msg, MSG.1, |out| MSG_LEAD.write(out)));
        if written == Some(Written::Cut) {
            note_cut(&mut self.cut, MSG.0);
        }
        if !self.cut.is_empty() {
            let msg = self.out.split_off(end);
            let cut = std::mem::take(&mut self.cut);
            self.text(&CUT_LEAD, "emit_cut", &cut, EXTRA_BYTES_MAX);
            self.out.extend_from_slice(&msg);
        }
    }
}

/// Writes a value behind what `begin` writes. Only texts can be empty, or longer than a key takes.
#[inline]
fn write_value(
    out: &mut Vec<u8>,
    event: &Event<'_>,
    cell: Cell,
    bytes_max: usize,
    begin: impl FnOnce(&mut Vec<u8>),
) -> Written {
    match cell {
        Cell::Str(span) => return write_piece(out, event.bytes(span), bytes_max, begin),
        Cell::Json(span) => {
            let text = event.str(span);
            let text = listed(text).unwrap_or(Cow::Borrowed(text));
            return write_piece(out, text.as_bytes(), bytes_max, begin);
        }
        Cell::Int(number) => {
            begin(out);
            write_number(out, number);
        }
        Cell::Bool(truth) => {
            begin(out);
            out.extend_from_slice(if truth { b"true" } else { b"false" });
        }
        Cell::Time(nanos) => {
            begin(out);
            Time(nanos).write_rfc3339(9, out);
        }
    }
    Written::Whole
}

#[inline]
fn write_piece(out: &mut Vec<u8>, text: &[u8], bytes_max: usize, begin: impl FnOnce(&mut Vec<u8>)) -> Written {
    if text.len() <= bytes_max && is_plain(text) {
        begin(out);
        out.extend_from_slice(text);
        return Written::Whole;
    }
    write_odd_piece(out, text, bytes_max, begin)
}

#[cold]
#[inline(never)]
fn write_odd_piece(out: &mut Vec<u8>, text: &[u8], bytes_max: usize, begin: impl FnOnce(&mut Vec<u8>)) -> Written {
    if text.len() <= bytes_max && is_trimmed(text) {
        begin(out);
        write_text(out, text);
        return Written::Whole;
    }
    let text = String::from_utf8_lossy(text);
    let (piece, is_cut) = piece(&text, bytes_max);
    if piece.is_empty() {
        return Written::No;
    }
    begin(out);
    write_text(out, piece.as_bytes());
    if is_cut { Written::Cut } else { Written::Whole }
}

fn write_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A JSON list of texts, as people write lists: `docker,web`.
pub(crate) fn listed(json: &str) -> Option<Cow<'_, str>> {
    let mut reader = JsonReader::over(json);
    let mut list: Option<Cow<'_, str>> = None;
    reader
        .array(|reader| {
            let Some(text) = reader.try_string()? else { return Err(reader.refuse("a text")) };
            match &mut list {
                Some(list) => {
                    let list = list.to_mut();
                    list.push(',');
                    list.push_str(&text.text());
                }
                None => list = Some(text.text()),
            }
            Ok(())
        })
        .and_then(|()| reader.end())
        .ok()?;
    Some(list.unwrap_or_default())
}

/// As much of the raw bytes as `rawEvent` can take.
fn head(raw: &[u8]) -> &[u8] {
    raw.get(..4_096).unwrap_or(raw)
}

#[cfg(test)]
mod strict;
#[cfg(test)]
mod tests;
