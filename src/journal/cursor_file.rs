//! Cursor file: how far a sink has got, in three slots that are written by turns.
//!
//! ```text
//! 0 magic · 8 version u32 · 12 header bytes u32 · 16 zero       512, 1024, 1536: the slots
//! slot: generation u64 · position u64 · segment u64 · offset u64 · position there u64 · begun u64
//!       delivered u64 · filtered u64 · quarantined u64 · lost u64 · given up from u64 · to u64
//!       CRC32C u32
//! ```
//! A commit is one small write into the page cache: kill -9 loses none. It is synced before a
//! segment is released, so after a power loss the cursor may lag, and events come twice.
//!
//! Invariant: never ahead of what was committed. A torn slot leaves the one written before it, and
//! the one that was synced last: segments were released because of that one.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::passed::Passed;
use super::segment::Place;
use super::storage::{Storage, StorageFile};

const MAGIC: [u8; 8] = *b"WHARFCUR";
const VERSION: u32 = 1;
/// A slot has a sector of its own: a torn write spoils one slot at most.
const SLOT_AT: usize = 512;
const SLOT_BYTES: usize = 100;
const SLOTS: usize = 3;
const FILE_BYTES: usize = (1 + SLOTS) * 512;

#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    generation: u64,
    /// What stands in each slot, zero for nothing.
    slots: [u64; SLOTS],
    /// The generation that was synced last.
    synced: u64,
    /// Its next sync tells the truth. Not after one that failed, in this process or before it: the
    /// pages look clean then and are not on disk.
    trusted: bool,
}

/// What a cursor file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    /// The next event it needs.
    pub(super) position: u64,
    /// Where to look for it.
    pub(super) place: Place,
    /// The first event that its counts are about.
    pub(super) begun: u64,
    /// What became of the events from there to `position`.
    pub(super) passed: Passed,
    /// Events that were given up because the journal was full, and are not declared yet: the first,
    /// and the one behind the last, which is `position`. Equal when there are none.
    pub(super) given_up: (u64, u64),
}

impl Committed {
    /// A cursor that has passed nothing yet.
    pub(super) fn new(position: u64, place: Place) -> Self {
        Committed { position, place, begun: position, passed: Passed::default(), given_up: (position, position) }
    }

    /// Gives up everything before `to`, where the segment with that id begins.
    pub(super) fn give_up(self, to: u64, segment: u64, offset: u64) -> Self {
        let from = self.resume();
        // The reader goes on at `from`, finds that it is gone, and so knows what is missing.
        let place = Place { segment, offset, position: from };
        let lost = self.passed.lost + to.saturating_sub(self.position);
        Committed { position: to, place, given_up: (from, to), passed: Passed { lost, ..self.passed }, ..self }
    }

    /// The next event its reader has to account for.
    pub(super) fn resume(&self) -> u64 {
        if self.given_up.0 < self.given_up.1 { self.given_up.0 } else { self.position }
    }

    /// The reader has accounted for everything before `next`, from [`resume`](Self::resume) on.
    pub(super) fn pass(self, next: u64, place: Place, passed: Passed) -> Self {
        let (from, to) = self.given_up;
        let lost = self.passed.lost.saturating_sub(to.saturating_sub(from));
        let counted = Passed { lost, ..self.passed }.and(&passed);
        if next >= self.position {
            return Committed { position: next, place, passed: counted, given_up: (next, next), ..self };
        }
        // It had some of them in hand when they were given up: these are not lost.
        let lost = counted.lost + (to - next);
        let place = Place { position: next, ..self.place };
        Committed { place, passed: Passed { lost, ..counted }, given_up: (next, to), ..self }
    }
}

impl CursorFile {
    /// Makes the file of a new cursor, durable.
    pub(super) fn create(storage: &dyn Storage, path: PathBuf, committed: Committed) -> io::Result<Self> {
        Self::replace(storage, path, committed, 1)
    }

