//! Four bits for each number of an incarnation: seen, seen twice, expected, known.
//!
//! Invariant: as long as the range; a number outside of it has no place.

use std::collections::HashMap;

use super::export::ExportError;

const SEEN: u8 = 1;
const TWICE: u8 = 2;
const EXPECTED: u8 = 4;
/// In the archive and not expected.
const KNOWN: u8 = 8;

/// Times of indexing are kept for so many numbers at once.
const PAGE: u64 = 1 << 16;
/// Half a gigabyte of times.
const PAGES_MAX: usize = 2048;

/// The numbers of one incarnation.
#[derive(Debug)]
pub(super) struct Numbers {
    first: u64,
    last: u64,
    /// Two numbers a byte.
    bits: Vec<u8>,
    /// Seconds since 1970; zero is none.
    times: HashMap<u64, Box<[u32]>>,
}

impl Numbers {
    pub(super) fn new(first: u64, last: u64) -> Numbers {
        let mut numbers = Numbers { first, last, bits: Vec::new(), times: HashMap::new() };
        numbers.widen(first, last);
        numbers
    }

    /// Another stream has more of the same incarnation. Nothing was seen yet.
    pub(super) fn widen(&mut self, first: u64, last: u64) {
        (self.first, self.last) = (self.first.min(first), self.last.max(last));
        let bytes = (self.last - self.first) / 2 + 1;
        self.bits = vec![0; usize::try_from(bytes).unwrap_or(0)];
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

    /// Keeps when it was indexed; of several the first counts.
    pub(super) fn keep_time(&mut self, indexed: u32) -> Result<(), ExportError> {
        let times = &mut self.numbers.times;
        let (page, slot) = (self.index / PAGE, (self.index % PAGE) as usize);
        if times.len() >= PAGES_MAX && !times.contains_key(&page) {
            return Err(ExportError::TooManyTimes);
        }
        let page = times.entry(page).or_insert_with(|| vec![0; PAGE as usize].into_boxed_slice());
        if let Some(known) = page.get_mut(slot).filter(|known| **known == 0 || **known > indexed) {
            *known = indexed;
        }
        Ok(())
    }

    pub(super) fn time(&self) -> Option<u32> {
        let page = self.numbers.times.get(&(self.index / PAGE))?;
        page.get((self.index % PAGE) as usize).copied().filter(|time| *time > 0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_bits() {
        let mut numbers = Numbers::new(7, 12);
        assert!(numbers.at(6).is_none() && numbers.at(13).is_none());
        for number in 7..=12 {
            numbers.at(number).unwrap().expect();
        }
        for number in [7, 8, 8, 12] {
            numbers.at(number).unwrap().see();
        }
        assert!(numbers.at(8).unwrap().is_twice() && !numbers.at(7).unwrap().is_twice());
        assert_eq!((numbers.missing_in(0, u64::MAX), numbers.missing_in(8, 10)), (3, 2));
        let mut other = Numbers::new(0, 3);
        other.at(1).unwrap().see();
        other.at(2).unwrap().see();
        other.at(2).unwrap().know();
        assert_eq!(other.unknown().collect::<Vec<_>>(), [1]);
        other.at(1).unwrap().keep_time(9).unwrap();
        other.at(1).unwrap().keep_time(5).unwrap();
        assert_eq!((other.at(1).unwrap().time(), other.at(2).unwrap().time()), (Some(5), None));
    }
}
