//! Whole streams: written, tampered with in every known way, and verified; and going on after a store failed.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wharfinger_formats::Time;

use super::merkle::{Tree, leaf};
use super::note::{Note, sign};
use super::seal::{Body, Seal};
use super::*;

mod faults;
mod kept;
mod mutate;
mod part;
mod read;
mod streams;
mod tamper;
mod vouched;

const BEGIN: i64 = 1_795_251_600_000_000_000;
const MINUTE: i64 = 60_000_000_000;

/// A stream on disk, and the clock of its writer.
struct Stream {
    dir: tempfile::TempDir,
    chain: Chain,
    key: VerifyingKey,
    now: Time,
    next: u64,
    random: fastrand::Rng,
}

/// A folder in memory where there is one: a stream syncs a lot.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn stores(root: &Path) -> OpenStore {
    let root = root.to_owned();
    Arc::new(move |folder| Arc::new(Dir::new(root.join(folder))))
}

fn open(dir: &Path, now: Time, stores: OpenStore) -> Result<Chain, ChainError> {
    let origin = Origin { host: "gw".to_owned(), name: "audit".to_owned() };
    Chain::open(dir.join("state"), origin, Keys::default(), stores, now)
}

fn question(key: &VerifyingKey, end: Time) -> Question {
    Question { key: key.clone(), deep: true, anchors: Vec::new(), end, others: Others::default() }
}

/// An object of `count` lines from number `first` on.
fn object(first: u64, count: u64, received: Time) -> Object {
    let lines: Vec<String> = (first..first + count).map(|number| format!("{{\"n\":{number}}}")).collect();
    let mut root = Tree::default();
    lines.iter().for_each(|line| root.push(leaf(line.as_bytes())));
    Object {
        bytes: zstd::encode_all((lines.join("\n") + "\n").as_bytes(), 1).unwrap(),
        suffix: ".ndjson.zst",
        received,
        records: count,
        root: root.root(),
        incarnation: "00000000000000aa".to_owned(),
        first,
        last: first + count - 1,
        span: (received, received),
        quarantined: 0,
        dropped: 0,
        sources: vec![Source { name: "vm-1/docker".to_owned(), records: count, first, last: first + count - 1 }],
    }
}

impl Stream {
    fn begin(seed: u64) -> Stream {
        Stream::begin_at(seed, Time(BEGIN))
    }

    fn begin_at(seed: u64, now: Time) -> Stream {
        let dir = scratch();
        let chain = open(dir.path(), now, stores(dir.path())).unwrap();
        let key = chain.first_key().unwrap();
        Stream { dir, chain, key, now, next: 7, random: fastrand::Rng::with_seed(seed) }
    }

