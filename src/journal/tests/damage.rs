//! Damaged files: only what was hit is lost, it is named, and nothing altered is handed out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;

use super::super::sim::SimDisk;
use super::super::*;
use crate::sim::seeds;

fn settings() -> Settings {
    Settings { bytes_max: 512 << 10, ..Settings::new("/journal") }
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = format!("{number}:").into_bytes();
    payload.resize(20 + (number as usize * 37) % 900, b'a' + (number % 26) as u8);
    payload
}

/// A journal of several segments, its process killed.
fn filled() -> (SimDisk, u64) {
    let disk = SimDisk::new(1);
    let (journal, mut stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).unwrap();
    journal.cursor("a").unwrap();
    let mut next = 1;
    for round in 0..150 {
        let mut batch = Batch::new();
        for _ in 0..round % 5 + 1 {
            batch.push_with(|buffer| buffer.extend_from_slice(&payload(next)));
            next += 1;
        }
        batch.mark("source", next.to_string().as_bytes());
        let mut append = Box::pin(journal.append(batch));
        while append.as_mut().now_or_never().is_none() {
            assert!(stepper.turn());
        }
    }
    disk.kill();
    (disk, next - 1)
}

/// What a reader gets from the disk, and the positions it was told are missing.
fn read_all(disk: &SimDisk) -> (BTreeSet<u64>, BTreeSet<u64>, Journal) {
    let (journal, _stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).expect("opens by itself");
    let mut cursor = journal.cursor("a").unwrap();
    let mut chunk = Chunk::new();
    let (mut seen, mut missing) = (BTreeSet::new(), BTreeSet::new());
    let mut last = 0;
    while cursor.try_read(&mut chunk, 10_000).now_or_never().unwrap().unwrap() {
        for record in chunk.records() {
            assert!(record.position.0 > last, "in order");
            last = record.position.0;
            assert_eq!(record.payload, payload(last), "{last} is altered");
            seen.insert(last);
        }
        for damage in chunk.damaged() {
            missing.extend(damage.missing.0.0..=damage.missing.1.0);
        }
    }
    drop(cursor);
    (seen, missing, journal)
}

fn segments(disk: &SimDisk) -> Vec<(PathBuf, usize)> {
    let files = disk.files().into_iter();
    files.filter(|(path, _)| path.extension().is_some_and(|extension| extension == "segment")).collect()
}

/// Nothing is lost in silence: every record is read or named, none both.
fn check(disk: &SimDisk, last: u64, what: &str) -> BTreeSet<u64> {
    let (seen, missing, journal) = read_all(disk);
    assert!(seen.is_disjoint(&missing), "{what}: {missing:?} was named and read");
    let all: BTreeSet<u64> = seen.union(&missing).copied().collect();
    assert_eq!(all, (1..=last).collect(), "{what}: lost in silence");
    assert_eq!(journal.status().last.0, last, "{what}");
    assert_eq!(journal.status().damaged_total, missing.len() as u64, "{what}");
    missing
}

#[test]
fn a_flipped_bit_costs_one_record() {
    let (disk, last) = filled();
    assert_eq!(check(&disk.copy(0), last, "unharmed"), BTreeSet::new());
    let mut random = fastrand::Rng::with_seed(7);
    let segments = segments(&disk);
    assert!(segments.len() >= 4, "{segments:?}");
    let mut costly = 0;
    let trials = seeds::size(400, 10_000);
    for trial in 0..trials {
        let disk = disk.copy(trial as u64);
        let (path, bytes) = random.choice(&segments).unwrap();
        // Every fourth one near the beginning, where header and checkpoint are.
        let at = if trial % 4 == 0 { random.usize(..400) } else { random.usize(..*bytes) };
        let bit = random.u8(..8);
        disk.damage(path, |bytes| bytes[at] ^= 1 << bit);
        let what = format!("trial {trial}: {path:?} byte {at} bit {bit}");
        let missing = check(&disk, last, &what);
        assert!(missing.len() <= 1, "{what}: {missing:?}");
        costly += missing.len();
        let (journal, _stepper) = Journal::open_stepped(settings(), Arc::new(disk)).unwrap();
        assert_eq!(journal.mark("source").unwrap(), (last + 1).to_string().as_bytes(), "{what}");
    }
    assert!(costly > trials / 2, "{costly} flips hit a record");
    println!("{trials} flips, {costly} of them in a record");
}

