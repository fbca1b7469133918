//! An HTTP receiver of our own: it keeps every request, plays a script of answers, and else answers what a judge
//! says, which a test writes from the documentation of a product.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub uri: String,
    pub headers: HeaderMap,
    /// As it came.
    pub sent: Vec<u8>,
    /// After inflating.
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }
}

/// One scripted answer, used up by one request.
#[derive(Debug, Clone)]
pub enum Play {
    Answer(u16, &'static str),
    /// With `Retry-After`.
    After(u16, u64),
    /// A body without end.
    Endless(u16),
    /// Reads the request and closes without an answer.
    Hangup,
    /// What the judge says, and then no answer.
    Lost,
}

type Judge = Arc<dyn Fn(&Seen) -> (u16, String) + Send + Sync>;

struct Inner {
    judge: Judge,
    script: VecDeque<Play>,
    /// With the status that was answered.
    seen: Vec<(u16, Seen)>,
}

/// A running server.
pub struct WebServer {
    inner: Arc<Mutex<Inner>>,
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl WebServer {
    pub async fn start(judge: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> WebServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner { judge: Arc::new(judge), script: VecDeque::new(), seen: Vec::new() }));
        let app = Router::new().fallback(receive).with_state(Arc::clone(&inner));
        let app = app.layer(axum::extract::DefaultBodyLimit::max(64 << 20));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        WebServer { inner, address, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the next requests are answered.
    pub fn play(&self, script: impl IntoIterator<Item = Play>) {
        self.inner.lock().unwrap().script.extend(script);
    }

    /// Every request, with the status that it was answered.
    pub fn seen(&self) -> Vec<(u16, Seen)> {
        self.inner.lock().unwrap().seen.clone()
    }

    /// The requests that were answered by success.
    pub fn taken(&self) -> Vec<Seen> {
        let seen = self.seen().into_iter();
        seen.filter(|(status, _)| (200..300).contains(status)).map(|(_, seen)| seen).collect()
    }

    /// Lines of what was answered by success.
    pub fn lines(&self) -> Vec<String> {
        self.taken().iter().flat_map(|seen| seen.lines().into_iter().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State(inner): State<Arc<Mutex<Inner>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    sent: Bytes,
) -> Response {
    let mut body = sent.to_vec();
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value == "gzip") {
        body.clear();
        flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut body).unwrap();
    }
    let seen = Seen { method, uri: uri.to_string(), headers, sent: sent.to_vec(), body };
    let mut inner = inner.lock().unwrap();
    let play = inner.script.pop_front();
    let (status, text, after) = match play {
        Some(Play::Answer(status, text)) => (status, text.to_owned(), None),
        Some(Play::After(status, seconds)) => (status, String::new(), Some(seconds)),
        Some(Play::Endless(status)) => (status, String::new(), None),
        Some(Play::Hangup) => (0, String::new(), None),
        Some(Play::Lost) | None => {
            let (status, text) = (inner.judge)(&seen);
            (status, text, None)
        }
    };
    inner.seen.push((status, seen));
    drop(inner);
    if matches!(play, Some(Play::Hangup | Play::Lost)) {
        // A panic in the handler closes the connection without an answer.
        std::panic::resume_unwind(Box::new("hang up"));
    }
    if matches!(play, Some(Play::Endless(_))) {
        let parts = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 65_536])));
        let mut response = Response::new(axum::body::Body::from_stream(parts));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        return response;
    }
    let mut response = (StatusCode::from_u16(status).unwrap(), text).into_response();
    if let Some(seconds) = after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
