//! What RFC 5424 says that a line breaks.

use std::net::IpAddr;
use std::ops::Range;

use super::{Linter, Report, Rule, error, warning};
use crate::{Time, syslog};

/// The row of this linter.
pub(super) const LINTER: Linter = Linter {
    name: "rfc5424",
    rules: &[
        &PRI,
        &VERSION,
        &TIMESTAMP,
        &HEADER,
        &HEADER_LENGTH,
        &HEADER_CHARACTERS,
        &SD_MISSING,
        &SD,
        &SD_ID,
        &SD_ID_NAME,
        &SD_ID_AGAIN,
        &SD_NAME,
        &SD_ESCAPE,
        &SD_BACKSLASH,
        &SD_VALUE,
        &BOM,
        &UTF8,
        &CONTROL,
        &SIZE,
    ],
    find: |line| crate::rfc5424::is_rfc5424(line).then_some(0),
    check,
};

static PRI: Rule = error("rfc5424-pri", "RFC 5424 §6.2.1: `<`, 0 to 191 without leading zeros, `>`");
static VERSION: Rule = error("rfc5424-version", "RFC 5424 §6.2.2: the version of this specification is 1");
static TIMESTAMP: Rule = error(
    "rfc5424-timestamp",
    "RFC 5424 §6.2.3: `-`, or RFC 3339 with upper-case T and Z, at most six fraction digits and no leap second",
);
static HEADER: Rule =
    error("rfc5424-header", "RFC 5424 §6: HOSTNAME SP APP-NAME SP PROCID SP MSGID SP STRUCTURED-DATA");
static HEADER_LENGTH: Rule = error(
    "rfc5424-header-length",
    "RFC 5424 §6: HOSTNAME 255, APP-NAME 48, PROCID 128 and MSGID 32 characters at most",
);
static HEADER_CHARACTERS: Rule = error("rfc5424-header-characters", "RFC 5424 §6: PRINTUSASCII, which is %d33-126");
static SD_MISSING: Rule = error("rfc5424-sd-missing", "RFC 5424 §6.3: STRUCTURED-DATA is `-` or one or more elements");
static SD: Rule = error("rfc5424-sd", "RFC 5424 §6.3: `[SD-ID SP PARAM-NAME=\"PARAM-VALUE\"]`, elements adjacent");
static SD_ID: Rule = error(
    "rfc5424-sd-id",
    "RFC 5424 §6.3.2: names without an at-sign are reserved to be assigned by IETF review; others are name@<private enterprise number>",
);
static SD_ID_NAME: Rule =
    error("rfc5424-sd-id-name", "RFC 5424 §6.3: SD-NAME is 1 to 32 PRINTUSASCII without `=`, SP, `]` and `\"`");
static SD_ID_AGAIN: Rule =
    error("rfc5424-sd-id-again", "RFC 5424 §6.3.2: the same SD-ID MUST NOT exist more than once in a message");
static SD_NAME: Rule = error("rfc5424-sd-name", "RFC 5424 §6.3.3: PARAM-NAME is an SD-NAME: 1 to 32 characters");
static SD_ESCAPE: Rule =
    error("rfc5424-sd-escape", "RFC 5424 §6.3.3: `\"`, `\\` and `]` MUST be escaped by a backslash");
static SD_BACKSLASH: Rule = warning(
    "rfc5424-sd-backslash",
    "RFC 5424 §6.3.3: a backslash before anything else MUST be treated as a regular backslash; `\\` itself MUST be escaped",
);
static SD_VALUE: Rule =
    error("rfc5424-sd-value", "RFC 5424 §7.1 to §7.3: what the parameters of timeQuality, origin and meta may hold");
static BOM: Rule = warning(
    "rfc5424-bom",
    "RFC 5424 §6.4: if a syslog application encodes MSG in UTF-8, the string MUST begin with the BOM",
);
static UTF8: Rule = warning("rfc5424-utf8", "RFC 5424 §6.4: MSG SHOULD be UNICODE, encoded using UTF-8");
static CONTROL: Rule = warning(
    "rfc5424-control",
    "RFC 5424 §6.4: the syslog application SHOULD avoid octet values below 32; §8.2: they can change a display or end a frame",
);
static SIZE: Rule =
    warning("rfc5424-size", "RFC 5424 §6.1: receivers SHOULD take 2048 octets; more MAY be truncated or discarded");

