//! Every call to the disk fails once, or from then on: nothing acknowledged is lost, and after the
//! fault a fresh record passes.

use std::io::ErrorKind;
use std::sync::Arc;

use futures_util::FutureExt;

use super::super::sim::{Fault, SimDisk};
use super::super::*;

fn settings() -> Settings {
    Settings { bytes_max: 512 << 10, ..Settings::new("/journal") }
}

fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.push_with(|buffer| {
        buffer.extend_from_slice(number.to_string().as_bytes());
        buffer.resize(buffer.len() + 9000, b'.');
    });
    batch
}

/// Appends until there is a receipt, or the disk is full for longer than the fault lasts.
fn append(journal: &Journal, stepper: &mut Stepper, number: u64) -> Result<Receipt, AppendError> {
    let mut append = Box::pin(journal.append(batch(number)));
    for _ in 0..50 {
        if let Some(result) = append.as_mut().now_or_never() {
            return result;
        }
        stepper.turn();
    }
    Err(AppendError::Full { batch: Batch::new() })
}

/// A life with rolling, reading, releasing and a clean end. Answers what was acknowledged.
fn life(disk: &SimDisk) -> Vec<(u64, u64)> {
    let mut acknowledged = Vec::new();
    let Ok((journal, mut stepper)) = Journal::open_stepped(settings(), Arc::new(disk.clone())) else {
        return acknowledged;
    };
    let mut chunk = Chunk::new();
    let mut cursor = journal.cursor("a").ok();
    for number in 0..30 {
        if let Ok(receipt) = append(&journal, &mut stepper, number) {
            acknowledged.push((receipt.first.0, number));
        }
        if let Some(cursor) = &mut cursor
            && number % 3 == 0
            && let Ok(true) = cursor.try_read(&mut chunk, 40_000).now_or_never().unwrap()
        {
            assert_eq!(chunk.damaged(), []);
            // One record is left for the next life.
            let last = chunk.records().map(|record| record.position).last().unwrap();
            let _ = cursor.commit(last);
        }
        while stepper.turn() {}
    }
    let _ = journal.close().now_or_never();
    stepper.close();
    acknowledged
}

/// Everything from the committed position on is there, and the journal works.
fn check(disk: &SimDisk, acknowledged: &[(u64, u64)], what: &str) {
    let (journal, mut stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).expect(what);
    let mut cursor = journal.cursor("a").unwrap();
    let mut due = acknowledged.iter().filter(|(position, _)| *position >= cursor.committed().0).copied();
    let mut due: Vec<(u64, u64)> = due.by_ref().collect();
    let mut chunk = Chunk::new();
    while cursor.try_read(&mut chunk, 40_000).now_or_never().unwrap().unwrap() {
        assert_eq!(chunk.damaged(), [], "{what}");
        for record in chunk.records() {
            let number: u64 = std::str::from_utf8(record.payload).unwrap().trim_end_matches('.').parse().unwrap();
            due.retain(|(position, other)| {
                assert!(*position != record.position.0 || *other == number, "{what}: altered");
                *position != record.position.0
            });
        }
    }
    assert_eq!(due, [], "{what}: acknowledged and lost");
    append(&journal, &mut stepper, 99).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(journal.status().healthy, "{what}");
}

#[test]
fn every_call_fails() {
    let calls = {
        let disk = SimDisk::new(0);
        assert_eq!(life(&disk).len(), 30);
        disk.calls()
    };
    assert!(calls > 100, "{calls} calls");
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        for (after, times) in (0..calls).flat_map(|after| [(after, 1), (after, 1 + after % 3), (after, 20)]) {
            let disk = SimDisk::new(after);
            disk.set_fault(Some(Fault { after, times, kind }));
            let acknowledged = life(&disk);
            let power = times % 2 == 1;
            if power {
                disk.power_loss();
            } else {
                disk.kill();
            }
            check(&disk, &acknowledged, &format!("{kind:?} after {after}, {times} times, power {power}"));
        }
    }
}

#[test]
fn a_failed_sync_is_not_retried_on_the_file() {
    let disk = SimDisk::new(3);
    let (journal, mut stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).unwrap();
    append(&journal, &mut stepper, 0).unwrap();
    // The write works, the sync does not: the record goes to a new segment.
    disk.set_fault(Some(Fault { after: 1, times: 1, kind: ErrorKind::Other }));
    assert_eq!(append(&journal, &mut stepper, 1).unwrap().first, Position(2));
    let segments = || disk.files().iter().filter(|(path, _)| path.to_string_lossy().ends_with(".segment")).count();
    assert_eq!((segments(), journal.status().sync_failures_total), (2, 1));
    assert!(journal.status().healthy);

    // Twice in a row: nothing is acknowledged, and whoever asks is told.
    disk.set_fault(Some(Fault { after: 1, times: 100, kind: ErrorKind::Other }));
    assert!(matches!(append(&journal, &mut stepper, 2), Err(AppendError::Failed { .. })));
    assert!(!journal.status().healthy);
    disk.set_fault(None);
    assert_eq!(append(&journal, &mut stepper, 3).unwrap().first, Position(3), "the disk is well again");
    assert!(journal.status().healthy);
}

#[test]
fn a_full_disk_is_waited_for() {
    let disk = SimDisk::new(4);
    // One segment, and a small one for one record.
    disk.set_capacity(Some(80_000));
    let (journal, mut stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).unwrap();
    let mut cursor = journal.cursor("a").unwrap();
    for number in 0..8 {
        append(&journal, &mut stepper, number).unwrap();
    }
    let mut waiting = Box::pin(journal.append(batch(8)));
    for _ in 0..5 {
        assert!(waiting.as_mut().now_or_never().is_none());
        stepper.turn();
    }
    let status = journal.status();
    assert!(status.stalled && status.healthy, "{status:?}");
    assert!(matches!(journal.try_append(batch(9)).now_or_never(), Some(Err(AppendError::Full { .. }))));
    disk.set_capacity(None);
    stepper.turn();
    assert_eq!(waiting.now_or_never().unwrap().unwrap().first, Position(9));
    assert!(!journal.status().stalled);
    let mut chunk = Chunk::new();
    assert!(cursor.try_read(&mut chunk, 1 << 20).now_or_never().unwrap().unwrap());
    cursor.commit(Position(7)).unwrap();
}
