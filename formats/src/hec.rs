//! Splunk HEC: one envelope `{"time":…,"host":…,"event":…,"fields":{…}}`, as a client posts it.
//!
//! A parser on the way of an event. What stands in `event` says what happened: a line of a known
//! format is read as one, and its fields win; what the envelope says besides is kept in group
//! `hec`. Lines that Docker's splunk driver brings are what a container wrote, and are never read
//! as anything else: a container must not speak for its engine.
//!
//! Invariant: nothing of the envelope is lost, and `time` never passes through a float.

pub(crate) mod envelope;

use std::borrow::Cow;

use crate::event::{Cell, Span};
use crate::json_members::Members;
use crate::json_read::{self, JsonReader, Quoted};
use crate::syslog::is_container_id;
use crate::{Context, Event, Field, Format, ParseError};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "hec",
    about: "Splunk HTTP Event Collector envelopes",
    detect: Some(detect),
    starts: b"{",
    parse: Some(parse),
    emit: Some(envelope::emit),
    open: None,
};

/// Group of what the envelope says.
const HEC: &str = "hec";
/// Group of indexed fields.
const FIELDS: &str = "fields";
/// Group of the members of an event that is an object.
const EVENT: &str = "event";
/// Groups of what Docker's driver says, as for its other drivers.
const DOCKER: &str = "docker";
const ATTRS: &str = "attrs";

/// Surer than this, and the text of an event is read as a line of that format.
const INNER_SCORE: u8 = 80;

const CONTAINER_LOG: &str = "container.log";

fn detect(input: &[u8]) -> u8 {
    let (mut event, mut sure, mut likely) = (false, false, false);
    json_read::sniff(input, |key| {
        event |= key == "event";
        sure |= matches!(key, "sourcetype" | "index" | "fields");
        likely |= matches!(key, "time" | "host" | "source");
        // No envelope has these: the rest of such an object need not be looked at. Documents of ECS have an
        // `event`, too, and begin with `@timestamp`.
        let is_other = matches!(key, "rule" | "Type" | "Actor" | "log" | "short_message" | "crit" | "ecs");
        (is_other || key.starts_with("__") || key.starts_with('@')).then_some(0)
    });
    match (event, sure, likely) {
        (true, true, _) => 85,
        (true, false, true) => 79,
        (true, false, false) => 30,
        (false, ..) => 0,
    }
}

/// The members of the envelope that are looked at.
#[derive(Default)]
struct Envelope<'a> {
    time: Option<Cell>,
    host: Option<Span>,
    event: Option<Body<'a>>,
}

enum Body<'a> {
    Text(Quoted<'a>),
    Object(&'a str),
    Other(&'a str),
}

fn parse<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let extras = event.extras().len();
    let mut reader = JsonReader::new(input)?;
    let mut members = Members::new(event);
    let mut envelope = Envelope::default();
    if let Err(error) = envelope.read(&mut reader, event, &mut members) {
        event.truncate_extras(extras);
        return Err(error);
    }
    members.finish(event);
    match envelope.event {
        Some(Body::Text(text)) => read_text(text.text(), context, event),
        Some(Body::Object(text)) => read_object(text, context, event)?,
        Some(Body::Other(text)) => event.set(Field::Msg, text),
        None => {
            event.truncate_extras(extras);
            return Err(ParseError::new(0, "an `event`"));
        }
    }
    if let Some(time) = envelope.time {
        set_time(time, event);
    }
    match envelope.host {
        Some(host) if !event.has(Field::HostName) => event.set_span(Field::HostName, Some(host)),
        Some(host) if event.text(Field::HostName) != Some(event.str(host)) => {
            event.put_extra(HEC, "host", Cell::Str(host));
        }
        _ => {}
    }
    Ok(())
}

impl<'a> Envelope<'a> {
    fn read(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        members: &mut Members<'a>,
    ) -> Result<(), ParseError> {
        reader.object(|reader, key| match &*key.text() {
            "event" if self.event.is_none() => {
                self.event = Some(match reader.try_string()? {
                    Some(text) => Body::Text(text),
                    None if reader.at_object() => Body::Object(reader.skip()?),
                    None => Body::Other(reader.skip()?),
                });
                Ok(())
            }
            "event" => members.again(reader, event, (HEC, key)),
            "time" => members.value(reader, event, &mut self.time, (HEC, key)),
            "host" => members.text(reader, event, &mut self.host, (HEC, key)),
            "fields" if reader.at_object() => reader.object(|reader, key| members.extra(reader, event, (FIELDS, key))),
            _ => members.extra(reader, event, (HEC, key)),
        })?;
        reader.end()
    }
}

/// Epoch seconds with a fraction, as a number or as text.
fn set_time(time: Cell, event: &mut Event<'_>) {
    match event.epoch(time) {
        Some(read) if !event.has(Field::Time) => event.set(Field::Time, read),
        Some(read) if event.time(Field::Time) == Some(read) => {}
        _ => event.put_extra(HEC, "time", time),
    }
}

fn read_text<'a>(text: Cow<'a, str>, context: &Context, event: &mut Event<'a>) {
    // Docker's driver with `splunk-format: raw` writes tag, space, line.
    let tag = text.split(' ').next().unwrap_or_default();
    if is_container_id(tag.as_bytes()) {
        set_container_log(event);
        event.set(Field::ContainerId, tag);
        let line_at = tag.len().saturating_add(1);
        event.set_text(Field::Msg, text.get(line_at..).unwrap_or_default());
        return;
    }
    if !read_inner(&text, context, event) {
        event.set_text(Field::Msg, text);
    }
}

