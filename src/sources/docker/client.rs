//! The few calls of the Docker Engine API that the gateway makes.
//!
//! Invariant: only the paths of [`Call`] can be asked for, and only by GET; an id that is none never
//! becomes part of a path.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use wharfinger_formats::{Civil, Offset};

/// The newest version of the API whose answers we know.
const API_NEWEST: Version = Version(1, 51);

/// How long the engine may take to connect and to begin an answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What a connection holds: there may be hundreds.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The answer to `/version` is about 1 KiB, and what is said of an error less.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A container or an image is described in 10 KiB; labels, environment and command can make more of it.
const OBJECT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A container in the list takes about 1 KiB.
const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What an engine remembers: 256 events of less than 1 KiB each, and the labels of their containers.
const MEMORY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Everything that can be asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call<'c> {
    Version,
    Events {
        since: &'c str,
    },
    /// Those that it remembers of a time that is over.
    PastEvents {
        since: &'c str,
        until: &'c str,
    },
    /// The containers that run.
    Containers,
    /// All there are.
    AllContainers,
    /// What a container has written since that moment (`seconds.nanoseconds`), and what it writes.
    Logs {
        id: &'c str,
        since: &'c str,
    },
    Container {
        id: &'c str,
    },
    Image {
        id: &'c str,
    },
    Images,
    Volumes,
    Networks,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("the engine took longer than {} s to answer", ANSWER_MAX.as_secs())]
    Slow,
    #[error("the engine closed the connection: {0}")]
    Http(#[from] hyper::Error),
    #[error("the engine answered {0} to `GET {1}`")]
    Status(StatusCode, String),
    #[error("the answer to `GET {0}` is not understood: {1}")]
    Answer(String, String),
    #[error("`{0}` is no path of the API")]
    Path(String),
}

impl ClientError {
    /// The engine knows no such object.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, ClientError::Status(StatusCode::NOT_FOUND, _))
    }

    /// Nobody listens, or the one who did went away in the middle of it: another try may do.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, ClientError::Connect(_) | ClientError::Slow | ClientError::Http(_))
    }

    /// No other try will do: the engine cannot do such a thing (a log driver that reads nothing back), or it cannot
    /// be asked for.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, ClientError::Status(StatusCode::NOT_IMPLEMENTED, _) | ClientError::Path(_))
    }
}

/// A version of the API: `1.41`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u16, u16);

/// A connection to an engine.
pub(super) struct Engine {
    sender: SendRequest<Empty<Bytes>>,
    /// The task that moves the bytes; it ends with this.
    connection: JoinSet<()>,
    /// The newest version of the API that both sides speak.
    api: Version,
    /// The engine's time when it was connected to, in seconds since 1970.
    pub(super) now: Option<i64>,
    /// Who is at the other end, on a network.
    pub(super) peer: Option<IpAddr>,
}

/// The endless answer to `GET /events`, or to that for the output of a container.
pub(super) struct EventStream {
    body: Incoming,
    /// The engine has not ended it: it broke off.
    pub(super) is_broken: bool,
    /// The version of the API that was agreed on.
    pub(super) api: String,
    /// The engine's time when it began to answer, in seconds since 1970.
    pub(super) asked_at: Option<i64>,
    /// Who is at the other end, on a network.
    pub(super) peer: Option<IpAddr>,
    _connection: JoinSet<()>,
}

