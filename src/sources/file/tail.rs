//! One file that is followed: where reading stands, and how that is found again.
//!
//! A file is known by device and inode, so that it stays the same under a new name, by its first
//! bytes, because inodes are used again, and by those before the position, because many files begin
//! alike. Invariant: the stored position is that of the first line that was not handed on; a line is
//! handed on once.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::sources::lines::{Line, Lines};

/// So much of the beginning tells one file from another.
pub(super) const HEAD_BYTES: u64 = 1024;
/// So much before the position tells it from the same place in a file that begins alike.
pub(super) const NEAR_BYTES: u64 = 256;

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId(u64, u64);

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        FileId(metadata.dev(), metadata.ino())
    }

    /// The name under which the position is stored.
    pub(super) fn name(self) -> String {
        format!("{:x}.{:x}", self.0, self.1)
    }
}

/// Where reading stands, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    /// How many of the first bytes the hash covers.
    pub(super) head_bytes: u64,
    pub(super) hash: [u8; 16],
    /// Of the bytes before `offset`; none in positions that were stored without it.
    pub(super) near: Option<[u8; 16]>,
}

/// What one look at a file brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// So many bytes were read, and there may be more.
    More(usize),
    /// All there is was read; so many bytes just now.
    End(usize),
    /// The file was cut and begins anew; whether bytes that were there at the last look had not been read.
    Truncated { unread: bool },
}

#[derive(Debug)]
pub(super) struct Tail {
    pub(super) id: FileId,
    /// The name it had when it was last found.
    pub(super) path: PathBuf,
    /// Since when no pattern finds it, and nothing new came.
    pub(super) quiet_since: Option<Instant>,
    file: File,
    lines: Lines,
    line_bytes_max: usize,
    /// What is read next.
    offset: u64,
    /// The size at the last look.
    size: u64,
    head: (u64, [u8; 16]),
    /// Of the bytes before what was handed on.
    near: [u8; 16],
}

