//! Sink `splunk_hec`: requests to a Splunk HTTP Event Collector, or anything that speaks its protocol.
//!
//! Invariants: only an answer with HEC's own code of success counts as accepted, and where the token
//! acknowledges only what is indexed as delivered. A collector that fails keeps no other one waiting.

mod acks;
mod answer;
mod collector;
mod config;
mod envelope;
mod raw;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use wharfinger_formats::Event;

use self::acks::{Acks, PENDING_MAX, Question};
use self::answer::{Verdict, is_ack_disabled, judge, why_not};
use self::collector::{Access, Collector, NoReply};
use self::envelope::Envelope;
use self::raw::Lines;
use super::compress::{Compress, Compression};
use super::receipts::Answer;
use super::turns::Turns;
use super::web::{Way, Web, refused};
use super::{Limits, Lost, Outcome, Push, Refused, Sink, SinkConfig};
use crate::part::{Kind, PartContext, Problem, SetupError};

pub use self::config::{Ack, Mode, SplunkHecConfig};

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "splunk_hec",
    about: "Splunk HTTP Event Collector",
    schema: || schemars::schema_for!(SplunkHecConfig),
    read: |options| Ok(Box::new(erased_serde::deserialize::<SplunkHecConfig>(options)?)),
};

/// A peer that finds requests too large is never sent fewer bytes than this at once.
const SMALLEST_REQUEST: usize = 16 * 1024;
/// How often collectors are asked what they have indexed.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

impl SinkConfig for SplunkHecConfig {
    fn check(&self) -> Vec<Problem> {
        self.problems()
    }

    fn open(&self, context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        let mut urls = Vec::new();
        for (option, url) in self.urls() {
            urls.push(url.map_err(|cause| SetupError::new(format!("cannot use `{option}`"), cause))?);
        }
        let needs_tls = urls.iter().any(|url| url.scheme() == "https");
        if let Some(cause) = urls.iter().find_map(refused).filter(|_| !self.allow_link_local) {
            return Err(SetupError::new("cannot use `endpoint`", cause));
        }
        let web = Web::new(Way {
            tls: needs_tls.then(|| self.tls.clone()),
            timeout: self.timeout.get(),
            proxy: self.proxy.clone(),
            allow_link_local: self.allow_link_local,
        })?;
        let acks = Acks::new(urls.len(), self.ack_timeout.get());
        let peers = Arc::new(Peers {
            name: context.name.clone(),
            access: Access { web, token: self.token.clone(), authorization: Mutex::new(None) },
            collectors: urls.into_iter().map(Collector::new).collect(),
            acks: acks.map_err(|error| SetupError::new("no random numbers for a channel", error))?,
        });
        let names = self.names().map_err(|(option, cause)| SetupError::new(format!("cannot use `{option}`"), cause))?;
        Ok(Box::new(SplunkHec {
            shape: match self.mode {
                Mode::Event => Shape::Envelopes(Box::new(Envelope::new(self.format, &context.hostname, names))),
                Mode::Raw => Shape::Lines(Box::new(Lines::new(self.format, &context.hostname, names))),
            },
            bytes_max: self.max_bytes.as_usize(),
            turns: Turns::new(&context.name, peers.collectors.len()),
            knows_acks: vec![false; peers.collectors.len()],
            liar: None,
            peers,
            asking: None,
            config: self.clone(),
            request: Vec::new(),
            events: 0,
            answer: Answer::new(),
        }))
    }
}

/// What the sink and the task that asks for acknowledgements share.
#[derive(Debug)]
struct Peers {
    name: String,
    access: Access,
    collectors: Vec<Collector>,
    acks: Acks,
}

/// What requests hold.
enum Shape {
    Envelopes(Box<Envelope>),
    Lines(Box<Lines>),
}

struct SplunkHec {
    config: SplunkHecConfig,
    shape: Shape,
    peers: Arc<Peers>,
    turns: Turns,
    /// With `ack: on`: that the collector acknowledges is known.
    knows_acks: Vec<bool>,
    /// With `ack: on`: one that says so and gave no number. What it has taken is sent again once, not for ever.
    liar: Option<String>,
    /// Begun with the first number that was given.
    asking: Option<AbortOnDropHandle<()>>,
    /// Lowered when the peer finds requests too large.
    bytes_max: usize,
    /// Envelopes or lines, one after the other.
    request: Vec<u8>,
    events: usize,
    /// What was answered to the last one that was accepted.
    answer: Answer,
}

