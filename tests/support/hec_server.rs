//! A strict Splunk HTTP Event Collector of our own: it checks token, gzip and every envelope (unknown
//! fields are refused), plays a script of answers, and keeps what it accepted by event id.
//!
//! Written from Splunk's documentation of the endpoint and its codes; no registry has a server to run.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::process::free_port;

pub const TOKEN: &str = "7b2d9f4e-0c1a-4f9e-9b7e-3f3c5a1d2e60";

/// One scripted answer, used up by one request.
#[derive(Debug, Clone)]
pub enum Play {
    /// HEC's own JSON body with status and code.
    Code(u16, i64),
    /// The same with `Retry-After`.
    CodeAfter(u16, i64, u64),
    /// A body as load balancers send it.
    Html(u16),
    /// Reads the request and closes without an answer, after it took the events or not.
    Hangup { taken: bool },
    /// Answers after that time.
    Slow(Duration),
    /// `code 0` and then a body without end.
    Endless,
    /// Any status and body.
    Raw(u16, &'static str),
}

/// How the server behaves when the script is at its end.
#[derive(Debug, Clone, Default)]
pub struct Dialect {
    /// A bad event is refused without saying which.
    pub silent_about_number: bool,
    /// Events before a bad one are taken all the same, as Vector does.
    pub takes_events_before: bool,
    /// Bodies over this many bytes (inflated) get 413 with an HTML page.
    pub body_max: Option<usize>,
    /// Events whose text holds this are refused with code 6.
    pub poison: Option<&'static str>,
    /// The token acknowledges: requests need a channel, and get a number in it.
    pub acks: bool,
    /// A balancer stands before many nodes: who brings no cookie of theirs asks one that knows nothing.
    pub balanced: bool,
}

/// What becomes of what was accepted, when its acknowledgement is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Index {
    /// It is indexed, and that is said once.
    #[default]
    Works,
    /// Not yet.
    Waits,
}

#[derive(Default)]
struct Inner {
    script: VecDeque<Play>,
    dialect: Dialect,
    /// Envelopes in the order they were taken.
    taken: Vec<Value>,
    requests: usize,
    largest: usize,
    index: Index,
    /// What every channel was told, and what of it is still to be acknowledged.
    channels: BTreeMap<String, Channel>,
}

#[derive(Default)]
struct Channel {
    next: u64,
    waiting: Vec<u64>,
}

/// A running server.
pub struct HecServer {
    inner: Arc<Mutex<Inner>>,
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

/// The envelope: anything else in it is a mistake of ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    time: Option<serde_json::Number>,
    host: Option<String>,
    source: Option<String>,
    sourcetype: Option<String>,
    index: Option<String>,
    event: Option<Value>,
    #[serde(default)]
    fields: serde_json::Map<String, Value>,
}

impl HecServer {
    pub async fn start(dialect: Dialect) -> HecServer {
        // Where it is to stand again, nobody else may stand meanwhile.
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], free_port())), dialect).await
    }

    /// Starts where another one stood.
    pub async fn start_at(address: SocketAddr, dialect: Dialect) -> HecServer {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner { dialect, ..Inner::default() }));
        let events = post(collect);
        let app = Router::new()
            .route("/services/collector", events.clone())
            .route("/services/collector/event", events.clone())
            .route("/services/collector/event/1.0", events)
            .route("/services/collector/raw", post(collect_lines))
            .route("/services/collector/ack", post(acknowledge))
            .route("/services/collector/health", get(async || code(200, 17, None)))
            .with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        HecServer { inner, address, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the next requests are answered.
    pub fn play(&self, script: impl IntoIterator<Item = Play>) {
        self.inner.lock().unwrap().script.extend(script);
    }

    pub fn taken(&self) -> Vec<Value> {
        self.inner.lock().unwrap().taken.clone()
    }

    /// Event ids in the order they were taken.
    pub fn ids(&self) -> Vec<String> {
        let id = |envelope: &Value| envelope["fields"]["event_id"].as_str().unwrap().to_owned();
        self.taken().iter().map(id).collect()
    }

    pub fn count(&self) -> usize {
        self.inner.lock().unwrap().taken.len()
    }

    pub fn requests(&self) -> usize {
        self.inner.lock().unwrap().requests
    }

    /// The largest body after inflating.
    pub fn largest(&self) -> usize {
        self.inner.lock().unwrap().largest
    }

    /// What becomes of what is accepted.
    pub fn index(&self, index: Index) {
        self.inner.lock().unwrap().index = index;
    }

    /// Loses what is accepted and not indexed: its acknowledgement never comes.
    pub fn lose(&self) {
        self.inner.lock().unwrap().channels.values_mut().for_each(|channel| channel.waiting.clear());
    }

    /// The channels that requests named.
    pub fn channels(&self) -> usize {
        self.inner.lock().unwrap().channels.len()
    }

    /// Goes down, with its connections.
    pub async fn stop(self) -> Vec<Value> {
        self.task.abort();
        let _ = self.task.await;
        self.inner.lock().unwrap().taken.clone()
    }
}