    /// The same stream and state in another place.
    fn copy(&self) -> Stream {
        let dir = scratch();
        copy_tree(self.dir.path(), dir.path());
        let chain = open(dir.path(), self.now, stores(dir.path())).unwrap();
        let (key, random) = (self.key.clone(), self.random.clone());
        Stream { dir, chain, key, now: self.now, next: self.next, random }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn object(&mut self) {
        let count = self.random.u64(1..40);
        let object = object(self.next, count, self.now);
        self.now.0 += self.random.i64(1..3) * MINUTE;
        self.chain.seal(&object, Vec::new(), self.now).unwrap();
        self.next += count;
    }

    fn tick(&mut self, minutes: i64) -> Option<String> {
        self.now.0 += minutes * MINUTE;
        self.chain.tick(self.now, true).unwrap()
    }

    /// A few objects, silences, keys, checkpoints, and at least two objects under the last key.
    fn random(seed: u64) -> Stream {
        let mut stream = Stream::begin(seed);
        for _ in 0..stream.random.u32(3..7) {
            stream.object();
            match stream.random.u32(0..4) {
                0 => drop(stream.tick(6)),
                1 => drop(stream.tick(61)),
                2 => stream.chain.rotate(stream.now).unwrap(),
                _ => {}
            }
        }
        stream.chain.rotate(stream.now).unwrap();
        for _ in 0..3 {
            stream.object();
        }
        stream
    }

    fn report(&self, anchors: &[String]) -> Report {
        self.report_at(self.now, anchors)
    }

    fn report_at(&self, end: Time, anchors: &[String]) -> Report {
        let anchors = anchors.iter().map(|anchor| anchor.clone().into_bytes()).collect();
        let question = Question { anchors, ..question(&self.key, end) };
        verify(&Dir::new(self.root()), &question, &mut |_, _, _| {}).unwrap()
    }

    fn archive(&self) -> Vec<Report> {
        let question = question(&self.key, self.now);
        verify_archive(&stores(self.dir.path()), "audit", &question, &mut |_, _, _| {}).unwrap()
    }

    fn seals(&self) -> Vec<(PathBuf, Seal)> {
        let keys = Dir::new(self.root()).keys("seal").unwrap();
        let paths = keys.into_iter().map(|(key, _)| self.root().join(key));
        paths.map(|path| (path.clone(), read_seal(&path))).collect()
    }

    /// Seals of objects, with the paths of both.
    fn objects(&self) -> Vec<(PathBuf, PathBuf, Seal)> {
        let of = |(path, seal): (PathBuf, Seal)| match &seal.body {
            Body::Data(data) => Some((path, self.root().join(&data.object), seal)),
            _ => None,
        };
        self.seals().into_iter().filter_map(of).collect()
    }
}

fn read_seal(path: &Path) -> Seal {
    let bytes = fs::read(path).unwrap();
    Seal::parse(Note::parse(&bytes).unwrap().text).unwrap()
}

/// The key a thief finds on the machine.
fn stolen(stream: &Stream) -> SigningKey {
    let mut entries = fs::read_dir(stream.dir.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
    let path = entries.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("key-")).unwrap();
    KeyFile::new(path).read().unwrap()
}

fn faults(report: &Report) -> Vec<Fault> {
    report.findings.iter().map(|finding| finding.fault).collect()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_fork_with_the_stolen_key_is_seen_by_an_anchor_alone() {
    for seed in 0..20 {
        let mut stream = Stream::random(seed);
        // The thief goes on from the same state, with other lines.
        let mut fork = stream.copy();
        fork.random = fastrand::Rng::with_seed(seed + 1_000);
        stream.object();
        let anchor = stream.tick(61).unwrap();
        fork.object();
        fork.object();
        assert_eq!(fork.report(&[]).verdict(), Verdict::Good);
        assert_eq!(faults(&fork.report(std::slice::from_ref(&anchor))), [Fault::Anchor], "seed {seed}");
        let report = stream.report(std::slice::from_ref(&anchor));
        assert_eq!((report.verdict(), report.anchors), (Verdict::Good, 1), "{:?}", report.findings);
        // One of another stream proves nothing.
        let other = Stream::random(seed).chain.close("done", stream.now).unwrap().unwrap();
        assert_eq!(faults(&stream.report(&[other])), [Fault::Anchor]);
        assert_eq!(faults(&stream.report(&["no note".to_owned()])), [Fault::Anchor]);
    }
}

#[test]
fn the_end_is_proved_by_a_close_or_a_young_seal() {
    let mut stream = Stream::random(1);
    let later = Time(stream.now.0 + 11 * MINUTE);
    assert_eq!(faults(&stream.report_at(later, &[])), [Fault::End]);
    stream.chain.close("the gateway stops", stream.now).unwrap();
    assert_eq!(stream.report_at(later, &[]).verdict(), Verdict::Good);
    // What comes later stands in another stream.
    stream.object();
    let reports = stream.archive();
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report.verdict() == Verdict::Good), "{reports:?}");
}

