//! What IBM's LEEF format guide says that a line breaks.

use std::net::IpAddr;
use std::ops::Range;

use super::cef::{is_date, is_mac};
use super::{Linter, Report, Rule, error, warning};
use crate::cef::grammar::Pairs;
use crate::marker::Marker;
use crate::repeats::repeats;

const MARKER: Marker = Marker("LEEF:");

/// The row of this linter.
pub(super) const LINTER: Linter = Linter {
    name: "leef",
    rules: &[
        &UTF8,
        &VERSION,
        &HEADER_COUNT,
        &HEADER_ESCAPE,
        &HEADER_EMPTY,
        &DELIMITER,
        &DELIMITER_MISSING,
        &SPACES,
        &ATTRIBUTE,
        &KEY,
        &EMPTY,
        &AGAIN,
        &TYPE,
        &TIME,
        &TIME_MISSING,
        &LINE_END,
    ],
    find: |line| super::marked(MARKER, line),
    check,
};

static UTF8: Rule = error("leef-utf8", "LEEF 2.0, overview: the event payload is UTF-8");
static VERSION: Rule =
    error("leef-version", "LEEF 2.0, LEEF header: the version is 1.0 or 2.0, behind `LEEF:` without a space");
static HEADER_COUNT: Rule =
    error("leef-header-count", "LEEF 2.0, LEEF header: vendor, product, version and EventID, a pipe behind each");
static HEADER_ESCAPE: Rule =
    error("leef-header-escape", "LEEF 2.0, LEEF header: the pipe is the separator; no escape for it is defined");
static HEADER_EMPTY: Rule = error(
    "leef-header-empty",
    "LEEF 2.0, LEEF header: vendor, product and version say what sends the event; EventID is required",
);
static DELIMITER: Rule =
    error("leef-delimiter", "LEEF 2.0, LEEF header: one character, or x or 0x and one to four hex digits");
static DELIMITER_MISSING: Rule = error(
    "leef-delimiter-missing",
    "LEEF 2.0, LEEF header: `LEEF:2.0|…|EventID|Delimiter|`: version 2 has a sixth field",
);
static SPACES: Rule =
    error("leef-spaces", "LEEF 1.0, event attributes: key-value pairs are separated by a tab, not by spaces");
static ATTRIBUTE: Rule = error("leef-attribute", "LEEF 2.0, event attributes: key=value, separated by the delimiter");
static KEY: Rule = error("leef-key-name", "LEEF 2.0, event attributes: a key is one word, without spaces");
static EMPTY: Rule = warning("leef-value-empty", "LEEF 2.0, event attributes: a key without a value says nothing");
static AGAIN: Rule = error("leef-key-again", "LEEF 2.0, event attributes: each key has one value");
static TYPE: Rule = error("leef-value-type", "LEEF 2.0, predefined event attributes: the type of the key");
static TIME: Rule =
    error("leef-time", "LEEF 2.0, devTime: milliseconds, `MMM dd yyyy HH:mm:ss` or as devTimeFormat says");
static TIME_MISSING: Rule =
    warning("leef-time-missing", "LEEF 2.0, devTime: without it the event has the time at which it is received");
static LINE_END: Rule = error("leef-line-end", "LEEF 2.0, overview: an event is one line; values hold no line end");

const NAMES: [&str; 4] = ["vendor", "product", "version", "EventID"];

