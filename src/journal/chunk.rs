//! Chunk: what a cursor read at once: whole records, and what was missing between them.

use super::record::{self, Found, HEADER_BYTES, Kind, Seed};
use super::{Incarnation, Position};

/// The caller's reusable buffer for [`Cursor::read`](super::Cursor::read).
#[derive(Debug, Default)]
pub struct Chunk {
    /// As long as it ever was; the first bytes hold what was read last.
    pub(super) buffer: Vec<u8>,
    entries: Vec<Entry>,
    pub(super) damage: Vec<Damage>,
    pub(super) incarnation: Option<Incarnation>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    position: u64,
    place: u32,
    start: usize,
    end: usize,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it stands in the log.
    pub position: Position,
    /// Where the first record of its batch stands.
    pub batch_first: Position,
    /// The incarnation it was written under; not the present one if the journal was rolled back since.
    pub incarnation: Incarnation,
    /// The bytes that were appended.
    pub payload: &'a [u8],
}

/// Records that are missing: set aside because a checksum did not hold, or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The first and the last record that is missing.
    pub missing: (Position, Position),
    /// How many bytes do not make a record; zero if the file is gone or cut.
    pub bytes: u64,
    /// The journal was full, and this cursor gave them up.
    pub given_up: bool,
}

impl Damage {
    /// The parts before, in and behind the range that was given up: its first, and one past its last.
    pub(super) fn split(self, given_up: (u64, u64)) -> impl Iterator<Item = Damage> {
        let (first, behind) = (self.missing.0.0, self.missing.1.0 + 1);
        let from = given_up.0.clamp(first, behind);
        let to = given_up.1.clamp(from, behind);
        let part = move |first: u64, behind: u64, given_up: bool| {
            let missing = (Position(first), Position(behind.saturating_sub(1)));
            (first < behind).then_some(Damage { missing, given_up, ..self })
        };
        [part(first, from, false), part(from, to, true), part(to, behind, false)].into_iter().flatten()
    }
}

impl Chunk {
    /// An empty chunk.
    pub fn new() -> Self {
        Chunk::default()
    }

    /// Holds these records instead, which no journal has: one after the other in `buffer`, up to each of
    /// `ends`, the first of them at `first`.
    pub fn hold(&mut self, first: Position, buffer: Vec<u8>, ends: &[usize]) {
        self.clear();
        self.buffer = buffer;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let entries = starts.zip(ends).zip(first.0..);
        self.entries.extend(entries.map(|((start, end), position)| Entry { position, place: 0, start, end: *end }));
    }

    /// The records, in order, positions dense but for what [`damaged`](Self::damaged) names.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> + Clone {
        let incarnation = self.incarnation.unwrap_or(Incarnation(0));
        self.entries.iter().map(move |entry| Record {
            position: Position(entry.position),
            batch_first: Position(entry.position - u64::from(entry.place)),
            incarnation,
            payload: &self.buffer[entry.start..entry.end],
        })
    }

    /// What was missing before or between the records.
    pub fn damaged(&self) -> &[Damage] {
        &self.damage
    }

    /// Under which incarnation it was written; none before the first read.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Holds no record; there may be damage to report.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.damage.clear();
    }
}

/// A reader's walk through the bytes of one segment.
#[derive(Debug)]
pub(super) struct Walk {
    /// Of the bytes in the buffer.
    pub(super) seed: Seed,
    /// The number the next event should have.
    pub(super) expected: u64,
    /// Events before this one are passed over.
    pub(super) wanted: u64,
    /// The first number that is not to be read here.
    pub(super) until: u64,
    /// Bytes passed over since the last record that held.
    pub(super) damaged_bytes: u64,
}

/// Why a walk stopped, and after how many bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Everything was read that is to be read in this segment.
    Finished { at: usize },
    /// The record behind needs so many bytes in one piece.
    Short { at: usize, needed: usize },
}

impl Walk {
    /// Puts the records in the first `filled` bytes of the chunk's buffer into the chunk.
    pub(super) fn through(&mut self, chunk: &mut Chunk, filled: usize) -> Stopped {
        let mut at = 0;
        while self.expected < self.until {
            match record::look(&chunk.buffer[..filled], at, self.seed) {
                Found::Whole(header) => {
                    let end = at + header.record_bytes();
                    if header.sequence >= self.until && header.kind == Kind::Event {
                        // It was written again behind this segment. What was expected stood before it.
                        self.close_gap(chunk, self.until);
                        break;
                    }
                    self.close_gap(chunk, header.sequence.min(self.until));
                    if header.kind == Kind::Event && header.sequence == self.expected {
                        if header.sequence >= self.wanted {
                            let (position, place) = (header.sequence, header.place);
                            chunk.entries.push(Entry { position, place, start: at + HEADER_BYTES, end });
                        }
                        self.expected += 1;
                    }
                    at = end;
                }
                Found::BadPayload(header) => {
                    // The header holds: the next record begins behind its payload.
                    self.damaged_bytes += header.record_bytes() as u64;
                    at += header.record_bytes();
                }
                Found::Short(needed) => return Stopped::Short { at, needed },
                Found::Nothing => {
                    let seen = &chunk.buffer[..filled];
                    let reached = record::resync(seen, at + 1, self.seed).unwrap_or_else(|reached| reached);
                    self.damaged_bytes += (reached - at) as u64;
                    at = reached;
                }
            }
        }
        Stopped::Finished { at }
    }

    /// The segment ends here: what was still expected is missing.
    pub(super) fn finish(&mut self, chunk: &mut Chunk) {
        self.close_gap(chunk, self.until);
    }

    /// Whole records up to here: what is missing before `sequence`, or was passed over, is damage.
    pub(super) fn close_gap(&mut self, chunk: &mut Chunk, sequence: u64) {
        let from = self.expected.max(self.wanted);
        let bytes = std::mem::take(&mut self.damaged_bytes);
        // With no record missing it was a mark, or a note that the group before had been synced.
        if sequence > from && !planted!(GapNotDeclared) {
            chunk.damage.push(Damage { missing: (Position(from), Position(sequence - 1)), bytes, given_up: false });
        }
        self.expected = self.expected.max(sequence);
    }
}
