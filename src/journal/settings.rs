//! How a journal is set up.

use std::path::PathBuf;
use std::time::Duration;

use super::segment;

/// The smallest budget: eight segments that hold something.
const BYTES_MIN: u64 = 512 << 10;
/// What senders were promised: nobody waits longer, or for more, before a commit begins.
const COMMIT_BYTES_MAX: usize = 1 << 20;
const COMMIT_DELAY_MAX: Duration = Duration::from_millis(5);
/// The largest reserve for gap records.
const RESERVE_BYTES_MAX: u64 = 16 << 20;

/// How a journal is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A folder of its own; made with mode 0700.
    pub dir: PathBuf,
    /// What it may take on disk: at least 512 KiB.
    pub bytes_max: u64,
    pub sync: Sync,
    /// A group commit takes no more than this, or one batch.
    pub commit_bytes_max: usize,
    /// How long the first batch of a group may wait for company. A pause is followed by a commit at
    /// once, and the journal never waits longer than a millisecond.
    pub commit_delay_max: Duration,
}

/// What a cursor does when the journal has no more room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFull {
    /// It keeps all it needs: appends wait.
    #[default]
    Block,
    /// It gives up the oldest records for the cursors that are ahead of it. They are counted, and the
    /// reader is told. The one that is furthest ahead never does: there appends wait.
    GiveUp,
}

/// When `append` returns, and what that is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After the bytes are synced. A crash of process, system or power loses nothing acknowledged.
    Always,
    /// After the bytes are written; synced when the first of them is this old, and read by cursors
    /// only then. A killed process loses nothing; a crash of the system or of the power loses what
    /// was acknowledged in the last interval. No position is ever given twice.
    Interval(Duration),
    /// After the bytes are written; the system syncs when it likes (Linux: within half a minute). A
    /// killed process loses nothing; a crash of the system or of the power may lose anything
    /// recent, delivered or not, and a start without a clean close begins a new incarnation.
    Never,
}

impl Settings {
    /// A journal in `dir` with a budget of 1 GiB that syncs always.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Settings {
            dir: dir.into(),
            bytes_max: 1 << 30,
            sync: Sync::Always,
            commit_bytes_max: COMMIT_BYTES_MAX,
            commit_delay_max: COMMIT_DELAY_MAX,
        }
    }

    /// The largest batch: header, checkpoint and batch share a segment.
    pub fn batch_bytes_max(&self) -> usize {
        (self.segment_bytes() / 2) as usize
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        segment::BYTES_MAX.min(self.bytes_max / 8)
    }

    /// What only gap records may use.
    pub(super) fn reserve_bytes(&self) -> u64 {
        RESERVE_BYTES_MAX.min(self.bytes_max / 8)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.bytes_max < BYTES_MIN {
            return Err(format!("a journal of {} bytes is too small, it needs {BYTES_MIN}", self.bytes_max));
        }
        if self.commit_delay_max > COMMIT_DELAY_MAX || self.commit_bytes_max > COMMIT_BYTES_MAX {
            let (bytes, delay) = (self.commit_bytes_max, self.commit_delay_max);
            return Err(format!(
                "a commit of {bytes} bytes or after {delay:?}: at most {COMMIT_BYTES_MAX} or {COMMIT_DELAY_MAX:?}"
            ));
        }
        Ok(())
    }
}
