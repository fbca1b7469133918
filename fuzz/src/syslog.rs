//! What must hold of frames and of syslog lines, whatever bytes they came from.

use wharfinger_formats::frame::{Frame, Framer};
use wharfinger_formats::{Event, Field, Kind, Value};

use crate::{check_event, emitted, parsed};

const LIMIT: usize = 64;

/// The frames of a connection are the same when its bytes come in pieces of `step`, and all are kept.
pub fn check_frames(input: &[u8]) {
    crate::planted::plant();
    let Some((step, stream)) = input.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(*step).max(1)), whole);
    assert_eq!(frames(stream, 1), whole);
    let closed = whole.last().is_some_and(|(kind, ..)| *kind == 'm');
    let kept: u64 = whole.iter().map(|(_, _, bytes)| bytes).sum();
    let around = stream.iter().filter(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' ' | b'0'..=b'9')).count();
    assert!(closed || kept + around as u64 >= stream.len() as u64, "bytes are in no frame");
}

/// Kind, first bytes and length of each frame.
fn frames(stream: &[u8], step: usize) -> Vec<(char, Vec<u8>, u64)> {
    let mut framer = Framer::new(LIMIT);
    let (mut buffer, mut got) = (Vec::new(), Vec::new());
    for (read, closed) in stream.chunks(step).map(|read| (read, false)).chain([(&b""[..], true)]) {
        buffer.extend_from_slice(read);
        loop {
            let frame = if closed { framer.finish(&buffer) } else { framer.next(&buffer) };
            let (kind, start, end, used) = match frame {
                Frame::NeedMore { used } => {
                    buffer.drain(..used);
                    assert!(buffer.len() <= LIMIT + 32, "{} bytes held", buffer.len());
                    break;
                }
                Frame::Complete { start, end, used } => ('c', start, end, used),
                Frame::Truncated { start, end, used } => ('t', start, end, used),
                Frame::TooLong { used, bytes_total } => {
                    got.push(('l', framer.head().to_vec(), bytes_total));
                    buffer.drain(..used);
                    continue;
                }
                Frame::Malformed(_) => {
                    got.push(('m', Vec::new(), 0));
                    return got;
                }
            };
            let frame = buffer[start..end].to_vec();
            assert!(frame.len() <= LIMIT);
            got.push((kind, frame.clone(), frame.len() as u64));
            buffer.drain(..used);
        }
    }
    got
}

/// One RFC 5424 record that says the same: fields come back, and it is written the same again.
pub fn check_rfc5424(event: &Event<'_>) {
    let record = emitted("rfc5424", event);
    assert!(!record.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'), "one record");
    let back = parsed("rfc5424", &record);
    // No parser makes a field that says nothing.
    let says = |value| !matches!(value, Value::Str("") | Value::Json(""));
    let told = event.fields().filter(|(field, value)| !field.is_reserved() && says(*value));
    for (field, value) in told {
        let is_of_kind = match value {
            Value::Str(_) | Value::Json(_) => field.kind() == Kind::Text,
            Value::Int(_) => field.kind() == Kind::Int,
            Value::Bool(_) => field.kind() == Kind::Bool,
            Value::Time(_) => field.kind() == Kind::Time,
        };
        let Some(found) = back.get(field) else {
            assert!(!is_of_kind, "{} is gone: {value:?} in {}", field.name(), String::from_utf8_lossy(&record));
            continue;
        };
        // JSON comes back as the text it was written as, and so does what no parser puts into that field.
        let same = match (value, found) {
            (Value::Str(a) | Value::Json(a), Value::Str(b)) => a == b,
            _ => value == found,
        };
        assert!(same || !is_of_kind, "{}: {value:?} became {found:?}", field.name());
    }
    assert!(back.extras().len() >= event.extras().len());
}

/// One RFC 3164 record, and in its last brackets only fields of the event and names behind `ad`.
pub fn check_rfc3164(event: &Event<'_>) {
    let line = String::from_utf8(emitted("rfc3164", event)).expect("UTF-8");
    assert!(!line.contains(|char: char| char.is_ascii_control() && char != '\t'), "{line:?}");
    let mut starts = line.match_indices("[wharfinger@32473");
    let Some(keys) = starts.find_map(|(at, own)| keys(&line[at + own.len()..])) else {
        // All of an event stands in a header only if it is a few fields.
        assert!(event.extras().len() == 0 && !event.has(Field::ParseStatus), "{line}");
        return;
    };
    let (theirs, ours): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| *key == "ad" || key.starts_with("ad_"));
    assert_eq!(theirs.len(), event.extras().len(), "{line}");
    let is_ours = |key: &&str| *key == "raw" || Field::from_name(key).is_some_and(|field| event.get(field).is_some());
    assert!(ours.iter().all(is_ours), "{line}");
}

