//! Mistakes that the simulation found, each as the shortest life that shows it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::super::sim::{Fault, SimDisk};
use super::super::*;
use super::numbered;

fn settings() -> Settings {
    Settings { bytes_max: 512 << 10, ..Settings::new("/journal") }
}

fn open(disk: &SimDisk, settings: Settings) -> (Journal, Stepper) {
    Journal::open_stepped(settings, Arc::new(disk.clone())).unwrap()
}

fn append(journal: &Journal, stepper: &mut Stepper) -> Result<Receipt, AppendError> {
    append_bytes(journal, stepper, 9000)
}

fn append_bytes(journal: &Journal, stepper: &mut Stepper, bytes: usize) -> Result<Receipt, AppendError> {
    let mut batch = Batch::new();
    batch.push_with(|buffer| buffer.resize(buffer.len() + bytes, b'.'));
    let mut append = Box::pin(journal.append(batch));
    loop {
        match append.as_mut().now_or_never() {
            Some(result) => return result,
            None => assert!(stepper.turn()),
        }
    }
}

/// Reads to the end: how many records came, and what was missing.
fn read(cursor: &mut Cursor) -> (usize, Vec<Damage>) {
    let (mut chunk, mut records, mut damage) = (Chunk::new(), 0, Vec::new());
    while cursor.try_read(&mut chunk, 100_000).now_or_never().unwrap().unwrap() {
        records += chunk.len();
        damage.extend_from_slice(chunk.damaged());
    }
    (records, damage)
}

/// A sync fails, and the process is killed before the log goes on elsewhere. What the next one finds
/// is in the page cache only, and syncing it again would say yes without writing it.
#[test]
fn a_sync_that_failed_before_the_restart() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (journal, mut stepper) = open(&disk, settings());
        append(&journal, &mut stepper).unwrap();
        disk.set_fault(Some(Fault { after: 1, times: 100, kind: ErrorKind::Other }));
        assert!(append(&journal, &mut stepper).is_err());
        disk.kill();
        let (journal, _stepper) = open(&disk, settings());
        let before = read(&mut journal.cursor("a").unwrap());
        disk.power_loss();
        let (journal, _stepper) = open(&disk, settings());
        assert_eq!(read(&mut journal.cursor("a").unwrap()), before, "seed {seed}: read, and gone after");
    }
}

/// A cursor's file cannot be synced, and no new one be made. The next time its sync says yes, and
/// nobody may believe it: segments would go that the cursor on disk still needs.
#[test]
fn a_cursor_whose_sync_failed_is_not_believed_later() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (journal, mut stepper) = open(&disk, settings());
        let (mut first, mut second) = (journal.cursor("first").unwrap(), journal.cursor("second").unwrap());
        for _ in 0..20 {
            append(&journal, &mut stepper).unwrap();
        }
        second.commit(Position(10)).unwrap();
        first.commit(Position(21)).unwrap();
        disk.set_fault(Some(Fault { after: 0, times: 2, kind: ErrorKind::Other }));
        while stepper.turn() {}
        disk.set_fault(None);
        second.commit(Position(21)).unwrap();
        while stepper.turn() {}
        assert!(journal.status().first > Position(1), "segments were released");
        disk.power_loss();
        let (journal, _stepper) = open(&disk, settings());
        assert_eq!(read(&mut journal.cursor("first").unwrap()).1, [], "seed {seed}");
    }
}

/// A reader that goes back to what it committed, as a sink does after each failure, passed over what
/// had been lost with a file, in silence.
#[test]
fn going_back_does_not_hide_a_lost_file() {
    let disk = SimDisk::new(0);
    let (journal, mut stepper) = open(&disk, settings());
    drop(journal.cursor("a").unwrap());
    for _ in 0..20 {
        append(&journal, &mut stepper).unwrap();
    }
    disk.kill();
    storage::Storage::unlink(&disk, &disk.files().into_iter().find(|(_, bytes)| *bytes > 50_000).unwrap().0).unwrap();
    let (journal, _stepper) = open(&disk, settings());
    let mut cursor = journal.cursor("a").unwrap();
    for time in ["before the first read", "after it"] {
        cursor.rewind(Position(1));
        let lost = read(&mut cursor).1;
        assert!(lost.len() == 1 && lost[0].missing.0 == Position(1), "{time}: {lost:?}");
    }
}

/// With `Sync::Interval` a segment was released while the one behind it was not on disk yet: a power
/// loss took the marks and the end of the log.
#[test]
fn the_last_segment_on_disk_stays() {
    let settings = Settings { sync: Sync::Interval(Duration::from_secs(3600)), ..settings() };
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (journal, mut stepper) = open(&disk, settings.clone());
        let (incarnation, mut cursor) = (journal.incarnation(), journal.cursor("a").unwrap());
        for _ in 0..10 {
            append(&journal, &mut stepper).unwrap();
        }
        // The second segment is begun: what stands in the first is synced, and read.
        let synced = journal.status().last;
        assert!((1..10).contains(&synced.0), "{synced}");
        cursor.commit(synced.next()).unwrap();
        stepper.turn();
        disk.power_loss();
        let (journal, _stepper) = open(&disk, settings.clone());
        assert_eq!(journal.incarnation(), incarnation, "seed {seed}");
        assert!(journal.status().last >= synced, "seed {seed}");
    }
}

/// A record that was written again in the next segment stands behind the last one of this segment,
/// which is damaged: the reader stopped there, again and again.
#[test]
fn a_reader_goes_on_behind_what_was_written_again() {
    let disk = SimDisk::new(0);
    let (journal, mut stepper) = open(&disk, Settings { commit_bytes_max: 9500, ..settings() });
    drop(journal.cursor("a").unwrap());
    let [mut first, mut second] = [0, 1].map(|n| Box::pin(journal.append(numbered(n..n + 1, 9000))));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    stepper.turn();
    first.now_or_never().unwrap().unwrap();
    // Written, and not synced: the same goes to a new segment.
    disk.set_fault(Some(Fault { after: 1, times: 1, kind: ErrorKind::Other }));
    stepper.turn();
    second.now_or_never().unwrap().unwrap();
    let segment = disk.files().into_iter().find(|(path, _)| path.extension() == Some("segment".as_ref())).unwrap().0;
    disk.damage(&segment, |bytes| bytes[5000] ^= 1);
    let (records, damage) = read(&mut journal.cursor("a").unwrap());
    let missing: Vec<_> = damage.iter().map(|damage| damage.missing).collect();
    assert_eq!((records, missing), (1, vec![(Position(1), Position(1))]));
}

/// With `Sync::Interval` groups are written without a sync between them. A power loss tears any of
/// them, also one before the last: the log ends before the first hole.
#[test]
fn unsynced_groups_are_torn_like_one() {
    let settings = Settings { sync: Sync::Interval(Duration::from_secs(3600)), ..settings() };
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let (journal, mut stepper) = open(&disk, settings.clone());
        drop(journal.cursor("a").unwrap());
        for _ in 0..10 {
            append_bytes(&journal, &mut stepper, 300).unwrap();
        }
        disk.power_loss();
        let (journal, _stepper) = open(&disk, settings.clone());
        let (records, damage) = read(&mut journal.cursor("a").unwrap());
        assert_eq!((damage, records as u64), (vec![], journal.status().last.0), "seed {seed}");
    }
}
