//! Cursor: one sink's place in the log.
//!
//! Way of an event: log → **cursor** → sink. What is near the end of the log is in the page cache,
//! and copying it takes less time than handing the work to another thread; a backlog may have to
//! come from the disk, and is read by a thread that may block, in big pieces.
//!
//! Invariants: reads only what is synced; never skips a record without naming it in
//! [`Chunk::damaged`]; its file may lag behind what is committed, never lead.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::chunk::{Chunk, Stopped, Walk};
use super::passed::Passed;
use super::record::Seed;
use super::segment::{self, HEADER_BYTES, Place};
use super::shared::{Published, Shared};
use super::storage::StorageFile;
use super::{CursorError, Incarnation, OnFull, Position, ReadError, locked};

/// Places remembered between the committed and the read position. With more, every second one goes.
const PLACES_MAX: usize = 1024;

/// One sink's place in the log. Not to be cloned: one reader per name.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    name: String,
    published: watch::Receiver<Published>,
    /// The next record to be handed out.
    next: u64,
    /// Where to read on: at or before `next`.
    place: Place,
    /// Everything before it is accounted for.
    committed: u64,
    /// Where pieces began that are not committed yet, for `rewind` and for the cursor's file.
    places: VecDeque<Place>,
    file: Option<(u64, Arc<dyn StorageFile>)>,
    /// Bytes passed over because nothing in them held, carried from piece to piece.
    damaged_bytes: u64,
}

impl Cursor {
    pub(super) fn new(shared: Arc<Shared>, name: String, committed: u64, place: Place) -> Self {
        let published = shared.published.subscribe();
        let places = VecDeque::from([place]);
        Cursor { shared, name, published, next: committed, place, committed, places, file: None, damaged_bytes: 0 }
    }

    /// The next synced records, in order, at most `bytes_max` of them as they are on disk (32 bytes
    /// each besides the payload), at least one; waits when there are none. With a backlog, 256 KiB
    /// and more keep the cost of a read small. A chunk may hold damage alone. Cancel-safe: a dropped
    /// call took nothing.
    ///
    /// # Errors
    /// The disk cannot be read: the same call may work later. Or the journal is closed and
    /// everything in it was read.
    pub async fn read(&mut self, chunk: &mut Chunk, bytes_max: usize) -> Result<(), ReadError> {
        loop {
            let closed = self.published.borrow_and_update().closed;
            if self.try_read(chunk, bytes_max).await? {
                // What is in the page cache never makes a reader wait: let others have their turn.
                tokio::task::consume_budget().await;
                return Ok(());
            }
            if closed || self.published.changed().await.is_err() {
                return Err(ReadError::Closed);
            }
        }
    }

