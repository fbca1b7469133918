//! When a batch is large enough to be appended.
//!
//! Invariant: no input makes a batch that the journal cannot take. A byte of input can become a
//! record of hundreds, so frames count, not only their bytes.

/// About what a record holds beside twice its frame: header, identity, times.
const RECORD_BYTES: usize = 512;

/// An ordinary read of 256 KiB with lines of 300 bytes makes one batch.
const BATCH_BYTES: usize = 1024 * 1024;

/// About how many bytes the frames of a batch take in the journal.
#[derive(Debug, Default)]
pub(super) struct Weight(usize);

impl Weight {
    /// Adds a frame of that length.
    pub(super) fn add(&mut self, frame_bytes: usize) {
        self.0 += RECORD_BYTES + 2 * frame_bytes;
    }

    /// Whether the batch should be appended before more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.0 >= BATCH_BYTES
    }

    /// The batch was appended.
    pub(super) fn clear(&mut self) {
        self.0 = 0;
    }
}
