//! The running sources and sinks: started, replaced on reload, stopped.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::custody::Custody;
use crate::admin::{SinkView, SourceView, View};
use crate::config::Part;
use crate::identity::Snapshot;
use crate::intake::Intake;
use crate::journal::Journal;
use crate::part::{Notice, PartContext, SetupError};
use crate::policy::Judge;
use crate::sinks::{self, Declare, SinkConfig, SinkStats, drive};
use crate::sources::SourceConfig;
use crate::stats;

/// How long a source may take to append what it has already framed.
const SOURCE_STOP_MAX: Duration = Duration::from_secs(2);
/// How long sinks may go on delivering after a stop; with the sources' time under 10 s in all.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(7);

/// One running part.
struct Running<T: ?Sized> {
    part: Arc<Part<T>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), SetupError>>,
}

/// What every part is started with.
pub(super) struct Yard {
    pub(super) custody: Arc<Custody>,
    pub(super) journal: Journal,
    pub(super) identity: Arc<ArcSwap<Snapshot>>,
    /// None where there is no policy.
    pub(super) judge: Option<Arc<Judge>>,
    pub(super) data_dir: std::path::PathBuf,
    pub(super) hostname: String,
    pub(super) source_stats: stats::Sources,
    pub(super) notices: mpsc::Sender<Notice>,
}

/// All running parts.
pub(super) struct Parts {
    yard: Yard,
    sources: BTreeMap<String, Running<dyn SourceConfig>>,
    sinks: BTreeMap<String, Running<dyn SinkConfig>>,
    /// What the admin page shows, replaced as a whole.
    shown: Arc<Shown>,
}

/// The parts as the admin page sees them.
pub(super) struct Shown {
    journal: Journal,
    custody: Arc<Custody>,
    identity: Arc<ArcSwap<Snapshot>>,
    judge: Option<Arc<Judge>>,
    sources: Mutex<Vec<SourceView>>,
    sinks: Mutex<Vec<SinkView>>,
}

impl View for Shown {
    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn seconds_left(&self) -> Option<u64> {
        self.custody.seconds_left()
    }

    fn sources(&self) -> Vec<SourceView> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sinks(&self) -> Vec<SinkView> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn machines(&self) -> Arc<Snapshot> {
        self.identity.load_full()
    }

    fn judge(&self) -> Option<Arc<Judge>> {
        self.judge.clone()
    }
}

impl Parts {
    pub(super) fn new(yard: Yard) -> Parts {
        let shown = Shown {
            journal: yard.journal.clone(),
            custody: Arc::clone(&yard.custody),
            identity: Arc::clone(&yard.identity),
            judge: yard.judge.clone(),
            sources: Mutex::default(),
            sinks: Mutex::default(),
        };
        Parts { yard, sources: BTreeMap::new(), sinks: BTreeMap::new(), shown: Arc::new(shown) }
    }

    pub(super) fn view(&self) -> Arc<dyn View> {
        Arc::clone(&self.shown) as Arc<dyn View>
    }

    fn context(&self, name: &str) -> PartContext {
        PartContext {
            name: name.to_owned(),
            data_dir: self.yard.data_dir.clone(),
            hostname: self.yard.hostname.clone(),
            notices: Some(self.yard.notices.clone()),
        }
    }

