//! What verifying found, for people and for machines.

use serde::Serialize;
use wharfinger_formats::Time;

use super::part::PassedOver;
use crate::archive::merkle::Hash;
use crate::archive::note::VerifyingKey;
use crate::archive::seal::{Data, Gap, Millis, Tally};

/// Findings that are kept one by one; more are counted.
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

/// Where it is said that somebody has not vouched for a stream: beside no checkpoint.
pub(super) const NOT_VOUCHED: &str = "checkpoint";

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
    /// What was not looked at, because the question was about a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<PassedOver>,
    /// Objects whose bytes an earlier walk has read: this one has seen that they are there.
    #[serde(skip_serializing_if = "is_none")]
    pub read_before: u64,
    /// Who signs next, and number and hash of the last seal, when it can be trusted.
    #[serde(skip)]
    pub(super) last: Option<(VerifyingKey, u64, Hash)>,
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
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { fault, key: key.to_owned(), what: what.into() });
        }
    }

    /// The same at a place before others.
    pub(super) fn insert(&mut self, at: usize, fault: Fault, key: &str, what: &str) {
        self.findings_total += 1;
        let at = at.min(self.findings.len());
        self.findings.insert(at, Finding { fault, key: key.to_owned(), what: what.to_owned() });
        self.findings.truncate(FINDINGS_MAX);
    }

    /// The stream goes on in another one, whose first seal says what the last one of this was: that proves the
    /// end, and what others vouch for there they vouch for here.
    pub(super) fn is_followed(&mut self) {
        let before = self.findings.len();
        let is_of_end = |finding: &Finding| finding.fault == Fault::End || finding.key == NOT_VOUCHED;
        self.findings.retain(|finding| !is_of_end(finding));
        self.findings_total -= (before - self.findings.len()) as u64;
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
