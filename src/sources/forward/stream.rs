//! One connection of the forward protocol: messages in, acknowledgements out.
//!
//! Invariants: what a sender waits for is acknowledged when it is on disk, and not before; large messages of all
//! connections together take no more memory than [`LARGE_MAX`] of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::frame::{Frame, HEAD_BYTES, MsgpackFramer};

use super::handshake::SharedKey;
use super::message::{Events, Message, acknowledgement};
use crate::intake::{Frames, Intake, Origin};
use crate::part::SetupError;
use crate::sources::arrivals::Arrivals;
use crate::sources::fill::{PIECE_BYTES, fill};
use crate::sources::journal_failed;
use crate::sources::throttle::Throttle;
use crate::sources::weight::Weight;
use crate::stats;

static MALFORMED: Throttle = Throttle::new();

/// So many messages that are larger than one read may be held at once.
const LARGE_MAX: usize = 16;
/// A large message must be there within so long a time, and an acknowledgement be taken.
const PATIENCE: Duration = Duration::from_secs(60);
/// A client must prove within so long a time, and in so many bytes, that it knows the shared key.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const PING_BYTES_MAX: usize = 4096;
/// A value that means nothing: some senders keep a connection alive with it.
const NIL: &[u8] = &[0xc0];

/// What the connections of a source have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) intake: Intake,
    pub(super) stop: CancellationToken,
    arrivals: Arrivals,
    pub(super) event_bytes_max: usize,
    pub(super) message_bytes_max: usize,
    /// Whoever connects must know it.
    key: Option<Arc<SharedKey>>,
    large: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(
        intake: Intake,
        stop: CancellationToken,
        event_bytes_max: usize,
        message_bytes_max: usize,
        key: Option<SharedKey>,
    ) -> Shared {
        let (key, large) = (key.map(Arc::new), Arc::new(Semaphore::new(LARGE_MAX)));
        let arrivals = Arrivals::until(stop.clone());
        Shared { intake, stop, arrivals, event_bytes_max, message_bytes_max, key, large }
    }

    /// Follows one connection until it is closed, or nothing can be found in it, or the source stops.
    ///
    /// # Errors
    /// Nothing can be stored.
    pub(super) async fn follow<S>(self, stream: S, origin: Origin) -> Result<(), SetupError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let frames = self.intake.frames(origin);
        let weight = Weight::default();
        Connection { shared: self, stream, frames, weight, frame: Vec::new(), large: None }.follow().await
    }
}

/// A connection and what is held for it.
struct Connection<S> {
    shared: Shared,
    stream: S,
    frames: Frames,
    /// Of what is in `frames`.
    weight: Weight,
    /// The entry that is being made a message of its own.
    frame: Vec<u8>,
    /// Room for a large message, and until when it must be there.
    large: Option<(OwnedSemaphorePermit, Instant)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn follow(mut self) -> Result<(), SetupError> {
        let mut buffer = Vec::new();
        if let Some(key) = self.shared.key.clone()
            && !self.shake_hands(&key, &mut buffer).await
        {
            return Ok(());
        }
        let mut framer = MsgpackFramer::new(self.shared.message_bytes_max);
        // What came with the handshake waits for no more.
        let mut is_fresh = true;
        while !buffer.is_empty() && is_fresh || self.read(&mut buffer).await {
            is_fresh = false;
            let mut at = 0;
            loop {
                let rest = &buffer[at..];
                at += match framer.next(rest) {
                    Frame::Complete { start, end, used } | Frame::Truncated { start, end, used } => {
                        if !self.take(&rest[start..end]).await? {
                            return Ok(());
                        }
                        used
                    }
                    Frame::TooLong { used, bytes_total } => {
                        self.shared.intake.take_oversize(&mut self.frames, framer.head(), bytes_total);
                        used
                    }
                    Frame::NeedMore { used } => {
                        at += used;
                        break;
                    }
                    Frame::Malformed(error) => {
                        self.unparsed(rest, &error.to_string());
                        self.append().await?;
                        self.complain(&error);
                        return Ok(());
                    }
                };
            }
            buffer.drain(..at);
            // All that one read has brought, with one sync.
            self.append().await?;
        }
        match framer.finish(&buffer) {
            Frame::TooLong { bytes_total, .. } => {
                self.shared.intake.take_oversize(&mut self.frames, framer.head(), bytes_total);
            }
            Frame::Truncated { .. } => self.unparsed(&buffer, "the connection ended in the middle of a message"),
            _ => {}
        }
        self.append().await?;
        let _ = self.stream.shutdown().await;
        Ok(())
    }

