//! Reads a stream in big pieces while bytes flow, and holds a small buffer while none do.
//!
//! Stands between socket and frame. Invariant: the buffer never holds more than the caller allows.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What one call may add to a buffer: large enough that a batch is worth its fsync.
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// Room that an idle stream keeps.
const IDLE_BYTES: usize = 4 * 1024;

/// Adds all that can be read at once, until `buffer` holds `bytes_max`; waits when nothing can.
/// Answers false at the end of the stream.
///
/// Cancel-safe: what was read is in the buffer.
///
/// # Errors
/// The stream broke and nothing was read.
pub(super) async fn fill<R>(stream: &mut R, buffer: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool>
where
    R: AsyncRead + Unpin,
{
    let before = buffer.len();
    loop {
        let room = bytes_max.saturating_sub(buffer.len());
        if room == 0 {
            return Ok(true);
        }
        buffer.reserve_exact(room);
        let tried = {
            let mut limited = (&mut *buffer).limit(room);
            let mut read = pin!(stream.read_buf(&mut limited));
            poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await
        };
        match tried {
            Poll::Ready(Ok(0)) => return Ok(buffer.len() > before),
            Poll::Ready(Ok(_)) => {}
            // The stream says it again at the next call; these bytes come first.
            Poll::Ready(Err(_)) | Poll::Pending if buffer.len() > before => return Ok(true),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                buffer.shrink_to(before + IDLE_BYTES);
                let mut limited = (&mut *buffer).limit(room.min(IDLE_BYTES));
                if stream.read_buf(&mut limited).await? == 0 {
                    return Ok(false);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn takes_all_there_is_and_stays_small_when_idle() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let mut buffer = Vec::new();
        near.write_all(&[b'x'; 100_000]).await.unwrap();
        assert!(fill(&mut far, &mut buffer, PIECE_BYTES).await.unwrap());
        assert_eq!(buffer.len(), 100_000);

        buffer.clear();
        tokio::select! {
            biased;
            _ = fill(&mut far, &mut buffer, PIECE_BYTES) => panic!("there is nothing to read"),
            () = std::future::ready(()) => {}
        }
        assert!(buffer.capacity() <= IDLE_BYTES, "{}", buffer.capacity());

        near.write_all(&[b'y'; 3000]).await.unwrap();
        drop(near);
        assert!(fill(&mut far, &mut buffer, 2000).await.unwrap());
        assert_eq!(buffer.len(), 2000);
        assert!(fill(&mut far, &mut buffer, PIECE_BYTES).await.unwrap());
        assert_eq!(buffer.len(), 3000);
        assert!(!fill(&mut far, &mut buffer, PIECE_BYTES).await.unwrap());
    }
}
