//! What stands before `CEF:`: `Mmm dd hh:mm:ss host` and a space, the header of RFC 5424, or nothing.
//!
//! Read word by word, not by our parsers: those take what is meant.

use std::ops::Range;

use super::super::Report;
use super::{PREFIX, PREFIX_HOST, PREFIX_TAG, PREFIX_TIME};
use crate::cef::grammar::{MARKER, Pairs, header};
use crate::rfc3164::{self, emit::stamp};
use crate::{Context, Event, Offset, Time, rfc5424, syslog};

/// Bytes of `Mmm dd hh:mm:ss`.
const STAMP_BYTES: usize = 15;

/// Looks at the bytes before the marker, which begins at `at`.
pub(super) fn check(report: &mut Report<'_>, at: usize) {
    let line = report.line;
    if at == 0 {
        return;
    }
    if rfc5424::is_rfc5424(line) {
        return behind_rfc5424(report, at);
    }
    let start = syslog::pri(line).map_or(0, |(rest, _)| line.len().saturating_sub(rest.len()));
    let context = Context { received: Time(0), zone: Offset(0) };
    let Some((time, used)) = rfc3164::timestamp(report.bytes(start..at), &context) else {
        let last = if line.get(at.saturating_sub(1)) == Some(&b' ') { at.saturating_sub(1) } else { at };
        let written = report.text(0..last);
        let message = format!("`{written}` is no header of syslog; write `<PRI>Mmm dd hh:mm:ss host`");
        return report.say(&PREFIX, 0..last, message);
    };
    let end = start.saturating_add(used);
    if !is_stamp(report.bytes(start..end)) {
        let mut fix = Vec::new();
        stamp(time, &mut fix);
        let fix = String::from_utf8_lossy(&fix).into_owned();
        let message = format!("the time is `{}`; write `{fix}`", report.text(start..end));
        report.fix(&PREFIX_TIME, start..end, message, fix);
    }
    host(report, end, at);
}

/// What stands between the time, which ends at `start`, and the marker.
fn host(report: &mut Report<'_>, start: usize, at: usize) {
    let between = report.bytes(start..at);
    let spaces = between.iter().take_while(|byte| **byte == b' ').count();
    let word = start.saturating_add(spaces);
    let word_len = report.bytes(word..at).iter().take_while(|byte| **byte != b' ').count();
    let word_end = word.saturating_add(word_len);
    let tag =
        if word < at && is_host(report.bytes(word..word_end)) { word_end.saturating_add(1).min(at) } else { word };
    // A colon may stand directly behind the time.
    let mut lead = if spaces == 0 { " " } else { "" };
    if tag == word {
        let named = named_device(report, at);
        let message = match &named {
            Some(name) => format!("no host before `CEF:`; write `{name}`"),
            None => "no host before `CEF:`; write the name of the machine".to_owned(),
        };
        let fix = named.map(|name| format!("{}{name} ", std::mem::take(&mut lead)));
        report.push(&PREFIX_HOST, word..word, message, fix);
    }
    if tag < at {
        let written = report.text(tag..at);
        let message = match written.trim_ascii_end() {
            "" => "more than one space before `CEF:`; write one".to_owned(),
            tag => format!("`{tag}` before `CEF:`; write none"),
        };
        report.fix(&PREFIX_TAG, tag..at, message, lead);
    }
}

/// The first byte of the message is that of the marker.
fn behind_rfc5424(report: &mut Report<'_>, at: usize) {
    let line = report.line;
    let context = Context { received: Time(0), zone: Offset(0) };
    let mut event = Event::new(line);
    let message = rfc5424::open(line, &context, &mut event).unwrap_or_default();
    let start = line.len().saturating_sub(message.len());
    // What looks like structured data and is none is the business of that format's linter.
    let is_text = !matches!(message.first(), None | Some(b'['));
    if is_text && line.ends_with(message) && start < at {
        let message = format!("`{}` before `CEF:`; write none", report.text(start..at).trim_ascii_end());
        report.fix(&PREFIX_TAG, start..at, message, "");
    }
}

/// `Mmm dd hh:mm:ss`; a day below 10 has a space or a zero before it.
fn is_stamp(bytes: &[u8]) -> bool {
    let [m1, m2, m3, b' ', _, _, b' ', _, _, b':', ..] = bytes else { return false };
    bytes.len() == STAMP_BYTES && m1.is_ascii_uppercase() && m2.is_ascii_lowercase() && m3.is_ascii_lowercase()
}

/// A name or an address; a word that ends with a colon, or with a number in brackets, is a tag.
fn is_host(word: &[u8]) -> bool {
    let inside = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]")).unwrap_or(word);
    !inside.is_empty()
        && !inside.ends_with(b":")
        && inside.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
}

/// The machine as the line itself names it, in `dvchost` or `dvc`.
fn named_device(report: &Report<'_>, at: usize) -> Option<String> {
    let line = report.line;
    let version = MARKER.version(line, at)?;
    let extension = header(line, version.end.saturating_add(1)).extension?;
    let named = |wanted: &[u8]| -> Option<Range<usize>> {
        let mut pairs = Pairs::new(line, extension).take(crate::json_read::KEYS_MAX as usize);
        pairs.find(|pair| line.get(pair.key()) == Some(wanted)).map(|pair| pair.value.range())
    };
    let value = named(b"dvchost").or_else(|| named(b"dvc"))?;
    let name = report.bytes(value);
    is_host(name).then(|| String::from_utf8_lossy(name).into_owned())
}
