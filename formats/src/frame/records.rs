//! Records with their length before them: the files of Docker's `local` log driver, and what the
//! engine writes to log plugins.

use std::ops::Range;

use super::FrameError;
use super::stream::{Scanner, Stream, pass};

/// Cuts a file of the `local` log driver: length in 4 bytes, big-endian, record, the length again.
pub type LocalFramer = Stream<Lengths<true>>;

/// Cuts what the engine writes to a log plugin: length and record.
pub type PluginFramer = Stream<Lengths<false>>;

/// Where in such a record the bytes stand.
#[derive(Debug, Clone, Default)]
pub struct Lengths<const AGAIN: bool> {
    /// Of the first length, how many bytes were seen.
    digits: u8,
    len: u32,
    left: u64,
    /// The second length, which must be the first.
    digits_again: u8,
    again: u32,
}

/// Bytes of a length.
const LENGTH: u8 = 4;

impl<const AGAIN: bool> Scanner for Lengths<AGAIN> {
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let mut rest = bytes;
        while self.digits < LENGTH {
            let Some((byte, after)) = rest.split_first() else { return Ok(None) };
            self.len = self.len.wrapping_shl(8) | u32::from(*byte);
            self.digits = self.digits.saturating_add(1);
            self.left = u64::from(self.len);
            rest = after;
        }
        rest = pass(rest, &mut self.left);
        if self.left > 0 {
            return Ok(None);
        }
        while AGAIN && self.digits_again < LENGTH {
            let Some((byte, after)) = rest.split_first() else { return Ok(None) };
            self.again = self.again.wrapping_shl(8) | u32::from(*byte);
            self.digits_again = self.digits_again.saturating_add(1);
            rest = after;
        }
        if AGAIN && self.again != self.len {
            return Err(FrameError::LengthsDiffer);
        }
        Ok(Some(bytes.len().saturating_sub(rest.len())))
    }

    fn frame(len: usize) -> Range<usize> {
        let length = usize::from(LENGTH);
        length..if AGAIN { len.saturating_sub(length) } else { len }
    }
}
