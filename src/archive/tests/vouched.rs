//! What others vouch for: who has to have signed what, and what nobody can put in between.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::read::{HOUR, from_to};
use super::*;
use crate::archive::chain::checkpoint_key;
use crate::archive::merkle::sha256;

struct Witness {
    pair: Ed25519KeyPair,
    key: WitnessKey,
}

impl Witness {
    fn new(name: &str, seed: u8) -> Witness {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = [&[4], pair.public_key().as_ref()].concat();
        let id: String =
            sha256(&[name.as_bytes(), b"\n", &public].concat())[..4].iter().map(|b| format!("{b:02x}")).collect();
        let key = WitnessKey::parse(&format!("{name}+{id}+{}", STANDARD.encode(public))).unwrap();
        Witness { pair, key }
    }

    /// Signs a checkpoint at a time, as cosignature/v1 says.
    fn sign(&self, root: &Path, size: u64, at: Time) {
        let note = fs::read_to_string(root.join(checkpoint_key(size))).unwrap();
        let (text, _) = note.split_once("\n\n").unwrap();
        let seconds = (at.0 / 1_000_000_000) as u64;
        let signature = self.pair.sign(format!("cosignature/v1\ntime {seconds}\n{text}\n").as_bytes());
        let written = self.key.to_string();
        let id = written.split('+').nth(1).unwrap();
        let id: Vec<u8> = (0..4).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()).collect();
        let blob = STANDARD.encode([&id[..], &seconds.to_be_bytes(), signature.as_ref()].concat());
        let line = format!("\u{2014} {} {blob}\n", self.key.name());
        fs::write(root.join(self.key.key_of(&checkpoint_key(size))), note + &line).unwrap();
    }

    fn takes_back(&self, root: &Path, size: u64) {
        fs::remove_file(root.join(self.key.key_of(&checkpoint_key(size)))).unwrap();
    }
}

fn asked(stream: &Stream, period: Period, witnesses: &[&Witness]) -> Vec<(Verdict, Vec<String>)> {
    let witnesses = witnesses.iter().map(|witness| witness.key.clone()).collect();
    let end = period.to.unwrap_or(stream.now);
    let question = Question { others: Others { witnesses, ..Others::default() }, ..super::question(&stream.key, end) };
    let mut nobody = |_: u64, _: u64, _: u64| {};
    let stores = stores(stream.dir.path());
    let reports = match period {
        Period { from: None, to: None } => verify_archive(&stores, "audit", &question, &mut nobody),
        period => verify_part(&stores, "audit", &question, period, Mark::default(), &mut super::part::Steps::default()),
    };
    let told = |report: Report| (report.verdict(), report.findings.into_iter().map(|finding| finding.what).collect());
    reports.unwrap().into_iter().map(told).collect()
}

fn verdicts(stream: &Stream, period: Period, witnesses: &[&Witness]) -> Vec<Verdict> {
    asked(stream, period, witnesses).into_iter().map(|(verdict, _)| verdict).collect()
}

const ALL: Period = Period { from: None, to: None };
const FORKED: Verdict = Verdict::Bad(Fault::Signature);

/// An object and a checkpoint an hour; answers the sizes of the checkpoints.
fn hourly(hours: usize) -> (Stream, Vec<u64>) {
    let mut stream = Stream::begin(31);
    let sizes = (0..hours).map(|_| {
        stream.object();
        stream.tick(61).unwrap();
        stream.seals().len() as u64
    });
    let sizes = sizes.collect();
    (stream, sizes)
}

