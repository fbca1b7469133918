//! `forward`: the forward protocol of Fluentd, as Docker's fluentd driver, Fluent Bit and Fluentd send it.
//!
//! Way of an event here: connection → MessagePack objects → entries → intake → acknowledgement, if the sender asked
//! for one. Invariant: a connection is not read while its events are on their way to disk.

#[cfg(fuzzing)]
pub mod fuzzing;
mod handshake;
mod message;
mod stream;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::handshake::SharedKey;
use self::stream::Shared;
use super::accept::{self, Limits};
use super::options::{FormatName, Reading, Zone, plaintext_problem};
use super::proxy::{Network, Proxied};
use super::{Source, SourceConfig, unix};
use crate::intake::{Intake, Trust};
use crate::part::{ByteSize, Kind, Listen, Listening, PartContext, Problem, Secret, SetupError, Transport};
use crate::tls::{Acceptor, TlsServer};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "forward",
    about: "Forward protocol of Fluentd, Fluent Bit and Docker's fluentd driver, with acknowledgements",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// A listener for the forward protocol, by `address` or by `path`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Address and port to listen on. Fluentd's own is 24224. Default: none.
    address: Option<Listen>,
    /// A socket file to make and listen on instead. Default: none.
    path: Option<PathBuf>,
    /// TLS, for `address`. Default: none.
    tls: Option<TlsServer>,
    /// Whether to listen without TLS on an address that other machines can reach. Default: false.
    #[serde(default)]
    allow_plaintext: bool,
    /// A key that senders must know (`shared_key` of Fluentd and Fluent Bit).
    /// It is proven, not sent; what is sent is not hidden by it: use `tls`. Docker's driver knows none.
    /// Default: none.
    shared_key: Option<Secret>,
    /// Longest event; of a longer one the first 1 KiB is kept. Default: 256KiB.
    #[serde(default = "max_length")]
    max_length: ByteSize,
    /// Largest message, which may hold many events, also after inflating. Default: 8MiB.
    #[serde(default = "max_message_bytes")]
    max_message_bytes: ByteSize,
    /// Connections that may be open at once; Docker opens one for each container. Default: 2000.
    #[serde(default = "connection_limit")]
    connection_limit: usize,
    /// Connections that may be open at once from one address. Default: 1000.
    #[serde(default = "connection_limit_per_address")]
    connection_limit_per_address: usize,
    /// Whether connections come through a balancer or relay that says whose they are, in a header of the PROXY
    /// protocol (version 1 or 2): each must begin with one. Default: false.
    #[serde(default)]
    proxy_protocol: bool,
    /// Who may send such headers: addresses or networks. A connection of anybody else is refused. Default: nobody.
    #[serde(default)]
    proxy_trusted: Vec<Network>,
    /// Whose machine the events are about: `local` or `peer` (the other end of the connection). Default: peer, for
    /// a socket file local.
    identity: Option<Trust>,
}

fn max_length() -> ByteSize {
    ByteSize::kib(256)
}

fn max_message_bytes() -> ByteSize {
    ByteSize::mib(8)
}

fn connection_limit() -> usize {
    2_000
}

