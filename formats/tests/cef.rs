//! Properties of CEF: what is written is read as what it was, every line is an event, and others'
//! parsers see the same in others' lines.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stderr,
    missing_docs
)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value as Json;
use wharfinger_formats::{Event, Field, Value};

#[path = "support/drawn.rs"]
mod drawn;
#[path = "support/lines.rs"]
mod lines;

use lines::parsed;

fn emitted(event: &Event<'_>) -> String {
    lines::emitted("cef", event)
}

/// §1.1: control characters become a space, spaces at the ends are stripped; in the header line ends
/// and tabs are such characters too.
fn cleaned(field: Field, text: &str) -> String {
    let header = [Field::DeviceVendor, Field::DeviceProduct, Field::DeviceVersion, Field::EventClass, Field::Name];
    let in_header = header.contains(&field);
    let is_space = |char: char| match char {
        '\n' | '\r' | '\t' => in_header,
        char => char < ' ' || char == '\u{7f}',
    };
    let spaced: String = text.chars().map(|char| if is_space(char) { ' ' } else { char }).collect();
    spaced.trim_matches([' ', '\t']).to_owned()
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_what_it_was(drawn in drawn::event()) {
        let mut event = drawn.event(cleaned);
        let line = emitted(&event);
        // The machine is what it was done to, unless something else is: the same name says no more.
        if event.text(Field::DstHost) == event.text(Field::HostName) {
            event.remove(Field::DstHost);
        }
        let mut back = parsed("auto", line.as_bytes());
        drawn::assert_same(&back, &event, &line);
        // Once more it is the same line, byte for byte.
        back.remove(Field::Format);
        prop_assert_eq!(emitted(&back), line);
    }

    #[test]
    fn any_bytes_behind_the_marker_are_an_event(bytes in "([a-c]{1,2}[=| \\\\\n]|cs1(Label)?=|msg=|src=|ad_|é){0,40}") {
        check_total(&[b"CEF:0|", bytes.as_bytes()].concat());
        check_total(&[b"CEF:0|a|b|c|d|e|5|", bytes.as_bytes()].concat());
    }

    #[test]
    fn a_damaged_line_is_an_event(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let mut bytes = br"<13>Nov 21 09:05:09 h CEF:0|a|b\||c|d|e|5|src=1.2.3.4 cs1=x\=y cs1Label=L rt=1795251800158 msg=a b".to_vec();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        check_total(&bytes);
    }
}

/// Every line is an event with its bytes, and no field is an empty text.
fn check_total(bytes: &[u8]) {
    for format in ["auto", "cef"] {
        let event = parsed(format, bytes);
        assert_eq!(event.raw(), bytes);
        for (field, value) in event.fields() {
            assert!(value != Value::Str(""), "{} is empty", field.name());
        }
        assert!(!emitted(&event).contains(['\n', '\r']));
    }
}

/// Each pattern fills a mebibyte: a parser that looks back for each of its pieces would not come back.
#[test]
fn a_mebibyte_of_malice() {
    for piece in [
        "=",
        "a=",
        " a=",
        "a= ",
        "\\",
        "\\=",
        "|",
        " ",
        "CEF:",
        " CEF:0",
        "a ",
        "cs1=x ",
        "cs1Label=x ",
        "msg=a b=",
        "msg= aLabel= ",
        "src=host ",
        "\u{fffd}",
        ",",
        "ad_a_b=c ",
        "deviceCustomDate1=1 ",
    ] {
        for start in ["CEF:0|", "CEF:0|a|b|c|d|e|5|", "x CEF:0|a|b|c|d|e|5|msg="] {
            let bytes = [start, &piece.repeat(1_048_576 / piece.len())].concat();
            let event = parsed("cef", bytes.as_bytes());
            assert_eq!(event.raw().len(), bytes.len());
        }
    }
    // As many different keys as are read, each with its label at the other end; of more the rest is kept.
    let keys: String = (0..1_000).map(|number| format!("cs{number}=x ")).collect();
    let labels: String = (0..1_000).rev().map(|number| format!("cs{number}Label=y ")).collect();
    let line = format!("CEF:0|a|b|c|d|e|5|{keys}{labels}");
    let event = parsed("cef", line.as_bytes());
    assert_eq!(event.extras().filter(|extra| extra.group == "custom").count(), 1_000);
    assert_eq!(event.text(Field::ParseStatus), None);
    let line = format!("{line}act=end x=y");
    let event = parsed("cef", line.as_bytes());
    assert_eq!(event.text(Field::ParseStatus), Some("partial"));
    let rest = event.extras().find(|extra| extra.name.is_empty()).map(|extra| extra.value);
    assert_eq!((rest, event.text(Field::Action)), (Some(Value::Str("act=end x=y")), None));
}

#[test]
fn more_keys_than_usual_are_read_the_same() {
    for count in [10, 63, 64, 65, 200] {
        let extension: String = (0..count).map(|number| format!("k{number}=v{number} ")).collect();
        let line = format!("CEF:0|a|b|c|d|e|5|cs9=x {extension}cs9Label=L act=end k0=again");
        let event = parsed("cef", line.as_bytes());
        assert_eq!(event.text(Field::Action), Some("end"));
        assert_eq!(event.text(Field::ParseDuplicateKeys), Some("k0"));
        assert!(event.extras().any(|extra| (extra.group, extra.name, extra.value) == ("custom", "L", Value::Str("x"))));
        assert_eq!(event.extras().filter(|extra| extra.group == "cef").count(), count + 1);
    }
}

