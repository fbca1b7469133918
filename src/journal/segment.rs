//! Segment: one file of the log. It begins with a header, then a checkpoint record that holds all
//! marks, then records.
//!
//! ```text
//! 0 magic · 8 version u32 · 12 header bytes u32 · 16 id u64 · 24 incarnation u64 · 32 secret u64
//! 40 first sequence u64 · 48 batches before u64 · 56 bytes before u64 · 64 flags u32 · 124 CRC32C u32
//! ```
//! Invariant: an id is never reused, so no two segments share the seed of their records.

use std::path::{Path, PathBuf};

use super::Incarnation;
use super::batch::{Marks, put_mark};
use super::record::{
    FIRST_OF_GROUP, HEADER_BYTES as RECORD_HEADER_BYTES, Header as RecordHeader, Kind, LAST_OF_BATCH, Seed,
};

/// Bytes of a segment's header; the checkpoint record follows.
pub(super) const HEADER_BYTES: usize = 128;
/// The longest file; a batch, and so a record, is shorter.
pub(super) const BYTES_MAX: u64 = 64 << 20;
const MAGIC: [u8; 8] = *b"WHARFSEG";
const VERSION: u32 = 1;
/// Where the checksum stands; it covers everything before it.
const CRC_AT: usize = HEADER_BYTES - 4;
/// Set when the segment was written without syncing: a crash may have taken any of it.
const UNSYNCED: u32 = 1;

/// A place in a segment where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// The number of the first event at or behind that place.
    pub(super) position: u64,
}

/// Which journal the records belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) incarnation: Incarnation,
    /// Shown nowhere: who knows the incarnation from an event's id still cannot forge a record
    /// inside a payload.
    pub(super) secret: u64,
}

impl Identity {
    /// The seed of the record headers in the segment with that id, from its beginning.
    pub(super) fn seed(&self, id: u64) -> Seed {
        let words = [self.secret, self.incarnation.0, id];
        let segment = words.iter().fold(0, |crc, word| crc32c::crc32c_append(crc, &word.to_le_bytes()));
        let segment = if planted!(SeedIgnored) { 0 } else { segment };
        Seed { segment, offset: 0 }
    }
}

/// What the header says. The counters cover everything before this segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) identity: Identity,
    pub(super) first: u64,
    pub(super) batches_before: u64,
    pub(super) bytes_before: u64,
    /// Written with `journal.sync: never`.
    pub(super) unsynced: bool,
}

impl Header {
    /// Header and checkpoint record: what a new segment begins with.
    pub(super) fn with_checkpoint(&self, marks: &Marks, group: u16) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + RECORD_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        let words = [
            self.id,
            self.identity.incarnation.0,
            self.identity.secret,
            self.first,
            self.batches_before,
            self.bytes_before,
        ];
        for (slot, word) in bytes[16..64].chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let flags = if self.unsynced { UNSYNCED } else { 0 };
        bytes[64..68].copy_from_slice(&flags.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());

        for (name, value) in marks {
            put_mark(&mut bytes, name, value);
        }
        let (head, payload) = bytes.split_at_mut(HEADER_BYTES + RECORD_HEADER_BYTES);
        let mut record = RecordHeader::for_payload(Kind::Checkpoint, payload);
        record.sequence = self.first;
        record.flags = FIRST_OF_GROUP | LAST_OF_BATCH;
        record.group = group;
        head[HEADER_BYTES..].copy_from_slice(&record.to_bytes(self.seed().at(HEADER_BYTES)));
        bytes
    }

    /// Reads a header. `None`: damaged, or not a segment.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let (covered, crc) = bytes.split_at(CRC_AT);
        if covered[..8] != MAGIC
            || crc32c::crc32c(covered).to_le_bytes() != *crc
            || covered[8..12] != VERSION.to_le_bytes()
        {
            return None;
        }
        let word = |at: usize| covered[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Some(Header {
            id: word(16),
            identity: Identity { incarnation: Incarnation(word(24)), secret: word(32) },
            first: word(40),
            batches_before: word(48),
            bytes_before: word(56),
            unsynced: word(64) as u32 & UNSYNCED != 0,
        })
    }

    pub(super) fn seed(&self) -> Seed {
        self.identity.seed(self.id)
    }
}

/// The file of a segment.
pub(super) fn path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016}.segment"))
}

/// The id in a file's name, if it is a segment's.
pub(super) fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    if digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// A drained segment waiting to be used again: its pages and its place on disk are there already,
/// so that writing into it costs neither allocation nor a file system transaction.
pub(super) fn spare_path(dir: &Path) -> PathBuf {
    dir.join("spare")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::batch::take_marks;
    use super::super::record::{Found, look};
    use super::*;

    fn header() -> Header {
        Header {
            id: 12,
            identity: Identity { incarnation: Incarnation(0xfeed), secret: 99 },
            first: 1000,
            batches_before: 40,
            bytes_before: 7_000_000_000,
            unsynced: true,
        }
    }

    #[test]
    fn header_and_checkpoint_read_back() {
        let marks = Marks::from([("file/x".to_owned(), b"at 7".to_vec()), ("docker".to_owned(), vec![0; 70_000])]);
        let bytes = header().with_checkpoint(&marks, 3);
        assert_eq!(Header::from_bytes(&bytes), Some(header()));
        let Found::Whole(record) = look(&bytes, HEADER_BYTES, header().seed()) else { panic!("no checkpoint") };
        assert_eq!((record.kind, record.sequence, record.group), (Kind::Checkpoint, 1000, 3));
        let mut read = Marks::new();
        take_marks(&bytes[HEADER_BYTES + RECORD_HEADER_BYTES..], &mut read);
        assert_eq!(read, marks);
    }

    #[test]
    fn a_flipped_bit_spoils_the_header() {
        let good = header().with_checkpoint(&Marks::new(), 0);
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::from_bytes(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn names() {
        let path = path(Path::new("/j"), 42);
        assert_eq!(path, Path::new("/j/0000000000000042.segment"));
        assert_eq!(id_of("0000000000000042.segment"), Some(42));
        for name in ["42.segment", "spare", "000000000000004x.segment", "a.cursor"] {
            assert_eq!(id_of(name), None, "{name}");
        }
    }
}
