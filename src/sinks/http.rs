//! Sink `http`: requests to any HTTP receiver, with a body of the user's own shape.
//!
//! One mechanism for all of them: a template for an event, and what stands around events. docs/http.md has
//! templates for a number of products.
//!
//! Invariants: only a status of success, and what `answer` and `expect` ask for, counts as delivered. A receiver
//! that refuses whatever it is sent gets no more than [`REFUSED_MAX`] events refused.

mod answer;
mod body;
mod config;
mod credentials;
#[cfg(feature = "s3")]
mod sigv4;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::CONTENT_ENCODING;
use wharfinger_formats::Event;

use self::answer::{Verdict, judge};
use self::body::Body;
use self::credentials::Credentials;
use super::compress::{Compress, Compression};
use super::receipts::Answer as Said;
use super::web::{Reply, Way, Web};
use super::{Limits, Outcome, Push, Refused, Sink, SinkConfig};
use crate::part::{Kind, PartContext, Problem, SetupError, describe_http};

pub use self::config::{Answer, Auth, Basic, Batch, Hmac, HttpConfig, Method};

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "http",
    about: "Requests to any HTTP receiver: webhooks, Elasticsearch, Sentinel, Loggly, Slack; see docs/http.md",
    schema: || schemars::schema_for!(HttpConfig),
    read: |options| Ok(Box::new(erased_serde::deserialize::<HttpConfig>(options)?)),
};

/// A receiver that finds requests too large is never sent fewer bytes than this at once.
const SMALLEST_REQUEST: usize = 16 * 1024;
/// So many events in a row may be refused one by one while none is taken: then it is not about the events.
const REFUSED_MAX: u32 = 100;

impl SinkConfig for HttpConfig {
    fn check(&self) -> Vec<Problem> {
        self.problems()
    }

    fn open(&self, _context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        let failed = |(option, cause)| SetupError::new(format!("cannot use `{option}`"), cause);
        let credentials = Credentials::read(self).map_err(failed)?;
        let body = Body::new(self).map_err(|cause| failed(("event", cause)))?;
        // The scheme may change with the URL, the settings do not.
        let tls = (credentials.url.scheme() == "https" || self.tls.files().next().is_some()).then(|| self.tls.clone());
        Ok(Box::new(Http {
            web: Web::new(Way {
                tls,
                timeout: self.timeout.get(),
                proxy: self.proxy.clone(),
                allow_link_local: self.allow_link_local,
            })?,
            body,
            secret: credentials.secret.clone(),
            credentials: Some(credentials),
            bytes_max: self.max_bytes.as_usize(),
            refused: 0,
            request: Vec::new(),
            events: 0,
            answered: None,
            config: self.clone(),
        }))
    }
}

struct Http {
    config: HttpConfig,
    web: Web,
    body: Body,
    /// None: to be read before the next request.
    credentials: Option<Credentials>,
    /// What `{secret}` is in the request under construction.
    secret: String,
    /// Lowered when the receiver finds requests too large.
    bytes_max: usize,
    /// How many events were refused one by one since something was taken.
    refused: u32,
    request: Vec<u8>,
    events: usize,
    /// Who answered the last request, and with which status.
    answered: Option<(String, u16)>,
}

impl Http {
    /// What proves who we are, read again if it is old.
    fn credentials(&mut self) -> Result<&Credentials, Outcome> {
        let old = self.credentials.take();
        let credentials = match old.filter(|old| !old.is_old()) {
            Some(credentials) => credentials,
            None => Credentials::read(&self.config)
                .map_err(|(option, message)| Outcome::Fatal { reason: format!("`{option}`: {message}") })?,
        };
        self.secret.clone_from(&credentials.secret);
        Ok(self.credentials.insert(credentials))
    }

