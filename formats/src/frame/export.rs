//! Entries of the systemd journal in its export form: fields one after the other, and a blank line.

use std::ops::Range;

use super::FrameError;
use super::stream::{Scanner, Stream, pass};

/// Cuts the output of `journalctl -o export`.
pub type ExportFramer = Stream<Entry>;

/// Where in an entry the bytes stand.
#[derive(Debug, Clone)]
pub struct Entry(State);

#[derive(Debug, Clone)]
enum State {
    /// In a line, of which nothing may have been seen, and maybe no `=`.
    Line { empty: bool, equals: bool },
    /// In the length of a field that is no line.
    Length { digits: u8, len: u64 },
    /// In such a field and the line end behind it.
    Data { left: u64 },
}

const LINE: State = State::Line { empty: true, equals: false };

impl Default for Entry {
    fn default() -> Self {
        Entry(LINE)
    }
}

impl Scanner for Entry {
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let mut rest = bytes;
        loop {
            match &mut self.0 {
                State::Line { empty, equals } => {
                    let end = memchr::memchr(b'\n', rest);
                    let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                    *empty &= line.is_empty();
                    *equals |= memchr::memchr(b'=', line).is_some();
                    let Some(end) = end else { return Ok(None) };
                    rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
                    if *empty {
                        return Ok(Some(bytes.len().saturating_sub(rest.len())));
                    }
                    self.0 = if *equals { LINE } else { State::Length { digits: 0, len: 0 } };
                }
                State::Length { digits: 8, len } => self.0 = State::Data { left: len.saturating_add(1) },
                State::Length { digits, len } => {
                    let Some((byte, after)) = rest.split_first() else { return Ok(None) };
                    *len |= u64::from(*byte).wrapping_shl(u32::from(*digits).wrapping_mul(8));
                    *digits = digits.saturating_add(1);
                    rest = after;
                }
                State::Data { left } => {
                    rest = pass(rest, left);
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.0 = LINE;
                }
            }
        }
    }

    /// Without the blank line.
    fn frame(len: usize) -> Range<usize> {
        0..len.saturating_sub(1)
    }

    fn separators(bytes: &[u8]) -> usize {
        bytes.iter().take_while(|byte| **byte == b'\n').count()
    }
}
