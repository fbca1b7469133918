//! GELF on connections: messages that end with NUL, never compressed.
//!
//! Invariant: a connection is not read while its messages are on their way to disk.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::intake::{Intake, Origin};
use crate::part::SetupError;
use crate::sources::arrivals::Arrivals;
use crate::sources::fill::{PIECE_BYTES, fill};
use crate::sources::lines::Lines;
use crate::sources::weight::Weight;

/// One connection, until it is closed or nothing more of it arrives before a stop.
pub(super) async fn follow(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    origin: Origin,
    message_bytes_max: usize,
    intake: Intake,
    arrivals: Arrivals,
) -> Result<(), SetupError> {
    let mut frames = intake.frames(origin);
    let mut messages = Lines::ending_with(0, message_bytes_max);
    let buffer_bytes_max = PIECE_BYTES.max(message_bytes_max.saturating_add(1));
    let mut buffer = Vec::new();
    loop {
        let read = arrivals.next(fill(&mut stream, &mut buffer, buffer_bytes_max)).await;
        let open = read.unwrap_or(Ok(false)).unwrap_or_else(|error| {
            tracing::debug!(peer = %frames.origin().peer, %error, "connection broke");
            false
        });
        loop {
            let mut weight = Weight::default();
            let done = messages.cut(&buffer, |message| message.take(&intake, &mut frames, &mut weight));
            buffer.drain(..done);
            let is_full = weight.is_full();
            if !open && !is_full {
                // A message without its end is kept: its parser says what is missing.
                messages.finish(&buffer, |message| message.take(&intake, &mut frames, &mut weight));
                buffer.clear();
            }
            arrivals.append(&intake, &mut frames).await?;
            if !is_full {
                break;
            }
        }
        if !open {
            let _ = stream.shutdown().await;
            return Ok(());
        }
    }
}
