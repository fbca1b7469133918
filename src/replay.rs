//! Replay: brings a period of an archive to a sink again: archive → filter → **`drive` → sink**.
//!
//! Events keep their ids and times and say `replayed`. Nothing of this goes through the journal: the tally
//! and the place are a file of the replay's own, so that one that was stopped goes on.
//!
//! Invariants: the file never says more than the peer has; no event is delivered out of an object that is
//! not the one that was sealed.

mod feed;
mod reader;
mod state;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::feed::Replaying;
use self::reader::Source;
pub use self::state::{State, StateError, StateFile};
use crate::archive::{Period, Reader, Unread};
use crate::filter::Filter;
use crate::journal::Passed;
use crate::part::SetupError;
use crate::sinks::redact::Redactor;
use crate::sinks::{Settings, Sink, SinkState, SinkStats, drive};

/// How often it is looked how the sink does.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What is brought, and where to.
pub struct Job {
    /// The streams, in order.
    pub readers: Vec<(String, Reader)>,
    pub period: Period,
    pub filter: Filter,
    /// Events a second; none: as fast as the sink takes them.
    pub rate: Option<u64>,
    /// The sink's name in the configuration.
    pub sink: String,
    /// What takes secrets out of events before the sink has them.
    pub redact: Option<Arc<Redactor>>,
    /// Where events are put that the sink refuses for good.
    pub refused_dir: PathBuf,
}

/// How far it is, to be looked at while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Seals that are still to be looked at in the present stream.
    pub seals_left: AtomicU64,
    /// Objects that were begun.
    pub objects: AtomicU64,
    /// Events read of them, wanted or not.
    pub read: AtomicU64,
    /// Events that the peer has, those of earlier calls among them.
    pub delivered: AtomicU64,
    /// Why the sink takes nothing now.
    trouble: Mutex<Option<String>>,
}

impl Progress {
    /// Why the sink takes nothing now.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All of it is delivered, or refused for good.
    Finished(Passed),
    /// It was stopped: it goes on with the next call.
    Stopped(Passed),
}

/// Why a replay did not go on. What was delivered is noted.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Unread(#[from] Unread),
    #[error("the sink cannot deliver until this is put right: {0}")]
    Alarm(String),
    #[error(transparent)]
    Sink(#[from] SetupError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Delivers until all is done or `stop`. `open` makes the sink, again after a connection was lost at the end.
///
/// # Errors
/// The archive cannot be read on, or only a person can make the sink deliver.
pub async fn replay(
    job: Job,
    state: Arc<StateFile>,
    open: impl Fn() -> Result<Box<dyn Sink>, SetupError>,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Result<Ended, ReplayError> {
    let Job { readers, period, filter, rate, sink, redact, refused_dir } = job;
    let source = Arc::new(Source::new(readers, period, filter, Arc::clone(&progress)));
    loop {
        // Ends the drive alone: `stop` is the caller's.
        let enough = stop.child_token();
        let feed = Replaying::new(Arc::clone(&source), Arc::clone(&state), rate, enough.clone());
        let settings = Settings { redact: redact.clone(), ..Settings::new(&sink, refused_dir.clone()) };
        // Its counters begin with what the state says.
        let run = Arc::new(SinkStats::default());
        let end = feed.end();
        let driving = drive(feed, open()?, settings, Arc::clone(&run), enough.clone());
        let alarm = look_after(driving, &run, &progress, &enough).await;
        state.keep()?;
        match (end.take(), alarm) {
            (Some(Err(unread)), _) => return Err(unread.into()),
            (_, Some(reason)) => return Err(ReplayError::Alarm(reason)),
            (Some(Ok(all)), None) if state.committed() >= all => return Ok(Ended::Finished(state.passed())),
            _ if stop.is_cancelled() => return Ok(Ended::Stopped(state.passed())),
            // The last requests were lost with their connection.
            _ => {}
        }
    }
}

/// Waits for the end; a sink that only a person can help ends it, and that is the answer.
async fn look_after(
    driving: impl Future<Output = ()>,
    run: &SinkStats,
    progress: &Progress,
    enough: &CancellationToken,
) -> Option<String> {
    let mut alarm = None;
    tokio::pin!(driving);
    loop {
        tokio::select! {
            () = &mut driving => return alarm,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        progress.delivered.store(run.delivered_total(), Relaxed);
        *progress.trouble.lock().unwrap_or_else(PoisonError::into_inner) = run.last_error();
        if run.state() == SinkState::Alarm && alarm.is_none() {
            alarm = Some(run.last_error().unwrap_or_default());
            enough.cancel();
        }
    }
}