fn check(report: &mut Report<'_>, at: usize) {
    report.utf8(&UTF8);
    let line = report.line;
    let Some(version) = MARKER.version(line, at) else {
        return report.say(&VERSION, at..line.len(), "no LEEF; a line begins with `LEEF:2.0|vendor|product|…`");
    };
    let name_end = at.saturating_add(5);
    if version.start != name_end || !matches!(report.bytes(version.clone()), b"1.0" | b"2.0") {
        let fix = if report.bytes(version.clone()).first() == Some(&b'1') { "1.0" } else { "2.0" };
        report.fix(&VERSION, name_end..version.end, "neither 1.0 nor 2.0 behind `LEEF:`", fix);
    }
    let mut start = version.end.saturating_add(1);
    for (at, name) in NAMES.iter().enumerate() {
        let end = field_end(line, start);
        let range = start..end.unwrap_or(line.len());
        if report.bytes(range.clone()).trim_ascii().is_empty() {
            report.say(&HEADER_EMPTY, range.clone(), format!("the {name} is empty; say it"));
        }
        if let Some(found) = memchr::memmem::find(report.bytes(range.clone()), b"\\|") {
            let found = range.start.saturating_add(found);
            let message = format!("an escaped pipe in the {name}; write another character");
            report.fix(&HEADER_ESCAPE, found..found.saturating_add(2), message, "_");
        }
        let Some(end) = end else {
            let missing = NAMES.len().saturating_sub(at);
            return report.say(
                &HEADER_COUNT,
                line.len()..line.len(),
                format!("the header ends behind its {name}; {missing} pipes are missing"),
            );
        };
        start = end.saturating_add(1);
    }
    let (delimiter, start) = delimiter(report, report.bytes(version).first() == Some(&b'2'), start);
    attributes(report, delimiter, start);
}

fn field_end(line: &[u8], at: usize) -> Option<usize> {
    let rest = line.get(at..)?;
    let mut pipes = memchr::memchr_iter(b'|', rest);
    let end = pipes.find(|end| end.checked_sub(1).and_then(|before| rest.get(before)) != Some(&b'\\'))?;
    Some(at.saturating_add(end))
}

/// The delimiter, and where the attributes begin.
fn delimiter(report: &mut Report<'_>, has_field: bool, at: usize) -> (char, usize) {
    if !has_field {
        return ('\t', at);
    }
    let rest = report.line.get(at..).unwrap_or_default();
    let found = memchr::memchr2(b'|', b'=', rest).filter(|found| rest.get(*found) == Some(&b'|'));
    let Some(len) = found else {
        report.fix(&DELIMITER_MISSING, at..at, "no delimiter behind the EventID; write `x09|` for a tab", "x09|");
        return ('\t', at);
    };
    let end = at.saturating_add(len);
    let written = report.text(at..end);
    let hex = written.strip_prefix("0x").or_else(|| written.strip_prefix('x'));
    let of_hex = hex.filter(|hex| (1..=4).contains(&hex.len())).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let mut chars = written.chars();
    let delimiter = match (chars.next(), chars.next()) {
        (Some(char), None) => Some(char),
        _ => of_hex.and_then(char::from_u32),
    };
    if delimiter.is_none() {
        report.fix(
            &DELIMITER,
            at..end,
            format!("delimiter `{written}`; write one character, or `x09` for a tab"),
            "x09",
        );
    }
    (delimiter.unwrap_or('\t'), end.saturating_add(1))
}

fn attributes(report: &mut Report<'_>, delimiter: char, start: usize) {
    let line = report.line;
    let rest = line.get(start..).unwrap_or_default();
    let mut bytes = [0; 4];
    let between = delimiter.encode_utf8(&mut bytes).as_bytes();
    if memchr::memmem::find(rest, between).is_none() && Pairs::new(line, start).nth(1).is_some() {
        for pair in Pairs::new(line, start).skip(1).take(super::FINDINGS_MAX) {
            let before = pair.key().start.saturating_sub(1)..pair.key().start;
            report.fix(&SPACES, before, "a space between attributes; write the delimiter", delimiter);
        }
        return;
    }
    let mut names: Vec<(&str, &str)> = Vec::new();
    let mut keys: Vec<Range<usize>> = Vec::new();
    let mut times = (None, false);
    let mut at = start;
    for end in memchr::memmem::find_iter(rest, between).map(|end| start.saturating_add(end)).chain([line.len()]) {
        let range = at..end;
        at = end.saturating_add(between.len());
        let bytes = report.bytes(range.clone());
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let Some(equals) = memchr::memchr(b'=', bytes) else {
            report.say(
                &ATTRIBUTE,
                range.clone(),
                format!("`{}` has no equals sign; write a key before it", report.text(range)),
            );
            continue;
        };
        let key = range.start..range.start.saturating_add(equals);
        let value = key.end.saturating_add(1)..range.end;
        names.push(("", std::str::from_utf8(report.bytes(key.clone())).unwrap_or_default().trim()));
        keys.push(key.clone());
        let name = names.last().map_or("", |(_, name)| name);
        check_key(report, key.clone());
        match name {
            "devTime" => times.0 = Some(value.clone()),
            "devTimeFormat" => times.1 = true,
            _ => check_value(report, name, key, value),
        }
        if report.is_full() {
            return;
        }
    }
    for again in repeats(names.iter().copied()) {
        if let (Some((_, name)), Some(range)) = (names.get(again), keys.get(again)) {
            report.say(&AGAIN, range.clone(), format!("`{name}` a second time; write each key once"));
        }
    }
    check_time(report, times.0, times.1, start);
}

