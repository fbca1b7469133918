//! Sink `splunk_hec`: requests to a Splunk HTTP Event Collector, or anything that speaks its protocol.
//!
//! Invariant: only an answer with HEC's own code of success counts as delivered.

mod answer;
mod envelope;

use std::io::Write;
use std::time::Duration;

use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use wharfinger_formats::Event;

use self::answer::{Verdict, judge, retry_after};
use self::envelope::Envelope;
use super::emitter::Emitter;
use super::{Limits, Outcome, Push, Refused, Sink, SinkConfig};
use crate::part::{ByteSize, Interval, Kind, PartContext, Problem, Secret, SetupError};
use crate::tls::ClientTls;

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "splunk_hec",
    about: "Splunk HTTP Event Collector",
    schema: || schemars::schema_for!(SplunkHecConfig),
    read: |options| Ok(Box::new(erased_serde::deserialize::<SplunkHecConfig>(options)?)),
};

/// Splunk HTTP Event Collector.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplunkHecConfig {
    /// The collector: `https://splunk.example:8088`. The path is `/services/collector/event` unless it
    /// is written.
    pub endpoint: String,
    /// The token.
    pub token: Secret,
    /// The index; the token's default index unless it is written.
    #[serde(default)]
    pub index: Option<String>,
    /// The source; unless it is written, the name of the gateway's source.
    #[serde(default)]
    pub source: Option<String>,
    /// The source type.
    #[serde(default = "sourcetype")]
    pub sourcetype: String,
    /// What `event` holds: with `json` the event as an object, else one record as text.
    #[serde(default = "Emitter::native")]
    #[schemars(schema_with = "formats_inside")]
    pub format: Emitter,
    /// How requests are compressed.
    #[serde(default)]
    pub compression: Compress,
    /// Certificates; unless they are written, the operating system's authorities are trusted.
    #[serde(default)]
    pub tls: ClientTls,
    /// The largest request before compression; the limit of Splunk Cloud is 1 MB.
    #[serde(default = "max_bytes")]
    pub max_bytes: ByteSize,
    /// The most events in a request.
    #[serde(default = "max_events")]
    pub max_events: usize,
    /// How long an event may wait for others. `0s`: what is there is sent at once.
    #[serde(default = "max_age")]
    pub max_age: Interval,
    /// How long an answer may take.
    #[serde(default = "timeout")]
    pub timeout: Interval,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compress {
    #[default]
    Gzip,
    None,
}

fn sourcetype() -> String {
    "wharfinger:container:event".to_owned()
}
const fn max_bytes() -> ByteSize {
    ByteSize::bytes(1_000_000)
}
const fn max_events() -> usize {
    10_000
}
const fn max_age() -> Interval {
    Interval::seconds(0)
}
const fn timeout() -> Interval {
    Interval::seconds(60)
}

/// The format that is an envelope itself.
const ENVELOPE: &str = "hec";

/// What `event` can hold: any format but an envelope.
fn formats_inside(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = Emitter::names().filter(|name| *name != ENVELOPE).collect();
    json_schema!({ "type": "string", "enum": names })
}

/// So much of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;
/// A peer that finds requests too large is never sent fewer bytes than this at once.
const SMALLEST_REQUEST: usize = 16 * 1024;

impl SplunkHecConfig {
    fn url(&self) -> Result<Url, String> {
        let mut url = Url::parse(&self.endpoint).map_err(|error| format!("`{}` is no URL: {error}", self.endpoint))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(format!("`{}` is no http or https URL", self.endpoint));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err("the token belongs into `token:`, not into the URL".to_owned());
        }
        if url.path() == "/" {
            url.set_path("/services/collector/event");
        }
        Ok(url)
    }
}

impl SinkConfig for SplunkHecConfig {
    fn check(&self) -> Vec<Problem> {
        let mut problems = self.tls.problems();
        problems.extend(self.token.problem("token"));
        if let Err(message) = self.url() {
            let hint = "write the collector's address: `https://splunk.example:8088`".to_owned();
            problems.push(Problem { option: "endpoint", message, hint });
        }
        if self.format.name() == ENVELOPE {
            let message = "the sink writes the envelope: `event` would hold another one".to_owned();
            problems.push(Problem { option: "format", message, hint: "leave the option out for `json`".to_owned() });
        }
        if self.max_events == 0 || self.max_bytes.get() == 0 {
            let option = if self.max_events == 0 { "max_events" } else { "max_bytes" };
            problems.push(Problem {
                option,
                message: "a request must be able to hold an event".to_owned(),
                hint: "leave the option out for the default".to_owned(),
            });
        }
        problems
    }

    fn open(&self, context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        let url = self.url().map_err(|cause| SetupError::new("cannot use `endpoint`", cause))?;
        let tls = if url.scheme() == "https" { self.tls.client_config()? } else { ClientTls::trusting_nobody()? };
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(60))
            .no_gzip()
            .connect_timeout(Duration::from_secs(10))
            .timeout(self.timeout.get())
            .build();
        let client = client.map_err(|error| SetupError::new("cannot make an HTTP client", error))?;
        let source = self.source.as_deref();
        let index = self.index.as_deref();
        Ok(Box::new(SplunkHec {
            envelope: Envelope::new(self.format, &context.hostname, source, &self.sourcetype, index),
            bytes_max: self.max_bytes.as_usize(),
            url,
            client,
            config: self.clone(),
            authorization: None,
            request: Vec::new(),
            events: 0,
        }))
    }
}