/// Of the names without an at-sign: IANA's list of Syslog Structured Data IDs.
const REGISTERED: [&str; 4] = ["timeQuality", "origin", "meta", "snmp"];

fn check(report: &mut Report<'_>, _at: usize) {
    let line = report.line;
    let Some((rest, pri)) = syslog::pri(line) else {
        return report.say(&PRI, 0..line.len().min(5), "no PRI; write `<13>` for a user's notice");
    };
    let pri_len = line.len().saturating_sub(rest.len());
    if pri_len != pri.to_string().len().saturating_add(2) {
        report.fix(&PRI, 0..pri_len, "zeros before the number; write none", format!("<{pri}>"));
    }
    let mut words = Words { at: pri_len };
    let version = words.next(line);
    if report.bytes(version.clone()) != b"1" {
        let message = format!("version `{}`; write 1", report.text(version.clone()));
        report.fix(&VERSION, version, message, "1");
    }
    let stamp = words.next(line);
    timestamp(report, stamp);
    for (name, most) in [("HOSTNAME", 255), ("APP-NAME", 48), ("PROCID", 128), ("MSGID", 32)] {
        if words.at >= line.len() {
            let message = format!("the line ends before its {name}; write `-` for each field that is not known");
            return report.say(&HEADER, line.len()..line.len(), message);
        }
        let word = words.next(line);
        header_field(report, name, most, word);
    }
    let message_at = structured_data(report, words.at);
    message(report, message_at);
    if line.len() > 2_048 {
        report.say(&SIZE, 2_048..line.len(), format!("{} octets; keep a message below 2048", line.len()));
    }
}

/// The words of a header.
struct Words {
    at: usize,
}

impl Words {
    fn next(&mut self, line: &[u8]) -> Range<usize> {
        let rest = line.get(self.at..).unwrap_or_default();
        let end = self.at.saturating_add(memchr::memchr(b' ', rest).unwrap_or(rest.len()));
        let word = self.at..end;
        self.at = end.saturating_add(1);
        word
    }
}