fn check_key(report: &mut Report<'_>, key: Range<usize>) {
    let bytes = report.bytes(key.clone());
    if bytes.is_empty() || bytes.contains(&b' ') {
        let written = report.text(key.clone());
        let fix = Some(written.replace(' ', "")).filter(|fix| !fix.is_empty() && bytes.len() <= 60);
        report.push(&KEY, key, format!("key `{written}`; write one word"), fix);
    }
}

fn check_value(report: &mut Report<'_>, name: &str, key: Range<usize>, value: Range<usize>) {
    let written = report.text(value.clone());
    if written.trim().is_empty() {
        return report.say(&EMPTY, key, format!("`{name}` has no value; leave it out"));
    }
    for (at, byte) in value.clone().zip(report.bytes(value.clone())) {
        if matches!(byte, b'\n' | b'\r') {
            report.fix(&LINE_END, at..at.saturating_add(1), format!("a line end in `{name}`; write a space"), " ");
        }
    }
    let wanted = match name {
        "sev" if !written.parse::<u8>().is_ok_and(|sev| (1..=10).contains(&sev)) => "a number from 1 to 10",
        "srcPort" | "dstPort" | "srcPreNATPort" | "dstPreNATPort" | "srcPostNATPort" | "dstPostNATPort"
            if written.parse::<u16>().is_err() =>
        {
            "a port, 0 to 65535"
        }
        "src" | "dst" | "srcPreNAT" | "dstPreNAT" | "srcPostNAT" | "dstPostNAT" | "identSrc" | "vSrc"
            if written.parse::<IpAddr>().is_err() =>
        {
            "an address"
        }
        "srcBytes" | "dstBytes" | "srcPackets" | "dstPackets" | "totalPackets" if written.parse::<u64>().is_err() => {
            "a whole number"
        }
        "srcMAC" | "dstMAC" | "identMAC" if !is_mac(&written) => "six pairs of hex digits with colons",
        "isLoginEvent" | "isLogoutEvent" if !matches!(written.as_str(), "true" | "false") => "true or false",
        _ => return,
    };
    report.say(&TYPE, value, format!("`{name}` is `{written}`; write {wanted}"));
}

fn check_time(report: &mut Report<'_>, value: Option<Range<usize>>, has_format: bool, start: usize) {
    let Some(value) = value else {
        let fix = "write `devTime=` and milliseconds since 1970";
        return report.say(&TIME_MISSING, start..start, format!("no devTime; {fix}"));
    };
    let written = report.text(value.clone());
    let is_digits = written.bytes().all(|byte| byte.is_ascii_digit());
    let is_millis = is_digits && (1..=13).contains(&written.len());
    match (is_digits && written.len() == 10, has_format) {
        (_, true) => {}
        (true, false) => report.fix(&TIME, value, "devTime is in seconds; write milliseconds", format!("{written}000")),
        (false, false) if !is_millis && !is_date(&written) => {
            report.say(
                &TIME,
                value,
                format!("devTime is `{written}`; write milliseconds, or its form as devTimeFormat"),
            );
        }
        _ => {}
    }
}
