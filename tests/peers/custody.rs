//! The sealed archive in a bucket: locked against everybody until its date, one object a key whatever is
//! killed, and verified over S3 with the same verdict as a downloaded copy.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::shared::Shared;
use crate::support::gateway::Gateway;
use crate::support::process::eventually;
use crate::{peers_are_off, s3};

const WITHIN: Duration = Duration::from_secs(60);

fn config(server: &s3::Server, bucket: &str, keep: &str, lock: &str) -> String {
    format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n  \
         audit: {{type: archive, max_age: 200ms, keep: {keep}, s3: {}}}\n",
        server.store(bucket, &format!("prefix: wharf/a, {lock}"))
    )
}

fn send(gateway: &Gateway, numbers: std::ops::Range<u32>) {
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    for number in numbers {
        writeln!(stream, "<134>1 2026-11-21T09:05:11.123456Z far-host cargo {number} - - box {number}").unwrap();
    }
}

/// Waits until so many messages have been received, and everything is sealed.
pub fn wait_sealed(gateway: &Gateway, messages: usize) {
    eventually("everything is sealed", WITHIN, || {
        let page: serde_json::Value = serde_json::from_str(&gateway.get("/api/status")?.1).ok()?;
        let source = page["sources"].as_array()?.iter().find(|source| source["name"] == "in")?;
        let sink = page["sinks"].as_array()?.iter().find(|sink| sink["name"] == "audit")?;
        (source["received"].as_u64()? >= messages as u64 && sink["queued"] == 0).then_some(())
    });
}

pub fn key(folder: &Path) -> String {
    fs::read_to_string(folder.join("data/sealing/audit/vkey-1")).unwrap().trim().to_owned()
}

fn run(arguments: &[&str], server: &s3::Server) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    server.credentials(command.args(arguments)).output().unwrap()
}

/// `verify --deep` of a place: the exit code and what the report says of the streams.
pub fn verify(place: &str, key: &str, server: &s3::Server) -> (i32, serde_json::Value) {
    let output = run(&["verify", place, "--deep", "--json", "--key", key], server);
    let report = serde_json::from_slice(&output.stdout);
    let report: serde_json::Value =
        report.unwrap_or_else(|_| panic!("{place}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// Copies a bucket into a folder.
fn download(server: &s3::Server, bucket: &str, folder: &Path) {
    for object in server.objects(bucket) {
        let path = folder.join(&object.key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, object.body).unwrap();
    }
}

/// The bucket and a copy of it get the same verdict: that one.
fn agree(server: &s3::Server, bucket: &str, key: &str, expected: i32) {
    let copy = tempfile::tempdir().unwrap();
    download(server, bucket, copy.path());
    let here = verify(&copy.path().join("wharf/a").display().to_string(), key, server);
    let there = verify(&format!("s3://{bucket}/wharf/a"), key, server);
    assert_eq!(here, there);
    assert_eq!(there.0, expected, "{:#}", there.1);
}

/// What is in a locked bucket stays in it, and what is written over it is found out.
#[test]
fn radosgw_keeps_the_archive_until_its_date() {
    if peers_are_off() {
        return;
    }
    let (server, bucket) = (s3::radosgw(), "custody");
    server.create_locking_bucket(bucket);
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &config(&server, bucket, "2d", "lock: compliance, legal_hold: false"));
    send(&gateway, 0..100);
    wait_sealed(&gateway, 100);
    gateway.stop();
    let (key, objects) = (key(folder.path()), server.objects(bucket));
    for kind in ["wharf/a/audit/data/", "wharf/a/audit/seal/", "wharf/a/audit/checkpoint/"] {
        assert!(objects.iter().any(|object| object.key.starts_with(kind)), "{kind}");
    }
    agree(&server, bucket, &key, 0);
    for object in &objects {
        assert_eq!(object.retention.as_deref(), Some("COMPLIANCE"), "{}", object.key);
        for refused in [
            server.delete_version(bucket, &object.key),
            server.delete_version_with_bypass(bucket, &object.key),
            server.retain(bucket, &object.key, "COMPLIANCE", 60),
            server.retain(bucket, &object.key, "GOVERNANCE", 3 * 86_400),
        ] {
            assert!(refused.unwrap_err().contains("AccessDenied"), "{}", object.key);
        }
    }
    let proof = tempfile::NamedTempFile::new().unwrap();
    let event = event_id(&objects, "box 7");
    let proved = run(&["archive", "prove", &format!("s3://{bucket}/wharf/a/audit"), &event], &server);
    fs::write(proof.path(), &proved.stdout).unwrap();
    let shown = run(&["verify", "--key", &key, "--proof", proof.path().to_str().unwrap()], &server);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&proved.stderr));

    // A lock keeps versions, not names: a newer one is seen instead, and found out; the sealed one is there.
    let object = objects.iter().find(|object| object.key.contains("/data/")).unwrap();
    server.put(bucket, &object.key, b"{}\n").unwrap();
    agree(&server, bucket, &key, 10);
    server.hide(bucket, &object.key);
    agree(&server, bucket, &key, 11);
}

