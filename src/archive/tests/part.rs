//! Verifying a part: of a period, of one object, behind what was read before, and on many threads.

use std::collections::BTreeSet;
use std::time::Duration;

use super::read::{HOUR, from_to, hours, object_paths};
use super::tamper::{TAMPERS, tamper};
use super::*;

/// Remembers how far it was at each step.
#[derive(Default)]
pub(super) struct Steps(Vec<Mark>);

impl Watch for Steps {
    fn done(&mut self, _: u64, _: u64, _: u64) {}

    fn reached(&mut self, mark: &Mark) {
        self.0.push(mark.clone());
    }
}

fn question(stream: &Stream, end: Time) -> Question {
    super::question(&stream.key, end)
}

fn part(stream: &Stream, period: Period, anchors: &[String]) -> Report {
    let end = period.to.unwrap_or(stream.now).min(stream.now);
    let anchors = anchors.iter().map(|anchor| anchor.clone().into_bytes()).collect();
    let question = Question { anchors, ..question(stream, end) };
    let stores = stores(stream.dir.path());
    let mut reports = verify_part(&stores, "audit", &question, period, Mark::default(), &mut Steps::default()).unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

fn passed_over(report: &Report) -> (u64, u64) {
    report.passed_over.as_ref().map_or((0, 0), |passed_over| (passed_over.objects, passed_over.seals))
}

/// Each hour has three objects, and all but the third a change of keys behind them.
#[test]
fn of_a_period_all_is_checked_and_of_the_rest_it_is_said_that_it_is_not() {
    let stream = hours();
    let paths = object_paths(&stream);
    for hour in 0..4 {
        let period = from_to(hour * HOUR, (hour + 1) * HOUR);
        let report = part(&stream, period, &[]);
        assert_eq!(report.verdict(), Verdict::Good, "{hour}: {:?}", report.findings);
        // The first seal of the next hour ends the walk.
        let seals_left = stream.seals().len() as u64 - report.seals;
        assert_eq!((report.objects, report.archived), (3, 12), "{hour}");
        assert_eq!(passed_over(&report), (3 * hour as u64 + 1, seals_left), "{hour}");
        for (at, path) in paths.iter().enumerate() {
            let bytes = fs::read(path).unwrap();
            let is_in = at as i64 / 3 == hour;
            let expected = |fault| if is_in { vec![fault] } else { Vec::new() };
            fs::remove_file(path).unwrap();
            assert_eq!(faults(&part(&stream, period, &[])), expected(Fault::Missing), "{hour} {at}");
            fs::write(path, b"x").unwrap();
            assert_eq!(faults(&part(&stream, period, &[])), expected(Fault::Altered), "{hour} {at}");
            let mut other = bytes.clone();
            other[bytes.len() / 2] ^= 1;
            fs::write(path, other).unwrap();
            assert_eq!(faults(&part(&stream, period, &[])), expected(Fault::Altered), "{hour} {at}");
            fs::write(path, bytes).unwrap();
            let planted = path.with_file_name("999999999999.ndjson.zst");
            fs::write(&planted, "x").unwrap();
            assert_eq!(faults(&part(&stream, period, &[])), expected(Fault::Foreign), "{hour} {at}");
            fs::remove_file(planted).unwrap();
        }
    }
}

#[test]
fn the_chain_to_a_period_is_checked_and_its_end_is_proved_by_what_came_later() {
    let stream = hours();
    let period = from_to(2 * HOUR, 3 * HOUR);
    let walked = part(&stream, period, &[]).seals;
    for (path, seal) in stream.seals() {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let report = part(&stream, period, &[]);
        // The next seal of an object behind the period ends it as well, but not without a hole before it.
        let is_seen = seal.seq < walked;
        assert_eq!(report.verdict() != Verdict::Good, is_seen, "{}: {:?}", seal.seq, report.findings);
        fs::write(&path, bytes).unwrap();
    }
    // Of an hour that is not over, the end is not proven.
    let last = from_to(4 * HOUR, 6 * HOUR);
    let mut stream = stream;
    assert_eq!(faults(&part(&stream, last, &[])), [Fault::End]);
    stream.tick(1);
    assert_eq!(part(&stream, last, &[]).verdict(), Verdict::Good);
    stream.now.0 += 30 * MINUTE;
    assert_eq!(faults(&part(&stream, last, &[])), [Fault::End]);
    // An anchor is reached, however late it is.
    let anchor = stream.tick(61).unwrap();
    let report = part(&stream, period, std::slice::from_ref(&anchor));
    assert_eq!((report.verdict(), report.anchors), (Verdict::Good, 1), "{:?}", report.findings);
    let (path, _) = stream.seals().pop().unwrap();
    fs::remove_file(path).unwrap();
    assert_ne!(part(&stream, period, &[anchor]).verdict(), Verdict::Good);
}

#[test]
fn an_hour_that_came_twice_is_checked_whole() {
    let mut stream = Stream::begin(5);
    for hour in [0, 1, 9, 1, 2] {
        stream.now = Time(BEGIN + hour * HOUR + MINUTE);
        let object = object(stream.next, 4, stream.now);
        stream.chain.seal(&object, Vec::new(), stream.now).unwrap();
        stream.next += 4;
    }
    let paths = object_paths(&stream);
    fs::remove_file(&paths[2]).unwrap();
    let report = part(&stream, from_to(HOUR, 2 * HOUR), &[]);
    assert_eq!((report.verdict(), report.objects), (Verdict::Good, 2), "{:?}", report.findings);
    fs::write(&paths[3], "x").unwrap();
    assert_eq!(faults(&part(&stream, from_to(HOUR, 2 * HOUR), &[])), [Fault::Altered]);
}

#[test]
fn a_walk_goes_on_from_every_step_and_comes_to_the_same_report() {
    let shown = |reports: &[Report]| -> Vec<_> {
        let of = |report: &Report| (report.findings.clone(), report.seals, report.objects, report.bytes);
        reports.iter().map(of).collect()
    };
    for seed in 0..4 {
        for how in std::iter::once(None).chain((0..TAMPERS.len()).map(Some)) {
            let mut stream = Stream::random(seed);
            // Two streams, of which the second goes on from the first.
            let mut other = object(1, 4, stream.now);
            other.incarnation = "00000000000000bb".to_owned();
            if how.is_none() {
                stream.chain.seal(&other, Vec::new(), stream.now).unwrap();
            }
            if let Some(how) = how {
                tamper(&mut stream, how);
            }
            let (stores, question) = (stores(stream.dir.path()), question(&stream, stream.now));
            let walk = |mark, steps: &mut Steps| {
                verify_part(&stores, "audit", &question, Period::default(), mark, steps).unwrap()
            };
            let mut steps = Steps::default();
            let whole = walk(Mark::default(), &mut steps);
            assert_eq!(steps.0.iter().map(Mark::seals).collect::<BTreeSet<_>>().len(), steps.0.len(), "seed {seed}");
            let (mut read, last) = (0, steps.0.last().cloned().unwrap_or_default());
            for mark in steps.0 {
                assert!(mark.fits(&stores).unwrap());
                let text = serde_json::to_string(&mark).unwrap();
                assert_eq!(serde_json::from_str::<Mark>(&text).unwrap(), mark);
                let again = walk(mark, &mut Steps::default());
                assert_eq!(shown(&again), shown(&whole), "seed {seed}, {how:?}");
                let before = again.iter().map(|report| report.read_before).sum();
                assert!(before >= read);
                read = before;
            }
            if how.is_some() {
                continue;
            }
            assert!(read > 0);
            // What was read is not read again, and what is gone since then is missed in any case.
            let (path, object, seal) = stream.objects().pop().unwrap();
            let mut bytes = fs::read(&object).unwrap();
            bytes[9] ^= 1;
            fs::write(&object, &bytes).unwrap();
            let verdicts = |mark| walk(mark, &mut Steps::default()).iter().map(Report::verdict).collect::<Vec<_>>();
            assert_eq!(verdicts(last.clone()), [Verdict::Good; 2]);
            assert_eq!(verdicts(Mark::default())[0], Verdict::Bad(Fault::Altered));
            fs::remove_file(&object).unwrap();
            assert_eq!(verdicts(last.clone())[0], Verdict::Bad(Fault::Missing));
            // In another archive it does not go on.
            assert!(!last.fits(&self::stores(Stream::random(seed + 100).dir.path())).unwrap());
            let last_of_second = stream.dir.path().join("audit.2/seal");
            let last_of_second =
                fs::read_dir(last_of_second).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
            fs::write(last_of_second, fs::read(path).unwrap()).unwrap();
            assert!(!last.fits(&stores).unwrap(), "{}", seal.seq);
        }
    }
}

/// A copy that was not whole when it was looked at first, and is altered where it is made whole.
#[test]
fn what_was_missing_is_read_when_it_is_there() {
    let stream = Stream::random(3);
    let (stores, question) = (stores(stream.dir.path()), question(&stream, stream.now));
    let (_, object, _) = stream.objects().swap_remove(0);
    let mut bytes = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    let mut steps = Steps::default();
    let part = |mark, steps: &mut Steps| {
        let reports = verify_part(&stores, "audit", &question, Period::default(), mark, steps).unwrap();
        reports[0].verdict()
    };
    assert_eq!(part(Mark::default(), &mut steps), Verdict::Bad(Fault::Missing));
    bytes[9] ^= 1;
    fs::write(&object, bytes).unwrap();
    for mark in steps.0 {
        assert_eq!(part(mark, &mut Steps::default()), Verdict::Bad(Fault::Altered));
    }
    assert_eq!(part(Mark::default(), &mut Steps::default()), Verdict::Bad(Fault::Altered));
}

/// A machine that was put back: events of the period are in the stream that goes on, too.
#[test]
fn a_period_is_looked_for_in_the_stream_that_goes_on() {
    let mut stream = Stream::begin(6);
    for hour in [0, 1, 9, 10, 11] {
        stream.now = Time(BEGIN + hour * HOUR + MINUTE);
        stream.chain.seal(&object(stream.next, 4, stream.now), Vec::new(), stream.now).unwrap();
        stream.next += 4;
    }
    stream.now = Time(BEGIN + HOUR + 2 * MINUTE);
    let mut other = object(1, 4, stream.now);
    other.incarnation = "00000000000000bb".to_owned();
    stream.chain.seal(&other, Vec::new(), stream.now).unwrap();
    let verdicts = || -> Vec<_> {
        let (stores, question) = (stores(stream.dir.path()), question(&stream, Time(BEGIN + 2 * HOUR)));
        let period = from_to(HOUR, 2 * HOUR);
        let reports = verify_part(&stores, "audit", &question, period, Mark::default(), &mut Steps::default()).unwrap();
        reports.iter().map(|report| (faults(report), report.objects)).collect()
    };
    let before = verdicts();
    assert_eq!(before.len(), 2, "{before:?}");
    let folder = stream.dir.path().join("audit.2/data");
    let day = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let hour = fs::read_dir(day).unwrap().next().unwrap().unwrap().path();
    let object = fs::read_dir(hour).unwrap().next().unwrap().unwrap().path();
    fs::write(object, "x").unwrap();
    assert!(verdicts()[1].0.contains(&Fault::Altered), "{:?}", verdicts());
}

/// A clock that was ahead proves no end: else what was sealed behind it could be cut off until that time comes.
#[test]
fn a_last_seal_of_a_time_to_come_proves_no_end() {
    let mut stream = Stream::begin(4);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
    stream.now = Time(now + 400 * 24 * HOUR);
    stream.chain.seal(&object(stream.next, 4, stream.now), Vec::new(), stream.now).unwrap();
    let report =
        |end| verify(&*stores(stream.dir.path())("audit"), &question(&stream, end), &mut |_, _, _| {}).unwrap();
    assert_eq!(faults(&report(Time(now))), [Fault::End]);
    assert_eq!(faults(&report(stream.now)), []);
}

/// A folder far away: answers take a moment, and not all of them the same.
#[derive(Debug)]
struct Far {
    dir: Dir,
    open: Arc<AtomicU64>,
    open_max: Arc<AtomicU64>,
    /// From so many reads on it is away.
    away_from: u64,
    reads: AtomicU64,
}

const AT_ONCE: u64 = 6;

impl Store for Far {
    fn put_new(&self, _: &str, _: &[u8]) -> io::Result<Put> {
        Err(io::Error::other("it is only read"))
    }

    fn open(&self, key: &str) -> io::Result<Option<Box<dyn Read>>> {
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.open_max.fetch_max(open, Relaxed);
        std::thread::sleep(Duration::from_micros(key.bytes().map(u64::from).sum::<u64>() % 7 * 100));
        let answer = self.dir.open(key);
        self.open.fetch_sub(1, Relaxed);
        match self.reads.fetch_add(1, Relaxed) {
            reads if reads < self.away_from => answer,
            _ => Err(io::Error::new(io::ErrorKind::NotConnected, "away")),
        }
    }

    fn keys(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        self.dir.keys(folder)
    }

    fn read_at_once(&self) -> usize {
        AT_ONCE as usize
    }
}

fn far(stream: &Stream, away_from: u64) -> Far {
    let (open, open_max) = (Arc::default(), Arc::default());
    Far { dir: Dir::new(stream.root()), open, open_max, away_from, reads: AtomicU64::new(0) }
}

#[test]
fn many_threads_come_to_the_report_of_one() {
    let mut at_once = 0;
    for seed in 0..8 {
        for how in std::iter::once(None).chain((0..TAMPERS.len()).map(Some)) {
            let mut stream = Stream::random(seed);
            (0..10).for_each(|_| stream.object());
            if let Some(how) = how {
                tamper(&mut stream, how);
                // Two faults, in their order.
                let objects = stream.objects();
                let at = stream.random.usize(..objects.len());
                if objects[at].1.exists() {
                    fs::write(&objects[at].1, "x").unwrap();
                }
            }
            let question = question(&stream, stream.now);
            let near = verify(&Dir::new(stream.root()), &question, &mut |_, _, _| {}).unwrap();
            let far = far(&stream, u64::MAX);
            let report = verify(&far, &question, &mut |_, _, _| {}).unwrap();
            assert_eq!(
                serde_json::to_value(&near).unwrap(),
                serde_json::to_value(&report).unwrap(),
                "seed {seed} {how:?}"
            );
            assert!(far.open_max.load(Relaxed) <= AT_ONCE + 1, "its threads, and the one that walks");
            at_once = at_once.max(far.open_max.load(Relaxed));
        }
    }
    assert!(at_once > 2, "{at_once}");
    // Whenever it goes away, there is no verdict.
    let stream = Stream::random(3);
    let reads = {
        let far = far(&stream, u64::MAX);
        verify(&far, &question(&stream, stream.now), &mut |_, _, _| {}).unwrap();
        far.reads.load(Relaxed)
    };
    for away_from in 0..reads {
        let error = verify(&far(&stream, away_from), &question(&stream, stream.now), &mut |_, _, _| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    }
}

#[test]
fn one_object_is_checked_with_its_seal_alone() {
    let stream = hours();
    let check = |object: &str| {
        let mut reader = Reader::new(Arc::new(Dir::new(stream.root())), Some(stream.key.clone()));
        let (sealed, findings) = verify_object(&mut reader, object, true).unwrap();
        (sealed.map(|sealed| sealed.seq), findings.first().map(|finding| finding.fault))
    };
    let data = stream.data();
    for (seq, data) in &data {
        assert_eq!(check(&data.object), (Some(*seq), None));
    }
    let (seq, object) = (data[7].0, data[7].1.object.clone());
    let (path, seal) = (stream.root().join(&object), stream.root().join(format!("seal/{seq:012}")));
    let (bytes, text) = (fs::read(&path).unwrap(), fs::read_to_string(&seal).unwrap());
    // What is wrong with others does not matter.
    fs::remove_file(stream.root().join(&data[6].1.object)).unwrap();
    assert_eq!(check(&object), (Some(seq), None));
    fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert_eq!(check(&object), (Some(seq), Some(Fault::Altered)));
    fs::remove_file(&path).unwrap();
    assert_eq!(check(&object), (Some(seq), Some(Fault::Missing)));
    fs::write(&path, bytes).unwrap();
    fs::write(&seal, text.replacen("records 4", "records 5", 1)).unwrap();
    assert_eq!(check(&object), (None, Some(Fault::Signature)));
    fs::remove_file(&seal).unwrap();
    assert_eq!(check(&object), (None, Some(Fault::Missing)));
    fs::write(&seal, fs::read(stream.root().join(format!("seal/{:012}", data[5].0))).unwrap()).unwrap();
    assert_eq!(check(&object), (None, Some(Fault::Missing)), "another seal in its place");
    fs::write(&seal, text).unwrap();
    // Its number and another name, a key of nothing, and one that leads out.
    for other in [object.replace("hour=", "hour=0"), "data/x".to_owned(), "data/dt=2026-11-21/hour=09/../x".to_owned()]
    {
        assert_eq!(check(&other), (None, Some(Fault::Foreign)), "{other}");
    }
}
