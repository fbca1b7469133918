//! A line of one format behind the header of another: one event of both.
//!
//! The message says what happened, so its fields win; the header's time and host that they replace stay
//! as extras of group `syslog`.

use std::sync::LazyLock;

use crate::event::Cell;
use crate::text::Text;
use crate::{Context, Event, FORMATS, Field, Format, Offset, Open, ParseError, Time, rfc3164, rfc5424, syslog};

/// Reads `message` as a line of `inner`. The header in front of it has been read into the event with
/// `open`; if it only looked like such a line, the event says what the header says.
pub(crate) fn read<'a>(
    (outer, open): (&'static Format, Open),
    input: &'a [u8],
    (inner, message): (&'static Format, &'a [u8]),
    context: &Context,
    event: &mut Event<'a>,
) -> Result<(), ParseError> {
    let Some(parse) = inner.parse else { return Ok(()) };
    let header = HEADER.map(|field| (field, event.take(field)));
    event.remove(Field::Msg);
    if parse(message, &behind(input, context), event).is_err() {
        event.clear();
        open(input, context, event)?;
        event.set(Field::Format, outer.name);
        return Ok(());
    }
    keep_header("syslog", header, event);
    event.set(Field::Format, joined(outer, inner));
    Ok(())
}

/// The context of a line behind the header of `input`: a time that names no zone is one of the zone
/// that the header's own time names.
fn behind(input: &[u8], context: &Context) -> Context {
    let rest = syslog::pri(input).map_or(input, |(rest, _)| rest);
    let version =
        if rfc5424::is_rfc5424(input) { memchr::memchr(b' ', rest).map_or(0, |at| at.wrapping_add(1)) } else { 0 };
    let rest = rest.get(version..).unwrap_or_default();
    let word = || rest.get(BSD_STAMP_BYTES..).and_then(rfc3164::zone_of).map(|(zone, _)| zone);
    let zone = Offset::of_rfc3339(rest).or_else(word).unwrap_or(context.zone);
    Context { zone, ..*context }
}

/// `Mmm dd hh:mm:ss` and the space before a word for a zone.
const BSD_STAMP_BYTES: usize = 16;

/// The same for a message that is no piece of the raw bytes of `event`: it stood there with escapes.
pub(crate) fn read_apart(
    outer: &'static Format,
    (message, inner): (&[u8], &'static Format),
    context: &Context,
    event: &mut Event<'_>,
) {
    let mut found = Event::new(message);
    if inner.parse.is_none_or(|parse| parse(message, context, &mut found).is_err()) {
        return;
    }
    let header = HEADER.map(|field| (field, event.take(field)));
    event.remove(Field::Msg);
    for (field, value) in found.fields() {
        let before = event.take(field);
        event.set(field, value);
        if let Some(before) = before.filter(|before| event.value(*before) != value) {
            event.put_extra(outer.name, field.name(), before);
        }
    }
    for extra in found.extras() {
        event.extra(extra.group, extra.name, extra.value);
    }
    keep_header(outer.name, header, event);
    event.set(Field::Format, joined(outer, inner));
}

/// What a header says and the line behind it may say better.
const HEADER: [Field; 3] = [Field::Time, Field::HostName, Field::Severity];

/// Puts back what the line does not say; what it does say otherwise is an extra.
fn keep_header(group: &str, header: [(Field, Option<Cell>); 3], event: &mut Event<'_>) {
    for (field, cell) in header {
        match cell {
            Some(cell) if !event.has(field) => event.put(field, cell),
            // The header's severity stays as `syslog.severity`.
            Some(cell) if field != Field::Severity && event.get(field) != Some(event.value(cell)) => {
                event.put_extra(group, field.name(), cell);
            }
            _ => {}
        }
    }
}

/// The same for a line that was named as `inner` and has a header before byte `at`; false when it is
/// not one of syslog.
pub(crate) fn with_header<'a>(
    input: &'a [u8],
    at: usize,
    inner: &'static Format,
    context: &Context,
    event: &mut Event<'a>,
) -> Result<bool, ParseError> {
    let outer = match rfc5424::is_rfc5424(input) {
        true => &rfc5424::FORMAT,
        false => &rfc3164::FORMAT,
    };
    let (Some(detect), Some(open), Some(message)) = (outer.detect, outer.open, input.get(at..)) else {
        return Ok(false);
    };
    if detect(input) == 0 {
        return Ok(false);
    }
    open(input, context, event)?;
    read((outer, open), input, (inner, message), context, event).map(|()| true)
}

/// What stands before byte `at` and is no header of syslog: a time since 1970 and a host, as some
/// senders write it, or anything, which is kept as an extra.
pub(crate) fn unknown_header(text: &Text<'_>, at: usize, group: &str, event: &mut Event<'_>) {
    let before = text.piece(0..at);
    let words: Vec<&str> = before.trim().split(' ').collect();
    let millis = |word: &str| word.parse::<i64>().ok().filter(|_| word.len() == 13)?.checked_mul(1_000_000).map(Time);
    match words.as_slice() {
        [time, host] if millis(time).is_some() => {
            match millis(time) {
                Some(time) if !event.has(Field::Time) => event.set(Field::Time, time),
                _ => event.extra("syslog", "time", *time),
            }
            match event.has(Field::HostName) {
                false => event.set_text(Field::HostName, host),
                true => event.extra("syslog", "host.name", *host),
            }
        }
        _ => event.extra(group, "prefix", before.trim()),
    }
}

/// `rfc3164+dockerd`, made once for each pair so that no event allocates it.
fn joined(outer: &Format, inner: &Format) -> &'static str {
    static JOINED: LazyLock<Vec<String>> = LazyLock::new(|| {
        let pairs = FORMATS.iter().flat_map(|outer| FORMATS.iter().map(move |inner| (outer.name, inner.name)));
        pairs.map(|(outer, inner)| format!("{outer}+{inner}")).collect()
    });
    let place = |format: &Format| FORMATS.iter().position(|row| row.name == format.name);
    let pair = place(outer).zip(place(inner));
    let pair = pair.and_then(|(outer, inner)| JOINED.get(outer.wrapping_mul(FORMATS.len()).wrapping_add(inner)));
    pair.map_or(inner.name, String::as_str)
}
