//! Our S3 sink against servers of other makes: what is stored is what was sent, once, under lock
//! where the bucket says so.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::containers::object_events;
use crate::shared::Shared;
use crate::support::gateway::Gateway;
use crate::support::lines::text;
use crate::support::process::eventually;
use crate::{peers_are_off, s3};

const WITHIN: Duration = Duration::from_secs(60);

fn config(server: &s3::Server, bucket: &str, options: &str) -> String {
    format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n{}",
        server.sink(bucket, options)
    )
}

/// Sends numbered messages and waits until each is in an object; answers the events in the order of
/// the keys.
fn send_and_wait(gateway: &Gateway, server: &s3::Server, bucket: &str, numbers: std::ops::Range<u32>) -> Vec<Value> {
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    for number in numbers.clone() {
        writeln!(stream, "<134>1 2026-11-21T09:05:11.123456Z far-host cargo {number} - - box {number}").unwrap();
    }
    eventually(&format!("{numbers:?} in objects of {}", server.name), WITHIN, || {
        let events: Vec<Value> = server.objects(bucket).iter().flat_map(object_events).collect();
        let stored = |number| events.iter().any(|event| text(event, "process.id") == number && is_ours(event));
        numbers.clone().all(|number| stored(number.to_string())).then_some(events)
    })
}

fn is_ours(event: &Value) -> bool {
    text(event, "app") == "cargo"
}

fn stores_what_was_sent(server: &Shared<s3::Server>, bucket: &str) {
    let folder = tempfile::tempdir().unwrap();
    server.create_bucket(bucket);
    let gateway = Gateway::start(folder.path(), &config(server, bucket, "max_age: 1s, prefix: wharf/a"));
    let events = send_and_wait(&gateway, server, bucket, 0..200);
    gateway.stop();

    let mut ours: Vec<&Value> = events.iter().filter(|event| is_ours(event)).collect();
    assert_eq!(ours.len(), 200, "each message once");
    ours.sort_by_key(|event| text(event, "event_id"));
    for (number, event) in ours.iter().enumerate() {
        assert_eq!(text(event, "msg"), format!("box {number}"), "in the order they were received");
    }
    for object in server.objects(bucket) {
        assert!(object.key.starts_with("wharf/a/source="), "{}", object.key);
        assert!(object.key.contains("/dt=2026-11-21/hour=09/") || !object.key.contains("source=in/"), "{}", object.key);
        assert!(object.key.ends_with(".ndjson.gz"), "{}", object.key);
        // With Content-Encoding many clients inflate silently: sizes and hashes no longer match.
        assert_eq!(object.content_encoding, None);
        assert!(matches!(object.content_type.as_deref(), Some("application/gzip" | "application/x-ndjson")));
    }
}

#[test]
fn radosgw_holds_what_was_sent() {
    if !peers_are_off() {
        stores_what_was_sent(&s3::radosgw(), "sent-to-rgw");
    }
}

#[test]
fn moto_holds_what_was_sent() {
    if !peers_are_off() {
        stores_what_was_sent(&s3::moto(), "sent-to-moto");
    }
}

/// A bucket with default retention has versions: a second PUT of a key would make a second one, locked.
fn writes_each_key_once(server: &Shared<s3::Server>, bucket: &str) {
    let folder = tempfile::tempdir().unwrap();
    server.create_locked_bucket(bucket);
    let mut gateway = Gateway::start(folder.path(), &config(server, bucket, "max_age: 200ms"));
    for round in 0..4 {
        send_and_wait(&gateway, server, bucket, round * 50..(round + 1) * 50);
        // The object is there, its cursor perhaps not yet: after the start it may be sent again.
        gateway = gateway.kill().start();
    }
    gateway.stop();
    let mut ids = Vec::new();
    for event in server.objects(bucket).iter().flat_map(object_events) {
        ids.push(text(&event, "event_id").to_owned());
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "an event stands in two objects");
    let keys = server.objects(bucket).len();
    assert_eq!(server.version_count(bucket), keys, "a key was written twice");
}

#[test]
fn radosgw_gets_each_key_once_and_keeps_it_locked() {
    if peers_are_off() {
        return;
    }
    let server = s3::radosgw();
    writes_each_key_once(&server, "locked-at-rgw");
    for object in server.objects("locked-at-rgw") {
        assert_eq!(object.retention.as_deref(), Some("COMPLIANCE"), "{}", object.key);
        let refusal = server.delete_version("locked-at-rgw", &object.key).unwrap_err();
        assert!(refusal.contains("AccessDenied"), "{refusal}");
    }
}

#[test]
fn moto_gets_each_key_once() {
    if !peers_are_off() {
        writes_each_key_once(&s3::moto(), "locked-at-moto");
    }
}
