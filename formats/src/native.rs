//! Native JSON read back: the line of an archive becomes the event that it was made of.
//!
//! It stands where an archive is read again, behind whoever has checked the line, and where a user has named
//! native JSON as what a file is (`convert --from json`). It is no format of a source: a line is believed, also
//! in what only the gateway may say (`event_id`, `vm.name`).
//!
//! Invariant: total, and written again the event makes the same line. What a line does not say is lost:
//! an instant that has no field of its own is a text, and the group of an extra ends at its first full
//! stop, behind an enterprise number if it has one.

use crate::json_read::{JsonReader, JsonValue, Quoted};
use crate::{Event, Field, Kind, ParseError, Time, Value};

/// Levels of JSON in a line: those of an event, in the two objects around them.
const DEPTH_MAX: u32 = crate::json_read::DEPTH_MAX + 2;
/// More keys than any event has got from a parser.
const KEYS_MAX: u32 = 1_000_000;

/// Reads one line without its end. `raw` takes the bytes the event was made of, `memory` is an event whose
/// memory is used again.
///
/// ```
/// use wharfinger_formats::{Event, Field, native};
///
/// let line = br#"{"event_id":"00deadbeef000001-0000000000000042","fields":{"docker.scope":"local"},"raw":"a\nb"}"#;
/// let mut raw = Vec::new();
/// let event = native::read(line, &mut raw, Event::new(b"")).unwrap();
/// assert_eq!(event.text(Field::EventId), Some("00deadbeef000001-0000000000000042"));
/// assert_eq!(event.raw(), b"a\nb");
/// ```
///
/// # Errors
/// It is no object of JSON, `raw_base64` is none, or the bytes stand there twice.
pub fn read<'b>(line: &[u8], raw: &'b mut Vec<u8>, memory: Event<'_>) -> Result<Event<'b>, ParseError> {
    let mut event = memory.reuse(b"");
    raw.clear();
    let mut reader = JsonReader::new(line)?.with_limits(DEPTH_MAX, KEYS_MAX);
    let mut has_raw = false;
    reader.object(|reader, key| match key.body {
        "fields" if reader.at_object() => reader.object(|reader, key| extra(reader, key, &mut event)),
        "_dup" if planted!("native") => reader.skip().map(drop),
        "_dup" => reader.array(|reader| again(reader, &mut event)),
        "raw" | "raw_base64" if std::mem::replace(&mut has_raw, true) => Err(reader.refuse("the raw bytes once")),
        "raw" => {
            if let Some(text) = reader.try_string()? {
                raw.extend_from_slice(text.text().as_bytes());
                return Ok(());
            }
            Err(reader.refuse("a text"))
        }
        "raw_base64" => {
            let text = reader.try_string()?.map(Quoted::text).unwrap_or_default();
            decode(&text, raw).ok_or_else(|| reader.refuse("base64 before this"))
        }
        _ => member(reader, key, &mut event),
    })?;
    reader.end()?;
    Ok(event.over(raw))
}

fn member(reader: &mut JsonReader<'_>, key: Quoted<'_>, event: &mut Event<'_>) -> Result<(), ParseError> {
    let value = reader.value()?;
    let name = key.text();
    let Some(field) = Field::from_name(&name) else {
        // Written by a later version.
        event.extra("", &name, &value);
        return Ok(());
    };
    match (&value, field.kind()) {
        (JsonValue::Str(text), Kind::Time) => match instant(text) {
            Some(time) => event.set(field, time),
            None => event.set(field, &**text),
        },
        _ => event.set(field, &value),
    }
    Ok(())
}

/// An instant as the emitter writes it: another spelling was a text.
fn instant(text: &str) -> Option<Time> {
    let (time, used) = Time::parse_rfc3339(text.as_bytes())?;
    (used == text.len() && text.len() == "2026-11-21T09:00:00.000000000Z".len() && text.ends_with('Z')).then_some(time)
}

fn extra(reader: &mut JsonReader<'_>, key: Quoted<'_>, event: &mut Event<'_>) -> Result<(), ParseError> {
    let value = reader.value()?;
    keep(&key.text(), Value::from(&value), event);
    Ok(())
}

fn keep(name: &str, value: Value<'_>, event: &mut Event<'_>) {
    let (group, name) = apart(name);
    event.extra(group, name, value);
}

/// A name that came more than once: `["group.name", value]`.
fn again(reader: &mut JsonReader<'_>, event: &mut Event<'_>) -> Result<(), ParseError> {
    let mut name = None;
    reader.array(|reader| {
        match (&name, reader.value()?) {
            (None, JsonValue::Str(text)) => name = Some(text.into_owned()),
            (Some(name), value) => keep(name, Value::from(&value), event),
            (None, _) => return Err(reader.refuse("a name before this")),
        }
        Ok(())
    })
}

/// Group and name: `docker.scope` is `scope` of `docker`, `a.b@1.2.ip` is `ip` of the SD-ID `a.b@1.2`.
fn apart(name: &str) -> (&str, &str) {
    let from = name.find('@').unwrap_or(0);
    let behind = name.get(from..).unwrap_or_default();
    let is_end = |(at, _): &(usize, &str)| {
        let next = behind.as_bytes().get(at.saturating_add(1));
        from == 0 || !next.is_some_and(u8::is_ascii_digit)
    };
    let at = behind.match_indices('.').find(is_end).map(|(at, _)| from.saturating_add(at)).filter(|at| *at > 0);
    let parts = at.and_then(|at| Some((name.get(..at)?, name.get(at.saturating_add(1)..)?)));
    parts.unwrap_or(("", name))
}

