//! Storage: all disk access of the journal, behind one trait, so that a test can lose unsynced
//! bytes, tear a write, fill the disk or flip a bit.
//!
//! Invariant: nothing in the journal touches a file but through here. What a call wrote is durable
//! only after `sync_data` on the file and, for its name, `sync_dir` on its folder.

use std::fmt::Debug;
use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};

/// How long a lock that somebody has is waited for.
const LOCK_TRIES: u32 = 10;
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_millis(20);

/// A folder tree that can be made durable.
pub trait Storage: Send + Sync + Debug {
    /// Makes the folder, and those above it, for this user alone (0700), durable in the folder
    /// above. Fine if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names of the files in a folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes an empty file (0600), in place of one that is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;
    /// Gives a file another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name away.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes names in the folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock file for as long as the answer lives, and writes this process into it.
    ///
    /// # Errors
    /// Another process has it, or the file cannot be used.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError>;
    /// Eight random bytes, for identities.
    fn random(&self) -> io::Result<u64>;
}

/// One open file. Many threads may read while one writes.
pub trait StorageFile: Send + Sync + Debug {
    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads into `buffer` until it is full or the file ends; answers how many bytes.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all parts one behind the other. After an error any of it may be written.
    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes the bytes durable. After an error nobody knows what is on disk, and a second call may
    /// say yes all the same: give the file up instead.
    fn sync_data(&self) -> io::Result<()>;
    /// Takes disk space so that the file is `bytes` long and writing into it cannot run out.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;
}

/// A held lock; dropping it lets go.
pub trait Lock: Send + Sync + Debug {}

/// The lock file cannot be taken.
#[derive(Debug)]
pub enum LockError {
    /// A living process has it.
    Held {
        /// Its number, if it wrote it.
        pid: Option<u32>,
    },
    /// The file cannot be made or read.
    Io(io::Error),
}

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Storage for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.create_dir(above)?;
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.sync_dir(above),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is no UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        // No truncation before the lock is ours: the other process's number stands in the file.
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(LockError::Io)?;
        let mut lock = Disk::take_lock(file, FlockOperation::NonBlockingLockExclusive)?;
        let file = &mut lock.file;
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(LockError::Io)?;
        Ok(Box::new(lock))
    }

    fn random(&self) -> io::Result<u64> {
        getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
    }
}

impl Disk {
    /// Locks the open file; says who has it.
    pub(super) fn take_lock(mut file: fs::File, operation: FlockOperation) -> Result<DiskLock, LockError> {
        let mut locked = rustix::fs::flock(&file, operation);
        for _ in 0..LOCK_TRIES {
            // A child that is just being started has what this process held before, until it is another program.
            if locked == Err(rustix::io::Errno::WOULDBLOCK) {
                std::thread::sleep(LOCK_WAIT);
                locked = rustix::fs::flock(&file, operation);
            }
        }
        match locked {
            Ok(()) => Ok(DiskLock { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                // Who only looks holds the lock too, and leaves the number of the last writer there.
                Err(LockError::Held { pid: pid.filter(|pid| Path::new(&format!("/proc/{pid}")).exists()) })
            }
            Err(errno) => Err(LockError::Io(errno.into())),
        }
    }
}

#[derive(Debug)]
pub(super) struct DiskLock {
    /// `flock` lasts as long as the open file.
    file: fs::File,
}

impl Lock for DiskLock {}

#[derive(Debug)]
pub(super) struct DiskFile(pub(super) fs::File);

impl StorageFile for DiskFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        // IOV_MAX: `pwritev` takes at most 1,024 parts.
        const PARTS_MAX: usize = 1024;
        while !parts.is_empty() {
            let count = parts.len().min(PARTS_MAX);
            match rustix::io::pwritev(&self.0, &parts[..count], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
            // A file system without `fallocate`: the file grows as it is written.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => Ok(result?),
        }
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
}
