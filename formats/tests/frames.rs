//! Framing under every cut: how the bytes of a connection are cut into reads never changes the frames.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use proptest::prelude::*;
use wharfinger_formats::frame::{Frame, FrameError, Framer, HEAD_BYTES};

const LIMIT: usize = 64;

/// What a connection gave, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Frame(Vec<u8>),
    Truncated(Vec<u8>),
    TooLong { head: Vec<u8>, bytes_total: u64 },
    Malformed(FrameError),
}

/// Sends the reads, closes, and answers what came out with the most bytes that were held at once.
fn frames(reads: &[&[u8]]) -> (Vec<Got>, usize) {
    let mut framer = Framer::new(LIMIT);
    let (mut buffer, mut got, mut held) = (Vec::new(), Vec::new(), 0);
    for (read, closed) in reads.iter().map(|read| (*read, false)).chain([(&b""[..], true)]) {
        buffer.extend_from_slice(read);
        loop {
            let frame = if closed { framer.finish(&buffer) } else { framer.next(&buffer) };
            let used = match frame {
                Frame::NeedMore { used } => used,
                Frame::Complete { start, end, used } => {
                    got.push(Got::Frame(buffer[start..end].to_vec()));
                    used
                }
                Frame::Truncated { start, end, used } => {
                    got.push(Got::Truncated(buffer[start..end].to_vec()));
                    used
                }
                Frame::TooLong { used, bytes_total } => {
                    assert!(framer.head().len() <= HEAD_BYTES);
                    got.push(Got::TooLong { head: framer.head().to_vec(), bytes_total });
                    used
                }
                Frame::Malformed(error) => {
                    got.push(Got::Malformed(error));
                    return (got, held);
                }
            };
            buffer.drain(..used);
            if matches!(frame, Frame::NeedMore { .. }) {
                held = held.max(buffer.len());
                break;
            }
        }
    }
    (got, held)
}

/// Pieces of a stream: frames of both kinds, separators, text that looks like a count, rubbish.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let body = || proptest::collection::vec(prop_oneof![4 => 0x20_u8..0x7F, 1 => any::<u8>()], 0..40);
    let long = proptest::collection::vec(prop_oneof![9 => Just(b'x'), 1 => any::<u8>()], 60..200);
    let counted = |body: Vec<u8>| {
        let message = [b"<13>".as_slice(), &body].concat();
        [format!("{} ", message.len()).as_bytes(), &message].concat()
    };
    prop_oneof![
        4 => body().prop_map(|body| [b"<13>".as_slice(), &body, b"\n"].concat()),
        4 => body().prop_map(counted),
        2 => long.prop_map(counted),
        2 => body().prop_map(|body| [b"<13>".as_slice(), &body, b"\r\n"].concat()),
        1 => body().prop_map(|body| [b"<13>".as_slice(), &body, b"\0"].concat()),
        1 => "[0-9]{1,9} ?<?[0-9]{0,4}>?[a-z]{0,3}\n?".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_frames(
        pieces in proptest::collection::vec(piece(), 0..12),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
    ) {
        let stream = pieces.concat();
        let (whole, _) = frames(&[&stream]);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let reads: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&frames(&reads).0, &whole);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        let (by_byte, held) = frames(&bytes);
        prop_assert_eq!(&by_byte, &whole);
        // A frame with its count, and the digits that may become one.
        prop_assert!(held <= LIMIT + 32, "{held} bytes held");
    }

    #[test]
    fn no_byte_is_lost(pieces in proptest::collection::vec(piece(), 0..12)) {
        let stream = pieces.concat();
        let (got, _) = frames(&[&stream]);
        let malformed = got.iter().any(|got| matches!(got, Got::Malformed(_)));
        let kept: u64 = got.iter().map(|got| match got {
            Got::Frame(bytes) | Got::Truncated(bytes) => bytes.len() as u64,
            Got::TooLong { bytes_total, .. } => *bytes_total,
            Got::Malformed(_) => 0,
        }).sum();
        // What is in no frame is a separator or part of a count.
        let around = stream.iter().filter(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' ' | b'0'..=b'9')).count() as u64;
        prop_assert!(malformed || kept + around >= stream.len() as u64);
        prop_assert!(kept <= stream.len() as u64);
    }
}

#[test]
fn a_slow_endless_line_is_searched_once_and_bounded() {
    let mut framer = Framer::new(256 * 1024);
    let mut buffer = Vec::new();
    let mut peak = 0;
    for _ in 0..100_000 {
        buffer.extend_from_slice(b"0123456789");
        let Frame::NeedMore { used } = framer.next(&buffer) else { panic!("a line without an end") };
        buffer.drain(..used);
        peak = peak.max(buffer.len());
    }
    assert!(peak <= 256 * 1024, "{peak} bytes held");
    assert_eq!(framer.finish(&buffer), Frame::TooLong { used: 0, bytes_total: 1_000_000 });
}
