//! Writing RFC 5424: header, our own element with the canonical fields, the extras, MSG.
//!
//! Strict where the standard is: lengths, character sets and escapes. Whatever the header or MSG
//! cannot hold exactly stands in our own element as well, so that nothing is lost on the way.
//!
//! Invariant: exactly one record, without LF, CR, NUL or any other control character but TAB.

use std::borrow::Cow;

use super::OWN_ID;
use crate::detect::carried;
use crate::escape::all;
use crate::lead::{Lead, lead};
use crate::{EmitContext, Event, Extra, Field, Time, Value, cee, syslog};

/// An SD-ID without `@` "MUST NOT be used unless registered" (§6.3.2): others get this number.
const ENTERPRISE: &str = "@32473";
/// §6.3.2 and §6.3.3: SD-ID and PARAM-NAME have at most 32 characters.
const NAME_MAX: usize = 32;
/// So many groups are compared with one another; more are sorted.
const GROUPS_COMPARED: usize = 16;

/// Appends one record.
pub(super) fn emit(event: &Event<'_>, _context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_add(1_024));
    let mut exact = Exact::default();
    header(event, &mut exact, out);
    out.push(b' ');
    let message = message(event, &mut exact);
    let start = out.len();
    own_element(event, &exact, out);
    extra_elements(event, out);
    if out.len() == start {
        out.push(b'-');
    }
    if !message.is_empty() {
        out.push(b' ');
        match exact.has(Field::Msg) {
            true => out.extend_from_slice(message.as_bytes()),
            false => visible(message.as_bytes(), false, out),
        }
    }
}

/// Whether header or MSG hold a field exactly, by its number: our own element leaves it out then.
pub(crate) struct Exact([bool; Field::COUNT]);

impl Default for Exact {
    fn default() -> Self {
        Exact([false; Field::COUNT])
    }
}

impl Exact {
    pub(crate) fn add(&mut self, field: Field) {
        if let Some(exact) = self.0.get_mut(field as usize) {
            *exact = true;
        }
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.0.get(field as usize).copied().unwrap_or(false)
    }
}

fn header(event: &Event<'_>, exact: &mut Exact, out: &mut Vec<u8>) {
    let (facility, severity) = pri(event, exact);
    out.push(b'<');
    let pri = facility.saturating_mul(8).saturating_add(severity);
    out.extend_from_slice(itoa::Buffer::new().format(pri).as_bytes());
    out.extend_from_slice(b">1 ");
    match event.time(Field::Time) {
        Some(time) => {
            time.write_rfc3339(6, out);
            // §6.2.3.1: at most six digits; the whole time stands in our own element.
            if time.subsec_nanos().is_multiple_of(1000) {
                exact.add(Field::Time);
            }
        }
        // A relay knows at least when it received the line.
        None => match event.time(Field::ObservedTime) {
            Some(time) => time.write_rfc3339(6, out),
            None => out.push(b'-'),
        },
    }
    for (field, max) in [(Field::HostName, 255), (Field::App, 48), (Field::ProcessId, 128), (Field::SyslogMsgId, 32)] {
        out.push(b' ');
        if word(event.text(field).unwrap_or_default(), max, out) {
            exact.add(field);
        }
    }
}

/// Facility and severity, and which fields they say exactly.
pub(crate) fn pri(event: &Event<'_>, exact: &mut Exact) -> (u8, u8) {
    let (facility, severity) = syslog::priority(event);
    if event.int(Field::SyslogFacility) == Some(facility.into()) {
        exact.add(Field::SyslogFacility);
    }
    if event.int(Field::SyslogSeverity) == Some(severity.into()) {
        exact.add(Field::SyslogSeverity);
    }
    if event.int(Field::Severity) == Some(syslog::event_severity(severity)) {
        exact.add(Field::Severity);
    }
    (facility, severity)
}

/// A header field: PRINTUSASCII (33 to 126), anything else is `_`, cut at `max`, empty is `-`. So is a pipe:
/// headers that end behind the host are met, and no name may pass for the `CEF:0|` behind them.
/// Answers whether it is the text exactly.
fn word(text: &str, max: usize, out: &mut Vec<u8>) -> bool {
    if text.is_empty() || text == "-" {
        out.push(b'-');
        return text.is_empty();
    }
    if text.len() <= max && (planted!("rfc5424_emit") || is_word(text.as_bytes())) {
        out.extend_from_slice(text.as_bytes());
        return true;
    }
    out.extend(text.chars().take(max).map(|c| if c.is_ascii_graphic() && c != '|' { c as u8 } else { b'_' }));
    false
}

