//! Cutting a syslog stream into frames: the leg between the bytes of a connection and a parser.
//!
//! RFC 6587 knows two framings: octet counting (`MSG-LEN SP MSG`) and a trailer (LF, also CRLF or
//! NUL). Senders do not say which they use, and some mix them, so it is found out for every frame.
//!
//! Invariant: the cuts between reads never change the frames. Nothing is allocated by an announced
//! size, no byte is searched twice, and every byte of the input is in a frame, in a declared
//! oversize frame, or a separator.

mod export;
pub mod gelf;
mod msgpack;
mod records;
pub mod relp;
mod stream;

use std::fmt;

pub use export::{Entry, ExportFramer};
pub use msgpack::{MsgpackFramer, Object};
pub use records::{Lengths, LocalFramer, PluginFramer};
pub use stream::{Scanner, Stream};

/// So many first bytes of an oversize frame are kept for people to look at.
pub const HEAD_BYTES: usize = 1024;

/// A count of more digits closes the connection.
const COUNT_DIGITS_MAX: usize = 7;
/// A run of that many digits is a line of text and no attempt at a count, whatever follows.
const DIGITS_LOOKED_AT: usize = 20;

/// What stands at the start of the input. The caller drops `used` bytes and calls again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// `input[start..end]` is a frame, without its count or trailer.
    Complete {
        /// Where it begins.
        start: usize,
        /// Where it ends.
        end: usize,
        /// Bytes it takes with all around it.
        used: usize,
    },
    /// No whole frame yet: read more.
    NeedMore {
        /// Bytes that are done with: separators, or pieces of an oversize frame.
        used: usize,
    },
    /// A frame over the limit has been read through. Its first bytes are in [`Framer::head`].
    TooLong {
        /// Bytes that are done with.
        used: usize,
        /// Bytes it had.
        bytes_total: u64,
    },
    /// Only from [`Framer::finish`]: `input[start..end]` is the start of a frame, or a line without
    /// its end, on a connection that is closed.
    Truncated {
        /// Where it begins.
        start: usize,
        /// Where it ends.
        end: usize,
        /// Bytes it takes with all around it.
        used: usize,
    },
    /// No frame can be found any more: close the connection.
    Malformed(FrameError),
}

/// Why a stream cannot be cut any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// An octet count of more than 7 digits.
    CountTooLong,
    /// An octet count that begins with 0.
    LeadingZero,
    /// The length behind a record is not the one before it.
    LengthsDiffer,
    /// A byte that begins no MessagePack value.
    NoMsgpack,
    /// Not `TXNR SP COMMAND SP DATALEN`, or no line end behind the data.
    NoRelp,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::CountTooLong => "octet count of more than 7 digits",
            FrameError::LeadingZero => "octet count with a leading zero",
            FrameError::LengthsDiffer => "a record whose two lengths differ",
            FrameError::NoMsgpack => "no MessagePack",
            FrameError::NoRelp => "no RELP frame",
        })
    }
}

impl std::error::Error for FrameError {}

/// Cuts the bytes of one connection. Keep one for each connection.
#[derive(Debug, Clone)]
pub struct Framer {
    max: usize,
    state: State,
    /// A line has ended with LF: from then on NUL is an ordinary byte, because Docker's driver
    /// passes on the NULs that containers write.
    lf_seen: bool,
    head: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Between frames, or in a frame whose start has to be looked at again.
    Start,
    /// In a line; that many bytes have no end in them.
    Line { searched: usize },
    /// In an oversize counted frame.
    SkipBytes { seen: u64, left: u64 },
    /// In an oversize line.
    SkipLine { seen: u64 },
}

/// What the first bytes of a frame say.
enum Start {
    Line,
    Counted { at: usize, len: usize },
    NeedMore,
    Malformed(FrameError),
}

impl Framer {
    /// Frames of at most `frame_bytes_max` bytes.
    pub fn new(frame_bytes_max: usize) -> Self {
        Framer { max: frame_bytes_max, state: State::Start, lf_seen: false, head: Vec::new() }
    }

