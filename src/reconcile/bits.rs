//! Four bits for each number of an incarnation: seen, seen twice, expected, known.
//!
//! Invariant: as long as the range; a number outside of it has no place.

const SEEN: u8 = 1;
const TWICE: u8 = 2;
const EXPECTED: u8 = 4;
/// In the archive and not expected.
const KNOWN: u8 = 8;

/// The numbers of one incarnation.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Numbers of other incarnations, before these.
    before: u64,
    first: u64,
    last: u64,
    /// Two numbers a byte.
    bits: Vec<u8>,
}

impl Numbers {
    /// `before` are the numbers of other incarnations.
    pub(super) fn new(before: u64, first: u64, last: u64) -> Numbers {
        let bytes = last.saturating_sub(first) / 2 + 1;
        Numbers { before, first, last, bits: vec![0; usize::try_from(bytes).unwrap_or(0)] }
    }

    /// The place of a number.
    pub(super) fn at(&mut self, number: u64) -> Option<Spot<'_>> {
        (self.first..=self.last).contains(&number).then(|| Spot { index: number - self.first, numbers: self })
    }

    fn get(&self, index: u64) -> u8 {
        let byte = usize::try_from(index / 2).ok().and_then(|at| self.bits.get(at)).copied().unwrap_or(0);
        byte >> (index % 2 * 4) & 0x0F
    }

    /// Seen, and not in the archive.
    pub(super) fn unknown(&self) -> impl Iterator<Item = u64> {
        let is_unknown = |index: &u64| self.get(*index) & (SEEN | EXPECTED | KNOWN) == SEEN;
        (0..=self.last - self.first).filter(is_unknown).map(|index| self.first + index)
    }

    /// How many of a range are expected and not seen.
    pub(super) fn missing_in(&self, first: u64, last: u64) -> u64 {
        let (first, last) = (first.max(self.first), last.min(self.last));
        let is_missing = |number: &u64| self.get(number - self.first) & (SEEN | EXPECTED) == EXPECTED;
        (first..=last).filter(is_missing).count() as u64
    }
}

/// The place of a number.
pub(super) struct Spot<'n> {
    index: u64,
    numbers: &'n mut Numbers,
}

impl Spot<'_> {
    fn set(&mut self, bit: u8) {
        let at = usize::try_from(self.index / 2).unwrap_or(usize::MAX);
        if let Some(byte) = self.numbers.bits.get_mut(at) {
            *byte |= bit << (self.index % 2 * 4);
        }
    }

    fn has(&self, bit: u8) -> bool {
        self.numbers.get(self.index) & bit != 0
    }

    /// It is in the export; answers whether it was before.
    pub(super) fn see(&mut self) -> bool {
        let before = self.has(SEEN);
        self.set(if before { TWICE } else { SEEN });
        before
    }

    /// Its number among those of all incarnations.
    pub(super) fn number(&self) -> u32 {
        u32::try_from(self.numbers.before + self.index).unwrap_or(u32::MAX)
    }

    pub(super) fn expect(&mut self) {
        self.set(EXPECTED);
    }

    pub(super) fn know(&mut self) {
        self.set(KNOWN);
    }

    pub(super) fn is_seen(&self) -> bool {
        self.has(SEEN)
    }

    pub(super) fn is_twice(&self) -> bool {
        self.has(TWICE)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_bits() {
        let mut numbers = Numbers::new(100, 7, 12);
        assert!(numbers.at(6).is_none() && numbers.at(13).is_none());
        for number in 7..=12 {
            numbers.at(number).unwrap().expect();
        }
        for number in [7, 8, 8, 12] {
            numbers.at(number).unwrap().see();
        }
        assert!(numbers.at(8).unwrap().is_twice() && !numbers.at(7).unwrap().is_twice());
        assert_eq!((numbers.missing_in(0, u64::MAX), numbers.missing_in(8, 10)), (3, 2));
        let mut other = Numbers::new(0, 0, 3);
        other.at(1).unwrap().see();
        other.at(2).unwrap().see();
        other.at(2).unwrap().know();
        assert_eq!(other.unknown().collect::<Vec<_>>(), [1]);
        assert_eq!((numbers.at(7).unwrap().number(), numbers.at(12).unwrap().number()), (100, 105));
    }
}
