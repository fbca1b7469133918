//! Syslog over datagrams: UDP (RFC 5426) and unix datagram sockets such as `/dev/log`.
//!
//! What comes by UDP is read by [`udp`]. Writers to a unix socket wait, so that is read as a stream would be.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tokio_util::sync::CancellationToken;
use wharfinger_formats::frame;

use crate::intake::{Frames, Intake, Origin};
use crate::part::SetupError;
use crate::sources::arrivals::Arrivals;
use crate::sources::lines::HEAD_BYTES;
use crate::sources::udp::{self, DATAGRAM_BYTES_MAX};
use crate::sources::unix;
use crate::sources::weight::Weight;

/// One message of syslog in each.
pub(super) struct Messages {
    pub(super) frame_bytes_max: usize,
}

impl udp::Datagrams for Messages {
    fn take(&mut self, intake: &Intake, frames: &mut Frames, datagram: &[u8]) -> usize {
        take(intake, frames, datagram, self.frame_bytes_max);
        datagram.len()
    }
}

fn take(intake: &Intake, frames: &mut Frames, datagram: &[u8], frame_bytes_max: usize) {
    let message = frame::datagram(datagram);
    if message.is_empty() {
        return;
    }
    if message.len() > frame_bytes_max {
        intake.take_oversize(frames, &message[..message.len().min(HEAD_BYTES)], message.len() as u64);
    } else {
        intake.take(frames, message);
    }
}

/// Makes the socket file.
///
/// # Errors
/// Another process listens there, or the folder is missing or not ours.
pub(super) fn bind_unix(path: &Path) -> Result<UnixDatagram, SetupError> {
    unix::remove_stale(path, || UnixDatagram::unbound()?.connect(path));
    let open = || {
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        Ok::<_, io::Error>(socket)
    };
    open().map_err(|error| SetupError::new(format!("cannot listen on unix {}", path.display()), error))
}

pub(super) async fn serve_unix(
    socket: UnixDatagram,
    origin: Origin,
    frame_bytes_max: usize,
    intake: &Intake,
    stop: &CancellationToken,
) -> Result<(), SetupError> {
    let failed = |error: io::Error| SetupError::new(format!("cannot read {}", origin.peer), error);
    let socket = tokio::net::UnixDatagram::from_std(socket).map_err(failed)?;
    let mut frames = intake.frames(origin.clone());
    // One byte more than allowed tells a datagram that was cut off from one that just fits.
    let mut buffer = vec![0; frame_bytes_max.saturating_add(1).max(DATAGRAM_BYTES_MAX)];
    let arrivals = Arrivals::until(stop.clone());
    while let Some(ready) = arrivals.next(socket.readable()).await {
        ready.map_err(failed)?;
        let mut weight = Weight::default();
        while !weight.is_full() {
            match socket.try_recv(&mut buffer) {
                Ok(length) => {
                    take(intake, &mut frames, &buffer[..length], frame_bytes_max);
                    weight.add(length);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(failed(error)),
            }
        }
        arrivals.append(intake, &mut frames).await?;
    }
    Ok(())
}