impl Engine {
    /// Speaks over a stream that is open, and agrees on a version of the API.
    ///
    /// # Errors
    /// The answer is none, or not understood.
    pub(super) async fn over<S>(stream: S, peer: Option<IpAddr>) -> Result<Engine, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(stream));
        let handshake = tokio::time::timeout(ANSWER_MAX, handshake);
        let (sender, driver) = handshake.await.map_err(|_| ClientError::Slow)??;
        let mut connection = JoinSet::new();
        connection.spawn(async move {
            // Whoever waits for an answer learns of the error there.
            let _ = driver.await;
        });
        let mut engine = Engine { sender, connection, api: API_NEWEST, now: None, peer };
        engine.api = engine.version().await?;
        Ok(engine)
    }

    /// All events since that moment (`seconds.nanoseconds`), and then those to come.
    ///
    /// # Errors
    /// The engine does not answer, or not in a way that is understood.
    pub(super) async fn events(self, since: &str) -> Result<EventStream, ClientError> {
        self.stream(Call::Events { since }).await
    }

    /// What it remembers of the events between two moments, as it would send them.
    ///
    /// # Errors
    /// As [`events`](Self::events), or it takes too long or says too much.
    pub(super) async fn remembered(&mut self, since: &str, until: &str) -> Result<Bytes, ClientError> {
        let call = Call::PastEvents { since, until };
        let body = self.ask(call).await?.into_body();
        let body = collect(body, call.answer_bytes_max()).await;
        body.map_err(|error| ClientError::Answer(call.to_string(), error.to_string()))
    }

    /// What a container writes.
    ///
    /// # Errors
    /// As [`read`](Self::read), or its output cannot be read.
    pub(super) async fn logs(self, id: &str, since: &str) -> Result<EventStream, ClientError> {
        self.stream(Call::Logs { id, since }).await
    }

    async fn stream(mut self, call: Call<'_>) -> Result<EventStream, ClientError> {
        let answer = self.ask(call).await?;
        let asked_at = date(&answer);
        let body = answer.into_body();
        let (api, peer) = (self.api.to_string(), self.peer);
        Ok(EventStream { body, is_broken: false, api, asked_at, peer, _connection: self.connection })
    }

    async fn version(&mut self) -> Result<Version, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "ApiVersion")]
            newest: String,
            #[serde(rename = "MinAPIVersion")]
            oldest: Option<String>,
        }
        let answer = self.ask(Call::Version).await?;
        self.now = date(&answer);
        let answer: Answer = understood(Call::Version, answer).await?;
        let no_version = || ClientError::Answer("/version".to_owned(), format!("`{}` is no version", answer.newest));
        let agreed = API_NEWEST.min(Version::parse(&answer.newest).ok_or_else(no_version)?);
        Ok(answer.oldest.as_deref().and_then(Version::parse).map_or(agreed, |oldest| agreed.max(oldest)))
    }

    /// The whole answer to a call.
    ///
    /// # Errors
    /// As [`events`](Self::events), or the engine knows no such object.
    pub(super) async fn read<T: DeserializeOwned>(&mut self, call: Call<'_>) -> Result<T, ClientError> {
        let answer = self.ask(call).await?;
        understood(call, answer).await
    }

    async fn ask(&mut self, call: Call<'_>) -> Result<Response<Incoming>, ClientError> {
        let path = match call {
            Call::Version => call.to_string(),
            _ => format!("/v{}{call}", self.api),
        };
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = call.is_sound().then(|| path.parse().ok()).flatten().ok_or(ClientError::Path(path))?;
        request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("docker"));
        let answer = tokio::time::timeout(ANSWER_MAX, self.sender.send_request(request));
        let answer = answer.await.map_err(|_| ClientError::Slow)??;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => {
                // What stands in it was said by the status; read, the connection serves again.
                let _ = collect(answer.into_body(), ANSWER_BYTES_MAX).await;
                Err(ClientError::Status(status, call.to_string()))
            }
        }
    }
}

/// What an answer says.
async fn understood<T: DeserializeOwned>(call: Call<'_>, answer: Response<Incoming>) -> Result<T, ClientError> {
    let not_understood = |cause: &dyn fmt::Display| ClientError::Answer(call.to_string(), cause.to_string());
    let body = collect(answer.into_body(), call.answer_bytes_max()).await.map_err(|error| not_understood(&error))?;
    serde_json::from_slice(&body).map_err(|error| not_understood(&error))
}

/// The engine's clock.
fn date(answer: &Response<Incoming>) -> Option<i64> {
    http_date(answer.headers().get(header::DATE)?.to_str().ok()?)
}

