//! QRadar's Log Event Extended Format: `LEEF:2.0|vendor|product|version|EventID|x09|key=value<TAB>…`.
//!
//! At both ends of an event's way: versions 1 and 2 are read, 2 is written. Canonical fields go to the
//! keys of [`table`]; fields without a key go out under their own name with `_` for `.`, and what else
//! the input said under `ad_<group>_<name>`, as in CEF.
//!
//! Invariant: exactly one line with exactly these keys, each once. The format has no escapes: what
//! would end a value or a header field is written as something else.

mod java_time;
mod parse;
mod table;

use std::borrow::Cow;

use self::table::{How, MSG_LEAD, OWN_LEADS, RAW_LEAD, ROWS, Row};
use crate::cef::{Keys, listed};
use crate::escape::Specials;
use crate::event::Cell;
use crate::lead::lead;
use crate::{EmitContext, Event, Field, Format, Time, Value};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "leef",
    about: "Log Event Extended Format of QRadar, 1.0 and 2.0",
    detect: Some(parse::detect),
    starts: b"L",
    parse: Some(parse::parse),
    emit: Some(emit),
    open: None,
};

/// Bytes of what was not understood that go along.
const RAW_BYTES_MAX: usize = 4_000;

fn emit(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_mul(2).saturating_add(1_024));
    // What nothing is left of is read back as absent, so it is absent.
    let text = |field| event.text(field).filter(|text| !text.chars().all(is_blank));
    out.extend_from_slice(b"LEEF:2.0|");
    for text in [
        text(Field::DeviceVendor).unwrap_or(context.vendor),
        text(Field::DeviceProduct).unwrap_or(context.product),
        text(Field::DeviceVersion).unwrap_or(context.version),
        // "EventID is required."
        text(Field::EventClass).or_else(|| text(Field::Format)).unwrap_or("event"),
    ] {
        write_header(out, text);
        out.push(b'|');
    }
    out.extend_from_slice(b"x09");
    let start = out.len();
    attributes(event, out);
    // The last pipe stands where the first key wrote the tab before it.
    match out.get_mut(start) {
        Some(tab) => *tab = b'|',
        None => out.push(b'|'),
    }
}

/// Every attribute brings the tab before it.
fn attributes(event: &Event<'_>, out: &mut Vec<u8>) {
    let mut done = table::IN_HEADER;
    for row in ROWS {
        if event.at(row.field).is_some_and(|cell| write_row(event, row, cell, out))
            && let Some(done) = done.get_mut(row.field as usize)
        {
            *done = true;
        }
    }
    // "Always devTime": the time of receipt is the best there is without one.
    if let (None, Some(received)) = (event.time(Field::Time), event.time(Field::ObservedTime)) {
        table::TIME_LEAD.write(out);
        write_number(out, received.millis());
    }
    let (_, fields, extras) = event.parts();
    for (field, cell) in fields {
        if !done.get(*field as usize).copied().unwrap_or(true) {
            let lead = lead(&OWN_LEADS, *field);
            write_value(out, event, *cell, |out| lead.write(out));
        }
    }
    let mut keys = Keys::default();
    for extra in extras {
        write_value(out, event, extra.value, |out| {
            let key = keys.write(out, event.bytes(extra.group), event.bytes(extra.name));
            // Keys are made with the space that stands before them in CEF.
            if let Some(before) = key.start.checked_sub(1).and_then(|at| out.get_mut(at)) {
                *before = b'\t';
            }
            out.push(b'=');
        });
    }
    if event.has(Field::ParseStatus) {
        let raw = event.raw().get(..RAW_BYTES_MAX).unwrap_or(event.raw());
        write_text(out, &String::from_utf8_lossy(raw), |out| RAW_LEAD.write(out));
    }
    if let Some(cell) = event.at(Field::Msg) {
        write_value(out, event, cell, |out| MSG_LEAD.write(out));
    }
}

/// Writes a field under its key, if it is what the key takes; answers whether it has.
fn write_row(event: &Event<'_>, row: &Row, cell: Cell, out: &mut Vec<u8>) -> bool {
    let number = match (row.how, event.value(cell)) {
        (How::Text, _) => return write_value(out, event, cell, |out| row.lead.write(out)),
        (How::Millis, Value::Time(time)) => time.millis(),
        // 1 is the lowest there is.
        (How::Severity, Value::Int(severity)) => severity.clamp(1, 10),
        (How::Number, Value::Int(number)) => number,
        (How::Port, Value::Int(port @ 0..=65_535)) => port,
        _ => return false,
    };
    row.lead.write(out);
    write_number(out, number);
    true
}

