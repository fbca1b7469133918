//! Random lives of a journal against a model: appends, reads, commits, syncs that fail, crashes of
//! the process and of the power, bits that flip, restarts. A failure prints its seed, and the seed
//! replays it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;

use super::super::sim::{Fault, SimDisk};
use super::super::*;
use crate::sim::{Bug, seeds};

type Append = Pin<Box<dyn Future<Output = Result<Receipt, AppendError>>>>;

/// A batch that was handed over.
#[derive(Debug, Default, Clone)]
struct Handed {
    records: usize,
    marked: bool,
    /// Must be there whatever happens: its receipt came after a sync, or somebody has read it.
    acknowledged: bool,
    /// Must be there until the power goes.
    written: bool,
    /// Where its first record was seen, or was said to stand.
    first: Option<u64>,
}

struct Life {
    journal: Journal,
    stepper: Stepper,
    cursors: Vec<Reader>,
    pending: Vec<(usize, Append)>,
}

struct Reader {
    cursor: Cursor,
    /// The next position it should hand out.
    next: u64,
}

struct Model {
    random: fastrand::Rng,
    disk: SimDisk,
    settings: Settings,
    handed: Vec<Handed>,
    /// Who stands where, as far as known in this life.
    at: BTreeMap<u64, (usize, usize)>,
    committed: [u64; 2],
    /// What was asked to be committed: a write that failed may be on disk all the same.
    asked: [u64; 2],
    /// What was committed when the cursors were last made durable.
    durable: [u64; 2],
    incarnation: Option<Incarnation>,
    crashes: usize,
    chunk: Chunk,
    /// Positions that the journal named as damaged.
    missing: BTreeSet<u64>,
    /// How many bits were flipped.
    flipped: usize,
    closing: bool,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new(random.u64(..));
        let mut settings = Settings { bytes_max: 512 << 10, commit_bytes_max: 16 << 10, ..Settings::new("/journal") };
        if random.u8(..5) == 0 {
            settings.sync = Sync::Interval(Duration::ZERO);
        }
        Model {
            random,
            disk,
            settings,
            handed: Vec::new(),
            at: BTreeMap::new(),
            committed: [1; 2],
            asked: [1; 2],
            durable: [1; 2],
            incarnation: None,
            crashes: 0,
            chunk: Chunk::new(),
            missing: BTreeSet::new(),
            flipped: 0,
            closing: false,
        }
    }

    /// One seed; answers how many crashes there were.
    fn live(seed: u64) -> usize {
        let mut model = Model::new(seed);
        model.run();
        model.crashes
    }

    fn run(&mut self) {
        for _ in 0..6 {
            let mut life = self.start();
            // Some lives end before they begin: a start must not rely on what follows it.
            let steps = if self.random.u8(..4) == 0 { 3 } else { 120 };
            for _ in 0..self.random.usize(..steps) {
                self.step(&mut life);
            }
            self.end(life);
            if self.settings.sync == Sync::Always && self.random.u8(..8) == 0 {
                self.flip_a_bit();
            }
        }
        let mut life = self.start();
        self.check_all(&mut life);
    }

    fn step(&mut self, life: &mut Life) {
        match self.random.u8(..100) {
            0..40 => self.append(life),
            40..65 => {
                life.stepper.turn();
                self.poll(life);
            }
            65..85 => {
                let which = self.random.usize(..life.cursors.len());
                self.read(life, which);
            }
            85..95 => {
                let which = self.random.usize(..life.cursors.len());
                let reader = &mut life.cursors[which];
                let position = self.random.u64(reader.cursor.committed().0..=reader.next);
                self.asked[which] = self.asked[which].max(position);
                match reader.cursor.commit(Position(position)) {
                    Ok(()) => self.committed[which] = self.committed[which].max(position),
                    Err(CursorError::Io(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            95 => {
                if life.journal.sync_cursors() {
                    self.durable = self.committed;
                }
            }
            96 => {
                let which = self.random.usize(..life.cursors.len());
                let reader = &mut life.cursors[which];
                let to = self.random.u64(reader.cursor.committed().0..=reader.next);
                reader.cursor.rewind(Position(to));
                reader.next = to;
            }
            97 if !life.pending.is_empty() => {
                // Who waits gives up; the batch is whole or absent all the same.
                let which = self.random.usize(..life.pending.len());
                drop(life.pending.swap_remove(which));
            }
            // After a sync that fails between two intervals, readers get what the file still gives: nothing
            // is promised then.
            _ if self.settings.sync != Sync::Always => {}
            _ => {
                let kind = if self.random.bool() { std::io::ErrorKind::Other } else { std::io::ErrorKind::StorageFull };
                let fault = Fault { after: self.random.u64(..6), times: self.random.u64(1..4), kind };
                self.disk.set_fault(Some(fault));
            }
        }
    }

    fn append(&mut self, life: &mut Life) {
        let id = self.handed.len();
        let records = self.random.usize(1..6);
        let marked = self.random.u8(..4) == 0;
        let mut batch = Batch::new();
        for place in 0..records {
            let bytes = self.random.usize(..1500);
            batch.push_with(|buffer| buffer.extend_from_slice(&payload(id, place, bytes)));
        }
        if marked {
            batch.mark("source", id.to_string().as_bytes());
        }
        self.handed.push(Handed { records, marked, ..Handed::default() });
        let journal = life.journal.clone();
        let reserved = self.random.u8(..10) == 0;
        life.pending.push((
            id,
            Box::pin(async move {
                if reserved { journal.append_reserved(batch).await } else { journal.append(batch).await }
            }),
        ));
        self.poll(life);
    }

    /// Sees who has a receipt now.
    fn poll(&mut self, life: &mut Life) {
        let mut waiting = Vec::new();
        for (id, mut append) in life.pending.drain(..) {
            match append.as_mut().now_or_never() {
                None => waiting.push((id, append)),
                Some(Ok(receipt)) => {
                    let handed = &mut self.handed[id];
                    assert_eq!(receipt.count, handed.records);
                    handed.acknowledged |= self.settings.sync == Sync::Always;
                    handed.written = true;
                    self.place(id, receipt.first.0);
                }
                Some(Err(AppendError::Failed { .. } | AppendError::Full { .. })) => {}
                Some(Err(AppendError::Closed)) if self.closing => {}
                Some(Err(error)) => panic!("{error}"),
            }
        }
        life.pending = waiting;
    }

    /// Batch `id` stands at `first`.
    fn place(&mut self, id: usize, first: u64) {
        let known = *self.handed[id].first.get_or_insert(first);
        assert_eq!(known, first, "batch {id} has one place");
        for place in 0..self.handed[id].records {
            let other = self.at.insert(first + place as u64, (id, place));
            assert!(other.is_none_or(|other| other == (id, place)), "position {first}+{place} was given twice");
        }
    }

    fn read(&mut self, life: &mut Life, which: usize) -> bool {
        let reader = &mut life.cursors[which];
        let chunk = &mut self.chunk;
        let bytes_max = self.random.usize(..20_000);
        // Everything is near the end of so small a log: the call never waits for a thread.
        match reader.cursor.try_read(chunk, bytes_max).now_or_never().unwrap() {
            Ok(true) => {}
            Ok(false) => return false,
            Err(_) => return true,
        }
        let mut next = reader.next;
        let mut seen = Vec::new();
        let mut missing = BTreeSet::new();
        for damage in chunk.damaged() {
            missing.extend(damage.missing.0.0..=damage.missing.1.0);
        }
        let skip = |next: &mut u64| {
            while missing.contains(next) {
                *next += 1;
            }
        };
        for record in chunk.records() {
            skip(&mut next);
            assert_eq!(record.position.0, next, "positions are dense");
            next += 1;
            let (id, place) = parse(record.payload);
            assert_eq!(record.batch_first.0, record.position.0 - place as u64);
            assert_eq!(Some(record.incarnation), self.incarnation);
            seen.push((id, record.batch_first.0));
        }
        skip(&mut next);
        assert!(missing.range(next..).next().is_none(), "{missing:?} are named where they are missing");
        reader.next = next;
        self.missing.extend(missing);
        assert!(self.missing.len() <= self.flipped, "{:?} are missing after {} flips", self.missing, self.flipped);
        seen.dedup();
        for (id, first) in seen {
            self.place(id, first);
            // What somebody has read stays.
            self.handed[id].acknowledged = true;
        }
        true
    }

    fn start(&mut self) -> Life {
        let (journal, stepper) = Journal::open_stepped(self.settings.clone(), Arc::new(self.disk.clone())).unwrap();
        let incarnation = journal.incarnation();
        assert_eq!(*self.incarnation.get_or_insert(incarnation), incarnation, "nothing was rolled back");
        let mut cursors = Vec::new();
        for (which, name) in ["a", "b"].iter().enumerate() {
            let cursor = journal.cursor(name).unwrap();
            let committed = cursor.committed().0;
            assert!(committed <= self.asked[which], "a cursor never leads");
            assert!(committed >= self.durable[which], "{name}: {committed} is before what was made durable");
            (self.committed[which], self.asked[which], self.durable[which]) = (committed, committed, committed);
            cursors.push(Reader { next: cursor.committed().0, cursor });
        }
        // Who was not acknowledged may be gone, and its place given to others.
        let last = journal.status().last.0;
        let acknowledged = self.handed.iter().filter(|handed| handed.acknowledged || handed.written);
        let end = acknowledged.map(|handed| handed.first.unwrap() + handed.records as u64 - 1).max().unwrap_or(0);
        assert!(last >= end, "{last} is before the acknowledged {end}");
        let Model { handed, at, .. } = self;
        let kept = |handed: &Handed| handed.acknowledged || handed.written;
        at.retain(|_, (id, _)| kept(&handed[*id]));
        handed.iter_mut().filter(|handed| !kept(handed)).for_each(|handed| handed.first = None);
        let mut life = Life { journal, stepper, cursors, pending: Vec::new() };
        self.check_all(&mut life);
        life
    }

    /// Every cursor can read everything that was acknowledged and that it did not commit.
    fn check_all(&mut self, life: &mut Life) {
        for which in 0..life.cursors.len() {
            let committed = life.cursors[which].cursor.committed();
            life.cursors[which].cursor.rewind(committed);
            life.cursors[which].next = committed.0;
            while self.read(life, which) {}
            assert_eq!(life.cursors[which].next, life.journal.status().last.0 + 1, "read to the end");
        }
        let oldest = life.cursors.iter().map(|reader| reader.cursor.committed().0).min().unwrap();
        let mut visible: BTreeSet<usize> = BTreeSet::new();
        for (&position, &(id, place)) in self.at.range(oldest..) {
            visible.insert(id);
            assert!(position <= life.journal.status().last.0, "{id}.{place} was acknowledged and is gone");
        }
        let marked = self.handed.iter().enumerate().filter(|(_, handed)| handed.marked && handed.first.is_some());
        if let Some((id, _)) = marked.max_by_key(|(_, handed)| handed.first) {
            let mark = life.journal.mark("source").expect("a mark was stored");
            assert_eq!(String::from_utf8(mark).unwrap(), id.to_string());
        }
    }

    /// Flips a bit where the log surely goes on behind it: what is hit was synced once, and readers are
    /// told. At the end it could be a torn write, and the last file may hold nothing yet.
    fn flip_a_bit(&mut self) {
        let files = self.disk.files().into_iter();
        let mut segments: Vec<_> = files.filter(|(path, _)| path.extension() == Some("segment".as_ref())).collect();
        segments.truncate(segments.len().saturating_sub(2));
        segments.retain(|(_, bytes)| *bytes > 0);
        if segments.is_empty() {
            return;
        }
        let (path, bytes) = &segments[self.random.usize(..segments.len())];
        let (at, bit) = (self.random.usize(..*bytes), self.random.u8(..8));
        self.disk.damage(path, |bytes| bytes[at] ^= 1 << bit);
        self.flipped += 1;
    }

    fn end(&mut self, mut life: Life) {
        self.disk.set_fault(None);
        if self.random.u8(..3) == 0 {
            life.journal.close().now_or_never().unwrap();
            while life.stepper.turn() {}
            self.closing = true;
            self.poll(&mut life);
            self.closing = false;
            let status = life.journal.status();
            for (reader, committed) in life.cursors.iter().zip(self.committed) {
                assert_eq!(reader.cursor.committed().0, committed);
            }
            life.stepper.close();
            if !status.healthy {
                self.disk.kill();
            }
            return;
        }
        self.poll(&mut life);
        // Of a process that dies nothing runs any more.
        self.crashes += 1;
        let power = self.random.bool();
        if power {
            self.handed.iter_mut().for_each(|handed| handed.written = false);
            self.disk.power_loss()
        } else {
            self.disk.kill()
        }
        let Life { journal, stepper, cursors, pending } = life;
        drop((pending, cursors, stepper, journal));
        if power {
            // Commits that were not synced may be lost: the cursor lags.
            return;
        }
        let (journal, _stepper) =
            Journal::open_stepped(self.settings.clone(), Arc::new(self.disk.clone())).expect("opens after a kill");
        for (which, name) in ["a", "b"].iter().enumerate() {
            let found = journal.cursor(name).unwrap().committed().0;
            let kept = self.committed[which]..=self.asked[which];
            assert!(kept.contains(&found), "a killed process loses no commit: {found} is not in {kept:?}");
        }
        self.disk.kill();
    }
}

fn payload(id: usize, place: usize, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{id}.{place}:").into_bytes();
    // The filler depends on who it belongs to, and holds what looks like the start of a record.
    const FILLER: &[u8; 32] = b"\xF7WhR. \xF7WhR\0\0\0\0 some more of it..";
    let at = (id * 5 + place) % FILLER.len();
    let start = payload.len();
    payload.resize(start + bytes + FILLER.len(), 0);
    for piece in payload[start..].chunks_mut(FILLER.len()) {
        let bytes = piece.len();
        let (head, tail) = piece.split_at_mut(bytes.min(FILLER.len() - at));
        head.copy_from_slice(&FILLER[at..at + head.len()]);
        tail.copy_from_slice(&FILLER[..tail.len()]);
    }
    payload.truncate(start + bytes);
    payload
}

fn parse(bytes: &[u8]) -> (usize, usize) {
    let colon = bytes.iter().position(|&byte| byte == b':').expect("a payload of ours");
    let (id, place) = std::str::from_utf8(&bytes[..colon]).unwrap().split_once('.').unwrap();
    let (id, place) = (id.parse().unwrap(), place.parse().unwrap());
    assert!(bytes == payload(id, place, bytes.len() - colon - 1), "{id}.{place} is altered");
    (id, place)
}

/// Lives per push.
const SEEDS: u64 = 500;

#[test]
fn random_lives() {
    let crashes = AtomicUsize::new(0);
    let lived = seeds::live("journal::tests::model::random_lives", SEEDS, |seed| {
        crashes.fetch_add(Model::live(seed), Relaxed);
    });
    println!("{lived} seeds, {} crashes", crashes.load(Relaxed));
    assert!(lived < 10 || crashes.load(Relaxed) > 0);
}

#[test]
fn every_planted_bug_is_caught() {
    let bugs = [
        Bug::AckBeforeSync,
        Bug::SyncTriedTwice,
        Bug::FolderNotSynced,
        Bug::ReadBeforeSync,
        Bug::MarksLostWithSegment,
        Bug::SequenceReused,
        Bug::TornBatchTaken,
        Bug::HoleTaken,
        Bug::RecoveredUnsynced,
        Bug::SeedIgnored,
        Bug::PayloadUnchecked,
        Bug::ReleasedTooEarly,
        Bug::CursorsNotSynced,
        Bug::PlacesNotSynced,
        Bug::SlotOverwritten,
        Bug::GapNotDeclared,
    ];
    seeds::catch(&bugs, |seed| {
        Model::live(seed);
    });
}
