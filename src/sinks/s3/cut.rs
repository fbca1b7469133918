//! Where the request under way ends: on disk before its first object is written, so that a gateway that was killed
//! cuts the same objects again.
//!
//! Invariant: no request that begins at or before the cut goes beyond it.

use std::io;
use std::path::PathBuf;

use crate::archive::write_whole;

/// Bytes of an event's id that say which journal it is of.
const INCARNATION: usize = 16;

/// See above.
#[derive(Debug)]
pub(super) struct Cut {
    path: PathBuf,
    /// The last event of a request that may have been written in part.
    last: Option<String>,
    /// An earlier run has set it, and it was not reached yet.
    is_due: bool,
}

impl Cut {
    /// As an earlier run left it.
    pub(super) fn open(path: PathBuf) -> Cut {
        // What cannot be read is no cut: then events may stand in two objects, as they may elsewhere.
        let last = std::fs::read_to_string(&path).ok().filter(|last| last.len() > INCARNATION);
        Cut { path, is_due: last.is_some(), last }
    }

    /// Whether an earlier run has set one that was not reached yet.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether the request under construction ends before this event. `is_first`: it would be the first.
    pub(super) fn is_before(&mut self, id: &str, is_first: bool) -> bool {
        let is_same = |last: &str| last.get(..INCARNATION) == id.get(..INCARNATION);
        let Some(last) = self.last.as_deref() else { return false };
        if is_same(last) && id <= last {
            return false;
        }
        if is_first {
            (self.last, self.is_due) = (None, false);
        }
        !is_first
    }

    /// The request ends with this event: on disk when this returns.
    pub(super) fn set(&mut self, last: &str) -> io::Result<()> {
        if self.last.as_deref() != Some(last) {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            write_whole(&self.path, last.as_bytes())?;
            self.last = Some(last.to_owned());
        }
        self.is_due = false;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_where_it_ended_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s3/lake.cut");
        let id = |number: u32| format!("00000000000000aa-{number:016}");
        let mut cut = Cut::open(path.clone());
        assert!(!cut.is_due() && !cut.is_before(&id(1), true) && !cut.is_before(&id(2), false));
        cut.set(&id(2)).unwrap();
        assert!(!cut.is_due(), "this run's own");
        let mut cut = Cut::open(path.clone());
        assert!(cut.is_due());
        assert!(!cut.is_before(&id(1), true) && !cut.is_before(&id(2), false));
        assert!(cut.is_before(&id(3), false), "in the same request");
        assert!(!cut.is_before(&id(3), true), "but first in the next");
        assert!(!cut.is_due() && !cut.is_before(&id(4), false));
        // Of another journal it says nothing.
        let mut cut = Cut::open(path.clone());
        assert!(!cut.is_before("00000000000000bb-0000000000000001", true) && !cut.is_due());
        std::fs::write(&path, "x").unwrap();
        assert!(!Cut::open(path).is_due());
    }
}
