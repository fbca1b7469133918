//! The envelope of one event, and in it the record that the sink's format makes of the event.
//!
//! Invariant: exactly one JSON object on its line, whatever the event holds; `event` is never blank (code 13).

use wharfinger_formats::Event;

use crate::sinks::emitter::Emitter;

/// What is the same in every envelope, and the format of what is inside.
#[derive(Debug)]
pub(super) struct Envelope {
    envelope: wharfinger_formats::Envelope,
    format: Emitter,
    record: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(
        format: Emitter,
        gateway: &str,
        source: Option<&str>,
        sourcetype: &str,
        index: Option<&str>,
    ) -> Envelope {
        let envelope = wharfinger_formats::Envelope::new(gateway, source, sourcetype, index);
        Envelope { envelope, format, record: Vec::new() }
    }

    /// Appends the envelope of one event and a line end.
    pub(super) fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let Envelope { envelope, format, record } = self;
        envelope.write(event, |out| write_event(*format, event, record, out), out);
        out.push(b'\n');
    }
}

fn write_event(format: Emitter, event: &Event<'_>, record: &mut Vec<u8>, out: &mut Vec<u8>) {
    if format.is_object() {
        return format.emit(event, out);
    }
    record.clear();
    format.emit(event, record);
    let text = String::from_utf8_lossy(record);
    if text.trim().is_empty() {
        // Code 13, "event field cannot be blank": all that is known of a blank line is an object.
        return Emitter::native().emit(event, out);
    }
    string(&text, out);
}

/// A JSON string.
fn string(text: &str, out: &mut Vec<u8>) {
    // Text into a vector: cannot fail.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wharfinger_formats::{Field, Time};

    use super::*;

    fn written(format: &str, event: &Event<'_>) -> serde_json::Value {
        let format = Emitter::named(format).unwrap();
        let mut envelope = Envelope::new(format, "gateway", None, "wharfinger:container:event", Some("main"));
        let mut out = Vec::new();
        envelope.write(event, &mut out);
        assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn holds_the_event_and_flat_fields() {
        let mut event = Event::new(b"raw\nbytes\"");
        event.set(Field::Time, Time(1_795_251_800_158_734_145));
        event.set(Field::EventId, "id-1");
        event.set(Field::ContainerName, "a\"b\n,\"index\":\"other\"");
        event.set(Field::Severity, 7);
        let json = written("json", &event);
        assert_eq!(json["host"], "gateway");
        assert_eq!(json["index"], "main");
        assert!(json["event"].is_object());
        assert_eq!(json["fields"]["event_id"], "id-1");
        assert_eq!(json["fields"]["severity"], "7");
        assert_eq!(json["fields"]["container_name"], "a\"b\n,\"index\":\"other\"");
        assert_eq!(written("raw", &event)["event"], "raw\\nbytes\"");
        for nested in ["ecs", "ocsf", "wazuh"] {
            assert!(written(nested, &event)["event"].is_object(), "{nested}");
        }
        assert!(written("cef", &event)["event"].is_string());
    }

    #[test]
    fn a_blank_line_is_an_object() {
        assert!(written("raw", &Event::new(b" \t\r\n"))["event"].is_object());
    }
}
