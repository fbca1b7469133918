//! What a sink has done, for `/metrics`, `/ready` and `status`: written by `drive`, read by anyone.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::redact::{Counts, Rule};
use crate::journal::Passed;

/// How a sink is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkState {
    /// Delivering, or nothing to deliver.
    Working,
    /// The peer does not take events now; tried again with backoff.
    Retrying,
    /// Only a person can help (bad token, no such bucket); everything is kept, tried again slowly.
    Alarm,
    /// Drained and closed, or never started.
    Stopped,
}

/// Counters. Events are counted once the cursor has passed them, and go on where the last run of
/// the gateway stopped; the others begin with its start.
#[derive(Debug, Default)]
pub struct SinkStats {
    delivered: AtomicU64,
    filtered: AtomicU64,
    quarantined: AtomicU64,
    lost: AtomicU64,
    pub(super) delivered_bytes: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) quarantine_full: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) damaged: AtomicU64,
    redacted: [AtomicU64; Rule::COUNT],
    in_doubt: AtomicU64,
    state: AtomicU8,
    last_error: Mutex<Option<String>>,
}

impl SinkStats {
    /// Events the peer has.
    pub fn delivered_total(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Events that were not meant for this sink.
    pub fn filtered_total(&self) -> u64 {
        self.filtered.load(Ordering::Relaxed)
    }

    /// Events that were damaged or given up on this sink's way, and declared by gap records.
    pub fn lost_total(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Bytes of the requests the peer has, before compression.
    pub fn delivered_bytes_total(&self) -> u64 {
        self.delivered_bytes.load(Ordering::Relaxed)
    }

    /// Requests the peer has.
    pub fn requests_total(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Events the sink or its peer refused for good; those past the cap of the quarantine are among them.
    pub fn quarantined_total(&self) -> u64 {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// Refused events whose bytes were not kept because the quarantine file is at its cap.
    pub fn quarantine_full_total(&self) -> u64 {
        self.quarantine_full.load(Ordering::Relaxed)
    }

    /// Requests that did not go through and were made again.
    pub fn retries_total(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Places where the journal had set damaged bytes aside on this sink's way.
    pub fn damaged_total(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Secrets of a rule that were taken out of requests the peer has.
    pub fn redacted_total(&self, rule: Rule) -> u64 {
        self.redacted[rule as usize].load(Ordering::Relaxed)
    }

    /// Events the peer has taken and may still lose: not acknowledged by an indexer, or in the resend
    /// window. They count as delivered when that is over.
    pub fn in_doubt(&self) -> u64 {
        self.in_doubt.load(Ordering::Relaxed)
    }

    /// How the sink is doing.
    pub fn state(&self) -> SinkState {
        match self.state.load(Ordering::Relaxed) {
            1 => SinkState::Working,
            2 => SinkState::Retrying,
            3 => SinkState::Alarm,
            _ => SinkState::Stopped,
        }
    }

    /// What went wrong last; stays until something is delivered.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts events the cursor has passed.
    pub(super) fn pass(&self, passed: &Passed) {
        self.delivered.fetch_add(passed.delivered, Ordering::Relaxed);
        self.filtered.fetch_add(passed.filtered, Ordering::Relaxed);
        self.quarantined.fetch_add(passed.quarantined, Ordering::Relaxed);
        self.lost.fetch_add(passed.lost, Ordering::Relaxed);
    }

    pub(super) fn redact(&self, counts: &Counts) {
        for rule in Rule::ALL.into_iter().filter(|rule| counts.of(*rule) > 0) {
            self.redacted[rule as usize].fetch_add(u64::from(counts.of(rule)), Ordering::Relaxed);
        }
    }

    pub(super) fn doubt(&self, events: u64) {
        self.in_doubt.store(events, Ordering::Relaxed);
    }

    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Answers the state before.
    pub(super) fn enter(&self, state: SinkState, error: Option<&str>) -> SinkState {
        let before = self.state();
        let number = match state {
            SinkState::Stopped => 0,
            SinkState::Working => 1,
            SinkState::Retrying => 2,
            SinkState::Alarm => 3,
        };
        self.state.store(number, Ordering::Relaxed);
        if before != state || error.is_some() {
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error.map(str::to_owned);
        }
        before
    }
}
