//! Chain: the writing end of a stream. Each object gets a seal that names the one before; silence, gaps
//! and new keys get seals too.
//!
//! Way of an object: lines → **staged in the outbox with its seal** → store. Whoever calls knows the time.
//!
//! Invariants: the numbers of the journal that seals account for leave nothing out and overlap nowhere;
//! what is staged is put before anything else is; a stream whose place in the store is taken by somebody
//! else is never written over: a new one begins that names it.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use wharfinger_formats::Time;

use super::checkpoint::Checkpoint;
use super::error::ChainError;
use super::head::{Head, Reached};
use super::keeper::{Keeper, Keys};
use super::key_file::{KeyError, KeyFile};
use super::merkle::{Tree, leaf, sha256};
use super::note::{SigningKey, VerifyingKey, sign};
use super::object::{Object, OpenStore, Origin};
use super::outbox::{Flushed, Item, Outbox, Pending};
use super::seal::{Base64, Body, Data, Gap, Seal, Tally};
use super::state::{first_of, key_file, lock, note_key};
use super::store::Store;

/// With nothing to seal, the silence is sealed so often.
const SILENCE_MILLIS: i64 = 5 * 60_000;
const CHECKPOINT_MILLIS: i64 = 3_600_000;
/// A key is used so long, and for so many seals.
const EPOCH_MILLIS: i64 = 24 * 3_600_000;
const EPOCH_SEALS: u64 = 10_000;
/// Streams that are looked for before a new one begins.
const STREAMS_MAX: u64 = 10_000;

/// The writing end of a stream.
pub struct Chain {
    state: PathBuf,
    origin: Origin,
    open: OpenStore,
    store: Arc<dyn Store>,
    key: SigningKey,
    keeper: Option<Arc<dyn Keeper>>,
    head: Head,
    outbox: Outbox,
    /// A checkpoint that was written and not answered yet.
    unannounced: Option<String>,
    /// Two writers of one state would undo each other's work.
    _lock: File,
}

impl Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("state", &self.state).field("head", &self.head).finish_non_exhaustive()
    }
}

/// Where a stream is kept, who signs, and how many seals its newest checkpoint is over.
#[derive(Debug, Clone)]
pub struct Standing {
    pub store: Arc<dyn Store>,
    pub key: VerifyingKey,
    pub checkpoint: u64,
}

/// What a new stream accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// The journal is the same: what the old stream would have had next.
    GoOn,
    /// The first object says.
    BeginAgain,
}

/// Seals that are being made, to be staged together.
struct Draft {
    items: Vec<Item>,
    before: Head,
    head: Head,
    tree: Tree,
}

impl Chain {
    /// Goes on where an earlier life stopped, or begins a stream: with the key in the file if one is
    /// given, which it takes over, or with a new one. The store may be down.
    ///
    /// # Errors
    /// The key or the state is missing, damaged or not readable.
    pub fn open(
        state: PathBuf,
        mut origin: Origin,
        Keys { first, keeper }: Keys,
        open: OpenStore,
        now: Time,
    ) -> Result<Chain, ChainError> {
        // First: another writer that is just ending changes what stands there.
        let lock = lock(&state)?;
        let (outbox, head) = Outbox::open(&state)?;
        let given = first.clone();
        let head = match head {
            Some(head) => head,
            None => {
                let head = Head::new(1, now);
                let file = key_file(&state, &head, keeper.as_ref());
                first_of(&file, first, &origin.key_name(1))?;
                note_key(&state, 1, &file.read()?)?;
                head
            }
        };
        let file = key_file(&state, &head, keeper.as_ref());
        let key = file.read()?;
        let name = origin.key_name(head.stream);
        match key.verifying().name().rsplit_once('/') {
            // A machine that was renamed goes on under the name that its seals began with.
            Some((host, folder)) if folder == origin.folder(head.stream) => host.clone_into(&mut origin.host),
            _ => {
                let (path, found) = (file.path().to_owned(), key.verifying().name().to_owned());
                return Err(KeyError::OtherName { path, found, wanted: name }.into());
            }
        }
        let store = open(&origin.folder(head.stream));
        let unannounced = outbox.checkpoint();
        let mut chain = Chain { state, origin, open, store, key, keeper, head, outbox, unannounced, _lock: lock };
        chain.tree()?;
        chain.take_over(given)?;
        chain.destroy_old_keys()?;
        Ok(chain)
    }