#[test]
fn one_event_is_proved_alone() {
    let mut stream = Stream::random(9);
    let id = format!("00000000000000aa-{:016}", stream.next + 6);
    let lines = ["{\"n\":1}".to_owned(), format!("{{\"event_id\":\"{id}\"}}"), "{\"n\":2}".to_owned()];
    let mut root = Tree::default();
    lines.iter().for_each(|line| root.push(leaf(line.as_bytes())));
    let bytes = zstd::encode_all((lines.join("\n") + "\n").as_bytes(), 1).unwrap();
    let object = Object { bytes, root: root.root(), records: 3, ..object(stream.next, 12, stream.now) };
    stream.chain.seal(&object, Vec::new(), stream.now).unwrap();
    let proof = prove(&Dir::new(stream.root()), stream.next + 6, &id).unwrap().unwrap();
    assert_eq!((proof.line.as_str(), proof.index), (lines[1].as_str(), 1));
    assert!(!proof.rotations.is_empty());
    let shown = proof.check(&stream.key).unwrap();
    assert_eq!(shown.seal, stream.seals().len() as u64 - 1);
    assert!(prove(&Dir::new(stream.root()), stream.next + 7, "00000000000000aa-9").unwrap().is_none());
    let other = SigningKey::generate(stream.key.name()).unwrap();
    assert!(proof.check(other.verifying()).is_err());
    let tampered: [fn(&mut Proof); 5] = [
        |proof| proof.line.push(' '),
        |proof| proof.index = 0,
        |proof| drop(proof.path.pop()),
        |proof| drop(proof.rotations.pop()),
        |proof| proof.seal = proof.seal.replace("records 3\n", "records 4\n"),
    ];
    for tamper in tampered {
        let mut proof = proof.clone();
        tamper(&mut proof);
        assert!(proof.check(&stream.key).is_err());
    }
}

#[test]
fn what_is_not_in_the_stream_is_counted() {
    let mut stream = Stream::begin(1);
    stream.object();
    let mut holes = object(stream.next + 3, 5, stream.now);
    (holes.quarantined, holes.dropped) = (1, 1);
    let gap =
        Gap { source: "vm-1/docker".to_owned(), from: None, to: None, missing: Some(1), cause: "damage".to_owned() };
    stream.chain.seal(&holes, vec![gap], stream.now).unwrap();
    let report = stream.report(&[]);
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert_eq!((report.filtered, report.quarantined, report.dropped), (1, 1, 1));
    assert_eq!(report.taken, report.archived + 3);
    assert_eq!(report.gaps, ["vm-1/docker: 1 events, an unknown time to an unknown time: damage"]);
}

/// A store whose calls fail: the nth put, before or after it has happened.
#[derive(Debug)]
struct Failing {
    inner: Dir,
    puts_left: Arc<AtomicU64>,
    happens: bool,
}

impl Store for Failing {
    fn put_new(&self, key: &str, bytes: &[u8]) -> io::Result<Put> {
        match self.puts_left.fetch_sub(1, Relaxed) {
            1 if self.happens => self.inner.put_new(key, bytes).and(Err(io::Error::other("the answer is lost"))),
            1 => Err(io::Error::other("the store is down")),
            _ => self.inner.put_new(key, bytes),
        }
    }

    fn open(&self, key: &str) -> io::Result<Option<Box<dyn Read>>> {
        self.inner.open(key)
    }

    fn keys(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        self.inner.keys(folder)
    }
}

/// What the sink does: seals again what did not go through, unless it was staged.
fn run(dir: &Path, stores: &OpenStore, with_crash: bool) -> VerifyingKey {
    let mut now = Time(BEGIN);
    let mut chain = open(dir, now, stores.clone()).unwrap();
    let key = chain.first_key().unwrap();
    let (mut next, mut step) = (7, 0);
    while step < 9 {
        now.0 += 2 * MINUTE;
        let done = match step {
            2 => chain.tick(Time(now.0 + 6 * MINUTE), true).map(drop),
            4 => chain.rotate(now),
            6 => chain.tick(Time(now.0 + 70 * MINUTE), true).map(drop),
            8 => chain.close("done", now).map(drop),
            7 => chain.pause(now, true).map(drop),
            _ if chain.reached().next > next => chain.flush(),
            _ => chain.seal(&object(next, 10, now), Vec::new(), now),
        };
        match done {
            Ok(()) => {
                step += 1;
                next = chain.reached().next;
            }
            Err(_) if with_crash => {
                drop(chain);
                chain = open(dir, now, stores.clone()).unwrap();
            }
            Err(_) => {}
        }
    }
    key
}

#[test]
fn a_store_that_fails_anywhere_leaves_a_good_stream_and_nothing_twice() {
    for (nth, happens, with_crash) in
        (1..24).flat_map(|nth| [(nth, false, false), (nth, true, false), (nth, false, true), (nth, true, true)])
    {
        let dir = scratch();
        let (root, puts_left) = (dir.path().to_owned(), Arc::new(AtomicU64::new(nth)));
        let stores: OpenStore = Arc::new(move |folder| {
            let (inner, puts_left) = (Dir::new(root.join(folder)), Arc::clone(&puts_left));
            Arc::new(Failing { inner, puts_left, happens })
        });
        let key = run(dir.path(), &stores, with_crash);
        let question = question(&key, Time(i64::MAX));
        let report = verify(&Dir::new(dir.path().join("audit")), &question, &mut |_, _, _| {}).unwrap();
        assert_eq!(report.verdict(), Verdict::Good, "put {nth} {happens} {with_crash}: {:?}", report.findings);
        assert_eq!((report.objects, report.taken), (4, 40), "put {nth} {happens} {with_crash}");
        assert!(!dir.path().join("audit.2").exists());
    }
}

