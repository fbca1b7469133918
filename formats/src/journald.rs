//! Entries of the systemd journal: `journalctl -o json`, one object a line, and its export form.
//!
//! A parser on the way of an event, also for what Docker's journald driver writes. A field is a
//! text, a list of byte numbers when it is no plain text, null when `journalctl` left it out as too
//! long, or a list of those when the sender gave it more than once. What dockerd itself logs into
//! the journal is read as a line of dockerd.
//!
//! Invariant: names that begin with `_` are the journal's own word, all others are claims of the
//! sender. A container is believed only if dockerd wrote the entry; else its fields are `untrusted`.

use std::borrow::Cow;

use crate::carried::read_apart;
use crate::detect::inner;
use crate::frame::{Entry as Scanned, Scanner};
use crate::json_read::{self, JsonReader, JsonValue, KEYS_MAX};
use crate::{Context, Event, Field, Format, ParseError, Time, Value, syslog};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "journald",
    about: "Entries of the systemd journal: JSON and export form",
    detect: Some(detect),
    starts: b"{_",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Group of fields without a canonical one.
const JOURNALD: &str = "journald";
/// Group of what Docker's driver says of a part of a line, as for its other drivers.
const DOCKER: &str = "docker";
/// How every entry of the export form begins.
const CURSOR: &[u8] = b"__CURSOR=";

fn detect(input: &[u8]) -> u8 {
    if input.starts_with(CURSOR) || input.starts_with(b"__REALTIME_TIMESTAMP=") {
        return 95;
    }
    json_read::sniff(input, |key| match key {
        "__CURSOR" | "__REALTIME_TIMESTAMP" | "__MONOTONIC_TIMESTAMP" | "_BOOT_ID" | "_TRANSPORT" => Some(95),
        "Type" | "Actor" | "log" | "rule" | "event" => Some(0),
        _ => None,
    })
}

fn parse<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let mut entry = Entry::default();
    let is_json = input.trim_ascii_start().first() == Some(&b'{');
    let read = if is_json { entry.read_json(input, event) } else { entry.read_export(input, event) };
    read.inspect_err(|_| event.clear())?;
    entry.finish(context, event);
    Ok(())
}

/// The fields that are looked at, until all of them are known.
#[derive(Default)]
struct Entry<'a> {
    /// The frame holds several entries, with blank lines between them: parts of one line of a container. The first
    /// counts, with the messages of all.
    is_joined: bool,
    /// Reading stands behind the first of them.
    is_rest: bool,
    /// The last part of the line is among them.
    is_whole: bool,
    message: Option<Cow<'a, str>>,
    /// `journalctl` without `--all` leaves out fields over 4096 bytes.
    left_out: bool,
    source_time: Option<Cow<'a, str>>,
    journal_time: Option<Cow<'a, str>>,
    container_id: Option<Cow<'a, str>>,
    comm: Option<Cow<'a, str>>,
    unit: Option<Cow<'a, str>>,
}

impl<'a> Entry<'a> {
    fn read_json(&mut self, input: &'a [u8], event: &mut Event<'a>) -> Result<(), ParseError> {
        let mut reader = JsonReader::new(input)?;
        let mut is_entry = false;
        reader
            .object(|reader, key| {
                let name = key.text();
                is_entry |= name.starts_with("__");
                match reader.value()? {
                    JsonValue::Str(text) => self.field(&name, text, event),
                    JsonValue::Json(list) if list.starts_with('[') => self.list(&name, list, event),
                    JsonValue::Json("null") if name == "MESSAGE" => self.left_out = true,
                    value => event.extra(JOURNALD, &name, &value),
                }
                Ok(())
            })
            .and_then(|()| reader.end())
            .and_then(
                |()| if is_entry { Ok(()) } else { Err(ParseError::new(0, "a field of the journal, `__CURSOR`")) },
            )
    }

