//! Syslog over streams: TCP, TLS, unix stream sockets.
//!
//! All frames of one read make one batch; the next read waits until they are on disk. Invariant:
//! a connection holds one buffer of at most one read or one frame, whichever is larger.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::frame::{Frame, FrameError, Framer, HEAD_BYTES};

use super::remove_stale;
use crate::intake::{Frames, Intake, Origin};
use crate::part::SetupError;
use crate::sources::accept::{self, ACCEPT_PAUSE, Limits};
use crate::sources::fill::{PIECE_BYTES, fill};
use crate::sources::journal_failed;
use crate::sources::options::Reading;
use crate::sources::throttle::Throttle;
use crate::sources::weight::Weight;
use crate::tls::Acceptor;

static MALFORMED: Throttle = Throttle::new();

/// What a buffer holds beside a frame: its octet count and separators.
const AROUND_FRAME_BYTES: usize = 8 * 1024;

pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Acceptor>,
    limits: Limits,
    reading: Reading,
    frame_bytes_max: usize,
    intake: &Intake,
    stop: &CancellationToken,
) -> Result<(), SetupError> {
    let (intake, stopped) = (intake.clone(), stop.clone());
    accept::serve(listener, tls, limits, stop, move |accepted| {
        let origin = Origin { address: Some(accepted.address), ..reading.origin(&accepted.peer) };
        let (intake, stop) = (intake.clone(), stopped.clone());
        async move { follow(accepted.stream, origin, frame_bytes_max, &intake, &stop).await }
    })
    .await
}

/// Makes the socket file.
///
/// # Errors
/// Another process listens there, or the folder is missing or not ours.
pub(super) fn bind(path: &Path) -> Result<UnixListener, SetupError> {
    remove_stale(path, || std::os::unix::net::UnixStream::connect(path).map(drop));
    let open = || {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    open().map_err(|error| SetupError::new(format!("cannot listen on unix {}", path.display()), error))
}

pub(super) async fn serve_unix(
    listener: UnixListener,
    limits: Limits,
    reading: Reading,
    frame_bytes_max: usize,
    intake: &Intake,
    stop: &CancellationToken,
) -> Result<(), SetupError> {
    let listener = tokio::net::UnixListener::from_std(listener)
        .map_err(|error| SetupError::new("cannot listen on the socket file", error))?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => accept::outcome(ended)?,
            accepted = listener.accept(), if connections.len() < limits.connections_max => match accepted {
                Ok((stream, _)) => {
                    let uid = stream.peer_cred().map_or_else(|_| "uid ?".to_owned(), |cred| format!("uid {}", cred.uid()));
                    let (origin, intake, stop) = (reading.origin(&uid), intake.clone(), stop.clone());
                    connections.spawn(async move { follow(stream, origin, frame_bytes_max, &intake, &stop).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    while let Some(ended) = connections.join_next().await {
        accept::outcome(ended)?;
    }
    Ok(())
}

/// One connection, until it is closed or `stop`.
async fn follow(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    origin: Origin,
    frame_bytes_max: usize,
    intake: &Intake,
    stop: &CancellationToken,
) -> Result<(), SetupError> {
    let buffer_bytes_max = PIECE_BYTES.max(frame_bytes_max.saturating_add(AROUND_FRAME_BYTES));
    let mut frames = intake.frames(origin);
    let mut framer = Framer::new(frame_bytes_max);
    let mut buffer = Vec::new();
    loop {
        let open = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            read = fill(&mut stream, &mut buffer, buffer_bytes_max) => read.unwrap_or_else(|error| {
                tracing::debug!(peer = %frames.origin().peer, %error, "connection broke");
                false
            }),
        };
        loop {
            let cut = take_frames(&mut framer, &mut buffer, !open, intake, &mut frames);
            intake.append(&mut frames).await.map_err(journal_failed)?;
            match cut {
                Ok(Cut::All) => break,
                Ok(Cut::Part) => {}
                Err(error) => {
                    if let Some(connections) = MALFORMED.speak() {
                        let peer = &frames.origin().peer;
                        tracing::warn!(%peer, %error, connections, "connection closed: no frame can be found in it");
                    }
                    return Ok(());
                }
            }
        }
        if !open {
            // TLS says goodbye, so that the sender knows it was not cut off.
            let _ = stream.shutdown().await;
            return Ok(());
        }
    }
}

/// How much of a buffer was cut.
enum Cut {
    All,
    /// The batch is full: there may be more frames.
    Part,
}

/// Hands the frames of the buffer to intake until the batch is full, and leaves the rest in it.
/// When the stream has ended, the rest is taken too.
fn take_frames(
    framer: &mut Framer,
    buffer: &mut Vec<u8>,
    ended: bool,
    intake: &Intake,
    frames: &mut Frames,
) -> Result<Cut, FrameError> {
    let mut at = 0;
    let mut finishing = false;
    let mut weight = Weight::default();
    loop {
        if weight.is_full() {
            buffer.drain(..at);
            return Ok(Cut::Part);
        }
        let rest = &buffer[at..];
        match if finishing { framer.finish(rest) } else { framer.next(rest) } {
            Frame::Complete { start, end, used } | Frame::Truncated { start, end, used } => {
                intake.take(frames, &rest[start..end]);
                weight.add(end - start);
                at += used;
            }
            Frame::TooLong { used, bytes_total } => {
                intake.take_oversize(frames, framer.head(), bytes_total);
                weight.add(framer.head().len());
                at += used;
            }
            Frame::NeedMore { used } => {
                at += used;
                if finishing || !ended {
                    buffer.drain(..at);
                    return Ok(Cut::All);
                }
                finishing = true;
            }
            Frame::Malformed(error) => {
                // What cannot be cut is kept by its head, as an event that says so.
                intake.take(frames, &rest[..rest.len().min(HEAD_BYTES)]);
                return Err(error);
            }
        }
    }
}