fn events(objects: &[s3::Object]) -> impl Iterator<Item = serde_json::Value> {
    let lines = objects.iter().filter(|object| object.key.contains("/data/")).flat_map(|object| {
        let text = zstd::decode_all(object.body.as_slice()).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    });
    lines.map(|line| serde_json::from_str(&line).unwrap())
}

fn event_id(objects: &[s3::Object], message: &str) -> String {
    let event = events(objects).find(|event| event["msg"] == message).unwrap();
    event["event_id"].as_str().unwrap().to_owned()
}

/// Compliance is no prison: behind the date an object can be deleted, unless it is under legal hold.
#[test]
fn radosgw_lets_go_behind_the_date_but_not_of_what_is_held() {
    if peers_are_off() {
        return;
    }
    let server = s3::radosgw();
    let objects = ["custody-short", "custody-held"].map(|bucket| {
        server.create_locking_bucket(bucket);
        let folder = tempfile::tempdir().unwrap();
        let hold = format!("lock: compliance, legal_hold: {}", bucket.ends_with("held"));
        let gateway = Gateway::start(folder.path(), &config(&server, bucket, "20s", &hold));
        send(&gateway, 0..3);
        wait_sealed(&gateway, 3);
        gateway.stop();
        let stopped = Instant::now();
        let objects = server.objects(bucket);
        let object = objects.into_iter().rfind(|object| object.key.contains("/data/")).unwrap();
        let refusal = server.delete_version(bucket, &object.key).unwrap_err();
        assert!(refusal.contains("AccessDenied"), "{refusal}");
        (object.key, stopped)
    });
    let [(short, _), (held, stopped)] = &objects;
    eventually("the date has passed", WITHIN, || server.delete_version("custody-short", short).ok());
    // No date is later.
    std::thread::sleep(Duration::from_secs(22).saturating_sub(stopped.elapsed()));
    let refusal = server.delete_version("custody-held", held).unwrap_err();
    assert!(refusal.contains("AccessDenied"), "{refusal}");
    server.release("custody-held", held);
    server.delete_version("custody-held", held).unwrap();
}

/// Killed again and again while objects go up: each key was written once, and all of it verifies.
fn survives_kill_9(server: &Shared<s3::Server>, bucket: &str) {
    server.create_locking_bucket(bucket);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(folder.path(), &config(server, bucket, "1d", "lock: compliance"));
    for round in 0..8 {
        send(&gateway, round * 50..(round + 1) * 50);
        // At another moment of the upload each time.
        std::thread::sleep(Duration::from_millis(150 + 45 * u64::from(round)));
        gateway = gateway.kill().start();
    }
    wait_sealed(&gateway, 0);
    gateway.stop();
    assert_eq!(server.version_count(bucket), server.objects(bucket).len(), "a key was written twice");
    agree(server, bucket, &key(folder.path()), 0);
}

#[test]
fn radosgw_survives_kill_9_during_uploads() {
    if !peers_are_off() {
        survives_kill_9(&s3::radosgw(), "custody-killed");
    }
}

#[test]
fn moto_survives_kill_9_during_uploads() {
    if !peers_are_off() {
        survives_kill_9(&s3::moto(), "custody-killed");
    }
}

/// A bucket that cannot lock gets nothing, and that is said before there is an event for it.
#[test]
fn a_bucket_without_lock_is_an_alarm_and_gets_nothing() {
    if peers_are_off() {
        return;
    }
    for server in [s3::radosgw(), s3::moto()] {
        let (folder, bucket) = (tempfile::tempdir().unwrap(), "custody-unlocked");
        server.create_bucket(bucket);
        let gateway = Gateway::start(folder.path(), &config(&server, bucket, "1d", "lock: compliance"));
        eventually("the alarm", WITHIN, || gateway.process().said("does not lock objects").then_some(()));
        assert!(server.objects(bucket).is_empty());
        gateway.stop();
    }
}

