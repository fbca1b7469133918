//! `syslog`: messages over TCP, TLS, RELP, UDP and unix sockets.
//!
//! Way of an event here: socket → **frame** → intake. Invariants: a stream is not read while its
//! frames are on their way to disk (that is the backpressure); datagrams of the network are always
//! read, and those that find no room are counted and declared.

mod datagram;
mod relp;
mod stream;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::accept::{self, Limits};
use super::arrivals::Arrivals;
use super::options::{FormatName, Reading, Zone, plaintext_problem};
use super::proxy::{Network, Proxied};
use super::{Source, SourceConfig, udp, unix};
use crate::intake::{Intake, Trust};
use crate::part::{ByteSize, Kind, Listen, Listening, PartContext, Problem, SetupError, Transport};
use crate::tls::{Acceptor, TlsServer};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "syslog",
    about: "Syslog over TCP (both framings), TLS, RELP, UDP and unix sockets",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// A listener for syslog.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How messages come: over the network, or from this machine through a socket file. With `relp` each is
    /// answered when it is on disk (rsyslog's `omrelp`).
    mode: Mode,
    /// For `tcp`, `relp` and `udp`: address and port to listen on, for example 127.0.0.1:5514.
    address: Option<Listen>,
    /// For `unix` and `unix_datagram`: the socket file to make.
    path: Option<PathBuf>,
    /// TLS, for `tcp` and `relp`. Default: none.
    tls: Option<TlsServer>,
    /// Whether to listen without TLS on an address that other machines can reach. Default: false.
    #[serde(default)]
    allow_plaintext: bool,
    /// Longest message; of a longer one the first 1 KiB is kept. Default: 256KiB.
    #[serde(default = "max_length")]
    max_length: ByteSize,
    /// Connections that may be open at once. Default: 20000.
    #[serde(default = "connection_limit")]
    connection_limit: usize,
    /// Connections that may be open at once from one address. Default: 2000.
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
    /// Format of the messages. Default: auto.
    #[serde(default)]
    format: FormatName,
    /// Zone of timestamps that name none. Default: UTC.
    #[serde(default)]
    zone: Zone,
    /// Whose machine the messages are about: `local`, `peer` (the other end of the connection) or
    /// `relay` (the host named in each message). Default: peer, for socket files local.
    identity: Option<Trust>,
}

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Tcp,
    /// Over TCP with an answer to each message, when it is on disk (rsyslog's `omrelp`).
    Relp,
    Udp,
    /// A stream socket file.
    Unix,
    /// A datagram socket file, as `/dev/log` is.
    UnixDatagram,
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

impl Config {
    fn address(&self) -> Result<SocketAddr, SetupError> {
        self.address.map(Listen::get).ok_or_else(|| SetupError::new("cannot listen", "`address` is not set"))
    }

    fn path(&self) -> Result<&Path, SetupError> {
        self.path.as_deref().ok_or_else(|| SetupError::new("cannot listen", "`path` is not set"))
    }

    fn acceptor(&self) -> Result<Option<Acceptor>, SetupError> {
        self.tls.as_ref().map(Acceptor::new).transpose()
    }

    fn bind(&self) -> Result<Socket, SetupError> {
        Ok(match self.mode {
            Mode::Tcp => Socket::Tcp(accept::listen(self.address()?)?, self.acceptor()?),
            Mode::Relp => Socket::Relp(accept::listen(self.address()?)?, self.acceptor()?),
            Mode::Udp => Socket::Udp(udp::bind(self.address()?, self.receive_buffer_bytes.as_usize())?),
            Mode::Unix => Socket::Unix(unix::bind(self.path()?)?, self.path()?.to_owned()),
            Mode::UnixDatagram => Socket::UnixDatagram(datagram::bind_unix(self.path()?)?, self.path()?.to_owned()),
        })
    }
}

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |option, message: &str, hint: &str| {
            problems.push(Problem { option, message: message.to_owned(), hint: hint.to_owned() });
        };
        let network = matches!(self.mode, Mode::Tcp | Mode::Relp | Mode::Udp);
        match (network, self.address, &self.path) {
            (true, None, _) => problem("address", "`address` is not set", "write `address: 127.0.0.1:5514`"),
            (true, _, Some(_)) => problem("path", "`path` has no meaning for this mode", "use `address` alone"),
            (false, _, None) => problem("path", "`path` is not set", "write `path: /run/wharfinger/log.sock`"),
            (false, Some(_), _) => problem("address", "`address` has no meaning for this mode", "use `path` alone"),
            _ => {}
        }
        if self.tls.is_some() && !matches!(self.mode, Mode::Tcp | Mode::Relp) {
            problem("tls", "`tls` has no meaning for this mode", "use `mode: tcp` or `mode: relp`");
        }
        if self.proxy_protocol && !matches!(self.mode, Mode::Tcp | Mode::Relp) {
            problem(
                "proxy_protocol",
                "`proxy_protocol` has no meaning for this mode",
                "use `mode: tcp` or `mode: relp`",
            );
        }
        if self.max_length.get() == 0 {
            problem("max_length", "no message is that short", "write `max_length: 256KiB`");
        }
        problems.extend(self.tls.iter().flat_map(TlsServer::check));
        problems.extend(Proxied::problem(self.proxy_protocol, &self.proxy_trusted));
        if network && self.tls.is_none() {
            problems.extend(self.address.and_then(|address| plaintext_problem(address, self.allow_plaintext)));
        }
        problems
    }

    fn listens(&self) -> Vec<Listening> {
        let transport = match self.mode {
            Mode::Tcp | Mode::Relp => Transport::Tcp,
            Mode::Udp => Transport::Udp,
            Mode::Unix | Mode::UnixDatagram => return Vec::new(),
        };
        let address = self.address.map(Listen::get);
        address.map(|address| Listening { option: "address", transport, address }).into_iter().collect()
    }

    fn open(&self, _: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        let local = matches!(self.mode, Mode::Unix | Mode::UnixDatagram);
        let trust = self.identity.unwrap_or(if local { Trust::Local } else { Trust::Peer });
        Ok(Box::new(Syslog {
            socket: self.bind()?,
            reading: Reading { format: self.format, zone: self.zone, trust },
            frame_bytes_max: self.max_length.as_usize(),
            limits: Limits {
                connections_max: self.connection_limit,
                per_address_max: self.connection_limit_per_address,
                proxied: Proxied::new(self.proxy_protocol, &self.proxy_trusted),
            },
        }))
    }
}

