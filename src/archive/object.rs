//! What a stream is made of, as its caller says it: whose it is, where it goes, an object to be sealed.

use std::sync::Arc;

use wharfinger_formats::Time;

use super::seal::Source;
use super::store::Store;

/// Whose archive it is.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The machine: `gw-01.example`.
    pub host: String,
    /// The archive on it: `audit`.
    pub name: String,
}

impl Origin {
    /// The folder of a stream: `audit`, then `audit.2`, …
    pub(super) fn folder(&self, stream: u64) -> String {
        if stream == 1 { self.name.clone() } else { format!("{}.{stream}", self.name) }
    }

    /// The name of the keys of a stream.
    pub(super) fn key_name(&self, stream: u64) -> String {
        format!("{}/{}", self.host, self.folder(stream))
    }
}

/// Opens the store of a folder.
pub type OpenStore = Arc<dyn Fn(&str) -> Arc<dyn Store> + Send + Sync>;

/// An object ready to be sealed.
#[derive(Debug, Clone)]
pub struct Object {
    /// As they are to be stored.
    pub bytes: Vec<u8>,
    /// What its key ends with: `.ndjson.zst`.
    pub suffix: &'static str,
    /// When its events were received: the hour of its key.
    pub received: Time,
    pub records: u64,
    /// The Merkle root of its lines.
    pub root: [u8; 32],
    pub incarnation: String,
    /// The first number it accounts for, where that is not the one after the last object's.
    pub first: u64,
    /// The last number it accounts for.
    pub last: u64,
    /// Of the events in it.
    pub span: (Time, Time),
    pub quarantined: u64,
    pub dropped: u64,
    /// Sorted, each name once.
    pub sources: Vec<Source>,
}
