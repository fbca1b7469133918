//! What is left of a file that is no longer where it was: compressed, or copied and cut, before it was read to its
//! end.
//!
//! Way of a line here: as in `tail`, from a file that will not grow. A file is known by the hash of its first
//! bytes, which its copies have too. Invariant: only what stands behind the stored position is handed on.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::tail::{FileId, HEAD_BYTES, Position};
use crate::sources::lines::{Line, Lines};

/// Files of one search that may be copies.
const CANDIDATES_MAX: usize = 10_000;
/// With fewer bytes in common one file is not told from another.
const HEAD_BYTES_MIN: u64 = 16;
/// So much is passed over in one look: other files are waiting.
const SKIP_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// See above.
pub(super) struct Rest {
    /// The name under which the position is stored.
    pub(super) name: String,
    pub(super) path: PathBuf,
    reader: Box<dyn Read + Send>,
    lines: Lines,
    /// Read, and not handed on.
    held: Vec<u8>,
    position: Position,
    skip: u64,
    has_ended: bool,
}

/// Files that may be copies, and how they begin.
pub(super) struct Candidates(Vec<(PathBuf, Vec<u8>)>);

impl Candidates {
    /// All files of these folders but those that are followed.
    pub(super) fn of<'f>(folders: impl IntoIterator<Item = &'f PathBuf>, followed: &HashSet<FileId>) -> Candidates {
        let entries = folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
        let files = entries.filter(|entry| {
            entry.metadata().is_ok_and(|metadata| metadata.is_file() && !followed.contains(&FileId::of(&metadata)))
        });
        let begin = |path: PathBuf| {
            let mut head = Vec::new();
            open(&path).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
            Some((path, head))
        };
        Candidates(files.take(CANDIDATES_MAX).filter_map(|entry| begin(entry.path())).collect())
    }

    /// The one that a position is of.
    fn find(&self, position: &Position) -> Option<&Path> {
        let length = usize::try_from(position.head_bytes).ok().filter(|_| position.head_bytes >= HEAD_BYTES_MIN)?;
        let is_copy = |head: &[u8]| head.get(..length).is_some_and(|head| Sha256::digest(head)[..16] == position.hash);
        self.0.iter().find(|(_, head)| is_copy(head)).map(|(path, _)| path.as_path())
    }
}

/// What stands in a file, inflated if it is compressed.
fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Ok(Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file)))),
        Some("zst") => Ok(Box::new(zstd::stream::read::Decoder::new(file)?)),
        _ => Ok(Box::new(file)),
    }
}

impl Rest {
    /// The file that has what a stored position is of. None: there is none.
    pub(super) fn find(name: &str, stored: &[u8], candidates: &Candidates, line_bytes_max: usize) -> Option<Rest> {
        let position = Position::from_bytes(stored)?;
        let path = candidates.find(&position)?;
        Some(Rest {
            name: name.to_owned(),
            path: path.to_owned(),
            reader: open(path).ok()?,
            lines: Lines::new(line_bytes_max),
            held: Vec::new(),
            position,
            skip: position.offset,
            has_ended: false,
        })
    }

    /// Reads once and gives the lines to `each` until that answers false. Answers whether there is more.
    ///
    /// # Errors
    /// The file cannot be read; what was compressed is damaged.
    pub(super) fn read(&mut self, buffer: &mut [u8], mut each: impl FnMut(Line<'_>) -> bool) -> io::Result<bool> {
        let mut left = SKIP_BYTES_MAX;
        while self.skip > 0 {
            if left == 0 {
                return Ok(true);
            }
            let wanted = self.skip.min(left).min(buffer.len() as u64) as usize;
            let read = self.reader.read(&mut buffer[..wanted])?;
            // It is shorter than what was read of it.
            if read == 0 {
                return Ok(false);
            }
            self.skip -= read as u64;
            left -= read as u64;
        }
        if !self.has_ended && self.held.len() < buffer.len() {
            let wanted = buffer.len() - self.held.len();
            let read = self.reader.read(&mut buffer[..wanted])?;
            self.has_ended = read == 0;
            self.held.extend_from_slice(&buffer[..read]);
        }
        let mut stopped = false;
        let done = self.lines.cut(&self.held, |line| {
            stopped = !each(line);
            !stopped
        });
        self.held.drain(..done);
        self.position.offset += done as u64;
        if stopped || !self.has_ended {
            return Ok(true);
        }
        self.lines.finish(&self.held, each);
        Ok(false)
    }

    /// What is to be stored.
    pub(super) fn position(&self) -> Vec<u8> {
        let offset = self.position.offset - self.lines.passed();
        Position { offset, ..self.position }.to_bytes()
    }
}
