//! Lines of the Docker `json-file` log driver: `{"log":"text\n","stream":"stdout","attrs":{…},"time":"…"}`.
//!
//! A parser on the way of an event: the text becomes `msg` without its line end. A line over 16 KiB
//! comes in parts, of which all but the last lack the line end; such a part is marked
//! `docker.partial`. Parts that [`crate::join::JsonFileParts`] has put into one frame are one line again.
//!
//! Invariant: a file torn by a power loss still gives what is whole: NUL runs and half lines before
//! an object are passed over and said to be there.

use memchr::memmem;

use crate::event::{Cell, Span};
use crate::json_members::Members;
use crate::json_read::{self, JsonReader, Quoted};
use crate::{Context, Event, Field, Format, ParseError, Time};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "docker_json",
    about: "Docker json-file log lines",
    detect: Some(detect),
    starts: b"{\0",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Group of what the log driver says beside the text.
const DOCKER: &str = "docker";
/// Group of labels, environment and tag that the driver was told to add.
const ATTRS: &str = "attrs";
/// How often one line is tried again, so that a line full of beginnings costs no more than its length.
const RESYNCS_MAX: usize = 4;
/// How the driver begins every object.
const OBJECT: &[u8] = br#"{"log":"#;

fn detect(input: &[u8]) -> u8 {
    let input = without_nul(input);
    if input.starts_with(br#"{"log":""#) {
        return 95;
    }
    let (mut log, mut stream, mut keys) = (false, false, 0_u8);
    json_read::sniff(input, |key| {
        log |= key == "log";
        stream |= key == "stream";
        keys = keys.saturating_add(1);
        // Others have these: the rest of such an object need not be looked at.
        if matches!(key, "rule" | "agent" | "event" | "Type" | "short_message" | "crit") || key.starts_with('_') {
            return Some(0);
        }
        // The driver writes four keys; another order is another tool's copy of them.
        if log && stream { Some(90) } else { (keys == 4).then_some(0) }
    })
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let whole = without_nul(input);
    let before = input.len().saturating_sub(whole.len());
    let problem = match parse_object(whole, event) {
        Ok([]) if before == 0 => return Ok(()),
        Ok([]) => ParseError::new(0, "no NUL"),
        Ok(rest) => ParseError::new(input.len().saturating_sub(rest.len()), "the end"),
        Err(error) => {
            let error = ParseError::new(before.saturating_add(error.at), error.expected);
            resync(whole, event).ok_or(error)?;
            error
        }
    };
    event.mark_partial(&problem, input);
    Ok(())
}

/// Half a line may stand before a whole one: reads the first object that is whole.
fn resync<'a>(input: &'a [u8], event: &mut Event<'a>) -> Option<()> {
    let beginnings = memmem::find_iter(input, OBJECT).skip_while(|at| *at == 0).take(RESYNCS_MAX);
    for at in beginnings {
        if parse_object(input.get(at..)?, event).is_ok() {
            return Some(());
        }
    }
    None
}

/// Reads the object at the start and answers what follows it; half an object leaves no trace.
fn parse_object<'a>(input: &'a [u8], event: &mut Event<'a>) -> Result<&'a [u8], ParseError> {
    let extras = event.extras().len();
    let mut reader = JsonReader::new(input)?;
    let mut members = Members::new(event);
    let mut line = Line::default();
    if let Err(error) = line.read(&mut reader, event, &mut members) {
        event.truncate_extras(extras);
        return Err(error);
    }
    let Some(log) = line.log else {
        event.truncate_extras(extras);
        return Err(ParseError::new(0, "a `log`"));
    };
    event.set(Field::EventClass, "container.log");
    event.set(Field::Name, "Container log line");
    let (text, mut ended) = log.line();
    let mut rest = reader.rest();
    if ended || rest.is_empty() {
        let text = text.keep(event);
        event.set_span(Field::Msg, Some(text));
    } else {
        let mut text = text.text().into_owned();
        (rest, ended) = join(&mut reader, line.around, &mut text, event);
        event.set_text(Field::Msg, text);
    }
    set_time(line.time, event);
    if !ended {
        event.extra(DOCKER, "partial", true);
    }
    members.finish(event);
    Ok(rest)
}

/// Reads on while parts of the same line follow, alike in all but their text; answers what is left, and whether the line has ended.
fn join<'a>(
    reader: &mut JsonReader<'a>,
    around: (&str, &str),
    text: &mut String,
    event: &mut Event<'a>,
) -> (&'a [u8], bool) {
    let (mut parts, mut ended) = (1_i64, false);
    let mut rest = reader.rest();
    while !ended && reader.at_object() {
        let start = reader.used();
        let (mut log, mut before, mut after) = (None, "", start);
        let read = reader.object(|reader, key| {
            if key.body != "log" || log.is_some() {
                return reader.skip().map(drop);
            }
            before = reader.since(start);
            log = reader.try_string()?;
            after = reader.used();
            Ok(())
        });
        let (Ok(()), Some(log), true) = (read, log, (before, reader.since(after)) == around) else { break };
        let (more, is_last) = log.line();
        text.push_str(&more.text());
        ended = is_last;
        parts = parts.saturating_add(1);
        rest = reader.rest();
    }
    if parts > 1 {
        event.extra(DOCKER, "parts", parts);
    }
    (rest, ended)
}

