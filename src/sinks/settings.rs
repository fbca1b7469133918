//! What [`drive`](super::drive()) is told about a sink.
//!
//! Invariant: every wait and every file has a limit.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use wharfinger_formats::{Event, Field};

use super::loss::{Declare, Loss};
use super::receipts::Keep;
use super::redact::{Counts, Redactor};
use super::{Push, Refused, Sink};
use crate::filter::Filter;

/// Ends when a loss is declared, or says why it is not.
pub(super) type Declared = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What `drive` is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The sink's name in the configuration.
    pub name: Arc<str>,
    /// Folder of the quarantine files.
    pub quarantine_dir: PathBuf,
    /// Cap of this sink's quarantine file.
    pub quarantine_bytes_max: u64,
    /// Which events it is sent; see [`Settings::wants`].
    pub when: Filter,
    /// What takes secrets out of events before the sink has them.
    pub redact: Option<Arc<Redactor>>,
    /// Where what the peer answers is written down.
    pub receipts: Option<Keep>,
    /// Who declares what this sink loses; without one it is only counted and logged.
    pub declare: Option<Arc<dyn Declare>>,
    /// How long what is left is delivered after `stop`.
    pub drain_max: Duration,
    /// The first wait after a request that was not taken; doubles up to `backoff_max`.
    pub backoff_min: Duration,
    /// The longest wait, and the wait after a configuration error.
    pub backoff_max: Duration,
}

impl Settings {
    /// The defaults of every option.
    pub fn new(name: &str, quarantine_dir: PathBuf) -> Settings {
        Settings {
            name: name.into(),
            quarantine_dir,
            quarantine_bytes_max: super::quarantine::BYTES_MAX,
            when: Filter::all(),
            redact: None,
            receipts: None,
            declare: None,
            drain_max: Duration::from_secs(8),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
        }
    }

    /// Declares a loss. Holds nothing of `self`: a sink cannot be looked at from two threads.
    pub(super) fn declare(&self, loss: Loss) -> Declared {
        let declare = self.declare.clone();
        Box::pin(async move {
            match declare {
                Some(declare) => declare.declare(loss).await,
                None => Ok(()),
            }
        })
    }

    /// Pushes an event as this sink may have it.
    pub(super) fn push(&self, sink: &mut dyn Sink, event: &Event<'_>, redacted: &mut Counts) -> Result<Push, Refused> {
        match &self.redact {
            Some(redactor) => redactor.push(sink, event, redacted),
            None => sink.push(event),
        }
    }

    /// Whether the event is for this sink.
    pub fn wants(&self, event: &Event<'_>) -> bool {
        match event.text(Field::ToSink) {
            Some(sink) => *sink == *self.name,
            None => self.when.sends(event),
        }
    }
}
