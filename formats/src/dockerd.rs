//! The log of dockerd, in the four eras of its engine and the forms of its logger.
//!
//! `time="…" level=info msg="…" key=value` (1.4 and later), `INFO[0069] text   key=value` on a terminal,
//! `{"level":…,"msg":…,"time":…}` with `--log-format json`, `[info] text` and `[9e2cc6bc] +job …` (1.3
//! and earlier). Keys without a canonical field are extras of group `dockerd`.
//!
//! Since 1.10 requests are logged only with `-D`, so a line that asks for `containers/create` is no
//! sign of every creation: those come from the Events API.
//!
//! Invariant: nested logfmt inside a value is text. Only the outer pairs are believed.

mod logfmt;
mod message;
mod request;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json_read::{JsonValue, KEYS_MAX};
use crate::text::Text;
use crate::{Context, Event, Field, Format, ParseError, Time, Value, syslog};
use logfmt::{Pair, Pairs};
use message::Facts;

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "dockerd",
    about: "Log of the Docker daemon: logfmt, terminal, JSON and the forms of old engines",
    detect: Some(detect),
    starts: b"t{[TDIWEFP",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Bytes that are looked at to recognise a line.
const WINDOW: usize = 512;
/// Bytes of form data that are read for facts.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// A level as logrus writes it, its four letters on a terminal, its syslog severity.
const LEVELS: &[(&str, &str, u8)] = &[
    ("trace", "TRAC", 7),
    ("debug", "DEBU", 7),
    ("info", "INFO", 6),
    ("warning", "WARN", 4),
    ("warn", "WARN", 4),
    ("error", "ERRO", 3),
    ("fatal", "FATA", 2),
    ("panic", "PANI", 2),
];

/// The forms of a line.
enum Shape {
    Logfmt,
    /// Where the text begins; the level, and what stands in the brackets.
    Terminal {
        text: usize,
    },
    Json,
    /// Up to 1.3; where the text begins.
    Bracket {
        text: usize,
    },
}

fn detect(input: &[u8]) -> u8 {
    let window = input.get(..WINDOW).unwrap_or(input);
    let has = |wanted: &[u8]| memchr::memmem::find(window, wanted).is_some();
    match shape(window) {
        Some(Shape::Logfmt) if has(b" level=") => 90,
        Some(Shape::Terminal { .. }) => 90,
        Some(Shape::Json) if has(b"\"level\":\"") && has(b"\"msg\":\"") && has(b"\"time\":\"") => 70,
        Some(Shape::Bracket { text }) => {
            let text = window.get(text..).unwrap_or_default();
            let first = text.get(..memchr::memchr(b' ', text).unwrap_or(text.len())).unwrap_or_default();
            let is_call = std::str::from_utf8(first).is_ok_and(request::is_method) || first == b"Calling";
            // Debug and error lines name the file.
            let is_call = is_call || has(b".go:");
            if is_call || text.starts_with(b"+job ") || text.starts_with(b"-job ") { 85 } else { 0 }
        }
        _ => 0,
    }
}

fn shape(input: &[u8]) -> Option<Shape> {
    match input {
        [b't', b'i', b'm', b'e', b'=', ..] => Some(Shape::Logfmt),
        [b'{', ..] => Some(Shape::Json),
        [b'[', rest @ ..] => {
            let len = rest.iter().take(12).position(|byte| *byte == b']')?;
            let word = rest.get(..len)?;
            let is_level = LEVELS.iter().any(|(level, ..)| level.as_bytes() == word);
            let is_job = len == 8 && word.iter().all(u8::is_ascii_hexdigit);
            let mut text = len.saturating_add(2);
            let after = input.get(text..)?.strip_prefix(b" ")?;
            text = text.saturating_add(1);
            // `server.go:1036 ` stands before the text of debug and error lines.
            let first = memchr::memchr(b' ', after).and_then(|len| after.get(..len)).unwrap_or_default();
            if memchr::memmem::find(first, b".go:").is_some() {
                text = text.saturating_add(first.len()).saturating_add(1);
            }
            (is_level || is_job).then_some(Shape::Bracket { text })
        }
        _ => {
            let rest = LEVELS.iter().find_map(|(_, letters, _)| input.strip_prefix(letters.as_bytes()))?;
            let inside = rest.strip_prefix(b"[")?;
            let len = inside.iter().take(40).position(|byte| *byte == b']')?;
            inside.first().filter(|byte| byte.is_ascii_digit())?;
            let text = len.saturating_add(6);
            let space = inside.get(len.saturating_add(1)..)?.starts_with(b" ");
            Some(Shape::Terminal { text: text.saturating_add(usize::from(space)) })
        }
    }
}

