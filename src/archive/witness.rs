//! Witnesses (c2sp.org/tlog-witness): each signs a checkpoint only if it goes on from the one he signed before.
//! A stream that was forked is refused by whoever has seen the other one.
//!
//! A checkpoint that a witness has signed stands whole beside the checkpoint itself, in a file of its own
//! for each witness: `checkpoint/<size>.witness-<key id>`.
//!
//! Invariant: what a witness is sent proves that nothing was changed since he was asked last.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wharfinger_formats::Time;

use super::chain::{checkpoint_key, seal_key};
use super::checkpoint::Checkpoint;
use super::key_file::KeyFile;
use super::merkle::{Tree, consistency, leaf, sha256};
use super::note::{Note, SigningKey, VerifyingKey, hex, is_name, signature_line};
use super::outbox::write_whole;
use super::seal::{Base64, hash};
use super::store::{NOTE_BYTES_MAX, Store, is_away, read_small};

/// The kind of key: Ed25519 for cosignatures (c2sp.org/tlog-cosignature).
const KIND: u8 = 4;
/// No answer of a witness is longer.
pub const COSIGNATURES_BYTES_MAX: u64 = 64 * 1024;

/// The public key of a witness, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl WitnessKey {
    /// Reads the written form: `name+id in hex+base64(0x04, public key)`.
    pub fn parse(text: &str) -> Option<WitnessKey> {
        let (name, rest) = text.trim().split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let key = STANDARD.decode(key).ok()?;
        let (&KIND, public) = key.split_first()? else { return None };
        let hash = sha256(&[name.as_bytes(), b"\n", &key].concat());
        let key = WitnessKey { name: name.to_owned(), id: *hash.first_chunk()?, public: public.try_into().ok()? };
        (is_name(name) && id == hex(&key.id)).then_some(key)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a checkpoint that he has signed is kept.
    pub fn key_of(&self, checkpoint: &str) -> String {
        format!("{checkpoint}.witness-{}", hex(&self.id))
    }

    /// When he has signed a note; none if he has not, or if a signature under his name is bad.
    pub(super) fn has_signed(&self, note: &Note<'_>) -> Option<Time> {
        let mut newest = None;
        for signature in note.signatures_of(&self.name, self.id) {
            newest = newest.max(Some(self.time_of(note.text, signature)?));
        }
        newest
    }

    /// The time in a signature, if that is his.
    fn time_of(&self, text: &str, signature: &[u8]) -> Option<Time> {
        let (time, signature) = signature.split_first_chunk::<8>()?;
        let seconds = u64::from_be_bytes(*time);
        let signed = format!("cosignature/v1\ntime {seconds}\n{text}");
        UnparsedPublicKey::new(&ED25519, self.public).verify(signed.as_bytes(), signature).ok()?;
        i64::try_from(seconds).ok()?.checked_mul(1_000_000_000).map(Time)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[KIND][..], &self.public].concat());
        write!(f, "{}+{}+{key}", self.name, hex(&self.id))
    }
}

/// A checkpoint on its way to a witness.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The key of the checkpoint in the store.
    pub key: String,
    /// The name of the stream, as the witness knows it.
    pub origin: String,
    pub size: u64,
    text: String,
    note: String,
}

/// The newest checkpoint of a stream, unless this witness has signed it, or the key of the epoch has not: then
/// one that it has signed follows soon. What the writer knows of is asked for by its name: what somebody else has
/// put beside it stands before nothing.
///
/// # Errors
/// The store cannot be asked.
pub fn unwitnessed(
    store: &dyn Store,
    newest: u64,
    witness: &WitnessKey,
    signer: &VerifyingKey,
    log: &LogKey,
) -> io::Result<Option<Submission>> {
    let key = checkpoint_key(newest);
    let Some(bytes) = read_small(store, &key, NOTE_BYTES_MAX)? else { return Ok(None) };
    let Ok(note) = Note::parse(&bytes) else { return Ok(None) };
    let checkpoint = Checkpoint::parse(note.text).filter(|one| one.origin == signer.name());
    let Some(Checkpoint { origin, size, .. }) = checkpoint.filter(|_| note.is_signed_by(signer)) else {
        return Ok(None);
    };
    // What is there and is not his stands in his way, and is no reason not to ask him.
    let signed = match read_small(store, &witness.key_of(&key), NOTE_BYTES_MAX) {
        Err(error) if is_away(&error) => return Err(error),
        bytes => bytes.ok().flatten().unwrap_or_default(),
    };
    if Note::parse(&signed).is_ok_and(|signed| signed.text == note.text && witness.has_signed(&signed).is_some()) {
        return Ok(None);
    }
    let text = note.text.to_owned();
    let note = format!("{}{}", String::from_utf8_lossy(&bytes), log.0.line(&text).map_err(io::Error::other)?);
    Ok(Some(Submission { key, origin, size, text, note }))
}

