//! How far a replay has got: one small file for each, so that one that was stopped goes on.
//!
//! Invariant: place and counts are written as one, and only once the peer has what they say.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::archive::Place;
use crate::journal::Passed;

/// What a crash repeats was delivered within so long a time.
const WRITE_INTERVAL: Duration = Duration::from_millis(200);

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What is replayed, for people.
    pub job: String,
    /// Where reading goes on, and how many wanted events from there on the peer has.
    pub place: Place,
    pub skip: u64,
    /// Wanted events before that, and what became of them.
    pub delivered: u64,
    pub filtered: u64,
    pub refused: u64,
}

impl State {
    pub(super) fn position(&self) -> u64 {
        self.delivered + self.filtered + self.refused
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("this replay is at work already: `{}` is in use", path.display())]
    Held { path: PathBuf },
    #[error("`{}` cannot be used", path.display())]
    Io {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// The file of one replay, held by this process alone.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    inner: Mutex<Inner>,
    _lock: File,
}

#[derive(Debug)]
struct Inner {
    state: State,
    written: Instant,
    is_dirty: bool,
}

impl StateFile {
    /// The file in `dir` of the replay that `job` describes; `again` forgets how far it has got.
    ///
    /// # Errors
    /// Another process has it, or it cannot be read or written.
    pub fn open(dir: &Path, job: &str, again: bool) -> Result<StateFile, StateError> {
        let digest: String = Sha256::digest(job.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = dir.join(format!("{digest}.json"));
        let failed = |cause| StateError::Io { path: path.clone(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let lock = dir.join(format!("{digest}.lock"));
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock).map_err(failed)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(StateError::Held { path });
        }
        if again && let Err(error) = fs::remove_dir_all(path.with_extension("sink")) {
            // What a sink kept of a replay that was stopped is of no use to one that begins anew.
            (error.kind() == io::ErrorKind::NotFound).then_some(()).ok_or_else(|| failed(error))?;
        }
        let state = match fs::read(&path) {
            Ok(bytes) if !again => serde_json::from_slice(&bytes).map_err(|error| failed(io::Error::other(error)))?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => State { job: job.to_owned(), ..State::default() },
        };
        let inner = Mutex::new(Inner { state, written: Instant::now(), is_dirty: false });
        Ok(StateFile { path, inner, _lock: lock })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub fn state(&self) -> State {
        self.inner().state.clone()
    }

    /// How many of the wanted events are done with.
    pub(super) fn committed(&self) -> u64 {
        self.inner().state.position()
    }

    pub(super) fn passed(&self) -> Passed {
        let State { delivered, filtered, refused, .. } = self.inner().state;
        Passed { delivered, filtered, quarantined: refused, lost: 0 }
    }

    /// More is done with. What cannot be written now is written later, at the latest by [`keep`](Self::keep).
    pub(super) fn commit(&self, place: Place, skip: u64, more: Passed) {
        let mut inner = self.inner();
        let state = &mut inner.state;
        (state.place, state.skip) = (place, skip);
        state.delivered += more.delivered;
        state.filtered += more.filtered;
        state.refused += more.quarantined;
        inner.is_dirty = true;
        if inner.written.elapsed() >= WRITE_INTERVAL {
            let _ = self.write(&mut inner);
        }
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self) -> Result<(), StateError> {
        let mut inner = self.inner();
        match inner.is_dirty {
            true => self.write(&mut inner).map_err(|cause| StateError::Io { path: self.path.clone(), cause }),
            false => Ok(()),
        }
    }

    /// What a sink keeps for this replay alone; it is there once the sink has made it.
    pub fn folder(&self) -> PathBuf {
        self.path.with_extension("sink")
    }

    /// All is done: the same replay begins at the beginning again.
    ///
    /// # Errors
    /// The file or the sink's folder cannot be removed.
    pub fn finish(&self) -> Result<(), StateError> {
        let folder = self.folder();
        for (path, removed) in [(&folder, fs::remove_dir_all(&folder)), (&self.path, fs::remove_file(&self.path))] {
            match removed {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::Io { path: path.clone(), cause });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&self, inner: &mut Inner) -> io::Result<()> {
        let temporary = self.path.with_extension("temp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(&inner.state)?)?;
        // A power loss must not leave an empty file where there was one.
        file.sync_data()?;
        fs::rename(&temporary, &self.path)?;
        (inner.written, inner.is_dirty) = (Instant::now(), false);
        Ok(())
    }
}
