//! Power loss: of what was not synced nothing is on the disk afterwards.

use std::thread;
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::support::gateway::Gateway;
use crate::volume::Volume;
use crate::{cycles, random};

const AFTER_MS: std::ops::RangeInclusive<u64> = 5..=500;

#[test]
fn what_was_acknowledged_survives_power_loss() {
    let (mut random, cycles, begun) = (random("power_loss"), cycles(20, 1000), Instant::now());
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
            // A machine without power answers nobody. A sync that is under way while the file system
            // is shut down may be told "done" by the kernel although its extents are not converted.
            gateway.process().signal("STOP");
            volume.power_off();
            gateway.process().signal("KILL");
        });
        let stopped = gateway.kill();
        volume.power_on();
        gateway = stopped.start();
    }
    rig.finish(gateway);
    println!("power loss: {cycles} cycles in {:?}", begun.elapsed());
}
