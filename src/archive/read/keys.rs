//! The keys of the epochs of a stream, found without a walk over all its seals.
//!
//! Invariant: a key is used only if the one before it and it itself have signed the change.

use super::Unread;
use crate::archive::chain::seal_key;
use crate::archive::merkle::sha256;
use crate::archive::note::{Note, VerifyingKey};
use crate::archive::seal::{Base64, Body, Seal};
use crate::archive::store::{NOTE_BYTES_MAX, Store, read_small};
use crate::archive::verify::Fault;

/// The keys known so far, by epoch.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<VerifyingKey>,
    /// The first seal of the last of these epochs.
    first: u64,
}

impl Keys {
    pub(super) fn new(first: VerifyingKey) -> Keys {
        Keys { keys: vec![first], first: 0 }
    }

    /// Whether a seal is signed by the key of its epoch.
    pub(super) fn check(&mut self, store: &dyn Store, key: &str, note: &Note<'_>, seal: &Seal) -> Result<(), Unread> {
        let signature = |what: &str| Unread::fault(Fault::Signature, key, what);
        let signer = self.of(store, seal.epoch, seal.seq)?;
        if seal.origin != signer.name() {
            return Err(signature("it is of another stream"));
        }
        if !note.is_signed_by(&signer) {
            return Err(signature("it is not signed by the key of its epoch"));
        }
        Ok(())
    }

    /// The key of an epoch that the seal `seq` claims to be of.
    fn of(&mut self, store: &dyn Store, epoch: u64, seq: u64) -> Result<VerifyingKey, Unread> {
        loop {
            if let Some(key) = usize::try_from(epoch).ok().and_then(|epoch| self.keys.get(epoch)) {
                return Ok(key.clone());
            }
            self.next(store, seq)?;
        }
    }

    /// Finds the change of keys that ends the last known epoch; it stands before the seal `behind`.
    fn next(&mut self, store: &dyn Store, behind: u64) -> Result<(), Unread> {
        let epoch = self.keys.len() as u64 - 1;
        let (mut low, mut high) = (self.first, behind);
        while low < high {
            let middle = low + (high - low) / 2;
            match read(store, middle)?.1.epoch > epoch {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        let at = low.saturating_sub(1);
        let (bytes, seal) = read(store, at)?;
        let refused = |what| Unread::fault(Fault::Signature, &seal_key(at), what);
        let note = Note::parse(&bytes).map_err(refused)?;
        let Body::Rotate { next } = seal.body else { return Err(refused("it changes no key, and the epoch changes")) };
        let key = VerifyingKey::parse(&next).ok_or_else(|| refused("it names no key"))?;
        let before = self.keys.last().is_some_and(|before| note.is_signed_by(before) && before.name() == key.name());
        if !before || !note.is_signed_by(&key) || seal.epoch != epoch {
            return Err(refused("the change of keys is not signed by both"));
        }
        self.keys.push(key);
        self.first = at + 1;
        Ok(())
    }

    /// Who signs behind a seal whose text has that hash; none if there is no such seal.
    pub(super) fn behind(&mut self, own: &dyn Store, seq: u64, hash: &str) -> Result<Option<VerifyingKey>, Unread> {
        let (bytes, seal) = match read(own, seq) {
            Err(Unread::Fault { .. }) => return Ok(None),
            read => read?,
        };
        let text = Note::parse(&bytes).map(|note| Base64(&sha256(note.text.as_bytes())).to_string());
        if text.is_ok_and(|text| text != hash) {
            return Ok(None);
        }
        // Behind a change of keys the new one signs.
        let epoch = seal.epoch + u64::from(matches!(seal.body, Body::Rotate { .. }));
        self.of(own, epoch, seq.saturating_add(1)).map(Some)
    }
}

/// A seal as it stands there, believed by nobody yet.
fn read(store: &dyn Store, seq: u64) -> Result<(Vec<u8>, Seal), Unread> {
    let key = seal_key(seq);
    let bytes = read_small(store, &key, NOTE_BYTES_MAX)?;
    let bytes = bytes.ok_or_else(|| Unread::fault(Fault::Missing, &key, "the seal is not there"))?;
    let note = Note::parse(&bytes).map_err(|why| Unread::fault(Fault::Signature, &key, why))?;
    let seal = Seal::parse(note.text).map_err(|why| Unread::fault(Fault::Altered, &key, why))?;
    Ok((bytes, seal))
}
