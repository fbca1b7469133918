//! Syslog over streams: TCP, TLS, unix stream sockets.
//!
//! All frames of one read make one batch; the next read waits until they are on disk. Invariant:
//! a connection holds one buffer of at most one read or one frame, whichever is larger.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use wharfinger_formats::frame::{Frame, FrameError, Framer, HEAD_BYTES};

use crate::intake::{Frames, Intake, Origin};
use crate::part::SetupError;
use crate::sources::arrivals::Arrivals;
use crate::sources::fill::{PIECE_BYTES, fill};
use crate::sources::throttle::Throttle;
use crate::sources::weight::Weight;

static MALFORMED: Throttle = Throttle::new();

/// What a buffer holds beside a frame: its octet count and separators.
const AROUND_FRAME_BYTES: usize = 8 * 1024;

/// One connection, until it is closed or nothing more of it arrives before a stop.
pub(super) async fn follow(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    origin: Origin,
    frame_bytes_max: usize,
    intake: Intake,
    arrivals: Arrivals,
) -> Result<(), SetupError> {
    let buffer_bytes_max = PIECE_BYTES.max(frame_bytes_max.saturating_add(AROUND_FRAME_BYTES));
    let mut frames = intake.frames(origin);
    let mut framer = Framer::new(frame_bytes_max);
    let mut buffer = Vec::new();
    loop {
        let read = arrivals.next(fill(&mut stream, &mut buffer, buffer_bytes_max)).await;
        let open = read.unwrap_or(Ok(false)).unwrap_or_else(|error| {
            tracing::debug!(peer = %frames.origin().peer, %error, "connection broke");
            false
        });
        loop {
            let cut = take_frames(&mut framer, &mut buffer, !open, &intake, &mut frames);
            arrivals.append(&intake, &mut frames).await?;
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
