//! A line read as a format, and an event written as one.

use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Offset, Time, parse};

/// 2026-11-21T09:03:20Z.
pub(crate) const CONTEXT: Context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };

pub(crate) fn parsed<'a>(format: &str, line: &'a [u8]) -> Event<'a> {
    let mut event = Event::new(line);
    parse(Choice::named(format).unwrap(), line, &CONTEXT, &mut event);
    event
}

pub(crate) fn emitted(format: &str, event: &Event<'_>) -> String {
    let emit = FORMATS.iter().find(|row| row.name == format).and_then(|row| row.emit).unwrap();
    let mut out = Vec::new();
    emit(event, &EmitContext::default(), &mut out);
    String::from_utf8(out).unwrap()
}
