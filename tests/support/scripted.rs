//! A sink whose peer is a function: it sees each request and says what becomes of it.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use wharfinger::sinks::{Limits, Lost, Outcome, Push, Refused, Sink};
use wharfinger_formats::{Event, Field};

type Answer = Box<dyn FnMut(&[String]) -> Outcome + Send>;
type Doubt = Box<dyn FnMut() -> Result<usize, Lost> + Send>;

pub struct Scripted {
    pub limits: Limits,
    answer: Answer,
    doubt: Doubt,
    request: Vec<String>,
    seen: Seen,
    /// Never answers: `deliver` waits for ever.
    pub hang: bool,
}

/// What the peer has seen: requests with their outcomes, and event ids.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    requests: Vec<Vec<String>>,
    taken: Vec<String>,
    ids: Vec<String>,
}

impl Seen {
    /// Every request, taken or not.
    pub fn requests(&self) -> Vec<Vec<String>> {
        self.0.lock().unwrap().requests.clone()
    }

    /// Events of the requests that were taken, in order.
    pub fn taken(&self) -> Vec<String> {
        self.0.lock().unwrap().taken.clone()
    }

    /// The ids of all events pushed.
    pub fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().ids.clone()
    }
}

impl Scripted {
    pub fn new(answer: impl FnMut(&[String]) -> Outcome + Send + 'static) -> (Scripted, Seen) {
        let seen = Seen::default();
        let limits = Limits { events_max: 1000, bytes_max: usize::MAX, age_max: Duration::ZERO };
        let scripted = Scripted {
            limits,
            answer: Box::new(answer),
            doubt: Box::new(|| Ok(0)),
            request: Vec::new(),
            seen: seen.clone(),
            hang: false,
        };
        (scripted, seen)
    }

    pub fn delivers() -> (Scripted, Seen) {
        Scripted::new(|_| Outcome::Delivered)
    }

    pub fn with_doubt(mut self, doubt: impl FnMut() -> Result<usize, Lost> + Send + 'static) -> Scripted {
        self.doubt = Box::new(doubt);
        self
    }
}

#[async_trait]
impl Sink for Scripted {
    fn limits(&self) -> Limits {
        self.limits
    }

    /// Events named `refused…` are refused; `huge…` fit nowhere; `alone…` not beside others.
    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        let name = String::from_utf8(event.raw().to_vec()).unwrap();
        if name.starts_with("refused") {
            return Err(Refused("named so".to_owned()));
        }
        let full = name.starts_with("huge") || (name.starts_with("alone") && !self.request.is_empty());
        if full {
            return Ok(Push::Full);
        }
        self.seen.0.lock().unwrap().ids.push(event.text(Field::EventId).unwrap().to_owned());
        self.request.push(name);
        Ok(Push::Taken { bytes: self.request.len() * 10 })
    }

    async fn deliver(&mut self) -> Outcome {
        if self.hang {
            std::future::pending::<()>().await;
        }
        let request = std::mem::take(&mut self.request);
        let outcome = (self.answer)(&request);
        let mut seen = self.seen.0.lock().unwrap();
        if matches!(outcome, Outcome::Delivered | Outcome::Crowded { .. }) {
            seen.taken.extend(request.iter().cloned());
        }
        seen.requests.push(request);
        outcome
    }

    fn clear(&mut self) {
        self.request.clear();
    }

    fn in_doubt(&mut self) -> Result<usize, Lost> {
        (self.doubt)()
    }
}
