//! `syslog` with several receivers: the first that stands gets everything, and nothing is lost or counted twice when
//! one goes or comes back.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use wharfinger::sinks::syslog::SyslogConfig;
use wharfinger::sinks::{Outcome, Sink, SinkConfig};
use wharfinger_formats::Event;

use super::splunk_hec::{names, start};
use crate::support::flow::Flow;
use crate::support::process::free_port;

fn sink(flow: &Flow, addresses: &[SocketAddr]) -> Box<dyn Sink> {
    let more: Vec<String> = addresses[1..].iter().map(ToString::to_string).collect();
    let mut options = json!({ "address": addresses[0].to_string(), "addresses": more });
    // The clock of a test runs ahead: what was sent before is still young.
    let plain = json!({ "format": "raw", "header": "none", "resend_age": "1h" });
    options.as_object_mut().unwrap().extend(plain.as_object().unwrap().clone());
    let config: SyslogConfig = serde_json::from_value(options).unwrap();
    assert_eq!(config.check(), []);
    config.open(&flow.context("siem")).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    // Where one is to stand again, nobody else may stand meanwhile.
    let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    tokio::time::timeout(Duration::from_secs(30), listener.accept()).await.expect("a connection").unwrap().0
}

/// Reads until that line has come.
async fn read_until(stream: &mut TcpStream, last: &str) -> Vec<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(format!("{last}\n").as_bytes()) {
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_buf(&mut bytes)).await;
        assert_ne!(read.expect("the receiver waits in vain").unwrap(), 0);
    }
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