fn code(status: u16, code: i64, number: Option<usize>) -> Response {
    let text = match code {
        0 => "Success",
        4 => "Invalid token",
        6 => "Invalid data format",
        12 => "Event field is required",
        13 => "Event field cannot be blank",
        15 => "Error in handling indexed fields",
        _ => "Scripted",
    };
    let mut body = json!({ "text": text, "code": code });
    if let Some(number) = number {
        body["invalid-event-number"] = number.into();
    }
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// What a node behind a balancer is known by.
const COOKIE: &str = "node=a7";

/// The channel of a request, or the code it is refused with.
fn channel_of(headers: &HeaderMap) -> Result<String, i64> {
    let channel = headers.get("x-splunk-request-channel").ok_or(10)?;
    let channel = channel.to_str().map_err(|_| 11)?;
    let is_guid = channel.len() == 36 && channel.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    if is_guid { Ok(channel.to_owned()) } else { Err(11) }
}

async fn acknowledge(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut inner = inner.lock().unwrap();
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != &format!("Splunk {TOKEN}")) {
        return code(403, 4, None);
    }
    if !inner.dialect.acks {
        return code(400, 14, None);
    }
    let channel = match channel_of(&headers) {
        Ok(channel) => channel,
        Err(refused) => return code(400, refused, None),
    };
    let question: Value = serde_json::from_slice(&body).unwrap();
    let is_stranger = inner.dialect.balanced && headers.get(header::COOKIE).is_none_or(|value| value != COOKIE);
    let works = inner.index == Index::Works && !is_stranger;
    let mut nobody = Channel::default();
    let channel = inner.channels.get_mut(&channel).unwrap_or(&mut nobody);
    let mut acks = serde_json::Map::new();
    for number in question["acks"].as_array().unwrap().iter().map(|number| number.as_u64().unwrap()) {
        let at = channel.waiting.iter().position(|waiting| works && *waiting == number);
        if let Some(at) = at {
            channel.waiting.remove(at);
        }
        acks.insert(number.to_string(), at.is_some().into());
    }
    axum::Json(json!({ "acks": acks })).into_response()
}

async fn collect(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, body: Bytes) -> Response {
    let play = {
        let mut inner = inner.lock().unwrap();
        inner.requests += 1;
        inner.script.pop_front()
    };
    match play {
        None => {}
        Some(Play::Code(status, number)) => {
            if status == 200 {
                take(&inner, &headers, &body);
            }
            return code(status, number, None);
        }
        Some(Play::CodeAfter(status, number, seconds)) => {
            let mut response = code(status, number, None);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            return response;
        }
        Some(Play::Html(status)) => return html(status),
        Some(Play::Raw(status, text)) => return (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Some(Play::Hangup { taken }) => {
            if taken {
                take(&inner, &headers, &body);
            }
            // A panic in the handler closes the connection without an answer.
            std::panic::resume_unwind(Box::new("hang up"));
        }
        Some(Play::Slow(time)) => tokio::time::sleep(time).await,
        Some(Play::Endless) => {
            let parts = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 65_536])));
            return Response::new(axum::body::Body::from_stream(parts));
        }
    }
    take(&inner, &headers, &body)
}

