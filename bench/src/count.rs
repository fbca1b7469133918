//! The counting sink: lost, duplicated and reordered events, and their age.

use std::fmt;
use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Result;
use crate::corpus::{MARKER, numbers};
use crate::load::nanos;

/// What arrived, shared between the receiving threads.
#[derive(Clone)]
pub struct Counter {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    connections: u64,
    events_each: u64,
}

struct Seen {
    /// One bit an event.
    bits: Vec<Vec<u64>>,
    last: Vec<u64>,
    arrived: u64,
    duplicates: u64,
    reordered: u64,
    foreign: u64,
    /// Microseconds.
    ages: Vec<u32>,
}

/// The judgement of a run.
pub struct Tally {
    pub lost: u64,
    pub duplicates: u64,
    reordered: u64,
    foreign: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lost {}, duplicated {}, reordered {}, foreign {}",
            self.lost, self.duplicates, self.reordered, self.foreign
        )
    }
}

impl Counter {
    pub fn new(connections: u64, events_each: u64) -> Self {
        let words = (events_each / 64 + 1) as usize;
        let seen = Seen {
            bits: vec![vec![0; words]; connections as usize],
            last: vec![0; connections as usize],
            arrived: 0,
            duplicates: 0,
            reordered: 0,
            foreign: 0,
            ages: Vec::new(),
        };
        Counter { seen: Arc::new((Mutex::new(seen), Condvar::new())), connections, events_each }
    }

    pub fn expected(&self) -> u64 {
        self.connections * self.events_each
    }

    /// Accepts for ever in the background.
    pub fn serve(&self, listener: TcpListener) -> Result<Self> {
        let counter = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = counter.clone();
                std::thread::spawn(move || counter.receive(stream));
            }
        });
        Ok(self.clone())
    }

    /// Counts what comes until it ends.
    pub fn receive(&self, mut stream: impl Read) {
        let mut buffer = vec![0_u8; 1 << 20];
        let mut filled = 0;
        while let Ok(read) = stream.read(&mut buffer[filled..]) {
            if read == 0 {
                break;
            }
            filled += read;
            // Only whole lines: a number may be cut in the middle.
            let whole = buffer[..filled].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.count(&buffer[..whole]);
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
        }
    }

    fn count(&self, lines: &[u8]) {
        let now = nanos();
        let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = lines;
        while let Some(at) = find(rest) {
            rest = &rest[at + MARKER.len()..];
            match numbers(rest) {
                Some((connection, sequence, sent)) if connection < self.connections && sequence < self.events_each => {
                    seen.note(connection as usize, sequence, now.saturating_sub(sent));
                }
                _ => seen.foreign += 1,
            }
            // The line may carry the raw bytes too: on to the next line.
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            rest = &rest[end..];
        }
        self.seen.1.notify_all();
    }

    /// Waits until something arrived.
    pub fn first(&self, limit: Duration) {
        self.until(limit, |seen| seen.arrived > 0);
    }

    /// Waits until everything arrived, or the time is up.
    pub fn wait(&self, limit: Duration) -> Tally {
        self.until(limit, |seen| seen.arrived >= self.expected());
        self.tally()
    }

    /// Waits until nothing arrives any more for that time, or the time is up.
    pub fn quiet(&self, quiet: Duration, limit: Duration) -> Tally {
        let begun = Instant::now();
        let mut before = None;
        while begun.elapsed() < limit {
            let seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = seen.arrived + seen.duplicates;
            if before.replace(now) == Some(now) {
                break;
            }
            let unchanged = |seen: &mut Seen| seen.arrived + seen.duplicates == now;
            let _ = self.seen.1.wait_timeout_while(seen, quiet, unchanged);
        }
        self.tally()
    }

    fn tally(&self) -> Tally {
        let seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        Tally {
            lost: self.expected() - seen.arrived,
            duplicates: seen.duplicates,
            reordered: seen.reordered,
            foreign: seen.foreign,
        }
    }

    fn until(&self, limit: Duration, done: impl Fn(&Seen) -> bool) {
        let seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.seen.1.wait_timeout_while(seen, limit, |seen| !done(seen));
    }

    /// p50, p99 and the worst.
    pub fn latency(&self) -> (Duration, Duration, Duration) {
        let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.ages.sort_unstable();
        let at = |share: f64| {
            let index = (seen.ages.len().saturating_sub(1) as f64 * share) as usize;
            Duration::from_micros(seen.ages.get(index).copied().unwrap_or(0).into())
        };
        (at(0.5), at(0.99), at(1.0))
    }
}

impl Seen {
    fn note(&mut self, connection: usize, sequence: u64, age_nanos: u64) {
        let (word, bit) = ((sequence / 64) as usize, 1_u64 << (sequence % 64));
        if self.bits[connection][word] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.bits[connection][word] |= bit;
        if sequence < self.last[connection] {
            self.reordered += 1;
        }
        self.last[connection] = sequence;
        self.arrived += 1;
        self.ages.push((age_nanos / 1000) as u32);
    }
}

fn find(text: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, MARKER)
}
