//! The reading thread: lines of an archive become records as a journal has them, some hundred at a time.
//!
//! Invariant: it is at most [`BATCHES_MAX`] batches ahead, and ends when nobody listens.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use wharfinger_formats::{Event, Field, stored};

use super::Progress;
use crate::archive::{Period, Place, Reader, Reading, Sealed, Unread, read_events};
use crate::filter::Filter;

const BATCHES_MAX: usize = 8;
const BATCH_BYTES: usize = 256 * 1024;

/// What is read.
pub(super) struct Source {
    readers: Mutex<Vec<(String, Reader)>>,
    period: Period,
    filter: Filter,
    progress: Arc<Progress>,
}

/// Records, one after the other.
#[derive(Debug)]
pub(super) struct Batch {
    /// How many wanted events were before the first.
    pub(super) first: u64,
    /// Where the first stands.
    pub(super) place: Place,
    pub(super) buffer: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

/// What the thread says.
#[derive(Debug)]
pub(super) enum Said {
    Batch(Batch),
    /// So many wanted events there were in all.
    Done(u64),
    Failed(Unread),
}

impl Source {
    pub(super) fn new(
        readers: Vec<(String, Reader)>,
        period: Period,
        filter: Filter,
        progress: Arc<Progress>,
    ) -> Source {
        Source { readers: Mutex::new(readers), period, filter, progress }
    }

    /// Reads from a place on, before which there were `known` wanted events; tells those from `wanted` on.
    pub(super) fn start(self: &Arc<Self>, place: Place, known: u64, wanted: u64) -> mpsc::Receiver<Said> {
        let (said, listen) = mpsc::channel(BATCHES_MAX);
        let source = Arc::clone(self);
        let failed = said.clone();
        let thread = std::thread::Builder::new().name("replay".to_owned()).spawn(move || {
            let mut readers = source.readers.lock().unwrap_or_else(PoisonError::into_inner);
            let mut telling = Telling { source: &source, said, batch: None, number: known, wanted };
            let read = read_events(&mut readers, source.period, place, &mut telling);
            telling.tell();
            let end = read.map_or_else(Said::Failed, |()| Said::Done(telling.number));
            // Nobody listens any more: whoever does not will read again from elsewhere.
            let _ = telling.said.blocking_send(end);
        });
        if let Err(error) = thread {
            // The channel is empty: there is room for one.
            let _ = failed.try_send(Said::Failed(Unread::Io(error)));
        }
        listen
    }
}

struct Telling<'s> {
    source: &'s Source,
    said: mpsc::Sender<Said>,
    batch: Option<Batch>,
    /// Of the next wanted event.
    number: u64,
    wanted: u64,
}

impl Telling<'_> {
    /// False: nobody listens.
    fn tell(&mut self) -> bool {
        self.batch.take().is_none_or(|batch| self.said.blocking_send(Said::Batch(batch)).is_ok())
    }
}

impl Reading for Telling<'_> {
    fn object(&mut self, _: &Sealed, seals_left: u64) {
        self.source.progress.objects.fetch_add(1, Relaxed);
        self.source.progress.seals_left.store(seals_left, Relaxed);
    }

    fn event(&mut self, place: Place, event: &mut Event<'_>) -> io::Result<bool> {
        let read = self.source.progress.read.fetch_add(1, Relaxed);
        if !self.source.filter.has(event) {
            // Where little is wanted, nothing is told for long.
            return Ok(!read.is_multiple_of(256) || !self.said.is_closed());
        }
        let number = self.number;
        self.number += 1;
        if number < self.wanted {
            return Ok(true);
        }
        event.set(Field::Replayed, true);
        let new = || Batch { first: number, place, buffer: Vec::with_capacity(BATCH_BYTES), ends: Vec::new() };
        let batch = self.batch.get_or_insert_with(new);
        stored::encode(event, &mut batch.buffer);
        batch.ends.push(batch.buffer.len());
        Ok(batch.buffer.len() < BATCH_BYTES - 16 * 1024 || self.tell())
    }
}
