//! The file being written: appended to, set aside when it is large.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::sinks::compress::Compression;

/// Where requests go. Blocks.
#[derive(Debug)]
pub(super) struct Output {
    bytes_max: Option<u64>,
    sync: bool,
    compression: Compression,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Output {
    pub(super) fn new(bytes_max: Option<u64>, sync: bool, compression: Compression) -> Output {
        Output { bytes_max, sync, compression, open: None }
    }

    /// Appends the lines of a request to the file at `path`.
    pub(super) fn append(&mut self, path: &Path, lines: &[u8]) -> io::Result<()> {
        let packed;
        let bytes = match self.compression {
            Compression::None => lines,
            compression => {
                packed = compression.compress(lines)?;
                &packed
            }
        };
        let (mut open, _lock) = self.locked(path, bytes.len() as u64)?;
        let written = open.file.write_all(bytes).and_then(|()| if self.sync { open.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // Half a request (a full disk) is taken back: it comes again whole.
            open.file.set_len(open.bytes)?;
            return Err(error);
        }
        open.bytes += bytes.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// The file at `path`, with room for so many bytes. Until the lock is let go nobody else of ours writes to
    /// it, cuts it or renames it: a replay may have the same file as the gateway.
    fn locked(&mut self, path: &Path, more: u64) -> io::Result<(Open, Lock)> {
        loop {
            let (mut open, is_new) = match self.open.take().filter(|open| open.path == path) {
                Some(open) => (open, false),
                None => (self.open(path)?, true),
            };
            let lock = Lock::of(&open.file)?;
            if !still_there(&open) {
                continue;
            }
            let bytes = open.file.metadata()?.len();
            // What follows a torn gzip member or zstd frame could not be read: such a file is left alone.
            let is_others = is_new && self.compression != Compression::None;
            let is_full = self.bytes_max.is_some_and(|max| bytes + more > max);
            if bytes > 0 && (is_others || is_full) {
                set_aside(path)?;
                continue;
            }
            if self.compression == Compression::None && bytes > 0 && (is_new || bytes != open.bytes) {
                end_line(&mut open.file)?;
            }
            open.bytes = open.file.metadata()?.len();
            return Ok((open, lock));
        }
    }

    fn open(&self, path: &Path) -> io::Result<Open> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
        if self.sync {
            File::open(folder)?.sync_all()?;
        }
        Ok(Open { path: path.to_owned(), file, bytes: 0 })
    }
}

/// A line that a crash has torn keeps to itself.
fn end_line(file: &mut File) -> io::Result<()> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// A lock on a file, for as long as this lives.
struct Lock(File);

impl Lock {
    /// Waits for it. A file system without locks has none to wait for.
    fn of(file: &File) -> io::Result<Lock> {
        let file = file.try_clone()?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                _ => return Ok(Lock(file)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Whether the path still names the open file: others rotate too.
fn still_there(open: &Open) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(named), Ok(held)) = (std::fs::metadata(&open.path), open.file.metadata()) else { return false };
    (named.dev(), named.ino()) == (held.dev(), held.ino())
}

/// Renames the file to the next free number: never over another.
fn set_aside(path: &Path) -> io::Result<()> {
    let numbered = |number: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    // Doubling, then halving: a folder of a thousand files is not asked a thousand times.
    let mut taken = 0;
    let mut free = 1;
    while numbered(free).exists() {
        taken = free;
        free *= 2;
    }
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if numbered(middle).exists() {
            taken = middle;
        } else {
            free = middle;
        }
    }
    std::fs::rename(path, numbered(free))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rotates_by_size_without_deleting_anything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log");
        let mut output = Output::new(Some(8), true, Compression::None);
        for line in ["a1\na2\n", "b1\n", "c1\n", "a very long line\n", "d\n"] {
            output.append(&path, line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("events.log.1"), "a1\na2\n");
        assert_eq!(read("events.log.2"), "b1\nc1\n");
        assert_eq!(read("events.log.3"), "a very long line\n");
        assert_eq!(read("events.log"), "d\n");
    }

    #[test]
    fn a_torn_line_keeps_to_itself_and_a_renamed_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log");
        std::fs::write(&path, "whole\nto").unwrap();
        let mut output = Output::new(None, false, Compression::None);
        output.append(&path, b"a\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nto\na\n");
        std::fs::rename(&path, dir.path().join("moved.log")).unwrap();
        output.append(&path, b"b\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b\n");
    }

    #[test]
    fn two_that_write_the_same_file_lose_nothing() {
        for (bytes_max, compression) in
            [(None, Compression::None), (Some(900), Compression::None), (None, Compression::Zstd)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("events.log");
            std::thread::scope(|scope| {
                for name in ["a", "b"] {
                    let path = &path;
                    scope.spawn(move || {
                        let mut output = Output::new(bytes_max, false, compression);
                        (0..100)
                            .for_each(|number| output.append(path, format!("{name}{number}\n").as_bytes()).unwrap());
                    });
                }
            });
            let mut lines = Vec::new();
            for entry in std::fs::read_dir(dir.path()).unwrap() {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                let text = if compression == Compression::None { bytes } else { zstd::decode_all(&bytes[..]).unwrap() };
                lines.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
            }
            lines.sort();
            lines.dedup();
            assert_eq!(lines.len(), 200);
        }
    }

    #[test]
    fn what_another_has_appended_is_not_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log");
        let mut output = Output::new(None, false, Compression::None);
        output.append(&path, b"a\n").unwrap();
        Output::new(None, false, Compression::None).append(&path, b"b\n").unwrap();
        let (open, _lock) = output.locked(&path, 0).unwrap();
        assert_eq!(open.bytes, 4, "a request that fails now is cut at the end of what the other wrote");
    }

    #[test]
    fn a_compressed_file_is_never_continued_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log.zst");
        for _ in 0..2 {
            let mut output = Output::new(None, false, Compression::Zstd);
            output.append(&path, b"a\n").unwrap();
            output.append(&path, b"b\n").unwrap();
        }
        for name in ["events.log.zst", "events.log.zst.1"] {
            let packed = std::fs::read(dir.path().join(name)).unwrap();
            assert_eq!(zstd::decode_all(&packed[..]).unwrap(), b"a\nb\n");
        }
    }
}
