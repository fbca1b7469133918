//! Accepts connections for the sources that listen: limits, keepalive, TLS handshake.
//!
//! Invariants: never more connections than the limits say; a failing `accept` waits, it never
//! spins; a connection that does not finish its handshake is closed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::arrivals::Arrivals;
use super::options::Reading;
use super::proxy::{self, Proxied};
use super::throttle::Throttle;
use crate::intake::Origin;
use crate::part::SetupError;
use crate::stats::{self, SourceStats};
use crate::tls::{self, Acceptor};

/// How long a client may take for the TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Pause after `accept` failed, for instance because no file descriptor is free.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A peer that vanished without a word is noticed after about two minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// How many connections may be open at once, and who may hand on those of others.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) per_address_max: usize,
    /// Every connection begins with a header of the PROXY protocol.
    pub(super) proxied: Option<Proxied>,
}

/// A connection that is ready to be read.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    /// The name in the client certificate, or else the address.
    pub(super) peer: Arc<str>,
    pub(super) address: IpAddr,
}

/// A connection with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Opens a listener.
///
/// # Errors
/// The address is in use or not one of this machine's.
pub(super) fn listen(address: SocketAddr) -> Result<std::net::TcpListener, SetupError> {
    let open = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, io::Error>(listener)
    };
    open().map_err(|error| SetupError::new(format!("cannot listen on tcp {address}"), error))
}