    /// Opens the file; the state is `None` if both slots are damaged.
    pub(super) fn open(storage: &dyn Storage, path: PathBuf) -> io::Result<(Self, Option<Committed>)> {
        let file = storage.open(&path)?;
        let mut bytes = [0; FILE_BYTES];
        let count = file.read_at(&mut bytes, 0)?;
        let found: [_; SLOTS] = std::array::from_fn(|slot| read_slot(bytes[..count].get(slot_at(slot)..)?));
        let newest = found.iter().flatten().max_by_key(|(generation, _)| *generation);
        let committed = newest.map(|(_, committed)| *committed);
        let generation = newest.map_or(0, |(generation, _)| *generation);
        let slots = found.map(|slot| slot.map_or(0, |(generation, _)| generation));
        Ok((CursorFile { path, file, generation, slots, synced: 0, trusted: false }, committed))
    }

    /// Writes what is committed into a slot that is neither the newest nor the one synced last.
    pub(super) fn write(&mut self, committed: Committed) -> io::Result<()> {
        let generation = self.generation + 1;
        let free = |slot: &usize| ![self.generation, self.synced].contains(&self.slots[*slot]);
        let free = (0..SLOTS).filter(free).min_by_key(|slot| self.slots[*slot]);
        let slot = free.filter(|_| !planted!(SlotOverwritten)).unwrap_or(0);
        self.slots[slot] = 0;
        self.file.write_at(&mut [IoSlice::new(&slot_bytes(generation, committed))], slot_at(slot) as u64)?;
        self.slots[slot] = generation;
        self.generation = generation;
        Ok(())
    }

    /// Writes a new file in place of one that is not to be trusted.
    pub(super) fn renew(&mut self, storage: &dyn Storage, committed: Committed) -> io::Result<()> {
        *self = Self::replace(storage, self.path.clone(), committed, self.generation + 1)?;
        Ok(())
    }

    fn replace(storage: &dyn Storage, path: PathBuf, committed: Committed, generation: u64) -> io::Result<Self> {
        let temporary = path.with_extension("temp");
        let file = storage.create(&temporary)?;
        let mut bytes = vec![0; FILE_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(SLOT_AT as u32).to_le_bytes());
        let at = slot_at(0);
        bytes[at..at + SLOT_BYTES].copy_from_slice(&slot_bytes(generation, committed));
        file.write_at(&mut [IoSlice::new(&bytes)], 0)?;
        file.sync_data()?;
        storage.rename(&temporary, &path)?;
        storage.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        Ok(CursorFile { path, file, generation, slots: [generation, 0, 0], synced: generation, trusted: true })
    }

