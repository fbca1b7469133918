//! Sink `syslog`: records over TCP, TLS, RELP or UDP to any syslog receiver.
//!
//! RELP answers each record (see [`relp`]). Plain syslog has no receipt: what the kernel took may still be lost with
//! the connection, so the cursor stays behind the resend window (see [`window`]), and after a reset the window is sent
//! again.
//!
//! Invariant: a connection that broke in the middle of a frame is never written to again.

mod connection;
mod header;
mod relp;
mod targets;
#[cfg(test)]
mod tests;
mod window;

use std::future::ready;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use wharfinger_formats::Event;

use self::connection::{Connection, State, Target};
use self::header::Header;
use self::relp::RelpSink;
use self::targets::Targets;
use self::window::Window;
use super::emitter::Emitter;
use super::receipts::{Answer, UNANSWERED};
use super::{Limits, Lost, Outcome, Push, Refused, Sink, SinkConfig};
use crate::part::{ByteSize, Interval, Kind, PartContext, Problem, SetupError};
use crate::tls::ClientTls;

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "syslog",
    about: "Syslog over TCP, TLS, RELP or UDP, with CEF, JSON or RFC 5424 records",
    schema: || schemars::schema_for!(SyslogConfig),
    read: |options| Ok(Box::new(erased_serde::deserialize::<SyslogConfig>(options)?)),
};

/// Syslog over TCP, TLS, RELP or UDP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// Where the receiver listens: `siem.example:6514`. The port is 6514 with TLS, 2514 with RELP, and else
    /// 514, unless it is written.
    pub address: String,
    /// More receivers, in order of preference: the first that can be reached gets everything, until one before it
    /// is back. One that failed is left out for 10 seconds, then for twice as long each time up to 5 minutes.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// How records get there. With `relp` the receiver answers each (rsyslog's `imrelp`): framing and resend
    /// window are for `tcp`.
    #[serde(default)]
    pub mode: Mode,
    /// TLS over TCP and for RELP. `{}` trusts the operating system's authorities.
    #[serde(default)]
    pub tls: Option<ClientTls>,
    /// What a record looks like. `rfc3164` has no year, no fraction of a second and no structured data: what
    /// its header does not say stands behind the message, as `[wharfinger@32473 key="value" …]`.
    #[serde(default = "rfc5424")]
    pub format: Emitter,
    /// The syslog header before records of a format that has none. Receivers that look for
    /// `<PRI>Mmm dd hh:mm:ss host CEF:0|` (ArcSight, Microsoft Sentinel) want `rfc3164`.
    #[serde(default)]
    pub header: Header,
    /// How frames are told apart. Default: `octet_counting` (RFC 5425 asks for it) with TLS, `newline`
    /// (which every receiver reads) with TCP.
    #[serde(default)]
    pub framing: Option<Framing>,
    /// How long a connection may take to come up, with its TLS handshake.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Interval,
    /// How long the receiver may take nothing before the connection counts as dead.
    #[serde(default = "stall_timeout")]
    pub stall_timeout: Interval,
    /// How many of the latest bytes may be sent again after a connection broke: those sent within
    /// `resend_age` and those the receiver's kernel has not acknowledged. Also the size of the kernel's
    /// buffer for the connection.
    #[serde(default = "resend_window")]
    pub resend_window: ByteSize,
    /// How long an acknowledged record may be sent again after a connection broke.
    #[serde(default = "resend_age")]
    pub resend_age: Interval,
    /// The largest UDP datagram. What is longer is cut, or refused with `oversize: refuse`.
    #[serde(default = "datagram_max")]
    pub datagram_max: ByteSize,
    /// What becomes of records that do not fit into a datagram.
    #[serde(default)]
    pub oversize: Oversize,
}

/// How records get to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Tcp,
    /// Over TCP with an answer to each record: what is delivered is at the receiver (rsyslog's `imrelp`).
    Relp,
    Udp,
}

/// What `mode:` and `tls:` say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Tls,
    Udp,
}

/// How frames are told apart on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// RFC 6587 §3.4.1: the length in bytes, a space, the record.
    OctetCounting,
    /// RFC 6587 §3.4.2: the record and a line end.
    Newline,
}

/// What becomes of records that do not fit into a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Oversize {
    /// Cut at a character.
    #[default]
    Truncate,
    /// Put into quarantine.
    Refuse,
}

fn rfc5424() -> Emitter {
    Emitter::named("rfc5424").unwrap_or_else(Emitter::native)
}
const fn connect_timeout() -> Interval {
    Interval::seconds(10)
}
const fn stall_timeout() -> Interval {
    Interval::seconds(300)
}
const fn resend_age() -> Interval {
    Interval::seconds(5)
}
const fn resend_window() -> ByteSize {
    ByteSize::mib(1)
}
const fn datagram_max() -> ByteSize {
    ByteSize::kib(8)
}

/// Bytes of one request.
const REQUEST_BYTES: usize = 256 * 1024;
/// How long a receiver that is left for another one may take to read what it was sent.
const CLOSE_MAX: Duration = Duration::from_secs(2);

