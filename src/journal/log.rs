//! Log: the writing end. Numbers batches, writes a group, syncs it, publishes how far readers may
//! go, begins the next segment.
//!
//! Way of an event: … queue → **log** → receipt, cursors. No thread in here: the writer's, or a
//! test, says when.
//!
//! Invariants: nobody is told "done" before the bytes and the name of their file are synced (with
//! `Sync::Always`). A file whose sync failed is never synced again: it is closed where it was known
//! good, and the group is written to a new segment once.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::batch::{Batch, Marks, Numbering};
use super::catalogue::Segment;
use super::queue::Pending;
use super::record::{
    FIRST_OF_GROUP, HEADER_BYTES as RECORD_HEADER_BYTES, Header as RecordHeader, Kind, LAST_OF_BATCH, Seed,
};
use super::segment::{self, Header};
use super::shared::{Shared, Synced};
use super::storage::StorageFile;
use super::{AppendError, Sync, locked};

/// A segment may be so many times smaller than usual where the disk has no room for more.
const SHRINK_MAX: u64 = 16;

/// The writing end of the log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) shared: Arc<Shared>,
    /// None until the first group after a start or a failure: a segment that an earlier process
    /// wrote, or whose sync failed, is never written again.
    active: Option<Active>,
    /// What the next event gets.
    pub(super) next: u64,
    pub(super) next_id: u64,
    group: u16,
    /// As of the end of the log.
    marks: Marks,
    batches: u64,
    bytes: u64,
    /// Written and acknowledged but not synced (`Sync::Interval`): since when.
    pub(super) unsynced_since: Option<Instant>,
}

/// The segment being written.
#[derive(Debug)]
struct Active {
    id: u64,
    seed: Seed,
    file: Arc<dyn StorageFile>,
    /// Header and checkpoint, until they are written with the first group.
    head: Vec<u8>,
    /// Where the next record goes.
    end: u64,
    /// How long the file is.
    file_bytes: u64,
}

/// Where the log begins to write.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) next: u64,
    pub(super) next_id: u64,
    pub(super) marks: Marks,
    pub(super) batches: u64,
    pub(super) bytes: u64,
}

/// A group is not on disk.
#[derive(Debug)]
enum WriteError {
    /// The disk is full, and nothing else is wrong: the same again later.
    Space,
    /// The file is not to be trusted.
    Io(io::Error),
}

/// What became of a group.
#[derive(Debug)]
pub(super) enum Committed {
    Done,
    /// No space on the disk: the same group again later.
    Stalled,
}

impl Log {
    pub(super) fn new(shared: Arc<Shared>, start: Start) -> Self {
        let Start { next, next_id, marks, batches, bytes } = start;
        Log { shared, active: None, next, next_id, group: 0, marks, batches, bytes, unsynced_since: None }
    }

    /// Writes and syncs the group and tells everybody; with `Stalled` it stays with the caller.
    pub(super) fn commit(&mut self, group: &mut Vec<Pending>) -> Committed {
        let result = match self.write(group) {
            Err(WriteError::Io(_)) => {
                // The second chance, in a new segment; there is no third (reliability.md P9).
                self.abandon();
                self.write(group)
            }
            result => result,
        };
        self.shared.set_stalled(matches!(result, Err(WriteError::Space)));
        match result {
            Ok(()) => {
                self.shared.set_failure(None);
                group.drain(..).for_each(|pending| pending.finish(Ok(())));
                Committed::Done
            }
            Err(WriteError::Space) => Committed::Stalled,
            Err(WriteError::Io(error)) => {
                self.abandon();
                let cause: Arc<str> = error.to_string().into();
                self.shared.set_failure(Some(cause.clone()));
                self.refuse(group, |batch| AppendError::Failed { cause: cause.clone(), batch });
                Committed::Done
            }
        }
    }

    /// Gives a group up: its bytes go back to the budget.
    pub(super) fn refuse(&self, group: &mut Vec<Pending>, error: impl Fn(Batch) -> AppendError) {
        for mut pending in group.drain(..) {
            let batch = std::mem::take(&mut pending.batch);
            self.shared.budget.release(batch.bytes() as u64);
            pending.finish(Err(error(batch)));
        }
    }

