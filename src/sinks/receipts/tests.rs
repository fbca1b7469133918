//! Logs that are written, torn, rotated and read.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::sinks::missing::Missing;

const LIFE: Incarnation = Incarnation(7);

fn keep(dir: &Path) -> Keep {
    Keep { dir: dir.join("receipts"), bytes_max: 1 << 20, age_max: Duration::from_secs(100) }
}

fn delivered(first: u64, next: u64) -> Entry {
    let all: Vec<Position> = (first..next).map(Position).collect();
    let runs = Runs::of((Position(first), Position(next)), &all, &[], &Missing::default());
    Entry::new((LIFE, Position(first)), runs, vec![("peer", format!("p-{first}"))], Time(1))
}

fn peers(keep: &Keep, position: u64, now: i64) -> Vec<String> {
    let found = find(keep, "siem", (LIFE, Position(position)), Time(now)).unwrap();
    found.told.into_iter().map(|told| told.answer[0].1.clone()).collect()
}

#[test]
fn what_became_of_each_event() {
    let mut missing = Missing::default();
    missing.add((Position(4), Position(5)));
    missing.add((Position(18), Position(30)));
    let delivered = [1, 2, 6, 9, 12].map(Position);
    let refused = [3, 10, 11].map(Position);
    let runs = Runs::of((Position(0), Position(20)), &delivered, &refused, &missing);
    let letter = |became| match became {
        Became::Delivered => 'd',
        Became::Filtered => 'f',
        Became::Quarantined => 'q',
        Became::Lost => 'l',
    };
    let told: String = (0..20).map(|at| letter(runs.at(at).unwrap())).collect();
    assert_eq!(told, "fddqlldffdqqdfffffll");
    assert_eq!(runs.at(20), None);
    let mut bytes = Vec::new();
    runs.write(&mut bytes);
    assert_eq!(Runs::read(&bytes), Some(runs));
    assert_eq!((Runs::read(&[128]), Runs::read(&[255; 20])), (None, None));
}

#[test]
fn entries_are_found_again_and_a_torn_end_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let keep = keep(dir.path());
    let mut log = Log::new(keep.clone(), "siem");
    log.append([delivered(1, 11), delivered(11, 12)].into_iter(), Time(5));
    assert_eq!(
        (peers(&keep, 10, 5), peers(&keep, 11, 5), peers(&keep, 12, 5)),
        (vec!["p-1".into()], vec!["p-11".into()], vec![])
    );
    let found = find(&keep, "siem", (LIFE, Position(3)), Time(5)).unwrap();
    assert_eq!((found.oldest, found.told[0].answered, found.told[0].confirmed), (Some(Position(1)), Time(1), Time(5)));
    assert_eq!(find(&keep, "siem", (Incarnation(8), Position(3)), Time(5)).unwrap(), Receipts::default());
    assert_eq!(find(&keep, "other", (LIFE, Position(3)), Time(5)).unwrap(), Receipts::default());

    let path = keep.dir.join("siem.log");
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut log = Log::new(keep.clone(), "siem");
        log.append(std::iter::once(delivered(50, 60)), Time(6));
        assert_eq!(peers(&keep, 55, 6), ["p-50"], "cut at {cut}");
        assert!(peers(&keep, 11, 6).is_empty(), "cut at {cut}");
    }
    // A flipped bit ends what is believed, wherever it is.
    for at in 0..whole.len() {
        let mut spoiled = whole.clone();
        spoiled[at] ^= 4;
        fs::write(&path, &spoiled).unwrap();
        assert!(peers(&keep, 11, 6).is_empty(), "flipped at {at}");
    }
}

#[test]
fn logs_are_bounded_by_bytes_and_age() {
    let dir = tempfile::tempdir().unwrap();
    let mut keep = keep(dir.path());
    keep.bytes_max = 4_000;
    let mut log = Log::new(keep.clone(), "siem");
    for number in 0..1_000 {
        log.append(std::iter::once(delivered(number * 10, number * 10 + 10)), Time(5));
        let bytes: u64 = fs::read_dir(&keep.dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 4_000, "{bytes}");
    }
    assert_eq!(peers(&keep, 9_995, 5), ["p-9990"]);
    let oldest = find(&keep, "siem", (LIFE, Position(0)), Time(5)).unwrap();
    assert!(oldest.told.is_empty() && oldest.oldest > Some(Position(8_000)), "{oldest:?}");

    let seconds = |count: i64| count * 1_000_000_000;
    keep.bytes_max = 1 << 20;
    let mut log = Log::new(keep.clone(), "aged");
    let told = |now| find(&keep, "aged", (LIFE, Position(1)), Time(now)).unwrap().told.len();
    log.append(std::iter::once(delivered(1, 2)), Time(seconds(0)));
    assert_eq!((told(seconds(100)), told(seconds(101))), (1, 0), "too old to be told");
    log.append(std::iter::once(delivered(2, 3)), Time(seconds(51)));
    assert_eq!(told(seconds(51)), 1, "in the file before");
    log.append(std::iter::once(delivered(3, 4)), Time(seconds(103)));
    assert_eq!(told(seconds(0)), 0, "gone with its file");
}

