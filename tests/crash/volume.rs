//! Volume: a small file system of the test's own, mounted where the gateway keeps its data.
//!
//! Invariant: unmounted when dropped. Needs root; without it the test fails and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::process::eventually;

/// `_IOR('X', 125, u32)` of ext4, and its mode that drops the log: nothing that was not synced is
/// written any more.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// Other tests start containers meanwhile, each with a copy of all mounts for a moment.
const GONE_WITHIN: Duration = Duration::from_secs(60);

pub struct Volume {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Volume {
    /// ext4 in a file of that size, mounted on `folder/data`.
    pub fn ext4(folder: &Path, mebibytes: u64) -> Volume {
        let image = folder.join("volume.img");
        fs::File::create(&image).and_then(|file| file.set_len(mebibytes << 20)).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0"]).arg(&image));
        let volume = Volume { at: folder.join("data"), image: Some(image) };
        volume.mount();
        volume
    }

    /// A tmpfs of that size, mounted on `folder/data`.
    pub fn tmpfs(folder: &Path, mebibytes: u64) -> Volume {
        let at = folder.join("data");
        fs::create_dir_all(&at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(&at));
        Volume { at, image: None }
    }

    fn mount(&self) {
        fs::create_dir_all(&self.at).unwrap();
        if let Some(image) = &self.image {
            run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.at));
        }
    }

    /// From now on nothing reaches the disk, and every call on the file system fails.
    pub fn power_off(&self) {
        run(Command::new("python3").args(["-c", SHUTDOWN]).arg(&self.at));
    }

    /// Takes the file system away and mounts what is on the disk.
    pub fn power_on(&self) {
        eventually("the file system is gone, and comes back", GONE_WITHIN, || {
            self.unmount();
            self.mount();
            (!self.is_without_power()).then_some(())
        });
    }

    /// It is still the one that was shut down: somebody who has a copy of all mounts keeps it alive.
    fn is_without_power(&self) -> bool {
        let at = format!(" {} ", self.at.display());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().any(|mount| mount.contains(&at) && mount.ends_with(",shutdown"))
    }

    /// Another process takes all space there is: the path of its file.
    pub fn fill(&self) -> PathBuf {
        let path = self.at.join("ballast");
        // Down to the last block; it ends with "no space left".
        let output =
            Command::new("dd").args(["if=/dev/zero", "bs=4096"]).arg(format!("of={}", path.display())).output();
        assert!(!output.unwrap().status.success(), "the volume did not fill up");
        path
    }

    fn unmount(&self) {
        for _ in 0..100 {
            // A process that was killed holds it for a moment longer.
            if Command::new("umount").arg(&self.at).output().is_ok_and(|output| output.status.success()) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("`{}` cannot be unmounted", self.at.display());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).output();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/setup-peers"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}\nThese tests mount file systems: run them as root.");
}
