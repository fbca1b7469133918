//! Disks that fail or fill up: no crash, nothing acknowledged is lost, and it goes on by itself.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::support::gateway::Gateway;
use crate::support::process::eventually;
use crate::volume::Volume;
use crate::{cycles, producers, random};

/// P8: so soon after the space is back events are taken in again.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

/// The sixtieth sync comes by then.
const FAILS_WITHIN: Duration = Duration::from_secs(5);

/// P9: some syncs fail, once or for a while.
#[test]
fn a_failing_sync_acknowledges_nothing_that_is_lost() {
    let (mut random, cycles) = (random("a_failing_sync"), cycles(20, 200));
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let config = rig.config("256MiB");
    let mut failures = 0;
    for cycle in 0..cycles {
        // Not the first ones: a start that cannot make its files durable ends at once, and says so.
        let (first, count) = (random.usize(10..60), [1, 2, 8][random.usize(..3)]);
        let gateway = Gateway::start_under(failing_syncs(first, first + count - 1), folder.path(), &config);
        // `strace` is our child, the gateway is its child.
        let traced = Traced { pid: fs::read_to_string(folder.path().join("data/journal/lock")).unwrap() };
        rig.under_load(&gateway, &format!("{cycle}"), random.u64(..u64::MAX / 2), || {
            // Until one has failed; where the machine is slow, none may.
            let enough = Instant::now() + FAILS_WITHIN;
            let failed = || gateway.get("/metrics").map_or(0, |(_, metrics)| failed_syncs(&metrics));
            while failed() == 0 && Instant::now() < enough {
                thread::sleep(Duration::from_millis(50));
            }
            thread::sleep(Duration::from_millis(200));
        });
        failures += gateway.get("/metrics").map_or(0, |(_, metrics)| failed_syncs(&metrics));
        let killed = random.bool();
        if killed {
            rig.stops += 1;
        } else {
            takes_events_again(&mut rig, &gateway);
        }
        traced.signal(if killed { "KILL" } else { "TERM" });
        gateway.end();
        std::mem::forget(traced);
    }
    println!("{failures} syncs failed");
    assert!(failures * 4 > cycles, "too few syncs failed: {failures}");
    rig.finish(Gateway::start(folder.path(), &config));
}

/// The gateway under `strace`, its syncs with those numbers failing. It cannot be attached to later:
/// the gateway does not let itself be traced.
fn failing_syncs(first: usize, last: usize) -> Command {
    let mut command = Command::new("strace");
    command.args(["-q", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"]);
    command.arg(format!("inject=fdatasync:error=EIO:when={first}..{last}"));
    command
}

fn failed_syncs(metrics: &str) -> usize {
    let line = metrics.lines().find(|line| line.starts_with("wharfinger_journal_sync_failures_total"));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("the metric is there")
}

/// A gateway that is not our own child, and must not outlive the test.
struct Traced {
    pid: String,
}

impl Traced {
    fn signal(&self, signal: &str) {
        let _ = Command::new("kill").args([&format!("-{signal}"), self.pid.trim()]).status();
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

#[test]
fn a_full_ext4_is_waited_out() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::ext4(folder.path(), 32);
    filled_by_another(folder.path(), &volume, "24MiB");
}

#[test]
fn a_full_tmpfs_is_waited_out() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::tmpfs(folder.path(), 8);
    filled_by_another(folder.path(), &volume, "64MiB");
}

/// Under load another process fills the disk, then gives it back; three times.
fn filled_by_another(folder: &std::path::Path, volume: &Volume, journal_bytes_max: &str) {
    let mut rig = Rig::new(folder);
    let gateway = Gateway::start(folder, &rig.config(journal_bytes_max));
    for round in 0..cycles(3, 20) {
        rig.under_load(&gateway, &format!("filling {round}").replace(' ', "-"), round as u64, || {
            thread::sleep(Duration::from_millis(200));
            let ballast = volume.fill();
            thread::sleep(Duration::from_millis(700));
            fs::remove_file(ballast).unwrap();
        });
        takes_events_again(&mut rig, &gateway);
    }
    rig.stops += 1;
    let gateway = gateway.kill().start();
    rig.finish(gateway);
}

/// A fresh event is acknowledged soon.
fn takes_events_again(rig: &mut Rig, gateway: &Gateway) {
    let begun = Instant::now();
    let fresh = format!("hec fresh.{}.0", rig.acknowledged.len());
    eventually("a fresh event is taken", RESUMES_WITHIN, || {
        let mut stream = TcpStream::connect(gateway.address("hec", "http")).ok()?;
        producers::post(&mut stream, std::slice::from_ref(&fresh)).then_some(())
    });
    println!("takes events again after {:?}", begun.elapsed());
    rig.acknowledged.insert(fresh);
}
