//! The options of sink `http`.

use std::collections::BTreeMap;

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::credentials;
#[cfg(feature = "s3")]
use super::sigv4::Sigv4Config;
use crate::part::{ByteSize, Interval, Problem, Secret};
use crate::sinks::compress::Compress;
use crate::sinks::emitter::Emitter;
use crate::sinks::web::Proxy;
use crate::tls::ClientTls;

/// Requests to any HTTP receiver.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where requests go: `https://receiver.example/path`. Where it holds a token, write `{file: …}`.
    pub url: Secret,
    /// How they are sent.
    #[serde(default)]
    pub method: Method,
    /// Headers of every request, by name. A value may be a secret; it is read again every 10 seconds.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// How the gateway proves who it is. With a certificate: `tls`.
    #[serde(default)]
    pub auth: Auth,
    /// How many events a request holds, and what stands around them: `ndjson` (one on each line), `array` (one JSON
    /// array), `single` (one event, one request).
    #[serde(default)]
    pub batch: Batch,
    /// What an event is in the body: JSON with places such as `{vm.name}`, see docs/http.md. Default: the record of
    /// `format`.
    #[serde(default)]
    pub event: Option<String>,
    /// What stands before the first event. Default: that of `batch`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What stands between two events. Default: that of `batch`.
    #[serde(default)]
    pub separator: Option<String>,
    /// What stands behind the last event. Default: that of `batch`.
    #[serde(default)]
    pub suffix: Option<String>,
    /// What `{record}` is.
    #[serde(default = "Emitter::native")]
    pub format: Emitter,
    /// What `{secret}` is: a key that the receiver wants in the body.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// How requests are compressed.
    #[serde(default = "none")]
    pub compression: Compress,
    /// What the body of an answer says: nothing beyond its status (`status`), or what became of each event
    /// (`bulk`, as Elasticsearch and OpenSearch do: 200 is not yet success).
    #[serde(default)]
    pub answer: Answer,
    /// A text that the answer must hold; without it, a status of success is none. Guards against proxies and login
    /// pages.
    #[serde(default)]
    pub expect: Option<String>,
    /// An HTTP proxy that requests go through; receivers' names are then looked up there. Default: none.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// Whether the sink may speak to link-local addresses (169.254.0.0/16, `fe80::/10`) and to those at which clouds tell
    /// machines their credentials; a name that leads there is refused, too.
    #[serde(default)]
    pub allow_link_local: bool,
    /// Certificates; unless they are written, the operating system's authorities are trusted.
    #[serde(default)]
    pub tls: ClientTls,
    /// The largest request before compression.
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

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Post,
    Put,
    Patch,
}

/// How many events a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Batch {
    #[default]
    Ndjson,
    Array,
    Single,
}

/// What the body of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    #[default]
    Status,
    Bulk,
}

/// How the gateway proves who it is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// `Authorization: Bearer …`. A file is read again every 10 seconds, so that a token can be renewed there.
    pub bearer: Option<Secret>,
    /// `Authorization: Basic …`.
    pub basic: Option<Basic>,
    /// A header with the HMAC-SHA256 of the body as it is sent, in hex.
    pub hmac: Option<Hmac>,
    /// `Authorization: AWS4-HMAC-SHA256 …`: requests that AWS or a service like it signs for (Signature Version 4).
    #[cfg(feature = "s3")]
    pub sigv4: Option<Sigv4Config>,
}

/// A user and his password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// Who.
    pub user: String,
    /// His password.
    pub password: Secret,
}

/// How bodies are signed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    /// The key that both sides know.
    pub key: Secret,
    /// The header.
    #[serde(default = "hmac_header")]
    pub header: String,
    /// What stands before the hex.
    #[serde(default = "hmac_prefix")]
    pub prefix: String,
}

const fn none() -> Compress {
    Compress::None
}
fn hmac_header() -> String {
    "X-Hub-Signature-256".to_owned()
}
fn hmac_prefix() -> String {
    "sha256=".to_owned()
}
const fn max_bytes() -> ByteSize {
    ByteSize::bytes(1_000_000)
}
const fn max_events() -> usize {
    1_000
}
const fn max_age() -> Interval {
    Interval::seconds(0)
}
const fn timeout() -> Interval {
    Interval::seconds(60)
}

impl HttpConfig {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.tls.problems();
        let mut add = |option, message: String, hint: &str| {
            problems.push(Problem { option, message, hint: hint.to_owned() });
        };
        if let Err((option, message)) = credentials::Credentials::read(self) {
            add(option, message, "the options of sink `http` stand in docs/configuration.md");
        }
        for found in self.proxy.iter().flat_map(|proxy| proxy.problems(self.allow_link_local)) {
            add(found.option, found.message, &found.hint);
        }
        #[cfg(feature = "s3")]
        let is_signed = self.auth.sigv4.is_some();
        #[cfg(not(feature = "s3"))]
        let is_signed = false;
        let auth = &self.auth;
        let wanting = [("bearer", auth.bearer.is_some()), ("basic", auth.basic.is_some()), ("sigv4", is_signed)];
        let wanting: Vec<_> = wanting.into_iter().filter(|(_, wants)| *wants).collect();
        if let [(one, _), (other, _), ..] = &*wanting {
            add("auth", format!("`{one}` and `{other}` want the same header"), "leave one of them out");
        }
        if self.tls.server_name.is_some() {
            add(
                "tls.server_name",
                "the name is that of the URL".to_owned(),
                "write the name in the certificate into `url`",
            );
        }
        match Body::new(self) {
            Err(message) => {
                let option = if self.event.is_some() { "event" } else { "prefix" };
                add(option, message, "templates and what stands around them: docs/http.md");
            }
            Ok(body) if body.has_secret() && self.secret.is_none() => {
                add("event", "`{secret}` is in it, and there is no `secret`".to_owned(), "add `secret: {file: …}`");
            }
            Ok(_) => {}
        }
        if self.max_events == 0 || self.max_bytes.get() == 0 {
            let option = if self.max_events == 0 { "max_events" } else { "max_bytes" };
            add(option, "a request must be able to hold an event".to_owned(), "leave the option out for the default");
        }
        problems
    }

    pub(super) fn events_max(&self) -> usize {
        if self.batch == Batch::Single { 1 } else { self.max_events }
    }

    /// The media type of bodies, unless a header says another.
    pub(super) fn content_type(&self) -> &'static str {
        match self.batch {
            Batch::Ndjson => "application/x-ndjson",
            Batch::Array | Batch::Single => "application/json",
        }
    }
}

/// # Errors
/// It is none that can be sent to. The text never quotes it: it may hold a token.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("it is no http or https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user and his password belong into `auth.basic`, not into the URL".to_owned());
    }
    Ok(url)
}
