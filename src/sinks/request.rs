//! What `drive` keeps of a request: under construction, delivered, and passed by the cursor or not.
//!
//! Invariant: positions only; the events themselves are in the sink's own buffer and in the journal.

use tokio::time::Instant;

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
    /// When its first event came.
    pub(super) since: Option<Instant>,
}

/// What the peer has.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) next: Position,
    pub(super) events: usize,
    pub(super) bytes: usize,
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
