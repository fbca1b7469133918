//! From a frame to an event whatever its bytes are: choose a format, parse, and look into the
//! message of a syslog line for a line of another format.
//!
//! Invariant: total. [`parse`] never fails: what no parser accepts is an event of class `unparsed`
//! that says why.

use crate::{Context, Event, FORMATS, Field, Format, Open, ParseError, carried, cee, syslog};

/// Which format a source's frames are in.
#[derive(Debug, Clone, Copy, Default)]
pub enum Choice {
    /// Looked at anew for every frame.
    #[default]
    Auto,
    /// Always this one; see [`Choice::named`].
    Named(&'static Format),
}

impl Choice {
    /// The choice of that name: `auto` or a format that can be parsed.
    pub fn named(name: &str) -> Option<Choice> {
        if name == "auto" {
            return Some(Choice::Auto);
        }
        FORMATS.iter().find(|format| format.name == name && format.parse.is_some()).map(Choice::Named)
    }
}

/// The daemon's own log.
const DOCKERD: &str = "dockerd";

/// Surer than this, and a syslog message is read as a line of that format.
const INNER_SCORE: u8 = 80;

/// So sure that no other format is asked.
const SURE: u8 = 95;

/// The format `input` most likely is in, and how sure that is (1 to 100).
pub fn detect(input: &[u8]) -> Option<(&'static Format, u8)> {
    let input = without_mark(input);
    best(input, FORMATS.iter().filter(|format| format.parse.is_some()))
}

/// Fills `event` from `input`, a piece of its raw bytes; never fails.
///
/// A syslog line whose message is a line of another format becomes one event of both. The message
/// says what happened, so its fields win; the header's time and host that they replace stay as extras
/// of group `syslog`.
pub fn parse<'a>(choice: Choice, input: &'a [u8], context: &Context, event: &mut Event<'a>) {
    let input = without_mark(input);
    let format = match choice {
        Choice::Named(format) => format,
        Choice::Auto => match detect(input) {
            Some((_, 0..80)) if planted!("detect") => return unparsed(event, ParseError::new(0, ""), input),
            Some((format, _)) => format,
            None => return unparsed(event, ParseError::new(0, "a line of a known format"), input),
        },
    };
    let done = match format.open {
        Some(open) => parse_envelope(format, open, input, context, event),
        None => parse_plain(format, input, context, event),
    };
    if let Err(error) = done {
        unparsed(event, error, input);
    }
}

/// The bytes behind a byte order mark, which some programs write at the start of a file: it is no part of
/// any line.
fn without_mark(input: &[u8]) -> &[u8] {
    input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input)
}

fn parse_plain<'a>(
    format: &'static Format,
    input: &'a [u8],
    context: &Context,
    event: &mut Event<'a>,
) -> Result<(), ParseError> {
    let Some(parse) = format.parse else { return Err(ParseError::new(0, "a format that can be read")) };
    parse(input, context, event)?;
    // A parser that found another format inside has said so.
    if !event.has(Field::Format) {
        event.set(Field::Format, format.name);
    }
    Ok(())
}

fn parse_envelope<'a>(
    format: &'static Format,
    open: Open,
    input: &'a [u8],
    context: &Context,
    event: &mut Event<'a>,
) -> Result<(), ParseError> {
    let message = open(input, context, event)?;
    event.set(Field::Format, format.name);
    match inner(message, event) {
        Some((message, inner)) => carried::read((format, open), input, (inner, message), context, event),
        None if cee::is_object(message) => {
            cee::read(message, event);
            Ok(())
        }
        None => Ok(()),
    }
}

/// The format of a message inside syslog, and its bytes.
///
/// Not looked for when the tag is a container id: a container's output must not pass for what the
/// engine says. For the same reason a line of dockerd is believed only under the daemon's own tags, and
/// any other only where no process is named: Docker's syslog driver names one whatever tag is set, and
/// products that send CEF or JSON name none.
pub(crate) fn inner<'m>(message: &'m [u8], event: &Event<'_>) -> Option<(&'m [u8], &'static Format)> {
    carried(message, event.text(Field::App).unwrap_or_default(), event.has(Field::ProcessId))
}

/// The same for a message under a tag that does or does not name a process.
pub(crate) fn carried<'m>(message: &'m [u8], app: &str, of_process: bool) -> Option<(&'m [u8], &'static Format)> {
    let message = cee::without_cookie(message);
    let candidates = message.first().and_then(|first| CARRIED.get(usize::from(*first))).copied().unwrap_or(0);
    if candidates == 0 {
        return None;
    }
    let of_daemon = is_daemon_tag(app);
    if of_process && !of_daemon || syslog::is_container_id(app.as_bytes()) {
        return None;
    }
    let is_candidate = |row: usize| candidates & 1_u32.wrapping_shl(row as u32) != 0;
    let allowed = |format: &Format| if format.name == DOCKERD { of_daemon } else { !of_process };
    let rows = FORMATS.iter().enumerate().filter(|(row, format)| is_candidate(*row) && allowed(format));
    best(message, rows.map(|(_, format)| format))
        .filter(|(_, score)| *score >= INNER_SCORE)
        .map(|(format, _)| (message, format))
}

