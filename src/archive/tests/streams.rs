//! The streams of one archive: which are looked at, and what may stand between them.

use std::fs::File;
use std::os::unix::fs::symlink;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use super::super::chain::seal_key;
use super::*;

impl Stream {
    fn later(&mut self, incarnation: &str, count: u64) {
        let object = Object { incarnation: incarnation.to_owned(), ..object(1, count, self.now) };
        self.chain.seal(&object, Vec::new(), self.now).unwrap();
    }

    fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn told(&self) -> Vec<(String, Verdict)> {
        let folder = |report: &Report| report.origin.rsplit('/').next().unwrap().to_owned();
        self.archive().iter().map(|report| (folder(report), report.verdict())).collect()
    }
}

fn told(streams: &[(&str, Verdict)]) -> Vec<(String, Verdict)> {
    streams.iter().map(|(name, verdict)| ((*name).to_owned(), *verdict)).collect()
}

const NOT_PROVEN: Verdict = Verdict::Bad(Fault::End);
const FOREIGN: Verdict = Verdict::Bad(Fault::Foreign);

/// A machine was put back to a snapshot, and the archive was not: the next stream goes on from an earlier seal.
/// It is looked at all the same, and nobody knows any more how the first one ended.
#[test]
fn a_stream_behind_an_earlier_seal_is_looked_at() {
    let mut stream = Stream::begin(3);
    (0..3).for_each(|_| stream.object());
    let next = stream.next;
    copy_tree(&stream.place("state"), &stream.place("snapshot"));
    (0..3).for_each(|_| stream.object());
    assert_eq!(stream.told(), told(&[("audit", Verdict::Good)]));
    let dir = std::mem::replace(&mut stream.dir, scratch());
    let (key, now) = (stream.key.clone(), stream.now);
    drop(stream);
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    copy_tree(&dir.path().join("snapshot"), &dir.path().join("state"));
    let chain = open(dir.path(), now, stores(dir.path())).unwrap();
    let mut stream = Stream { dir, chain, key, now, next, random: fastrand::Rng::with_seed(4) };
    let first = object(next, 4, now);
    assert!(matches!(stream.chain.seal(&first, Vec::new(), now), Err(ChainError::Occupied { .. })));
    stream.chain.seal(&first, Vec::new(), now).unwrap();
    assert_eq!(stream.told(), told(&[("audit", NOT_PROVEN), ("audit.2", Verdict::Good)]));
    let what = &stream.archive()[0].findings[0].what;
    assert!(what.contains("`audit.2` goes on from here, and not from the last seal"), "{what}");
    let data = Dir::new(stream.place("audit.2")).keys("data").unwrap();
    fs::write(stream.place("audit.2").join(&data[0].0), "x").unwrap();
    assert_eq!(stream.told()[1].1, Verdict::Bad(Fault::Altered));
}

/// Whoever puts something where the next stream would be hides none that comes behind it.
#[test]
fn what_is_planted_between_streams_is_named_and_hides_none() {
    let mut stream = Stream::begin(3);
    stream.object();
    let planted = stream.place("audit.2/seal/zzz");
    fs::create_dir_all(planted.parent().unwrap()).unwrap();
    fs::write(planted, "x").unwrap();
    stream.later("00000000000000bb", 3);
    assert!(stream.place("audit.3/seal/000000000000").exists());
    assert_eq!(stream.told(), told(&[("audit", Verdict::Good), ("audit.3", FOREIGN)]));
    assert_eq!(stream.archive()[1].findings[0].key, "audit.2");
    fs::write(stream.place("audit.3/seal/000000000001"), "x").unwrap();
    assert_eq!(stream.told()[1].1, Verdict::Bad(Fault::Signature));
}

