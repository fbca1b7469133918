//! Reading a stream by time: what is told is what was sealed, and what is not there is named.

use super::*;
use crate::archive::seal::Data;

pub(super) const HOUR: i64 = 60 * MINUTE;

/// Objects in five hours, keys changed between them.
pub(super) fn hours() -> Stream {
    let mut stream = Stream::begin(5);
    stream.now = Time(BEGIN + MINUTE);
    for hour in 0..5 {
        for _ in 0..3 {
            let object = object(stream.next, 4, stream.now);
            stream.now.0 += MINUTE;
            stream.chain.seal(&object, Vec::new(), stream.now).unwrap();
            stream.next += 4;
        }
        if hour != 2 {
            stream.chain.rotate(stream.now).unwrap();
        }
        stream.now = Time(BEGIN + (hour + 1) * HOUR + MINUTE);
    }
    stream
}

fn reader(stream: &Stream) -> Reader {
    Reader::new(Arc::new(Dir::new(stream.root())), Some(stream.key.clone()))
}

/// The numbers of all lines of a period, or what stopped the reading.
fn numbers(stream: &Stream, period: Period) -> Result<Vec<u64>, Unread> {
    let mut reader = reader(stream);
    let mut objects = reader.objects(period)?;
    let mut numbers = Vec::new();
    while let Some(sealed) = objects.next() {
        let mut lines = objects.lines(&sealed?)?;
        while let Some(line) = lines.next_line()? {
            let text = std::str::from_utf8(line).unwrap();
            numbers.push(text.trim_start_matches("{\"n\":").trim_end_matches('}').parse().unwrap());
        }
    }
    Ok(numbers)
}

fn fault(read: Result<Vec<u64>, Unread>) -> (Fault, String) {
    match read {
        Err(Unread::Fault { fault, key, .. }) => (fault, key),
        other => panic!("{other:?}"),
    }
}

pub(super) fn from_to(from: i64, to: i64) -> Period {
    Period { from: Some(Time(BEGIN + from)), to: Some(Time(BEGIN + to)) }
}

pub(super) fn object_paths(stream: &Stream) -> Vec<PathBuf> {
    stream.data().into_iter().map(|(_, data)| stream.root().join(data.object)).collect()
}

impl Stream {
    pub(super) fn data(&self) -> Vec<(u64, Data)> {
        let data = |(_, seal): (PathBuf, Seal)| match seal.body {
            Body::Data(data) => Some((seal.seq, data)),
            _ => None,
        };
        self.seals().into_iter().filter_map(data).collect()
    }
}

#[test]
fn a_period_is_told_whole_and_under_the_keys_of_its_time() {
    let stream = hours();
    assert_eq!(numbers(&stream, Period::default()).unwrap(), (7..67).collect::<Vec<_>>());
    // An hour that is begun is told: whoever asks looks at the times of the lines.
    assert_eq!(numbers(&stream, from_to(HOUR + MINUTE, 2 * HOUR)).unwrap(), (19..31).collect::<Vec<_>>());
    assert_eq!(numbers(&stream, from_to(3 * HOUR, 99 * HOUR)).unwrap(), (43..67).collect::<Vec<_>>());
    assert!(numbers(&stream, from_to(-5 * HOUR, 0)).unwrap().is_empty());
    assert!(numbers(&stream, from_to(50 * HOUR, 99 * HOUR)).unwrap().is_empty());
}

#[test]
fn what_was_sealed_and_is_not_there_is_named() {
    for gone in 0..15 {
        let stream = hours();
        let path = object_paths(&stream)[gone].clone();
        fs::remove_file(&path).unwrap();
        let key = path.strip_prefix(stream.root()).unwrap().display().to_string();
        assert_eq!(fault(numbers(&stream, Period::default())), (Fault::Missing, key.clone()));
        let hour = gone as i64 / 3 * HOUR;
        assert_eq!(fault(numbers(&stream, from_to(hour, hour + HOUR))), (Fault::Missing, key));
        let other = (hour + HOUR) % (5 * HOUR);
        assert_eq!(numbers(&stream, from_to(other, other + HOUR)).unwrap().len(), 12, "{gone}");
    }
    let stream = hours();
    for path in &object_paths(&stream)[3..6] {
        fs::remove_file(path).unwrap();
    }
    assert_eq!(fault(numbers(&stream, from_to(HOUR, 2 * HOUR))).0, Fault::Missing, "a whole hour");
    let stream = hours();
    let seal = stream.data()[4].0;
    fs::remove_file(stream.root().join(format!("seal/{seal:012}"))).unwrap();
    assert_eq!(fault(numbers(&stream, from_to(HOUR, 2 * HOUR))), (Fault::Missing, format!("seal/{seal:012}")));
}

