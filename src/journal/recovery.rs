//! Recovery: what is on disk when the journal opens.
//!
//! Only the headers of the segments and the last segment are read, however long the backlog. In
//! the last segment a whole batch counts. Damage is told from a torn write by the group commits: a
//! later group was written only after the one before it had been synced, so damage before a later
//! group is damage to acknowledged records, which readers will report; a hole in the last group is
//! a write that nobody acknowledged, and the log ends before it.
//!
//! Invariants: what becomes readable is synced first. A segment found here is never written again.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::batch::{Marks, add_tallies, take_marks};
use super::catalogue::{Catalogue, CursorState, Segment};
use super::cursor_file::{self, Committed, CursorFile};
use super::log::Start;
use super::meta::{Meta, new_identity, read_meta, write_meta};
use super::record::{self, FIRST_OF_GROUP, Found, HEADER_BYTES as RECORD_HEADER_BYTES, Kind, LAST_OF_BATCH, Seed};
use super::segment::{self, HEADER_BYTES, Header, Identity};
use super::shared::Synced;
use super::storage::{Storage, StorageFile};
use super::{OnFull, Settings};

/// Bytes read at once while scanning.
const PIECE_BYTES: usize = 1 << 20;

/// What a journal starts from.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) identity: Identity,
    pub(super) catalogue: Catalogue,
    pub(super) synced: Synced,
    pub(super) start: Start,
}

/// A segment's file and what is known of it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: u64,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) bytes: u64,
    pub(super) header: Header,
    /// It stands in the file like this; otherwise it was made from the records.
    pub(super) header_holds: bool,
}

/// Reads the directory; the lock is held.
pub(super) fn recover(settings: &Settings, storage: &dyn Storage) -> io::Result<Recovered> {
    let names = storage.list(&settings.dir)?;
    for name in names.iter().filter(|name| name.ends_with(".temp")) {
        storage.unlink(&settings.dir.join(name))?;
    }
    let meta = read_meta(storage, &settings.dir, &names)?;
    let known = if let Meta::Good(identity) = meta { Some(identity) } else { None };
    let Headers { mut candidates, mut empty, next_id } = read_headers(settings, storage, &names, known)?;
    let tail = read_tail(&mut candidates, &mut empty)?;
    for id in empty {
        storage.unlink(&segment::path(&settings.dir, id))?;
    }
    let marks = tail.marks.clone();
    if let Some(last) = candidates.last_mut() {
        if last.bytes > tail.seen {
            last.file.set_bytes(tail.seen)?;
            last.bytes = tail.seen;
        }
        if !planted!(RecoveredUnsynced) {
            make_durable(&*last.file, tail.seen)?;
        }
    }
    storage.sync_dir(&settings.dir)?;

    let mut catalogue = Catalogue {
        segments: candidates.iter().map(Candidate::segment).collect(),
        durable: candidates.last().map_or(0, |last| last.id),
        cursors: BTreeMap::new(),
        marks: marks.clone(),
        next: tail.next,
        spare_bytes: 0,
    };
    find_spare(settings, storage, &names, &mut catalogue)?;
    let rolled_back = read_cursors(settings, storage, &names, &mut catalogue, tail.next)?;
    let lost_unseen = candidates.last().is_some_and(|last| last.header.unsynced && tail.next > last.header.first);
    let newest = candidates.last().map(|last| last.header.identity);
    let identity = match (meta, newest) {
        _ if rolled_back || lost_unseen => new_identity(settings, storage)?,
        (Meta::Good(identity), _) => identity,
        // A damaged file is no new life.
        (Meta::Damaged, Some(identity)) => write_meta(settings, storage, identity)?,
        (Meta::Damaged, None) | (Meta::Missing, _) => new_identity(settings, storage)?,
    };
    let last = catalogue.segments.back();
    let synced = Synced { next: tail.next, segment: last.map_or(0, |segment| segment.id), offset: tail.end };
    let before = candidates.last().map_or((0, 0), |last| (last.header.batches_before, last.header.bytes_before));
    let start = Start { next: tail.next, next_id, marks, batches: before.0 + tail.batches, bytes: before.1 + tail.end };
    Ok(Recovered { identity, catalogue, synced, start })
}

