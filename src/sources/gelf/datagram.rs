//! GELF in datagrams: chunks are joined, what is compressed is inflated.
//!
//! Invariant: every datagram is an event, a part of one, or counted in a gap record.

use std::time::{SystemTime, UNIX_EPOCH};

use wharfinger_formats::Time;
use wharfinger_formats::frame::gelf::{Chunks, Datagram};

use crate::intake::{Dropped, Frames, Gap, Intake};
use crate::sources::inflate::{Compression, InflateError};
use crate::sources::lines::HEAD_BYTES;
use crate::sources::udp::Datagrams;

/// The messages of one socket.
pub(super) struct Messages {
    message_bytes_max: usize,
    chunks: Chunks,
    /// What `chunks` had given up when that was declared last, and what it has given up since.
    declared: u64,
    dropped: Option<Dropped>,
}

impl Messages {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Messages { message_bytes_max, chunks: Chunks::new(message_bytes_max), declared: 0, dropped: None }
    }

    /// Gives up what waited too long, and counts what was given up.
    fn count(&mut self) {
        let given_up = self.chunks.given_up();
        if given_up > self.declared {
            Dropped::add(&mut self.dropped, given_up - self.declared);
            self.declared = given_up;
        }
    }
}

impl Datagrams for Messages {
    fn take(&mut self, intake: &Intake, frames: &mut Frames, datagram: &[u8]) -> usize {
        let max = self.message_bytes_max;
        let length = match self.chunks.push(datagram, now()) {
            Datagram::Held => 0,
            Datagram::Whole(message) => take(intake, frames, message, max),
            Datagram::Joined(message) => take(intake, frames, &message, max),
            Datagram::Refused(reason) => {
                intake.take_unparsed(frames, head(datagram), reason);
                datagram.len()
            }
        };
        self.count();
        length
    }

    fn given_up(&mut self) -> Option<Gap> {
        // A datagram of nothing: what waits is looked at also when no other comes.
        self.chunks.push(b"", now());
        self.count();
        self.dropped.take().map(|dropped| dropped.gap("chunks of a message never came, or too many were waited for"))
    }
}

fn take(intake: &Intake, frames: &mut Frames, message: &[u8], bytes_max: usize) -> usize {
    let inflated = match Compression::of(message).map(|compression| compression.inflate(message, bytes_max)) {
        None => None,
        Some(Ok(inflated)) => Some(inflated),
        Some(Err(error @ (InflateError::TooLong(_) | InflateError::Damaged))) => {
            intake.take_unparsed(frames, head(message), &error.to_string());
            return message.len();
        }
    };
    let message = inflated.as_deref().unwrap_or(message);
    // As on a connection, a message may be ended by NUL.
    let message = message.strip_suffix(b"\0").unwrap_or(message);
    match message.len() {
        0 => 0,
        length if length > bytes_max => {
            intake.take_oversize(frames, head(message), length as u64);
            HEAD_BYTES
        }
        length => {
            intake.take(frames, message);
            length
        }
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(HEAD_BYTES)]
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