#[test]
fn no_planted_key_makes_a_period_shorter() {
    let whole = (31..43).collect::<Vec<_>>();
    let asked = from_to(2 * HOUR, 3 * HOUR);
    let stream = hours();
    let seals: Vec<u64> = stream.data().into_iter().map(|(seq, _)| seq).collect();
    let folder = |of: usize| object_paths(&stream)[of].parent().unwrap().to_owned();
    // In the hour itself, in one before and in one behind: with numbers of all others, and of none.
    for of in [0, 3, 6, 9, 12] {
        for seq in (0..=seals[14] + 1).chain([999_999_999_999]) {
            let planted = folder(of).join(format!("{seq:012}.x"));
            fs::write(&planted, "x").unwrap();
            assert_eq!(numbers(&stream, asked).unwrap(), whole, "{}", planted.display());
            fs::remove_file(planted).unwrap();
        }
    }
    // The last object of the hour is taken away, and a later hour has its number.
    let gone = object_paths(&stream)[8].clone();
    fs::write(folder(12).join(gone.file_name().unwrap()), fs::read(&gone).unwrap()).unwrap();
    fs::remove_file(&gone).unwrap();
    let key = gone.strip_prefix(stream.root()).unwrap().display().to_string();
    assert_eq!(fault(numbers(&stream, asked)), (Fault::Missing, key));
}

#[test]
fn an_hour_that_came_twice_is_told_whole() {
    let mut stream = Stream::begin(5);
    for hour in [0, 1, 9, 1, 2] {
        stream.now = Time(BEGIN + hour * HOUR + MINUTE);
        let object = object(stream.next, 4, stream.now);
        stream.chain.seal(&object, Vec::new(), stream.now).unwrap();
        stream.next += 4;
    }
    let expected: Vec<u64> = (11..15).chain(19..23).collect();
    assert_eq!(numbers(&stream, from_to(HOUR, 2 * HOUR)).unwrap(), expected);
}

#[test]
fn what_was_altered_is_never_told() {
    let stream = hours();
    let paths = object_paths(&stream);
    let bytes = fs::read(&paths[4]).unwrap();
    let longer = [&bytes[..], b"x"].concat();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for wrong in [&bytes[1..], &longer, &flipped, &fs::read(&paths[5]).unwrap()] {
        fs::remove_file(&paths[4]).unwrap();
        fs::write(&paths[4], wrong).unwrap();
        assert_eq!(fault(numbers(&stream, from_to(HOUR, 2 * HOUR))).0, Fault::Altered);
    }
    fs::write(&paths[4], bytes).unwrap();
    // A seal that says otherwise is not signed, and one of another key is none.
    let path = stream.root().join(format!("seal/{:012}", stream.data()[4].0));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("records 4", "records 5", 1)).unwrap();
    assert_eq!(fault(numbers(&stream, from_to(HOUR, 2 * HOUR))).0, Fault::Signature);
    fs::write(&path, text).unwrap();
    let mut other = Reader::new(Arc::new(Dir::new(stream.root())), Some(Stream::begin(1).key));
    let read: Result<Vec<_>, _> = other.objects(Period::default()).unwrap().collect();
    assert!(matches!(read, Err(Unread::Fault { fault: Fault::Signature, .. })), "{read:?}");
}

#[test]
fn the_next_stream_is_read_with_the_key_that_the_last_one_has_signed() {
    let mut stream = hours();
    stream.chain.rotate(stream.now).unwrap();
    let mut other = object(1, 4, stream.now);
    other.incarnation = "00000000000000bb".to_owned();
    stream.chain.seal(&other, Vec::new(), stream.now).unwrap();
    let all = stores(stream.dir.path());
    assert_eq!(streams(&all, "audit").unwrap(), ["audit", "audit.2"]);
    assert_eq!(streams(&all, "audit.2").unwrap(), ["audit.2"]);
    let (mut readers, foreign) = read_archive(&all, "audit", Some(stream.key.clone())).unwrap();
    let read: Vec<_> = readers[1].1.objects(Period::default()).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!((read.len(), read[0].records, read[0].ingest), (1, 4, (1, 4)));
    assert_eq!((readers.len(), foreign.len()), (2, 0));
    // A stream that somebody else has begun is not one of this archive, and hides none that is.
    copy_tree(&stream.root(), &stream.dir.path().join("audit.3"));
    copy_tree(&stream.dir.path().join("audit.2"), &stream.dir.path().join("audit.4"));
    for key in [None, Some(stream.key.clone())] {
        let (readers, foreign) = read_archive(&all, "audit", key).unwrap();
        assert_eq!((readers.len(), foreign), (2, vec!["audit.3".to_owned(), "audit.4".to_owned()]));
    }
}
