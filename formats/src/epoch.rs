//! Seconds since 1970 with a fraction, as HEC, GELF and the audit system write them.
//!
//! Invariant: no float: every digit of nine behind the point counts.

use crate::event::Cell;
use crate::{Event, Time};

impl Event<'_> {
    /// The instant that a value in seconds since 1970 is.
    pub(crate) fn epoch(&self, time: Cell) -> Option<Time> {
        match time {
            Cell::Int(seconds) => Time::from_unix(seconds, 0),
            Cell::Str(span) | Cell::Json(span) => epoch(self.str(span)),
            Cell::Bool(_) | Cell::Time(_) => None,
        }
    }
}

/// Seconds since 1970 with a fraction, as text.
pub(crate) fn epoch(text: &str) -> Option<Time> {
    let (seconds, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    planted!("hec" => { let _ = 10_u32.pow(9 - fraction.len() as u32); });
    let mut nanos = 0_u32;
    for place in 0..9 {
        let digit = match fraction.as_bytes().get(place) {
            Some(digit @ b'0'..=b'9') => digit.wrapping_sub(b'0'),
            Some(_) => return None,
            None => 0,
        };
        nanos = nanos.checked_mul(10)?.checked_add(digit.into())?;
    }
    Time::from_unix(seconds.parse().ok()?, nanos)
}
