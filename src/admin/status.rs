//! `/api/status`: how the gateway stands, in numbers that agree with each other.
//!
//! Invariant: for each sink, received = delivered + filtered + quarantined + lost + queued; for each
//! source, received = taken + lost; and what all sources took in is what the journal has numbered,
//! but for `unattributed`. All of it is read in one moment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{View, state_name};
use crate::intake::{OWN_SOURCE, Tally};
use crate::journal::Status;
use crate::sinks::SinkStats;
use crate::sinks::redact::Rule;
use crate::stats;

/// The page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    pub version: String,
    pub pid: u32,
    pub journal: JournalRow,
    pub sources: Vec<SourceRow>,
    pub sinks: Vec<SinkRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<DigestRow>,
}

/// A digest: the last that is there, and what keeps the next.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DigestRow {
    pub name: String,
    /// `made`: none is owed; `waits` for its archive; `fails`, and is tried again.
    pub state: String,
    /// The last day that has one; empty: none is known yet.
    pub last_day: String,
    /// The end of that day, seconds since 1970.
    pub last_end: i64,
    pub result: String,
    /// What went wrong last.
    pub error: Option<String>,
}

/// The journal, in events and bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JournalRow {
    pub incarnation: String,
    /// False: nothing is acknowledged, because the disk does not store.
    pub healthy: bool,
    /// The disk is full: appends wait.
    pub stalled: bool,
    pub bytes_used: u64,
    pub bytes_max: u64,
    /// Of `bytes_max`: the rest is a reserve for gap records and alarms.
    pub bytes_ordinary: u64,
    /// How long it takes what comes in at the present rate, if nothing leaves it.
    pub seconds_left: Option<u64>,
    /// Numbered since the journal began.
    pub events: u64,
    /// Of these, those whose source is not known: damage took the tally with it.
    pub unattributed: i64,
    /// Found damaged since the start of the gateway.
    pub damaged: u64,
}

/// A source, in events.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceRow {
    pub name: String,
    /// `type` in the configuration; `-` for one that is no longer there.
    #[serde(rename = "type")]
    pub kind: String,
    /// Taken in and declared lost.
    pub received: u64,
    /// In the journal.
    pub taken: u64,
    /// Declared by gap records.
    pub lost: u64,
    /// Dropped just now: a gap record follows as soon as there is room.
    pub undeclared: u64,
}

/// A sink, in events since its cursor began.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkRow {
    pub name: String,
    /// `type` in the configuration.
    #[serde(rename = "type")]
    pub kind: String,
    pub state: String,
    /// What went wrong last.
    pub error: Option<String>,
    pub received: u64,
    pub delivered: u64,
    pub filtered: u64,
    pub quarantined: u64,
    /// Declared by gap records.
    pub lost: u64,
    /// Of these, given up because the journal was full; the gap record follows when the sink is back.
    pub undeclared: u64,
    pub queued: u64,
    pub queued_bytes: u64,
    /// Of the queued: the peer has taken them, and has not acknowledged or may still lose them.
    #[serde(default)]
    pub in_doubt: u64,
    /// Secrets that were taken out of what the peer has, by rule, since the start of the gateway.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redacted: BTreeMap<String, u64>,
    /// In none of the counts: always zero.
    pub unaccounted: i64,
}

/// How it stands now.
pub fn page(view: &dyn View) -> Page {
    let status = view.journal().status();
    let sources = sources(view, &status);
    let taken: u64 = sources.iter().map(|source| source.taken).sum();
    let journal = JournalRow {
        incarnation: view.journal().incarnation().to_string(),
        healthy: status.healthy,
        stalled: status.stalled,
        bytes_used: status.bytes_used,
        bytes_max: status.bytes_max,
        bytes_ordinary: status.bytes_ordinary,
        seconds_left: view.seconds_left(),
        events: status.appended_total,
        unattributed: status.appended_total.cast_signed() - taken.cast_signed(),
        damaged: status.damaged_total,
    };
    let (version, pid) = (env!("CARGO_PKG_VERSION").to_owned(), std::process::id());
    Page { version, pid, journal, sources, sinks: sinks(view, &status), digests: view.digests() }
}

/// Sources that are running, and those that left something behind.
fn sources(view: &dyn View, status: &Status) -> Vec<SourceRow> {
    let running = view.sources();
    let mut names: Vec<&str> = running.iter().map(|source| &*source.name).chain([OWN_SOURCE]).collect();
    names.extend(status.tallies.keys().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    let row = |name: &str| {
        let known = running.iter().find(|source| source.name == name);
        let Tally { taken, lost } = status.tallies.get(name).map_or_else(Tally::default, |sums| Tally::from_sums(sums));
        let kind = match known {
            Some(source) => source.kind,
            None if name == OWN_SOURCE => "own events",
            None => "-",
        };
        SourceRow {
            name: name.to_owned(),
            kind: kind.to_owned(),
            received: taken + lost,
            taken,
            lost,
            undeclared: known.map_or(0, |source| stats::read(&source.stats.undeclared)),
        }
    };
    names.into_iter().map(row).collect()
}

fn sinks(view: &dyn View, status: &Status) -> Vec<SinkRow> {
    let running = view.sinks();
    let row = |cursor: &crate::journal::CursorStatus| {
        let known = running.iter().find(|sink| sink.name == cursor.name);
        SinkRow {
            name: cursor.name.clone(),
            kind: known.map_or("-", |sink| sink.kind).to_owned(),
            state: known.map_or("stopped", |sink| state_name(sink.stats.state())).to_owned(),
            error: known.and_then(|sink| sink.stats.last_error()),
            received: cursor.received(),
            delivered: cursor.passed.delivered,
            filtered: cursor.passed.filtered,
            quarantined: cursor.passed.quarantined,
            lost: cursor.passed.lost,
            undeclared: cursor.given_up,
            queued: cursor.lag_records,
            queued_bytes: cursor.lag_bytes,
            in_doubt: known.map_or(0, |sink| sink.stats.in_doubt()),
            redacted: known.map(|sink| redacted(&sink.stats)).unwrap_or_default(),
            unaccounted: cursor.unaccounted(),
        }
    };
    status.cursors.iter().map(row).collect()
}

fn redacted(stats: &SinkStats) -> BTreeMap<String, u64> {
    let counts = Rule::ALL.into_iter().map(|rule| (rule.name().to_owned(), stats.redacted_total(rule)));
    counts.filter(|(_, count)| *count > 0).collect()
}
