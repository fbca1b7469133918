//! Oracle: what was sent and acknowledged, and whether what the sinks' peers have fits to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::peer::{Peer, is_bad};
use crate::intake::Tally;
use crate::journal::{Journal, Status};

/// What the senders know. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<Mutex<BTreeMap<String, bool>>>);

impl Sent {
    /// A frame is on its way.
    pub(super) fn send(&self, raw: &str) {
        self.0.lock().unwrap().insert(raw.to_owned(), false);
    }

    /// Its receipt came.
    pub(super) fn acknowledge(&self, raw: &str) {
        self.0.lock().unwrap().insert(raw.to_owned(), true);
    }

    pub(super) fn acknowledged(&self) -> BTreeSet<String> {
        let sent = self.0.lock().unwrap();
        sent.iter().filter(|(_, acknowledged)| **acknowledged).map(|(raw, _)| raw.clone()).collect()
    }

    fn was_sent(&self, raw: &str) -> bool {
        self.0.lock().unwrap().contains_key(raw)
    }
}

/// P3: every event in the journal is in one count of each sink, and in one of the sources'.
pub(super) fn check_accounts(status: &Status) {
    let taken: u64 = status.tallies.values().map(|sums| Tally::from_sums(sums).taken).sum();
    assert_eq!(taken, status.appended_total, "what the sources took in is what was numbered");
    for cursor in &status.cursors {
        assert_eq!(cursor.unaccounted(), 0, "{}: received = delivered + quarantined + lost + queued", cursor.name);
    }
}

/// Everything is drained: the peers have exactly what they should. With `strict`, nothing came twice
/// that was not under way when something happened.
pub(super) fn check(journal: &Journal, sent: &Sent, peers: &[(&str, Peer)], quarantine: &Path, strict: bool) {
    let status = journal.status();
    check_accounts(&status);
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for (name, peer) in peers {
        let state = peer.state();
        let mut first: Vec<(&str, &str)> = Vec::new();
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for arrived in &state.arrived {
            // An id stands for one event, at all sinks and in all lives.
            let known = ids.entry(arrived.id.clone()).or_insert_with(|| arrived.raw.clone());
            assert_eq!(*known, arrived.raw, "{name}: {} was given twice", arrived.id);
            assert!(sent.was_sent(&arrived.raw), "{name}: nobody sent `{:.20}`", arrived.raw);
            assert!(!is_bad(&arrived.raw));
            let times = times.entry(&arrived.id).or_default();
            *times += 1;
            let excused = 1 + state.excused.get(&arrived.id).copied().unwrap_or(0);
            assert!(
                !strict || *times <= excused,
                "{name}: `{:.20}` came {times} times, {excused} at most",
                arrived.raw
            );
            if *times == 1 {
                first.push((&arrived.id, &arrived.raw));
            }
        }
        check_order(name, &first);
        let refused = quarantined(quarantine, name);
        assert!(refused.iter().all(|raw| is_bad(raw) || raw.contains("unfit")), "{name}: a good event is refused");
        for raw in sent.acknowledged() {
            let here = first.iter().any(|(_, arrived)| *arrived == raw) || refused.contains(&raw);
            assert!(here, "{name}: `{raw:.20}` was acknowledged and is lost");
        }
        let cursor = status.cursors.iter().find(|cursor| cursor.name == *name).unwrap();
        assert_eq!(cursor.lag_records, 0, "{name} is not drained");
        let became = (cursor.passed.delivered, cursor.passed.quarantined, cursor.passed.lost);
        assert_eq!(became, (first.len() as u64, refused.len() as u64, 0), "{name}: delivered, quarantined, lost");
    }
}

/// In order of their numbers, and those of a connection in the order they were sent.
fn check_order(name: &str, first: &[(&str, &str)]) {
    assert!(first.is_sorted_by_key(|(id, _)| *id), "{name}: out of order");
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, raw) in first {
        let mut words = raw.split(' ');
        let (sender, number) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        let last = last.insert(sender, number);
        assert!(last.is_none_or(|last| last < number), "{name}: {sender} sent {number} after {last:?}");
    }
}

/// The events in a sink's quarantine. One that was refused before and after a crash is there twice.
fn quarantined(dir: &Path, name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(dir.join(format!("{name}.ndjson"))).unwrap_or_default();
    let raw = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        String::from_utf8(STANDARD.decode(line["raw"].as_str().unwrap()).unwrap()).unwrap()
    };
    text.lines().map(raw).collect()
}
