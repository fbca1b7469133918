//! Sources: the first leg of an event's way: **source → frame** → parse → identify → judge → journal.
//!
//! A source gets bytes from outside, cuts them into frames and hands them to [`Intake`]. It answers
//! its peer (HTTP 200, saved position) only after [`Intake::append`] returned.
//!
//! Invariant: no source touches the journal or a sink, or holds more than one batch per connection.

mod accept;
mod arrivals;
pub(crate) mod body;
mod docker;
mod file;
mod fill;
pub(crate) mod forward;
mod gelf;
mod hec;
mod inflate;
mod journald;
mod lines;
mod loginsight;
mod options;
pub(crate) mod proxy;
mod ring;
mod stdin;
mod syslog;
mod throttle;
mod udp;
mod unix;
mod web;
mod weight;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::intake::Intake;
use crate::part::{Kind, Listening, PartContext, Problem, SetupError};

/// The options of a source, as read.
pub trait SourceConfig: std::fmt::Debug + Send + Sync {
    /// What is wrong with the options on this machine; touches no network.
    fn check(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Addresses it is going to listen on, so that two parts with the same one are found.
    fn listens(&self) -> Vec<Listening> {
        Vec::new()
    }

    /// Opens listeners and files, so that a mistake shows at start.
    ///
    /// # Errors
    /// The source cannot start: address in use, certificate unreadable.
    fn open(&self, context: &PartContext) -> Result<Box<dyn Source>, SetupError>;
}

/// A place events come from.
#[async_trait]
pub trait Source: Send {
    /// What it listens on or reads, one line each, with the real port: `tcp 127.0.0.1:5514`.
    fn endpoints(&self) -> Vec<String>;

    /// Works until `stop`, then finishes what it has taken in and returns. A source that returns
    /// before has come to its end (a pipe was closed): the gateway drains and ends.
    ///
    /// # Errors
    /// The source cannot go on by itself; the gateway ends.
    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError>;
}

/// Every source. Help texts, the configuration reference and tests are made from this table.
pub const SOURCES: &[Kind<dyn SourceConfig>] = &[
    docker::KIND,
    file::KIND,
    forward::KIND,
    gelf::KIND,
    hec::KIND,
    journald::KIND,
    loginsight::KIND,
    stdin::KIND,
    syslog::KIND,
];

/// What a source ends with when nothing can be taken in any more.
fn journal_failed(error: impl std::fmt::Display) -> SetupError {
    SetupError::new("cannot append to the journal", error)
}
