//! Files as records: a line for most formats, more than a line or less for some.
//!
//! It stands between [`super::input`] and the parsers. Which format is cut how says one table, [`ROWS`].
//!
//! Invariant: memory is bounded as it is for lines, every byte of a file is in a record or around one, and
//! native JSON is believed only where users name it: in `auto`, whoever can write a line could say with it
//! what only the gateway may say.

use std::io;

use wharfinger_formats::frame::{ExportFramer, LocalFramer};
use wharfinger_formats::join::{DaemonTraces, JsonFileParts};
use wharfinger_formats::{Choice, Context, Event, FORMATS, Field, Offset, Time, native, parse};

use super::convert::now;
use super::input::{Input, Line, Lines};

/// The choice of a format for every record.
const AUTO: &str = "auto";

/// Native JSON, which is read back when it is named.
pub(super) const NATIVE: &str = "json";

/// Starts a record of a JSON text sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

/// How the records of a format are found.
struct Row {
    format: &'static str,
    /// Whether the file is cut so, by its first bytes; `true` for a format that was named.
    is_cut_so: fn(first: &[u8], named: bool) -> bool,
    cut: fn(record_max: usize) -> Cut,
}

/// The first row that fits is taken; the other formats are lines and nothing else. A trace of Go has no mark of
/// its own, so lines are joined to a line of dockerd only where the format is named.
const ROWS: &[Row] = &[
    Row { format: "docker_local", is_cut_so: has_lengths, cut: |max| Cut::Local(LocalFramer::new(max)) },
    Row { format: "journald", is_cut_so: is_export, cut: |max| Cut::Export(ExportFramer::new(max)) },
    Row { format: "dockerd", is_cut_so: |_, named| named, cut: |_| Cut::Traces(DaemonTraces::default()) },
    Row { format: "docker_json", is_cut_so: |_, _| true, cut: |max| Cut::Parts(JsonFileParts::new(max)) },
    Row { format: "docker_events", is_cut_so: |_, named| named, cut: |_| Cut::Objects },
    Row { format: "gelf", is_cut_so: |_, named| named, cut: |_| Cut::Objects },
    Row { format: "hec", is_cut_so: |_, named| named, cut: |_| Cut::Objects },
    Row { format: "loginsight", is_cut_so: |_, named| named, cut: |_| Cut::Objects },
    Row { format: "journald", is_cut_so: |_, named| named, cut: |_| Cut::Objects },
    Row { format: "wazuh", is_cut_so: |_, named| named, cut: |_| Cut::Objects },
    Row { format: NATIVE, is_cut_so: |_, named| named, cut: |_| Cut::Objects },
];

enum Cut {
    Lines,
    /// Lines, and the objects of JSON that stand one behind the other on one.
    Objects,
    /// The same, and the parts of a line that the `json-file` driver has split.
    Parts(JsonFileParts),
    /// A line of dockerd with the trace below it.
    Traces(DaemonTraces),
    Export(ExportFramer),
    Local(LocalFramer),
}

/// Nothing expires in a file: what is held waits for the next line or the end.
const NO_TIME: Time = Time(0);

/// Bytes that are enough to choose a row by, unless a line ends before.
const FIRST_BYTES: usize = 64;

/// A record of Docker's `local` driver between its two lengths, the first of its fields the source.
fn has_lengths(first: &[u8], named: bool) -> bool {
    let Some((length, rest)) = first.split_first_chunk::<4>() else { return false };
    let again = rest.get(u32::from_be_bytes(*length) as usize..).unwrap_or_default();
    let is_same = again.get(..4).map_or(named, |again| again == length);
    rest.first() == Some(&b'\n') && *length != [0; 4] && is_same
}

/// An entry of the journal as `FIELD=value` lines; the first is one of those that the journal itself writes.
fn is_export(first: &[u8], named: bool) -> bool {
    let begins = first.starts_with(b"__CURSOR=") || first.starts_with(b"__REALTIME_TIMESTAMP=");
    begins || named && !matches!(first.trim_ascii_start().first(), None | Some(b'{' | &RECORD_SEPARATOR))
}

