//! One engine: its events as they come, over breaks and restarts of either side.
//!
//! Way of an event here: engine → **reader** → ring → **session** (seen before? wanted?) → intake. Invariant:
//! the reader waits for nothing but the engine, and what it cannot hand on is counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::EventStream;
use super::glance::{Attributes, Glance, SECOND};
use super::inspect::Looks;
use super::known::{Labels, Shared, locked};
use super::logs::Logs;
use super::memory::{Memory, Remembered};
use super::place::Place;
use super::resume::{Facts, Resume};
use super::select::Selection;
use super::snapshot::{self, Owed};
use crate::intake::{Frames, Intake, Origin};
use crate::part::SetupError;
use crate::sources::journal_failed;
use crate::sources::lines::{Line, Lines};
use crate::sources::ring::{Load, RING_BYTES, Ring};
use crate::sources::throttle::Throttle;
use crate::sources::weight::Weight;

/// One event is at most this long; of a longer one the head is kept.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// When the engine is silent that long after a connection, it has sent all it remembered.
const REPLAY_QUIET: Duration = Duration::from_secs(2);

const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Under this name the position is stored.
pub(super) const POSITION: &str = "events";

/// See above.
pub(super) struct Session<'s> {
    pub(super) intake: Intake,
    pub(super) frames: Frames,
    pub(super) resume: Resume,
    pub(super) memory: Memory<'s>,
    pub(super) place: &'s Place,
    pub(super) known: Shared,
    pub(super) selection: &'s Selection,
    /// Runs of health checks are left out.
    pub(super) without_health_checks: bool,
    /// None: containers are not looked at.
    pub(super) looks: Option<Looks>,
    /// None: what containers write is not read.
    pub(super) logs: Option<Logs>,
    /// After a gap the engine's state is told.
    pub(super) owed: Owed,
    /// Something was seen that is not in the batch: where we stand is to be stored.
    pub(super) has_moved: bool,
    /// The last complaint, so that an engine that is away is reported once.
    pub(super) complained: Option<String>,
}