/// Gives each connection to `work` in a task of its own, until `stop`; then waits for the tasks.
///
/// # Errors
/// The first error of `work`.
pub(super) async fn serve<W, F>(
    listener: std::net::TcpListener,
    tls: Option<Acceptor>,
    limits: Limits,
    stats: Arc<SourceStats>,
    stop: &CancellationToken,
    work: W,
) -> Result<(), SetupError>
where
    W: Fn(Accepted) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), SetupError>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).map_err(|error| SetupError::new("cannot accept", error))?;
    let Limits { connections_max, per_address_max, proxied } = limits;
    let seats = Seats { per_address_max, taken: Arc::default(), stats };
    let (arrivals, mut tasks) = (Arrivals::until(stop.clone()), JoinSet::<Result<(), SetupError>>::new());
    loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => outcome(ended)?,
            accepted = arrivals.next(listener.accept()) => match accepted {
                None => break,
                Some(Ok((stream, from))) => {
                    let address = from.ip().to_canonical();
                    if tasks.len() >= connections_max {
                        seats.complain(&REFUSED, address, &"too many connections are open");
                        continue;
                    }
                    // A balancer has the connections of many; whose this one is stands in its header.
                    let seat = if proxied.is_some() { None } else { seats.take(address) };
                    if seat.is_some() || proxied.is_some() {
                        let (tls, work, seats, proxied) = (tls.clone(), work.clone(), seats.clone(), proxied.clone());
                        tasks.spawn(async move {
                            let mut stream = stream;
                            let Some((address, _seat)) = (match (seat, proxied) {
                                (Some(seat), _) => Some((address, seat)),
                                (None, proxied) => behind(&mut stream, address, proxied.as_ref(), &seats).await,
                            }) else {
                                return Ok(());
                            };
                            connect(stream, address, tls, &seats, work).await
                        });
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = tasks.join_next().await {
        outcome(ended)?;
    }
    Ok(())
}

/// The same for sources of frames: `work` gets each connection with where its frames come from.
///
/// # Errors
/// The first error of `work`.
pub(super) async fn serve_frames<W, F>(
    listener: std::net::TcpListener,
    tls: Option<Acceptor>,
    limits: Limits,
    reading: Reading,
    stats: Arc<SourceStats>,
    stop: &CancellationToken,
    work: W,
) -> Result<(), SetupError>
where
    W: Fn(Stream, Origin) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), SetupError>> + Send + 'static,
{
    serve(listener, tls, limits, stats, stop, move |accepted| {
        let origin = Origin { address: Some(accepted.address), ..reading.origin(&accepted.peer) };
        work(accepted.stream, origin)
    })
    .await
}

/// How many connections each address has open, and who was refused one.
#[derive(Clone)]
struct Seats {
    per_address_max: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    stats: Arc<SourceStats>,
}

/// One connection of an address, until it is dropped.
struct Seat {
    address: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Seats {
    /// A seat for one more connection of that address, if there is one.
    fn take(&self, address: IpAddr) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(&address).copied().unwrap_or_default();
        if count >= self.per_address_max {
            self.complain(&REFUSED, address, &"too many connections of this address are open");
            return None;
        }
        taken.insert(address, count + 1);
        Some(Seat { address, taken: Arc::clone(&self.taken) })
    }

    /// Counts a connection that was refused, and says why, now and then.
    fn complain(&self, throttle: &Throttle, address: IpAddr, cause: &dyn std::fmt::Display) {
        stats::add(&self.stats.refused_connections, 1);
        if let Some(connections) = throttle.speak() {
            tracing::warn!(%address, connections, "connection refused: {cause}");
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Whose connection it is that a proxy hands on, and his seat.
async fn behind(
    stream: &mut TcpStream,
    proxy: IpAddr,
    proxied: Option<&Proxied>,
    seats: &Seats,
) -> Option<(IpAddr, Seat)> {
    if !proxied.is_some_and(|proxied| proxied.trusts(proxy)) {
        seats.complain(&REFUSED, proxy, &"it is not in `proxy_trusted`");
        return None;
    }
    match tokio::time::timeout(HANDSHAKE_MAX, proxy::read(stream)).await {
        Ok(Ok(carried)) => {
            let address = carried.unwrap_or(proxy);
            Some((address, seats.take(address)?))
        }
        Ok(Err(error)) => {
            seats.complain(&REFUSED, proxy, &error);
            None
        }
        Err(_) => {
            seats.complain(&REFUSED, proxy, &format_args!("no PROXY header within {} s", HANDSHAKE_MAX.as_secs()));
            None
        }
    }
}

/// What became of a task of a source: a panic in it is one of the source.
pub(super) fn outcome(ended: Result<Result<(), SetupError>, JoinError>) -> Result<(), SetupError> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Nobody cancels these tasks one by one: the whole source is on its way out.
        Err(_) => Ok(()),
    }
}

async fn connect<W, F>(
    stream: TcpStream,
    address: IpAddr,
    tls: Option<Acceptor>,
    seats: &Seats,
    work: W,
) -> Result<(), SetupError>
where
    W: Fn(Accepted) -> F,
    F: Future<Output = Result<(), SetupError>>,
{
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(6);
    if let Err(error) = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive)) {
        // The connection broke before it began.
        tracing::debug!(%address, %error, "cannot prepare the connection");
        return Ok(());
    }
    let Some(tls) = tls else {
        let peer = address.to_string().into();
        return work(Accepted { stream: Stream::Plain(stream), peer, address }).await;
    };
    match tokio::time::timeout(HANDSHAKE_MAX, tls.current().accept(stream)).await {
        Ok(Ok(stream)) => {
            if let Err(cause) = tls.admit(stream.get_ref().1) {
                seats.complain(&REFUSED, address, &cause);
                return Ok(());
            }
            let peer = tls::peer_name(stream.get_ref().1).unwrap_or_else(|| address.to_string()).into();
            work(Accepted { stream: Stream::Tls(Box::new(stream)), peer, address }).await
        }
        Ok(Err(error)) => {
            seats.complain(&HANDSHAKE, address, &error);
            Ok(())
        }
        Err(_) => {
            seats.complain(&HANDSHAKE, address, &format_args!("no TLS handshake within {} s", HANDSHAKE_MAX.as_secs()));
            Ok(())
        }
    }
}

/// Connections that were not taken, and those that failed before their first byte.
static REFUSED: Throttle = Throttle::new();
static HANDSHAKE: Throttle = Throttle::new();

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
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
