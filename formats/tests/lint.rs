//! What the linters find, by clause, and in the lines of others.
//!
//! `fixtures/conformance/lint/<format>.json` is an array of `{name, clause, input, expected, corrected}`:
//! `expected` lists `[rule, the bytes it is about]`, `corrected` is the line with every fix made.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr, missing_docs)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value as Json;
use wharfinger_formats::lint::{FINDINGS_MAX, LINTERS, corrected, detect, linter};

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    clause: String,
    input: String,
    expected: Vec<(String, String)>,
    corrected: Option<String>,
}

#[test]
fn every_rule_finds_what_it_is_about_and_nothing_else() {
    let mut wrong = String::new();
    for linter in LINTERS {
        let path = fixtures().join(format!("conformance/lint/{}.json", linter.name));
        let cases: Vec<Case> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let mut met = BTreeSet::new();
        for case in &cases {
            let line = case.input.as_bytes();
            let findings = linter.check(line);
            let found: Vec<(String, String)> = findings
                .iter()
                .map(|finding| {
                    let piece = String::from_utf8_lossy(&line[finding.range.clone()]).into_owned();
                    (finding.rule.id.to_owned(), piece)
                })
                .collect();
            if found != case.expected {
                writeln!(
                    wrong,
                    "{}: {}\n  {:?}\n  expected {:?}\n     found {found:?}",
                    linter.name, case.name, case.clause, case.expected
                )
                .unwrap();
            }
            let fixed = corrected(line, &findings);
            if case.corrected.as_ref().is_some_and(|expected| expected.as_bytes() != fixed) {
                writeln!(wrong, "{}: {}: corrected is {}", linter.name, case.name, String::from_utf8_lossy(&fixed))
                    .unwrap();
            }
            // What can be put right is right then.
            let again = linter.check(&fixed);
            if let Some(left) = again.iter().find(|finding| finding.fix.is_some()) {
                writeln!(
                    wrong,
                    "{}: {}: still {} in {}",
                    linter.name,
                    case.name,
                    left.rule.id,
                    String::from_utf8_lossy(&fixed)
                )
                .unwrap();
            }
            // JSON holds no other bytes: each line once more with one that is not UTF-8 behind it.
            let broken = linter.check(&[line, b"\xff"].concat());
            met.extend(
                broken
                    .iter()
                    .filter(|finding| finding.rule.id.ends_with("-utf8"))
                    .map(|finding| finding.rule.id.to_owned()),
            );
            met.extend(case.expected.iter().map(|(rule, _)| rule.clone()));
        }
        let without: Vec<&str> = linter.rules.iter().map(|rule| rule.id).filter(|id| !met.contains(*id)).collect();
        if !without.is_empty() {
            writeln!(wrong, "{}: no case for {without:?}", linter.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Every fault in the lines of six other projects, one by one, by place: the lines themselves are not
/// ours to copy. `BLESS=1` writes the list anew; the difference is for a reviewer to read.
#[test]
fn every_fault_of_the_lines_of_others() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples/cef");
    if !samples.is_dir() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not there", samples.display());
        eprintln!("NOT RUN: {} is not there; fixtures/conformance/lint has a case for each rule", samples.display());
        return;
    }
    let mut paths: Vec<_> = fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_none_or(|end| end != "json"));
    paths.sort();
    let mut found = String::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let file = path.file_name().unwrap().to_str().unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            let raw = match serde_json::from_str::<Json>(line) {
                Ok(tree) => tree.get("raw").or(tree.get("input")).and_then(|raw| raw.as_str()).unwrap().to_owned(),
                Err(_) => line.to_owned(),
            };
            let findings = linter("cef").unwrap().check(raw.as_bytes());
            if findings.is_empty() {
                writeln!(found, "{file}:{number} is as it should be").unwrap();
            }
            for finding in findings {
                let (id, range) = (finding.rule.id, finding.range);
                writeln!(found, "{file}:{number} {id} {}..{}", range.start, range.end).unwrap();
            }
        }
    }
    let path = fixtures().join("lint/cef-samples.expected");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let different = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{different:?}\nhint: look at each, then run with BLESS=1");
}

/// What we write of every fixture, the linter of its format has nothing to say about: not even a warning.
/// Keys that a sender of CEF chose are still its own when the line is relayed.
#[test]
fn lines_of_our_own_are_as_they_should_be() {
    let folders = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut paths: Vec<_> =
        folders.flat_map(|path| fs::read_dir(path).unwrap()).map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.to_str().is_some_and(|path| path.ends_with(".cef.expected")));
    paths.sort();
    let (mut lines, mut wrong) = (0, String::new());
    for path in paths {
        let text = fs::read(&path).unwrap();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            lines += 1;
            let of_sender = |id: &str| path.parent().unwrap().ends_with("cef") && id == "cef-key-unknown";
            for finding in linter("cef").unwrap().check(line).iter().filter(|finding| !of_sender(finding.rule.id)) {
                let piece = String::from_utf8_lossy(&line[finding.range.clone()]).into_owned();
                writeln!(wrong, "{}: {} `{piece}`: {}", path.display(), finding.rule.id, finding.message).unwrap();
            }
        }
    }
    assert!(lines > 500, "only {lines} lines");
    assert!(wrong.is_empty(), "{wrong}");
}

proptest! {
    #[test]
    fn any_line_is_looked_at(
        start in "(CEF:[0-2]\\|(a\\|){0,7}|LEEF:[12]\\.0\\|(a\\|){0,6}|<1[0-9]{0,2}>1 (- ){0,6}|\\{|)",
        rest in "([a-c]{1,3}=|[ =|\\\\\\[\\]\"\t\n^:,{}é]|cs1(Label)?=|time|event|fields|devTime=|[0-9]{1,13}){0,30}",
    ) {
        let line = [start, rest].concat();
        for linter in LINTERS {
            let findings = linter.check(line.as_bytes());
            for finding in &findings {
                prop_assert!(line.as_bytes().get(finding.range.clone()).is_some(), "{finding:?}");
                prop_assert!(linter.rules.iter().any(|rule| rule.id == finding.rule.id));
                prop_assert!(!finding.message.is_empty());
            }
            corrected(line.as_bytes(), &findings);
        }
    }
}

#[test]
fn a_hostile_line_has_so_many_findings_and_no_more() {
    for (name, start) in
        [("cef", "CEF:0|a|b|c|d|e|5|"), ("leef", "LEEF:1.0|a|b|c|d|"), ("rfc5424", "<13>1 - - - - - "), ("hec", "{")]
    {
        for piece in ["a= ", "=", "\\", "[a]", "[a b=\"]\"]", "\"a\":1,", "a=\t", " a=", "\u{1}", "é", "x"] {
            let line = format!("{start}{}", piece.repeat(1_048_576 / piece.len()));
            assert!(linter(name).unwrap().check(line.as_bytes()).len() <= FINDINGS_MAX);
        }
    }
}

#[test]
fn a_line_is_known_by_what_it_is() {
    for (line, expected) in [
        ("CEF:0|a", Some("cef")),
        ("<13>Nov 21 09:05:09 h CEF:0|a", Some("cef")),
        ("<13>1 - - - - - CEF:0|a", Some("cef")),
        ("LEEF:1.0|a", Some("leef")),
        ("<13>1 - - - - - x", Some("rfc5424")),
        ("{\"event\":1}", Some("hec")),
        ("{\"event\":\"a CEF:0|b\"}", Some("hec")),
        ("<13>CEF:0|a", Some("cef")),
        ("nothing", None),
    ] {
        assert_eq!(detect(line.as_bytes()).map(|linter| linter.name), expected, "{line}");
    }
}