/// Writes a value behind what `begin` writes, unless nothing is left of it once it is trimmed.
fn write_value(out: &mut Vec<u8>, event: &Event<'_>, cell: Cell, begin: impl FnOnce(&mut Vec<u8>)) -> bool {
    match event.value(cell) {
        Value::Str(text) => return write_text(out, text, begin),
        Value::Json(text) => return write_text(out, &listed(text).unwrap_or(Cow::Borrowed(text)), begin),
        Value::Int(number) => {
            begin(out);
            write_number(out, number);
        }
        Value::Bool(truth) => {
            begin(out);
            out.extend_from_slice(if truth { b"true" } else { b"false" });
        }
        Value::Time(time) => {
            begin(out);
            Time::write_rfc3339(time, 9, out);
        }
    }
    true
}

static CONTROLS: Specials<1> = Specials::controls_and([0x7f]);

fn is_blank(char: char) -> bool {
    char <= ' ' || char == '\u{7f}'
}

/// "Replace the delimiter, CR and LF in values by a space": that is done with every control character.
fn write_text(out: &mut Vec<u8>, text: &str, begin: impl FnOnce(&mut Vec<u8>)) -> bool {
    let text = text.trim_matches(is_blank);
    if text.is_empty() {
        return false;
    }
    begin(out);
    write_spaced(out, text);
    true
}

fn write_spaced(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if planted!("leef_emit") || CONTROLS.none_in(bytes) {
        return out.extend_from_slice(bytes);
    }
    out.extend(bytes.iter().map(|byte| if is_blank(char::from(*byte)) { b' ' } else { *byte }));
}

/// "Pipes cannot be escaped": one is written as `_`, and so is a backslash that would stand before one.
fn write_header(out: &mut Vec<u8>, text: &str) {
    let text = text.trim_matches(is_blank);
    let start = out.len();
    write_spaced(out, text);
    for byte in out.iter_mut().skip(start).filter(|byte| **byte == b'|') {
        *byte = b'_';
    }
    if let Some(last @ b'\\') = out.last_mut() {
        *last = b'_';
    }
}

fn write_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(Field, Value<'_>)], extras: &[(&str, &str, &str)], expected: &str) {
        let mut event = Event::new(b"raw \xff\n|");
        for (field, value) in fields {
            event.set(*field, *value);
        }
        for (group, name, value) in extras {
            event.extra(group, name, *value);
        }
        let mut out = Vec::new();
        emit(&event, &EmitContext { vendor: "V|x\\", product: "P", version: "1" }, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("LEEF:2.0|V_x_|P|1|{expected}"));
    }

    #[test]
    fn fields_go_to_their_keys_in_order() {
        check(&[], &[], "event|x09|");
        check(
            &[
                (Field::Msg, Value::from("a=b\tc\r\nd ")),
                (Field::EventClass, Value::from("container.start")),
                (Field::Severity, Value::Int(0)),
                (Field::Time, Value::Time(Time(1_795_251_800_158_734_145))),
                (Field::SrcPort, Value::Int(70_000)),
                (Field::RuleGroups, Value::Json(r#"["docker","web"]"#)),
                (Field::Action, Value::from(" \n")),
            ],
            &[("attributes", "a.b", "x\ty"), ("attributes", "ab", "z"), ("", "src", "1")],
            "container.start|x09|devTime=1795251800158\tsev=1\tsrc_port=70000\trule_groups=docker,web\
             \tad_attributes_ab=x y\tad_attributes_ab_2=z\tad_src=1\tmsg=a=b c  d",
        );
    }

    #[test]
    fn without_a_time_it_is_that_of_receipt() {
        check(
            &[(Field::ObservedTime, Value::Time(Time(1_795_251_800_158_000_000)))],
            &[],
            "event|x09|devTime=1795251800158\tobserved_time=2026-11-21T09:03:20.158000000Z",
        );
    }

    #[test]
    fn what_was_not_understood_goes_along() {
        check(&[(Field::ParseStatus, Value::from("failed"))], &[], "event|x09|parse_status=failed\traw=raw \u{fffd} |");
    }
}
