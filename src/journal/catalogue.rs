//! Catalogue: which segments and cursors there are, and what of it may go.
//!
//! Shared by the log's thread, the cursors and the handles; the lock is held for memory work and at
//! most one small write into the page cache.
//!
//! Invariant: a segment leaves only when every cursor's file says so, synced, and the one behind it
//! is on disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::batch::Marks;
use super::cursor_file::{Committed, CursorFile};
use super::segment::Identity;
use super::segment::Place;
use super::settings::OnFull;
use super::storage::StorageFile;

/// A segment, as much as readers and the budget need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) id: u64,
    pub(super) identity: Identity,
    /// The number of its first event; it ends where the next segment begins.
    pub(super) first: u64,
    /// Bytes of all segments before it.
    pub(super) bytes_before: u64,
    /// How far its records can reach: the length of the file once it is closed.
    pub(super) end: u64,
    /// What the budget holds for it.
    pub(super) charged: u64,
}

/// What is known of a cursor, open or not.
#[derive(Debug)]
pub(super) struct CursorState {
    pub(super) file: CursorFile,
    /// What the file says.
    pub(super) at: Committed,
    pub(super) open: bool,
    pub(super) on_full: OnFull,
}

#[derive(Debug)]
pub(super) struct Catalogue {
    /// By id; the last one is being written, or was when the process ended.
    pub(super) segments: VecDeque<Segment>,
    /// The newest segment whose head is synced, and its name: the marks and the end of the log are
    /// safe in it.
    pub(super) durable: u64,
    pub(super) cursors: BTreeMap<String, CursorState>,
    /// As of the end of the log, and the number of its next event: both move together.
    pub(super) marks: Marks,
    pub(super) next: u64,
    /// Bytes of the spare segment, zero without one.
    pub(super) spare_bytes: u64,
}

/// A cursor's file that was written since its last sync.
#[derive(Debug)]
pub(super) struct Unsynced {
    pub(super) name: String,
    pub(super) generation: u64,
    /// None if a new file must take its place.
    pub(super) file: Option<Arc<dyn StorageFile>>,
}

/// Where a reader finds its next record.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) segment: Segment,
    /// The first number behind this segment.
    pub(super) until: u64,
    /// Bytes of the log that were written since the segment began.
    pub(super) behind: u64,
}

/// Bytes before the end of the log that are taken to be in the page cache.
const NEAR_BYTES: u64 = 32 << 20;

impl View {
    /// Whether that offset of the segment was written so recently that the page cache has it.
    pub(super) fn near_end(&self, offset: u64) -> bool {
        self.behind.saturating_sub(offset) <= NEAR_BYTES
    }
}

impl Catalogue {
    /// The segment with that id, or the first one behind it.
    pub(super) fn view(&self, id: u64) -> Option<View> {
        let index = self.segments.partition_point(|segment| segment.id < id);
        let segment = *self.segments.get(index)?;
        let until = self.segments.get(index + 1).map_or(u64::MAX, |following| following.first);
        let last = self.segments.back()?;
        let behind = (last.bytes_before + last.charged).saturating_sub(segment.bytes_before);
        Some(View { segment, until, behind })
    }

    /// Where an event stands at the earliest: the beginning of its segment, or of the oldest kept.
    pub(super) fn place_of(&self, position: u64, next: u64) -> Place {
        let behind = self.segments.partition_point(|segment| segment.first <= position);
        match self.segments.get(behind.saturating_sub(1)) {
            // An event older than all that is kept stands before the oldest: readers name the gap.
            Some(segment) => Place {
                segment: segment.id,
                offset: super::segment::HEADER_BYTES as u64,
                position: segment.first.min(position),
            },
            None => Place { segment: 0, offset: super::segment::HEADER_BYTES as u64, position: next },
        }
    }

    /// The segment behind the oldest, once it is on disk. Until then the oldest may be the only one
    /// that holds the marks and the end of the log.
    pub(super) fn second(&self) -> Option<&Segment> {
        self.segments.get(1).filter(|second| second.id <= self.durable)
    }

    /// Whether the oldest segment may go. A journal without cursors keeps what the budget allows: there the oldest goes
    /// only if room is `wanted`.
    pub(super) fn releasable(&self, oldest_needed: Option<u64>, wanted: bool) -> bool {
        let Some(second) = self.second() else { return false };
        oldest_needed.map_or(wanted, |oldest| oldest >= second.first)
    }

    /// Cursor files that were written since their last sync.
    pub(super) fn unsynced_cursors(&self) -> Vec<Unsynced> {
        let unsynced = self.cursors.iter().filter(|(_, cursor)| cursor.file.unsynced());
        let unsynced = unsynced.map(|(name, CursorState { file, .. })| Unsynced {
            name: name.clone(),
            generation: file.generation(),
            file: file.trusted_file(),
        });
        unsynced.collect()
    }

    /// The first number some cursor may still need.
    pub(super) fn oldest_needed(&self) -> Option<u64> {
        let committed = self.cursors.values().map(|cursor| cursor.at.position);
        if planted!(ReleasedTooEarly) { committed.max() } else { committed.min() }
    }

    /// Bytes that files of segments take on disk.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }
}
