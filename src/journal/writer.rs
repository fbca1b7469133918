//! Writer: the thread that turns waiting batches into group commits, and tidies up behind the
//! cursors. It sleeps when there is nothing to do: no timer ticks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::log::{Committed, Log};
use super::queue::{Pending, Work};
use super::shared::Shared;
use super::tidy::tidy;
use super::{AppendError, Sync, locked};

/// How soon a disk that is full, or failed, is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The log and the group it has in hand.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) log: Log,
    group: Vec<Pending>,
    last_commit: Instant,
}

impl Writer {
    pub(super) fn new(log: Log) -> Self {
        Writer { log, group: Vec::new(), last_commit: Instant::now() }
    }

    /// The life of the thread.
    pub(super) fn run(mut self) {
        let shared = self.log.shared.clone();
        loop {
            let due = self.sync_due();
            // A group that found no space stays in hand.
            let work = if self.group.is_empty() {
                shared.queue.next(&mut self.group, self.last_commit, due)
            } else {
                Work::Group
            };
            match work {
                Work::Group => {
                    let done = self.commit();
                    // A disk that fails is not worn out with a new segment for every group.
                    let wait = !done || shared.failure().is_some();
                    if wait && !shared.queue.pause(RETRY) && !done {
                        self.log.refuse(&mut self.group, |_| AppendError::Closed);
                    }
                }
                Work::Tidy => tidy(&self.log.shared),
                Work::Due => self.log.sync(),
                Work::Close => break,
            }
        }
        self.close();
    }

    /// Does what there is to do now, without a thread of its own and without waiting: true if it
    /// did something. For simulations, which decide what happens when.
    pub(super) fn turn(&mut self) -> bool {
        if self.group.is_empty() {
            match self.log.shared.queue.try_next(&mut self.group) {
                None if self.log.unsynced_since.is_some() => self.log.sync(),
                None => return false,
                Some(Work::Tidy) => tidy(&self.log.shared),
                Some(_) => {}
            }
        }
        self.group.is_empty() || self.commit()
    }

    /// False if the disk is full: the group is still in hand.
    fn commit(&mut self) -> bool {
        loop {
            let committed = self.log.commit(&mut self.group);
            self.last_commit = Instant::now();
            match committed {
                Committed::Done => {
                    if self.log.shared.queue.is_empty() {
                        self.log.note_synced();
                    }
                    if self.log.shared.queue.take_tidy() {
                        tidy(&self.log.shared);
                    }
                    return true;
                }
                Committed::Stalled if self.log.shared.queue.take_tidy() => tidy(&self.log.shared),
                Committed::Stalled => return false,
            }
        }
    }

    /// When `Sync::Interval` has to sync.
    fn sync_due(&self) -> Option<Instant> {
        match self.log.shared.settings.sync {
            Sync::Interval(interval) => Some(self.log.unsynced_since? + interval),
            Sync::Always | Sync::Never => None,
        }
    }

    /// The end: everything is committed, and nobody else will write.
    pub(super) fn close(mut self) {
        self.log.close();
        end(&self.log.shared);
    }
}

/// Makes the cursors durable, tells the readers, lets go of the directory.
fn end(shared: &Arc<Shared>) {
    super::tidy::sync_cursors(shared);
    shared.budget.close();
    shared.published.send_modify(|published| published.closed = true);
    locked(&shared.lock).take();
}
