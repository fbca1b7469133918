//! `graph` and `explain --route`: what a configuration sends where, and why.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = r#"
sources:
  docker: {type: stdin}
sinks:
  siem: {type: file, path: siem, when: 'severity >= 5 && !event_class.startsWith("container.log")'}
  lake: {type: file, path: lake, when: 'event_class.startsWith("container.") || event_class in ["image.pull", "daemon.log"]'}
  web: {type: file, path: web, when: 'vm.name == "web-1\u001b[2J"'}
  odd: {type: file, path: odd, when: 'has(vm.name) && severity > 9'}
"#;

fn run(dir: &Path, config: &str, arguments: &[&str]) -> Output {
    fs::write(dir.join("w.yaml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.args(arguments).args(["--config", "w.yaml"]).current_dir(dir).env_clear().env("HOME", dir).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn row<'t>(text: &'t str, first: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(first));
    line.unwrap_or_else(|| panic!("no {first} in\n{text}")).split_whitespace().skip(1).collect()
}

#[test]
fn a_graph_says_which_class_reaches_which_sink() {
    let dir = TempDir::new().unwrap();
    let text = stdout(&run(dir.path(), CONFIG, &["graph"]));
    assert_eq!(row(&text, "container.*"), ["some", "all", "some", "some"], "{text}");
    assert_eq!(row(&text, "container.log*"), ["-", "all", "some", "some"], "{text}");
    assert_eq!(row(&text, "image.*"), ["some", "some", "some", "some"], "{text}");
    assert_eq!(row(&text, "image.pull"), ["some", "all", "some", "some"], "{text}");
    assert_eq!(row(&text, "wazuh.*"), ["some", "-", "some", "some"], "{text}");
    assert_eq!(row(&text, "gap"), ["all"; 4], "{text}");
    assert!(text.contains("source docker (stdin)") && text.contains("each class reaches a sink"), "{text}");
    assert!(text.contains(r#"sink siem (file): when severity >= 5 && !(event_class.startsWith("container.log"))"#));
    // No expression acts on the terminal.
    assert!(
        !text.contains('\u{1b}') && text.contains(r#"sink web (file): when vm.name == "web-1\u001b[2J""#),
        "{text}"
    );

    let only = CONFIG.split("  web:").next().unwrap().replace("severity >= 5 && ", "");
    let text = stdout(&run(dir.path(), &only.replace("!event_class", "event_class"), &["graph"]));
    let lost = text.lines().last().unwrap();
    assert!(lost.starts_with("reach no sink: api.*, archive.*") && lost.ends_with("(none)"), "{text}");
    assert!(!lost.contains("container") && !lost.contains("gap") && lost.contains("unparsed"), "{text}");
    let text = stdout(&run(dir.path(), "sources:\n  in: {type: stdin}\nsinks: {}\n", &["graph"]));
    assert!(text.ends_with("there is no sink: nothing is delivered\n"), "{text}");
}

#[test]
fn a_graph_is_drawn_by_others() {
    let dir = TempDir::new().unwrap();
    let json: Value = serde_json::from_str(&stdout(&run(dir.path(), CONFIG, &["graph", "--format", "json"]))).unwrap();
    assert_eq!(json["sources"][0]["name"], "docker");
    assert_eq!(json["sinks"][1]["classes"]["container.*"], "all");
    assert_eq!(json["sinks"][1]["classes"]["wazuh.*"], "-");
    assert_eq!(json["reach_no_sink"].as_array().unwrap().len(), 0);
    let when = json["sinks"][2]["when"].as_str().unwrap();
    assert_eq!(when, r#"vm.name == "web-1\u001b[2J""#);

    let dot = stdout(&run(dir.path(), CONFIG, &["graph", "--format", "dot"]));
    assert!(dot.starts_with("digraph wharfinger {\n") && dot.ends_with("}\n"));
    assert!(dot.contains("source0 -> journal;") && dot.contains("journal -> sink1 [label="), "{dot}");
    // What a `when` names ends no text.
    let odd = CONFIG.replace("container.log", "a\\\"] -> x").replace("'severity", "'true || severity");
    let dot = stdout(&run(dir.path(), &odd, &["graph", "--format", "dot"]));
    assert!(dot.contains(r#"a\"] -> x*"#), "{dot}");
    let mermaid = stdout(&run(dir.path(), CONFIG, &["graph", "--format", "mermaid"]));
    assert!(mermaid.starts_with("flowchart LR\n") && mermaid.contains("source0[\"docker\"] --> journal"), "{mermaid}");
    let mermaid = stdout(&run(dir.path(), &odd, &["graph", "--format", "mermaid"]));
    assert!(mermaid.contains("a#34;#93; -#62; x*"), "{mermaid}");
}

const LINE: &str = r#"{"status":"start","id":"4fe2b1a09c3d","from":"alpine:3","Type":"container","Action":"start","Actor":{"ID":"4fe2b1a09c3d","Attributes":{"image":"alpine:3","name":"web"}},"time":1795251800,"timeNano":1795251800158734145}"#;

#[test]
fn one_event_is_routed_and_the_part_that_decides_is_named() {
    let dir = TempDir::new().unwrap();
    let text = stdout(&run(dir.path(), CONFIG, &["explain", LINE, "--route"]));
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(
        line("lake").contains(r#"yes   `event_class.startsWith("container.")`: event_class is `container.start`"#),
        "{text}"
    );
    assert!(line("siem").contains("no    `severity >= 5`: severity is "), "{text}");
    assert!(line("web").contains("the event has no vm.name"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");

    let set = ["explain", LINE, "--route", "--set", "vm.name=db-1", "--set", "severity=7"];
    let text = stdout(&run(dir.path(), CONFIG, &set));
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("siem").contains("yes"), "{text}");
    assert!(line("web").contains("no    `vm.name == ") && line("web").ends_with("vm.name is `db-1`"), "{text}");
    assert!(line("odd").contains("no    `severity > 9`: severity is 7"), "{text}");

    let gap = r#"{"event_class":"gap","msg":"lost"}"#;
    let text = stdout(&run(dir.path(), CONFIG, &["explain", gap, "--from", "json", "--route"]));
    assert_eq!(text.matches("gap records go to every sink").count(), 4, "{text}");
    for (set, expected) in [("no.such=1", "no field"), ("severity=x", "whole number"), ("vm.name", "FIELD=VALUE")] {
        let output = run(dir.path(), CONFIG, &["explain", LINE, "--route", "--set", set]);
        assert_eq!(output.status.code(), Some(64));
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected));
    }
}
