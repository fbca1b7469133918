//! The real program: `convert`, `diff` and `explain` on files whose records are more than a line, or less.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn run(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who has read enough closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn converted(arguments: &[&str], stdin: &[u8]) -> Vec<Value> {
    let output = run(&[&["convert"], arguments].concat(), stdin);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn messages(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["msg"].as_str().unwrap_or_default()).collect()
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

#[test]
fn an_entry_of_the_journal_is_one_event_whatever_its_message_holds() {
    let text = b"hello\n_HOSTNAME=forged\nCONTAINER_NAME=trusted\n\n__CURSOR=x";
    let mut entry = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795252153507221\n_HOSTNAME=vm\nMESSAGE\n".to_vec();
    entry.extend_from_slice(&(text.len() as u64).to_le_bytes());
    entry.extend_from_slice(text);
    entry.extend_from_slice(b"\n\n");
    let two =
        [&entry[..], b"__CURSOR=s=2\n__REALTIME_TIMESTAMP=1795252153507222\n_HOSTNAME=vm\nMESSAGE=second\n\n"].concat();
    for from in ["journald", "auto"] {
        let events = converted(&["--from", from], &two);
        assert_eq!(messages(&events), [std::str::from_utf8(text).unwrap(), "second"], "{from}");
        for event in &events {
            assert_eq!((&event["host.name"], &event["container.name"]), (&"vm".into(), &Value::Null), "{from}");
        }
    }
    // All of a real one, and its first entry.
    let events = converted(&[], &fixture("streams/journald.export"));
    assert!(events.len() > 5 && events.iter().all(|event| event["format"].as_str().unwrap().starts_with("journald")));
    let page = run(&["explain"], &fixture("streams/journald.export"));
    assert!(String::from_utf8_lossy(&page.stdout).contains("journald"), "{page:?}");
}

#[test]
fn records_of_the_local_driver_are_cut_by_their_lengths() {
    let file = fixture("streams/local-driver.bin");
    for from in ["docker_local", "auto"] {
        let events = converted(&["--from", from], &file);
        assert!(events.len() > 3 && events.iter().all(|event| event["format"] == "docker_local"), "{from}: {events:?}");
    }
    // What cannot be cut any further is an error, behind what could be.
    let mut torn = file.clone();
    torn.extend_from_slice(b"\0\0\0\x08\n\x06stdout\0\0\0\x09");
    let output = run(&["convert"], &torn);
    assert_eq!(output.status.code(), Some(65));
    assert_eq!(output.stdout, run(&["convert"], &file).stdout);
    assert!(String::from_utf8_lossy(&output.stderr).contains("two lengths differ"), "{output:?}");
}

#[test]
fn parts_of_a_line_are_joined_by_stream() {
    let line = |stream: &str, log: &str| {
        format!("{{\"log\":\"{log}\",\"stream\":\"{stream}\",\"time\":\"2026-11-21T09:05:01Z\"}}\n")
    };
    let file =
        [line("stdout", "one "), line("stderr", "err\\n"), line("stdout", "two\\n"), line("stdout", "open")].concat();
    for from in ["docker_json", "auto"] {
        let events = converted(&["--from", from], file.as_bytes());
        assert_eq!(messages(&events), ["err", "one two", "open"], "{from}");
    }
    // "Two objects on one line."
    let two = file.lines().take(2).collect::<String>();
    assert_eq!(messages(&converted(&[], two.as_bytes())), ["err", "one "]);
}

#[test]
fn a_trace_belongs_to_the_line_of_dockerd_above_it() {
    let file = "time=\"2026-11-21T09:05:11Z\" level=error msg=first\npanic: boom\n\ngoroutine 1 [running]:\n\
                time=\"2026-11-21T09:05:12Z\" level=info msg=second\n";
    let events = converted(&["--from", "dockerd"], file.as_bytes());
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0]["raw"].as_str().unwrap().ends_with("goroutine 1 [running]:"), "{events:?}");
    assert_eq!(events[1]["msg"], "second");
    // Nothing says in a file of any format that a line goes on.
    assert_eq!(converted(&[], file.as_bytes()).len(), 4);
    // Below what is no line of dockerd nothing is joined.
    assert_eq!(converted(&["--from", "dockerd"], b"a\nb\nc\n").len(), 3);
}

#[test]
fn objects_in_a_row_are_events_of_their_own() {
    let event = |action: &str| {
        format!(
            r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"ab","Attributes":{{"name":"}}{{"}}}},"time":1}}"#
        )
    };
    let stream = format!("{}{}\n\u{1e}{}\u{1e}{}\n", event("start"), event("stop"), event("kill"), event("die"));
    for from in ["docker_events", "auto"] {
        let events = converted(&["--from", from], stream.as_bytes());
        let actions: Vec<&str> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["start", "stop", "kill", "die"], "{from}");
    }
    let events = converted(&["--from", "hec"], br#"{"event":"a","time":1}{"event":"b","time":2}"#);
    assert_eq!(messages(&events), ["a", "b"]);
    let page = run(&["explain", &[event("start"), event("stop")].concat()], b"");
    assert!(String::from_utf8_lossy(&page.stderr).contains("the first of 2 records"), "{page:?}");
}

#[test]
fn native_json_is_read_back_where_it_is_named() {
    let dir = TempDir::new().unwrap();
    let file = fixture("docker-events/engine-28.5.ndjson");
    let native = run(&["convert", "--to", "json"], &file).stdout;
    let cef = |arguments: &[&str], stdin: &[u8]| run(&[&["convert", "--to", "cef"], arguments].concat(), stdin).stdout;
    assert_eq!(cef(&["--from", "json"], &native), cef(&[], &file));
    assert_eq!(run(&["convert", "--from", "json", "--to", "json"], &native).stdout, native);
    // In `auto` it is a line like any other: who can write one must not say what the gateway alone may say.
    let forged = br#"{"event_id":"00deadbeef000001-0000000000000042","vm.name":"trusted","raw":"x"}"#;
    assert_eq!(converted(&[], forged)[0]["vm.name"], Value::Null);
    let broken = converted(&["--from", "json"], b"{\"raw\":1}\n");
    assert_eq!((&broken[0]["event_class"], &broken[0]["raw"]), (&"unparsed".into(), &"{\"raw\":1}".into()));

    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(Path::new(&path("events")), &file).unwrap();
    fs::write(Path::new(&path("native")), &native).unwrap();
    let same = run(&["diff", "--from", "json", &path("native"), &path("native")], b"");
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    let both = run(&["diff", "--emitters", "json,rfc5424", &path("events")], b"");
    assert!(matches!(both.status.code(), Some(0 | 1)), "{both:?}");
    let page = run(&["explain", "--from", "json"], &native);
    assert_eq!(page.status.code(), Some(0));
}
