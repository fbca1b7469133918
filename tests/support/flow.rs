//! A flow under test: a journal in a temporary folder, a running `drive`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wharfinger::journal::{Batch, Journal, Settings as JournalSettings, Sync, storage};
use wharfinger::part::PartContext;
use wharfinger::sinks::{EventId, Settings, Sink, SinkStats, drive};
use wharfinger_formats::{Event, stored};

/// A journal in a folder that is removed at the end.
pub struct Flow {
    pub journal: Journal,
    pub dir: tempfile::TempDir,
}

/// A sink at work.
pub struct Running {
    pub stats: Arc<SinkStats>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Flow {
    pub fn new() -> Flow {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = JournalSettings::new(dir.path().join("journal"));
        settings.bytes_max = 256 << 20;
        // Only cursors and sinks are under test here: the disk need not be waited for.
        settings.sync = Sync::Never;
        let journal = Journal::open(settings, Arc::new(storage::Disk)).unwrap();
        Flow { journal, dir }
    }

    /// Appends an event for each name; the name is its raw bytes.
    pub async fn append<T: AsRef<[u8]>>(&self, names: impl IntoIterator<Item = T>) {
        self.append_with(names, |_, _| {}).await;
    }

    /// The same, with fields set by `fill`.
    pub async fn append_with<T: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = T>,
        fill: impl Fn(usize, &mut Event<'_>),
    ) {
        let mut batch = Batch::new();
        for (index, name) in names.into_iter().enumerate() {
            let mut event = Event::new(name.as_ref());
            fill(index, &mut event);
            batch.push_with(|out| stored::encode(&event, out));
        }
        // On a blocking thread, because a paused clock stands still only while one is at work: it would
        // run ahead while the journal's own thread writes.
        let (journal, runtime) = (self.journal.clone(), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || runtime.block_on(journal.append(batch)).unwrap()).await.unwrap();
    }

    pub fn settings(&self, name: &str) -> Settings {
        Settings::new(name, self.dir.path().join("quarantine"))
    }

    pub fn start(&self, name: &str, sink: Box<dyn Sink>) -> Running {
        self.start_with(self.settings(name), sink)
    }

    pub fn start_with(&self, settings: Settings, sink: Box<dyn Sink>) -> Running {
        let (stats, stop) = (Arc::new(SinkStats::default()), CancellationToken::new());
        let cursor = self.journal.cursor(&settings.name).unwrap();
        let task = tokio::spawn(drive(cursor, sink, settings, Arc::clone(&stats), stop.clone()));
        Running { stats, stop, task }
    }

    /// The id of the event at that position.
    pub fn id(&self, position: u64) -> String {
        EventId::new(self.journal.incarnation(), wharfinger::journal::Position(position)).text().to_owned()
    }

    /// The lines of a sink's quarantine.
    pub fn quarantine(&self, name: &str) -> Vec<serde_json::Value> {
        let path = self.dir.path().join("quarantine").join(format!("{name}.ndjson"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn context(&self, name: &str) -> PartContext {
        PartContext {
            name: name.to_owned(),
            data_dir: PathBuf::from(self.dir.path()),
            hostname: "gateway".to_owned(),
            notices: None,
            is_replay: false,
        }
    }
}

impl Running {
    /// Stops the sink and waits until it has drained.
    pub async fn finish(self) -> Arc<SinkStats> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.stats
    }
}

/// Waits for a condition, at most a minute; `what` is printed when it does not come.
pub async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
