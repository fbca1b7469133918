//! What sinks that speak HTTP have in common: a client that follows renewed certificates, the start of an
//! answer, and what a status says where the body does not.
//!
//! Invariant: of what a peer answers no more is kept than a fixed number of bytes, and no redirect is followed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, redirect};

use crate::part::SetupError;
use crate::tls::{ClientTls, Watch};

/// So much of an answer is read.
pub(super) const ANSWER_BYTES: usize = 64 * 1024;
/// So much of a strange body is quoted.
const QUOTED_CHARS: usize = 120;

/// An HTTP client, made again when a file of its TLS settings changes.
#[derive(Debug)]
pub(super) struct Web {
    /// None: no peer is reached by TLS.
    tls: Option<ClientTls>,
    timeout: Duration,
    current: Mutex<(Client, Watch)>,
}

impl Web {
    /// A client for peers that are reached with `tls`, or without.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be.
    pub(super) fn new(tls: Option<ClientTls>, timeout: Duration) -> Result<Web, SetupError> {
        let files = tls.iter().flat_map(ClientTls::files).map(|(_, path)| path.clone());
        let watch = Watch::new(files.collect());
        let client = client(tls.as_ref(), timeout)?;
        Ok(Web { tls, timeout, current: Mutex::new((client, watch)) })
    }

    /// For the next request. A request that is under way goes on with the one it has.
    pub(super) fn client(&self) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1.has_changed() {
            match client(self.tls.as_ref(), self.timeout) {
                Ok(client) => {
                    current.0 = client;
                    tracing::info!("TLS files of a sink read again");
                }
                // Of certificate and key one may be new already: the other is still to come.
                Err(error) => tracing::warn!(%error, "new TLS files cannot be used; the old ones stay in force"),
            }
        }
        current.0.clone()
    }
}

fn client(tls: Option<&ClientTls>, timeout: Duration) -> Result<Client, SetupError> {
    let tls = tls.map_or_else(ClientTls::trusting_nobody, ClientTls::client_config)?;
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(60))
        .no_gzip()
        .connect_timeout(Duration::from_secs(10))
        .timeout(timeout)
        .build();
    client.map_err(|error| SetupError::new("cannot make an HTTP client", error))
}

/// The start of an answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// Reads the start of the body; the rest is not waited for.
    pub(super) async fn read(mut response: Response) -> Result<Reply, reqwest::Error> {
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await? {
            let room = ANSWER_BYTES - body.len();
            body.extend_from_slice(&part[..part.len().min(room)]);
            if body.len() == ANSWER_BYTES {
                break;
            }
        }
        Ok(Reply { status, after, body })
    }
}

/// What a status says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// 2xx: taken, if the body does not say otherwise.
    Taken,
    /// 401, 403: the credentials are wrong. They may be renewed where they stand.
    WrongCredentials,
    /// 413: perhaps of one event alone. Halving finds it.
    TooLarge,
    /// 400, 422: what was sent is wrong, says whoever answered.
    WrongEvents,
    /// 3xx, 404, 405, 415: a wrong port, path or proxy. Nothing is refused by what is not the receiver.
    WrongAddress,
    /// 408, 429, 5xx, and whatever is no answer to the question.
    NotNow,
}

impl Says {
    pub(super) fn of(status: u16) -> Says {
        match status {
            200..=299 => Says::Taken,
            401 | 403 => Says::WrongCredentials,
            413 => Says::TooLarge,
            400 | 422 => Says::WrongEvents,
            300..=399 | 404 | 405 | 415 => Says::WrongAddress,
            _ => Says::NotNow,
        }
    }
}

/// Retry-After in seconds; a date is left to the backoff.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

/// The start of a text from outside, without what could change how a terminal shows it.
pub(super) fn visible(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().take(QUOTED_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
