//! Files and stdin as lines, or as records of a stream: gzip and zstd are opened by their first bytes.
//!
//! Invariant: memory is bounded by the block and the longest line allowed, whatever a compressed
//! file grows to and wherever its line ends are.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wharfinger_formats::frame::{Frame, FrameError, Scanner, Stream};

/// Bytes asked for at once.
const BLOCK: usize = 256 * 1024;

/// So much of a line that is too long is kept for people to look at.
const HEAD: usize = 1024;

/// One file, or stdin.
pub(super) struct Input {
    /// As users named it.
    pub name: String,
    reader: Box<dyn Read>,
    /// Bytes read so far, as they are stored.
    pub bytes_read: Arc<AtomicU64>,
}

impl Input {
    /// Opens a file; `-` is stdin.
    ///
    /// # Errors
    /// It cannot be opened or its first bytes cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Input> {
        if path == Path::new("-") {
            return Input::of("stdin".to_owned(), Box::new(io::stdin().lock()));
        }
        Input::of(path.display().to_string(), Box::new(File::open(path)?))
    }

    fn of(name: String, inner: Box<dyn Read>) -> io::Result<Input> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut file = Counted { inner, bytes: Arc::clone(&bytes_read) };
        let mut first = Vec::with_capacity(4);
        file.by_ref().take(4).read_to_end(&mut first)?;
        let gzip = first.starts_with(&[0x1f, 0x8b]);
        let zstd = first == [0x28, 0xb5, 0x2f, 0xfd];
        let whole = Cursor::new(first).chain(file);
        let reader: Box<dyn Read> = if gzip {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(BLOCK, whole)))
        } else if zstd {
            Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BLOCK, whole))?)
        } else {
            Box::new(whole)
        };
        Ok(Input { name, reader, bytes_read })
    }
}

/// Counts what is read, for the progress bar.
struct Counted {
    inner: Box<dyn Read>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What stands between two line ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'b> {
    Whole(&'b [u8]),
    /// A line over the limit: its beginning, and how long it was.
    TooLong {
        head: &'b [u8],
        bytes: u64,
    },
}

/// Cuts blocks into lines. Call [`Lines::fill`], then [`Lines::next`] until it has no more.
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// The bytes not yet handed out.
    start: usize,
    end: usize,
    /// Up to here no line end was found.
    scanned: usize,
    line_max: usize,
    /// In a line that is too long: its beginning and the bytes passed over so far.
    skipping: Option<(Vec<u8>, u64)>,
    /// What `skipping` was when the line ended, so that it can be lent out.
    skipped: Vec<u8>,
    at_end: bool,
}

impl Lines {
    pub(super) fn new(line_max: usize) -> Self {
        let buffer = vec![0; BLOCK.saturating_add(line_max)];
        Lines { buffer, start: 0, end: 0, scanned: 0, line_max, skipping: None, skipped: Vec::new(), at_end: false }
    }

    /// Reads once. False: the input has ended, and what [`Lines::next`] still has is its last line.
    ///
    /// # Errors
    /// Reading or decompressing fails.
    pub(super) fn fill(&mut self, input: &mut Input) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.scanned -= self.start;
        self.end -= self.start;
        self.start = 0;
        let count = loop {
            match input.reader.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        self.end += count;
        self.at_end = count == 0;
        Ok(!self.at_end)
    }

    /// The longest line allowed, in bytes.
    pub(super) fn line_max(&self) -> usize {
        self.line_max
    }

