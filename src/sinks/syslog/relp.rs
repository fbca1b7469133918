//! RELP: every record has a number, and the receiver answers each.
//!
//! Frames are `TXNR SP COMMAND SP DATALEN [SP DATA] LF`. So many of a request are sent ahead that the
//! answers to them fit into the kernel's buffers; then answers are read. Nobody can block the other.
//!
//! Invariant: a request is delivered when every record of it was answered with 200. What a broken
//! connection leaves without an answer is sent again: at most one request. A receiver that ends the session
//! at a record (rsyslog does at one over its `maxDataSize`) is sent what it took before it, and then that one
//! alone.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wharfinger_formats::Event;
use wharfinger_formats::frame::Frame;
use wharfinger_formats::frame::relp::{self, Relp, RelpFramer, next_txnr};

use super::SyslogConfig;
use super::connection::{Connection, Stream};
use super::header::Header;
use super::targets::{Begun, Targets};
use crate::sinks::receipts::Answer;
use crate::sinks::{Limits, Outcome, Push, Refused, Sink};

/// Records sent ahead of their answers. The answers to them take 20 bytes each.
const WINDOW: usize = 1_000;
/// Records in one request: so many come twice at most when a connection breaks.
const EVENTS_MAX: usize = 2_000;
const REQUEST_BYTES: usize = 256 * 1024;
/// So often a receiver must end the session at a record that stands alone before that is refused.
const ALONE_MAX: u32 = 3;
/// The longest answer; the one to `open` tells what the receiver is.
const ANSWER_BYTES: usize = 4096;
const OFFERS: &str =
    concat!("relp_version=0\nrelp_software=wharfinger,", env!("CARGO_PKG_VERSION"), "\ncommands=syslog");

pub(super) struct RelpSink {
    config: SyslogConfig,
    header: Header,
    hostname: String,
    targets: Targets,
    session: Option<Session>,
    /// Records, one after the other, and where each ends.
    request: Vec<u8>,
    ends: Vec<usize>,
    /// Lowered to what was answered before a session ended, until a request is delivered.
    events_max: usize,
    /// How often a session ended at a record that stood alone.
    alone: u32,
    /// The receiver that answered a record with 200 last; none since the last one that was refused.
    answered_at: Option<usize>,
}

/// An open session.
struct Session {
    stream: Stream,
    framer: RelpFramer,
    heard: Vec<u8>,
    /// The number of the next frame.
    txnr: u32,
}

/// A session ended within a request.
struct Broken {
    /// So many records from the first on were answered with 200.
    answered: usize,
    error: io::Error,
}

impl RelpSink {
    pub(super) fn new(config: SyslogConfig, header: Header, hostname: String, targets: Targets) -> Self {
        RelpSink {
            config,
            header,
            hostname,
            targets,
            session: None,
            request: Vec::new(),
            ends: Vec::new(),
            events_max: EVENTS_MAX,
            alone: 0,
            answered_at: None,
        }
    }

    /// What becomes of a request at which the session has ended.
    fn broken(&mut self, broken: &Broken) -> Outcome {
        let reason = format!("{} broke off: {}", self.targets.current(), broken.error);
        self.alone = if self.ends.len() == 1 { self.alone + 1 } else { 0 };
        self.events_max = broken.answered.max(1);
        if self.alone < ALONE_MAX {
            return Outcome::Retry { after: None, reason };
        }
        // It may be the receiver: perhaps another one takes the record.
        if self.targets.leave_out_current(&reason) {
            return Outcome::Retry { after: Some(Duration::ZERO), reason };
        }
        if self.answered_at != Some(self.targets.at()) {
            return Outcome::Retry { after: None, reason };
        }
        // One at a time: a receiver that takes nothing at all gets no second one refused.
        (self.alone, self.answered_at) = (0, None);
        Outcome::Reject { which: Some(0), reason }
    }

    /// The session; a new one where there is none, the receiver has closed it meanwhile, or a preferred one is back.
    async fn session(&mut self) -> Result<Session, Outcome> {
        let mut standing = self.session.take();
        if standing.as_mut().is_some_and(|session| !session.stands()) {
            standing = None;
        }
        loop {
            let at = match (&standing, self.targets.better()) {
                (Some(_), Some(at)) => at,
                (Some(_), None) => break,
                (None, _) => self.targets.next(),
            };
            match self.targets.connect(at, &self.config, Session::open).await {
                Ok(session) => {
                    if let Some(before) = standing.replace(session) {
                        before.close().await;
                    }
                    self.targets.move_to(at);
                }
                Err(outcome) => {
                    if !self.targets.leave_out(at, super::why(&outcome)) && standing.is_none() {
                        return Err(outcome);
                    }
                }
            }
        }
        standing.ok_or_else(|| Outcome::Retry { after: None, reason: "there is no receiver".to_owned() })
    }
}

impl Session {
    /// Says what we are; the receiver answers with what it is, or why not.
    async fn open(connection: Connection) -> Result<Session, Begun> {
        let Connection::Stream(stream) = connection else {
            return Err(io::Error::from(io::ErrorKind::Unsupported).into());
        };
        let mut session = Session { stream, framer: RelpFramer::new(ANSWER_BYTES), heard: Vec::new(), txnr: 1 };
        let mut frame = Vec::new();
        session.write("open", OFFERS.as_bytes(), &mut frame);
        session.stream.write_all(&frame).await?;
        session.stream.flush().await?;
        let answer = session.hear().await?.1;
        if is_ok(&answer) { Ok(session) } else { Err(Begun::Refused(format!("opens no RELP session: `{answer}`"))) }
    }

