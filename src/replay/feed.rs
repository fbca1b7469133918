//! What `drive` reads of an archive: batches of the reading thread, at the rate that was asked for.
//!
//! Invariant: for everything that is not committed it is known where to read it again.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reader::{Batch, Said, Source};
use super::state::StateFile;
use crate::archive::{Place, Unread};
use crate::journal::{Chunk, CursorError, Incarnation, Passed, Position, ReadError};
use crate::sinks::Feed;

/// With a rate, so many seconds' worth at most is handed on at once.
const BURST: Duration = Duration::from_millis(50);

/// How reading ended: how many wanted events there were, or why it did not go on.
#[derive(Debug, Clone, Default)]
pub(super) struct End(Arc<Mutex<Option<Result<u64, Unread>>>>);

impl End {
    fn set(&self, end: Option<Result<u64, Unread>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn take(&self) -> Option<Result<u64, Unread>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// See above.
pub(super) struct Replaying {
    source: Arc<Source>,
    state: Arc<StateFile>,
    said: mpsc::Receiver<Said>,
    /// The first batch behind a new beginning is waited for.
    is_fresh: bool,
    /// What of a batch is still to be handed on, when there is a rate.
    rest: Option<Batch>,
    /// Where to read again: the number of a wanted event and its place.
    marks: VecDeque<(u64, Place)>,
    next: u64,
    rate: Option<Rate>,
    stop: CancellationToken,
    end: End,
}

struct Rate {
    a_second: u64,
    /// Before that, nothing more is handed on.
    until: Instant,
}

impl Replaying {
    pub(super) fn new(
        source: Arc<Source>,
        state: Arc<StateFile>,
        rate: Option<u64>,
        stop: CancellationToken,
    ) -> Replaying {
        let known = state.state();
        let first = known.position();
        let known_before = first - known.skip.min(first);
        let said = source.start(known.place, known_before, first);
        let rate = rate.map(|a_second| Rate { a_second: a_second.max(1), until: Instant::now() });
        let marks = VecDeque::from([(known_before, known.place)]);
        Replaying {
            source,
            state,
            said,
            is_fresh: true,
            rest: None,
            marks,
            next: first,
            rate,
            stop,
            end: End::default(),
        }
    }

    pub(super) fn end(&self) -> End {
        self.end.clone()
    }

    fn wait(&self) -> Option<Instant> {
        self.rate.as_ref().map(|rate| rate.until).filter(|until| *until > Instant::now())
    }

    /// Fills the chunk with what was said, unless that is the end.
    fn heard(&mut self, said: Option<Said>, chunk: &mut Chunk) -> Result<(), ReadError> {
        self.is_fresh = false;
        match said {
            Some(Said::Batch(batch)) => {
                self.marks.push_back((batch.first, batch.place));
                self.hand_on(batch, chunk);
                return Ok(());
            }
            Some(Said::Done(all)) => self.end.set(Some(Ok(all))),
            Some(Said::Failed(unread)) => self.end.set(Some(Err(unread))),
            // The thread always says how it ended, unless it could not.
            None => self.end.set(Some(Err(Unread::Io(io::Error::other("the reading of the archive broke off"))))),
        }
        Err(ReadError::Closed)
    }

    /// Hands on a batch, or so much of it as the rate allows.
    fn hand_on(&mut self, mut batch: Batch, chunk: &mut Chunk) {
        let mut count = batch.ends.len();
        if let Some(rate) = &mut self.rate {
            let burst = (rate.a_second as f64 * BURST.as_secs_f64()).max(1.0) as usize;
            count = count.min(burst);
            rate.until = rate.until.max(Instant::now()) + Duration::from_secs_f64(count as f64 / rate.a_second as f64);
        }
        if count < batch.ends.len() {
            let ends = batch.ends.split_off(count);
            let at = batch.ends.last().copied().unwrap_or(0);
            let buffer = batch.buffer.split_off(at);
            let ends = ends.iter().map(|end| end - at).collect();
            self.rest = Some(Batch { first: batch.first + count as u64, place: batch.place, buffer, ends });
        }
        self.next = batch.first + count as u64;
        chunk.hold(Position(batch.first), batch.buffer, &batch.ends);
    }
}

impl Feed for Replaying {
    /// Every event brings its own id.
    fn incarnation(&self) -> Incarnation {
        Incarnation(0)
    }

    fn committed(&self) -> Position {
        Position(self.state.committed())
    }

    fn passed(&self) -> Passed {
        self.state.passed()
    }

    async fn try_read(&mut self, chunk: &mut Chunk, _: usize) -> Result<bool, ReadError> {
        if self.stop.is_cancelled() || self.end.is_set() {
            return Err(ReadError::Closed);
        }
        if self.wait().is_some() {
            return Ok(false);
        }
        if let Some(rest) = self.rest.take() {
            self.hand_on(rest, chunk);
            return Ok(true);
        }
        let said = match self.said.try_recv() {
            Err(TryRecvError::Empty) if !self.is_fresh => return Ok(false),
            Err(_) => self.said.recv().await,
            Ok(said) => Some(said),
        };
        self.heard(said, chunk).map(|()| true)
    }

    async fn read(&mut self, chunk: &mut Chunk, _: usize) -> Result<(), ReadError> {
        if self.stop.is_cancelled() || self.end.is_set() {
            return Err(ReadError::Closed);
        }
        if let Some(until) = self.wait() {
            tokio::time::sleep_until(until).await;
        }
        if let Some(rest) = self.rest.take() {
            self.hand_on(rest, chunk);
            return Ok(());
        }
        let said = self.said.recv().await;
        self.heard(said, chunk)
    }

    fn rewind(&mut self, to: Position) {
        let to = to.0.max(self.state.committed());
        if to == self.next {
            return;
        }
        let known = self.marks.iter().rposition(|(first, _)| *first <= to).unwrap_or(0);
        self.marks.truncate(known + 1);
        let (first, place) = self.marks.back().copied().unwrap_or_default();
        self.said = self.source.start(place, first, to);
        (self.next, self.is_fresh, self.rest) = (to, true, None);
        self.end.set(None);
    }

    fn commit_passed(&mut self, next: Position, passed: Passed) -> Result<(), CursorError> {
        while self.marks.get(1).is_some_and(|(first, _)| *first <= next.0) {
            self.marks.pop_front();
        }
        let (first, place) = self.marks.front().copied().unwrap_or_default();
        self.state.commit(place, next.0.saturating_sub(first), passed);
        Ok(())
    }
}
