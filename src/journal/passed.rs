//! Passed: what became of the events behind a cursor, kept in its file beside its position.
//!
//! Invariant: position and counts are written as one, so that after any crash they agree, and every
//! event the cursor has passed is in exactly one of the counts.

/// Events a cursor has passed, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// The peer has them.
    pub delivered: u64,
    /// They were not meant for this sink.
    pub filtered: u64,
    /// Refused for good: in quarantine, or counted there when it is at its cap.
    pub quarantined: u64,
    /// Damaged, or given up because the journal was full: declared by gap records.
    pub lost: u64,
}

impl Passed {
    /// That many events, all delivered.
    pub fn delivered(count: u64) -> Self {
        Passed { delivered: count, ..Passed::default() }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.delivered + self.filtered + self.quarantined + self.lost
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, more: &Passed) -> Self {
        Passed {
            delivered: self.delivered + more.delivered,
            filtered: self.filtered + more.filtered,
            quarantined: self.quarantined + more.quarantined,
            lost: self.lost + more.lost,
        }
    }
}
