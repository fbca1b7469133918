//! What must hold of every event, whatever bytes it came from: shared by the fuzz targets.

use serde::de::IgnoredAny;
use serde_json::Value as Tree;
use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Field, Offset, Time, Value, parse, stored};

pub mod syslog;

#[path = "../../formats/tests/support/nothing_lost.rs"]
mod nothing_lost;
#[path = "../../formats/src/cef/strict.rs"]
mod strict;

/// 2026-11-21T10:00:00Z.
const CONTEXT: Context = Context { received: Time(1_795_255_200_000_000_000), zone: Offset(0) };

/// The event `input` becomes when read as `format`.
pub fn parsed<'a>(format: &str, input: &'a [u8]) -> Event<'a> {
    let choice = Choice::named(format).expect("a format that is read");
    let mut event = Event::new(input);
    parse(choice, input, &CONTEXT, &mut event);
    event
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
    let input = input.strip_prefix(b"\x1e").unwrap_or(input);
    serde_json::from_slice::<IgnoredAny>(input).expect("understood, so it is JSON");
    let Ok(tree) = serde_json::from_slice::<Tree>(input) else { return };
    nothing_lost::check(&tree, &event);
}

/// Every event comes out of the journal as it went in, and out of each emitter as one record.
pub fn check_event(event: &Event<'_>) {
    let mut record = Vec::new();
    stored::encode(event, &mut record);
    let back = stored::decode(&record, Event::new(b"")).expect("what was stored can be read");
    assert_eq!(&back, event);
    check_json(event);
    check_cef(event);
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
    // Each of our keys: one a field, some with a label, the host twice, and the note of what was cut.
    assert!(keys.len() - extras <= event.fields().len() * 2 + 2, "{keys:?}");
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "each key once");
}
