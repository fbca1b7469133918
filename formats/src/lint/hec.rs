//! What Splunk's documentation of the HTTP Event Collector says that an envelope breaks.

use std::ops::Range;

use super::{Linter, Report, Rule, error, warning};
use crate::json_read::{JsonReader, Quoted};

/// The row of this linter.
pub(super) const LINTER: Linter = Linter {
    name: "hec",
    rules: &[
        &JSON,
        &ARRAY,
        &BETWEEN,
        &KEY,
        &KEY_AGAIN,
        &EVENT,
        &EVENT_BLANK,
        &TIME,
        &TIME_UNIT,
        &TEXT,
        &FIELDS,
        &FIELDS_FLAT,
    ],
    find: |line| matches!(line.trim_ascii_start().first(), Some(b'{' | b'[')).then_some(0),
    check,
};

static JSON: Rule = error("hec-json", "Splunk HEC, Format events: JSON; the answer is code 6, Invalid data format");
static ARRAY: Rule =
    error("hec-array", "Splunk HEC, Event data: a batch is objects one behind the other, not an array");
static BETWEEN: Rule =
    error("hec-between", "Splunk HEC, Event data: the objects of a batch stand one behind the other, without a comma");
static KEY: Rule = warning(
    "hec-key",
    "Splunk HEC, Event metadata: time, host, source, sourcetype, index, fields and event; others are dropped",
);
static KEY_AGAIN: Rule =
    error("hec-key-again", "RFC 8259 §4: the names within an object SHOULD be unique; the last one usually wins");
static EVENT: Rule = error("hec-event", "Splunk HEC, Event data: the event key is required; the answer is code 12");
static EVENT_BLANK: Rule =
    error("hec-event-blank", "Splunk HEC, Event data: event cannot be blank; the answer is code 13");
static TIME: Rule = error("hec-time", "Splunk HEC, Event metadata: time is epoch time, <sec>.<ms>");
static TIME_UNIT: Rule =
    error("hec-time-unit", "Splunk HEC, Event metadata: time is in seconds, with a fraction for what is finer");
static TEXT: Rule = error("hec-text", "Splunk HEC, Event metadata: host, source, sourcetype and index are strings");
static FIELDS: Rule = error("hec-fields", "Splunk HEC, Event metadata: fields is a JSON object; the answer is code 15");
static FIELDS_FLAT: Rule =
    error("hec-fields-flat", "Splunk HEC, indexed fields: the object is flat; nested objects are refused with code 15");

const KEYS: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "fields", "event"];

fn check(report: &mut Report<'_>, _at: usize) {
    let line = report.line;
    if line.trim_ascii_start().first() == Some(&b'[') {
        return report.say(&ARRAY, 0..line.len(), "an array; write its objects one behind the other");
    }
    // Of the line: a reader alone would count from its own object.
    let say = |report: &mut Report<'_>, error: crate::ParseError| {
        report.say(&JSON, error.at..line.len(), format!("no JSON; {}", error.describe(line)));
    };
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => return say(report, crate::ParseError::new(error.valid_up_to(), "UTF-8")),
    };
    let mut at = 0;
    loop {
        match envelope(report, text, at) {
            Ok(end) => at = end,
            Err(error) => return say(report, crate::ParseError::new(at.saturating_add(error.at), error.expected)),
        }
        let rest = line.get(at..).unwrap_or_default();
        let next = memchr::memchr(b'{', rest);
        between(report, at, next.unwrap_or(rest.len()));
        match next {
            Some(next) if !report.is_full() => at = at.saturating_add(next),
            _ => return,
        }
    }
}

/// Blanks alone stand behind an object: "objects concatenated (no array; newline or nothing between)".
fn between(report: &mut Report<'_>, start: usize, len: usize) {
    let bytes = report.bytes(start..start.saturating_add(len));
    let blanks = bytes.len().saturating_sub(bytes.trim_ascii_start().len());
    let from = start.saturating_add(blanks);
    let range = from..from.saturating_add(bytes.trim_ascii().len());
    if !range.is_empty() {
        let message = format!("`{}` behind an object; write nothing between objects", report.text(range.clone()));
        report.fix(&BETWEEN, range, message, "");
    }
}

