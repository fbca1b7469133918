//! What ArcSight's CEF Implementation Standard (revisions 25 to 27) says that a line breaks.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use super::{Linter, Report, Rule, error, warning};
use crate::cef::grammar::{MARKER, Pair, Pairs, Piece, header};
use crate::cef::keys::{KEYS, Known, Takes, family, lookup};
use crate::cef::value::is_number;
use crate::json_read::KEYS_MAX;
use crate::repeats::repeats;
use crate::{rfc3164, rfc5424};

/// The row of this linter.
pub(super) const LINTER: Linter = Linter {
    name: "cef",
    rules: &[
        &UTF8,
        &LINE_END,
        &CONTROL,
        &MARKER_RULE,
        &PREFIX,
        &VERSION,
        &HEADER_COUNT,
        &HEADER_ESCAPE,
        &HEADER_EMPTY,
        &HEADER_LENGTH,
        &HEADER_SPACE,
        &SEVERITY,
        &EXTENSION_TEXT,
        &EQUALS,
        &PIPE,
        &ESCAPE,
        &SPACE,
        &KEY_NAME,
        &KEY_UNKNOWN,
        &KEY_AGAIN,
        &KEY_COLLECTOR,
        &KEY_IN_TEXT,
        &EMPTY,
        &TYPE,
        &TIME,
        &LENGTH,
        &LABEL_MISSING,
        &LABEL_ALONE,
    ],
    find: |line| MARKER.find(line),
    check,
};

static UTF8: Rule = error("cef-utf8", "CEF rev 25, Character Encoding: the entire message has to be UTF-8 encoded");
static LINE_END: Rule = error(
    "cef-line-end",
    "CEF rev 25, Character Encoding: multi-line fields are sent by encoding the newline as \\n or \\r, in the value part of the extension only",
);
static CONTROL: Rule =
    error("cef-control", "CEF rev 25, Character Encoding: text fields hold printable UTF-8 characters");
static MARKER_RULE: Rule = error(
    "cef-marker",
    "CEF rev 25, Header Information: `CEF:Version|Device Vendor|…`, without a space behind the colon",
);
static PREFIX: Rule = warning(
    "cef-prefix",
    "CEF rev 25, Using CEF with Syslog: `Mmm dd hh:mm:ss host` and a space stand before `CEF:`, or nothing",
);
static VERSION: Rule = error("cef-version", "CEF rev 25 and 26, Header Information: Version is an integer, 0 or 1");
static HEADER_COUNT: Rule = error(
    "cef-header-count",
    "CEF rev 25, Header Information: seven fields separated by pipes, a pipe behind each of them",
);
static HEADER_ESCAPE: Rule = error(
    "cef-header-escape",
    "CEF rev 25, Character Encoding: in the header a backslash is escaped with a backslash, and so is a pipe; equals need no escaping",
);
static HEADER_EMPTY: Rule = error(
    "cef-header-empty",
    "CEF rev 25, Header Information: vendor, product, version, class id and name identify the event",
);
static HEADER_LENGTH: Rule = warning(
    "cef-header-length",
    "ArcSight event schema: vendor 63, product 63, version 31, class id 1023, name 512 characters",
);
static HEADER_SPACE: Rule =
    warning("cef-header-space", "CEF rev 25, Header Information: fields are taken as they stand between their pipes");
static SEVERITY: Rule = error(
    "cef-severity",
    "CEF rev 25, Header Information: an integer from 0 to 10, or Unknown, Low, Medium, High and Very-High",
);
static EXTENSION_TEXT: Rule =
    error("cef-extension-text", "CEF rev 25, Extension: a collection of key-value pairs, key=value, and nothing else");
static EQUALS: Rule =
    error("cef-equals", "CEF rev 25, Character Encoding: equal signs in the extensions are escaped with a backslash");