impl Tail {
    /// Goes on at the stored position if it is this file's. Answers the tail, and whether it is.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub(super) fn open(path: &Path, stored: Option<&[u8]>, line_bytes_max: usize) -> io::Result<(Tail, bool)> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut tail = Tail {
            id: FileId::of(&metadata),
            path: path.to_owned(),
            quiet_since: None,
            file,
            lines: Lines::new(line_bytes_max),
            line_bytes_max,
            offset: 0,
            size: metadata.len(),
            head: (0, [0; 16]),
            near: [0; 16],
        };
        let Some(position) = stored.and_then(Position::from_bytes) else { return Ok((tail, false)) };
        if position.offset > tail.size {
            return Ok((tail, false));
        }
        let near = tail.hash_before(position.offset)?;
        let is_ours = tail.hash(0, position.head_bytes.min(HEAD_BYTES))? == position.hash
            && position.near.is_none_or(|stored| stored == near);
        if is_ours {
            tail.offset = position.offset;
            tail.head = (position.head_bytes, position.hash);
            tail.near = near;
        }
        Ok((tail, is_ours))
    }

    /// Skips what is there; a line that is not complete yet will be read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn skip_to_end(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        let mut end = self.size;
        // Back to the last line end: the line after it is still being written.
        while end > 0 {
            let from = end.saturating_sub(piece.len() as u64);
            let piece = &mut piece[..(end - from) as usize];
            self.file.read_exact_at(piece, from)?;
            if let Some(at) = memchr::memrchr(b'\n', piece) {
                end = from + at as u64 + 1;
                break;
            }
            end = from;
            if self.size - end > self.line_bytes_max as u64 {
                end = self.size;
                break;
            }
        }
        self.offset = end;
        self.remember()
    }

    /// Reads once, at most as much as `buffer` holds, and gives the lines to `each` until that
    /// answers false. `buffer` must be longer than the longest line.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(&mut self, buffer: &mut [u8], mut each: impl FnMut(Line<'_>) -> bool) -> io::Result<Look> {
        let size = self.file.metadata()?.len();
        let has_more = size > self.offset;
        // A file can be cut and grow past the old end between two looks: its beginning tells, and what stands before
        // the place, where the beginning is always the same.
        if size < self.offset.max(self.size) || (size > self.size && !self.is_the_same()?) {
            return Ok(self.begin_anew(size));
        }
        self.size = size;
        if !has_more {
            return Ok(Look::End(0));
        }
        let length = self.file.read_at(buffer, self.offset)?;
        let mut stopped = false;
        let done = self.lines.cut(&buffer[..length], |line| {
            stopped = !each(line);
            !stopped
        });
        self.offset += done as u64;
        self.remember()?;
        if length < buffer.len() && !stopped { Ok(Look::End(done)) } else { Ok(Look::More(done)) }
    }

    fn is_the_same(&self) -> io::Result<bool> {
        Ok(self.hash(0, self.head.0)? == self.head.1 && self.hash_before(self.done())? == self.near)
    }

    /// The file will not grow any more: what has no line end is its last line.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn finish(&mut self, buffer: &mut [u8], each: impl FnMut(Line<'_>) -> bool) -> io::Result<()> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.lines.finish(&buffer[..length], each);
        self.offset += length as u64;
        Ok(())
    }

    /// What is to be stored: offset, length of the hashed head, its hash, that of the bytes before; 42 bytes.
    pub(super) fn position(&self) -> Vec<u8> {
        let (head_bytes, hash) = self.head;
        Position { offset: self.done(), head_bytes, hash, near: Some(self.near) }.to_bytes()
    }

    /// Everything before was handed on.
    fn done(&self) -> u64 {
        self.offset - self.lines.passed()
    }

    fn begin_anew(&mut self, size: u64) -> Look {
        let unread = self.size > self.done();
        self.lines = Lines::new(self.line_bytes_max);
        (self.offset, self.size, self.head, self.near) = (0, size, (0, [0; 16]), [0; 16]);
        Look::Truncated { unread }
    }

    /// What the file is known by, when reading has got further.
    fn remember(&mut self) -> io::Result<()> {
        let done = self.done();
        if self.head.0 < HEAD_BYTES {
            let head_bytes = done.min(HEAD_BYTES);
            self.head = (head_bytes, self.hash(0, head_bytes)?);
        }
        self.near = self.hash_before(done)?;
        Ok(())
    }

    fn hash_before(&self, offset: u64) -> io::Result<[u8; 16]> {
        let bytes = offset.min(NEAR_BYTES);
        self.hash(offset - bytes, bytes)
    }

    /// Of so many bytes, at most [`HEAD_BYTES`]; zeros for none, and for a file that is shorter.
    fn hash(&self, from: u64, bytes: u64) -> io::Result<[u8; 16]> {
        let mut piece = [0; HEAD_BYTES as usize];
        let piece = &mut piece[..bytes.min(HEAD_BYTES) as usize];
        match self.file.read_exact_at(piece, from) {
            Ok(()) => Ok(hash(piece)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok([0; 16]),
            Err(error) => Err(error),
        }
    }
}

/// Half of SHA-256; zeros for no bytes.
pub(super) fn hash(bytes: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    if !bytes.is_empty() {
        hash.copy_from_slice(&Sha256::digest(bytes)[..16]);
    }
    hash
}

impl Position {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.offset.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(self.head_bytes as u16).to_le_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend(self.near.iter().flatten());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Position> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let (head_bytes, rest) = rest.split_first_chunk()?;
        let (hash, near) = rest.split_first_chunk()?;
        Some(Position {
            offset: u64::from_le_bytes(*offset),
            head_bytes: u16::from_le_bytes(*head_bytes).into(),
            hash: *hash,
            near: if near.is_empty() { None } else { Some(near.try_into().ok()?) },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    const LINE_BYTES_MAX: usize = 100;

    fn read(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut buffer = [0; LINE_BYTES_MAX + 1];
            let look = tail.read(&mut buffer, |line| {
                lines.push(match line {
                    Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                    Line::Oversize(head, total) => format!("{total} bytes of {}", char::from(head[0])),
                });
                lines.len() % 3 != 0
            });
            match look.unwrap() {
                Look::More(_) => {}
                Look::End(_) => return lines,
                Look::Truncated { unread } => lines.push(format!("truncated, unread {unread}")),
            }
        }
    }

    fn append(path: &Path, text: &str) {
        File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn open(path: &Path, stored: Option<&[u8]>) -> Tail {
        Tail::open(path, stored, LINE_BYTES_MAX).unwrap().0
    }

    #[test]
    fn a_line_is_read_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "one\ntw");
        let mut tail = open(&path, None);
        assert_eq!(read(&mut tail), ["one"]);
        append(&path, "o\nthree\n");
        assert_eq!(read(&mut tail), ["two", "three"]);
        assert_eq!(read(&mut tail), [""; 0]);
        // Renamed: the open file is still the same one.
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        append(&folder.path().join("log.1"), "four\nrest");
        assert_eq!(read(&mut tail), ["four"]);
        let mut last = Vec::new();
        tail.finish(&mut [0; 200], |line| {
            last.push(format!("{line:?}"));
            true
        })
        .unwrap();
        assert_eq!(last, [format!("{:?}", Line::Whole(b"rest"))]);
    }

