//! Power loss: of what was not synced nothing is on the disk afterwards.

use std::thread;
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::support::gateway::Gateway;
use crate::volume::Volume;
use crate::{cycles, random, rounds};

const AFTER_MS: std::ops::RangeInclusive<u64> = 5..=500;
/// The gateway makes the places of its sinks durable every two seconds, on a machine that is busy
/// with other tests.
const KEPT_AFTER: Duration = Duration::from_secs(5);

#[test]
fn what_was_acknowledged_survives_power_loss() {
    let (mut random, cycles, begun) = (random("power_loss"), cycles(20, 1000), Instant::now());
    rounds(cycles).for_each(|cycles| without_power(&mut random, cycles));
    println!("power loss: {cycles} cycles in {:?}", begun.elapsed());
}

fn without_power(random: &mut fastrand::Rng, cycles: usize) {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::ext4(folder.path(), 512);
    let mut rig = Rig::new(folder.path());
    // Segments of 4 MiB: some cycles lose the power while one begins, or goes.
    let mut gateway = Gateway::start(folder.path(), &rig.config("32MiB"));
    for cycle in 0..cycles {
        let after = Duration::from_millis(random.u64(AFTER_MS));
        rig.stops += 1;
        rig.under_load(&gateway, &format!("{cycle}"), random.u64(..u64::MAX / 2), || {
            thread::sleep(after);
            power_off(&gateway, &volume);
        });
        gateway = power_on(gateway, &volume);
    }
    rig.finish(gateway);
}

#[test]
fn what_was_delivered_some_time_ago_does_not_come_again() {
    let (mut random, cycles) = (random("some_time_ago"), cycles(2, 20));
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::ext4(folder.path(), 512);
    let mut rig = Rig::new(folder.path());
    let mut gateway = Gateway::start(folder.path(), &rig.config("256MiB"));
    for cycle in 0..cycles {
        rig.under_load(&gateway, &format!("{cycle}"), random.u64(..u64::MAX / 2), || {
            thread::sleep(Duration::from_millis(500));
        });
        rig.wait_until_drained(&gateway);
        thread::sleep(KEPT_AFTER);
        power_off(&gateway, &volume);
        gateway = power_on(gateway, &volume);
    }
    rig.finish_once(gateway);
}

/// A machine without power answers nobody. A sync that is under way while the file system is shut
/// down may be told "done" by the kernel although its extents are not converted: hence the STOP.
fn power_off(gateway: &Gateway, volume: &Volume) {
    gateway.process().signal("STOP");
    volume.power_off();
    gateway.process().signal("KILL");
}

fn power_on(gateway: Gateway, volume: &Volume) -> Gateway {
    let stopped = gateway.kill();
    volume.power_on();
    stopped.start()
}
