//! What `drive` writes down of what a peer has answered.

use std::collections::VecDeque;

use crate::journal::{Chunk, Incarnation, Position};
use crate::sinks::Feed;
use crate::sinks::drain::now;
use crate::sinks::receipts::{Entry, Log, Runs};

use super::Drive;

/// Receipts of a sink that keeps them.
pub(super) struct Noting {
    log: Log,
    /// Everything before it has an entry, in the log or among what is in doubt.
    noted: Position,
    /// From where on records are of which incarnation: after a start without a clean end those of the one before
    /// are still to be delivered. The present one where nothing is said.
    lives: VecDeque<(Position, Incarnation)>,
}

impl Noting {
    /// Opens the log; what cannot be opened now is tried again with the first entry.
    pub(super) async fn open(mut log: Log, first: Position) -> Option<Noting> {
        let opened = tokio::task::spawn_blocking(move || {
            let _ = log.open();
            log
        });
        Some(Noting { log: opened.await.ok()?, noted: first, lives: VecDeque::new() })
    }

    /// These records are about to be delivered.
    pub(super) fn read(&mut self, chunk: &Chunk) {
        let records = chunk.records().map(|record| record.position);
        let first = records.chain(chunk.damaged().iter().map(|damage| damage.missing.0)).min();
        if let Some((first, life)) = first.zip(chunk.incarnation()) {
            self.lives.retain(|(from, _)| *from < first);
            if self.lives.back().is_none_or(|(_, last)| *last != life) {
                self.lives.push_back((first, life));
            }
        }
    }

    /// The pieces of a range that are each of one incarnation, of which `present` is the one in use.
    fn pieces(
        &mut self,
        first: Position,
        next: Position,
        present: Incarnation,
    ) -> Vec<(Incarnation, Position, Position)> {
        let turns = self.lives.iter().copied().filter(|(from, _)| (first.0 + 1..next.0).contains(&from.0));
        let mut life = self.lives.iter().rev().find(|(from, _)| *from <= first).map_or(present, |(_, life)| *life);
        let (mut pieces, mut from) = (Vec::new(), first);
        for (turn, next_life) in turns {
            pieces.push((life, from, turn));
            (life, from) = (next_life, turn);
        }
        pieces.push((life, from, next));
        while self.lives.get(1).is_some_and(|(from, _)| *from <= next) {
            self.lives.pop_front();
        }
        pieces
    }

    /// Reading goes back to there.
    pub(super) fn back_to(&mut self, position: Position) {
        self.noted = self.noted.min(position);
    }
}

impl<F: Feed> Drive<F> {
    /// Entries about everything since the last one, up to the end of the request, which the peer has: one for each
    /// incarnation.
    pub(super) fn note(&mut self) -> Vec<Entry> {
        let Some(noting) = self.noting.as_mut() else { return Vec::new() };
        let (first, next) = (noting.noted, self.request.next);
        if first >= next {
            return Vec::new();
        }
        let answer = if self.request.positions.is_empty() { Vec::new() } else { self.sink.answer() };
        noting.noted = next;
        let pieces = noting.pieces(first, next, self.cursor.incarnation()).into_iter();
        let entries = pieces.map(|(life, first, next)| {
            let of = self.request.positions.partition_point(|position| *position < first);
            let runs = Runs::of((first, next), &self.request.positions[of..], &self.skip, &self.missing);
            Entry::new((life, first), runs, answer.clone(), now())
        });
        entries.collect()
    }

    /// Writes down what the cursor is about to pass.
    pub(super) fn write_receipts(&mut self) {
        if let Some(noting) = self.noting.as_mut().filter(|_| !self.taken.receipts.is_empty()) {
            noting.log.append(self.taken.receipts.drain(..), now());
        }
    }
}
