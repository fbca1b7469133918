//! Reads UDP for the sources that take datagrams.
//!
//! Way of an event here: socket → **reader** (a task that only reads) → ring → what the source makes of a
//! datagram → intake. A sender of UDP cannot be held back. Invariant: datagrams that the gateway itself drops are
//! counted exactly.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::arrivals::Arrivals;
use super::options::Reading;
use super::ring::{Load, RING_BYTES, Ring};
use super::weight::Weight;
use super::{accept, journal_failed};
use crate::intake::{Frames, Gap, Intake, Origin};
use crate::part::SetupError;

/// The longest datagram IP can carry.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Datagrams read before other tasks have their turn.
const READS_AT_ONCE: usize = 256;

/// Senders whose origin is kept; more are forgotten and made again.
const ORIGINS_MAX: usize = 4096;

/// What a source makes of datagrams.
pub(super) trait Datagrams: Send {
    /// Hands on what is in a datagram, or with it complete. Answers about how many bytes that were.
    fn take(&mut self, intake: &Intake, frames: &mut Frames, datagram: &[u8]) -> usize;

    /// What was given up since this was asked last.
    fn given_up(&mut self) -> Option<Gap> {
        None
    }
}

/// Opens a UDP socket with a large receive buffer.
///
/// # Errors
/// The address is in use or not one of this machine's.
pub(super) fn bind(address: SocketAddr, receive_buffer_bytes: usize) -> Result<UdpSocket, SetupError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // With CAP_NET_ADMIN the kernel's limit does not bind us; without, it takes what it allows.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, receive_buffer_bytes).is_err() {
            socket.set_recv_buffer_size(receive_buffer_bytes)?;
        }
        // The kernel counts its own bookkeeping too and answers twice what it was asked for.
        let granted = socket.recv_buffer_size()? / 2;
        if granted < receive_buffer_bytes {
            tracing::warn!(
                %address, granted, wanted = receive_buffer_bytes,
                "the kernel gave a smaller receive buffer: raise `net.core.rmem_max`"
            );
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok::<_, io::Error>(socket.into())
    };
    open().map_err(|error| SetupError::new(format!("cannot listen on udp {address}"), error))
}

/// What was dropped is declared with what comes next, or after so long a silence.
const SILENT: Duration = Duration::from_secs(2);

/// Takes in datagrams until `stop`.
///
/// # Errors
/// The socket cannot be read, or nothing can be stored.
pub(super) async fn serve(
    socket: UdpSocket,
    reading: Reading,
    mut datagrams: impl Datagrams,
    intake: &Intake,
    stop: &CancellationToken,
) -> Result<(), SetupError> {
    let socket = tokio::net::UdpSocket::from_std(socket).map_err(|error| SetupError::new("cannot read udp", error))?;
    let ring = Arc::new(Ring::new(RING_BYTES));
    let mut reader = JoinSet::new();
    reader.spawn(read(socket, ring.clone(), stop.clone()));

    let mut origins = Origins { reading, known: HashMap::new() };
    let mut frames = intake.frames(reading.origin("udp"));
    let mut load = Load::new();
    loop {
        tokio::select! {
            more = ring.take(&mut load) => if !more { break },
            () = tokio::time::sleep(SILENT) => {
                intake.declare_dropped(&reading.origin("udp")).await.map_err(journal_failed)?;
                declare(&mut datagrams, reading, intake).await?;
                continue;
            }
        }
        let mut last = None;
        let mut weight = Weight::default();
        for (from, datagram) in load.frames() {
            if last != Some(from) {
                frames.turn_to(origins.of(from));
                last = Some(from);
            }
            weight.add(datagrams.take(intake, &mut frames, datagram));
            if weight.is_full() {
                weight.clear();
                intake.append_or_drop(&mut frames).await.map_err(journal_failed)?;
            }
        }
        intake.append_or_drop(&mut frames).await.map_err(journal_failed)?;
        if let Some(dropped) = load.dropped {
            let gap = dropped.gap("datagrams came faster than they could be stored");
            intake.declare(&reading.origin("udp"), &gap).await.map_err(journal_failed)?;
        }
        declare(&mut datagrams, reading, intake).await?;
    }
    declare(&mut datagrams, reading, intake).await?;
    intake.declare_dropped(&reading.origin("udp")).await.map_err(journal_failed)?;
    match reader.join_next().await {
        Some(ended) => accept::outcome(ended),
        None => Ok(()),
    }
}

async fn declare(datagrams: &mut impl Datagrams, reading: Reading, intake: &Intake) -> Result<(), SetupError> {
    let Some(gap) = datagrams.given_up() else { return Ok(()) };
    intake.declare(&reading.origin("udp"), &gap).await.map_err(journal_failed)
}

/// Moves datagrams into the ring, and does nothing else.
async fn read(
    socket: tokio::net::UdpSocket,
    ring: Arc<Ring<IpAddr>>,
    stop: CancellationToken,
) -> Result<(), SetupError> {
    let (arrivals, mut buffer) = (Arrivals::until(stop), vec![0; DATAGRAM_BYTES_MAX]);
    while let Some(ready) = arrivals.next(socket.readable()).await {
        if let Err(error) = ready {
            ring.close();
            return Err(SetupError::new("cannot read udp", error));
        }
        for _ in 0..READS_AT_ONCE {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => ring.push(from.ip().to_canonical(), &buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP answer to somebody else's datagram; nothing of ours is lost.
                Err(error) => {
                    tracing::debug!(%error, "udp");
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
    ring.close();
    Ok(())
}

/// The origins of senders, so that each is made once.
struct Origins {
    reading: Reading,
    known: HashMap<IpAddr, Origin>,
}

impl Origins {
    fn of(&mut self, from: IpAddr) -> Origin {
        if self.known.len() >= ORIGINS_MAX && !self.known.contains_key(&from) {
            self.known.clear();
        }
        let reading = self.reading;
        let make = || Origin { address: Some(from), address_unverified: true, ..reading.origin(&from.to_string()) };
        self.known.entry(from).or_insert_with(make).clone()
    }
}