    /// What was read and not yet handed out.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Hands over all whole records of a stream that is not cut at line ends, and at its end what is left.
    ///
    /// # Errors
    /// The stream cannot be cut any further.
    pub(super) fn framed<S: Scanner>(
        &mut self,
        framer: &mut Stream<S>,
        deliver: &mut impl FnMut(Line<'_>),
    ) -> io::Result<()> {
        let malformed = |error: FrameError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        let mut is_over = false;
        loop {
            let input = &self.buffer[self.start..self.end];
            let frame = if is_over { framer.finish(input) } else { framer.next(input) };
            let used = match frame {
                Frame::Complete { start, end, used } | Frame::Truncated { start, end, used } => {
                    deliver(Line::Whole(&input[start..end]));
                    used
                }
                Frame::TooLong { used, bytes_total } => {
                    deliver(Line::TooLong { head: framer.head(), bytes: bytes_total });
                    used
                }
                Frame::NeedMore { used } => {
                    self.start += used;
                    self.scanned = self.start;
                    if is_over || !self.at_end {
                        return Ok(());
                    }
                    is_over = true;
                    continue;
                }
                Frame::Malformed(error) => return Err(malformed(error)),
            };
            self.start += used;
            self.scanned = self.start;
            if is_over {
                return Ok(());
            }
        }
    }

    /// The next line without its end (`\n` or `\r\n`).
    pub(super) fn next(&mut self) -> Option<Line<'_>> {
        let from = self.start;
        let to = match memchr::memchr(b'\n', &self.buffer[self.scanned..self.end]) {
            Some(at) => {
                let to = self.scanned + at;
                (self.start, self.scanned) = (to + 1, to + 1);
                to
            }
            None if self.at_end && (self.start < self.end || self.skipping.is_some()) => {
                (self.start, self.scanned) = (self.end, self.end);
                self.end
            }
            None => {
                self.scanned = self.end;
                self.pass_over();
                return None;
            }
        };
        if let Some((head, bytes)) = self.skipping.take() {
            self.skipped = head;
            return Some(Line::TooLong { head: &self.skipped, bytes: bytes + (to - from) as u64 });
        }
        let line = &self.buffer[from..to];
        if line.len() > self.line_max {
            return Some(Line::TooLong { head: &line[..line.len().min(HEAD)], bytes: line.len() as u64 });
        }
        if planted!("decompress") {
            return Some(Line::Whole(line.trim_ascii_end()));
        }
        Some(Line::Whole(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Forgets the beginning of a line that is already too long.
    fn pass_over(&mut self) {
        let rest = &self.buffer[self.start..self.end];
        if let Some((_, bytes)) = &mut self.skipping {
            *bytes += rest.len() as u64;
        } else if rest.len() > self.line_max {
            self.skipping = Some((rest[..rest.len().min(HEAD)].to_vec(), rest.len() as u64));
        } else {
            return;
        }
        (self.start, self.end, self.scanned) = (0, 0, 0);
    }
}

/// For fuzzing: the lines of a file with these bytes, and how long each was before it was cut.
///
/// # Errors
/// It is not what its first bytes promise.
#[cfg(fuzzing)]
pub fn lines_of(bytes: Vec<u8>, line_max: usize) -> io::Result<Vec<(Vec<u8>, u64)>> {
    let mut input = Input::of(String::new(), Box::new(Cursor::new(bytes)))?;
    let (mut lines, mut found) = (Lines::new(line_max), Vec::new());
    loop {
        let more = lines.fill(&mut input)?;
        while let Some(line) = lines.next() {
            found.push(match line {
                Line::Whole(line) => (line.to_vec(), line.len() as u64),
                Line::TooLong { head, bytes } => (head.to_vec(), bytes),
            });
        }
        if !more {
            return Ok(found);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Gives at most `step` bytes at a time.
    struct Steps(Cursor<Vec<u8>>, usize);

    impl Read for Steps {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    fn lines(text: &[u8], step: usize, line_max: usize) -> Vec<String> {
        let reader = Box::new(Steps(Cursor::new(text.to_vec()), step));
        let mut input = Input { name: String::new(), reader, bytes_read: Arc::default() };
        let (mut lines, mut found) = (Lines::new(line_max), Vec::new());
        loop {
            let more = lines.fill(&mut input).unwrap();
            while let Some(line) = lines.next() {
                found.push(match line {
                    Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                    Line::TooLong { head, bytes } => format!("#{bytes} {}", String::from_utf8_lossy(head)),
                });
            }
            if !more {
                return found;
            }
        }
    }

    #[test]
    fn any_cut_gives_the_same_lines() {
        let text = b"one\r\ntwo\n\n123456789\n12345678\nlast";
        for step in 1..text.len() {
            assert_eq!(lines(text, step, 8), ["one", "two", "", "#9 123456789", "12345678", "last"], "step {step}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_its_head() {
        let text = vec![b'x'; 3 * BLOCK];
        let expected = format!("#{} {}", 3 * BLOCK, "x".repeat(HEAD));
        assert_eq!(lines(&text, BLOCK, 1000), [expected.as_str()]);
        let two = [&text[..], b"\nshort\n"].concat();
        assert_eq!(lines(&two, 1000, 1000), [expected.as_str(), "short"]);
        assert_eq!(lines(b"", 1, 10), Vec::<String>::new());
    }
}
