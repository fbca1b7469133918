//! Counts agree with what is stored after any end: kill, power loss, failing calls.

use std::io::ErrorKind;
use std::sync::Arc;

use futures_util::FutureExt;

use super::super::sim::{Fault, SimDisk};
use super::super::*;

const SOURCES: [&str; 3] = ["a", "b", "c"];

fn settings() -> Settings {
    Settings { bytes_max: 512 << 10, ..Settings::new("/journal") }
}

/// Every event is in the tally of one source, and behind the cursor or before it.
fn check(journal: &Journal, seed: u64) {
    let status = journal.status();
    let taken: u64 = status.tallies.values().map(|sums| sums[0]).sum();
    assert_eq!(taken, status.appended_total, "seed {seed}");
    for cursor in &status.cursors {
        assert_eq!(cursor.unaccounted(), 0, "seed {seed}: {cursor:?}");
        assert_eq!(cursor.received(), cursor.passed.total() + cursor.lag_records, "seed {seed}");
        assert_eq!(cursor.received(), status.appended_total, "seed {seed}: {cursor:?}");
    }
}

/// What a reader holds: where it got to, and what became of the events up to there.
type InHand = Option<(Position, Passed)>;

/// Reads something, or commits what was read a while ago.
fn go_on(cursor: &mut Cursor, in_hand: &mut InHand, random: &mut fastrand::Rng, seed: u64) {
    if let Some((next, passed)) = in_hand.take() {
        let _ = cursor.commit_passed(next, passed);
        cursor.rewind(cursor.committed());
        return;
    }
    let mut chunk = Chunk::new();
    let Some(Ok(true)) = cursor.try_read(&mut chunk, 5000).now_or_never() else { return };
    let missing = |damage: &Damage| damage.missing.1.0 - damage.missing.0.0 + 1;
    assert!(chunk.damaged().iter().all(|damage| damage.given_up), "seed {seed}: {:?}", chunk.damaged());
    let lost: u64 = chunk.damaged().iter().map(missing).sum();
    let count = chunk.len() as u64;
    assert!(chunk.records().all(|record| record.payload.iter().all(|byte| *byte == b'.')));
    let quarantined = random.u64(..=count);
    let passed = Passed { delivered: count - quarantined, quarantined, lost, ..Passed::default() };
    // Every position from the committed one on is handed out or named.
    *in_hand = Some((Position(cursor.committed().0 + count + lost), passed));
    let last = chunk.records().map(|record| record.position).last();
    let last = last.max(chunk.damaged().last().map(|damage| damage.missing.1)).unwrap();
    assert_eq!(last.0 - cursor.committed().0 + 1, count + lost, "seed {seed}: a hole without a name");
}

/// Answers how much was given up.
fn life(disk: &SimDisk, random: &mut fastrand::Rng, seed: u64) -> u64 {
    let Ok((journal, mut stepper)) = Journal::open_stepped(settings(), Arc::new(disk.clone())) else { return 0 };
    check(&journal, seed);
    let mut cursors: Vec<Cursor> = ["x", "y"].iter().filter_map(|name| journal.cursor(name).ok()).collect();
    // `y` may lose; `x` and the appends wait for nobody else.
    for cursor in cursors.iter().skip(1) {
        cursor.set_on_full(OnFull::GiveUp);
    }
    let mut in_hand: [InHand; 2] = [None; 2];
    let mut waiting = Vec::new();
    for _ in 0..random.usize(1..250) {
        match random.u8(..10) {
            0..3 => {
                let count = random.u64(1..5);
                let mut batch = Batch::new();
                for _ in 0..count {
                    batch.push_with(|buffer| buffer.resize(buffer.len() + random.usize(..3000), b'.'));
                }
                batch.tally(SOURCES[random.usize(..3)], &[count, random.u64(..3)]);
                let journal = journal.clone();
                waiting.push(Box::pin(async move { journal.append(batch).await.map(drop) }));
            }
            3..5 => {
                stepper.turn();
            }
            5..9 => {
                // `x` goes on five times as often.
                let which = usize::from(random.u8(..6) == 0).min(cursors.len().saturating_sub(1));
                if let Some(cursor) = cursors.get_mut(which) {
                    go_on(cursor, &mut in_hand[which], random, seed);
                }
            }
            _ if random.u8(..20) == 0 => {
                let kind = if random.bool() { ErrorKind::Other } else { ErrorKind::StorageFull };
                disk.set_fault(Some(Fault { after: random.u64(..6), times: random.u64(1..4), kind }));
            }
            _ => {}
        }
        waiting.retain_mut(|append| append.as_mut().now_or_never().is_none());
        check(&journal, seed);
    }
    let lost = journal.status().cursors.iter().map(|cursor| cursor.passed.lost).sum();
    match random.u8(..3) {
        0 => disk.kill(),
        1 => disk.power_loss(),
        _ => {
            disk.set_fault(None);
            let _ = journal.close().now_or_never();
            while stepper.turn() {}
            stepper.close();
        }
    }
    lost
}

#[test]
fn counts_and_events_are_stored_together() {
    let mut given_up = 0;
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new(seed);
        // Both cursors from the first event on, whatever fails later.
        let (journal, _stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).unwrap();
        for name in ["x", "y"] {
            journal.cursor(name).unwrap();
        }
        disk.kill();
        for _ in 0..6 {
            given_up += u64::from(life(&disk, &mut random, seed) > 0);
        }
    }
    assert!(given_up > 100, "in {given_up} lives something was given up: too few to show anything");
}

#[test]
fn a_damaged_checkpoint_costs_no_count() {
    let disk = SimDisk::new(1);
    let (journal, mut stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).unwrap();
    journal.cursor("x").unwrap();
    for _ in 0..60 {
        let mut batch = Batch::new();
        batch.push_with(|buffer| buffer.resize(buffer.len() + 5000, b'.'));
        batch.tally("a", &[1, 2]);
        let mut append = Box::pin(journal.append(batch));
        while append.as_mut().now_or_never().is_none() {
            assert!(stepper.turn());
        }
    }
    disk.kill();
    let segments: Vec<_> =
        disk.files().into_iter().filter(|(path, _)| path.to_string_lossy().ends_with(".segment")).collect();
    assert!(segments.len() > 3);
    // In the last two: the sums are in the checkpoint before them, and in the batches since.
    for (path, _) in &segments[segments.len() - 2..] {
        disk.damage(path, |bytes| bytes[segment::HEADER_BYTES + record::HEADER_BYTES + 3] ^= 1);
    }
    let (journal, _stepper) = Journal::open_stepped(settings(), Arc::new(disk.clone())).unwrap();
    assert_eq!(journal.status().tallies["a"], [60, 120]);
}
