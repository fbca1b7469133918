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

use crate::escape::Specials;
use crate::json_read::JsonReader;
use crate::repeats::repeats;
use crate::{EmitContext, Event, Extra, Format, Value};

/// The row of this format.
pub(crate) const FORMAT: Format =
    Format { name: "json", about: "native JSON, one flat object a line", detect: None, parse: None, emit: Some(emit) };

fn emit(event: &Event<'_>, _: &EmitContext<'_>, out: &mut Vec<u8>) {
    // The raw bytes, and about as much again for what was read from them.
    out.reserve(event.raw().len().saturating_mul(2).saturating_add(512));
    out.push(b'{');
    let start = out.len();
    for (field, value) in event.fields() {
        separate(out, start);
        out.push(b'"');
        out.extend_from_slice(field.name().as_bytes());
        out.extend_from_slice(b"\":");
        write_value(out, value);
    }
    write_extras(event, start, out);
    write_raw(event.raw(), start, out);
    out.push(b'}');
}

fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}

fn write_extras(event: &Event<'_>, start: usize, out: &mut Vec<u8>) {
    let extras = event.extras();
    if extras.len() == 0 {
        return;
    }
    let repeated = repeats(extras.clone().map(|extra| (extra.group, extra.name)));
    separate(out, start);
    out.extend_from_slice(b"\"fields\":{");
    let inside = out.len();
    for (at, extra) in extras.clone().enumerate() {
        if repeated.binary_search(&at).is_err() {
            separate(out, inside);
            write_key(out, &extra);
            out.push(b':');
            write_value(out, extra.value);
        }
    }
    out.push(b'}');
    if repeated.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"_dup\":[");
    let inside = out.len();
    for extra in repeated.iter().filter_map(|at| extras.clone().nth(*at)) {
        separate(out, inside);
        out.push(b'[');
        write_key(out, &extra);
        out.push(b',');
        write_value(out, extra.value);
        out.push(b']');
    }
    out.push(b']');
}

fn write_key(out: &mut Vec<u8>, extra: &Extra<'_>) {
    out.push(b'"');
    if !extra.group.is_empty() {
        write_escaped(out, extra.group, Outside::Escape);
        out.push(b'.');
    }
    write_escaped(out, extra.name, Outside::Escape);
    out.push(b'"');
}

fn write_raw(raw: &[u8], start: usize, out: &mut Vec<u8>) {
    if raw.is_empty() {
        return;
    }
    separate(out, start);
    match simdutf8::basic::from_utf8(raw) {
        Ok(text) => {
            out.extend_from_slice(b"\"raw\":");
            write_string(out, text);
        }
        Err(_) => {
            out.extend_from_slice(b"\"raw_base64\":\"");
            write_base64(out, raw);
            out.push(b'"');
        }
    }
}

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

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text, Outside::Escape);
    out.push(b'"');
}

/// JSON as it stood in the input, checked once more: this text could end the record. What is not
/// JSON, or JSON that strict readers refuse (half a surrogate pair, a number no double holds),
/// becomes a string.
fn write_json(out: &mut Vec<u8>, text: &str) {
    let mut reader = JsonReader::over(text);
    let is_json = reader.skip().and_then(|_| reader.end()).is_ok() && !reader.is_unportable();
    if is_json {
        write_escaped(out, text, Outside::Keep);
    } else {
        write_string(out, text);
    }
}

/// 0xC2 leads the C1 controls and 0xE2 the line separators; both lead harmless characters too.
static SPECIALS: Specials<5> = Specials::controls_and([b'"', b'\\', 0x7f, 0xc2, 0xe2]);

/// What to do with characters that mean something outside of strings.
#[derive(Clone, Copy, PartialEq)]
enum Outside {
    /// The text becomes a string: escape them.
    Escape,
    /// The text is JSON: keep quotes and backslashes; control characters can only be white space.
    Keep,
}

fn write_escaped(out: &mut Vec<u8>, text: &str, outside: Outside) {
    let mut rest = text.as_bytes();
    loop {
        let Some((plain, from_special)) = rest.split_at_checked(SPECIALS.plain_len(rest)) else { return };
        out.extend_from_slice(plain);
        let taken = match (from_special, outside) {
            ([], _) => return,
            ([byte @ (b'"' | b'\\'), ..], Outside::Keep) => {
                out.push(*byte);
                1
            }
            ([0..=0x1f, ..], Outside::Keep) => {
                out.push(b' ');
                1
            }
            ([byte @ (b'"' | b'\\'), ..], _) => {
                out.extend_from_slice(&[b'\\', *byte]);
                1
            }
            ([byte @ (0..=0x1f | 0x7f), ..], _) => {
                write_control(out, *byte);
                1
            }
            ([0xc2, byte @ 0x80..=0x9f, ..], _) => {
                write_unit(out, [0, *byte]);
                2
            }
            ([0xe2, 0x80, byte @ (0xa8 | 0xa9), ..], _) => {
                write_unit(out, [0x20, byte.wrapping_sub(0x80)]);
                3
            }
            ([byte, ..], _) => {
                out.push(*byte);
                1
            }
        };
        rest = from_special.get(taken..).unwrap_or_default();
    }
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
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
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