fn connection_limit_per_address() -> usize {
    1_000
}

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |option, message: &str, hint: &str| {
            problems.push(Problem { option, message: message.to_owned(), hint: hint.to_owned() });
        };
        match (self.address, &self.path) {
            (None, None) => {
                problem("address", "neither `address` nor `path` is set", "write `address: 127.0.0.1:24224`")
            }
            (Some(_), Some(_)) => problem("path", "`address` and `path` are both set", "two listeners are two sources"),
            (None, Some(_)) if self.tls.is_some() => {
                problem("tls", "there is no TLS on a socket file", "leave `tls` out, or use `address`");
            }
            (None, Some(_)) if self.proxy_protocol => {
                problem(
                    "proxy_protocol",
                    "nobody hands on connections of a socket file",
                    "leave it out, or use `address`",
                );
            }
            _ => {}
        }
        if self.max_length.get() == 0 {
            problem("max_length", "no event is that short", "write `max_length: 256KiB`");
        }
        if self.max_message_bytes < self.max_length {
            problem("max_message_bytes", "a message is as long as an event", "write `max_message_bytes: 8MiB`");
        }
        problems.extend(self.tls.iter().flat_map(TlsServer::check));
        problems.extend(Proxied::problem(self.proxy_protocol, &self.proxy_trusted));
        problems.extend(self.shared_key.iter().filter_map(|key| key.problem("shared_key")));
        if self.tls.is_none() {
            problems.extend(self.address.and_then(|address| plaintext_problem(address, self.allow_plaintext)));
        }
        problems
    }

    fn listens(&self) -> Vec<Listening> {
        let listening =
            |address: Listen| Listening { option: "address", transport: Transport::Tcp, address: address.get() };
        self.address.map(listening).into_iter().collect()
    }

    fn open(&self, context: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        let key = self.shared_key.as_ref().map(Secret::read).transpose();
        let key = key.map_err(|error| SetupError::new("cannot read the shared key", error))?;
        let key = key.map(|key| SharedKey::new(key, context.hostname.clone()));
        let socket = match (self.address, &self.path) {
            (Some(address), _) => {
                let tls = self.tls.as_ref().map(Acceptor::new).transpose()?;
                Socket::Tcp(accept::listen(address.get())?, tls)
            }
            (None, Some(path)) => Socket::Unix(unix::bind(path)?, path.clone()),
            (None, None) => return Err(SetupError::new("cannot listen", "neither `address` nor `path` is set")),
        };
        let trust = self.identity.unwrap_or(if self.path.is_some() { Trust::Local } else { Trust::Peer });
        Ok(Box::new(Forward {
            socket,
            reading: Reading { format: FormatName::only("fluent"), zone: Zone::default(), trust },
            event_bytes_max: self.max_length.as_usize(),
            message_bytes_max: self.max_message_bytes.as_usize(),
            key,
            limits: Limits {
                connections_max: self.connection_limit,
                per_address_max: self.connection_limit_per_address,
                proxied: Proxied::new(self.proxy_protocol, &self.proxy_trusted),
            },
        }))
    }
}

struct Forward {
    socket: Socket,
    reading: Reading,
    event_bytes_max: usize,
    message_bytes_max: usize,
    key: Option<SharedKey>,
    limits: Limits,
}

enum Socket {
    Tcp(TcpListener, Option<Acceptor>),
    Unix(UnixListener, PathBuf),
}

#[async_trait]
impl Source for Forward {
    fn endpoints(&self) -> Vec<String> {
        let address = |address: std::io::Result<SocketAddr>| address.map_or_else(|e| e.to_string(), |a| a.to_string());
        vec![match &self.socket {
            Socket::Tcp(listener, None) => format!("tcp {}", address(listener.local_addr())),
            Socket::Tcp(listener, Some(_)) => format!("tls {}", address(listener.local_addr())),
            Socket::Unix(_, path) => format!("unix {}", path.display()),
        }]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        let Forward { socket, reading, event_bytes_max, message_bytes_max, key, limits } = *self;
        let stats = intake.stats();
        let shared = Shared::new(intake, stop.clone(), event_bytes_max, message_bytes_max, key);
        match socket {
            Socket::Tcp(listener, tls) => {
                let work = move |stream, origin| shared.clone().follow(stream, origin);
                accept::serve_frames(listener, tls, limits, reading, stats, &stop, work).await
            }
            Socket::Unix(listener, path) => {
                let work = move |stream, peer: String| shared.clone().follow(stream, reading.origin(&peer));
                let done = unix::serve(listener, limits, &stop, work).await;
                unix::remove(&path);
                done
            }
        }
    }
}