impl SplunkHec {
    /// The body, compressed if wanted. The memory of the request is kept when it was compressed.
    fn body(&mut self) -> std::io::Result<Bytes> {
        match self.config.compression {
            Compress::None => Ok(std::mem::take(&mut self.request).into()),
            Compress::Gzip => Ok(Compression::Gzip.compress(&self.request)?.into()),
        }
    }

    /// The request to the collector whose turn it is, or the next one that takes it.
    async fn send(&mut self) -> Outcome {
        let (bytes, events) = (self.request.len(), self.events);
        let body = match self.body() {
            Ok(body) => body,
            Err(error) => {
                return Outcome::Retry { after: None, reason: format!("the request cannot be compressed: {error}") };
            }
        };
        let mut outcome = Outcome::Retry { after: None, reason: "there is no collector".to_owned() };
        for _ in 0..self.turns.count() {
            let at = self.turns.take_turn();
            outcome = match self.send_to(at, body.clone()).await {
                Verdict::Outcome(outcome) => outcome,
                Verdict::Accepted { number, outcome } => self.accepted(at, number, outcome),
                Verdict::TokenRefused(outcome) => {
                    self.peers.access.forget_token();
                    outcome
                }
                Verdict::TooLarge(outcome) => {
                    if events > 1 {
                        self.bytes_max = (bytes / 2).max(SMALLEST_REQUEST).min(self.bytes_max);
                    }
                    outcome
                }
            };
            let (Outcome::Retry { reason, .. } | Outcome::Fatal { reason }) = &outcome else {
                self.turns.stands(at, || self.peers.collectors[at].name());
                return outcome;
            };
            if !self.turns.leave_out(at, || self.peers.collectors[at].name(), reason) {
                break;
            }
        }
        outcome
    }

    async fn send_to(&mut self, at: usize, body: Bytes) -> Verdict {
        if self.config.ack == Ack::On && !self.knows_acks[at] {
            match self.peers.acknowledges(at).await {
                Ok(()) => self.knows_acks[at] = true,
                Err(outcome) => return Verdict::Outcome(outcome),
            }
        }
        let is_gzip = self.config.compression == Compress::Gzip;
        // Lines have a channel also where nothing is acknowledged: collectors of old want one.
        let (has_channel, query) = match &self.shape {
            Shape::Envelopes(_) => (self.config.ack != Ack::Off, Vec::new()),
            Shape::Lines(lines) => (true, lines.query()),
        };
        let channel = has_channel.then(|| self.peers.acks.channel(at));
        match self.peers.collectors[at].send(&self.peers.access, channel, is_gzip, &query, body).await {
            Ok(reply) => judge(reply.status, reply.after, &reply.body),
            Err(NoReply::Token(reason)) => Verdict::TokenRefused(Outcome::Fatal { reason }),
            Err(NoReply::Peer(reason)) => Verdict::Outcome(Outcome::Retry { after: None, reason }),
        }
    }

    fn accepted(&mut self, at: usize, number: Option<u64>, outcome: Outcome) -> Outcome {
        let number = number.filter(|_| self.config.ack != Ack::Off);
        if number.is_none() && self.config.ack == Ack::On {
            let collector = self.peers.collectors[at].name();
            let reason = format!("{collector} gives no numbers to ask about: nothing more is sent; see `ack`");
            self.liar = Some(reason.clone());
            return Outcome::Fatal { reason };
        }
        self.answer = vec![("endpoint", self.peers.collectors[at].name())];
        if let Some(number) = number {
            self.answer.push(("channel", self.peers.acks.channel(at)));
            self.answer.push(("ack_id", number.to_string()));
        }
        self.peers.acks.accept(at, number);
        if number.is_some() && self.asking.is_none() {
            let peers = Arc::clone(&self.peers);
            self.asking = Some(AbortOnDropHandle::new(tokio::spawn(async move { peers.keep_asking().await })));
        }
        outcome
    }
}

