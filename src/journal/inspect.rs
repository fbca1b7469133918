//! Looking at a journal that no gateway has open: how it stands, every record in it, what is damaged.
//!
//! Not on the way of an event. Invariants: reads with the eyes of recovery and of a cursor, so that it
//! finds what they would find; changes nothing.

use std::io;
use std::path::{Path, PathBuf};

use super::batch::{TALLY, sums};
use super::chunk::{Chunk, Stopped, Walk};
use super::cursor_file::{self, CursorFile};
use super::meta::{Meta, read_meta};
use super::read_only::ReadOnlyDisk;
use super::record::Seed;
use super::recovery::{Candidate, Headers, Tail, read_headers, read_tail};
use super::segment::HEADER_BYTES;
use super::storage::{Lock, LockError, Storage, StorageFile};
use super::{CursorStatus, Incarnation, OpenError, Position, Settings};

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A journal as it lies on disk.
#[derive(Debug)]
pub struct Inspection {
    dir: PathBuf,
    pub(super) segments: Vec<Candidate>,
    pub(super) tail: Tail,
    incarnation: Option<Incarnation>,
    spare_bytes: u64,
    _lock: Option<Box<dyn Lock>>,
}

/// Who has the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    /// A process; its number, if it said.
    Process(Option<u32>),
}

/// How a journal stands, in events and bytes.
#[derive(Debug, Clone)]
pub struct Summary {
    /// `None`: the file that says so is damaged or not there.
    pub incarnation: Option<Incarnation>,
    pub segments: usize,
    pub bytes: u64,
    pub spare_bytes: u64,
    /// The oldest event that is kept, and the one behind the newest.
    pub first: Position,
    pub next: Position,
    /// `None`: the cursor's file cannot be read, and its sink would get everything again.
    pub cursors: Vec<(String, Option<CursorStatus>)>,
    pub tallies: Vec<(String, Vec<u64>)>,
}

impl Inspection {
    /// Looks at the directory while nobody has it, and keeps others from writing meanwhile.
    ///
    /// # Errors
    /// A process has it, it is no journal, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Inspection, OpenError> {
        let lock = match ReadOnlyDisk.lock(&dir.join("lock")) {
            Ok(lock) => Some(lock),
            // A copy of a journal has no lock; nobody can have it open.
            Err(LockError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(LockError::Held { pid }) => return Err(OpenError::Held { dir: dir.to_owned(), pid }),
            Err(LockError::Io(cause)) => return Err(OpenError::Io { dir: dir.to_owned(), cause }),
        };
        let looked = Self::look(dir, lock);
        looked.map_err(|cause| OpenError::Io { dir: dir.to_owned(), cause })
    }

    /// The same, whoever has it: what is read may be changing.
    ///
    /// # Errors
    /// It is no journal, or cannot be read.
    pub fn open_in_use(dir: &Path) -> Result<(Inspection, Holder), OpenError> {
        let holder = match Self::open(dir) {
            Ok(inspection) => return Ok((inspection, Holder::Nobody)),
            Err(OpenError::Held { pid, .. }) => Holder::Process(pid),
            Err(error) => return Err(error),
        };
        let looked = Self::look(dir, None).map_err(|cause| OpenError::Io { dir: dir.to_owned(), cause })?;
        Ok((looked, holder))
    }

    fn look(dir: &Path, lock: Option<Box<dyn Lock>>) -> io::Result<Inspection> {
        let settings = Settings::new(dir);
        let names = ReadOnlyDisk.list(dir)?;
        let identity = match read_meta(&ReadOnlyDisk, dir, &names)? {
            Meta::Good(identity) => Some(identity),
            Meta::Damaged => None,
            Meta::Missing if names.iter().any(|name| name.ends_with(".segment")) => None,
            Meta::Missing => return Err(io::Error::new(io::ErrorKind::NotFound, "there is no journal in it")),
        };
        let Headers { candidates: mut segments, mut empty, .. } =
            read_headers(&settings, &ReadOnlyDisk, &names, identity)?;
        let tail = read_tail(&mut segments, &mut empty)?;
        let spare = names.iter().find(|name| *name == "spare");
        let spare = spare.and_then(|name| std::fs::metadata(dir.join(name)).ok());
        Ok(Inspection {
            dir: dir.to_owned(),
            segments,
            tail,
            incarnation: identity.map(|identity| identity.incarnation),
            spare_bytes: spare.map_or(0, |spare| spare.len()),
            _lock: lock,
        })
    }

