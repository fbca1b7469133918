//! The handle: what sources, sinks and the gateway call.

use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;

use super::batch::Batch;
use super::catalogue::CursorState;
use super::cursor::Cursor;
use super::cursor_file::{self, Committed, CursorFile};
use super::log::Log;
use super::recovery;
use super::shared::{Shared, Waits};
use super::storage::{LockError, Storage};
use super::tidy;
use super::writer::Writer;
use super::{AppendError, CursorError, Incarnation, OnFull, OpenError, Position, Settings, Status, locked};

/// A handle on the log. Cheap to clone; with the last one the journal closes.
#[derive(Debug, Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// A batch is on disk.
#[derive(Debug)]
pub struct Receipt {
    /// Where its first record stands.
    pub first: Position,
    /// How many records it had.
    pub count: usize,
    /// The batch, emptied, for reuse.
    pub batch: Batch,
}

/// How an append gets its bytes from the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Wait,
    Now,
    Reserve,
}

impl Journal {
    /// Opens the journal or makes one. After a crash only the last segment is scanned.
    ///
    /// # Errors
    /// Another process has it, the settings cannot work, or the disk fails.
    pub fn open(settings: Settings, storage: Arc<dyn Storage>) -> Result<Journal, OpenError> {
        let dir = settings.dir.clone();
        let (journal, stepper) = Self::open_stepped(settings, storage)?;
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || stepper.writer.run());
        *locked(&journal.handle.thread) = Some(thread.map_err(|cause| OpenError::Io { dir, cause })?);
        Ok(journal)
    }

    /// The same without a thread: batches are written when the caller says so. For simulations,
    /// where one thread decides what happens when.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_stepped(settings: Settings, storage: Arc<dyn Storage>) -> Result<(Journal, Stepper), OpenError> {
        settings.check().map_err(OpenError::Settings)?;
        let dir: PathBuf = settings.dir.clone();
        let failed = |cause: io::Error| OpenError::Io { dir: dir.clone(), cause };
        storage.create_dir(&dir).map_err(failed)?;
        let lock = storage.lock(&dir.join("lock")).map_err(|error| match error {
            LockError::Held { pid } => OpenError::Held { dir: dir.clone(), pid },
            LockError::Io(cause) => failed(cause),
        })?;
        let recovered = recovery::recover(&settings, &*storage).map_err(failed)?;
        let start = recovered.start;
        let shared = Shared::new(settings, storage, recovered.identity, recovered.catalogue, recovered.synced, lock);
        shared.counters.batches.store(start.batches, Relaxed);
        shared.counters.bytes.store(start.bytes, Relaxed);
        let shared = Arc::new(shared);
        let stepper = Stepper { writer: Writer::new(Log::new(shared.clone(), start)) };
        let journal = Journal { handle: Arc::new(Handle { shared, thread: Mutex::new(None) }) };
        // Segments that were drained before the last end.
        journal.handle.shared.queue.tidy();
        Ok((journal, stepper))
    }

    /// Waits for room in the byte budget, then until the batch is on disk as [`Settings::sync`]
    /// says. That wait is the backpressure. A dropped call leaves the batch whole or absent.
    ///
    /// # Errors
    /// The batch is not stored.
    pub async fn append(&self, batch: Batch) -> Result<Receipt, AppendError> {
        self.append_until(batch, pending()).await
    }

    /// The same, and waits for room only until `given_up` ends.
    ///
    /// # Errors
    /// [`AppendError::Full`] with the batch when there was none by then; or the batch is not stored.
    pub async fn append_until(&self, batch: Batch, given_up: impl Future<Output = ()>) -> Result<Receipt, AppendError> {
        self.append_with(batch, Room::Wait, given_up).await
    }

    /// The same without waiting for room: for sources that cannot wait.
    ///
    /// # Errors
    /// [`AppendError::Full`] with the batch when there is no room now; or the batch is not stored.
    pub async fn try_append(&self, batch: Batch) -> Result<Receipt, AppendError> {
        self.append_with(batch, Room::Now, pending()).await
    }

    /// As [`try_append`](Self::try_append), and may use the reserve of the budget: for gap records,
    /// which are written just when there is no room.
    ///
    /// # Errors
    /// [`AppendError::Full`] when even the reserve is used up; or the batch is not stored.
    pub async fn append_reserved(&self, batch: Batch) -> Result<Receipt, AppendError> {
        self.append_with(batch, Room::Reserve, pending()).await
    }

    async fn append_with(
        &self,
        mut batch: Batch,
        room: Room,
        given_up: impl Future<Output = ()>,
    ) -> Result<Receipt, AppendError> {
        let shared = &self.handle.shared;
        if batch.is_empty() {
            let first = Position(shared.synced().next);
            batch.clear();
            return Ok(Receipt { first, count: 0, batch });
        }
        let (bytes, bytes_max) = (batch.bytes(), shared.settings.batch_bytes_max());
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut given_up = pin!(given_up);
        if room != Room::Wait && shared.stalled() {
            return Err(AppendError::Full { batch });
        }
        let permit = match (room, shared.budget.try_room(permits)) {
            (_, Some(permit)) => Some(permit),
            (Room::Wait, None) => {
                let _waits = Waits::new(shared);
                shared.make_room();
                tokio::select! {
                    biased;
                    permit = shared.budget.room(permits) => Some(permit.ok_or(AppendError::Closed)?),
                    () = &mut given_up => return Err(AppendError::Full { batch }),
                }
            }
            (Room::Now, None) => {
                shared.make_room();
                return Err(AppendError::Full { batch });
            }
            (Room::Reserve, None) => None,
        };
        let share = tokio::select! {
            biased;
            share = shared.queue.share(bytes) => share?,
            () = &mut given_up => return Err(AppendError::Full { batch }),
        };
        match permit {
            Some(permit) => shared.budget.keep(permit),
            None if shared.budget.try_charge_reserve(bytes as u64) => {}
            None => return Err(AppendError::Full { batch }),
        }
        // From here on there is nothing to wait for but the disk.
        let done = shared.queue.push(batch, share)?;
        done.await.map_err(|_| AppendError::Closed)?
    }

    /// A reader that goes on where the cursor of that name was committed; a new one starts at the
    /// oldest record that is kept. Until it is forgotten the cursor holds what it has not
    /// committed, open or not.
    ///
    /// # Errors
    /// The name is no name, somebody reads with it, or its file cannot be made.
    pub fn cursor(&self, name: &str) -> Result<Cursor, CursorError> {
        let shared = &self.handle.shared;
        let next = shared.synced().next;
        let mut catalogue = locked(&shared.catalogue);
        if !catalogue.cursors.contains_key(name) {
            let path =
                cursor_file::path(&shared.settings.dir, name).ok_or_else(|| CursorError::Name(name.to_owned()))?;
            let oldest = catalogue.segments.front().map_or(next, |segment| segment.first);
            let place = catalogue.place_of(oldest, next);
            let at = Committed::new(oldest, place);
            let file = CursorFile::create(&*shared.storage, path, at)?;
            let state = CursorState { file, at, open: false, on_full: OnFull::Block };
            catalogue.cursors.insert(name.to_owned(), state);
        }
        let Some(state) = catalogue.cursors.get_mut(name) else { return Err(CursorError::Gone(name.to_owned())) };
        if std::mem::replace(&mut state.open, true) {
            return Err(CursorError::Open(name.to_owned()));
        }
        let at = state.at;
        drop(catalogue);
        Ok(Cursor::new(shared.clone(), name.to_owned(), at.resume(), at.place))
    }

    /// A sink left the configuration: its cursor no longer holds anything. Fine if there is none.
    ///
    /// # Errors
    /// Somebody reads with it, or its file cannot be removed.
    pub fn forget_cursor(&self, name: &str) -> Result<(), CursorError> {
        let shared = &self.handle.shared;
        let mut catalogue = locked(&shared.catalogue);
        match catalogue.cursors.get(name) {
            None => return Ok(()),
            Some(state) if state.open => return Err(CursorError::Open(name.to_owned())),
            Some(state) => shared.storage.unlink(state.file.path())?,
        }
        catalogue.cursors.remove(name);
        drop(catalogue);
        shared.storage.sync_dir(&shared.settings.dir)?;
        shared.queue.tidy();
        Ok(())
    }

    /// Makes durable what the cursors have committed; false if the disk fails, and then a power loss
    /// may bring again what was committed since it last worked. Blocks on the disk, and takes no time
    /// of the log's own thread.
    pub fn sync_cursors(&self) -> bool {
        planted!(PlacesNotSynced) || tidy::sync_cursors(&self.handle.shared)
    }

    /// Where a pull source stood when it was last stored.
    pub fn mark(&self, name: &str) -> Option<Vec<u8>> {
        locked(&self.handle.shared.catalogue).marks.get(name).cloned()
    }

    /// The values of all marks whose names begin so.
    pub fn marks(&self, prefix: &str) -> Vec<Vec<u8>> {
        let catalogue = locked(&self.handle.shared.catalogue);
        let from = catalogue.marks.range(prefix.to_owned()..);
        from.take_while(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value.clone()).collect()
    }

    /// The names of all marks that begin so, each without that beginning.
    pub fn mark_names(&self, prefix: &str) -> Vec<String> {
        let catalogue = locked(&self.handle.shared.catalogue);
        let from = catalogue.marks.range(prefix.to_owned()..);
        from.map_while(|(name, _)| name.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    /// Half of every new event's id.
    pub fn incarnation(&self) -> Incarnation {
        self.handle.shared.identity.incarnation
    }

    /// How the journal stands.
    pub fn status(&self) -> Status {
        Status::of(&self.handle.shared)
    }

    /// Waits until everything appended is synced, then lets go of the directory. Appends fail from
    /// now on; cursors read what is left, and commit no more.
    pub async fn close(&self) {
        let mut published = self.handle.shared.published.subscribe();
        self.handle.shared.queue.close();
        // A stepped journal has no thread to wait for.
        if locked(&self.handle.thread).is_some() {
            let _ = published.wait_for(|published| published.closed).await;
        }
        self.handle.join();
    }
}

impl Handle {
    fn join(&self) {
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.join();
    }
}

/// The writing end of a journal without a thread.
#[derive(Debug)]
pub struct Stepper {
    writer: Writer,
}

impl Stepper {
    /// One group commit, or one round of tidying: false when there is nothing to do, or no space on
    /// the disk.
    pub fn turn(&mut self) -> bool {
        self.writer.turn()
    }

    /// A clean end, after the journal was closed and everything is written.
    pub fn close(self) {
        self.writer.close();
    }
}
