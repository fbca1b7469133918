//! The real program: what `lint`, `diff`, `explain` and `list` print of lines and files, and how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharfinger")).args(arguments).current_dir(dir).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const GOOD: &str = "CEF:0|v|p|1|c|n|5|src=10.0.0.1 msg=a\\=b\n";
const BAD: &str = "<13>Nov 21 09:05:09 h CEF:0|v|p|1|c|n|12|src=10.0.0.1 msg=a=b \u{1b}[2J\n";

#[test]
fn a_right_line_is_passed_in_silence() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("good.cef"), GOOD).unwrap();
    let output = run(dir.path(), &["lint", "good.cef"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""));
    assert_eq!(text(&output.stderr), "0 errors and 0 warnings in 1 line\n");
}

#[test]
fn a_finding_names_clause_bytes_and_the_correct_line() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("bad.cef"), [GOOD, BAD, "no format\n"].concat()).unwrap();
    let output = run(dir.path(), &["lint", "bad.cef"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(65), "{shown}");
    assert!(shown.contains("bad.cef:2:38..40: error: severity `12`; write 0 to 10"), "{shown}");
    assert!(shown.contains("[cef-severity]") && shown.contains("CEF rev 25, Header Information"), "{shown}");
    assert!(
        shown.contains("bad.cef:2: correct: <13>Nov 21 09:05:09 h CEF:0|v|p|1|c|n|10|src=10.0.0.1 msg=a\\=b  [2J"),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "nothing acts on the terminal");
    assert!(text(&output.stderr).ends_with("in 3 lines; 1 line of a format that is not checked\n"));
}

#[test]
fn findings_as_objects_have_exact_ranges_and_fixes() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("bad.cef"), BAD).unwrap();
    let output = run(dir.path(), &["lint", "--format", "json", "bad.cef"]);
    let objects: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = |rule: &str| objects.iter().find(|object| object["rule"] == rule).unwrap();
    let severity = found("cef-severity");
    assert_eq!((&severity["start"], &severity["end"], &severity["fix"]), (&38.into(), &40.into(), &"10".into()));
    assert_eq!(
        (&severity["file"], &severity["line"], &severity["level"]),
        (&"bad.cef".into(), &1.into(), &"error".into())
    );
    let equals = found("cef-equals");
    let start = usize::try_from(equals["start"].as_u64().unwrap()).unwrap();
    assert_eq!(&BAD.as_bytes()[start..=start], b"=");
}

#[test]
fn sarif_has_every_rule_and_result() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("bad.cef"), BAD).unwrap();
    let output = run(dir.path(), &["lint", "--format", "sarif", "bad.cef"]);
    assert_eq!(output.status.code(), Some(65));
    let tree: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tree["version"], "2.1.0");
    let run = &tree["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(rules.len() > 50 && results.len() >= 3);
    for result in results {
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert!(region["endColumn"].as_u64() >= region["startColumn"].as_u64(), "{region}");
    }
}

#[test]
fn warnings_fail_only_where_that_is_asked_for() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("warn.cef"), "CEF:0|v|p|1|c|n|5|vendorKey=1\n").unwrap();
    assert_eq!(run(dir.path(), &["lint", "warn.cef"]).status.code(), Some(0));
    assert_eq!(run(dir.path(), &["lint", "--strict", "warn.cef"]).status.code(), Some(65));
    assert_eq!(run(dir.path(), &["lint", "missing.cef"]).status.code(), Some(66));
}

