//! What must hold of records that say themselves where they end, whatever bytes they came from.

use wharfinger_formats::Time;
use wharfinger_formats::frame::gelf::{Chunks, Datagram};
use wharfinger_formats::frame::{Entry, Frame, Lengths, Object, Scanner, Stream, relp};

const LIMIT: usize = 64;

/// The first byte says which kind of stream, the second how long the pieces are.
pub fn check(input: &[u8]) {
    crate::planted::plant();
    let [kind, step, stream @ ..] = input else { return };
    // Enough for every state, and little enough to be cut byte by byte.
    let stream = stream.get(..1_024).unwrap_or(stream);
    let step = usize::from(*step).max(1);
    match kind % 6 {
        0 => check_cuts::<Lengths<true>>(stream, step),
        1 => check_cuts::<Lengths<false>>(stream, step),
        2 => check_cuts::<Entry>(stream, step),
        3 => check_cuts::<Object>(stream, step),
        4 => check_cuts::<relp::Header>(stream, step),
        _ => check_chunks(stream, step),
    }
}

fn check_cuts<S: Scanner>(stream: &[u8], step: usize) {
    let whole = frames::<S>(stream, stream.len().max(1));
    assert_eq!(frames::<S>(stream, step), whole);
    assert_eq!(frames::<S>(stream, 1), whole);
    let kept: u64 = whole.iter().map(|(_, _, bytes)| bytes).sum();
    assert!(kept <= stream.len() as u64, "more than there was");
}

/// Kind, first bytes and length of each frame.
fn frames<S: Scanner>(stream: &[u8], step: usize) -> Vec<(char, Vec<u8>, u64)> {
    let mut framer = Stream::<S>::new(LIMIT);
    let (mut buffer, mut got) = (Vec::new(), Vec::new());
    for (read, ended) in stream.chunks(step).map(|read| (read, false)).chain([(&b""[..], true)]) {
        buffer.extend_from_slice(read);
        loop {
            let frame = if ended { framer.finish(&buffer) } else { framer.next(&buffer) };
            let (kind, start, end, used) = match frame {
                Frame::NeedMore { used } => {
                    buffer.drain(..used);
                    assert!(buffer.len() <= LIMIT, "{} bytes held", buffer.len());
                    break;
                }
                Frame::Complete { start, end, used } => ('c', start, end, used),
                Frame::Truncated { start, end, used } => ('t', start, end, used),
                Frame::TooLong { used, bytes_total } => {
                    got.push(('l', framer.head().to_vec(), bytes_total));
                    buffer.drain(..used);
                    continue;
                }
                Frame::Malformed(_) => {
                    got.push(('m', Vec::new(), 0));
                    return got;
                }
            };
            let frame = buffer[start..end].to_vec();
            got.push((kind, frame.clone(), frame.len() as u64));
            buffer.drain(..used);
        }
    }
    got
}

/// Datagrams of GELF in any order: no message is longer than its chunks, or than the limit.
fn check_chunks(stream: &[u8], step: usize) {
    let mut chunks = Chunks::new(LIMIT);
    for (at, datagram) in stream.chunks(step).enumerate() {
        match chunks.push(datagram, Time(at as i64 * 1_000_000_000)) {
            Datagram::Whole(whole) => assert_eq!(whole, datagram),
            Datagram::Joined(message) => assert!(message.len() <= LIMIT),
            Datagram::Held | Datagram::Refused(_) => {}
        }
    }
}