#[test]
fn garbage_costs_what_it_covers() {
    let (disk, last) = filled();
    let mut random = fastrand::Rng::with_seed(8);
    let segments = segments(&disk);
    let (trials, mut cuts) = (seeds::size(400, 4000), 0);
    for trial in 0..trials {
        let disk = disk.copy(trial as u64);
        let (path, bytes) = random.choice(&segments[..segments.len() - 1]).unwrap();
        let at = random.usize(..*bytes - 1);
        let length = random.usize(1..3000).min(bytes - at);
        let kind = random.u8(..4);
        cuts += usize::from(kind == 3);
        disk.damage(path, |bytes| match kind {
            0 => bytes[at..at + length].fill(0),
            1 => bytes[at..at + length].fill_with(|| random.u8(..)),
            // A piece of the same file, whole records in it.
            2 => {
                let from = random.usize(..bytes.len() - length);
                bytes.copy_within(from..from + length, at);
            }
            _ => bytes.truncate(at),
        });
        let what = format!("trial {trial}: kind {kind} {path:?} byte {at}, {length} bytes");
        let missing = check(&disk, last, &what);
        let span = missing.last().zip(missing.first()).map_or(0, |(last, first)| last - first + 1);
        assert!(kind == 3 || span <= length as u64 / 52 + 2, "{what}: {missing:?}");
    }
    println!("{trials} pieces of garbage, {cuts} of them cuts");
}

#[test]
fn a_tail_cut_or_with_garbage_behind_is_no_matter() {
    let (disk, last) = filled();
    let mut random = fastrand::Rng::with_seed(9);
    let (path, bytes) = segments(&disk).pop().unwrap();
    for trial in 0..seeds::size(200, 1000) {
        let disk = disk.copy(trial as u64);
        let cut = trial % 2 == 0;
        let at = random.usize(..bytes);
        disk.damage(&path, |bytes| {
            if cut {
                bytes.truncate(at);
            } else {
                // Old records of the same segment behind its end.
                let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
                let room = (bytes.len() - end).min(5000);
                let from = random.usize(..end - room.min(end));
                bytes.copy_within(from..from + room, end);
            }
        });
        let (seen, missing, journal) = read_all(&disk);
        assert_eq!(missing, BTreeSet::new());
        assert_eq!(seen, (1..=journal.status().last.0).collect(), "trial {trial}");
        assert!(cut || seen.len() as u64 == last, "trial {trial}: {} of {last}", seen.len());
    }
}

#[test]
fn a_lost_file_is_named() {
    let (disk, last) = filled();
    let segments = segments(&disk);
    for which in [0, 1, segments.len() - 2] {
        let disk = disk.copy(0);
        storage::Storage::unlink(&disk, &segments[which].0).unwrap();
        let missing = check(&disk, last, &format!("segment {which}"));
        assert!(missing.len() > 10);
    }
}

#[test]
fn damaged_small_files_are_replaced() {
    let (disk, last) = filled();
    for name in ["meta", "a.cursor"] {
        let disk = disk.copy(0);
        disk.damage(&PathBuf::from("/journal").join(name), |bytes| bytes.fill(0xee));
        assert_eq!(check(&disk, last, name), BTreeSet::new());
        let incarnation = read_all(&disk).2.incarnation();
        disk.kill();
        assert_eq!(read_all(&disk).2.incarnation(), incarnation);
    }
}

#[test]
fn a_directory_rolled_back_is_a_new_incarnation() {
    let (disk, last) = filled();
    let (_, _, journal) = read_all(&disk);
    let old = journal.incarnation();
    drop(journal);
    let (journal, _stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).unwrap();
    let mut cursor = journal.cursor("a").unwrap();
    cursor.commit(Position(last + 1)).unwrap();
    disk.kill();
    // The newest segments are gone, the cursor's file is not.
    for (path, _) in segments(&disk).into_iter().rev().take(2) {
        storage::Storage::unlink(&disk, &path).unwrap();
    }
    let (journal, _stepper) = Journal::open_stepped(settings(), Arc::new(disk)).unwrap();
    assert_ne!(journal.incarnation(), old);
    let cursor = journal.cursor("a").unwrap();
    assert_eq!(cursor.committed(), journal.status().last.next());
}
