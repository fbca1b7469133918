//! Lines of a log that belong together: parts of one line, and what a crash prints below its line.
//!
//! Docker cuts lines at 16 KiB, and a Go program that panics prints many lines for one thing. A source
//! that follows a file keeps a joiner for it and hands each line over; what comes out is a frame: one
//! line, or several with LF between them, which the parser of that format reads as one event. So the
//! bytes of every line stay as they were.
//!
//! Invariant: a joiner holds at most the bytes it is told, gives out every line it took exactly once,
//! and keeps the order of lines of one stream. Time is an argument.

use std::ops::Range;

use memchr::memmem;

use crate::Time;
use crate::json_read::JsonReader;

/// Lines of a trace that are kept with the line above them (formats.md §4.1).
pub const TRACE_LINES_MAX: usize = 256;
/// The same in bytes.
pub const TRACE_BYTES_MAX: usize = 64 * 1024;

/// Joins the parts of lines in a `json-file` log: those that are alike in all but their text, of which
/// all but the last lack the line end. Lines of the other stream may stand between them.
#[derive(Debug)]
pub struct JsonFileParts {
    frame_bytes_max: usize,
    held: [Held; 2],
}

/// Parts of one stream.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where the first part ends.
    first: usize,
    /// Where its text stands: all parts have the same around it.
    log: Range<usize>,
    since: Option<Time>,
}

impl JsonFileParts {
    /// Frames of at most `frame_bytes_max` bytes: parts beyond it begin a frame of their own.
    pub fn new(frame_bytes_max: usize) -> Self {
        JsonFileParts { frame_bytes_max, held: <[Held; 2]>::default() }
    }

    /// Takes the next line, without its LF, read at `now`. Calls `deliver` with each frame that is
    /// complete: a line that is no part at once.
    pub fn push(&mut self, line: &[u8], now: Time, mut deliver: impl FnMut(&[u8])) {
        if self.held.iter().all(|held| held.bytes.is_empty()) && is_plainly_whole(line) {
            return deliver(line);
        }
        let Some(Part { stream, log, is_whole }) = part(line) else { return deliver(line) };
        let max = self.frame_bytes_max;
        let Some(held) = self.held.get_mut(stream) else { return deliver(line) };
        // Another time is another line: a container ended in the middle of one.
        let same = held.around() == around(line, &log);
        let fits = held.bytes.len().saturating_add(line.len()).saturating_add(1) <= max;
        if !(held.bytes.is_empty() || same && fits) {
            held.deliver(&mut deliver);
        }
        if held.bytes.is_empty() {
            if is_whole || line.len() > max {
                return deliver(line);
            }
            (held.first, held.log, held.since) = (line.len(), log, Some(now));
        } else {
            held.bytes.push(b'\n');
        }
        held.bytes.extend_from_slice(line);
        if is_whole {
            held.deliver(&mut deliver);
        }
    }

    /// Delivers what has been held since before `before`: its last part is not coming.
    pub fn expire(&mut self, before: Time, mut deliver: impl FnMut(&[u8])) {
        for held in self.held.iter_mut().filter(|held| held.since.is_some_and(|since| since < before)) {
            held.deliver(&mut deliver);
        }
    }

    /// Delivers all that is held: the file has ended for good.
    pub fn finish(&mut self, mut deliver: impl FnMut(&[u8])) {
        self.held.iter_mut().for_each(|held| held.deliver(&mut deliver));
    }
}

impl Held {
    fn around(&self) -> (&[u8], &[u8]) {
        around(self.bytes.get(..self.first).unwrap_or_default(), &self.log)
    }

    fn deliver(&mut self, deliver: &mut impl FnMut(&[u8])) {
        if !self.bytes.is_empty() {
            deliver(&self.bytes);
            self.bytes.clear();
        }
    }
}

/// What a line says of being a part.
struct Part {
    /// 0 is stdout, 1 stderr.
    stream: usize,
    /// Where the text stands, with its quotes.
    log: Range<usize>,
    /// Its text has a line end.
    is_whole: bool,
}

