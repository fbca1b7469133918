//! `gelf`: GELF over UDP and TCP, as Docker's gelf driver sends it.
//!
//! Way of an event here: datagrams → chunks joined → inflated → intake; or a stream → cut at NUL → intake.
//! Invariants: datagrams are always read; a message whose chunks never came is counted and declared; nothing
//! inflates to more than the limit.

mod datagram;
mod stream;

use std::net::{SocketAddr, TcpListener, UdpSocket};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::datagram::Messages;
use super::accept::{self, Limits};
use super::arrivals::Arrivals;
use super::options::{FormatName, Reading, Zone, plaintext_problem};
use super::proxy::{Network, Proxied};
use super::{Source, SourceConfig, udp};
use crate::intake::{Intake, Trust};
use crate::part::{ByteSize, Kind, Listen, Listening, PartContext, Problem, SetupError, Transport};
use crate::tls::{Acceptor, TlsServer};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "gelf",
    about: "GELF over UDP (chunks, gzip, zlib), TCP and TLS, also from Docker's gelf driver",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// A listener for GELF.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How messages come.
    mode: Mode,
    /// Address and port to listen on. Graylog's own is 12201.
    address: Listen,
    /// TLS, for `tcp`. Default: none.
    tls: Option<TlsServer>,
    /// Whether to listen without TLS on an address that other machines can reach. Default: false.
    #[serde(default)]
    allow_plaintext: bool,
    /// Longest message, also after joining its chunks and inflating it. Default: 256KiB.
    #[serde(default = "max_length")]
    max_length: ByteSize,
    /// For `tcp`: connections that may be open at once. Default: 20000.
    #[serde(default = "connection_limit")]
    connection_limit: usize,
    /// For `tcp`: connections that may be open at once from one address. Default: 2000.
    #[serde(default = "connection_limit_per_address")]
    connection_limit_per_address: usize,
    /// Whether connections come through a balancer or relay that says whose they are, in a header of the PROXY
    /// protocol (version 1 or 2): each must begin with one. Default: false.
    #[serde(default)]
    proxy_protocol: bool,
    /// Who may send such headers: addresses or networks. A connection of anybody else is refused. Default: nobody.
    #[serde(default)]
    proxy_trusted: Vec<Network>,
    /// For `udp`: what the kernel holds while the gateway is busy; `net.core.rmem_max` may limit
    /// it. Default: 8MiB.
    #[serde(default = "receive_buffer_bytes")]
    receive_buffer_bytes: ByteSize,
    /// Whose machine the messages are about: `local`, `peer` (the other end of the connection) or
    /// `relay` (the host named in each message). Default: peer.
    #[serde(default = "identity")]
    identity: Trust,
}

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// In datagrams, whole or in chunks, plain or compressed.
    Udp,
    /// On connections, each ended by NUL.
    Tcp,
}

fn max_length() -> ByteSize {
    ByteSize::kib(256)
}

fn connection_limit() -> usize {
    20_000
}

fn connection_limit_per_address() -> usize {
    2_000
}

fn receive_buffer_bytes() -> ByteSize {
    ByteSize::mib(8)
}

fn identity() -> Trust {
    Trust::Peer
}

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |option, message: &str, hint: &str| {
            problems.push(Problem { option, message: message.to_owned(), hint: hint.to_owned() });
        };
        if self.tls.is_some() && self.mode == Mode::Udp {
            problem("tls", "`tls` has no meaning for this mode", "use `mode: tcp`");
        }
        if self.proxy_protocol && self.mode == Mode::Udp {
            problem("proxy_protocol", "`proxy_protocol` has no meaning for this mode", "use `mode: tcp`");
        }
        if self.max_length.get() == 0 {
            problem("max_length", "no message is that short", "write `max_length: 256KiB`");
        }
        problems.extend(self.tls.iter().flat_map(TlsServer::check));
        problems.extend(Proxied::problem(self.proxy_protocol, &self.proxy_trusted));
        if self.tls.is_none() {
            problems.extend(plaintext_problem(self.address, self.allow_plaintext));
        }
        problems
    }

    fn listens(&self) -> Vec<Listening> {
        let transport = match self.mode {
            Mode::Udp => Transport::Udp,
            Mode::Tcp => Transport::Tcp,
        };
        vec![Listening { option: "address", transport, address: self.address.get() }]
    }

    fn open(&self, _: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        let socket = match self.mode {
            Mode::Udp => Socket::Udp(udp::bind(self.address.get(), self.receive_buffer_bytes.as_usize())?),
            Mode::Tcp => {
                let tls = self.tls.as_ref().map(Acceptor::new).transpose()?;
                Socket::Tcp(accept::listen(self.address.get())?, tls)
            }
        };
        Ok(Box::new(Gelf {
            socket,
            reading: Reading { format: FormatName::only("gelf"), zone: Zone::default(), trust: self.identity },
            message_bytes_max: self.max_length.as_usize(),
            limits: Limits {
                connections_max: self.connection_limit,
                per_address_max: self.connection_limit_per_address,
                proxied: Proxied::new(self.proxy_protocol, &self.proxy_trusted),
            },
        }))
    }
}

struct Gelf {
    socket: Socket,
    reading: Reading,
    message_bytes_max: usize,
    limits: Limits,
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpListener, Option<Acceptor>),
}

#[async_trait]
impl Source for Gelf {
    fn endpoints(&self) -> Vec<String> {
        let address = |address: std::io::Result<SocketAddr>| address.map_or_else(|e| e.to_string(), |a| a.to_string());
        vec![match &self.socket {
            Socket::Udp(socket) => format!("udp {}", address(socket.local_addr())),
            Socket::Tcp(listener, None) => format!("tcp {}", address(listener.local_addr())),
            Socket::Tcp(listener, Some(_)) => format!("tls {}", address(listener.local_addr())),
        }]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        let Gelf { socket, reading, message_bytes_max, limits } = *self;
        match socket {
            Socket::Udp(socket) => udp::serve(socket, reading, Messages::new(message_bytes_max), &intake, &stop).await,
            Socket::Tcp(listener, tls) => {
                let (arrivals, stats) = (Arrivals::until(stop.clone()), intake.stats());
                let work = move |stream, origin| {
                    stream::follow(stream, origin, message_bytes_max, intake.clone(), arrivals.clone())
                };
                accept::serve_frames(listener, tls, limits, reading, stats, &stop, work).await
            }
        }
    }
}
