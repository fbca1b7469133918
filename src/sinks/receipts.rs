//! Receipts: which events a sink's peer has, since when, and what it answered; a log for each sink.
//!
//! A log is two files: one that grows, and the one before it. Each entry has its length and a checksum; what a crash
//! has torn at the end is cut off when the log is opened. Entries are written before the cursor moves and never
//! synced: an event that comes twice after a crash may have two, and a power loss may take the last ones.
//!
//! Invariant: a log that cannot be written keeps no event from being delivered; it is said once.

mod entry;
mod runs;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wharfinger_formats::Time;

use crate::journal::{Incarnation, Position};

pub(super) use self::entry::Entry;
pub use self::runs::Became;
pub(super) use self::runs::Runs;

const MAGIC: &[u8; 16] = b"WHARFRECEIPTS\0\0\x01";
/// Length and checksum.
const HEAD_BYTES: usize = 8;
/// A longer one is damage.
const ENTRY_BYTES_MAX: usize = 1 << 20;
/// So many of the entries that name an event are told, the latest.
const TOLD_MAX: usize = 16;

/// In an answer: nobody can answer, so what is known is that it was sent.
pub const UNANSWERED: &str = "unanswered";

/// What a peer has said, by name: `status`, `ack_id`, `key`.
pub type Answer = Vec<(&'static str, String)>;

/// Where receipts are kept, and how many.
#[derive(Debug, Clone)]
pub struct Keep {
    pub dir: PathBuf,
    /// Of each sink.
    pub bytes_max: u64,
    pub age_max: Duration,
}

impl Keep {
    fn paths(&self, sink: &str) -> [PathBuf; 2] {
        ["before", "log"].map(|ending| self.dir.join(format!("{sink}.{ending}")))
    }
}

/// The log of one sink, to be written.
#[derive(Debug)]
pub(super) struct Log {
    keep: Keep,
    sink: String,
    /// None: to be opened before the next entry.
    file: Option<File>,
    bytes: u64,
    /// When its first entry was written.
    since: Option<i64>,
    out: Vec<u8>,
    is_failing: bool,
}

impl Log {
    pub(super) fn new(keep: Keep, sink: &str) -> Log {
        Log { keep, sink: sink.to_owned(), file: None, bytes: 0, since: None, out: Vec::new(), is_failing: false }
    }

    /// Opens the log, and cuts off what a crash has torn. Reads the growing file.
    pub(super) fn open(&mut self) -> io::Result<()> {
        let [_, path] = self.keep.paths(&self.sink);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.keep.dir)?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        (self.bytes, self.since) = (MAGIC.len() as u64, None);
        let mut entries = Entries::of(BufReader::new(&file));
        if entries.is_ours {
            while let Some(entry) = entries.next() {
                self.since.get_or_insert(entry.confirmed.0);
                self.bytes = entries.end;
            }
        } else {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(MAGIC)?;
        }
        file.set_len(self.bytes)?;
        file.seek(SeekFrom::Start(self.bytes))?;
        self.file = Some(file);
        Ok(())
    }

    /// Adds entries; those of a log that cannot be written are gone.
    pub(super) fn append(&mut self, entries: impl Iterator<Item = Entry>, now: Time) {
        self.out.clear();
        for entry in entries.flat_map(Entry::pieces) {
            let start = self.out.len();
            self.out.extend_from_slice(&[0; HEAD_BYTES]);
            Entry { confirmed: now, ..entry }.write(&mut self.out);
            let body = self.out.split_at(start + HEAD_BYTES).1;
            let (len, crc) = (body.len(), crc32c::crc32c(body));
            self.out[start..start + 4].copy_from_slice(&(len as u32).to_le_bytes());
            self.out[start + 4..start + HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        }
        let written = self.write(now);
        match written {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                // Whatever is half there is cut off when it is opened again.
                self.file = None;
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(sink = self.sink, %error, "receipts cannot be written; delivery goes on without them");
                }
            }
        }
    }

    fn write(&mut self, now: Time) -> io::Result<()> {
        if self.file.is_none() {
            self.open()?;
        }
        let half = i64::try_from(self.keep.age_max.as_nanos() / 2).unwrap_or(i64::MAX);
        let is_old = self.since.is_some_and(|since| now.0.saturating_sub(since) > half);
        let is_full = self.bytes + self.out.len() as u64 > self.keep.bytes_max / 2;
        if self.since.is_some() && (is_old || is_full) {
            let [before, path] = self.keep.paths(&self.sink);
            fs::rename(path, before)?;
            self.open()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.out)?;
        }
        self.bytes += self.out.len() as u64;
        self.since.get_or_insert(now.0);
        Ok(())
    }
}