    /// What the stream is to be checked with, from its first seal on.
    pub fn first_key(&self) -> Option<VerifyingKey> {
        let path = self.state.join(format!("vkey-{}", self.head.stream));
        VerifyingKey::parse(&std::fs::read_to_string(path).ok()?)
    }

    /// What it accounts for.
    pub fn reached(&self) -> Reached {
        self.head.reached()
    }

    /// Where it is kept, who signs now, and the newest checkpoint.
    pub fn standing(&self) -> Standing {
        let (store, key) = (Arc::clone(&self.store), self.key.verifying().clone());
        Standing { store, key, checkpoint: self.head.checkpoint_size }
    }

    /// The name of the seal that accounts for a number and all behind it, if it is the newest of an object.
    pub fn seal_from(&self, incarnation: &str, number: u64) -> Option<String> {
        let (seal, first) = self.head.object?;
        (self.head.incarnation == incarnation && (first..self.head.ingest_next).contains(&number))
            .then(|| seal_key(seal))
    }

    /// Puts what is staged.
    ///
    /// # Errors
    /// The store does not take it; or its place is taken, then the events are to be sealed again.
    pub fn flush(&mut self) -> Result<(), ChainError> {
        // A store that would not keep what it gets is told of before there is anything for it.
        self.store.ready()?;
        let mut occupied = None;
        while self.outbox.is_pending() {
            let (key, before) = match self.outbox.flush(&*self.store)? {
                Flushed::Done => break,
                Flushed::Occupied { key, before } => (key, *before),
            };
            self.outbox.forget(&before)?;
            self.key = key_file(&self.state, &before, self.keeper.as_ref()).read()?;
            self.head = before;
            let why = format!("`{key}` holds something else");
            self.begin_stream(&why, Numbers::GoOn, Time(self.head.time.saturating_mul(1_000_000)))?;
            occupied = Some(key);
        }
        self.destroy_old_keys()?;
        match occupied {
            None => Ok(()),
            Some(key) => Err(ChainError::Occupied { key, stream: self.head.stream }),
        }
    }

