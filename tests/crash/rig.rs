//! Rig: a gateway under load with two sinks, and what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::producers::{self, TOKEN};
use crate::support::gateway::Gateway;
use crate::support::lines::{SinkFile, text};
use crate::support::process::eventually;

const DRAINED_WITHIN: Duration = Duration::from_secs(120);

/// A syslog receiver that keeps every line.
pub struct Collector {
    pub address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

/// What the producers and the sinks know.
pub struct Rig {
    pub file: SinkFile,
    pub collector: Collector,
    pub acknowledged: BTreeSet<String>,
    /// How often the gateway was stopped in the middle of something.
    pub stops: usize,
}

impl Rig {
    pub fn new(folder: &Path) -> Rig {
        let (file, collector) = (SinkFile::in_folder(folder), Collector::start());
        Rig { file, collector, acknowledged: BTreeSet::new(), stops: 0 }
    }

    /// HEC and TCP in, a file and the collector out.
    pub fn config(&self, journal_bytes_max: &str) -> String {
        format!(
            "journal:\n  bytes_max: {journal_bytes_max}\nsources:\n  \
             hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\n  \
             tcp: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n{}    on_full: block\n  \
             collector: {{type: syslog, address: \"{}\", format: json, header: none, on_full: block}}\n",
            self.file.config(),
            self.collector.address,
        )
    }

    /// Puts the gateway under load, does `work`, and notes what was acknowledged until after it.
    pub fn under_load<T>(&mut self, gateway: &Gateway, name: &str, seed: u64, work: impl FnOnce() -> T) -> T {
        let (hec, tcp) = (gateway.address("hec", "http"), gateway.address("tcp", "tcp"));
        let stop = &AtomicBool::new(false);
        let (done, new) = thread::scope(|scope| {
            let producers: Vec<_> = (0..3)
                .map(|part| scope.spawn(move || producers::hec(hec, &format!("{name}-{part}"), seed + part, stop)))
                .collect();
            scope.spawn(move || producers::tcp(tcp, name, stop));
            let done = work();
            stop.store(true, Ordering::Relaxed);
            (done, producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect::<Vec<_>>())
        });
        println!("{name}: {} events acknowledged", new.len());
        self.acknowledged.extend(new);
        done
    }

    /// Everything acknowledged is at both sinks, or comes there soon; then stops the gateway.
    pub fn finish(&self, gateway: Gateway) {
        assert!(self.acknowledged.len() > self.stops, "the load was no load: {}", self.acknowledged.len());
        let mut left = (usize::MAX, usize::MAX);
        let deadline = Instant::now() + DRAINED_WITHIN;
        while left != (0, 0) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(300));
            left = (self.missing(&self.file_events()), self.missing(&self.collector.events()));
        }
        assert_eq!(left, (0, 0), "acknowledged and not at the file, at the collector:\n{}", gateway.log());
        gateway.stop();
        for (name, events) in [("file", self.file_events()), ("collector", self.collector.events())] {
            let distinct = distinct(name, &events);
            println!("{name}: {} events, {distinct} distinct; {} acknowledged", events.len(), self.acknowledged.len());
        }
    }

    /// The same, and no event came twice.
    pub fn finish_once(&self, gateway: Gateway) {
        self.finish(gateway);
        for (name, events) in [("file", self.file_events()), ("collector", self.collector.events())] {
            assert_eq!(distinct(name, &events), events.len(), "{name}: events came twice");
        }
    }

    /// Waits until the gateway has delivered everything.
    pub fn wait_until_drained(&self, gateway: &Gateway) {
        let mut before = None;
        eventually("everything is delivered", DRAINED_WITHIN, || {
            // Lines over TCP may be on their way although nothing is queued.
            thread::sleep(Duration::from_millis(300));
            let status: Value = serde_json::from_str(&gateway.get("/api/status")?.1).ok()?;
            let sum = |rows: &str, name: &str| {
                status[rows].as_array()?.iter().map(|row| row[name].as_u64()).sum::<Option<u64>>()
            };
            let received = sum("sources", "received")?;
            let is_quiet = before.replace(received) == Some(received);
            (is_quiet && sum("sinks", "queued")? == 0).then_some(())
        });
    }

    fn missing(&self, events: &[Value]) -> usize {
        let arrived: BTreeSet<&str> = events.iter().map(|event| text(event, "msg")).collect();
        self.acknowledged.iter().filter(|message| !arrived.contains(message.as_str())).count()
    }

    /// The events in the file. A kill leaves at most one line torn.
    pub fn file_events(&self) -> Vec<Value> {
        let (events, torn) = self.file.events_and_torn();
        assert!(torn <= self.stops, "{torn} torn lines by {} stops", self.stops);
        events
    }
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

    pub fn events(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap().clone();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

/// How many different events there are at a sink. A number that stands for two messages, or a
/// message that nobody sent, is a failure.
fn distinct(name: &str, events: &[Value]) -> usize {
    let mut by_id: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events {
        let (id, msg) = (text(event, "event_id"), text(event, "msg"));
        assert_eq!(id.len(), 33, "{name}: {event}");
        let first = by_id.entry(id).or_insert(msg);
        assert_eq!(*first, msg, "{name}: event id {id} was given twice");
        if matches!(text(event, "source"), "hec" | "tcp") && text(event, "event_class") != "gap" {
            // The last line over TCP may be cut off; then it says so.
            let whole = msg.split(' ').nth(1).is_some_and(|number| number.split('.').count() == 3);
            assert!(whole || event.get("parse.status").is_some(), "{name}: {event}");
        }
    }
    by_id.len()
}
