//! Native JSON: one flat object on one line, the form of the archive and of `convert --to json`.
//!
//! An emitter at the end of an event's way. Canonical fields stand at the top under their names,
//! everything else the input said stands inside `fields`, and the bytes themselves in `raw`:
//!
//! ```json
//! {"time":"2026-11-21T09:03:20.158734145Z","event_class":"image.tag","fields":{"docker.scope":"local"},"raw":"…"}
//! ```
//!
//! Invariant: always one valid object, whatever the event holds. No name or value of the input can
//! stand for a canonical field, no key occurs twice (later ones move to `_dup`), and control
//! characters, C1 and the line separators of Unicode are escaped.

use crate::escape::{Gathered, Specials, all, bytes_before};
use crate::json_read::JsonReader;
use crate::lead::{Lead, lead};
use crate::repeats::{Seen, repeats};
use crate::{EmitContext, Event, Extra, Field, Format, Value};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "json",
    about: "native JSON, one flat object a line; `convert`, `diff` and `explain` read it with `--from json`",
    detect: None,
    starts: b"",
    parse: None,
    emit: Some(emit),
    open: None,
};

/// A comma, the name of a field and a colon.
static LEADS: [Lead; Field::COUNT] = Lead::of_fields(",\"", b'.', "\":");

pub(crate) fn emit(event: &Event<'_>, _: &EmitContext<'_>, out: &mut Vec<u8>) {
    // The raw bytes, and about as much again for what was read from them.
    out.reserve(event.raw().len().saturating_mul(2).saturating_add(1_024));
    let start = out.len();
    for (field, value) in event.fields() {
        lead(&LEADS, field).write(out);
        write_value(out, value);
    }
    write_extras(event, out);
    write_raw(event, out);
    // Each member brought the comma before it; the brace stands in the place of the first one.
    open(out, start, b'{');
    out.push(b'}');
}

/// Puts a bracket in the place of the first comma since `start`, or at the end when there is none.
fn open(out: &mut Vec<u8>, start: usize, bracket: u8) {
    match out.get_mut(start) {
        Some(comma) => *comma = bracket,
        None => out.push(bracket),
    }
}

fn write_extras(event: &Event<'_>, out: &mut Vec<u8>) {
    let extras = event.extras();
    if extras.len() == 0 {
        return;
    }
    out.extend_from_slice(b",\"fields\":");
    let inside = out.len();
    let mut seen = Seen::default();
    let is_each_new = extras.clone().all(|extra| {
        write_extra(out, &extra);
        seen.is_new((extra.group, extra.name))
    });
    let mut repeated = Vec::new();
    if !is_each_new {
        // Two may have the same name: from the start again, with a closer look.
        out.truncate(inside);
        repeated = repeats(extras.clone().map(|extra| (extra.group, extra.name)));
        let first = extras.clone().enumerate().filter(|(at, _)| repeated.binary_search(at).is_err());
        first.for_each(|(_, extra)| write_extra(out, &extra));
    }
    open(out, inside, b'{');
    out.push(b'}');
    if !repeated.is_empty() {
        write_repeated(extras, &repeated, out);
    }
}

fn write_repeated<'e>(extras: impl Iterator<Item = Extra<'e>>, repeated: &[usize], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"_dup\":");
    let inside = out.len();
    for (_, extra) in extras.enumerate().filter(|(at, _)| repeated.binary_search(at).is_ok()) {
        out.extend_from_slice(b",[\"");
        write_key(out, &extra);
        out.extend_from_slice(b"\",");
        write_value(out, extra.value);
        out.push(b']');
    }
    open(out, inside, b'[');
    out.push(b']');
}

fn write_extra(out: &mut Vec<u8>, extra: &Extra<'_>) {
    out.extend_from_slice(b",\"");
    write_key(out, extra);
    if let Value::Str(text) = extra.value {
        out.extend_from_slice(b"\":\"");
        write_escaped(out, text);
        out.push(b'"');
        return;
    }
    out.extend_from_slice(b"\":");
    write_value(out, extra.value);
}

/// The name of an extra, inside of quotes.
#[inline]
fn write_key(out: &mut Vec<u8>, extra: &Extra<'_>) {
    if !extra.group.is_empty() {
        write_escaped(out, extra.group);
        out.push(b'.');
    }
    write_escaped(out, extra.name);
}

fn write_raw(event: &Event<'_>, out: &mut Vec<u8>) {
    if event.raw().is_empty() {
        return;
    }
    match event.raw_text() {
        Some(text) => {
            out.extend_from_slice(b",\"raw\":\"");
            write_odd(out, text, Outside::Escape);
            out.push(b'"');
        }
        None => {
            out.extend_from_slice(b",\"raw_base64\":\"");
            write_base64(out, event.raw());
            out.push(b'"');
        }
    }
}

#[inline(always)]
fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Str(text) => write_string(out, text),
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::Bool(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Value::Time(time) => {
            out.push(b'"');
            time.write_rfc3339(9, out);
            out.push(b'"');
        }
        Value::Json(text) => write_json(out, text),
    }
}

#[inline]
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Writes a text as it stands inside of a string, which nearly all texts do.
#[inline]
pub(crate) fn write_escaped(out: &mut Vec<u8>, text: &str) {
    match is_plain(text.as_bytes()) {
        true => out.extend_from_slice(text.as_bytes()),
        false => write_odd(out, text, Outside::Escape),
    }
}

// Not inlined: by itself the check becomes a few vector instructions, and no registers are saved around it.
#[inline(never)]
fn is_plain(bytes: &[u8]) -> bool {
    // As signed numbers, the controls and all that is not ASCII are below the space.
    all(bytes, |byte| !((byte.cast_signed() < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f)))
}