    /// `NAME=value`, or `NAME`, a length in 8 bytes, little-endian, and so many bytes.
    fn read_export(&mut self, input: &'a [u8], event: &mut Event<'a>) -> Result<(), ParseError> {
        let at = |rest: &[u8]| input.len().saturating_sub(rest.len());
        let mut rest = input;
        let mut count = 0_u32;
        // A blank line may also stand in a field.
        self.is_joined = memchr::memmem::find(input, b"\n\n").is_some()
            && Scanned::default().scan(input).is_ok_and(|end| end.is_some_and(|end| end < input.len()));
        while !rest.is_empty() && rest != b"\n" {
            if let (true, Some((b'\n', next))) = (self.is_joined, rest.split_first()) {
                (self.is_rest, count, rest) = (true, 0, next);
                continue;
            }
            count = count.saturating_add(1);
            if count > KEYS_MAX {
                return Err(ParseError::new(at(rest), "at most 2,000 fields"));
            }
            let end = memchr::memchr2(b'=', b'\n', rest).ok_or(ParseError::new(at(rest), "`=` or a line end"))?;
            let (name, after) = rest.split_at_checked(end).unwrap_or_default();
            let name = std::str::from_utf8(name).map_err(|_| ParseError::new(at(rest), "the name of a field"))?;
            if name.is_empty() {
                return Err(ParseError::new(at(rest), "the name of a field"));
            }
            let value;
            if let Some(line) = after.strip_prefix(b"=") {
                let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
                (value, rest) = line.split_at_checked(end).unwrap_or_default();
            } else {
                let short = || ParseError::new(at(after), "a length of 8 bytes and so many bytes");
                let (len, data) = after.get(1..).unwrap_or_default().split_first_chunk::<8>().ok_or_else(short)?;
                let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| short())?;
                (value, rest) = data.split_at_checked(len).ok_or_else(short)?;
            }
            rest = match rest.split_first() {
                Some((b'\n', next)) => next,
                None => rest,
                Some(_) => return Err(ParseError::new(at(rest), "a line end")),
            };
            self.field(name, String::from_utf8_lossy(value), event);
        }
        Ok(())
    }

    /// The numbers of bytes, or several values of one field: the first is the one that counts.
    fn list(&mut self, name: &str, list: &'a str, event: &mut Event<'a>) {
        let mut bytes = Vec::new();
        let mut first = None;
        let read = JsonReader::over(list).array(|reader| {
            match reader.value()? {
                JsonValue::Int(byte) => {
                    planted!("journald" => { let _ = [0; 128][byte as usize]; });
                    bytes.push(u8::try_from(byte).unwrap_or(b'?'));
                }
                JsonValue::Str(text) if first.is_none() => first = Some(text),
                _ => {}
            }
            Ok(())
        });
        match (read, first) {
            (Ok(()), None) if !bytes.is_empty() => {
                self.field(name, String::from_utf8_lossy(&bytes).into_owned().into(), event);
            }
            (_, Some(first)) => {
                self.field(name, first, event);
                event.extra(JOURNALD, name, Value::Json(list));
            }
            _ => event.extra(JOURNALD, name, Value::Json(list)),
        }
    }

    fn field(&mut self, name: &str, text: Cow<'a, str>, event: &mut Event<'a>) {
        if self.is_joined && name.starts_with("CONTAINER_PARTIAL_") {
            self.is_whole |= name == "CONTAINER_PARTIAL_LAST" && text == "true";
            return;
        }
        if self.is_rest {
            if name == "MESSAGE" {
                self.message.get_or_insert_default().to_mut().push_str(&text);
            }
            return;
        }
        let slot = match name {
            "MESSAGE" => &mut self.message,
            "_SOURCE_REALTIME_TIMESTAMP" => &mut self.source_time,
            "__REALTIME_TIMESTAMP" => &mut self.journal_time,
            "CONTAINER_ID" => &mut self.container_id,
            "_COMM" => &mut self.comm,
            "_SYSTEMD_UNIT" => &mut self.unit,
            _ => return set(name, &text, event),
        };
        match slot {
            Some(_) => event.extra(JOURNALD, name, &text),
            None => *slot = Some(text),
        }
    }

    fn finish(mut self, context: &Context, event: &mut Event<'a>) {
        self.set_time(event);
        if let Some(id) = self.container_id.take() {
            match event.has(Field::ContainerId) {
                true if event.text(Field::ContainerId).is_some_and(|full| full.starts_with(&*id)) => {}
                true => event.extra(JOURNALD, "CONTAINER_ID", &id),
                false => event.set_text(Field::ContainerId, id),
            }
        }
        // Anybody may call a program of his `dockerd`.
        let is_root = event.text(Field::UserId) == Some("0");
        let is_named_so = is_root && self.comm.as_deref() == Some("dockerd");
        let is_docker = is_named_so || self.unit.as_deref() == Some("docker.service");
        for (name, text) in [("_COMM", &self.comm), ("_SYSTEMD_UNIT", &self.unit)] {
            if let Some(text) = text {
                event.extra(JOURNALD, name, text);
            }
        }
        if !event.has(Field::App) {
            event.set_text(Field::App, self.comm.as_deref().unwrap_or_default());
        }
        if self.is_joined && !self.is_whole {
            event.extra(DOCKER, "partial", true);
        }
        if self.left_out {
            event.note("the message is longer than journalctl shows without --all");
        }
        let message = self.message.unwrap_or_default();
        event.set_text(Field::Msg, &message);
        if event.has(Field::ContainerId) && is_docker {
            event.set(Field::EventClass, "container.log");
            event.set(Field::Name, "Container log line");
            return;
        }
        let claimed = [Field::ContainerId, Field::ContainerName, Field::ImageRef];
        if claimed.into_iter().any(|field| event.has(field)) {
            event.set(Field::Untrusted, "container.id,container.name,image.ref");
            return;
        }
        if let Some(carried) = inner(message.as_bytes(), event) {
            read_apart(&FORMAT, carried, context, event);
        }
    }

    /// Microseconds since 1970: the sender's if the journal has it, else those of the journal.
    fn set_time(&mut self, event: &mut Event<'a>) {
        let read = |text: &Cow<'_, str>| {
            let micros: i64 = text.parse().ok()?;
            micros.checked_mul(1_000).map(Time)
        };
        let (source, journal) = (self.source_time.as_ref().and_then(read), self.journal_time.as_ref().and_then(read));
        match source.or(journal) {
            Some(time) => event.set(Field::Time, time),
            None => event.note("no time that can be read"),
        }
        let times = [
            ("_SOURCE_REALTIME_TIMESTAMP", source, &self.source_time),
            ("__REALTIME_TIMESTAMP", journal, &self.journal_time),
        ];
        for (name, read, text) in times {
            if let Some(text) = text
                && (read.is_none() || read != event.time(Field::Time))
            {
                event.extra(JOURNALD, name, text);
            }
        }
    }
}