struct Syslog {
    socket: Socket,
    reading: Reading,
    frame_bytes_max: usize,
    limits: Limits,
}

enum Socket {
    Tcp(TcpListener, Option<Acceptor>),
    Relp(TcpListener, Option<Acceptor>),
    Udp(UdpSocket),
    Unix(UnixListener, PathBuf),
    UnixDatagram(UnixDatagram, PathBuf),
}

#[async_trait]
impl Source for Syslog {
    fn endpoints(&self) -> Vec<String> {
        let address = |address: std::io::Result<SocketAddr>| address.map_or_else(|e| e.to_string(), |a| a.to_string());
        vec![match &self.socket {
            Socket::Tcp(listener, None) => format!("tcp {}", address(listener.local_addr())),
            Socket::Tcp(listener, Some(_)) => format!("tls {}", address(listener.local_addr())),
            Socket::Relp(listener, None) => format!("relp {}", address(listener.local_addr())),
            Socket::Relp(listener, Some(_)) => format!("relp {} over tls", address(listener.local_addr())),
            Socket::Udp(socket) => format!("udp {}", address(socket.local_addr())),
            Socket::Unix(_, path) | Socket::UnixDatagram(_, path) => format!("unix {}", path.display()),
        }]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        let Syslog { socket, reading, frame_bytes_max, limits } = *self;
        let (ended, arrivals, stats) = (stop.clone(), Arrivals::until(stop.clone()), intake.stats());
        match socket {
            Socket::Tcp(listener, tls) => {
                let work = move |stream, origin| {
                    stream::follow(stream, origin, frame_bytes_max, intake.clone(), arrivals.clone())
                };
                accept::serve_frames(listener, tls, limits, reading, stats, &stop, work).await
            }
            Socket::Relp(listener, tls) => {
                let work =
                    move |stream, origin| relp::follow(stream, origin, frame_bytes_max, intake.clone(), ended.clone());
                accept::serve_frames(listener, tls, limits, reading, stats, &stop, work).await
            }
            Socket::Udp(socket) => {
                udp::serve(socket, reading, datagram::Messages { frame_bytes_max }, &intake, &stop).await
            }
            Socket::Unix(listener, path) => {
                let work = move |stream, peer: String| {
                    stream::follow(stream, reading.origin(&peer), frame_bytes_max, intake.clone(), arrivals.clone())
                };
                let done = unix::serve(listener, limits, &stop, work).await;
                unix::remove(&path);
                done
            }
            Socket::UnixDatagram(socket, path) => {
                let origin = reading.origin(&path.to_string_lossy());
                let done = datagram::serve_unix(socket, origin, frame_bytes_max, &intake, &stop).await;
                unix::remove(&path);
                done
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(options: &str, expected: &[&str]) {
        let config: Config = serde_json::from_str(options).unwrap();
        let options: Vec<_> = config.check().into_iter().map(|problem| problem.option).collect();
        assert_eq!(options, expected, "{config:?}");
    }

    #[test]
    fn what_cannot_work_is_found() {
        check(r#"{"mode": "tcp", "address": "127.0.0.1:5514"}"#, &[]);
        check(r#"{"mode": "unix", "path": "/run/log.sock"}"#, &[]);
        check(r#"{"mode": "tcp"}"#, &["address"]);
        check(r#"{"mode": "udp", "address": "127.0.0.1:514", "path": "/x"}"#, &["path"]);
        check(r#"{"mode": "unix_datagram", "address": "127.0.0.1:514"}"#, &["path"]);
        check(r#"{"mode": "tcp", "address": "0.0.0.0:514"}"#, &["allow_plaintext"]);
        check(r#"{"mode": "tcp", "address": "0.0.0.0:514", "allow_plaintext": true}"#, &[]);
        let tls = r#""tls": {"crt_file": "/no/crt", "key_file": "/no/key"}"#;
        check(&format!(r#"{{"mode": "tcp", "address": "0.0.0.0:514", {tls}}}"#), &["tls.certificate", "tls.key"]);
        check(r#"{"mode": "udp", "address": "127.0.0.1:514", "max_length": 0}"#, &["max_length"]);
        let proxy = r#""proxy_protocol": true"#;
        check(&format!(r#"{{"mode": "tcp", "address": "127.0.0.1:514", {proxy}}}"#), &["proxy_trusted"]);
        let proxy = r#""proxy_protocol": true, "proxy_trusted": ["10.0.0.0/8", "::1"]"#;
        check(&format!(r#"{{"mode": "tcp", "address": "127.0.0.1:514", {proxy}}}"#), &[]);
        check(&format!(r#"{{"mode": "udp", "address": "127.0.0.1:514", {proxy}}}"#), &["proxy_protocol"]);
        check(r#"{"mode": "tcp", "address": "127.0.0.1:514", "proxy_trusted": ["::1"]}"#, &["proxy_protocol"]);
        assert!(serde_json::from_str::<Config>(r#"{"mode": "tcp", "adress": "127.0.0.1:1"}"#).is_err());
    }
}