/// The keys of ` key="value" …]`, if it is that and nothing else.
fn keys(pairs: &str) -> Option<Vec<&str>> {
    let (mut keys, mut rest) = (Vec::new(), pairs);
    while let Some(pair) = rest.strip_prefix(' ') {
        let (key, value) = pair.split_once("=\"")?;
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return None;
        }
        keys.push(key);
        let mut chars = value.char_indices();
        rest = loop {
            match chars.next()? {
                (_, '\\') => drop(chars.next()?),
                (at, '"') => break &value[at + 1..],
                (_, ']') => return None,
                _ => {}
            }
        };
    }
    (rest == "]").then_some(keys)
}

/// A line read as `format`: an event, and one record of it. Nothing that it says was made up: every
/// text of the header is a piece of the line, and the message is its end.
pub fn check_syslog(format: &str, input: &[u8]) {
    let event = parsed(format, input);
    check_event(&event);
    check_rfc5424(&event);
    let line = String::from_utf8_lossy(input);
    let is_plain = event.text(Field::Format) == Some(format) && event.text(Field::EventClass).is_none();
    // Behind the cookie the message is what the object says it is.
    if !is_plain || line.contains("wharfinger@32473") || line.contains("@cee:") {
        return;
    }
    for field in [Field::HostName, Field::App, Field::ProcessId, Field::SyslogMsgId] {
        let text = event.text(field).unwrap_or_default();
        assert!(line.contains(text), "{} is not in the line", field.name());
    }
    let message = event.text(Field::Msg).unwrap_or_default();
    assert!(line.ends_with(message), "the message is not the end of the line");
}

/// A line of dockerd: an event, and the message is that of the outer pairs.
pub fn check_dockerd(input: &[u8]) {
    let event = parsed("dockerd", input);
    check_event(&event);
    check_rfc5424(&event);
    let Ok(line) = std::str::from_utf8(input) else { return };
    let line = line.split('\n').next().unwrap_or_default();
    if line.starts_with("time=") && !line.contains('\\') {
        let expected = outer(line).into_iter().find(|(key, value)| *key == "msg" && !value.is_empty());
        assert_eq!(event.text(Field::Msg), expected.map(|(_, value)| value));
    }
}

/// Logfmt without escapes, read by a hand that knows nothing of the parser's.
fn outer(line: &str) -> Vec<(&str, &str)> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut pairs = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(is_space);
        if rest.is_empty() {
            return pairs;
        }
        let key_len = rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len());
        let (key, after) = rest.split_at(key_len);
        let (value, next) = match after.strip_prefix('=') {
            None => ("", after),
            Some(value) => match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => value.split_at(value.find([' ', '\t', '\n']).unwrap_or(value.len())),
            },
        };
        pairs.push((key, value));
        rest = next;
    }
}

/// The guess is a format that reads the line as it would if it had been named.
pub fn check_detect(input: &[u8]) {
    let event = parsed("auto", input);
    check_event(&event);
    check_rfc5424(&event);
    match wharfinger_formats::detect(input) {
        Some((format, score)) => {
            assert!((1..=100).contains(&score) && format.parse.is_some());
            assert_eq!(parsed(format.name, input), event);
        }
        None => assert_eq!(event.text(Field::EventClass), Some("unparsed")),
    }
}
