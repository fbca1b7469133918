//! RFC 3164, BSD syslog, and the shapes in which it is met: `<PRI>Mmm dd hh:mm:ss HOST TAG[pid]: MSG`.
//!
//! The RFC describes and does not prescribe: every part may be missing. What is not a timestamp, a
//! host or a tag is message.
//!
//! Invariant: every line is accepted, and every byte of it is in a field or part of what was
//! recognised.

pub(crate) mod emit;
mod timestamp;

use nom::Parser;
use nom::bytes::complete::{tag, take_while_m_n};
use nom::combinator::opt;
use nom::sequence::terminated;

use crate::text::Text;
use crate::{Context, Event, Field, Format, Offset, ParseError, Time, near, rfc5424, syslog};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "rfc3164",
    about: "BSD syslog, RFC 3164 and its relatives in the wild",
    detect: Some(detect),
    starts: b"",
    parse: Some(parse),
    emit: Some(emit::emit),
    open: Some(open),
};

/// RFC 3164 §4.3.3: a relay gives a message without PRI the value 13, user.notice.
const PRI_DEFAULT: u8 = 13;
/// formats.md §3.2: a tag that has a pid may have this many bytes.
const TAG_BYTES_MAX: usize = 255;
/// One without a pid is told from text by its colon alone, so less is believed of it.
const PLAIN_TAG_BYTES_MAX: usize = 64;
/// RFC 1035: no host name is longer.
const HOST_BYTES_MAX: usize = 255;
/// The longest timestamp with what may stand before it.
const STAMP_WINDOW: usize = 64;

fn detect(input: &[u8]) -> u8 {
    let rest = after_pri(input);
    let with_pri = rest.len() < input.len();
    let start = rest.get(..STAMP_WINDOW).unwrap_or(rest);
    let context = Context { received: Time(0), zone: Offset(0) };
    let stamp = stamp(start, &context).map(|_| start.first().is_some_and(u8::is_ascii_digit));
    match (with_pri, stamp) {
        (true, Some(_)) => 90,
        (true, None) => 60,
        (false, Some(false)) => 80,
        // Many formats begin with a numeric time.
        (false, Some(true)) => 40,
        (false, None) => 0,
    }
}

fn parse<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    open(input, context, event).map(|_| ())
}

/// Parses the line and answers the part of it that may be a line of another format.
pub(crate) fn open<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<&'a [u8], ParseError> {
    if rfc5424::is_rfc5424(input) {
        return rfc5424::open(input, context, event);
    }
    let rest = after_pri(input);
    syslog::set_pri(event, syslog::pri(input).map_or(PRI_DEFAULT, |(_, pri)| pri));
    let text = Text::of(event, input);
    let at = |rest: &[u8]| input.len().saturating_sub(rest.len());
    let rest = match stamp(rest, context) {
        Some((time, note, after)) => {
            event.set(Field::Time, time);
            if let Some(note) = note {
                event.note(note);
            }
            host(&text, after, event)
        }
        None => {
            event.set(Field::Time, context.received);
            event.note("no timestamp: time of receipt");
            rest
        }
    };
    let message = match find_tag(rest) {
        Some(tag) => {
            let name_at = at(rest);
            let name_end = name_at.saturating_add(tag.name);
            event.set_piece(Field::App, &text, name_at..name_end);
            if tag.pid > 0 {
                let pid_at = name_end.saturating_add(1);
                event.set_piece(Field::ProcessId, &text, pid_at..pid_at.saturating_add(tag.pid));
            }
            if syslog::is_container_id(input.get(name_at..name_end).unwrap_or_default()) {
                event.copy(Field::App, Field::ContainerId);
            }
            rest.get(tag.used..).unwrap_or_default()
        }
        None => rest,
    };
    if let Some(count) = repeated(message) {
        event.set(Field::Count, count);
    }
    event.set_piece(Field::Msg, &text, at(message)..input.len());
    Ok(message)
}

/// A timestamp of any form at the start of `input`, and how many bytes it has.
pub(crate) fn timestamp(input: &[u8], context: &Context) -> Option<(Time, usize)> {
    timestamp::read(input, context).map(|stamp| (stamp.time, stamp.used))
}

pub(crate) use timestamp::{month, zone_of};

fn after_pri(input: &[u8]) -> &[u8] {
    syslog::pri(input).map_or(input, |(rest, _)| rest)
}

