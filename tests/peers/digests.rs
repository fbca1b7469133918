//! Digests of an archive in a bucket: in the bucket as well, locked as its objects are, told once.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::archive::files;
use crate::shared::Shared;
use crate::support::gateway::Gateway;
use crate::support::process::eventually;
use crate::support::sealed::{Archive, date, wharfinger};
use crate::{peers_are_off, s3};

const WITHIN: Duration = Duration::from_secs(120);

fn goes_where_the_archive_is(server: &Shared<s3::Server>, bucket: &str) {
    wharfinger();
    server.create_locking_bucket(bucket);
    let archive = Archive::of_days_ago(2);
    for file in files(&archive.path()) {
        let key = format!("wharf/{}", file.strip_prefix(archive.path()).unwrap().display());
        server.put(bucket, &key, &fs::read(&file).unwrap()).unwrap();
    }
    let config = format!(
        "sinks:\n  audit: {{type: archive, max_age: 1s, keep: 1d, s3: {}}}\n  out: {{type: file, path: {}, format: json}}\n\
         digests:\n  daily: {{archive: audit, at: \"00:00\"}}\n",
        server.store(bucket, "prefix: wharf, lock: governance"),
        archive.out().display(),
    );
    let gateway = Gateway::start(archive.dir.path(), &config);
    let events = eventually("both days are told", WITHIN, || Some(archive.told()).filter(|told| told.len() >= 2));
    let digests = || {
        let mut objects = server.objects(bucket);
        objects.retain(|object| object.key.starts_with("wharf/digests/"));
        objects
    };
    let objects = digests();
    let keys: Vec<_> = objects.iter().map(|object| &*object.key).collect();
    let key = |days_ago, ending| format!("wharf/digests/gw-01/daily/{}.{ending}", date(days_ago));
    assert_eq!(keys, [key(2, "json"), key(2, "txt"), key(1, "json"), key(1, "txt")]);
    for (event, object) in events.iter().zip([&objects[0], &objects[2]]) {
        let sha256: String = Sha256::digest(&object.body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (event["outcome"].as_str(), event["fields"]["digest.sha256"].as_str()),
            (Some("success"), Some(&*sha256))
        );
        assert!(object.key.ends_with(event["file.path"].as_str().unwrap()), "{event:#}");
    }
    for object in &objects {
        assert_eq!(object.retention.as_deref(), Some("GOVERNANCE"), "{}", object.key);
    }
    assert_eq!(serde_json::from_slice::<Value>(&objects[0].body).unwrap()["events"], 192);
    gateway.stop();

    // Nothing is made or told twice; the archive says that both were made.
    let gateway = Gateway::start(archive.dir.path(), &config);
    eventually("the digests are made", WITHIN, || {
        let page: Value = serde_json::from_str(&gateway.get("/api/status")?.1).ok()?;
        (page["digests"][0]["state"] == "made").then_some(())
    });
    gateway.stop();
    assert_eq!((archive.told().len(), digests().len()), (2, 4));
    let mut ask = wharfinger();
    ask.args(["report", "digests", &format!("s3://{bucket}/wharf/audit"), "--key", &archive.key, "--format", "csv"]);
    let said = server.credentials(&mut ask).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.lines().filter(|line| line.contains("complete with listed gaps")).count(), 2, "{said}");
}

#[test]
fn a_digest_goes_to_the_bucket_at_moto() {
    if !peers_are_off() {
        goes_where_the_archive_is(&s3::moto(), "digests");
    }
}

#[test]
fn a_digest_goes_to_the_bucket_at_radosgw() {
    if !peers_are_off() {
        goes_where_the_archive_is(&s3::radosgw(), "digests");
    }
}