fn read_object<'a>(text: &'a str, context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    if is_from_docker(text) {
        set_container_log(event);
        let mut members = Members::new(event);
        let (mut line, mut tag) = (None, None);
        JsonReader::over(text).object(|reader, key| match &*key.text() {
            "line" => members.value(reader, event, &mut line, (DOCKER, key)),
            "tag" => members.text(reader, event, &mut tag, (DOCKER, key)),
            "source" => event_extra(reader, event, "stream"),
            "attrs" if reader.at_object() => reader.object(|reader, key| members.extra(reader, event, (ATTRS, key))),
            _ => members.extra(reader, event, (DOCKER, key)),
        })?;
        members.finish(event);
        match line {
            Some(Cell::Str(line)) => event.set_span(Field::Msg, Some(line)),
            Some(line) => event.put(Field::Msg, line),
            None => {}
        }
        if let Some(tag) = tag {
            if is_container_id(event.bytes(tag)) {
                event.put(Field::ContainerId, Cell::Str(tag));
            }
            event.put_extra(DOCKER, "tag", Cell::Str(tag));
        }
        return Ok(());
    }
    if read_inner(text, context, event) {
        return Ok(());
    }
    let mut members = Members::new(event);
    let mut message = None;
    JsonReader::over(text).object(|reader, key| match &*key.text() {
        "message" | "msg" => members.text(reader, event, &mut message, (EVENT, key)),
        _ => members.extra(reader, event, (EVENT, key)),
    })?;
    members.finish(event);
    event.set_span(Field::Msg, message);
    Ok(())
}

fn event_extra<'a>(reader: &mut JsonReader<'a>, event: &mut Event<'a>, name: &'static str) -> Result<(), ParseError> {
    let value = reader.cell(event)?;
    event.put_extra(DOCKER, name, value);
    Ok(())
}

/// `{"line":…,"source":"stdout","tag":…,"attrs":{…}}`
fn is_from_docker(text: &str) -> bool {
    let (mut line, mut stream) = (false, false);
    let read = JsonReader::over(text).object(|reader, key| {
        line |= key.body == "line";
        let value = reader.skip()?;
        stream |= key.body == "source" && matches!(value, "\"stdout\"" | "\"stderr\"");
        Ok(())
    });
    read.is_ok() && line && stream
}

fn set_container_log(event: &mut Event<'_>) {
    event.set(Field::EventClass, CONTAINER_LOG);
    event.set(Field::Name, "Container log line");
}

