//! What verifying found, for people and for machines.

use std::collections::BTreeSet;

use serde::Serialize;
use wharfinger_formats::Time;

use super::part::PassedOver;
use crate::archive::chain::seal_key;
use crate::archive::merkle::Hash;
use crate::archive::note::VerifyingKey;
use crate::archive::seal::{Base64, Data, Gap, Millis, Tally};

/// Findings that are kept one by one; of more only the keys are.
const FINDINGS_MAX: usize = 1000;

/// A kind of tampering. The number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    Altered = 10,
    /// Missing or in another order.
    Missing = 11,
    /// There, and no seal names it.
    Foreign = 12,
    /// Bad, or of a key that was not to sign.
    Signature = 13,
    /// Nothing says that what is there last was the last.
    End = 14,
    /// The stream is not the one a checkpoint kept elsewhere is of.
    Anchor = 15,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub fault: Fault,
    /// The key of the object, seal or checkpoint.
    pub key: String,
    pub what: String,
    /// It holds only while no other stream goes on from the end of this one.
    #[serde(skip)]
    pub(super) is_of_tail: bool,
}

impl Finding {
    pub(in crate::archive) fn new(fault: Fault, key: &str, what: impl Into<String>) -> Finding {
        Finding { fault, key: key.to_owned(), what: what.into(), is_of_tail: false }
    }
}

/// What a time stamp says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stamped {
    /// So many seals existed, and all they are about.
    pub seals: u64,
    /// At this time.
    pub time: String,
    /// An authority that is trusted has signed it; else it is only what is written there.
    pub is_proven: bool,
}

/// How far a witness has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    pub name: String,
    /// Its public key, with the name.
    pub witness: String,
    /// So many seals.
    pub seals: u64,
    /// By its clock.
    pub time: String,
}

/// What was found in a stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub origin: String,
    pub seals: u64,
    pub objects: u64,
    /// Of objects, as they are stored.
    pub bytes: u64,
    /// What became of every number the seals account for.
    pub taken: u64,
    pub archived: u64,
    pub filtered: u64,
    pub quarantined: u64,
    pub dropped: u64,
    pub gaps: Vec<String>,
    pub silences: u64,
    pub checkpoints: u64,
    pub anchors: u64,
    /// Time stamps beside checkpoints, and the newest of them.
    pub stamps: u64,
    pub stamped: Option<Stamped>,
    /// How far each witness that was asked for has signed.
    pub witnesses: Vec<Witnessed>,
    /// When the first and the last seal were made.
    pub first_time: Option<String>,
    pub last_time: Option<String>,
    pub findings: Vec<Finding>,
    pub findings_total: u64,
    /// The keys of those that are only counted.
    #[serde(skip)]
    unlisted: BTreeSet<String>,
    /// What was not looked at, because the question was about a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<PassedOver>,
    /// Objects whose bytes an earlier walk has read: this one has seen that they are there.
    #[serde(skip_serializing_if = "is_none")]
    pub read_before: u64,
    /// Who signs next, and number and hash of the last seal, when it can be trusted.
    #[serde(skip)]
    pub(super) last: Option<(VerifyingKey, u64, Hash)>,
    /// Who signs from which seal on.
    #[serde(skip)]
    pub(super) keys: Vec<(u64, VerifyingKey)>,
}

/// The answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Bad(Fault),
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

/// A time as seals write it.
pub(super) fn time(time: Time) -> String {
    Millis(time).to_string()
}

impl Report {
    pub(super) fn new(origin: &str) -> Report {
        Report { origin: origin.to_owned(), ..Report::default() }
    }

    pub(super) fn find(&mut self, fault: Fault, key: &str, what: impl Into<String>) {
        self.add(Finding::new(fault, key, what));
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.insert_finding(self.findings.len(), finding);
    }

    fn insert_finding(&mut self, at: usize, finding: Finding) {
        self.findings_total += 1;
        self.findings.insert(at, finding);
        if self.findings.len() > FINDINGS_MAX {
            // What may yet turn out to be none stays, to be found again: it is little.
            let last = self.findings.iter().rposition(|finding| !finding.is_of_tail);
            let finding = last.map(|last| self.findings.remove(last));
            self.unlisted.extend(finding.map(|finding| finding.key));
        }
    }

