//! What the fuzz target `archive` sees of the inside: readers of what stands in an archive, and a key that
//! signs whatever it is given.

use super::checkpoint::Checkpoint;
use super::head::Head;
pub use super::memory::Memory;
use super::merkle::{Hash, Tree, sha256};
use super::note::{Note, SigningKey, VerifyingKey, sign};
use super::seal::{Base64, Body, Data, Seal};

const ORIGIN: &str = "fuzz/audit";

/// The key that the archive begins with.
#[must_use]
pub fn key() -> VerifyingKey {
    signer().verifying().clone()
}

fn signer() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [1; 32]).expect("a name and a seed")
}

/// The text of a note that is one.
pub fn note(bytes: &[u8]) -> Option<&str> {
    Note::parse(bytes).ok().map(|note| note.text)
}

/// The text of a seal as it is written, if it was read.
pub fn seal(text: &str) -> Option<String> {
    Seal::parse(text).ok().map(|seal| seal.to_string())
}

/// The text of a checkpoint as it is written, if it was read.
pub fn checkpoint(text: &str) -> Option<String> {
    Checkpoint::parse(text).map(|checkpoint| checkpoint.to_string())
}

/// The root that the head of a stream has, if it is one.
pub fn head_root(json: &[u8]) -> Option<Hash> {
    serde_json::from_slice::<Head>(json).ok()?.tree().ok().map(|tree| tree.root())
}

impl Memory {
    /// Signs the seals that say what may be said, with what they say of their objects made true: whoever has
    /// the key can do that. `lines` are the records of an object.
    pub fn forge(&mut self, lines: impl Fn(&str, &[u8]) -> Option<Vec<Vec<u8>>>) {
        let (key, mut prev) = (signer(), [0; 32]);
        let seals: Vec<String> = self.0.keys().filter(|name| name.starts_with("seal/")).cloned().collect();
        for (seq, name) in (0_u64..).zip(seals) {
            let text = self.0.get(&name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let Some(mut seal) = text.and_then(|text| Seal::parse(&text).ok()) else { continue };
            (seal.seq, seal.prev, seal.origin) = (seq, prev, ORIGIN.to_owned());
            if let Body::Data(data) = &mut seal.body {
                self.make_true(data, &lines);
            }
            let text = seal.to_string();
            prev = sha256(text.as_bytes());
            let note = sign(&text, &[&key]).expect("a key in memory signs");
            self.0.insert(name, note.into_bytes());
        }
    }

    fn make_true(&self, data: &mut Data, lines: impl Fn(&str, &[u8]) -> Option<Vec<Vec<u8>>>) {
        let Some(object) = self.0.get(&data.object) else { return };
        (data.sha256, data.bytes) = (sha256(object), object.len() as u64);
        if let Some(lines) = lines(&data.object, object) {
            let mut tree = Tree::default();
            lines.iter().for_each(|line| tree.add(line));
            (data.records, data.root) = (tree.size(), tree.root());
        }
    }
}

/// The object, the hash in base64, and how many records a signed seal says it has.
pub fn sealed(note: &[u8]) -> Option<(String, String, u64)> {
    let note = Note::parse(note).ok()?;
    match Seal::parse(note.text).ok()?.body {
        Body::Data(data) => Some((data.object, Base64(&data.sha256).to_string(), data.records)),
        _ => None,
    }
}
