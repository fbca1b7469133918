//! Queue: batches on their way to the log's thread, and the moment they are committed.
//!
//! A group commit takes what has gathered while the one before was syncing. After a pause the
//! first batch is committed at once; commits that follow closely keep a small distance, so that
//! thousands of single events a second share hundreds of syncs.
//!
//! Invariant: bounded. A batch holds its share of the queue's bytes until it is on disk.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::batch::Batch;
use super::{AppendError, Receipt, locked};

/// Bytes that may wait for the log's thread.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// With so many bytes waiting a commit is worth its sync: no distance is kept.
const WORTHWHILE_BYTES: usize = 16 << 10;
/// The distance between small commits.
const DISTANCE: Duration = Duration::from_millis(1);

/// A batch that waits to be on disk.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) batch: Batch,
    /// The number its first event got.
    pub(super) first: u64,
    done: oneshot::Sender<Result<Receipt, AppendError>>,
    _share: OwnedSemaphorePermit,
}

impl Pending {
    /// Tells who waits; it may have gone away.
    pub(super) fn finish(mut self, result: Result<(), AppendError>) {
        let receipt = result.map(|()| {
            let count = self.batch.len();
            self.batch.clear();
            Receipt { first: super::Position(self.first), count, batch: self.batch }
        });
        let _ = self.done.send(receipt);
    }
}

/// What the log's thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Commit the group that was taken.
    Group,
    /// A cursor moved out of a segment, or somebody waits for room.
    Tidy,
    /// The time given is up.
    Due,
    /// Everything is done and no more will come.
    Close,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    room: Arc<Semaphore>,
    group_bytes_max: usize,
    distance: Duration,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Pending>,
    bytes: usize,
    tidy: bool,
    closed: bool,
    sleep: Sleep,
}

/// Whether the log's thread sleeps, and what wakes it: a needless wake is a system call.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Sleep {
    #[default]
    Awake,
    /// Until anything comes.
    Idle,
    /// Until enough has gathered, or the distance is kept.
    Gathering,
}

impl Queue {
    pub(super) fn new(group_bytes_max: usize, delay_max: Duration) -> Self {
        Queue {
            state: Mutex::default(),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
            group_bytes_max,
            distance: DISTANCE.min(delay_max),
        }
    }

    /// Waits for a share of the queue.
    pub(super) async fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AppendError> {
        let bytes = bytes.min(QUEUE_BYTES_MAX) as u32;
        self.room.clone().acquire_many_owned(bytes).await.map_err(|_| AppendError::Closed)
    }

    /// Hands a batch over. From here on it is written whatever becomes of the receiver.
    pub(super) fn push(
        &self,
        batch: Batch,
        share: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Receipt, AppendError>>, AppendError> {
        let (done, receiver) = oneshot::channel();
        let mut state = locked(&self.state);
        if state.closed {
            return Err(AppendError::Closed);
        }
        state.bytes += batch.bytes();
        state.waiting.push_back(Pending { batch, first: 0, done, _share: share });
        let wake = match state.sleep {
            Sleep::Awake => false,
            Sleep::Idle => true,
            Sleep::Gathering => state.bytes >= WORTHWHILE_BYTES,
        };
        self.rouse(state, wake);
        Ok(receiver)
    }

    /// Asks the log's thread to release what nobody needs.
    pub(super) fn tidy(&self) {
        let mut state = locked(&self.state);
        state.tidy = true;
        let wake = state.sleep == Sleep::Idle;
        self.rouse(state, wake);
    }

    /// Takes no more batches.
    pub(super) fn close(&self) {
        self.room.close();
        let mut state = locked(&self.state);
        state.closed = true;
        self.rouse(state, true);
    }

    fn rouse(&self, mut state: MutexGuard<'_, State>, wake: bool) {
        if wake {
            // One wake is enough: those who push next need not call again.
            state.sleep = Sleep::Awake;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Waits for something to do; takes the group to be committed. `last` is when the last commit
    /// ended, `due` when the thread wants to be woken in any case.
    pub(super) fn next(&self, group: &mut Vec<Pending>, last: Instant, due: Option<Instant>) -> Work {
        let mut state = locked(&self.state);
        loop {
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                return Work::Due;
            }
            let mut until = due;
            let mut sleep = Sleep::Idle;
            if !state.waiting.is_empty() {
                let ready = last + self.distance;
                if state.bytes >= WORTHWHILE_BYTES || ready <= now || state.closed {
                    self.take(&mut state, group);
                    return Work::Group;
                }
                until = Some(due.map_or(ready, |due| due.min(ready)));
                sleep = Sleep::Gathering;
            } else if std::mem::take(&mut state.tidy) {
                return Work::Tidy;
            } else if state.closed {
                return Work::Close;
            }
            state.sleep = sleep;
            state = self.wait(state, until.map(|until| until - now));
            state.sleep = Sleep::Awake;
        }
    }

    /// What is there now, without waiting.
    pub(super) fn try_next(&self, group: &mut Vec<Pending>) -> Option<Work> {
        let mut state = locked(&self.state);
        if !state.waiting.is_empty() {
            self.take(&mut state, group);
            return Some(Work::Group);
        }
        std::mem::take(&mut state.tidy).then_some(Work::Tidy)
    }

    /// Sleeps for that time, or until the journal is closed: then false.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = locked(&self.state);
        while !state.closed {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return true };
            state = self.wait(state, Some(left));
        }
        false
    }