/// A stream whose beginning is lost keeps those behind it from nobody's eyes.
#[test]
fn a_stream_that_is_gone_is_missed() {
    let mut stream = Stream::begin(3);
    stream.object();
    stream.later("00000000000000bb", 3);
    stream.later("00000000000000cc", 3);
    assert_eq!(stream.told().len(), 3);
    fs::remove_dir_all(stream.place("audit.2")).unwrap();
    let told = stream.archive();
    assert_eq!((told.len(), &*told[0].findings[0].key), (1, "audit.3"), "{told:?}");
}

type Plant<'p> = &'p dyn Fn(&Stream);

/// One planted file is a finding, and takes no verdict away.
#[test]
fn nothing_planted_keeps_verify_from_its_verdict() {
    let plants: [(&str, Plant); 5] = [
        ("a long seal", &|stream| {
            fs::create_dir_all(stream.place("audit.2/seal")).unwrap();
            fs::write(stream.place("audit.2/seal/000000000000"), vec![b'x'; 5 << 20]).unwrap();
        }),
        ("a circle", &|stream| symlink(stream.place("audit.2"), stream.place("audit.2")).unwrap()),
        ("a file", &|stream| fs::write(stream.place("audit.2"), "x").unwrap()),
        ("a circle within", &|stream| symlink("data", stream.root().join("data/loop")).unwrap()),
        ("deep folders", &|stream| {
            // Longer than any path may be: made from within.
            let mut folder = File::open(stream.root().join("data")).unwrap();
            for _ in 0..30 {
                let name = "d".repeat(200);
                mkdirat(&folder, &*name, Mode::RWXU).unwrap();
                folder = openat(&folder, &*name, OFlags::DIRECTORY, Mode::empty()).unwrap().into();
            }
        }),
    ];
    for (name, plant) in plants {
        let mut stream = Stream::begin(3);
        stream.object();
        let data = Dir::new(stream.root()).keys("data").unwrap();
        plant(&stream);
        let told = stream.told();
        assert!(told.iter().all(|(_, verdict)| matches!(*verdict, FOREIGN | Verdict::Good)), "{name}: {told:?}");
        fs::write(stream.root().join(&data[0].0), "x").unwrap();
        assert_eq!(stream.told()[0].1, Verdict::Bad(Fault::Altered), "{name}");
    }
}

/// What is sealed by itself while a receipt waits is not what it names.
#[test]
fn the_seal_of_an_event_is_that_of_its_object() {
    let mut stream = Stream::begin(5);
    let incarnation = "00000000000000aa";
    assert_eq!(stream.chain.seal_from(incarnation, 7), None);
    stream.object();
    let first = stream.chain.seal_from(incarnation, 7);
    assert_eq!(first, Some(seal_key(0)));
    let (second, behind) = (stream.next, stream.chain.reached());
    stream.object();
    stream.tick(6);
    stream.chain.rotate(stream.now).unwrap();
    assert!(stream.seals().len() > 3 && behind.next == second);
    for chain in [&stream.chain, &stream.copy().chain] {
        assert_eq!(chain.seal_from(incarnation, second), Some(seal_key(1)));
        // Of an earlier object, not taken in yet, of another journal.
        for (incarnation, number) in [(incarnation, 7), (incarnation, stream.next), ("00000000000000bb", second)] {
            assert_eq!(chain.seal_from(incarnation, number), None);
        }
    }
}

/// A reload opens the sink again while the old one still puts.
#[test]
fn a_writer_that_waits_for_another_goes_on_behind_it() {
    let mut stream = Stream::begin(6);
    stream.object();
    let (dir, now) = (stream.dir.path().to_owned(), stream.now);
    let next = std::thread::spawn(move || open(&dir, now, stores(&dir)));
    std::thread::sleep(std::time::Duration::from_millis(200));
    stream.object();
    let (reached, dir) = (stream.chain.reached(), stream.dir);
    drop(stream.chain);
    let mut chain = next.join().unwrap().unwrap();
    assert_eq!(chain.reached(), reached);
    chain.seal(&object(stream.next, 3, stream.now), Vec::new(), stream.now).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("audit/seal")).unwrap().count(), 3);
}
