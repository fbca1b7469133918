//! Cuts what the engine sends of a container's output into lines.
//!
//! Way of a line here: engine → **cut** → seen before? → intake. Without a terminal every message of the log
//! driver stands in a frame: stream, three zeros, length (4 bytes, big-endian), time, text. With one there are no
//! frames: each line begins with its time. Invariants: any cut of the stream gives the same lines; no more of a
//! line than the limit is kept.

use wharfinger_formats::Time;

/// The log drivers split longer lines into parts of that many bytes, of which the last alone has a line end.
const PART_BYTES: u64 = 16 * 1024;
/// A message is a part and its time; other drivers than Docker's may not split.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const HEADER_BYTES: usize = 8;
/// So much is kept of what the engine says of an error.
const COMPLAINT_BYTES_MAX: usize = 1024;
/// `2026-11-21T09:03:20.158734145Z `, or with an offset in the place of the `Z`.
const STAMP_BYTES_MAX: usize = 40;

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// One line without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogLine<'l> {
    pub(super) stream: Stream,
    /// When its first part was written.
    pub(super) time: Time,
    /// Its bytes, or the first of them.
    pub(super) text: &'l [u8],
    /// How many it had.
    pub(super) bytes_total: u64,
}

/// What the engine sends is none of its formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CutError {
    #[error("a frame of no stream of a container")]
    Frame,
    #[error("a message of over 1 MiB")]
    Length,
    #[error("a message without a time")]
    Time,
}

/// The state between two pieces of what the engine sends.
#[derive(Debug)]
pub(super) struct Cut {
    line_bytes_max: usize,
    /// Bytes of a message that is not complete.
    held: Vec<u8>,
    lines: [Joined; 2],
    terminal: Option<Terminal>,
    /// What the engine said in the place of lines that it could not read.
    complaint: Option<String>,
}

/// Parts of a line that has not ended.
#[derive(Debug, Default)]
struct Joined {
    /// When the first was written; none: there is no part.
    time: Option<Time>,
    text: Vec<u8>,
    bytes_total: u64,
}

/// Where we are in a line of a terminal.
#[derive(Debug, Default)]
struct Terminal {
    /// The time that stands before every part of the line; empty between two lines.
    stamp: Vec<u8>,
    /// Bytes of the part that are still to come.
    part_left: usize,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

impl Cut {
    pub(super) fn new(has_terminal: bool, line_bytes_max: usize) -> Cut {
        let terminal = has_terminal.then(Terminal::default);
        Cut { line_bytes_max, held: Vec::new(), lines: Default::default(), terminal, complaint: None }
    }

    /// When the earliest line was begun that has not ended.
    pub(super) fn open_since(&self) -> Option<Time> {
        self.lines.iter().filter_map(|line| line.time).min()
    }

