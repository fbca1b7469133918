//! Events of the Docker Engine as `GET /events` and `docker events --format json` give them, one object a line.
//!
//! A parser on the way of an event; `wazuh` hands over the objects the Wazuh listener took from the
//! same API. Three shapes are read: before API 1.22 (`status`, `id`, `from`, `time` alone), since
//! then (`Type`, `Action`, `Actor` beside them), and since 1.52 (without the old three).
//!
//! Invariant: labels of a container stand among the attributes and win over the Engine's own, so
//! whatever is taken from an attribute other than `image` and `name` is named in `untrusted`.

pub(crate) mod cli;

use crate::docker_actions::{self, is_image_action};
use crate::event::{Cell, Span};
use crate::json_members::Members;
use crate::json_read::{self, JsonReader};
use crate::{Context, Event, Field, Format, ParseError, Time};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "docker_events",
    about: "Docker Engine events (GET /events), API 1.18 to 1.52",
    detect: Some(detect),
    starts: b"{\x1E",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Group of what the Engine says of an event beside its attributes.
const DOCKER: &str = "docker";
/// Group of the attributes: labels, and claims that look like them.
const ATTRIBUTES: &str = "attributes";

fn detect(input: &[u8]) -> u8 {
    let (mut status, mut id, mut old) = (false, false, 0);
    let new = json_read::sniff(strip_record_separator(input), |key| match key {
        "Type" | "Action" | "Actor" => Some(95),
        "status" => {
            status = true;
            None
        }
        // The old shape: its four keys come in this order, before those of the new one. Without an id a
        // status and a time are anybody's.
        "id" if status => {
            id = true;
            None
        }
        "from" | "time" if id => {
            old = 85;
            None
        }
        // Others have these: the rest of such an object need not be looked at.
        "status_code" | "log" | "rule" | "agent" | "event" | "short_message" | "crit" | "wazuh" => Some(0),
        _ if key.starts_with('_') => Some(0),
        _ => None,
    });
    new.max(old)
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let object = strip_record_separator(input);
    parse_object(object, event).map_err(|error| {
        let before = input.len().saturating_sub(object.len());
        ParseError::new(error.at.saturating_add(before), error.expected)
    })
}

/// RFC 7464 puts RS before each object; API 1.52 answers so when asked for `application/json-seq`.
fn strip_record_separator(input: &[u8]) -> &[u8] {
    input.strip_prefix(b"\x1e").unwrap_or(input)
}

fn parse_object<'a>(input: &'a [u8], event: &mut Event<'a>) -> Result<(), ParseError> {
    let mut reader = JsonReader::new(input)?;
    let mut members = Members::new(event);
    let mut docker = DockerEvent::default();
    docker.read(&mut reader, event, &mut members)?;
    reader.end()?;
    if docker.action(event).is_none() {
        return Err(ParseError::new(0, "an `Action` or a `status`"));
    }
    docker.finish(Field::Time, event);
    members.finish(event);
    Ok(())
}

/// The members of an event object, in any order, until all of them are known.
#[derive(Default)]
pub(crate) struct DockerEvent {
    status: Option<Span>,
    id: Option<Span>,
    from: Option<Span>,
    kind: Option<Span>,
    action: Option<Span>,
    actor_id: Option<Span>,
    image: Option<Span>,
    name: Option<Span>,
    container: Option<Span>,
    exit_code: Option<Cell>,
    signal: Option<Cell>,
    time: Option<Cell>,
    time_nano: Option<Cell>,
    corrected: Option<i64>,
}

