//! Status: how the journal stands, for people and metrics.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::batch::{TALLY, sums};
use super::shared::Shared;
use super::{Passed, Position, locked};

/// How the journal stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// Bytes taken of the budget.
    pub bytes_used: u64,
    /// The budget.
    pub bytes_max: u64,
    /// How much of it ordinary appends may use; the rest is a reserve for gap records.
    pub bytes_ordinary: u64,
    /// Appends that found no room since the start, and segments that were given up to make some.
    pub full_total: u64,
    /// The oldest record that is kept; behind `last` when there is none.
    pub first: Position,
    /// The newest record that is synced; zero before the first.
    pub last: Position,
    pub cursors: Vec<CursorStatus>,
    /// The sums of [`Batch::tally`](super::Batch::tally), of exactly the records counted in
    /// `appended_total`.
    pub tallies: BTreeMap<String, Vec<u64>>,
    /// Records, batches and bytes stored since the directory was made.
    pub appended_total: u64,
    pub batches_total: u64,
    pub appended_bytes_total: u64,
    /// Syncs of segments since the start, the time they took, and those that failed.
    pub syncs_total: u64,
    pub sync_seconds: Duration,
    pub sync_failures_total: u64,
    /// Records found damaged or missing since the start.
    pub damaged_total: u64,
    /// The disk is full: appends wait for space.
    pub stalled: bool,
    /// False: appends fail, because the disk did twice in a row.
    pub healthy: bool,
}

/// How far a sink has got.
#[derive(Debug, Clone)]
pub struct CursorStatus {
    pub name: String,
    /// The next record it needs.
    pub position: Position,
    /// The first record its counts are about.
    pub begun: Position,
    /// What became of the records from there to `position`.
    pub passed: Passed,
    /// Records from `position` on.
    pub lag_records: u64,
    /// Records it gave up because the journal was full, and that are not declared yet.
    pub given_up: u64,
    pub lag_bytes: u64,
    /// Somebody reads with it; otherwise it only holds records.
    pub open: bool,
}

impl CursorStatus {
    /// Records since it began: `passed` and `lag_records` together, whatever happened meanwhile.
    pub fn received(&self) -> u64 {
        self.position.0 - self.begun.0 + self.lag_records
    }

    /// Records it has passed that are in none of the counts: always zero.
    pub fn unaccounted(&self) -> i64 {
        (self.position.0 - self.begun.0).cast_signed() - self.passed.total().cast_signed()
    }
}

impl Status {
    pub(super) fn of(shared: &Shared) -> Self {
        let synced = shared.synced().next;
        let counters = &shared.counters;
        let bytes = counters.bytes.load(Relaxed);
        let catalogue = locked(&shared.catalogue);
        // One moment for all counts: what a batch adds to them, it adds under this lock.
        let next = catalogue.next;
        let lag_bytes = |place: super::segment::Place| {
            let before = catalogue.view(place.segment).map_or(bytes, |view| view.segment.bytes_before);
            bytes.saturating_sub(before + place.offset)
        };
        let cursors = catalogue.cursors.iter().map(|(name, cursor)| CursorStatus {
            name: name.clone(),
            position: Position(cursor.at.position),
            begun: Position(cursor.at.begun),
            passed: cursor.at.passed,
            lag_records: next.saturating_sub(cursor.at.position),
            given_up: cursor.at.position - cursor.at.resume(),
            lag_bytes: if cursor.at.position >= next { 0 } else { lag_bytes(cursor.at.place) },
            open: cursor.open,
        });
        Status {
            bytes_used: shared.budget.used(),
            bytes_max: shared.settings.bytes_max,
            bytes_ordinary: shared.settings.bytes_max - shared.settings.reserve_bytes(),
            full_total: counters.full.load(Relaxed),
            first: Position(catalogue.segments.front().map_or(next, |segment| segment.first)),
            last: Position(synced - 1),
            cursors: cursors.collect(),
            tallies: catalogue.marks.iter().filter_map(|(name, value)| tally(name, value)).collect(),
            appended_total: next - 1,
            batches_total: counters.batches.load(Relaxed),
            appended_bytes_total: bytes,
            syncs_total: counters.syncs.load(Relaxed),
            sync_seconds: Duration::from_nanos(counters.sync_nanos.load(Relaxed)),
            sync_failures_total: counters.sync_failures.load(Relaxed),
            damaged_total: counters.damaged.load(Relaxed),
            stalled: shared.stalled(),
            healthy: shared.failure().is_none(),
        }
    }
}

fn tally(name: &str, value: &[u8]) -> Option<(String, Vec<u64>)> {
    Some((name.strip_prefix(TALLY)?.to_owned(), sums(value).collect()))
}