/// Cuts one file. Call [`Records::read`] until it answers false.
pub(super) struct Records {
    lines: Lines,
    from: String,
    /// Chosen when the first bytes are there.
    cut: Option<Cut>,
}

impl Records {
    /// Records of the format `from`, or of what each file is, of at most `record_max` bytes.
    pub(super) fn new(from: &str, record_max: usize) -> Records {
        Records { lines: Lines::new(record_max), from: from.to_owned(), cut: None }
    }

    /// Reads once and hands over what is whole, with the format if the cut of the file has shown it. False: the input has ended, and everything was handed over.
    ///
    /// # Errors
    /// Reading or decompressing fails, or the records cannot be told apart any further.
    pub(super) fn read(
        &mut self,
        input: &mut Input,
        mut deliver: impl FnMut(Line<'_>, Option<&'static str>),
    ) -> io::Result<bool> {
        let more = self.lines.fill(input)?;
        let first = self.lines.waiting();
        let cut = match &mut self.cut {
            Some(cut) => cut,
            None if more && first.len() < FIRST_BYTES && !first.contains(&b'\n') => return Ok(true),
            None => {
                let named = self.from != AUTO;
                let fits = |row: &&Row| (!named || row.format == self.from) && (row.is_cut_so)(first, named);
                let row = ROWS.iter().find(fits);
                self.cut.insert(row.map_or(Cut::Lines, |row| (row.cut)(self.lines.line_max())))
            }
        };
        let found = cut.found();
        let mut deliver = |record: Line<'_>| deliver(record, found);
        let lines = &mut self.lines;
        match cut {
            Cut::Export(framer) => lines.framed(framer, &mut deliver)?,
            Cut::Local(framer) => lines.framed(framer, &mut deliver)?,
            _ => {
                while let Some(line) = lines.next() {
                    cut.line(line, &mut deliver);
                }
                if !more {
                    cut.finish(&mut deliver);
                }
            }
        }
        Ok(more)
    }
}

impl Cut {
    fn found(&self) -> Option<&'static str> {
        match self {
            Cut::Export(_) => Some("journald"),
            Cut::Local(_) => Some("docker_local"),
            _ => None,
        }
    }

    fn line(&mut self, line: Line<'_>, deliver: &mut impl FnMut(Line<'_>)) {
        let Line::Whole(whole) = line else {
            self.finish(deliver);
            return deliver(line);
        };
        match self {
            Cut::Lines | Cut::Export(_) | Cut::Local(_) => deliver(line),
            Cut::Objects => objects(whole, |object| deliver(Line::Whole(object))),
            Cut::Parts(parts) => objects(whole, |object| match object.starts_with(br#"{"log":"#) {
                true => parts.push(object, NO_TIME, |frame| deliver(Line::Whole(frame))),
                false => deliver(Line::Whole(object)),
            }),
            Cut::Traces(traces) => traces.push(whole, NO_TIME, |frame| deliver(Line::Whole(frame))),
        }
    }

    /// What was held for a line that is not coming.
    fn finish(&mut self, deliver: &mut impl FnMut(Line<'_>)) {
        match self {
            Cut::Parts(parts) => parts.finish(|frame| deliver(Line::Whole(frame))),
            Cut::Traces(traces) => traces.finish(|frame| deliver(Line::Whole(frame))),
            Cut::Lines | Cut::Objects | Cut::Export(_) | Cut::Local(_) => {}
        }
    }
}

/// Hands over the objects of a line, or the line if it is not one object behind the other.
pub(super) fn objects(line: &[u8], mut deliver: impl FnMut(&[u8])) {
    let mut start = 0;
    if has_several(line) {
        let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
        for (at, byte) in line.iter().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_text => is_escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => {
                    depth = depth.saturating_sub(1);
                    let end = at + 1;
                    let between = line[end..].iter().take_while(|byte| is_between(**byte)).count();
                    match line.get(end + between) {
                        Some(b'{') if depth == 0 => {
                            deliver(&line[start..end]);
                            start = end + between;
                        }
                        // Something else stands there: the parser says what it thinks of the rest.
                        _ if depth == 0 => break,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
    deliver(&line[start..]);
}

/// Whether an object may begin behind another: a `}` stands before a `{`.
fn has_several(line: &[u8]) -> bool {
    let is_object = line.iter().find(|byte| !is_between(**byte)) == Some(&b'{');
    is_object
        && memchr::memchr_iter(b'{', line).any(|at| line[..at].iter().rfind(|byte| !is_between(**byte)) == Some(&b'}'))
}

fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | RECORD_SEPARATOR)
}

/// The formats that `--from` takes.
pub(super) fn readable() -> Vec<&'static str> {
    let names = FORMATS.iter().filter(|format| format.parse.is_some() || format.name == NATIVE);
    std::iter::once(AUTO).chain(names.map(|format| format.name)).collect()
}

