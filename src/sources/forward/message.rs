//! What a message of the forward protocol holds: one event, a list of them, or their bytes in one piece.
//!
//! Forward protocol v1: `[tag, time, record, option]`, `[tag, [[time, record], …], option]`, or
//! `[tag, bytes of such entries, option]`. Invariant: no length is believed, and every entry is one frame, or said
//! not to be one.

use std::borrow::Cow;

use wharfinger_formats::frame::{Object, Scanner};

use crate::sources::inflate::{Compression, InflateError};

/// An id of a chunk is 24 letters; a longer one is nobody's.
const CHUNK_BYTES_MAX: usize = 255;

/// Longest tag. Every entry of a message becomes an event with that tag, so a long one before many short entries
/// would make terabytes of a few megabytes.
pub const TAG_BYTES_MAX: usize = 1024;

/// A list of three: tag, time, record.
const LIST_OF_THREE: u8 = 0x93;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'m> {
    /// With its length before it.
    tag: &'m [u8],
    pub(super) events: Events<'m>,
    /// The sender waits until it is told that this has arrived.
    pub(super) chunk: Option<&'m [u8]>,
}

/// The events of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Events<'m> {
    /// The message is the event.
    One,
    /// Entries one after the other.
    Entries(&'m [u8]),
    /// The same, compressed.
    Gzip(&'m [u8]),
}

/// Entries that are still to be read.
pub(super) struct Entries<'e> {
    tag: &'e [u8],
    rest: &'e [u8],
}

impl<'m> Message<'m> {
    /// None: it is no message.
    pub(super) fn read(object: &'m [u8]) -> Option<Message<'m>> {
        let (2..=4, rest) = list(object)? else { return None };
        let (tag, rest) = split(rest)?;
        text(tag).filter(|tag| tag.len() <= TAG_BYTES_MAX)?;
        let (third, rest) = split(rest)?;
        let (events, rest) = match (list(third), text(third)) {
            (Some((_, entries)), _) => (Events::Entries(entries), rest),
            (None, Some(entries)) => (Events::Entries(entries), rest),
            (None, None) => (Events::One, split(rest)?.1),
        };
        let mut message = Message { tag, events, chunk: None };
        message.read_options(rest);
        Some(message)
    }

    fn read_options(&mut self, rest: &'m [u8]) {
        let Some((mut members, mut rest)) = map(rest) else { return };
        while members > 0 {
            let Some((name, after)) = split(rest) else { return };
            let Some((value, after)) = split(after) else { return };
            match (text(name), text(value)) {
                (Some(b"chunk"), chunk) => self.chunk = chunk.filter(|chunk| chunk.len() <= CHUNK_BYTES_MAX),
                (Some(b"compressed"), Some(b"gzip")) => {
                    if let Events::Entries(entries) = self.events {
                        self.events = Events::Gzip(entries);
                    }
                }
                _ => {}
            }
            (members, rest) = (members - 1, after);
        }
    }

    /// The bytes of its entries; none when the message itself is the event.
    ///
    /// # Errors
    /// They inflate to more than so many bytes, or cannot be inflated.
    pub(super) fn bytes(&self, bytes_max: usize) -> Result<Option<Cow<'m, [u8]>>, InflateError> {
        match self.events {
            Events::One => Ok(None),
            Events::Entries(entries) => Ok(Some(entries.into())),
            Events::Gzip(entries) => Ok(Some(Compression::Gzip.inflate(entries, bytes_max)?.into())),
        }
    }

    /// The entries in `bytes`.
    pub(super) fn entries<'e>(&'e self, bytes: &'e [u8]) -> Entries<'e> {
        Entries { tag: self.tag, rest: bytes }
    }
}

impl<'e> Entries<'e> {
    /// Writes the next entry as a message of its own; what is none as it is, and then false.
    pub(super) fn next_into(&mut self, frame: &mut Vec<u8>) -> Option<bool> {
        if self.rest.is_empty() {
            return None;
        }
        frame.clear();
        let Some((entry, rest)) = split(self.rest) else {
            frame.extend_from_slice(self.rest);
            self.rest = &[];
            return Some(false);
        };
        self.rest = rest;
        let Some((time, record)) = parts(entry) else {
            frame.extend_from_slice(entry);
            return Some(false);
        };
        frame.push(LIST_OF_THREE);
        for part in [self.tag, time, record] {
            frame.extend_from_slice(part);
        }
        Some(true)
    }
}

/// Time and record of an entry; Fluent Bit may write `[time, metadata]` for the time.
fn parts(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let (2.., rest) = list(entry)? else { return None };
    let (time, rest) = split(rest)?;
    let time = match list(time) {
        Some((1.., inside)) if !planted!("forward") => split(inside)?.0,
        _ => time,
    };
    Some((time, split(rest)?.0))
}

/// The answer to a message with that chunk: `{"ack": chunk}`.
pub fn acknowledgement(chunk: &[u8]) -> Vec<u8> {
    let mut answer = vec![0x81, 0xa3];
    answer.extend_from_slice(b"ack");
    // A text of up to 255 bytes; see `CHUNK_BYTES_MAX`.
    answer.extend_from_slice(&[0xd9, u8::try_from(chunk.len()).unwrap_or(u8::MAX)]);
    answer.extend_from_slice(chunk);
    answer
}

