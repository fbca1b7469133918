//! The log of dockerd, in the four eras of its engine and the forms of its logger.
//!
//! `time="…" level=info msg="…" key=value` (1.4 and later), `INFO[0069] text   key=value` on a terminal,
//! `{"level":…,"msg":…,"time":…}` with `--log-format json`, `[info] text`, `[9e2cc6bc] +job …` and
//! `2014/05/14 08:50:02 POST …` (1.3 and earlier). Keys without a canonical field are extras of group `dockerd`.
//!
//! Since 1.10 requests are logged only with `-D`, so a line that asks for `containers/create` is no
//! sign of every creation: those come from the Events API.
//!
//! Invariant: nested logfmt inside a value is text. Only the outer pairs are believed.

mod form;
mod logfmt;
mod message;
mod request;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json_read::{JsonValue, KEYS_MAX};
use crate::repeats::{Seen, repeated_names};
use crate::text::Text;
use crate::{Context, Event, Field, Format, ParseError, Time, syslog};
use logfmt::{Pair, Pairs};
use message::Facts;

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "dockerd",
    about: "Log of the Docker daemon: logfmt, terminal, JSON and the forms of old engines",
    detect: Some(detect),
    starts: b"tl{[TDIWEFP2",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Bytes that are looked at to recognise a line.
const WINDOW: usize = 512;

/// A level as logrus writes it, its four letters on a terminal, its syslog severity.
const LEVELS: &[(&str, &str, u8)] = &[
    ("trace", "TRAC", 7),
    ("debug", "DEBU", 7),
    ("info", "INFO", 6),
    ("warning", "WARN", 4),
    ("warn", "WARN", 4),
    ("error", "ERRO", 3),
    ("fatal", "FATA", 2),
    ("panic", "PANI", 2),
];

/// The forms of a line.
enum Shape {
    Logfmt,
    /// Where the text begins; the level, and what stands in the brackets.
    Terminal {
        text: usize,
    },
    Json,
    /// Up to 1.3; where the text begins.
    Bracket {
        text: usize,
    },
    /// Before 1.3, as Go's own logger writes it: a date, a time, the text.
    Dated,
}

/// Bytes of `2014/05/14 08:50:02 `.
const DATED_TEXT: usize = 20;

fn detect(input: &[u8]) -> u8 {
    let window = input.get(..WINDOW).unwrap_or(input);
    let has = |wanted: &[u8]| memchr::memmem::find(window, wanted).is_some();
    match shape(window) {
        Some(Shape::Logfmt) if has(b" level=") => 90,
        // Without a time. Other programs of Go have `ts=` and `caller=` there.
        Some(Shape::Logfmt) if begins_with_level(window) && has(b" msg=") && !has(b" ts=") && !has(b" caller=") => 85,
        Some(Shape::Terminal { .. }) => 90,
        Some(Shape::Json) if has(b"\"level\":\"") && has(b"\"msg\":\"") && has(b"\"time\":\"") => 70,
        Some(Shape::Bracket { text }) => {
            let text = window.get(text..).unwrap_or_default();
            let first = text.get(..memchr::memchr(b' ', text).unwrap_or(text.len())).unwrap_or_default();
            let is_call = std::str::from_utf8(first).is_ok_and(request::is_method) || first == b"Calling";
            // Debug and error lines name the file.
            let is_call = is_call || has(b".go:");
            if is_call || text.starts_with(b"+job ") || text.starts_with(b"-job ") { 85 } else { 0 }
        }
        Some(Shape::Dated) => {
            let text = window.get(DATED_TEXT..).unwrap_or_default();
            let method = text.get(..memchr::memchr(b' ', text).unwrap_or(0)).unwrap_or_default();
            let is_call = std::str::from_utf8(method).is_ok_and(request::is_method);
            if is_call && text.get(method.len().saturating_add(1)) == Some(&b'/') { 85 } else { 0 }
        }
        _ => 0,
    }
}

/// `level=` and a level of logrus, in quotes or not.
fn begins_with_level(input: &[u8]) -> bool {
    let Some(rest) = input.strip_prefix(b"level=") else { return false };
    let word = rest.strip_prefix(b"\"").unwrap_or(rest);
    LEVELS.iter().any(|(level, ..)| {
        word.strip_prefix(level.as_bytes()).is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'"')))
    })
}