    /// Opens a source and lets it run.
    pub(super) fn start_source(&mut self, part: Arc<Part<dyn SourceConfig>>) -> Result<(), SetupError> {
        let source = part.options.open(&self.context(&part.name))?;
        for endpoint in source.endpoints() {
            eprintln!("listening on source {} {endpoint}", part.name);
        }
        let stats = self.yard.source_stats.named(&part.name);
        let intake =
            Intake::new(self.yard.journal.clone(), Arc::clone(&self.yard.identity), &part.name, Arc::clone(&stats))
                .judged_by(self.yard.judge.clone());
        let stop = CancellationToken::new();
        let task = tokio::spawn(source.run(intake, stop.clone()));
        let view = SourceView { name: part.name.clone(), kind: part.kind, stats };
        let mut shown = self.shown.sources.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|other| other.name != part.name);
        shown.push(view);
        drop(shown);
        self.sources.insert(part.name.clone(), Running { part, stop, task });
        Ok(())
    }

    /// Opens a sink and lets it drink from its cursor.
    pub(super) fn start_sink(&mut self, part: Arc<Part<dyn SinkConfig>>) -> Result<(), SetupError> {
        let sink = part.options.open(&self.context(&part.name))?;
        let cursor = self
            .yard
            .journal
            .cursor(&part.name)
            .map_err(|error| SetupError::new(format!("cannot open the cursor of sink `{}`", part.name), error))?;
        let quarantine = self.yard.data_dir.join("quarantine");
        let mut settings = sinks::Settings::new(&part.name, quarantine);
        settings.drain_max = DRAIN_MAX;
        settings.declare = Some(Arc::clone(&self.yard.custody) as Arc<dyn Declare>);
        settings.when = part.every.when.clone();
        cursor.set_on_full(part.every.on_full);
        let stats = Arc::new(SinkStats::default());
        let stop = CancellationToken::new();
        let work = drive(cursor, sink, settings, Arc::clone(&stats), stop.clone());
        let task = tokio::spawn(async move {
            work.await;
            Ok(())
        });
        let mut shown = self.shown.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|other| other.name != part.name);
        shown.push(SinkView { name: part.name.clone(), kind: part.kind, stats });
        drop(shown);
        self.sinks.insert(part.name.clone(), Running { part, stop, task });
        Ok(())
    }

    /// Makes the running parts those of a new configuration; what is unchanged keeps running, with
    /// its connections. A part that cannot start is put back as it was.
    pub(super) async fn replace(
        &mut self,
        sources: Vec<Arc<Part<dyn SourceConfig>>>,
        sinks: Vec<Arc<Part<dyn SinkConfig>>>,
    ) -> Vec<SetupError> {
        let mut errors = Vec::new();
        // Sinks first: nothing that new sources take in may pass a sink that is about to exist.
        for name in gone(&self.sinks, &sinks) {
            self.stop_sink(&name).await;
            if let Err(error) = self.yard.journal.forget_cursor(&name) {
                errors.push(SetupError::new(format!("cannot forget the cursor of sink `{name}`"), error));
            }
        }
        for part in changed(&self.sinks, sinks) {
            let before = self.stop_sink(&part.name).await;
            if let Err(error) = self.start_sink(Arc::clone(&part)) {
                errors.push(error);
                errors.extend(before.and_then(|before| self.start_sink(before).err()));
            }
        }
        for name in gone(&self.sources, &sources) {
            self.stop_source(&name).await;
        }
        for part in changed(&self.sources, sources) {
            let before = self.stop_source(&part.name).await;
            if let Err(error) = self.start_source(Arc::clone(&part)) {
                errors.push(error);
                errors.extend(before.and_then(|before| self.start_source(before).err()));
            }
        }
        errors
    }

    async fn stop_source(&mut self, name: &str) -> Option<Arc<Part<dyn SourceConfig>>> {
        let mut running = self.sources.remove(name)?;
        running.stop.cancel();
        if timeout(SOURCE_STOP_MAX, &mut running.task).await.is_err() {
            running.task.abort();
        }
        Some(running.part)
    }

    async fn stop_sink(&mut self, name: &str) -> Option<Arc<Part<dyn SinkConfig>>> {
        let running = self.sinks.remove(name)?;
        running.stop.cancel();
        // `drive` keeps its own deadline.
        let _ = running.task.await;
        self.shown.sinks.lock().unwrap_or_else(PoisonError::into_inner).retain(|sink| sink.name != name);
        Some(running.part)
    }

    /// Waits until a source ends by itself: its name and why. For ever when none does.
    pub(super) async fn ended(&mut self) -> (String, Result<(), SetupError>) {
        std::future::poll_fn(|context| {
            for (name, running) in &mut self.sources {
                if let Poll::Ready(joined) = Pin::new(&mut running.task).poll(context) {
                    let why =
                        joined.unwrap_or_else(|panic| Err(SetupError::new(format!("source `{name}` broke"), panic)));
                    return Poll::Ready((name.clone(), why));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Forgets a source that has ended; answers whether it was the last.
    pub(super) fn forget_source(&mut self, name: &str) -> bool {
        self.sources.remove(name);
        self.sources.is_empty()
    }

    /// Stops taking in, appends what is framed.
    pub(super) async fn stop_sources(&mut self) {
        for running in self.sources.values() {
            running.stop.cancel();
        }
        for name in self.sources.keys().cloned().collect::<Vec<_>>() {
            self.stop_source(&name).await;
        }
    }

    /// Lets the sinks deliver what they can until their deadline; the rest stays in the journal.
    pub(super) async fn drain_sinks(&mut self) {
        for running in self.sinks.values() {
            running.stop.cancel();
        }
        for (_, running) in std::mem::take(&mut self.sinks) {
            let _ = running.task.await;
        }
    }
}

fn gone<T: ?Sized>(running: &BTreeMap<String, Running<T>>, wanted: &[Arc<Part<T>>]) -> Vec<String> {
    running.keys().filter(|name| !wanted.iter().any(|part| part.name == **name)).cloned().collect()
}

fn changed<T: ?Sized>(running: &BTreeMap<String, Running<T>>, wanted: Vec<Arc<Part<T>>>) -> Vec<Arc<Part<T>>> {
    let same = |part: &Arc<Part<T>>| running.get(&part.name).is_some_and(|running| running.part.hash() == part.hash());
    wanted.into_iter().filter(|part| !same(part)).collect()
}
