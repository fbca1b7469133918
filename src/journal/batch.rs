//! Batch: records on their way to the log, already in the form they have on disk.
//!
//! Way of an event: … judge → **batch** → log. The caller's thread lays out the payloads and
//! computes their checksums; the log's thread fills in what only it knows (numbers, flags).
//!
//! Invariant: one growing buffer; no allocation per record once it has grown.

use std::collections::BTreeMap;
use std::fmt;

use super::record::{FIRST_OF_GROUP, HEADER_BYTES, Header, Kind, LAST_OF_BATCH, Seed};

/// The marks of the pull sources: name to position, both opaque. Tallies stand among them under
/// their name behind [`TALLY`]: sums, eight bytes each.
pub(super) type Marks = BTreeMap<String, Vec<u8>>;

/// What the name of a tally begins with in [`Marks`]: no name of a mark does.
pub(super) const TALLY: char = '+';

/// Records that stand or fall together, each with at most 4 GiB of payload. A batch as a whole
/// must fit into a segment, see [`Settings::batch_bytes_max`](super::Settings::batch_bytes_max).
#[derive(Default)]
pub struct Batch {
    /// Headers and payloads; in the headers all that the log fills in is zero.
    buffer: Vec<u8>,
    events: usize,
    /// Where the records of marks and tallies begin.
    marks: Vec<usize>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("events", &self.events).field("bytes", &self.buffer.len()).finish_non_exhaustive()
    }
}

/// What the log fills in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbering {
    /// Of the place where the batch begins.
    pub(super) seed: Seed,
    /// The number of the first event.
    pub(super) first: u64,
    pub(super) group: u16,
    pub(super) first_of_group: bool,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Batch::default()
    }

    /// Adds one record: `write` appends its payload to the buffer it is given, and leaves alone
    /// what is already there.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.record(Kind::Event, write);
        self.events += 1;
    }

    /// Stores where a pull source stands after this batch, whole or absent with it. An empty value
    /// forgets the mark. The value is opaque.
    pub fn mark(&mut self, name: &str, value: &[u8]) {
        self.marks.push(self.buffer.len());
        self.record(Kind::Mark, |buffer| put_mark(buffer, name, value));
    }

    /// Adds to the sums kept under that name, whole or not at all with this batch: so what was
    /// counted always agrees with what is stored. The first sum, the second, …
    pub fn tally(&mut self, name: &str, amounts: &[u64]) {
        self.marks.push(self.buffer.len());
        self.record(Kind::Tally, |buffer| {
            let bytes: Vec<u8> = amounts.iter().flat_map(|amount| amount.to_le_bytes()).collect();
            put_mark(buffer, &format!("{TALLY}{name}"), &bytes);
        });
    }

    fn record(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        self.buffer.resize(start + HEADER_BYTES, 0);
        write(&mut self.buffer);
        let (before, payload) = self.buffer.split_at_mut(start + HEADER_BYTES);
        let header = Header::for_payload(kind, payload);
        before[start..].copy_from_slice(&header.to_bytes(0));
    }

    /// How many records it holds; marks do not count.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Bytes it takes in the log.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Holds neither record nor mark nor tally.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Empties it and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.events = 0;
        self.marks.clear();
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Fills in the headers. May be called again with other numbers.
    pub(super) fn number(&mut self, numbering: Numbering) {
        let (mut at, mut place) = (0, 0u32);
        let bytes_total = self.buffer.len();
        while let Some(head) = self.buffer.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<HEADER_BYTES>) {
            let mut header = layout(head);
            let seed = numbering.seed.at(at);
            at += header.record_bytes();
            header.sequence = numbering.first + u64::from(place);
            header.place = place;
            header.group = numbering.group;
            if numbering.first_of_group && at == header.record_bytes() {
                header.flags |= FIRST_OF_GROUP;
            }
            if at >= bytes_total {
                header.flags |= LAST_OF_BATCH;
            }
            *head = header.to_bytes(seed);
            place += u32::from(header.kind == Kind::Event);
        }
    }

    /// Applies its marks.
    pub(super) fn marks_into(&self, marks: &mut Marks) {
        for at in &self.marks {
            let rest = self.buffer.get(*at..).unwrap_or_default();
            let Some((head, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else { return };
            let header = layout(head);
            let payload = rest.get(..header.payload_bytes as usize).unwrap_or_default();
            match header.kind {
                Kind::Mark => take_marks(payload, marks),
                Kind::Tally => add_tallies(payload, marks),
                Kind::Event | Kind::Checkpoint | Kind::Synced => {}
            }
        }
    }
}

/// The header of a record in a batch's own buffer: its checksum says nothing yet.
fn layout(head: &[u8; HEADER_BYTES]) -> Header {
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    Header {
        payload_bytes: word(4),
        sequence: 0,
        place: 0,
        payload_crc: word(20),
        kind: Kind::from_byte(head[24]).unwrap_or(Kind::Event),
        flags: 0,
        group: 0,
    }
}

/// Appends a mark: length of the name u16, name (cut at 64 KiB), length of the value u32, value.
pub(super) fn put_mark(buffer: &mut Vec<u8>, name: &str, value: &[u8]) {
    let name = &name[..name.floor_char_boundary(usize::from(u16::MAX))];
    buffer.extend_from_slice(&(name.len() as u16).to_le_bytes());
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
    buffer.extend_from_slice(value);
}

/// Reads marks one after the other. The bytes are under a checksum: what does not parse was never
/// written by [`put_mark`], and ends the reading.
pub(super) fn take_marks(mut bytes: &[u8], marks: &mut Marks) {
    while let Some((name, value, rest)) = split_mark(bytes) {
        if value.is_empty() {
            marks.remove(name);
        } else {
            marks.insert(name.to_owned(), value.to_vec());
        }
        bytes = rest;
    }
}

/// Adds what tally records say to the sums that are known.
pub(super) fn add_tallies(mut bytes: &[u8], marks: &mut Marks) {
    while let Some((name, amounts, rest)) = split_mark(bytes) {
        let known = marks.entry(name.to_owned()).or_default();
        known.resize(known.len().max(amounts.len()), 0);
        for (sum, amount) in known.chunks_exact_mut(8).zip(sums(amounts)) {
            let before = sum.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            sum.copy_from_slice(&before.saturating_add(amount).to_le_bytes());
        }
        bytes = rest;
    }
}

/// The sums of a tally.
pub(super) fn sums(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).filter_map(|sum| sum.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)))
}