/// The first object, and what is behind it.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(Object::default().scan(bytes).ok()??)
}

/// How many values a list has, and where they begin.
pub(super) fn list(bytes: &[u8]) -> Option<(u32, &[u8])> {
    match bytes {
        [first @ 0x90..=0x9f, rest @ ..] => Some((u32::from(first & 0x0f), rest)),
        [0xdc, rest @ ..] => length::<2>(rest),
        [0xdd, rest @ ..] => length::<4>(rest),
        _ => None,
    }
}

/// The same of a map, in pairs.
fn map(bytes: &[u8]) -> Option<(u32, &[u8])> {
    match bytes {
        [first @ 0x80..=0x8f, rest @ ..] => Some((u32::from(first & 0x0f), rest)),
        [0xde, rest @ ..] => length::<2>(rest),
        [0xdf, rest @ ..] => length::<4>(rest),
        _ => None,
    }
}

/// What is in a text or a piece of bytes.
pub(super) fn text(object: &[u8]) -> Option<&[u8]> {
    let (length, rest) = match object {
        [first @ 0xa0..=0xbf, rest @ ..] => (u32::from(first & 0x1f), rest),
        [0xc4 | 0xd9, rest @ ..] => length::<1>(rest)?,
        [0xc5 | 0xda, rest @ ..] => length::<2>(rest)?,
        [0xc6 | 0xdb, rest @ ..] => length::<4>(rest)?,
        _ => return None,
    };
    rest.get(..length as usize)
}

/// A length of so many bytes, big-endian.
fn length<const BYTES: usize>(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (length, rest) = bytes.split_at_checked(BYTES)?;
    Some((length.iter().fold(0, |length, byte| length << 8 | u32::from(*byte)), rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const RECORD: &[u8] = b"\x81\xa3log\xa2hi";

    fn entry(second: u8) -> Vec<u8> {
        [b"\x92", &[second][..], RECORD].concat()
    }

    fn frames(object: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let message = Message::read(object).unwrap();
        let Some(bytes) = message.bytes(1000).unwrap() else { return vec![(object.to_vec(), true)] };
        let (mut entries, mut frame, mut all) = (message.entries(&bytes), Vec::new(), Vec::new());
        while let Some(is_event) = entries.next_into(&mut frame) {
            all.push((frame.clone(), is_event));
        }
        all
    }

    fn event(second: u8) -> (Vec<u8>, bool) {
        ([b"\x93\xa3tag", &[second][..], RECORD].concat(), true)
    }

    #[test]
    fn all_modes_of_the_protocol() {
        assert_eq!(frames(&event(7).0), [event(7)]);
        let (one, two) = (entry(1), entry(2));
        let list = [b"\x92\xa3tag\x92", &one[..], &two].concat();
        assert_eq!(frames(&list), [event(1), event(2)]);
        let packed = [b"\x93\xa3tag\xc4\x14", &one[..], &two, b"\x81\xa5chunk\xa4abcd"].concat();
        assert_eq!(frames(&packed), [event(1), event(2)]);
        assert_eq!(Message::read(&packed).unwrap().chunk, Some(&b"abcd"[..]));
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[one, two].concat()).unwrap();
        let gzip = encoder.finish().unwrap();
        let gzip = [b"\x93\xa3tag\xc4", &[gzip.len() as u8][..], &gzip, b"\x81\xaacompressed\xa4gzip"].concat();
        assert_eq!(frames(&gzip), [event(1), event(2)]);
        assert_eq!(Message::read(&gzip).unwrap().bytes(10), Err(InflateError::TooLong(10)));
        // Fluent Bit: the time is a list of time and metadata.
        let metadata = [b"\x92\xa3tag\x91\x92\x92\x05\x80", RECORD].concat();
        assert_eq!(frames(&metadata), [event(5)]);
        let with_chunk = [b"\x94\xa3tag\x07", RECORD, b"\x82\xa4size\x01\xa5chunk\xa1x"].concat();
        assert_eq!(Message::read(&with_chunk).unwrap().chunk, Some(&b"x"[..]));
        assert_eq!(acknowledgement(b"x"), b"\x81\xa3ack\xd9\x01x");
    }

    #[test]
    fn a_long_tag_is_not_copied_for_each_entry() {
        let packed = |tag_bytes: u16| {
            let tag = [&[0xda][..], &tag_bytes.to_be_bytes(), &vec![b't'; tag_bytes.into()]].concat();
            [b"\x92", &tag[..], b"\xc4\x0a", &entry(1)].concat()
        };
        assert_eq!(frames(&packed(1024)).len(), 1);
        assert_eq!(Message::read(&packed(1025)), None);
    }

    #[test]
    fn what_is_none_is_said_to_be_none() {
        for wrong in [&b"\xc0"[..], b"\x90", b"\x93\x01\x02\x03", b"\x93\xa3tag\x07", b"\xdd\xff\xff\xff\xff", b""] {
            assert_eq!(Message::read(wrong), None, "{wrong:?}");
        }
        let packed = [b"\x92\xa3tag\xc4\x0e\x05", &entry(1)[..], b"\x92\x01\xdb"].concat();
        let expected = [(vec![5], false), event(1), (b"\x92\x01\xdb".to_vec(), false)];
        assert_eq!(frames(&packed), expected);
    }
}
