//! GELF datagrams that come in chunks: `1e 0f`, an id of 8 bytes, which chunk, how many, data.
//!
//! [`Chunks`] puts messages together; a datagram that is no chunk is one already. What comes out may
//! be compressed, which is for the caller: gzip begins with `1f 8b`, zlib with `78`. Over TCP each
//! message ends with NUL, which [`super::Framer`] takes.
//!
//! Invariant: at most [`MESSAGES_MAX`] unfinished messages of at most the given size are held, the
//! oldest gives way, and what is given up is counted.

use std::collections::VecDeque;

use crate::Time;

/// Unfinished messages that are held.
pub const MESSAGES_MAX: usize = 64;
/// A message of more chunks is none, by the specification.
pub const CHUNKS_MAX: u8 = 128;
/// The chunks of a message must arrive within so many nanoseconds, by the specification.
pub const WAIT_NANOS: i64 = 5_000_000_000;

const MAGIC: [u8; 2] = [0x1e, 0x0f];

/// What a datagram is.
#[derive(Debug, PartialEq, Eq)]
pub enum Datagram<'d> {
    /// A whole message.
    Whole(&'d [u8]),
    /// The last chunk of a message that came in several.
    Joined(Vec<u8>),
    /// A chunk; more are needed.
    Held,
    /// A chunk that cannot be one, or that makes its message too long.
    Refused(&'static str),
}

/// The unfinished messages of one socket.
#[derive(Debug)]
pub struct Chunks {
    message_bytes_max: usize,
    /// Oldest first.
    unfinished: VecDeque<Unfinished>,
    /// Messages given up: a chunk never came, or others needed the room.
    given_up: u64,
}

#[derive(Debug)]
struct Unfinished {
    id: [u8; 8],
    since: Time,
    bytes: usize,
    chunks: Vec<Option<Vec<u8>>>,
}

impl Chunks {
    /// Messages of at most `message_bytes_max` bytes, as they are sent.
    pub fn new(message_bytes_max: usize) -> Self {
        Chunks { message_bytes_max, unfinished: VecDeque::new(), given_up: 0 }
    }

    /// How many messages have been given up so far.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Takes a datagram received at `now`.
    pub fn push<'d>(&mut self, datagram: &'d [u8], now: Time) -> Datagram<'d> {
        self.expire(now);
        let Some(chunk) = datagram.strip_prefix(&MAGIC) else { return Datagram::Whole(datagram) };
        let Some((id, rest)) = chunk.split_first_chunk::<8>() else {
            return Datagram::Refused("a chunk without its id");
        };
        let [number, count, data @ ..] = rest else { return Datagram::Refused("a chunk without its number") };
        if *count == 0 || *count > CHUNKS_MAX || number >= count {
            return Datagram::Refused("a chunk number outside of its count");
        }
        let at = match self.unfinished.iter().position(|message| message.id == *id) {
            Some(at) => at,
            None => self.begin(*id, *count, now),
        };
        let Some(message) = self.unfinished.get_mut(at) else { return Datagram::Held };
        let is_same = message.chunks.len() == usize::from(*count);
        let Some(slot) = message.chunks.get_mut(usize::from(*number)).filter(|_| is_same) else {
            return Datagram::Refused("a chunk with another count than its message");
        };
        if slot.is_none() {
            message.bytes = message.bytes.saturating_add(data.len());
            *slot = Some(data.to_vec());
        }
        if message.bytes > self.message_bytes_max {
            self.unfinished.remove(at);
            self.given_up = self.given_up.saturating_add(1);
            return Datagram::Refused("a message longer than the limit");
        }
        if message.chunks.iter().any(Option::is_none) {
            return Datagram::Held;
        }
        match self.unfinished.remove(at) {
            Some(message) => Datagram::Joined(message.chunks.into_iter().flatten().flatten().collect()),
            None => Datagram::Held,
        }
    }

    fn begin(&mut self, id: [u8; 8], count: u8, now: Time) -> usize {
        if self.unfinished.len() >= MESSAGES_MAX && self.unfinished.pop_front().is_some() {
            self.given_up = self.given_up.saturating_add(1);
        }
        self.unfinished.push_back(Unfinished { id, since: now, bytes: 0, chunks: vec![None; usize::from(count)] });
        self.unfinished.len().saturating_sub(1)
    }

    /// Gives up messages whose chunks took too long.
    fn expire(&mut self, now: Time) {
        while self.unfinished.front().is_some_and(|oldest| now.0.saturating_sub(oldest.since.0) > WAIT_NANOS) {
            self.unfinished.pop_front();
            self.given_up = self.given_up.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(id: u8, number: u8, count: u8, data: &str) -> Vec<u8> {
        [&MAGIC[..], &[id; 8], &[number, count], data.as_bytes()].concat()
    }

    #[test]
    fn chunks_come_in_any_order_and_twice() {
        let mut chunks = Chunks::new(100);
        assert_eq!(chunks.push(b"{}", Time(0)), Datagram::Whole(b"{}"));
        assert_eq!(chunks.push(&chunk(1, 1, 3, "b"), Time(0)), Datagram::Held);
        assert_eq!(chunks.push(&chunk(2, 0, 2, "x"), Time(0)), Datagram::Held);
        assert_eq!(chunks.push(&chunk(1, 1, 3, "other"), Time(0)), Datagram::Held);
        assert_eq!(chunks.push(&chunk(1, 2, 3, "c"), Time(0)), Datagram::Held);
        assert_eq!(chunks.push(&chunk(1, 0, 3, "a"), Time(1)), Datagram::Joined(b"abc".to_vec()));
        assert_eq!(chunks.push(&chunk(2, 1, 2, "y"), Time(WAIT_NANOS)), Datagram::Joined(b"xy".to_vec()));
        assert_eq!(chunks.given_up(), 0);
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let mut chunks = Chunks::new(4);
        for id in 0..=MESSAGES_MAX as u8 {
            assert_eq!(chunks.push(&chunk(id, 0, 2, "a"), Time(0)), Datagram::Held);
        }
        assert_eq!((chunks.unfinished.len(), chunks.given_up()), (MESSAGES_MAX, 1));
        assert_eq!(chunks.push(&chunk(1, 1, 2, "bcde"), Time(0)), Datagram::Refused("a message longer than the limit"));
        assert_eq!(chunks.push(b"{}", Time(WAIT_NANOS + 1)), Datagram::Whole(b"{}"));
        assert_eq!((chunks.unfinished.len(), chunks.given_up()), (0, MESSAGES_MAX as u64 + 1));
        for wrong in [
            chunk(1, 0, 0, ""),
            chunk(1, 2, 2, ""),
            chunk(1, 0, 129, ""),
            MAGIC.to_vec(),
            chunk(1, 0, 1, "")[..10].to_vec(),
        ] {
            assert!(matches!(chunks.push(&wrong, Time(0)), Datagram::Refused(_)), "{wrong:?}");
        }
        assert_eq!(chunks.push(&chunk(9, 0, 2, "a"), Time(0)), Datagram::Held);
        assert!(matches!(chunks.push(&chunk(9, 1, 3, "b"), Time(0)), Datagram::Refused(_)));
    }
}
