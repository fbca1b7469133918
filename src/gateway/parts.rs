//! The running sources and sinks: started, replaced on reload, stopped.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::custody::Custody;
use super::digests::Board;
use crate::admin::status::DigestRow;
use crate::admin::{SinkView, SourceView, View};
use crate::config::Part;
use crate::identity::Snapshot;
use crate::intake::{Intake, Origin};
use crate::journal::Journal;
use crate::part::{Notice, PartContext, SetupError};
use crate::policy::Judge;
use crate::sinks::receipts::Keep;
use crate::sinks::{self, Declare, SinkConfig, SinkStats, drive};
use crate::sources::SourceConfig;
use crate::stats;

/// How long sources may take to append what they have already framed, all that are stopped together.
const SOURCE_STOP_MAX: Duration = Duration::from_secs(2);
/// How much longer those are waited for that did not end by then and are broken off: as long as a step takes.
const BREAK_OFF_MAX: Duration = Duration::from_millis(500);
/// How long sinks may go on delivering after a stop; with the time of the sources and of closing under 10 s in all.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(5);

/// One running part.
struct Running<T: ?Sized> {
    part: Arc<Part<T>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), SetupError>>,
    /// Of a source: it knows what was dropped.
    intake: Option<Intake>,
}

/// What every part is started with.
pub(super) struct Yard {
    pub(super) custody: Arc<Custody>,
    pub(super) journal: Journal,
    pub(super) identity: Arc<ArcSwap<Snapshot>>,
    /// None where there is no policy.
    pub(super) judge: Option<Arc<Judge>>,
    pub(super) data_dir: std::path::PathBuf,
    /// None where none are kept.
    pub(super) receipts: Option<Keep>,
    pub(super) hostname: String,
    pub(super) source_stats: stats::Sources,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) digests: Board,
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
    receipts: Option<Keep>,
    digests: Board,
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

    fn receipts(&self) -> Option<&Keep> {
        self.receipts.as_ref()
    }

    fn digests(&self) -> Vec<DigestRow> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Parts {
    pub(super) fn new(yard: Yard) -> Parts {
        let shown = Shown {
            journal: yard.journal.clone(),
            custody: Arc::clone(&yard.custody),
            identity: Arc::clone(&yard.identity),
            judge: yard.judge.clone(),
            receipts: yard.receipts.clone(),
            digests: Arc::clone(&yard.digests),
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
            is_replay: false,
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
        let task = tokio::spawn(source.run(intake.clone(), stop.clone()));
        let view = SourceView { name: part.name.clone(), kind: part.kind, stats };
        let mut shown = self.shown.sources.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|other| other.name != part.name);
        shown.push(view);
        drop(shown);
        self.sources.insert(part.name.clone(), Running { part, stop, task, intake: Some(intake) });
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
        settings.receipts = self.yard.receipts.clone();
        settings.redact = part.every.redact.open()?;
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
        self.sinks.insert(part.name.clone(), Running { part, stop, task, intake: None });
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
        let by = Instant::now() + SOURCE_STOP_MAX;
        if timeout_at(by, &mut running.task).await.is_err() {
            break_off(name, &running);
            // Its successor reads on where it got to.
            let _ = timeout_at(by + BREAK_OFF_MAX, running.task).await;
        }
        declare(running.intake).await;
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
        self.sources.values().for_each(|running| running.stop.cancel());
        let by = Instant::now() + SOURCE_STOP_MAX;
        let (mut broken_off, mut intakes) = (Vec::new(), Vec::new());
        for (name, mut running) in std::mem::take(&mut self.sources) {
            if timeout_at(by, &mut running.task).await.is_err() {
                break_off(&name, &running);
                broken_off.push(running.task);
            }
            intakes.push(running.intake);
        }
        for task in broken_off {
            let _ = timeout_at(by + BREAK_OFF_MAX, task).await;
        }
        join_all(intakes.into_iter().map(declare)).await;
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

/// A source that does not end in time: it waits for the journal, or for somebody who says nothing.
fn break_off<T: ?Sized>(name: &str, running: &Running<T>) {
    tracing::warn!(
        source = name,
        "a source did not end in time and is broken off: what it holds may be lost unless its senders send it again"
    );
    running.task.abort();
}

/// Declares what a source that has ended had to drop.
async fn declare(intake: Option<Intake>) {
    let Some(intake) = intake.filter(Intake::has_undeclared) else { return };
    let (origin, stats) = (Origin::own(), intake.stats());
    let declared = timeout(BREAK_OFF_MAX, intake.declare_dropped(&origin)).await;
    if !matches!(declared, Ok(Ok(()))) || intake.has_undeclared() {
        let events = stats.undeclared.load(Relaxed);
        tracing::error!(source = intake.source(), events, "events were dropped, and no gap record of it can be stored");
    }
}

fn gone<T: ?Sized>(running: &BTreeMap<String, Running<T>>, wanted: &[Arc<Part<T>>]) -> Vec<String> {
    running.keys().filter(|name| !wanted.iter().any(|part| part.name == **name)).cloned().collect()
}

fn changed<T: ?Sized>(running: &BTreeMap<String, Running<T>>, wanted: Vec<Arc<Part<T>>>) -> Vec<Arc<Part<T>>> {
    let same = |part: &Arc<Part<T>>| running.get(&part.name).is_some_and(|running| running.part.hash() == part.hash());
    wanted.into_iter().filter(|part| !same(part)).collect()
}
