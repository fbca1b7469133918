//! What can go wrong, by what the caller does about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Batch, Position};

/// The journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory; nothing in it was touched.
    #[error("the journal in `{dir}` is in use by {}", holder(*pid))]
    Held {
        dir: PathBuf,
        /// The other process, if it said.
        pid: Option<u32>,
    },
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
    #[error("the journal in `{dir}` cannot be opened")]
    Io {
        dir: PathBuf,
        #[source]
        cause: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// A batch is not stored: nothing of it may be acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No room now: the batch back, unchanged.
    #[error("the journal is full")]
    Full { batch: Batch },
    /// It will never fit: split it.
    #[error("a batch of {bytes} bytes, at most {bytes_max} fit into a segment of the journal")]
    TooLarge { bytes: usize, bytes_max: usize },
    /// The disk failed twice in a row: the batch back, unchanged. Later appends may work.
    #[error("the journal cannot store: {cause}")]
    Failed { cause: Arc<str>, batch: Batch },
    #[error("the journal is closed")]
    Closed,
}

/// Nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// An I/O error is not corruption: nothing was passed over, the same call may work later.
    #[error("the journal cannot be read")]
    Io(#[from] io::Error),
    /// The journal is closed and everything in it was read.
    #[error("the journal is closed")]
    Closed,
}

/// A cursor cannot do that.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    #[error("`{0}` cannot be the name of a cursor: it is empty or too long")]
    Name(String),
    #[error("the cursor `{0}` is open already")]
    Open(String),
    #[error("position {next} is ahead of the journal, which stands at {synced}")]
    Ahead { next: Position, synced: Position },
    /// It was forgotten, or the journal is closed.
    #[error("the cursor `{0}` is gone")]
    Gone(String),
    #[error("the cursor's file cannot be written")]
    Io(#[from] io::Error),
}
