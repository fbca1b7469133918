//! The file being written: appended to, set aside when it is large.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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
        let mut open = match self.open.take().filter(|open| open.path == path && still_there(open)) {
            Some(open) => open,
            None => self.open(path)?,
        };
        if self.bytes_max.is_some_and(|max| open.bytes > 0 && open.bytes + bytes.len() as u64 > max) {
            set_aside(path)?;
            open = self.open(path)?;
        }
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

    fn open(&self, path: &Path) -> io::Result<Open> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        // What follows a torn gzip member or zstd frame could not be read: such a file is left alone.
        if self.compression != Compression::None && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
            set_aside(path)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
        let mut bytes = file.metadata()?.len();
        if self.compression == Compression::None && bytes > 0 {
            // A line that a crash has torn keeps to itself.
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        if self.sync {
            File::open(folder)?.sync_all()?;
        }
        Ok(Open { path: path.to_owned(), file, bytes })
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
