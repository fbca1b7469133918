//! One framer for streams whose records say themselves where they end: a length, or a structure.
//!
//! What differs between them is a [`Scanner`]: it is shown the bytes of a record piece by piece and
//! says where the record ends. The rest is the same for all of them: limits, records that are too
//! long, and what is left when a stream ends.
//!
//! Invariant: as for [`super::Framer`]. No byte is scanned twice, nothing is allocated by an announced
//! size, and any cut of the stream gives the same frames.

use std::ops::Range;

use super::{Frame, FrameError, HEAD_BYTES};

/// Finds the end of one record.
pub trait Scanner: Default {
    /// Goes over the next bytes of a record; answers how many of them it still takes, when it ends
    /// there.
    ///
    /// # Errors
    /// No record begins so: the stream cannot be cut any further.
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError>;

    /// What of a record of `len` bytes is the frame.
    fn frame(len: usize) -> Range<usize>;

    /// How many bytes at the start belong to no record.
    fn separators(_bytes: &[u8]) -> usize {
        0
    }
}

/// Cuts a stream of records. Keep one for each stream.
#[derive(Debug, Clone)]
pub struct Stream<S> {
    scanner: S,
    max: usize,
    /// Bytes of the record at the start of the input that the scanner has seen.
    scanned: usize,
    /// In a record that is too long: bytes of it that are gone.
    skipped: Option<u64>,
    head: Vec<u8>,
}

impl<S: Scanner> Stream<S> {
    /// Records of at most `record_bytes_max` bytes with all around them.
    pub fn new(record_bytes_max: usize) -> Self {
        Stream { scanner: S::default(), max: record_bytes_max, scanned: 0, skipped: None, head: Vec::new() }
    }

    /// The first bytes, at most [`HEAD_BYTES`], of the oversize record that [`Frame::TooLong`] has
    /// just reported.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The next frame of `input`, which begins where the bytes used so far ended.
    pub fn next(&mut self, input: &[u8]) -> Frame {
        let at_start = self.scanned == 0 && self.skipped.is_none();
        let start = if at_start { S::separators(input) } else { 0 };
        let from = start.saturating_add(self.scanned);
        let end = match self.scanner.scan(input.get(from..).unwrap_or_default()) {
            Ok(end) => end.map(|end| from.saturating_add(end)),
            Err(error) => return Frame::Malformed(error),
        };
        let record = input.get(start..end.unwrap_or(input.len())).unwrap_or_default();
        let too_long = self.skipped.is_some() || record.len() > self.max;
        if too_long {
            self.pass_over(record);
        }
        match (end, too_long) {
            (None, false) => {
                self.scanned = if planted!("streams") { record.len().saturating_add(1) } else { record.len() };
                Frame::NeedMore { used: start }
            }
            (None, true) => {
                self.scanned = 0;
                Frame::NeedMore { used: input.len() }
            }
            (Some(used), _) => {
                (self.scanner, self.scanned) = (S::default(), 0);
                match self.skipped.take() {
                    Some(bytes_total) => Frame::TooLong { used, bytes_total },
                    None => {
                        let frame = S::frame(record.len());
                        let (from, to) = (start.saturating_add(frame.start), start.saturating_add(frame.end));
                        Frame::Complete { start: from, end: to.max(from), used }
                    }
                }
            }
        }
    }

    /// What is left when the stream has ended: call after [`Stream::next`] said
    /// [`Frame::NeedMore`], with the bytes not used.
    pub fn finish(&mut self, input: &[u8]) -> Frame {
        let used = input.len();
        (self.scanner, self.scanned) = (S::default(), 0);
        match self.skipped.take() {
            Some(bytes_total) => Frame::TooLong { used, bytes_total },
            None if input.is_empty() => Frame::NeedMore { used },
            None => Frame::Truncated { start: 0, end: used, used },
        }
    }

    fn pass_over(&mut self, record: &[u8]) {
        if self.skipped.is_none() {
            self.head.clear();
        }
        let gone = self.skipped.unwrap_or(0).saturating_add(u64::try_from(record.len()).unwrap_or(u64::MAX));
        self.skipped = Some(gone);
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(record.len());
        self.head.extend_from_slice(record.get(..room).unwrap_or_default());
    }
}

/// Takes up to `left` bytes from the start of `bytes`, of which it answers the rest.
pub(super) fn pass<'b>(bytes: &'b [u8], left: &mut u64) -> &'b [u8] {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left = left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
    bytes.get(taken..).unwrap_or_default()
}
