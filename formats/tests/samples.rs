//! Lines of others, from `../shared/samples` beside the repository: nothing panics, nothing is lost,
//! and each file's lines are read as the format they are.
//!
//! The folder is extra: what its files show stands in `fixtures/conformance` by our own hand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Field, Offset, Time, parse};

#[path = "support/nothing_lost.rs"]
mod nothing_lost;

/// Files whose every line is one of a format: the end of the path and the format.
const KNOWN: &[(&str, &str)] = &[
    ("docker-events/engine20.10-api.ndjson", "docker_events"),
    ("docker-events/engine20.10-api-since-until-filter-container.ndjson", "docker_events"),
    ("docker-events/engine20.10-cli-json.ndjson", "docker_events"),
    ("docker-events/engine20.10-label-collisions.ndjson", "docker_events"),
    ("docker-events/engine20.10-names-and-labels.ndjson", "docker_events"),
    ("docker-events/engine28.5-api.ndjson", "docker_events"),
    ("docker-events/api-v1.18-documented.ndjson", "docker_events"),
    ("docker-json-file/engine28-json.log", "docker_json"),
    ("docker-json-file/fluent-bit-k8s-docker-json.log", "docker_json"),
    ("docker-json-file/labels-env-tag-json.log", "docker_json"),
    ("docker-json-file/plain-json.log", "docker_json"),
    ("docker-json-file/rotated-json.log", "docker_json"),
    ("docker-json-file/tty-json.log", "docker_json"),
    ("wazuh/docs-3.7-docker-start.json", "wazuh"),
    ("wazuh/docs-4.x-container-web-attack-indexed.json", "wazuh"),
    ("wazuh/docs-4.x-docker-start-indexed.json", "wazuh"),
    ("dockerd/engine20.10-debug-workload.log", "dockerd"),
    ("dockerd/engine28.5-debug.log", "dockerd"),
    ("syslog5424/syslog-loose-with_structured_data.txt", "rfc5424"),
    ("syslog5424/syslog-loose-without_structured_data.txt", "rfc5424"),
    ("syslog3164/loghub-OpenSSH_2k.log", "rfc3164"),
    ("syslog3164/loghub-Linux_2k.log", "rfc3164"),
];

/// The folder, or nothing if it is not there, which CI does not allow.
fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not there", folder.display());
    eprintln!("NOT RUN: {} is not there; fixtures/conformance has what its files show", folder.display());
    None
}

/// The frames of a file: a `.json` holds one, all others one a line.
fn frames<'a>(path: &Path, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    if path.extension().is_some_and(|end| end == "json") {
        return vec![bytes.trim_ascii_end()];
    }
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
}

fn parsed(choice: Choice, frame: &[u8]) -> Event<'_> {
    let context = Context { received: Time(1_795_255_200_000_000_000), zone: Offset(0) };
    let mut event = Event::new(frame);
    parse(choice, frame, &context, &mut event);
    event
}

/// Native JSON that `serde_json` reads and that holds the bytes; CEF of one line.
fn check_emitted(event: &Event<'_>, path: &Path) {
    let emitted = |name: &str| {
        let emit = FORMATS.iter().find(|format| format.name == name).and_then(|format| format.emit).unwrap();
        let mut out = Vec::new();
        emit(event, &EmitContext::default(), &mut out);
        out
    };
    let json: serde_json::Value =
        serde_json::from_slice(&emitted("json")).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match std::str::from_utf8(event.raw()) {
        Ok(raw) => assert_eq!(json.get("raw").and_then(|raw| raw.as_str()), Some(raw), "{}", path.display()),
        Err(_) => assert!(json.get("raw_base64").is_some_and(|raw| raw.is_string()), "{}", path.display()),
    }
    assert!(!emitted("cef").iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)), "{}", path.display());
}

#[test]
fn lines_of_every_file_are_taken_and_given_back() {
    let Some(samples) = samples() else { return };
    let folders = fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut frames_read = 0;
    for path in folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()) {
        let bytes = fs::read(&path).unwrap();
        for frame in frames(&path, &bytes) {
            check_emitted(&parsed(Choice::Auto, frame), &path);
            frames_read += 1;
        }
    }
    assert!(frames_read > 5_000, "only {frames_read} frames read");
}

#[test]
fn lines_are_read_as_the_format_they_are() {
    let Some(samples) = samples() else { return };
    for (end, name) in KNOWN {
        let path = samples.join(end);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for frame in frames(&path, &bytes) {
            let line = String::from_utf8_lossy(frame);
            let event = parsed(Choice::Auto, frame);
            let format = event.text(Field::Format).unwrap_or("none");
            // Syslog may carry a line of another format.
            assert_eq!(format.split('+').next(), Some(*name), "{end}: {line}");
            assert_eq!(event.text(Field::ParseStatus), None, "{end}: {line}");
            if let Ok(tree) = serde_json::from_slice(frame) {
                nothing_lost::check(&tree, &event);
            }
        }
    }
}
