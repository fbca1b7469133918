//! Storms of signals under load: nothing is lost, and with healthy sinks nothing comes twice.

use std::thread;
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::support::gateway::Gateway;
use crate::support::process::eventually;
use crate::{cycles, random};

/// P11.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn reloads_lose_and_repeat_nothing() {
    let (mut random, cycles) = (random("reloads"), cycles(20, 200));
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let gateway = Gateway::start(folder.path(), &rig.config("256MiB"));
    let moments: Vec<u64> = (0..cycles).map(|_| random.u64(1..100)).collect();
    rig.under_load(&gateway, "reload", random.u64(..u64::MAX / 2), || {
        for moment in moments {
            gateway.process().signal("HUP");
            thread::sleep(Duration::from_millis(moment));
        }
    });
    rig.finish_once(gateway);
}

#[test]
fn orderly_ends_lose_and_repeat_nothing() {
    let (mut random, cycles) = (random("orderly_ends"), cycles(10, 200));
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let mut gateway = Gateway::start(folder.path(), &rig.config("256MiB"));
    let mut longest = Duration::ZERO;
    for cycle in 0..cycles {
        let after = Duration::from_millis(random.u64(5..=500));
        let took = rig.under_load(&gateway, &format!("{cycle}"), random.u64(..u64::MAX / 2), || {
            thread::sleep(after);
            gateway.process().signal("TERM");
            let asked = Instant::now();
            eventually("the gateway ends", ENDS_WITHIN, || gateway.process().has_closed_output().then_some(()));
            asked.elapsed()
        });
        longest = longest.max(took);
        let log = gateway.log();
        let (status, stopped) = gateway.end();
        assert!(status.success(), "the gateway ended with {status}:\n{log}");
        gateway = stopped.start();
    }
    println!("SIGTERM: {cycles} ends, the longest took {longest:?}");
    rig.finish_once(gateway);
}
