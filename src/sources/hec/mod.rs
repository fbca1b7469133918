//! `hec`: a server for the Splunk HTTP Event Collector, as Docker's splunk log driver, Vector and
//! Fluent Bit speak it.
//!
//! Way of an event here: request → token → body (bounded, inflated) → **events** → intake →
//! answer. Invariants: code 0 is answered only after the events are on disk; a request is taken in
//! whole or refused whole; a token that a client sent never reaches an event or a log.

mod alerts;
mod answer;
mod auth;
mod channels;
mod events;

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::answer::Answer;
use self::auth::Doorkeeper;
use self::channels::{Channel, Channels};
use super::accept::{self, Accepted, Limits};
use super::body::Bodies;
use super::options::{FormatName, Reading, Zone, plaintext_problem};
use super::proxy::{Network, Proxied};
use super::web::{Desk, json};
use super::{Source, SourceConfig};
use crate::intake::{Frames, Intake, Origin, Trust};
use crate::part::{ByteSize, Kind, Listen, Listening, PartContext, Problem, Secret, SetupError, Transport};
use crate::stats;
use crate::tls::{Acceptor, TlsServer};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "hec",
    about: "Splunk HTTP Event Collector: events, raw lines, health; and Wazuh alerts by webhook",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// A server for Splunk's HTTP Event Collector.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Address and port to listen on. Splunk's own is 8088.
    address: Listen,
    /// What clients must send: `Authorization: Splunk <token>` or `Bearer <token>`, or as the password of `Basic`.
    /// Default: those of `tokens`.
    token: Option<Secret>,
    /// More tokens, by name. Who sends one is told apart: `peer` of his events is `token NAME`, which may belong to a
    /// machine (`identity.senders`), unless he has a client certificate.
    #[serde(default)]
    tokens: BTreeMap<String, Secret>,
    /// TLS. Default: none.
    tls: Option<TlsServer>,
    /// Whether to listen without TLS on an address that other machines can reach. Default: false.
    #[serde(default)]
    allow_plaintext: bool,
    /// Longest event; of a longer one the first 1 KiB is kept. Default: 256KiB.
    #[serde(default = "max_length")]
    max_length: ByteSize,
    /// Largest request, also after inflating. Default: 10MiB.
    #[serde(default = "max_body_bytes")]
    max_body_bytes: ByteSize,
    /// Connections that may be open at once. Default: 2000.
    #[serde(default = "connection_limit")]
    connection_limit: usize,
    /// Connections that may be open at once from one address. Default: 200.
    #[serde(default = "connection_limit_per_address")]
    connection_limit_per_address: usize,
    /// Whether connections come through a balancer or relay that says whose they are, in a header of the PROXY
    /// protocol (version 1 or 2): each must begin with one. Default: false.
    #[serde(default)]
    proxy_protocol: bool,
    /// Who may send such headers: addresses or networks. A connection of anybody else is refused. Default: nobody.
    #[serde(default)]
    proxy_trusted: Vec<Network>,
    /// Format of raw lines; events say themselves what they are. Default: auto.
    #[serde(default)]
    format: FormatName,
    /// Zone of timestamps that name none. Default: UTC.
    #[serde(default)]
    zone: Zone,
    /// Whose machine the events are about: `peer` (the other end of the connection), `relay` (the
    /// host named in each event) or `local`. Default: peer.
    #[serde(default = "identity")]
    identity: Trust,
}

fn max_length() -> ByteSize {
    ByteSize::kib(256)
}

fn max_body_bytes() -> ByteSize {
    ByteSize::mib(10)
}

fn connection_limit() -> usize {
    2_000
}

fn connection_limit_per_address() -> usize {
    200
}

fn identity() -> Trust {
    Trust::Peer
}

