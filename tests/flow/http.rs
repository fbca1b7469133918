//! `http` against a receiver of our own: bodies, statuses, poison events, credentials that are renewed.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wharfinger::sinks::http::HttpConfig;
use wharfinger::sinks::{Sink, SinkConfig, SinkState};
use wharfinger_formats::Field;

use super::failover::left_out;
use super::splunk_hec::{names, start};
use crate::support::flow::{Flow, wait_for};
use crate::support::pki::Pki;
use crate::support::web_server::{Play, Seen, WebServer};

fn sink(flow: &Flow, url: &str, options: serde_json::Value) -> Box<dyn Sink> {
    let mut all = json!({ "url": url, "format": "raw", "timeout": "30s" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let config: HttpConfig = serde_json::from_value(all).unwrap();
    config.open(&flow.context("hook")).unwrap()
}

async fn taking() -> WebServer {
    WebServer::start(|_| (200, String::new())).await
}

#[tokio::test]
async fn each_shape_of_a_body() {
    for (options, bodies) in [
        (json!({}), vec!["event 1\nevent 2\nevent 3\n"]),
        (json!({ "batch": "array" }), vec![r#"["event 1","event 2","event 3"]"#]),
        (
            json!({ "batch": "single", "event": r#"{"a":"{record}"}"# }),
            vec![r#"{"a":"event 1"}"#, r#"{"a":"event 2"}"#, r#"{"a":"event 3"}"#],
        ),
        (
            json!({ "batch": "array", "prefix": "{\"events\":[", "suffix": "]}", "event": "{\"t\":{record}}\n" }),
            vec![r#"{"events":[{"t":"event 1"},{"t":"event 2"},{"t":"event 3"}]}"#],
        ),
        (
            json!({ "event": "{\"create\":{\"_id\":\"{vm.name}\"}}\n{\"r\":{record}}\n", "compression": "gzip" }),
            vec![concat!(
                "{\"create\":{\"_id\":\"vm-0\"}}\n{\"r\":\"event 1\"}\n",
                "{\"create\":{\"_id\":\"vm-1\"}}\n{\"r\":\"event 2\"}\n",
                "{\"create\":{\"_id\":\"vm-2\"}}\n{\"r\":\"event 3\"}\n"
            )],
        ),
        (
            json!({ "format": "json", "event": r#"{"a":"{record:2}"}"# }),
            vec!["{\"a\":\"{\\\"\"}\n{\"a\":\"{\\\"\"}\n{\"a\":\"{\\\"\"}\n"],
        ),
        (json!({ "batch": "array", "max_events": 2 }), vec![r#"["event 1","event 2"]"#, r#"["event 3"]"#]),
    ] {
        let (flow, server) = (Flow::new(), taking().await);
        flow.append_with(names(3), |index, event| event.set(Field::VmName, format!("vm-{index}").as_str())).await;
        let running = start(&flow, sink(&flow, &server.url(), options.clone()));
        wait_for("all events", || running.stats.delivered_total() == 3).await;
        running.finish().await;
        let taken = server.taken();
        assert_eq!(taken.iter().map(Seen::text).collect::<Vec<_>>(), bodies, "{options}");
        assert_eq!(taken[0].sent.len() == taken[0].body.len(), options.get("compression").is_none());
    }
}

#[tokio::test]
async fn a_request_says_who_sends_it() {
    let (flow, server) = (Flow::new(), taking().await);
    flow.append(["Hello, World!"]).await;
    let options = json!({
        "method": "PUT",
        "batch": "single",
        "headers": { "X-Api-Key": { "env": "PATH" }, "content-type": "text/plain" },
        "auth": { "basic": { "user": "Aladdin", "password": "open sesame" },
                  "hmac": { "key": "It's a Secret to Everybody" } },
    });
    let running = start(&flow, sink(&flow, &format!("{}/a/b?c=d", server.url()), options));
    wait_for("the event", || running.stats.delivered_total() == 1).await;
    running.finish().await;
    let seen = server.taken().remove(0);
    assert_eq!((seen.method.as_str(), &*seen.uri), ("PUT", "/a/b?c=d"));
    assert_eq!(seen.header("x-api-key"), std::env::var("PATH").unwrap());
    assert_eq!(seen.header("content-type"), "text/plain");
    // RFC 7617 §2; the signature is the one in GitHub's "Validating webhook deliveries".
    assert_eq!(seen.header("authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(seen.header("x-hub-signature-256"), signature);
}

/// Whatever a receiver or a proxy says: none is missing in the end, none is refused, and none comes twice but what
/// was taken without an answer.
#[tokio::test]
async fn no_answer_loses_an_event() {
    let plays = [
        Play::Answer(302, ""),
        Play::Answer(401, ""),
        Play::Answer(403, "no"),
        Play::Answer(404, "<html>"),
        Play::Answer(405, ""),
        Play::Answer(408, ""),
        Play::Answer(409, ""),
        Play::Answer(415, ""),
        Play::Answer(429, ""),
        Play::Answer(500, ""),
        Play::Answer(502, ""),
        Play::Answer(504, ""),
        Play::After(503, 0),
        Play::Answer(200, "<html>log in</html>"),
        Play::Endless(200),
        Play::Endless(503),
        Play::Hangup,
        Play::Lost,
    ];
    for play in plays {
        let server = WebServer::start(|_| (200, "it is ok".to_owned())).await;
        let flow = Flow::new();
        flow.append(names(10)).await;
        server.play([play.clone(), play.clone()]);
        let running = start(&flow, sink(&flow, &server.url(), json!({ "expect": "ok" })));
        wait_for(&format!("all after {play:?}"), || running.stats.delivered_total() == 10).await;
        let stats = running.finish().await;
        assert_eq!(stats.quarantined_total(), 0, "{play:?}");
        // What was answered 200 by a login page, or without an answer, comes again.
        let mut lines = server.lines();
        lines.drain(..lines.len() - 10);
        assert_eq!(lines, names(10), "{play:?}");
        assert_eq!(server.seen().len(), 3, "{play:?}");
    }
}

#[tokio::test]
async fn a_poison_event_is_split_off() {
    for status in [400, 422] {
        let judge = move |seen: &Seen| (if seen.text().contains("event 777\n") { status } else { 200 }, String::new());
        let (flow, server) = (Flow::new(), WebServer::start(judge).await);
        flow.append(names(2_000)).await;
        let running = start(&flow, sink(&flow, &server.url(), json!({})));
        wait_for("the good events", || running.stats.delivered_total() == 1_999).await;
        let stats = running.finish().await;
        assert_eq!((stats.quarantined_total(), flow.quarantine("siem").len()), (1, 1));
        assert_eq!(flow.quarantine("siem")[0]["event_id"], flow.id(777));
        let mut expected = names(2_000);
        expected.remove(776);
        assert_eq!(server.lines(), expected);
    }
}

/// A blank line is an event, too, wherever it stands.
#[tokio::test]
async fn blank_events_keep_their_lines() {
    let (flow, server) = (Flow::new(), taking().await);
    flow.append(["", "one", "", "two"]).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({})));
    wait_for("all events", || running.stats.delivered_total() == 4).await;
    running.finish().await;
    assert_eq!(server.taken()[0].text(), "\none\n\ntwo\n");
}

/// A wrong path that answers 400 must not put the whole journal into quarantine.
#[tokio::test]
async fn a_receiver_that_refuses_everything_is_an_alarm() {
    let refuses_each = |seen: &Seen| {
        let items: Vec<_> = seen.lines().iter().map(|_| json!({ "create": { "status": 400 } })).collect();
        (200, json!({ "errors": true, "items": items }).to_string())
    };
    for (server, options) in [
        (WebServer::start(|_| (400, "no".to_owned())).await, json!({})),
        (WebServer::start(|_| (413, "no".to_owned())).await, json!({})),
        (WebServer::start(refuses_each).await, json!({ "answer": "bulk", "event": "{\"r\":{record}}" })),
    ] {
        let flow = Flow::new();
        flow.append(names(500)).await;
        let running = start(&flow, sink(&flow, &server.url(), options));
        wait_for("the alarm", || running.stats.state() == SinkState::Alarm).await;
        let reason = running.stats.last_error().unwrap();
        assert!(reason.contains("as 100 events before it"), "{reason}");
        assert_eq!((running.finish().await.delivered_total(), flow.quarantine("siem").len()), (0, 100));
    }
}

#[tokio::test]
async fn requests_shrink_for_a_receiver_that_finds_them_too_large() {
    let judge = |seen: &Seen| (if seen.body.len() > 50_000 { 413 } else { 200 }, String::new());
    let (flow, server) = (Flow::new(), WebServer::start(judge).await);
    let mut events: Vec<String> = (0..1_000).map(|number| format!("{number} {}", "x".repeat(300))).collect();
    events.push("y".repeat(60_000));
    flow.append(&events).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({})));
    wait_for("the good events", || running.stats.delivered_total() == 1_000).await;
    wait_for("the huge one", || running.stats.quarantined_total() == 1).await;
    running.finish().await;
    assert_eq!(server.lines(), events[..1_000]);
    assert!(server.seen().len() < 40, "{} requests", server.seen().len());
}

#[tokio::test]
async fn a_renewed_token_is_read_from_its_file() {
    let judge = |seen: &Seen| (if seen.header("authorization") == "Bearer new" { 204 } else { 401 }, String::new());
    let (flow, server) = (Flow::new(), WebServer::start(judge).await);
    let file = flow.dir.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    flow.append(names(3)).await;
    let options = json!({ "auth": { "bearer": { "file": file } } });
    let running = start(&flow, sink(&flow, &server.url(), options));
    wait_for("the alarm", || running.stats.state() == SinkState::Alarm).await;
    assert!(running.stats.last_error().unwrap().contains("HTTP 401"));
    std::fs::write(&file, "new\n").unwrap();
    wait_for("the events", || running.stats.delivered_total() == 3).await;
    running.finish().await;
    assert_eq!(server.lines(), names(3));
}

/// A token that was renewed before the old one was refused: no alarm, no wait.
#[tokio::test]
async fn a_token_renewed_in_time_is_no_alarm() {
    let flow = Flow::new();
    let file = flow.dir.path().join("token");
    let renewed = file.clone();
    let judge = move |seen: &Seen| {
        if seen.header("authorization") == "Bearer new" {
            return (200, String::new());
        }
        std::fs::write(&renewed, "new\n").unwrap();
        (401, String::new())
    };
    let server = WebServer::start(judge).await;
    std::fs::write(&file, "old\n").unwrap();
    flow.append(names(3)).await;
    let mut settings = flow.settings("siem");
    // Whoever waits before the second try waits longer than the test does.
    (settings.backoff_min, settings.backoff_max) = (Duration::from_secs(600), Duration::from_secs(600));
    let options = json!({ "auth": { "bearer": { "file": file } } });
    let running = flow.start_with(settings, sink(&flow, &server.url(), options));
    wait_for("the events", || running.stats.delivered_total() == 3).await;
    assert_eq!(running.finish().await.state(), SinkState::Stopped);
}

/// A bulk API answers 200 and says of each event what became of it.
#[tokio::test]
async fn a_bulk_answer_is_read_event_by_event() {
    let judge = |seen: &Seen| {
        let items: Vec<_> = seen
            .lines()
            .iter()
            .map(|line| {
                let status = if line.contains("event 30\"") {
                    400
                } else if line.contains("event 5\"") {
                    409
                } else {
                    201
                };
                json!({ "create": { "status": status, "error": { "type": "mapper_parsing_exception" } } })
            })
            .collect();
        let errors = items.iter().any(|item| item["create"]["status"] != 201);
        (200, json!({ "took": 1, "errors": errors, "items": items }).to_string())
    };
    let (flow, server) = (Flow::new(), WebServer::start(judge).await);
    flow.append(names(50)).await;
    // One of them has no room for now: nothing is refused for that.
    server
        .play([Play::Answer(200, r#"{"errors":true,"items":[{"create":{"status":400}},{"create":{"status":429}}]}"#)]);
    let options = json!({ "answer": "bulk", "event": "{\"r\":{record}}" });
    let running = start(&flow, sink(&flow, &server.url(), options));
    wait_for("the good events", || running.stats.delivered_total() == 49).await;
    let stats = running.finish().await;
    assert_eq!(stats.quarantined_total(), 1);
    let refused = &flow.quarantine("siem")[0];
    assert_eq!(refused["event_id"], flow.id(30));
    assert!(refused["reason"].as_str().unwrap().contains("mapper_parsing_exception"), "{refused}");
    assert_eq!(server.seen().len(), 3, "the retry, the refusal that names its event, the rest");
}

/// An answer that does not name an event each names none: nobody's neighbour is refused.
#[tokio::test]
async fn a_bulk_answer_of_another_length_names_no_event() {
    let two_items_each = |seen: &Seen| {
        let item = |line: &&str| json!({ "create": { "status": if line.contains("event 2\"") { 400 } else { 201 } } });
        let items: Vec<_> = seen.lines().iter().flat_map(|line| [item(line), item(line)]).collect();
        (200, json!({ "errors": seen.text().contains("event 2\""), "items": items }).to_string())
    };
    let (flow, server) = (Flow::new(), WebServer::start(two_items_each).await);
    flow.append(names(4)).await;
    let options = json!({ "answer": "bulk", "event": "{\"r\":{record}}" });
    let running = start(&flow, sink(&flow, &server.url(), options));
    wait_for("the good events", || running.stats.delivered_total() == 3).await;
    assert_eq!(running.finish().await.quarantined_total(), 1);
    assert_eq!(flow.quarantine("siem")[0]["event_id"], flow.id(2));
}

/// No right to write there, or no such index: that is not what is wrong with an event.
#[tokio::test]
async fn a_bulk_answer_about_the_receiver_refuses_no_event() {
    for status in [401, 403, 404] {
        let judge = move |seen: &Seen| {
            let items: Vec<_> = seen.lines().iter().map(|_| json!({ "create": { "status": status } })).collect();
            (200, json!({ "errors": true, "items": items }).to_string())
        };
        let (flow, server) = (Flow::new(), WebServer::start(judge).await);
        flow.append(names(3)).await;
        let options = json!({ "answer": "bulk", "event": "{\"r\":{record}}" });
        let running = start(&flow, sink(&flow, &server.url(), options));
        wait_for("the alarm", || running.stats.state() == SinkState::Alarm).await;
        assert!(running.stats.last_error().unwrap().contains(&status.to_string()));
        assert_eq!(running.finish().await.quarantined_total(), 0, "{status}");
    }
}

/// A key in the body that was renewed is no reason to refuse an event, whether the sink was idle meanwhile or not.
#[tokio::test]
async fn a_renewed_key_in_the_body_refuses_no_event() {
    for (status, is_idle) in [(400, false), (401, false), (400, true)] {
        let judge = move |seen: &Seen| (if seen.text().contains("new") { 200 } else { status }, String::new());
        let (flow, server) = (Flow::new(), WebServer::start(judge).await);
        let file = flow.dir.path().join("key");
        std::fs::write(&file, "old\n").unwrap();
        let mut settings = flow.settings("siem");
        (settings.backoff_min, settings.backoff_max) = (Duration::from_secs(600), Duration::from_secs(600));
        let options = json!({ "secret": { "file": file }, "event": r#"{"k":{secret},"r":{record}}"# });
        let running = flow.start_with(settings, sink(&flow, &server.url(), options));
        std::fs::write(&file, "new\n").unwrap();
        if is_idle {
            left_out(11).await;
        }
        flow.append(names(1)).await;
        let stats = &running.stats;
        wait_for("the event", || stats.delivered_total() + stats.quarantined_total() == 1).await;
        assert_eq!(running.finish().await.quarantined_total(), 0, "{status}");
        assert_eq!(server.seen().len(), if is_idle { 1 } else { 2 }, "{status}");
    }
}

/// Error pages repeat what they were sent; the log, the status and the quarantine do not.
#[tokio::test]
async fn no_answer_brings_a_secret_into_the_log() {
    type Echo = fn(&Seen) -> String;
    let echoes: [Echo; 4] = [
        |seen| format!("Cannot POST {}", seen.uri),
        |seen| format!("Cannot POST {}", seen.uri.replace('/', "\\/")),
        |seen| format!("Cannot POST with {} and {}", seen.header("authorization"), seen.header("x-key")),
        |seen| format!("Cannot POST {}", seen.text()),
    ];
    for (status, echo) in [404, 400].into_iter().flat_map(|status| echoes.map(|echo| (status, echo))) {
        let (flow, server) = (Flow::new(), WebServer::start(move |seen| (status, echo(seen))).await);
        flow.append(names(1)).await;
        let options = json!({
            "secret": "body-CANARY",
            "event": r#"{"k":{secret},"r":{record}}"#,
            "auth": { "bearer": "bearer-CANARY" },
            "headers": { "X-Key": "header-CANARY" },
        });
        let url = format!("{}/services/T00-CANARY?key=query-CANARY", server.url());
        let running = start(&flow, sink(&flow, &url, options));
        let stats = &running.stats;
        wait_for("an answer", || stats.state() == SinkState::Alarm || stats.quarantined_total() == 1).await;
        let mut said = stats.last_error().unwrap_or_default();
        running.finish().await;
        said.extend(flow.quarantine("siem").iter().map(|refused| refused["reason"].to_string()));
        assert!(said.contains("Cannot POST") && said.contains("***") && !said.contains("CANARY"), "{said}");
    }
}

#[test]
fn mistakes_are_named_before_start() {
    for (options, option, expected) in [
        (json!({ "url": "receiver:80" }), "url", "no http or https URL"),
        (json!({ "url": "https://u:p@receiver/" }), "url", "belong into `auth.basic`"),
        (json!({ "headers": { "a b": "c" } }), "headers", "`a b` is no name of a header"),
        (json!({ "headers": { "a": "b\nc" } }), "headers", "characters that no header can hold"),
        (json!({ "auth": { "bearer": { "file": "/nowhere/token" } } }), "auth.bearer", "cannot be read"),
        (json!({ "auth": { "bearer": "a", "basic": { "user": "b", "password": "c" } } }), "auth", "the same header"),
        (json!({ "event": "{\"a\":{nothing}}" }), "event", "`{nothing}` names nothing"),
        (json!({ "event": "{\"a\":{msg}" }), "event", "would be no JSON"),
        (json!({ "event": "{\"a\":\"{msg}}" }), "event", "would be no JSON"),
        (json!({ "event": "{\"a\":{secret}}" }), "event", "there is no `secret`"),
        (json!({ "event": "{\"a\":{record:5}}" }), "event", "`{record:5}` cannot be cut"),
        (json!({ "event": "{\"a\":\"{secret:5}\"}", "secret": "k" }), "event", "`{secret:5}` cannot be cut"),
        (json!({ "batch": "array", "suffix": "]}" }), "prefix", "would be no JSON"),
        (json!({ "max_events": 0 }), "max_events", "hold an event"),
        (json!({ "tls": { "ca": "/nowhere/ca.pem" } }), "tls.ca", "cannot be read"),
        (json!({ "tls": { "server_name": "other" } }), "tls.server_name", "that of the URL"),
    ] {
        let mut all = json!({ "url": "https://receiver.example/" });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let config: HttpConfig = serde_json::from_value(all).unwrap();
        let problems = config.check();
        let found = problems.first().map(|problem| (problem.option, problem.message.contains(expected)));
        assert_eq!(found, Some((option, true)), "{options}: {problems:?}");
    }
}

/// A client certificate that is renewed on disk is shown on the next connection; nothing is lost meanwhile.
#[tokio::test]
async fn a_renewed_certificate_is_shown() {
    let (flow, mine, renewed) = (Flow::new(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pki = Pki::create(mine.path());
    let acceptor = pki.acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&shown);
    // Answers every request of each connection, and notes the certificate it was shown.
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.current().accept(stream).await else { continue };
            let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            seen.lock().unwrap().push(certificate);
            tokio::spawn(async move {
                let mut heard = Vec::new();
                while stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
                    if heard.ends_with(b"\n") && !heard.ends_with(b"\r\n\r\n") {
                        heard.clear();
                        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                    }
                }
            });
        }
    });
    let tls = json!({ "ca": pki.authority, "certificate": pki.client.certificate, "key": pki.client.key });
    let running = start(&flow, sink(&flow, &url, json!({ "tls": tls })));
    flow.append(names(1)).await;
    wait_for("the first event", || running.stats.delivered_total() == 1).await;
    // Of the same authority: its key is new, too.
    let other = pki.renew_client(renewed.path());
    std::fs::copy(&other.certificate, &pki.client.certificate).unwrap();
    std::fs::copy(&other.key, &pki.client.key).unwrap();
    let mut delivered = 1;
    while shown.lock().unwrap().len() < 2 {
        assert!(delivered < 1_000, "the old certificate is shown for ever");
        flow.append(names(1)).await;
        delivered += 1;
        wait_for("another event", || running.stats.delivered_total() == delivered).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stats = running.finish().await;
    assert_eq!((stats.delivered_total(), stats.quarantined_total()), (delivered, 0));
    let expected = certificate_in(&other.certificate);
    assert_eq!(shown.lock().unwrap().last(), Some(&expected));
}

fn certificate_in(pem: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(pem).unwrap().to_vec()
}