/// A killed process leaves its last write in the page cache. If its last sync failed, the pages look
/// clean and are not on disk, and syncing again says yes all the same; so the bytes are written once
/// more.
fn make_durable(file: &dyn StorageFile, bytes: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let wanted = piece.len().min((bytes - at) as usize);
        let count = file.read_at(&mut piece[..wanted], at)?;
        if count == 0 {
            break;
        }
        file.write_at(&mut [IoSlice::new(&piece[..count])], at)?;
        at += count as u64;
    }
    file.sync_data()
}

/// What the files of segments are.
#[derive(Debug)]
pub(super) struct Headers {
    /// By id, each with a header.
    pub(super) candidates: Vec<Candidate>,
    /// Without header and record: they were begun, and the machine stopped.
    pub(super) empty: Vec<u64>,
    pub(super) next_id: u64,
}

/// The end of the log, with all marks. Segments at the end whose first group never got to disk move
/// to the empty ones.
pub(super) fn read_tail(candidates: &mut Vec<Candidate>, empty: &mut Vec<u64>) -> io::Result<Tail> {
    let mut tail = Tail { next: 1, ..Tail::default() };
    while let Some(last) = candidates.last() {
        let scanned = scan(last, None, Marks::new())?;
        if scanned.records > 0 {
            tail = scanned;
            break;
        }
        empty.push(last.id);
        candidates.pop();
    }
    tail.marks = marks_at_end(candidates, &tail)?;
    Ok(tail)
}

/// Reads the headers of all segments.
pub(super) fn read_headers(
    settings: &Settings,
    storage: &dyn Storage,
    names: &[String],
    meta: Option<Identity>,
) -> io::Result<Headers> {
    let mut ids: Vec<u64> = names.iter().filter_map(|name| segment::id_of(name)).collect();
    ids.sort_unstable();
    let next_id = ids.last().map_or(1, |id| id + 1);
    let mut candidates: Vec<Candidate> = Vec::with_capacity(ids.len());
    let mut empty = Vec::new();
    for id in ids {
        let file = storage.open(&segment::path(&settings.dir, id))?;
        let mut bytes = [0; HEADER_BYTES];
        let count = file.read_at(&mut bytes, 0)?;
        let length = file.bytes()?;
        let on_disk = Header::from_bytes(&bytes[..count]).filter(|header| header.id == id);
        let header_holds = on_disk.is_some();
        let header = match on_disk {
            Some(header) => Some(header),
            None => rebuilt_header(id, &*file, candidates.last(), meta)?,
        };
        match header {
            Some(header) => candidates.push(Candidate { id, file, bytes: length, header, header_holds }),
            None => empty.push(id),
        }
    }
    // A segment that was given up at its first group, and whose file could not be removed, may have
    // lost its header: its first record that holds stands behind what was written again.
    let mut following = u64::MAX;
    for candidate in candidates.iter_mut().rev() {
        candidate.header.first = candidate.header.first.min(following);
        following = candidate.header.first;
    }
    Ok(Headers { candidates, empty, next_id })
}

/// The header of a segment whose own is damaged, from its first record that holds.
fn rebuilt_header(
    id: u64,
    file: &dyn StorageFile,
    before: Option<&Candidate>,
    meta: Option<Identity>,
) -> io::Result<Option<Header>> {
    let Some(identity) = meta.or(before.map(|before| before.header.identity)) else { return Ok(None) };
    let mut first = None;
    walk(file, HEADER_BYTES as u64, identity.seed(id), |step| match step {
        Step::Whole { header, .. } | Step::Spoiled { header, .. } => {
            first = Some(header.sequence);
            false
        }
        Step::Skipped => true,
    })?;
    Ok(first.map(|first| Header {
        id,
        identity,
        first,
        batches_before: before.map_or(0, |before| before.header.batches_before),
        bytes_before: before.map_or(0, |before| before.header.bytes_before + before.bytes),
        unsynced: false,
    }))
}

