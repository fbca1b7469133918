//! What the sources that speak HTTP have in common: a connection and its limits, and events on their way to disk
//! before a request is answered.
//!
//! Invariant: a request is answered after its events are on disk, also while the gateway stops.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::accept::Accepted;
use super::journal_failed;
use super::lines::HEAD_BYTES;
use super::weight::Weight;
use crate::intake::{AppendError, Frames, Intake};
use crate::part::SetupError;

/// A client must have sent the head of a request by then; an idle connection is closed as well.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// Room for the head of a request.
const REQUEST_HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// After so many seconds a client should ask again.
pub(super) const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// One connection's way into the gateway.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) intake: Intake,
    event_bytes_max: usize,
    /// The journal cannot store any more.
    failed: CancellationToken,
}

/// Why events are not on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unstored {
    /// There is no room now. The client sends it all again; what was stored of it is stored twice.
    Full,
    Failed,
}

impl Desk {
    pub(super) fn new(intake: Intake, event_bytes_max: usize) -> Self {
        Desk { intake, event_bytes_max, failed: CancellationToken::new() }
    }

    /// Answers the requests of a connection, until it ends or `stop`; a request that is being taken in is answered.
    ///
    /// # Errors
    /// The journal cannot store.
    pub(super) async fn serve<F>(
        self,
        accepted: Accepted,
        stop: &CancellationToken,
        respond: impl Fn(Request<Incoming>) -> F,
    ) -> Result<(), SetupError>
    where
        F: Future<Output = Response<Full<Bytes>>>,
    {
        let Accepted { stream, address, .. } = accepted;
        let service = service_fn(|request| {
            let response = respond(request);
            async { Ok::<_, Infallible>(response.await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(REQUEST_HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "connection ended");
        }
        if self.failed.is_cancelled() {
            return Err(journal_failed("it cannot store; the log says why"));
        }
        Ok(())
    }

    /// Takes an event in; of one over the limit the first bytes are kept.
    pub(super) fn take(&self, frames: &mut Frames, event: &[u8]) {
        match event.get(..self.event_bytes_max) {
            Some(head) if head.len() < event.len() => {
                let head = &head[..head.len().min(HEAD_BYTES)];
                self.intake.take_oversize(frames, head, event.len() as u64);
            }
            _ => self.intake.take(frames, event),
        }
    }

    /// Appends in pieces: a request can be larger than what the journal takes at once.
    ///
    /// # Errors
    /// Not all of them are on disk: the client must not be told so.
    pub(super) async fn store(
        &self,
        frames: &mut Frames,
        events: Vec<&[u8]>,
        mut take: impl FnMut(&mut Frames, &[u8]),
    ) -> Result<(), Unstored> {
        let mut weight = Weight::default();
        let last = events.len().saturating_sub(1);
        for (at, event) in events.into_iter().enumerate() {
            take(frames, event);
            weight.add(event.len());
            if !weight.is_full() && at < last {
                continue;
            }
            weight.clear();
            match self.intake.try_append(frames).await {
                Ok(()) => {}
                Err(AppendError::Full { .. }) => return Err(Unstored::Full),
                Err(error) => {
                    tracing::error!(%error, "cannot append to the journal");
                    self.failed.cancel();
                    return Err(Unstored::Failed);
                }
            }
        }
        Ok(())
    }
}

/// An answer with status 200.
pub(super) fn json(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
