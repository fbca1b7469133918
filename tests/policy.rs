//! `wharfinger policy`: unit tests of a policy, and each rule's reason, by the real binary.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

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