    /// Seals an object, and what was lost before the end of it.
    ///
    /// # Errors
    /// As [`flush`](Self::flush). What was staged goes out with a later call.
    pub fn seal(&mut self, object: &Object, gaps: Vec<Gap>, now: Time) -> Result<(), ChainError> {
        self.flush()?;
        let is_new = self.head.incarnation.is_empty();
        if !is_new && self.head.incarnation != object.incarnation {
            let why = format!("the journal's incarnation is {} now", object.incarnation);
            self.begin_stream(&why, Numbers::BeginAgain, now)?;
            self.flush()?;
        } else if self.head.is_closed {
            self.begin_stream("that one was closed", Numbers::GoOn, now)?;
            self.flush()?;
        } else if is_new && self.head.size() == 0 && self.is_taken(self.head.stream)? {
            let why = "the gateway knows nothing of the stream that is there";
            self.begin_stream(why, Numbers::BeginAgain, now)?;
            self.flush()?;
        }
        let mut draft = self.draft()?;
        if draft.head.incarnation.is_empty() {
            draft.head.incarnation.clone_from(&object.incarnation);
            draft.head.ingest_next = object.first;
        }
        for gap in gaps {
            self.add(&mut draft, Body::Gap(gap), now, &[&self.key])?;
        }
        let first = draft.head.ingest_next;
        let (quarantined, dropped) = (object.quarantined, object.dropped);
        let taken = object.last.saturating_add(1).saturating_sub(first);
        // Numbers that are not in this stream count as filtered.
        let absent = taken.saturating_sub(object.records);
        // What is in quarantine and was given up too is counted once.
        let quarantined = quarantined.min(absent);
        let dropped = dropped.min(absent.saturating_sub(quarantined));
        let filtered = absent.saturating_sub(quarantined).saturating_sub(dropped);
        let key = object_key(draft.head.size(), object.received, object.suffix);
        let data = Data {
            object: key.clone(),
            sha256: sha256(&object.bytes),
            bytes: object.bytes.len() as u64,
            records: object.records,
            root: object.root,
            ingest: (first, object.last),
            span: object.span,
            tally: Tally { taken, archived: object.records, filtered, quarantined, dropped },
            sources: object.sources.clone(),
        };
        draft.items.push(Item { key, note: None });
        self.add(&mut draft, Body::Data(data), now, &[&self.key])?;
        draft.head.object = draft.head.size().checked_sub(1).map(|seal| (seal, first));
        draft.head.ingest_next = object.last.saturating_add(1);
        draft.head.silent_since = now.millis();
        self.stage(draft, Some(&object.bytes))?;
        self.flush()
    }

