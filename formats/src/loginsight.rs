//! VMware Aria Operations for Logs (Log Insight): one event of a request to its ingestion API (cfapi),
//! `{"text":…,"timestamp":…,"fields":[{"name":…,"content":…}]}`, with the `agentId` of the request's path before it.
//!
//! A parser on the way of an event. `text` says what happened: a line of a known format is read as one. Fields are
//! kept in group `loginsight`; their value is a text or a piece of `text`, named by its place in characters.
//!
//! Invariants: nothing of the event is lost; fields that are pieces of the text take no more than twice its length,
//! however many there are; the agent's id is that of the request, whatever the text says.

use crate::event::{Cell, Span};
use crate::json_members::Members;
use crate::json_read::{self, JsonReader};
use crate::{Context, Event, Field, Format, ParseError, Time, carried};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "loginsight",
    about: "Events of the ingestion API of VMware Aria Operations for Logs (Log Insight, cfapi)",
    detect: Some(detect),
    starts: b"{",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Group of fields, and of members that are not looked at.
const GROUP: &str = "loginsight";

/// Surer than this, and the text is read as a line of that format.
const INNER_SCORE: u8 = 80;

/// What an agent without an id of its own sends.
const NO_AGENT: &str = "0";

/// Only what our source has put the agent's id before: else this is any JSON.
fn detect(input: &[u8]) -> u8 {
    let mut agent = false;
    json_read::sniff(input, |key| match key {
        "agentId" => {
            agent = true;
            None
        }
        "text" | "fields" if agent => Some(85),
        _ if agent && key != "timestamp" => Some(0),
        _ if agent => None,
        _ => Some(0),
    })
}

/// The members that are looked at.
#[derive(Default)]
struct Message<'a> {
    agent: Option<Span>,
    text: Option<Span>,
    time: Option<Cell>,
    hostname: Option<Span>,
    has_fields: bool,
    pieces: Vec<Piece<'a>>,
}

/// A field whose value stands in the text.
struct Piece<'a> {
    name: Span,
    start: usize,
    length: usize,
    /// The field as it was written.
    json: &'a str,
}

fn parse<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let extras = event.extras().len();
    let mut reader = JsonReader::new(input)?;
    let mut members = Members::new(event);
    let mut message = Message::default();
    let read = reader.object(|reader, key| {
        let at = (GROUP, key);
        match &*key.text() {
            "agentId" => members.text(reader, event, &mut message.agent, at),
            "text" => members.text(reader, event, &mut message.text, at),
            "timestamp" => members.value(reader, event, &mut message.time, at),
            "fields" if !message.has_fields && reader.rest().starts_with(b"[") => {
                message.has_fields = true;
                reader.array(|reader| message.field(reader, event))
            }
            "fields" if message.has_fields => members.again(reader, event, at),
            _ => members.extra(reader, event, at),
        }
    });
    let is_event = || (message.text.is_some() || message.has_fields).then_some(());
    read.and_then(|()| reader.end())
        .and_then(|()| is_event().ok_or(ParseError::new(0, "a `text` or `fields`")))
        .inspect_err(|_| event.truncate_extras(extras))?;
    message.cut_pieces(event);
    members.finish(event);
    message.finish(context, event);
    Ok(())
}

impl<'a> Message<'a> {
    /// Reads one field. What is none is kept as it stands.
    fn field(&mut self, reader: &mut JsonReader<'a>, event: &mut Event<'a>) -> Result<(), ParseError> {
        let is_object = reader.at_object();
        let json = reader.skip()?;
        let (mut name, mut content, mut start, mut length) = (None, None, None, None);
        let mut is_odd = !is_object;
        if is_object {
            JsonReader::over(json).object(|reader, key| {
                match &*key.text() {
                    "name" if name.is_none() => match reader.try_kept(event)? {
                        Some(text) => name = Some(text),
                        None => is_odd = reader.skip().map(|_| true)?,
                    },
                    "content" if content.is_none() => content = Some(reader.cell(event)?),
                    "startPosition" if start.is_none() => start = Some(place(reader)?),
                    "length" if length.is_none() => length = Some(place(reader)?),
                    _ => is_odd = reader.skip().map(|_| true)?,
                }
                Ok(())
            })?;
        }
        match (name.filter(|_| !is_odd), content, start.flatten(), length.flatten()) {
            (Some(name), Some(Cell::Str(host)), ..)
                if self.hostname.is_none() && event.str(name) == "hostname" && host.len > 0 =>
            {
                self.hostname = Some(host);
            }
            (Some(name), Some(content), ..) => event.put_named(GROUP, name, content),
            (Some(name), None, Some(start), Some(length)) => self.pieces.push(Piece { name, start, length, json }),
            _ => keep(name, json, event),
        }
        Ok(())
    }