/// Appends what RFC 4648 section 4 has written as text; none if it is not.
fn decode(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut len) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits.wrapping_shl(6) | u32::from(digit);
        len = len.wrapping_add(6);
        if len >= 8 {
            len = len.wrapping_sub(8);
            out.push(bits.wrapping_shr(len) as u8);
        }
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{EmitContext, FORMATS};

    fn emitted(event: &Event<'_>) -> String {
        let emit = FORMATS.iter().find(|format| format.name == "json").unwrap().emit.unwrap();
        let mut line = Vec::new();
        emit(event, &EmitContext::default(), &mut line);
        String::from_utf8(line).unwrap()
    }

    /// Reads a line and answers what is written then.
    fn again(line: &str) -> String {
        let (mut raw, mut used) = (b"of before".to_vec(), Event::new(b"of before"));
        used.set(Field::Msg, "before");
        emitted(&read(line.as_bytes(), &mut raw, used).unwrap_or_else(|error| panic!("{line}: {error:?}")))
    }

    #[test]
    fn the_fields_of_the_gateway_are_believed_and_times_are_times() {
        let line = r#"{"time":"2026-11-21T09:03:20.158734145Z","observed_time":"2026-11-21T09:03:20.2Z","severity":7,
            "event_id":"00deadbeef000001-0000000000000042","vm.name":"vm-7","later.field":[1],
            "fields":{"sd.a.b":true,"x.y@1.2.ip":"1","plain":null},"_dup":[["plain",2]],"raw":"a\nb\u0000"}"#;
        let mut raw = Vec::new();
        let event = read(line.as_bytes(), &mut raw, Event::new(b"")).unwrap();
        assert_eq!(event.time(Field::Time), Some(Time(1_795_251_800_158_734_145)));
        assert_eq!(event.text(Field::ObservedTime), Some("2026-11-21T09:03:20.2Z"), "written by nobody of us");
        assert_eq!((event.text(Field::VmName), event.int(Field::Severity)), (Some("vm-7"), Some(7)));
        let extras: Vec<_> = event.extras().map(|extra| (extra.group, extra.name, extra.value)).collect();
        let expected = [
            ("", "later.field", Value::Json("[1]")),
            ("sd", "a.b", Value::Bool(true)),
            ("x.y@1.2", "ip", Value::Str("1")),
            ("", "plain", Value::Json("null")),
            ("", "plain", Value::Int(2)),
        ];
        assert_eq!(extras, expected);
        assert_eq!(event.raw(), b"a\nb\0");
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        for wrong in [
            "",
            "[]",
            "{",
            r#"{"raw":1}"#,
            r#"{"raw_base64":"%"}"#,
            r#"{"_dup":[[1,2]]}"#,
            "{} x",
            "{}{}",
            r#"{"raw":"a","raw":"b"}"#,
            r#"{"raw":"a","raw_base64":"Yg=="}"#,
            r#"{"raw_base64":"Yg==","raw_base64":"Yg=="}"#,
        ] {
            assert!(read(wrong.as_bytes(), &mut Vec::new(), Event::new(b"")).is_err(), "{wrong}");
        }
        assert!(read(b"{\"raw\":\"\xff\"}", &mut Vec::new(), Event::new(b"")).is_err());
    }

    /// Its limits are its own: no message names those of a parser.
    #[test]
    fn too_many_levels_are_told_by_its_own_limit() {
        let line = format!(r#"{{"fields":{{"a":{}}}}}"#, "[".repeat(100));
        let error = read(line.as_bytes(), &mut Vec::new(), Event::new(b"")).unwrap_err();
        assert_eq!(error.expected, "fewer levels of JSON");
    }

    /// More keys and levels than a parser reads stand in a line, which has objects of its own around them.
    #[test]
    fn the_largest_events_are_read() {
        let mut event = Event::new(b"raw");
        let nested = format!("{}1{}", "[".repeat(64), "]".repeat(64));
        event.set(Field::RuleGroups, Value::Json(&nested));
        event.extra("a", "nested", Value::Json(&nested));
        for number in 0..5_000 {
            event.extra("a", number.to_string(), number);
        }
        let line = emitted(&event);
        assert_eq!(again(&line), line);
    }

    proptest! {
        #[test]
        fn written_again_it_is_the_same_line(
            raw in prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), ".{0,20}".prop_map(String::into_bytes)],
            fields in proptest::collection::vec((0..Field::COUNT, "\\PC{0,8}|[\"\\\\\u{0}-\u{1f}\u{7f}-\u{a0}\u{2028}=|,{}:]{0,8}|[-0-9.eE]{1,6}|[{\\[]\"a\": ?1[}\\]]", 0..4), 0..8),
            extras in proptest::collection::vec(("[a.@1\"\\\\]{0,3}", "[b.@1\"\\\\\u{0}\u{85}]{0,3}", ".{0,6}|[-0-9.eE]{1,6}|null|true", any::<bool>()), 0..8),
            number in any::<i64>(),
        ) {
            let mut event = Event::new(&raw);
            for (field, text, kind) in &fields {
                let value = match kind {
                    0 => Value::Json(text.trim()),
                    1 => Value::Int(number),
                    2 => Value::Time(Time(number)),
                    _ => Value::Str(text),
                };
                event.set(Field::ALL[*field], value);
            }
            for (group, name, text, is_json) in &extras {
                // A value that was read has no white space around it.
                event.extra(group, name, if *is_json { Value::Json(text.trim()) } else { Value::Str(text) });
            }
            let line = emitted(&event);
            prop_assert_eq!(again(&line), line);
        }
    }
}
