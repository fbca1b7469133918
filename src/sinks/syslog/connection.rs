//! One connection to a syslog receiver: TCP, TLS or a connected UDP socket.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{SyslogConfig, Transport};
use crate::part::SetupError;
use crate::tls::ClientTls;

/// A silent peer is probed after this time, and then each [`PROBE_INTERVAL`].
const KEEPALIVE: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Where the receiver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) transport: Transport,
    pub(super) host: String,
    port: u16,
}

impl Target {
    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port`.
    pub(super) fn parse(address: &str, transport: Transport, default: u16) -> Result<Target, String> {
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("?") })),
            None => match address.rsplit_once(':') {
                // More than one colon without brackets: an IPv6 address alone.
                Some((host, _)) if host.contains(':') => (address, None),
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| format!("`{address}` has no port from 1 to 65535"))?,
            None => default,
        };
        let named = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
        if named && port != 0 {
            Ok(Target { transport, host: host.to_owned(), port })
        } else {
            Err(format!("`{address}` is no address to send to"))
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why there is no connection.
pub(super) enum OpenError {
    /// Certificates or keys of ours.
    Setup(SetupError),
    /// The network or the peer.
    Peer(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Peer(error)
    }
}

pub(super) enum Connection {
    Stream(Stream),
    Datagrams(UdpSocket),
}

/// How a connection stands.
pub(super) enum State {
    Open,
    /// The peer closed it. `all_read`: after it had read everything.
    Closed {
        all_read: bool,
    },
    Broken(io::Error),
}

/// Bytes in both directions, plain or TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(super) async fn open(target: &Target, tls: &ClientTls, config: &SyslogConfig) -> Result<Connection, OpenError> {
        let address = (target.host.as_str(), target.port);
        if target.transport == Transport::Udp {
            let to = tokio::net::lookup_host(address).await?.next();
            let to = to.ok_or_else(|| io::Error::other("the name has no address"))?;
            let local = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(local).await?;
            socket.connect(to).await?;
            return Ok(Connection::Datagrams(socket));
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(PROBE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive)?;
        // This makes the resend window sound: see `window`. The kernel doubles the size for its own
        // book-keeping.
        socket.set_send_buffer_size(config.resend_window.as_usize().clamp(16 * 1024, 64 << 20) / 2)?;
        socket.set_tcp_user_timeout(Some(config.stall_timeout.get()))?;
        if target.transport == Transport::Tcp {
            return Ok(Connection::Stream(Stream::Plain(stream)));
        }
        let settings = tls.client_config().map_err(OpenError::Setup)?;
        let name = tls.name_of(&target.host).map_err(OpenError::Setup)?;
        let stream = TlsConnector::from(Arc::new(settings)).connect(name, stream).await?;
        Ok(Connection::Stream(Stream::Tls(Box::new(stream))))
    }

    /// Hands the whole request to the kernel. `ends` are the ends of the datagrams in it. The receiver
    /// may be as slow as it likes, but not take nothing for `stall`.
    pub(super) async fn write(&mut self, request: &[u8], ends: &[usize], stall: Duration) -> io::Result<()> {
        match self {
            Connection::Stream(stream) => {
                let mut rest = request;
                while !rest.is_empty() {
                    let written = timeout(stall, stream.write(rest)).await??;
                    if written == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    rest = &rest[written..];
                }
                timeout(stall, stream.flush()).await?
            }
            Connection::Datagrams(socket) => {
                let mut start = 0;
                for end in ends {
                    let datagram = &request[start..*end];
                    start = *end;
                    // An error may be the ICMP answer to an earlier datagram: nobody listens.
                    socket.send(datagram).await?;
                }
                Ok(())
            }
        }
    }

    /// How the connection stands, without waiting. What the peer says is read and forgotten: syslog
    /// receivers have nothing to say.
    pub(super) fn state(&mut self) -> State {
        let Connection::Stream(stream) = self else { return State::Open };
        let mut heard = [0; 1024];
        // Bounded: a peer that talks without end is read a little at a time.
        for _ in 0..16 {
            // The kernel is asked: the runtime may not have noticed yet, and what is written after the
            // end makes the peer reset the connection.
            match SockRef::from(stream.tcp()).peek(&mut [MaybeUninit::uninit()]) {
                Ok(0) => return self.closed(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return State::Open,
                Err(error) => return State::Broken(error),
            }
            match stream.read(&mut heard).now_or_never() {
                None => return State::Open,
                Some(Ok(0)) => return self.closed(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return State::Broken(error),
            }
        }
        State::Open
    }

    /// The peer has closed. A receiver that closes with bytes unread resets the connection, and bytes
    /// that arrive after it closed are answered by a reset: so what is acknowledged now has been read.
    fn closed(&self) -> State {
        let Connection::Stream(stream) = self else { return State::Open };
        let reset = !matches!(stream.tcp().take_error(), Ok(None));
        State::Closed { all_read: !reset && self.unacknowledged() == Some(0) }
    }

    /// Bytes in the kernel's send queue that the peer's kernel has not acknowledged (`tx_queue` of
    /// /proc/net/tcp, found by the inode of the socket). `None` where the kernel does not say.
    pub(super) fn unacknowledged(&self) -> Option<usize> {
        let Connection::Stream(stream) = self else { return Some(0) };
        let tcp = stream.tcp();
        let inode = rustix::fs::fstat(tcp).ok()?.st_ino.to_string();
        let table = if tcp.local_addr().ok()?.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| {
            // sl local remote st tx_queue:rx_queue tr:when retrnsmt uid timeout inode …
            let mut columns = line.split_ascii_whitespace();
            let queues = columns.nth(4)?;
            let found = columns.nth(4)? == inode;
            found.then(|| usize::from_str_radix(queues.split_once(':')?.0, 16).ok())?
        })
    }

    /// Closes in order: close_notify, FIN, then waits for the peer's end. True when the peer closed in
    /// order too: a receiver that leaves bytes unread resets the connection instead.
    pub(super) async fn close(self) -> bool {
        let Connection::Stream(mut stream) = self else { return true };
        if stream.shutdown().await.is_err() {
            return false;
        }
        let mut heard = [0; 1024];
        loop {
            match stream.read(&mut heard).await {
                Ok(0) => return true,
                Ok(_) => {}
                // A receiver that answers close_notify with a bare FIN has closed all the same.
                Err(error) => return error.kind() == io::ErrorKind::UnexpectedEof,
            }
        }
    }
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_says_what_is_unacknowledged() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut connection = Connection::Stream(Stream::Plain(stream));
        let (mut peer, _) = listener.accept().await.unwrap();
        assert_eq!(connection.unacknowledged(), Some(0));
        // More than the two kernels hold, to a peer that does not read.
        let stalled = connection.write(&vec![0; 32 << 20], &[], Duration::from_millis(50)).await;
        assert_eq!(stalled.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(connection.unacknowledged().unwrap() > 0);
        assert!(matches!(connection.state(), State::Open));
        while connection.unacknowledged() != Some(0) {
            assert_ne!(peer.read(&mut vec![0; 1 << 20]).await.unwrap(), 0, "the connection is open");
        }
    }

    #[test]
    fn addresses_in_all_their_shapes() {
        let parse = |text| Target::parse(text, Transport::Tls, 6514).map(|target| target.to_string());
        for (text, expected) in [
            ("siem.example", "siem.example:6514"),
            ("siem.example:514", "siem.example:514"),
            ("192.0.2.7:1", "192.0.2.7:1"),
            ("[2001:db8::7]:514", "[2001:db8::7]:514"),
            ("[2001:db8::7]", "[2001:db8::7]:6514"),
            ("2001:db8::7", "[2001:db8::7]:6514"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", ":514", "a:b", "a:0", "a:70000", "tcp://a:1", "[::1]x", "a b:1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