impl Peers {
    async fn keep_asking(&self) {
        let mut answered = true;
        loop {
            sleep(ASK_INTERVAL).await;
            let failure = self.ask().await;
            if let Some(reason) = failure.as_ref().filter(|_| answered) {
                tracing::warn!(sink = self.name, reason, "a collector does not say what it has indexed");
            }
            answered = failure.is_none();
        }
    }

    /// Asks every collector about what it has accepted. Answers what went wrong last.
    async fn ask(&self) -> Option<String> {
        let asked = (0..self.collectors.len()).map(|at| self.ask_one(at));
        join_all(asked).await.into_iter().flatten().next_back()
    }

    async fn ask_one(&self, at: usize) -> Option<String> {
        let (collector, question) = (&self.collectors[at], self.acks.question(at)?);
        match collector.ask(&self.access, &question).await {
            Ok(indexed) => {
                self.acks.indexed(at, &question.channel, &indexed);
                None
            }
            Err(reply) => {
                if matches!(reply.status, 401 | 403) {
                    self.access.forget_token();
                }
                Some(format!("{}: {}", collector.name(), why_not(reply.status, &reply.body)))
            }
        }
    }

    /// Whether the token acknowledges at all, before it is given anything.
    async fn acknowledges(&self, at: usize) -> Result<(), Outcome> {
        let collector = &self.collectors[at];
        let question = Question { channel: self.acks.channel(at), numbers: vec![0] };
        let Err(reply) = collector.ask(&self.access, &question).await else { return Ok(()) };
        let reason = format!("{}: {}", collector.name(), why_not(reply.status, &reply.body));
        if is_ack_disabled(&reply.body) {
            let hint = "switch on indexer acknowledgement for the token, or write `ack: auto`";
            return Err(Outcome::Fatal { reason: format!("{reason}; {hint}") });
        }
        match judge(reply.status, reply.after, &reply.body) {
            _ if reply.status == 0 => Err(Outcome::Retry { after: None, reason }),
            Verdict::TokenRefused(outcome) => {
                self.access.forget_token();
                Err(outcome)
            }
            Verdict::Outcome(outcome @ (Outcome::Retry { .. } | Outcome::Fatal { .. })) => Err(outcome),
            _ => Err(Outcome::Fatal { reason }),
        }
    }
}

#[async_trait]
impl Sink for SplunkHec {
    fn limits(&self) -> Limits {
        Limits { events_max: self.config.max_events, bytes_max: self.bytes_max, age_max: self.config.max_age.get() }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        let before = self.request.len();
        match &mut self.shape {
            Shape::Envelopes(envelope) => envelope.write(event, &mut self.request),
            Shape::Lines(lines) => {
                if !lines.write(event, self.events == 0, &mut self.request) {
                    return Ok(Push::Full);
                }
            }
        }
        if before > 0 && self.request.len() > self.bytes_max {
            self.request.truncate(before);
            return Ok(Push::Full);
        }
        // A single event that is larger is tried: the peer knows its own limit.
        self.events += 1;
        Ok(Push::Taken { bytes: self.request.len() })
    }

    async fn deliver(&mut self) -> Outcome {
        let outcome = if let Some(reason) = self.liar.clone() {
            Outcome::Fatal { reason }
        } else if self.peers.acks.is_full() {
            let reason = format!("{PENDING_MAX} requests wait for their acknowledgement");
            Outcome::Retry { after: Some(ASK_INTERVAL), reason }
        } else {
            self.send().await
        };
        self.clear();
        outcome
    }

    fn answer(&mut self) -> Answer {
        std::mem::take(&mut self.answer)
    }

    fn clear(&mut self) {
        self.request.clear();
        self.events = 0;
    }

    fn in_doubt(&mut self) -> Result<usize, Lost> {
        self.peers.acks.in_doubt().map_err(|(at, lost)| {
            self.peers.collectors[at].forget_cookies();
            let reason = format!("{} {}", self.peers.collectors[at].name(), lost.0);
            self.turns.leave_out_for(at, self.config.ack_timeout.get());
            Lost(reason)
        })
    }

    /// Waits for what is still to be acknowledged, for as long as it is let.
    async fn close(&mut self) -> bool {
        while !self.peers.acks.is_empty() {
            self.peers.ask().await;
            if !self.peers.acks.is_empty() {
                sleep(ASK_INTERVAL / 5).await;
            }
        }
        true
    }
}