/// Reads a text of another format into the event. Only one level deep: lines inside lines inside lines
/// are not worth the depth.
fn read_inner(text: &str, context: &Context, event: &mut Event<'_>) -> bool {
    let detected = crate::detect(text.as_bytes()).filter(|(_, score)| *score >= INNER_SCORE);
    let Some((format, parse)) = detected.and_then(|(format, _)| Some((format, format.parse?))) else { return false };
    let mut inner = Event::new(text.as_bytes());
    if format.name == FORMAT.name || parse(text.as_bytes(), context, &mut inner).is_err() {
        return false;
    }
    for (field, value) in inner.fields() {
        event.set(field, value);
    }
    for extra in inner.extras() {
        event.extra(extra.group, extra.name, extra.value);
    }
    event.set(Field::Format, &format!("{}+{}", FORMAT.name, format.name));
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Time;
    use crate::epoch::epoch;
    use crate::{Choice, Offset, Value};

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn read(input: &str) -> Event<'_> {
        let mut event = Event::new(input.as_bytes());
        crate::parse(Choice::Named(&FORMAT), input.as_bytes(), &CONTEXT, &mut event);
        event
    }

    fn extras<'e>(event: &'e Event<'_>) -> Vec<(String, Value<'e>)> {
        event.extras().map(|extra| (format!("{}.{}", extra.group, extra.name), extra.value)).collect()
    }

    #[test]
    fn an_envelope_with_everything() {
        let input = r#"{"time":1795251915.28033,"host":"h","source":"s","sourcetype":"st","index":"i","event":"hello \"you\"","fields":{"k":"v","m":["a"]},"x":1}"#;
        let event = read(input);
        assert_eq!(event.time(Field::Time), Some(Time(1_795_251_915_280_330_000)));
        assert_eq!(event.text(Field::HostName), Some("h"));
        assert_eq!(event.text(Field::Msg), Some("hello \"you\""));
        assert_eq!(event.text(Field::Format), Some("hec"));
        let values = [Value::from("s"), "st".into(), "i".into(), "v".into(), Value::Json(r#"["a"]"#), 1.into()];
        let names = ["hec.source", "hec.sourcetype", "hec.index", "fields.k", "fields.m", "hec.x"];
        assert_eq!(extras(&event), names.map(str::to_owned).into_iter().zip(values).collect::<Vec<_>>());
        assert_eq!(crate::detect(input.as_bytes()).unwrap().0.name, "hec");
    }

    #[test]
    fn times_keep_every_digit() {
        for (text, expected) in [
            ("1795251800.158734145", Some(1_795_251_800_158_734_145)),
            ("1795251800.1587341459", Some(1_795_251_800_158_734_145)),
            ("1795251800", Some(1_795_251_800_000_000_000)),
            ("0.5", Some(500_000_000)),
            ("", None),
            ("1.x", None),
            ("yesterday", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(epoch(text), expected.map(Time), "{text}");
        }
        assert_eq!(extras(&read(r#"{"event":"x","time":"soon"}"#)), [("hec.time".to_owned(), Value::from("soon"))]);
    }

    #[test]
    fn lines_of_dockers_driver_are_what_a_container_wrote() {
        let forged = r#"{\"Type\":\"container\",\"Action\":\"start\",\"timeNano\":1,\"Actor\":{\"ID\":\"x\"}}"#;
        for input in [
            format!(r#"{{"event":{{"line":"{forged}","source":"stdout","tag":"901af210173e","attrs":{{"a":"b"}}}}}}"#),
            format!(r#"{{"event":"901af210173e {forged}"}}"#),
        ] {
            let event = read(&input);
            assert_eq!(event.text(Field::EventClass), Some("container.log"), "{input}");
            assert_eq!(event.text(Field::ContainerId), Some("901af210173e"));
            assert_eq!(event.text(Field::Msg), Some(forged.replace(r#"\""#, "\"").as_str()));
            assert_eq!(event.text(Field::Action), None);
        }
        let event = read(r#"{"event":{"line":{"n":1},"source":"stderr","tag":"web"}}"#);
        assert_eq!(event.text(Field::Msg), Some(r#"{"n":1}"#));
        let expected = [("docker.stream".to_owned(), Value::from("stderr")), ("docker.tag".into(), "web".into())];
        assert_eq!(extras(&event), expected);
    }

    #[test]
    fn a_line_of_a_known_format_is_read() {
        for input in [
            r#"{"host":"relay","time":5,"event":"<30>1 2026-11-21T09:05:11Z web app 7 - - hello"}"#,
            r#"{"host":"relay","time":5,"event":"<30>1 2026-11-21T09:05:11Z web app 7 - - \u0068ello"}"#,
        ] {
            let event = read(input);
            assert_eq!(event.text(Field::Format), Some("hec+rfc5424"));
            assert_eq!(event.text(Field::HostName), Some("web"));
            assert_eq!(event.text(Field::Msg), Some("hello"));
            assert_eq!(event.time(Field::Time), Some(Time(1_795_251_911_000_000_000)));
            let names: Vec<_> = extras(&event).into_iter().map(|(name, _)| name).collect();
            assert!(names.ends_with(&["hec.time".to_owned(), "hec.host".to_owned()]), "{names:?}");
        }
        let input = r#"{"event":{"Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{"name":"web"}},"time":1,"timeNano":1000000000}}"#;
        let event = read(input);
        assert_eq!(event.text(Field::EventClass), Some("container.start"));
        assert_eq!(event.text(Field::Format), Some("hec+docker_events"));
    }

    #[test]
    fn objects_that_are_nothing_we_know() {
        let event = read(r#"{"event":{"message":"root","n":7,"deep":{"a":[1]}}}"#);
        assert_eq!(event.text(Field::Msg), Some("root"));
        let deep = Value::Json(r#"{"a":[1]}"#);
        assert_eq!(extras(&event), [("event.n".to_owned(), Value::Int(7)), ("event.deep".into(), deep)]);
        for odd in [r#"{"event":7}"#, r#"{"event":[1,2]}"#, r#"{"event":null}"#] {
            assert!(read(odd).text(Field::ParseStatus).is_none(), "{odd}");
        }
    }

    #[test]
    fn what_is_no_envelope_leaves_no_trace() {
        for input in ["", "{}", r#"{"time":1,"host":"h","x":2}"#, r#"{"event":"a"}x"#, "[", &"[".repeat(100_000)] {
            let mut event = Event::new(b"");
            assert!(parse(input.as_bytes(), &CONTEXT, &mut event).is_err(), "{input}");
            assert!(event.extras().len() == 0 && event.fields().len() == 0, "{input}");
        }
        let nested = format!(r#"{{"event":{}"x"{}}}"#, r#"{"event":"#.repeat(60), "}".repeat(60));
        assert_eq!(read(&nested).text(Field::Format), Some("hec"));
    }
}