/// The end of the log, from scanning the last segment.
#[derive(Debug, Default, Clone)]
pub(super) struct Tail {
    /// Where the last whole batch ends.
    pub(super) end: u64,
    /// Where the last record ends that holds, counted or not.
    seen: u64,
    pub(super) next: u64,
    batches: u64,
    records: u64,
    pub(super) marks: Marks,
    /// The checkpoint held: `marks` are all marks, not only those since.
    marks_complete: bool,
    group: Option<u16>,
    /// Marks and tallies of a batch whose end was not seen yet.
    open_marks: Vec<(Kind, Vec<u8>)>,
}

/// Scans a segment to its end, with the marks as they stood before it. `following` is where the
/// next segment begins: what stands at or behind that in this one was written again there.
fn scan(candidate: &Candidate, following: Option<u64>, marks: Marks) -> io::Result<Tail> {
    let head = HEADER_BYTES as u64;
    let mut tail = Tail { next: candidate.header.first, end: head, seen: head, marks, ..Tail::default() };
    // The log as it stood before the first hole of the present group.
    let mut before_hole: Option<Tail> = None;
    walk(&*candidate.file, head, candidate.header.seed(), |step| {
        match step {
            Step::Skipped | Step::Spoiled { .. } => {
                before_hole.get_or_insert_with(|| tail.clone());
            }
            Step::Whole { header, .. } if following.is_some_and(|next| header.batch_first() >= next) => return false,
            Step::Whole { header, payload, end } => {
                if tail.group != Some(header.group) && header.has(FIRST_OF_GROUP) {
                    // Whatever is missing before was synced once: it is damage, not the end.
                    before_hole = None;
                }
                tail.take(&header, payload, end);
            }
        }
        true
    })?;
    let seen = tail.seen;
    match before_hole {
        // A hole in the last group of the log: nobody was told that it is stored.
        Some(before) if following.is_none() && !planted!(HoleTaken) => Ok(Tail { seen, ..before }),
        _ => Ok(tail),
    }
}

impl Tail {
    fn take(&mut self, header: &record::Header, payload: &[u8], end: u64) {
        self.group = Some(header.group);
        self.records += 1;
        self.seen = end;
        match header.kind {
            Kind::Checkpoint => {
                self.marks.clear();
                take_marks(payload, &mut self.marks);
                self.marks_complete = true;
            }
            Kind::Mark | Kind::Tally => self.open_marks.push((header.kind, payload.to_vec())),
            Kind::Event | Kind::Synced => {}
        }
        if header.has(LAST_OF_BATCH) || planted!(TornBatchTaken) {
            self.end = end;
            let is_event = header.kind == Kind::Event && !(planted!(SequenceReused) && header.place == 0);
            self.next = header.sequence + u64::from(is_event);
            self.batches += u64::from(matches!(header.kind, Kind::Event | Kind::Mark | Kind::Tally));
            for (kind, payload) in self.open_marks.drain(..) {
                match kind {
                    Kind::Tally => add_tallies(&payload, &mut self.marks),
                    _ => take_marks(&payload, &mut self.marks),
                }
            }
        }
    }
}

enum Step<'a> {
    Whole {
        header: record::Header,
        payload: &'a [u8],
        end: u64,
    },
    /// The header holds, the payload does not.
    Spoiled {
        header: record::Header,
    },
    /// Bytes that are no record, before one that is.
    Skipped,
}