/// The formats that syslog may carry and whose lines can begin with a byte, a bit for each row of
/// [`FORMATS`]: most messages begin with a byte of none.
// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
static CARRIED: [u32; 256] = {
    assert!(FORMATS.len() <= 32);
    let mut carried = [0; 256];
    let mut row = 0;
    while row < FORMATS.len() {
        let format = &FORMATS[row];
        let mut at = 0;
        while at < format.starts.len() && format.parse.is_some() && format.open.is_none() {
            // `__CURSOR=`: an entry of the journal in its export form has many lines, a message has one.
            if format.starts[at] != b'_' {
                carried[format.starts[at] as usize] |= 1 << row;
            }
            at += 1;
        }
        row += 1;
    }
    carried
};

/// Tags that dockerd's own log has in syslog. `docker/x` is not among them: so Docker's syslog driver
/// tags the output of containers.
fn is_daemon_tag(app: &str) -> bool {
    matches!(app, "" | "docker" | "dockerd" | "docker-current" | "docker-latest") || app.starts_with("dockerd-")
}

fn best(input: &[u8], formats: impl Iterator<Item = &'static Format>) -> Option<(&'static Format, u8)> {
    let first = input.trim_ascii_start().first().copied().unwrap_or(0);
    let mut best = None;
    for format in formats {
        // No other can be as sure of a line that begins with another byte than its own do.
        let may_win = format.starts.is_empty() || format.starts.contains(&first);
        if best.is_some_and(|(_, score)| score >= INNER_SCORE) && !may_win {
            continue;
        }
        let score = format.detect.map_or(0, |detect| detect(input));
        // The first of equals: the order of the table decides.
        if score > best.map_or(0, |(_, score)| score) {
            best = Some((format, score));
        }
        if score >= SURE {
            break;
        }
    }
    best
}

/// An event that says only why it could not be understood.
fn unparsed(event: &mut Event<'_>, error: ParseError, input: &[u8]) {
    event.clear();
    event.set(Field::EventClass, "unparsed");
    event.set(Field::Name, "Unparsed line");
    event.set(Field::Severity, 2);
    event.set(Field::ParseStatus, "failed");
    event.set(Field::ParseError, &error.describe(input));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_is_an_entry_of_the_journal() {
        let line = b"<110>1 - - - - agen - __CURSOR=2 text";
        let mut event = Event::new(line);
        let context = Context { received: crate::Time(0), zone: crate::Offset(0) };
        parse(crate::Choice::Auto, line, &context, &mut event);
        assert_eq!((event.text(Field::Format), event.text(Field::Msg)), (Some("rfc5424"), Some("__CURSOR=2 text")));
        assert_eq!(event.text(Field::ParseStatus), None);
    }

    #[test]
    fn nothing_is_sure_that_begins_with_another_byte() {
        let lines: &[&[u8]] = &[
            br#"{"Type":"container","Action":"start"}"#,
            b"\x1E{\"Type\":\"container\"}",
            br#"{"log":"text\n","stream":"stdout"}"#,
            b"\0{\"log\":\"text\"}",
            br#"time="2026-11-21T09:05:11Z" level=info msg="x""#,
            br#"{"level":"info","msg":"x","time":"2026-11-21T09:05:11Z"}"#,
            b"[info] POST /containers/create",
            b"level=info msg=x",
            b"2014/05/14 08:50:02 GET /info",
            b"INFO[0001] text",
            b"<13>1 - - - - - - x",
            br#"{"event":"x","time":1,"sourcetype":"s"}"#,
            br#"{"agentId":"a","text":"x"}"#,
            br#"{"rule":{"level":3},"agent":{"id":"1"}}"#,
            b"CEF:0|v|p|1|c|n|5|",
            br#"{"__CURSOR":"s","_BOOT_ID":"f"}"#,
            b"__CURSOR=s\n",
            b"Alert Level: 3; Rule: 1 - x; Location: y;",
            b"crit=3 id=1",
            b"type=CWD msg=audit(1.5:1): cwd=x",
            br#"{"version":"1.1","short_message":"x"}"#,
            b"\0\0\0\x08\n\x06stdout\0\0\0\x08",
            b"\n\x06stdout",
            b"\x93\xa1t\x05\x80",
            b"\x94\xa1t\x05\x80\x80",
            b"LEEF:1.0|v|p|1|c|",
            b"2026-11-21T09:03:20.158734145Z container start ab (name=x)",
        ];
        let detects = |format: &Format, line: &[u8]| format.detect.map_or(0, |detect| detect(line)) >= INNER_SCORE;
        for format in FORMATS.iter().filter(|format| !format.starts.is_empty()) {
            assert!(lines.iter().any(|line| detects(format, line)), "{}", format.name);
            // White space is passed over before the first byte is looked at.
            for line in lines.iter().filter(|line| detects(format, line)) {
                let first = line.trim_ascii_start().first();
                assert!(first.is_some_and(|first| format.starts.contains(first)), "{}", format.name);
            }
            assert!(!format.starts.iter().any(u8::is_ascii_whitespace), "{}", format.name);
            for line in lines {
                for first in (0..=255_u8).filter(|first| !first.is_ascii_whitespace() && !format.starts.contains(first))
                {
                    let other = [&[first], line.get(1..).unwrap_or_default()].concat();
                    assert!(!detects(format, &other), "{} {}", format.name, String::from_utf8_lossy(&other));
                }
            }
        }
    }
}
