//! Verify: everything a stream claims, checked with nothing but a public key.
//!
//! Reads only, and knows nothing of the gateway that wrote. One walk over the seals in order; each says
//! what its object must be, who signs the next, and which numbers it accounts for. Then what no seal
//! names, the checkpoints, the anchors, the end.
//!
//! Invariant: total. Whatever stands in the archive, the answer is a report; memory is that of the list of
//! keys, and of a bucket that of the notes that are read ahead: two for each of its 16 threads' four seals, 4 MiB
//! at most each.

mod ahead;
mod beside;
mod object;
mod objects;
mod one;
mod part;
mod report;
mod streams;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use wharfinger_formats::Time;

use self::ahead::{Later, Pool, with_pool};
pub use self::beside::Others;
use self::beside::{Beside, Good};
pub use self::one::verify_object;
use self::part::Told;
pub use self::part::{Mark, PassedOver, Watch};
pub use self::report::{Fault, Finding, Report, Stamped, Verdict, Witnessed};
pub use self::streams::{verify_archive, verify_part};
use super::chain::{checkpoint_key, seal_key};
use super::checkpoint::Checkpoint;
use super::merkle::{Hash, Tree, leaf, sha256};
use super::note::{Note, VerifyingKey};
use super::read::{Period, place};
use super::seal::{Body, Gap, Seal};
use super::store::{NOTE_BYTES_MAX, Store, is_away, read_small};

/// The end is proved by a seal that is not older than this.
const END_NANOS: i64 = 10 * 60 * 1_000_000_000;

/// Whether a time may have been when `end` was asked about: what a clock says that was ahead proves no end, for
/// it would do so until that time has come.
fn has_come(time: Time, end: Time) -> bool {
    time.0 <= end.max(now()).0.saturating_add(END_NANOS)
}

fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64))
}

/// Seals that are read ahead, for each thread that reads: they are small, and an object is not.
const SEALS_AHEAD: usize = 4;

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
    /// Who else vouches for it.
    pub others: Others,
}

/// Checks a stream whole. `progress` is told how many seals of how many are done, and the bytes read.
///
/// # Errors
/// The store cannot be read: nothing is said about the stream.
pub fn verify(store: &dyn Store, question: &Question, progress: &mut dyn FnMut(u64, u64, u64)) -> io::Result<Report> {
    walk(store, question, &Way::default(), &mut Mark::default(), &mut Told(progress)).map(|(report, _)| report)
}

/// What of a stream is walked, and what is read of it.
#[derive(Debug, Clone, Copy, Default)]
struct Way<'w> {
    /// The folder of the stream, as marks name it.
    folder: &'w str,
    period: Period,
    /// The walk goes to the end whatever the period is.
    is_whole: bool,
    /// What nobody has vouched for at the end of the stream before is to be vouched for here.
    owes: bool,
}

/// Walks a stream. True: it was left behind the period, before its end.
fn walk(
    store: &dyn Store,
    question: &Question,
    way: &Way<'_>,
    mark: &mut Mark,
    watch: &mut dyn Watch,
) -> io::Result<(Report, bool)> {
    let at_once = store.read_at_once();
    with_pool(at_once, |pool| {
        let mut walk = Walk::new(store, question, *way, mark, &pool)?;
        let seals = walk.seals()?;
        let least = walk.least(&seals);
        let (mut coming, mut next) = (VecDeque::new(), seals.iter().copied());
        let mut done = 0_u64;
        loop {
            let ahead = if pool.reads_ahead() { SEALS_AHEAD * at_once } else { 1 };
            while coming.len() < ahead
                && let Some(seq) = next.next()
            {
                coming.push_back((seq, walk.fetch(seq)));
            }
            let Some((seq, notes)) = coming.pop_front() else { break };
            if walk.is_past && seq >= least && !walk.beside.is_ahead(walk.tree.size()) {
                walk.leave(seals.len() as u64 - done);
                break;
            }
            walk.seal(seq, notes.wait()?)?;
            done += 1;
            walk.settle(at_once - 1, watch)?;
            watch.done(done, seals.len() as u64, walk.report.bytes);
        }
        walk.settle(0, watch)?;
        walk.end();
        Ok((walk.report, walk.is_left))
    })
}

/// A seal as it stands there, and the checkpoint over it and all before, where there is one.
struct Notes {
    seal: io::Result<Option<Vec<u8>>>,
    checkpoint: Option<io::Result<Option<Vec<u8>>>>,
}

/// A seal that was looked at, while its object is still read.
struct Open {
    seq: u64,
    /// Of the seal as it is stored; none of one that could not be read.
    sha256: Option<Hash>,
    object: Option<(String, Later<io::Result<Option<String>>>)>,
    /// Where a finding about the object belongs, and how many came before those then.
    place: (usize, usize),
}

