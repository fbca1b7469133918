//! Checkpoints (c2sp.org/tlog-checkpoint): the size of a stream and one hash over all its seals.
//!
//! A copy kept elsewhere is an anchor: no seal before it can be changed without its root no longer being
//! that of the stream.

use std::fmt;
use std::io;

use super::chain::checkpoint_key;
use super::merkle::Hash;
use super::note::Note;
use super::seal::{Base64, hash};
use super::store::{NOTE_BYTES_MAX, Store, is_away, read_small};

/// How far a stream had got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) origin: String,
    /// Seals so far.
    pub(super) size: u64,
    /// The root of the tree of their texts.
    pub(super) root: Hash,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, Base64(&self.root))
    }
}

impl Checkpoint {
    /// Reads the text of a checkpoint; lines behind the third are extensions, and are passed over.
    pub(super) fn parse(text: &str) -> Option<Checkpoint> {
        let mut lines = text.lines();
        let origin = lines.next()?.to_owned();
        let size_text = lines.next()?;
        let size: u64 = size_text.parse().ok()?;
        let root = hash(lines.next()?).ok()?;
        (size.to_string() == size_text).then_some(Checkpoint { origin, size, root })
    }
}

/// What stands under a key, if it is a checkpoint of the stream of that name, and of that size. Whether its key
/// has signed it is not asked: who signs changes with the epochs.
///
/// # Errors
/// The store cannot be asked.
pub fn checkpoint_of(store: &dyn Store, key: &str, origin: &str) -> io::Result<Option<Vec<u8>>> {
    let bytes = match read_small(store, key, NOTE_BYTES_MAX) {
        Err(error) if is_away(&error) => return Err(error),
        bytes => bytes.ok().flatten().unwrap_or_default(),
    };
    let checkpoint = Note::parse(&bytes).ok().and_then(|note| Checkpoint::parse(note.text));
    Ok(checkpoint.filter(|one| one.origin == origin && checkpoint_key(one.size) == key).map(|_| bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::merkle::{Tree, leaf};
    use super::super::note::{SigningKey, sign};
    use super::super::seal;
    use super::*;

    /// The second part of the test vector of the format.
    #[test]
    fn the_test_vector_byte_for_byte() {
        let mut tree = Tree::default();
        tree.push(leaf(seal::tests::vector_text().as_bytes()));
        let checkpoint = Checkpoint { origin: "gw-01.example/audit".to_owned(), size: 1, root: tree.root() };
        assert_eq!(Base64(&checkpoint.root).to_string(), "mWz5FV8YIX0w4qRXaNtc0BBgFk1kSZthZEY2URdnE7k=");
        let key = SigningKey::from_seed("gw-01.example/audit", [1; 32]).unwrap();
        let note = sign(&checkpoint.to_string(), &[&key]).unwrap();
        let signature = "I6yl2p8LSH/zmHasdrnaMFB7NDpa0JhadmamrQFKHhhMlBBuDjxDm6NUylAzAlE3GhdrF7zvi0ww5uZvd60qZxuRLgw=";
        assert!(note.ends_with(&format!("\u{2014} gw-01.example/audit {signature}\n")), "{note}");
        assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Some(checkpoint.clone()));
        assert_eq!(Checkpoint::parse(&checkpoint.to_string().replace("\n1\n", "\n01\n")), None);
    }
}
