//! kill -9 while objects are sealed: the archive verifies, and holds each acknowledged event once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use crate::producers::{TOKEN, hec};
use crate::support::gateway::Gateway;
use crate::support::process::eventually;
use crate::{cycles, random};

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn an_archive_survives_kill_9() {
    let (mut random, cycles) = (random("archive"), cycles(12, 200));
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let config = format!(
        "sources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\nsinks:\n  \
         audit: {{type: archive, path: {}, max_age: 20ms, compression: none}}\n",
        archive.display()
    );
    let mut gateway = Gateway::start(folder.path(), &config);
    let key = fs::read_to_string(folder.path().join("data/sealing/audit/vkey-1")).unwrap();
    let mut acknowledged = Vec::new();
    for cycle in 0..cycles {
        let (address, seed, wait) = (gateway.address("hec", "http"), random.u64(..), random.u64(5..400));
        let producer = thread::spawn(move || hec(address, &cycle.to_string(), seed, &AtomicBool::new(false)));
        thread::sleep(Duration::from_millis(wait));
        let stopped = gateway.kill();
        acknowledged.extend(producer.join().unwrap());
        gateway = stopped.start();
    }
    eventually("everything is sealed", WITHIN, || {
        let page: serde_json::Value = serde_json::from_str(&gateway.get("/api/status")?.1).ok()?;
        (page["sinks"][0]["queued"] == 0).then_some(())
    });
    gateway.stop();
    let verify = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .arg("verify")
        .arg(&archive)
        .args(["--deep", "--key", key.trim()])
        .output()
        .unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    let mut seen = BTreeMap::new();
    messages(&archive.join("audit/data"), &mut seen);
    assert!(acknowledged.len() > 100, "too little was acknowledged to tell");
    for message in acknowledged {
        assert_eq!(seen.get(&message), Some(&1), "{message}");
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// How often each message is in the objects below a folder.
fn messages(folder: &Path, seen: &mut BTreeMap<String, u64>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            messages(&path, seen);
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(message) = event["msg"].as_str().filter(|message| message.starts_with("hec ")) {
                *seen.entry(message.to_owned()).or_default() += 1;
            }
        }
    }
}
