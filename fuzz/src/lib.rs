//! What must hold of every event, whatever bytes it came from: shared by the fuzz targets.

use serde::de::IgnoredAny;
use serde_json::Value as Tree;
use wharfinger_formats::{
    Choice, Context, EmitContext, Event, FORMATS, Field, Offset, Time, Value, native, parse, stored,
};

pub mod archive;
pub mod decompress;
pub mod forward;
pub mod loginsight;
mod planted;
pub mod proxy;
pub mod redact;
pub mod siem;
pub mod streams;
pub mod syslog;

#[path = "../../formats/tests/support/nothing_lost.rs"]
mod nothing_lost;
#[path = "../../formats/src/cef/strict.rs"]
mod strict;
#[path = "../../formats/tests/support/unique.rs"]
mod unique;

/// 2026-11-21T10:00:00Z.
const CONTEXT: Context = Context { received: Time(1_795_255_200_000_000_000), zone: Offset(0) };

/// The event `input` becomes when read as `format`.
pub fn parsed<'a>(format: &str, input: &'a [u8]) -> Event<'a> {
    planted::plant();
    let choice = Choice::named(format).expect("a format that is read");
    let mut event = Event::new(input);
    parse(choice, input, &CONTEXT, &mut event);
    event
}

/// The event a record of the journal holds, if `input` is one.
pub fn decoded(input: &[u8]) -> Option<Event<'_>> {
    planted::plant();
    stored::decode(input, Event::new(b"")).ok()
}

/// What is decoded is stored and read again unchanged.
pub fn check_stored(event: &Event<'_>) {
    let mut record = Vec::new();
    stored::encode(event, &mut record);
    assert_eq!(&stored::decode(&record, Event::new(b"")).expect("what was stored can be read"), event);
}

pub(crate) fn emitted(format: &str, event: &Event<'_>) -> Vec<u8> {
    let emit =
        FORMATS.iter().find(|row| row.name == format).and_then(|row| row.emit).expect("a format that is written");
    let mut out = Vec::new();
    emit(event, &EmitContext::default(), &mut out);
    out
}

/// A line of JSON that was understood is JSON by another's judgement too, and no word of it is gone.
pub fn check_json_line(format: &str, input: &[u8]) {
    let event = parsed(format, input);
    check_event(&event);
    if event.get(Field::ParseStatus).is_some() {
        return;
    }
    // Parts of a line in one frame are several objects.
    let input = input.strip_prefix(b"\x1e").unwrap_or(input);
    let values = || serde_json::Deserializer::from_slice(input);
    for value in values().into_iter::<IgnoredAny>() {
        value.expect("understood, so it is JSON");
    }
    for tree in values().into_iter::<Tree>() {
        let Ok(tree) = tree else { return };
        nothing_lost::check(&tree, &event);
    }
}

/// Every event comes out of the journal as it went in, and out of each emitter as one record.
pub fn check_event(event: &Event<'_>) {
    check_stored(event);
    check_json(event);
    check_cef(event);
    check_ecs(event);
    check_ocsf(event);
    check_wazuh(event);
    check_hec(event);
}

/// One envelope in which the linter finds nothing.
pub fn check_hec(event: &Event<'_>) {
    let line = emitted("hec", event);
    let linter = wharfinger_formats::lint::linter("hec").expect("a linter");
    // A text may well hold what JSON calls blank.
    let findings = linter.check(&line);
    assert!(findings.is_empty(), "{findings:?} in {}", String::from_utf8_lossy(&line));
    let tree: Tree = serde_json::from_slice(&line).expect("one JSON object");
    assert!(
        tree["event"].is_object() && tree["fields"].as_object().is_some_and(|map| map.values().all(Tree::is_string))
    );
}

/// The line that is written of it makes the same line again.
pub fn check_native_event(event: &Event<'_>) {
    let line = emitted("json", event);
    let mut raw = Vec::new();
    let back = native::read(&line, &mut raw, Event::new(b"")).expect("a line of ours");
    let again = emitted("json", &back);
    // A record made by hand may say of text that it is none, and have blanks around its JSON.
    let says_no_text = line.windows(13).any(|window| window == b"\"raw_base64\":");
    let odd_raw = says_no_text && std::str::from_utf8(event.raw()).is_ok();
    let odd_json = |value: Value<'_>| matches!(value, Value::Json(text) if text.trim() != text);
    if !odd_raw && !event.fields().any(|(_, value)| odd_json(value)) && !event.extras().any(|x| odd_json(x.value)) {
        assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&line));
    }
    let mut raw = Vec::new();
    let third = native::read(&again, &mut raw, Event::new(b"")).expect("a line of ours");
    assert_eq!(String::from_utf8_lossy(&emitted("json", &third)), String::from_utf8_lossy(&again));
}