/// How records become events.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Looked at only where the record is not native JSON.
    pub(super) choice: Choice,
    is_native: bool,
    pub(super) context: Context,
}

impl Reading {
    /// As a format of [`readable`].
    pub(super) fn new(from: &str, zone: Offset) -> Reading {
        let choice = Choice::named(from).unwrap_or_default();
        Reading { choice, is_native: from == NATIVE, context: Context { received: now(), zone } }
    }

    /// Reads one record. `found` is the format its file has shown to be in, `raw` takes the bytes that native
    /// JSON brings, `memory` is used again.
    pub(super) fn event<'b>(
        &self,
        found: Option<&str>,
        record: &'b [u8],
        raw: &'b mut Vec<u8>,
        memory: Event<'_>,
    ) -> Event<'b> {
        if self.is_native {
            return native::read(record, raw, memory)
                .unwrap_or_else(|error| unparsed(record, Event::new(b""), &error.describe(record)));
        }
        let mut event = memory.reuse(record);
        let choice = found.and_then(Choice::named).unwrap_or(self.choice);
        parse(choice, record, &self.context, &mut event);
        event
    }
}

/// An event that says only why a record could not be read.
pub(super) fn unparsed<'b>(record: &'b [u8], memory: Event<'_>, error: &str) -> Event<'b> {
    let mut event = memory.reuse(record);
    event.set(Field::EventClass, "unparsed");
    event.set(Field::Name, "Unparsed line");
    event.set(Field::Severity, 2);
    event.set(Field::ParseStatus, "failed");
    event.set(Field::ParseError, error);
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[&str]) {
        let mut found = Vec::new();
        objects(line.as_bytes(), |object| found.push(String::from_utf8_lossy(object).into_owned()));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn objects_one_behind_the_other_are_cut_apart() {
        check(r#"{"a":1}"#, &[r#"{"a":1}"#]);
        check(r#"{"a":{}}{"b":"}{"} {"c":[{},{}]}"#, &[r#"{"a":{}}"#, r#"{"b":"}{"}"#, r#"{"c":[{},{}]}"#]);
        check("\u{1e}{\"a\":1}\u{1e}{\"b\":2}", &["\u{1e}{\"a\":1}", "{\"b\":2}"]);
        check(r#"{"a":"\"}{"}{"b":2}"#, &[r#"{"a":"\"}{"}"#, r#"{"b":2}"#]);
        for line in ["", "x", r#"{"a":1},{"b":2}"#, r#"{"a":1} x"#, r#"{"a":"}{"}"#, r#"{"log":"ab{"log":"c"}"#] {
            check(line, &[line]);
        }
        check(r#"{"a":1}{"b":2},{"c":3}{"d":4}"#, &[r#"{"a":1}"#, r#"{"b":2},{"c":3}{"d":4}"#]);
    }

    #[test]
    fn the_first_bytes_tell_how_a_file_is_cut() {
        let record = b"\0\0\0\x08\n\x06stdout\0\0\0\x08";
        assert!(has_lengths(record, false) && has_lengths(&record[..9], true) && !has_lengths(&record[..9], false));
        assert!(!has_lengths(b"\0\0\0\0\n\0\0\0\0", true) && !has_lengths(b"\n\x06stdout", true));
        assert!(is_export(b"__CURSOR=s", false) && is_export(b"MESSAGE=x", true) && !is_export(b"MESSAGE=x", false));
        assert!(!is_export(b"{\"MESSAGE\":\"x\"}", true));
        for row in ROWS {
            assert!(readable().contains(&row.format), "{}", row.format);
        }
    }
}
