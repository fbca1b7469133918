//! GELF 1.1, as Docker's gelf driver and others send it: one JSON object.
//!
//! A parser on the way of an event, behind [`crate::frame::gelf`] for datagrams. Additional fields
//! begin with `_`; those of Docker's driver that name the container are its fields here.
//!
//! Invariant: nothing of the object is lost, and `timestamp` never passes through a float.

use crate::event::{Cell, Span};
use crate::json_members::Members;
use crate::json_read::{self, JsonReader};
use crate::{Context, Event, Field, Format, ParseError, syslog};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "gelf",
    about: "GELF 1.1, also of Docker's gelf driver",
    detect: Some(detect),
    starts: b"{",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Group of members without a canonical field.
const GELF: &str = "gelf";

fn detect(input: &[u8]) -> u8 {
    json_read::sniff(input, |key| match key {
        "short_message" => Some(95),
        "Type" | "Actor" | "log" | "rule" | "event" => Some(0),
        _ => None,
    })
}

/// The members that are looked at.
#[derive(Default)]
struct Message {
    short: Option<Span>,
    full: Option<Span>,
    host: Option<Span>,
    time: Option<Cell>,
    level: Option<Cell>,
    container_id: Option<Span>,
    container_name: Option<Span>,
    image_id: Option<Span>,
    image_name: Option<Span>,
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let extras = event.extras().len();
    let mut reader = JsonReader::new(input)?;
    let mut members = Members::new(event);
    let mut message = Message::default();
    let read = reader.object(|reader, key| {
        let at = (GELF, key);
        match &*key.text() {
            "short_message" => members.text(reader, event, &mut message.short, at),
            "full_message" => members.text(reader, event, &mut message.full, at),
            "host" => members.text(reader, event, &mut message.host, at),
            "timestamp" => members.value(reader, event, &mut message.time, at),
            "level" => members.value(reader, event, &mut message.level, at),
            "_container_id" => members.text(reader, event, &mut message.container_id, at),
            "_container_name" => members.text(reader, event, &mut message.container_name, at),
            "_image_id" => members.text(reader, event, &mut message.image_id, at),
            "_image_name" => members.text(reader, event, &mut message.image_name, at),
            name if planted!("gelf") && !name.starts_with('_') && name != "version" => reader.skip().map(drop),
            _ => members.extra(reader, event, at),
        }
    });
    read.and_then(|()| reader.end())
        .and_then(|()| message.short.as_ref().map(drop).ok_or(ParseError::new(0, "a `short_message`")))
        .inspect_err(|_| event.truncate_extras(extras))?;
    message.finish(event);
    members.finish(event);
    Ok(())
}

impl Message {
    fn finish(self, event: &mut Event<'_>) {
        self.set_time(event);
        event.set_span(Field::HostName, self.host);
        match self.level.map(|level| (event.whole(level), level)) {
            Some((Some(level @ 0..=7), _)) => {
                event.set(Field::SyslogSeverity, level);
                event.set(Field::Severity, syslog::event_severity(u8::try_from(level).unwrap_or(7)));
            }
            Some((_, level)) => event.put_extra(GELF, "level", level),
            None => {}
        }
        if self.container_id.is_some() {
            event.set(Field::EventClass, "container.log");
            event.set(Field::Name, "Container log line");
        }
        event.set_span(Field::ContainerId, self.container_id);
        let name = self.container_name.map(|name| event.trimmed(name, |text| text.strip_prefix('/').unwrap_or(text)));
        event.set_span(Field::ContainerName, name);
        event.set_span(Field::ImageRef, self.image_name);
        event.set_span(Field::ImageDigest, self.image_id);
        // The full message holds the short one, and more.
        let short = self.short.map(|short| event.trimmed(short, |text| text.strip_suffix('\r').unwrap_or(text)));
        match (self.full.filter(|full| full.len > 0), short) {
            (Some(full), short) => {
                event.put(Field::Msg, Cell::Str(full));
                event.put_extra(GELF, "short_message", Cell::Str(short.unwrap_or_default()));
            }
            (None, short) => event.set_span(Field::Msg, short),
        }
    }

    fn set_time(&self, event: &mut Event<'_>) {
        match (self.time.and_then(|time| event.epoch(time)), self.time) {
            (Some(time), _) => event.set(Field::Time, time),
            (None, time) => {
                event.note("no time that can be read");
                if let Some(time) = time {
                    event.put_extra(GELF, "timestamp", time);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Offset, Time};

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn read(input: &str) -> Event<'_> {
        let mut event = Event::new(input.as_bytes());
        parse(input.as_bytes(), &CONTEXT, &mut event).unwrap();
        event
    }

    #[test]
    fn a_message_of_dockers_driver() {
        let input = r#"{"version":"1.1","host":"vm","short_message":"cr\r","timestamp":1795251918.551,"level":3,"_container_id":"ab","_container_name":"web","_image_id":"sha256:17","_image_name":"probe:1","_command":"sh -c x","_tag":"t"}"#;
        let event = read(input);
        for (field, text) in [
            (Field::EventClass, "container.log"),
            (Field::ContainerId, "ab"),
            (Field::ContainerName, "web"),
            (Field::ImageRef, "probe:1"),
            (Field::ImageDigest, "sha256:17"),
            (Field::HostName, "vm"),
            (Field::Msg, "cr"),
        ] {
            assert_eq!(event.text(field), Some(text), "{field:?}");
        }
        assert_eq!(event.time(Field::Time), Some(Time(1_795_251_918_551_000_000)));
        assert_eq!((event.int(Field::SyslogSeverity), event.int(Field::Severity)), (Some(3), Some(7)));
        let names: Vec<_> = event.extras().map(|extra| extra.name.to_owned()).collect();
        assert_eq!(names, ["version", "_command", "_tag"]);
        assert_eq!(detect(input.as_bytes()), 95);
    }

    #[test]
    fn odd_messages() {
        let event = read(r#"{"short_message":"s","full_message":"s and more","level":"x","timestamp":"soon"}"#);
        assert_eq!((event.text(Field::Msg), event.text(Field::EventClass)), (Some("s and more"), None));
        assert_eq!(event.extras().len(), 3);
        for wrong in [r#"{"host":"h"}"#, r#"{"short_message":7}"#, r#"{"short_message":"x""#, "[]"] {
            let mut event = Event::new(b"");
            assert!(parse(wrong.as_bytes(), &CONTEXT, &mut event).is_err(), "{wrong}");
            assert_eq!(event.extras().len(), 0);
        }
    }
}
