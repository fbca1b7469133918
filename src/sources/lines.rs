//! Cuts a stream of bytes at line feeds, or at another byte.
//!
//! Stands between reading and intake for sources without a framing of their own. Invariant: no
//! more than the head of a line over the limit is kept, and its length is known in the end.

use memchr::memchr;

use super::weight::Weight;
use crate::intake::{Frames, Intake};

/// What is kept of a line over the limit.
pub(super) const HEAD_BYTES: usize = 1024;

/// One line without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    /// Its first bytes, and how many it had.
    Oversize(&'a [u8], u64),
}

impl Line<'_> {
    /// Hands the line to intake. Answers whether the batch has room for more.
    pub(super) fn take(&self, intake: &Intake, frames: &mut Frames, weight: &mut Weight) -> bool {
        match self {
            Line::Whole(line) => {
                intake.take(frames, line);
                weight.add(line.len());
            }
            Line::Oversize(head, bytes_total) => {
                intake.take_oversize(frames, head, *bytes_total);
                weight.add(head.len());
            }
        }
        !weight.is_full()
    }
}

/// The state between two pieces of a stream.
#[derive(Debug)]
pub(super) struct Lines {
    line_bytes_max: usize,
    end: u8,
    /// The head of the line that is being passed over.
    head: Vec<u8>,
    /// Its bytes so far; 0 when no line is being passed over.
    passed: u64,
}

impl Lines {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Lines::ending_with(b'\n', line_bytes_max)
    }

    /// For lines that end with this byte alone.
    pub(super) fn ending_with(end: u8, line_bytes_max: usize) -> Self {
        Lines { line_bytes_max, end, head: Vec::new(), passed: 0 }
    }

    /// Bytes consumed of a line that `each` has not seen yet.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Gives each line to `each`, without its LF or CRLF, until that answers false; empty ones are
    /// skipped. Answers how many bytes are done with: the caller brings the rest again, with more
    /// behind it unless `each` has answered false.
    pub(super) fn cut(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>) -> bool) -> usize {
        let mut rest = bytes;
        while let Some(end) = memchr(self.end, rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if !self.end_of_line(line, &mut each) {
                return bytes.len() - rest.len();
            }
        }
        if self.passed > 0 || rest.len() > self.line_bytes_max {
            self.pass(rest);
            rest = &[];
        }
        bytes.len() - rest.len()
    }

    /// The stream has ended: the rest is the last line.
    pub(super) fn finish(&mut self, rest: &[u8], mut each: impl FnMut(Line<'_>) -> bool) {
        self.end_of_line(rest, &mut each);
    }

    fn end_of_line(&mut self, line: &[u8], each: &mut impl FnMut(Line<'_>) -> bool) -> bool {
        if self.passed > 0 || line.len() > self.line_bytes_max {
            self.pass(line);
            let more = each(Line::Oversize(&self.head, self.passed));
            self.head = Vec::new();
            self.passed = 0;
            return more;
        }
        let line = if self.end == b'\n' { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        line.is_empty() || each(Line::Whole(line))
    }

    fn pass(&mut self, bytes: &[u8]) {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        self.passed += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_in_pieces(bytes: &[u8], piece: usize) -> Vec<(Vec<u8>, u64)> {
        let mut lines = Lines::new(10);
        let mut found = Vec::new();
        let mut each = |line: Line<'_>| {
            found.push(match line {
                Line::Whole(line) => (line.to_vec(), 0),
                Line::Oversize(head, total) => (head.to_vec(), total),
            });
            // A batch that is full after every second line.
            found.len() % 2 == 1
        };
        let mut held = Vec::new();
        for piece in bytes.chunks(piece) {
            held.extend_from_slice(piece);
            loop {
                let done = lines.cut(&held, &mut each);
                held.drain(..done);
                if done == 0 {
                    break;
                }
            }
            assert!(held.len() <= 10);
        }
        lines.finish(&held, &mut each);
        found
    }

    #[test]
    fn any_cut_gives_the_same_lines() {
        let long = [b'x'; 3000];
        let mut bytes = b"one\r\n\n\ntwo\n1234567890\n".to_vec();
        bytes.extend_from_slice(&long);
        bytes.extend_from_slice(b"\nthree\nno end");
        let expected = vec![
            (b"one".to_vec(), 0),
            (b"two".to_vec(), 0),
            (b"1234567890".to_vec(), 0),
            (long[..HEAD_BYTES].to_vec(), 3000),
            (b"three".to_vec(), 0),
            (b"no end".to_vec(), 0),
        ];
        for piece in [1, 2, 3, 7, 11, 1000, 10_000] {
            assert_eq!(cut_in_pieces(&bytes, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn another_byte_ends_lines() {
        let mut lines = Lines::ending_with(0, 10);
        let mut found = Vec::new();
        let done = lines.cut(b"{\n}\r\0\0x\0rest", |line| {
            found.push(format!("{line:?}"));
            true
        });
        assert_eq!(
            (done, found),
            (8, vec![format!("{:?}", Line::Whole(b"{\n}\r")), format!("{:?}", Line::Whole(b"x"))])
        );
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut lines = Lines::new(100);
        for _ in 0..1000 {
            assert_eq!(lines.cut(&[b'A'; 4096], |_| panic!("no line has ended")), 4096);
        }
        assert_eq!((lines.passed(), lines.head.len()), (4_096_000, HEAD_BYTES));
    }
}
