//! The few calls of the Docker Engine API that the gateway makes.
//!
//! Invariant: only the paths of [`Call`] can be asked for, and only by GET.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use wharfinger_formats::{Civil, Offset};

/// The newest version of the API whose answers we know.
const API_NEWEST: Version = Version(1, 51);

/// How long the engine may take to connect and to begin an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The answer to `/version` is about 1 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Everything that can be asked.
enum Call<'c> {
    Version,
    Events { api: Version, since: &'c str },
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
    #[error("the answer to `GET /version` is not understood: {0}")]
    Answer(String),
}

/// A version of the API: `1.41`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u16, u16);

/// A connection to an engine.
pub(super) struct Engine {
    sender: SendRequest<Empty<Bytes>>,
    /// The task that moves the bytes; it ends with this.
    connection: JoinSet<()>,
}

/// The endless answer to `GET /events`.
pub(super) struct EventStream {
    body: Incoming,
    /// The version of the API that was agreed on.
    pub(super) api: String,
    /// The engine's time when it began to answer, in seconds since 1970.
    pub(super) asked_at: Option<i64>,
    _connection: JoinSet<()>,
}

impl Engine {
    /// Connects to the engine's socket.
    ///
    /// # Errors
    /// Nobody listens there, or we may not.
    pub(super) async fn connect(socket: &Path) -> Result<Engine, ClientError> {
        let connect = async {
            let stream = UnixStream::connect(socket).await.map_err(ClientError::Connect)?;
            Ok::<_, ClientError>(http1::handshake(TokioIo::new(stream)).await?)
        };
        let (sender, driver) = tokio::time::timeout(ANSWER_MAX, connect).await.map_err(|_| ClientError::Slow)??;
        let mut connection = JoinSet::new();
        connection.spawn(async move {
            // Whoever waits for an answer learns of the error there.
            let _ = driver.await;
        });
        Ok(Engine { sender, connection })
    }

    /// All events since that moment (`seconds.nanoseconds`), and then those to come.
    ///
    /// # Errors
    /// The engine does not answer, or not in a way that is understood.
    pub(super) async fn events(mut self, since: &str) -> Result<EventStream, ClientError> {
        let api = self.version().await?;
        let answer = self.ask(&Call::Events { api, since }).await?;
        let asked_at = answer.headers().get(header::DATE).and_then(|date| http_date(date.to_str().ok()?));
        let body = answer.into_body();
        Ok(EventStream { body, api: api.to_string(), asked_at, _connection: self.connection })
    }

    /// The newest version of the API that both sides speak.
    async fn version(&mut self) -> Result<Version, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "ApiVersion")]
            newest: String,
            #[serde(rename = "MinAPIVersion")]
            oldest: Option<String>,
        }
        let not_understood = |error: &dyn fmt::Display| ClientError::Answer(error.to_string());
        let body = Limited::new(self.ask(&Call::Version).await?.into_body(), ANSWER_BYTES_MAX);
        let body = tokio::time::timeout(ANSWER_MAX, body.collect()).await.map_err(|_| ClientError::Slow)?;
        let body = body.map_err(|error| not_understood(&error))?.to_bytes();
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| not_understood(&error))?;
        let newest = Version::parse(&answer.newest)
            .ok_or_else(|| not_understood(&format_args!("`{}` is not a version", answer.newest)))?;
        let agreed = API_NEWEST.min(newest);
        Ok(answer.oldest.as_deref().and_then(Version::parse).map_or(agreed, |oldest| agreed.max(oldest)))
    }

    async fn ask(&mut self, call: &Call<'_>) -> Result<Response<Incoming>, ClientError> {
        let path = call.to_string();
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().map_err(|_| ClientError::Answer(format!("`{path}` is no path")))?;
        request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("docker"));
        let answer = tokio::time::timeout(ANSWER_MAX, self.sender.send_request(request));
        let answer = answer.await.map_err(|_| ClientError::Slow)??;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(ClientError::Status(status, path)),
        }
    }
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
                    tracing::warn!(%error, "the stream of engine events broke off");
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

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Version => f.write_str("/version"),
            Call::Events { api, since } => write!(f, "/v{api}/events?since={since}"),
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
        let call = Call::Events { api: Version(1, 41), since: "1795251800.158734145" };
        assert_eq!(call.to_string(), "/v1.41/events?since=1795251800.158734145");
    }
}
