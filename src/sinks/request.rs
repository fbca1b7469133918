//! What `drive` keeps of a request: under construction, delivered, and passed by the cursor or not.
//!
//! Invariant: positions only; the events themselves are in the sink's own buffer and in the journal.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::receipts::Entry;
use super::redact::Counts;
use crate::journal::Position;

/// The request under construction.
#[derive(Debug)]
pub(super) struct Request {
    /// The first record it looked at.
    pub(super) first: Position,
    /// One past the last record it looked at.
    pub(super) next: Position,
    /// The events in it.
    pub(super) positions: Vec<Position>,
    pub(super) bytes: usize,
    /// Secrets that were taken out of them.
    pub(super) redacted: Counts,
    /// When its first event came.
    pub(super) since: Option<Instant>,
}

/// What the peer has.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Up to where, until the cursor has passed it.
    pub(super) next: Option<Position>,
    /// What is to be written down of it.
    pub(super) receipts: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) next: Position,
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) receipts: Vec<Entry>,
}

/// Delivered requests the cursor has not passed, oldest first.
#[derive(Debug, Default)]
pub(super) struct Doubtful(VecDeque<Delivered>);

impl Doubtful {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, delivered: Delivered) {
        self.0.push_back(delivered);
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Delivered> {
        self.0.back_mut()
    }

    /// Takes out all but the latest `kept`, and adds them up.
    pub(super) fn pass(&mut self, kept: usize, taken: &mut Taken) {
        let passed = self.0.len().saturating_sub(kept);
        for delivered in self.0.drain(..passed) {
            taken.events += delivered.events;
            taken.bytes += delivered.bytes;
            taken.receipts.extend(delivered.receipts);
            taken.next = Some(delivered.next);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn events(&self) -> u64 {
        self.0.iter().map(|delivered| delivered.events as u64).sum()
    }
}

/// What `more` found.
pub(super) enum More {
    Records,
    /// Nothing to read: deliver what there is.
    Nothing,
    /// Stopped and nothing left, or the deadline has passed, or the journal is closed.
    End,
}

/// Whether the work went on or the cursor was put back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    On,
    Back,
}

impl Request {
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.first
    }
}
