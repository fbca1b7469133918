//! One entry of a log of receipts.
//!
//! ```text
//! incarnation u64 · first position u64 · answered i64 · confirmed i64 · length of the runs u32
//! runs: became and how many, one number each · the answer: name, 0x1F, text, 0x1E, …
//! ```
//! Integers are little-endian; those of runs have seven bits in a byte.

use wharfinger_formats::Time;

use super::Answer;
use super::runs::{Became, Runs};
use crate::journal::{Incarnation, Position};

const NAME_END: char = '\u{1f}';
const TEXT_END: char = '\u{1e}';
/// Of what a peer answers as much is kept; the last piece says how many more there were.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// A longer text of it is cut; no key of an object is longer.
const TEXT_BYTES_MAX: usize = 1024;
/// What that piece is called.
const MORE: &str = "more";
/// An entry with more runs is written as several.
const RUNS_MAX: usize = 50_000;
// No entry is too long to be read again: a run has 10 bytes at most.
const _: () = assert!(36 + RUNS_MAX * 10 + ANSWER_BYTES_MAX <= super::ENTRY_BYTES_MAX);

/// Events in a row, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sinks) struct Entry {
    pub(in crate::sinks) incarnation: Incarnation,
    pub(in crate::sinks) first: Position,
    pub(in crate::sinks) answered: Time,
    pub(in crate::sinks) confirmed: Time,
    pub(in crate::sinks) runs: Runs,
    pub(in crate::sinks) answer: Vec<(String, String)>,
}

impl Entry {
    /// Of events that the peer has just answered to.
    pub(in crate::sinks) fn new(
        (incarnation, first): (Incarnation, Position),
        runs: Runs,
        answer: Answer,
        now: Time,
    ) -> Entry {
        let answer = answer.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        Entry { incarnation, first, answered: now, confirmed: now, runs, answer }
    }

    /// The same in pieces that are not too long.
    pub(super) fn pieces(self) -> impl Iterator<Item = Entry> {
        let Entry { incarnation, first, answered, confirmed, runs, answer } = self;
        runs.chunks(RUNS_MAX).into_iter().map(move |(from, runs)| {
            let first = Position(first.0 + from);
            Entry { incarnation, first, answered, confirmed, runs, answer: answer.clone() }
        })
    }

    /// What became of the event at that position, if the entry is about it.
    pub(super) fn became(&self, position: Position) -> Option<Became> {
        self.runs.at(position.0.checked_sub(self.first.0)?)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.incarnation.0.to_le_bytes());
        out.extend_from_slice(&self.first.0.to_le_bytes());
        out.extend_from_slice(&self.answered.0.to_le_bytes());
        out.extend_from_slice(&self.confirmed.0.to_le_bytes());
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        self.runs.write(out);
        let len = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
        out[at..at + 4].copy_from_slice(&len.to_le_bytes());
        let from = out.len();
        let mut ends = Vec::with_capacity(self.answer.len());
        for (name, text) in &self.answer {
            write_piece(name, text, out);
            ends.push(out.len());
        }
        if out.len() - from <= ANSWER_BYTES_MAX {
            return;
        }
        // Room for the piece that says how many there were.
        let fitting = ends.partition_point(|end| end - from <= ANSWER_BYTES_MAX - 64);
        let whole = whole(&self.answer, fitting);
        out.truncate(whole.checked_sub(1).map_or(from, |last| ends[last]));
        write_piece(MORE, &(self.answer.len() - whole).to_string(), out);
    }

    /// None if it is none.
    pub(super) fn read(body: &[u8]) -> Option<Entry> {
        let (incarnation, rest) = body.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (answered, rest) = rest.split_first_chunk()?;
        let (confirmed, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (runs, answer) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        let answer = std::str::from_utf8(answer).ok()?;
        let pieces = answer.split(TEXT_END).filter_map(|piece| piece.split_once(NAME_END));
        Some(Entry {
            incarnation: Incarnation(u64::from_le_bytes(*incarnation)),
            first: Position(u64::from_le_bytes(*first)),
            answered: Time(i64::from_le_bytes(*answered)),
            confirmed: Time(i64::from_le_bytes(*confirmed)),
            runs: Runs::read(runs)?,
            answer: pieces.map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
        })
    }
}

fn write_piece(name: &str, text: &str, out: &mut Vec<u8>) {
    // Controls would end a text; no peer's name or number has one.
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
    let piece = name.chars().chain([NAME_END]).chain(text[..cut].chars().map(plain));
    let piece: String = piece.chain((cut < text.len()).then_some('…')).chain([TEXT_END]).collect();
    out.extend_from_slice(piece.as_bytes());
}

/// How many pieces of the first `fitting` are kept, so that of those that belong together (`key` and `sha256` of each
/// object) all are there or none.
fn whole(answer: &[(String, String)], fitting: usize) -> usize {
    let again = |at: usize| answer[at + 1..].iter().any(|(name, _)| *name == answer[at].0);
    let Some(first) = (0..answer.len()).find(|at| again(*at)) else { return fitting };
    let begins = |at: &usize| answer[*at].0 == answer[first].0;
    (first..=fitting.min(answer.len() - 1)).rev().find(begins).unwrap_or(fitting)
}