#[test]
fn a_place_that_is_taken_is_not_written_over() {
    let mut stream = Stream::random(3);
    let size = stream.seals().len();
    let (path, foreign) = (stream.root().join(format!("seal/{size:012}")), b"somebody else's");
    fs::write(&path, foreign).unwrap();
    let next = object(stream.next, 5, stream.now);
    let error = stream.chain.seal(&next, Vec::new(), stream.now).unwrap_err();
    assert!(matches!(error, ChainError::Occupied { stream: 2, .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), foreign);
    assert_eq!(stream.chain.reached(), Reached::from_parts("00000000000000aa", stream.next), "the numbers go on");
    stream.chain.seal(&next, Vec::new(), stream.now).unwrap();
    // The foreign seal is what it is; without it the first key leads to the second stream.
    assert_eq!(stream.archive()[0].verdict(), Verdict::Bad(Fault::Signature));
    fs::remove_file(&path).unwrap();
    let reports = stream.archive();
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report.verdict() == Verdict::Good), "{reports:?}");
    assert_eq!(reports[1].archived, 5);
    // What the first lost at its end is missed, because the second says where it ended.
    fs::remove_file(stream.root().join(format!("seal/{:012}", size - 1))).unwrap();
    let reports = stream.archive();
    assert_eq!((reports.len(), reports[0].verdict()), (1, Verdict::Bad(Fault::Foreign)), "{reports:?}");
}

#[test]
fn a_place_that_is_taken_while_the_key_changes_leaves_the_streams_linked() {
    let mut stream = Stream::random(6);
    let size = stream.seals().len();
    let path = stream.root().join(format!("seal/{size:012}"));
    fs::write(&path, "somebody else's").unwrap();
    // The next stream's place is taken too, by something that is no seal.
    fs::create_dir_all(stream.dir.path().join("audit.2/seal")).unwrap();
    fs::write(stream.dir.path().join("audit.2/seal/000000000000"), vec![b'x'; 5 << 20]).unwrap();
    let error = stream.chain.rotate(stream.now).unwrap_err();
    assert!(matches!(error, ChainError::Occupied { stream: 3, .. }), "{error}");
    stream.object();
    fs::remove_file(&path).unwrap();
    let reports = stream.archive();
    assert_eq!(reports.len(), 2, "the first seal of the new stream is signed by the key in force: {reports:?}");
    assert_eq!((&*reports[1].origin, &*reports[1].findings[0].key), ("gw/audit.3", "audit.2"));
}

#[test]
fn a_renamed_machine_goes_on_and_a_second_writer_does_not_begin() {
    let mut stream = Stream::random(7);
    stream.object();
    let begin = |host: &str| {
        let origin = Origin { host: host.to_owned(), name: "audit".to_owned() };
        Chain::open(stream.dir.path().join("state"), origin, Keys::default(), stores(stream.dir.path()), stream.now)
    };
    let error = begin("gw").unwrap_err();
    assert!(error.to_string().starts_with("another writer has `"), "{error}");
    drop(stream.chain);
    let mut chain = begin("renamed").unwrap();
    chain.seal(&object(stream.next, 3, stream.now), Vec::new(), stream.now).unwrap();
    let question = question(&stream.key, stream.now);
    let report = verify(&Dir::new(stream.dir.path().join("audit")), &question, &mut |_, _, _| {}).unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
}