fn shape(input: &[u8]) -> Option<Shape> {
    match input {
        // "A line without `time=`/`level=` first is a continuation": this one is none.
        [b't', b'i', b'm', b'e', b'=', ..] | [b'l', b'e', b'v', b'e', b'l', b'=', ..] => Some(Shape::Logfmt),
        [b'2', b'0', _, _, b'/', _, _, b'/', _, _, b' ', _, _, b':', _, _, b':', _, _, b' ', ..] => {
            let digits = input.iter().take(DATED_TEXT).filter(|byte| byte.is_ascii_digit()).count();
            (digits == 14).then_some(Shape::Dated)
        }
        [b'{', ..] => Some(Shape::Json),
        [b'[', rest @ ..] => {
            let len = rest.iter().take(12).position(|byte| *byte == b']')?;
            let word = rest.get(..len)?;
            let is_level = LEVELS.iter().any(|(level, ..)| level.as_bytes() == word);
            let is_job = len == 8 && word.iter().all(u8::is_ascii_hexdigit);
            let mut text = len.saturating_add(2);
            let after = input.get(text..)?.strip_prefix(b" ")?;
            text = text.saturating_add(1);
            // `server.go:1036 ` stands before the text of debug and error lines.
            let first = memchr::memchr(b' ', after).and_then(|len| after.get(..len)).unwrap_or_default();
            if memchr::memmem::find(first, b".go:").is_some() {
                text = text.saturating_add(first.len()).saturating_add(1);
            }
            (is_level || is_job).then_some(Shape::Bracket { text })
        }
        _ => {
            let rest = LEVELS.iter().find_map(|(_, letters, _)| input.strip_prefix(letters.as_bytes()))?;
            let inside = rest.strip_prefix(b"[")?;
            let len = inside.iter().take(40).position(|byte| *byte == b']')?;
            inside.first().filter(|byte| byte.is_ascii_digit())?;
            let text = len.saturating_add(6);
            let space = inside.get(len.saturating_add(1)..)?.starts_with(b" ");
            Some(Shape::Terminal { text: text.saturating_add(usize::from(space)) })
        }
    }
}

fn parse<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    // What a crash prints below a line is no part of its pairs.
    let (input, trace) = match memchr::memchr(b'\n', input).and_then(|at| input.split_at_checked(at)) {
        Some((line, trace)) => (line, trace.get(1..).unwrap_or_default()),
        None => (input, Default::default()),
    };
    let text = Text::of(event, input);
    let mut facts = Facts::default();
    let mark = event.extras().len();
    let expected = ParseError::new(0, "`time=`, a level such as `INFO[`, `[info] ` or a JSON object");
    match shape(input).ok_or(expected)? {
        Shape::Logfmt => pairs(&text, 0, event, &mut facts),
        Shape::Terminal { text: at } => terminal(&text, at, event, &mut facts),
        Shape::Json => json(input, event, &mut facts)?,
        Shape::Bracket { text: at } => bracket(&text, at, event, &mut facts),
        Shape::Dated => dated(&text, context, event, &mut facts),
    }
    duplicates(mark, &facts.again, event);
    message::set(event, facts);
    if !trace.is_empty() {
        let trace = Text::of(event, trace).tail(0);
        event.extra("dockerd", "trace", &trace);
    }
    Ok(())
}

/// Whether a line belongs to the one above it: it begins as no line of the log does.
pub(crate) fn is_below(line: &[u8]) -> bool {
    shape(line).is_none()
}

/// The pairs from `at` on, up to the limit of keys; what stands behind that is one extra.
fn pairs<'a>(text: &Text<'a>, at: usize, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let mut pairs = Pairs::new(*text, at);
    for Pair { key, value, cut } in pairs.by_ref().take(KEYS_MAX as usize) {
        if cut {
            let raw = event.raw();
            event.mark_partial(&ParseError::new(raw.len(), "a closing quote"), raw);
        }
        pair(key, JsonValue::Str(value), event, facts);
    }
    let rest = text.tail(pairs.at());
    if !rest.trim().is_empty() {
        event.mark_partial(&ParseError::new(pairs.at(), "at most 2,000 pairs"), text.bytes());
        event.extra("dockerd", "", &rest);
    }
}

/// `INFO[0069] text padded to 44 columns  key=value`: at least two spaces stand before the first key.
fn terminal<'a>(text: &Text<'a>, at: usize, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let bytes = text.bytes();
    let letters = bytes.get(..4).unwrap_or_default();
    if let Some((level, ..)) = LEVELS.iter().find(|(_, of, _)| of.as_bytes() == letters) {
        set_level(event, level, facts);
    }
    let end = bytes.get(at..).unwrap_or_default();
    let gap = memchr::memmem::find_iter(end, b"  ").find(|gap| {
        let rest = end.get(*gap..).unwrap_or_default().trim_ascii_start();
        let key = rest.iter().take(64).position(|byte| !(byte.is_ascii_alphanumeric() || b"._-()".contains(byte)));
        key.is_some_and(|key| key > 0 && rest.get(key) == Some(&b'='))
    });
    let stop = at.saturating_add(gap.unwrap_or(end.len()));
    facts.message = trimmed(text.piece(at..stop));
    let close = memchr::memchr(b']', bytes).unwrap_or(0);
    let clock = text.piece(5..close);
    match Time::parse_rfc3339(clock.as_bytes()) {
        Some((time, used)) if used == clock.len() => event.set(Field::Time, time),
        _ => event.extra("dockerd", "seconds", &clock),
    }
    pairs(text, stop, event, facts);
}

