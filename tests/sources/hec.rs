//! The HEC server, spoken to as its clients do: byte by byte over a socket.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Running, Yard, within};

const TOKEN: &str = "Authorization: Splunk s3cret\r\n";

const CHANNEL: &str = "FE0ECFAD-13D5-401B-847D-77833BD77131";

fn start(yard: &Yard) -> Running {
    yard.start("hec", json!({"address": "127.0.0.1:0", "token": "s3cret", "max_body_bytes": "1MiB"}))
}

/// Sends one request; answers status and body.
pub(super) async fn ask(to: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let length = body.len();
    let head = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A refused body need not be read to its end.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

async fn post(to: SocketAddr, path: &str, body: &str) -> (u16, String) {
    ask(to, &format!("POST {path} HTTP/1.1\r\n{TOKEN}"), body.as_bytes()).await
}

fn success() -> (u16, String) {
    (200, r#"{"text":"Success","code":0}"#.to_owned())
}

#[tokio::test]
async fn what_dockers_driver_posts() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let to = source.address();
    let (status, _) = ask(to, "OPTIONS /services/collector/event/1.0 HTTP/1.1\r\n", b"").await;
    assert_eq!(status, 200);

    let lines = include_str!("../../fixtures/hec/docker-inline.ndjson");
    let body = lines.replace('\n', "");
    assert_eq!(post(to, "/services/collector/event/1.0", &body).await, success());
    let expected: Vec<_> = lines.lines().map(str::to_owned).collect();
    let events = yard.events(expected.len()).await;
    assert_eq!(events.iter().map(super::Seen::raw).collect::<Vec<_>>(), expected);
    assert_eq!((events[0].field("event_class"), events[0].field("msg")), ("container.log", "plain line"));

    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    let head = format!("POST /services/collector/event/1.0 HTTP/1.1\r\n{TOKEN}Content-Encoding: gzip\r\n");
    assert_eq!(ask(to, &head, &encoder.finish().unwrap()).await, success());
    assert_eq!(yard.raws(expected.len()).await, expected);
    source.stop().await;
    yard.is_empty().await;
}

/// Whoever names a channel gets a number for what is on disk, and is told so when asked.
#[tokio::test]
async fn what_is_on_disk_is_acknowledged() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let to = source.address();
    let head = |path: &str| {
        format!("POST /services/collector{path} HTTP/1.1\r\n{TOKEN}X-Splunk-Request-Channel: {CHANNEL}\r\n")
    };
    for (number, path) in ["", "/event", "/raw"].into_iter().enumerate() {
        let answer = format!(r#"{{"text":"Success","code":0,"ackId":{number}}}"#);
        assert_eq!(ask(to, &head(path), br#"{"event":"a"}"#).await, (200, answer));
    }
    assert_eq!(ask(to, &head("/event"), br#"{"event":""}"#).await.0, 400, "no number");
    let acks = r#"{"acks":{"0":true,"2":true,"3":false}}"#.to_owned();
    assert_eq!(ask(to, &head("/ack"), br#"{"acks":[0,2,3]}"#).await, (200, acks));
    let other = format!("/services/collector/ack?channel={}", CHANNEL.replace('F', "0"));
    assert_eq!(post(to, &other, r#"{"acks":[0]}"#).await, (200, r#"{"acks":{"0":false}}"#.to_owned()));
    assert_eq!(yard.events(3).await.len(), 3);
    let packed = zstd::encode_all(&br#"{"event":"b"}"#[..], 1).unwrap();
    let zstd = format!("POST /services/collector HTTP/1.1\r\n{TOKEN}Content-Encoding: zstd\r\n");
    assert_eq!(ask(to, &zstd, &packed).await, success());
    assert_eq!(yard.raws(1).await, [r#"{"event":"b"}"#]);
    source.stop().await;
}

#[tokio::test]
async fn raw_lines_with_and_without_a_query() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let to = source.address();
    assert_eq!(post(to, "/services/collector/raw", "<13>Nov 21 09:00:00 h a: one\r\n\ntwo").await, success());
    let events = yard.events(2).await;
    assert_eq!((events[0].field("format"), events[0].field("msg")), ("rfc3164", "one"));
    assert_eq!((events[1].raw().as_str(), events[1].field("parse.status")), ("two", "failed"));
    assert_eq!(post(to, "/services/collector/raw/1.0?host=web%201&channel=7", "three").await, success());
    let event = yard.events(1).await.remove(0);
    assert_eq!((event.field("host.name"), event.field("msg"), event.field("format")), ("web 1", "three", "hec"));
    source.stop().await;
}

#[tokio::test]
async fn every_refusal_has_its_code_and_takes_nothing() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let to = source.address();
    let event = r#"{"event":"a"}"#;
    let path = "/services/collector";
    for (head, expected) in [
        (format!("POST {path} HTTP/1.1\r\n"), (401, "Token is required\",\"code\":2}")),
        (format!("POST {path}?token=s3cret HTTP/1.1\r\n"), (400, "not enabled\",\"code\":16}")),
        (format!("POST {path} HTTP/1.1\r\nAuthorization: Digest x\r\n"), (401, "\"code\":3}")),
        (format!("POST {path} HTTP/1.1\r\nAuthorization: Splunk no\r\n"), (403, "Invalid token\",\"code\":4}")),
        (format!("POST {path}/ack HTTP/1.1\r\n{TOKEN}"), (400, "Data channel is missing\",\"code\":10}")),
        (format!("POST {path}/ack?channel=1 HTTP/1.1\r\n{TOKEN}"), (400, "Invalid data channel\",\"code\":11}")),
        (format!("POST {path}/ack?channel={CHANNEL} HTTP/1.1\r\n"), (401, "Token is required\",\"code\":2}")),
        (format!("GET {path} HTTP/1.1\r\n{TOKEN}"), (405, "")),
        (format!("POST /services/other HTTP/1.1\r\n{TOKEN}"), (404, "")),
        (format!("POST {path} HTTP/1.1\r\n{TOKEN}Content-Encoding: br\r\n"), (415, "")),
        (format!("POST {path} HTTP/1.1\r\n{TOKEN}Content-Encoding: gzip\r\n"), (400, "\"code\":6")),
        (format!("GET {path}/health/1.0 HTTP/1.1\r\n"), (200, "HEC is healthy\",\"code\":17}")),
    ] {
        let (status, body) = ask(to, &head, event.as_bytes()).await;
        assert!(status == expected.0 && body.contains(expected.1), "{head}: {status} {body}");
    }
    for (body, expected) in [
        ("", r#"{"text":"No data","code":5}"#),
        (r#"{"event":"a"}{"event":"#, r#"{"text":"Invalid data format","code":6,"invalid-event-number":1}"#),
        (r#"{"event":"a"}{"x":1}"#, r#"{"text":"Event field is required","code":12,"invalid-event-number":1}"#),
        (r#"{"event":""}"#, r#"{"text":"Event field cannot be blank","code":13,"invalid-event-number":0}"#),
    ] {
        assert_eq!(post(to, path, body).await, (400, expected.to_owned()), "{body}");
    }
    assert_eq!(post(to, path, &"x".repeat(2 << 20)).await.0, 413);
    let deep = format!(r#"{{"event":{}}}"#, "[".repeat(100_000));
    assert_eq!(post(to, path, &deep).await.0, 400);
    yard.is_empty().await;
    // An event over the limit is kept by its head.
    let long = format!(r#"{{"event":"{}"}}"#, "y".repeat(300 * 1024));
    assert_eq!(post(to, path, &long).await, success());
    assert!(yard.events(1).await[0].field("parse.error").contains("over the limit"));
    source.stop().await;
}

#[tokio::test]
async fn alerts_of_wazuh_by_webhook() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let to = source.address();
    let alerts: Vec<_> = include_str!("../../fixtures/wazuh/alerts.ndjson").lines().take(3).collect();
    let hits: Vec<_> = alerts.iter().map(|alert| format!(r#"{{"_index":"i","_source":{alert}}}"#)).collect();
    let monitor = format!(r#"{{"ctx":{{"results":[{{"hits":{{"hits":[{}]}}}}]}}}}"#, hits.join(","));
    for body in [alerts.join("\n"), format!("[{}]", alerts.join(",")), monitor] {
        let bearer = "POST /wazuh HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n";
        assert_eq!(ask(to, bearer, body.as_bytes()).await, success());
        // What was answered is on disk.
        let events = yard.events(3).await;
        assert_eq!(events.iter().map(super::Seen::raw).collect::<Vec<_>>(), alerts);
        assert!(events.iter().all(|event| event.field("format") == "wazuh" && !event.field("rule.id").is_empty()));
    }
    assert_eq!(ask(to, "POST /wazuh HTTP/1.1\r\n", alerts[0].as_bytes()).await.0, 401);
    assert_eq!(post(to, "/wazuh", "no alert").await.0, 400);
    assert_eq!(post(to, "/wazuh", &format!("[{},7]", alerts[0])).await.0, 400);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn a_full_journal_is_busy_and_a_slow_client_is_shown_out() {
    let yard = Yard::with_budget(16 << 20);
    let source = start(&yard);
    let to = source.address();
    // A client that never ends its head.
    let slow = tokio::spawn(async move {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let started = Instant::now();
        stream.write_all(b"POST /services/collector HTTP/1.1\r\nX-Slow: ").await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if stream.write_all(b"x").await.is_err() {
                return started.elapsed();
            }
        }
    });
    let body = format!(r#"{{"event":"{}"}}"#, "z".repeat(1000)).repeat(800);
    let busy = within(async {
        loop {
            let (status, body) = post(to, "/services/collector/event", &body).await;
            match status {
                200 => assert_eq!(body, success().1),
                _ => break (status, body),
            }
        }
    });
    assert_eq!(busy.await, (503, r#"{"text":"Server is busy","code":9}"#.to_owned()));
    let shown_out = within(slow).await.unwrap();
    assert!((8..20).contains(&shown_out.as_secs()), "{shown_out:?}");
    source.stop().await;
}

/// Senders with tokens of their own are told apart; the answers are those of any other token.
#[tokio::test]
async fn tokens_with_names() {
    let mut yard = Yard::new();
    let tokens = json!({"docker_web": "w-1", "docker_db": "d-1"});
    let source = yard.start("hec", json!({"address": "127.0.0.1:0", "token": "s3cret", "tokens": tokens}));
    let to = source.address();
    for (token, expected) in [
        ("s3cret", Ok("127.0.0.1")),
        ("w-1", Ok("token docker_web")),
        ("d-1", Ok("token docker_db")),
        ("docker_db", Err((403, r#"{"text":"Invalid token","code":4}"#))),
        ("", Err((401, r#"{"text":"Invalid authorization","code":3}"#))),
    ] {
        for path in ["/services/collector", "/services/collector/raw"] {
            let head = format!("POST {path} HTTP/1.1\r\nAuthorization: Splunk {token}\r\n");
            let answer = ask(to, &head, br#"{"event":"x"}"#).await;
            match expected {
                Ok(peer) => {
                    assert_eq!(answer, success());
                    assert_eq!(yard.events(1).await[0].field("peer"), peer);
                }
                Err((status, body)) => assert_eq!(answer, (status, body.to_owned()), "{token}"),
            }
        }
    }
    let named_alone = yard.start("hec", json!({"address": "127.0.0.1:0", "tokens": {"one": "t-1"}}));
    let head = "POST /services/collector HTTP/1.1\r\nAuthorization: Splunk t-1\r\n";
    assert_eq!(ask(named_alone.address(), head, br#"{"event":"x"}"#).await, success());
    assert_eq!(yard.events(1).await[0].field("peer"), "token one");
    for running in [source, named_alone] {
        running.stop().await;
    }
    yard.is_empty().await;
}
