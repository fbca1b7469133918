//! The envelope of one event, and in it the record that the sink's format makes of the event.
//!
//! Invariant: exactly one JSON object on its line, whatever the event holds; `event` is never blank (code 13).

use wharfinger_formats::Event;

use super::config;
use crate::sinks::emitter::Emitter;
use crate::sinks::template::Template;

/// The envelope, and the format of what is inside.
#[derive(Debug)]
pub(super) struct Envelope {
    names: Names,
    /// The names that the last event had, and the envelope made of them; always those where none depends on the event.
    last: (Named, wharfinger_formats::Envelope),
    gateway: String,
    format: Emitter,
    record: Vec<u8>,
}

/// What an event is filed under; each may depend on the event.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) host: Option<Template>,
    pub(super) source: Option<Template>,
    pub(super) sourcetype: Template,
    pub(super) index: Option<Template>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    pub(super) host: Option<String>,
    pub(super) source: Option<String>,
    pub(super) sourcetype: String,
    pub(super) index: Option<String>,
}

impl Names {
    fn is_constant(&self) -> bool {
        let all = [self.host.as_ref(), self.source.as_ref(), Some(&self.sourcetype), self.index.as_ref()];
        all.into_iter().flatten().all(Template::is_constant)
    }

    /// What an event does not say is as if the option were left out.
    pub(super) fn of(&self, event: &Event<'_>) -> Named {
        let text = |template: &Option<Template>| template.as_ref().and_then(|template| template.text(event));
        let index = self.index.as_ref().and_then(|template| {
            let index = template.text(event)?;
            Some(if template.is_constant() { index } else { index_name(&index) })
        });
        Named {
            host: text(&self.host),
            source: text(&self.source),
            sourcetype: self.sourcetype.text(event).unwrap_or_else(config::sourcetype),
            index,
        }
    }
}

impl Named {
    fn envelope(&self, gateway: &str) -> wharfinger_formats::Envelope {
        let Named { host, source, sourcetype, index } = self;
        let envelope = wharfinger_formats::Envelope::new(gateway, source.as_deref(), sourcetype, index.as_deref());
        match host {
            Some(host) => envelope.at_host(host),
            None => envelope,
        }
    }
}

/// Splunk's names of indexes: lower-case letters, digits, `_` and `-`, the last two not at the start.
fn index_name(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
    let name: String = text.chars().take(80).map(legal).collect();
    match name.trim_start_matches(['_', '-']) {
        "" => "other".to_owned(),
        name => name.to_owned(),
    }
}

impl Envelope {
    pub(super) fn new(format: Emitter, gateway: &str, names: Names) -> Envelope {
        let named = names.of(&Event::new(b""));
        let envelope = named.envelope(gateway);
        Envelope { names, last: (named, envelope), gateway: gateway.to_owned(), format, record: Vec::new() }
    }

    /// Appends the envelope of one event and a line end.
    pub(super) fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let Envelope { names, last, gateway, format, record } = self;
        if !names.is_constant() {
            let named = names.of(event);
            if named != last.0 {
                let envelope = named.envelope(gateway);
                *last = (named, envelope);
            }
        }
        last.1.write(event, |out| write_event(*format, event, record, out), out);
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

    fn names(host: Option<&str>, source: Option<&str>, sourcetype: &str, index: Option<&str>) -> Names {
        let template = |text: &str| Template::parse_text(text).unwrap();
        Names {
            host: host.map(template),
            source: source.map(template),
            sourcetype: template(sourcetype),
            index: index.map(template),
        }
    }

    #[test]
    fn an_event_is_filed_under_what_it_says() {
        let names = names(Some("{vm.name}"), Some("docker:{container.name}"), "wh:{format}", Some("vm_{vm.group}"));
        let mut envelope = Envelope::new(Emitter::native(), "gateway", names);
        let mut write = |event: &Event<'_>| {
            let mut out = Vec::new();
            envelope.write(event, &mut out);
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            ["host", "source", "sourcetype", "index"].map(|name| json[name].as_str().unwrap_or("-").to_owned())
        };
        let mut event = Event::new(b"");
        event.set(Field::HostName, "h");
        let nothing = ["h", "-", "wharfinger:container:event", "-"];
        assert_eq!(write(&event), nothing);
        event.set(Field::VmName, "web \"1\"");
        event.set(Field::ContainerName, "shop");
        event.set(Field::Format, "dockerd");
        event.set(Field::VmGroup, "Prod/Ä\"");
        assert_eq!(write(&event), ["web \"1\"", "docker:shop", "wh:dockerd", "vm_prod___"]);
        event.remove(Field::VmGroup);
        assert_eq!(write(&event), ["web \"1\"", "docker:shop", "wh:dockerd", "-"]);
        let mut other = Event::new(b"");
        other.set(Field::HostName, "h");
        assert_eq!(write(&other), nothing, "nothing is left of the event before");
        for (text, expected) in [("_internal", "internal"), ("-_", "other"), ("A.b c", "a_b_c")] {
            assert_eq!(index_name(text), expected);
        }
    }

    fn written(format: &str, event: &Event<'_>) -> serde_json::Value {
        let format = Emitter::named(format).unwrap();
        let mut envelope =
            Envelope::new(format, "gateway", names(None, None, "wharfinger:container:event", Some("main")));
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
