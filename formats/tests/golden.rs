//! Every line of `fixtures/<format>/` becomes the native JSON, the CEF and the other forms that stand beside it.
//!
//! `BLESS=1` writes the expected files anew; the difference is for a reviewer to read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Field, Format, Offset, Time, parse};

/// 2026-11-21T10:00:00Z, so that years are the same in every year.
const RECEIVED: Time = Time(1_795_255_200_000_000_000);

/// The version of the crate must not be a reason to bless.
const NAMES: EmitContext<'static> = EmitContext { vendor: "Wharfinger", product: "Wharfinger", version: "1" };

fn folder(format: &Format) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(format.name.replace('_', "-"))
}

/// The input files of a format, in order.
fn inputs(format: &Format) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder(format)) else { return Vec::new() };
    let is_input = |path: &PathBuf| path.extension().is_some_and(|end| end == "log" || end == "ndjson" || end == "bin");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(is_input).collect();
    paths.sort();
    paths
}

/// The forms whose output stands beside a file: the nested ones for what engines and managers say,
/// which is what their schemas are about.
fn forms(format: &Format) -> &'static [&'static str] {
    match format.name {
        "docker_events" => &["json", "cef", "ecs", "ocsf", "wazuh"],
        "wazuh" => &["json", "cef", "ecs", "ocsf"],
        _ => &["json", "cef"],
    }
}

/// The frames of a file: the whole of a `.bin`, the lines of all others.
fn frames<'a>(path: &Path, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    if path.extension().is_some_and(|end| end == "bin") {
        return vec![bytes];
    }
    bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n').collect()
}

fn emitter(name: &str) -> &'static Format {
    FORMATS.iter().find(|format| format.name == name && format.emit.is_some()).expect("an emitter of that name")
}

/// What every line of `path` becomes in the form of `emitter`.
fn emitted(path: &Path, bytes: &[u8], format: &'static Format, emitter: &Format) -> String {
    let context = Context { received: RECEIVED, zone: Offset(0) };
    let is_torn = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"torn"));
    let mut out = Vec::new();
    for frame in frames(path, bytes) {
        let mut event = Event::new(frame);
        parse(Choice::Named(format), frame, &context, &mut event);
        let mut guessed = Event::new(frame);
        parse(Choice::Auto, frame, &context, &mut guessed);
        if !is_torn {
            let line = String::from_utf8_lossy(frame);
            assert_eq!(guessed, event, "{}: recognised as it is: {line}", path.display());
            assert_ne!(event.text(Field::ParseStatus), Some("failed"), "{}: {line}", path.display());
        }
        (emitter.emit.unwrap())(&event, &NAMES, &mut out);
        out.push(b'\n');
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn every_line_becomes_what_stands_beside_it() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for format in FORMATS.iter().filter(|format| format.parse.is_some()) {
        for path in inputs(format) {
            let bytes = fs::read(&path).unwrap();
            for form in forms(format) {
                let expected_path = PathBuf::from(format!("{}.{form}.expected", path.display()));
                let got = emitted(&path, &bytes, format, emitter(form));
                if bless {
                    fs::write(&expected_path, &got).unwrap();
                }
                let expected = fs::read_to_string(&expected_path).unwrap_or_default();
                let different =
                    (1..).zip(got.lines().zip(expected.lines())).find(|(_, (got, expected))| got != expected);
                if let Some((line, (got, expected))) = different {
                    wrong.push(format!(
                        "{} line {line}\n     got: {got}\nexpected: {expected}",
                        expected_path.display()
                    ));
                } else if got != expected {
                    wrong.push(format!("{}: not as many lines", expected_path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nhint: look at each, then run with BLESS=1", wrong.join("\n"));
}

#[test]
fn every_format_that_is_read_has_fixtures() {
    let without: Vec<_> = FORMATS
        .iter()
        .filter(|format| format.parse.is_some() && inputs(format).is_empty())
        .map(|format| format.name)
        .collect();
    assert!(without.is_empty(), "no fixtures for {without:?}");
}

#[test]
fn every_expected_file_has_its_input() {
    for format in FORMATS.iter().filter(|format| format.parse.is_some()) {
        let wanted: BTreeSet<_> = inputs(format)
            .iter()
            .flat_map(|path| forms(format).iter().map(move |form| format!("{}.{form}.expected", path.display())))
            .map(PathBuf::from)
            .collect();
        let entries = fs::read_dir(folder(format)).into_iter().flatten().map(|entry| entry.unwrap().path());
        let there: BTreeSet<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "expected")).collect();
        assert_eq!(there, wanted, "{}", format.name);
    }
}