    async fn send(&mut self) -> Outcome {
        self.request.extend_from_slice(self.body.suffix().as_bytes());
        let method = match self.config.method {
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
        };
        let body: Bytes = match self.config.compression {
            Compress::None => self.request.clone().into(),
            Compress::Gzip => match Compression::Gzip.compress(&self.request) {
                Ok(body) => body.into(),
                Err(error) => {
                    return Outcome::Retry {
                        after: None,
                        reason: format!("the request cannot be compressed: {error}"),
                    };
                }
            },
        };
        let client = self.web.client();
        let is_gzip = self.config.compression == Compress::Gzip;
        let in_body = self.secret.clone();
        let credentials = match self.credentials() {
            Ok(credentials) => credentials,
            Err(outcome) => return outcome,
        };
        if credentials.secret != in_body {
            return again_with_renewed();
        }
        let headers = credentials.headers(method.as_str(), &body);
        let mut request = client.request(method, credentials.url.clone()).headers(headers);
        if is_gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let (peer, secrets) = (credentials.peer(), credentials.secrets());
        let reply = match request.body(body).send().await {
            Ok(response) => Reply::read(response).await,
            Err(error) => Err(error),
        };
        match reply {
            Ok(reply) => {
                self.answered = Some((peer, reply.status));
                let expect = self.config.expect.as_deref();
                self.judged(judge(&reply, self.events, self.config.answer, expect, &secrets))
            }
            Err(error) => Outcome::Retry { after: None, reason: format!("{peer}: {}", describe_http(&error)) },
        }
    }

    fn judged(&mut self, verdict: Verdict) -> Outcome {
        // A wrong key in the body may be answered as anything else that is wrong with a body.
        let is_body_refused = self.body.has_secret() && matches!(verdict, Verdict::WrongEvents { .. });
        if (is_body_refused || matches!(verdict, Verdict::Refused(_)))
            && let Some(again) = self.renewed()
        {
            return again;
        }
        match verdict {
            Verdict::Outcome(outcome) => {
                if outcome == Outcome::Delivered {
                    self.refused = 0;
                }
                outcome
            }
            Verdict::Refused(outcome) => outcome,
            Verdict::TooLarge(reason) if self.events > 1 => {
                self.bytes_max = (self.request.len() / 2).max(SMALLEST_REQUEST).min(self.bytes_max);
                Outcome::Reject { which: None, reason }
            }
            Verdict::TooLarge(reason) => self.refused(None, false, reason),
            Verdict::WrongEvents { which: None, reason, .. } if self.events > 1 => {
                Outcome::Reject { which: None, reason }
            }
            Verdict::WrongEvents { which, has_taken, reason } => self.refused(which, has_taken, reason),
        }
    }

    /// One event is refused, unless so many have been before it that it cannot be about the events.
    fn refused(&mut self, which: Option<usize>, has_taken: bool, reason: String) -> Outcome {
        self.refused = if has_taken { 1 } else { self.refused + 1 };
        if self.refused > REFUSED_MAX {
            self.refused = REFUSED_MAX;
            let reason = format!("{reason}, as {REFUSED_MAX} events before it: nothing more is refused");
            return Outcome::Fatal { reason };
        }
        Outcome::Reject { which: which.or(Some(0)), reason }
    }

    /// At once again, if the credentials that were refused have been renewed since they were read.
    fn renewed(&mut self) -> Option<Outcome> {
        let old = self.credentials.take()?;
        let new = Credentials::read(&self.config).ok()?;
        let is_renewed = new.differ(&old);
        self.secret.clone_from(&new.secret);
        self.credentials = Some(new);
        is_renewed.then(again_with_renewed)
    }
}

fn again_with_renewed() -> Outcome {
    let reason = "the credentials were renewed after the request was made".to_owned();
    Outcome::Retry { after: Some(Duration::ZERO), reason }
}

#[async_trait]
impl Sink for Http {
    fn limits(&self) -> Limits {
        Limits { events_max: self.config.events_max(), bytes_max: self.bytes_max, age_max: self.config.max_age.get() }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        if self.events == 0 && self.body.has_secret() {
            // What cannot be read is said when the request is sent.
            let _ = self.credentials();
        }
        let before = self.request.len();
        self.body.push(event, self.events == 0, &self.secret, &mut self.request);
        let bytes = self.request.len() + self.body.suffix().len();
        if self.events > 0 && bytes > self.bytes_max {
            self.request.truncate(before);
            return Ok(Push::Full);
        }
        // A single event that is larger is tried: the receiver knows its own limit.
        self.events += 1;
        Ok(Push::Taken { bytes })
    }

    async fn deliver(&mut self) -> Outcome {
        let outcome = self.send().await;
        self.clear();
        outcome
    }

    fn answer(&mut self) -> Said {
        let answered = self.answered.take().into_iter();
        answered.flat_map(|(peer, status)| [("peer", peer), ("status", status.to_string())]).collect()
    }

    fn clear(&mut self) {
        self.request.clear();
        self.events = 0;
    }
}