    /// Written since it was synced.
    pub(super) fn unsynced(&self) -> bool {
        self.generation != self.synced
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What was written up to that generation is durable.
    pub(super) fn synced(&mut self, generation: u64) {
        self.synced = self.synced.max(generation);
    }

    /// The file, unless a new one must take its place.
    pub(super) fn trusted_file(&self) -> Option<Arc<dyn StorageFile>> {
        self.trusted.then(|| self.file.clone())
    }

    /// A sync failed: never again on this file.
    pub(super) fn distrust(&mut self) {
        self.trusted = false;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn slot_at(slot: usize) -> usize {
    SLOT_AT * (1 + slot)
}

fn slot_bytes(generation: u64, committed: Committed) -> [u8; SLOT_BYTES] {
    let Committed { position, place, begun, passed, given_up } = committed;
    let Passed { delivered, filtered, quarantined, lost } = passed;
    let Place { segment, offset, position: there } = place;
    let words = [
        [generation, position, segment, offset],
        [there, begun, delivered, filtered],
        [quarantined, lost, given_up.0, given_up.1],
    ];
    let mut bytes = [0; SLOT_BYTES];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words.as_flattened()) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes[..SLOT_BYTES - 4]);
    bytes[SLOT_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn read_slot(bytes: &[u8]) -> Option<(u64, Committed)> {
    let (words, crc) = bytes.get(..SLOT_BYTES)?.split_last_chunk::<4>()?;
    if crc32c::crc32c(words).to_le_bytes() != *crc {
        return None;
    }
    let word = |index: usize| words[index * 8..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let place = Place { segment: word(2)?, offset: word(3)?, position: word(4)? };
    // A slot never written is all zero, and the checksum of zeros is not zero; a position of zero
    // was never written either.
    let passed = Passed { delivered: word(6)?, filtered: word(7)?, quarantined: word(8)?, lost: word(9)? };
    let given_up = (word(10)?, word(11)?);
    Some((word(0)?, Committed { position: word(1)?, place, begun: word(5)?, passed, given_up }))
        .filter(|(_, committed)| committed.position > 0)
}

/// The file of the cursor with that name: what is not safe in a file name is written as `%xx`.
/// `None`: no name, or too long for a file.
pub(super) fn path(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut safe = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => safe.push(byte.into()),
            b'.' if index > 0 => safe.push('.'),
            _ => safe.push_str(&format!("%{byte:02x}")),
        }
    }
    (!name.is_empty() && safe.len() <= 200).then(|| dir.join(format!("{safe}.cursor")))
}

/// The name of the cursor whose file this is, if it is one.
pub(super) fn name_of(file_name: &str) -> Option<String> {
    let safe = file_name.strip_suffix(".cursor")?;
    let mut bytes = Vec::with_capacity(safe.len());
    let mut rest = safe.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_first_chunk::<2>()?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::storage::Disk;
    use super::*;

    fn at(position: u64) -> Committed {
        let place = Place { segment: 3, offset: 128 + position, position: position - 1 };
        let passed = Passed { delivered: position, filtered: 2, quarantined: 3, lost: u64::MAX };
        Committed { position, place, begun: 1, passed, given_up: (position, position) }
    }

    #[test]
    fn a_torn_slot_leaves_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "splunk").unwrap();
        let mut file = CursorFile::create(&Disk, path.clone(), at(1)).unwrap();
        for position in [3, 4, 5, 9] {
            file.write(at(position)).unwrap();
        }
        let (reopened, committed) = CursorFile::open(&Disk, path.clone()).unwrap();
        assert_eq!(committed, Some(at(9)));
        assert_eq!(reopened.generation(), 5);
        let tear = |slot: usize| file.file.write_at(&mut [IoSlice::new(b"torn")], slot_at(slot) as u64 + 8).unwrap();
        tear(2);
        assert_eq!(CursorFile::open(&Disk, path.clone()).unwrap().1, Some(at(5)));
        tear(1);
        assert_eq!(CursorFile::open(&Disk, path.clone()).unwrap().1, Some(at(1)), "the one that was synced");
        tear(0);
        assert_eq!(CursorFile::open(&Disk, path).unwrap().1, None);
    }

    #[test]
    fn what_is_given_up_is_lost_unless_it_was_in_hand() {
        let place = |position| Place { segment: 9, offset: 128, position };
        let at = Committed::new(10, place(10)).pass(20, place(20), Passed::delivered(10));
        let given_up = at.give_up(50, 9, 128).give_up(80, 12, 128);
        assert_eq!((given_up.position, given_up.resume(), given_up.passed.lost), (80, 20, 60));
        // Five were on their way to the peer.
        let in_hand = given_up.pass(25, place(20), Passed::delivered(5));
        assert_eq!((in_hand.position, in_hand.resume()), (80, 25));
        assert_eq!(in_hand.passed, Passed { delivered: 15, lost: 55, ..Passed::default() });
        let back = in_hand.pass(90, place(80), Passed { delivered: 10, lost: 55, ..Passed::default() });
        assert_eq!((back.position, back.resume()), (90, 90));
        assert_eq!(back.passed, Passed { delivered: 25, lost: 55, ..Passed::default() });
        for at in [at, given_up, in_hand, back] {
            assert_eq!(at.passed.total(), at.position - at.begun);
        }
    }

    #[test]
    fn names_become_file_names_and_back() {
        for (name, file) in [
            ("splunk", "splunk.cursor"),
            ("../../etc/x", "%2e.%2f..%2fetc%2fx.cursor"),
            (".hidden", "%2ehidden.cursor"),
            ("a b%", "a%20b%25.cursor"),
            ("größe", "gr%c3%b6%c3%9fe.cursor"),
        ] {
            let path = path(Path::new("/j"), name).unwrap();
            assert_eq!(path, Path::new("/j").join(file));
            assert_eq!(name_of(file).as_deref(), Some(name));
        }
        assert_eq!(path(Path::new("/j"), ""), None);
        assert_eq!(path(Path::new("/j"), &"x".repeat(201)), None);
        assert_eq!(name_of("lock"), None);
    }
}