/// Entries of a file, until its end or what is none.
struct Entries<R> {
    file: R,
    is_ours: bool,
    /// Behind the last whole one.
    end: u64,
    body: Vec<u8>,
}

impl<R: Read> Entries<R> {
    fn of(mut file: R) -> Entries<R> {
        let mut magic = [0; MAGIC.len()];
        let is_ours = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
        Entries { file, is_ours, end: MAGIC.len() as u64, body: Vec::new() }
    }

    fn next(&mut self) -> Option<Entry> {
        let mut head = [0; HEAD_BYTES];
        self.file.read_exact(&mut head).ok().filter(|()| self.is_ours)?;
        let [len, crc] = [0, 4].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        let len = usize::try_from(len).ok().filter(|len| *len <= ENTRY_BYTES_MAX)?;
        self.body.resize(len, 0);
        self.file.read_exact(&mut self.body).ok()?;
        let entry = Some(&self.body).filter(|body| crc32c::crc32c(body) == crc).and_then(|body| Entry::read(body))?;
        self.end += (HEAD_BYTES + len) as u64;
        Some(entry)
    }
}

/// What a log says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub became: Became,
    /// When the peer answered.
    pub answered: Time,
    /// When it could no longer lose the event: indexed, or older than the resend window.
    pub confirmed: Time,
    /// What it answered, by name.
    pub answer: Vec<(String, String)>,
}

/// All that a log says of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipts {
    /// Oldest first: an event that came twice after a crash was taken twice.
    pub told: Vec<Told>,
    /// The first event of that incarnation that the log still knows.
    pub oldest: Option<Position>,
}

/// Looks an event up in the log of a sink; entries that are too old are not told.
///
/// # Errors
/// A file cannot be read.
pub fn find(keep: &Keep, sink: &str, of: (Incarnation, Position), now: Time) -> io::Result<Receipts> {
    let (incarnation, position) = of;
    let mut receipts = Receipts::default();
    let age_max = i64::try_from(keep.age_max.as_nanos()).unwrap_or(i64::MAX);
    for file in files(keep, sink, open)?.into_iter().flatten() {
        let mut entries = Entries::of(BufReader::new(file));
        while let Some(entry) = entries.next() {
            if entry.incarnation != incarnation || now.0.saturating_sub(entry.confirmed.0) > age_max {
                continue;
            }
            receipts.oldest = Some(receipts.oldest.map_or(entry.first, |oldest| oldest.min(entry.first)));
            let Some(became) = entry.became(position) else { continue };
            if receipts.told.len() == TOLD_MAX {
                receipts.told.remove(0);
            }
            let answer = if became == Became::Delivered { entry.answer } else { Vec::new() };
            receipts.told.push(Told { became, answered: entry.answered, confirmed: entry.confirmed, answer });
        }
    }
    Ok(receipts)
}

/// Both files of a log, the older one first. The growing one may become the older one meanwhile: it is opened first,
/// and counts once.
fn files(
    keep: &Keep,
    sink: &str,
    mut open: impl FnMut(&Path) -> io::Result<Option<File>>,
) -> io::Result<[Option<File>; 2]> {
    let [before, path] = keep.paths(sink);
    let (log, before) = (open(&path)?, open(&before)?);
    let inode = |file: &Option<File>| file.as_ref().map(|file| file.metadata().map(|data| data.ino())).transpose();
    let is_one = before.is_some() && inode(&before)? == inode(&log)?;
    Ok([before, log.filter(|_| !is_one)])
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests;
