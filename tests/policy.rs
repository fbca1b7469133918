//! The policy in the real binary: findings of a running gateway, also over a restart; `wharfinger policy`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use support::gateway::Gateway;
use support::process::eventually;

const CONFIG: &str = r#"
policy:
  groups:
    playground: {vms: ["lab-*"], docker: allowed}
    prod: {vms: ["web-*"], docker: allowed, registries: [registry.example], shell: forbidden}
    default: {docker: forbidden, registries: ["*"]}
  exceptions:
    - {rule: shell_in_container, vms: [web-9], until: 2199-01-01, reason: "a reason"}
"#;

const TESTS: &str = r#"
tests:
  - name: the playground may
    machine: {vm.name: lab-1}
    event: {event_class: container.start}
    findings: []
  - name: others may not
    machine: {vm.name: mail}
    events: [{event_class: container.start}, {event_class: container.die}]
    findings: [docker_not_allowed]
  - name: a registry by a recorded line
    machine: {vm.name: web-1}
    event: '{"status":"pull","id":"nginx:1","Type":"image","Action":"pull","Actor":{"ID":"nginx:1","Attributes":{"name":"nginx"}},"time":1795252321}'
    findings: [untrusted_registry]
"#;

fn run(dir: &Path, arguments: &[&str]) -> Output {
    fs::write(dir.join("w.yaml"), CONFIG).unwrap();
    Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .current_dir(dir)
        .env_remove("WHARFINGER_CONFIG")
        .arg("policy")
        .args(arguments)
        .args(["-c", "w.yaml"])
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn tests_of_a_policy() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("t.yaml"), TESTS).unwrap();
    let output = run(dir.path(), &["test", "t.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).ends_with("3 of 3 tests passed\n"), "{output:?}");

    fs::write(dir.path().join("t.yaml"), TESTS.replace("[docker_not_allowed]", "[]")).unwrap();
    let output = run(dir.path(), &["test", "t.yaml"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let printed = text(&output.stdout);
    assert!(
        printed.contains("FAILED  others may not\n        t.yaml:7: expected [], found [docker_not_allowed]"),
        "{printed}"
    );

    fs::write(dir.path().join("t.yaml"), "tests: [{name: x}]\n").unwrap();
    let output = run(dir.path(), &["test", "t.yaml"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(text(&output.stderr).contains("t.yaml:1:9: the test `x` has no event"), "{output:?}");
}

#[test]
fn each_rule_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let line = r#"{"status":"exec_create: /bin/sh -c id","id":"aa","from":"nginx:1","Type":"container","Action":"exec_create: /bin/sh -c id","Actor":{"ID":"aa","Attributes":{"image":"nginx:1","name":"web"}},"time":1795252321}"#;
    let rows = |vm: &str| {
        let output = run(dir.path(), &["explain", line, "--vm", vm]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let prod = rows("web-1");
    for row in [
        "machine web-1",
        "group prod",
        "class container.exec_create",
        "docker_not_allowed allowed `docker` allows it",
        "untrusted_registry no it is about other events",
        "shell_in_container finding `shell` does not allow it",
    ] {
        assert!(prod.iter().any(|line| line == row), "{row} is not in {prod:#?}");
    }
    assert!(rows("web-9").contains(&"shell_in_container excepted a reason".to_owned()));
    let mail = rows("mail");
    assert!(mail.contains(&"docker_not_allowed finding `docker` does not allow it".to_owned()), "{mail:#?}");
    assert!(mail.contains(&"shell_in_container no neither the group nor `default` says `shell`".to_owned()));
}

const WITHIN: Duration = Duration::from_secs(60);

/// The findings at the file, as soon as there are so many.
fn findings(file: &Path, count: usize) -> Vec<Value> {
    eventually("the findings", WITHIN, || {
        let text = fs::read_to_string(file).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found: Vec<Value> = events.filter(|event| event["rule.id"].is_string()).collect();
        // After a kill the last ones may come again.
        found.dedup_by(|one, other| one["event_id"] == other["event_id"]);
        assert!(found.len() <= count, "{found:#?}");
        (found.len() == count).then_some(found)
    })
}

#[test]
fn a_finding_goes_on_over_kill_and_is_resolved_when_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.ndjson");
    let config = |docker: &str| {
        format!(
            "sources:\n  in: {{type: syslog, mode: tcp, address: \"127.0.0.1:0\"}}\nsinks:\n  out: {{type: file, path: \
             {}}}\npolicy:\n  groups:\n    default: {{docker: {docker}}}\n{}",
            file.display(),
            support::inventory::identity(dir.path())
        )
    };
    let line = r#"<134>1 2026-11-22T07:00:00Z web - - - - {"status":"start","id":"aa","from":"nginx:1","Type":"container","Action":"start","Actor":{"ID":"aa","Attributes":{"image":"nginx:1","name":"web"}},"time":1795252321}"#;
    let send = |gateway: &Gateway| {
        let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
        writeln!(stream, "{line}").unwrap();
    };
    let gateway = Gateway::start(dir.path(), &config("forbidden"));
    send(&gateway);
    let first = findings(&file, 1).remove(0);
    assert_eq!((&first["action"], &first["vm.name"]), (&"create".into(), &support::inventory::VM_NAME.into()));
    gateway.kill();

    // Docker is allowed now: what was found before is resolved, and nothing else is found.
    let gateway = Gateway::start(dir.path(), &config("allowed"));
    send(&gateway);
    let found = findings(&file, 2);
    assert_eq!((&found[1]["action"], &found[1]["outcome"]), (&"close".into(), &"success".into()));
    assert_eq!(found[1]["fields"]["finding.id"], first["fields"]["finding.id"]);
    gateway.stop();
    assert_eq!(findings(&file, 2).len(), 2);
}