    fn write(&mut self, group: &mut [Pending]) -> Result<(), WriteError> {
        let bytes: u64 = group.iter().map(|pending| pending.batch.bytes() as u64).sum();
        if !self.active.as_ref().is_some_and(|active| active.has_room(bytes)) {
            self.begin(bytes)?;
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        // Groups written since the last sync are one group to recovery: any of them may be torn.
        let synced_before = self.unsynced_since.is_none();
        let number = if synced_before { self.group.wrapping_add(1) } else { self.group };
        let mut next = self.next;
        let mut offset = active.end + active.head.len() as u64;
        for (index, pending) in group.iter_mut().enumerate() {
            let first_of_group = index == 0 && active.head.is_empty() && synced_before;
            let seed = Seed { offset, ..active.seed };
            pending.batch.number(Numbering { seed, first: next, group: number, first_of_group });
            offset += pending.batch.bytes() as u64;
            pending.first = next;
            next += pending.batch.len() as u64;
        }
        let mut parts: Vec<IoSlice<'_>> = Vec::with_capacity(group.len() + 1);
        parts.extend((!active.head.is_empty()).then(|| IoSlice::new(&active.head)));
        parts.extend(group.iter().map(|pending| IoSlice::new(pending.batch.as_bytes())));
        active.file.write_at(&mut parts, active.end).map_err(WriteError::while_writing)?;
        if planted!(ReadBeforeSync) {
            self.shared.publish(Synced { next, segment: active.id, offset });
        }
        if self.shared.settings.sync == Sync::Always && !planted!(AckBeforeSync) {
            self.shared.timed_sync(&*active.file).map_err(WriteError::Io)?;
            if !active.head.is_empty() && !planted!(FolderNotSynced) {
                self.shared.storage.sync_dir(&self.shared.settings.dir).map_err(WriteError::Io)?;
            }
        }
        let head_bytes = std::mem::take(&mut active.head).len() as u64;
        active.end += head_bytes + bytes;
        self.group = number;
        self.next = next;
        self.batches += group.len() as u64;
        self.bytes += head_bytes + bytes;
        for pending in &*group {
            pending.batch.marks_into(&mut self.marks);
        }
        self.account(group, head_bytes, bytes);
        Ok(())
    }

    /// Tells the catalogue and the readers what was written.
    fn account(&mut self, group: &[Pending], head_bytes: u64, bytes: u64) {
        let counters = &self.shared.counters;
        counters.batches.store(self.batches, Relaxed);
        counters.bytes.store(self.bytes, Relaxed);
        self.shared.budget.charge(head_bytes);
        let mut catalogue = locked(&self.shared.catalogue);
        if let Some(last) = catalogue.segments.back_mut() {
            last.charged += head_bytes + bytes;
            if !matches!(self.shared.settings.sync, Sync::Interval(_)) {
                catalogue.durable = last.id;
            }
        }
        for pending in group {
            pending.batch.marks_into(&mut catalogue.marks);
        }
        catalogue.next = self.next;
        drop(catalogue);
        match self.shared.settings.sync {
            Sync::Always | Sync::Never => self.publish(),
            Sync::Interval(_) => {
                self.unsynced_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Closes the active segment and begins one with room for `bytes`. Its head is written with
    /// the first group.
    fn begin(&mut self, bytes: u64) -> Result<(), WriteError> {
        self.sync_acknowledged().map_err(WriteError::Io)?;
        let shared = self.shared.clone();
        let Shared { settings, storage, identity, .. } = &*shared;
        let id = self.next_id;
        let header = Header {
            id,
            identity: *identity,
            first: self.next,
            batches_before: self.batches,
            bytes_before: self.bytes,
            unsynced: settings.sync == Sync::Never,
        };
        let marks = if planted!(MarksLostWithSegment) { &Marks::new() } else { &self.marks };
        let head = header.with_checkpoint(marks, self.group.wrapping_add(1));
        let (spare_bytes, segment_bytes) = {
            let mut catalogue = locked(&self.shared.catalogue);
            (std::mem::take(&mut catalogue.spare_bytes), catalogue.segment_bytes())
        };
        // The id is used up, whatever happens now.
        self.next_id += 1;
        let room = settings.bytes_max.saturating_sub(segment_bytes);
        let least = head.len() as u64 + bytes;
        let mut file_bytes = settings.segment_bytes().min(room).max(least).max(spare_bytes);
        let path = segment::path(&settings.dir, id);
        let prepared = (|| {
            let file = if spare_bytes > 0 {
                storage.rename(&segment::spare_path(&settings.dir), &path)?;
                storage.open(&path)?
            } else {
                storage.create(&path)?
            };
            if spare_bytes < file_bytes {
                let least = least.max(settings.segment_bytes() / SHRINK_MAX).max(spare_bytes);
                file_bytes = preallocate(&*file, file_bytes, least)?;
            }
            Ok(file)
        })();
        let file = match prepared {
            Ok(file) => file,
            Err(error) => {
                let _ = storage.unlink(&path);
                return Err(WriteError::while_writing(error));
            }
        };
        self.seal();
        locked(&self.shared.catalogue).segments.push_back(Segment {
            id,
            identity: *identity,
            first: self.next,
            bytes_before: self.bytes,
            end: file_bytes,
            charged: 0,
        });
        self.active = Some(Active { id, seed: header.seed(), file, head, end: 0, file_bytes });
        if shared.budget.free() < settings.segment_bytes() {
            shared.want_room();
        }
        Ok(())
    }

    /// Closes the active segment: cuts off what it did not need, charges what it keeps.
    fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        let mut end = active.file_bytes;
        if active.file_bytes - active.end > self.shared.settings.segment_bytes() / 8
            && active.file.set_bytes(active.end).is_ok()
        {
            end = active.end;
        }
        let mut catalogue = locked(&self.shared.catalogue);
        if let Some(last) = catalogue.segments.back_mut() {
            last.end = end;
            let unused = end.saturating_sub(last.charged);
            last.charged += unused;
            self.shared.budget.charge(unused);
        }
    }

    /// Gives the active segment up after a failed write or sync. What was synced in it stays
    /// readable: the next segment begins with the number behind that.
    fn abandon(&mut self) {
        self.shared.counters.sync_failures.fetch_add(1, Relaxed);
        let Some(active) = self.active.take() else { return };
        let mut catalogue = locked(&self.shared.catalogue);
        let Some(last) = catalogue.segments.back_mut() else { return };
        if last.charged == 0 {
            // Nothing in it was ever acknowledged.
            catalogue.segments.pop_back();
            drop(catalogue);
            let _ = self.shared.storage.unlink(&segment::path(&self.shared.settings.dir, active.id));
            return;
        }
        let unused = active.file_bytes.saturating_sub(last.charged);
        last.charged += unused;
        self.shared.budget.charge(unused);
    }

    /// Syncs what `Sync::Interval` acknowledged without.
    pub(super) fn sync(&mut self) {
        if let Err(error) = self.sync_acknowledged() {
            self.shared.set_failure(Some(error.to_string().into()));
            // It was acknowledged on the user's own terms: readers get what the file still gives.
            self.unsynced_since = None;
            self.publish();
            self.abandon();
        }
    }

    fn sync_acknowledged(&mut self) -> io::Result<()> {
        if let Some(active) = &self.active
            && self.unsynced_since.is_some()
        {
            self.shared.timed_sync(&*active.file)?;
            self.shared.storage.sync_dir(&self.shared.settings.dir)?;
            let newest = std::mem::replace(&mut locked(&self.shared.catalogue).durable, active.id);
            if newest != active.id {
                // What cursors have passed before it may go now.
                self.shared.want_room();
            }
            self.unsynced_since = None;
            self.publish();
        }
        Ok(())
    }

    fn publish(&self) {
        if let Some(active) = &self.active {
            self.shared.publish(Synced { next: self.next, segment: active.id, offset: active.end });
        }
    }

    /// Writes, without syncing, that everything so far was synced: if the last records are damaged
    /// later, recovery knows that they were acknowledged.
    pub(super) fn note_synced(&mut self) {
        if self.shared.settings.sync == Sync::Never || self.unsynced_since.is_some() {
            return;
        }
        let Some(active) = &mut self.active else { return };
        let note_bytes = RECORD_HEADER_BYTES as u64;
        if active.end + note_bytes > active.file_bytes {
            return;
        }
        let mut note = RecordHeader::for_payload(Kind::Synced, &[]);
        note.sequence = self.next;
        note.flags = FIRST_OF_GROUP | LAST_OF_BATCH;
        note.group = self.group.wrapping_add(1);
        if active
            .file
            .write_at(&mut [IoSlice::new(&note.to_bytes(active.seed.at(active.end as usize)))], active.end)
            .is_err()
        {
            // The next group is written over it.
            return;
        }
        self.group = note.group;
        active.end += note_bytes;
        self.bytes += note_bytes;
        self.shared.budget.charge(note_bytes);
        if let Some(last) = locked(&self.shared.catalogue).segments.back_mut() {
            last.charged += note_bytes;
        }
    }

    /// Syncs, and begins an empty segment so that the next start has nothing to scan.
    pub(super) fn close(&mut self) {
        self.sync();
        if self.active.is_none() || self.begin(0).is_err() {
            return;
        }
        if let Some(active) = self.active.take() {
            let result = active.file.write_at(&mut [IoSlice::new(&active.head)], 0);
            let result = result.and_then(|()| active.file.set_bytes(active.head.len() as u64));
            let result = result.and_then(|()| active.file.sync_data());
            // Without it the next start scans the segment before: no harm.
            let _ = result.and_then(|()| self.shared.storage.sync_dir(&self.shared.settings.dir));
        }
    }
}

/// Takes space for `wanted` bytes; on a disk that is nearly full, for half of it and so on, at least
/// for `least`. Answers for how many.
fn preallocate(file: &dyn StorageFile, wanted: u64, least: u64) -> io::Result<u64> {
    let mut bytes = wanted;
    loop {
        match file.preallocate(bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && bytes > least => {
                // What it got before it failed.
                file.set_bytes(0)?;
                bytes = (bytes / 2).max(least);
            }
            result => return result.map(|()| bytes),
        }
    }
}

impl Active {
    fn has_room(&self, bytes: u64) -> bool {
        self.end + self.head.len() as u64 + bytes <= self.file_bytes
    }
}

impl WriteError {
    fn while_writing(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteError::Space,
            _ => WriteError::Io(error),
        }
    }
}