struct Walk<'w, 's> {
    store: &'s dyn Store,
    question: &'w Question,
    way: Way<'w>,
    mark: &'w mut Mark,
    pool: &'w Pool<'w, 's>,
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
    /// What others say of checkpoints.
    beside: Beside,
    anchors: Vec<(Checkpoint, Vec<u8>)>,
    last: Option<(bool, Time)>,
    /// Seals whose objects are still read, and the object of the seal at hand.
    open: VecDeque<Open>,
    reading: Option<(String, Later<io::Result<Option<String>>>)>,
    /// Findings about objects that went before others.
    inserted: usize,
    /// A seal was seen of what was received behind the period.
    is_past: bool,
    is_left: bool,
    /// Findings that marks bring along.
    known: u64,
}

impl<'w, 's> Walk<'w, 's> {
    fn new(
        store: &'s dyn Store,
        question: &'w Question,
        way: Way<'w>,
        mark: &'w mut Mark,
        pool: &'w Pool<'w, 's>,
    ) -> io::Result<Walk<'w, 's>> {
        let mut report = Report::new(question.key.name());
        report.passed_over = PassedOver::of(way.period);
        let objects = store.keys("data")?.into_iter().collect();
        let (mut checkpoints, mut beside) = (BTreeMap::new(), Beside::new(&question.others, way.owes));
        for (key, _) in store.keys("checkpoint")? {
            let size = key.strip_prefix("checkpoint/").and_then(|size| size.parse().ok());
            match size.filter(|size: &u64| key == checkpoint_key(*size)) {
                Some(size) => drop(checkpoints.insert(size, key)),
                None if beside.take(&key) => {}
                None => report.find(Fault::Foreign, &key, "it is no checkpoint"),
            }
        }
        beside.compare(&checkpoints, &mut report);
        let mut anchors = Vec::new();
        for bytes in &question.anchors {
            let checkpoint = Note::parse(bytes).ok().and_then(|note| Checkpoint::parse(note.text));
            match checkpoint.filter(|checkpoint| checkpoint.origin == question.key.name()) {
                Some(checkpoint) => anchors.push((checkpoint, bytes.clone())),
                None => report.find(Fault::Anchor, "anchor", "it is no checkpoint of this stream"),
            }
        }
        let key = question.key.clone();
        report.keys.push((0, key.clone()));
        Ok(Walk {
            store,
            question,
            way,
            mark,
            pool,
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
            beside,
            anchors,
            last: None,
            open: VecDeque::new(),
            reading: None,
            inserted: 0,
            is_past: false,
            is_left: false,
            known: 0,
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

    /// The number behind which the walk may end, once a seal is of what came later than the period: objects
    /// that the store lists for it, where a clock was put back, and anchors are still to be reached.
    fn least(&self, seals: &[u64]) -> u64 {
        if self.way.is_whole {
            return u64::MAX;
        }
        let listed = self.objects.keys().filter_map(|key| place(key));
        let listed = listed.filter(|(seq, hour)| self.way.period.has_of(*hour) && seals.binary_search(seq).is_ok());
        let anchors = self.anchors.iter().map(|(anchor, _)| anchor.size);
        listed.map(|(seq, _)| seq.saturating_add(1)).chain(anchors).max().unwrap_or(0)
    }

    /// Reads a seal, and the checkpoint behind it.
    fn fetch(&self, seq: u64) -> Later<Notes> {
        let (store, checkpoint) = (self.store, self.checkpoints.get(&seq.saturating_add(1)).cloned());
        self.pool.later(move || Notes {
            seal: read_small(store, &seal_key(seq), NOTE_BYTES_MAX),
            checkpoint: checkpoint.map(|key| read_small(store, &key, NOTE_BYTES_MAX)),
        })
    }

    fn seal(&mut self, seq: u64, notes: Notes) -> io::Result<()> {
        let key = seal_key(seq);
        if seq > self.expected {
            let what = format!("seals {} to {} are missing", self.expected, seq - 1);
            self.report.find(Fault::Missing, &seal_key(self.expected), what);
            self.lose_track();
        }
        self.expected = seq.saturating_add(1);
        let bytes = match notes.seal {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) if is_away(&error) => return Err(error),
            Err(error) => {
                self.report.find(Fault::Signature, &key, format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        self.look(seq, &key, &bytes, notes.checkpoint)?;
        let place = (self.report.findings.len(), self.inserted);
        let (sha256, object) = ((!bytes.is_empty()).then(|| sha256(&bytes)), self.reading.take());
        self.open.push_back(Open { seq, sha256, object, place });
        Ok(())
    }

    fn look(
        &mut self,
        seq: u64,
        key: &str,
        bytes: &[u8],
        checkpoint: Option<io::Result<Option<Vec<u8>>>>,
    ) -> io::Result<()> {
        self.report.seals += 1;
        match Note::parse(bytes) {
            Ok(note) if note.is_signed_by(&self.key) => {
                self.signed_seal(seq, key, &note)?;
                self.compare_roots(checkpoint)
            }
            Ok(note) => {
                let what = format!("it is not signed by {}", self.key);
                self.distrust(key, what, Some(note.text));
                Ok(())
            }
            Err(why) => {
                self.distrust(key, format!("it is no signed note: {why}"), None);
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
            Body::Data(data) => self.data(seq, key, data)?,
            Body::Rotate { next } => match VerifyingKey::parse(next) {
                Some(next) if next.name() == self.key.name() && note.is_signed_by(&next) => {
                    self.report.last = Some((next.clone(), seq, hash));
                    self.report.keys.push((seq.saturating_add(1), next.clone()));
                    self.key = next;
                    self.epoch += 1;
                }
                _ => self.report.find(Fault::Signature, key, "the next key has not signed it"),
            },
            Body::Gap(gap) => self.gap(gap),
            Body::Empty { .. } => self.report.silences += 1,
            Body::Close { .. } => {}
        }
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) {
        let Period { from, to } = self.way.period;
        let is_over = |from: Time| gap.to.is_some_and(|to| to < from);
        let begins_before = |to: Time| gap.from.is_none_or(|from| from < to);
        if !from.is_some_and(is_over) && to.is_none_or(begins_before) {
            self.report.gap(gap);
        }
    }

    /// Checkpoints and anchors of just this size.
    fn compare_roots(&mut self, read: Option<io::Result<Option<Vec<u8>>>>) -> io::Result<()> {
        let size = self.tree.size();
        if self.is_broken {
            return Ok(());
        }
        // What comes behind a period is not asked about.
        if self.is_past {
            self.beside.freeze();
        }
        if let Some((_, time)) = self.last {
            self.beside.see(size, time, self.vouched_until(time));
        }
        let checkpoint = self.checkpoints.remove(&size);
        if checkpoint.is_none() && self.anchors.iter().all(|(anchor, _)| anchor.size != size) {
            return Ok(());
        }
        let root = self.tree.root();
        if let Some(key) = checkpoint {
            let bytes = match read.unwrap_or_else(|| read_small(self.store, &key, NOTE_BYTES_MAX)) {
                Err(error) if is_away(&error) => return Err(error),
                bytes => bytes.ok().flatten().unwrap_or_default(),
            };
            match Note::parse(&bytes).map(|note| (note.is_signed_by(&self.key), Checkpoint::parse(note.text))) {
                Ok((true, Some(checkpoint))) if checkpoint.size == size && checkpoint.root == root => {
                    self.report.checkpoints += 1;
                    let time = self.last.map_or(Time(0), |(_, time)| time);
                    let (good, until) = (Good { size, bytes: &bytes, time }, self.vouched_until(time));
                    self.beside.check(self.store, good, &self.question.others, until, &mut self.report)?;
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

    /// Until when there was time to vouch for a seal: since a period that is over there was more, and what is
    /// dated behind the end that is asked about is excused by no such date.
    fn vouched_until(&self, time: Time) -> Time {
        let end = self.question.end;
        if self.way.period.to.is_some() || time > end { end.max(now()) } else { end }
    }

    /// The walk ends here, behind the period: what comes later is not looked at.
    fn leave(&mut self, seals: u64) {
        self.is_left = true;
        if let Some(passed_over) = &mut self.report.passed_over {
            passed_over.seals = seals;
        }
    }

    /// What is left over, and whether the stream ends where it should.
    fn end(&mut self) {
        let size = self.expected;
        let is_outside = |(seq, hour)| seq >= size && !self.way.period.has_of(hour);
        let is_later = |key: &str| self.is_left && place(key).is_some_and(is_outside);
        let mut foreign: Vec<_> = std::mem::take(&mut self.objects).into_keys().filter(|key| !is_later(key)).collect();
        foreign.sort();
        for key in foreign {
            self.report.find(Fault::Foreign, &key, "no seal names it");
        }
        for (checkpoint, key) in std::mem::take(&mut self.checkpoints) {
            if checkpoint > size && !self.is_left {
                self.report.find(Fault::Missing, &key, format!("it is over {checkpoint} seals, and {size} are there"));
            } else if checkpoint <= size && !self.is_broken {
                self.report.find(Fault::Foreign, &key, "it is over no number of seals");
            }
        }
        for (anchor, _) in std::mem::take(&mut self.anchors) {
            let what = format!("it is over {} seals, and {size} are there or can be followed", anchor.size);
            self.report.find(Fault::Anchor, "anchor", what);
        }
        let end = self.question.end;
        // What was received later than the period is sealed: nothing of the period can come any more.
        let is_proved = self.is_left
            || self.last.is_some_and(|(is_closed, time)| {
                is_closed || end.0.saturating_sub(time.0) <= END_NANOS && has_come(time, end)
            });
        if !is_proved {
            let what = match self.last {
                Some((_, time)) => format!("the last seal is of {}, and does not close the stream", report::time(time)),
                None => "no last seal can be trusted".to_owned(),
            };
            let finding = Finding::new(Fault::End, &seal_key(size.saturating_sub(1)), what);
            self.report.add(Finding { is_of_tail: true, ..finding });
        }
        self.beside.end(self.last.map(|(_, time)| time), &mut self.report);
    }
}
