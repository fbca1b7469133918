//! The head of a stream: all that is needed to go on sealing, and where the next number stands.

use serde::{Deserialize, Serialize};
use wharfinger_formats::Time;

use super::merkle::{Hash, Tree};
use super::seal::{Base64, hash};

/// See above. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Of the archive: 1, and one more whenever a stream could not go on.
    pub(super) stream: u64,
    /// Seals so far.
    size: u64,
    /// SHA-256 of the text of the last, in base64.
    prev: String,
    /// The roots of the full parts of the tree of seals.
    peaks: Vec<String>,
    pub(super) epoch: u64,
    /// When the epoch began, and with which seal.
    pub(super) epoch_began: i64,
    pub(super) epoch_first: u64,
    /// Of the last seal.
    pub(super) time: i64,
    /// When the last object was sealed, or the last silence.
    pub(super) silent_since: i64,
    /// The last checkpoint.
    pub(super) checkpoint_time: i64,
    pub(super) checkpoint_size: u64,
    /// The last seal has closed the stream: nothing follows.
    #[serde(default)]
    pub(super) is_closed: bool,
    /// The journal's incarnation; empty before the first object.
    pub(super) incarnation: String,
    /// The number after the last that is accounted for.
    pub(super) ingest_next: u64,
    /// Incarnations before this one, and the number each was accounted for up to.
    #[serde(default)]
    pub(super) earlier: Vec<(String, u64)>,
    /// The last seal of an object, and the first number that it accounts for.
    #[serde(default)]
    pub(super) object: Option<(u64, u64)>,
}

/// Incarnations that are remembered.
const EARLIER_MAX: usize = 64;

/// How far an archive has got in the journal: what it has is not sealed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The journal's incarnation; empty before the first object.
    pub incarnation: String,
    /// The number after the last that is accounted for.
    pub next: u64,
    earlier: Vec<(String, u64)>,
}

impl Reached {
    /// Of an archive that has seen one incarnation.
    #[cfg(test)]
    pub(crate) fn from_parts(incarnation: &str, next: u64) -> Reached {
        Reached { incarnation: incarnation.to_owned(), next, earlier: Vec::new() }
    }

    /// Whether the archive accounts for a number.
    pub fn has(&self, incarnation: &str, number: u64) -> bool {
        match self.incarnation == incarnation {
            true => number < self.next,
            false => self.earlier.iter().any(|(earlier, next)| earlier == incarnation && number < *next),
        }
    }
}

impl Head {
    /// Before the first seal.
    pub(super) fn new(stream: u64, now: Time) -> Head {
        let now = now.millis();
        Head {
            stream,
            size: 0,
            prev: Base64(&[0; 32]).to_string(),
            peaks: Vec::new(),
            epoch: 0,
            epoch_began: now,
            epoch_first: 0,
            time: now,
            silent_since: now,
            checkpoint_time: now,
            checkpoint_size: 0,
            is_closed: false,
            incarnation: String::new(),
            ingest_next: 0,
            earlier: Vec::new(),
            object: None,
        }
    }

    pub(super) fn reached(&self) -> Reached {
        Reached { incarnation: self.incarnation.clone(), next: self.ingest_next, earlier: self.earlier.clone() }
    }

    /// Another incarnation is accounted for from now on.
    pub(super) fn begin_incarnation(&mut self, before: &Head) {
        self.earlier.clone_from(&before.earlier);
        if !before.incarnation.is_empty() {
            self.earlier.push((before.incarnation.clone(), before.ingest_next));
        }
        let surplus = self.earlier.len().saturating_sub(EARLIER_MAX);
        self.earlier.drain(..surplus);
    }

    /// How many seals there are: the number of the next.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn prev(&self) -> Result<Hash, String> {
        hash(&self.prev)
    }

    pub(super) fn tree(&self) -> Result<Tree, String> {
        let peaks = self.peaks.iter().map(|peak| hash(peak)).collect::<Result<_, _>>()?;
        Tree::from_peaks(self.size, peaks).ok_or_else(|| "its peaks do not fit its size".to_owned())
    }

    /// A seal was added.
    pub(super) fn add(&mut self, text_hash: &Hash, tree: &Tree, time: Time) {
        self.prev = Base64(text_hash).to_string();
        self.size = tree.size();
        self.peaks = tree.peaks().iter().map(|peak| Base64(peak).to_string()).collect();
        self.time = time.millis();
    }
}
