//! Walks `fixtures/conformance/*.json`: what a standard, or the wild, says of one line.
//!
//! A file is an array of `{name, clause, input | input_base64, expected}`. `expected` maps names of
//! fields to values; `null` means absent. `group/name` is an extra. `received` (RFC 3339) and `zone`
//! (seconds) replace the defaults, `format` the detection.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;
use wharfinger_formats::{Choice, Context, Event, Field, Offset, Time, Value, parse};

#[path = "support/base64.rs"]
mod base64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The clause that says so: shown when the case fails.
    clause: String,
    input: Option<String>,
    input_base64: Option<String>,
    format: Option<String>,
    received: Option<String>,
    #[serde(default)]
    zone: i32,
    expected: BTreeMap<String, Json>,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        match (&self.input, &self.input_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => {
                base64::decode(text).unwrap_or_else(|| panic!("{}: `input_base64` is not base64", self.name))
            }
            _ => panic!("{}: one of `input` and `input_base64`", self.name),
        }
    }

    fn context(&self) -> Context {
        let received = self.received.as_deref().unwrap_or("2026-11-21T12:00:00Z");
        Context { received: time(received), zone: Offset(self.zone) }
    }

    fn choice(&self) -> Choice {
        let name = self.format.as_deref().unwrap_or("auto");
        Choice::named(name).unwrap_or_else(|| panic!("{}: no format `{name}`", self.name))
    }
}

fn time(text: &str) -> Time {
    Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len()).expect("a time").0
}

fn shown(value: Value<'_>) -> Json {
    match value {
        Value::Str(text) => Json::from(text),
        Value::Int(number) => Json::from(number),
        Value::Bool(value) => Json::from(value),
        Value::Json(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        Value::Time(time) => {
            let mut out = Vec::new();
            time.write_rfc3339(9, &mut out);
            Json::from(String::from_utf8(out).unwrap())
        }
    }
}

fn found(event: &Event<'_>, name: &str) -> Json {
    match Field::from_name(name) {
        Some(field) => event.get(field).map_or(Json::Null, shown),
        None => {
            let (group, name) = name.split_once('/').unwrap_or_else(|| panic!("no field `{name}`"));
            let extra = event.extras().find(|extra| extra.group == group && extra.name == name);
            extra.map_or(Json::Null, |extra| shown(extra.value))
        }
    }
}

#[test]
fn every_clause_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/conformance");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("fixtures/conformance") {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let cases: Vec<Case> = serde_json::from_slice(&fs::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in cases {
            let bytes = case.bytes();
            let mut event = Event::new(&bytes);
            parse(case.choice(), &bytes, &case.context(), &mut event);
            assert_eq!(event.raw(), bytes, "{}: the raw bytes stay", case.name);
            for (name, expected) in &case.expected {
                let found = found(&event, name);
                if found != *expected {
                    let (file, case, clause) = (path.file_name().unwrap().display(), &case.name, &case.clause);
                    wrong.push(format!("{file}: {case}\n  {clause}\n  {name}: expected {expected}, found {found}"));
                }
                count += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} do not hold:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 100, "only {count} expectations: the files are missing");
}