/// A hold is set and cleared over S3, and the gateway takes the reason into custody.
#[test]
fn radosgw_holds_what_is_to_be_held() {
    if peers_are_off() {
        return;
    }
    let (server, bucket) = (s3::radosgw(), "custody-hold");
    server.create_locking_bucket(bucket);
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &config(&server, bucket, "8s", "lock: governance"));
    send(&gateway, 0..3);
    wait_sealed(&gateway, 3);
    let (stream, data) = (format!("s3://{bucket}/wharf/a/audit"), folder.path().join("data").display().to_string());
    let set = ["archive", "hold", "set", &stream, "--reason", "case 7", "--json", "--data-dir", &data];
    let set: serde_json::Value = serde_json::from_slice(&run(&set, &server).stdout).unwrap();
    let days = || -> serde_json::Value {
        let report = run(&["archive", "retention", &stream, "--json"], &server);
        serde_json::from_slice(&report.stdout).unwrap()
    };
    let objects = server.objects(bucket);
    let object = &objects.iter().find(|object| object.key.contains("/data/")).unwrap().key;
    let seal = &objects.iter().find(|object| object.key.contains("/seal/")).unwrap().key;
    assert!(days()[0]["held"].as_u64().unwrap() >= 1);
    eventually("no date keeps it any more", WITHIN, || {
        let days = days();
        (days[0]["locked"] == 0 && days[0]["free"] == 0).then_some(())
    });
    for key in [object, seal] {
        assert!(server.delete_version(bucket, key).unwrap_err().contains("AccessDenied"), "{key}");
    }
    let id = set["id"].as_str().unwrap();
    let cleared = run(&["archive", "hold", "clear", &stream, id, "--reason", "settled", "--data-dir", &data], &server);
    assert!(cleared.status.success(), "{}", String::from_utf8_lossy(&cleared.stderr));
    assert!(days()[0]["free"].as_u64().unwrap() >= 1);
    wait_sealed(&gateway, 3);
    gateway.stop();
    let objects = server.objects(bucket);
    for reason in ["case 7", "settled"] {
        let event = events(&objects).find(|event| {
            event["event_class"] == "custody.hold" && event["fields"]["custody.arguments"].to_string().contains(reason)
        });
        assert!(event.is_some(), "no event says `{reason}`");
    }
    agree(&server, bucket, &key(folder.path()), 0);
    server.delete_version(bucket, object).unwrap();
}

/// What is in a bucket is read like what is in a folder: shown, brought back with its ids, and compared.
#[test]
fn radosgw_gives_a_period_back_and_says_what_a_siem_lacks() {
    if peers_are_off() {
        return;
    }
    let (server, bucket) = (s3::radosgw(), "custody-read");
    server.create_locking_bucket(bucket);
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again.ndjson");
    let config = config(&server, bucket, "1s", "lock: governance")
        + &format!("  again: {{type: file, path: {}}}\n", again.display());
    let gateway = Gateway::start(folder.path(), &config);
    send(&gateway, 0..60);
    wait_sealed(&gateway, 60);
    send(&gateway, 60..200);
    wait_sealed(&gateway, 200);
    gateway.stop();
    let key = key(folder.path());
    let is_in = |event: &serde_json::Value| event["source"] == "in";
    let id = |event: &serde_json::Value| event["event_id"].as_str().unwrap().to_owned();
    let sealed: Vec<_> = events(&server.objects(bucket)).filter(is_in).collect();
    assert_eq!(sealed.len(), 200);
    let (stream, config) = (format!("s3://{bucket}/wharf/a/audit"), folder.path().join("wharfinger.yaml"));
    let config = config.to_str().unwrap();

    let shown = run(&["archive", "cat", &stream, "--key", &key, "--source", "in", "--config", config], &server);
    assert!(shown.status.success(), "{shown:?}");
    let shown = String::from_utf8(shown.stdout).unwrap();
    let shown: Vec<serde_json::Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(shown, sealed);

    let before = fs::read_to_string(&again).unwrap().lines().count();
    let done = run(&["replay", "--config", config, "--to-sink", "again", "--source", "in", "--json"], &server);
    assert!(done.status.success(), "{done:?}");
    let text = fs::read_to_string(&again).unwrap();
    let replayed: Vec<serde_json::Value> =
        text.lines().skip(before).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(replayed.iter().map(id).collect::<Vec<_>>(), sealed.iter().map(id).collect::<Vec<_>>());
    assert!(replayed.iter().all(|event| event["replayed"] == true), "{text}");

    let (export, missing) = (folder.path().join("export"), folder.path().join("missing"));
    let (gone, kept): (Vec<_>, Vec<_>) = sealed.iter().map(id).enumerate().partition(|(at, _)| at % 4 == 1);
    let ids = |of: Vec<(usize, String)>| of.into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    fs::write(&export, ids(kept).join("\n")).unwrap();
    let (export, named) = (export.to_str().unwrap(), missing.to_str().unwrap());
    let options = ["--archive", &stream, "--key", &key, "--source", "in", "--missing", named, "--config", config];
    let report = run(&[&["reconcile", export], &options[..]].concat(), &server);
    assert_eq!(report.status.code(), Some(1), "{report:?}");
    let mut named: Vec<_> = fs::read_to_string(missing).unwrap().lines().map(str::to_owned).collect();
    named.sort();
    assert_eq!(named, ids(gone));
}