/// What stands in MSG: the message, else the name of the event. A line that was not understood has
/// neither to tell: its bytes stand there as text.
fn message<'e>(event: &'e Event<'_>, exact: &mut Exact) -> Cow<'e, str> {
    if let Some(text) = event.text(Field::Msg) {
        // What would be read as a line of another format stands in our own element too: with it nobody looks.
        let is_line = carried(text.as_bytes(), event.text(Field::App).unwrap_or_default(), event.has(Field::ProcessId));
        let is_text = is_line.is_none() && !cee::is_object(text.as_bytes());
        if !text.starts_with('\u{FEFF}') && is_shown(text.as_bytes()) && is_text {
            exact.add(Field::Msg);
        }
        return Cow::Borrowed(text);
    }
    if event.text(Field::ParseStatus) == Some("failed") {
        return String::from_utf8_lossy(event.raw());
    }
    Cow::Borrowed(event.text(Field::Name).unwrap_or_default())
}

/// Canonical fields: PARAM-NAME is the canonical name, whose letters and dots are legal there.
fn own_element(event: &Event<'_>, exact: &Exact, out: &mut Vec<u8>) {
    let mut open = false;
    // Values are asked for only where they are needed.
    for field in event.fields().map(|(field, _)| field).filter(|field| !exact.has(*field)) {
        let Some(value) = event.get(field) else { continue };
        if !open {
            out.push(b'[');
            out.extend_from_slice(OWN_ID.as_bytes());
            open = true;
        }
        lead(&PARAM_LEADS, field).write(out);
        param_value(value, out);
    }
    if open {
        out.push(b']');
    }
}

/// Extras as one element a group, in input order. §6.3.2: "the same SD-ID MUST NOT exist more than
/// once": groups that come again are joined.
fn extra_elements(event: &Event<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    if distinct_elements(event, out) {
        return;
    }
    out.truncate(start);
    let mut sorted: Vec<_> = event.extras().map(|extra| (sd_id(extra.group), extra)).collect();
    sorted.sort_by_key(|(id, _)| *id);
    for run in sorted.chunk_by(|a, b| a.0 == b.0) {
        if let Some((id, _)) = run.first() {
            element(id, run.iter().map(|(_, extra)| *extra), out);
        }
    }
}

/// Writes each run of extras of one group as an element, as long as all of them have different ids;
/// answers whether they do.
fn distinct_elements(event: &Event<'_>, out: &mut Vec<u8>) -> bool {
    let mut ids = [Id::default(); GROUPS_COMPARED];
    let mut len = 0_usize;
    let mut extras = event.extras().peekable();
    let mut is_first = true;
    while let Some(extra) = extras.next() {
        if is_first {
            let id = sd_id(extra.group);
            if ids.iter().take(len).any(|known| *known == id) {
                return false;
            }
            out.push(b'[');
            id.write(out);
            let Some(slot) = ids.get_mut(len) else { return false };
            *slot = id;
            len = len.saturating_add(1);
        }
        let is_last = extras.peek().is_none_or(|next| next.group != extra.group);
        if !(is_first && is_last && is_nothing(&extra)) {
            extra_param(&extra, out);
        }
        if is_last {
            out.push(b']');
        }
        is_first = is_last;
    }
    true
}

/// An element that had no parameters is one extra without name and value.
fn is_nothing(extra: &Extra<'_>) -> bool {
    extra.name.is_empty() && extra.value == Value::Str("")
}

fn element<'e>(id: &Id, params: impl Iterator<Item = Extra<'e>>, out: &mut Vec<u8>) {
    out.push(b'[');
    id.write(out);
    let mut params = params.peekable();
    let mut first = true;
    while let Some(extra) = params.next() {
        let alone = std::mem::take(&mut first) && params.peek().is_none();
        if !(alone && is_nothing(&extra)) {
            extra_param(&extra, out);
        }
    }
    out.push(b']');
}

/// An SD-ID: at most 32 characters, all of them ASCII, and zeros behind them.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    block: [u8; NAME_MAX],
    len: usize,
}

impl Id {
    fn of(text: &str) -> Id {
        Id::default().then(text.as_bytes())
    }

    /// The id with more behind it, as far as there is room.
    fn then(mut self, bytes: &[u8]) -> Id {
        let len = self.len.saturating_add(bytes.len());
        if let Some(place) = self.block.get_mut(self.len..len) {
            place.copy_from_slice(bytes);
            self.len = len;
        }
        self
    }

    fn write(&self, out: &mut Vec<u8>) {
        let end = out.len().wrapping_add(self.len);
        out.extend_from_slice(&self.block);
        out.truncate(end);
    }
}

