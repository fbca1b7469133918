//! The journal as its callers see it: here on a real disk, in the files beside on a simulated one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;
mod faults;
mod known;
mod model;
mod states;
mod tallies;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::storage::Disk;
use super::*;

fn settings(dir: &Path) -> Settings {
    Settings { bytes_max: 1 << 20, ..Settings::new(dir.join("journal")) }
}

fn open(dir: &Path) -> Journal {
    Journal::open(settings(dir), Arc::new(Disk)).unwrap()
}

fn batch(payloads: &[&str]) -> Batch {
    let mut batch = Batch::new();
    for payload in payloads {
        batch.push_with(|buffer| buffer.extend_from_slice(payload.as_bytes()));
    }
    batch
}

fn numbered(range: std::ops::Range<u64>, bytes: usize) -> Batch {
    let mut batch = Batch::new();
    for number in range {
        batch.push_with(|buffer| {
            let start = buffer.len();
            buffer.extend_from_slice(number.to_string().as_bytes());
            buffer.resize(start + bytes, b'.');
        });
    }
    batch
}

fn seen(chunk: &Chunk) -> Vec<(u64, String)> {
    chunk.records().map(|r| (r.position.0, String::from_utf8(r.payload.to_vec()).unwrap())).collect()
}

async fn read(cursor: &mut Cursor, chunk: &mut Chunk) -> Vec<(u64, String)> {
    tokio::time::timeout(Duration::from_secs(10), cursor.read(chunk, 1 << 16)).await.unwrap().unwrap();
    seen(chunk)
}