impl SyslogConfig {
    fn transport(&self) -> Transport {
        match (self.mode, &self.tls) {
            (Mode::Udp, _) => Transport::Udp,
            (Mode::Tcp | Mode::Relp, Some(_)) => Transport::Tls,
            (Mode::Tcp | Mode::Relp, None) => Transport::Tcp,
        }
    }

    /// Every receiver, with the option that names it.
    fn targets(&self) -> impl Iterator<Item = (&'static str, Result<Target, String>)> {
        let port = match (self.mode, self.transport()) {
            (Mode::Relp, _) => 2514,
            (_, Transport::Tls) => 6514,
            (_, Transport::Tcp | Transport::Udp) => 514,
        };
        let more = self.addresses.iter().map(|address| ("addresses", address));
        let all = std::iter::once(("address", &self.address)).chain(more);
        all.map(move |(option, address)| (option, Target::parse(address, self.transport(), port)))
    }

    fn framing(&self) -> Framing {
        let default = if self.transport() == Transport::Tls { Framing::OctetCounting } else { Framing::Newline };
        self.framing.unwrap_or(default)
    }
}

impl SinkConfig for SyslogConfig {
    fn check(&self) -> Vec<Problem> {
        let mut problems = self.tls.as_ref().map(ClientTls::problems).unwrap_or_default();
        for (option, target) in self.targets() {
            let hint = || "write a host name or IP address and a port: `siem.example:6514`".to_owned();
            problems.extend(target.err().map(|message| Problem { option, message, hint: hint() }));
        }
        if !self.addresses.is_empty() && self.mode == Mode::Udp {
            problems.push(Problem {
                option: "addresses",
                message: "nobody knows whether a datagram arrived, so none tells that a receiver fails".to_owned(),
                hint: "write `mode: tcp` or `mode: relp`, or a sink for each receiver".to_owned(),
            });
        }
        if self.tls.is_some() && self.mode == Mode::Udp {
            problems.push(Problem {
                option: "tls",
                message: "datagrams cannot be encrypted".to_owned(),
                hint: "write `mode: tcp`".to_owned(),
            });
        }
        problems
    }

    fn open(&self, context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        let mut targets = Vec::new();
        for (option, target) in self.targets() {
            targets.push(target.map_err(|cause| SetupError::new(format!("cannot use `{option}`"), cause))?);
        }
        let tls = self.tls.clone().unwrap_or_default();
        if self.transport() == Transport::Tls {
            tls.client_config()?;
            for target in &targets {
                tls.name_of(&target.host)?;
            }
        }
        let targets = Targets::new(&context.name, targets, tls);
        // A record that is a syslog frame already has its header.
        let is_frame = matches!(self.format.name(), "rfc5424" | "rfc3164");
        let header = if is_frame { Header::None } else { self.header };
        if self.mode == Mode::Relp {
            let hostname = context.hostname.clone();
            return Ok(Box::new(RelpSink::new(self.clone(), header, hostname, targets)));
        }
        Ok(Box::new(Syslog {
            config: self.clone(),
            framing: self.framing(),
            header,
            hostname: context.hostname.clone(),
            targets,
            connection: None,
            window: Window::new(self.resend_window.as_usize(), self.resend_age.get()),
            lost: None,
            request: Vec::with_capacity(REQUEST_BYTES),
            ends: Vec::new(),
            record: Vec::new(),
        }))
    }
}

struct Syslog {
    config: SyslogConfig,
    framing: Framing,
    header: Header,
    hostname: String,
    targets: Targets,
    connection: Option<Connection>,
    window: Window,
    /// Why what was in the window is lost, until `drive` has asked.
    lost: Option<String>,
    /// Frames, one after the other.
    request: Vec<u8>,
    /// Where each datagram ends.
    ends: Vec<usize>,
    record: Vec<u8>,
}

impl Syslog {
    fn is_udp(&self) -> bool {
        self.config.mode == Mode::Udp
    }