/// Goes over all records of a file from `at` on, until it ends or `visit` says false. Bytes that
/// are no record count only if a record follows.
fn walk(file: &dyn StorageFile, at: u64, seed: Seed, mut visit: impl FnMut(Step<'_>) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut offset, mut at) = (at, 0);
    let mut filled = file.read_at(&mut buffer, offset)?;
    let mut hole = false;
    loop {
        let bytes = &buffer[..filled];
        let here = Seed { offset, ..seed };
        match record::look(bytes, at, here) {
            Found::Whole(header) => {
                if std::mem::take(&mut hole) && !visit(Step::Skipped) {
                    return Ok(());
                }
                let end = at + header.record_bytes();
                let payload = &bytes[at + RECORD_HEADER_BYTES..end];
                if !visit(Step::Whole { header, payload, end: offset + end as u64 }) {
                    return Ok(());
                }
                at = end;
            }
            Found::BadPayload(header) => {
                if !visit(Step::Spoiled { header }) {
                    return Ok(());
                }
                at += header.record_bytes();
            }
            Found::Short(needed) => {
                let at_end = filled < buffer.len();
                if at_end && needed == RECORD_HEADER_BYTES {
                    return Ok(());
                }
                if at_end || needed > segment::BYTES_MAX as usize {
                    // A header that promises more than there is: the rest may still hold records.
                    hole = true;
                    at += 1;
                    continue;
                }
                offset += at as u64;
                at = 0;
                buffer.resize(needed.max(PIECE_BYTES), 0);
                filled = file.read_at(&mut buffer, offset)?;
            }
            Found::Nothing => {
                hole = true;
                at = record::resync(bytes, at + 1, here).unwrap_or_else(|reached| reached);
                if at + RECORD_HEADER_BYTES > filled && filled < buffer.len() {
                    return Ok(());
                }
            }
        }
    }
}

/// All marks. A damaged checkpoint costs nothing: the one of the segment before serves.
fn marks_at_end(candidates: &[Candidate], tail: &Tail) -> io::Result<Marks> {
    if tail.marks_complete {
        return Ok(tail.marks.clone());
    }
    let following = |index: usize| candidates.get(index + 1).map(|next| next.header.first);
    let mut marks = Marks::new();
    let mut behind = 0;
    for (index, candidate) in candidates.iter().enumerate().rev().skip(1) {
        let scanned = scan(candidate, following(index), Marks::new())?;
        if scanned.marks_complete {
            marks = scanned.marks;
            behind = index + 1;
            break;
        }
    }
    for (index, candidate) in candidates.iter().enumerate().skip(behind) {
        marks = scan(candidate, following(index), marks)?.marks;
    }
    Ok(marks)
}

impl Candidate {
    fn segment(&self) -> Segment {
        let Header { id, identity, first, bytes_before, .. } = self.header;
        Segment { id, identity, first, bytes_before, end: self.bytes, charged: self.bytes }
    }
}

/// Keeps the spare segment if the budget has room for it.
fn find_spare(
    settings: &Settings,
    storage: &dyn Storage,
    names: &[String],
    catalogue: &mut Catalogue,
) -> io::Result<()> {
    let path = segment::spare_path(&settings.dir);
    if names.iter().any(|name| path.ends_with(name)) {
        let bytes = storage.open(&path)?.bytes()?;
        if catalogue.segment_bytes() + bytes <= settings.bytes_max {
            catalogue.spare_bytes = bytes;
        } else {
            storage.unlink(&path)?;
        }
    }
    Ok(())
}

/// Reads all cursor files. True if one of them is ahead of the log: the directory was rolled back.
fn read_cursors(
    settings: &Settings,
    storage: &dyn Storage,
    names: &[String],
    catalogue: &mut Catalogue,
    next: u64,
) -> io::Result<bool> {
    let mut rolled_back = false;
    let oldest = catalogue.segments.front().map_or(next, |segment| segment.first);
    for (file_name, name) in names.iter().filter_map(|file| Some((file, cursor_file::name_of(file)?))) {
        let (mut file, committed) = CursorFile::open(storage, settings.dir.join(file_name))?;
        let committed = match committed {
            Some(committed) if committed.position <= next => committed,
            other => {
                // Both slots damaged: everything kept comes again. Ahead: nothing before is needed.
                rolled_back |= other.is_some();
                let position = if other.is_some() { next } else { oldest };
                // What it had counted is of another life, or unknown.
                let committed = Committed::new(position, catalogue.place_of(position, next));
                file.write(committed)?;
                committed
            }
        };
        // A new file, durable as a whole: what the old one was synced with is not known. On a full
        // disk the old one serves.
        let _ = file.renew(storage, committed);
        catalogue.cursors.insert(name, CursorState { file, at: committed, open: false, on_full: OnFull::Block });
    }
    Ok(rolled_back)
}
