//! Properties of the syslog formats: total, one record, nothing lost on the way out and back in.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::string_slice
)]

use proptest::prelude::*;
use wharfinger_formats::{
    Choice, Context, EmitContext, Event, FORMATS, Field, Format, Kind, Offset, Time, Value, parse,
};

const CONTEXT: Context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };

fn format(name: &str) -> &'static Format {
    FORMATS.iter().find(|format| format.name == name).unwrap()
}

fn emitted(event: &Event<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    (format("rfc5424").emit.unwrap())(event, &EmitContext::default(), &mut out);
    out
}

/// RFC 6587 §3.4.2: LF ends a frame; a control character can also end it or change a terminal.
fn is_one_record(record: &[u8]) -> bool {
    std::str::from_utf8(record).is_ok() && !record.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

/// Text as an attacker writes it: what formats mean something by, letters, and beyond ASCII.
fn text() -> impl Strategy<Value = String> {
    const CHARS: &[u8] = b"\"\\][=| \n\r\0\x1B-<>:{}ab0019n/.@x";
    const BEYOND: &[char] = &['\u{FEFF}', '\u{85}', '\u{2028}', '\u{FFFD}', 'ü', '🐳'];
    let char = |byte: u8| match CHARS.get(usize::from(byte) % (CHARS.len() + BEYOND.len())) {
        Some(char) => char::from(*char),
        None => BEYOND[usize::from(byte) % BEYOND.len()],
    };
    proptest::collection::vec(any::<u8>(), 1..60).prop_map(move |bytes| bytes.into_iter().map(char).collect())
}

/// The same, and words that mean something in a header.
fn header_word() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "EST",
        "UTC",
        "GMT+02:00",
        "Z",
        "z",
        "-05:00",
        "+0200",
        "EST:",
        "CET:x",
        "a:CEF:0",
        "CEF",
        "LEEF",
        "web:",
        "",
        "-",
        "2026",
    ];
    prop_oneof![text(), proptest::sample::select(WORDS).prop_map(str::to_owned)]
}

/// The keys of `[wharfinger@32473 key="value" …]`, if it is that and nothing else.
fn keys(pairs: &str) -> Option<Vec<String>> {
    let mut rest = pairs.strip_prefix("[wharfinger@32473")?;
    let mut keys = Vec::new();
    while let Some(pair) = rest.strip_prefix(' ') {
        let (key, value) = pair.split_once("=\"")?;
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return None;
        }
        keys.push(key.to_owned());
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next()? {
                (_, '\\') => drop(chars.next()?),
                (at, '"') => break at,
                (_, ']') => return None,
                _ => {}
            }
        };
        rest = &value[end + 1..];
    }
    (rest == "]").then_some(keys)
}

/// A value that owns its text.
#[derive(Debug, Clone)]
enum Owned {
    Text(String),
    Other(Value<'static>),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Owned::Text(text) => Value::Str(text),
            Owned::Other(value) => *value,
        }
    }
}

fn value(field: Field) -> BoxedStrategy<Owned> {
    match field.kind() {
        Kind::Text => text().prop_map(Owned::Text).boxed(),
        Kind::Int => prop_oneof![(0_i64..30).boxed(), any::<i64>().boxed()]
            .prop_map(|number| Owned::Other(Value::Int(number)))
            .boxed(),
        Kind::Bool => any::<bool>().prop_map(|truth| Owned::Other(Value::Bool(truth))).boxed(),
        // Years 1970 to 2200.
        Kind::Time => {
            (0_i64..7_258_118_400_000_000_000).prop_map(|nanos| Owned::Other(Value::Time(Time(nanos)))).boxed()
        }
    }
}

fn field() -> impl Strategy<Value = (Field, Owned)> {
    proptest::sample::select(Field::ALL).prop_flat_map(|field| (Just(field), value(field)))
}