/// The timestamp with what Cisco writes around it: a colon before (EMBLEM), a sequence number and a
/// colon before, `*` or `.` for a clock that is not set, a colon after. Answers what follows.
fn stamp<'a>(input: &'a [u8], context: &Context) -> Option<(Time, Option<&'static str>, &'a [u8])> {
    let sequence = terminated(take_while_m_n(1, 12, |byte: u8| byte.is_ascii_digit()), tag(": "));
    let emblem = input.strip_prefix(b":").map(|rest| rest.strip_prefix(b" ").unwrap_or(rest));
    let (start, _) =
        opt(sequence).parse(emblem.unwrap_or(input)).map_err(|_: nom::Err<nom::error::Error<&[u8]>>| ()).ok()?;
    let marked = start.strip_prefix(b"*").or_else(|| start.strip_prefix(b"."));
    let stamp = timestamp::read(marked.unwrap_or(start), context)?;
    let rest = marked.unwrap_or(start).get(stamp.used..)?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let note = if marked.is_some() { Some("clock of the sender not set") } else { stamp.note };
    Some((stamp.time, note, rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// The host, unless the word after the time is a tag: then there is no host. Answers what follows.
fn host<'a>(text: &Text<'a>, rest: &'a [u8], event: &mut Event<'a>) -> &'a [u8] {
    let len = near::find(rest, 0, b' ').unwrap_or(rest.len());
    let word = rest.get(..len).unwrap_or_default();
    let inside = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]"));
    let name = inside.unwrap_or(word);
    let is_host = !name.is_empty()
        && name.len() <= HOST_BYTES_MAX
        && !name.ends_with(b":")
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'));
    // A tag ends in a colon or holds a bracket, but for this one.
    if !is_host || (inside.is_none() && tag_before_cef(word).is_some()) {
        return rest;
    }
    let at = text.bytes().len().saturating_sub(rest.len()).saturating_add(usize::from(inside.is_some()));
    event.set_piece(Field::HostName, text, at..at.saturating_add(name.len()));
    let rest = rest.get(len.saturating_add(1)..).unwrap_or_default();
    // ASA: `host : %ASA-6-302013: …`.
    rest.strip_prefix(b": ").unwrap_or(rest)
}

/// A tag at the start of some text.
struct Tag {
    /// Bytes of its name.
    name: usize,
    /// Digits of its pid; 0 is no pid.
    pid: usize,
    /// Bytes before the message.
    used: usize,
}

fn find_tag(input: &[u8]) -> Option<Tag> {
    let window = input.get(..TAG_BYTES_MAX.saturating_add(1)).unwrap_or(input);
    let end = window.iter().position(|byte| matches!(byte, 0..=b' ' | b'[' | b']' | 0x7F)).unwrap_or(window.len());
    planted!("rfc3164" => { let _ = input[end]; });
    if input.get(end) == Some(&b'[') && (1..=TAG_BYTES_MAX).contains(&end) {
        let digits = input.get(end.saturating_add(1)..)?;
        let pid = digits.iter().take(20).position(|byte| !byte.is_ascii_digit())?;
        let after = digits.get(pid..)?.strip_prefix(b"]").filter(|_| pid > 0)?;
        let message = match after {
            [b':', b' ', rest @ ..] | [b' ' | b':', rest @ ..] => rest,
            [] => after,
            _ => return None,
        };
        return Some(Tag { name: end, pid, used: input.len().saturating_sub(message.len()) });
    }
    // F5 writes no space between its tag and a line of CEF: `ASM:CEF:0|`.
    if let Some(name) = tag_before_cef(window) {
        return Some(Tag { name, pid: 0, used: name.saturating_add(1) });
    }
    // Without a pid only the colon tells a tag from text.
    if !matches!(input.get(end), None | Some(b' ')) {
        return None;
    }
    let name = input.get(..end)?.strip_suffix(b":")?;
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./@+%()-".contains(byte);
    let is_tag = (1..=PLAIN_TAG_BYTES_MAX).contains(&name.len()) && name.iter().all(legal);
    // `CEF: 0|` and `LEEF: 2.0|` begin a message.
    (is_tag && name != b"CEF" && name != b"LEEF").then(|| Tag {
        name: name.len(),
        pid: 0,
        used: end.saturating_add(usize::from(input.len() > end)),
    })
}

/// The length of a name that `:CEF:` and a digit follow.
fn tag_before_cef(window: &[u8]) -> Option<usize> {
    let name = window.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let after = window.get(name..)?.strip_prefix(b":CEF:")?;
    (name > 0 && after.first().is_some_and(u8::is_ascii_digit)).then_some(name)
}

