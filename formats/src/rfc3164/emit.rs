//! Writing RFC 3164 for receivers that know nothing newer: `<PRI>Mmm dd hh:mm:ss HOST TAG[pid]: MSG`, in
//! UTC.
//!
//! The header holds time, host, program, pid and priority, MSG the message. An event without a message
//! of its own has its fields there, as `name key="value" …`. For everything else there are RFC 5424, CEF
//! and JSON: this form has no place for it.
//!
//! Invariant: exactly one record, without LF, CR, NUL or any other control character but TAB, and no
//! value can end the tag or pass for the host.

use crate::rfc5424::emit::visible;
use crate::{EmitContext, Event, Field, Time, Value, syslog};

/// RFC 3164 §4.1.3: "The TAG MUST NOT exceed 32 characters."
const TAG_BYTES_MAX: usize = 32;
/// RFC 1035: no host name is longer.
const HOST_BYTES_MAX: usize = 255;
/// More digits are no pid.
const PID_DIGITS_MAX: usize = 10;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What stands in the header, or says how the line was read: no part of the message.
const IN_HEADER: &[Field] = &[
    Field::Time,
    Field::HostName,
    Field::App,
    Field::ProcessId,
    Field::SyslogFacility,
    Field::SyslogSeverity,
    Field::Severity,
    Field::Format,
    Field::Name,
];

/// Appends one record.
pub(super) fn emit(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_add(256));
    let (facility, severity) = syslog::priority(event);
    out.push(b'<');
    number(facility.saturating_mul(8).saturating_add(severity), 1, out);
    out.push(b'>');
    stamp(event.time(Field::Time).or_else(|| event.time(Field::ObservedTime)).unwrap_or(Time(0)), out);
    out.push(b' ');
    if let Some(host) = event.text(Field::HostName) {
        word(host, HOST_BYTES_MAX, |byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte), out);
        // A word that ends with a colon is a tag.
        if let Some(last @ b':') = out.last_mut() {
            *last = b'_';
        }
        out.push(b' ');
    }
    tag(event, context, out);
    out.extend_from_slice(b": ");
    match event.text(Field::Msg) {
        Some(text) => visible(text.as_bytes(), false, out),
        None => fields(event, out),
    }
}

/// `Mmm dd hh:mm:ss`; §4.1.2: a day of one digit has a space before it.
fn stamp(time: Time, out: &mut Vec<u8>) {
    let civil = time.civil();
    let month = usize::from(civil.month).checked_sub(1).and_then(|month| MONTHS.get(month));
    out.extend_from_slice(month.unwrap_or(&"Jan").as_bytes());
    out.extend_from_slice(if civil.day < 10 { b"  " } else { b" " });
    number(civil.day, 1, out);
    for (before, part) in [(b' ', civil.hour), (b':', civil.minute), (b':', civil.second)] {
        out.push(before);
        number(part, 2, out);
    }
}

/// The program, else the class of the event, else the product, with its pid.
fn tag(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    let name = event.text(Field::App).or(event.text(Field::EventClass)).unwrap_or(context.product);
    let start = out.len();
    word(name, TAG_BYTES_MAX, |byte| byte.is_ascii_alphanumeric() || b"_./@+%()-".contains(&byte), out);
    let pid = event.text(Field::ProcessId).unwrap_or_default();
    if !pid.is_empty() && pid.len() <= PID_DIGITS_MAX && pid.bytes().all(|byte| byte.is_ascii_digit()) {
        out.push(b'[');
        out.extend_from_slice(pid.as_bytes());
        out.push(b']');
    } else if matches!(out.get(start..), Some(b"CEF" | b"LEEF")) {
        // Those two and a colon begin a message of their own.
        out.push(b'_');
    }
}

/// A name, and all that is known, for an event that nobody put into words.
fn fields(event: &Event<'_>, out: &mut Vec<u8>) {
    let name = event.text(Field::Name).or(event.text(Field::EventClass)).unwrap_or("event");
    visible(name.as_bytes(), false, out);
    for (field, value) in event.fields().filter(|(field, _)| !IN_HEADER.contains(field)) {
        pair(field.name(), value, out);
    }
    for extra in event.extras() {
        pair(extra.name, extra.value, out);
    }
}

/// ` key="value"`, with a backslash before `"`, `\` and `]`.
fn pair(key: &str, value: Value<'_>, out: &mut Vec<u8>) {
    out.push(b' ');
    word(key, HOST_BYTES_MAX, |byte| byte.is_ascii_graphic() && !b"=\"".contains(&byte), out);
    out.extend_from_slice(b"=\"");
    match value {
        Value::Str(text) | Value::Json(text) => visible(text.as_bytes(), true, out),
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::Bool(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Value::Time(time) => time.write_rfc3339(9, out),
    }
    out.push(b'"');
}

/// A word of legal bytes, any other character is `_`; `-` when there is nothing.
fn word(text: &str, bytes_max: usize, is_legal: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    let start = out.len();
    let byte = |char: char| u8::try_from(char).ok().filter(|byte| is_legal(*byte)).unwrap_or(b'_');
    out.extend(text.chars().take(bytes_max).map(byte));
    if out.len() == start {
        out.push(b'-');
    }
}

/// A number of at least `width` digits.
fn number(number: u8, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}