static PIPE: Rule = warning("cef-pipe", "CEF rev 25, Character Encoding: pipes in the extension do not need escaping");
static ESCAPE: Rule = error(
    "cef-escape",
    "CEF rev 25, Character Encoding: a backslash in the extension is escaped with a backslash; else only \\=, \\n and \\r are known",
);
static SPACE: Rule = warning(
    "cef-space",
    "CEF rev 25, Extension: pairs are separated by one space; more are taken as trailing spaces of the value before",
);
static KEY_NAME: Rule = error(
    "cef-key-name",
    "CEF rev 25, Custom Extension Naming Guidelines: a single word of letters and digits, without spaces or other characters",
);
static KEY_UNKNOWN: Rule = warning(
    "cef-key-unknown",
    "CEF rev 25, ArcSight Extension Dictionary: keys that receivers know; others are cs1 to cs6 with a label, or lost",
);
static KEY_AGAIN: Rule =
    error("cef-key-again", "CEF rev 25, Extension: each key has one value; receivers keep the first or the last");
static KEY_COLLECTOR: Rule = error(
    "cef-key-collector",
    "CEF rev 25, ArcSight Extension Dictionary, for consumers: set by collectors, not by a producer",
);
static KEY_IN_TEXT: Rule = warning(
    "cef-key-in-text",
    "CEF rev 25, Character Encoding: an equals sign in a text is escaped, or the word before it begins another key",
);
static EMPTY: Rule = warning(
    "cef-value-empty",
    "CEF rev 25, Extension: a key without a value says nothing; some receivers take the next key for its value",
);
static TYPE: Rule = error("cef-value-type", "CEF rev 25, ArcSight Extension Dictionary: the data type of the key");
static TIME: Rule =
    error("cef-time", "CEF rev 25, Date Formats: milliseconds since 1970, or `MMM dd [yyyy] HH:mm:ss[.SSS] [zzz]`");
static LENGTH: Rule = error("cef-value-length", "CEF rev 25, ArcSight Extension Dictionary: the length of the key");
static LABEL_MISSING: Rule = warning(
    "cef-label-missing",
    "CEF rev 25, ArcSight Extension Dictionary: every custom field has a label that says what it is",
);
static LABEL_ALONE: Rule = warning(
    "cef-label-alone",
    "CEF rev 25, ArcSight Extension Dictionary: a label names the custom field of its number",
);

const NAMES: [&str; 6] = ["vendor", "product", "version", "class id", "name", "severity"];
const LENGTHS: [usize; 5] = [63, 63, 31, 1_023, 512];

fn check(report: &mut Report<'_>, at: usize) {
    report.utf8(&UTF8);
    let Some(version) = MARKER.version(report.line, at) else {
        return report.say(&MARKER_RULE, at..report.line.len(), "no CEF; a line begins with `CEF:0|vendor|product|…`");
    };
    prefix(report, at);
    if version.start != at.saturating_add(4) {
        report.fix(&MARKER_RULE, at.saturating_add(4)..version.start, "a space behind `CEF:`; write none", "");
    }
    if !matches!(report.bytes(version.clone()), b"0" | b"1") {
        let written = report.text(version.clone());
        report.fix(
            &VERSION,
            version.clone(),
            format!("version `{written}`; write 0, or 1 for IPv6 in address keys"),
            "0",
        );
    }
    let is_first = report.bytes(version.clone()) == b"0";
    let header = header(report.line, version.end.saturating_add(1));
    for (at, piece) in header.fields.iter().take(header.len).enumerate() {
        header_field(report, at, *piece);
    }
    let Some(extension) = header.extension else {
        let end = report.line.len();
        let missing = NAMES.len().saturating_add(1).saturating_sub(header.len);
        let message = match missing {
            1 => "no pipe behind the severity; write one, also without an extension".to_owned(),
            _ => format!(
                "the header ends behind its {}; {} fields are missing",
                NAMES.get(header.len.saturating_sub(1)).unwrap_or(&"version"),
                missing.saturating_sub(1)
            ),
        };
        return match missing {
            1 => report.fix(&HEADER_COUNT, end..end, message, "|"),
            _ => report.say(&HEADER_COUNT, end..end, message),
        };
    };
    Extension { report, is_first, at: extension }.check();
}

/// What stands before the marker: a header of syslog that ends with a space, or nothing.
fn prefix(report: &mut Report<'_>, at: usize) {
    let Some(last) = at.checked_sub(1) else { return };
    if report.bytes(last..at) != b" " {
        return report.fix(&PREFIX, at..at, "no space before `CEF:`; write one", " ");
    }
    let detects = [rfc5424::FORMAT.detect, rfc3164::FORMAT.detect];
    if !detects.into_iter().flatten().any(|detect| detect(report.line) > 0) {
        let written = report.text(0..last);
        report.say(&PREFIX, 0..last, format!("`{written}` is no header of syslog; write `<PRI>Mmm dd hh:mm:ss host`"));
    }
}

