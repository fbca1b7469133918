//! Verify: everything a stream claims, checked with nothing but a public key.
//!
//! Reads only, and knows nothing of the gateway that wrote. One walk over the seals in order; each says
//! what its object must be, who signs the next, and which numbers it accounts for. Then what no seal
//! names, the checkpoints, the anchors, the end.
//!
//! Invariant: total. Whatever stands in the archive, the answer is a report; memory is that of the list of
//! keys.

mod object;
mod report;
mod streams;

use std::collections::{BTreeMap, HashMap};
use std::io;

use wharfinger_formats::Time;

use self::object::check_object;
pub use self::report::{Fault, Finding, Report, Verdict};
pub use self::streams::verify_archive;
use super::chain::seal_key;
use super::checkpoint::Checkpoint;
use super::merkle::{Hash, Tree, leaf, sha256};
use super::note::{Note, VerifyingKey};
use super::seal::{Body, Data, Seal};
use super::store::{NOTE_BYTES_MAX, Store, is_away, read_small};

/// The end is proved by a seal that is not older than this.
const END_NANOS: i64 = 10 * 60 * 1_000_000_000;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The key of the first seal.
    pub key: VerifyingKey,
    /// Inflates objects and makes their records' root again.
    pub deep: bool,
    /// Checkpoints that were kept elsewhere.
    pub anchors: Vec<Vec<u8>>,
    /// Until when the stream is to be complete.
    pub end: Time,
}

/// Checks a stream. `progress` is told how many seals of how many are done, and the bytes read.
///
/// # Errors
/// The store cannot be read: nothing is said about the stream.
pub fn verify(store: &dyn Store, question: &Question, progress: &mut dyn FnMut(u64, u64, u64)) -> io::Result<Report> {
    let mut walk = Walk::new(store, question)?;
    let seals = walk.seals()?;
    let total = seals.len() as u64;
    for (done, seq) in seals.into_iter().enumerate() {
        walk.seal(seq)?;
        progress(done as u64 + 1, total, walk.report.bytes);
    }
    walk.end();
    Ok(walk.report)
}

struct Walk<'s> {
    store: &'s dyn Store,
    question: &'s Question,
    report: Report,
    /// Who signs now.
    key: VerifyingKey,
    epoch: u64,
    /// Of the text of the last seal; none when that is not known.
    prev: Option<Hash>,
    /// The number the next seal must have.
    expected: u64,
    ingest_next: Option<u64>,
    tree: Tree,
    /// A seal is missing or not to be trusted: the tree is no longer that of the stream.
    is_broken: bool,
    /// Objects that no seal has named yet.
    objects: HashMap<String, u64>,
    checkpoints: BTreeMap<u64, String>,
    anchors: Vec<(Checkpoint, Vec<u8>)>,
    last: Option<(bool, Time)>,
}