fn parse<'a>(input: &'a [u8], _context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    // What a crash prints below a line is no part of its pairs.
    let (input, trace) = match memchr::memchr(b'\n', input).and_then(|at| input.split_at_checked(at)) {
        Some((line, trace)) => (line, trace.get(1..).unwrap_or_default()),
        None => (input, Default::default()),
    };
    let text = Text::of(event, input);
    let mut facts = Facts::default();
    let expected = ParseError::new(0, "`time=`, a level such as `INFO[`, `[info] ` or a JSON object");
    match shape(input).ok_or(expected)? {
        Shape::Logfmt => pairs(&text, 0, event, &mut facts),
        Shape::Terminal { text: at } => terminal(&text, at, event, &mut facts),
        Shape::Json => json(input, event, &mut facts)?,
        Shape::Bracket { text: at } => bracket(&text, at, event, &mut facts),
    }
    message::set(event, facts);
    if !trace.is_empty() {
        let trace = Text::of(event, trace).tail(0);
        event.extra("dockerd", "trace", &trace);
    }
    Ok(())
}

/// Whether a line belongs to the one above it: it begins as no line of the log does.
pub(crate) fn is_below(line: &[u8]) -> bool {
    shape(line).is_none()
}

/// The pairs from `at` on, up to the limit of keys; what stands behind that is one extra.
fn pairs<'a>(text: &Text<'a>, at: usize, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let mut pairs = Pairs::new(*text, at);
    for Pair { key, value, cut } in pairs.by_ref().take(KEYS_MAX as usize) {
        if cut {
            let raw = event.raw();
            event.mark_partial(&ParseError::new(raw.len(), "a closing quote"), raw);
        }
        pair(key, JsonValue::Str(value), event, facts);
    }
    let rest = text.tail(pairs.at());
    if !rest.trim().is_empty() {
        event.mark_partial(&ParseError::new(pairs.at(), "at most 2,000 pairs"), text.bytes());
        event.extra("dockerd", "", &rest);
    }
}

/// `INFO[0069] text padded to 44 columns  key=value`: at least two spaces stand before the first key.
fn terminal<'a>(text: &Text<'a>, at: usize, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let bytes = text.bytes();
    let letters = bytes.get(..4).unwrap_or_default();
    if let Some((level, ..)) = LEVELS.iter().find(|(_, of, _)| of.as_bytes() == letters) {
        set_level(event, level, facts);
    }
    let end = bytes.get(at..).unwrap_or_default();
    let gap = memchr::memmem::find_iter(end, b"  ").find(|gap| {
        let rest = end.get(*gap..).unwrap_or_default().trim_ascii_start();
        let key = rest.iter().take(64).position(|byte| !(byte.is_ascii_alphanumeric() || b"._-()".contains(byte)));
        key.is_some_and(|key| key > 0 && rest.get(key) == Some(&b'='))
    });
    let stop = at.saturating_add(gap.unwrap_or(end.len()));
    facts.message = trimmed(text.piece(at..stop));
    let close = memchr::memchr(b']', bytes).unwrap_or(0);
    let clock = text.piece(5..close);
    match Time::parse_rfc3339(clock.as_bytes()) {
        Some((time, used)) if used == clock.len() => event.set(Field::Time, time),
        _ => event.extra("dockerd", "seconds", &clock),
    }
    pairs(text, stop, event, facts);
}