fn timestamp(report: &mut Report<'_>, range: Range<usize>) {
    let bytes = report.bytes(range.clone());
    if bytes == b"-" {
        return;
    }
    let written = report.text(range.clone());
    let Some((time, used)) = Time::parse_rfc3339(bytes).filter(|(_, used)| *used == bytes.len()) else {
        let message = format!("timestamp `{written}`; write 2026-11-21T09:03:20.158734Z, or `-`");
        return report.say(&TIMESTAMP, range, message);
    };
    let digits = match bytes.get(19) {
        Some(b'.') => bytes.iter().skip(20).take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let upper = bytes.get(10) == Some(&b'T') && !bytes.ends_with(b"z") && bytes.get(19) != Some(&b',');
    let colon = bytes.ends_with(b"Z") || bytes.get(used.saturating_sub(3)) == Some(&b':');
    if digits > 6 || !upper || !colon || bytes.get(17..19) == Some(b"60") {
        let mut fix = Vec::new();
        time.write_rfc3339(digits.min(6) as u8, &mut fix);
        let fix = String::from_utf8_lossy(&fix).into_owned();
        report.fix(&TIMESTAMP, range, format!("timestamp `{written}`; write `{fix}`"), fix);
    }
}

fn header_field(report: &mut Report<'_>, name: &str, most: usize, range: Range<usize>) {
    let bytes = report.bytes(range.clone());
    if bytes.is_empty() {
        return report.fix(&HEADER, range, format!("{name} is empty; write `-`"), "-");
    }
    if bytes.len() > most {
        report.say(&HEADER_LENGTH, range.clone(), format!("{name} has {} characters; at most {most}", bytes.len()));
    }
    if !bytes.iter().all(u8::is_ascii_graphic) {
        let fix: String = String::from_utf8_lossy(bytes)
            .chars()
            .map(|char| if char.is_ascii_graphic() { char } else { '_' })
            .collect();
        report.fix(&HEADER_CHARACTERS, range, format!("{name} has characters other than printable ASCII"), fix);
    }
}

/// Answers where the message begins.
fn structured_data(report: &mut Report<'_>, at: usize) -> usize {
    let line = report.line;
    match line.get(at..).unwrap_or_default() {
        [] => report.fix(&SD_MISSING, line.len()..line.len(), "no structured data; write ` -`", " -"),
        [b'-'] => return line.len(),
        [b'-', b' ', ..] => return at.saturating_add(2),
        [b'[', ..] => return elements(report, at),
        _ => report.fix(&SD_MISSING, at..at, "no structured data before the message; write `- `", "- "),
    }
    at
}

fn elements(report: &mut Report<'_>, start: usize) -> usize {
    let line = report.line;
    let mut at = start;
    let mut ids: Vec<&[u8]> = Vec::new();
    while line.get(at) == Some(&b'[') && !report.is_full() {
        let id = at.saturating_add(1)..name_end(line, at.saturating_add(1));
        let mark = report.findings.len();
        sd_id(report, id.clone(), &mut ids);
        match params(report, id) {
            Some(end) => at = end,
            None => {
                // It is a text; what was found in it is not about an element.
                report.findings.truncate(mark);
                report.say(&SD, at..line.len(), "no structured data; write `- ` before a message that begins with `[`");
                return at;
            }
        }
    }
    match line.get(at) {
        None => at,
        Some(b' ') => at.saturating_add(1),
        Some(_) => {
            report.fix(&SD, at..at, "no space behind the structured data; write one", " ");
            at
        }
    }
}

fn name_end(line: &[u8], at: usize) -> usize {
    let rest = line.get(at..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, 0..=b' ' | b'=' | b']' | b'"'));
    at.saturating_add(end.unwrap_or(rest.len()))
}

fn sd_id<'l>(report: &mut Report<'l>, range: Range<usize>, ids: &mut Vec<&'l [u8]>) {
    let bytes = report.bytes(range.clone());
    let written = report.text(range.clone());
    if ids.contains(&bytes) {
        report.say(
            &SD_ID_AGAIN,
            range.clone(),
            format!("`{written}` a second time; write its parameters into one element"),
        );
    } else if ids.len() < super::FINDINGS_MAX {
        ids.push(bytes);
    }
    if bytes.is_empty() || bytes.len() > 32 || !bytes.iter().all(u8::is_ascii_graphic) {
        report.say(&SD_ID_NAME, range.clone(), format!("SD-ID `{written}`; write 1 to 32 printable ASCII characters"));
    }
    let (name, number) = written.split_once('@').unwrap_or((&written, ""));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // IANA's list begins with 0, which is reserved.
    let is_assigned = number.split('.').next().is_some_and(|number| number.bytes().any(|byte| byte != b'0'));
    let is_private = is_number && is_assigned && !name.is_empty();
    if !is_private && !REGISTERED.contains(&written.as_str()) {
        let message = format!("SD-ID `{written}` is not assigned; write `{name}@` and your enterprise number");
        report.say(&SD_ID, range, message);
    }
}

/// The parameters behind an SD-ID; answers where the element ends.
fn params(report: &mut Report<'_>, id: Range<usize>) -> Option<usize> {
    let line = report.line;
    let mut at = id.end;
    loop {
        if line.get(at)? == &b']' {
            return Some(at.saturating_add(1));
        }
        let spaces = line.get(at..)?.iter().take_while(|byte| **byte == b' ').count();
        let name_at = at.saturating_add(spaces);
        if spaces == 0 {
            return None;
        }
        if line.get(name_at)? == &b']' {
            report.fix(&SD, at..name_at, "a space before `]`; write none", "");
            return Some(name_at.saturating_add(1));
        }
        if spaces > 1 {
            report.fix(&SD, at..name_at, "more than one space; write one", " ");
        }
        let name = name_at..name_end(line, name_at);
        let value_at = name.end.saturating_add(2);
        if name.is_empty() || line.get(name.end..value_at)? != b"=\"" {
            return None;
        }
        if name.len() > 32 || !report.bytes(name.clone()).iter().all(u8::is_ascii_graphic) {
            let message =
                format!("PARAM-NAME `{}`; write 1 to 32 printable ASCII characters", report.text(name.clone()));
            report.say(&SD_NAME, name.clone(), message);
        }
        let value_end = value_end(report, value_at)?;
        registered_value(report, &id, &name, value_at..value_end);
        at = value_end.saturating_add(1);
    }
}