    /// Gives the fields their values that are pieces of the text.
    fn cut_pieces(&mut self, event: &mut Event<'a>) {
        let pieces = std::mem::take(&mut self.pieces);
        if pieces.is_empty() {
            return;
        }
        let text = self.text.unwrap_or_default();
        let places = Places::of(event.str(text));
        let mut room = event.str(text).len().saturating_mul(2);
        for Piece { name, start, length, json } in pieces {
            let range = places.range(start, length).filter(|range| range.len() <= room);
            let Some(range) = range else {
                event.note("a field that is no piece of the text");
                keep(Some(name), json, event);
                continue;
            };
            room = room.saturating_sub(range.len());
            let piece = event.trimmed(text, |text| text.get(range).unwrap_or_default());
            if self.hostname.is_none() && event.str(name) == "hostname" && piece.len > 0 {
                self.hostname = Some(piece);
            } else {
                event.put_named(GROUP, name, Cell::Str(piece));
            }
        }
    }

    fn finish(self, context: &Context, event: &mut Event<'a>) {
        match (self.time.and_then(|time| millis(time, event)), self.time) {
            (Some(time), _) => event.set(Field::Time, time),
            (None, Some(time)) => {
                event.note("no time that can be read");
                event.put_extra(GROUP, "timestamp", time);
            }
            (None, None) => {}
        }
        event.set_span(Field::HostName, self.hostname);
        event.set_span(Field::Msg, self.text);
        self.read_text(context, event);
        let Some(agent) = self.agent else { return };
        event.put_extra(GROUP, "agentId", Cell::Str(agent));
        if event.str(agent) == NO_AGENT || agent.len == 0 {
            return;
        }
        // A text speaks for no other agent.
        if let Some(claimed) = event.take(Field::HostId) {
            event.put_extra(GROUP, Field::HostId.name(), claimed);
        }
        event.put(Field::HostId, Cell::Str(agent));
    }

    /// Reads the text as a line of another format if it is one.
    fn read_text(&self, context: &Context, event: &mut Event<'a>) {
        let Some(text) = self.text.map(|text| event.str(text)) else { return };
        let inner = crate::detect(text.as_bytes()).filter(|(_, score)| *score >= INNER_SCORE);
        if let Some((inner, _)) = inner.filter(|(inner, _)| inner.name != FORMAT.name) {
            let text = text.to_owned();
            carried::read_apart(&FORMAT, (text.as_bytes(), inner), context, event);
        }
    }
}

/// Keeps a field that cannot be read, as it stands.
fn keep(name: Option<Span>, json: &str, event: &mut Event<'_>) {
    // It was read before, so it is JSON.
    let Ok(value) = JsonReader::over(json).cell(event) else { return };
    match name {
        Some(name) => event.put_named(GROUP, name, value),
        None => event.put_extra(GROUP, "fields", value),
    }
}

/// A place in the text, or nothing if the value is none.
fn place(reader: &mut JsonReader<'_>) -> Result<Option<usize>, ParseError> {
    Ok(reader.skip()?.parse().ok())
}

/// Milliseconds since 1970.
fn millis(time: Cell, event: &Event<'_>) -> Option<Time> {
    let millis = event.whole(time)?;
    let nanos = u32::try_from(millis.rem_euclid(1_000)).ok()?.checked_mul(1_000_000)?;
    Time::from_unix(millis.div_euclid(1_000), nanos)
}

/// Where the characters of a text begin.
enum Places {
    /// Each at the byte of its number.
    Ascii(usize),
    /// The byte of each, and the end.
    Wide(Vec<usize>),
}

impl Places {
    fn of(text: &str) -> Places {
        if text.is_ascii() || planted!("loginsight") {
            return Places::Ascii(text.len());
        }
        Places::Wide(text.char_indices().map(|(at, _)| at).chain([text.len()]).collect())
    }