    /// What the engine said in the place of lines that it could not read, since this was asked last.
    pub(super) fn take_complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    /// Gives each line that ends in this piece to `each`.
    ///
    /// # Errors
    /// It is not understood. Nothing that follows can be.
    pub(super) fn push(&mut self, piece: &[u8], mut each: impl FnMut(LogLine<'_>)) -> Result<(), CutError> {
        self.held.extend_from_slice(piece);
        let mut held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        let mut cut = Ok(());
        while !rest.is_empty() {
            let used = match &mut self.terminal {
                None => self.message(rest, &mut each),
                Some(_) => self.typed(rest, &mut each),
            };
            match used {
                Ok(Some(used)) => rest = &rest[used..],
                Ok(None) => break,
                Err(error) => {
                    cut = Err(error);
                    break;
                }
            }
        }
        let used = held.len() - rest.len();
        held.drain(..used);
        self.held = held;
        cut
    }

    /// The container has ended: what was begun is all there is of a line.
    pub(super) fn finish(&mut self, mut each: impl FnMut(LogLine<'_>)) {
        self.held.clear();
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.lines[stream as usize].end(stream, &mut each);
        }
    }

    /// One frame. None: it is not complete.
    fn message(&mut self, bytes: &[u8], each: &mut impl FnMut(LogLine<'_>)) -> Result<Option<usize>, CutError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let stream = match header[..4] {
            [1, 0, 0, 0] => Stream::Stdout,
            [2, 0, 0, 0] => Stream::Stderr,
            // The engine's own stream for errors: a damaged file of a log driver, say.
            [3, 0, 0, 0] => return self.complain(header, rest),
            _ => return Err(CutError::Frame),
        };
        let length = length(header)?;
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let (time, used) = stamp(message).ok_or(CutError::Time)?;
        let text = &message[used..];
        let line = &mut self.lines[stream as usize];
        // All parts of a line carry the time of the first, but for engines before 18.
        if line.time.is_some_and(|begun| begun != time) && !line.bytes_total.is_multiple_of(PART_BYTES) {
            line.end(stream, each);
        }
        line.add(time, text.strip_suffix(b"\n").unwrap_or(text), self.line_bytes_max);
        if text.ends_with(b"\n") {
            line.end(stream, each);
        }
        Ok(Some(HEADER_BYTES + length))
    }

    fn complain(&mut self, header: &[u8; HEADER_BYTES], rest: &[u8]) -> Result<Option<usize>, CutError> {
        let length = length(header)?;
        let Some(text) = rest.get(..length) else { return Ok(None) };
        let kept = &text[..length.min(COMPLAINT_BYTES_MAX)];
        self.complaint.get_or_insert_with(|| String::from_utf8_lossy(kept).trim().to_owned());
        Ok(Some(HEADER_BYTES + length))
    }

    /// A piece of a line that was written to a terminal. None: it takes more bytes to say.
    fn typed(&mut self, bytes: &[u8], each: &mut impl FnMut(LogLine<'_>)) -> Result<Option<usize>, CutError> {
        let Some(terminal) = &mut self.terminal else { return Ok(None) };
        let line = &mut self.lines[Stream::Stdout as usize];
        let end = memchr::memchr(b'\n', bytes);
        if terminal.stamp.is_empty() {
            let Some((time, used)) = stamp(bytes) else {
                let may_come = end.is_none() && bytes.len() < STAMP_BYTES_MAX;
                return if may_come { Ok(None) } else { Err(CutError::Time) };
            };
            terminal.stamp = bytes[..used].to_vec();
            terminal.part_left = PART_BYTES as usize;
            line.add(time, b"", self.line_bytes_max);
            return Ok(Some(used));
        }
        let Some(time) = line.time else { return Err(CutError::Time) };
        if terminal.part_left == 0 {
            if end.is_none() && bytes.len() < terminal.stamp.len() {
                return Ok(None);
            }
            terminal.part_left = PART_BYTES as usize;
            if bytes.starts_with(&terminal.stamp) {
                return Ok(Some(terminal.stamp.len()));
            }
        }
        let text = &bytes[..end.unwrap_or(bytes.len()).min(terminal.part_left)];
        terminal.part_left -= text.len();
        line.add(time, text, self.line_bytes_max);
        if end != Some(text.len()) {
            return Ok(Some(text.len()));
        }
        // A terminal ends lines with CR LF.
        if line.text.ends_with(b"\r") {
            line.text.pop();
            line.bytes_total -= 1;
        }
        line.end(Stream::Stdout, each);
        terminal.stamp.clear();
        Ok(Some(text.len() + 1))
    }
}

impl Joined {
    fn add(&mut self, time: Time, text: &[u8], line_bytes_max: usize) {
        self.time.get_or_insert(time);
        let room = line_bytes_max.saturating_sub(self.text.len());
        self.text.extend_from_slice(&text[..room.min(text.len())]);
        self.bytes_total += text.len() as u64;
    }

    fn end(&mut self, stream: Stream, each: &mut impl FnMut(LogLine<'_>)) {
        if let Some(time) = self.time.take() {
            each(LogLine { stream, time, text: &self.text, bytes_total: self.bytes_total });
        }
        self.bytes_total = 0;
        self.text.clear();
        // A long line leaves no memory behind.
        self.text.shrink_to(PART_BYTES as usize);
    }
}

/// How long the message of a frame is.
fn length(header: &[u8; HEADER_BYTES]) -> Result<usize, CutError> {
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    if length > MESSAGE_BYTES_MAX { Err(CutError::Length) } else { Ok(length) }
}

/// The time at the beginning, and where the text behind it begins.
fn stamp(message: &[u8]) -> Option<(Time, usize)> {
    let (time, used) = Time::parse_rfc3339(message)?;
    (message.get(used) == Some(&b' ')).then_some((time, used + 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-21T09:03:20.158734145Z";
    const LATER: &str = "2026-11-21T09:03:21.000000000Z";

    fn frame(stream: u8, time: &str, text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(time.len() + 1 + text.len()).unwrap();
        [&[stream, 0, 0, 0][..], &length.to_be_bytes(), time.as_bytes(), b" ", text].concat()
    }

    /// Cuts pieces of every size, and answers stream, text and length of each line.
    fn check(has_terminal: bool, sent: &[u8], expected: &[(&str, &[u8], u64)]) {
        for size in [1, 2, 7, 100, 4096, 1 << 20] {
            let mut cut = Cut::new(has_terminal, 20_000);
            let mut found = Vec::new();
            let mut each = |line: LogLine<'_>| found.push((line.stream.name(), line.text.to_vec(), line.bytes_total));
            for piece in sent.chunks(size) {
                cut.push(piece, &mut each).unwrap();
            }
            cut.finish(&mut each);
            let found: Vec<_> = found.iter().map(|(stream, text, total)| (*stream, &**text, *total)).collect();
            assert!(found == expected, "pieces of {size}: {} lines of {}", found.len(), expected.len());
            assert_eq!(cut.open_since(), None);
        }
    }

    #[test]
    fn parts_are_joined_for_each_stream() {
        let part = [b'x'; PART_BYTES as usize];
        let sent = [
            frame(1, AT, b"one\n"),
            frame(1, AT, &part),
            frame(2, LATER, b"between\n"),
            frame(1, AT, b"rest\n"),
            frame(2, LATER, b"\n"),
            frame(1, LATER, b"no end"),
            frame(1, AT, b"another"),
        ]
        .concat();
        let joined = [&part[..], b"rest"].concat();
        let total = joined.len() as u64;
        let expected = [
            ("stdout", &b"one"[..], 3),
            ("stderr", b"between", 7),
            ("stdout", &joined, total),
            ("stderr", b"", 0),
            ("stdout", b"no end", 6),
            ("stdout", b"another", 7),
        ];
        check(false, &sent, &expected);
        // Of engines that give each part its own time; and longer than is kept.
        let sent = [frame(1, AT, &part), frame(1, LATER, &part), frame(1, LATER, b"end\n")].concat();
        check(false, &sent, &[("stdout", &[b'x'; 20_000], 2 * PART_BYTES + 3)]);
    }

    #[test]
    fn a_terminal_has_no_frames_and_times_between_parts() {
        let part = "x".repeat(PART_BYTES as usize);
        let sent = format!("{AT} one\r\n{AT} \r\n{LATER} {part}{LATER} rest\r\n{LATER} {part}\r\n{AT} no end");
        let joined = format!("{part}rest");
        let total = joined.len() as u64;
        let expected = [
            ("stdout", &b"one"[..], 3),
            ("stdout", b"", 0),
            ("stdout", joined.as_bytes(), total),
            ("stdout", part.as_bytes(), PART_BYTES),
            ("stdout", b"no end", 6),
        ];
        check(true, sent.as_bytes(), &expected);
    }

    #[test]
    fn what_is_no_output_is_an_error() {
        let wrong = |has_terminal: bool, sent: &[u8]| {
            Cut::new(has_terminal, 100).push(sent, |line| panic!("{line:?}")).unwrap_err()
        };
        assert_eq!(wrong(false, b"HTTP/1.1 200 OK"), CutError::Frame);
        assert_eq!(wrong(false, &[1, 0, 0, 0, 0xff, 0, 0, 0]), CutError::Length);
        assert_eq!(wrong(false, &[1, 0, 0, 0, 0, 0, 0, 2, b'o', b'k']), CutError::Time);
        assert_eq!(wrong(true, b"no time\n"), CutError::Time);
    }

    #[test]
    fn what_the_engine_says_of_an_error_is_no_line_and_no_end() {
        let told = b"Error grabbing logs: invalid character\n";
        let error = [&[3, 0, 0, 0][..], &u32::try_from(told.len()).unwrap().to_be_bytes(), told].concat();
        let sent = [frame(1, AT, b"one\n"), error, frame(1, LATER, b"two\n")].concat();
        check(false, &sent, &[("stdout", b"one", 3), ("stdout", b"two", 3)]);
        let mut cut = Cut::new(false, 100);
        cut.push(&sent, |_| {}).unwrap();
        assert_eq!(cut.take_complaint().as_deref(), Some("Error grabbing logs: invalid character"));
        assert_eq!(cut.take_complaint(), None);
    }

    #[test]
    fn it_tells_since_when_a_line_is_open() {
        let mut cut = Cut::new(false, 100);
        cut.push(&frame(1, AT, b"begun"), |_| {}).unwrap();
        cut.push(&frame(2, LATER, b"whole\n"), |_| {}).unwrap();
        assert_eq!(cut.open_since(), Time::parse_rfc3339(AT.as_bytes()).map(|(time, _)| time));
    }
}