    /// The first bytes, at most [`HEAD_BYTES`], of the oversize frame that [`Frame::TooLong`] has
    /// just reported.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The next frame of `input`, which begins where the bytes used so far ended.
    pub fn next(&mut self, input: &[u8]) -> Frame {
        match self.state {
            State::Start => self.start(input),
            State::Line { searched } => self.line(input, 0, searched),
            State::SkipBytes { seen, left } => self.skip_bytes(input, seen, left),
            State::SkipLine { seen } => {
                let end = self.trailer(input).unwrap_or(input.len());
                self.skip_line(input, 0, end, seen)
            }
        }
    }

    /// What is left when the connection is closed: call after [`Framer::next`] said
    /// [`Frame::NeedMore`], with the bytes not used.
    pub fn finish(&mut self, input: &[u8]) -> Frame {
        let used = input.len();
        match std::mem::replace(&mut self.state, State::Start) {
            State::SkipBytes { seen, .. } | State::SkipLine { seen } => Frame::TooLong { used, bytes_total: seen },
            _ if input.iter().all(|byte| is_separator(*byte)) => Frame::NeedMore { used },
            State::Line { .. } => Frame::Truncated { start: 0, end: used, used },
            State::Start => match look(input) {
                Start::Counted { at, .. } => Frame::Truncated { start: at, end: used, used },
                _ => Frame::Truncated { start: 0, end: used, used },
            },
        }
    }

    fn start(&mut self, input: &[u8]) -> Frame {
        let skipped = input.iter().position(|byte| !is_separator(*byte)).unwrap_or(input.len());
        let rest = input.get(skipped..).unwrap_or_default();
        match look(rest) {
            Start::Line => self.line(input, skipped, 0),
            Start::NeedMore => Frame::NeedMore { used: skipped },
            Start::Malformed(error) => Frame::Malformed(error),
            Start::Counted { at, len } => {
                let start = skipped.saturating_add(at);
                if len > self.max {
                    self.head.clear();
                    let message = input.get(start..).unwrap_or_default();
                    return match self.skip_bytes(message, 0, u64::try_from(len).unwrap_or(u64::MAX)) {
                        Frame::TooLong { used, bytes_total } => {
                            Frame::TooLong { used: start.saturating_add(used), bytes_total }
                        }
                        _ => Frame::NeedMore { used: input.len() },
                    };
                }
                let used = start.saturating_add(len);
                match input.get(start..used) {
                    // Docker counts the LF it ends its message with.
                    Some([.., b'\n']) => Frame::Complete { start, end: used.saturating_sub(1), used },
                    Some(_) => Frame::Complete { start, end: used, used },
                    None => Frame::NeedMore { used: skipped },
                }
            }
        }
    }

    /// A line that begins at `start`; its first `searched` bytes hold no end.
    fn line(&mut self, input: &[u8], start: usize, searched: usize) -> Frame {
        let from = start.saturating_add(searched);
        let len = match self.trailer(input.get(from..).unwrap_or_default()) {
            Some(at) => searched.saturating_add(at),
            None => input.len().saturating_sub(start),
        };
        let end = start.saturating_add(len);
        if len > self.max {
            self.head.clear();
            return self.skip_line(input, start, end, 0);
        }
        if end == input.len() {
            let searched = if planted!("frame") { len.saturating_add(1) } else { len };
            self.state = State::Line { searched };
            return Frame::NeedMore { used: start };
        }
        self.state = State::Start;
        self.lf_seen |= input.get(end) == Some(&b'\n');
        let used = end.saturating_add(1);
        // RFC 6587 §3.4.2 names LF; CRLF and NUL are in use.
        match input.get(start..end) {
            Some([.., b'\r']) => Frame::Complete { start, end: end.saturating_sub(1), used },
            _ => Frame::Complete { start, end, used },
        }
    }