fn set_time(time: Option<Span>, event: &mut Event<'_>) {
    match (time.and_then(|time| Time::of_text(event.str(time))), time) {
        (Some(time), _) => event.set(Field::Time, time),
        (None, time) => {
            event.note("no time that can be read");
            if let Some(time) = time {
                event.put_extra(DOCKER, "time", Cell::Str(time));
            }
        }
    }
}

/// The members of an object until all of them are known.
#[derive(Default)]
struct Line<'a> {
    log: Option<Quoted<'a>>,
    /// What stands in the object before the text, and after it.
    around: (&'a str, &'a str),
    time: Option<Span>,
}

impl<'a> Line<'a> {
    fn read(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        members: &mut Members<'a>,
    ) -> Result<(), ParseError> {
        reader.at_object();
        let (start, mut after) = (reader.used(), 0);
        reader.object(|reader, key| match &*key.text() {
            "log" if self.log.is_none() => {
                let before = reader.since(start);
                let Some(text) = reader.try_string()? else {
                    return members.extra(reader, event, (DOCKER, key));
                };
                (self.log, self.around.0, after) = (Some(text), before, reader.used());
                Ok(())
            }
            "log" => members.again(reader, event, (DOCKER, key)),
            "time" => members.text(reader, event, &mut self.time, (DOCKER, key)),
            "attrs" if reader.at_object() => reader.object(|reader, key| members.extra(reader, event, (ATTRS, key))),
            name if planted!("docker_json") && name != "stream" => reader.skip().map(drop),
            _ => members.extra(reader, event, (DOCKER, key)),
        })?;
        self.around.1 = reader.since(after);
        Ok(())
    }
}

/// A power loss leaves runs of NUL where a line should begin.
fn without_nul(input: &[u8]) -> &[u8] {
    let nul = input.iter().take_while(|byte| **byte == 0).count();
    input.get(nul..).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Offset, Value};

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn check(input: &str, msg: Option<&str>, time: Option<i64>, extras: &[(&str, &str, Value<'_>)]) -> String {
        let mut event = Event::new(input.as_bytes());
        parse(input.as_bytes(), &CONTEXT, &mut event).unwrap();
        assert_eq!(event.text(Field::Msg), msg, "{input}");
        assert_eq!(event.time(Field::Time), time.map(Time), "{input}");
        let got: Vec<_> = event.extras().map(|extra| (extra.group, extra.name, extra.value)).collect();
        assert_eq!(got, extras, "{input}");
        event.text(Field::ParseError).unwrap_or_default().to_owned()
    }

    #[test]
    fn whole_lines_and_parts() {
        let stdout = ("docker", "stream", Value::from("stdout"));
        let line = r#"{"log":"plain line\n","stream":"stdout","attrs":{"tag":"a|b"},"time":"2026-11-21T09:05:25.4Z"}"#;
        let extras = [stdout, ("attrs", "tag", Value::from("a|b"))];
        assert_eq!(check(line, Some("plain line"), Some(1_795_251_925_400_000_000), &extras), "");
        let part = r#"{"log":"xxx","stream":"stdout","time":"2026-11-21T09:05:25Z"}"#;
        let extras = [stdout, ("docker", "partial", Value::Bool(true))];
        check(part, Some("xxx"), Some(1_795_251_925_000_000_000), &extras);
        check(r#"{"log":"\n","time":"later"}"#, None, None, &[("docker", "time", Value::from("later"))]);
    }

    #[test]
    fn torn_files_give_what_is_whole() {
        let whole = r#"{"log":"b\n","time":"2026-11-21T09:05:25Z"}"#;
        let time = Some(1_795_251_925_000_000_000);
        for (torn, error) in [
            (format!("\0\0\0{whole}"), "expected no NUL at byte 0"),
            (format!(r#"{{"log":"half{whole}"#), "expected `,` or `}` at byte 14"),
            (format!("{whole}{whole}"), "expected the end at byte 43"),
        ] {
            let said = check(&torn, Some("b"), time, &[]);
            assert!(said.starts_with(error), "{torn}: {said}");
        }
        let mut event = Event::new(b"");
        assert!(parse(br#"{"log":"half"#, &CONTEXT, &mut event).is_err());
        assert!(parse(br#"{"stream":"stdout"}"#, &CONTEXT, &mut event).is_err());
        assert_eq!(event, Event::new(b""));
    }

    #[test]
    fn parts_of_a_line_differ_in_their_text_alone() {
        let part = |log: &str, tag: &str| {
            format!(r#"{{"log":"{log}","stream":"stdout","attrs":{{"tag":"{tag}"}},"time":"2026-11-21T09:05:25Z"}}"#)
        };
        let time = Some(1_795_251_925_000_000_000);
        let extras = [("docker", "stream", "stdout".into()), ("attrs", "tag", "a".into())];
        let parts = ("docker", "parts", Value::Int(2));
        let joined = format!("{}\n{}", part("one ", "a"), part(r"two\n", "a"));
        assert_eq!(check(&joined, Some("one two"), time, &[extras[0], extras[1], parts]), "");
        let partial = ("docker", "partial", Value::Bool(true));
        let apart = format!("{}\n{}", part("one ", "a"), part(r"two\n", "b"));
        let said = check(&apart, Some("one "), time, &[extras[0], extras[1], partial]);
        assert!(said.starts_with("expected the end at byte 83"), "{said}");
    }

    #[test]
    fn detection_looks_at_keys() {
        assert_eq!(detect(br#"{"log":"x"#), 95);
        assert_eq!(detect(br#"{"stream":"stdout","log":"x"}"#), 90);
        assert_eq!(detect(br#"{"logs":"x","stream":1}"#), 0);
    }
}