/// Lets the time pass that a receiver is left out, without waiting for it.
pub(super) async fn left_out(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_next_one_gets_what_the_first_does_not_take() {
    let flow = Flow::new();
    let ((gone, first), (second, address)) = (listen().await, listen().await);
    drop(gone);
    flow.append(names(100)).await;
    let running = start(&flow, sink(&flow, &[first, address]));
    let mut stream = accept(&second).await;
    assert_eq!(read_until(&mut stream, "event 100").await, names(100));
    drop(stream);
    assert_eq!(running.finish().await.delivered_total(), 100);
}

/// What the first had taken and may have lost goes to the second.
#[tokio::test]
async fn a_reset_sends_the_window_to_the_next_one() {
    let flow = Flow::new();
    let ((one, first), (two, second)) = (listen().await, listen().await);
    flow.append(names(100)).await;
    let running = start(&flow, sink(&flow, &[first, second]));
    let mut stream = accept(&one).await;
    read_until(&mut stream, "event 100").await;
    drop(one);
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    let mut stream = accept(&two).await;
    assert_eq!(read_until(&mut stream, "event 100").await, names(100));
    drop(stream);
    let stats = running.finish().await;
    assert_eq!((stats.delivered_total(), stats.quarantined_total()), (100, 0));
}

/// The preferred one is gone back to. What the other one has read comes no second time; what it left unread does.
#[tokio::test]
async fn the_first_is_gone_back_to() {
    for reads_all in [true, false] {
        let flow = Flow::new();
        let ((gone, first), (two, second)) = (listen().await, listen().await);
        drop(gone);
        flow.append(["one", "two"]).await;
        let running = start(&flow, sink(&flow, &[first, second]));
        let mut stream = accept(&two).await;
        read_until(&mut stream, "two").await;

        let one = TcpListener::bind(first).await.unwrap();
        left_out(11).await;
        flow.append(["three"]).await;
        let mut back = accept(&one).await;
        if reads_all {
            // It sees the end, and closes in turn.
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        } else {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(stream);
        let expected: &[&str] = if reads_all { &["three"] } else { &["one", "two", "three"] };
        assert_eq!(read_until(&mut back, "three").await, expected, "reads all: {reads_all}");
        drop(back);
        assert_eq!(running.finish().await.delivered_total(), 3);
    }
}

/// A receiver that is not back does not hold up the one that is there.
#[tokio::test]
async fn who_is_not_back_holds_nobody_up() {
    let flow = Flow::new();
    let ((gone, first), (two, second)) = (listen().await, listen().await);
    drop(gone);
    flow.append(["one"]).await;
    let running = start(&flow, sink(&flow, &[first, second]));
    let mut stream = accept(&two).await;
    read_until(&mut stream, "one").await;
    for name in ["two", "three"] {
        left_out(11).await;
        flow.append([name]).await;
        assert_eq!(read_until(&mut stream, name).await, [name]);
    }
    drop(stream);
    assert_eq!(running.finish().await.delivered_total(), 3);
}

/// The gateway ends while it goes back: nobody has said yet that the one before has everything.
#[tokio::test]
async fn an_end_on_the_way_back_confirms_nothing() {
    let flow = Flow::new();
    let ((gone, first), (two, second)) = (listen().await, listen().await);
    drop(gone);
    let mut sink = sink(&flow, &[first, second]);
    sink.push(&Event::new(b"one")).unwrap();
    assert_eq!(sink.deliver().await, Outcome::Delivered);
    let mut before = accept(&two).await;
    read_until(&mut before, "one").await;

    let one = TcpListener::bind(first).await.unwrap();
    left_out(11).await;
    sink.push(&Event::new(b"two")).unwrap();
    let left = async {
        let back = accept(&one).await;
        assert_eq!(before.read(&mut [0; 16]).await.unwrap(), 0, "it is left");
        back
    };
    let back = tokio::select! {
        back = left => back,
        outcome = sink.deliver() => panic!("not before the one that was left has closed: {outcome:?}"),
    };
    drop(back);
    assert!(!sink.close().await, "the first never had what the second may have lost");
}

/// The preferred one resets right after it was gone back to: what the one before may have lost is still owed.
#[tokio::test]
async fn what_is_owed_on_the_way_back_is_not_forgotten() {
    let flow = Flow::new();
    let ((gone, first), (two, second)) = (listen().await, listen().await);
    drop(gone);
    let mut sink = sink(&flow, &[first, second]);
    sink.push(&Event::new(b"one")).unwrap();
    assert_eq!(sink.deliver().await, Outcome::Delivered);
    assert_eq!(sink.in_doubt().unwrap(), 1);
    let mut before = accept(&two).await;
    read_until(&mut before, "one").await;

    let one = TcpListener::bind(first).await.unwrap();
    left_out(11).await;
    sink.push(&Event::new(b"two")).unwrap();
    let reset = |stream: TcpStream| SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    let left = async {
        let back = accept(&one).await;
        assert_eq!(before.read(&mut [0; 16]).await.unwrap(), 0, "it is left");
        reset(back);
        reset(before);
    };
    let ((), outcome) = tokio::join!(left, sink.deliver());
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    assert!(sink.in_doubt().is_err(), "the second never said that it has read it");
    // It is sent again, and to the one that stands.
    sink.push(&Event::new(b"one")).unwrap();
    assert_eq!(sink.deliver().await, Outcome::Delivered);
    assert_eq!(read_until(&mut accept(&two).await, "one").await, ["one"]);
}

#[test]
fn datagrams_fail_over_to_nobody() {
    let options = json!({ "address": "127.0.0.1:1", "addresses": ["127.0.0.1:2", "a b"], "mode": "udp" });
    let config: SyslogConfig = serde_json::from_value(options).unwrap();
    let problems: Vec<_> = config.check().iter().map(|problem| problem.option).collect();
    assert_eq!(problems, ["addresses", "addresses"]);
}

/// It is there, takes what it is sent, and resets, again and again: the second one gets everything, and soon.
#[tokio::test]
async fn who_takes_a_little_and_resets_is_left_out() {
    let flow = Flow::new();
    let ((bad, first), (good, second)) = (listen().await, listen().await);
    let resets = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&resets);
    let resetting = tokio::spawn(async move {
        loop {
            let (mut stream, _) = bad.accept().await.unwrap();
            if stream.read(&mut [0; 64]).await.unwrap_or(0) > 0 {
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    flow.append(names(100)).await;
    let running = start(&flow, sink(&flow, &[first, second]));
    let mut stream = accept(&good).await;
    assert_eq!(read_until(&mut stream, "event 100").await, names(100));
    // And again when it is tried again: for each time that is longer, one event at most waits for it.
    left_out(11).await;
    flow.append(["more"]).await;
    let mut again = accept(&good).await;
    assert_eq!(read_until(&mut again, "more").await.last().unwrap(), "more");
    left_out(11).await;
    flow.append(["and more"]).await;
    assert_eq!(read_until(&mut again, "and more").await, ["and more"], "twenty seconds this time");
    resetting.abort();
    assert_eq!(resets.load(std::sync::atomic::Ordering::SeqCst), 2);
    drop((stream, again));
    let stats = running.finish().await;
    assert_eq!((stats.delivered_total(), stats.quarantined_total()), (102, 0));
}
