//! ArcSight Common Event Format, revision 25: `CEF:0|vendor|product|version|class|name|severity|extension`.
//!
//! An emitter at the end of an event's way. Canonical fields go to the dictionary keys of
//! [`table`] in a fixed order; fields without a key of the dictionary go out under their own name
//! with `_` for `.`, and what else the input said under `ad_<group>_<name>`. No key of the
//! dictionary holds a `_`, and no field begins with `ad_`: the three cannot be mistaken for one another.
//!
//! Invariant: exactly one line with exactly these keys, each once, whatever bytes names and values hold.

mod table;
mod write;

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use self::table::{EXTRA_BYTES_MAX, How, MSG, ROWS, Row};
use self::write::{Keys, is_blank, piece, write_header, write_key_part, write_text};
use crate::json_read::JsonReader;
use crate::{EmitContext, Event, Field, Format, Value};

/// The row of this format.
pub(crate) const FORMAT: Format =
    Format { name: "cef", about: "ArcSight Common Event Format", detect: None, parse: None, emit: Some(emit) };

fn emit(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_mul(2).saturating_add(512));
    header(event, context, out);
    let mut extension = Extension { start: out.len(), out, done: IN_HEADER, cut: String::new() };
    let present = event.fields().fold(0, |present, (field, _)| present | bit(field));
    for row in ROWS.iter().filter(|row| present & bit(row.field) != 0) {
        if let Some(value) = event.get(row.field) {
            extension.row(row, value);
        }
    }
    extension.fields_without_key(event);
    extension.extras(event);
    if event.get(Field::ParseStatus).is_some() {
        // What was not understood goes along as it came.
        extension.text("rawEvent", &String::from_utf8_lossy(head(event.raw())), 4_000);
    }
    let mut digits = itoa::Buffer::new();
    let msg = event.get(Field::Msg).map(|msg| plain_text(msg, &mut digits));
    let (msg, is_cut) = msg.as_deref().map_or(("", false), |msg| piece(msg, MSG.1, is_blank));
    if is_cut {
        extension.note_cut(MSG.0);
    }
    let cut = std::mem::take(&mut extension.cut);
    extension.text("emit_cut", &cut, EXTRA_BYTES_MAX);
    if !msg.is_empty() {
        extension.key(MSG.0);
        write_text(extension.out, msg);
    }
}

/// The fields a header holds.
const IN_HEADER: u128 = bit(Field::EventClass)
    | bit(Field::Name)
    | bit(Field::Severity)
    | bit(Field::DeviceVendor)
    | bit(Field::DeviceProduct)
    | bit(Field::DeviceVersion)
    | bit(Field::Msg);

const fn bit(field: Field) -> u128 {
    1_u128.wrapping_shl(field as u32)
}

// A set of fields is kept in 128 bits.
const _: () = assert!(Field::COUNT <= 128);

fn header(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CEF:0|");
    let class = event.text(Field::EventClass).or_else(|| event.text(Field::Format)).unwrap_or("event");
    for (text, bytes_max) in [
        (event.text(Field::DeviceVendor).unwrap_or(context.vendor), 63),
        (event.text(Field::DeviceProduct).unwrap_or(context.product), 63),
        (event.text(Field::DeviceVersion).unwrap_or(context.version), 31),
        (class, 1_023),
        (event.text(Field::Name).unwrap_or(class), 512),
    ] {
        write_header(out, text, bytes_max);
        out.push(b'|');
    }
    match event.get(Field::Severity) {
        Some(Value::Int(severity)) => {
            out.extend_from_slice(itoa::Buffer::new().format((*severity).clamp(0, 10)).as_bytes())
        }
        Some(Value::Str(word)) if ["Low", "Medium", "High", "Very-High"].contains(&&**word) => {
            out.extend_from_slice(word.as_bytes());
        }
        _ => out.extend_from_slice(b"Unknown"),
    }
    out.push(b'|');
}

/// The extension while it is written.
struct Extension<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    /// Fields that have gone out.
    done: u128,
    /// Keys whose values were cut to the dictionary's length.
    cut: String,
}