/// A line of the driver; anything else is no part.
fn part(line: &[u8]) -> Option<Part> {
    let text = std::str::from_utf8(line).ok()?;
    let (mut log, mut is_whole, mut stream, mut has_time) = (0..0, None, None, false);
    let mut reader = JsonReader::over(text);
    let read = reader.object(|reader, key| {
        let value = reader.skip()?;
        match key.body {
            "log" if is_whole.is_none() => {
                log = reader.used().saturating_sub(value.len())..reader.used();
                is_whole = Some(ends_line(value.as_bytes()));
            }
            "stream" => stream = ["\"stdout\"", "\"stderr\""].iter().position(|name| *name == value),
            "time" => has_time = true,
            _ => {}
        }
        Ok(())
    });
    read.and_then(|()| reader.end()).ok()?;
    has_time.then_some(Part { stream: stream?, log, is_whole: is_whole? })
}

/// What stands in a line before its text, and after it.
fn around<'a>(line: &'a [u8], log: &Range<usize>) -> (&'a [u8], &'a [u8]) {
    (line.get(..log.start).unwrap_or_default(), line.get(log.end..).unwrap_or_default())
}

/// Nearly every line is whole, and the driver writes its text first: then the rest need not be read.
fn is_plainly_whole(line: &[u8]) -> bool {
    let Some(text) = line.strip_prefix(br#"{"log":"#) else { return false };
    // Inside of the text every quote has a backslash before it.
    let end = memmem::find(text, br#"","stream":"#).and_then(|at| text.get(..=at));
    end.is_some_and(ends_line)
}

/// Whether a JSON string ends in an escaped LF.
fn ends_line(string: &[u8]) -> bool {
    let Some(body) = string.strip_suffix(br#"\n""#) else { return false };
    // An escaped backslash before an `n` is no line end.
    body.iter().rev().take_while(|byte| **byte == b'\\').count() & 1 == 0
}

/// Joins what a Go program prints below a line of dockerd's log when it panics: lines that do not
/// begin as a line of the log does.
#[derive(Debug, Default)]
pub struct DaemonTraces {
    bytes: Vec<u8>,
    lines: usize,
    since: Option<Time>,
    /// What is held begins with a line of the log: below anything else stands no trace.
    has_record: bool,
}

impl DaemonTraces {
    /// Takes the next line, without its LF, read at `now`. Calls `deliver` with each frame that is
    /// complete, which is known only when the next line is seen.
    pub fn push(&mut self, line: &[u8], now: Time, mut deliver: impl FnMut(&[u8])) {
        let is_below = crate::dockerd::is_below(line);
        let is_trace = !self.bytes.is_empty() && self.has_record && is_below;
        let fits = self.bytes.len().saturating_add(line.len()) < TRACE_BYTES_MAX && self.lines <= TRACE_LINES_MAX;
        if is_trace && fits {
            self.bytes.push(b'\n');
        } else {
            self.finish(&mut deliver);
            self.since = Some(now);
            self.has_record = !is_below;
        }
        self.bytes.extend_from_slice(line);
        self.lines = self.lines.saturating_add(1);
    }

    /// Delivers what has been held since before `before`: the log is quiet.
    pub fn expire(&mut self, before: Time, deliver: impl FnMut(&[u8])) {
        if self.since.is_some_and(|since| since < before) {
            self.finish(deliver);
        }
    }

    /// Delivers what is held.
    pub fn finish(&mut self, mut deliver: impl FnMut(&[u8])) {
        if !self.bytes.is_empty() {
            deliver(&self.bytes);
            self.bytes.clear();
        }
        self.lines = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Choice, Context, Event, Field, Offset};

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn line(stream: &str, log: &str, second: u8) -> String {
        format!(r#"{{"log":"{log}","stream":"{stream}","time":"2026-11-21T09:05:0{second}Z"}}"#)
    }

    fn joined(max: usize, lines: &[String]) -> Vec<String> {
        let mut parts = JsonFileParts::new(max);
        let mut frames = Vec::new();
        let mut deliver = |frame: &[u8]| frames.push(String::from_utf8(frame.to_vec()).unwrap());
        lines.iter().for_each(|line| parts.push(line.as_bytes(), Time(5), &mut deliver));
        parts.finish(&mut deliver);
        frames
    }

    fn messages(frames: &[String]) -> Vec<(String, bool)> {
        let read = |frame: &String| {
            let mut event = Event::new(frame.as_bytes());
            crate::parse(Choice::Auto, frame.as_bytes(), &CONTEXT, &mut event);
            assert_eq!(event.text(Field::ParseStatus), None, "{frame}");
            let is_partial = event.extras().any(|extra| extra.name == "partial");
            (event.text(Field::Msg).unwrap_or_default().to_owned(), is_partial)
        };
        frames.iter().map(read).collect()
    }

    #[test]
    fn parts_are_joined_across_the_other_stream() {
        let lines = [
            line("stdout", r"one \\", 1),
            line("stderr", r"other\n", 1),
            line("stdout", r"n two\\n", 1),
            line("stderr", r"half", 2),
            line("stdout", r" three\r\n", 1),
            line("stdout", r"next\n", 1),
            line("stderr", r" done\n", 2),
        ];
        let frames = joined(10_000, &lines);
        let expected = [("other", false), (r"one \n two\n three", false), ("next", false), ("half done", false)];
        assert_eq!(messages(&frames), expected.map(|(text, partial)| (text.to_owned(), partial)));
        assert_eq!(frames.get(1).unwrap(), &[lines[0].as_str(), &lines[2], &lines[4]].join("\n"), "the bytes stay");
    }

    #[test]
    fn what_never_ends_is_given_out() {
        // A container ended in the middle of a line; the next begins at another time.
        let frames =
            joined(10_000, &[line("stdout", "cut", 1), line("stdout", r"new\n", 2), line("stdout", "last", 3)]);
        assert_eq!(messages(&frames), [("cut".to_owned(), true), ("new".to_owned(), false), ("last".to_owned(), true)]);
        let part = line("stdout", "0123456789", 1);
        let frames = joined(part.len() * 2 + 1, &vec![part.clone(); 5]);
        assert_eq!(
            frames.iter().map(String::len).collect::<Vec<_>>(),
            [part.len() * 2 + 1, part.len() * 2 + 1, part.len()]
        );
        assert_eq!(
            joined(10, &[part.clone(), part.clone()]),
            [part.as_str(), &part],
            "longer than the limit by itself"
        );
        assert_eq!(joined(1_000, &["no json".to_owned(), "{}".to_owned()]), ["no json", "{}"]);
        let mut parts = JsonFileParts::new(1_000);
        let mut frames = 0;
        parts.push(part.as_bytes(), Time(5), |_| frames += 1);
        parts.expire(Time(5), |_| frames += 1);
        assert_eq!(frames, 0);
        parts.expire(Time(6), |_| frames += 1);
        assert_eq!(frames, 1);
    }

    #[test]
    fn a_trace_stays_with_its_line() {
        let lines = [
            r#"time="2026-11-21T09:05:11Z" level=info msg="one""#,
            "panic: runtime error: index out of range",
            "",
            "goroutine 1 [running]:",
            "main.main()",
            r#"time="2026-11-21T09:05:12Z" level=info msg="two""#,
        ];
        let mut traces = DaemonTraces::default();
        let mut frames: Vec<String> = Vec::new();
        let mut deliver = |frame: &[u8]| frames.push(String::from_utf8(frame.to_vec()).unwrap());
        lines.iter().for_each(|line| traces.push(line.as_bytes(), Time(1), &mut deliver));
        traces.finish(&mut deliver);
        assert_eq!(frames, [&lines[..5].join("\n"), lines[5]]);
        let frame = frames[0].as_bytes();
        let mut event = Event::new(frame);
        crate::parse(Choice::Auto, frame, &CONTEXT, &mut event);
        assert_eq!(event.text(Field::Msg), Some("one"));
        let trace = event.extras().find(|extra| extra.name == "trace").unwrap();
        assert_eq!(trace.value, lines[1..5].join("\n").as_str().into());
    }

    #[test]
    fn a_trace_has_an_end() {
        let mut traces = DaemonTraces::default();
        let mut sizes = Vec::new();
        let line = br#"time="2026-11-21T09:05:11Z" level=info msg="x""#;
        let mut deliver = |frame: &[u8]| sizes.push(frame.iter().filter(|byte| **byte == b'\n').count());
        traces.push(line, Time(1), &mut deliver);
        (0..1_000).for_each(|_| traces.push(b"\tmain.go:1", Time(1), &mut deliver));
        traces.expire(Time(2), &mut deliver);
        assert_eq!(sizes.iter().sum::<usize>() + sizes.len(), 1_001);
        assert!(sizes.iter().all(|lines| *lines <= TRACE_LINES_MAX), "{sizes:?}");
    }
}
