//! When events were indexed, as far as the export says so.
//!
//! Invariant: eight bytes for each id that has a time, wherever its number lies, and a limit for all together.

use super::export::ExportError;

/// One gigabyte of times.
const TIMES_MAX: usize = 1 << 27;

/// Times by number.
#[derive(Debug)]
pub(super) struct Times {
    /// Seconds since 1970. In order once it was sorted.
    times: Vec<(u32, u32)>,
    max: usize,
}

impl Default for Times {
    fn default() -> Times {
        Times { times: Vec::new(), max: TIMES_MAX }
    }
}

impl Times {
    /// Keeps a time; of several of a number the first counts.
    pub(super) fn keep(&mut self, number: u32, indexed: u32) -> Result<(), ExportError> {
        if self.times.len() >= self.max {
            self.sort();
            // With little room again at once, an export that repeats itself would be sorted for ever.
            if self.times.len() > self.max / 4 * 3 {
                return Err(ExportError::TooManyTimes);
            }
        }
        self.times.push((number, indexed));
        Ok(())
    }

    /// Once all are kept.
    pub(super) fn sort(&mut self) {
        self.times.sort_unstable();
        self.times.dedup_by_key(|(number, _)| *number);
    }

    pub(super) fn of(&self, number: u32) -> Option<u32> {
        let at = self.times.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.times.get(at).map(|(_, indexed)| *indexed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_counts_and_there_is_a_limit() {
        let mut times = Times { times: Vec::new(), max: 8 };
        for _ in 0..100 {
            for (number, indexed) in [(9, 5), (7, 3), (9, 4), (0, 1)] {
                times.keep(number, indexed).unwrap();
            }
        }
        times.sort();
        assert_eq!([0, 7, 8, 9].map(|number| times.of(number)), [Some(1), Some(3), None, Some(4)]);
        let refused = (0..100).find_map(|number| times.keep(number, 1).err());
        assert!(matches!(refused, Some(ExportError::TooManyTimes)));
    }
}
