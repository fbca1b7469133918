//! Record: the bytes of one entry of the log: a header of 32 bytes, then the payload.
//!
//! ```text
//! 0 magic u32 · 4 payload length u32 · 8 sequence u64 · 16 place in its batch u32
//! 20 payload CRC32C u32 · 24 kind u8 · 25 flags u8 · 26 group u16 · 28 header CRC32C u32
//! ```
//! Integers are little-endian. The header's CRC is seeded by the segment and the offset it was
//! written for, so that bytes of a recycled file, a record that got to another place, or one that
//! somebody smuggled into a payload, are never taken for a record that belongs here.
//!
//! Invariant: a record is handed out only if both its checksums hold.

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 32;

/// What every header begins with: a byte that is in no UTF-8 text, then letters.
const MAGIC: [u8; 4] = [0xF7, b'W', b'h', b'R'];

/// This record ends its batch: without it a batch at the end of the log is absent.
pub(super) const LAST_OF_BATCH: u8 = 1;
/// This record begins a group commit: what stands before it had been synced.
pub(super) const FIRST_OF_GROUP: u8 = 2;

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event: takes a sequence number.
    Event,
    /// Where a pull source stands: carries the number of the next event.
    Mark,
    /// All marks and tallies, at the beginning of a segment.
    Checkpoint,
    /// Proof that everything before it was synced.
    Synced,
    /// What to add to the tallies: carries the number of the next event, as a mark does.
    Tally,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Kind::Event, Kind::Mark, Kind::Checkpoint, Kind::Synced, Kind::Tally]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Kind::Event => 1,
            Kind::Mark => 2,
            Kind::Checkpoint => 3,
            Kind::Synced => 4,
            Kind::Tally => 5,
        }
    }
}

/// What the headers of records at one place are seeded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed {
    /// Of the segment.
    pub(super) segment: u32,
    /// Where in the segment the bytes at hand begin.
    pub(super) offset: u64,
}

impl Seed {
    pub(super) fn at(self, at: usize) -> u32 {
        // A segment is far smaller than 4 GiB.
        self.segment.wrapping_add((self.offset + at as u64) as u32)
    }
}

/// A header, as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) payload_bytes: u32,
    pub(super) sequence: u64,
    /// How many events of its batch stand before it.
    pub(super) place: u32,
    pub(super) payload_crc: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// Number of the group commit, wrapping: two neighbouring groups never share it.
    pub(super) group: u16,
}