fn header_field(report: &mut Report<'_>, at: usize, piece: Piece) {
    let range = piece.range();
    let name = NAMES.get(at).copied().unwrap_or_default();
    let bytes = report.bytes(range.clone());
    escapes(report, range.clone(), b"|\\", &HEADER_ESCAPE);
    for (found, byte) in range.clone().zip(bytes) {
        match byte {
            b'\n' | b'\r' => report.fix(
                &LINE_END,
                found..found.saturating_add(1),
                format!("a line end in the {name}; write a space"),
                " ",
            ),
            byte if byte.is_ascii_control() => report.fix(
                &CONTROL,
                found..found.saturating_add(1),
                format!("a control character in the {name}; write a space"),
                " ",
            ),
            _ => {}
        }
    }
    if name == "severity" {
        return severity(report, range);
    }
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() {
        report.say(&HEADER_EMPTY, range, format!("the {name} is empty; say what sends the event and what it is"));
    } else if trimmed.len() < bytes.len() {
        let fix = String::from_utf8_lossy(trimmed).into_owned();
        report.fix(&HEADER_SPACE, range, format!("spaces around the {name}; write none"), fix);
    } else if let Some(most) = LENGTHS.get(at).filter(|most| bytes.len() > **most) {
        report.say(&HEADER_LENGTH, range, format!("the {name} has {} bytes; at most {most} are kept", bytes.len()));
    }
}

fn severity(report: &mut Report<'_>, range: Range<usize>) {
    let written = report.text(range.clone());
    let words = ["Unknown", "Low", "Medium", "High", "Very-High"];
    if words.contains(&written.as_str()) || written.parse::<u8>().is_ok_and(|number| number <= 10 && written.len() < 3)
    {
        return;
    }
    let squeezed: String = written.chars().filter(|char| char.is_ascii_alphanumeric()).collect();
    let word = words.iter().find(|word| word.replace('-', "").eq_ignore_ascii_case(&squeezed));
    let fix = match (word, written.trim().parse::<i64>()) {
        (Some(word), _) => (*word).to_owned(),
        (None, Ok(number)) => number.clamp(0, 10).to_string(),
        (None, Err(_)) => "Unknown".to_owned(),
    };
    let message = format!("severity `{written}`; write 0 to 10 or one of {}", words.join(", "));
    report.fix(&SEVERITY, range, message, fix);
}

/// Every backslash stands before one of the bytes `known`.
fn escapes(report: &mut Report<'_>, range: Range<usize>, known: &[u8], rule: &'static Rule) {
    let bytes = report.bytes(range.clone());
    let mut at = 0_usize;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        let found = at.saturating_add(found);
        let next = bytes.get(found.saturating_add(1));
        let place = range.start.saturating_add(found);
        match next {
            Some(next) if known.contains(next) => at = found.saturating_add(2),
            Some(b'|') => {
                report.fix(
                    &PIPE,
                    place..place.saturating_add(2),
                    "a backslash before a pipe; write the pipe alone",
                    "|",
                );
                at = found.saturating_add(2);
            }
            _ => {
                report.fix(rule, place..place.saturating_add(1), "a backslash that escapes nothing; write two", "\\\\");
                at = found.saturating_add(1);
            }
        }
        if report.is_full() {
            return;
        }
    }
}

/// The pairs of a line.
struct Extension<'r, 'l> {
    report: &'r mut Report<'l>,
    /// Version 0: address keys take IPv4 alone.
    is_first: bool,
    at: usize,
}

