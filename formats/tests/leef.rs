//! Properties of LEEF: what is written is read as what it was, and every line is an event.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stderr,
    missing_docs
)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value as Json;
use wharfinger_formats::{Event, Field, Value};

#[path = "support/drawn.rs"]
mod drawn;
#[path = "support/lines.rs"]
mod lines;

use lines::parsed;

fn emitted(event: &Event<'_>) -> String {
    lines::emitted("leef", event)
}

/// §2: no escapes. Control characters become a space, and in the header a pipe `_`, as does a backslash
/// that would stand before one.
fn cleaned(field: Field, text: &str) -> String {
    let spaced: String = text.chars().map(|char| if char < ' ' || char == '\u{7f}' { ' ' } else { char }).collect();
    let mut text = spaced.trim_matches(' ').to_owned();
    let header = [Field::DeviceVendor, Field::DeviceProduct, Field::DeviceVersion, Field::EventClass];
    if header.contains(&field) {
        text = text.replace('|', "_");
        if text.ends_with('\\') {
            text.pop();
            text.push('_');
        }
    }
    text
}

/// A reader written from the grammar alone: five header fields, the delimiter, keys in order.
fn strict(line: &str) -> Vec<(String, String)> {
    assert!(!line.contains(['\n', '\r', '\0']), "{line:?}");
    let fields: Vec<&str> = line.splitn(7, '|').collect();
    assert_eq!((fields.len(), fields[0], fields[5]), (7, "LEEF:2.0", "x09"), "{line:?}");
    let pair = |attribute: &str| {
        let (key, value) = attribute.split_once('=').unwrap();
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !key.is_empty(), "{line:?}");
        assert!(!value.is_empty(), "{line:?}");
        (key.to_owned(), value.to_owned())
    };
    if fields[6].is_empty() { Vec::new() } else { fields[6].split('\t').map(pair).collect() }
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_what_it_was(drawn in drawn::event()) {
        let event = drawn.event(cleaned);
        let line = emitted(&event);
        let mut keys: Vec<String> = strict(&line).into_iter().map(|(key, _)| key).collect();
        let header = [Field::DeviceVendor, Field::DeviceProduct, Field::DeviceVersion, Field::EventClass];
        let in_header = header.iter().filter(|field| event.has(**field)).count();
        prop_assert_eq!(keys.len(), event.fields().len() + event.extras().len() - in_header);
        keys.sort_unstable();
        keys.dedup();
        prop_assert_eq!(keys.len(), event.fields().len() + event.extras().len() - in_header, "each key once");
        let mut back = parsed("auto", line.as_bytes());
        drawn::assert_same(&back, &event, &line);
        back.remove(Field::Format);
        prop_assert_eq!(emitted(&back), line);
    }

    #[test]
    fn any_bytes_behind_the_marker_are_an_event(bytes in "([a-c]{1,2}[=|\t^ \\\\\n]|devTime(Format)?=|x5e\\||yyyy|'|é){0,40}") {
        for start in ["LEEF:1.0|", "LEEF:2.0|a|b|c|d|", "LEEF:2.0|a|b|c|d|^|"] {
            let line = [start, bytes.as_str()].concat();
            for format in ["auto", "leef"] {
                let event = parsed(format, line.as_bytes());
                for (field, value) in event.fields() {
                    prop_assert!(value != Value::Str(""), "{} is empty", field.name());
                }
                strict(&emitted(&event));
            }
        }
    }
}

/// Each pattern fills a mebibyte: a parser that looks back for each of its pieces would not come back.
#[test]
fn a_mebibyte_of_malice() {
    for piece in ["=", "a=\t", "\t", "\\|", "|", " a=", "src=1\t", "usrName=\t", "ad_a_b=c\t", "é", "y", "'"] {
        for start in
            ["LEEF:2.0|", "LEEF:1.0|a|b|c|d|", "LEEF:2.0|a|b|c|d|é|", "LEEF:2.0|a|b|c|d|^|devTime=1^devTimeFormat="]
        {
            let bytes = [start, &piece.repeat(1_048_576 / piece.len())].concat();
            assert_eq!(parsed("leef", bytes.as_bytes()).raw().len(), bytes.len());
        }
    }
    let line = format!("LEEF:2.0|a|b|c|d|^|{}action=end", "x=y^".repeat(2_000));
    let event = parsed("leef", line.as_bytes());
    assert_eq!(event.text(Field::ParseStatus), Some("partial"));
    let rest = event.extras().find(|extra| extra.name.is_empty()).map(|extra| extra.value);
    assert_eq!(rest, Some(Value::Str("action=end")));
}

/// Lines that IBM and Tenzir document and that axosyslog tests with: all are read as LEEF, and every
/// value of them is there.
#[test]
fn lines_of_others_are_read_whole() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples/leef");
    if !samples.is_dir() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not there", samples.display());
        eprintln!("NOT RUN: {} is not there; fixtures/conformance has what its files show", samples.display());
        return;
    }
    let text = fs::read_to_string(samples.join("axosyslog-parse-leef-literals.ndjson")).unwrap();
    let raw = |line: &str| serde_json::from_str::<Json>(line).unwrap()["raw"].as_str().unwrap().to_owned();
    let documented = fs::read_to_string(samples.join("ibm-and-tenzir-documented.log")).unwrap();
    let lines: Vec<String> = text.lines().map(raw).chain(documented.lines().map(str::to_owned)).collect();
    assert_eq!(lines.len(), 28);
    let mut torn = 0;
    for line in lines {
        let event = parsed("auto", line.as_bytes());
        assert!(event.text(Field::Format).is_some_and(|format| format.ends_with("leef")), "{line}");
        torn += usize::from(event.text(Field::ParseStatus) == Some("partial"));
        let mut written = String::new();
        for value in event.fields().map(|(_, value)| value).chain(event.extras().map(|extra| extra.value)) {
            written.push_str(&match value {
                Value::Str(text) | Value::Json(text) => text.to_owned(),
                Value::Int(number) => number.to_string(),
                other => format!("{other:?}"),
            });
            written.push('\n');
        }
        let (_, rest) = line.split_once("LEEF:").unwrap();
        for word in rest.split(['|', '\t', '^', '@', '=', ' ', '\\']).filter(|word| word.len() > 3) {
            let is_key = rest.contains(&format!("{word}=")) || ["INVALID", "0x40"].contains(&word);
            assert!(is_key || written.contains(word), "{word:?} of {line:?} is not in\n{written}");
        }
    }
    assert_eq!(torn, 4, "a header that ends early, an unknown delimiter, two without an equals sign");
}
