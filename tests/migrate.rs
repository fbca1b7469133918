//! `wharfinger migrate` of configurations of Wazuh: the result is reviewed beside each, and is valid.
//!
//! `BLESS=1` writes the results anew.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn wharfinger(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The result of a file, which passes `validate`.
fn migrated(name: &str) -> String {
    let file = format!("fixtures/ossec/{name}.conf");
    let output = wharfinger(&["migrate", &file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let yaml = text(&output.stdout);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wharfinger.yaml");
    fs::write(&config, &yaml).unwrap();
    let valid = wharfinger(&["validate", "--config", config.to_str().unwrap()]);
    assert!(valid.status.success(), "{yaml}\n{}", text(&valid.stderr));
    yaml
}

#[test]
fn three_configurations_become_valid_ones() {
    for name in ["manager-4", "manager-3", "agent"] {
        let yaml = migrated(name);
        let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/ossec/{name}.yaml.expected"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &yaml).unwrap();
        }
        assert_eq!(yaml, fs::read_to_string(&expected).unwrap(), "{name}");
    }
}

#[test]
fn what_has_no_equivalent_is_noted() {
    let notes = migrated("manager-4");
    for expected in [
        "`slack` asks a service for each alert",
        "let the firewall pass only 192.0.2.0/24, 198.51.100.7, not 192.0.2.66",
        "the connection of Wazuh's own agents stays",
        "UDP loses unseen",
        "Disable the wodle",
        "`<logall_json>yes`",
        "left to Wazuh, with no equivalent here: alerts, wodle, ruleset, localfile",
    ] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
    let notes = migrated("manager-3");
    for expected in [
        "`<location>` is an expression and has no equivalent",
        "for Wazuh to judge these lines, let it read `/var/log/wharfinger/syslog-18.log`",
        "format `default` has no equivalent",
        "`<jsonout_output>no`: set it to `yes`",
    ] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
}

#[test]
fn what_is_no_configuration_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ossec.conf");
    fs::write(&file, "<ossec_config>\n  <global>\n</ossec_config>\n").unwrap();
    let output = wharfinger(&["migrate", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(65));
    assert!(text(&output.stderr).contains("line 3: expected no `</ossec_config>`"), "{}", text(&output.stderr));
    assert_eq!(wharfinger(&["migrate", "/no/such/file"]).status.code(), Some(66));
}
