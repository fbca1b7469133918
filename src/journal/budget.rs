//! Budget: the bytes the journal may take on disk, and who waits for them.
//!
//! Ordinary appends may use all but a reserve; gap records may use that too. What the journal adds
//! of its own (headers, checkpoints, the unused end of a segment) is charged without asking, and
//! paid back before anybody else gets room.
//!
//! Invariant: waiting is in order of arrival, and a waiter that gives up takes nothing with it.

use std::sync::Mutex;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::locked;

/// Bytes on disk, taken and free.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: u64,
    /// Free bytes for ordinary appends.
    room: Semaphore,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    used: u64,
    /// Charged beyond the free bytes.
    debt: u64,
}

impl Budget {
    /// `used` bytes are on disk already.
    pub(super) fn new(bytes_max: u64, reserve: u64, used: u64) -> Self {
        let ordinary = usize::try_from(bytes_max.saturating_sub(reserve)).unwrap_or(usize::MAX);
        let budget =
            Budget { bytes_max, room: Semaphore::new(ordinary.min(Semaphore::MAX_PERMITS)), ledger: Mutex::default() };
        budget.charge(used);
        budget
    }

    /// Waits for room; [`keep`](Self::keep) makes it permanent, dropping gives it back.
    pub(super) async fn room(&self, bytes: u32) -> Option<SemaphorePermit<'_>> {
        self.room.acquire_many(bytes).await.ok()
    }

    /// Room if there is any now and nobody waits for it.
    pub(super) fn try_room(&self, bytes: u32) -> Option<SemaphorePermit<'_>> {
        self.room.try_acquire_many(bytes).ok()
    }

    pub(super) fn keep(&self, permit: SemaphorePermit<'_>) {
        locked(&self.ledger).used += permit.num_permits() as u64;
        permit.forget();
    }

    /// Takes bytes even from the reserve: false when that is used up too.
    pub(super) fn try_charge_reserve(&self, bytes: u64) -> bool {
        if self.used().saturating_add(bytes) > self.bytes_max {
            return false;
        }
        self.charge(bytes);
        true
    }

    /// Takes bytes whether there is room or not.
    pub(super) fn charge(&self, bytes: u64) {
        let mut ledger = locked(&self.ledger);
        ledger.used += bytes;
        let taken = self.room.forget_permits(usize::try_from(bytes).unwrap_or(usize::MAX));
        ledger.debt += bytes - taken as u64;
    }

    /// Gives bytes back.
    pub(super) fn release(&self, bytes: u64) {
        let mut ledger = locked(&self.ledger);
        ledger.used = ledger.used.saturating_sub(bytes);
        let repaid = ledger.debt.min(bytes);
        ledger.debt -= repaid;
        self.room.add_permits(usize::try_from(bytes - repaid).unwrap_or(0));
    }

    /// Free bytes for ordinary appends.
    pub(super) fn free(&self) -> u64 {
        self.room.available_permits() as u64
    }

    pub(super) fn used(&self) -> u64 {
        locked(&self.ledger).used
    }

    /// Nobody gets room any more; who waits is told.
    pub(super) fn close(&self) {
        self.room.close();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_reserve_is_not_for_ordinary_appends() {
        let budget = Budget::new(1000, 100, 0);
        budget.keep(budget.try_room(900).unwrap());
        assert!(budget.try_room(1).is_none());
        assert!(budget.try_charge_reserve(100));
        assert!(!budget.try_charge_reserve(1));
        assert_eq!(budget.used(), 1000);
        budget.release(150);
        assert!(budget.try_room(51).is_none(), "the reserve is filled up first");
        assert!(budget.try_room(50).is_some());
    }

    #[tokio::test]
    async fn room_goes_to_the_first_who_waited() {
        let budget = Budget::new(100, 0, 90);
        assert!(budget.room(50).now_or_never().is_none(), "who gives up takes nothing with it");
        let mut big = pin!(budget.room(50));
        assert!(big.as_mut().now_or_never().is_none());
        assert!(budget.try_room(5).is_none(), "somebody waits already");
        budget.release(40);
        let permit = big.await.unwrap();
        budget.keep(permit);
        assert_eq!(budget.used(), 100);
    }
}
