//! Writing RFC 3164 for receivers that know nothing newer: `<PRI>Mmm dd hh:mm:ss HOST TAG[pid]: MSG`, in
//! UTC.
//!
//! MSG is the message, or the bytes of a line that was not understood, and behind it in brackets what the
//! header does not say exactly: `text [wharfinger@32473 key="value" ad_group_name="value"]`, in the words
//! of our element of RFC 5424. Names of the input stand behind `ad_`, with which no field begins, as in CEF.
//!
//! Invariant: exactly one record, without LF, CR, NUL or any other control character but TAB. No value can
//! end the tag, pass for the host or the zone, make a key in the last brackets, or be taken for a line of
//! another format.

use std::borrow::Cow;

use crate::detect::carried;
use crate::rfc5424::OWN_ID;
use crate::rfc5424::emit::{Exact, pri, visible};
use crate::{EmitContext, Event, Field, Time, Value, cee, syslog};

use super::{tag_before_cef, zone_of};

/// RFC 3164 §4.1.3: "The TAG MUST NOT exceed 32 characters."
const TAG_BYTES_MAX: usize = 32;
/// RFC 1035: no host name is longer.
const HOST_BYTES_MAX: usize = 255;
/// More digits are no pid.
const PID_DIGITS_MAX: usize = 10;
/// More of a group or a name is no help to anybody.
const KEY_PART_BYTES_MAX: usize = 255;
/// What Docker's syslog driver writes of an id.
const SHORT_ID_DIGITS: usize = 12;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Appends one record.
pub(super) fn emit(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_add(1_024));
    let mut exact = Exact::default();
    let (facility, severity) = pri(event, &mut exact);
    out.push(b'<');
    number(facility.saturating_mul(8).saturating_add(severity), 1, out);
    out.push(b'>');
    let time = event.time(Field::Time);
    // Whole seconds alone; the year is that of the receiver.
    if time.is_some_and(|time| time.subsec_nanos() == 0) {
        exact.add(Field::Time);
    }
    stamp(time.or_else(|| event.time(Field::ObservedTime)).unwrap_or(Time(0)), out);
    out.push(b' ');
    let has_host = host(event, &mut exact, out);
    let tag = tag(event, context, has_host, &mut exact, out);
    out.extend_from_slice(b": ");
    let text = text(event, &tag);
    if let Some(text) = &text {
        visible(text.as_bytes(), false, out);
        exact.add(Field::Msg);
    }
    pairs(event, &exact, text.is_some(), out);
}

/// Writes the host and a space, if there is one; answers whether there is.
fn host(event: &Event<'_>, exact: &mut Exact, out: &mut Vec<u8>) -> bool {
    let Some(host) = event.text(Field::HostName) else { return false };
    let start = out.len();
    word(host, HOST_BYTES_MAX, |byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte), out);
    let written = out.get_mut(start..).unwrap_or_default();
    // Behind the time stands a zone, if the word is one. A word that ends with a colon is a tag, and so is
    // what stands before `:CEF:0`.
    if zone_of(written).is_some() || written.ends_with(b":") || tag_before_cef(written).is_some() {
        written.iter_mut().filter(|byte| **byte == b':').for_each(|byte| *byte = b'_');
        if zone_of(written).is_some() {
            out.push(b'_');
        }
    }
    if out.get(start..) == Some(host.as_bytes()) {
        exact.add(Field::HostName);
    }
    out.push(b' ');
    true
}

