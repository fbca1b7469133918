//! A disk that is only looked at: for verbs that inspect a journal, also one in use.
//!
//! Invariant: no call changes anything.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::storage::{Disk, DiskFile, Lock, LockError, Storage, StorageFile};

/// See above.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadOnlyDisk;

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for ReadOnlyDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Disk.list(dir)
    }

    fn create(&self, _: &Path) -> io::Result<Arc<dyn StorageFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(DiskFile(fs::File::open(path)?)))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn unlink(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    /// Shared, and nothing is written into it: several may look at the same time, none may write.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let file = fs::File::open(path).map_err(LockError::Io)?;
        Disk::take_lock(file, rustix::fs::FlockOperation::NonBlockingLockShared)
            .map(|lock| Box::new(lock) as Box<dyn Lock>)
    }

    fn random(&self) -> io::Result<u64> {
        Disk.random()
    }
}
