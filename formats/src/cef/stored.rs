//! The pairs of one extension, all of them, because a label may stand anywhere on the line.
//!
//! Invariant: an ordinary line costs no allocation, and finding a key among many costs a few comparisons.

use super::grammar::{Pair, Pairs};
use crate::repeats::repeats;
use crate::text::Text;

/// More than any product writes.
const FEW: usize = 64;

/// As many keys as of JSON are read: no line costs more than its length.
pub(super) const KEYS_MAX: u32 = crate::json_read::KEYS_MAX;

/// Room for the pairs of an ordinary line.
pub(super) struct Few([Pair; FEW]);

impl Default for Few {
    fn default() -> Self {
        Few([Pair::default(); FEW])
    }
}

/// The pairs of an extension, in order.
pub(super) struct Stored<'f, 'l> {
    few: &'f [Pair],
    /// All pairs, when they are more.
    many: Vec<Pair>,
    /// Then also their places, sorted by key; equal ones in the order of the line.
    sorted: Vec<u32>,
    line: &'l [u8],
}

impl<'f, 'l> Stored<'f, 'l> {
    /// Takes at most [`KEYS_MAX`] pairs.
    pub(super) fn new(few: &'f mut Few, pairs: &mut Pairs<'l>, line: &'l [u8]) -> Self {
        let mut len = 0_usize;
        for (slot, pair) in few.0.iter_mut().zip(&mut *pairs) {
            *slot = pair;
            len = len.saturating_add(1);
        }
        let few: &'f [Pair] = few.0.get(..len).unwrap_or_default();
        let mut stored = Stored { few, many: Vec::new(), sorted: Vec::new(), line };
        if len == FEW
            && let Some(next) = pairs.next()
        {
            stored.many = few.iter().copied().chain([next]).chain(pairs).take(KEYS_MAX as usize).collect();
            let mut sorted: Vec<u32> = (0..stored.many.len() as u32).collect();
            sorted.sort_by_key(|at| stored.key_at(*at));
            stored.sorted = sorted;
        }
        stored
    }

    pub(super) fn pairs(&self) -> &[Pair] {
        if self.many.is_empty() { self.few } else { &self.many }
    }

    fn key(&self, pair: &Pair) -> &'l [u8] {
        self.line.get(pair.key()).unwrap_or_default()
    }

    fn key_at(&self, at: u32) -> &'l [u8] {
        self.many.get(at as usize).map(|pair| self.key(pair)).unwrap_or_default()
    }

    /// The places of the pairs whose key was there before, in order.
    pub(super) fn repeated(&self, text: &Text<'_>) -> Vec<usize> {
        if self.many.is_empty() {
            return repeats(self.few.iter().map(|pair| ("", text.ascii(pair.key()))));
        }
        let pairs = self.sorted.iter().zip(self.sorted.iter().skip(1));
        let again = pairs.filter(|(one, other)| self.key_at(**one) == self.key_at(**other));
        let mut found: Vec<usize> = again.map(|(_, at)| *at as usize).collect();
        found.sort_unstable();
        found
    }

    /// The first pair whose key is `base` with `suffix` behind it.
    pub(super) fn find(&self, base: &[u8], suffix: &[u8]) -> Option<Pair> {
        if self.many.is_empty() {
            let is = |pair: &&Pair| self.key(pair).strip_suffix(suffix) == Some(base);
            return self.few.iter().find(is).copied();
        }
        let wanted = || base.iter().chain(suffix);
        let at = self.sorted.partition_point(|at| self.key_at(*at).iter().lt(wanted()));
        let found = self.sorted.get(at).and_then(|at| self.many.get(*at as usize))?;
        self.key(found).iter().eq(wanted()).then_some(*found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_stored_and_found() {
        for count in [0_usize, 1, 63, 64, 65, 66, 200] {
            let line: String = (0..count).map(|number| format!("k{number}={number} ")).collect();
            let mut few = Few::default();
            let stored = Stored::new(&mut few, &mut Pairs::new(line.as_bytes(), 0), line.as_bytes());
            assert_eq!(stored.pairs().len(), count);
            for number in 0..count {
                let pair = stored.find(b"k", number.to_string().as_bytes()).unwrap();
                assert_eq!(line.get(pair.value.range()), Some(number.to_string().as_str()));
            }
            assert_eq!(stored.find(b"k", b"x"), None);
            assert_eq!(stored.find(b"", b""), None);
        }
        let line = "a=1 ".repeat(100);
        let mut few = Few::default();
        let stored = Stored::new(&mut few, &mut Pairs::new(line.as_bytes(), 0), line.as_bytes());
        assert_eq!(stored.find(b"a", b"").map(|pair| pair.key), Some(0), "the first of equals");
        assert_eq!(stored.repeated(&Text::new(line.as_bytes())), (1..100).collect::<Vec<_>>());
    }
}
