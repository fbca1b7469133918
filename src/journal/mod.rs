//! The journal: the one log on local disk between sources and sinks. It stores opaque bytes.
//!
//! Way of an event: … judge → **journal** → receipt back to the source; each sink reads with its
//! own cursor. Layers: storage (bytes, sync) → record (length, checksum) → segment (file) → log
//! (numbers, group commit) → cursor.
//!
//! Invariants: `append` returns only after the bytes are synced; a cursor reads only synced
//! records; a batch is whole or absent; positions are dense and never reused in an incarnation.

mod batch;
mod budget;
mod catalogue;
mod chunk;
mod cursor;
mod cursor_file;
mod error;
mod handle;
pub mod inspect;
mod log;
mod meta;
mod passed;
mod queue;
mod read_only;
mod record;
mod recovery;
pub mod repair;
mod segment;
mod settings;
mod shared;
#[doc(hidden)]
pub mod sim;
mod status;
pub mod storage;
#[cfg(test)]
mod tests;
mod tidy;
mod writer;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use batch::Batch;
pub use chunk::{Chunk, Damage, Record};
pub use cursor::Cursor;
pub use error::{AppendError, CursorError, OpenError, ReadError};
pub use handle::{Journal, Receipt, Stepper};
pub use passed::Passed;
pub use settings::{OnFull, Settings, Sync};
pub use status::{CursorStatus, Status};

/// Random for each life of a data directory: half of every event's id. Sixteen hex digits in text.
#[derive(Copy, Clone, Eq, PartialEq, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a record stands in the log: dense, the first is 1.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The position behind this one.
    pub fn next(self) -> Self {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Locks; a thread that panicked while it held the lock left nothing half done that matters more
/// than going on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
