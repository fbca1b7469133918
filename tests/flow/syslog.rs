//! `syslog` against receivers that reset, stall, close and come back.

use std::time::Duration;

use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use wharfinger::sinks::syslog::SyslogConfig;
use wharfinger::sinks::{Sink, SinkConfig};

use crate::support::flow::{Flow, Running, wait_for};
use crate::support::pki::Pki;

fn sink(flow: &Flow, address: std::net::SocketAddr, options: serde_json::Value) -> Box<dyn Sink> {
    let mut all = json!({ "address": address.to_string(), "format": "raw", "header": "none" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let config: SyslogConfig = serde_json::from_value(all).unwrap();
    assert_eq!(config.check(), []);
    config.open(&flow.context("siem")).unwrap()
}

fn start(flow: &Flow, sink: Box<dyn Sink>) -> Running {
    let mut settings = flow.settings("siem");
    settings.backoff_min = Duration::from_millis(5);
    settings.backoff_max = Duration::from_millis(20);
    flow.start_with(settings, sink)
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("event {number}")).collect()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

/// Reads until that line has come.
async fn read_until(stream: &mut TcpStream, last: &str) -> Vec<String> {
    let mut bytes = Vec::new();
    let end = format!("{last}\n");
    while !bytes.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_buf(&mut bytes)).await;
        assert_ne!(read.expect("the receiver waits in vain").unwrap(), 0);
    }
    lines(&bytes)
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[tokio::test]
async fn all_lines_in_order_and_an_orderly_end() {
    let flow = Flow::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    flow.append(names(5_000)).await;
    let running = start(&flow, sink(&flow, listener.local_addr().unwrap(), json!({})));
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(read_until(&mut stream, "event 5000").await, names(5_000));
    // All of it is young: it could be lost with the connection, so the cursor has not moved.
    assert_eq!(running.stats.delivered_total(), 0);
    let receiver = tokio::spawn(async move {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
    });
    assert_eq!(running.finish().await.delivered_total(), 5_000);
    receiver.await.unwrap();
}

/// A record has one header: its own, if its format has one.
#[tokio::test]
async fn no_format_has_two_headers() {
    for (format, is_new) in [("rfc3164", false), ("rfc5424", true), ("cef", true)] {
        let flow = Flow::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        flow.append(names(1)).await;
        let options = json!({"format": format, "header": "rfc5424"});
        let running = start(&flow, sink(&flow, listener.local_addr().unwrap(), options));
        let (stream, _) = listener.accept().await.unwrap();
        let line = tokio::io::BufReader::new(stream).lines().next_line().await.unwrap().unwrap();
        assert_eq!(line.matches('<').count(), 1, "{format}: {line}");
        assert_eq!(line.split_once('>').unwrap().1.starts_with("1 "), is_new, "{format}: {line}");
        running.finish().await;
    }
}

/// What was handed over and may be lost with the connection comes again on the next one.
#[tokio::test]
async fn a_reset_sends_the_window_again() {
    let flow = Flow::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    flow.append(names(100)).await;
    let running = start(&flow, sink(&flow, listener.local_addr().unwrap(), json!({})));
    let (mut stream, _) = listener.accept().await.unwrap();
    read_until(&mut stream, "event 100").await;
    // Nothing is being delivered: the loss is noticed all the same.
    reset(stream);
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(read_until(&mut stream, "event 100").await, names(100));
    flow.append(["later"]).await;
    assert_eq!(read_until(&mut stream, "later").await, ["later"]);
    drop(stream);
    running.finish().await;
}

/// A receiver that closes in order has read everything: nothing comes twice, even if it does so after
/// every event.
#[tokio::test]
async fn an_orderly_close_repeats_nothing() {
    let flow = Flow::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = start(&flow, sink(&flow, listener.local_addr().unwrap(), json!({})));
    for name in names(5) {
        flow.append([&name]).await;
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(read_until(&mut stream, &name).await, [name]);
    }
    wait_for("all events", || running.stats.delivered_total() == 5).await;
    running.finish().await;
}

/// A receiver that reads nothing holds nothing up but itself, and gets all of it in the end.
#[tokio::test]
async fn a_stalled_receiver_gets_everything_when_it_reads_again() {
    let flow = Flow::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let names: Vec<String> = (1..=20_000).map(|number| format!("event {number} {}", "x".repeat(1000))).collect();
    for part in names.chunks(1000) {
        flow.append(part).await;
    }
    let running = start(&flow, sink(&flow, listener.local_addr().unwrap(), json!({})));
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut before = u64::MAX;
    // Stalled when nothing more has been committed for a while.
    while running.stats.delivered_total() != before {
        before = running.stats.delivered_total();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(before < 20_000);
    assert_eq!(read_until(&mut stream, names.last().unwrap()).await, names);
    drop(stream);
    running.finish().await;
}

#[tokio::test]
async fn octet_counting_and_datagrams() {
    let flow = Flow::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    flow.append(["a\nb", "c"]).await;
    let counted = sink(&flow, listener.local_addr().unwrap(), json!({ "framing": "octet_counting" }));
    let running = start(&flow, counted);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < 9 {
        stream.read_buf(&mut bytes).await.unwrap();
    }
    assert_eq!(bytes, b"4 a\\nb1 c");
    drop(stream);
    running.finish().await;

    let flow = Flow::new();
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    flow.append(names(10)).await;
    let running = start(&flow, sink(&flow, receiver.local_addr().unwrap(), json!({ "mode": "udp" })));
    for name in names(10) {
        let mut datagram = [0; 100];
        let read = tokio::time::timeout(Duration::from_secs(30), receiver.recv(&mut datagram)).await.unwrap();
        assert_eq!(&datagram[..read.unwrap()], name.as_bytes());
    }
    assert_eq!(running.finish().await.delivered_total(), 10);
}

/// TLS with certificates on both sides; a receiver of another authority gets nothing.
#[tokio::test]
async fn tls_with_certificates_on_both_sides() {
    let flow = Flow::new();
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (pki, other) = (Pki::create(ours.path()), Pki::create(theirs.path()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = |authority: &std::path::Path| json!({ "tls": { "ca": authority, "certificate": pki.client.certificate, "key": pki.client.key } });
    flow.append(names(100)).await;
    let acceptor = pki.acceptor();

    let wary = start(&flow, sink(&flow, address, tls(&other.authority)));
    let (stream, _) = listener.accept().await.unwrap();
    assert!(acceptor.current().accept(stream).await.is_err());
    wait_for("the reason", || wary.stats.last_error().is_some()).await;
    let reason = wary.stats.last_error().unwrap();
    assert!(reason.contains("invalid peer certificate"), "{reason}");
    assert_eq!(wary.finish().await.delivered_total(), 0);

    let running = start(&flow, sink(&flow, address, tls(&pki.authority)));
    let mut stream = loop {
        // Tries of the wary sink may still wait to be accepted.
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = acceptor.current().accept(stream).await {
            break stream;
        }
    };
    let mut bytes = Vec::new();
    let whole: String = names(100).iter().map(|name| format!("{} {name}", name.len())).collect();
    while bytes.len() < whole.len() {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
    assert_eq!(String::from_utf8(bytes).unwrap(), whole, "octet counting is the default with TLS");
    let receiver = tokio::spawn(async move {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "close_notify, not a bare end");
    });
    assert_eq!(running.finish().await.delivered_total(), 100);
    receiver.await.unwrap();
}