impl Submission {
    /// The body of `add-checkpoint` for a witness who has signed that many seals of the stream, what he has
    /// seen then, and what he will have seen. `seen` spares reading all seals.
    ///
    /// # Errors
    /// The store cannot be read, or what is in it is not what the checkpoint is over.
    pub fn body(&self, store: &dyn Store, seen: Seen, size: u64) -> io::Result<(String, Seen, Seen)> {
        let mut before = seen.tree().filter(|tree| tree.size() <= size).unwrap_or_default();
        for seq in before.size()..size {
            before.push(leaf_of(store, seq)?);
        }
        let (mut grown, mut leaves) = (before.clone(), Vec::new());
        for seq in size..self.size {
            leaves.push(leaf_of(store, seq)?);
        }
        leaves.iter().for_each(|leaf| grown.push(*leaf));
        if Checkpoint::parse(&self.text).is_none_or(|checkpoint| checkpoint.root != grown.root()) {
            return Err(io::Error::other(format!("the seals in the store are not those that `{}` is over", self.key)));
        }
        let proof = if size == 0 { Vec::new() } else { consistency(&before, &leaves) };
        let proof: String = proof.iter().map(|hash| format!("{}\n", Base64(hash))).collect();
        let body = format!("old {size}\n{proof}\n{}", self.note);
        Ok((body, Seen::of(&self.origin, &before), Seen::of(&self.origin, &grown)))
    }

    /// The checkpoint with what a witness has answered.
    ///
    /// # Errors
    /// He has not signed it.
    pub fn cosigned(&self, witness: &WitnessKey, answer: &[u8]) -> Result<Vec<u8>, String> {
        let lines = std::str::from_utf8(answer).map_err(|_| "it is no text")?;
        // Of others than himself nothing is kept.
        let mut note = self.note.clone();
        lines.lines().filter(|line| signature_line(line).is_some_and(|(name, ..)| name == witness.name)).for_each(
            |line| {
                note.push_str(line);
                note.push('\n');
            },
        );
        let read = Note::parse(note.as_bytes())?;
        witness.has_signed(&read).ok_or_else(|| format!("no signature of {witness} is in it"))?;
        Ok(note.into_bytes())
    }
}

fn leaf_of(store: &dyn Store, seq: u64) -> io::Result<[u8; 32]> {
    let key = seal_key(seq);
    let bytes = read_small(store, &key, NOTE_BYTES_MAX)?.unwrap_or_default();
    let note = Note::parse(&bytes).map_err(|why| io::Error::other(format!("`{key}` is no seal: {why}")))?;
    Ok(leaf(note.text.as_bytes()))
}

/// The key that a witness knows a stream by. It stays the same over all epochs.
#[derive(Debug)]
pub struct LogKey(SigningKey);

impl LogKey {
    /// The key of a stream, which is made when it is needed first.
    ///
    /// # Errors
    /// Its file cannot be read or written.
    pub fn open(state: &Path, origin: &str) -> io::Result<LogKey> {
        // All witnesses of a stream ask for it at once.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = origin.rsplit('/').next().unwrap_or(origin);
        let file = KeyFile::new(state.join(format!("log-key-{folder}")));
        let key = match file.exists() {
            true => file.read().map_err(io::Error::other)?,
            false => {
                let key = SigningKey::generate(origin)?;
                file.create(&key).map_err(io::Error::other)?;
                key
            }
        };
        write_whole(&state.join(format!("log-vkey-{folder}")), format!("{}\n", key.verifying()).as_bytes())?;
        Ok(LogKey(key))
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.verifying().fmt(f)
    }
}

/// How much of a stream a witness has signed. Only to spare reading all seals again: it is read from the
/// store where this is lost.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Seen {
    origin: String,
    size: u64,
    peaks: Vec<String>,
}

impl Seen {
    /// What was written down for this stream.
    pub fn read(state: &Path, witness: &WitnessKey, origin: &str) -> Seen {
        let read = std::fs::read(Seen::path(state, witness)).ok();
        let seen = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let seen = seen.filter(|seen: &Seen| seen.origin == origin && seen.tree().is_some());
        seen.unwrap_or_else(|| Seen { origin: origin.to_owned(), ..Seen::default() })
    }

    /// Writes it down.
    ///
    /// # Errors
    /// The disk fails.
    pub fn write(&self, state: &Path, witness: &WitnessKey) -> io::Result<()> {
        write_whole(&Seen::path(state, witness), &serde_json::to_vec(self)?)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    fn path(state: &Path, witness: &WitnessKey) -> PathBuf {
        state.join(format!("witness-{}", hex(&witness.id)))
    }

    fn tree(&self) -> Option<Tree> {
        let peaks = self.peaks.iter().map(|peak| hash(peak)).collect::<Result<_, _>>().ok()?;
        Tree::from_peaks(self.size, peaks)
    }

    fn of(origin: &str, tree: &Tree) -> Seen {
        let peaks = tree.peaks().iter().map(|peak| Base64(peak).to_string()).collect();
        Seen { origin: origin.to_owned(), size: tree.size(), peaks }
    }
}