fn same(a: Value<'_>, b: &str) -> bool {
    match a {
        Value::Str(text) | Value::Json(text) => text == b,
        Value::Int(number) => number.to_string() == b,
        Value::Bool(value) => value.to_string() == b,
        Value::Time(time) => Time::parse_rfc3339(b.as_bytes()).is_some_and(|(read, _)| read == time),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn fields_come_back(
        fields in proptest::collection::vec(field(), 0..20),
        extras in proptest::collection::vec((text(), text(), text()), 0..8),
    ) {
        let mut event = Event::new(b"raw");
        for (field, value) in fields {
            event.set(field, value.value());
        }
        for (group, name, value) in extras {
            event.extra(group, name, &value);
        }
        let record = emitted(&event);
        prop_assert!(is_one_record(&record), "{}", String::from_utf8_lossy(&record));
        let mut back = Event::new(&record);
        parse(Choice::Named(format("rfc5424")), &record, &CONTEXT, &mut back);
        for (field, value) in event.fields() {
            if field.is_reserved() {
                let claim = back.extras().find(|x| x.group == "wharfinger@32473" && x.name == field.name());
                let is_same = claim.is_some_and(|x| matches!(x.value, Value::Str(text) if same(value, text)));
                prop_assert!(is_same, "{}: {:?} in {}", field.name(), value, String::from_utf8_lossy(&record));
            } else {
                prop_assert_eq!(back.get(field), Some(value), "{} in {}", field.name(), String::from_utf8_lossy(&record));
            }
        }
        let reserved = event.fields().filter(|(field, _)| field.is_reserved()).count();
        prop_assert_eq!(back.extras().len(), event.extras().len() + reserved);
        // §6.3.2: "The same SD-ID MUST NOT exist more than once".
        let mut ids: Vec<&str> = back.extras().map(|extra| extra.group).collect();
        ids.dedup();
        let runs = ids.len();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), runs);
    }

    #[test]
    fn rfc3164_is_one_line_of_that_host_program_and_message(
        host in header_word(), app in header_word(), pid in header_word(), msg in text(),
        has_host in any::<bool>(),
    ) {
        let read = |fields: &[(Field, &str)]| {
            let mut event = Event::new(b"raw");
            event.set(Field::Time, CONTEXT.received);
            fields.iter().for_each(|(field, text)| event.set(*field, *text));
            let mut record = Vec::new();
            (format("rfc3164").emit.unwrap())(&event, &EmitContext::default(), &mut record);
            assert!(is_one_record(&record), "{}", String::from_utf8_lossy(&record));
            let mut back = Event::new(&record);
            parse(Choice::Auto, &record, &CONTEXT, &mut back);
            assert_eq!(back.text(Field::Format), Some("rfc3164"), "{}", String::from_utf8_lossy(&record));
            let found = [Field::HostName, Field::App, Field::ProcessId, Field::Msg];
            (found.map(|field| back.text(field).map(str::to_owned)), back.time(Field::Time))
        };
        // Whatever header fields hold, the message is the message, and the time the time.
        let mut fields = vec![(Field::App, &*app), (Field::ProcessId, &pid), (Field::Msg, "m")];
        if has_host {
            fields.push((Field::HostName, &host));
        }
        let ([found_host, .., found], time) = read(&fields);
        let pairs = found.as_deref().and_then(|found| found.strip_prefix('m')).map(|rest| rest.trim_start());
        prop_assert!(pairs.is_some_and(|pairs| pairs.is_empty() || keys(pairs).is_some()), "{:?}", found);
        prop_assert_eq!(found_host.is_some(), has_host);
        prop_assert_eq!(time, Some(CONTEXT.received));
        // Whatever the message holds, it is no header.
        let ([found_host, found_app, found_pid, found], _) = read(&[(Field::HostName, "h"), (Field::App, "a"), (Field::Msg, &msg)]);
        prop_assert_eq!((found_host.as_deref(), found_app.as_deref(), found_pid), (Some("h"), Some("a"), None));
        let visible = |char: char| char != '\t' && char.is_ascii_control();
        if !msg.contains(visible) {
            prop_assert_eq!(found.as_deref(), Some(&*msg));
        }
    }

    #[test]
    fn no_value_creates_a_field_of_rfc3164(
        fields in proptest::collection::vec(field(), 0..12),
        extras in proptest::collection::vec((text(), text(), text()), 0..5),
    ) {
        let mut event = Event::new(b"raw");
        fields.iter().for_each(|(field, value)| event.set(*field, value.value()));
        extras.iter().for_each(|(group, name, value)| event.extra(group, name, value));
        let mut record = Vec::new();
        (format("rfc3164").emit.unwrap())(&event, &EmitContext::default(), &mut record);
        prop_assert!(is_one_record(&record));
        let line = String::from_utf8(record).unwrap();
        let Some(at) = line.rfind("[wharfinger@32473 ") else {
            prop_assert!(extras.is_empty(), "{}", line);
            return Ok(());
        };
        let keys = keys(&line[at..]);
        prop_assert!(keys.is_some(), "{}", line);
        let (theirs, ours): (Vec<_>, Vec<_>) = keys.unwrap().into_iter().partition(|key| key.starts_with("ad_"));
        prop_assert_eq!(theirs.len(), extras.len(), "{}", line);
        let is_known = |key: &String| key == "raw" || Field::from_name(key).is_some_and(|field| event.get(field).is_some());
        prop_assert!(ours.iter().all(is_known), "{}", line);
    }

    #[test]
    fn any_bytes_are_an_event(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_total(&bytes)?;
    }

    #[test]
    fn a_damaged_line_is_an_event(
        line in proptest::sample::select(LINES),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let mut bytes = line.as_bytes().to_vec();
        for (at, byte, how) in damage {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        check_total(&bytes)?;
    }
}