    /// The same, at once: false when nothing is there.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub async fn try_read(&mut self, chunk: &mut Chunk, bytes_max: usize) -> Result<bool, ReadError> {
        chunk.clear();
        let mut want = bytes_max.max(HEADER_BYTES);
        while let Some(span) = self.span() {
            let filled = self.fetch(chunk, &span, want).await?;
            let mut walk = Walk {
                seed: Seed { offset: self.place.offset, ..span.seed },
                expected: self.place.position,
                wanted: self.next,
                until: span.until,
                damaged_bytes: self.damaged_bytes,
            };
            if walk.expected < span.first {
                // What stood before the oldest file that is left.
                walk.close_gap(chunk, span.first);
            }
            let cut = filled < span.left.min(want);
            let more = !cut && filled < span.left;
            let used = match walk.through(chunk, filled) {
                Stopped::Short { at: 0, needed } if more => {
                    // One record longer than what was asked for is read whole.
                    want = needed.max(want);
                    chunk.clear();
                    continue;
                }
                Stopped::Short { at, .. } if !more => {
                    // The segment ends, and not everything that should be in it was found.
                    walk.damaged_bytes += (filled - at) as u64;
                    walk.finish(chunk);
                    filled
                }
                Stopped::Short { at, .. } | Stopped::Finished { at } => at,
            };
            self.advance(&walk, used);
            if !chunk.is_empty() || !chunk.damage.is_empty() {
                self.next = self.next.max(walk.expected);
                chunk.incarnation = Some(span.incarnation);
                self.report(chunk);
                return Ok(true);
            }
            want = bytes_max.max(HEADER_BYTES);
        }
        Ok(false)
    }

    /// The bytes to be read next: moves on to the next segment at the end of one.
    fn span(&mut self) -> Option<Span> {
        let synced = self.published.borrow().synced;
        let catalogue = locked(&self.shared.catalogue);
        while self.place.position < synced.next {
            let view = catalogue.view(self.place.segment)?;
            if view.segment.id != self.place.segment {
                // Its file is gone, or it was never written: go on in the one behind.
                self.place = Place { segment: view.segment.id, offset: HEADER_BYTES as u64, ..self.place };
            }
            if self.place.position >= view.until {
                self.place = Place { segment: view.segment.id + 1, offset: HEADER_BYTES as u64, ..self.place };
                continue;
            }
            let end = if view.segment.id == synced.segment { synced.offset } else { view.segment.end };
            return Some(Span {
                segment: view.segment.id,
                seed: view.segment.identity.seed(view.segment.id),
                incarnation: view.segment.identity.incarnation,
                until: view.until.min(synced.next),
                first: view.segment.first,
                left: usize::try_from(end.saturating_sub(self.place.offset)).unwrap_or(usize::MAX),
                near: view.near_end(self.place.offset),
            });
        }
        None
    }

    /// Reads the next bytes into the chunk's buffer.
    async fn fetch(&mut self, chunk: &mut Chunk, span: &Span, want: usize) -> Result<usize, ReadError> {
        let file = match &self.file {
            Some((id, file)) if *id == span.segment => file.clone(),
            _ => {
                let file = self.shared.storage.open(&segment::path(&self.shared.settings.dir, span.segment))?;
                self.file.insert((span.segment, file)).1.clone()
            }
        };
        let count = want.min(span.left);
        let offset = self.place.offset;
        if chunk.buffer.len() < count {
            chunk.buffer.resize(count, 0);
        }
        if span.near {
            return Ok(file.read_at(&mut chunk.buffer[..count], offset)?);
        }
        let mut buffer = std::mem::take(&mut chunk.buffer);
        let (buffer, result) = tokio::task::spawn_blocking(move || {
            let result = file.read_at(&mut buffer[..count], offset);
            (buffer, result)
        })
        .await
        .map_err(io::Error::other)?;
        chunk.buffer = buffer;
        Ok(result?)
    }

    fn advance(&mut self, walk: &Walk, used: usize) {
        if self.damaged_bytes == 0 && self.places.back() != Some(&self.place) {
            self.remember(self.place);
        }
        self.place.offset += used as u64;
        self.place.position = walk.expected;
        self.damaged_bytes = walk.damaged_bytes;
    }

    fn remember(&mut self, place: Place) {
        if self.places.len() == PLACES_MAX {
            let mut index = 0;
            self.places.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.places.push_back(place);
    }

    fn report(&self, chunk: &mut Chunk) {
        if chunk.damage.is_empty() {
            return;
        }
        let catalogue = locked(&self.shared.catalogue);
        let given_up = catalogue.cursors.get(&self.name).map_or((0, 0), |state| state.at.given_up);
        drop(catalogue);
        chunk.damage = chunk.damage.iter().flat_map(|damage| damage.split(given_up)).collect();
        for damage in chunk.damage.iter().filter(|damage| !damage.given_up) {
            let (first, last) = damage.missing;
            if self.shared.counters.damage(first.0, last.0) {
                tracing::error!(
                    "the journal in `{}` is damaged: records {first} to {last} are lost ({} bytes)",
                    self.shared.settings.dir.display(),
                    damage.bytes
                );
            }
        }
    }

    /// Reads on from here, forward or back. What is committed is never read again.
    pub fn rewind(&mut self, to: Position) {
        let to = to.0.clamp(self.committed, self.shared.synced().next.max(self.committed));
        self.next = to;
        self.damaged_bytes = 0;
        while self.places.len() > 1 && self.places.back().is_some_and(|place| place.position > to) {
            self.places.pop_back();
        }
        if self.place.position > to {
            self.place = self.places.back().copied().unwrap_or(self.place);
        }
        // Far ahead: begin in the segment that holds it. One that is gone is still to be named.
        let far = locked(&self.shared.catalogue).place_of(to, to);
        if far.segment > self.place.segment && far.position <= to {
            self.place = far;
        }
    }

    /// Everything before `next` is delivered: it is never needed again by this cursor. Going back
    /// does nothing.
    ///
    /// # Errors
    /// As [`commit_passed`](Self::commit_passed).
    pub fn commit(&mut self, next: Position) -> Result<(), CursorError> {
        self.commit_passed(next, Passed::delivered(next.0.saturating_sub(self.committed)))
    }

    /// The same, and says what became of the events from the committed one to the one before
    /// `next`: that many in all. Position and counts move together.
    ///
    /// # Errors
    /// `next` is ahead of what is synced; or the cursor's file cannot be written, then nothing is
    /// committed and the next call may work.
    pub fn commit_passed(&mut self, next: Position, passed: Passed) -> Result<(), CursorError> {
        if next.0 <= self.committed {
            return Ok(());
        }
        let synced = self.shared.synced().next;
        if next.0 > synced {
            return Err(CursorError::Ahead { next, synced: Position(synced) });
        }
        let known = self.places.iter().rev().find(|place| place.position <= next.0);
        let here = (self.place.position <= next.0 && self.damaged_bytes == 0).then_some(&self.place);
        let place = *here.or(known).unwrap_or(&self.place);
        self.shared.commit(&self.name, next.0, place, passed)?;
        self.committed = next.0;
        while self.places.front().is_some_and(|known| known.position <= place.position) {
            self.places.pop_front();
        }
        self.places.push_front(place);
        if next.0 > self.next {
            self.rewind(next);
        }
        Ok(())
    }

    /// What happens to what it needs when the journal has no more room.
    pub fn set_on_full(&self, on_full: OnFull) {
        if let Some(state) = locked(&self.shared.catalogue).cursors.get_mut(&self.name) {
            state.on_full = on_full;
        }
    }

    /// Half of every new event's id.
    pub fn incarnation(&self) -> Incarnation {
        self.shared.identity.incarnation
    }

    /// What became of the events before that, since the cursor began.
    pub fn passed(&self) -> Passed {
        locked(&self.shared.catalogue).cursors.get(&self.name).map_or_else(Passed::default, |state| state.at.passed)
    }

    /// Everything before it is committed.
    pub fn committed(&self) -> Position {
        Position(self.committed)
    }
}

/// The bytes a cursor reads next.
#[derive(Debug)]
struct Span {
    segment: u64,
    seed: Seed,
    incarnation: Incarnation,
    first: u64,
    until: u64,
    left: usize,
    near: bool,
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Some(state) = locked(&self.shared.catalogue).cursors.get_mut(&self.name) {
            state.open = false;
        }
    }
}