#[tokio::test]
async fn what_is_appended_is_read_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let incarnation = journal.incarnation();
    let mut cursor = journal.cursor("a").unwrap();
    let mut chunk = Chunk::new();
    assert!(!cursor.try_read(&mut chunk, 1000).await.unwrap());

    let mut both = batch(&["one", "", "three"]);
    both.mark("file/x", b"at 3");
    let receipt = journal.append(both).await.unwrap();
    assert_eq!((receipt.first, receipt.count, receipt.batch.is_empty()), (Position(1), 3, true));
    assert_eq!(read(&mut cursor, &mut chunk).await, [(1, "one".into()), (2, String::new()), (3, "three".into())]);
    assert!(chunk.records().all(|r| r.batch_first == Position(1) && r.incarnation == incarnation));
    cursor.commit(Position(3)).unwrap();

    cursor.rewind(Position(1));
    assert_eq!(read(&mut cursor, &mut chunk).await, [(3, "three".into())], "what is committed is not read again");
    journal.close().await;
    assert!(matches!(journal.append(batch(&["late"])).await, Err(AppendError::Closed)));
    assert!(matches!(cursor.read(&mut chunk, 1000).await, Err(ReadError::Closed)));
    drop((cursor, journal));

    let journal = open(dir.path());
    assert_eq!(journal.incarnation(), incarnation);
    assert_eq!(journal.mark("file/x").unwrap(), b"at 3");
    assert_eq!(journal.append(batch(&["four"])).await.unwrap().first, Position(4));
    let mut cursor = journal.cursor("a").unwrap();
    assert_eq!(cursor.committed(), Position(3));
    assert_eq!(read(&mut cursor, &mut chunk).await, [(3, "three".into())]);
    assert_eq!(read(&mut cursor, &mut chunk).await, [(4, "four".into())]);
    assert!(matches!(journal.cursor("a"), Err(CursorError::Open(_))));
    assert!(matches!(cursor.commit(Position(6)), Err(CursorError::Ahead { .. })));
    let status = journal.status();
    assert_eq!(
        (status.first, status.last, status.appended_total, status.batches_total),
        (Position(1), Position(4), 4, 2)
    );
    assert!(status.healthy);
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let error = Journal::open(settings(dir.path()), Arc::new(Disk)).unwrap_err();
    assert!(matches!(error, OpenError::Held { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    drop(journal);
    open(dir.path());
}

#[tokio::test]
async fn a_full_journal_waits_for_its_slowest_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut slow = journal.cursor("slow").unwrap();
    let mut next = 0;
    loop {
        match journal.try_append(numbered(next..next + 10, 1000)).await {
            Ok(_) => next += 10,
            Err(AppendError::Full { batch }) => {
                assert_eq!(batch.len(), 10, "the batch comes back");
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(next > 800, "{next} records of 1,032 bytes in 7/8 of 1 MiB");
    let waiting = journal.append(numbered(next..next + 10, 1000));
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    journal.append_reserved(batch(&["a gap record"])).await.unwrap();

    let mut chunk = Chunk::new();
    let mut position = 1;
    while position <= next / 2 {
        slow.read(&mut chunk, 1 << 16).await.unwrap();
        for record in chunk.records() {
            assert_eq!(record.position, Position(position));
            assert!(record.payload.starts_with((position - 1).to_string().as_bytes()));
            position += 1;
        }
        slow.commit(Position(position)).unwrap();
    }
    let receipt = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!(receipt.first, Position(next + 2));
    let taken: u64 = std::fs::read_dir(dir.path().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(taken <= (1 << 20) + 8192, "{taken} bytes on disk");
}

#[tokio::test]
async fn a_backlog_that_is_no_longer_in_memory_comes_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { bytes_max: 128 << 20, ..settings(dir.path()) };
    let journal = Journal::open(settings, Arc::new(Disk)).unwrap();
    let mut cursor = journal.cursor("a").unwrap();
    for round in 0..60 {
        journal.append(numbered(round * 10..round * 10 + 10, 70_000)).await.unwrap();
    }
    let mut chunk = Chunk::new();
    let mut next = 1;
    while next <= 600 {
        // A read that is given up took nothing.
        let _ = cursor.read(&mut chunk, 1 << 20).now_or_never().map(|read| {
            next += chunk.len() as u64;
            read.unwrap();
        });
        if next <= 600 {
            // Less than one record: it is read all the same.
            cursor.read(&mut chunk, 50_000).await.unwrap();
            assert_eq!(chunk.records().map(|record| record.position.0).collect::<Vec<_>>(), [next]);
            next += 1;
        }
    }
    assert_eq!(chunk.damaged(), []);
}

#[tokio::test]
async fn without_cursors_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for round in 0..300 {
        let appended = journal.append(numbered(round * 10..round * 10 + 10, 1000));
        tokio::time::timeout(Duration::from_secs(10), appended).await.unwrap().unwrap();
    }
    let status = journal.status();
    assert!(status.first > Position(1000) && status.last == Position(3000), "{status:?}");
    let mut cursor = journal.cursor("late").unwrap();
    assert_eq!(cursor.committed(), status.first);
    let mut chunk = Chunk::new();
    assert_eq!(read(&mut cursor, &mut chunk).await[0].0, status.first.0);
}

#[tokio::test]
async fn a_forgotten_cursor_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let keeper = journal.cursor("gone/../sink").unwrap();
    assert!(matches!(journal.forget_cursor("gone/../sink"), Err(CursorError::Open(_))));
    drop(keeper);
    let mut other = journal.cursor("other").unwrap();
    for round in 0..60 {
        journal.append(numbered(round * 10..round * 10 + 10, 1000)).await.unwrap();
    }
    other.commit(Position(601)).unwrap();
    assert_eq!(journal.status().first, Position(1));
    journal.forget_cursor("gone/../sink").unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while journal.status().first == Position(1) {
        assert!(std::time::Instant::now() < deadline, "nothing was released");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_appends_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let appends = (0..500).map(|n| {
        let journal = journal.clone();
        async move { journal.append(numbered(n..n + 1, 100)).await.unwrap().first }
    });
    let mut firsts = futures_util::future::join_all(appends).await;
    firsts.sort();
    assert_eq!(firsts, (1..=500).map(Position).collect::<Vec<_>>());
    let status = journal.status();
    assert!(status.syncs_total < 100, "{} syncs", status.syncs_total);
}

#[tokio::test]
async fn the_interval_publishes_only_what_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { sync: Sync::Interval(Duration::from_millis(50)), ..settings(dir.path()) };
    let journal = Journal::open(settings, Arc::new(Disk)).unwrap();
    let mut cursor = journal.cursor("a").unwrap();
    journal.append(batch(&["soon"])).await.unwrap();
    let mut chunk = Chunk::new();
    assert_eq!(journal.status().syncs_total, 0);
    assert_eq!(read(&mut cursor, &mut chunk).await, [(1, "soon".into())]);
    assert_eq!(journal.status().syncs_total, 1);
}

#[tokio::test]
async fn never_begins_a_new_incarnation_after_an_unclean_end() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { sync: Sync::Never, ..settings(dir.path()) };
    let clean = {
        let journal = Journal::open(settings.clone(), Arc::new(Disk)).unwrap();
        journal.append(batch(&["x"])).await.unwrap();
        journal.close().await;
        journal.incarnation()
    };
    let (journal, mut stepper) = Journal::open_stepped(settings.clone(), Arc::new(Disk)).unwrap();
    assert_eq!(journal.incarnation(), clean);
    {
        let append = journal.append(batch(&["y"]));
        tokio::pin!(append);
        assert!(append.as_mut().now_or_never().is_none());
        while stepper.turn() {}
        append.await.unwrap();
    }
    drop((stepper, journal));
    let journal = Journal::open(settings, Arc::new(Disk)).unwrap();
    assert_ne!(journal.incarnation(), clean);
    assert_eq!(journal.status().last, Position(2));
}