#[test]
fn a_line_that_was_not_understood_passes_through() {
    let event = parsed("auto", b"no format");
    let line = emitted(&event);
    let back = parsed("auto", line.as_bytes());
    assert_eq!(back.text(Field::EventClass), Some("unparsed"));
    assert_eq!(back.text(Field::ParseStatus), Some("failed"));
    let raw = back.extras().find(|extra| extra.name == "rawEvent").map(|extra| extra.value);
    assert_eq!(raw, Some(Value::Str("no format")));
}

fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples/cef");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not there", folder.display());
    eprintln!("NOT RUN: {} is not there; fixtures/conformance has what its files show", folder.display());
    None
}

/// The values of an event as text.
fn texts(event: &Event<'_>) -> Vec<String> {
    let text = |value| match value {
        Value::Str(text) | Value::Json(text) => text.to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Time(time) => time.millis().to_string(),
    };
    event.fields().map(|(_, value)| value).chain(event.extras().map(|extra| extra.value)).map(text).collect()
}

/// jcustenborder/cef-parser reads these lines the same. Known to differ: a space that two spaces
/// leave at the end of a value belongs to it (§1.2 2), it strips it.
#[test]
fn the_parser_of_kafka_connect_sees_the_same() {
    let Some(samples) = samples() else { return };
    let lines = fs::read_to_string(samples.join("cef-parser-messages.ndjson")).unwrap();
    for line in lines.lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let (input, theirs) = (case["input"].as_str().unwrap(), &case["expected"]);
        let event = parsed("auto", input.as_bytes());
        for (field, key) in [
            (Field::DeviceVendor, "deviceVendor"),
            (Field::DeviceProduct, "deviceProduct"),
            (Field::DeviceVersion, "deviceVersion"),
            (Field::EventClass, "deviceEventClassId"),
            (Field::Name, "name"),
        ] {
            assert_eq!(event.text(field), theirs[key].as_str(), "{input}");
        }
        assert_eq!(event.int(Field::Severity).map(|number| number.to_string()).as_deref(), theirs["severity"].as_str());
        let ours = texts(&event);
        for (key, value) in theirs["extensions"].as_object().unwrap() {
            let value = value.as_str().unwrap();
            // A label is the name of its value; without one it is dropped (§1.3).
            let is_label = key.ends_with("Label");
            assert!(is_label || ours.iter().any(|text| text == value), "{key}={value} in {input}");
        }
        if let Some(host) = theirs["host"].as_str() {
            let named = event.extras().find(|extra| extra.group == "syslog" && extra.name == "host.name");
            let named = named.map(|extra| extra.value).or_else(|| event.get(Field::HostName));
            assert_eq!(named, Some(Value::Str(host)), "{input}");
        }
    }
}

/// The lines of a file of samples: as they are, or as `raw` of an object.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let raw = |line: &str| -> String {
        let tree: Json = serde_json::from_str(line).unwrap();
        tree.get("raw").or_else(|| tree.get("input")).unwrap().as_str().unwrap().to_owned()
    };
    let is_json = path.extension().is_some_and(|end| end == "ndjson");
    text.lines().map(|line| if is_json { raw(line) } else { line.to_owned() }).collect()
}

/// Lines of six other projects: each is read as CEF, every value of it is there, and only of those that
/// are torn a part was not understood.
#[test]
fn lines_of_others_are_read_whole() {
    let Some(samples) = samples() else { return };
    let (mut count, mut torn) = (0, 0);
    for path in fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|end| end == "json") {
            continue;
        }
        for line in lines(&path) {
            let event = parsed("auto", line.as_bytes());
            let format = event.text(Field::Format).unwrap_or_default();
            assert!(format == "cef" || format.ends_with("+cef"), "{format:?}: {line}");
            let extension = line.splitn(8, '|').nth(7);
            let is_torn = event.text(Field::ParseStatus) == Some("partial");
            // A header that ends early, or an extension without a key.
            assert!(!is_torn || extension.is_none_or(|extension| !extension.contains('=')), "{line}");
            let (written, extension) = (texts(&event).join("\n"), extension.unwrap_or_default());
            torn += usize::from(is_torn);
            let words = extension.split([' ', '=', '\\']).filter(|word| word.len() > 3 && !word.ends_with("Label"));
            let is_key = |word: &str| extension.contains(&format!("{word}="));
            for word in words.filter(|word| !is_key(word) && !word.contains('|')) {
                let label = event.extras().any(|extra| extra.name.contains(word));
                let time = extension.contains("rt=") || extension.contains("start=") || extension.contains("Date1=");
                assert!(
                    label || time || written.contains(word) || word == "unit",
                    "{word:?} of {line} is not in\n{written}"
                );
            }
            count += 1;
        }
    }
    assert!(count > 140 && torn == 15, "{count} lines read, {torn} of them torn");
}