    /// The bytes of so many characters, if the text has them.
    fn range(&self, start: usize, length: usize) -> Option<std::ops::Range<usize>> {
        let end = start.checked_add(length)?;
        match self {
            Places::Ascii(len) => (end <= *len).then_some(start..end),
            Places::Wide(at) => Some(*at.get(start)?..*at.get(end)?),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Choice, Offset, Value};

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn read(input: &str) -> Event<'_> {
        let mut event = Event::new(input.as_bytes());
        crate::parse(Choice::Named(&FORMAT), input.as_bytes(), &CONTEXT, &mut event);
        event
    }

    fn extras<'e>(event: &'e Event<'_>) -> Vec<(&'e str, Value<'e>)> {
        event.extras().map(|extra| (extra.name, extra.value)).collect()
    }

    /// The example of the documentation.
    #[test]
    fn values_are_texts_or_pieces_of_the_text() {
        let input = r#"{"fields":[{"name":"StaticField","content":"Security"},{"name":"PositionalField","startPosition":6,"length":7}],"text":"A new process has been created.","timestamp":1396622879241}"#;
        let event = read(input);
        assert_eq!(event.text(Field::Msg), Some("A new process has been created."));
        assert_eq!(event.time(Field::Time), Some(Time(1_396_622_879_241_000_000)));
        assert_eq!(extras(&event), [("StaticField", "Security".into()), ("PositionalField", "process".into())]);
        assert!(!event.has(Field::HostId) && !event.has(Field::ParseStatus));
    }

    #[test]
    fn places_are_counted_in_characters() {
        for (text, start, length, expected) in [
            ("zoë met zoe", 0, 3, Some("zoë")),
            ("zoë met zoe", 4, 3, Some("met")),
            (r"zo\u00eb \ud83d\ude00!", 4, 2, Some("😀!")),
            ("zoë", 3, 0, Some("")),
            ("zoë", 3, 1, None),
            ("zoe", 0, 4, None),
            ("zoe", u64::MAX, 1, None),
        ] {
            let field = format!(r#"{{"name":"n","startPosition":{start},"length":{length}}}"#);
            let input = format!(r#"{{"text":"{text}","fields":[{field}]}}"#);
            let value = expected.map_or(Value::Json(&field), Value::from);
            assert_eq!(extras(&read(&input)), [("n", value)], "{input}");
        }
    }

    /// 600 fields that are all of the text would make 600 texts of one.
    #[test]
    fn pieces_take_no_more_than_twice_the_text() {
        let field = r#"{"name":"n","startPosition":0,"length":1000},"#.repeat(600);
        let input = format!(r#"{{"text":"{}","fields":[{}]}}"#, "x".repeat(1_000), field.trim_end_matches(','));
        let event = read(&input);
        let cut = event.extras().filter(|extra| matches!(extra.value, Value::Str(_))).count();
        assert_eq!((cut, event.extras().len()), (2, 600));
        assert_eq!(event.text(Field::ParseNotes), Some("a field that is no piece of the text"));
    }

    #[test]
    fn the_agent_is_that_of_the_request() {
        let alert = r#"{\"rule\":{\"level\":3,\"id\":\"1\",\"description\":\"d\",\"groups\":[]},\"agent\":{\"id\":\"007\",\"name\":\"n\"},\"manager\":{\"name\":\"m\"},\"id\":\"1.2\",\"timestamp\":\"2026-11-21T11:15:40.101+0200\"}"#;
        let input = format!(r#"{{"agentId":"a1","text":"{alert}"}}"#);
        let event = read(&input);
        assert_eq!(event.text(Field::Format), Some("loginsight+wazuh"));
        assert_eq!(event.text(Field::HostId), Some("a1"));
        assert!(extras(&event).contains(&("host.id", "007".into())));
        assert_eq!(detect(input.as_bytes()), 85);
        assert!(!read(r#"{"agentId":"0","text":"x"}"#).has(Field::HostId), "no agent has that id");
        assert_eq!(detect(br#"{"text":"x","agentId":"a1"}"#), 0);
    }

    #[test]
    fn what_is_no_event_leaves_no_trace() {
        for input in [
            "",
            "{}",
            "7",
            r#"{"agentId":"a"}"#,
            r#"{"text":7}"#,
            r#"{"fields":7}"#,
            r#"{"text":"x"}x"#,
            "[",
            &"[".repeat(100_000),
        ] {
            let mut event = Event::new(b"");
            assert!(parse(input.as_bytes(), &CONTEXT, &mut event).is_err(), "{input}");
            assert!(event.extras().len() == 0 && event.fields().len() == 0, "{input}");
        }
    }
}
