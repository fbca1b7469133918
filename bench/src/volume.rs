//! A file system of its own whose power can be cut: ext4 in a file, on a loop device. Needs root.
//!
//! Invariant: unmounted when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::Result;

const MEBIBYTES: u64 = 512;

/// `EXT4_IOC_SHUTDOWN` with the flag that drops the log: nothing that was not synced is written any
/// more.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// Mounted at `at`.
pub struct Volume {
    at: PathBuf,
    image: PathBuf,
}

impl Volume {
    /// A fresh one; its image lies beside the folder that it is mounted on.
    pub fn mount(at: &Path) -> Result<Volume> {
        let image = at.with_extension("img");
        fs::File::create(&image)?.set_len(MEBIBYTES << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0"]).arg(&image))?;
        let volume = Volume { at: at.to_owned(), image };
        volume.power_on()?;
        Ok(volume)
    }

    /// From now on nothing reaches the disk.
    pub fn power_off(&self) -> Result<()> {
        run(Command::new("python3").args(["-c", SHUTDOWN]).arg(&self.at))
    }

    /// Takes away what the page cache still has.
    pub fn unmount(&self) -> Result<()> {
        for _ in 0..100 {
            // A process that was killed holds it for a moment longer.
            if Command::new("umount").arg(&self.at).output()?.status.success() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("`{}` cannot be unmounted", self.at.display()).into())
    }

    /// Mounts what is on the disk.
    pub fn power_on(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.at))?;
        // Somebody who has a copy of all mounts keeps the old one alive.
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let at = format!(" {} ", self.at.display());
        match mounts.lines().any(|mount| mount.contains(&at) && mount.ends_with(",shutdown")) {
            true => Err(format!("`{}` is still without power; run it again", self.at.display()).into()),
            false => Ok(()),
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).output();
        let _ = fs::remove_file(&self.image);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n\nhint: run this as root", String::from_utf8_lossy(&output.stderr)).into())
}
