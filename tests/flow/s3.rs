//! `s3` against a store that plays its answers. Real servers are in tests/peers.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
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
    /// Unfinished uploads: their keys, and the parts that came.
    uploads: BTreeMap<String, (String, BTreeMap<u32, Vec<u8>>)>,
    /// The answer to so many parts is an error.
    parts_refused: usize,
    begun: usize,
    /// What HEAD says of every object beside its length.
    says: Vec<(&'static str, String)>,
    /// Headers of the last PUT of an object, or of the beginning of an upload.
    asked: HeaderMap,
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
    let object = put(put_any).head(head_object).post(post_upload).delete(abort_upload);
    let app = Router::new().route("/logs/{*key}", object).route("/logs", get(list_uploads));
    let app = app.route("/logs/", get(list_uploads)).layer(DefaultBodyLimit::max(64 << 20));
    let app = app.with_state(Arc::clone(&bucket));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (bucket, endpoint)
}

fn error(status: u16, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>played</Message></Error>");
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/xml")], body).into_response()
}

fn xml(body: &str) -> Response {
    ([("content-type", "application/xml")], format!("<?xml version=\"1.0\"?>{body}")).into_response()
}

type Query = axum::extract::Query<BTreeMap<String, String>>;

/// An object or a part of one.
async fn put_any(
    State(bucket): State<Shared>,
    Path(key): Path<String>,
    query: Query,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(upload) = query.get("uploadId") else { return put_object(&bucket, key, headers, body) };
    let mut bucket = bucket.lock().unwrap();
    let sum = headers.get("x-amz-checksum-crc32c").map(|value| value.to_str().unwrap().to_owned());
    let expected = base64::engine::general_purpose::STANDARD.encode(crc32c::crc32c(&body).to_be_bytes());
    assert_eq!(sum, Some(expected), "each part has its checksum");
    if let Some(left) = bucket.parts_refused.checked_sub(1) {
        bucket.parts_refused = left;
        return error(503, "SlowDown");
    }
    let Some((_, parts)) = bucket.uploads.get_mut(upload) else { return error(404, "NoSuchUpload") };
    let number = query["partNumber"].parse().unwrap();
    parts.insert(number, body.to_vec());
    [("etag", format!("\"{number}\""))].into_response()
}

