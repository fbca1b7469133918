//! The streams of an archive: which are there, and which seal of which each goes on from.
//!
//! Invariant: what is planted where a stream would be hides no other, and is no stream because it is there.

use std::io;

use super::chain::seal_key;
use super::note::{Note, VerifyingKey};
use super::object::OpenStore;
use super::seal::{Body, Seal};
use super::store::{NOTE_BYTES_MAX, Store, is_away, read_small};

/// More streams than that are no archive of ours.
const STREAMS_MAX: u64 = 10_000;
/// So many numbers without a stream end the search.
const AHEAD: u64 = 8;

/// The streams that are there from the one in `folder` on, one after the other: `audit`, `audit.2`, …
///
/// # Errors
/// The store cannot be read.
pub fn streams(stores: &OpenStore, folder: &str) -> io::Result<Vec<String>> {
    let numbered = folder.rsplit_once('.').and_then(|(base, number)| Some((base, number.parse::<u64>().ok()?)));
    let (base, first) = numbered.unwrap_or((folder, 1));
    let (mut found, mut absent) = (Vec::new(), 0);
    for stream in first..first.saturating_add(STREAMS_MAX) {
        let name = if stream == 1 { base.to_owned() } else { format!("{base}.{stream}") };
        match is_there(&*stores(&name))? {
            true => {
                found.push(name);
                absent = 0;
            }
            false => absent += 1,
        }
        if absent > AHEAD {
            break;
        }
    }
    Ok(found)
}

/// Whether there is anything where seals stand: the writer passes over such a place.
fn is_there(store: &dyn Store) -> io::Result<bool> {
    let there = match store.open(&seal_key(0)) {
        Ok(None) => store.keys("seal").map(|keys| !keys.is_empty()),
        opened => opened.map(|_| true),
    };
    match there {
        Err(error) if is_away(&error) => Err(error),
        there => Ok(there.unwrap_or(true)),
    }
}

/// How a stream begins that goes on from another one, in its own words: who has signed that is still to be asked.
#[derive(Debug)]
pub(super) struct Beginning {
    /// Its name, as its seal has it.
    pub(super) origin: String,
    /// The name of the stream before.
    pub(super) of: String,
    /// The seal that it goes on from, and the hash of its text.
    pub(super) seq: u64,
    pub(super) hash: String,
    /// Who signs it.
    pub(super) key: VerifyingKey,
    note: Vec<u8>,
}

impl Beginning {
    /// None of a stream that says no such thing, or cannot be read.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub(super) fn read(store: &dyn Store) -> io::Result<Option<Beginning>> {
        match read_small(store, &seal_key(0), NOTE_BYTES_MAX) {
            Err(error) if is_away(&error) => Err(error),
            note => Ok(note.ok().flatten().and_then(Beginning::parse)),
        }
    }

    /// `continues <origin> behind seal <seq> <hash> with <key>: <why>`.
    fn parse(note: Vec<u8>) -> Option<Beginning> {
        let seal = Seal::parse(Note::parse(&note).ok()?.text).ok()?;
        let Body::Gap(gap) = seal.body else { return None };
        let mut words = gap.cause.strip_prefix("continues ")?.splitn(7, ' ');
        let of = words.next()?.to_owned();
        let seq = (words.next()? == "behind" && words.next()? == "seal").then(|| words.next()?.parse().ok())??;
        let hash = words.next()?.to_owned();
        let key =
            VerifyingKey::parse(words.next().filter(|word| *word == "with").and(words.next())?.split_once(": ")?.0)?;
        Some(Beginning { origin: seal.origin, of, seq, hash, key, note })
    }

    /// Whether it has the name that a stream in that folder has.
    pub(super) fn is_of(&self, folder: &str) -> bool {
        let host = |name: &str| name.rsplit_once('/').map(|(host, _)| host.to_owned());
        self.key.name() == self.origin
            && host(&self.origin) == host(&self.of)
            && self.origin.rsplit_once('/').is_some_and(|(_, name)| name == folder)
    }

    /// Whether the key that signed the stream before and its own have signed it, and it has the name that a
    /// stream in that folder has.
    pub(super) fn is_signed(&self, before: &VerifyingKey, folder: &str) -> bool {
        let note = Note::parse(&self.note);
        self.is_of(folder) && note.is_ok_and(|note| note.is_signed_by(before) && note.is_signed_by(&self.key))
    }
}
