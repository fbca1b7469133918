//! Sinks: the last leg of an event's way: journal → select → emit → batch → **deliver** → cursor.
//!
//! A sink turns events into a request and the peer's answer into an [`Outcome`]. [`drive()`] owns
//! everything else: reading, limits, retry with backoff, splitting off what is refused, the cursor.
//!
//! Invariant: no sink loops over retries or touches a cursor.

pub mod archive;
mod compress;
mod drain;
mod drive;
mod emitter;
mod event_id;
mod feed;
pub mod file;
pub mod http;
mod loss;
mod missing;
pub mod quarantine;
pub mod quarantined;
pub mod receipts;
pub mod redact;
mod request;
#[cfg(feature = "s3")]
pub mod s3;
mod settings;
pub mod splunk_hec;
mod stats;
pub mod stdout;
pub mod syslog;
mod template;
mod turns;
pub mod wazuh;
mod web;

use std::time::Duration;

use async_trait::async_trait;
use wharfinger_formats::{Event, Time};

use crate::archive::OpenStore;
use crate::journal::Position;
use crate::part::{Kind, PartContext, Problem, SetupError};

pub use drive::drive;
pub use event_id::EventId;
pub use feed::Feed;
pub use loss::{Declare, Loss, LossCause};
pub use settings::Settings;
pub use stats::{SinkState, SinkStats};

/// How much a request may hold before it is delivered.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub events_max: usize,
    pub bytes_max: usize,
    /// How long the first event of a request may wait for company. Zero: deliver what is there.
    pub age_max: Duration,
}

/// What became of an event that was to join the request under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It is in; the request now holds so many bytes.
    Taken { bytes: usize },
    /// It does not fit beside the events already there: deliver them, then push it again.
    Full,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has it all.
    Delivered,
    /// The peer has it all and asks for a pause before the next request.
    Crowded { pause: Duration },
    /// Not now: the same events again, after `after` if the peer said so, else by backoff. What was
    /// delivered before is not concerned, unless [`Sink::in_doubt`] then says that it is lost.
    Retry { after: Option<Duration>, reason: String },
    /// Refused for good. `which` is the index of the event in the request, when the peer told.
    Reject { which: Option<usize>, reason: String },
    /// The configuration is wrong (bad token, no such bucket): keep everything, alarm, try again slowly.
    Fatal { reason: String },
}

/// Why a sink never gets a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// It is in quarantine.
    Quarantined,
    /// The journal has lost it, or this sink gave it up.
    Lost,
}

/// One event cannot be put into a request: it goes to quarantine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Requests that counted as delivered are lost on the way: the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// The options of a sink, as read.
pub trait SinkConfig: std::fmt::Debug + Send + Sync {
    /// What is wrong with the options on this machine; touches no network.
    fn check(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Prepares clients, certificates and files; a peer that is down is no error.
    ///
    /// # Errors
    /// The sink cannot start: certificate unreadable, folder missing.
    fn open(&self, context: &PartContext) -> Result<Box<dyn Sink>, SetupError>;

    /// Where what it has can be read again, if it is an archive.
    fn archive(&self) -> Option<Result<OpenStore, SetupError>> {
        None
    }

    /// Whether what it has is evidence: no rule of `redact` takes anything out of that.
    fn is_evidence(&self) -> bool {
        false
    }

    /// Ends for good what this sink has written while no gateway runs; none if its kind knows no end.
    fn end(&self, _context: &PartContext, _reason: &str, _now: Time) -> Option<Result<Ended, SetupError>> {
        None
    }
}

/// The end of what a sink has written.
#[derive(Debug)]
pub struct Ended {
    /// What proves it, to be kept elsewhere.
    pub proof: String,
    /// Why somebody who is to vouch for it has not, each in a sentence.
    pub not_vouched: Vec<String>,
}

/// A place events go to.
#[async_trait]
pub trait Sink: Send {
    /// Asked before each request: a sink may lower them when its peer finds requests too large.
    fn limits(&self) -> Limits;

    /// Adds one event to the request under construction.
    ///
    /// # Errors
    /// This event can never be delivered here.
    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused>;

    /// Delivers the request and forgets it, whatever the outcome: `drive` pushes again what is to
    /// be tried again. May be dropped before it ends.
    async fn deliver(&mut self) -> Outcome;

    /// What the peer answered to the request that was just delivered, for the receipts.
    fn answer(&mut self) -> receipts::Answer {
        Vec::new()
    }

    /// Forgets the request under construction.
    fn clear(&mut self);

    /// Records that this sink will never get: those before the next one that is pushed, or among those
    /// already in the request. May be said of the same record again.
    fn passed_over(&mut self, _range: (Position, Position), _why: Absent) {}

    /// How many of the latest delivered requests the peer may still lose. Plain syslog has no
    /// receipt, and a HEC acknowledges later; the cursor stays behind those. Asked after each delivery,
    /// taken or not, and every second.
    ///
    /// # Errors
    /// They are lost (the connection was reset): `drive` pushes them again from the journal. Said once.
    fn in_doubt(&mut self) -> Result<usize, Lost> {
        Ok(0)
    }

    /// Says goodbye (TLS close_notify, last flush). Called once, after the last `deliver`. True when
    /// the peer has everything that was delivered.
    async fn close(&mut self) -> bool {
        true
    }
}

/// Every sink. Help texts, the configuration reference and tests are made from this table.
pub const SINKS: &[Kind<dyn SinkConfig>] = &[
    archive::KIND,
    file::KIND,
    http::KIND,
    #[cfg(feature = "s3")]
    s3::KIND,
    splunk_hec::KIND,
    stdout::KIND,
    syslog::KIND,
    wazuh::KIND,
];