/// Fields that go where they belong at once; of one that comes twice the first counts.
fn set(name: &str, text: &str, event: &mut Event<'_>) {
    let field = match name {
        "SYSLOG_IDENTIFIER" => Field::App,
        "_HOSTNAME" => Field::HostName,
        "_MACHINE_ID" => Field::HostId,
        "_PID" => Field::ProcessId,
        "_UID" => Field::UserId,
        "CONTAINER_ID_FULL" => Field::ContainerId,
        "CONTAINER_NAME" => Field::ContainerName,
        "IMAGE_NAME" => Field::ImageRef,
        "PRIORITY" | "SYSLOG_FACILITY" => return set_number(name, text, event),
        "CONTAINER_PARTIAL_MESSAGE" if text == "true" => return event.extra(DOCKER, "partial", true),
        "CONTAINER_PARTIAL_ID" => return event.extra(DOCKER, "partial_id", text),
        "CONTAINER_PARTIAL_ORDINAL" => return event.extra(DOCKER, "partial_ordinal", text),
        "CONTAINER_PARTIAL_LAST" => return event.extra(DOCKER, "partial_last", text),
        "CONTAINER_TAG" => return event.extra(DOCKER, "tag", text),
        _ => return event.extra(JOURNALD, name, text),
    };
    match event.has(field) {
        true => event.extra(JOURNALD, name, text),
        false => event.set_text(field, text),
    }
}