/// JSON as it stood in the input, checked once more: this text could end the record. What is not
/// JSON, or JSON that strict readers refuse (half a surrogate pair, a number no double holds),
/// becomes a string.
pub(crate) fn write_json(out: &mut Vec<u8>, text: &str) {
    let mut reader = JsonReader::over(text);
    let is_json = reader.skip().and_then(|_| reader.end()).is_ok() && !reader.is_unportable();
    match is_json {
        true => write_checked_json(out, text),
        false => write_string(out, text),
    }
}

/// The same of a text that was read as JSON before.
pub(crate) fn write_checked_json(out: &mut Vec<u8>, text: &str) {
    match is_kept(text.as_bytes()) {
        true => out.extend_from_slice(text.as_bytes()),
        false => write_odd(out, text, Outside::Keep),
    }
}

/// Whether JSON goes out as it stands. An alert of Wazuh is full of quotes and backslashes, and has nothing else.
#[inline(never)]
fn is_kept(bytes: &[u8]) -> bool {
    all(bytes, |byte| !((byte.cast_signed() < 0x20) | (byte == 0x7f)))
}

/// 0xC2 leads the C1 controls and 0xE2 the line separators; both lead harmless characters too.
static ASCII_SPECIALS: Specials<3> = Specials::controls_and([b'"', b'\\', 0x7f]);
static SPECIALS: Specials<5> = Specials::controls_and([b'"', b'\\', 0x7f, 0xc2, 0xe2]);

/// What to do with characters that mean something outside of strings.
#[derive(Clone, Copy, PartialEq)]
enum Outside {
    /// The text becomes a string: escape them.
    Escape,
    /// The text is JSON: keep quotes and backslashes; control characters can only be white space.
    Keep,
}

fn write_odd(out: &mut Vec<u8>, text: &str, outside: Outside) {
    // In a text without characters beyond ASCII there is less to look for.
    match text.is_ascii() {
        true => write_each(out, text, outside, &ASCII_SPECIALS),
        false => write_each(out, text, outside, &SPECIALS),
    }
}

#[inline(always)]
fn write_each<const N: usize>(out: &mut Vec<u8>, text: &str, outside: Outside, specials: &Specials<N>) {
    let mut gathered = Gathered::new();
    let mut rest = text.as_bytes();
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let plain = bytes_before(specials.marks(word));
        gathered.put(word, plain);
        if plain == 8 {
            rest = after;
        } else {
            let special = rest.get(plain..).unwrap_or_default();
            if let ([byte @ (b'"' | b'\\'), after @ ..], Outside::Escape) = (special, outside) {
                gathered.put(u64::from_le_bytes([b'\\', *byte, 0, 0, 0, 0, 0, 0]), 2);
                rest = after;
            } else {
                out.extend_from_slice(gathered.take());
                let taken = write_special(out, special, outside);
                rest = special.get(taken..).unwrap_or_default();
            }
        }
        if gathered.is_full() {
            out.extend_from_slice(gathered.take());
        }
    }
    out.extend_from_slice(gathered.take());
    while let Some((plain, special)) = rest.split_at_checked(specials.plain_len(rest)) {
        out.extend_from_slice(plain);
        let taken = write_special(out, special, outside);
        if taken == 0 {
            return;
        }
        rest = special.get(taken..).unwrap_or_default();
    }
}

/// Writes what stands at the start and answers how many bytes that took: none at the end of the text.
fn write_special(out: &mut Vec<u8>, from_special: &[u8], outside: Outside) -> usize {
    match (from_special, outside) {
        ([], _) => return 0,
        ([0x7f, ..], _) if planted!("json_emit") => out.push(0x7f),
        ([byte @ (b'"' | b'\\'), ..], Outside::Keep) => out.push(*byte),
        ([0..=0x1f, ..], Outside::Keep) => out.push(b' '),
        ([byte @ (b'"' | b'\\'), ..], _) => out.extend_from_slice(&[b'\\', *byte]),
        ([byte @ (0..=0x1f | 0x7f), ..], _) => write_control(out, *byte),
        ([0xc2, byte @ 0x80..=0x9f, ..], _) => {
            write_unit(out, [0, *byte]);
            return 2;
        }
        ([0xe2, 0x80, byte @ (0xa8 | 0xa9), ..], _) => {
            write_unit(out, [0x20, byte.wrapping_sub(0x80)]);
            return 3;
        }
        ([byte, ..], _) => out.push(*byte),
    }
    1
}

fn write_control(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => write_unit(out, [0, byte]),
    }
}

/// A UTF-16 unit as `\uXXXX`.
fn write_unit(out: &mut Vec<u8>, unit: [u8; 2]) {
    out.extend_from_slice(b"\\u");
    for byte in unit {
        for digit in [byte.wrapping_shr(4), byte & 15] {
            out.push(if digit < 10 { b'0'.wrapping_add(digit) } else { b'a'.wrapping_sub(10).wrapping_add(digit) });
        }
    }
}

/// RFC 4648 section 4, with padding.
pub(crate) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |at| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0).wrapping_shl(16) | byte(1).wrapping_shl(8) | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let sextet = bits.wrapping_shr(shift) & 63;
            let letter = ALPHABET.get(usize::try_from(sextet).unwrap_or(0)).copied().unwrap_or(b'=');
            out.push(if at > chunk.len() { b'=' } else { letter });
        }
    }
}

#[cfg(test)]
mod tests;