    /// What time asks for: a new key, the seal of a silence if nothing waits to be sealed, a checkpoint.
    /// Answers a checkpoint to be kept elsewhere too.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn tick(&mut self, now: Time, is_silent: bool) -> Result<Option<String>, ChainError> {
        self.flush()?;
        // A clock that went back makes everything due once.
        let age = |since: i64| match now.millis().saturating_sub(since) {
            age @ 0.. => age,
            _ => i64::MAX,
        };
        let is_begun = self.head.size() > 0 && !self.head.is_closed;
        let epoch_seals = self.head.size().saturating_sub(self.head.epoch_first);
        if is_begun && (age(self.head.epoch_began) >= EPOCH_MILLIS || epoch_seals >= EPOCH_SEALS) {
            self.rotate(now)?;
        } else if is_begun && is_silent && age(self.head.silent_since) >= SILENCE_MILLIS {
            self.seal_silence(now)?;
        }
        let is_new = self.head.size() > self.head.checkpoint_size;
        let has_rotated = self.head.epoch_first > self.head.checkpoint_size;
        if is_new && (has_rotated || age(self.head.checkpoint_time) >= CHECKPOINT_MILLIS) {
            self.checkpoint(now)?;
        }
        Ok(self.unannounced.take())
    }

    /// The gateway stops: a last seal if nothing waits, and a checkpoint, which it answers. Nothing says that
    /// no more will come: a stream that is cut back to such a place must not look whole.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn pause(&mut self, now: Time, is_silent: bool) -> Result<Option<String>, ChainError> {
        self.flush()?;
        if self.head.size() > 0 && !self.head.is_closed {
            if is_silent {
                self.seal_silence(now)?;
            }
            self.checkpoint(now)?;
        }
        Ok(self.unannounced.take())
    }

    /// Says that the stream ends here for good; answers the checkpoint.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn close(&mut self, reason: &str, now: Time) -> Result<Option<String>, ChainError> {
        self.flush()?;
        if self.head.size() == 0 {
            return Ok(None);
        }
        if !self.head.is_closed {
            let mut draft = self.draft()?;
            self.add(&mut draft, Body::Close { reason: reason.to_owned() }, now, &[&self.key])?;
            draft.head.is_closed = true;
            self.stage(draft, None)?;
            self.flush()?;
        }
        self.checkpoint(now)?;
        Ok(self.unannounced.take())
    }

    /// The next key signs from now on.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn rotate(&mut self, now: Time) -> Result<(), ChainError> {
        self.flush()?;
        let file = self.key_file(&format!("key-{}-{}", self.head.stream, self.head.epoch + 1));
        // Left behind by a crash before the seal was staged: nothing was ever signed with it.
        file.destroy()?;
        let next = file.generate(self.key.verifying().name())?;
        let mut draft = self.draft()?;
        let body = Body::Rotate { next: next.verifying().to_string() };
        self.add(&mut draft, body, now, &[&self.key, &next])?;
        draft.head.epoch += 1;
        draft.head.epoch_began = now.millis();
        draft.head.epoch_first = draft.head.size();
        self.stage(draft, None)?;
        self.key = next;
        self.flush()
    }

    fn seal_silence(&mut self, now: Time) -> Result<(), ChainError> {
        let mut draft = self.draft()?;
        let since = Time(self.head.silent_since.saturating_mul(1_000_000));
        self.add(&mut draft, Body::Empty { since }, now, &[&self.key])?;
        draft.head.silent_since = now.millis();
        self.stage(draft, None)?;
        self.flush()
    }

    /// Writes a checkpoint, to be answered once the store has it.
    fn checkpoint(&mut self, now: Time) -> Result<(), ChainError> {
        let (origin, size) = (self.key.verifying().name().to_owned(), self.head.size());
        let text = Checkpoint { origin, size, root: self.tree()?.root() }.to_string();
        let note = sign(&text, &[&self.key])?;
        let key = checkpoint_key(size);
        let mut draft = self.draft()?;
        draft.items.push(Item { key, note: Some(note.clone()) });
        draft.head.checkpoint_time = now.millis();
        draft.head.checkpoint_size = size;
        self.stage(draft, None)?;
        self.unannounced = Some(note);
        self.flush()
    }

    /// A stream can go on no more: the next one says so with its first seal, which both keys sign.
    fn begin_stream(&mut self, why: &str, numbers: Numbers, now: Time) -> Result<(), ChainError> {
        let before = self.head.clone();
        let mut stream = before.stream + 1;
        while self.is_taken(stream)? {
            stream += 1;
            if stream > STREAMS_MAX {
                return Err(io::Error::other("the store holds too many streams of this archive").into());
            }
        }
        let name = self.origin.key_name(stream);
        let file = self.key_file(&format!("key-{stream}-0"));
        file.destroy()?;
        let key = file.generate(&name)?;
        note_key(&self.state, stream, &key)?;
        let last = Base64(&before.prev().map_err(|cause| self.damaged(cause))?).to_string();
        let old = self.origin.key_name(before.stream);
        let cause = match before.size().checked_sub(1) {
            Some(seq) => format!("continues {old} behind seal {seq} {last} with {}: {why}", key.verifying()),
            None => format!("stands beside {old}: {why}"),
        };
        let from = Some(Time(before.time.saturating_mul(1_000_000)));
        let gap = Gap { source: old, from, to: Some(now), missing: None, cause };
        let mut head = Head::new(stream, now);
        match numbers {
            Numbers::GoOn => {
                head.incarnation.clone_from(&before.incarnation);
                head.ingest_next = before.ingest_next;
                head.earlier.clone_from(&before.earlier);
            }
            Numbers::BeginAgain => head.begin_incarnation(&before),
        }
        let mut draft = Draft { items: Vec::new(), before, head, tree: Tree::default() };
        self.add_as(&mut draft, &name, Body::Gap(gap), now, &[&key, &self.key])?;
        self.stage(draft, None)?;
        tracing::warn!(archive = self.origin.name, key = %key.verifying(), "a new stream begins: {why}");
        self.store = (self.open)(&self.origin.folder(stream));
        self.key = key;
        Ok(())
    }

    /// There is one copy of a private key, so that the end of its epoch is its end: the file that the first
    /// key came from goes.
    fn take_over(&self, given: Option<KeyFile>) -> Result<(), ChainError> {
        let Some(given) = given.filter(KeyFile::exists) else { return Ok(()) };
        match given.read() {
            Ok(key) if Some(key.verifying()) == self.first_key().as_ref() => Ok(given.destroy()?),
            _ => {
                tracing::warn!(
                    "`{}` is not the key that the archive began with: it is not used",
                    given.path().display()
                );
                Ok(())
            }
        }
    }

    /// Whether a stream is in the store already.
    fn is_taken(&self, stream: u64) -> io::Result<bool> {
        Ok(!(self.open)(&self.origin.folder(stream)).keys("seal")?.is_empty())
    }

    fn key_file(&self, name: &str) -> KeyFile {
        KeyFile::kept(self.state.join(name), self.keeper.as_ref())
    }

    fn tree(&self) -> Result<Tree, ChainError> {
        self.head.tree().map_err(|cause| self.damaged(cause))
    }

    fn damaged(&self, cause: String) -> ChainError {
        ChainError::Damaged { path: self.state.join("head.json"), cause }
    }

    fn draft(&self) -> Result<Draft, ChainError> {
        let head = self.head.clone();
        Ok(Draft { items: Vec::new(), before: head.clone(), head, tree: self.tree()? })
    }

    fn add(&self, draft: &mut Draft, body: Body, now: Time, keys: &[&SigningKey]) -> Result<(), ChainError> {
        self.add_as(draft, self.key.verifying().name(), body, now, keys)
    }

    fn add_as(
        &self,
        draft: &mut Draft,
        origin: &str,
        body: Body,
        now: Time,
        keys: &[&SigningKey],
    ) -> Result<(), ChainError> {
        let prev = draft.head.prev().map_err(|cause| self.damaged(cause))?;
        let (seq, epoch) = (draft.head.size(), draft.head.epoch);
        let text = Seal { origin: origin.to_owned(), seq, prev, epoch, time: now, body }.to_string();
        // Nothing is signed that a verifier would not read.
        Seal::parse(&text).map_err(ChainError::Unsound)?;
        draft.items.push(Item { key: seal_key(seq), note: Some(sign(&text, keys)?) });
        draft.tree.push(leaf(text.as_bytes()));
        draft.head.add(&sha256(text.as_bytes()), &draft.tree, now);
        Ok(())
    }

    fn stage(&mut self, draft: Draft, object: Option<&[u8]>) -> Result<(), ChainError> {
        let Draft { items, before, head, .. } = draft;
        self.outbox.stage(Pending { items, before, head: head.clone() }, object)?;
        self.head = head;
        Ok(())
    }

    /// Keys of epochs and streams that are over, once the store has the seal that says so.
    fn destroy_old_keys(&mut self) -> Result<(), ChainError> {
        if self.outbox.is_pending() {
            return Ok(());
        }
        let current = format!("key-{}-{}", self.head.stream, self.head.epoch);
        for entry in std::fs::read_dir(&self.state)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with("key-") && *name != current) else {
                continue;
            };
            match name.strip_suffix(".part") {
                // Left behind by a crash: it may be a second name of the key in force.
                Some(whole) => self.key_file(whole).forget_part()?,
                None => self.key_file(name).destroy()?,
            }
        }
        Ok(())
    }
}

/// `seal/000000000042`.
pub(super) fn seal_key(seq: u64) -> String {
    format!("seal/{seq:012}")
}

/// `checkpoint/000000000042`: over that many seals.
pub(super) fn checkpoint_key(size: u64) -> String {
    format!("checkpoint/{size:012}")
}

/// `data/dt=2026-11-21/hour=09/000000000042.ndjson.zst`.
fn object_key(seq: u64, received: Time, suffix: &str) -> String {
    let civil = received.civil();
    format!("data/dt={:04}-{:02}-{:02}/hour={:02}/{seq:012}{suffix}", civil.year, civil.month, civil.day, civil.hour)
}
