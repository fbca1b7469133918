//! The judge: opens the journal after each kill and compares it with what was acknowledged.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Life, child};
use crate::journal::{Chunk, Journal, ReadError, storage::Disk};

/// Waits that are kept.
const WAITS_MAX: usize = 100_000;

/// What was found so far, in events.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) lives: u64,
    pub(super) acknowledged: u64,
    /// Acknowledged and not there.
    pub(super) lost: u64,
    /// There with other bytes, or named as damaged.
    pub(super) altered: u64,
    /// There twice, or with a number that was given twice.
    pub(super) twice: u64,
    /// Behind a later one of the same sender.
    pub(super) reordered: u64,
    /// Counts that do not agree with what is there.
    pub(super) miscounted: u64,
    /// The slowest start.
    pub(super) ready_max: Duration,
    /// In which events were acknowledged.
    pub(super) time: Duration,
    /// How long receipts took, in microseconds: of all, or of as many as are kept.
    micros: Vec<u64>,
    batches: usize,
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        self.lost + self.altered + self.twice + self.reordered + self.miscounted == 0
    }

    /// Keeps a fair sample.
    fn note_wait(&mut self, micros: u64) {
        self.batches += 1;
        if self.micros.len() < WAITS_MAX {
            self.micros.push(micros);
        } else if let Some(place) = self.micros.get_mut(fastrand::usize(..self.batches)) {
            *place = micros;
        }
    }

    /// How long half of the receipts took at most, and 99 of 100, in microseconds.
    pub(super) fn waits(&self) -> Option<(u64, u64)> {
        let mut micros = self.micros.clone();
        micros.sort_unstable();
        let at = |hundredths: usize| micros.get(micros.len().saturating_sub(1) * hundredths / 100).copied();
        Some((at(50)?, at(99)?))
    }
}

/// See above.
pub(super) struct Judge {
    dir: PathBuf,
    pub(super) verdict: Verdict,
    /// The last number of each sender.
    last: HashMap<u64, u64>,
    seen: HashSet<u64>,
}

impl Judge {
    pub(super) fn new(dir: &Path) -> Judge {
        Judge { dir: dir.to_owned(), verdict: Verdict::default(), last: HashMap::new(), seen: HashSet::new() }
    }

    /// Makes the journal, with the judge's own place in it: from now on nothing is released that the
    /// judge has not seen.
    pub(super) async fn prepare(&self) -> anyhow::Result<()> {
        let journal = Journal::open(child::settings(&self.dir), Arc::new(Disk))?;
        drop(journal.cursor("judge")?);
        drop(journal.cursor("reader")?);
        journal.close().await;
        Ok(())
    }

    /// After a kill.
    pub(super) async fn look(&mut self, life: Life) -> anyhow::Result<()> {
        let begun = Instant::now();
        let journal = Journal::open(child::settings(&self.dir), Arc::new(Disk))?;
        self.verdict.ready_max = self.verdict.ready_max.max(begun.elapsed());
        self.verdict.lives += 1;
        self.verdict.time += life.time;
        let mut cursor = journal.cursor("judge")?;
        let mut chunk = Chunk::new();
        let mut expected = Vec::with_capacity(child::EVENT_BYTES);
        self.seen.clear();
        loop {
            match cursor.try_read(&mut chunk, 1 << 20).await {
                Ok(true) => {}
                Ok(false) | Err(ReadError::Closed) => break,
                Err(error) => return Err(error.into()),
            }
            for damage in chunk.damaged() {
                self.verdict.altered += damage.missing.1.0 - damage.missing.0.0 + 1;
            }
            for record in chunk.records() {
                self.see(record.payload, &mut expected);
            }
            if let Some(last) = chunk.records().last() {
                cursor.commit(last.position.next())?;
            }
        }
        for batch in &life.batches {
            self.verdict.acknowledged += batch.count;
            self.verdict.note_wait(batch.micros);
            let missing = (batch.first..batch.first + batch.count).filter(|number| !self.seen.contains(number));
            self.verdict.lost += missing.count() as u64;
        }
        let status = journal.status();
        let counted = status.tallies.get("selftest").and_then(|sums| sums.first()).copied().unwrap_or(0);
        self.verdict.miscounted += counted.abs_diff(status.appended_total);
        self.verdict.miscounted += status.cursors.iter().map(|cursor| cursor.unaccounted().unsigned_abs()).sum::<u64>();
        drop(cursor);
        journal.close().await;
        Ok(())
    }

    fn see(&mut self, payload: &[u8], expected: &mut Vec<u8>) {
        let Some(number) = payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            self.verdict.altered += 1;
            return;
        };
        expected.clear();
        child::fill(number, expected);
        if payload != expected.as_slice() {
            self.verdict.altered += 1;
            return;
        }
        if !self.seen.insert(number) {
            self.verdict.twice += 1;
        }
        let last = self.last.entry(child::sender(number)).or_insert(number);
        if *last > number {
            self.verdict.reordered += 1;
        }
        *last = number;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Acknowledged;
    use super::*;
    use crate::journal::Batch;

    /// A judge that never finds anything proves nothing.
    #[tokio::test]
    async fn finds_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let mut judge = Judge::new(dir.path());
        judge.prepare().await.unwrap();
        let life = |first| {
            let batches = vec![Acknowledged { first, count: 20, micros: 7 }];
            Life { batches, time: Duration::from_secs(1) }
        };
        judge.look(life(100)).await.unwrap();
        assert_eq!((judge.verdict.acknowledged, judge.verdict.lost), (20, 20), "nothing was written");
        let journal = Journal::open(child::settings(dir.path()), Arc::new(Disk)).unwrap();
        let mut batch = Batch::new();
        for number in (100..120).chain([110, 5]) {
            batch.push_with(|out| child::fill(number, out));
        }
        batch.push_with(|out| out.extend_from_slice(&7_u64.to_le_bytes()));
        journal.append(batch).await.unwrap();
        journal.close().await;
        drop(journal);
        judge.look(life(100)).await.unwrap();
        let Verdict { lost, altered, twice, reordered, miscounted, .. } = judge.verdict;
        assert_eq!((lost, altered, twice, reordered, miscounted), (20, 1, 1, 2, 23));
        assert_eq!(judge.verdict.waits(), Some((7, 7)));
    }
}
