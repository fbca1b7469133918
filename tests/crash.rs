//! kill -9 at any moment: nothing that was acknowledged is lost, and no number is given twice.
//!
//! A producer sends numbered events over HEC and notes every 200 (P1: it comes after the events are
//! on disk); another sends lines over TCP, which has no acknowledgement. The gateway is killed at a
//! random moment, started again, and so on. In the end every acknowledged event is at both sinks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::gateway::{Gateway, Stopped};
use support::lines::{SinkFile, text};

const CYCLES: usize = 20;
const KILL_AFTER_MS: std::ops::RangeInclusive<u64> = 5..=500;
const TOKEN: &str = "5b1d6f0e-2a53-4c8e-9a61-0f7e6d5c4b3a";
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

/// A syslog receiver that keeps every line.
struct Collector {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&lines);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let collected = Arc::clone(&collected);
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    // A line that the kill cut off has no line end; it comes again, whole.
                    while stream.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
                        collected.lock().unwrap().push(std::mem::take(&mut line));
                    }
                });
            }
        });
        Collector { address, lines }
    }

    fn events(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap().clone();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

/// The events in the file. A kill in the middle of a write leaves the beginning of a line, which the
/// sink closes with a line end when it starts again; the whole line comes again after it.
fn file_events(file: &SinkFile) -> Vec<Value> {
    let text = file.text();
    let (mut events, mut torn) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) => torn.push(line),
        }
    }
    assert!(torn.len() <= CYCLES, "more torn lines than kills: {torn:?}");
    for torn in torn {
        let whole = text.lines().any(|line| line.len() > torn.len() && line.starts_with(torn));
        assert!(whole || text.ends_with(&format!("{torn}\n")), "not the beginning of any line: `{torn}`");
    }
    events
}

/// Sends requests until the connection breaks; answers the messages that were acknowledged.
fn produce_hec(address: SocketAddr, cycle: usize, seed: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = Vec::new();
    let Ok(mut stream) = TcpStream::connect(address) else { return acknowledged };
    for request in 0.. {
        let messages: Vec<String> =
            (0..random.usize(1..=20)).map(|number| format!("hec {cycle}.{request}.{number}")).collect();
        let body = messages.iter().fold(String::new(), |mut body, message| {
            write!(body, r#"{{"event":"{message}"}}"#).unwrap();
            body
        });
        let head = format!(
            "POST /services/collector/event HTTP/1.1\r\nHost: gateway\r\nAuthorization: Splunk {TOKEN}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() || !is_success(&mut stream) {
            return acknowledged;
        }
        acknowledged.extend(messages);
    }
    acknowledged
}

/// Reads one answer; only a whole 200 with code 0 is an acknowledgement.
fn is_success(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if length.is_some_and(|length: usize| body.len() >= length) {
                return head.starts_with("HTTP/1.1 200") && body.contains(r#""code":0"#);
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return false,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
        }
    }
}

/// Sends lines, about 10,000 a second, until the connection breaks or `stop`.
fn produce_tcp(address: SocketAddr, cycle: usize, stop: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    for number in 0.. {
        let mut lines = String::new();
        for part in 0..20 {
            writeln!(lines, "<134>1 2026-11-21T09:05:11.123456Z host app - - - tcp {cycle}.{number}.{part}").unwrap();
        }
        if stop.load(Ordering::Relaxed) || stream.write_all(lines.as_bytes()).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// One life of the gateway under load; answers what it acknowledged before it was killed.
fn live_and_die(gateway: Gateway, cycle: usize, seed: u64, after: Duration) -> (Stopped, Vec<String>) {
    let (hec, tcp) = (gateway.address("hec", "http"), gateway.address("tcp", "tcp"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let producers: Vec<_> =
            (0..3).map(|part| scope.spawn(move || produce_hec(hec, cycle * 10 + part, seed + part as u64))).collect();
        scope.spawn(|| produce_tcp(tcp, cycle, &stop));
        thread::sleep(after);
        let stopped = gateway.kill();
        stop.store(true, Ordering::Relaxed);
        let acknowledged = producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect();
        (stopped, acknowledged)
    })
}

/// The messages at a sink. A number that stands for two messages, or a message that nobody sent, is
/// a failure.
fn check_sink(name: &str, events: &[Value]) -> BTreeSet<String> {
    let mut by_id: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events {
        let (id, msg) = (text(event, "event_id"), text(event, "msg"));
        assert_eq!(id.len(), 33, "{name}: {event}");
        let first = by_id.entry(id).or_insert(msg);
        assert_eq!(*first, msg, "{name}: event id {id} was given twice");
        if matches!(text(event, "source"), "hec" | "tcp") {
            // The last line over TCP may be cut off; then it says so.
            let whole = msg.split_once(' ').is_some_and(|(_, number)| number.split('.').count() == 3);
            assert!(whole || event.get("parse.status").is_some(), "{name}: {event}");
        }
    }
    events.iter().map(|event| text(event, "msg").to_owned()).collect()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let seed = std::env::var("WHARFINGER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed}: `WHARFINGER_SEED={seed} cargo test --test crash` uses the same moments");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let (file, collector) = (SinkFile::in_folder(folder.path()), Collector::start());
    let config = format!(
        "journal:\n  bytes_max: 256MiB\nsources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\n  \
         tcp: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n{}  \
         collector: {{type: syslog, address: \"{}\", format: json, header: none}}\n",
        file.config(),
        collector.address,
    );
    let mut gateway = Gateway::start(folder.path(), &config);
    let mut acknowledged = BTreeSet::new();
    let begun = Instant::now();
    for cycle in 0..CYCLES {
        let after = Duration::from_millis(random.u64(KILL_AFTER_MS));
        let (stopped, new) = live_and_die(gateway, cycle, random.u64(..u64::MAX / 2), after);
        println!("cycle {cycle}: killed after {after:?}, {} events acknowledged", new.len());
        acknowledged.extend(new);
        gateway = stopped.start();
    }
    assert!(acknowledged.len() > CYCLES, "the load was no load: {} acknowledged", acknowledged.len());
    let missing = |events: &[Value]| {
        let arrived: BTreeSet<&str> = events.iter().map(|event| text(event, "msg")).collect();
        acknowledged.iter().filter(|message| !arrived.contains(message.as_str())).count()
    };
    let mut left = (usize::MAX, usize::MAX);
    let deadline = Instant::now() + DRAINED_WITHIN;
    while left != (0, 0) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(500));
        left = (missing(&file_events(&file)), missing(&collector.events()));
    }
    assert_eq!(left, (0, 0), "acknowledged and not at the file, at the collector (seed {seed}):\n{}", gateway.log());
    gateway.stop();
    for (name, events) in [("file", file_events(&file)), ("collector", collector.events())] {
        let distinct = check_sink(name, &events).len();
        println!("{name}: {} events, {distinct} distinct; {} acknowledged", events.len(), acknowledged.len());
    }
    println!("{CYCLES} cycles in {:?}", begun.elapsed());
}
