//! What sinks that speak HTTP have in common: a client that follows renewed certificates, the start of an
//! answer, and what a status says where the body does not.
//!
//! Invariant: of what a peer answers no more is kept than a fixed number of bytes, no redirect is followed,
//! and no link-local address is spoken to unless that is allowed.

mod reach;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, Url, redirect};
use schemars::JsonSchema;
use serde::Deserialize;

#[cfg(feature = "s3")]
pub(super) use self::reach::{FORBIDDEN, forbidden};
pub(super) use self::reach::{Guarded, refused};
use crate::part::{Problem, Secret, SetupError};
use crate::tls::{ClientTls, Watch};

/// So much of an answer is read.
pub(super) const ANSWER_BYTES: usize = 64 * 1024;
/// So much of a strange body is quoted.
const QUOTED_CHARS: usize = 120;

/// The password of a proxy is read again when it is older.
const READ_EVERY: Duration = Duration::from_secs(10);

/// An HTTP proxy.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Where it is: `http://proxy.example:3128`. Requests to an `https` receiver go through a tunnel (CONNECT), so it
    /// sees nothing of them.
    pub url: String,
    /// Who we are there. Default: none.
    #[serde(default)]
    pub user: Option<String>,
    /// The password of `user`.
    #[serde(default)]
    pub password: Option<Secret>,
}

impl Proxy {
    pub(super) fn problems(&self, allow_link_local: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |option, message: String, hint: &str| {
            problems.push(Problem { option, message, hint: hint.to_owned() });
        };
        match self.place() {
            Err(message) => add("proxy.url", message, "write `http://proxy.example:3128`"),
            Ok(url) => {
                if let Some(message) = refused(&url).filter(|_| !allow_link_local) {
                    add("proxy.url", message, "is it the right address?");
                }
            }
        }
        if self.user.is_some() != self.password.is_some() {
            let message = "a user and his password belong together".to_owned();
            add("proxy.user", message, "add `password: {file: …}`, or leave both out");
        }
        problems.extend(self.password.as_ref().and_then(|password| password.problem("proxy.password")));
        problems
    }

    fn place(&self) -> Result<Url, String> {
        let url = Url::parse(&self.url).map_err(|error| format!("it is no URL: {error}"))?;
        if url.scheme() != "http" || url.host().is_none() {
            return Err("it is no `http` URL".to_owned());
        }
        match url.username().is_empty() && url.password().is_none() {
            true => Ok(url),
            false => Err("a user and his password belong into `user` and `password`".to_owned()),
        }
    }

    fn password(&self) -> Result<Option<String>, SetupError> {
        let read = |password: &Secret| password.read().map_err(|error| SetupError::new("cannot use `proxy`", error));
        self.password.as_ref().map(read).transpose()
    }

    fn settings(&self, password: Option<&str>) -> Result<reqwest::Proxy, SetupError> {
        let failed = |cause: String| SetupError::new("cannot use `proxy`", cause);
        let url = self.place().map_err(failed)?;
        let proxy = reqwest::Proxy::all(url).map_err(|error| failed(error.to_string()))?;
        Ok(match (&self.user, password) {
            (Some(user), Some(password)) => proxy.basic_auth(user, password),
            _ => proxy,
        })
    }
}

/// How peers are reached.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// None: no peer is reached by TLS.
    pub(super) tls: Option<ClientTls>,
    pub(super) timeout: Duration,
    pub(super) proxy: Option<Proxy>,
    pub(super) allow_link_local: bool,
}

/// An HTTP client, made again when a file of its TLS settings changes, or the password of its proxy.
#[derive(Debug)]
pub(super) struct Web {
    way: Way,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    client: Client,
    watch: Watch,
    password: Option<Secret>,
    read: Instant,
}

impl Web {
    /// A client for peers that are reached in that way.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be.
    pub(super) fn new(way: Way) -> Result<Web, SetupError> {
        let files = way.tls.iter().flat_map(ClientTls::files).map(|(_, path)| path.clone());
        let watch = Watch::new(files.collect());
        let password = way.password()?;
        let client = client(&way, password.as_deref())?;
        let password = password.map(Secret::inline);
        Ok(Web { way, current: Mutex::new(Current { client, watch, password, read: Instant::now() }) })
    }

    /// For the next request. A request that is under way goes on with the one it has.
    pub(super) fn client(&self) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_old = current.watch.has_changed();
        if self.way.proxy.is_some() && current.read.elapsed() >= READ_EVERY {
            current.read = Instant::now();
            // What cannot be read now stays in force.
            let password = self.way.password().unwrap_or_default().map(Secret::inline);
            if password.is_some() && password != current.password {
                (current.password, is_old) = (password, true);
            }
        }
        if is_old {
            let password = current.password.as_ref().and_then(|password| password.read().ok());
            match client(&self.way, password.as_deref()) {
                Ok(client) => {
                    current.client = client;
                    tracing::info!("TLS files or the proxy's password of a sink read again");
                }
                // Of certificate and key one may be new already: the other is still to come.
                Err(error) => tracing::warn!(%error, "new TLS files cannot be used; the old ones stay in force"),
            }
        }
        current.client.clone()
    }
}

impl Way {
    fn password(&self) -> Result<Option<String>, SetupError> {
        self.proxy.as_ref().map_or(Ok(None), Proxy::password)
    }
}

fn client(way: &Way, password: Option<&str>) -> Result<Client, SetupError> {
    let tls = way.tls.as_ref().map_or_else(ClientTls::trusting_nobody, ClientTls::client_config)?;
    let mut client = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(60))
        .no_gzip()
        // What an environment says would go round the addresses that are refused.
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .timeout(way.timeout);
    if !way.allow_link_local {
        client = client.dns_resolver(Arc::new(Guarded::system()));
    }
    if let Some(proxy) = &way.proxy {
        client = client.proxy(proxy.settings(password)?);
    }
    client.build().map_err(|error| SetupError::new("cannot make an HTTP client", error))
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
