//! The outbox: what is about to be put into the store stands whole and synced on this machine's disk first.
//!
//! ```text
//! <state>/head.json            the head of the stream, when nothing is pending
//! <state>/outbox/pending.json  what is to be put, in order, and the head behind it
//! <state>/outbox/object        the bytes of the object among it
//! ```
//!
//! Invariant: after a crash the same bytes are put under the same keys, or nothing of them ever was.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::dir::make_folder;
use super::head::Head;
use super::key_file::sync_folder_of;
use super::store::{Put, Store};

/// One object to be put: a seal, or the object beside the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) key: String,
    /// None: the bytes are those of the object.
    pub(super) note: Option<String>,
}

/// What stands or falls together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) items: Vec<Item>,
    pub(super) before: Head,
    pub(super) head: Head,
}

/// See above.
#[derive(Debug)]
pub(super) struct Outbox {
    state: PathBuf,
    pending: Option<Pending>,
}

/// What became of what was pending.
#[derive(Debug)]
pub(super) enum Flushed {
    /// The store has all of it.
    Done,
    /// Something else stands under that key; the stream stood so before.
    Occupied { key: String, before: Box<Head> },
}

impl Outbox {
    /// What an earlier life has left: the head to go on from, if there is one.
    pub(super) fn open(state: &Path) -> io::Result<(Outbox, Option<Head>)> {
        make_folder(&state.join("outbox"))?;
        let outbox = Outbox { state: state.to_owned(), pending: None };
        let pending: Option<Pending> = read(&outbox.pending_path())?;
        let head = match &pending {
            Some(pending) => Some(pending.head.clone()),
            None => read(&outbox.head_path())?,
        };
        Ok((Outbox { pending, ..outbox }, head))
    }

    fn head_path(&self) -> PathBuf {
        self.state.join("head.json")
    }

    fn pending_path(&self) -> PathBuf {
        self.state.join("outbox/pending.json")
    }

    fn object_path(&self) -> PathBuf {
        self.state.join("outbox/object")
    }

    /// Whether something is still to be put.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The checkpoint among what is pending.
    pub(super) fn checkpoint(&self) -> Option<String> {
        let items = &self.pending.as_ref()?.items;
        items.iter().find(|item| item.key.starts_with("checkpoint/")).and_then(|item| item.note.clone())
    }

    /// Keeps what is to be put; nothing else may be pending.
    pub(super) fn stage(&mut self, pending: Pending, object: Option<&[u8]>) -> io::Result<()> {
        // Of a try that failed at its end: its list must never be read beside another object.
        if remove(&self.pending_path())? {
            sync_folder_of(&self.pending_path())?;
        }
        if let Some(object) = object {
            let mut file = File::create(self.object_path())?;
            file.write_all(object)?;
            file.sync_all()?;
        }
        write(&self.pending_path(), &pending)?;
        self.pending = Some(pending);
        Ok(())
    }

    /// Puts what is pending into the store. What fails is tried again with the next call.
    pub(super) fn flush(&mut self, store: &dyn Store) -> io::Result<Flushed> {
        let Some(pending) = &self.pending else { return Ok(Flushed::Done) };
        let object = match pending.items.iter().any(|item| item.note.is_none()) {
            true => fs::read(self.object_path())?,
            false => Vec::new(),
        };
        let bytes = |item: &Item| item.note.as_ref().map_or_else(|| object.clone(), |note| note.clone().into_bytes());
        // Before anything is put: what is there already tells whose place this is.
        for item in &pending.items {
            if store.holds(&item.key, &bytes(item))? == Some(false) {
                return Ok(Flushed::Occupied { key: item.key.clone(), before: Box::new(pending.before.clone()) });
            }
        }
        for item in &pending.items {
            if store.put_new(&item.key, &bytes(item))? == Put::Other {
                return Ok(Flushed::Occupied { key: item.key.clone(), before: Box::new(pending.before.clone()) });
            }
        }
        let head = pending.head.clone();
        self.forget(&head)?;
        Ok(Flushed::Done)
    }

    /// Nothing is pending any more, and the stream stands so.
    pub(super) fn forget(&mut self, head: &Head) -> io::Result<()> {
        write(&self.head_path(), head)?;
        remove(&self.pending_path())?;
        remove(&self.object_path())?;
        self.pending = None;
        sync_folder_of(&self.pending_path())
    }
}

/// Removes a file; answers whether there was one.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(read) => Ok(Some(read)),
            Err(error) => Err(io::Error::other(format!("`{}` is damaged: {error}", path.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write_whole(path, &serde_json::to_vec(value)?)
}

/// Replaces a file: it holds the old text or the new one, whatever happens.
///
/// # Errors
/// It is not known to be on disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    sync_folder_of(path)
}