    /// Whether somebody asked to tidy; forgets it.
    pub(super) fn take_tidy(&self) -> bool {
        std::mem::take(&mut locked(&self.state).tidy)
    }

    pub(super) fn is_empty(&self) -> bool {
        locked(&self.state).waiting.is_empty()
    }

    fn take(&self, state: &mut State, group: &mut Vec<Pending>) {
        let mut bytes = 0;
        while let Some(pending) = state.waiting.front() {
            bytes += pending.batch.bytes();
            if bytes > self.group_bytes_max && !group.is_empty() {
                break;
            }
            state.bytes -= pending.batch.bytes();
            group.extend(state.waiting.pop_front());
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Option<Duration>) -> MutexGuard<'a, State> {
        match time {
            Some(time) => self.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
            None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn batch(bytes: usize) -> Batch {
        let mut batch = Batch::new();
        batch.push_with(|out| out.resize(out.len() + bytes, b'.'));
        batch
    }

    fn push(queue: &Queue, bytes: usize) {
        let batch = batch(bytes);
        let share = queue.share(batch.bytes()).now_or_never().unwrap().unwrap();
        drop(queue.push(batch, share).unwrap());
    }

    /// "Commit at most 5 ms or 1 MiB after the first byte."
    #[test]
    fn a_commit_begins_in_time_and_takes_no_more_than_its_share() {
        let delay_max = Duration::from_millis(5);
        let queue = Queue::new(1 << 20, delay_max);
        let mut group = Vec::new();
        // Just after a commit a single event keeps its distance, and no more.
        push(&queue, 100);
        let begun = Instant::now();
        assert_eq!(queue.next(&mut group, Instant::now(), None), Work::Group);
        let waited = begun.elapsed();
        assert!(queue.distance <= delay_max && waited >= queue.distance, "{waited:?}");
        // Enough for a commit of its own is not kept waiting: it is there before the distance is.
        group.clear();
        let far_ahead = Instant::now() + Duration::from_secs(60);
        push(&queue, WORTHWHILE_BYTES);
        assert_eq!(queue.next(&mut group, far_ahead, None), Work::Group);
        // More than a commit takes is cut between batches; one that is larger alone goes alone.
        for bytes in [400 << 10, 400 << 10, 400 << 10, 2 << 20] {
            push(&queue, bytes);
        }
        let mut counts = Vec::new();
        for _ in 0..3 {
            group.clear();
            assert_eq!(queue.next(&mut group, far_ahead, None), Work::Group);
            counts.push(group.len());
        }
        assert_eq!(counts, [2, 1, 1]);
    }
}