/// A witness who was away signs the newest checkpoint when he is back: it is about all before it, of any period.
#[test]
fn a_later_signature_vouches_for_a_period_too() {
    let (stream, sizes) = hourly(6);
    let (witness, other) = (Witness::new("witness.test/one", 1), Witness::new("witness.test/two", 2));
    let period = from_to(2 * HOUR, 4 * HOUR);
    assert_eq!(
        (verdicts(&stream, period, &[]), verdicts(&stream, period, &[&witness])),
        (vec![Verdict::Good], vec![FORKED])
    );
    witness.sign(&stream.root(), sizes[0], stream.now);
    assert_eq!(verdicts(&stream, period, &[&witness]), [FORKED], "what he signed was before");
    witness.sign(&stream.root(), sizes[4], stream.now);
    assert_eq!(verdicts(&stream, period, &[&witness]), [Verdict::Good], "{:?}", asked(&stream, period, &[&witness]));
    assert_eq!(verdicts(&stream, period, &[&witness, &other]), [FORKED]);
    // A file of his that he has not signed makes the walk longer, and nothing else.
    witness.takes_back(&stream.root(), sizes[4]);
    let unsigned = fs::read(stream.root().join(checkpoint_key(sizes[4]))).unwrap();
    fs::write(stream.root().join(witness.key.key_of(&checkpoint_key(sizes[4]))), unsigned).unwrap();
    assert_eq!(verdicts(&stream, period, &[&witness]), [FORKED]);
}

/// Seals behind the last checkpoint of a stream that ended in a crash get none any more: the stream that follows
/// names the last of them, and who vouches for that one vouches for them.
#[test]
fn who_vouches_for_a_stream_vouches_for_the_one_before() {
    let (mut stream, sizes) = hourly(2);
    let witness = Witness::new("witness.test/one", 1);
    witness.sign(&stream.root(), sizes[1], stream.now);
    for _ in 0..4 {
        stream.object();
    }
    stream.now.0 += 3 * HOUR;
    let report = asked(&stream, ALL, &[&witness]);
    assert!(report[0].1.iter().any(|what| what.contains("has signed none since")), "{report:?}");

    // Whoever puts something where the next stream would be excuses nothing.
    let next = stream.dir.path().join("audit.2/seal/000000000000");
    fs::create_dir_all(next.parent().unwrap()).unwrap();
    fs::write(&next, fs::read(stream.root().join("seal/000000000000")).unwrap()).unwrap();
    assert!(asked(&stream, ALL, &[&witness])[0].1.iter().any(|what| what.contains("has signed none since")));
    fs::remove_dir_all(stream.dir.path().join("audit.2")).unwrap();

    stream.seal_into_next();
    stream.tick(61).unwrap();
    let second = stream.dir.path().join("audit.2");
    let size = fs::read_dir(second.join("seal")).unwrap().count() as u64;
    // The new one is unknown to him yet.
    assert_eq!(verdicts(&stream, ALL, &[&witness]), [Verdict::Good, FORKED]);
    witness.sign(&second, size, stream.now);
    assert_eq!(verdicts(&stream, ALL, &[&witness]), [Verdict::Good; 2], "{:?}", asked(&stream, ALL, &[&witness]));
}

impl Stream {
    fn seal_into_next(&mut self) {
        let other = Object { incarnation: "00000000000000bb".to_owned(), ..object(1, 3, self.now) };
        self.chain.seal(&other, Vec::new(), self.now).unwrap();
    }
}

/// More than the hour between two checkpoints is no tail of a crash: what follows excuses nothing of it.
#[test]
fn a_fork_is_not_excused_by_a_stream_behind_it() {
    let (mut stream, sizes) = hourly(2);
    let witness = Witness::new("witness.test/one", 1);
    witness.sign(&stream.root(), sizes[1], stream.now);
    for _ in 0..3 {
        stream.object();
        stream.now.0 += HOUR;
    }
    stream.seal_into_next();
    stream.tick(61).unwrap();
    let second = stream.dir.path().join("audit.2");
    witness.sign(&second, fs::read_dir(second.join("seal")).unwrap().count() as u64, stream.now);
    assert_eq!(verdicts(&stream, ALL, &[&witness]), [FORKED, Verdict::Good]);
}