/// Begins an upload, or ends it.
async fn post_upload(
    State(bucket): State<Shared>,
    Path(key): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Response {
    let mut bucket = bucket.lock().unwrap();
    let Some(upload) = query.get("uploadId") else {
        bucket.begun += 1;
        bucket.asked = headers;
        let upload = format!("upload-{}", bucket.begun);
        let answer =
            format!("<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>");
        bucket.uploads.insert(upload, (key, BTreeMap::new()));
        return xml(&answer);
    };
    if bucket.objects.contains_key(&key) {
        return error(412, "PreconditionFailed");
    }
    let play = bucket.script.pop_front();
    if let Some(Play::Refuse(status, code)) = play {
        return error(status, code);
    }
    let Some((_, parts)) = bucket.uploads.remove(upload) else { return error(404, "NoSuchUpload") };
    let whole: Vec<u8> = parts.into_values().flatten().collect();
    let expected = base64::engine::general_purpose::STANDARD.encode(crc32c::crc32c(&whole).to_be_bytes());
    assert_eq!(headers["x-amz-checksum-crc32c"], expected.as_str(), "the whole has its checksum, too");
    assert_eq!(headers["if-none-match"], "*");
    bucket.objects.insert(key, whole);
    match play {
        Some(Play::StoredButLost) => error(500, "InternalError"),
        _ => xml("<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>"),
    }
}

async fn abort_upload(State(bucket): State<Shared>, query: Query) -> StatusCode {
    bucket.lock().unwrap().uploads.remove(&query["uploadId"]);
    StatusCode::NO_CONTENT
}

async fn list_uploads(State(bucket): State<Shared>, query: Query) -> Response {
    assert!(query.contains_key("uploads"), "{query:?}");
    let bucket = bucket.lock().unwrap();
    let uploads = bucket.uploads.iter().filter(|(_, (key, _))| key.starts_with(&query["prefix"]));
    let uploads = uploads.map(|(id, (key, _))| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"));
    xml(&format!("<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>", uploads.collect::<String>()))
}

fn put_object(bucket: &Shared, key: String, headers: HeaderMap, body: Bytes) -> Response {
    let mut bucket = bucket.lock().unwrap();
    bucket.puts += 1;
    bucket.asked = headers.clone();
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
        Some(bytes) => {
            let mut response = [("content-length", bytes.len().to_string())].into_response();
            let says = bucket.says.iter().map(|(name, value)| {
                (axum::http::HeaderName::from_static(name), axum::http::HeaderValue::from_str(value).unwrap())
            });
            response.headers_mut().extend(says);
            response
        }
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
    append_these(flow, ["a", "b", "c", "d"]).await;
}

async fn append_these(flow: &Flow, names: [&str; 4]) {
    flow.append_with(names, |index, event| {
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

/// Of another journal they are other events: what looks the same is not taken for what is there already.
#[tokio::test]
async fn the_same_lines_of_other_events_are_objects_of_their_own() {
    let (bucket, endpoint) = start_store().await;
    for _ in 0..2 {
        let flow = Flow::new();
        append(&flow).await;
        let running = start(&flow, &endpoint, json!({})).await;
        wait_for("all events", || running.stats.delivered_total() == 4).await;
        running.finish().await;
    }
    let mut twice = [expected(), expected()].concat();
    twice.sort();
    assert_eq!(inflated(&bucket), twice);
    let bucket = bucket.lock().unwrap();
    assert_eq!((bucket.puts, bucket.overwritten), (6, 0));
}

/// Killed behind the PUT and before the commit: it cuts the same objects again, though more has come meanwhile.
#[tokio::test]
async fn a_kill_behind_the_put_puts_no_event_into_two_objects() {
    let (flow, (bucket, endpoint)) = (Flow::new(), start_store().await);
    bucket.lock().unwrap().script.extend(vec![Play::StoredButLost; 1000]);
    append(&flow).await;
    // It never hears of success: what it has in hand is its first request.
    let running = start(&flow, &endpoint, json!({})).await;
    wait_for("the first request", || bucket.lock().unwrap().puts >= 1).await;
    running.task.abort();
    let _ = running.task.await;
    bucket.lock().unwrap().script.clear();
    append_these(&flow, ["e", "f", "g", "h"]).await;
    let running = start(&flow, &endpoint, json!({})).await;
    wait_for("all events", || running.stats.delivered_total() == 8).await;
    running.finish().await;
    let mut lines: Vec<String> =
        inflated(&bucket).iter().flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    assert_eq!(lines, ["a", "b", "c", "d", "e", "f", "g", "h"], "each once");
    assert_eq!(bucket.lock().unwrap().objects.len(), 6);
}

/// A message of 3 MiB that no compression makes smaller.
fn noise(seed: u64) -> Vec<u8> {
    let mut noise = fastrand::Rng::with_seed(seed);
    (0..3 << 20).map(|_| noise.alphanumeric() as u8).collect()
}

/// Four events of 3 MiB make an object of 12 MiB: three parts, of which the last is smaller.
#[tokio::test]
async fn a_large_object_goes_in_parts_and_nothing_unfinished_stays() {
    use Play::{Refuse, StoredButLost};
    for (parts_refused, script) in [
        (0, vec![]),
        (2, vec![]),
        (0, vec![Refuse(503, "SlowDown")]),
        (0, vec![StoredButLost]),
        (1, vec![Refuse(404, "NoSuchUpload")]),
    ] {
        let (flow, (bucket, endpoint)) = (Flow::new(), start_store().await);
        {
            let mut bucket = bucket.lock().unwrap();
            bucket.parts_refused = parts_refused;
            bucket.script.extend(script);
            // What an earlier run of ours left, of another gateway, and of somebody else.
            for (id, key) in [
                ("ours", "edge/source=a/dt=2026-11-20/hour=01/gateway-1-2-0123456789abcdef.raw"),
                ("theirs", "edge/source=a/dt=2026-11-20/hour=01/other-1-2-0123456789abcdef.raw"),
                ("foreign", "elsewhere/gateway-1-2-0123456789abcdef.raw"),
            ] {
                bucket.uploads.insert(id.to_owned(), (key.to_owned(), BTreeMap::new()));
            }
        }
        let noises: Vec<Vec<u8>> = (0..4).map(noise).collect();
        flow.append(&noises).await;
        let options = json!({ "compression": "none", "part_bytes": "5MiB", "checksum": "crc32c", "max_age": "1s" });
        let running = start(&flow, &endpoint, options).await;
        wait_for("all events", || running.stats.delivered_total() == 4).await;
        running.finish().await;
        let bucket = bucket.lock().unwrap();
        let left: Vec<&str> = bucket.uploads.keys().map(String::as_str).collect();
        assert_eq!(left, ["foreign", "theirs"], "what is ours is ended or aborted");
        assert_eq!((bucket.objects.len(), bucket.puts), (1, 0));
        let expected: Vec<u8> = noises.iter().flat_map(|noise| [noise.as_slice(), b"\n"].concat()).collect();
        assert!(bucket.objects.values().all(|object| *object == expected));
    }
}

/// The store is asked about each object; what it does not say does not count.
#[tokio::test]
async fn what_the_store_does_not_confirm_is_not_delivered() {
    let (flow, (bucket, endpoint)) = (Flow::new(), start_store().await);
    append(&flow).await;
    let running = start(&flow, &endpoint, json!({ "encryption": "kms", "kms_key": "alias/logs" })).await;
    // Each time it is asked whether the object is there, and then how it is kept.
    wait_for("it is asked twice", || bucket.lock().unwrap().heads >= 4).await;
    assert_eq!(running.stats.delivered_total(), 0);
    {
        let mut bucket = bucket.lock().unwrap();
        assert_eq!(bucket.asked["x-amz-server-side-encryption"], "aws:kms");
        assert_eq!(bucket.asked["x-amz-server-side-encryption-aws-kms-key-id"], "alias/logs");
        // Weaker than what is wanted.
        bucket.says = vec![("x-amz-server-side-encryption", "AES256".to_owned())];
    }
    let heads = bucket.lock().unwrap().heads;
    wait_for("it is asked again", || bucket.lock().unwrap().heads > heads + 1).await;
    assert_eq!(running.stats.delivered_total(), 0);
    bucket.lock().unwrap().says = vec![("x-amz-server-side-encryption", "aws:kms".to_owned())];
    wait_for("all events", || running.stats.delivered_total() == 4).await;
    running.finish().await;
    assert_eq!(inflated(&bucket), expected());
}

#[tokio::test]
async fn a_folder_is_made_of_what_events_say() {
    let (flow, (bucket, endpoint)) = (Flow::new(), start_store().await);
    flow.append_with(["a", "b", "c", "d"], |index, event| {
        event.set(Field::VmName, ["vm-1", "../vm-1", "vm-1", "VM/1"][index]);
        event.set(Field::Time, Time(NOON + index as i64 * 3_600_000_000_000));
    })
    .await;
    let running = start(&flow, &endpoint, json!({ "folder": "vm={vm.name}/{time.date}" })).await;
    wait_for("all events", || running.stats.delivered_total() == 4).await;
    running.finish().await;
    let expected = [
        ("edge/vm=!2E.!2Fvm-1/2026-11-21", "b\n"),
        ("edge/vm=!56!4D!2F1/2026-11-21", "d\n"),
        ("edge/vm=vm-1/2026-11-21", "a\nc\n"),
    ];
    assert_eq!(inflated(&bucket), expected.map(|(key, text)| (key.to_owned(), text.to_owned())));
}