impl Config {
    /// Every token with its name, if it has one.
    fn read_tokens(&self) -> Result<Vec<(String, Option<&str>)>, Problem> {
        let problem = |option, message: String, hint: &str| Problem { option, message, hint: hint.to_owned() };
        let one = self.token.iter().map(|token| ("token", token, None));
        let named = self.tokens.iter().map(|(name, token)| ("tokens", token, Some(name.as_str())));
        let mut tokens: Vec<(String, Option<&str>)> = Vec::new();
        for (option, token, name) in one.chain(named) {
            let token = token.read().map_err(|error| problem(option, error.to_string(), "write the secret there"))?;
            if tokens.iter().any(|(other, _)| *other == token) {
                let message = format!("the token of `{}` is that of another one", name.unwrap_or("token"));
                return Err(problem(option, message, "who sends it could be either: make another one"));
            }
            tokens.push((token, name));
        }
        if tokens.is_empty() {
            let message = "nobody could send anything: there is no token".to_owned();
            return Err(problem("token", message, "write `token: {file: …}`, or `tokens: {name: {file: …}}`"));
        }
        Ok(tokens)
    }
}

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.token.iter().filter_map(|token| token.problem("token")).collect();
        problems.extend(self.tokens.values().filter_map(|token| token.problem("tokens")));
        problems.extend(self.read_tokens().err().filter(|_| problems.is_empty()));
        problems.extend(self.tls.iter().flat_map(TlsServer::check));
        problems.extend(Proxied::problem(self.proxy_protocol, &self.proxy_trusted));
        if self.tls.is_none() {
            problems.extend(plaintext_problem(self.address, self.allow_plaintext));
        }
        problems.extend(Bodies::problem(self.max_body_bytes));
        problems
    }

    fn listens(&self) -> Vec<Listening> {
        vec![Listening { option: "address", transport: Transport::Tcp, address: self.address.get() }]
    }

    fn open(&self, _: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        let tokens = self.read_tokens();
        let tokens =
            tokens.map_err(|problem| SetupError::new(format!("cannot use `{}`", problem.option), problem.message))?;
        let events = Reading { format: FormatName::only("hec"), zone: self.zone, trust: self.identity };
        Ok(Box::new(Hec {
            listener: accept::listen(self.address.get())?,
            tls: self.tls.as_ref().map(Acceptor::new).transpose()?,
            limits: Limits {
                connections_max: self.connection_limit,
                per_address_max: self.connection_limit_per_address,
                proxied: Proxied::new(self.proxy_protocol, &self.proxy_trusted),
            },
            shared: Arc::new(Shared {
                doorkeeper: Doorkeeper::new(tokens.iter().map(|(token, name)| (token.as_str(), *name))),
                bodies: Bodies::new(self.max_body_bytes.as_usize()),
                channels: Channels::default(),
                event_bytes_max: self.max_length.as_usize(),
                events,
                raw: Reading { format: self.format, ..events },
                alerts: Reading { format: FormatName::only("wazuh"), ..events },
            }),
        }))
    }
}

struct Hec {
    listener: TcpListener,
    tls: Option<Acceptor>,
    limits: Limits,
    shared: Arc<Shared>,
}

/// What all connections use.
struct Shared {
    doorkeeper: Doorkeeper,
    bodies: Bodies,
    channels: Channels,
    event_bytes_max: usize,
    events: Reading,
    raw: Reading,
    alerts: Reading,
}

#[async_trait]
impl Source for Hec {
    fn endpoints(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
        vec![format!("{scheme} {address} (HEC)")]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        let Hec { listener, tls, limits, shared } = *self;
        let stopped = stop.clone();
        let stats = intake.stats();
        accept::serve(listener, tls, limits, stats, &stop, move |accepted| {
            let desk = Desk::new(intake.clone(), shared.event_bytes_max);
            let client = Client { shared: shared.clone(), desk };
            let stop = stopped.clone();
            async move { client.serve(accepted, &stop).await }
        })
        .await
    }
}

/// One connection.
#[derive(Clone)]
struct Client {
    shared: Arc<Shared>,
    desk: Desk,
}

impl Client {
    async fn serve(self, accepted: Accepted, stop: &CancellationToken) -> Result<(), SetupError> {
        let (desk, peer, address) = (self.desk.clone(), accepted.peer.clone(), accepted.address);
        desk.serve(accepted, stop, |request| {
            let (client, peer) = (self.clone(), peer.clone());
            async move {
                let origin = |reading: Reading| Origin { address: Some(address), ..reading.origin(&peer) };
                client.respond(request, origin).await
            }
        })
        .await
    }