impl Session<'_> {
    /// Follows the engine through all its absences, until `stop`.
    pub(super) async fn run(&mut self, stop: &CancellationToken) -> Result<(), SetupError> {
        let mut backoff = BACKOFF_MIN;
        let mut is_first = true;
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                stream = self.connect() => stream,
            };
            if let Some(stream) = stream {
                backoff = BACKOFF_MIN;
                if let Some(looks) = self.looks.as_mut().filter(|_| is_first) {
                    looks.ask_for_running();
                    is_first = false;
                }
                if let Some(logs) = &mut self.logs {
                    logs.list();
                }
                self.follow(stream, stop).await?;
            }
            let pause = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
            backoff = (backoff * 2).min(BACKOFF_MAX);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks for the events since the last one seen.
    async fn connect(&mut self) -> Option<EventStream> {
        let since = self.resume.since();
        let connected = async { self.place.connect().await?.events(&since).await }.await;
        match connected {
            Ok(stream) => {
                self.complained = None;
                tracing::info!(engine = %self.place, api = stream.api, "connected to the engine");
                Some(stream)
            }
            Err(error) => {
                let complaint = error.to_string();
                if self.complained.as_ref() != Some(&complaint) {
                    let engine = self.place;
                    tracing::warn!(%engine, error = complaint, "no events until the engine can be reached; trying on");
                    self.complained = Some(complaint);
                }
                None
            }
        }
    }

    /// Takes in events until the engine closes the stream, or `stop`.
    async fn follow(&mut self, stream: EventStream, stop: &CancellationToken) -> Result<(), SetupError> {
        self.frames.turn_to(at(self.frames.origin(), stream.peer));
        if let (Some(logs), Some(asked_at), true) = (&mut self.logs, stream.asked_at, self.resume.is_at_start()) {
            logs.begin(asked_at.saturating_mul(SECOND));
        }
        self.resume.connected(stream.asked_at);
        self.memory.connected(self.resume.from());
        let ring = Arc::new(Ring::new(RING_BYTES));
        let mut reader = JoinSet::new();
        reader.spawn(read(stream, ring.clone(), stop.clone()));
        let mut load = Load::new();
        loop {
            let waiting = self.resume.is_replaying();
            tokio::select! {
                more = ring.take(&mut load) => match more {
                    true => self.take(&load).await?,
                    false => break,
                },
                () = tokio::time::sleep(REPLAY_QUIET), if waiting => self.resume.end_replay(),
                remembered = self.memory.next(), if !waiting => {
                    // What has come by now comes first.
                    if let Ok(true) = tokio::time::timeout(Duration::ZERO, ring.take(&mut load)).await {
                        self.take(&load).await?;
                    }
                    self.compare(&remembered).await?;
                }
            }
            self.declare_gap().await?;
        }
        self.intake.declare_dropped(self.frames.origin()).await.map_err(journal_failed)?;
        // A panic in the reader is a bug that must not look like an engine that went away.
        if let Some(Err(error)) = reader.join_next().await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        Ok(())
    }

    async fn take(&mut self, load: &Load<u64>) -> Result<(), SetupError> {
        let mut weight = Weight::default();
        for (bytes_total, frame) in load.frames() {
            if bytes_total > 0 {
                self.intake.take_oversize(&mut self.frames, frame, bytes_total);
            } else if !self.take_event(frame) {
                continue;
            }
            weight.add(frame.len());
            if weight.is_full() {
                weight.clear();
                self.append().await?;
            }
        }
        self.append().await?;
        if let Some(dropped) = load.dropped {
            let gap = dropped.gap("the engine sent faster than events could be stored");
            self.intake.declare(self.frames.origin(), &gap).await.map_err(journal_failed)?;
        }
        Ok(())
    }

    /// Takes in what the engine remembers and never sent.
    async fn compare(&mut self, remembered: &Remembered) -> Result<(), SetupError> {
        static FAILED: Throttle = Throttle::new();
        let engine = self.place;
        let events = match self.memory.missed(remembered) {
            Ok(events) => events,
            Err(error) => {
                if let Some(times) = FAILED.speak() {
                    tracing::warn!(%engine, %error, times, "it is not known whether the engine has sent all events");
                }
                return Ok(());
            }
        };
        let (mut missed, mut weight) = (0, Weight::default());
        for (event, facts) in events {
            // Of one that is too long the stream brought the head; an earlier run may have taken one in.
            if event.len() > EVENT_BYTES_MAX || self.resume.has_seen(facts) {
                continue;
            }
            self.resume.note(facts);
            missed += u64::from(self.add(event, Glance::of(event)));
            weight.add(event.len());
            if weight.is_full() {
                weight.clear();
                self.append().await?;
            }
        }
        self.append().await?;
        if missed > 0 {
            tracing::warn!(%engine, missed, "the engine has not sent events that it remembers: they are taken in now");
        }
        Ok(())
    }

    /// Adds an event to the batch; false if it was seen before or is not wanted.
    fn take_event(&mut self, event: &[u8]) -> bool {
        let glance = Glance::of(event);
        let facts = Facts::of(event, glance.as_ref());
        let is_known = self.memory.knows(facts);
        self.resume.is_new(facts) && !is_known && self.add(event, glance)
    }

    /// Adds an event that was not seen before; false if it is not wanted.
    fn add(&mut self, event: &[u8], glance: Option<Glance<'_>>) -> bool {
        let Some(glance) = glance.filter(Glance::is_of_container) else {
            self.intake.take(&mut self.frames, event);
            return true;
        };
        if self.is_unwanted(&glance, event) {
            self.has_moved = true;
            self.intake.exclude(1);
            return false;
        }
        let place = self.frames.len();
        let labels = glance.has_claims().then(|| locked(&self.known).labels(glance.id())).flatten();
        match labels {
            Some(labels) => self.intake.take_and(&mut self.frames, event, |event| labels.judge(event)),
            None => self.intake.take(&mut self.frames, event),
        }
        if let Some(looks) = &mut self.looks {
            looks.note(&glance, place, &self.intake, &mut self.frames);
        }
        if let Some(logs) = &mut self.logs {
            logs.note(&glance);
        }
        true
    }

    /// Whether an event of a container is to be left out. Learns what it says of labels.
    fn is_unwanted(&mut self, glance: &Glance<'_>, event: &[u8]) -> bool {
        let is_beginning = matches!(glance.action(), "create" | "start");
        let may_be_check = self.without_health_checks && glance.action().starts_with("exec_");
        if !is_beginning && !may_be_check && self.selection.is_empty() {
            return false;
        }
        let Some(attributes) = Attributes::of(event) else { return false };
        if is_beginning {
            // The engine says nothing by these names when a container begins: whatever does is a label.
            let labels = Labels::named(attributes.labels().map(|(name, _)| name));
            locked(&self.known).has_labels(glance.id(), labels);
        }
        self.selection.leaves_out(&attributes)
            || may_be_check && locked(&self.known).is_health_check(glance, &attributes)
    }

    async fn append(&mut self) -> Result<(), SetupError> {
        if self.frames.is_empty() && !self.has_moved {
            return Ok(());
        }
        self.has_moved = false;
        self.intake.mark(&mut self.frames, POSITION, &self.resume.position());
        self.intake.append_or_drop(&mut self.frames).await.map_err(journal_failed)?;
        if let Some(looks) = &mut self.looks {
            looks.stored(&self.intake, &self.frames);
            looks.try_running();
        }
        if let Some(logs) = &mut self.logs {
            logs.try_list();
        }
        Ok(())
    }

    async fn declare_gap(&mut self) -> Result<(), SetupError> {
        let Some(cause) = self.resume.take_gap() else { return Ok(()) };
        if let Some(looks) = &mut self.looks {
            looks.ask_for_running();
        }
        if let Some(logs) = &mut self.logs {
            logs.list();
        }
        snapshot::owe(&self.intake, &self.frames, cause, &self.owed).await
    }
}

/// The same origin with the address that was connected to.
pub(super) fn at(origin: &Origin, peer: Option<IpAddr>) -> Origin {
    Origin { address: peer, ..origin.clone() }
}

/// RFC 7464: in `application/json-seq` a record separator precedes each text.
pub(super) fn event(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\x1e").unwrap_or(line)
}

/// Moves what the engine sends into the ring, one event a line, and does nothing else. The word
/// about a frame is 0, or the length of an event of which only the head is kept.
async fn read(mut stream: EventStream, ring: Arc<Ring<u64>>, stop: CancellationToken) {
    let mut lines = Lines::new(EVENT_BYTES_MAX);
    let mut held: Vec<u8> = Vec::new();
    loop {
        let piece = tokio::select! {
            () = stop.cancelled() => break,
            piece = stream.next() => piece,
        };
        let Some(piece) = piece else { break };
        held.extend_from_slice(&piece);
        let done = lines.cut(&held, |line| {
            match line {
                Line::Whole(line) => ring.push(0, event(line)),
                Line::Oversize(head, bytes_total) => ring.push(bytes_total, head),
            }
            true
        });
        held.drain(..done);
    }
    ring.close();
}