impl DockerEvent {
    /// Reads the object at which the reader stands.
    pub(crate) fn read<'a>(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        members: &mut Members<'a>,
    ) -> Result<(), ParseError> {
        reader.object(|reader, key| {
            let at = (DOCKER, key);
            match &*key.text() {
                "status" => members.text(reader, event, &mut self.status, at),
                "id" => members.text(reader, event, &mut self.id, at),
                "from" => members.text(reader, event, &mut self.from, at),
                "Type" => members.text(reader, event, &mut self.kind, at),
                "Action" => members.text(reader, event, &mut self.action, at),
                "Actor" if reader.at_object() => reader.object(|reader, key| {
                    let at = (DOCKER, key);
                    match &*key.text() {
                        "ID" => members.text(reader, event, &mut self.actor_id, at),
                        "Attributes" if reader.at_object() => self.attributes(reader, event, members),
                        _ => members.extra(reader, event, at),
                    }
                }),
                "time" => members.value(reader, event, &mut self.time, at),
                "timeNano" => members.value(reader, event, &mut self.time_nano, at),
                _ => members.extra(reader, event, at),
            }
        })
    }

    fn attributes<'a>(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        members: &mut Members<'a>,
    ) -> Result<(), ParseError> {
        reader.object(|reader, key| {
            let at = (ATTRIBUTES, key);
            match &*key.text() {
                "image" => members.text(reader, event, &mut self.image, at),
                "name" => members.text(reader, event, &mut self.name, at),
                "container" => members.text(reader, event, &mut self.container, at),
                "exitCode" => members.value(reader, event, &mut self.exit_code, at),
                "signal" => members.value(reader, event, &mut self.signal, at),
                "" if planted!("docker_events") => reader.skip().map(drop),
                _ => members.extra(reader, event, at),
            }
        })
    }

    /// What was done, with all that stands behind the first `: `.
    pub(crate) fn action<'e>(&self, event: &'e Event<'_>) -> Option<&'e str> {
        self.action.or(self.status).map(|action| event.str(action)).filter(|action| !action.is_empty())
    }

    /// Takes the time from a text in which it was not rounded; what was is kept as written. Wazuh's copy
    /// went through a double and lost up to 128 ns: only a number so near can be what was rounded.
    pub(crate) fn correct_time(&mut self, log: Span, event: &Event<'_>) {
        const ROUNDING: i64 = 128;
        let Some(rounded) = self.rounded_time(event) else { return };
        let log = event.str(log).as_bytes();
        // It is one of the last members, and hardly anything else has the letter.
        self.corrected = memchr::memrchr_iter(b'N', log).find_map(|at| {
            // Only the Engine's own member: in a label its quote has a backslash, and its number is text.
            let (before, name) = log.split_at_checked(at)?;
            let number = name.strip_prefix(b"Nano\":")?.trim_ascii_start();
            before.strip_suffix(b"\"time")?;
            let nanos = std::str::from_utf8(number.get(..19)?).ok()?.parse::<i64>().ok()?;
            (nanos.abs_diff(rounded) <= ROUNDING.unsigned_abs()).then_some(nanos)
        });
    }

    /// The time as a double has it, printed with a fraction.
    fn rounded_time(&self, event: &Event<'_>) -> Option<i64> {
        let Some(Cell::Str(text)) = self.time_nano else { return None };
        event.str(text).split_once('.')?.0.parse().ok()
    }

    /// Puts everything read into the event, the Engine's time into `time_field`.
    pub(crate) fn finish(mut self, time_field: Field, event: &mut Event<'_>) {
        self.set_time(time_field, event);
        if self.action.is_none() {
            self.action = self.status.take();
        }
        let Some(action) = self.action.take() else { return self.keep_rest(event) };
        // Since API 1.22 it repeats the action.
        self.status.take_if(|status| event.str(*status) == event.str(action));
        // `exec_start: sh -c ls` is the word `exec_start` and a detail.
        let text = event.str(action);
        let (word, detail) = text.split_once(": ").map_or((text, None), |(word, detail)| (word, Some(detail)));
        let kind = match self.kind {
            Some(kind) => event.str(kind),
            None if is_image_action(word) => "image",
            None => "container",
        };
        // A command without arguments ends in a space.
        let detail = detail.map(|detail| event.within(action, detail.trim()));
        let detail_field = if word.starts_with("exec_") { Field::ExecCommand } else { Field::Reason };
        let (is_container, is_image) = (kind == "container", kind == "image");
        let word_span = event.within(action, word);
        match docker_actions::row(kind, word) {
            Some(row) => {
                event.set(Field::EventClass, row.class);
                event.set(Field::Name, row.name);
                event.set(Field::Severity, row.severity);
            }
            None => {
                let (class, name) = (format!("{kind}.{word}"), format!("Docker {kind} {word}"));
                event.set(Field::EventClass, &class);
                event.set(Field::Name, &name);
                event.set(Field::Severity, 3);
            }
        }
        self.kind = None;
        if is_container {
            self.set_container(word_span, event);
        } else if is_image {
            self.set_image(event);
        } else {
            // Networks and volumes have no labels here: the container they name is the Engine's word.
            event.set_span(Field::ContainerId, self.container.take());
        }
        event.set_span(detail_field, detail);
        event.set_span(Field::Action, Some(word_span));
        self.keep_rest(event);
    }

    fn set_container(&mut self, word: Span, event: &mut Event<'_>) {
        if self.actor_id.is_none() || same(event, self.id, self.actor_id) {
            self.actor_id = self.id.take();
        }
        event.set_span(Field::ContainerId, self.actor_id.take());
        let name = self.name.take();
        let name = name.map(|name| event.trimmed(name, |name| name.strip_prefix('/').unwrap_or(name)));
        event.set_span(Field::ContainerName, name);
        if self.image.is_none() || same(event, self.from, self.image) {
            self.image = self.from.take();
        }
        event.set_span(Field::ImageRef, self.image.take());
        // A label may carry either name: in an event that has no business with it, it surely is one,
        // and where it has, nothing tells the two apart.
        let untrusted = match (self.exit_code, self.signal) {
            (Some(_), Some(_)) => "exit_code,outcome,signal",
            (Some(_), None) => "exit_code,outcome",
            (None, Some(_)) => "signal",
            (None, None) => "",
        };
        event.set_text(Field::Untrusted, untrusted);
        let (has_died, is_kill) = (matches!(event.str(word), "die" | "exec_die"), event.str(word) == "kill");
        if let (true, Some(code)) = (has_died, self.exit_code.and_then(|code| event.whole(code))) {
            event.set(Field::ExitCode, code);
            event.set(Field::Outcome, if code == 0 { "success" } else { "failure" });
            self.exit_code = None;
        }
        if let Some(signal) = self.signal.take_if(|_| is_kill) {
            event.put(Field::Signal, event.whole(signal).map_or(signal, Cell::Int));
        }
    }

    fn set_image(&mut self, event: &mut Event<'_>) {
        if self.actor_id.is_none() || same(event, self.id, self.actor_id) {
            self.actor_id = self.id.take();
        }
        if same(event, self.name, self.actor_id) {
            // For `untag` and `delete` the name is the id again, not the reference.
            self.name = None;
        }
        let digest = self.actor_id.take_if(|id| event.str(*id).starts_with("sha256:"));
        event.set_span(Field::ImageDigest, digest);
        // A pull names the image by the reference in place of its id.
        let reference = self.name.take().or_else(|| self.actor_id.take()).or_else(|| self.from.take());
        event.set_span(Field::ImageRef, reference);
    }

    /// `timeNano` is a whole number beyond what a double holds; Wazuh prints it as one all the same.
    fn set_time(&mut self, field: Field, event: &mut Event<'_>) {
        let seconds = self.time.and_then(|time| event.whole(time));
        let exact = self.time_nano.and_then(|time| event.whole(time));
        let rounded = || Some(self.rounded_time(event)?.div_euclid(1000).saturating_mul(1000));
        let time = match self.corrected.or(exact).or_else(rounded) {
            Some(nanos) => Some(Time(nanos)),
            None => seconds.and_then(|seconds| Time::from_unix(seconds, 0)),
        };
        let Some(time) = time else { return };
        if exact == Some(time.0) {
            self.time_nano = None;
        }
        if seconds == Some(time.seconds()) {
            self.time = None;
        }
        event.set(field, time);
    }

    /// Whatever found no field of its own.
    fn keep_rest(self, event: &mut Event<'_>) {
        let texts = [
            (DOCKER, "status", self.status),
            (DOCKER, "id", self.id),
            (DOCKER, "from", self.from),
            (DOCKER, "Type", self.kind),
            (DOCKER, "Actor.ID", self.actor_id),
            (ATTRIBUTES, "image", self.image),
            (ATTRIBUTES, "name", self.name),
            (ATTRIBUTES, "container", self.container),
        ];
        for (group, name, text) in texts {
            if let Some(text) = text {
                event.put_extra(group, name, Cell::Str(text));
            }
        }
        let values = [
            (ATTRIBUTES, "exitCode", self.exit_code),
            (ATTRIBUTES, "signal", self.signal),
            (DOCKER, "time", self.time),
            (DOCKER, "timeNano", self.time_nano),
        ];
        for (group, name, value) in values {
            if let Some(value) = value {
                event.put_extra(group, name, value);
            }
        }
    }
}