#[test]
fn two_files_are_compared_field_by_field() {
    let dir = TempDir::new().unwrap();
    let line = |act: &str| format!("CEF:0|v|p|1|c|n|5|act={act} src=10.0.0.1\n");
    fs::write(dir.path().join("one"), [line("start"), line("stop")].concat()).unwrap();
    // The order of keys is no difference.
    fs::write(dir.path().join("other"), "CEF:0|v|p|1|c|n|5|src=10.0.0.1 act=start\nCEF:0|v|p|1|c|n|5|act=kill\n")
        .unwrap();
    let output = run(dir.path(), &["diff", "one", "other"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "event 2\n  - action = stop\n  + action = kill\n  - src.ip = 10.0.0.1\n");
    assert_eq!(text(&output.stderr), "1 of 2 events differ\n");
    let same = run(dir.path(), &["diff", "--ignore", "action,src.ip", "one", "other"]);
    assert_eq!((same.status.code(), text(&same.stdout)), (Some(0), ""));
}

#[test]
fn an_event_that_is_missing_is_one_difference() {
    let dir = TempDir::new().unwrap();
    let line = |act: &str| format!("CEF:0|v|p|1|c|n|5|act={act} src=10.0.0.1 suser={act} duser={act}\n");
    fs::write(dir.path().join("one"), [line("a"), line("b"), line("c"), line("d")].concat()).unwrap();
    fs::write(dir.path().join("other"), [line("a"), line("c"), line("d").replace("act=d", "act=e")].concat()).unwrap();
    let output = run(dir.path(), &["diff", "one", "other"]);
    assert_eq!(
        text(&output.stdout),
        "event 2\n  - only in the one: c n\nevent 4, 3 of the other\n  - action = d\n  + action = e\n"
    );
    assert_eq!(text(&output.stderr), "2 of 4 events differ; 1 only in the one, 0 only in the other\n");
    let output = run(dir.path(), &["diff", "--json", "other", "one"]);
    let objects: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0], serde_json::json!({ "other_event": 2, "only_in": "other", "summary": "c n" }));
    assert_eq!((&objects[1]["event"], &objects[1]["other_event"]), (&3.into(), &4.into()));
}

/// CEF has `ad_docker_scope` for the `scope` of `docker@32473` in RFC 5424: that is no difference.
#[test]
fn what_a_format_makes_of_a_group_is_no_difference() {
    let dir = TempDir::new().unwrap();
    let event = r#"{"Type":"volume","Action":"create","Actor":{"ID":"v","Attributes":{"driver":"local"}},"scope":"local","time":1795251800,"timeNano":1795251800158000000}"#;
    fs::write(dir.path().join("events"), event).unwrap();
    let output = run(dir.path(), &["diff", "--emitters", "cef,rfc5424", "events"]);
    assert!(
        !text(&output.stdout).contains("scope") && !text(&output.stdout).contains("driver"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn two_emitters_are_compared_by_what_they_carry() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("lines"), "CEF:0|v|p|1|c|n|5|act=a src=10.0.0.1 msg=one\\ntwo\n").unwrap();
    let output = run(dir.path(), &["diff", "--emitters", "cef,leef", "--json", "lines"]);
    assert_eq!(output.status.code(), Some(1));
    let objects: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let msg = objects.iter().find(|object| object["field"] == "msg").unwrap();
    // LEEF has no way to write a line end.
    assert_eq!((&msg["one"], &msg["other"]), (&"one\ntwo".into(), &"one two".into()));
    assert!(!objects.iter().any(|object| object["field"] == "action"));
    assert_eq!(run(dir.path(), &["diff", "--emitters", "cef,none", "lines"]).status.code(), Some(64));
}

#[test]
fn explain_says_what_else_a_line_could_be() {
    let dir = TempDir::new().unwrap();
    let output = run(dir.path(), &["explain", "CEF:0|v|p|1|c|n|5|msg=failed id=7"]);
    assert!(text(&output.stdout).contains("`id=` may be text of `msg`"), "{}", text(&output.stdout));
}

#[test]
fn native_json_is_listed_as_read_and_written() {
    let dir = TempDir::new().unwrap();
    let output = run(dir.path(), &["list", "formats"]);
    let json = text(&output.stdout).lines().find(|line| line.trim_start().starts_with("json ")).unwrap();
    assert!(json.contains("read, write"), "{json}");
}