impl<'s> Walk<'s> {
    fn new(store: &'s dyn Store, question: &'s Question) -> io::Result<Walk<'s>> {
        let mut report = Report::new(question.key.name());
        let objects = store.keys("data")?.into_iter().collect();
        let mut checkpoints = BTreeMap::new();
        for (key, _) in store.keys("checkpoint")? {
            let size = key.strip_prefix("checkpoint/").and_then(|size| size.parse().ok());
            match size.filter(|size: &u64| key == format!("checkpoint/{size:012}")) {
                Some(size) => drop(checkpoints.insert(size, key)),
                // A time stamp beside a checkpoint.
                None if key.ends_with(".tsr") => {}
                None => report.find(Fault::Foreign, &key, "it is no checkpoint"),
            }
        }
        let mut anchors = Vec::new();
        for bytes in &question.anchors {
            let checkpoint = Note::parse(bytes).ok().and_then(|note| Checkpoint::parse(note.text));
            match checkpoint.filter(|checkpoint| checkpoint.origin == question.key.name()) {
                Some(checkpoint) => anchors.push((checkpoint, bytes.clone())),
                None => report.find(Fault::Anchor, "anchor", "it is no checkpoint of this stream"),
            }
        }
        let key = question.key.clone();
        Ok(Walk {
            store,
            question,
            report,
            key,
            epoch: 0,
            prev: Some([0; 32]),
            expected: 0,
            ingest_next: None,
            tree: Tree::default(),
            is_broken: false,
            objects,
            checkpoints,
            anchors,
            last: None,
        })
    }

    /// The numbers of the seals that are there, in order.
    fn seals(&mut self) -> io::Result<Vec<u64>> {
        let mut seals = Vec::new();
        for (key, _) in self.store.keys("seal")? {
            let seq = key.strip_prefix("seal/").and_then(|seq| seq.parse().ok());
            match seq.filter(|seq| key == seal_key(*seq)) {
                Some(seq) => seals.push(seq),
                None => self.report.find(Fault::Foreign, &key, "it is no seal"),
            }
        }
        Ok(seals)
    }

    fn seal(&mut self, seq: u64) -> io::Result<()> {
        let key = seal_key(seq);
        if seq > self.expected {
            let what = format!("seals {} to {} are missing", self.expected, seq - 1);
            self.report.find(Fault::Missing, &seal_key(self.expected), what);
            self.lose_track();
        }
        self.expected = seq.saturating_add(1);
        let bytes = match read_small(self.store, &key, NOTE_BYTES_MAX) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) if is_away(&error) => return Err(error),
            Err(error) => {
                self.report.find(Fault::Signature, &key, format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        self.report.seals += 1;
        match Note::parse(&bytes) {
            Ok(note) if note.is_signed_by(&self.key) => self.signed_seal(seq, &key, &note),
            Ok(note) => {
                let what = format!("it is not signed by {}", self.key);
                self.distrust(&key, what, Some(note.text));
                Ok(())
            }
            Err(why) => {
                self.distrust(&key, format!("it is no signed note: {why}"), None);
                Ok(())
            }
        }
    }

    /// A seal that nobody vouches for: what it names is looked at no further.
    fn distrust(&mut self, key: &str, what: String, text: Option<&str>) {
        self.report.find(Fault::Signature, key, what);
        self.lose_track();
        if let Some(Ok(Seal { body: Body::Data(data), .. })) = text.map(Seal::parse) {
            // It is named, if only by this.
            self.objects.remove(&data.object);
        }
        self.last = None;
    }

    fn lose_track(&mut self) {
        self.prev = None;
        self.ingest_next = None;
        self.is_broken = true;
    }

    fn signed_seal(&mut self, seq: u64, key: &str, note: &Note<'_>) -> io::Result<()> {
        let hash = sha256(note.text.as_bytes());
        self.tree.push(leaf(note.text.as_bytes()));
        let prev = self.prev.replace(hash);
        let seal = match Seal::parse(note.text) {
            Ok(seal) => seal,
            Err(why) => {
                self.report.find(Fault::Altered, key, format!("it is signed, but no seal: {why}"));
                return Ok(());
            }
        };
        if seal.seq != seq || prev.is_some_and(|prev| prev != seal.prev) {
            let what =
                if seal.seq == seq { "the seal before it is another one" } else { "it stands in the place of another" };
            self.report.find(Fault::Missing, key, what);
            self.is_broken = true;
        }
        if seal.epoch != self.epoch || seal.origin != self.key.name() {
            self.report.find(Fault::Altered, key, "it is of another epoch or stream");
        }
        self.report.last = Some((self.key.clone(), seq, hash));
        if self.last.is_some_and(|(is_closed, _)| is_closed) {
            self.report.find(Fault::Altered, key, "it stands behind the end of the stream");
        }
        self.last = Some((matches!(seal.body, Body::Close { .. }), seal.time));
        self.report.see(seal.time);
        match &seal.body {
            Body::Data(data) => self.data(key, data)?,
            Body::Rotate { next } => match VerifyingKey::parse(next) {
                Some(next) if next.name() == self.key.name() && note.is_signed_by(&next) => {
                    self.report.last = Some((next.clone(), seq, hash));
                    self.key = next;
                    self.epoch += 1;
                }
                _ => self.report.find(Fault::Signature, key, "the next key has not signed it"),
            },
            Body::Gap(gap) => self.report.gap(gap),
            Body::Empty { .. } => self.report.silences += 1,
            Body::Close { .. } => {}
        }
        self.compare_roots()
    }

    fn data(&mut self, key: &str, data: &Data) -> io::Result<()> {
        let (first, last) = data.ingest;
        if self.ingest_next.is_some_and(|next| next != first) {
            self.report.find(Fault::Missing, key, format!("it does not go on where the one before ended: {first}"));
        }
        self.ingest_next = last.checked_add(1);
        let count = last.checked_sub(first).and_then(|count| count.checked_add(1));
        let of_sources = data.sources.iter().try_fold(0_u64, |sum, source| sum.checked_add(source.records));
        let tally = data.tally;
        let adds_up = tally.adds_up() && count == Some(tally.taken) && tally.archived == data.records;
        if !adds_up || of_sources != Some(data.records) {
            self.report.find(Fault::Altered, key, "its counts do not add up");
        }
        self.report.count(data);
        // One that was sealed while this runs was not in the list yet. Its number says whose it is.
        let mut bytes = self.objects.remove(&data.object);
        let is_own = data.object.rsplit('/').next().is_some_and(|name| key.ends_with(name.get(..12).unwrap_or(name)));
        if bytes.is_none() && is_own {
            bytes = match self.store.open(&data.object) {
                Err(error) if is_away(&error) => return Err(error),
                object => object.ok().flatten().map(|_| data.bytes),
            };
        }
        match bytes {
            None => self.report.find(Fault::Missing, &data.object, format!("`{key}` names it")),
            Some(bytes) if bytes != data.bytes => {
                self.report.find(Fault::Altered, &data.object, format!("{bytes} bytes, sealed were {}", data.bytes));
            }
            Some(_) => match check_object(self.store, data, self.question.deep) {
                Ok(None) => {}
                Ok(Some(what)) => self.report.find(Fault::Altered, &data.object, what),
                Err(error) if is_away(&error) => return Err(error),
                Err(error) => self.report.find(Fault::Altered, &data.object, format!("it cannot be read: {error}")),
            },
        }
        Ok(())
    }

    /// Checkpoints and anchors of just this size.
    fn compare_roots(&mut self) -> io::Result<()> {
        let (size, root) = (self.tree.size(), self.tree.root());
        if self.is_broken {
            return Ok(());
        }
        if let Some(key) = self.checkpoints.remove(&size) {
            let bytes = match read_small(self.store, &key, NOTE_BYTES_MAX) {
                Err(error) if is_away(&error) => return Err(error),
                bytes => bytes.ok().flatten().unwrap_or_default(),
            };
            match Note::parse(&bytes).map(|note| (note.is_signed_by(&self.key), Checkpoint::parse(note.text))) {
                Ok((true, Some(checkpoint))) if checkpoint.size == size && checkpoint.root == root => {
                    self.report.checkpoints += 1;
                }
                Ok((true, _)) => self.report.find(Fault::Altered, &key, "its root is not that of the seals"),
                _ => self.report.find(Fault::Signature, &key, format!("it is not signed by {}", self.key)),
            }
        }
        let (report, key) = (&mut self.report, &self.key);
        self.anchors.retain(|(anchor, bytes)| {
            if anchor.size != size {
                return true;
            }
            match Note::parse(bytes).is_ok_and(|note| note.is_signed_by(key)) && anchor.root == root {
                true => report.anchors += 1,
                false => report.find(Fault::Anchor, "anchor", format!("the stream was another one at {size} seals")),
            }
            false
        });
        Ok(())
    }

    /// What is left over, and whether the stream ends where it should.
    fn end(&mut self) {
        let mut foreign: Vec<_> = std::mem::take(&mut self.objects).into_keys().collect();
        foreign.sort();
        for key in foreign {
            self.report.find(Fault::Foreign, &key, "no seal names it");
        }
        let size = self.expected;
        for (checkpoint, key) in std::mem::take(&mut self.checkpoints) {
            if checkpoint > size {
                self.report.find(Fault::Missing, &key, format!("it is over {checkpoint} seals, and {size} are there"));
            } else if !self.is_broken {
                self.report.find(Fault::Foreign, &key, "it is over no number of seals");
            }
        }
        for (anchor, _) in std::mem::take(&mut self.anchors) {
            let what = format!("it is over {} seals, and {size} are there or can be followed", anchor.size);
            self.report.find(Fault::Anchor, "anchor", what);
        }
        let end = self.question.end;
        let is_proved =
            self.last.is_some_and(|(is_closed, time)| is_closed || end.0.saturating_sub(time.0) <= END_NANOS);
        if !is_proved {
            let what = match self.last {
                Some((_, time)) => format!("the last seal is of {}, and does not close the stream", report::time(time)),
                None => "no last seal can be trusted".to_owned(),
            };
            self.report.find(Fault::End, &seal_key(size.saturating_sub(1)), what);
        }
    }
}