/// `last message repeated N times`, which stands for N more of the message before.
fn repeated(message: &[u8]) -> Option<i64> {
    let rest = message.strip_prefix(b"--- ").unwrap_or(message);
    let rest = rest.strip_prefix(b"last message repeated ").or_else(|| rest.strip_prefix(b"message repeated "))?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    rest.get(digits..)?.starts_with(b" time").then_some(())?;
    crate::time::number(rest.get(..digits)?).map(i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choice, Value};

    /// host, app, pid and message of a line received 2026-11-21; `-` is absent.
    fn check(input: &str, expected: [&str; 4]) {
        let context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };
        let mut event = Event::new(input.as_bytes());
        crate::parse(Choice::Auto, input.as_bytes(), &context, &mut event);
        let fields = [Field::HostName, Field::App, Field::ProcessId, Field::Msg];
        assert_eq!(fields.map(|field| event.text(field).unwrap_or("-")), expected, "{input}");
        assert_eq!(event.get(Field::Format), Some(Value::from("rfc3164")), "{input}");
    }

    #[test]
    fn host_and_tag() {
        check("<34>Nov 21 09:05:09 gw su: 'su root' failed", ["gw", "su", "-", "'su root' failed"]);
        check("<13>Nov  1 09:05:09 gw sshd[77]: hi  there ", ["gw", "sshd", "77", "hi  there "]);
        check("<13>Nov  1 09:05:09 gw sshd[77] hi", ["gw", "sshd", "77", "hi"]);
        check("<13>Nov  1 09:05:09 gw sshd[77]:hi", ["gw", "sshd", "77", "hi"]);
        check("Nov 21 09:05:09 gw user@1000.service: x", ["gw", "user@1000.service", "-", "x"]);
        check("<13>Nov 21 09:05:09 192.0.2.7 %ASA-6-302013: Built", ["192.0.2.7", "%ASA-6-302013", "-", "Built"]);
        check("<13>Nov 21 09:05:09 2001:db8::7 x: y", ["2001:db8::7", "x", "-", "y"]);
        check("<13>Nov 21 09:05:09 [2001:db8::7] x: y", ["2001:db8::7", "x", "-", "y"]);
        check("<13>Nov 21 09:05:09 gw su(pam_unix)[10583]: opened", ["gw", "su(pam_unix)", "10583", "opened"]);
        check("2026-11-21T09:05:11.123+01:00 gw a[1]: m", ["gw", "a", "1", "m"]);
    }

    #[test]
    fn no_host() {
        // formats.md §3.2: a word that ends with `:` or is `name[pid]:` is the tag.
        check("<30>Nov 21 09:05:09 docker/web/img:tag/id[11329]: l", ["-", "docker/web/img:tag/id", "11329", "l"]);
        check("<86>Nov 21 09:05:09 sudo: x", ["-", "sudo", "-", "x"]);
        check("<13>Nov 21 09:05:09 CEF:x|v|a=b", ["-", "-", "-", "CEF:x|v|a=b"]);
        check("<13>Nov 21 09:05:09 gw CEF: x|v|a=b", ["gw", "-", "-", "CEF: x|v|a=b"]);
        check("<13>Nov 21 09:05:09 {\"a\":1}", ["-", "-", "-", "{\"a\":1}"]);
    }

    #[test]
    fn no_tag() {
        check("<13>Nov 21 09:05:09 gw free text", ["gw", "-", "-", "free text"]);
        check("<13>Nov 21 09:05:09 gw http://x.example/ called", ["gw", "-", "-", "http://x.example/ called"]);
        check("<13>Nov 21 09:05:09 gw", ["gw", "-", "-", "-"]);
        check("<13>Nov 21 09:05:09 gw a[b]: c", ["gw", "-", "-", "a[b]: c"]);
    }

    #[test]
    fn cisco() {
        check("<189>*Mar  1 18:46:11.123 UTC: %SYS-5-CONFIG_I: c", ["-", "%SYS-5-CONFIG_I", "-", "c"]);
        check("<189>000123: .Mar  1 18:46:11: %SYS-5-CONFIG_I: c", ["-", "%SYS-5-CONFIG_I", "-", "c"]);
        check("<189>Mar  1 18:46:11 fw : %ASA-6-1: c", ["fw", "%ASA-6-1", "-", "c"]);
        check("<189>Mar  1 18:46:11: %ASA-6-1: c", ["-", "%ASA-6-1", "-", "c"]);
    }

    #[test]
    fn no_time_and_no_pri() {
        check("<13>myapp[12]: hi", ["-", "myapp", "12", "hi"]);
        check("<13>hello world", ["-", "-", "-", "hello world"]);
        check("<13>", ["-", "-", "-", "-"]);
        check("<13>2 Nov 21 09:05:09", ["-", "-", "-", "2 Nov 21 09:05:09"]);
    }

    #[test]
    fn containers_and_repeats() {
        let context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };
        let parsed = |input: &'static str| {
            let mut event = Event::new(input.as_bytes());
            crate::parse(Choice::Auto, input.as_bytes(), &context, &mut event);
            event
        };
        let event = parsed("<27>Nov 21 09:05:09 00a8660c4ab0[11329]: {\"Type\":\"container\"}");
        assert_eq!(event.text(Field::ContainerId), Some("00a8660c4ab0"));
        assert_eq!(event.int(Field::Severity), Some(7));
        assert_eq!(parsed("Nov 21 09:05:09 gw last message repeated 3 times").int(Field::Count), Some(3));
        assert_eq!(parsed("Nov 21 09:05:09 gw --- last message repeated 1 time ---").int(Field::Count), Some(1));
        assert_eq!(parsed("<13>x").text(Field::ParseNotes), Some("no timestamp: time of receipt"));
    }
}