/// Lines: each becomes an envelope of what the query says. What it may say is Splunk's.
async fn collect_lines(
    state: State<Arc<Mutex<Inner>>>,
    query: axum::extract::Query<BTreeMap<String, String>>,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut text = String::new();
    match headers.remove(header::CONTENT_ENCODING) {
        Some(_) => flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap(),
        None => body.as_ref().read_to_string(&mut text).unwrap(),
    };
    if let Err(refused) = channel_of(&headers) {
        return code(400, refused, None);
    }
    let known = ["host", "source", "sourcetype", "index"];
    if query.keys().any(|name| !known.contains(&name.as_str())) {
        return code(400, 6, None);
    }
    let envelope = |line: &str| {
        let mut envelope = json!({ "event": line });
        query.iter().for_each(|(name, value)| envelope[name] = value.as_str().into());
        envelope.to_string()
    };
    let lines = text.lines().map(envelope);
    collect(state, headers, lines.collect::<String>().into()).await
}

fn html(status: u16) -> Response {
    let page = "<html><head><title>Error</title></head><body>nginx</body></html>";
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

/// Checks token, encoding and each envelope, and takes the events.
fn take(inner: &Mutex<Inner>, headers: &HeaderMap, body: &[u8]) -> Response {
    let mut inner = inner.lock().unwrap();
    match headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        None => return code(401, 2, None),
        Some(value) if value == format!("Splunk {TOKEN}") => {}
        Some(value) if value.starts_with("Splunk ") => return code(403, 4, None),
        Some(_) => return code(401, 3, None),
    }
    let inflated = match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None => body.to_vec(),
        Some(b"gzip") => {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(body).read_to_end(&mut out).unwrap();
            out
        }
        Some(_) => return code(400, 6, Some(0)),
    };
    inner.largest = inner.largest.max(inflated.len());
    if inner.dialect.body_max.is_some_and(|max| inflated.len() > max) {
        return html(413);
    }
    if inflated.is_empty() {
        return code(400, 5, None);
    }
    let mut good = Vec::new();
    for (number, value) in serde_json::Deserializer::from_slice(&inflated).into_iter::<Value>().enumerate() {
        let refused = value.map_err(|_| 6).and_then(|value| check(&inner.dialect, &value).map(|()| value));
        match refused {
            Ok(value) => good.push(value),
            Err(number_of_code) => {
                if inner.dialect.takes_events_before {
                    inner.taken.append(&mut good);
                }
                let told = (!inner.dialect.silent_about_number).then_some(number);
                return code(400, number_of_code, told);
            }
        }
    }
    if !inner.dialect.acks {
        inner.taken.append(&mut good);
        return code(200, 0, None);
    }
    let channel = match channel_of(headers) {
        Ok(channel) => channel,
        Err(refused) => return code(400, refused, None),
    };
    inner.taken.append(&mut good);
    let channel = inner.channels.entry(channel).or_default();
    let number = channel.next;
    channel.next += 1;
    channel.waiting.push(number);
    let cookie = [(header::SET_COOKIE, format!("{COOKIE}; Path=/; HttpOnly"))];
    (cookie, axum::Json(json!({ "text": "Success", "code": 0, "ackId": number }))).into_response()
}

/// The code an envelope is refused with.
fn check(dialect: &Dialect, value: &Value) -> Result<(), i64> {
    let envelope: Envelope = serde_json::from_value(value.clone()).map_err(|_| 6)?;
    let named = [&envelope.host, &envelope.source, &envelope.sourcetype, &envelope.index];
    // Without a time it is that of indexing; 1970 is one that was made up.
    let is_made_up = envelope.time.as_ref().and_then(serde_json::Number::as_f64).is_some_and(|time| time <= 0.0);
    if named.into_iter().flatten().any(String::is_empty) || is_made_up {
        return Err(6);
    }
    match &envelope.event {
        None | Some(Value::Null) => return Err(12),
        Some(Value::String(text)) if text.trim().is_empty() => return Err(13),
        Some(Value::Object(object)) if object.is_empty() => return Err(13),
        Some(event) if dialect.poison.is_some_and(|poison| event.to_string().contains(poison)) => return Err(6),
        Some(_) => {}
    }
    let flat = |value: &Value| match value {
        Value::Array(values) => values.iter().all(|value| value.is_string() || value.is_number()),
        value => value.is_string() || value.is_number(),
    };
    if envelope.fields.values().all(flat) { Ok(()) } else { Err(15) }
}
