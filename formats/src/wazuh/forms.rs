//! Alerts as Wazuh's `syslog_output` writes them behind the header of syslog: its forms `json`, `splunk` and `cef`,
//! for receivers that were made for them. `wazuh_syslog` reads the first two, `cef` the third.
//!
//! Unlike Wazuh's, nothing is cut, each key stands once, and no value can make a key or a line: JSON and CEF have
//! escapes; Splunk's ordinary extraction knows none, so a double quote becomes a single one there. Its fourth form,
//! `default`, has no escapes at all, so nothing writes it.

use std::borrow::Cow;

use super::emit::ruling;
use crate::cef;
use crate::objects::Objects;
use crate::{EmitContext, Event, Field, Format, Value};

/// The rows of these formats.
pub(crate) const JSON: Format = written("wazuh_syslog_json", "Wazuh's syslog_output in the form json", emit_json);
pub(crate) const SPLUNK: Format =
    written("wazuh_syslog_splunk", "Wazuh's syslog_output in the form splunk", emit_splunk);
pub(crate) const CEF: Format = written("wazuh_syslog_cef", "Wazuh's syslog_output in the form cef", emit_cef);

const fn written(name: &'static str, about: &'static str, emit: crate::Emit) -> Format {
    Format { name, about, detect: None, starts: b"", parse: None, emit: Some(emit), open: None }
}

/// What csyslogd is to the receiver.
const TAG: &[u8] = b"ossec: ";

/// What an alert says beside its rule, by the names of the JSON form.
const MEMBERS: &[(&str, Of)] = &[
    ("src_ip", Of::Fields(&[Field::SrcIp])),
    ("src_port", Of::Fields(&[Field::SrcPort])),
    ("dst_ip", Of::Fields(&[Field::DstIp])),
    ("dst_port", Of::Fields(&[Field::DstPort])),
    ("acct", Of::Fields(&[Field::TargetUser, Field::UserName])),
    ("file", Of::Fields(&[Field::FilePath])),
    ("md5_old", Of::Extra("md5_before")),
    ("md5_new", Of::Extra("md5_after")),
    ("sha1_old", Of::Extra("sha1_before")),
    ("sha1_new", Of::Extra("sha1_after")),
    ("sha256_old", Of::Extra("sha256_before")),
    ("sha256_new", Of::Extra("sha256_after")),
];

enum Of {
    /// The first of these that is there.
    Fields(&'static [Field]),
    /// Of `syscheck` in an alert; under its own name where it came by `syslog_output`.
    Extra(&'static str),
}

/// An alert in the words of csyslogd.
struct Alert<'e> {
    level: i64,
    id: &'e str,
    component: String,
    classification: String,
    description: Cow<'e, str>,
    members: Vec<(&'static str, Value<'e>)>,
    message: Option<&'e str>,
    event_id: Option<&'e str>,
    is_replayed: bool,
}

impl<'e> Alert<'e> {
    fn of(event: &'e Event<'e>) -> Self {
        let ruling = ruling(event);
        let format = event.text(Field::Format).unwrap_or_default();
        let is_wazuh = format.ends_with("wazuh") || format.ends_with("wazuh_syslog");
        let raw = event.raw_text().filter(|raw| !raw.is_empty());
        let msg = event.text(Field::Msg);
        let mut classification = ruling.groups.trim_end_matches(',').to_owned();
        // Each group ends with a comma.
        classification.push_str(if classification.is_empty() { "" } else { "," });
        Alert {
            level: ruling.level,
            id: ruling.id,
            component: component(event, ruling.location),
            classification,
            description: ruling.description,
            members: MEMBERS.iter().filter_map(|(name, from)| Some((*name, from.value(name, event)?))).collect(),
            message: if is_wazuh { msg.or(raw) } else { raw.or(msg) },
            event_id: event.text(Field::EventId),
            is_replayed: event.get(Field::Replayed) == Some(Value::Bool(true)),
        }
    }

    /// csyslogd writes a number; rules of ours have names.
    fn number(&self) -> Option<u32> {
        self.id.parse().ok().filter(|_| !self.id.starts_with('+'))
    }

    fn text(&self, wanted: &str) -> Option<&'e str> {
        self.members.iter().find_map(|(name, value)| match value {
            Value::Str(text) if *name == wanted => Some(*text),
            _ => None,
        })
    }
}

impl Of {
    fn value<'e>(&self, own: &str, event: &'e Event<'e>) -> Option<Value<'e>> {
        let value = match self {
            Of::Fields(fields) => fields.iter().find_map(|field| event.get(*field)),
            Of::Extra(name) => event
                .extras()
                .find(|extra| {
                    (extra.group, extra.name) == ("syscheck", name) || (extra.group, extra.name) == ("wazuh", own)
                })
                .map(|extra| extra.value),
        };
        value.filter(|value| matches!(value, Value::Str(text) if !text.is_empty()) || matches!(value, Value::Int(_)))
    }
}

/// `(agent) address->place`; of the manager itself `host->place`.
fn component(event: &Event<'_>, location: &str) -> String {
    let name = event.text(Field::HostName).or(event.text(Field::VmName)).unwrap_or("unknown");
    if location.contains("->") {
        return location.to_owned();
    }
    match event.text(Field::HostId).filter(|id| *id != "000") {
        Some(_) => format!("({name}) {}->{location}", event.text(Field::HostIp).unwrap_or("any")),
        None => format!("{name}->{location}"),
    }
}

