//! Writing an envelope: `{"time":…,"host":…,"source":…,"sourcetype":…,"index":…,"event":…,"fields":{…}}`.
//!
//! Invariant: exactly one JSON object, whatever the event holds; `event` is never blank (code 13), `fields`
//! is flat (code 15), and the time never passes through a float.

use crate::json::{self, write_string};
use crate::objects::write_number;
use crate::{EmitContext, Event, Field, Time, Value};

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

/// What is the same in every envelope of a sender.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// `"sourcetype":"…","index":"…","event":`.
    before_event: Vec<u8>,
    /// Where events say none; empty is none either.
    host: String,
    /// In place of what events say.
    source: Option<String>,
    only_host: Option<String>,
}

impl Envelope {
    /// Envelopes of that source type; `host` is for events that name none and may be empty, `source` for all of
    /// them.
    pub fn new(host: &str, source: Option<&str>, sourcetype: &str, index: Option<&str>) -> Envelope {
        let mut before_event = b"\"sourcetype\":".to_vec();
        write_string(&mut before_event, sourcetype);
        if let Some(index) = index {
            before_event.extend_from_slice(b",\"index\":");
            write_string(&mut before_event, index);
        }
        before_event.extend_from_slice(b",\"event\":");
        Envelope { before_event, host: host.to_owned(), source: source.map(str::to_owned), only_host: None }
    }

    /// The same with that host in place of what events say.
    #[must_use]
    pub fn at_host(mut self, host: &str) -> Envelope {
        self.only_host = Some(host.to_owned());
        self
    }

    /// Appends the envelope of `event`, around what `write` appends: a JSON object, or a JSON string that is
    /// not blank.
    pub fn write(&self, event: &Event<'_>, write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        out.push(b'{');
        // Without a time of its own, the moment of receipt; without either Splunk takes the moment of indexing.
        if let Some(time) = event.time(Field::Time).or_else(|| event.time(Field::ObservedTime)) {
            out.extend_from_slice(b"\"time\":");
            write_time(out, time);
            out.push(b',');
        }
        let of_event = || event.text(Field::HostName).or(event.text(Field::VmName)).unwrap_or(&self.host);
        let host = self.only_host.as_deref().unwrap_or_else(of_event);
        let source = self.source.as_deref().or(event.text(Field::Source)).unwrap_or_default();
        for (key, text) in
            [("\"host\":", host), ("\"source\":", source)].into_iter().filter(|(_, text)| !text.is_empty())
        {
            out.extend_from_slice(key.as_bytes());
            write_string(out, text);
            out.push(b',');
        }
        out.extend_from_slice(&self.before_event);
        write(out);
        out.extend_from_slice(b",\"fields\":{");
        let start = out.len();
        for (field, name) in FIELDS {
            let Some(value) = event.get(*field) else { continue };
            out.extend_from_slice(if out.len() == start { b"\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            match value {
                Value::Str(text) | Value::Json(text) => write_string(out, text),
                Value::Int(number) => {
                    planted!("hec_emit" => {
                        write_number(out, number);
                        continue;
                    });
                    out.push(b'"');
                    write_number(out, number);
                    out.push(b'"');
                }
                Value::Bool(truth) => write_string(out, if truth { "true" } else { "false" }),
                Value::Time(time) => {
                    out.push(b'"');
                    write_time(out, time);
                    out.push(b'"');
                }
            }
        }
        out.extend_from_slice(b"}}");
    }
}

/// An envelope around native JSON. A host that nobody named is not made up.
pub(super) fn emit(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    let envelope = Envelope::new("", None, "wharfinger:container:event", None);
    envelope.write(event, |out| json::emit(event, context, out), out);
}

/// Seconds and nanoseconds as a JSON number.
fn write_time(out: &mut Vec<u8>, time: Time) {
    let (seconds, nanos) = (time.seconds(), time.subsec_nanos());
    // −0.5 s is −1 s and 500,000,000 ns.
    let (sign, seconds, nanos) = match (seconds < 0, nanos) {
        (true, 0) => ("-", seconds.saturating_neg(), 0),
        (true, nanos) => ("-", seconds.saturating_add(1).saturating_neg(), 1_000_000_000_u32.saturating_sub(nanos)),
        (false, nanos) => ("", seconds, nanos),
    };
    out.extend_from_slice(sign.as_bytes());
    write_number(out, seconds);
    out.push(b'.');
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(nanos).as_bytes();
    out.extend(std::iter::repeat_n(b'0', 9_usize.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use super::*;

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
            write_time(&mut out, Time(nanos));
            assert_eq!(std::str::from_utf8(&out), Ok(expected));
        }
    }
}
