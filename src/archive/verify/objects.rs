//! The objects that seals name: which of them a walk reads, and what it finds.
//!
//! Invariant: findings stand in the order of the seals, also where objects are read ahead.

use std::io;

use super::object::check_object;
use super::part::{is_behind, is_of};
use super::{Fault, Open, Walk, Watch};
use crate::archive::seal::Data;
use crate::archive::store::is_away;

impl Walk<'_, '_> {
    /// Takes what was found about objects, until no more than so many are still read.
    pub(super) fn settle(&mut self, left: usize, watch: &mut dyn Watch) -> io::Result<()> {
        while self.open.len() > left {
            let Some(Open { seq, sha256, object, place }) = self.open.pop_front() else { break };
            let mut fault = None;
            if let Some((key, checked)) = object {
                fault = match checked.wait()? {
                    Ok(what) => what,
                    Err(error) if is_away(&error) => return Err(error),
                    Err(error) => Some(format!("it cannot be read: {error}")),
                };
                if let Some(what) = &fault {
                    let (at, before) = place;
                    self.report.insert(at + (self.inserted - before), Fault::Altered, &key, what);
                    self.inserted += 1;
                }
            }
            // A mark keeps what was wrong with bytes that were read, and nothing else: behind any other finding
            // nobody goes on.
            let is_known = self.report.findings_total == self.inserted as u64 + self.known;
            if let Some(sha256) = sha256
                && is_known
                && self.mark.set(self.way.folder, seq, &sha256, fault.as_deref())
            {
                watch.reached(self.mark);
            }
        }
        Ok(())
    }

    pub(super) fn data(&mut self, seq: u64, key: &str, data: &Data) -> io::Result<()> {
        let (first, last) = data.ingest;
        if self.ingest_next.is_some_and(|next| next != first) {
            self.report.find(Fault::Missing, key, format!("it does not go on where the one before ended: {first}"));
        }
        self.ingest_next = last.checked_add(1);
        let count = last.checked_sub(first).and_then(|count| count.checked_add(1));
        let of_sources = data.sources.iter().try_fold(0_u64, |sum, source| sum.checked_add(source.records));
        let tally = data.tally;
        let adds_up = tally.adds_up() && count == Some(tally.taken) && tally.archived == data.records;
        if !adds_up || of_sources != Some(data.records) {
            self.report.find(Fault::Altered, key, "its counts do not add up");
        }
        self.is_past |= is_behind(self.way.period, &data.object);
        let listed = self.objects.remove(&data.object);
        if let Some(passed_over) = &mut self.report.passed_over
            && !is_of(self.way.period, &data.object)
        {
            passed_over.objects += 1;
            return Ok(());
        }
        self.report.count(data);
        self.object(seq, key, data, listed)
    }

    /// The object that a seal names, and the bytes that the store has listed for it.
    fn object(&mut self, seq: u64, key: &str, data: &Data, listed: Option<u64>) -> io::Result<()> {
        let mut bytes = listed;
        // One that was sealed while this runs was not in the list yet. Its number says whose it is.
        let is_own = data.object.rsplit('/').next().is_some_and(|name| key.ends_with(name.get(..12).unwrap_or(name)));
        if bytes.is_none() && is_own {
            bytes = match self.store.open(&data.object) {
                Err(error) if is_away(&error) => return Err(error),
                object => object.ok().flatten().map(|_| data.bytes),
            };
        }
        let Some(bytes) = bytes else {
            self.report.find(Fault::Missing, &data.object, format!("`{key}` names it"));
            return Ok(());
        };
        if bytes != data.bytes {
            self.report.find(Fault::Altered, &data.object, format!("{bytes} bytes, sealed were {}", data.bytes));
            return Ok(());
        }
        if let Some(mark) = self.mark.of(self.way.folder).filter(|mark| seq < mark.seals) {
            if let Some(what) = mark.faults.get(&seq) {
                self.report.find(Fault::Altered, &data.object, what.as_str());
                self.known += 1;
            }
            self.report.read_before += 1;
            return Ok(());
        }
        let (store, deep, object) = (self.store, self.question.deep, data.clone());
        self.reading = Some((data.object.clone(), self.pool.later(move || check_object(store, &object, deep))));
        Ok(())
    }
}