#[test]
fn a_log_that_cannot_be_written_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let keep = keep(dir.path());
    fs::write(&keep.dir, "no folder").unwrap();
    let mut log = Log::new(keep.clone(), "siem");
    log.append(std::iter::once(delivered(1, 2)), Time(5));
    fs::remove_file(&keep.dir).unwrap();
    log.append(std::iter::once(delivered(2, 3)), Time(5));
    assert_eq!(peers(&keep, 2, 5), ["p-2"]);
}

/// What is kept of an answer is a whole beginning of it, and says how much more there was.
#[test]
fn an_answer_that_is_too_long_is_cut_evenly() {
    let dir = tempfile::tempdir().unwrap();
    let keep = keep(dir.path());
    let object = |number| [("key", format!("data/{number:0>600}")), ("sha256", format!("{number:0>64}"))];
    let answer: Answer = std::iter::once(("bucket", "b".to_owned())).chain((0..100).flat_map(object)).collect();
    let entry =
        Entry { runs: delivered(1, 11).runs, ..Entry::new((LIFE, Position(1)), Runs::default(), answer, Time(1)) };
    let long = Entry::new((LIFE, Position(11)), delivered(1, 2).runs, vec![("peer", "ä".repeat(5_000))], Time(1));
    Log::new(keep.clone(), "siem").append([entry, long].into_iter(), Time(5));
    let told = |position| find(&keep, "siem", (LIFE, Position(position)), Time(5)).unwrap().told.remove(0).answer;
    let said = told(7);
    let of = |name: &str| said.iter().filter(|(other, _)| other == name).count();
    assert_eq!((of("bucket"), of("key"), said.last().unwrap().0.as_str()), (1, of("sha256"), "more"));
    assert!((20..100).contains(&of("key")), "{}", of("key"));
    assert_eq!(said.last().unwrap().1, (201 - (said.len() - 1)).to_string());
    assert_eq!(said[1..3], object(0).map(|(name, text)| (name.to_owned(), text)), "the first of them");
    assert_eq!(told(11), [("peer".to_owned(), "ä".repeat(512) + "…")]);
}

/// A request with so many events between that are not for the sink has a receipt for each event all the same.
#[test]
fn an_entry_that_is_too_long_is_several() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { bytes_max: 64 << 20, ..keep(dir.path()) };
    let every_other: Vec<Position> = (0..1_200_000).step_by(2).map(Position).collect();
    let runs = Runs::of((Position(0), Position(1_200_000)), &every_other, &[], &Missing::default());
    let entry = Entry::new((LIFE, Position(0)), runs, vec![("peer", "p".to_owned())], Time(1));
    Log::new(keep.clone(), "siem").append(std::iter::once(entry), Time(5));
    for position in [0, 49_999, 50_000, 777_777, 1_199_999] {
        let told = find(&keep, "siem", (LIFE, Position(position)), Time(5)).unwrap().told;
        let expected = if position % 2 == 0 { Became::Delivered } else { Became::Filtered };
        assert_eq!(told.iter().map(|told| told.became).collect::<Vec<_>>(), [expected], "{position}");
    }
}

/// Who asks while the files change places finds what was there before the question, once.
#[test]
fn a_rotation_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut keep = keep(dir.path());
    keep.bytes_max = 1_000;
    let mut log = Log::new(keep.clone(), "siem");
    let mut next = 0;
    for opened_before in [0, 1, 2] {
        // The entry that is looked for is the first of its file, or the last.
        for rotates_at_once in [false, true] {
            let inode = || fs::metadata(keep.dir.join("siem.log")).ok().map(|file| file.ino());
            let mut append = || {
                next += 1;
                log.append(std::iter::once(delivered(next, next + 1)), Time(5));
                next
            };
            let first = inode();
            while inode() == first {
                append();
            }
            let wanted = if rotates_at_once { (0..7).map(|_| append()).last().unwrap() } else { append() };
            let mut rotate = |opened| {
                let before = inode();
                while opened == opened_before && inode() == before {
                    append();
                }
            };
            let mut opened = 0;
            let files = files(&keep, "siem", |path| {
                rotate(opened);
                opened += 1;
                open(path)
            });
            rotate(opened);
            let files = files.unwrap();
            let entries = files.into_iter().flatten().flat_map(|file| {
                let mut entries = Entries::of(file);
                std::iter::from_fn(move || entries.next())
            });
            let found = entries.filter(|entry| entry.first == Position(wanted)).count();
            assert_eq!(found, 1, "rotated when {opened_before} were open, {wanted}");
        }
    }
}