struct SplunkHec {
    config: SplunkHecConfig,
    envelope: Envelope,
    url: Url,
    client: Client,
    /// `Splunk <token>`; absent until it is needed, and again after the token was refused.
    authorization: Option<HeaderValue>,
    /// Lowered when the peer finds requests too large.
    bytes_max: usize,
    /// Envelopes, one after the other.
    request: Vec<u8>,
    events: usize,
}

impl SplunkHec {
    fn authorization(&mut self) -> Result<HeaderValue, String> {
        if let Some(authorization) = &self.authorization {
            return Ok(authorization.clone());
        }
        let token = self.config.token.read().map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(format!("Splunk {token}"));
        let mut value = value.map_err(|_| "the token holds characters that no header can hold".to_owned())?;
        value.set_sensitive(true);
        Ok(self.authorization.insert(value).clone())
    }

    /// The body, compressed if wanted. The memory of the request is kept when it was compressed.
    fn body(&mut self) -> std::io::Result<Vec<u8>> {
        if self.config.compression == Compress::None {
            return Ok(std::mem::take(&mut self.request));
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(self.request.len() / 4), Compression::fast());
        encoder.write_all(&self.request)?;
        encoder.finish()
    }

    async fn send(&mut self) -> Verdict {
        let retry = |reason| Verdict::Outcome(Outcome::Retry { after: None, reason });
        let authorization = match self.authorization() {
            Ok(authorization) => authorization,
            Err(reason) => return Verdict::TokenRefused(Outcome::Fatal { reason }),
        };
        let body = match self.body() {
            Ok(body) => body,
            Err(error) => return retry(format!("the request cannot be compressed: {error}")),
        };
        let mut request = self.client.post(self.url.clone()).header(AUTHORIZATION, authorization);
        request = request.header(CONTENT_TYPE, "application/json");
        if self.config.compression == Compress::Gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let response = match request.body(body).send().await {
            Ok(response) => response,
            Err(error) => return retry(describe(&error)),
        };
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        match read_start(response).await {
            Ok(body) => judge(status, after, &body),
            Err(error) => retry(describe(&error)),
        }
    }
}

#[async_trait]
impl Sink for SplunkHec {
    fn limits(&self) -> Limits {
        Limits { events_max: self.config.max_events, bytes_max: self.bytes_max, age_max: self.config.max_age.get() }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        let before = self.request.len();
        self.envelope.write(event, &mut self.request);
        if before > 0 && self.request.len() > self.bytes_max {
            self.request.truncate(before);
            return Ok(Push::Full);
        }
        // A single event that is larger is tried: the peer knows its own limit.
        self.events += 1;
        Ok(Push::Taken { bytes: self.request.len() })
    }

    async fn deliver(&mut self) -> Outcome {
        let (bytes, events) = (self.request.len(), self.events);
        let verdict = self.send().await;
        self.clear();
        match verdict {
            Verdict::Outcome(outcome) => outcome,
            Verdict::TokenRefused(outcome) => {
                self.authorization = None;
                outcome
            }
            Verdict::TooLarge(outcome) => {
                if events > 1 {
                    self.bytes_max = (bytes / 2).max(SMALLEST_REQUEST).min(self.bytes_max);
                }
                outcome
            }
        }
    }

    fn clear(&mut self) {
        self.request.clear();
        self.events = 0;
    }
}

/// The start of the body; the rest is not waited for.
async fn read_start(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        let room = ANSWER_BYTES - body.len();
        body.extend_from_slice(&part[..part.len().min(room)]);
        if body.len() == ANSWER_BYTES {
            break;
        }
    }
    Ok(body)
}

/// The error with its causes, without the URL.
pub(super) fn describe(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "the request failed".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> SplunkHecConfig {
        let options = serde_json::json!({ "endpoint": endpoint, "token": "00000000-0000-0000-0000-000000000000" });
        serde_json::from_value(options).unwrap()
    }

    #[test]
    fn endpoints() {
        for (endpoint, expected) in [
            ("https://splunk:8088", Some("https://splunk:8088/services/collector/event")),
            ("http://127.0.0.1:8088/", Some("http://127.0.0.1:8088/services/collector/event")),
            ("https://lb.example/hec/services/collector", Some("https://lb.example/hec/services/collector")),
            ("splunk:8088", None),
            ("https://u:secret@splunk:8088", None),
            ("https://splunk:8088/?token=x", None),
        ] {
            let url = config(endpoint).url();
            assert_eq!(url.as_ref().map(Url::as_str).ok(), expected, "{endpoint}");
            assert_eq!(config(endpoint).check().is_empty(), expected.is_some());
        }
    }

    #[test]
    fn a_wrong_option_is_named() {
        let options = serde_json::json!({ "endpoint": "https://a", "token": "t", "indx": "main" });
        let error = serde_json::from_value::<SplunkHecConfig>(options).unwrap_err().to_string();
        assert!(error.contains("`indx`") && error.contains("`index`"), "{error}");
    }
}
