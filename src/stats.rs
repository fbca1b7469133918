//! Counters that parts add to and the metrics page reads. Names no other room.
//!
//! How many events a source received and lost is not here but in the journal, with the events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What a source took in, in events unless the name says otherwise.
#[derive(Debug, Default)]
pub struct SourceStats {
    pub received_bytes: AtomicU64,
    /// Of the received: no parser accepted them.
    pub unparsed: AtomicU64,
    /// Of the received: frames over the limit, of which only the head was kept.
    pub oversize: AtomicU64,
    /// Left out by the source's own options; they count as not received.
    pub excluded: AtomicU64,
    /// Dropped for want of room, and not yet declared by a gap record.
    pub undeclared: AtomicU64,
    /// Of the received: a parser panicked on them.
    pub panics: AtomicU64,
    /// Connections that were refused before their first frame: too many, not trusted, no handshake.
    pub refused_connections: AtomicU64,
    /// Requests and senders whose credentials are not ours, or that have none.
    pub refused_logins: AtomicU64,
}

/// The counters of every source, by its name in the configuration. Names stay when a reload
/// removes the source: a counter never goes backwards.
#[derive(Debug, Clone, Default)]
pub struct Sources(Arc<Mutex<BTreeMap<String, Arc<SourceStats>>>>);

impl Sources {
    /// The counters of one source.
    pub fn named(&self, name: &str) -> Arc<SourceStats> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sources.entry(name.to_owned()).or_default())
    }

    /// All of them, in the order of their names.
    pub fn all(&self) -> Vec<(String, Arc<SourceStats>)> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().map(|(name, stats)| (name.clone(), Arc::clone(stats))).collect()
    }
}

/// Adds to a counter; order between counters does not matter.
pub fn add(counter: &AtomicU64, events: u64) {
    counter.fetch_add(events, Relaxed);
}

/// Reads a counter.
pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
