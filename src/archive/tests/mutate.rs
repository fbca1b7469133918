//! Archives changed at random, by people without the key and by one who has it: `verify` and `archive prove`
//! end, panic at nothing, and are misled by nobody who has no key.
//!
//! The fuzz target `archive` asks this of any bytes; here the mutations know what an archive looks like, and what
//! must come out.

use std::sync::LazyLock;
use std::time::Duration;

use super::super::memory::Memory;
use super::super::seal::Data;
use super::*;
use crate::sim::seeds;

/// One archive takes no longer, also in a debug build on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(20);

/// An archive and what is known of it.
struct Base {
    store: Memory,
    question: Question,
    /// The key of the last epoch.
    stolen: SigningKey,
    proof: Vec<u8>,
    /// A number and id that it has.
    event: (u64, String),
    /// All lines, as they are read.
    lines: Vec<Vec<u8>>,
}

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| (0..8).map(base).collect());

fn base(seed: u64) -> Base {
    let mut stream = Stream::random(seed);
    let number = stream.next;
    let id = format!("00000000000000aa-{number:016}");
    let line = format!("{{\"event_id\":\"{id}\"}}");
    let mut root = Tree::default();
    root.push(leaf(line.as_bytes()));
    let bytes = zstd::encode_all((line + "\n").as_bytes(), 1).unwrap();
    let object = Object { bytes, root: root.root(), ..object(number, 1, stream.now) };
    stream.chain.seal(&object, Vec::new(), stream.now).unwrap();
    stream.tick(61);
    let dir = Dir::new(stream.root());
    let folders = ["data", "seal", "checkpoint"].map(|folder| dir.keys(folder).unwrap());
    let files = folders.into_iter().flatten().map(|(key, _)| (key.clone(), fs::read(stream.root().join(key)).unwrap()));
    let question = question(&stream.key, stream.now);
    let proof = serde_json::to_vec(&prove(&dir, number, &id).unwrap().unwrap()).unwrap();
    let store = Memory(files.collect());
    let (lines, end) = told(&store, &question);
    end.unwrap();
    Base { store, question, stolen: stolen(&stream), proof, event: (number, id), lines }
}

/// What is read of an archive, and how that ended.
fn told(store: &Memory, question: &Question) -> (Vec<Vec<u8>>, Result<(), Unread>) {
    let mut reader = Reader::new(Arc::new(store.clone()), Some(question.key.clone()));
    let mut told = Vec::new();
    let mut read = || -> Result<(), Unread> {
        let mut objects = reader.objects(Period::default())?;
        while let Some(sealed) = objects.next() {
            let mut lines = objects.lines(&sealed?)?;
            while let Some(line) = lines.next_line()? {
                told.push(line.to_vec());
            }
        }
        Ok(())
    };
    let end = read();
    (told, end)
}

/// Pieces that readers trip over.
const PIECES: [&[u8]; 12] = [
    b"\n\n",
    b"\xff\xfe",
    b"18446744073709551615",
    b"object ../../../etc/passwd\n",
    b"\x00",
    b"\xe2\x80\xa8",
    b"\r\n",
    "\u{2014} ".as_bytes(),
    b"type rotate\nnext \n",
    b"-1",
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    b"{\"a\":",
];

fn change_bytes(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(..=bytes.len());
    match random.u32(0..6) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.u32(..8),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, random.choice(PIECES).unwrap().iter().copied())),
        4 => drop(bytes.drain(at..bytes.len().min(at + random.usize(1..40)))),
        _ => {
            let piece = bytes[at..bytes.len().min(at + random.usize(1..60))].to_vec();
            let to = random.usize(..=bytes.len());
            bytes.splice(to..to, piece);
        }
    }
}

/// What anybody can do who may write to the store.
fn change(store: &mut Memory, random: &mut fastrand::Rng) {
    let keys: Vec<String> = store.0.keys().cloned().collect();
    let (one, other) = (random.choice(&keys).unwrap(), random.choice(&keys).unwrap());
    match random.u32(0..9) {
        0 => drop(store.0.remove(one)),
        1 => {
            let (first, second) = (store.0[one].clone(), store.0[other].clone());
            store.0.insert(one.clone(), second);
            store.0.insert(other.clone(), first);
        }
        2 => {
            let copy = store.0[one].clone();
            let name = ["data/x", "seal/99", "seal/999999999999", "checkpoint/1", "data/dt=1/hour=2/3", "seal/x"];
            store.0.insert((*random.choice(name).unwrap()).to_owned(), copy);
        }
        _ => change_bytes(store.0.get_mut(one).unwrap(), random),
    }
}

/// Whether everything is there as it was, but for checkpoints: none of them has to be there.
fn is_whole(store: &Memory, base: &Memory) -> bool {
    let is_there = |key: &String| key.starts_with("checkpoint/") || store.0.contains_key(key);
    base.0.keys().all(is_there) && store.0.iter().all(|(key, bytes)| base.0.get(key) == Some(bytes))
}

