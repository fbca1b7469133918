//! One event shown alone: its line, the way from it to the root in its seal, and the seals that say who
//! signed. Nothing of the other events is told.
//!
//! Invariant: checking needs the public key of the first seal and nothing else.

use std::io::{self, BufRead as _, BufReader};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::merkle::{Hash, leaf, proof, root_from};
use super::note::{Note, VerifyingKey};
use wharfinger_formats::Time;

use super::seal::{Body, Millis, Seal, hash};
use super::store::{NOTE_BYTES_MAX, Store, inflated, read_small};

/// See above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The line, without its end.
    pub line: String,
    /// Which line of the object it is, from 0.
    pub index: u64,
    /// What stands beside its way up, in base64.
    pub path: Vec<String>,
    /// The seal of the object, as it is stored.
    pub seal: String,
    /// The seals by which keys changed before, in order.
    pub rotations: Vec<String>,
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub origin: String,
    pub seal: u64,
    pub sealed: String,
    pub object: String,
}

/// Makes the proof of the event with that number, and with that id in its line; none if the stream has none.
///
/// # Errors
/// The store cannot be read, or holds what is no archive: `verify` tells more.
pub fn prove(store: &dyn Store, number: u64, event_id: &str) -> io::Result<Option<Proof>> {
    let (mut rotations, mut found) = (Vec::new(), None);
    for (key, _) in store.keys("seal")? {
        let bytes = read_small(store, &key, NOTE_BYTES_MAX)?.unwrap_or_default();
        let note = Note::parse(&bytes).map_err(|why| damaged(&key, why))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match Seal::parse(note.text).map_err(|why| damaged(&key, &why))?.body {
            Body::Rotate { .. } => rotations.push(text),
            Body::Data(data) if (data.ingest.0..=data.ingest.1).contains(&number) => {
                found = Some((data, text));
                break;
            }
            _ => {}
        }
    }
    let Some((data, seal)) = found else { return Ok(None) };
    let Some(object) = store.open(&data.object)? else { return Err(damaged(&data.object, "it is not there")) };
    let wanted = format!("\"event_id\":\"{event_id}\"");
    let (mut leaves, mut line) = (Vec::new(), None);
    for (index, read) in BufReader::new(inflated(&data.object, object)?).split(b'\n').enumerate() {
        let read = read?;
        leaves.push(leaf(&read));
        if line.is_none() && memchr::memmem::find(&read, wanted.as_bytes()).is_some() && is_of(&read, event_id) {
            line = Some((index, read));
        }
    }
    let Some((index, line)) = line else { return Ok(None) };
    let path = proof(&leaves, index).iter().map(|hash| STANDARD.encode(hash)).collect();
    let line = String::from_utf8(line).map_err(|_| damaged(&data.object, "its line is not UTF-8"))?;
    Ok(Some(Proof { line, index: index as u64, path, seal, rotations }))
}

fn is_of(line: &[u8], event_id: &str) -> bool {
    let line: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    line.is_some_and(|line| line["event_id"] == event_id)
}

fn damaged(key: &str, why: &str) -> io::Error {
    io::Error::other(format!("`{key}`: {why}"))
}

impl Proof {
    /// Whether the line was sealed by the stream that begins with the key.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self, first: &VerifyingKey) -> Result<Shown, &'static str> {
        let mut key = first.clone();
        let mut before: Option<(u64, Time)> = None;
        for (epoch, rotation) in self.rotations.iter().enumerate() {
            let note = Note::parse(rotation.as_bytes())?;
            let seal = Seal::parse(note.text).map_err(|_| "a change of keys is no seal")?;
            let Body::Rotate { next } = seal.body else { return Err("a seal is no change of keys") };
            let next = VerifyingKey::parse(&next).ok_or("a change of keys names no key")?;
            let is_later = before.is_none_or(|(seq, time)| seal.seq > seq && seal.time >= time);
            let is_next = next.name() == first.name() && seal.epoch == epoch as u64 && is_later;
            before = Some((seal.seq, seal.time));
            if !is_next || !note.is_signed_by(&key) || !note.is_signed_by(&next) {
                return Err("a change of keys is not signed by both");
            }
            key = next;
        }
        let note = Note::parse(self.seal.as_bytes())?;
        if !note.is_signed_by(&key) {
            return Err("the seal is not signed by the key of its epoch");
        }
        let seal = Seal::parse(note.text).map_err(|_| "the seal is none")?;
        // A key of later must not sign for what was before it.
        let is_later = before.is_none_or(|(seq, time)| seal.seq > seq && seal.time >= time);
        if seal.epoch != self.rotations.len() as u64 || seal.origin != first.name() || !is_later {
            return Err("the seal is not one of the epoch whose key has signed it");
        }
        let Body::Data(data) = seal.body else { return Err("the seal is not one of an object") };
        let path: Option<Vec<Hash>> = self.path.iter().map(|part| hash(part).ok()).collect();
        let path = path.ok_or("a part of the path is no hash")?;
        if root_from(leaf(self.line.as_bytes()), self.index, data.records, &path) != Some(data.root) {
            return Err("the line does not lead to the root of the seal");
        }
        let sealed = Millis(seal.time).to_string();
        Ok(Shown { origin: seal.origin, seal: seal.seq, sealed, object: data.object })
    }
}