    /// Lets in who knows the key. What is in the buffer then comes behind the handshake.
    async fn shake_hands(&mut self, key: &SharedKey, buffer: &mut Vec<u8>) -> bool {
        let Ok(handshake) = key.begin() else { return false };
        let shaken = async {
            self.stream.write_all(&handshake.helo()).await?;
            self.stream.flush().await?;
            let mut framer = MsgpackFramer::new(PING_BYTES_MAX);
            while fill(&mut self.stream, buffer, PING_BYTES_MAX).await? {
                if let Frame::Complete { start, end, used } = framer.next(buffer) {
                    let (pong, is_right) = handshake.answer(&buffer[start..end]);
                    buffer.drain(..used);
                    self.stream.write_all(&pong).await?;
                    self.stream.flush().await?;
                    return Ok(is_right);
                }
                if buffer.len() >= PING_BYTES_MAX {
                    break;
                }
            }
            Ok::<_, std::io::Error>(false)
        };
        let shaken = tokio::select! {
            () = self.shared.stop.cancelled() => return false,
            shaken = tokio::time::timeout(HANDSHAKE_MAX, shaken) => shaken,
        };
        let is_right = matches!(shaken, Ok(Ok(true)));
        if !is_right {
            stats::add(&self.shared.intake.stats().refused_logins, 1);
            self.complain(&"who connected does not know the shared key");
        }
        is_right
    }

    /// Reads more behind what is in the buffer; false at the end.
    async fn read(&mut self, buffer: &mut Vec<u8>) -> bool {
        let is_large = buffer.len() >= PIECE_BYTES;
        if !is_large {
            self.large = None;
        } else if self.large.is_none() {
            let Ok(room) = Arc::clone(&self.shared.large).acquire_owned().await else { return false };
            self.large = Some((room, Instant::now() + PATIENCE));
        }
        let bytes_max =
            if is_large { self.shared.message_bytes_max.max(PIECE_BYTES) + PIECE_BYTES } else { PIECE_BYTES };
        let until = self.large.as_ref().map(|(_, until)| *until);
        let too_late = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            read = self.shared.arrivals.next(fill(&mut self.stream, buffer, bytes_max)) => {
                read.unwrap_or(Ok(false)).unwrap_or_else(|error| {
                    tracing::debug!(peer = %self.frames.origin().peer, %error, "connection broke");
                    false
                })
            }
            () = too_late => {
                self.complain(&"a large message did not come to its end");
                false
            }
        }
    }

    /// Takes in one message and acknowledges it if its sender wants that; false when the sender takes no answer.
    async fn take(&mut self, object: &[u8]) -> Result<bool, SetupError> {
        if object == NIL {
            return Ok(true);
        }
        let Some(message) = Message::read(object) else {
            self.unparsed(object, "expected a message of the forward protocol, with a tag of at most 1 KiB");
            return Ok(true);
        };
        self.take_events(object, &message).await?;
        let Some(chunk) = message.chunk else { return Ok(true) };
        self.append().await?;
        let answer = acknowledgement(chunk);
        let answered = async {
            self.stream.write_all(&answer).await?;
            self.stream.flush().await
        };
        Ok(matches!(tokio::time::timeout(PATIENCE, answered).await, Ok(Ok(()))))
    }

    async fn take_events(&mut self, object: &[u8], message: &Message<'_>) -> Result<(), SetupError> {
        // What inflates is as large as a large message may be.
        let _room = match (&message.events, &self.large) {
            (Events::Gzip(_), None) => Arc::clone(&self.shared.large).acquire_owned().await.ok(),
            _ => None,
        };
        let bytes = match message.bytes(self.shared.message_bytes_max) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                self.event(object);
                return self.append_if_full().await;
            }
            Err(error) => {
                self.unparsed(object, &error.to_string());
                return Ok(());
            }
        };
        let mut entries = message.entries(&bytes);
        let mut frame = std::mem::take(&mut self.frame);
        while let Some(is_event) = entries.next_into(&mut frame) {
            if is_event {
                self.event(&frame);
            } else {
                self.unparsed(&frame, "expected an entry of time and record");
            }
            self.append_if_full().await?;
        }
        frame.shrink_to(PIECE_BYTES);
        self.frame = frame;
        Ok(())
    }

    fn event(&mut self, frame: &[u8]) {
        if frame.len() > self.shared.event_bytes_max {
            self.shared.intake.take_oversize(&mut self.frames, head(frame), frame.len() as u64);
            self.weight.add(HEAD_BYTES);
        } else {
            self.shared.intake.take(&mut self.frames, frame);
            self.weight.add(frame.len());
        }
    }

    fn unparsed(&mut self, bytes: &[u8], reason: &str) {
        self.shared.intake.take_unparsed(&mut self.frames, head(bytes), reason);
        self.weight.add(HEAD_BYTES);
    }

    async fn append_if_full(&mut self) -> Result<(), SetupError> {
        if self.weight.is_full() { self.append().await } else { Ok(()) }
    }

    async fn append(&mut self) -> Result<(), SetupError> {
        self.weight.clear();
        self.shared.intake.append(&mut self.frames).await.map_err(journal_failed)
    }

    fn complain(&self, cause: &dyn std::fmt::Display) {
        if let Some(connections) = MALFORMED.speak() {
            let peer = &self.frames.origin().peer;
            tracing::warn!(%peer, connections, "connection closed: {cause}");
        }
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(HEAD_BYTES)]
}
