//! The envelope of one event: `{"time":…,"host":…,"source":…,"sourcetype":…,"index":…,"event":…,"fields":{…}}`.
//!
//! Invariant: exactly one JSON object, whatever the event holds; `event` is never blank (code 13) and
//! `fields` is flat (code 15).

use wharfinger_formats::{Event, Field, Time, Value};

use crate::sinks::emitter::Emitter;

/// Indexed fields. Underscores, because a dot in a field's name has to be quoted in searches.
const FIELDS: &[(Field, &str)] = &[
    (Field::EventId, "event_id"),
    (Field::EventClass, "event_class"),
    (Field::Severity, "severity"),
    (Field::ContainerId, "container_id"),
    (Field::ContainerName, "container_name"),
    (Field::ImageRef, "image"),
    (Field::VmUuid, "vm_uuid"),
    (Field::VmName, "vm_name"),
    (Field::VmGroup, "vm_group"),
    (Field::Replayed, "replayed"),
];

/// What is the same in every envelope.
#[derive(Debug)]
pub(super) struct Envelope {
    /// `,"sourcetype":"…","index":"…","event":`.
    before_event: Vec<u8>,
    /// `,"source":"…"`, when it is configured.
    source: Option<String>,
    gateway: String,
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
        let mut before_event = b",\"sourcetype\":".to_vec();
        string(sourcetype, &mut before_event);
        if let Some(index) = index {
            before_event.extend_from_slice(b",\"index\":");
            string(index, &mut before_event);
        }
        before_event.extend_from_slice(b",\"event\":");
        Envelope {
            before_event,
            source: source.map(str::to_owned),
            gateway: gateway.to_owned(),
            format,
            record: Vec::new(),
        }
    }

    /// Appends the envelope of one event.
    pub(super) fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":");
        // Without a time of its own, the moment of receipt; Splunk would take the moment of indexing.
        time(event.time(Field::Time).or_else(|| event.time(Field::ObservedTime)).unwrap_or(Time(0)), out);
        out.extend_from_slice(b",\"host\":");
        string(event.text(Field::HostName).or(event.text(Field::VmName)).unwrap_or(&self.gateway), out);
        if let Some(source) = self.source.as_deref().or(event.text(Field::Source)) {
            out.extend_from_slice(b",\"source\":");
            string(source, out);
        }
        out.extend_from_slice(&self.before_event);
        self.write_event(event, out);
        out.extend_from_slice(b",\"fields\":{");
        let start = out.len();
        for (field, name) in FIELDS {
            let Some(value) = event.get(*field) else { continue };
            out.extend_from_slice(if out.len() == start { b"\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            match value {
                Value::Str(text) | Value::Json(text) => string(text, out),
                Value::Int(number) => {
                    out.push(b'"');
                    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
                    out.push(b'"');
                }
                Value::Bool(value) => string(if value { "true" } else { "false" }, out),
                Value::Time(value) => time(value, out),
            }
        }
        out.extend_from_slice(b"}}\n");
    }

    fn write_event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.format.is_object() {
            return self.format.emit(event, out);
        }
        self.record.clear();
        self.format.emit(event, &mut self.record);
        let text = String::from_utf8_lossy(&self.record);
        if text.trim().is_empty() {
            // Code 13, "event field cannot be blank": all that is known of a blank line is an object.
            return Emitter::native().emit(event, out);
        }
        string(&text, out);
    }
}

/// Seconds and nanoseconds as a JSON number, from integers: a float has no room for them.
fn time(time: Time, out: &mut Vec<u8>) {
    let (seconds, nanos) = (time.seconds(), time.subsec_nanos());
    // −0.5 s is −1 s and 500,000,000 ns.
    let (sign, seconds, nanos) = match (seconds < 0, nanos) {
        (true, 0) => ("-", -seconds, 0),
        (true, nanos) => ("-", -(seconds + 1), 1_000_000_000 - nanos),
        (false, nanos) => ("", seconds, nanos),
    };
    let mut digits = [b'0'; 9];
    let mut rest = nanos;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(sign.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    out.push(b'.');
    out.extend_from_slice(&digits);
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

    #[test]
    fn times_are_written_from_integers() {
        for (nanos, expected) in [
            (1_795_251_800_158_734_145, "1795251800.158734145"),
            (0, "0.000000000"),
            (-500_000_000, "-0.500000000"),
            (-1_500_000_000, "-1.500000000"),
            (-1_000_000_000, "-1.000000000"),
        ] {
            let mut out = Vec::new();
            time(Time(nanos), &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(expected));
        }
    }
}
