//! `syslog` with `mode: relp` against a receiver that answers as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wharfinger::sinks::syslog::SyslogConfig;
use wharfinger::sinks::{Sink, SinkConfig, SinkState};
use wharfinger_formats::frame::Frame;
use wharfinger_formats::frame::relp::{Relp, RelpFramer, parse, write};

use super::failover::left_out;
use super::splunk_hec::{names, start};
use crate::support::flow::{Flow, wait_for};

/// What the receiver does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Play {
    Ok,
    Refuse,
    /// Takes it, and breaks the connection instead of answering.
    Break,
    /// Answers what came before, and breaks the connection without taking it.
    BreakBefore,
}

type Script = Box<dyn FnMut(&str) -> Play + Send>;

/// What was taken, by connection.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<String>>>);

impl Taken {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn receiver(script: Script) -> (SocketAddr, Taken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Taken::default());
    let (script, all) = (Arc::new(Mutex::new(script)), taken.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(session(stream, Arc::clone(&script), all.clone()));
        }
    });
    (address, taken)
}

async fn session(mut stream: TcpStream, script: Arc<Mutex<Script>>, taken: Taken) {
    let (mut framer, mut heard) = (RelpFramer::new(1 << 20), Vec::new());
    loop {
        let mut out = Vec::new();
        while let Frame::Complete { start, end, used } = framer.next(&heard) {
            let frame = parse(&heard[start..end]).unwrap();
            let text = String::from_utf8(frame.data.to_vec()).unwrap();
            let play = if frame.command == "syslog" { (script.lock().unwrap())(&text) } else { Play::Ok };
            if play == Play::BreakBefore {
                let _ = stream.write_all(&out).await;
                let _ = stream.shutdown().await;
                return;
            }
            if frame.command == "syslog" && play != Play::Refuse {
                taken.0.lock().unwrap().push(text);
            }
            if play == Play::Break {
                return;
            }
            let answer = if play == Play::Refuse { "500 not this one" } else { "200 OK" };
            write(&Relp { txnr: frame.txnr, command: "rsp", data: answer.as_bytes() }, &mut out);
            heard.drain(..used);
        }
        if stream.write_all(&out).await.is_err() || stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn sink(flow: &Flow, to: SocketAddr) -> Box<dyn Sink> {
    sink_to(flow, to, &[])
}

fn sink_to(flow: &Flow, to: SocketAddr, more: &[SocketAddr]) -> Box<dyn Sink> {
    let more: Vec<String> = more.iter().map(ToString::to_string).collect();
    let options =
        json!({ "address": to.to_string(), "addresses": more, "mode": "relp", "format": "raw", "header": "none" });
    let config: SyslogConfig = serde_json::from_value(options).unwrap();
    assert_eq!(config.check(), []);
    config.open(&flow.context("relp")).unwrap()
}

#[tokio::test]
async fn every_record_is_answered_once() {
    let flow = Flow::new();
    let (to, taken) = receiver(Box::new(|_| Play::Ok)).await;
    // Some windows and requests.
    flow.append(names(7_001)).await;
    let running = start(&flow, sink(&flow, to));
    wait_for("all", || running.stats.delivered_total() == 7_001).await;
    let stats = running.finish().await;
    assert_eq!((stats.retries_total(), stats.quarantined_total()), (0, 0));
    assert_eq!(taken.all(), names(7_001));
}

/// A receiver that ends the session at one record, with or without a word, gets all the others, and what came
/// before it twice at most.
#[tokio::test]
async fn a_record_at_which_sessions_end_stands_alone() {
    for (play, reason) in [(Play::Refuse, "500 not this one"), (Play::BreakBefore, "broke off")] {
        let flow = Flow::new();
        let bad = move |text: &str| if text.ends_with(" 777") { play } else { Play::Ok };
        let (to, taken) = receiver(Box::new(bad)).await;
        flow.append(names(1_000)).await;
        let running = start(&flow, sink(&flow, to));
        wait_for("the others", || running.stats.delivered_total() == 999).await;
        assert_eq!(running.finish().await.quarantined_total(), 1);
        let quarantined = &flow.quarantine("siem")[0];
        assert_eq!(quarantined["event_id"], flow.id(777));
        assert!(quarantined["reason"].as_str().unwrap().contains(reason), "{quarantined}");
        let mut all = taken.all();
        let twice = all.len() - 999;
        all.sort_unstable();
        all.dedup();
        let mut expected = names(1_000);
        expected.remove(776);
        expected.sort_unstable();
        assert_eq!(all, expected);
        // A receiver that refuses with a word has taken what was sent behind it.
        let behind = if play == Play::Refuse { 2 * 1_000 } else { 0 };
        assert!(twice <= 776 + behind, "{twice} came twice");
    }
}

/// That is no reason to refuse any record.
#[tokio::test]
async fn a_receiver_that_takes_nothing_gets_nothing_refused() {
    for (play, reason) in [(Play::Refuse, "500 not this one"), (Play::BreakBefore, "broke off")] {
        let flow = Flow::new();
        let (to, _) = receiver(Box::new(move |_| play)).await;
        flow.append(names(100)).await;
        let running = start(&flow, sink(&flow, to));
        wait_for("many tries", || running.stats.retries_total() > 20).await;
        assert_eq!(running.stats.state(), SinkState::Retrying);
        assert!(running.stats.last_error().unwrap().contains(reason));
        let stats = running.finish().await;
        assert_eq!((stats.delivered_total(), stats.quarantined_total()), (0, 0));
    }
}

/// At most one record pays for it that sessions end everywhere: the others are not what is wrong.
#[tokio::test]
async fn a_receiver_that_breaks_down_gets_one_refused_at_most() {
    let flow = Flow::new();
    let bad = |text: &str| if text.ends_with(" 1") { Play::Ok } else { Play::BreakBefore };
    let (to, _) = receiver(Box::new(bad)).await;
    flow.append(names(1)).await;
    let running = start(&flow, sink(&flow, to));
    wait_for("the first", || running.stats.delivered_total() == 1).await;
    flow.append(names(3)[1..].to_vec()).await;
    wait_for("many tries", || running.stats.retries_total() > 20).await;
    let stats = running.finish().await;
    assert_eq!(stats.delivered_total(), 1);
    assert!(stats.quarantined_total() <= 1, "{}", stats.quarantined_total());
}

/// A receiver that opens sessions and takes nothing costs no event while there is another one, and is tried less and
/// less.
#[tokio::test]
async fn one_that_takes_nothing_costs_nothing_beside_another() {
    let (flow, tries) = (Flow::new(), Arc::new(AtomicUsize::new(0)));
    let tried = Arc::clone(&tries);
    let breaks = move |_: &str| {
        tried.fetch_add(1, Ordering::Relaxed);
        Play::BreakBefore
    };
    let (broken, _) = receiver(Box::new(breaks)).await;
    let (standing, taken) = receiver(Box::new(|_| Play::Ok)).await;
    flow.append(names(10)).await;
    let running = start(&flow, sink_to(&flow, broken, &[standing]));
    wait_for("the first ten", || running.stats.delivered_total() == 10).await;
    let mut tries_before = 0;
    // Left out for 10, 20 and 40 seconds.
    for (passed, seconds, is_tried) in [(10, 11, true), (11, 21, true), (12, 11, false)] {
        tries_before = tries.load(Ordering::Relaxed).max(tries_before);
        left_out(seconds).await;
        flow.append([format!("event {}", passed + 1)]).await;
        let what = format!("event {}", passed + 1);
        wait_for(&what, || running.stats.delivered_total() + running.stats.quarantined_total() == passed + 1).await;
        assert_eq!(tries.load(Ordering::Relaxed) > tries_before, is_tried, "{what}");
    }
    let stats = running.finish().await;
    assert_eq!((stats.delivered_total(), stats.quarantined_total()), (13, 0));
    assert_eq!(taken.all(), names(13));
}

/// A record at which every receiver ends the session is refused all the same.
#[tokio::test]
async fn a_record_that_nobody_takes_is_refused() {
    let flow = Flow::new();
    let bad = |text: &str| if text.ends_with(" 7") { Play::BreakBefore } else { Play::Ok };
    let ((one, _), (two, _)) = (receiver(Box::new(bad)).await, receiver(Box::new(bad)).await);
    flow.append(names(10)).await;
    let running = start(&flow, sink_to(&flow, one, &[two]));
    wait_for("the others", || running.stats.delivered_total() == 9).await;
    assert_eq!(running.finish().await.quarantined_total(), 1);
    assert_eq!(flow.quarantine("siem")[0]["event_id"], flow.id(7));
}

/// What was not answered comes again, and nothing before it.
#[tokio::test]
async fn a_broken_connection_repeats_one_request_at_most() {
    let flow = Flow::new();
    let mut seen = 0;
    let (to, taken) = receiver(Box::new(move |_| {
        seen += 1;
        if seen == 4_500 { Play::Break } else { Play::Ok }
    }))
    .await;
    flow.append(names(6_000)).await;
    let running = start(&flow, sink(&flow, to));
    wait_for("all", || running.stats.delivered_total() == 6_000).await;
    running.finish().await;
    let all = taken.all();
    assert!(all.len() > 6_000 && all.len() <= 8_000, "{}", all.len());
    assert_eq!(all[..4_000], names(6_000)[..4_000], "answered requests do not come again");
    let again = all.len() - 6_000;
    assert_eq!(all[4_500..], names(6_000)[4_500 - again..]);
}

/// A plain syslog receiver, or a web server: nothing is taken for an answer.
#[tokio::test]
async fn who_answers_something_else_is_no_receiver() {
    for (answer, state) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", SinkState::Retrying),
        ("1 rsp 11 500 denied\n", SinkState::Retrying),
        ("1 rsp 10 500 denied\n", SinkState::Alarm),
        ("0 serverclose 0\n", SinkState::Retrying),
    ] {
        let flow = Flow::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                // A moment, so that the answer is read before the end is.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        flow.append(names(3)).await;
        let running = start(&flow, sink(&flow, to));
        wait_for(answer, || running.stats.state() == state).await;
        assert_eq!(running.finish().await.delivered_total(), 0, "{answer}");
    }
}