    /// Says goodbye, for the receiver's sake: everything delivered was answered.
    async fn close(mut self) {
        let mut frame = Vec::new();
        self.write("close", b"", &mut frame);
        let goodbye = async {
            let _ = self.stream.write_all(&frame).await;
            let _ = self.hear().await;
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(super::CLOSE_MAX, goodbye).await;
    }

    fn write(&mut self, command: &str, data: &[u8], out: &mut Vec<u8>) {
        relp::write(&Relp { txnr: self.txnr, command, data }, out);
        self.txnr = next_txnr(self.txnr);
    }

    /// Whether the receiver has neither closed nor announced it.
    fn stands(&mut self) -> bool {
        let mut heard = [0; 256];
        self.heard.is_empty() && self.stream.read(&mut heard).now_or_never().is_none()
    }

    /// The next answer: its number and its text.
    async fn hear(&mut self) -> io::Result<(u32, String)> {
        loop {
            match self.framer.next(&self.heard) {
                Frame::Complete { start, end, used } | Frame::Truncated { start, end, used } => {
                    let frame = relp::parse(&self.heard[start..end]);
                    let answer = frame.map(|frame| (frame.txnr, frame.command == "rsp", visible(frame.data)));
                    self.heard.drain(..used);
                    return match answer {
                        Some((txnr, true, text)) => Ok((txnr, text)),
                        _ => Err(io::Error::other("the receiver ends the session")),
                    };
                }
                Frame::NeedMore { used } => drop(self.heard.drain(..used)),
                Frame::TooLong { .. } | Frame::Malformed(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the receiver does not speak RELP"));
                }
            }
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends the records and waits for all answers. The receiver may take its time, but not stand still for
    /// longer than `stall`.
    async fn deliver(&mut self, request: &[u8], ends: &[usize], stall: Duration) -> Result<(), Broken> {
        let mut is_answered = vec![false; ends.len()];
        let delivered = self.exchange(request, ends, stall, &mut is_answered).await;
        let answered = is_answered.iter().take_while(|is_answered| **is_answered).count();
        delivered.map_err(|error| Broken { answered, error })
    }

    async fn exchange(
        &mut self,
        request: &[u8],
        ends: &[usize],
        stall: Duration,
        is_answered: &mut [bool],
    ) -> io::Result<()> {
        let first = self.txnr;
        let (mut sent, mut answered, mut start) = (0, 0, 0);
        let mut out = Vec::new();
        while answered < ends.len() {
            let until = ends.len().min(answered + WINDOW);
            out.clear();
            for end in &ends[sent..until] {
                self.write("syslog", &request[start..*end], &mut out);
                start = *end;
            }
            sent = until;
            let mut rest = &out[..];
            while !rest.is_empty() {
                let written = timeout(stall, self.stream.write(rest)).await??;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                rest = &rest[written..];
            }
            timeout(stall, self.stream.flush()).await??;
            // Half of them, so that the receiver always has something to do.
            let enough = if sent == ends.len() { sent } else { sent - WINDOW / 2 };
            while answered < enough {
                let (txnr, text) = timeout(stall, self.hear()).await??;
                let which = distance(first, txnr);
                match is_answered.get_mut(which).filter(|is_answered| which < sent && !**is_answered) {
                    Some(is_answered) if is_ok(&text) => *is_answered = true,
                    Some(_) => return Err(io::Error::other(format!("it answers `{text}`"))),
                    None => return Err(io::Error::other("it answers what was not sent")),
                }
                answered += 1;
            }
        }
        Ok(())
    }
}

/// How many frames lie between two numbers, which begin again with 1 after the highest.
fn distance(first: u32, txnr: u32) -> usize {
    let (first, txnr) = (u64::from(first), u64::from(txnr));
    let beyond = if txnr < first { u64::from(relp::TXNR_MAX) } else { 0 };
    usize::try_from(txnr + beyond - first).unwrap_or(usize::MAX)
}

/// `200 OK`, and what may follow.
fn is_ok(answer: &str) -> bool {
    answer.split_ascii_whitespace().next() == Some("200")
}

/// A text from outside, without what could change how a terminal shows it.
fn visible(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.trim().chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[async_trait]
impl Sink for RelpSink {
    fn limits(&self) -> Limits {
        Limits { events_max: self.events_max, bytes_max: REQUEST_BYTES, age_max: Duration::ZERO }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        self.header.write(event, &self.hostname, &mut self.request);
        self.config.format.emit(event, &mut self.request);
        self.ends.push(self.request.len());
        Ok(Push::Taken { bytes: self.request.len() })
    }

    async fn deliver(&mut self) -> Outcome {
        let outcome = match self.session().await {
            Err(outcome) => outcome,
            Ok(mut session) => {
                match session.deliver(&self.request, &self.ends, self.config.stall_timeout.get()).await {
                    Ok(()) => {
                        self.session = Some(session);
                        self.targets.delivered();
                        (self.events_max, self.alone, self.answered_at) = (EVENTS_MAX, 0, Some(self.targets.at()));
                        Outcome::Delivered
                    }
                    Err(broken) => self.broken(&broken),
                }
            }
        };
        self.clear();
        outcome
    }

    fn answer(&mut self) -> Answer {
        vec![("peer", self.targets.current().to_string()), ("status", "200".to_owned())]
    }

    fn clear(&mut self) {
        self.request.clear();
        self.ends.clear();
    }

    async fn close(&mut self) -> bool {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round() {
        assert_eq!((distance(1, 1), distance(5, 9)), (0, 4));
        let last = relp::TXNR_MAX;
        assert_eq!((next_txnr(last), distance(last, last), distance(last, 1), distance(last - 1, 2)), (1, 0, 1, 3));
        assert!(is_ok("200 OK") && is_ok("200") && !is_ok("500 no") && !is_ok("2000") && !is_ok(""));
    }
}