/// `[info] text`, `[debug] server.go:1036 text`, `[9e2cc6bc] +job create(x)`.
fn bracket<'a>(text: &Text<'a>, at: usize, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let bytes = text.bytes();
    let close = memchr::memchr(b']', bytes).unwrap_or(0);
    let word = text.piece(1..close);
    match LEVELS.iter().find(|(level, ..)| *level == word) {
        Some((level, ..)) => set_level(event, level, facts),
        None => {
            set_level(event, "info", facts);
            event.extra("dockerd", "job", &word);
        }
    }
    let file = trimmed(text.piece(close.saturating_add(2)..at));
    if !file.is_empty() {
        event.extra("dockerd", "file", &file);
    }
    facts.message = trimmed(text.tail(at));
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end()),
        Cow::Owned(text) => Cow::Owned(text.trim_end().to_owned()),
    }
}

fn json<'a>(input: &'a [u8], event: &mut Event<'a>, facts: &mut Facts<'a>) -> Result<(), ParseError> {
    let error = |error: &serde_json::Error| {
        ParseError::new(error.column().saturating_sub(1), "a JSON object of at most 2,000 strings")
    };
    let members: Members<'a> = serde_json::from_slice(input).map_err(|e| error(&e))?;
    for (key, raw) in members.0 {
        let value = match serde_json::from_str::<Words<'a>>(raw.get()) {
            Ok(Words(text)) => JsonValue::Str(text),
            Err(_) => JsonValue::Json(raw.get()),
        };
        pair(key, value, event, facts);
    }
    Ok(())
}

/// The members of an object in their order, values as they stand.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some((Words(key), value)) = map.next_entry()? {
                    if members.len() >= KEYS_MAX as usize {
                        return Err(de::Error::custom("more than 2,000 members"));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Text that is borrowed unless it holds an escape.
#[derive(Deserialize)]
struct Words<'a>(#[serde(borrow)] Cow<'a, str>);

/// One key with its value. The first of a key that has a field counts; later ones are extras.
fn pair<'a>(key: Cow<'a, str>, value: JsonValue<'a>, event: &mut Event<'a>, facts: &mut Facts<'a>) {
    let JsonValue::Str(text) = value else {
        event.extra("dockerd", key, &value);
        return;
    };
    match &*key {
        "time" if !event.has(Field::Time) => {
            match Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len()) {
                Some((time, _)) => event.set(Field::Time, time),
                None => event.extra("dockerd", key, &text),
            }
        }
        "level" if !event.has(Field::Severity) => set_level(event, &text, facts),
        "msg" if facts.message.is_empty() || planted!("dockerd") => {
            if let Some(form) = text.strip_prefix("form data: ") {
                form_data(form, event);
            }
            facts.message = text;
        }
        "method" if facts.method.is_none() => facts.method = Some(text),
        "request-url" if facts.url.is_none() => facts.url = Some(text),
        "error-response" | "error" if facts.error.is_none() => facts.error = Some(text),
        "container" if !event.has(Field::ContainerId) => request::set_container(event, &text),
        "topic" => {
            event.extra("dockerd", key, &text);
            facts.topic = Some(text);
        }
        "form-data" => {
            form_data(&text, event);
            let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
            event.extra("dockerd", key, if is_json { Value::Json(&text) } else { Value::Str(&text) });
        }
        _ => event.extra("dockerd", key, &text),
    }
}

fn set_level(event: &mut Event<'_>, level: &str, facts: &mut Facts<'_>) {
    if let Some((.., severity)) = LEVELS.iter().find(|(word, ..)| *word == level) {
        event.set(Field::Severity, syslog::event_severity(*severity));
        facts.failed = *severity <= 3;
    }
    event.extra("dockerd", "level", level);
}

/// What the body of a create or exec request names.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Form {
    image: Option<String>,
    cmd: Option<Vec<String>>,
    attach_stdin: Option<bool>,
}

