//! `docker`: the events of a Docker Engine, from its API.
//!
//! Way of an event here: engine → **reader** (a task that only reads) → ring → **resume** (was it
//! seen before?) → intake. Invariants: the reader waits for nothing but the engine, since a slow
//! reader slows the engine down and loses events unseen; whatever the engine no longer remembers
//! after a break is declared by a gap record; an engine that is away never ends the gateway.

mod client;
mod resume;

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::client::{Engine, EventStream};
use self::resume::{Facts, Resume};
use super::lines::{Line, Lines};
use super::options::{FormatName, Reading, Zone};
use super::ring::{Load, RING_BYTES, Ring};
use super::weight::Weight;
use super::{Source, SourceConfig, journal_failed};
use crate::intake::{Frames, Gap, Intake, Trust};
use crate::part::{Kind, PartContext, Problem, SetupError};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "docker",
    about: "Events of a Docker Engine, with resume and declared gaps",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// One event is at most this long; of a longer one the head is kept.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// When the engine is silent that long after a connection, it has sent all it remembered.
const REPLAY_QUIET: Duration = Duration::from_secs(2);

const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Under this name the position is stored.
const POSITION: &str = "events";

/// Events of a Docker Engine on this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The engine's socket, or better that of a proxy that lets only `GET /version` and
    /// `GET /events` pass: whoever may use the engine's own socket is root on this machine.
    /// Default: /var/run/docker.sock.
    socket: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Config { socket: "/var/run/docker.sock".into() }
    }
}

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        // An engine that is not there yet is no mistake; a path to something else is one.
        if std::fs::metadata(&self.socket).is_ok_and(|found| !found.file_type().is_socket()) {
            let message = format!("`{}` is not a socket", self.socket.display());
            let hint = "Docker's socket is usually `/var/run/docker.sock`".to_owned();
            return vec![Problem { option: "socket", message, hint }];
        }
        Vec::new()
    }

    fn open(&self, _: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        Ok(Box::new(Docker { socket: self.socket.clone() }))
    }
}

struct Docker {
    socket: PathBuf,
}

#[async_trait]
impl Source for Docker {
    fn endpoints(&self) -> Vec<String> {
        vec![format!("docker {}", self.socket.display())]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        tracing::warn!(
            socket = %self.socket.display(),
            "whoever may use the engine's socket is root on this machine: consider a proxy that filters calls"
        );
        let reading = Reading { format: FormatName::only("docker_events"), zone: Zone::default(), trust: Trust::Local };
        let frames = intake.frames(reading.origin(&self.socket.to_string_lossy()));
        let resume = Resume::from_position(intake.marked(POSITION).as_deref());
        let mut session = Session { intake, frames, resume, socket: &self.socket, complained: None };
        let mut backoff = BACKOFF_MIN;
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                stream = session.connect() => stream,
            };
            if let Some(stream) = stream {
                backoff = BACKOFF_MIN;
                session.follow(stream, &stop).await?;
            }
            let pause = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
            backoff = (backoff * 2).min(BACKOFF_MAX);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

struct Session<'s> {
    intake: Intake,
    frames: Frames,
    resume: Resume,
    socket: &'s Path,
    /// The last complaint, so that an engine that is away is reported once.
    complained: Option<String>,
}

impl Session<'_> {
    /// Asks for the events since the last one seen.
    async fn connect(&mut self) -> Option<EventStream> {
        let since = self.resume.since();
        let connected = async { Engine::connect(self.socket).await?.events(&since).await }.await;
        match connected {
            Ok(stream) => {
                self.complained = None;
                tracing::info!(socket = %self.socket.display(), api = stream.api, "connected to the engine");
                Some(stream)
            }
            Err(error) => {
                let complaint = error.to_string();
                if self.complained.as_ref() != Some(&complaint) {
                    let socket = self.socket.display();
                    tracing::warn!(%socket, error = complaint, "no events until the engine can be reached; trying on");
                    self.complained = Some(complaint);
                }
                None
            }
        }
    }

    /// Takes in events until the engine closes the stream, or `stop`.
    async fn follow(&mut self, stream: EventStream, stop: &CancellationToken) -> Result<(), SetupError> {
        self.resume.connected(stream.asked_at);
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
            } else if self.resume.is_new(Facts::of(frame)) {
                self.intake.take(&mut self.frames, frame);
            } else {
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

    async fn append(&mut self) -> Result<(), SetupError> {
        if self.frames.is_empty() {
            return Ok(());
        }
        self.intake.mark(&mut self.frames, POSITION, &self.resume.position());
        self.intake.append_or_drop(&mut self.frames).await.map(drop).map_err(journal_failed)
    }

    async fn declare_gap(&mut self) -> Result<(), SetupError> {
        let Some(cause) = self.resume.take_gap() else { return Ok(()) };
        self.intake.declare(self.frames.origin(), &Gap::unknown(cause)).await.map_err(journal_failed)
    }
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
                // RFC 7464: in `application/json-seq` a record separator precedes each text.
                Line::Whole(event) => ring.push(0, event.strip_prefix(b"\x1e").unwrap_or(event)),
                Line::Oversize(head, bytes_total) => ring.push(bytes_total, head),
            }
            true
        });
        held.drain(..done);
    }
    ring.close();
}