#[test]
fn the_key_that_is_given_is_taken_over() {
    let dir = scratch();
    let given = KeyFile::new(dir.path().join("given"));
    let keys = Keys { first: Some(given.clone()), keeper: None };
    let key = SigningKey::generate("gw/audit").unwrap();
    given.create(&key).unwrap();
    let origin = || Origin { host: "gw".to_owned(), name: "audit".to_owned() };
    let begin = || Chain::open(dir.path().join("state"), origin(), keys.clone(), stores(dir.path()), Time(BEGIN));
    let chain = begin().unwrap();
    assert_eq!(chain.first_key().as_ref(), Some(key.verifying()));
    assert!(!given.exists());
    drop(chain);
    // A copy that came back, and a key that is another's.
    given.create(&key).unwrap();
    drop(begin().unwrap());
    assert!(!given.exists());
    given.create(&SigningKey::generate("gw/audit").unwrap()).unwrap();
    drop(begin().unwrap());
    assert!(given.exists());
}

#[test]
fn a_proof_of_another_epoch_is_refused() {
    let mut stream = Stream::random(8);
    let id = format!("00000000000000aa-{:016}", stream.next);
    let line = format!("{{\"event_id\":\"{id}\"}}");
    let mut root = Tree::default();
    root.push(leaf(line.as_bytes()));
    let bytes = zstd::encode_all((line + "\n").as_bytes(), 1).unwrap();
    let object = Object { bytes, root: root.root(), records: 1, ..object(stream.next, 1, stream.now) };
    stream.chain.seal(&object, Vec::new(), stream.now).unwrap();
    let proof = prove(&Dir::new(stream.root()), stream.next, &id).unwrap().unwrap();
    assert!(proof.check(&stream.key).is_ok());
    // Who has the present key signs for a time when it was not in force yet.
    let key = stolen(&stream);
    let note = Note::parse(proof.seal.as_bytes()).unwrap();
    let seal = Seal::parse(note.text).unwrap();
    for (epoch, seq, time) in
        [(0, seal.seq, seal.time), (seal.epoch, 0, seal.time), (seal.epoch, seal.seq, Time(BEGIN))]
    {
        let text = Seal { epoch, seq, time, ..seal.clone() }.to_string();
        let forged = Proof { seal: sign(&text, &[&key]).unwrap(), ..proof.clone() };
        assert!(forged.check(&stream.key).is_err(), "{epoch} {seq} {time:?}");
    }
}

#[test]
fn a_new_journal_and_a_lost_state_begin_a_new_stream() {
    let mut stream = Stream::random(4);
    let other = Object { incarnation: "00000000000000bb".to_owned(), ..object(3, 5, stream.now) };
    stream.chain.seal(&other, Vec::new(), stream.now).unwrap();
    let reached = stream.chain.reached();
    assert!(reached.has("00000000000000bb", 7) && !reached.has("00000000000000bb", 8));
    // What comes again of the old journal, behind a crash, is known too.
    assert!(reached.has("00000000000000aa", stream.next - 1) && !reached.has("00000000000000aa", stream.next));
    assert!(!reached.has("00000000000000cc", 0));
    assert!(stream.dir.path().join("audit.2/seal/000000000001").exists());
    fs::remove_dir_all(stream.dir.path().join("state")).unwrap();
    let (dir, now) = (stream.dir.path().to_owned(), stream.now);
    drop(stream.chain);
    stream.chain = open(&dir, now, stores(&dir)).unwrap();
    stream.chain.seal(&other, Vec::new(), stream.now).unwrap();
    assert!(stream.dir.path().join("audit.3/seal/000000000001").exists());
    let reports = stream.archive();
    assert_eq!(reports.len(), 2, "the third cannot be vouched for: the keys are lost with the state");
    let found: Vec<_> = reports.iter().flat_map(|report| &report.findings).collect();
    assert!(matches!(*found, [Finding { fault: Fault::Foreign, key, .. }] if key == "audit.3"), "{found:?}");
}

#[test]
fn a_key_that_is_gone_is_told_before_anything_is_taken() {
    let stream = Stream::random(5);
    let state = stream.dir.path().join("state");
    let key = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let key = key.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("key-")).unwrap();
    fs::remove_file(key).unwrap();
    drop(stream.chain);
    let error = open(stream.dir.path(), stream.now, stores(stream.dir.path())).unwrap_err();
    assert!(matches!(error, ChainError::Key(KeyError::Read { .. })), "{error}");
    fs::write(state.join("head.json"), "{").unwrap();
    let error = open(stream.dir.path(), stream.now, stores(stream.dir.path())).unwrap_err();
    assert!(error.to_string().contains("head.json` is damaged"), "{error}");
}
