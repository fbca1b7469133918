//! Peer: what a sink talks to. It takes requests, fails, refuses, hesitates, loses its answer after
//! it has taken a request, or forgets requests that it had taken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use wharfinger_formats::{Event, Field};

use crate::sinks::{Limits, Lost, Outcome, Push, Refused, Sink};

/// What a peer is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Takes everything at once.
    Plain,
    /// Everything that may go wrong with an answer.
    Flaky,
    /// The receipt comes later or never: the latest requests may be lost on the way. It fails, too, and
    /// then what waits for its receipt does not come again.
    Doubtful,
}

/// One event as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) id: String,
    pub(super) raw: String,
}

/// A peer lives longer than the gateway. Clones are the same peer.
#[derive(Clone)]
pub(super) struct Peer(Arc<Mutex<State>>);

pub(super) struct State {
    random: fastrand::Rng,
    manner: Manner,
    pub(super) arrived: Vec<Arrived>,
    /// How often an event may have come twice, by its id.
    pub(super) excused: BTreeMap<String, usize>,
    /// Events taken whose answer is not given yet.
    answering: Vec<String>,
    /// Sizes of the latest requests, which may still be lost.
    doubtful: VecDeque<usize>,
    /// Nothing goes wrong any more.
    pub(super) calm: bool,
}

impl Peer {
    pub(super) fn new(manner: Manner, seed: u64) -> Peer {
        Peer(Arc::new(Mutex::new(State {
            random: fastrand::Rng::with_seed(seed),
            manner,
            arrived: Vec::new(),
            excused: BTreeMap::new(),
            answering: Vec::new(),
            doubtful: VecDeque::new(),
            calm: false,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The gateway is gone: what was under way may come again, what was in doubt may be lost.
    pub(super) fn gateway_died(&self) {
        let mut state = self.state();
        if state.random.bool() {
            state.forget_doubtful();
        }
        state.excuse_what_is_under_way();
    }

    /// The gateway has ended in order. A request that its deadline cut off comes again.
    pub(super) fn gateway_left(&self) {
        self.state().excuse_what_is_under_way();
    }

    /// The place of the gateway may be an older one: anything may come again.
    pub(super) fn gateway_went_back(&self) {
        let mut state = self.state();
        let ids: Vec<String> = state.arrived.iter().map(|arrived| arrived.id.clone()).collect();
        for id in ids {
            *state.excused.entry(id).or_default() += 1;
        }
    }

    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(SimSink { peer: self.clone(), request: Vec::new() })
    }
}

/// An event that every peer refuses.
pub(super) fn is_bad(raw: &str) -> bool {
    raw.contains("bad")
}

impl State {
    fn take(&mut self, request: &[Arrived]) {
        self.answering = request.iter().map(|arrived| arrived.id.clone()).collect();
        self.arrived.extend_from_slice(request);
    }

    /// What is in doubt comes again, and what was not answered.
    fn excuse_what_is_under_way(&mut self) {
        let again = self.doubtful.drain(..).sum::<usize>() + self.answering.drain(..).count();
        self.excuse_latest(again);
    }

    fn excuse_latest(&mut self, again: usize) {
        for arrived in &self.arrived[self.arrived.len() - again..] {
            *self.excused.entry(arrived.id.clone()).or_default() += 1;
        }
    }

    /// What is in doubt or under way never arrived.
    fn forget_doubtful(&mut self) {
        let lost = self.doubtful.drain(..).sum::<usize>() + self.answering.drain(..).count();
        self.arrived.truncate(self.arrived.len() - lost);
    }

    fn answer(&mut self, request: Vec<Arrived>) -> Outcome {
        let bad = request.iter().position(|arrived| is_bad(&arrived.raw));
        if let Some(bad) = bad {
            let which = self.random.bool().then_some(bad);
            return Outcome::Reject { which, reason: "bad event".to_owned() };
        }
        let reason = || "not now".to_owned();
        let trouble = if self.calm || self.manner == Manner::Plain { 0 } else { self.random.u8(..10) };
        match trouble {
            4 if self.manner == Manner::Doubtful => Outcome::Retry { after: None, reason: reason() },
            1 => Outcome::Retry { after: None, reason: reason() },
            2 => Outcome::Retry { after: Some(Duration::from_millis(self.random.u64(..3000))), reason: reason() },
            3 => Outcome::Fatal { reason: reason() },
            4 => {
                // It has it all, and the answer is lost.
                self.take(&request);
                self.excuse_latest(request.len());
                self.answering.clear();
                Outcome::Retry { after: None, reason: reason() }
            }
            5 => {
                self.take(&request);
                Outcome::Crowded { pause: Duration::from_millis(self.random.u64(..200)) }
            }
            _ => {
                self.take(&request);
                Outcome::Delivered
            }
        }
    }
}

struct SimSink {
    peer: Peer,
    request: Vec<Arrived>,
}

#[async_trait]
impl Sink for SimSink {
    fn limits(&self) -> Limits {
        Limits { events_max: 7, bytes_max: 20_000, age_max: Duration::from_millis(20) }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        let raw = String::from_utf8(event.raw().to_vec()).unwrap();
        if raw.contains("unfit") {
            return Err(Refused("unfit".to_owned()));
        }
        if raw.contains("alone") && !self.request.is_empty() {
            return Ok(Push::Full);
        }
        let id = event.text(Field::EventId).unwrap().to_owned();
        self.request.push(Arrived { id, raw });
        Ok(Push::Taken { bytes: self.request.iter().map(|arrived| arrived.raw.len()).sum() })
    }

    async fn deliver(&mut self) -> Outcome {
        let request = std::mem::take(&mut self.request);
        let count = request.len();
        let waits = {
            let mut state = self.peer.state();
            [(); 2].map(|()| Duration::from_millis(if state.random.bool() { 0 } else { state.random.u64(..100) }))
        };
        tokio::time::sleep(waits[0]).await;
        let outcome = self.peer.state().answer(request);
        // The gateway may die between what the peer has done and what it hears of it.
        tokio::time::sleep(waits[1]).await;
        let mut state = self.peer.state();
        state.answering.clear();
        match outcome {
            Outcome::Delivered | Outcome::Crowded { .. } if state.manner == Manner::Doubtful => {
                state.doubtful.push_back(count);
            }
            _ => {}
        }
        outcome
    }

    fn clear(&mut self) {
        self.request.clear();
    }

    fn in_doubt(&mut self) -> Result<usize, Lost> {
        let mut state = self.peer.state();
        if state.manner == Manner::Doubtful && !state.calm && state.random.u8(..10) == 0 {
            state.forget_doubtful();
            return Err(Lost("the connection was reset".to_owned()));
        }
        while state.doubtful.len() > 3 || (!state.doubtful.is_empty() && state.random.bool()) {
            state.doubtful.pop_front();
        }
        Ok(state.doubtful.len())
    }

    async fn close(&mut self) -> bool {
        self.peer.state().doubtful.clear();
        true
    }
}