/// A legal SD-ID for a group. A group that calls itself ours came from outside: it is a claim.
fn sd_id(group: &str) -> Id {
    // The registered ones (§7, and IANA's list).
    if matches!(group, "timeQuality" | "origin" | "meta") {
        return Id::of(group);
    }
    let legal = |at: usize| {
        let (name, number) = (group.get(..at), group.get(at.saturating_add(1)..));
        name.is_some_and(|name| !name.is_empty() && is_sd_name(name.as_bytes()))
            && number
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
    };
    let id = if group.len() <= NAME_MAX && group.bytes().position(|byte| byte == b'@').is_some_and(legal) {
        Id::of(group)
    } else {
        let mut id = Id::of(&sd_name(group, NAME_MAX.saturating_sub(ENTERPRISE.len())));
        id.block.iter_mut().filter(|byte| **byte == b'@').for_each(|byte| *byte = b'_');
        id.then(ENTERPRISE.as_bytes())
    };
    if id == Id::of(OWN_ID) { Id::of("claimed@32473") } else { id }
}

/// A legal SD-NAME: printable ASCII without `=`, SP, `]` and `"`, at most `max` characters.
fn sd_name(name: &str, max: usize) -> Cow<'_, str> {
    if name.is_empty() {
        return Cow::Borrowed("extra");
    }
    if name.len() <= max && is_sd_name(name.as_bytes()) {
        return Cow::Borrowed(name);
    }
    let legal = |c: char| u8::try_from(c).ok().filter(|byte| is_name(*byte)).map_or('_', char::from);
    Cow::Owned(name.chars().take(max).map(legal).collect())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"')
}

/// What stands before the value of a canonical field.
static PARAM_LEADS: [Lead; Field::COUNT] = Lead::of_fields(" ", b'.', "=\"");

/// ` NAME="VALUE"`.
fn extra_param(extra: &Extra<'_>, out: &mut Vec<u8>) {
    out.push(b' ');
    if !extra.name.is_empty() && extra.name.len() <= NAME_MAX && is_sd_name(extra.name.as_bytes()) {
        out.extend_from_slice(extra.name.as_bytes());
    } else {
        out.extend_from_slice(sd_name(extra.name, NAME_MAX).as_bytes());
    }
    out.extend_from_slice(b"=\"");
    param_value(extra.value, out);
}

/// `VALUE"`.
#[inline]
fn param_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        // §6.3.3: `"`, `\` and `]` MUST be escaped.
        Value::Str(text) | Value::Json(text) => visible(text.as_bytes(), true, out),
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::Time(time) => Time::write_rfc3339(time, 9, out),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
    }
    out.push(b'"');
}

/// A byte that could end a record or change how a terminal shows it.
const fn is_hidden(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// Appends text with a backslash before `"`, `\` and `]` when it is a value, and control characters as
/// `\n`, `\r`, `\0` or `\x1B`. RFC 6587 §3.4.2: LF and NUL end a frame on many transports.
pub(crate) fn visible(text: &[u8], is_value: bool, out: &mut Vec<u8>) {
    if if is_value { is_plain_value(text) } else { is_shown(text) } {
        out.extend_from_slice(text);
        return;
    }
    visibly(text, is_value, out);
}

// Not inlined, these: by itself a check becomes a few vector instructions, and no registers are
// saved around it.
#[inline(never)]
fn is_shown(text: &[u8]) -> bool {
    all(text, |byte| !is_hidden(byte))
}

#[inline(never)]
fn is_plain_value(text: &[u8]) -> bool {
    // A quote, or a backslash or bracket, which differ in one bit; a tab is plain, and not looked for here.
    all(text, |byte| (byte >= 0x20) & (byte != 0x7f) & (byte != b'"') & (byte | 1 != b']'))
}

#[inline(never)]
fn is_word(text: &[u8]) -> bool {
    all(text, |byte| (byte.wrapping_sub(b'!') < 94) & (byte != b'|'))
}

#[inline(never)]
fn is_sd_name(text: &[u8]) -> bool {
    all(text, |byte| (byte.wrapping_sub(b'!') < 94) & (byte != b'=') & (byte != b']') & (byte != b'"'))
}

#[cold]
#[inline(never)]
fn visibly(text: &[u8], is_value: bool, out: &mut Vec<u8>) {
    let is_plain = |byte: u8| !(is_hidden(byte) || is_value && matches!(byte, b'"' | b'\\' | b']'));
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| !is_plain(*byte)) {
        let Some((before, [byte, after @ ..])) = rest.split_at_checked(at) else { return };
        out.extend_from_slice(before);
        out.push(b'\\');
        match byte {
            b'\n' => out.push(b'n'),
            b'\r' => out.push(b'r'),
            0 => out.push(b'0'),
            byte if is_hidden(*byte) => {
                out.push(b'x');
                let digit = |of: u8| b"0123456789ABCDEF".get(usize::from(of)).copied().unwrap_or(b'0');
                out.extend([byte >> 4, byte & 15].map(digit));
            }
            byte => out.push(*byte),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}