/// Looks at the object that begins at `start`; answers where it ends.
fn envelope(report: &mut Report<'_>, text: &str, start: usize) -> Result<usize, crate::ParseError> {
    let mut reader = JsonReader::over(text.get(start..).unwrap_or_default());
    let mut seen: Vec<String> = Vec::new();
    reader.object(|reader, key| {
        let name = key.text().into_owned();
        let key_range = range_of(report.line, key.body);
        if seen.contains(&name) && seen.len() < super::FINDINGS_MAX {
            report.say(&KEY_AGAIN, key_range.clone(), format!("`{name}` a second time; write each key once"));
        }
        if !KEYS.contains(&name.as_str()) {
            let message = format!("`{name}` is no key of an envelope; write it inside of event or fields");
            report.say(&KEY, key_range.clone(), message);
        }
        let value = match name.as_str() {
            "fields" if reader.at_object() => {
                fields(report, reader)?;
                None
            }
            _ => Some(Seen::read(reader)?),
        };
        if let Some(value) = value {
            member(report, &name, &value);
        }
        if seen.len() < super::FINDINGS_MAX {
            seen.push(name);
        }
        Ok(())
    })?;
    let end = start.saturating_add(reader.used());
    if !seen.iter().any(|name| name == "event") {
        report.say(&EVENT, end.saturating_sub(1)..end, "no event; write `\"event\":` and what happened");
    }
    Ok(end)
}

/// A value, and where it stands.
enum Seen<'a> {
    Text(Quoted<'a>),
    Other(&'a str),
}

impl<'a> Seen<'a> {
    fn read(reader: &mut JsonReader<'a>) -> Result<Self, crate::ParseError> {
        Ok(match reader.try_string()? {
            Some(text) => Seen::Text(text),
            None => Seen::Other(reader.skip()?),
        })
    }

    fn written(&self) -> &'a str {
        match self {
            Seen::Text(text) => text.body,
            Seen::Other(text) => text,
        }
    }
}

fn member(report: &mut Report<'_>, name: &str, value: &Seen<'_>) {
    let range = range_of(report.line, value.written());
    let shown = report.text(range.clone());
    match (name, value) {
        ("event", Seen::Text(text)) if text.body.trim().is_empty() => {
            report.say(&EVENT_BLANK, range, "the event is blank; say what happened");
        }
        ("event", Seen::Other("null")) => report.say(&EVENT_BLANK, range, "the event is null; say what happened"),
        ("fields", _) => report.say(&FIELDS, range, "fields is no object; write `{\"name\":\"value\"}`"),
        ("time", value) => time(report, range, value.written().trim()),
        ("host" | "source" | "sourcetype" | "index", Seen::Other(_)) => {
            let fix = serde_json::to_string(value.written()).unwrap_or_default();
            report.fix(&TEXT, range, format!("`{name}` is `{shown}`; write it in quotes"), fix);
        }
        _ => {}
    }
}

fn time(report: &mut Report<'_>, range: Range<usize>, written: &str) {
    let (seconds, fraction) = written.split_once('.').unwrap_or((written, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !is_number(seconds.strip_prefix('-').unwrap_or(seconds)) || !is_number(fraction) {
        let message = format!("time is `{written}`; write seconds since 1970, with a fraction or without");
        return report.say(&TIME, range, message);
    }
    // Seconds have ten digits from 2001 to 2286.
    if let (13 | 16 | 19, "", Some((whole, rest))) = (seconds.len(), fraction, seconds.split_at_checked(10)) {
        let message = format!("time has {} digits; write seconds, a point and the rest", seconds.len());
        report.fix(&TIME_UNIT, range, message, format!("{whole}.{rest}"));
    }
}

fn fields(report: &mut Report<'_>, reader: &mut JsonReader<'_>) -> Result<(), crate::ParseError> {
    reader.object(|reader, key| {
        let name = key.text().into_owned();
        let is_nested = reader.at_object();
        let value = Seen::read(reader)?;
        let range = range_of(report.line, value.written());
        let holds_object = value.written().starts_with('[') && value.written().contains(['{']);
        if is_nested || matches!(value, Seen::Other(_)) && holds_object {
            report.say(&FIELDS_FLAT, range, format!("`{name}` is nested; write `{name}.inner` for each value in it"));
        }
        Ok(())
    })
}

/// Where a piece of the line stands.
fn range_of(line: &[u8], piece: &str) -> Range<usize> {
    let at = piece.as_ptr().addr().wrapping_sub(line.as_ptr().addr());
    at..at.saturating_add(piece.len())
}
