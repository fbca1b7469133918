//! What ArcSight's CEF Implementation Standard (revisions 25 to 27) says that a line breaks.
//!
//! Keys of the gateway's own (`format`, `untrusted`, `rule_id`, `ad_…`) are no fault in its own lines: the
//! standard's Custom Extension Naming Guidelines let a vendor add keys. A line is its own if the header names this
//! product, or, where the sender's header was kept, if `format` says what it was read as. In any other line they
//! are unknown keys like all others.

mod extension;
mod prefix;
mod value;

use std::ops::Range;

use self::extension::Extension;
pub(super) use self::value::{is_date, is_mac};
use super::{Linter, Report, Rule, error, warning};
use crate::cef::grammar::{Header, MARKER, Piece, header};
use crate::cef::value::whole;

/// The row of this linter.
pub(super) const LINTER: Linter = Linter {
    name: "cef",
    rules: &[
        &UTF8,
        &LINE_END,
        &CONTROL,
        &MARKER_RULE,
        &PREFIX,
        &PREFIX_TIME,
        &PREFIX_HOST,
        &PREFIX_TAG,
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
        &KEY_FULL,
        &KEY_UNKNOWN,
        &KEY_AGAIN,
        &KEY_COLLECTOR,
        &KEY_IN_TEXT,
        &EMPTY,
        &QUOTES,
        &TYPE,
        &TIME,
        &LENGTH,
        &LABEL_MISSING,
        &LABEL_ALONE,
    ],
    find: |line| super::marked(MARKER, line),
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
static PREFIX_TIME: Rule = error(
    "cef-prefix-time",
    "CEF rev 25, Using CEF with Syslog: the time is `Mmm dd hh:mm:ss` (RFC 3164 §4.1.2): no year, no fraction, no zone",
);
static PREFIX_HOST: Rule = error(
    "cef-prefix-host",
    "CEF rev 25, Using CEF with Syslog: a host follows the time; without it receivers take the next word for one",
);
static PREFIX_TAG: Rule = warning(
    "cef-prefix-tag",
    "CEF rev 25, Using CEF with Syslog: behind the host and a space stands `CEF:`, and no tag between them",
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
static KEY_FULL: Rule = error(
    "cef-key-full",
    "CEF rev 25, ArcSight Extension Dictionary: what is sent is the CEF key name; the full name is only its description",
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
static QUOTES: Rule = warning(
    "cef-value-quotes",
    "CEF rev 25, Extension: a value runs to the next key and needs no quotes; receivers keep them as part of it",
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
    prefix::check(report, at);
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
    let of_gateway = is_of_gateway(report, &header);
    Extension { report, is_first, of_gateway, at: extension }.check();
}

/// Whether the header names our own device. The sender's device stays in a line that was relayed.
fn is_of_gateway(report: &Report<'_>, header: &Header) -> bool {
    let own = crate::EmitContext::default();
    let is = |at: usize, name: &str| {
        header.fields.get(at).is_some_and(|field: &Piece| report.bytes(field.range()) == name.as_bytes())
    };
    is(0, own.vendor) && is(1, own.product)
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
    if words.contains(&written.as_str()) || whole(&written).is_some_and(|number| (0..=10).contains(&number)) {
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
