//! Planted bugs: mistakes that somebody could make, built in on purpose to see that the simulations and
//! the fuzz targets catch them. An oracle that never failed proves nothing.
//!
//! `planted!(AckBeforeSync)` stands in the code where the mistake would be. It is true only in the
//! unit tests of this crate, on a thread that asked for that bug; in every other build it is the
//! constant `false`, and nothing of it is left. `planted!("decompress")` is the mistake that the fuzz target
//! of that name looks for, in builds with the feature `planted` as in the formats crate.

#[cfg(test)]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is_planted($crate::planted::Bug::$bug)
    };
    ($target:literal) => {
        false
    };
}

#[cfg(all(not(test), feature = "planted"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
    ($target:literal) => {
        wharfinger_formats::is_planted($target)
    };
}

#[cfg(not(any(test, feature = "planted")))]
macro_rules! planted {
    ($bug:tt) => {
        false
    };
}

#[cfg(test)]
pub(crate) use present::{Bug, is_planted, with};

#[cfg(test)]
mod present {
    use std::cell::Cell;

    /// The bugs there are.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Bug {
        /// A batch is acknowledged before it is synced.
        AckBeforeSync,
        /// A sync that failed is tried again on the same file.
        SyncTriedTwice,
        /// The name of a new segment is not synced.
        FolderNotSynced,
        /// Readers may go on before the sync.
        ReadBeforeSync,
        /// A new segment begins without the marks.
        MarksLostWithSegment,
        /// Recovery forgets a number: that of an event that was alone in its batch.
        SequenceReused,
        /// Recovery takes the first part of a batch for a batch.
        TornBatchTaken,
        /// Recovery goes on behind a hole in the last group.
        HoleTaken,
        /// Recovery makes readable what is only in the page cache.
        RecoveredUnsynced,
        /// What recycled files hold is taken for records.
        SeedIgnored,
        /// A record's payload is not checked.
        PayloadUnchecked,
        /// A segment goes when the fastest cursor has passed it, not the slowest.
        ReleasedTooEarly,
        /// A segment goes before the cursors that passed it are durable.
        CursorsNotSynced,
        /// What cursors have committed is said to be durable, and is not.
        PlacesNotSynced,
        /// A cursor is written over the slot that is good.
        SlotOverwritten,
        /// Records lost to damage are passed over in silence.
        GapNotDeclared,
        /// A batch that the journal refused is acknowledged.
        RefusalAcknowledged,
        /// A cursor moves before the peer has answered.
        CommitBeforeDelivery,
        /// A cursor moves past requests that the peer may still lose.
        DoubtIgnored,
        /// What a peer did not take is not tried again.
        RetrySkips,
        /// Of a refused batch the first event is set aside, whichever was bad.
        NeighbourRefused,
        /// A batch is not counted.
        TallyForgotten,
    }

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this thread runs with that bug.
    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Runs `work` with that bug in this thread.
    pub(crate) fn with<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
        struct Weed;
        impl Drop for Weed {
            fn drop(&mut self) {
                PLANTED.set(None);
            }
        }
        let _weed = Weed;
        PLANTED.set(Some(bug));
        work()
    }
}
