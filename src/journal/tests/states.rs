//! Every state a power loss can leave, at every call of a short life: which of the unsynced blocks,
//! lengths and names are on disk. All combinations where they are few, else the extremes, each unit
//! alone, each missing alone, every prefix, and some by chance.

use std::sync::Arc;

use futures_util::FutureExt;

use super::super::sim::SimDisk;
use super::super::*;
use crate::sim::{Bug, seeds};

/// With so many unsynced units all combinations are tried.
fn all_units_max() -> usize {
    seeds::size(9, 13)
}

/// Beyond that, so many by chance.
fn by_chance() -> usize {
    seeds::size(100, 2000)
}

fn settings() -> Settings {
    Settings { bytes_max: 512 << 10, ..Settings::new("/journal") }
}

/// What a life was told: the records of acknowledged batches, and how far the cursor may be.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(u64, Vec<u8>)>,
    asked: u64,
}

/// Records of a batch by its number: two small ones, or one that nearly fills a segment.
fn payloads(batch: u8) -> Vec<Vec<u8>> {
    if batch % 3 == 2 { vec![vec![batch; 30_000]] } else { vec![vec![batch; 200], vec![batch; 900]] }
}

/// Appends over three segments, reads, commits, releases. Ends early when the process dies.
fn life(disk: &SimDisk) -> Told {
    let mut told = Told::default();
    let Ok((journal, mut stepper)) = Journal::open_stepped(settings(), Arc::new(disk.clone())) else { return told };
    let Ok(mut cursor) = journal.cursor("a") else { return told };
    let mut chunk = Chunk::new();
    for number in 0..9 {
        let mut batch = Batch::new();
        for payload in payloads(number) {
            batch.push_with(|buffer| buffer.extend_from_slice(&payload));
        }
        batch.mark("source", &[number]);
        let mut append = Box::pin(journal.append(batch));
        let receipt = (0..20).find_map(|_| {
            let done = append.as_mut().now_or_never();
            stepper.turn();
            done
        });
        let Some(Ok(receipt)) = receipt else { return told };
        told.acknowledged.extend((receipt.first.0..).zip(payloads(number)));
        if number % 2 == 1 && cursor.try_read(&mut chunk, 1 << 20).now_or_never().unwrap().is_ok() {
            let last = chunk.records().last().unwrap().position;
            told.asked = last.0;
            let _ = cursor.commit(last);
            while stepper.turn() {}
        }
    }
    told
}

/// What was acknowledged is there, a batch is whole or absent, and the mark fits to what is there.
fn check(disk: &SimDisk, told: &Told, what: &str) {
    let (journal, mut stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).expect(what);
    let mut cursor = journal.cursor("a").unwrap();
    assert!(cursor.committed().0 <= told.asked.max(1), "{what}: the cursor leads");
    let (mut chunk, mut next, mut last_batch) = (Chunk::new(), cursor.committed().0, None);
    while cursor.try_read(&mut chunk, 1 << 20).now_or_never().unwrap().unwrap() {
        assert_eq!(chunk.damaged(), [], "{what}");
        for record in chunk.records() {
            assert_eq!(record.position.0, next, "{what}: positions are dense");
            let place = (record.position.0 - record.batch_first.0) as usize;
            let number = record.payload[0];
            assert!(record.payload == payloads(number)[place], "{what}: {next} is altered");
            last_batch = Some((number, place + 1));
            next += 1;
        }
    }
    let end = told.acknowledged.last().map_or(0, |(position, _)| *position);
    assert!(next > end && journal.status().last.0 + 1 == next, "{what}: {end} was acknowledged, {next} comes next");
    if let Some((number, records)) = last_batch {
        assert_eq!(records, payloads(number).len(), "{what}: half a batch");
        assert_eq!(journal.mark("source").as_deref(), Some(&[number][..]), "{what}: the mark");
    }
    let mut batch = Batch::new();
    batch.push_with(|buffer| buffer.push(99));
    let mut append = Box::pin(journal.append(batch));
    assert!(append.as_mut().now_or_never().is_none());
    stepper.turn();
    assert_eq!(append.now_or_never().unwrap().unwrap().first.0, next, "{what}: a fresh record");
}

/// Which units are kept: by their number.
fn selections(units: usize, random: &mut fastrand::Rng) -> Vec<Vec<bool>> {
    if units <= all_units_max() {
        return (0..1_usize << units).map(|bits| (0..units).map(|unit| bits >> unit & 1 == 1).collect()).collect();
    }
    let mut selections = vec![vec![false; units], vec![true; units]];
    for unit in 0..units {
        selections.push((0..units).map(|other| other == unit).collect());
        selections.push((0..units).map(|other| other != unit).collect());
        selections.push((0..units).map(|other| other < unit).collect());
    }
    selections.extend((0..by_chance()).map(|_| (0..units).map(|_| random.bool()).collect()));
    selections
}

/// Answers how many states there were, and at how many calls.
fn live_and_die() -> (usize, u64) {
    let calls = {
        let disk = SimDisk::new(0);
        assert_eq!(life(&disk).acknowledged.len(), 15);
        disk.calls()
    };
    let mut random = fastrand::Rng::with_seed(1);
    let mut states = 0;
    for call in 0..=calls {
        let disk = SimDisk::new(0);
        disk.die_after(call);
        let told = life(&disk);
        let (units, changes) = disk.unsynced();
        let selections = selections(units, &mut random);
        for (which, selection) in selections.iter().enumerate() {
            // Names go in their order; which of them does not depend on the blocks.
            let changes = if units > all_units_max() { vec![which % (changes + 1)] } else { (0..=changes).collect() };
            for changes in changes {
                let what = format!("call {call}, {changes} names, kept {selection:?}");
                check(&disk.after_power_loss(|unit| selection[unit], changes), &told, &what);
                states += 1;
            }
        }
    }
    (states, calls)
}

#[test]
fn every_crash_state() {
    let (states, calls) = live_and_die();
    println!("{states} states at {calls} calls");
}

#[test]
fn every_planted_bug_is_caught() {
    let bugs = [
        Bug::AckBeforeSync,
        Bug::FolderNotSynced,
        Bug::MarksLostWithSegment,
        Bug::TornBatchTaken,
        Bug::HoleTaken,
        Bug::PayloadUnchecked,
        Bug::CursorsNotSynced,
    ];
    seeds::catch(&bugs, |_| {
        live_and_die();
    });
}
