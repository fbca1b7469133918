//! `s3` against a store that plays its answers. Real servers are in tests/peers.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use base64::Engine;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use wharfinger::sinks::s3::S3Config;
use wharfinger::sinks::{SinkConfig, SinkState};
use wharfinger_formats::{Field, Time};

use crate::support::flow::{Flow, Running, wait_for};

/// 2026-11-21T12:00:00Z.
const NOON: i64 = 1_795_262_400_000_000_000;

/// What one PUT is answered.
#[derive(Clone, Copy)]
enum Play {
    Refuse(u16, &'static str),
    /// Stored, and the answer is lost.
    StoredButLost,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    script: VecDeque<Play>,
    puts: usize,
    heads: usize,
    /// Takes any PUT, as stores do that do not know `If-None-Match`.
    ignores_conditions: bool,
    overwritten: usize,
}

type Shared = Arc<Mutex<Bucket>>;

async fn start_store() -> (Shared, String) {
    let bucket = Shared::default();
    let object = put(put_object).head(head_object);
    let app = Router::new().route("/logs/{*key}", object).with_state(Arc::clone(&bucket));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (bucket, endpoint)
}

fn error(status: u16, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>played</Message></Error>");
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/xml")], body).into_response()
}

async fn put_object(
    State(bucket): State<Shared>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut bucket = bucket.lock().unwrap();
    bucket.puts += 1;
    let checksum = headers.get("x-amz-checksum-sha256").map(|value| value.to_str().unwrap().to_owned());
    let expected = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&body));
    assert_eq!(checksum, Some(expected), "the checksum is of the stored bytes");
    assert!(headers.get("content-encoding").is_none());
    let play = bucket.script.pop_front();
    if let Some(Play::Refuse(status, code)) = play {
        return error(status, code);
    }
    let conditional = headers.get("if-none-match").is_some_and(|value| value == "*");
    if bucket.objects.contains_key(&key) {
        if conditional && !bucket.ignores_conditions {
            return error(412, "PreconditionFailed");
        }
        bucket.overwritten += 1;
    }
    bucket.objects.insert(key, body.to_vec());
    match play {
        Some(Play::StoredButLost) => error(500, "InternalError"),
        _ => StatusCode::OK.into_response(),
    }
}

async fn head_object(State(bucket): State<Shared>, Path(key): Path<String>) -> Response {
    let mut bucket = bucket.lock().unwrap();
    bucket.heads += 1;
    match bucket.objects.get(&key) {
        Some(bytes) => (StatusCode::OK, [("content-length", bytes.len().to_string())]).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn start(flow: &Flow, endpoint: &str, options: serde_json::Value) -> Running {
    let mut all = json!({
        "bucket": "logs", "prefix": "edge", "endpoint": endpoint, "max_age": "20ms", "format": "raw",
        "access_key_id": "key", "secret_access_key": "secret",
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let config: S3Config = serde_json::from_value(all).unwrap();
    assert_eq!(config.check(), []);
    let mut settings = flow.settings("s3");
    settings.backoff_min = Duration::from_millis(5);
    settings.backoff_max = Duration::from_millis(20);
    flow.start_with(settings, config.open(&flow.context("s3")).unwrap())
}

/// Four events of two sources in two hours.
async fn append(flow: &Flow) {
    flow.append_with(["a", "b", "c", "d"], |index, event| {
        event.set(Field::Source, if index == 2 { "docker" } else { "syslog" });
        event.set(Field::Time, Time(NOON + if index == 3 { 3_600_000_000_000 } else { index as i64 }));
    })
    .await;
}

fn inflated(bucket: &Shared) -> Vec<(String, String)> {
    let inflate = |(key, bytes): (&String, &Vec<u8>)| {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        (key.rsplit_once('/').unwrap().0.to_owned(), text)
    };
    bucket.lock().unwrap().objects.iter().map(inflate).collect()
}

fn expected() -> Vec<(String, String)> {
    [
        ("edge/source=docker/dt=2026-11-21/hour=12", "c\n"),
        ("edge/source=syslog/dt=2026-11-21/hour=12", "a\nb\n"),
        ("edge/source=syslog/dt=2026-11-21/hour=13", "d\n"),
    ]
    .map(|(key, text)| (key.to_owned(), text.to_owned()))
    .to_vec()
}

#[tokio::test]
async fn each_event_is_in_one_object_whatever_the_store_answers() {
    use Play::{Refuse, StoredButLost};
    for script in [
        vec![],
        vec![Refuse(503, "SlowDown"), Refuse(500, "InternalError")],
        vec![StoredButLost, StoredButLost, StoredButLost],
        vec![Refuse(409, "ConditionalRequestConflict")],
        vec![Refuse(400, "RequestTimeout")],
        vec![Refuse(501, "NotImplemented")],
        vec![Refuse(403, "SignatureDoesNotMatch"), Refuse(404, "NoSuchBucket")],
    ] {
        for ignores_conditions in [false, true] {
            let (flow, (bucket, endpoint)) = (Flow::new(), start_store().await);
            bucket.lock().unwrap().script.extend(script.clone());
            bucket.lock().unwrap().ignores_conditions = ignores_conditions;
            append(&flow).await;
            let running = start(&flow, &endpoint, json!({})).await;
            wait_for("all events", || running.stats.delivered_total() == 4).await;
            assert_eq!(running.stats.state(), SinkState::Working);
            let stats = running.finish().await;
            assert_eq!(stats.quarantined_total(), 0);
            assert_eq!(inflated(&bucket), expected());
            assert_eq!(bucket.lock().unwrap().overwritten, 0);
        }
    }
}

/// A gateway that ended between PUT and commit writes the same object again: it is found.
#[tokio::test]
async fn the_same_events_after_a_start_make_no_second_object() {
    let (bucket, endpoint) = start_store().await;
    for _ in 0..2 {
        let flow = Flow::new();
        append(&flow).await;
        let running = start(&flow, &endpoint, json!({})).await;
        wait_for("all events", || running.stats.delivered_total() == 4).await;
        running.finish().await;
    }
    assert_eq!(inflated(&bucket), expected());
    let bucket = bucket.lock().unwrap();
    assert_eq!((bucket.puts, bucket.overwritten), (3, 0));
}