    /// Lets others write, and keeps what it knows of the segments.
    pub(super) fn release(self) -> Vec<Candidate> {
        self.segments
    }

    /// How it stands.
    ///
    /// # Errors
    /// A cursor's file cannot be read.
    pub fn summary(&self) -> io::Result<Summary> {
        let next = self.tail.next;
        let first = self.segments.first().map_or(next, |segment| segment.header.first);
        let mut cursors = Vec::new();
        for file in ReadOnlyDisk.list(&self.dir)? {
            let Some(name) = cursor_file::name_of(&file) else { continue };
            let (_, at) = CursorFile::open(&ReadOnlyDisk, self.dir.join(&file))?;
            let status = at.map(|at| CursorStatus {
                name: name.clone(),
                position: Position(at.position),
                begun: Position(at.begun),
                passed: at.passed,
                lag_records: next.saturating_sub(at.position),
                given_up: at.position - at.resume(),
                lag_bytes: 0,
                open: false,
            });
            cursors.push((name, status));
        }
        cursors.sort_by(|one, other| one.0.cmp(&other.0));
        let tally =
            |(name, value): (&String, &Vec<u8>)| Some((name.strip_prefix(TALLY)?.to_owned(), sums(value).collect()));
        Ok(Summary {
            incarnation: self.incarnation,
            segments: self.segments.len(),
            bytes: self.segments.iter().map(|segment| segment.bytes).sum(),
            spare_bytes: self.spare_bytes,
            first: Position(first),
            next: Position(next),
            cursors,
            tallies: self.tail.marks.iter().filter_map(tally).collect(),
        })
    }

    /// Hands out every record from `from` on, and what is missing, as a cursor would.
    ///
    /// # Errors
    /// The disk cannot be read, or what `visit` answers.
    pub fn read<E: From<io::Error>>(
        &self,
        from: Position,
        mut visit: impl FnMut(&Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut chunk = Chunk::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let until = self.segments.get(index + 1).map_or(self.tail.next, |following| following.header.first);
            if until <= from.0 {
                continue;
            }
            chunk.incarnation = Some(segment.header.identity.incarnation);
            let seed = segment.header.seed();
            let wanted = from.0.max(segment.header.first);
            let mut walk = Walk { seed, expected: segment.header.first, wanted, until, damaged_bytes: 0 };
            read_segment(&*segment.file, &mut walk, &mut chunk, &mut visit)?;
        }
        Ok(())
    }
}

fn read_segment<E: From<io::Error>>(
    file: &dyn StorageFile,
    walk: &mut Walk,
    chunk: &mut Chunk,
    visit: &mut impl FnMut(&Chunk) -> Result<(), E>,
) -> Result<(), E> {
    let (mut offset, mut want) = (HEADER_BYTES as u64, PIECE_BYTES);
    loop {
        if chunk.buffer.len() < want {
            chunk.buffer.resize(want, 0);
        }
        let filled = file.read_at(&mut chunk.buffer[..want], offset)?;
        chunk.clear();
        walk.seed = Seed { offset, ..walk.seed };
        let at_end = filled < want;
        match walk.through(chunk, filled) {
            Stopped::Short { at: 0, needed } if !at_end => want = needed.max(want + 1),
            Stopped::Short { at, .. } if !at_end => {
                offset += at as u64;
                want = PIECE_BYTES;
                visit(chunk)?;
            }
            Stopped::Short { at, .. } => {
                walk.damaged_bytes += (filled - at) as u64;
                walk.finish(chunk);
                return visit(chunk);
            }
            Stopped::Finished { .. } => return visit(chunk),
        }
    }
}
