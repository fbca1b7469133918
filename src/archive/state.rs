//! The folder of a stream's writer, besides the outbox: its keys, the public key of each stream, the lock.
//!
//! Invariant: one writer at a time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::dir::make_folder;
use super::error::ChainError;
use super::head::Head;
use super::keeper::Keeper;
use super::key_file::{KeyError, KeyFile};
use super::note::SigningKey;
use super::outbox::write_whole;

/// How long a writer that is ending is waited for.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// The key of the first epoch: that of an earlier try, the one given, or a new one.
pub(super) fn first_of(file: &KeyFile, given: Option<KeyFile>, name: &str) -> Result<(), ChainError> {
    if file.exists() {
        return Ok(());
    }
    let Some(key) = given.as_ref().map(KeyFile::read).transpose()? else {
        file.generate(name)?;
        return Ok(());
    };
    if key.verifying().name() != name {
        let path = given.map_or_else(PathBuf::new, |given| given.path().to_owned());
        return Err(
            KeyError::OtherName { path, found: key.verifying().name().to_owned(), wanted: name.to_owned() }.into()
        );
    }
    Ok(file.create(&key)?)
}

/// Writes down what a stream is to be checked with, from its first seal on.
pub(super) fn note_key(state: &Path, stream: u64, key: &SigningKey) -> io::Result<()> {
    write_whole(&state.join(format!("vkey-{stream}")), format!("{}\n", key.verifying()).as_bytes())
}

/// The file of the key that signs behind a head.
pub(super) fn key_file(state: &Path, head: &Head, keeper: Option<&Arc<dyn Keeper>>) -> KeyFile {
    KeyFile::kept(state.join(format!("key-{}-{}", head.stream, head.epoch)), keeper)
}

/// Waits a moment for a writer that is just ending: a reload opens the sink again.
pub(super) fn lock(state: &Path) -> io::Result<File> {
    make_folder(state)?;
    let file = File::create(state.join("lock"))?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_WAIT),
            locked => return locked.map(|()| file).map_err(io::Error::from),
        }
    }
    Err(io::Error::other(format!("another writer has `{}`", state.display())))
}
