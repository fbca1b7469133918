//! The bounded memory between a reader that must not wait (UDP, Docker events) and the journal.
//!
//! Beside the journal this is the only queue. Invariants: the reader is never held back; the
//! memory is bounded; what does not fit is counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::intake::Dropped;

/// What a ring holds before it drops.
pub(super) const RING_BYTES: usize = 8 * 1024 * 1024;

/// Frames with a word `K` about each, for instance its sender.
pub(super) struct Ring<K> {
    load: Mutex<Load<K>>,
    changed: Notify,
    bytes_max: usize,
}

/// Everything that was in the ring at one moment.
pub(super) struct Load<K> {
    bytes: Vec<u8>,
    entries: Vec<(K, usize)>,
    /// Frames that found the ring full since the load before.
    pub(super) dropped: Option<Dropped>,
    closed: bool,
}

impl<K: Copy> Load<K> {
    pub(super) fn new() -> Self {
        Load { bytes: Vec::new(), entries: Vec::new(), dropped: None, closed: false }
    }

    /// The frames in the order they came.
    pub(super) fn frames(&self) -> impl Iterator<Item = (K, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.entries.iter().map(move |(about, length)| {
            let (frame, after) = rest.split_at(*length);
            rest = after;
            (*about, frame)
        })
    }
}

impl<K: Copy> Ring<K> {
    /// An empty ring for `bytes_max` bytes of frames, the words about them included.
    pub(super) fn new(bytes_max: usize) -> Self {
        Ring { load: Mutex::new(Load::new()), changed: Notify::new(), bytes_max }
    }

    /// Keeps a copy of the frame, or counts it as dropped.
    pub(super) fn push(&self, about: K, frame: &[u8]) {
        let mut load = self.lock();
        let about_bytes = (load.entries.len() + 1) * size_of::<(K, usize)>();
        if load.bytes.len() + frame.len() + about_bytes > self.bytes_max {
            Dropped::add(&mut load.dropped, 1);
        } else {
            load.bytes.extend_from_slice(frame);
            load.entries.push((about, frame.len()));
        }
        drop(load);
        self.changed.notify_one();
    }

    /// The reader has ended: no more frames will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Exchanges what is there for `load`, whose memory is used again; waits when nothing is.
    /// Answers false when the ring is empty and closed. For one caller at a time.
    pub(super) async fn take(&self, load: &mut Load<K>) -> bool {
        load.bytes.clear();
        load.entries.clear();
        load.dropped = None;
        // A flood leaves no memory behind.
        load.bytes.shrink_to(super::fill::PIECE_BYTES);
        load.entries.shrink_to(4096);
        loop {
            {
                let mut current = self.lock();
                let closed = current.closed;
                if !current.entries.is_empty() || current.dropped.is_some() {
                    std::mem::swap(&mut *current, load);
                    current.closed = closed;
                    return true;
                }
                if closed {
                    return false;
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Load<K>> {
        // Nothing panics while the lock is held.
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_order_counts_drops_and_ends() {
        let ring = Ring::new(100);
        let mut load = Load::new();
        for number in 0..10_u8 {
            ring.push(number, &[number; 10]);
        }
        assert!(ring.take(&mut load).await);
        let frames: Vec<_> = load.frames().map(|(about, frame)| (about, frame.to_vec())).collect();
        assert_eq!(frames, (0..3).map(|number| (number, vec![number; 10])).collect::<Vec<_>>());
        assert_eq!(load.dropped.unwrap().count, 7);

        ring.push(11, b"after");
        ring.close();
        assert!(ring.take(&mut load).await);
        assert_eq!((load.frames().count(), load.dropped), (1, None));
        assert!(!ring.take(&mut load).await);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let ring = Ring::new(100);
        let mut load = Load::new();
        let (taken, ()) = tokio::join!(ring.take(&mut load), async { ring.push((), b"frame") });
        assert!(taken);
        assert_eq!(load.frames().map(|(_, frame)| frame).collect::<Vec<_>>(), [b"frame"]);
    }
}