    fn trailer(&self, bytes: &[u8]) -> Option<usize> {
        if self.lf_seen { memchr::memchr(b'\n', bytes) } else { memchr::memchr2(b'\n', 0, bytes) }
    }

    /// In an oversize line, of which `seen` bytes are gone and `input[start..end]` is the next piece.
    fn skip_line(&mut self, input: &[u8], start: usize, end: usize, seen: u64) -> Frame {
        self.keep_head(input.get(start..end).unwrap_or_default());
        let seen = seen.saturating_add(u64::try_from(end.saturating_sub(start)).unwrap_or(u64::MAX));
        match input.get(end) {
            Some(trailer) => {
                self.lf_seen |= *trailer == b'\n';
                self.state = State::Start;
                Frame::TooLong { used: end.saturating_add(1), bytes_total: seen }
            }
            None => {
                self.state = State::SkipLine { seen };
                Frame::NeedMore { used: input.len() }
            }
        }
    }

    fn skip_bytes(&mut self, input: &[u8], seen: u64, left: u64) -> Frame {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        self.keep_head(input.get(..used).unwrap_or_default());
        let taken = u64::try_from(used).unwrap_or(u64::MAX);
        let (seen, left) = (seen.saturating_add(taken), left.saturating_sub(taken));
        if left == 0 {
            self.state = State::Start;
            return Frame::TooLong { used, bytes_total: seen };
        }
        self.state = State::SkipBytes { seen, left };
        Frame::NeedMore { used }
    }

    fn keep_head(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }
}

/// A datagram without its trailer: RFC 5426 §3.1 has none, senders add one LF, CRLF or NUL.
pub fn datagram(bytes: &[u8]) -> &[u8] {
    match bytes {
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n' | 0] => rest,
        _ => bytes,
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, 0 | b'\n' | b'\r')
}