/// Whether both are there and say the same, or neither is.
fn same(event: &Event<'_>, one: Option<Span>, other: Option<Span>) -> bool {
    one.map(|one| event.str(one)) == other.map(|other| event.str(other))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Offset, Value};

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn parsed(input: &str) -> Event<'_> {
        let mut event = Event::new(input.as_bytes());
        parse(input.as_bytes(), &CONTEXT, &mut event).unwrap();
        event
    }

    fn check(input: &str, fields: &[(Field, &str)], extras: &[(&str, &str)]) {
        let event = parsed(input);
        let said = |value: Value<'_>| match value {
            Value::Str(text) | Value::Json(text) => text.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Time(time) => time.0.to_string(),
            Value::Bool(truth) => truth.to_string(),
        };
        let own = |field| !matches!(field, Field::Name | Field::Severity);
        let got: Vec<_> =
            event.fields().filter(|(field, _)| own(*field)).map(|(field, value)| (field, said(value))).collect();
        for (field, expected) in fields {
            assert_eq!(event.get(*field).map(&said).as_deref(), Some(*expected), "{field:?} of {input}");
        }
        assert_eq!(got.len(), fields.len(), "{got:?}");
        let got: Vec<_> =
            event.extras().map(|extra| (format!("{}.{}", extra.group, extra.name), said(extra.value))).collect();
        let expected: Vec<_> = extras.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(got, expected, "{input}");
    }

    #[test]
    fn the_three_shapes_of_the_api() {
        check(
            r#"{"status": "create", "id": "dfdf82bd3881","from": "ubuntu:latest", "time":1374067924}"#,
            &[
                (Field::Time, "1374067924000000000"),
                (Field::EventClass, "container.create"),
                (Field::ContainerId, "dfdf82bd3881"),
                (Field::ImageRef, "ubuntu:latest"),
                (Field::Action, "create"),
            ],
            &[],
        );
        let new = r#""Type":"container","Action":"exec_start: sh ","Actor":{"ID":"ab","Attributes":{"execID":"f0","image":"web:1","name":"/web","a b":"c"}},"scope":"local","time":1795251801,"timeNano":1795251801877943058}"#;
        let fields = [
            (Field::Time, "1795251801877943058"),
            (Field::EventClass, "container.exec_start"),
            (Field::ContainerId, "ab"),
            (Field::ContainerName, "web"),
            (Field::ImageRef, "web:1"),
            (Field::ExecCommand, "sh"),
            (Field::Action, "exec_start"),
        ];
        let extras = [("attributes.execID", "f0"), ("attributes.a b", "c"), ("docker.scope", "local")];
        check(&format!("{{{new}"), &fields, &extras);
        let both = format!(r#"{{"status":"exec_start: sh ","id":"ab","from":"web:1",{new}"#);
        check(&both, &fields, &extras);
        check(&format!("\u{1e}{both}"), &fields, &extras);
    }

    #[test]
    fn a_label_cannot_pass_for_the_engines_word() {
        check(
            r#"{"Type":"container","Action":"start","Actor":{"ID":"ab","Attributes":{"exitCode":"0","signal":"9","container":"zz"}}}"#,
            &[
                (Field::EventClass, "container.start"),
                (Field::ContainerId, "ab"),
                (Field::Untrusted, "exit_code,outcome,signal"),
                (Field::Action, "start"),
            ],
            &[("attributes.container", "zz"), ("attributes.exitCode", "0"), ("attributes.signal", "9")],
        );
        check(
            r#"{"Type":"container","Action":"die","Actor":{"ID":"ab","Attributes":{"exitCode":"137"}}}"#,
            &[
                (Field::EventClass, "container.die"),
                (Field::ContainerId, "ab"),
                (Field::Untrusted, "exit_code,outcome"),
                (Field::ExitCode, "137"),
                (Field::Outcome, "failure"),
                (Field::Action, "die"),
            ],
            &[],
        );
    }

    #[test]
    fn images_networks_and_what_nobody_knows() {
        check(
            r#"{"status":"untag","id":"sha256:17","Type":"image","Action":"untag","Actor":{"ID":"sha256:17","Attributes":{"name":"sha256:17"}}}"#,
            &[(Field::EventClass, "image.untag"), (Field::ImageDigest, "sha256:17"), (Field::Action, "untag")],
            &[],
        );
        check(
            r#"{"Type":"image","Action":"pull","Actor":{"ID":"alpine:3","Attributes":{"name":"alpine"}}}"#,
            &[(Field::EventClass, "image.pull"), (Field::ImageRef, "alpine"), (Field::Action, "pull")],
            &[("docker.Actor.ID", "alpine:3")],
        );
        check(
            r#"{"Type":"network","Action":"connect","Actor":{"ID":"db","Attributes":{"container":"ab","name":"none"}}}"#,
            &[(Field::EventClass, "network.connect"), (Field::ContainerId, "ab"), (Field::Action, "connect")],
            &[("docker.Actor.ID", "db"), ("attributes.name", "none")],
        );
        check(
            r#"{"Type":"moon","Action":"land: softly","Actor":5,"new":{"x":[1]},"time":1.5}"#,
            &[(Field::EventClass, "moon.land"), (Field::Reason, "softly"), (Field::Action, "land")],
            &[("docker.Actor", "5"), ("docker.new", r#"{"x":[1]}"#), ("docker.time", "1.5")],
        );
    }

    #[test]
    fn keys_that_come_twice_are_kept_and_named() {
        let event =
            parsed(r#"{"Type":"container","Action":"start","Action":"stop","Actor":{"Attributes":{"a":"1","a":"2"}}}"#);
        assert_eq!(event.text(Field::Action), Some("start"));
        assert_eq!(event.text(Field::ParseDuplicateKeys), Some("Action,a"));
        assert_eq!(event.extras().len(), 3);
        // The first counts, also when it is no text.
        let event = parsed(r#"{"Action":"start","Actor":{"Attributes":{"name":1,"name":"victim"}}}"#);
        assert_eq!(event.text(Field::ContainerName), None);
        assert_eq!(event.text(Field::ParseDuplicateKeys), Some("name"));
    }

    #[test]
    fn detection_needs_the_shape() {
        for (input, score) in [
            (r#"{"status":"start","id":"ab","from":"x","time":1}"#, 85),
            (r#"{"Type":"volume"}"#, 95),
            (r#"{"log":"{\"Type\":\"container\"}\n","stream":"stdout"}"#, 0),
            (r#"{"status":"ok"}"#, 0),
            (r#"{"status":"failed","time":1795251800,"msg":"login failed"}"#, 0),
            (r#"{"status":"ok","from":"mailer@example.test","id":"7"}"#, 0),
            ("Type: container", 0),
            ("", 0),
        ] {
            assert_eq!(detect(input.as_bytes()), score, "{input}");
        }
    }
}
