//! Walks `fixtures/conformance/emit/<format>.json`: what an emitter must write of an event, by clause.
//!
//! A file is an array of `{name, clause, fields, extras, expected}`. `fields` maps names of fields to
//! values, `extras` lists `[group, name, value]`. A value is a text, a number, a truth value,
//! `{"time": RFC 3339}` or `{"json": text}`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Tree;
use wharfinger_formats::{EmitContext, Event, FORMATS, Field, Time, Value};

const NAMES: EmitContext<'static> = EmitContext { vendor: "V", product: "P", version: "1" };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The clause that says so: shown when the case fails.
    clause: String,
    #[serde(default)]
    // Sorted, whatever order the JSON library keeps in this build.
    fields: BTreeMap<String, Tree>,
    #[serde(default)]
    extras: Vec<(String, String, Tree)>,
    expected: String,
}

fn value(tree: &Tree) -> Value<'_> {
    let text_of = |key: &str| tree.get(key).and_then(Tree::as_str);
    match tree {
        Tree::String(text) => Value::from(text.as_str()),
        Tree::Bool(truth) => Value::Bool(*truth),
        Tree::Number(number) => Value::Int(number.as_i64().unwrap()),
        _ => match (text_of("time"), text_of("json")) {
            (Some(time), None) => Value::Time(Time::parse_rfc3339(time.as_bytes()).unwrap().0),
            (None, Some(json)) => Value::Json(json),
            _ => panic!("no value: {tree}"),
        },
    }
}

#[test]
fn every_clause_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/conformance/emit");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let emit = FORMATS.iter().find(|format| format.name == name).and_then(|format| format.emit);
        let emit = emit.unwrap_or_else(|| panic!("no emitter `{name}`"));
        let cases: Vec<Case> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for case in &cases {
            let mut event = Event::new(b"raw");
            for (name, tree) in &case.fields {
                event.set(Field::from_name(name).unwrap_or_else(|| panic!("no field `{name}`")), value(tree));
            }
            for (group, name, tree) in &case.extras {
                event.extra(group.as_str(), name.as_str(), value(tree));
            }
            let mut out = Vec::new();
            emit(&event, &NAMES, &mut out);
            let got = String::from_utf8(out).unwrap();
            if got != case.expected {
                wrong.push(format!(
                    "{}\n  {}\n  expected {:?}\n     found {got:?}",
                    case.name, case.clause, case.expected
                ));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {count} do not hold:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 20, "only {count} cases: the files are missing");
}

/// What was brought back says so in every format that can carry a field.
#[test]
fn every_format_carries_that_an_event_was_replayed() {
    let mut event = wharfinger_formats::Event::new(b"raw");
    event.set(wharfinger_formats::Field::EventId, "00deadbeef000001-0000000000000042");
    event.set(wharfinger_formats::Field::Replayed, true);
    // Not even a message takes its place.
    event.set(wharfinger_formats::Field::Msg, "text");
    for format in wharfinger_formats::FORMATS {
        let Some(emit) = format.emit else { continue };
        let mut out = Vec::new();
        emit(&event, &wharfinger_formats::EmitContext::default(), &mut out);
        let text = String::from_utf8(out).unwrap();
        eprintln!("{}: {text}", format.name);
        assert!(text.to_lowercase().contains("replayed"), "{}: {text}", format.name);
    }
}
