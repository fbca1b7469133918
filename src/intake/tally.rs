//! Tally: how many events of a source went into the journal, and how many never got there.
//!
//! Invariant: it is stored in the batch of its events, so neither is there without the other.

use crate::journal::Batch;

/// What a source has seen, kept in the journal: it grows in the same batch as the events. What the
/// source received is both together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events taken into the journal.
    pub taken: u64,
    /// Events that never got there, declared by gap records.
    pub lost: u64,
}

impl Tally {
    /// From the sums of [`Status::tallies`](crate::journal::Status::tallies).
    pub fn from_sums(sums: &[u64]) -> Tally {
        let sum = |index: usize| sums.get(index).copied().unwrap_or(0);
        Tally { taken: sum(0), lost: sum(1) }
    }

    pub(super) fn add_to(self, batch: &mut Batch, source: &str) {
        // Zeros at the end need not be written.
        let sums = [self.taken, self.lost];
        batch.tally(source, if self.lost == 0 { &sums[..1] } else { &sums });
    }
}