/// A body of at most so many bytes, in good time.
async fn collect(body: Incoming, bytes_max: usize) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let body = Limited::new(body, bytes_max).collect();
    Ok(tokio::time::timeout(ANSWER_MAX, body).await??.to_bytes())
}

impl EventStream {
    /// The next bytes; `None` when the engine has closed the stream. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(bytes);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a stream of the engine broke off");
                    self.is_broken = true;
                    return None;
                }
            }
        }
    }
}

impl Version {
    fn parse(text: &str) -> Option<Version> {
        let (major, minor) = text.split_once('.')?;
        Some(Version(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Call<'_> {
    /// Whether what stands for an id is one as the engine makes them: hexadecimal digits, for an image behind the
    /// name of their hash.
    fn is_sound(self) -> bool {
        let (Call::Container { id } | Call::Image { id } | Call::Logs { id, .. }) = self else { return true };
        let digits = id.strip_prefix("sha256:").unwrap_or(id);
        (12..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    fn answer_bytes_max(self) -> usize {
        match self {
            Call::Version | Call::Events { .. } | Call::Logs { .. } => ANSWER_BYTES_MAX,
            Call::PastEvents { .. } => MEMORY_BYTES_MAX,
            Call::Containers | Call::AllContainers | Call::Images | Call::Volumes | Call::Networks => LIST_BYTES_MAX,
            Call::Container { .. } | Call::Image { .. } => OBJECT_BYTES_MAX,
        }
    }
}

/// The path, without the version of the API.
impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Version => f.write_str("/version"),
            Call::Events { since } => write!(f, "/events?since={since}"),
            Call::PastEvents { since, until } => write!(f, "/events?since={since}&until={until}"),
            Call::Containers => f.write_str("/containers/json"),
            Call::AllContainers => f.write_str("/containers/json?all=1"),
            Call::Logs { id, since } => {
                write!(f, "/containers/{id}/logs?follow=1&stdout=1&stderr=1&timestamps=1&since={since}")
            }
            Call::Container { id } => write!(f, "/containers/{id}/json"),
            Call::Image { id } => write!(f, "/images/{id}/json"),
            Call::Images => f.write_str("/images/json"),
            Call::Volumes => f.write_str("/volumes"),
            Call::Networks => f.write_str("/networks"),
        }
    }
}

/// Seconds since 1970 of an IMF-fixdate (RFC 9110 §5.6.7): `Sat, 21 Nov 2026 09:03:20 GMT`.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let words: Vec<&str> = date.split([' ', ':']).collect();
    let [day, month, year, hour, minute, second] = words[..] else { return None };
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let number = |word: &str| word.parse::<u8>().ok();
    let civil = Civil {
        year: year.parse().ok()?,
        month,
        day: number(day)?,
        hour: number(hour)?,
        minute: number(minute)?,
        second: number(second)?,
        nanos: 0,
    };
    Some(civil.to_time(Offset(0))?.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_versions() {
        assert_eq!(http_date("Sat, 21 Nov 2026 09:03:20 GMT"), Some(1_795_251_800));
        for wrong in ["", "21 Nov 2026", "Sat, 21 Nov 2026 09:03 GMT", "Sat, 21 Foo 2026 09:03:20 GMT"] {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
        assert_eq!(Version::parse("1.41"), Some(Version(1, 41)));
        assert!(Version(1, 9) < Version(1, 41));
        let call = Call::Events { since: "1795251800.158734145" };
        assert_eq!(call.to_string(), "/events?since=1795251800.158734145");
    }

    #[test]
    fn what_is_no_id_is_never_asked_for() {
        for id in ["0123456789ab", &"f".repeat(64), &format!("sha256:{}", "0".repeat(64))] {
            assert!(Call::Image { id }.is_sound(), "{id}");
        }
        for id in ["", "web", "../../version", "0123456789ab?all=1", "0123456789a/", &"f".repeat(65)] {
            assert!(!Call::Container { id }.is_sound(), "{id}");
        }
    }
}
