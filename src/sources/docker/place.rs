//! Where an engine listens, and how to get there.
//!
//! Invariant: over TLS the engine's certificate and name are always checked; files are read again for each
//! connection, so that a renewed certificate is used.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::client::{ANSWER_MAX, ClientError, Engine};
use crate::tls::ClientTls;

/// A stream of events is silent while nothing happens: only the kernel can tell that its other end has gone.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// Where an engine listens.
#[derive(Debug)]
pub(super) enum Place {
    /// A socket file of this machine.
    Socket(PathBuf),
    /// A host and a port.
    Network { address: String, tls: Option<ClientTls> },
}

impl Place {
    /// Connects to the engine.
    ///
    /// # Errors
    /// Nobody listens there, or we may not; or its answer is not understood.
    pub(super) async fn connect(&self) -> Result<Engine, ClientError> {
        match self {
            Place::Socket(path) => Engine::over(in_time(UnixStream::connect(path)).await?, None).await,
            Place::Network { address, tls } => {
                let stream = in_time(TcpStream::connect(address)).await?;
                let peer = prepared(&stream).map_err(ClientError::Connect)?;
                let Some(tls) = tls else { return Engine::over(stream, Some(peer)).await };
                let refused = |error| ClientError::Connect(io::Error::other(error));
                let settings = tls.client_config().map_err(refused)?;
                let name = tls.name_of(host(address)).map_err(refused)?;
                let stream = in_time(TlsConnector::from(Arc::new(settings)).connect(name, stream)).await?;
                Engine::over(stream, Some(peer)).await
            }
        }
    }
}

async fn in_time<S>(connect: impl Future<Output = io::Result<S>>) -> Result<S, ClientError> {
    let connected = tokio::time::timeout(ANSWER_MAX, connect).await.map_err(|_| ClientError::Slow)?;
    connected.map_err(ClientError::Connect)
}

/// Sets what a long silence asks for; answers who is at the other end.
fn prepared(stream: &TcpStream) -> io::Result<IpAddr> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream.peer_addr()?.ip())
}

/// `docker.example` of `docker.example:2376`, `::1` of `[::1]:2376`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether it is `host:port`.
pub(super) fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) && !host(text).is_empty()
}

/// Whether only this machine can be there.
pub(super) fn is_loopback(address: &str) -> bool {
    host(address) == "localhost" || host(address).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(path) => path.display().fmt(f),
            Place::Network { address, .. } => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, name, loopback) in [
            ("docker.example:2376", "docker.example", false),
            ("[::1]:2376", "::1", true),
            ("127.0.0.1:2375", "127.0.0.1", true),
            ("localhost:2375", "localhost", true),
            ("192.0.2.7:2375", "192.0.2.7", false),
        ] {
            assert!(is_address(text));
            assert_eq!((host(text), is_loopback(text)), (name, loopback), "{text}");
        }
        for wrong in ["", "docker.example", ":2376", "docker.example:http", "tcp://docker.example"] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