/// What only the holder of the last key can do: another seal at the end, of what he likes.
fn forge(base: &Base, store: &mut Memory, random: &mut fastrand::Rng) {
    let last = store.keys("seal").unwrap().pop().unwrap().0;
    let bytes = store.0[&last].clone();
    let Ok(note) = Note::parse(&bytes) else { return };
    let Ok(mut seal) = Seal::parse(note.text) else { return };
    seal.prev = super::super::merkle::sha256(note.text.as_bytes());
    seal.seq += 1;
    // Few lines under their true root, with a number of records that may be true: what the seal says of the
    // object itself holds, and what is in it is looked at.
    let lines = if random.bool() { random.usize(..9) } else { random.usize(..2_000_000) };
    let mut root = Tree::default();
    (0..lines).take(9).for_each(|_| root.push(leaf(b"{}")));
    let is_true = lines < 9 && random.bool();
    let root = if is_true { root.root() } else { [0; 32] };
    let lines = b"{}\n".repeat(lines);
    let mut stored = zstd::encode_all(&*lines, 1).unwrap();
    if random.bool() {
        change_bytes(&mut stored, random);
    }
    let wild = |random: &mut fastrand::Rng| *random.choice(&[0, 1, 7, 1 << 40, u64::MAX]).unwrap();
    let names =
        ["data/dt=2026-11-21/hour=09/1.ndjson.zst", "../../etc/passwd", "seal/000000000000", "data/a.ndjson.gz", "/"];
    let object = (*random.choice(names).unwrap()).to_owned();
    let (first, amount) = (wild(random), wild(random));
    let tally = Tally { taken: wild(random), archived: amount, filtered: wild(random), ..Tally::default() };
    seal.body = Body::Data(Data {
        object: object.clone(),
        sha256: super::super::merkle::sha256(&stored),
        bytes: stored.len() as u64,
        records: amount,
        root,
        ingest: (first, wild(random)),
        span: (Time(i64::MIN + 1), Time(i64::MAX)),
        tally,
        sources: vec![Source { name: "a/b".to_owned(), records: wild(random), first, last: 0 }],
    });
    let text = seal.to_string();
    let text = if random.bool() { text } else { text.replace("ingest", "\u{85}ingest") };
    store.0.insert(format!("seal/{:012}", seal.seq), sign(&text, &[&base.stolen]).unwrap().into_bytes());
    store.0.insert(object, stored);
}

/// For how long this thread has worked: whoever else works on the machine costs it nothing.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

fn checked(base: &Base, store: &Memory, seed: u64) -> Report {
    let start = worked();
    let report = verify(store, &base.question, &mut |_, _, _| {}).unwrap();
    let proof = prove(store, base.event.0, &base.event.1);
    let work = worked() - start;
    assert!(work < TIME_MAX, "seed {seed}: {work:?}");
    // Whatever it was made from, it shows what was sealed or nothing.
    if let Ok(Some(proof)) = proof
        && proof.check(&base.question.key).is_ok()
    {
        assert_eq!(proof.line, format!("{{\"event_id\":\"{}\"}}", base.event.1), "seed {seed}");
    }
    report
}

#[test]
fn no_change_of_an_archive_misleads_verify() {
    let test = "no_change_of_an_archive_misleads_verify";
    let lives = seeds::live(test, seeds::size(1_200, 100_000) as u64, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let base = &BASES[random.usize(..BASES.len())];
        let mut store = base.store.clone();
        (0..random.u32(1..4)).for_each(|_| change(&mut store, &mut random));
        let report = checked(base, &store, seed);
        let is_good = report.verdict() == Verdict::Good;
        assert_eq!(is_good, is_whole(&store, &base.store), "seed {seed}: {:?}", report.findings);
        // Who reads is told what was sealed, from the beginning on, and of what is gone but the end of the seals
        // that it is.
        let (lines, end) = told(&store, &base.question);
        assert!(base.lines.starts_with(&lines), "seed {seed}: {end:?}");
        let seals = |store: &Memory| store.keys("seal").unwrap();
        assert!(end.is_err() || lines == base.lines || seals(&store) != seals(&base.store), "seed {seed}");
    });
    println!("{lives} archives changed without the key");
}

#[test]
fn who_has_the_key_forges_nothing_that_verify_cannot_stand() {
    let test = "who_has_the_key_forges_nothing_that_verify_cannot_stand";
    let lives = seeds::live(test, seeds::size(100, 5_000) as u64, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let base = &BASES[random.usize(..BASES.len())];
        let mut store = base.store.clone();
        forge(base, &mut store, &mut random);
        assert_ne!(checked(base, &store, seed).verdict(), Verdict::Good, "seed {seed}");
        change(&mut store, &mut random);
        checked(base, &store, seed);
    });
    println!("{lives} archives forged");
}

#[test]
fn no_change_of_a_proof_shows_another_event() {
    let test = "no_change_of_a_proof_shows_another_event";
    let lives = seeds::live(test, seeds::size(5_000, 100_000) as u64, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let base = &BASES[random.usize(..BASES.len())];
        let mut bytes = base.proof.clone();
        (0..random.u32(1..3)).for_each(|_| change_bytes(&mut bytes, &mut random));
        let Ok(proof) = serde_json::from_slice::<Proof>(&bytes) else { return };
        if proof.check(&base.question.key).is_ok() {
            let sealed: Proof = serde_json::from_slice(&base.proof).unwrap();
            assert_eq!((proof.line, proof.index, proof.path), (sealed.line, sealed.index, sealed.path), "seed {seed}");
        }
    });
    println!("{lives} proofs changed");
}