fn split_mark(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((std::str::from_utf8(name).ok()?, value, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::record::{Found, look};
    use super::*;

    #[test]
    fn numbers_places_and_flags() {
        let mut batch = Batch::new();
        batch.push_with(|b| b.extend_from_slice(b"one"));
        batch.mark("file/a", b"17");
        batch.push_with(|_| {});
        assert_eq!((batch.len(), batch.bytes()), (2, 3 * HEADER_BYTES + 3 + 2 + 6 + 4 + 2));
        let seed = Seed { segment: 3, offset: 700 };
        for first in [5, 900] {
            batch.number(Numbering { seed, first, group: 8, first_of_group: true });
            let mut seen = Vec::new();
            let mut at = 0;
            while let Found::Whole(header) = look(batch.as_bytes(), at, seed) {
                at += header.record_bytes();
                assert_eq!(header.group, 8);
                seen.push((header.kind, header.sequence, header.place, header.flags));
            }
            assert_eq!(
                seen,
                [
                    (Kind::Event, first, 0, FIRST_OF_GROUP),
                    (Kind::Mark, first + 1, 1, 0),
                    (Kind::Event, first + 1, 1, LAST_OF_BATCH)
                ]
            );
        }
        let mut marks = Marks::new();
        batch.marks_into(&mut marks);
        assert_eq!(marks["file/a"], b"17");
        batch.clear();
        assert!(batch.is_empty());
    }

    #[test]
    fn tallies_add_up() {
        let mut marks = Marks::new();
        for amounts in [&[3, 0][..], &[4], &[0, 5, 6]] {
            let mut batch = Batch::new();
            batch.tally("in", amounts);
            assert_eq!((batch.len(), batch.is_empty()), (0, false));
            batch.marks_into(&mut marks);
        }
        assert_eq!(sums(&marks["+in"]).collect::<Vec<_>>(), [7, 5, 6]);
    }

    #[test]
    fn an_empty_value_forgets_a_mark() {
        let mut marks = Marks::from([("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])]);
        let mut batch = Batch::new();
        batch.mark("a", b"");
        batch.marks_into(&mut marks);
        assert_eq!(marks.keys().collect::<Vec<_>>(), ["b"]);
    }
}
