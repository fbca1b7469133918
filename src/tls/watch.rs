//! Whether certificates and keys have been renewed on disk.
//!
//! Invariant: what changes while it is read is read again.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Files are looked at no more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Device, file, size and time of the last change: another file, or other contents.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Files, and what they were when they were last looked at.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    looked: Instant,
}

impl Watch {
    /// Looks at the files; to be made before they are read.
    pub fn new(files: Vec<PathBuf>) -> Watch {
        Watch { seen: stamps(&files), files, looked: Instant::now() }
    }

    /// Whether one is another than at the last look; said once of a change. Looks once a second at most.
    pub fn has_changed(&mut self) -> bool {
        if self.looked.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked = Instant::now();
        let seen = stamps(&self.files);
        let has_changed = seen != self.seen;
        self.seen = seen;
        has_changed
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: Metadata| (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec());
    files.iter().map(|path| path.metadata().ok().map(stamp)).collect()
}