/// Refused, or an event like any other.
pub fn check_native_line(input: &[u8]) {
    let mut raw = Vec::new();
    if let Ok(event) = native::read(input, &mut raw, Event::new(b"")) {
        serde_json::from_slice::<IgnoredAny>(input).expect("understood, so it is JSON");
        check_stored(&event);
        check_json(&event);
        check_native_event(&event);
    }
}

/// One object with these fields at the top and nothing else, in printable characters.
pub fn check_json(event: &Event<'_>) {
    let out = String::from_utf8(emitted("json", event)).expect("UTF-8");
    assert!(!out.contains(|char: char| char.is_control() || char == '\u{2028}' || char == '\u{2029}'), "{out:?}");
    let tree: Tree = serde_json::from_str(&out).expect("one JSON object");
    let mut object = tree.as_object().expect("one JSON object").clone();
    for (field, value) in event.fields() {
        let written = object.remove(field.name()).expect("every field is written");
        if let Value::Str(text) = value {
            assert_eq!(written, Tree::from(text), "{}", field.name());
        }
    }
    for ours in ["raw", "raw_base64", "fields", "_dup"] {
        object.remove(ours);
    }
    assert!(object.is_empty(), "not of this event: {object:?}");
    let keys = out.matches(",\"fields\":{").count() + out.matches("{\"fields\":{").count();
    assert!(event.extras().len() == 0 || keys >= 1);
}

/// One line by the strict grammar, with no key of ours out of the input's names.
pub fn check_cef(event: &Event<'_>) {
    let line = strict::strict(&emitted("cef", event));
    let mut keys: Vec<_> = line.keys.iter().map(|(key, _)| key.as_str()).collect();
    let extras = keys.iter().filter(|key| key.starts_with("ad_")).count();
    assert!(extras <= event.extras().len());
    // What was CEF goes on under its own keys.
    let was_cef = event.text(Field::Format).is_some_and(|format| format.ends_with("cef"));
    let relayed = event.extras().filter(|extra| was_cef && extra.group == "cef").count();
    // Each of our keys: one a field, some with a label, the host twice, and the note of what was cut.
    assert!(keys.len() - extras <= event.fields().len() * 2 + 2 + relayed, "{keys:?}");
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "each key once");
}

/// One object without a key twice, in which only our own words stand for fields of the schema.
pub fn check_ecs(event: &Event<'_>) {
    let tree = object("ecs", event);
    let known = [
        "@timestamp",
        "ecs",
        "message",
        "event",
        "error",
        "container",
        "host",
        "cloud",
        "process",
        "user",
        "source",
        "destination",
        "file",
        "http",
        "url",
        "rule",
        "tags",
        "log",
        "observer",
        "labels",
        "wharfinger",
    ];
    assert!(tree.keys().all(|key| known.contains(&key.as_str())), "{tree:?}");
    assert!(tree.contains_key("@timestamp") && tree.contains_key("ecs"));
    let maps = ["/labels", "/container/labels", "/wharfinger/fields"];
    let tree = Tree::Object(tree);
    for map in maps.iter().filter_map(|map| tree.pointer(map)?.as_object()) {
        assert!(map.keys().all(|key| !key.contains('.') && !key.trim().is_empty()), "{map:?}");
    }
}

/// The same of OCSF, with the numbers of a class.
pub fn check_ocsf(event: &Event<'_>) {
    let tree = object("ocsf", event);
    let number = |name: &str| tree.get(name).and_then(Tree::as_i64).expect("a number");
    assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
    assert_eq!(number("category_uid"), number("class_uid") / 1_000);
    for name in ["metadata", "device"] {
        assert!(tree.get(name).is_some_and(Tree::is_object), "{name}");
    }
}

/// An alert with a rule and an agent, unless it is the alert that it came from.
pub fn check_wazuh(event: &Event<'_>) {
    if event.text(Field::Format) == Some("wazuh") {
        return;
    }
    let tree = Tree::Object(object("wazuh", event));
    for pointer in ["/rule/id", "/rule/level", "/rule/groups/0", "/agent/id", "/agent/name", "/data", "/timestamp"] {
        assert!(tree.pointer(pointer).is_some(), "without {pointer}: {tree}");
    }
}

fn object(form: &str, event: &Event<'_>) -> serde_json::Map<String, Tree> {
    let out = String::from_utf8(emitted(form, event)).expect("UTF-8");
    assert!(!out.contains(|char: char| char.is_control() || char == '\u{2028}' || char == '\u{2029}'), "{out:?}");
    match unique::parse(&out) {
        Tree::Object(object) => object,
        _ => panic!("no object: {out}"),
    }
}