/// Any log that a witness knows vouches for itself alone.
#[test]
fn a_stream_of_another_name_is_no_successor() {
    let (mut stream, sizes) = hourly(2);
    let witness = Witness::new("witness.test/one", 1);
    witness.sign(&stream.root(), sizes[1], stream.now);
    stream.object();
    let (last, seal) = stream.seals().pop().unwrap();
    let hash = sha256(Note::parse(&fs::read(last).unwrap()).unwrap().text.as_bytes());
    for name in ["thief.example/log", "thief.example/audit.2", "gw/audit.3"] {
        let other = SigningKey::generate(name).unwrap();
        let cause = format!(
            "continues gw/audit behind seal {} {} with {}: x",
            seal.seq,
            super::super::seal::Base64(&hash),
            other.verifying()
        );
        let gap = Gap { source: "gw/audit".to_owned(), from: None, to: Some(stream.now), missing: None, cause };
        let (origin, time) = (name.to_owned(), stream.now);
        let first = Seal { origin, seq: 0, prev: [0; 32], epoch: 0, time, body: Body::Gap(gap) };
        let place = stream.dir.path().join("audit.2/seal/000000000000");
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, sign(&first.to_string(), &[&other, &stolen(&stream)]).unwrap()).unwrap();
        let told = asked(&stream, ALL, &[]);
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert!(told[0].1.iter().any(|what| what.contains("goes on from no stream")), "{name}: {told:?}");
    }
}

/// What a stream owed when it ended its successor owes: a new one is not too young for that.
#[test]
fn a_young_stream_owes_the_stamps_of_the_one_before() {
    let (mut stream, _) = hourly(1);
    let stamps = |stream: &Stream| {
        let others = Others { authorities: Some(Vec::new()), witnesses: Vec::new() };
        let question = Question { others, ..super::question(&stream.key, stream.now) };
        let reports = verify_archive(&stores(stream.dir.path()), "audit", &question, &mut |_, _, _| {}).unwrap();
        reports.iter().map(Report::verdict).collect::<Vec<_>>()
    };
    assert_eq!(stamps(&stream), [Verdict::Good]);
    stream.now.0 += 11 * MINUTE;
    assert_eq!(stamps(&stream), [Verdict::Bad(Fault::End)], "the end is not proven, and the checkpoint is due");
    stream.seal_into_next();
    assert_eq!(stamps(&stream), [Verdict::Good, FORKED]);
    // Nothing is owed by an archive that is young as a whole.
    let mut young = Stream::begin(7);
    young.object();
    assert_eq!(stamps(&young), [Verdict::Good]);
    young.seal_into_next();
    assert_eq!(stamps(&young), [Verdict::Good; 2]);
}

/// Who was away in turns has vouched for a period as well as who was there all the time.
#[test]
fn witnesses_may_be_away_in_turns() {
    let (stream, sizes) = hourly(7);
    let (one, two) = (Witness::new("witness.test/one", 1), Witness::new("witness.test/two", 2));
    for (at, size) in sizes.iter().enumerate() {
        [&one, &two][at % 2].sign(&stream.root(), *size, stream.now);
    }
    let period = from_to(2 * HOUR, 4 * HOUR);
    assert_eq!(
        verdicts(&stream, period, &[&one, &two]),
        [Verdict::Good],
        "{:?}",
        asked(&stream, period, &[&one, &two])
    );
}

/// What is dated behind the end that is asked about has had its time as well, once that date is past.
#[test]
fn no_date_behind_the_end_excuses_a_witness() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
    let mut stream = Stream::begin_at(31, Time(now - 40 * HOUR));
    stream.object();
    stream.tick(61).unwrap();
    let size = stream.seals().len() as u64;
    let witness = Witness::new("witness.test/one", 1);
    witness.sign(&stream.root(), size, stream.now);
    let end = stream.now;
    stream.now.0 += 4 * HOUR;
    stream.object();
    let witnesses = vec![witness.key];
    let others = Others { witnesses, ..Others::default() };
    let question = Question { others, ..super::question(&stream.key, end) };
    let reports = verify_archive(&stores(stream.dir.path()), "audit", &question, &mut |_, _, _| {}).unwrap();
    assert!(reports[0].findings.iter().any(|finding| finding.what.contains("has signed none since")), "{reports:?}");
}

/// A clock that was ahead gives no seal more time to be signed.
#[test]
fn no_time_to_come_excuses_a_witness() {
    let (mut stream, sizes) = hourly(2);
    let witness = Witness::new("witness.test/one", 1);
    witness.sign(&stream.root(), sizes[1], stream.now);
    assert_eq!(verdicts(&stream, ALL, &[&witness]), [Verdict::Good]);
    let end = stream.now;
    stream.now.0 += 20 * 365 * 24 * HOUR;
    stream.object();
    stream.now = end;
    let told = asked(&stream, ALL, &[&witness]);
    assert!(told[0].1.iter().any(|what| what.contains("has signed none since")), "{told:?}");
}

