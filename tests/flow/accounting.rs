//! Received = delivered + filtered + quarantined + lost + queued, at every moment and after a restart.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use wharfinger::filter::Filter;
use wharfinger::identity::Snapshot;
use wharfinger::intake::{Dropped, Intake, Origin, Tally};
use wharfinger::journal::{CursorStatus, Journal, Passed, Settings, Sync, storage};
use wharfinger::sinks::{self, Outcome};
use wharfinger_formats::Field;

use crate::support::flow::{Flow, wait_for};
use crate::support::scripted::Scripted;

fn cursor(journal: &Journal, name: &str) -> CursorStatus {
    let status = journal.status();
    for cursor in &status.cursors {
        assert_eq!(cursor.unaccounted(), 0, "{cursor:?}");
        assert_eq!(cursor.received(), cursor.passed.total() + cursor.lag_records, "{cursor:?}");
    }
    status.cursors.into_iter().find(|cursor| cursor.name == name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_sink_accounts_for_every_event() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let flow = Flow::new();
        let count = random.usize(50..300);
        let names: Vec<String> = (0..count)
            .map(|number| format!("{}{number}", if random.u8(..10) == 0 { "refused " } else { "event " }))
            .collect();
        // Those that are not for this sink: none, some, or all of them.
        let severity = [10, 4, 0][seed as usize % 3];
        let when = Filter::parse(&format!("severity < {severity} && !has(container.id)")).unwrap();
        let is_meant = |index: usize| (index % 10) < severity as usize;
        let meant: Vec<&String> =
            (0..).zip(&names).filter(|(index, _)| is_meant(*index)).map(|(_, name)| name).collect();
        let refused = meant.iter().filter(|name| name.starts_with("refused")).count() as u64;
        let mut answers = random.clone();
        let (mut sink, seen) = Scripted::new(move |_| match answers.u8(..4) {
            0 => Outcome::Retry { after: None, reason: "busy".to_owned() },
            _ => Outcome::Delivered,
        });
        sink.limits.events_max = random.usize(1..60);
        let running = flow.start_with(sinks::Settings { when, ..flow.settings("siem") }, Box::new(sink));
        let mut sent = 0;
        for part in names.chunks(random.usize(1..40)) {
            let first = sent as usize;
            flow.append_with(part, |index, event| event.set(Field::Severity, ((first + index) % 10) as i64)).await;
            sent += part.len() as u64;
            tokio::time::sleep(Duration::from_millis(random.u64(..900))).await;
            assert_eq!(cursor(&flow.journal, "siem").received(), sent, "seed {seed}");
        }
        wait_for("all events", || cursor(&flow.journal, "siem").lag_records == 0).await;
        let stats = running.finish().await;
        let passed = cursor(&flow.journal, "siem").passed;
        let (delivered, filtered) = (meant.len() as u64 - refused, (count - meant.len()) as u64);
        let expected = Passed { delivered, filtered, quarantined: refused, ..Passed::default() };
        assert_eq!(passed, expected, "seed {seed}");
        assert_eq!((stats.delivered_total(), stats.quarantined_total()), (passed.delivered, refused), "seed {seed}");
        assert_eq!(seen.taken().len() as u64, passed.delivered, "seed {seed}");
        assert!(seen.taken().iter().all(|name| meant.contains(&name)), "seed {seed}: only what is meant");
    }
}

/// What is missing is every sink's business, whatever it is sent otherwise; a line that calls itself a gap is
/// a line.
#[tokio::test(start_paused = true)]
async fn a_gap_record_passes_every_filter() {
    let flow = Flow::new();
    flow.append_with(["an event", "a gap", "a claim", "about another"], |index, event| {
        if index > 0 {
            event.set(Field::EventClass, "gap");
        }
        if index == 2 {
            event.set(Field::Format, "cef");
        }
        if index == 3 {
            event.set(Field::ToSink, "other");
        }
    })
    .await;
    let (sink, seen) = Scripted::delivers();
    let when = Filter::parse("false").unwrap();
    let running = flow.start_with(sinks::Settings { when, ..flow.settings("siem") }, Box::new(sink));
    wait_for("all events", || cursor(&flow.journal, "siem").lag_records == 0).await;
    let stats = running.finish().await;
    assert_eq!(seen.taken(), ["a gap"]);
    assert_eq!((stats.delivered_total(), stats.filtered_total()), (1, 3));
}

#[tokio::test]
async fn sources_and_the_journal_agree_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let settings = || Settings { sync: Sync::Never, ..Settings::new(dir.path().join("journal")) };
    let origin = Origin::own();
    for life in 1..=3_u64 {
        let journal = Journal::open(settings(), Arc::new(storage::Disk)).unwrap();
        let identity = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        for (source, count) in [("one", 3), ("two", 5)] {
            let intake = Intake::new(journal.clone(), Arc::clone(&identity), source, Arc::default());
            let mut frames = intake.frames(origin.clone());
            for _ in 0..count {
                intake.take(&mut frames, b"<13>x");
            }
            intake.append(&mut frames).await.unwrap();
            let mut dropped = None;
            Dropped::add(&mut dropped, 7);
            intake.gap(&origin, &dropped.unwrap().gap("a test")).await.unwrap();
        }
        let status = journal.status();
        let tally = |name: &str| Tally::from_sums(&status.tallies[name]);
        assert_eq!(tally("one"), Tally { taken: 3 * life, lost: 7 * life });
        assert_eq!(tally("two"), Tally { taken: 5 * life, lost: 7 * life });
        assert_eq!(tally("wharfinger"), Tally { taken: 2 * life, lost: 0 });
        assert_eq!(status.appended_total, 10 * life);
        journal.close().await;
    }
}
