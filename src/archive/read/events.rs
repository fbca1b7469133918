//! Events of an archive, one after the other, from any place on.

use std::io;

use wharfinger_formats::{Event, Field, Time, native};

use super::{Period, Reader, Sealed, Unread};
use crate::archive::verify::Fault;

/// Where reading goes on: which stream, which seal of it, which line of its object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Place {
    pub stream: usize,
    pub seal: u64,
    pub line: u64,
}

/// What is told of the way.
pub trait Reading {
    /// An object that is about to be read, and how many seals are left.
    fn object(&mut self, _sealed: &Sealed, _seals_left: u64) {}

    /// An event and where it stands. False: that was enough.
    ///
    /// # Errors
    /// Reading ends with that.
    fn event(&mut self, place: Place, event: &mut Event<'_>) -> io::Result<bool>;
}

/// Reads what was received in the period, from a place on.
///
/// # Errors
/// The archive cannot be read, is not as it was sealed, or holds a line that is no event.
pub fn read_events(
    readers: &mut [(String, Reader)],
    period: Period,
    from: Place,
    reading: &mut dyn Reading,
) -> Result<(), Unread> {
    let (mut raw, mut memory) = (Vec::new(), Event::new(b""));
    for (stream, (_, reader)) in readers.iter_mut().enumerate().skip(from.stream) {
        let is_first = stream == from.stream;
        let mut objects = reader.objects(period)?;
        if is_first {
            objects.skip_to(from.seal);
        }
        while let Some(sealed) = objects.next() {
            let sealed = sealed?;
            reading.object(&sealed, objects.left());
            let passed_over = if is_first && sealed.seq == from.seal { from.line } else { 0 };
            let (mut lines, mut at) = (objects.lines(&sealed)?, 0);
            while let Some(line) = lines.next_line()? {
                at += 1;
                if at <= passed_over {
                    continue;
                }
                let mut event = native::read(line, &mut raw, memory).map_err(|error| {
                    let what = format!("line {at} is no event: {}", error.describe(line));
                    Unread::fault(Fault::Altered, &sealed.object, what)
                })?;
                let place = Place { stream, seal: sealed.seq, line: at - 1 };
                if period.has(received(&event)) && !reading.event(place, &mut event)? {
                    return Ok(());
                }
                memory = event.reuse(b"");
            }
        }
    }
    Ok(())
}

/// When the gateway received an event.
pub fn received(event: &Event<'_>) -> Time {
    event.time(Field::ObservedTime).or_else(|| event.time(Field::Time)).unwrap_or(Time(0))
}