impl Extension<'_> {
    /// Begins `key=`.
    fn key(&mut self, key: &str) {
        self.separate();
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
    }

    fn separate(&mut self) {
        if self.out.len() > self.start {
            self.out.push(b' ');
        }
    }

    /// Writes a field under its key of the dictionary, if it is what the key takes.
    fn row(&mut self, row: &Row, value: &Value<'_>) {
        // The first row that takes the value has it; a second key is only for a value no other field has.
        let taken_by = row.unless.unwrap_or(row.field);
        if self.done & bit(taken_by) != 0 {
            return;
        }
        let written = match (row.how, value) {
            (How::Text(bytes_max), _) => self.text(row.key, &plain_text(value, &mut itoa::Buffer::new()), bytes_max),
            (How::Millis, Value::Time(time)) => self.number(row.key, time.millis()),
            (How::Number, _) => whole(value).is_some_and(|number| self.number(row.key, number)),
            (How::Port, _) => {
                whole(value).filter(|port| (0..=65_535).contains(port)).is_some_and(|port| self.number(row.key, port))
            }
            (How::Ipv4, Value::Str(text)) => text.parse::<Ipv4Addr>().is_ok() && self.text(row.key, text, 15),
            (How::Ipv6, Value::Str(text)) => text.parse::<Ipv6Addr>().is_ok() && self.text(row.key, text, 45),
            _ => false,
        };
        if !written {
            return;
        }
        self.done |= bit(row.field);
        if let Some((key, label)) = row.label {
            self.key(key);
            self.out.extend_from_slice(label.as_bytes());
        }
    }

    /// Writes `key=text`, unless nothing is left of the text once it is trimmed.
    fn text(&mut self, key: &'static str, text: &str, bytes_max: usize) -> bool {
        let (piece, is_cut) = piece(text, bytes_max, is_blank);
        if piece.is_empty() {
            return false;
        }
        self.key(key);
        write_text(self.out, piece);
        if is_cut {
            self.note_cut(key);
        }
        true
    }

    fn number(&mut self, key: &str, number: i64) -> bool {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        true
    }

    fn note_cut(&mut self, key: &str) {
        if !self.cut.is_empty() {
            self.cut.push(',');
        }
        self.cut.push_str(key);
    }

    /// Canonical fields the dictionary has no key for, or not for this value.
    fn fields_without_key(&mut self, event: &Event<'_>) {
        for (field, value) in event.fields() {
            if self.done & bit(field) != 0 {
                continue;
            }
            let mut digits = itoa::Buffer::new();
            let text = plain_text(value, &mut digits);
            let (piece, is_cut) = piece(&text, EXTRA_BYTES_MAX, is_blank);
            if piece.is_empty() {
                continue;
            }
            self.separate();
            self.out.extend(field.name().bytes().map(|byte| if byte == b'.' { b'_' } else { byte }));
            self.out.push(b'=');
            write_text(self.out, piece);
            if is_cut {
                self.note_cut(field.name());
            }
        }
    }

    fn extras(&mut self, event: &Event<'_>) {
        let mut keys = Keys::default();
        for extra in event.extras() {
            let mut digits = itoa::Buffer::new();
            let text = plain_text(&extra.value, &mut digits);
            let (piece, is_cut) = piece(&text, EXTRA_BYTES_MAX, is_blank);
            if piece.is_empty() {
                continue;
            }
            self.separate();
            let key_at = self.out.len();
            self.out.extend_from_slice(b"ad_");
            if !extra.group.is_empty() {
                write_key_part(self.out, &extra.group);
                self.out.push(b'_');
            }
            write_key_part(self.out, &extra.name);
            keys.make_unique(self.out, key_at);
            if is_cut {
                let key = self.out.get(key_at..).and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
                let key = key.to_owned();
                self.note_cut(&key);
            }
            self.out.push(b'=');
            write_text(self.out, piece);
        }
    }
}

/// A value as one text; `digits` holds that of a number.
fn plain_text<'v>(value: &'v Value<'_>, digits: &'v mut itoa::Buffer) -> Cow<'v, str> {
    match value {
        Value::Str(text) => Cow::Borrowed(text),
        Value::Json(text) => listed(text).unwrap_or(Cow::Borrowed(text)),
        Value::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
        Value::Int(number) => Cow::Borrowed(digits.format(*number)),
        Value::Time(time) => {
            let mut text = Vec::with_capacity(30);
            time.write_rfc3339(9, &mut text);
            Cow::Owned(String::from_utf8(text).unwrap_or_default())
        }
    }
}

/// A JSON list of texts, as people write lists: `docker,web`.
fn listed(json: &str) -> Option<Cow<'_, str>> {
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

fn whole(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Str(text) => text.parse().ok(),
        _ => None,
    }
}

/// As much of the raw bytes as `rawEvent` can take.
fn head(raw: &[u8]) -> &[u8] {
    raw.get(..4_096).unwrap_or(raw)
}

#[cfg(test)]
mod strict;
#[cfg(test)]
mod tests;
