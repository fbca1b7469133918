//! What does not reach a sink: ranges of positions that the journal has lost, or that are not for it,
//! until the cursor has passed them.
//!
//! Invariant: a position counts once, however often its range is read.

use crate::journal::Position;

/// Ranges in order, first and last position each, none touching another.
#[derive(Debug, Default)]
pub(super) struct Missing {
    ranges: Vec<(u64, u64)>,
}

impl Missing {
    /// Adds a range.
    pub(super) fn add(&mut self, (first, last): (Position, Position)) {
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
    }

    /// Takes a range out.
    pub(super) fn remove(&mut self, (first, last): (Position, Position)) {
        let kept =
            |known: &(u64, u64)| [(known.0, known.1.min(first.0.wrapping_sub(1))), (known.0.max(last.0 + 1), known.1)];
        let cut = |known: &(u64, u64)| known.0 <= last.0 && first.0 <= known.1;
        let parts = |known: (u64, u64)| if cut(&known) { kept(&known) } else { [known, (1, 0)] };
        self.ranges = self.ranges.drain(..).flat_map(parts).filter(|(first, last)| first <= last).collect();
    }

    /// Whether all of a range is known.
    pub(super) fn has(&self, (first, last): (Position, Position)) -> bool {
        self.ranges.iter().any(|known| known.0 <= first.0 && last.0 <= known.1)
    }

    /// The first and the last missing position before `next`.
    pub(super) fn span_before(&self, next: Position) -> Option<(Position, Position)> {
        let first = self.ranges.first().filter(|range| range.0 < next.0)?.0;
        let last = self.ranges.iter().take_while(|range| range.0 < next.0).last()?.1;
        Some((Position(first), Position(last.min(next.0 - 1))))
    }

    /// How many positions before `next` are missing.
    pub(super) fn before(&self, next: Position) -> u64 {
        self.ranges.iter().map(|(first, last)| next.0.min(last + 1).saturating_sub(*first)).sum()
    }

    /// Whether a position is missing, and the next one of which the other is true.
    pub(super) fn turn(&self, at: Position) -> (bool, Position) {
        let range = self.ranges.get(self.ranges.partition_point(|range| range.1 < at.0));
        match range {
            Some((first, last)) if *first <= at.0 => (true, Position(last + 1)),
            Some((first, _)) => (false, Position(*first)),
            None => (false, Position(u64::MAX)),
        }
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
        for (first, last) in [(5, 6), (10, 12), (1, 1), (11, 12)] {
            missing.add((Position(first), Position(last)));
        }
        assert!(missing.has((Position(11), Position(12))) && !missing.has((Position(6), Position(11))));
        assert_eq!(missing.span_before(Position(11)), Some((Position(1), Position(10))));
        assert_eq!(missing.span_before(Position(1)), None);
        // Closes the hole between two.
        missing.add((Position(6), Position(11)));
        assert_eq!(missing.ranges, [(1, 1), (5, 12)]);
        assert_eq!([1, 2, 5, 7, 13, 99].map(|next| missing.before(Position(next))), [0, 1, 1, 3, 9, 9]);
        missing.forget_before(Position(7));
        assert_eq!(missing.ranges, [(7, 12)]);
        assert_eq!(missing.before(Position(13)), 6);
        missing.remove((Position(9), Position(9)));
        missing.remove((Position(1), Position(7)));
        assert_eq!(missing.ranges, [(8, 8), (10, 12)]);
        missing.remove((Position(8), Position(99)));
        assert_eq!(missing.ranges, []);
    }
}
