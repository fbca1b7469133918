//! The receivers of one sink: the first that stands is sent to, and the preferred one again when it is back.
//!
//! Invariant: what the one before may have lost is settled before another one is sent anything new.

use std::io;

use tokio::time::timeout;

use super::SyslogConfig;
use super::connection::{Connection, OpenError, Target};
use crate::sinks::Outcome;
use crate::sinks::turns::Turns;
use crate::tls::ClientTls;

pub(super) struct Targets {
    all: Vec<Target>,
    turns: Turns,
    /// The one that is connected, or was.
    at: usize,
    tls: ClientTls,
}

impl Targets {
    /// At least one.
    pub(super) fn new(sink: &str, all: Vec<Target>, tls: ClientTls) -> Targets {
        Targets { turns: Turns::new(sink, all.len()), all, at: 0, tls }
    }

    /// The one that is connected, or was.
    pub(super) fn current(&self) -> &Target {
        &self.all[self.at]
    }

    /// The one to connect to now.
    pub(super) fn next(&self) -> usize {
        self.turns.preferred()
    }

    /// One that is preferred to the one that is connected, if it may be back.
    pub(super) fn better(&self) -> Option<usize> {
        Some(self.turns.preferred()).filter(|at| *at < self.at)
    }

    /// It failed. True if there is another one to try at once.
    pub(super) fn leave_out(&mut self, at: usize, reason: &str) -> bool {
        let target = &self.all[at];
        self.turns.leave_out(at, || target.to_string(), reason)
    }

    /// The one that is connected failed. True if there is another one to try at once.
    pub(super) fn leave_out_current(&mut self, reason: &str) -> bool {
        self.leave_out(self.at, reason)
    }

    /// The one that is connected has taken a request. That it was reached says nothing: one that takes nothing is
    /// left out for longer and longer.
    pub(super) fn delivered(&mut self) {
        let target = &self.all[self.at];
        self.turns.stands(self.at, || target.to_string());
    }

    /// A connection to that one, made ready by `begin`.
    pub(super) async fn connect<T, F>(
        &self,
        at: usize,
        config: &SyslogConfig,
        begin: impl FnOnce(Connection) -> F + Send,
    ) -> Result<T, Outcome>
    where
        F: Future<Output = Result<T, Begun>> + Send,
    {
        let target = &self.all[at];
        let open = async {
            let connection = Connection::open(target, &self.tls, config).await?;
            begin(connection).await
        };
        let retry = |reason| Err(Outcome::Retry { after: None, reason });
        match timeout(config.connect_timeout.get(), open).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(Begun::Refused(reason))) => Err(Outcome::Fatal { reason: format!("{target} {reason}") }),
            Ok(Err(Begun::Open(OpenError::Setup(error)))) => Err(Outcome::Fatal { reason: error.to_string() }),
            Ok(Err(Begun::Open(OpenError::Peer(error)))) => retry(format!("cannot reach {target}: {error}")),
            Err(_) => retry(format!("{target} does not answer within {}", config.connect_timeout)),
        }
    }

    /// The place of the one that is connected, or was.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// From now on that one is connected.
    pub(super) fn move_to(&mut self, at: usize) {
        self.at = at;
    }
}

/// Why a connection is not ready.
pub(super) enum Begun {
    Open(OpenError),
    /// The receiver says so.
    Refused(String),
}

impl From<OpenError> for Begun {
    fn from(error: OpenError) -> Self {
        Begun::Open(error)
    }
}

impl From<io::Error> for Begun {
    fn from(error: io::Error) -> Self {
        Begun::Open(OpenError::Peer(error))
    }
}