/// A parameter of an element that IANA has registered.
fn registered_value(report: &mut Report<'_>, id: &Range<usize>, name: &Range<usize>, value: Range<usize>) {
    let bytes = report.bytes(value.clone());
    let written = std::str::from_utf8(bytes).unwrap_or_default();
    let digits = |most: usize| (1..=most).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    let is_text = |most: usize| String::from_utf8_lossy(bytes).chars().count() <= most;
    let (is_right, wanted) = match (report.bytes(id.clone()), report.bytes(name.clone())) {
        (b"timeQuality", b"tzKnown" | b"isSynced") => (matches!(bytes, b"0" | b"1"), "0 or 1"),
        (b"timeQuality", b"syncAccuracy") => (digits(20), "microseconds, a whole number"),
        (b"origin", b"ip") => (written.parse::<IpAddr>().is_ok(), "an address"),
        (b"origin", b"enterpriseId") => (
            written.split('.').all(|part| part.parse::<u32>().is_ok()),
            "an enterprise number, with its parts or alone",
        ),
        (b"origin", b"software") => (is_text(48), "at most 48 characters"),
        (b"origin", b"swVersion") => (is_text(32), "at most 32 characters"),
        (b"meta", b"sequenceId") => {
            let is_counted =
                digits(10) && written.parse().is_ok_and(|number| (1..=2_147_483_647_u64).contains(&number));
            (is_counted, "1 to 2147483647")
        }
        (b"meta", b"sysUpTime") => (digits(20), "hundredths of a second, a whole number"),
        _ => return,
    };
    if !is_right {
        let (name, shown) = (report.text(name.clone()), report.text(value.clone()));
        report.say(&SD_VALUE, value, format!("`{name}` is `{shown}`; write {wanted}"));
    }
}

/// Where the quote stands that ends a value.
fn value_end(report: &mut Report<'_>, start: usize) -> Option<usize> {
    let line = report.line;
    let mut at = start;
    loop {
        let found = at.saturating_add(memchr::memchr3(b'"', b'\\', b']', line.get(at..)?)?);
        let here = found..found.saturating_add(1);
        match (line.get(found)?, line.get(found.saturating_add(1))) {
            (b'"', _) => return Some(found),
            (b'\\', Some(b'"' | b'\\' | b']')) => at = found.saturating_add(2),
            (b'\\', _) => {
                report.fix(&SD_BACKSLASH, here, "a backslash that escapes nothing; write two", "\\\\");
                at = found.saturating_add(1);
            }
            _ => {
                report.fix(&SD_ESCAPE, here, "`]` in a value; write `\\]`", "\\]");
                at = found.saturating_add(1);
            }
        }
    }
}

fn message(report: &mut Report<'_>, at: usize) {
    let bytes = report.line.get(at..).unwrap_or_default();
    let has_bom = bytes.starts_with(b"\xEF\xBB\xBF");
    match std::str::from_utf8(bytes) {
        Ok(text) if !has_bom && !text.is_ascii() => {
            report.fix(&BOM, at..at, "UTF-8 without a byte order mark; write EF BB BF before it", "\u{feff}");
        }
        Ok(_) => {}
        Err(_) => report.utf8(&UTF8),
    }
    for (place, byte) in (at..).zip(bytes) {
        if byte.is_ascii_control() && *byte != b'\t' {
            report.fix(
                &CONTROL,
                place..place.saturating_add(1),
                format!("control character {byte}; write a space"),
                " ",
            );
            if report.is_full() {
                return;
            }
        }
    }
}