const LINES: &[&str] = &[
    r#"<165>1 2026-11-21T09:03:20.003Z gw app 77 ID [ex@32473 a="1" b="\"\\\]"][origin ip="192.0.2.1"] text"#,
    "<30>1 2026-11-21T09:03:20Z vm my tag/x 11329 my tag/x - plain line",
    "<34>Nov 21 09:05:09 gw su[7]: text",
    "<189>000123: *Mar  1 18:46:11.123 UTC: %SYS-5-CONFIG_I: c",
    r#"Nov 21 09:05:09 vm dockerd[7]: time="2026-11-21T09:05:08.9Z" level=error msg="Handler for POST /v1.41/containers/web/start returned error: \"x\"""#,
    "INFO[0069] POST /containers/create                            a=1 b=\"c\"",
    r#"{"level":"info","msg":"API listen on /run/docker.sock","time":"2026-11-21T09:03:20Z","n":{"a":[1]}}"#,
    "[debug] server.go:1036 Calling POST /containers/create",
];

/// Every choice of a format makes an event of any bytes, and one record of that event.
fn check_total(bytes: &[u8]) -> Result<(), TestCaseError> {
    for choice in ["auto", "rfc5424", "rfc3164", "dockerd"] {
        let mut event = Event::new(bytes);
        parse(Choice::named(choice).unwrap(), bytes, &CONTEXT, &mut event);
        prop_assert_eq!(event.raw(), bytes);
        let status = event.text(Field::ParseStatus);
        prop_assert_eq!(status == Some("failed"), event.text(Field::EventClass) == Some("unparsed"));
        for (field, value) in event.fields() {
            prop_assert!(value != Value::Str(""), "{} is empty", field.name());
        }
        let record = emitted(&event);
        prop_assert!(is_one_record(&record));
        let mut back = Event::new(&record);
        parse(Choice::Named(format("rfc5424")), &record, &CONTEXT, &mut back);
        prop_assert_eq!(back.text(Field::EventClass), event.text(Field::EventClass));
    }
    Ok(())
}

/// Each pattern fills a mebibyte: a parser that looks back for each of its pieces would not come back.
#[test]
fn a_mebibyte_of_malice() {
    let header = "<13>1 2026-11-21T09:03:20Z h ";
    for (start, piece) in [
        ("", "<"),
        ("", "1 "),
        ("", "["),
        ("", "\\"),
        ("", "\u{FFFD}"),
        ("<13>1 - ", "a 1 "),
        ("<13>1 - h ", "1 "),
        ("<13>1 - h a 1 a - - ", "["),
        ("H- - - [x ", "a=\"\\\\\" "),
        ("Ha - - ", "[x]"),
        ("Ha - - ", "[x a=\"b\"]"),
        ("Ha - - [x a=\"", "\\"),
        ("Ha - - [x", " "),
        ("Ha - - [x a=", " "),
        ("<13>", "Nov 21 09:05:09 "),
        ("<13>Nov 21 09:05:09 ", "a"),
        ("<13>Nov 21 09:05:09 h ", "a["),
        ("<13>Nov 21 09:05:09 h a[", "1"),
        ("", "000123: "),
        ("time=", "\"\\"),
        ("time=1 level=", "a=\"b\" "),
        ("time=1 ", "\\x"),
        ("time=\"", "\\u12"),
        ("INFO[1] ", "  a"),
        ("INFO[1] ", "  a="),
        ("[info] ", "/containers/"),
        ("time=1 level=info msg=\"POST /containers/create?", "a=%25&"),
        ("time=1 level=info msg=\"+job log(", ", "),
        ("{\"level\":\"info\",\"msg\":", "["),
        ("{", "\"a\":{"),
    ] {
        let start = start.strip_prefix('H').map_or(start.to_owned(), |rest| format!("{header}{rest}"));
        let bytes = (start + &piece.repeat(1_048_576 / piece.len())).into_bytes();
        if let Err(error) = check_total(&bytes) {
            panic!("{piece:?}: {}", error.to_string().chars().take(300).collect::<String>());
        }
    }
}