/// `[info] text`, `[debug] server.go:1036 text`, `[9e2cc6bc] +job create(x)`.
fn bracket<'a>(text: &Text<'a>, at: usize, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let bytes = text.bytes();
    let close = memchr::memchr(b']', bytes).unwrap_or(0);
    let word = text.piece(1..close);
    match LEVELS.iter().find(|(level, ..)| *level == word) {
        Some((level, ..)) => set_level(event, level, facts),
        None => {
            set_level(event, "info", facts);
            event.extra("dockerd", "job", &word);
        }
    }
    let file = trimmed(text.piece(close.saturating_add(2)..at));
    if !file.is_empty() {
        event.extra("dockerd", "file", &file);
    }
    facts.message = trimmed(text.tail(at));
}

/// `2014/05/14 08:50:02 text`, in the zone of the engine's machine.
fn dated<'a>(text: &Text<'a>, context: &Context, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let stamp = text.piece(0..DATED_TEXT.saturating_sub(1));
    match Time::parse_rfc3339_in(stamp.replace('/', "-").as_bytes(), context.zone) {
        Some((time, _)) => event.set(Field::Time, time),
        None => {
            event.extra("dockerd", "time", &stamp);
            event.note("no time that can be read");
        }
    }
    set_level(event, "info", facts);
    facts.message = trimmed(text.tail(DATED_TEXT));
}

/// Names the keys that came twice: of `level` and of what has a field the first counts.
fn duplicates(mark: usize, again: &[&'static str], event: &mut Event<'_>) {
    if again.is_empty() && Seen::all_new(event, mark) {
        return;
    }
    let keys = event.extra_keys().skip(mark);
    if let Some(names) = repeated_names(keys, again.iter().copied()) {
        event.set(Field::ParseDuplicateKeys, &names);
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end()),
        Cow::Owned(text) => Cow::Owned(text.trim_end().to_owned()),
    }
}

fn json<'a>(input: &'a [u8], event: &mut Event<'a>, facts: &mut Facts<'a>) -> Result<(), ParseError> {
    let error = |error: &serde_json::Error| {
        ParseError::new(error.column().saturating_sub(1), "a JSON object of at most 2,000 strings")
    };
    let members: Members<'a> = serde_json::from_slice(input).map_err(|e| error(&e))?;
    for (key, raw) in members.0 {
        let value = match serde_json::from_str::<Words<'a>>(raw.get()) {
            Ok(Words(text)) => JsonValue::Str(text),
            Err(_) => JsonValue::Json(raw.get()),
        };
        pair(key, value, event, facts);
    }
    Ok(())
}

/// The members of an object in their order, values as they stand.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some((Words(key), value)) = map.next_entry()? {
                    if members.len() >= KEYS_MAX as usize {
                        return Err(de::Error::custom("more than 2,000 members"));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Text that is borrowed unless it holds an escape.
#[derive(Deserialize)]
struct Words<'a>(#[serde(borrow)] Cow<'a, str>);

/// One key with its value. The first of a key that has a field counts; later ones are extras.
fn pair<'a>(key: Cow<'a, str>, value: JsonValue<'a>, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let JsonValue::Str(text) = value else {
        event.extra("dockerd", key, &value);
        return;
    };
    match &*key {
        "time" if !event.has(Field::Time) => {
            match Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len()) {
                Some((time, _)) => event.set(Field::Time, time),
                None => {
                    event.extra("dockerd", key, &text);
                    event.note("no time that can be read");
                }
            }
        }
        "level" if !facts.has_level => set_level(event, &text, facts),
        "msg" if facts.message.is_empty() || planted!("dockerd") => {
            facts.message = match text.strip_prefix("form data: ") {
                Some(form) => {
                    form::facts(form, event);
                    form::masked(text)
                }
                None => text,
            };
        }
        "method" if facts.method.is_none() => facts.method = Some(text),
        "request-url" if facts.url.is_none() => facts.url = Some(text),
        "error-response" | "error" if facts.error.is_none() => facts.error = Some(text),
        "container" if !event.has(Field::ContainerId) => request::set_container(event, &text),
        "topic" => {
            event.extra("dockerd", key, &text);
            facts.topic = Some(text);
        }
        "form-data" => {
            form::facts(&text, event);
            form::keep(&form::masked(text), event);
        }
        _ => {
            event.extra("dockerd", &key, &text);
            // It has a field, or counts for one, and the field is taken.
            if let Some(name) = TAKEN.iter().find(|name| **name == key) {
                facts.again.push(name);
            }
        }
    }
}

/// Keys that are no extras where they come first.
const TAKEN: &[&str] = &["time", "level", "msg", "method", "request-url", "container"];

fn set_level(event: &mut Event<'_>, level: &str, facts: &mut Facts<'_>) {
    facts.has_level = true;
    if let Some((.., severity)) = LEVELS.iter().find(|(word, ..)| *word == level) {
        event.set(Field::Severity, syslog::event_severity(*severity));
        facts.failed = *severity <= 3;
    }
    event.extra("dockerd", "level", level);
}

#[cfg(test)]
mod tests;