impl<'l> Extension<'_, 'l> {
    fn check(&mut self) {
        let line = self.report.line;
        let pairs = Pairs::new(line, self.at);
        let before = pairs.before();
        if before.start > self.at && line.get(self.at) == Some(&b' ') && before.end >= before.start {
            self.report.fix(&SPACE, self.at..before.start, "a space before the first key; write none", "");
        }
        if !before.is_empty() {
            self.report.say(&EXTENSION_TEXT, before, "text without a key; write `msg=` before it");
        }
        let pairs: Vec<Pair> = pairs.take(KEYS_MAX as usize).collect();
        let names: Vec<(&str, &str)> = pairs.iter().map(|pair| ("", self.name(pair))).collect();
        let again = repeats(names.iter().copied());
        let mut sorted: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
        sorted.sort_unstable();
        let mut before: Option<&str> = None;
        for (at, pair) in pairs.iter().enumerate() {
            if self.report.is_full() {
                return;
            }
            let is_last = at.saturating_add(1) == pairs.len();
            let name = self.name(pair);
            self.key(pair, name, before, &sorted);
            if again.binary_search(&at).is_ok() {
                self.report.say(&KEY_AGAIN, pair.key(), format!("`{name}` a second time; write each key once"));
            }
            self.text(pair, name, is_last);
            self.value(pair, name);
            before = Some(name);
        }
        // The line end is the transport's; what stands before it is part of the last value for many receivers.
        let end = line.trim_ascii_end().len();
        let spaces = line.get(end..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if spaces > 0 && end > self.at {
            let range = end..end.saturating_add(spaces);
            self.report.fix(&SPACE, range, "spaces at the end of the line; write none", "");
        }
    }

    fn name(&self, pair: &Pair) -> &'l str {
        self.report.line.get(pair.key()).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }

    fn key(&mut self, pair: &Pair, name: &str, before: Option<&str>, sorted: &[&str]) {
        let range = pair.key();
        let has = |name: &str| sorted.binary_search(&name).is_ok();
        if name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'_') {
            let fix: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            return self.report.fix(&KEY_NAME, range, format!("key `{name}`; write letters and digits alone"), fix);
        }
        match lookup(name.as_bytes()) {
            Known::Key(key) if usize::from(key) >= collectors() => {
                self.report.say(&KEY_COLLECTOR, range.clone(), format!("`{name}` is set by collectors; leave it out"));
            }
            Known::Key(_) => {}
            _ => {
                let is_text = before.is_some_and(is_text) && family(name.as_bytes()).is_none();
                if is_text && !has(&format!("{name}Label")) && !name.ends_with("Label") {
                    let equals = range.end..range.end.saturating_add(1);
                    let message = format!("`{name}=` behind a text begins a key; if it is text, write `{name}\\=`");
                    self.report.say(&KEY_IN_TEXT, equals, message);
                } else {
                    let message = format!("`{name}` is no key of the dictionary; write cs1 with cs1Label={name}");
                    self.report.say(&KEY_UNKNOWN, range.clone(), message);
                }
            }
        }
        match name.strip_suffix("Label") {
            Some(base) if family(base.as_bytes()).is_some() && !has(base) => {
                self.report.say(&LABEL_ALONE, range, format!("`{name}` without `{base}`; write both or none"));
            }
            None if family(name.as_bytes()).is_some() && !has(&format!("{name}Label")) => {
                self.report.say(
                    &LABEL_MISSING,
                    range,
                    format!("`{name}` without a label; write {name}Label and what it is"),
                );
            }
            _ => {}
        }
    }

    /// What is wrong with the characters of a value.
    fn text(&mut self, pair: &Pair, name: &str, is_last: bool) {
        let range = pair.value.range();
        let bytes = self.report.bytes(range.clone());
        if bytes.is_empty() {
            return self.report.say(&EMPTY, pair.key(), format!("`{name}` has no value; leave it out"));
        }
        escapes(self.report, range.clone(), b"=\\nr", &ESCAPE);
        let mut is_escaped = false;
        for (at, byte) in range.clone().zip(bytes) {
            let here = at..at.saturating_add(1);
            match byte {
                b'\\' => {
                    is_escaped = !is_escaped;
                    continue;
                }
                b'=' if !is_escaped => {
                    self.report.fix(&EQUALS, here, format!("an equals sign in `{name}`; write `\\=`"), "\\=")
                }
                b'\n' => self.report.fix(&LINE_END, here, format!("a line end in `{name}`; write `\\n`"), "\\n"),
                b'\r' => self.report.fix(&LINE_END, here, format!("a line end in `{name}`; write `\\r`"), "\\r"),
                byte if byte.is_ascii_control() && *byte != b'\t' => {
                    self.report.fix(&CONTROL, here, format!("a control character in `{name}`; write a space"), " ");
                }
                _ => {}
            }
            is_escaped = false;
            if self.report.is_full() {
                return;
            }
        }
        let trimmed = bytes.trim_ascii();
        if trimmed.len() < bytes.len() && !(is_last && trimmed.is_empty()) {
            let start = range.start.saturating_add(bytes.len().saturating_sub(bytes.trim_ascii_start().len()));
            let end = range.start.saturating_add(bytes.trim_ascii_end().len());
            let spaces = if start > range.start { range.start..start } else { end..range.end };
            self.report.fix(&SPACE, spaces, format!("spaces around the value of `{name}`; write none"), "");
        }
    }

    fn value(&mut self, pair: &Pair, name: &str) {
        let range = pair.value.range();
        let takes = match lookup(name.as_bytes()) {
            Known::Key(key) => KEYS.get(usize::from(key)).map(|key| key.takes),
            _ => family(name.as_bytes()),
        };
        let (Some(takes), false) = (takes, range.is_empty()) else { return };
        let bytes = self.report.bytes(range.clone());
        let written = String::from_utf8_lossy(bytes).into_owned();
        let written = written.trim();
        let wanted = match takes {
            Takes::Text(most) => {
                let characters = written.chars().count();
                if characters > most {
                    let message = format!("`{name}` has {characters} characters; at most {most} are kept");
                    self.report.say(&LENGTH, range, message);
                }
                return;
            }
            Takes::Time => return self.time(range, name, written),
            Takes::Int if written.parse::<i32>().is_err() => "a whole number of 32 bits",
            Takes::Port if written.parse::<u16>().is_err() => "a port, 0 to 65535",
            Takes::Long if written.parse::<i64>().is_err() => "a whole number of 64 bits",
            Takes::Float if !is_number(written) => "a number",
            Takes::Address if self.is_first && written.parse::<Ipv4Addr>().is_err() => {
                if written.parse::<IpAddr>().is_ok() {
                    "an IPv4 address; IPv6 goes to c6a1 to c6a4, or begin with `CEF:1|`"
                } else {
                    "an IPv4 address; a host's name has its own key"
                }
            }
            Takes::Address if written.parse::<IpAddr>().is_err() => "an address; a host's name has its own key",
            Takes::Ipv6 if !written.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) => "an IPv6 address",
            Takes::Mac if !is_mac(written) => "six pairs of hex digits with colons",
            _ => return,
        };
        let shown = self.report.text(range.clone());
        self.report.say(&TYPE, range, format!("`{name}` is `{shown}`; write {wanted}"));
    }

    fn time(&mut self, range: Range<usize>, name: &str, written: &str) {
        let is_digits = written.bytes().all(|byte| byte.is_ascii_digit());
        let message = |what: &str| format!("`{name}` is {what}; write milliseconds since 1970");
        match (is_digits, written.len()) {
            (true, 10) => self.report.fix(&TIME, range, message("in seconds"), format!("{written}000")),
            (true, 16 | 19) => {
                let fix: String = written.chars().take(13).collect();
                self.report.fix(&TIME, range, message("finer than milliseconds"), fix);
            }
            (true, 1..=13) => {}
            _ if is_date(written) => {}
            _ => {
                let shown = self.report.text(range.clone());
                self.report.say(&TIME, range, format!("`{name}` is `{shown}`; write milliseconds since 1970"));
            }
        }
    }
}

/// Where the keys of collectors begin in the dictionary.
fn collectors() -> usize {
    KEYS.iter().position(|key| key.name == "agt").unwrap_or(KEYS.len())
}

/// Keys whose values are written by people, in which a word may look like a key.
fn is_text(key: &str) -> bool {
    let numbered = family(key.as_bytes()).is_some_and(|takes| matches!(takes, Takes::Text(_)));
    numbered || key.starts_with("request") || matches!(key, "msg" | "message" | "reason" | "filePath" | "rawEvent")
}

fn is_mac(written: &str) -> bool {
    let pairs: Vec<&str> = written.split(':').collect();
    pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `MMM dd [yyyy] HH:mm:ss[.SSS] [zzz]`.
fn is_date(written: &str) -> bool {
    let context = crate::Context { received: crate::Time(0), zone: crate::Offset(0) };
    written.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && crate::cef::value::instant(written, &context).is_some()
}