/// Lines as careful senders write them; `syslog_loose` must see the same in them.
///
/// Known to differ, and so not drawn: fraction digits past the sixth, escapes in values (it keeps
/// them), a byte order mark (it keeps it), PRI over 191, `CEF:` after the host, 29 February.
mod beside_syslog_loose {
    use super::*;
    use syslog_loose::{ProcId, Variant, parse_message_with_year_tz};

    fn compare(line: &str, variant: Variant) -> Result<(), TestCaseError> {
        let theirs = parse_message_with_year_tz(line, |_| 2026, Some(chrono::Utc), variant);
        let mut ours = Event::new(line.as_bytes());
        parse(Choice::Auto, line.as_bytes(), &CONTEXT, &mut ours);
        let pri = (theirs.facility.map(|facility| facility as i64), theirs.severity.map(|severity| severity as i64));
        prop_assert_eq!((ours.int(Field::SyslogFacility), ours.int(Field::SyslogSeverity)), pri);
        let time = theirs.timestamp.and_then(|time| time.timestamp_nanos_opt()).map(Time);
        prop_assert_eq!(ours.time(Field::Time), time);
        prop_assert_eq!(ours.text(Field::HostName), theirs.hostname);
        prop_assert_eq!(ours.text(Field::App), theirs.appname);
        let pid = theirs.procid.map(|pid| match pid {
            ProcId::PID(pid) => pid.to_string(),
            ProcId::Name(name) => name.to_owned(),
        });
        prop_assert_eq!(ours.text(Field::ProcessId), pid.as_deref());
        prop_assert_eq!(ours.text(Field::SyslogMsgId), theirs.msgid);
        prop_assert_eq!(ours.text(Field::Msg).unwrap_or_default(), theirs.msg);
        let element = |id: &str, name: &str, value: &str| format!("{id} {name}={value}");
        let theirs = theirs.structured_data.iter().flat_map(|sd| sd.params.iter().map(|(n, v)| element(sd.id, n, v)));
        let ours = ours.extras().map(|x| match x.value {
            Value::Str(text) => element(x.group, x.name, text),
            other => format!("{other:?}"),
        });
        prop_assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn rfc5424(
            pri in 0..192_u8,
            time in "2026-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]0[0-9]:[03]0)",
            header in "[a-z][a-z0-9.-]{0,20} [a-z]{1,12} ([1-9][0-9]{0,5}|-) ([A-Z]{1,8}|-)",
            sd in "-|(\\[[a-z]{1,8}@32473( [a-z]{1,6}=\"[A-Za-z0-9 ./:-]{0,12}\"){1,4}\\]){1,3}",
            msg in "[A-Za-z][A-Za-z0-9 ,./:=-]{0,60}[a-z]",
        ) {
            compare(&format!("<{pri}>1 {time} {header} {sd} {msg}"), Variant::RFC5424)?;
        }

        #[test]
        fn rfc3164(
            pri in 0..192_u8,
            // Before the day of receipt, so that the year is the same.
            time in "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct) ( [1-9]|1[0-9]|2[0-8]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]",
            host in "[a-z][a-z0-9-]{1,12}",
            tag in "[a-z]{2,10}(\\[[1-9][0-9]{0,5}\\])?:",
            msg in "[A-Za-z][A-Za-z0-9 ,./=-]{0,60}[a-z]",
        ) {
            compare(&format!("<{pri}>{time} {host} {tag} {msg}"), Variant::RFC3164)?;
        }
    }
}