fn emit_json(event: &Event<'_>, _: &EmitContext<'_>, out: &mut Vec<u8>) {
    let alert = Alert::of(event);
    out.extend_from_slice(TAG);
    let mut object = Objects::begin(out);
    object.number(&[], "crit", alert.level);
    match alert.number() {
        Some(number) => object.number(&[], "id", number.into()),
        None => object.text(&[], "id", alert.id),
    }
    object.text(&[], "component", &alert.component);
    if !alert.classification.is_empty() {
        object.text(&[], "classification", &alert.classification);
    }
    match planted!("wazuh_syslog_json_emit") {
        true => object.member(&[], "description").extend(format!("\"{}\"", alert.description).bytes()),
        false => object.text(&[], "description", &alert.description),
    }
    for (name, value) in &alert.members {
        match value {
            Value::Int(number) => object.number(&[], name, *number),
            Value::Str(text) => object.text(&[], name, text),
            _ => {}
        }
    }
    if let Some(message) = alert.message {
        object.text(&[], "message", message);
    }
    if let Some(id) = alert.event_id {
        object.text(&[], "event_id", id);
    }
    if alert.is_replayed {
        object.member(&[], "replayed").extend_from_slice(b"true");
    }
    object.end();
}

fn emit_splunk(event: &Event<'_>, _: &EmitContext<'_>, out: &mut Vec<u8>) {
    let alert = Alert::of(event);
    out.extend_from_slice(TAG);
    out.extend_from_slice(b"crit=");
    out.extend_from_slice(itoa::Buffer::new().format(alert.level).as_bytes());
    out.extend_from_slice(b" id=");
    match alert.number() {
        Some(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        None => write_quoted(out, alert.id),
    }
    out.extend_from_slice(b" description=");
    write_quoted(out, &alert.description);
    out.extend_from_slice(b" component=");
    write_quoted(out, &alert.component);
    let mut pair = |name: &str, value: &Value<'_>| {
        out.extend_from_slice(b", ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        match value {
            Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Str(text) => write_quoted(out, text),
            _ => write_quoted(out, "true"),
        }
    };
    if !alert.classification.is_empty() {
        pair("classification", &Value::Str(&alert.classification));
    }
    alert.members.iter().for_each(|(name, value)| pair(name, value));
    if let Some(id) = alert.event_id {
        pair("event_id", &Value::Str(id));
    }
    if alert.is_replayed {
        pair("replayed", &Value::Bool(true));
    }
    if let Some(message) = alert.message {
        pair("message", &Value::Str(message));
    }
}

/// A text between quotes that none of its characters ends.
fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' if !planted!("wazuh_syslog_splunk_emit") => out.push(b'\''),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => out.push(b' '),
            byte => out.push(byte),
        }
    }
    // Some settings of Splunk take a backslash for the escape of what follows.
    if out.last() == Some(&b'\\') {
        out.push(b' ');
    }
    out.push(b'"');
}

/// Of the keys that csyslogd writes: `dvchost` in place of `dvc`, which is an address, and `src` and `dst` only with
/// what the dictionary takes (IPv4); `shost` and `dhost` have both as they are.
fn emit_cef(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    let alert = Alert::of(event);
    out.extend_from_slice(b"CEF:0|Wazuh Inc.|Wazuh|");
    cef::write_header(out, context.version.as_bytes(), 31);
    for (text, bytes_max) in [(alert.id, 1_023), (&*alert.description, 512)] {
        out.push(b'|');
        let at = out.len();
        cef::write_header(out, text.as_bytes(), bytes_max);
        if out.len() == at {
            out.push(b'0');
        }
    }
    out.push(b'|');
    out.extend_from_slice(itoa::Buffer::new().format(alert.level.min(10)).as_bytes());
    out.push(b'|');
    let mut is_first = true;
    let mut pair = |key: &str, text: &str| {
        let (text, _) = cef::piece(text, usize::MAX);
        if text.is_empty() {
            return false;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b' ');
        }
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        match planted!("wazuh_syslog_cef_emit") {
            true => out.extend(text.bytes().map(|byte| byte.max(b' '))),
            false => cef::write_text(out, text.as_bytes()),
        }
        true
    };
    pair("dvchost", event.text(Field::HostName).or(event.text(Field::VmName)).unwrap_or("unknown"));
    if pair("cs1", &alert.component) {
        pair("cs1Label", "Location");
    }
    pair("cat", &alert.classification);
    let is_v4 = |text: &&str| text.parse::<std::net::Ipv4Addr>().is_ok();
    let port = |name: &str| {
        let found = alert.members.iter().find(|(own, _)| *own == name).map(|(_, value)| value);
        if let Some(Value::Int(port @ 0..=65_535)) = found { Some(port.to_string()) } else { None }
    };
    let (source, target) = (alert.text("src_ip"), alert.text("dst_ip"));
    let (source_port, target_port) = (port("src_port"), port("dst_port"));
    let keys = [
        ("src", source.filter(is_v4)),
        ("dpt", target_port.as_deref()),
        ("spt", source_port.as_deref()),
        ("fname", alert.text("file")),
        ("dhost", target),
        ("shost", source),
        ("suser", alert.text("acct")),
        ("dst", target.filter(is_v4)),
        ("externalId", alert.event_id),
        ("replayed", alert.is_replayed.then_some("true")),
        ("msg", alert.message),
    ];
    for (key, text) in keys {
        pair(key, text.unwrap_or_default());
    }
}