    #[test]
    fn a_stored_position_is_found_again_at_every_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut stored: Option<Vec<u8>> = None;
        for number in 0..200 {
            append(&path, &format!("line {number}\nhal"));
            append(&path, &format!("f {number}\n"));
            let mut tail = open(&path, stored.as_deref());
            assert_eq!(read(&mut tail), [format!("line {number}"), format!("half {number}")]);
            stored = Some(tail.position());
            assert_eq!(stored.as_ref().unwrap().len(), 42);
        }
    }

    #[test]
    fn another_file_with_the_same_inode_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "one\n");
        let mut tail = open(&path, None);
        read(&mut tail);
        let stored = tail.position();
        std::fs::write(&path, "two and more\n").unwrap();
        let (mut tail, is_ours) = Tail::open(&path, Some(&stored), LINE_BYTES_MAX).unwrap();
        assert!(!is_ours);
        assert_eq!(read(&mut tail), ["two and more"]);
        assert!(!Tail::open(&path, Some(b"garbage"), LINE_BYTES_MAX).unwrap().1);
    }

    #[test]
    fn a_file_that_begins_like_the_one_before_it_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let banner = "the same banner\n".repeat(100);
        append(&path, &format!("{banner}one\n"));
        let mut tail = open(&path, None);
        assert_eq!(read(&mut tail).len(), 101);
        let stored = tail.position();
        // As positions were stored before.
        assert!(Tail::open(&path, Some(&stored[..26]), LINE_BYTES_MAX).unwrap().1);
        std::fs::write(&path, format!("{banner}two and more\n")).unwrap();
        let (mut tail, is_ours) = Tail::open(&path, Some(&stored), LINE_BYTES_MAX).unwrap();
        assert!(!is_ours);
        assert_eq!(read(&mut tail).last().unwrap(), "two and more");
        // The same between two looks: cut, and grown past the place.
        std::fs::write(&path, format!("{banner}three\nand longer than the one before\n")).unwrap();
        let lines = read(&mut tail);
        assert_eq!((lines.len(), &*lines[0], &*lines[101]), (103, "truncated, unread false", "three"));
    }

    #[test]
    fn truncation_is_seen_even_when_the_file_has_grown_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "one\n");
        let mut tail = open(&path, None);
        assert_eq!(read(&mut tail), ["one"]);
        std::fs::write(&path, "").unwrap();
        assert_eq!(read(&mut tail), ["truncated, unread false"]);
        append(&path, "two\nbegun");
        assert_eq!(read(&mut tail), ["two"]);
        std::fs::write(&path, "a longer line than before\n").unwrap();
        assert_eq!(read(&mut tail), ["truncated, unread true", "a longer line than before"]);
    }

    #[test]
    fn a_line_over_the_limit_is_one_event_even_across_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, &"x".repeat(250));
        let mut tail = open(&path, None);
        assert_eq!(read(&mut tail), [""; 0]);
        let mut again = open(&path, Some(&tail.position()));
        append(&path, &format!("{}\nnext\n", "x".repeat(50)));
        assert_eq!(read(&mut tail), ["300 bytes of x", "next"]);
        assert_eq!(read(&mut again), ["300 bytes of x", "next"]);
    }

    #[test]
    fn the_end_is_after_the_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "one\ntwo\nthr");
        let mut tail = open(&path, None);
        tail.skip_to_end().unwrap();
        append(&path, "ee\n");
        assert_eq!(read(&mut tail), ["three"]);
    }
}