impl Header {
    pub(super) fn for_payload(kind: Kind, payload: &[u8]) -> Self {
        Header {
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            sequence: 0,
            place: 0,
            payload_crc: crc32c::crc32c(payload),
            kind,
            flags: 0,
            group: 0,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The header's bytes for the place with that seed.
    pub(super) fn to_bytes(self, seed: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.place.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[24] = self.kind.byte();
        bytes[25] = self.flags;
        bytes[26..28].copy_from_slice(&self.group.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` if these bytes are none that was written for that place.
    pub(super) fn from_bytes(bytes: &[u8; HEADER_BYTES], seed: u32) -> Option<Self> {
        if bytes[0..4] != MAGIC || u32_at(bytes, 28) != crc32c::crc32c_append(seed, &bytes[..28]) {
            return None;
        }
        Some(Header {
            payload_bytes: u32_at(bytes, 4),
            sequence: u64::from(u32_at(bytes, 8)) | u64::from(u32_at(bytes, 12)) << 32,
            place: u32_at(bytes, 16),
            payload_crc: u32_at(bytes, 20),
            kind: Kind::from_byte(bytes[24])?,
            flags: bytes[25],
            group: u16::from_le_bytes([bytes[26], bytes[27]]),
        })
    }

    /// The number of the first event of its batch.
    pub(super) fn batch_first(&self) -> u64 {
        self.sequence.saturating_sub(self.place.into())
    }

    /// Bytes of header and payload together.
    pub(super) fn record_bytes(&self) -> usize {
        HEADER_BYTES + self.payload_bytes as usize
    }
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What stands at one place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole record.
    Whole(Header),
    /// The header holds, the payload does not: exactly this record is damaged.
    BadPayload(Header),
    /// The record, or perhaps its header, reaches beyond the bytes at hand: that many are needed.
    Short(usize),
    /// No record begins here.
    Nothing,
}

/// Looks at the record that begins at `at`.
pub(super) fn look(bytes: &[u8], at: usize, seed: Seed) -> Found {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(head) = rest.first_chunk::<HEADER_BYTES>() else {
        return Found::Short(HEADER_BYTES);
    };
    let Some(header) = Header::from_bytes(head, seed.at(at)) else {
        return Found::Nothing;
    };
    match rest.get(HEADER_BYTES..header.record_bytes()) {
        None => Found::Short(header.record_bytes()),
        Some(payload) if crc32c::crc32c(payload) == header.payload_crc || planted!(PayloadUnchecked) => {
            Found::Whole(header)
        }
        Some(_) => Found::BadPayload(header),
    }
}

/// The next place from `from` on where a header holds. Without one, the answer is how far the
/// search got: a header may still begin in the last bytes.
pub(super) fn resync(bytes: &[u8], from: usize, seed: Seed) -> Result<usize, usize> {
    let mut at = from;
    while let Some(found) = memchr::memmem::find(bytes.get(at..).unwrap_or_default(), &MAGIC) {
        at += found;
        match bytes[at..].first_chunk::<HEADER_BYTES>() {
            None => return Err(at),
            Some(head) if Header::from_bytes(head, seed.at(at)).is_some() => return Ok(at),
            Some(_) => at += 1,
        }
    }
    Err(at.max(bytes.len().saturating_sub(MAGIC.len() - 1)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    /// Bytes at the beginning of a segment with that seed.
    fn segment(segment: u32) -> Seed {
        Seed { segment, offset: 0 }
    }

    fn record(payload: &[u8], sequence: u64, seed: u32) -> Vec<u8> {
        let mut header = Header::for_payload(Kind::Event, payload);
        header.sequence = sequence;
        header.flags = LAST_OF_BATCH;
        [header.to_bytes(seed).as_slice(), payload].concat()
    }

    #[test]
    fn a_record_reads_back() {
        let bytes = record(b"hello", u64::MAX - 7, 9);
        let Found::Whole(header) = look(&bytes, 0, segment(9)) else { panic!("not whole") };
        assert_eq!((header.sequence, header.payload_bytes), (u64::MAX - 7, 5));
        assert!(header.has(LAST_OF_BATCH) && !header.has(FIRST_OF_GROUP));
        assert_eq!(look(&bytes, 0, segment(8)), Found::Nothing, "another segment's record");
        assert_eq!(look(&bytes[..36], 0, segment(9)), Found::Short(37));
        assert_eq!(look(&bytes[..31], 0, segment(9)), Found::Short(32));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let good = record(b"some payload", 3, 77);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            match look(&bad, 0, segment(77)) {
                Found::Nothing => assert!(bit < HEADER_BYTES * 8),
                Found::BadPayload(_) => assert!(bit >= HEADER_BYTES * 8),
                other => panic!("bit {bit}: {other:?}"),
            }
        }
    }

    #[test]
    fn resync_finds_the_next_record_of_this_segment_only() {
        let foreign = record(b"old", 1, 5);
        let mut bytes = b"rubbish \xF7Wh \xF7WhR and ".to_vec();
        bytes.extend_from_slice(&foreign);
        let at = bytes.len();
        bytes.extend_from_slice(&record(b"new", 2, segment(6).at(at)));
        assert_eq!(resync(&bytes, 0, segment(6)), Ok(at));
        assert_eq!(resync(&bytes, at + 1, segment(6)), Err(bytes.len() - 3));
        assert_eq!(resync(&bytes[..at + 20], 0, segment(6)), Err(at), "a header cut short is kept for the next piece");
        bytes.insert(0, b'x');
        assert_eq!(resync(&bytes, 0, segment(6)), Err(bytes.len() - 3), "a record at another place");
    }
}