fn set_number(name: &str, text: &str, event: &mut Event<'_>) {
    match (name, text.parse::<u8>()) {
        ("PRIORITY", Ok(priority @ 0..=7)) if !event.has(Field::SyslogSeverity) => {
            event.set(Field::SyslogSeverity, i64::from(priority));
            event.set(Field::Severity, syslog::event_severity(priority));
        }
        ("SYSLOG_FACILITY", Ok(facility @ 0..=23)) if !event.has(Field::SyslogFacility) => {
            event.set(Field::SyslogFacility, i64::from(facility));
        }
        _ => event.extra(JOURNALD, name, text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Offset;

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn read(input: &[u8]) -> Event<'_> {
        let mut event = Event::new(input);
        parse(input, &CONTEXT, &mut event).unwrap();
        event
    }

    fn extra(event: &Event<'_>, group: &str, name: &str) -> Option<String> {
        let extra = event.extras().find(|extra| extra.group == group && extra.name == name)?;
        Some(format!("{:?}", extra.value))
    }

    const CONTAINER: &str = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795252153507221","_SOURCE_REALTIME_TIMESTAMP":"1795252153507002","MESSAGE":"plain line","PRIORITY":"3","SYSLOG_IDENTIFIER":"web/x","CONTAINER_TAG":"web/x","CONTAINER_ID":"93c6fb73baeb","CONTAINER_ID_FULL":"93c6fb73baeb88edc113dbb3f80b139679c3ef7436c598163a2b0aae95ac8192","CONTAINER_NAME":"web","IMAGE_NAME":"probe:1","_COMM":"dockerd","_UID":"0","_HOSTNAME":"vm","COM_EXAMPLE_OWNER":"alice"}"#;

    #[test]
    fn a_line_of_a_container() {
        let event = read(CONTAINER.as_bytes());
        for (field, text) in [
            (Field::EventClass, "container.log"),
            (Field::ContainerId, "93c6fb73baeb88edc113dbb3f80b139679c3ef7436c598163a2b0aae95ac8192"),
            (Field::ContainerName, "web"),
            (Field::ImageRef, "probe:1"),
            (Field::App, "web/x"),
            (Field::Msg, "plain line"),
            (Field::HostName, "vm"),
        ] {
            assert_eq!(event.text(field), Some(text), "{field:?}");
        }
        assert_eq!(event.time(Field::Time), Some(Time(1_795_252_153_507_002_000)), "the sender's");
        assert_eq!((event.int(Field::SyslogSeverity), event.int(Field::Severity)), (Some(3), Some(7)));
        assert_eq!(extra(&event, "journald", "COM_EXAMPLE_OWNER").as_deref(), Some(r#"Str("alice")"#));
        assert_eq!(extra(&event, "journald", "__REALTIME_TIMESTAMP").as_deref(), Some(r#"Str("1795252153507221")"#));
        assert_eq!(extra(&event, "journald", "CONTAINER_ID"), None);
        assert_eq!(event.text(Field::Untrusted), None);
    }

    #[test]
    fn whoever_is_not_dockerd_only_claims_a_container() {
        let event = read(CONTAINER.replace(r#""_UID":"0""#, r#""_UID":"1000""#).as_bytes().to_vec().leak());
        assert_eq!(event.text(Field::Untrusted), Some("container.id,container.name,image.ref"));
        assert_eq!(event.text(Field::EventClass), None);
    }

    #[test]
    fn the_four_shapes_of_a_field() {
        let message = |value: &str| format!(r#"{{"__CURSOR":"s","_COMM":"x","MESSAGE":{value}}}"#);
        for (value, expected, kept) in [
            (r#""text""#, Some("text"), None),
            ("[104,105,255]", Some("hi\u{fffd}"), None),
            (r#"["one","two"]"#, Some("one"), Some(r#"Json("[\"one\",\"two\"]")"#)),
            ("[]", None, Some(r#"Json("[]")"#)),
        ] {
            let line = message(value);
            let event = read(line.as_bytes());
            assert_eq!(event.text(Field::Msg), expected, "{value}");
            assert_eq!(extra(&event, "journald", "MESSAGE").as_deref(), kept, "{value}");
        }
        let line = message("null");
        let event = read(line.as_bytes());
        assert!(event.text(Field::ParseNotes).is_some_and(|notes| notes.contains("--all")));
    }

    #[test]
    fn the_export_form() {
        let mut input = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1795252153507221\n_COMM=sshd\nMESSAGE\n".to_vec();
        input.extend_from_slice(&6_u64.to_le_bytes());
        input.extend_from_slice(b"a\n=\xff b\nPRIORITY=6\n\n");
        let event = read(&input);
        assert_eq!(event.text(Field::Msg), Some("a\n=\u{fffd} b"));
        assert_eq!(event.int(Field::SyslogSeverity), Some(6));
        assert_eq!(extra(&event, "journald", "__CURSOR").as_deref(), Some(r#"Str("s=1;i=2")"#));
        assert_eq!((detect(&input), event.text(Field::App)), (95, Some("sshd")));
        for wrong in
            [&b"__CURSOR=x\nNAME"[..], b"__CURSOR=x\nM\n\x05\0\0\0\0\0\0\0abc", b"=x\n", b"M\n\x01\0\0\0\0\0\0\0ab"]
        {
            assert!(parse(wrong, &CONTEXT, &mut Event::new(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn parts_of_a_line_in_one_frame_are_one_event() {
        let part = |ordinal: u8, last: bool, message: &str| {
            let id = "CONTAINER_PARTIAL_ID=ab";
            let flag = if last { "" } else { "CONTAINER_PARTIAL_MESSAGE=true\n" };
            format!(
                "__CURSOR=s=1;i={ordinal}\n_COMM=dockerd\n_UID=0\nCONTAINER_ID_FULL=c1\n{flag}{id}\nCONTAINER_PARTIAL_ORDINAL={ordinal}\n\
                 CONTAINER_PARTIAL_LAST={last}\nMESSAGE={message}\n"
            )
        };
        let whole = [part(1, false, "one "), part(2, false, "two "), part(3, true, "three")].join("\n");
        let event = read(whole.as_bytes());
        assert_eq!((event.text(Field::Msg), event.text(Field::ContainerId)), (Some("one two three"), Some("c1")));
        assert_eq!(event.text(Field::EventClass), Some("container.log"));
        assert!(event.extras().all(|extra| !extra.name.starts_with("partial")), "{event:?}");
        assert_eq!(extra(&event, "journald", "__CURSOR").as_deref(), Some(r#"Str("s=1;i=1")"#));
        // The last part did not come.
        let torn = [part(1, false, "one "), part(2, false, "two ")].join("\n");
        let event = read(torn.as_bytes());
        assert_eq!(
            (event.text(Field::Msg), extra(&event, "docker", "partial").as_deref()),
            (Some("one two "), Some("Bool(true)"))
        );
        // A blank line inside of a field ends no entry.
        let mut input = b"__CURSOR=s=1\n_COMM=x\nMESSAGE\n".to_vec();
        input.extend_from_slice(&15_u64.to_le_bytes());
        input.extend_from_slice(b"a\n\nMESSAGE=b\n\nc\n");
        assert_eq!(read(&input).text(Field::Msg), Some("a\n\nMESSAGE=b\n\nc"));
    }

    #[test]
    fn what_dockerd_logs_is_a_line_of_dockerd() {
        let line = r#"{"__CURSOR":"s","__REALTIME_TIMESTAMP":"1795252146880831","_HOSTNAME":"vm","PRIORITY":"6","SYSLOG_IDENTIFIER":"dockerd","MESSAGE":"time=\"2026-11-21T09:09:06.880719701Z\" level=error msg=\"Handler for POST /v1.41/containers/create returned error: no\""}"#;
        let event = read(line.as_bytes());
        assert_eq!(event.text(Field::Format), Some("journald+dockerd"));
        assert_eq!(event.text(Field::EventClass), Some("container.create"));
        assert_eq!(event.text(Field::HostName), Some("vm"));
        // formats.md §4.1: "PRIORITY there is always 6, take `level`".
        assert_eq!(event.int(Field::Severity), Some(7));
        assert_eq!(event.time(Field::Time), Some(Time(1_795_252_146_880_719_701)));
        let forged = line.replace(r#""SYSLOG_IDENTIFIER":"dockerd""#, r#""SYSLOG_IDENTIFIER":"app""#);
        assert_eq!(read(forged.as_bytes()).text(Field::EventClass), None);
    }

    #[test]
    fn any_object_is_no_entry() {
        assert!(parse(b"{\"MESSAGE\":\"x\"}", &CONTEXT, &mut Event::new(b"")).is_err());
        assert_eq!(detect(br#"{"MESSAGE":"x","PRIORITY":"6","_BOOT_ID":"f"}"#), 95);
        assert_eq!(detect(br#"{"log":"__CURSOR","stream":"x","_BOOT_ID":1}"#), 0);
    }
}