/// `Mmm dd hh:mm:ss`; §4.1.2: a day of one digit has a space before it.
/// Writes `Mmm dd hh:mm:ss`, in UTC.
pub(crate) fn stamp(time: Time, out: &mut Vec<u8>) {
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

/// What was written as the tag.
struct Tag {
    name: String,
    has_pid: bool,
}

/// The program, else the class of the event, else the product, with its pid. What a container wrote has the
/// container's id there, as Docker's syslog driver tags it: nobody takes it for words of a program.
fn tag(event: &Event<'_>, context: &EmitContext<'_>, has_host: bool, exact: &mut Exact, out: &mut Vec<u8>) -> Tag {
    let of_container = event
        .text(Field::ContainerId)
        .filter(|id| event.text(Field::EventClass) == Some("container.log") && syslog::is_container_id(id.as_bytes()));
    let name = of_container.and_then(|id| id.get(..SHORT_ID_DIGITS));
    let name = name.or(event.text(Field::App)).or(event.text(Field::EventClass)).unwrap_or(context.product);
    let start = out.len();
    word(name, TAG_BYTES_MAX, |byte| byte.is_ascii_alphanumeric() || b"_./@+%()-".contains(&byte), out);
    let pid = event.text(Field::ProcessId).unwrap_or_default();
    let has_pid = !pid.is_empty() && pid.len() <= PID_DIGITS_MAX && pid.bytes().all(|byte| byte.is_ascii_digit());
    let written = out.get(start..).unwrap_or_default();
    // `CEF:` and `LEEF:` begin a message, and a zone stands behind a time where no host does.
    if !has_pid && (matches!(written, b"CEF" | b"LEEF") || !has_host && zone_of(written).is_some()) {
        out.push(b'_');
    }
    let written = out.get(start..).unwrap_or_default();
    if event.text(Field::App).is_some_and(|app| app.as_bytes() == written) {
        exact.add(Field::App);
    }
    let name = String::from_utf8_lossy(written).into_owned();
    if has_pid {
        out.push(b'[');
        out.extend_from_slice(pid.as_bytes());
        out.push(b']');
        exact.add(Field::ProcessId);
    }
    Tag { name, has_pid }
}

/// The message, or the bytes of a line that nobody understood. Neither, where the receiver would read it as
/// a line of another format: then it stands among the pairs.
fn text<'e>(event: &'e Event<'_>, tag: &Tag) -> Option<Cow<'e, str>> {
    let text = match event.text(Field::Msg) {
        Some(text) => Cow::Borrowed(text),
        None if event.text(Field::ParseStatus) == Some("failed") => String::from_utf8_lossy(event.raw()),
        None => return None,
    };
    let is_text = carried(text.as_bytes(), &tag.name, tag.has_pid).is_none() && !cee::is_object(text.as_bytes());
    is_text.then_some(text)
}

/// All that the header and the text before do not say, in brackets.
fn pairs(event: &Event<'_>, exact: &Exact, has_text: bool, out: &mut Vec<u8>) {
    let before = out.len();
    out.extend_from_slice(if has_text { b" [" } else { b"[" });
    out.extend_from_slice(OWN_ID.as_bytes());
    let start = out.len();
    for (field, value) in event.fields().filter(|(field, _)| !exact.has(*field)) {
        out.push(b' ');
        out.extend_from_slice(field.name().as_bytes());
        quoted(value, out);
    }
    for extra in event.extras() {
        out.extend_from_slice(b" ad");
        for part in [extra.group, extra.name].into_iter().filter(|part| !part.is_empty()) {
            out.push(b'_');
            word(part, KEY_PART_BYTES_MAX, |byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte), out);
        }
        quoted(extra.value, out);
    }
    // Of a line that was not understood, or only in part, the bytes go along.
    if event.has(Field::ParseStatus) && (event.has(Field::Msg) || !has_text) {
        out.extend_from_slice(b" raw");
        quoted(Value::Str(&String::from_utf8_lossy(event.raw())), out);
    }
    match out.len() == start {
        true => out.truncate(before),
        false => out.push(b']'),
    }
}

/// `="value"`, with a backslash before `"`, `\` and `]`.
fn quoted(value: Value<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"=\"");
    match value {
        Value::Str(text) | Value::Json(text) => visible(text.as_bytes(), !planted!("rfc3164_emit"), out),
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
