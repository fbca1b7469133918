//! What the journal has lost on a sink's way: ranges of positions, until the cursor has passed them.
//!
//! Invariant: a position counts once, however often its range is read.

use crate::journal::Position;

/// Ranges in order, first and last position each, none touching another.
#[derive(Debug, Default)]
pub(super) struct Missing {
    ranges: Vec<(u64, u64)>,
}

impl Missing {
    /// Adds a range; false if all of it was known.
    pub(super) fn add(&mut self, (first, last): (Position, Position)) -> bool {
        if self.ranges.iter().any(|known| known.0 <= first.0 && last.0 <= known.1) {
            return false;
        }
        let (mut first, mut last) = (first.0, last.0);
        self.ranges.retain(|known| {
            let apart = known.1 + 1 < first || last + 1 < known.0;
            if !apart {
                first = first.min(known.0);
                last = last.max(known.1);
            }
            apart
        });
        let at = self.ranges.partition_point(|known| known.1 < first);
        self.ranges.insert(at, (first, last));
        true
    }

    /// How many positions before `next` are missing.
    pub(super) fn before(&self, next: Position) -> u64 {
        self.ranges.iter().map(|(first, last)| next.0.min(last + 1).saturating_sub(*first)).sum()
    }

    /// The cursor has passed everything before `next`.
    pub(super) fn forget_before(&mut self, next: Position) {
        self.ranges.retain(|(_, last)| *last >= next.0);
        for range in &mut self.ranges {
            range.0 = range.0.max(next.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_counts_once() {
        let mut missing = Missing::default();
        let mut add = |first, last| missing.add((Position(first), Position(last)));
        assert!(add(5, 6) && add(10, 12) && add(1, 1));
        assert!(!add(11, 12));
        assert!(add(6, 11), "closes the hole between two");
        assert_eq!(missing.ranges, [(1, 1), (5, 12)]);
        assert_eq!([1, 2, 5, 7, 13, 99].map(|next| missing.before(Position(next))), [0, 1, 1, 3, 9, 9]);
        missing.forget_before(Position(7));
        assert_eq!(missing.ranges, [(7, 12)]);
        assert_eq!(missing.before(Position(13)), 6);
    }
}