    async fn respond(&self, request: Request<Incoming>, origin: impl Fn(Reading) -> Origin) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let Some(endpoint) = Endpoint::of(path) else { return Answer::NotFound.into() };
        if *request.method() == Method::OPTIONS {
            // Docker's driver asks so whether this is a HEC at all, without a token.
            return Answer::Options.into();
        }
        let method = if endpoint == Endpoint::Health { Method::GET } else { Method::POST };
        if *request.method() != method {
            return Answer::MethodNotAllowed.into();
        }
        let mut peer_of_token = None;
        if endpoint != Endpoint::Health {
            let address = origin(self.shared.events).address;
            match self.shared.doorkeeper.admit(&request, address) {
                Ok(name) => peer_of_token = name.map(|name| Arc::from(format!("token {name}"))),
                Err(answer) => {
                    stats::add(&self.desk.intake.stats().refused_logins, 1);
                    return answer.into();
                }
            }
        }
        let origin = |reading: Reading| {
            let origin = origin(reading);
            // A certificate proves more than a token.
            match &peer_of_token {
                Some(peer) if origin.peer.parse::<IpAddr>().is_ok() => Origin { peer: Arc::clone(peer), ..origin },
                _ => origin,
            }
        };
        let channel = Channel::of(&request);
        let answer = match endpoint {
            Endpoint::Health => Answer::Healthy,
            Endpoint::Ack => return self.acknowledge(request, channel).await.unwrap_or_else(Answer::into),
            Endpoint::Events => self.take_events(request, origin(self.shared.events)).await,
            Endpoint::Wazuh => self.take_alerts(request, origin(self.shared.alerts)).await,
            Endpoint::Raw => self.take_raw(request, origin(self.shared.raw), origin(self.shared.events)).await,
        };
        match (answer, channel) {
            (Answer::Success, Ok(channel)) => Answer::Accepted(self.shared.channels.give(channel)),
            _ => answer,
        }
        .into()
    }

    async fn acknowledge(
        &self,
        request: Request<Incoming>,
        channel: Result<Channel, Answer>,
    ) -> Result<Response<Full<Bytes>>, Answer> {
        let channel = channel?;
        let question = self.shared.bodies.read(request).await?;
        Ok(json(self.shared.channels.answer(&channel, &question)?))
    }

    async fn take_events(&self, request: Request<Incoming>, origin: Origin) -> Answer {
        let body = match self.shared.bodies.read(request).await {
            Ok(body) => body,
            Err(error) => return error.into(),
        };
        let events = match events::cut(&body) {
            Ok(events) => events,
            Err(answer) => return answer,
        };
        let mut frames = self.desk.intake.frames(origin);
        self.store(&mut frames, events, |frames, event| self.desk.take(frames, event)).await
    }

    /// Alerts of Wazuh, as an integration or a monitor posts them.
    async fn take_alerts(&self, request: Request<Incoming>, origin: Origin) -> Answer {
        let body = match self.shared.bodies.read(request).await {
            Ok(body) => body,
            Err(error) => return error.into(),
        };
        let alerts = match alerts::cut(&body) {
            Ok(alerts) => alerts,
            Err(answer) => return answer,
        };
        let mut frames = self.desk.intake.frames(origin);
        self.store(&mut frames, alerts, |frames, alert| self.desk.take(frames, alert)).await
    }

    async fn take_raw(&self, request: Request<Incoming>, lines: Origin, wrapped: Origin) -> Answer {
        let about = events::About::from_query(request.uri().query().unwrap_or_default());
        let body = match self.shared.bodies.read(request).await {
            Ok(body) => body,
            Err(error) => return error.into(),
        };
        let lines_of_body = body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines_of_body: Vec<&[u8]> = lines_of_body.filter(|line| !line.is_empty()).collect();
        if lines_of_body.is_empty() {
            return Answer::NoData;
        }
        let mut frames = self.desk.intake.frames(lines.clone());
        let mut envelope = Vec::new();
        self.store(&mut frames, lines_of_body, |frames, line| {
            // What the query says of the lines must not be lost: they travel as events would.
            if about.wrap(line, &mut envelope) {
                frames.turn_to(wrapped.clone());
                self.desk.take(frames, &envelope);
            } else {
                frames.turn_to(lines.clone());
                self.desk.take(frames, line);
            }
        })
        .await
    }

    async fn store(&self, frames: &mut Frames, events: Vec<&[u8]>, take: impl FnMut(&mut Frames, &[u8])) -> Answer {
        self.desk.store(frames, events, take).await.map_or_else(Answer::from, |()| Answer::Success)
    }
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Events,
    Raw,
    Ack,
    Health,
    /// Not of Splunk: a webhook for alerts.
    Wazuh,
}

impl Endpoint {
    fn of(path: &str) -> Option<Endpoint> {
        if path == "/wazuh" {
            return Some(Endpoint::Wazuh);
        }
        Some(match path.strip_prefix("/services/collector")? {
            "" | "/" | "/event" | "/event/1.0" => Endpoint::Events,
            "/raw" | "/raw/1.0" => Endpoint::Raw,
            "/ack" | "/ack/1.0" => Endpoint::Ack,
            "/health" | "/health/1.0" => Endpoint::Health,
            _ => return None,
        })
    }
}