/// Image and command. `AttachStdin` tells the body of a create or exec from all others.
fn form_data(form: &str, event: &mut Event<'_>) {
    if form.len() > FORM_BYTES_MAX {
        return;
    }
    let Ok(form) = serde_json::from_str::<Form>(form) else { return };
    if form.attach_stdin.is_none() {
        return;
    }
    match form.image {
        Some(image) => event.set_text(Field::ImageRef, image),
        None => event.set_text(Field::ExecCommand, form.cmd.unwrap_or_default().join(" ").trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choice, Offset};

    const CONTEXT: Context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// As many pairs as an event may have keys; what stands behind them is kept as one text.
    #[test]
    fn pairs_are_counted() {
        let line = format!("time=\"2026-11-21T09:03:20Z\" level=info msg=x {}end=1", "a=b ".repeat(3_000));
        let mut event = Event::new(line.as_bytes());
        parse(line.as_bytes(), &CONTEXT, &mut event).unwrap();
        assert_eq!((event.text(Field::ParseStatus), event.text(Field::Msg)), (Some("partial"), Some("x")));
        assert!(event.extras().len() <= KEYS_MAX as usize + 1);
        let rest = event.extras().next_back().unwrap();
        assert!(rest.name.is_empty() && matches!(rest.value, Value::Str(text) if text.ends_with("a=b end=1")));
    }

    fn check(input: &str, expected: &[(Field, &str)]) {
        let input = input.replace("<id>", ID);
        let mut event = Event::new(input.as_bytes());
        crate::parse(Choice::Auto, input.as_bytes(), &CONTEXT, &mut event);
        assert_eq!(event.text(Field::Format), Some("dockerd"), "{input}");
        for (field, value) in expected {
            let value = value.replace("<id>", ID);
            assert_eq!(event.text(*field).unwrap_or("-"), value, "{input}: {}", field.name());
        }
    }

    use Field::{ContainerId, EventClass, ExecCommand, HttpUrl, ImageRef, Msg, Outcome, Reason};

    #[test]
    fn the_request_line_in_four_eras() {
        let create = (EventClass, "container.create");
        check("[info] POST /v1.14/containers/create?name=x", &[create, (HttpUrl, "/v1.14/containers/create?name=x")]);
        check(
            "[debug] server.go:1036 Calling POST /containers/create",
            &[create, (Msg, "Calling POST /containers/create")],
        );
        check("[9e2cc6bc] +job create(x)", &[(EventClass, "daemon.log"), (Msg, "+job create(x)")]);
        check("time=\"2015-05-14T08:50:02-04:00\" level=\"info\" msg=\"POST /v1.18/containers/create\" ", &[create]);
        check(
            "time=\"2015-05-14T08:50:02-04:00\" level=info msg=\"+job log(create, <id>, a/b:1)\"",
            &[create, (ContainerId, "<id>"), (ImageRef, "a/b:1")],
        );
        check(
            "time=\"2026-11-21T09:02:27.1Z\" level=debug msg=\"Calling POST /v1.41/containers/create?name=web\"",
            &[create],
        );
        check(
            "time=\"2026-11-21T09:12:01Z\" level=debug msg=\"handling POST request\" form-data=\"{\\\"AttachStdin\\\":false,\
             \\\"Cmd\\\":[\\\"id\\\"],\\\"Image\\\":\\\"probe:1\\\"}\" method=POST module=api \
             request-url=\"/v1.50/containers/create?name=web\" vars=\"map[version:1.50]\"",
            &[create, (ImageRef, "probe:1"), (HttpUrl, "/v1.50/containers/create?name=web")],
        );
    }

    #[test]
    fn terminal_and_json() {
        check("INFO[0069] POST /containers/create                      ", &[(EventClass, "container.create")]);
        check("WARN[0001] a  b                                          error=\"x y\"", &[(Msg, "a  b")]);
        check(
            "ERRO[2026-11-21T09:01:39.16Z] stream copy error: x",
            &[(Outcome, "failure"), (Msg, "stream copy error: x")],
        );
        check(
            "{\"level\":\"info\",\"msg\":\"API listen on /run/docker.sock\",\"time\":\"2026-11-21T09:01:39Z\"}",
            &[(EventClass, "daemon.listen"), (Msg, "API listen on /run/docker.sock")],
        );
    }

    #[test]
    fn failures_have_a_reason() {
        let failed = (Outcome, "failure");
        check(
            "time=\"2026-11-21T09:03:24Z\" level=error msg=\"Handler for POST /v1.41/containers/<id>/start returned error: no: caps\"",
            &[(EventClass, "container.start"), (ContainerId, "<id>"), failed, (Reason, "no: caps")],
        );
        check(
            "time=\"2026-11-21T09:12:04Z\" level=debug msg=\"error response for POST request\" error-response=\"no \\\"x\\\"\" \
             method=POST module=api request-url=/v1.50/containers/<id>/start status=400",
            &[(EventClass, "container.start"), (ContainerId, "<id>"), failed, (Reason, "no \"x\"")],
        );
        check(
            "time=\"2026-11-21T09:12:04Z\" level=error msg=\"Handler for POST /containers/{name:.*}/start returned error\" \
             error-response=\"boom\" method=POST request-url=/v1.52/containers/web/start",
            &[(EventClass, "container.start"), (Field::ContainerName, "web"), failed, (Reason, "boom")],
        );
    }

    #[test]
    fn signs_of_life() {
        for (message, class) in [
            ("Starting up", "daemon.start"),
            ("Daemon has completed initialization", "daemon.ready"),
            ("Processing signal 'terminated'", "daemon.signal"),
            ("Default bridge (docker0) is assigned with an IP address 172.17.0.0/16.", "daemon.bridge"),
            ("Container failed to exit within 1s of signal 15 - using the force", "container.kill"),
            ("anything else", "daemon.log"),
        ] {
            check(
                &format!("time=\"2026-11-21T09:03:24Z\" level=info msg=\"{message}\" container=<id>"),
                &[(EventClass, class), (ContainerId, "<id>"), (Msg, message)],
            );
        }
        check(
            "time=\"2026-11-21T09:03:24Z\" level=info msg=\"ignoring event\" container=<id> topic=/tasks/delete",
            &[(EventClass, "container.task_delete")],
        );
    }

    #[test]
    fn a_value_cannot_forge_a_pair() {
        check(
            "time=\"2026-11-21T09:03:24Z\" level=info msg=\"x\\\" level=panic msg=\\\"POST /containers/create\" ",
            &[(EventClass, "daemon.log"), (Msg, "x\" level=panic msg=\"POST /containers/create"), (Outcome, "-")],
        );
        check(
            "time=\"2026-11-21T09:03:24Z\" level=debug msg=\"form data: {\\\"AttachStdin\\\":true,\\\"Cmd\\\":[\\\"sh\\\",\\\"-c\\\"]}\"",
            &[(ExecCommand, "sh -c")],
        );
    }

    #[test]
    fn behind_syslog_only_the_daemon_is_believed() {
        let line = |tag: &str| {
            format!(
                "Nov 21 09:03:24 vm {tag}: time=\"2026-11-21T09:03:24.5Z\" level=info msg=\"POST /containers/create\""
            )
        };
        for (tag, format, class) in [
            ("dockerd[7]", "rfc3164+dockerd", Some("container.create")),
            ("docker", "rfc3164+dockerd", Some("container.create")),
            ("docker/web[7]", "rfc3164", None),
            ("00a8660c4ab0[7]", "rfc3164", None),
            ("nginx", "rfc3164", None),
        ] {
            let line = line(tag);
            let mut event = Event::new(line.as_bytes());
            crate::parse(Choice::Auto, line.as_bytes(), &CONTEXT, &mut event);
            assert_eq!((event.text(Field::Format), event.text(EventClass)), (Some(format), class), "{line}");
            assert_eq!(event.text(Field::HostName), Some("vm"));
        }
    }
}
