//! Sources against real sockets and files, with a real journal behind them: what goes in is what a
//! cursor reads, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod docker;
mod file;
mod forward;
mod gelf;
mod hec;
mod inspect;
mod loginsight;
mod logs;
mod proxy;
mod relp;
mod snapshot;
mod streams;
mod syslog;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wharfinger::identity::Snapshot;
use wharfinger::intake::{Intake, Origin};
use wharfinger::journal::storage::Disk;
use wharfinger::journal::{Chunk, Cursor, Journal, Settings};
use wharfinger::part::{PartContext, SetupError};
use wharfinger::sources::SOURCES;
use wharfinger::stats::SourceStats;
use wharfinger_formats::{Event, Value, stored};

/// Everything here takes milliseconds; a test that waits that long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// A journal, and a cursor that reads what the sources append.
struct Yard {
    folder: tempfile::TempDir,
    journal: Journal,
    cursor: Cursor,
    stats: Arc<SourceStats>,
    waiting: Vec<Seen>,
}

/// An event as a sink would read it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    position: u64,
    raw: Vec<u8>,
    fields: BTreeMap<String, String>,
}

impl Seen {
    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// A source at work.
struct Running {
    endpoints: Vec<String>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), SetupError>>,
    intake: Intake,
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.endpoints[0].split(' ').find_map(|word| word.parse().ok()).expect("an address")
    }

    async fn stop(self) {
        self.stop.cancel();
        within(self.task).await.unwrap().unwrap();
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

impl Yard {
    fn new() -> Self {
        Self::with_budget(1 << 30)
    }

    fn with_budget(bytes_max: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { bytes_max, ..Settings::new(folder.path().join("journal")) };
        let journal = Journal::open(settings, Arc::new(Disk)).unwrap();
        let cursor = journal.cursor("test").unwrap();
        Yard { folder, journal, cursor, stats: Arc::default(), waiting: Vec::new() }
    }

    /// Starts a source of that type with these options.
    fn start(&self, kind: &str, options: serde_json::Value) -> Running {
        self.start_among(Snapshot::default(), kind, options)
    }

    /// The same where these machines are known.
    fn start_among(&self, machines: Snapshot, kind: &str, options: serde_json::Value) -> Running {
        let kind = SOURCES.iter().find(|row| row.name == kind).expect("a source of that name");
        let config = (kind.read)(&mut <dyn erased_serde::Deserializer<'_>>::erase(options)).unwrap();
        assert_eq!(config.check(), []);
        let data_dir = self.folder.path().to_owned();
        let context = PartContext {
            name: "in".to_owned(),
            data_dir,
            hostname: "gateway".to_owned(),
            notices: None,
            is_replay: false,
        };
        let source = config.open(&context).unwrap();
        let endpoints = source.endpoints();
        let identity = Arc::new(ArcSwap::from_pointee(machines));
        let intake = Intake::new(self.journal.clone(), identity, "in", self.stats.clone());
        let stop = CancellationToken::new();
        let task = tokio::spawn(source.run(intake.clone(), stop.clone()));
        Running { endpoints, stop, task, intake }
    }

    /// Takes all the room of the journal but the reserve; answers with how many events.
    async fn fill(&self) -> usize {
        let intake = Intake::new(self.journal.clone(), Arc::default(), "filler", Arc::default());
        let mut frames = intake.frames(Origin::own());
        let mut count = 0;
        for length in [60_000, 4_000, 100, 1] {
            loop {
                intake.take(&mut frames, &vec![b'x'; length]);
                if intake.try_append(&mut frames).await.is_err() {
                    break;
                }
                count += 1;
            }
        }
        count
    }

    /// The next events, exactly that many, as soon as they are there.
    async fn events(&mut self, count: usize) -> Vec<Seen> {
        let mut chunk = Chunk::new();
        while self.waiting.len() < count {
            let read = tokio::time::timeout(DEADLINE, self.cursor.read(&mut chunk, 1 << 20)).await;
            let Ok(read) = read else { panic!("{} of {count} events: {:?}", self.waiting.len(), self.waiting.last()) };
            read.unwrap();
            self.waiting.extend(chunk.records().map(|record| seen(record.position.0, record.payload)));
            if let Some(last) = chunk.records().last() {
                self.cursor.commit(last.position.next()).unwrap();
            }
        }
        self.waiting.drain(..count).collect()
    }

    /// Whether something has been appended that was not taken yet.
    async fn has_events(&mut self) -> bool {
        let mut chunk = Chunk::new();
        if self.cursor.try_read(&mut chunk, 1 << 20).await.unwrap() {
            self.waiting.extend(chunk.records().map(|record| seen(record.position.0, record.payload)));
        }
        !self.waiting.is_empty()
    }

    /// The raw text of the next events.
    async fn raws(&mut self, count: usize) -> Vec<String> {
        self.events(count).await.iter().map(Seen::raw).collect()
    }

    /// Nothing more has been appended.
    async fn is_empty(&mut self) {
        let mut chunk = Chunk::new();
        let more = self.cursor.try_read(&mut chunk, 1 << 20).await.unwrap();
        let more: Vec<_> =
            chunk.records().filter(|_| more).map(|record| seen(record.position.0, record.payload)).collect();
        assert!(more.is_empty() && self.waiting.is_empty(), "{more:?} {:?}", self.waiting);
    }
}

fn seen(position: u64, payload: &[u8]) -> Seen {
    let event = stored::decode(payload, Event::new(b"")).unwrap();
    let text = |value: Value<'_>| match value {
        Value::Str(text) | Value::Json(text) => text.to_owned(),
        other => format!("{other:?}"),
    };
    let fields = event.fields().map(|(field, value)| (field.name().to_owned(), text(value)));
    let extras = event.extras().map(|extra| (format!("{}.{}", extra.group, extra.name), text(extra.value)));
    Seen { position, raw: event.raw().to_vec(), fields: fields.chain(extras).collect() }
}
