//! What the handles, the cursors and the log's thread share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::watch;

use super::budget::Budget;
use super::catalogue::Catalogue;
use super::passed::Passed;
use super::queue::Queue;
use super::segment::Identity;
use super::segment::Place;
use super::storage::{Lock, Storage, StorageFile};
use super::{CursorError, Settings, locked};

/// How far readers may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Synced {
    /// The first number not yet synced.
    pub(super) next: u64,
    /// The segment it will stand in, as far as known, and where.
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What readers wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Published {
    pub(super) synced: Synced,
    /// Nothing more will come.
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) identity: Identity,
    pub(super) queue: Queue,
    pub(super) budget: Budget,
    pub(super) catalogue: Mutex<Catalogue>,
    pub(super) published: watch::Sender<Published>,
    pub(super) counters: Counters,
    /// No space on the disk: groups wait.
    stalled: AtomicBool,
    /// Somebody waits for room, or soon will.
    pub(super) wanted: AtomicBool,
    /// Appends that wait for room.
    pub(super) waiting: AtomicU64,
    failure: Mutex<Option<Arc<str>>>,
    /// Held while cursor files are synced: of two who sync a file at once, the system tells one alone
    /// that it failed.
    pub(super) cursor_sync: Mutex<()>,
    /// Let go of when the log's thread ends.
    pub(super) lock: Mutex<Option<Box<dyn Lock>>>,
}

/// Totals; those of records, batches and bytes go on over restarts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) batches: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_nanos: AtomicU64,
    pub(super) sync_failures: AtomicU64,
    pub(super) damaged: AtomicU64,
    /// Appends that found no room, and segments that were given up to make some.
    pub(super) full: AtomicU64,
    /// Damage before this position is counted already: four cursors read the same bytes.
    damage_seen: AtomicU64,
}

impl Counters {
    /// Counts records lost to damage, the first time somebody reads there: then true.
    pub(super) fn damage(&self, first: u64, last: u64) -> bool {
        let seen = self.damage_seen.fetch_max(last + 1, Relaxed);
        let new = (last + 1).saturating_sub(first.max(seen));
        self.damaged.fetch_add(new, Relaxed);
        new > 0
    }
}

impl Shared {
    pub(super) fn new(
        settings: Settings,
        storage: Arc<dyn Storage>,
        identity: Identity,
        catalogue: Catalogue,
        synced: Synced,
        lock: Box<dyn Lock>,
    ) -> Self {
        let used = catalogue.segments.iter().map(|segment| segment.charged).sum();
        Shared {
            identity,
            queue: Queue::new(settings.commit_bytes_max, settings.commit_delay_max),
            budget: Budget::new(settings.bytes_max, settings.reserve_bytes(), used),
            catalogue: Mutex::new(catalogue),
            published: watch::Sender::new(Published { synced, closed: false }),
            counters: Counters::default(),
            stalled: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            failure: Mutex::new(None),
            cursor_sync: Mutex::new(()),
            lock: Mutex::new(Some(lock)),
            settings,
            storage,
        }
    }

    pub(super) fn synced(&self) -> Synced {
        self.published.borrow().synced
    }

    pub(super) fn publish(&self, synced: Synced) {
        self.published.send_modify(|published| published.synced = synced);
    }

    /// An append found no room: the log's thread sees who can make some.
    pub(super) fn make_room(&self) {
        self.counters.full.fetch_add(1, Relaxed);
        self.want_room();
    }

    /// Room is short, or will be.
    pub(super) fn want_room(&self) {
        self.wanted.store(true, Relaxed);
        self.queue.tidy();
    }

    /// Stores how far a cursor has got.
    pub(super) fn commit(&self, name: &str, next: u64, place: Place, passed: Passed) -> Result<(), CursorError> {
        let mut catalogue = locked(&self.catalogue);
        let before = catalogue.oldest_needed();
        let cursor = catalogue.cursors.get_mut(name).filter(|_| !self.published.borrow().closed);
        let cursor = cursor.ok_or_else(|| CursorError::Gone(name.to_owned()))?;
        let at = cursor.at.pass(next, place, passed);
        cursor.file.write(at)?;
        let moved_on = at.place.segment != cursor.at.place.segment;
        cursor.at = at;
        let after = catalogue.oldest_needed();
        if moved_on && self.waiting.load(Relaxed) > 0 {
            // Somebody waits for what others can give up, now that this one is ahead of them.
            drop(catalogue);
            self.want_room();
        } else if before != after && catalogue.releasable(after, false) {
            drop(catalogue);
            self.queue.tidy();
        }
        Ok(())
    }

    pub(super) fn timed_sync(&self, file: &dyn StorageFile) -> io::Result<()> {
        let start = Instant::now();
        let mut result = file.sync_data();
        if planted!(SyncTriedTwice) {
            result = result.or_else(|_| file.sync_data());
        }
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counters.syncs.fetch_add(1, Relaxed);
        self.counters.sync_nanos.fetch_add(nanos, Relaxed);
        result
    }

    pub(super) fn stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }

    pub(super) fn set_stalled(&self, stalled: bool) {
        if self.stalled.swap(stalled, Relaxed) != stalled {
            let dir = self.settings.dir.display();
            if stalled {
                tracing::error!("no space left for the journal in `{dir}`: appends wait until there is");
            } else {
                tracing::info!("the journal in `{dir}` has space again");
            }
        }
    }

    pub(super) fn failure(&self) -> Option<Arc<str>> {
        locked(&self.failure).clone()
    }

    pub(super) fn set_failure(&self, failure: Option<Arc<str>>) {
        let mut known = locked(&self.failure);
        if known.is_some() != failure.is_some() {
            let dir = self.settings.dir.display();
            match &failure {
                Some(cause) => tracing::error!("the journal in `{dir}` cannot store, nothing is acknowledged: {cause}"),
                None => tracing::info!("the journal in `{dir}` stores again"),
            }
        }
        *known = failure;
    }
}

/// Counts an append that waits, until it has room or gives up.
#[derive(Debug)]
pub(super) struct Waits<'s>(&'s AtomicU64);

impl<'s> Waits<'s> {
    pub(super) fn new(shared: &'s Shared) -> Self {
        shared.waiting.fetch_add(1, Relaxed);
        Waits(&shared.waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
