//! Replay and reconcile against a receiver written by others: rsyslog gets a period again with the ids it
//! had, and what is taken out of its file is named.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::gateway::Gateway;
use crate::support::process::eventually;
use crate::syslog_peer::Transport;
use crate::{peers_are_off, rsyslog};

const WITHIN: Duration = Duration::from_secs(60);
const EVENTS: usize = 5_000;

fn wharfinger(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.args(arguments).env("WHARFINGER_CONFIG", folder.join("wharfinger.yaml")).output().unwrap()
}

/// The id in our element of structured data.
fn id(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("event_id=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[test]
fn rsyslog_gets_a_period_again_with_its_ids_and_what_it_lacks_is_named() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let receiver = rsyslog::receiver(folder.path(), Transport::Tcp);
    let archive = folder.path().join("archive").display().to_string();
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n  \
         audit: {{type: archive, path: {archive}, max_age: 200ms}}\n  \
         siem: {{type: syslog, address: 127.0.0.1:{}}}\n",
        receiver.port
    );
    let gateway = Gateway::start(folder.path(), &config);
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    for number in 0..EVENTS {
        writeln!(stream, "<134>1 2026-11-21T09:05:11.{number:06}Z vm-7 app - - - message {number}").unwrap();
    }
    drop(stream);
    receiver.received.wait_for_count(EVENTS, WITHIN);
    gateway.stop();
    let received = |count: usize| {
        eventually("all events at the receiver", WITHIN, || {
            let lines = receiver.received.lines().into_iter().filter(|line| line.contains(" message "));
            Some(lines.collect::<Vec<_>>()).filter(|lines| lines.len() >= count)
        })
    };
    let first = received(EVENTS);

    let done = wharfinger(folder.path(), &["replay", "--to-sink", "siem", "--source", "in"]);
    assert!(done.status.success(), "{done:?}");
    let again = received(2 * EVENTS).split_off(EVENTS);
    assert_eq!(first.len(), again.len());
    for (one, other) in first.iter().zip(&again) {
        assert_eq!(*one, other.replace(" replayed=\"true\"", ""));
        assert!(other.contains(" replayed=\"true\"") && id(other).is_some(), "{other}");
    }

    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut kept: Vec<String> = first.iter().filter_map(|line| id(line)).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut kept);
    let mut removed = kept.split_off(EVENTS - 1_000);
    let (export, missing) = (folder.path().join("export"), folder.path().join("missing"));
    fs::write(&export, kept.join("\n")).unwrap();
    let paths = [export.to_str().unwrap(), "--archive", &archive, "--missing", missing.to_str().unwrap()];
    let report = wharfinger(folder.path(), &[&["reconcile", "--source", "in"], &paths[..]].concat());
    assert_eq!(report.status.code(), Some(1), "{report:?}");
    let named = fs::read_to_string(missing).unwrap();
    let mut named: Vec<_> = named.lines().map(str::to_owned).collect();
    named.sort();
    removed.sort();
    assert_eq!(named, removed);
}
