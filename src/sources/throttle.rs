//! Keeps complaints about peers from filling the log: what a peer can cause, it can cause often.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two complaints of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// One kind of complaint.
pub(super) struct Throttle(Mutex<(Option<Instant>, u64)>);

impl Throttle {
    pub(super) const fn new() -> Self {
        Throttle(Mutex::new((None, 0)))
    }

    /// Counts a complaint. When it is time for one, answers how many there were since the last.
    pub(super) fn speak(&self) -> Option<u64> {
        // Nothing panics while the lock is held.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *state;
        *count += 1;
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_heard_and_the_flood_is_counted() {
        let throttle = Throttle::new();
        assert_eq!(throttle.speak(), Some(1));
        (0..1000).for_each(|_| assert_eq!(throttle.speak(), None));
        throttle.0.lock().unwrap_or_else(PoisonError::into_inner).0 = None;
        assert_eq!(throttle.speak(), Some(1001));
    }
}