/// Counted only if the digits are followed by one SP and a PRI: text may begin with a number too,
/// `54 <1 minute elapsed` (DataDog agent PR 54492).
fn look(input: &[u8]) -> Start {
    let Some(first) = input.first() else { return Start::NeedMore };
    if !first.is_ascii_digit() {
        return Start::Line;
    }
    let digits = input.iter().take(DIGITS_LOOKED_AT).take_while(|byte| byte.is_ascii_digit()).count();
    let after = input.get(digits..).unwrap_or_default();
    match after {
        _ if digits >= DIGITS_LOOKED_AT => return Start::Line,
        [] => return Start::NeedMore,
        [b' '] => return Start::NeedMore,
        [b' ', b'<', pri @ ..] => match pri.iter().take(4).position(|byte| !byte.is_ascii_digit()) {
            None if pri.len() < 4 => return Start::NeedMore,
            Some(len @ 1..=3) if pri.get(len) == Some(&b'>') => {}
            _ => return Start::Line,
        },
        _ => return Start::Line,
    }
    if *first == b'0' {
        return Start::Malformed(FrameError::LeadingZero);
    }
    let count = input.get(..digits).filter(|digits| digits.len() <= COUNT_DIGITS_MAX).and_then(crate::time::number);
    match count.and_then(|count| usize::try_from(count).ok()) {
        Some(len) => Start::Counted { at: digits.saturating_add(1), len },
        None => Start::Malformed(FrameError::CountTooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection gives that sends these reads and closes: frames as text, `~` before a
    /// truncated one, `#total head` for an oversize one, `!` for malformed.
    fn frames(max: usize, reads: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::new(max);
        let (mut buffer, mut out) = (Vec::new(), Vec::new());
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        for (read, closed) in reads.iter().map(|read| (*read, false)).chain([(&b""[..], true)]) {
            buffer.extend_from_slice(read);
            loop {
                let frame = if closed { framer.finish(&buffer) } else { framer.next(&buffer) };
                let used = match frame {
                    Frame::Complete { start, end, used } => {
                        out.push(text(buffer.get(start..end)));
                        used
                    }
                    Frame::Truncated { start, end, used } => {
                        out.push(format!("~{}", text(buffer.get(start..end))));
                        used
                    }
                    Frame::TooLong { used, bytes_total } => {
                        out.push(format!("#{bytes_total} {}", text(framer.head().get(..4))));
                        used
                    }
                    Frame::NeedMore { used } => {
                        buffer.drain(..used);
                        break;
                    }
                    Frame::Malformed(error) => {
                        out.push(format!("!{error}"));
                        return out;
                    }
                };
                buffer.drain(..used);
            }
        }
        out
    }

    fn check(input: &str, expected: &[&str]) {
        let whole = frames(16, &[input.as_bytes()]);
        assert_eq!(whole, expected, "{input:?}");
        let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(frames(16, &bytes), expected, "{input:?} byte by byte");
    }

    #[test]
    fn both_framings_mixed() {
        check("<1>a\n<2>b\r\n<3>c\n", &["<1>a", "<2>b", "<3>c"]);
        check("4 <1>a5 <1>ab<2>c\n6 <1>a\nb", &["<1>a", "<1>ab", "<2>c", "<1>a\nb"]);
        // formats.md §3.3: 0x00, LF and CR between frames are skipped.
        check("\n\r\0\n<1>a\n\n\n4 <1>b\n4 <1>c", &["<1>a", "<1>b", "<1>c"]);
        // Docker's count includes its LF: strip one.
        check("5 <1>a\n6 <1>b\n\n", &["<1>a", "<1>b\n"]);
        check("no syslog\n", &["no syslog"]);
    }

    #[test]
    fn a_line_that_begins_with_a_number_is_text() {
        for line in ["54 <1 minute", "54 <> x", "54  <1>x", "54", "1", "99 bottles", "5<13>x", "5 <1234>x"] {
            check(&format!("{line}\n<1>a\n"), &[line, "<1>a"]);
        }
        check("123456789012345678901234 <1>a\n", &["#29 1234"]);
        // Twenty digits: a cut behind them changes nothing.
        check("12345678901234567890 <1>a\n", &["#25 1234"]);
    }

    #[test]
    fn nul_ends_a_frame_until_an_lf_has() {
        check("<1>a\0<2>b\0", &["<1>a", "<2>b"]);
        check("<1>a\n<2>b\0c\n", &["<1>a", "<2>b\0c"]);
    }

    #[test]
    fn oversize_frames_are_read_through_and_counted() {
        check("<1>0123456789abc\n<2>ok\n", &["<1>0123456789abc", "<2>ok"]);
        check("<1>0123456789abcd\n<2>ok\n", &["#17 <1>0", "<2>ok"]);
        check("17 <1>0123456789abcd4 <2>b", &["#17 <1>0", "<2>b"]);
        check("17 <1>0123456789\nbcd<2>b\n", &["#17 <1>0", "<2>b"]);
        check("<1>0123456789abcdefgh", &["#21 <1>0"]);
        check("9999999 <1>0123456789abcdefgh", &["#21 <1>0"]);
    }

    #[test]
    fn what_closes_the_connection() {
        // decisions.md 13: "more digits or a malformed count closes the connection".
        check("<1>a\n12345678 <1>b\n", &["<1>a", "!octet count of more than 7 digits"]);
        check("04 <1>b", &["!octet count with a leading zero"]);
    }

    #[test]
    fn the_last_frame_of_a_closed_connection() {
        check("<1>a\n<2>b", &["<1>a", "~<2>b"]);
        check("9 <1>a", &["~<1>a"]);
        check("9 <", &["~9 <"]);
        check("<1>a\n\n", &["<1>a"]);
        check("", &[]);
    }

    #[test]
    fn a_datagram_loses_one_trailer() {
        for (input, expected) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\0", "a"), ("a\n\n", "a\n"), ("", "")] {
            assert_eq!(datagram(input.as_bytes()), expected.as_bytes());
        }
    }
}
