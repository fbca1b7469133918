//! `loginsight`: a server for the ingestion API (cfapi) that agents of VMware Aria Operations for Logs, before that
//! vRealize Log Insight, speak.
//!
//! Way of an event here: request → body (bounded, inflated) → **events**, each with the agent's id → intake → answer.
//! Invariants: `ok` is answered only after the events are on disk; a body that is no list of events is refused whole;
//! the id in a request's path proves nothing, and nobody is known by it unless the source is that of a relay.

mod answer;
mod events;

use std::net::TcpListener;
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
use super::accept::{self, Accepted, Limits};
use super::body::Bodies;
use super::options::{FormatName, Reading, Zone, plaintext_problem};
use super::proxy::{Network, Proxied};
use super::web::Desk;
use super::{Source, SourceConfig};
use crate::intake::{Intake, Origin, Trust};
use crate::part::{ByteSize, Kind, Listen, Listening, PartContext, Problem, SetupError, Transport};
use crate::tls::{Acceptor, TlsServer};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "loginsight",
    about: "Agents of VMware Aria Operations for Logs (Log Insight), by its ingestion API (cfapi)",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// A server for the ingestion API of Aria Operations for Logs. The API knows no credentials of agents: who may send
/// is a matter of `tls` (`client_ca`) and of the network.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Address and port to listen on. The product's own are 9543 with TLS and 9000 without.
    address: Listen,
    /// TLS. Default: none.
    tls: Option<TlsServer>,
    /// Whether to listen without TLS on an address that other machines can reach. Default: false.
    #[serde(default)]
    allow_plaintext: bool,
    /// Longest event; of a longer one the first 1 KiB is kept. Default: 256KiB.
    #[serde(default = "max_length")]
    max_length: ByteSize,
    /// Largest request, also after inflating. Default: 4MiB.
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
    /// Zone of timestamps in texts that name none. Default: UTC.
    #[serde(default)]
    zone: Zone,
    /// Whose machine the events are about: `peer` (the other end of the connection), `relay` (the agent's id or the
    /// host named in each event) or `local`. Default: peer.
    #[serde(default = "identity")]
    identity: Trust,
}

fn max_length() -> ByteSize {
    ByteSize::kib(256)
}

fn max_body_bytes() -> ByteSize {
    ByteSize::mib(4)
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

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.tls.iter().flat_map(TlsServer::check).collect();
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
        Ok(Box::new(LogInsight {
            listener: accept::listen(self.address.get())?,
            tls: self.tls.as_ref().map(Acceptor::new).transpose()?,
            limits: Limits {
                connections_max: self.connection_limit,
                per_address_max: self.connection_limit_per_address,
                proxied: Proxied::new(self.proxy_protocol, &self.proxy_trusted),
            },
            bodies: Arc::new(Bodies::new(self.max_body_bytes.as_usize())),
            event_bytes_max: self.max_length.as_usize(),
            reading: Reading { format: FormatName::only("loginsight"), zone: self.zone, trust: self.identity },
        }))
    }
}

struct LogInsight {
    listener: TcpListener,
    tls: Option<Acceptor>,
    limits: Limits,
    bodies: Arc<Bodies>,
    event_bytes_max: usize,
    reading: Reading,
}

#[async_trait]
impl Source for LogInsight {
    fn endpoints(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
        vec![format!("{scheme} {address} (Log Insight)")]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        let LogInsight { listener, tls, limits, bodies, event_bytes_max, reading } = *self;
        let stopped = stop.clone();
        let stats = intake.stats();
        accept::serve(listener, tls, limits, stats, &stop, move |accepted| {
            let desk = Desk::new(intake.clone(), event_bytes_max);
            let origin = Origin { address: Some(accepted.address), ..reading.origin(&accepted.peer) };
            let client = Client { bodies: Arc::clone(&bodies), desk, origin };
            let stop = stopped.clone();
            async move { client.serve(accepted, &stop).await }
        })
        .await
    }
}

/// One connection.
#[derive(Clone)]
struct Client {
    bodies: Arc<Bodies>,
    desk: Desk,
    origin: Origin,
}

impl Client {
    async fn serve(self, accepted: Accepted, stop: &CancellationToken) -> Result<(), SetupError> {
        let respond = |request| {
            let client = self.clone();
            async move { client.respond(request).await }
        };
        self.desk.clone().serve(accepted, stop, respond).await
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.ingest(request).await {
            Ok(ingested) => answer::ingested(ingested),
            Err(answer) => answer.into(),
        }
    }

    /// Takes the events of a request in; answers how many.
    async fn ingest(&self, request: Request<Incoming>) -> Result<usize, Answer> {
        let agent = agent_of(request.uri().path())?.to_owned();
        if *request.method() != Method::POST {
            return Err(Answer::MethodNotAllowed);
        }
        let body = self.bodies.read(request).await?;
        let events = events::cut(&body)?;
        let count = events.len();
        let mut frames = self.desk.intake.frames(self.origin.clone());
        let mut frame = Vec::new();
        self.desk
            .store(&mut frames, events, |frames, event| {
                events::sign(&agent, event, &mut frame);
                self.desk.take(frames, &frame);
            })
            .await?;
        Ok(count)
    }
}

/// Where requests with events go; `messages` is what Log Insight 2 called them.
const PATHS: [&str; 3] = ["/api/v1/events/ingest/", "/api/v1/messages/ingest/", "/api/v2/events/ingest/"];

/// A UUID has 36 characters; other ids are of what people chose.
const AGENT_MAX: usize = 128;

/// The id of the agent in the path of a request.
///
/// # Errors
/// It is another path, or no id: letters, digits and `-._~` (RFC 3986 §2.3), so that it can stand in JSON as it is.
fn agent_of(path: &str) -> Result<&str, Answer> {
    let agent = PATHS.iter().find_map(|before| path.strip_prefix(before)).ok_or(Answer::NotFound)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_id = !agent.is_empty() && agent.len() <= AGENT_MAX && agent.bytes().all(is_plain);
    if is_id { Ok(agent) } else { Err(Answer::NoAgent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        const UUID: &str = "4C4C4544-0037-5910-805A-C4C04F585831";
        for before in ["/api/v1/events/ingest/", "/api/v1/messages/ingest/", "/api/v2/events/ingest/"] {
            for agent in [UUID, "0", "aexample-uuid-4b7a-8b09-fbfac4b46fd9", "web_1.example"] {
                assert_eq!(agent_of(&format!("{before}{agent}")), Ok(agent));
            }
            for odd in ["", "a/b", "a\"b", "%41", "ä", &"a".repeat(129)] {
                assert_eq!(agent_of(&format!("{before}{odd}")), Err(Answer::NoAgent), "{odd}");
            }
        }
        for path in ["/", "/api/v1/events/ingest", "/api/v2/messages/ingest/0", "/api/v1/sessions"] {
            assert_eq!(agent_of(path), Err(Answer::NotFound), "{path}");
        }
    }
}