/// A name is anyone's: witnesses are told apart by their keys.
#[test]
fn two_witnesses_of_one_name_are_two() {
    let (stream, sizes) = hourly(2);
    let (one, two) = (Witness::new("witness.test/one", 1), Witness::new("witness.test/one", 2));
    one.sign(&stream.root(), sizes[1], stream.now);
    assert_eq!(verdicts(&stream, ALL, &[&one]), [Verdict::Good]);
    assert_eq!(verdicts(&stream, ALL, &[&one, &two]), [FORKED]);
    assert_eq!(verdicts(&stream, ALL, &[&two]), [FORKED]);
    two.sign(&stream.root(), sizes[1], stream.now);
    assert_eq!(verdicts(&stream, ALL, &[&one, &two]), [Verdict::Good]);
}

/// What somebody else puts beside checkpoints stands before none that is ours.
#[test]
fn nothing_that_is_planted_keeps_a_checkpoint_from_its_vouchers() {
    let (stream, sizes) = hourly(3);
    let witness = Witness::new("witness.test/one", 1);
    let store = Dir::new(stream.root());
    let signer = stream.chain.standing().key;
    let log = LogKey::open(stream.dir.path(), "gw/audit").unwrap();
    let newest = stream.chain.standing().checkpoint;
    assert_eq!(newest, sizes[2]);
    let next = || unwitnessed(&store, newest, &witness.key, &signer, &log).unwrap().map(|sent| sent.size);
    let without = || unstamped(&store, newest).unwrap();
    assert_eq!(next(), Some(newest));
    let ours: Vec<String> = sizes.iter().map(|size| checkpoint_key(*size)).collect();
    assert_eq!(without(), ours);
    let long = vec![b'x'; 5 << 20];
    for name in ["zzz", "999999999999", "00000000", "000000000000.x"] {
        fs::write(stream.root().join("checkpoint").join(name), &long).unwrap();
    }
    for size in (newest + 1)..(newest + 300) {
        fs::write(stream.root().join(checkpoint_key(size)), "x").unwrap();
    }
    assert_eq!((next(), without()), (Some(newest), ours.clone()));
    // Names that a checkpoint may have are looked into, and the others come all the same.
    fs::write(stream.root().join(checkpoint_key(0)), &long).unwrap();
    fs::copy(stream.root().join(checkpoint_key(sizes[0])), stream.root().join(checkpoint_key(1))).unwrap();
    let is_ours = |key: &String| checkpoint_of(&store, key, signer.name()).unwrap().is_some();
    assert_eq!(without().into_iter().filter(is_ours).collect::<Vec<_>>(), ours);
    assert_eq!(checkpoint_of(&store, &ours[0], "gw/other").unwrap(), None);
    // A file in the place of his signature is none.
    let place = stream.root().join(witness.key.key_of(&checkpoint_key(newest)));
    let unsigned = fs::read(stream.root().join(checkpoint_key(newest))).unwrap();
    for planted in [b"x".to_vec(), unsigned, long] {
        fs::write(&place, planted).unwrap();
        assert_eq!(next(), Some(newest));
        let stamp = stream.root().join(stamp_key(&checkpoint_key(newest)));
        fs::write(stamp, "x").unwrap();
        assert!(without().contains(&checkpoint_key(newest)));
    }
    witness.sign(&stream.root(), newest, stream.now);
    assert_eq!(next(), None);
}

/// All witnesses of a stream ask for its log key at once: there is one.
#[test]
fn a_log_key_is_made_once() {
    for _ in 0..20 {
        let dir = scratch();
        let barrier = std::sync::Barrier::new(8);
        let made = || {
            barrier.wait();
            LogKey::open(dir.path(), "gw/audit").unwrap().to_string()
        };
        let keys: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(made)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(keys.len(), 1);
    }
}
