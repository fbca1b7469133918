//! `wharfinger queue` on a journal that a killed gateway left, and on one in use.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use support::gateway::Gateway;
use support::lines::SinkFile;
use support::process::{eventually, free_port};

const TOKEN: &str = "5b1d6f0e-2a53-4c8e-9a61-0f7e6d5c4b3a";
const WITHIN: Duration = Duration::from_secs(60);

fn post(gateway: &Gateway, bodies: impl Iterator<Item = String>) {
    let body: String = bodies.map(|event| format!(r#"{{"event":"{event}"}}"#)).collect();
    let mut stream = TcpStream::connect(gateway.address("hec", "http")).unwrap();
    let head = format!(
        "POST /services/collector/event HTTP/1.1\r\nHost: gateway\r\nAuthorization: Splunk {TOKEN}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn wharfinger(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.args(arguments).arg("--data-dir").arg(folder.join("data")).current_dir(folder).env_clear();
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every file below, with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Two sinks, both away.
fn config(file: &SinkFile, port: u16) -> String {
    format!(
        "journal: {{sync: never}}\nsources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\nsinks:\n{}  \
         away: {{type: syslog, address: \"127.0.0.1:{port}\", format: json, header: none}}\n",
        file.config()
    )
}

#[test]
fn a_damaged_journal_is_checked_exported_repaired_and_its_gap_declared_once() {
    let folder = tempfile::tempdir().unwrap();
    let (file, port) = (SinkFile::in_folder(folder.path()), free_port());
    let gateway = Gateway::start(folder.path(), &config(&file, port));
    post(&gateway, (0..50).map(|number| format!("event {number} with \\u001b[2J")));
    post(&gateway, (50..60).map(|number| format!("event {number}")));
    let journal = folder.path().join("data/journal");
    drop(gateway.kill());

    let shown = wharfinger(folder.path(), &["queue", "status"]);
    println!("{}", stdout(&shown));
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
    assert!(stdout(&shown).contains("no gateway has it open"));
    let page: Value =
        serde_json::from_slice(&wharfinger(folder.path(), &["queue", "status", "--json"]).stdout).unwrap();
    assert_eq!(page["sources"][0]["taken"], 60, "{page}");
    let before = contents(&journal);
    let whole = wharfinger(folder.path(), &["queue", "check"]);
    assert_eq!(whole.status.code(), Some(0), "{}{}", stdout(&whole), stderr(&whole));
    let exported = stdout(&wharfinger(folder.path(), &["queue", "export"]));
    let lines: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 60, "{}", lines.len());
    assert!(lines.iter().any(|line| line["raw"].as_str().unwrap().contains("event 7 with \u{1b}[2J")
        || line["msg"] == "event 7 with \u{1b}[2J"));
    assert_eq!(contents(&journal), before, "nothing was touched");
    let mut export = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    export.args(["queue", "export", "--data-dir"]).arg(folder.path().join("data"));
    let full = export.stdout(fs::File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
    assert_eq!(full.status.code(), Some(73));
    assert!(stderr(&full).starts_with("error: cannot write to stdout"), "{}", stderr(&full));

    // One bit in the payload of event 20, the magic of event 30.
    let segment = journal.join("0000000000000001.segment");
    let mut bytes = fs::read(&segment).unwrap();
    let find =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let at = find(&bytes, "event 20 with");
    bytes[at] ^= 1;
    let at = find(&bytes, "event 30 with");
    let magic = bytes[..at].windows(4).rposition(|window| window == [0xF7, b'W', b'h', b'R']).unwrap();
    bytes[magic] = 0;
    fs::write(&segment, &bytes).unwrap();

    let damaged = wharfinger(folder.path(), &["queue", "check"]);
    println!("{}", stdout(&damaged));
    assert_eq!(damaged.status.code(), Some(65));
    assert_eq!(stdout(&damaged).matches("missing: ").count(), 2);
    let rest = wharfinger(folder.path(), &["queue", "export"]);
    assert_eq!(rest.status.code(), Some(65));
    assert_eq!(stdout(&rest).lines().count(), lines.len() - 2, "all but the damaged ones");
    assert_eq!(stderr(&rest).matches("missing: ").count(), 2, "{}", stderr(&rest));

    let before = contents(&journal);
    let dry = wharfinger(folder.path(), &["queue", "repair", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{}", stderr(&dry));
    assert_eq!(contents(&journal), before, "a dry run changes nothing");
    let done = wharfinger(folder.path(), &["queue", "repair"]);
    println!("{}", stdout(&done));
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let backup = fs::read_dir(folder.path().join("data")).unwrap().map(|entry| entry.unwrap().path());
    let backup = backup.into_iter().find(|path| path.to_string_lossy().contains("repair-")).unwrap();
    assert_eq!(fs::read(backup.join("0000000000000001.segment")).unwrap(), bytes, "as it was");
    let after = wharfinger(folder.path(), &["queue", "check"]);
    assert!(!stdout(&after).contains("to repair"), "{}", stdout(&after));
    assert_eq!(stdout(&wharfinger(folder.path(), &["queue", "export"])), stdout(&rest), "nothing else is gone");
    assert_eq!(stdout(&wharfinger(folder.path(), &["queue", "repair"])), "nothing to repair\n");

    // Both sinks are told, each once for each gap, and the accounts know.
    let gateway = Gateway::start(folder.path(), &config(&file, port));
    let is_damage = |event: &Value| event["event_class"] == "gap" && event["fields"].get("gap.first_id").is_some();
    let gaps = file.wait_for(2, WITHIN, is_damage);
    assert!(gaps.iter().all(|gap| gap["count"] == 1 && gap["fields"].get("gap.sink").is_none()), "{gaps:?}");
    // By the numbers they had before the kill, which nothing was synced at.
    for (gap, text) in gaps.iter().zip(["event 20 with", "event 30 with"]) {
        let event = lines.iter().find(|line| line["msg"].as_str().is_some_and(|msg| msg.starts_with(text))).unwrap();
        assert_eq!(gap["fields"]["gap.first_id"], event["event_id"], "{gap}");
    }
    eventually("it has passed them", WITHIN, || {
        let page: Value = serde_json::from_str(&gateway.get("/api/status")?.1).unwrap();
        let out = page["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == "out").unwrap().clone();
        (out["queued"] == 0 && out["unaccounted"] == 0).then_some(())
    });
    let gateway = gateway.kill().start();
    let mut random = fastrand::Rng::new();
    post(&gateway, std::iter::once(format!("fresh {}", random.u32(..))));
    file.wait_for(1, WITHIN, |event| {
        event["raw"].as_str().is_some_and(|raw| raw.contains("fresh"))
            || event["msg"].as_str().is_some_and(|msg| msg.contains("fresh"))
    });
    gateway.stop();
    // What was delivered just before the kill may stand there again, under the number it had.
    let events = file.events();
    let gaps = events.iter().filter(|event| is_damage(event));
    let gaps: BTreeSet<&str> = gaps.map(|gap| gap["event_id"].as_str().unwrap()).collect();
    assert_eq!(gaps.len(), 2, "the other sink, and a restart, declare nothing twice: {gaps:?}");
}

#[test]
fn a_directory_in_use_is_not_touched_and_its_holder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = SinkFile::in_folder(folder.path());
    let sources = format!("sources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\nsinks:\n");
    let gateway = Gateway::start(folder.path(), &(sources + &file.config()));
    post(&gateway, (0..5).map(|number| format!("event {number}")));
    let holder = format!("process {}", gateway.process().id());
    file.wait_for(5, WITHIN, |event| event["source"] == "hec");
    eventually("its cursor has passed them", WITHIN, || {
        let page: Value = serde_json::from_str(&gateway.get("/api/status")?.1).ok()?;
        (page["sinks"][0]["queued"] == 0).then_some(())
    });
    let config = folder.path().join("wharfinger.yaml");
    let second = fs::read_to_string(&config).unwrap().replace("out.ndjson", "second.ndjson");
    fs::write(folder.path().join("second.yaml"), second).unwrap();
    let before = contents(&folder.path().join("data/journal"));
    for arguments in [
        &["run", "--config", "second.yaml"][..],
        &["queue", "check"],
        &["queue", "export"],
        &["queue", "repair"],
        &["queue", "repair", "--dry-run"],
    ] {
        let refused = wharfinger(folder.path(), arguments);
        assert_eq!(refused.status.code(), Some(69), "{arguments:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(&holder), "{arguments:?}: {}", stderr(&refused));
        assert!(refused.stdout.is_empty(), "{arguments:?}");
    }
    let shown = wharfinger(folder.path(), &["queue", "status"]);
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
    assert!(stdout(&shown).contains(&holder), "{}", stdout(&shown));
    assert_eq!(contents(&folder.path().join("data/journal")), before);
    assert!(!folder.path().join("second.ndjson").exists());
    gateway.stop();
    let nothing = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .args(["queue", "status", "--data-dir", "nowhere"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(nothing.status.code(), Some(66), "{}", stderr(&nothing));
}