    /// Adds a datagram; cuts or refuses it when it is too long.
    fn push_datagram(&mut self) -> Result<(), Refused> {
        let max = self.config.datagram_max.as_usize();
        if self.record.len() > max {
            if self.config.oversize == Oversize::Refuse {
                return Err(Refused(format!("{} bytes do not fit into a datagram of {max}", self.record.len())));
            }
            // A character begins at every byte that is not 10xxxxxx.
            let cut = (0..=max).rev().find(|at| self.record.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80));
            self.record.truncate(cut.unwrap_or(max));
        }
        self.request.extend_from_slice(&self.record);
        self.ends.push(self.request.len());
        Ok(())
    }

    fn push_frame(&mut self) {
        match self.framing {
            Framing::OctetCounting => {
                self.request.extend_from_slice(itoa::Buffer::new().format(self.record.len()).as_bytes());
                self.request.push(b' ');
                self.request.extend_from_slice(&self.record);
            }
            Framing::Newline => {
                self.request.extend_from_slice(&self.record);
                self.request.push(b'\n');
            }
        }
    }

    /// Looks at the connection.
    fn look(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        match connection.state() {
            State::Open => return,
            State::Closed { all_read: true } => self.window.clear(),
            State::Closed { all_read: false } => self.broke("the receiver closed the connection".to_owned()),
            State::Broken(error) => self.broke(error.to_string()),
        }
        self.connection = None;
    }

    /// The connection is gone, and with it what is in the window. Who takes something and loses it is left out.
    fn broke(&mut self, reason: String) {
        let reason = format!("{}: {reason}", self.targets.current());
        self.targets.leave_out_current(&reason);
        // What an earlier connection had is still owed when this one had nothing.
        if !self.window.is_empty() {
            self.lost = Some(reason);
        }
        self.window.clear();
    }

    /// The connection; a new one when there is none or it turns out to be closed.
    async fn connected(&mut self) -> Result<Connection, Outcome> {
        self.look();
        if let Some(reason) = self.lost.clone() {
            return Err(Outcome::Retry { after: None, reason });
        }
        if let Some(at) = self.targets.better().filter(|_| self.connection.is_some()) {
            self.go_back(at).await?;
        }
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        loop {
            let at = self.targets.next();
            match self.targets.connect(at, &self.config, |connection| ready(Ok(connection))).await {
                Ok(connection) => {
                    self.targets.move_to(at);
                    return Ok(connection);
                }
                Err(outcome) => {
                    if !self.targets.leave_out(at, why(&outcome)) {
                        return Err(outcome);
                    }
                }
            }
        }
    }

    /// Back to a preferred receiver, if it can be reached. What the one before may not have is sent again there.
    async fn go_back(&mut self, at: usize) -> Result<(), Outcome> {
        let connection = match self.targets.connect(at, &self.config, |connection| ready(Ok(connection))).await {
            Ok(connection) => connection,
            Err(outcome) => {
                self.targets.leave_out(at, why(&outcome));
                return Ok(());
            }
        };
        if let Some(before) = self.connection.replace(connection) {
            // Until it says so, and also if nobody waits for that: the new connection says nothing of the window.
            let left = format!("{} did not say that it has everything when it was left", self.targets.current());
            self.lost = (!self.window.is_empty()).then_some(left);
            self.window.clear();
            if timeout(CLOSE_MAX, before.close()).await == Ok(true) {
                self.lost = None;
            }
        }
        self.targets.move_to(at);
        match self.lost.clone() {
            Some(reason) => Err(Outcome::Retry { after: Some(Duration::ZERO), reason }),
            None => Ok(()),
        }
    }
}

/// Why something was not delivered.
fn why(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Retry { reason, .. } | Outcome::Fatal { reason } | Outcome::Reject { reason, .. } => reason,
        Outcome::Delivered | Outcome::Crowded { .. } => "",
    }
}

#[async_trait]
impl Sink for Syslog {
    fn limits(&self) -> Limits {
        Limits { events_max: 10_000, bytes_max: REQUEST_BYTES, age_max: Duration::ZERO }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        self.record.clear();
        self.header.write(event, &self.hostname, &mut self.record);
        self.config.format.emit(event, &mut self.record);
        if self.is_udp() {
            self.push_datagram()?;
        } else {
            self.push_frame();
        }
        Ok(Push::Taken { bytes: self.request.len() })
    }

    async fn deliver(&mut self) -> Outcome {
        let outcome = match self.connected().await {
            Err(outcome) => outcome,
            Ok(mut connection) => {
                match connection.write(&self.request, &self.ends, self.config.stall_timeout.get()).await {
                    Ok(()) => {
                        self.connection = Some(connection);
                        match self.is_udp() {
                            // There is no window that says more.
                            true => self.targets.delivered(),
                            false => self.window.add(self.request.len()),
                        }
                        Outcome::Delivered
                    }
                    Err(error) => {
                        self.broke(error.to_string());
                        let reason = format!("{} broke off: {error}", self.targets.current());
                        Outcome::Retry { after: None, reason }
                    }
                }
            }
        };
        self.clear();
        outcome
    }

    fn answer(&mut self) -> Answer {
        let peer = ("peer", self.targets.current().to_string());
        match self.is_udp() {
            true => vec![peer, (UNANSWERED, "UDP".to_owned())],
            false => vec![peer],
        }
    }

    fn clear(&mut self) {
        self.request.clear();
        self.ends.clear();
    }

    fn in_doubt(&mut self) -> Result<usize, Lost> {
        self.look();
        if let Some(reason) = self.lost.take() {
            return Err(Lost(reason));
        }
        let connection = &self.connection;
        let before = self.window.count();
        let in_doubt = self.window.in_doubt(|| connection.as_ref().and_then(Connection::unacknowledged));
        // What was written says nothing: it stands once it has kept something.
        if in_doubt < before {
            self.targets.delivered();
        }
        Ok(in_doubt)
    }

    async fn close(&mut self) -> bool {
        match self.connection.take() {
            Some(connection) => connection.close().await && self.lost.is_none(),
            None => self.window.is_empty() && self.lost.is_none(),
        }
    }
}
