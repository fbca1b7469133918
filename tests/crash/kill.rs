//! kill -9 at any moment.

use std::thread;
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::support::gateway::Gateway;
use crate::{cycles, random, rounds};

const AFTER_MS: std::ops::RangeInclusive<u64> = 5..=500;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let (mut random, cycles, begun) = (random("kill_9"), cycles(50, 1000), Instant::now());
    rounds(cycles).for_each(|cycles| killed(&mut random, cycles));
    println!("kill -9: {cycles} cycles in {:?}", begun.elapsed());
}

fn killed(random: &mut fastrand::Rng, cycles: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let mut gateway = Gateway::start(folder.path(), &rig.config("256MiB"));
    for cycle in 0..cycles {
        let after = Duration::from_millis(random.u64(AFTER_MS));
        rig.stops += 1;
        rig.under_load(&gateway, &format!("{cycle}"), random.u64(..u64::MAX / 2), || {
            thread::sleep(after);
            gateway.process().signal("KILL");
        });
        gateway = gateway.kill().start();
    }
    rig.finish(gateway);
}