    /// The keys of everything that has a fault, also where findings are too many to be listed. One may come twice.
    pub fn faulty(&self) -> impl Iterator<Item = &str> {
        let listed = self.findings.iter().map(|finding| &*finding.key);
        listed.chain(self.unlisted.iter().map(|key| &**key))
    }

    /// Who signs behind a seal, if that was reached.
    pub(super) fn key_behind(&self, seq: u64) -> Option<&VerifyingKey> {
        let is_reached = self.last.as_ref().is_some_and(|(_, last, _)| seq <= *last);
        let signs = self.keys.iter().take_while(|(first, _)| *first <= seq.saturating_add(1));
        signs.last().map(|(_, key)| key).filter(|_| is_reached)
    }

    /// The same at a place before others.
    pub(super) fn insert(&mut self, at: usize, fault: Fault, key: &str, what: &str) {
        self.insert_finding(at.min(self.findings.len()), Finding::new(fault, key, what));
    }

    /// Another stream goes on from a seal of this one. If that is the last, its end is proven, and what nobody
    /// had time to vouch for at the end is to be vouched for there: true if there is such a thing.
    pub(super) fn is_followed_by(&mut self, folder: &str, seq: u64, hash: &str) -> bool {
        if self.last.as_ref().is_none_or(|(_, last, of)| (*last, &*Base64(of).to_string()) != (seq, hash)) {
            let what = format!("`{folder}` goes on from here, and not from the last seal: was its writer put back?");
            self.find(Fault::End, &seal_key(seq), what);
            return false;
        }
        let before = self.findings.len();
        let owes = self.findings.iter().any(|finding| finding.is_of_tail && finding.fault != Fault::End);
        self.findings.retain(|finding| !finding.is_of_tail);
        self.findings_total -= (before - self.findings.len()) as u64;
        owes
    }

    pub(super) fn see(&mut self, seen: Time) {
        let text = time(seen);
        self.first_time.get_or_insert_with(|| text.clone());
        self.last_time = Some(text);
    }

    pub(super) fn gap(&mut self, gap: &Gap) {
        if self.gaps.len() < FINDINGS_MAX {
            let missing = gap.missing.map_or_else(|| "an unknown number of".to_owned(), |missing| missing.to_string());
            let when = |when: Option<Time>| when.map_or_else(|| "an unknown time".to_owned(), time);
            let (from, to) = (when(gap.from), when(gap.to));
            self.gaps.push(format!("{}: {missing} events, {from} to {to}: {}", gap.source, gap.cause));
        }
    }

    pub(super) fn count(&mut self, data: &Data) {
        let Tally { taken, archived, filtered, quarantined, dropped } = data.tally;
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(data.bytes);
        for (sum, more) in [
            (&mut self.taken, taken),
            (&mut self.archived, archived),
            (&mut self.filtered, filtered),
            (&mut self.quarantined, quarantined),
            (&mut self.dropped, dropped),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// The first fault that was found decides.
    pub fn verdict(&self) -> Verdict {
        self.findings.first().map_or(Verdict::Good, |finding| Verdict::Bad(finding.fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than can be listed: each is counted, and what is faulty is known.
    #[test]
    fn everything_faulty_is_known() {
        let mut report = Report::new("gw/audit");
        let tail = Finding { is_of_tail: true, ..Finding::new(Fault::End, "tail", "nobody vouches for it") };
        report.add(tail);
        for number in 0..FINDINGS_MAX + 500 {
            report.find(Fault::Altered, &format!("data/{number}"), "other bytes");
        }
        report.insert(0, Fault::Missing, "data/first", "it is missing");
        assert_eq!((report.findings.len(), report.findings_total), (FINDINGS_MAX, FINDINGS_MAX as u64 + 502));
        assert_eq!((&*report.findings[0].key, &*report.findings[1].key), ("data/first", "tail"));
        let faulty: BTreeSet<&str> = report.faulty().collect();
        assert_eq!(faulty.len(), FINDINGS_MAX + 502);
        assert!((0..FINDINGS_MAX + 500).all(|number| faulty.contains(&*format!("data/{number}"))));
        // Many more of the tail are still found.
        (0..FINDINGS_MAX).for_each(|_| report.find(Fault::Altered, "data/7", "again"));
        assert!(report.findings.iter().any(|finding| finding.is_of_tail));
    }
}
