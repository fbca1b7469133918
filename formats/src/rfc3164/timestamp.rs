//! The timestamps of RFC 3164 and of the wild, and the year that most of them leave out.
//!
//! Invariant: no clock. The year comes from the time of receipt, the zone from the caller.

use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_while_m_n};
use nom::character::complete::char;
use nom::combinator::{map_opt, opt};
use nom::sequence::terminated;
use nom::{IResult, Parser};

use crate::time::{days_in_month, fraction, number, two_digits};
use crate::{Civil, Context, Offset, Time};

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;
/// Said of Feb 29 when no year near the time of receipt has one.
const LEAP_NOTE: &str = "29 February placed in the leap year before";

/// Zone words with their offsets in minutes. Words that stand for several zones mean the one that
/// network devices are documented with.
const ZONES: &[(&str, i32)] = &[
    ("UTC", 0),
    ("GMT", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("IST", 330),
    ("SGT", 480),
    ("JST", 540),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
];

/// A timestamp and what was assumed to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) time: Time,
    /// Bytes used, without the space after it.
    pub(super) used: usize,
    pub(super) note: Option<&'static str>,
}

/// Reads any timestamp at the start of `input` that is followed by a space, a colon or the end.
pub(super) fn read(input: &[u8], context: &Context) -> Option<Stamp> {
    let first = input.first()?;
    let stamp = match first {
        b'0'..=b'9' => iso(input, context).or_else(|| epoch(input)).or_else(|| named_month(input, context))?,
        _ => named_month(input, context)?,
    };
    matches!(input.get(stamp.used), None | Some(b' ' | b':')).then_some(stamp)
}

/// RFC 3339, also without an offset.
fn iso(input: &[u8], context: &Context) -> Option<Stamp> {
    let (time, used) = Time::parse_rfc3339_in(input, context.zone)?;
    Some(Stamp { time, used, note: None })
}

/// Seconds since 1970 in ten digits, with a fraction or without.
fn epoch(input: &[u8]) -> Option<Stamp> {
    let (digits, rest) = input.split_at_checked(10)?;
    let seconds = number(digits)?;
    let (nanos, used) = match rest.first() {
        Some(b'.') => fraction(input, 11)?,
        _ => (0, 10),
    };
    Some(Stamp { time: Time::from_unix(seconds.into(), nanos)?, used, note: None })
}

/// `Mmm dd hh:mm:ss` with what may stand around it: a year before or after the day, a fraction, a
/// zone. Case does not matter, and the day may be padded with a space, a zero or nothing.
fn named_month(input: &[u8], context: &Context) -> Option<Stamp> {
    let (rest, (year, civil)) =
        classic(input).map(|(rest, civil)| (rest, (None, civil))).or_else(|| civil(input).ok())?;
    let (rest, zone) = opt(zone).parse(rest).ok()?;
    let zone = zone.unwrap_or(context.zone);
    let used = input.len().checked_sub(rest.len())?;
    let (time, note) = match year {
        Some(year) => (Civil { year, ..civil }.to_time(zone)?, None),
        None => infer_year(civil, zone, context.received)?,
    };
    Some(Stamp { time, used, note })
}

/// `Mmm dd hh:mm:ss ` as nearly all senders write it: the same as [`civil`] finds, sooner.
fn classic(input: &[u8]) -> Option<(&[u8], Civil)> {
    let [m1, m2, m3, b' ', d1, d2, b' ', h1, h2, b':', n1, n2, b':', s1, s2, b' '] = input.first_chunk::<16>()? else {
        return None;
    };
    let tens = if *d1 == b' ' { b'0' } else { *d1 };
    let civil = Civil {
        year: 2000,
        month: month(&[*m1, *m2, *m3])?,
        day: two_digits(tens, *d2)?,
        hour: two_digits(*h1, *h2)?,
        minute: two_digits(*n1, *n2)?,
        second: two_digits(*s1, *s2)?,
        nanos: 0,
    };
    Some((input.get(15..)?, civil))
}

/// A year when there is one, and everything else; the year in the calendar time is not yet right.
fn civil(input: &[u8]) -> IResult<&[u8], (Option<i32>, Civil)> {
    let (rest, before) = opt(terminated(year, tag(" "))).parse(input)?;
    let (rest, month) = map_opt(take(3_usize), month).parse(rest)?;
    let (rest, _) = take_while_m_n(1, 2, |byte| byte == b' ').parse(rest)?;
    let (rest, day) = terminated(two(1), char(' ')).parse(rest)?;
    let (rest, after) = opt(terminated(year, char(' '))).parse(rest)?;
    let (rest, (hour, _, minute, _, second)) = (two(1), char(':'), two(2), char(':'), two(2)).parse(rest)?;
    let (rest, nanos) = opt(nanos).parse(rest)?;
    let civil = Civil { year: 2000, month, day, hour, minute, second, nanos: nanos.unwrap_or(0) };
    Ok((rest, (before.or(after), civil)))
}

/// At least `min` and at most two digits.
fn two<'a>(min: usize) -> impl Parser<&'a [u8], Output = u8, Error = nom::error::Error<&'a [u8]>> {
    map_opt(take_while_m_n(min, 2, |byte: u8| byte.is_ascii_digit()), |digits| {
        number(digits).and_then(|n| u8::try_from(n).ok())
    })
}

fn year(input: &[u8]) -> IResult<&[u8], i32> {
    let value = |digits| number(digits).and_then(|n| i32::try_from(n).ok()).filter(|n| (1970..=2261).contains(n));
    map_opt(take_while_m_n(4, 4, |byte: u8| byte.is_ascii_digit()), value).parse(input)
}

/// The number of a month by its first three letters.
pub(crate) fn month(name: &[u8]) -> Option<u8> {
    Some(match name.first_chunk()?.map(|byte| byte | 0x20) {
        _ if name.len() != 3 => return None,
        [b'j', b'a', b'n'] => 1,
        [b'f', b'e', b'b'] => 2,
        [b'm', b'a', b'r'] => 3,
        [b'a', b'p', b'r'] => 4,
        [b'm', b'a', b'y'] => 5,
        [b'j', b'u', b'n'] => 6,
        [b'j', b'u', b'l'] => 7,
        [b'a', b'u', b'g'] => 8,
        [b's', b'e', b'p'] => 9,
        [b'o', b'c', b't'] => 10,
        [b'n', b'o', b'v'] => 11,
        [b'd', b'e', b'c'] => 12,
        _ => return None,
    })
}

fn nanos(input: &[u8]) -> IResult<&[u8], u32> {
    let (rest, _) = alt((char('.'), char(','))).parse(input)?;
    match fraction(rest, 0).and_then(|(nanos, end)| Some((rest.get(end..)?, nanos))) {
        Some(found) => Ok(found),
        None => Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Digit))),
    }
}

/// An offset, or a word of [`ZONES`], before a space, a colon or the end; answers the bytes used.
pub(crate) fn zone_of(input: &[u8]) -> Option<(Offset, usize)> {
    let (offset, len) = match Offset::parse(input) {
        Some(found) => found,
        None => {
            let (word, minutes) = ZONES
                .iter()
                .filter(|(word, _)| input.starts_with(word.as_bytes()))
                .max_by_key(|(word, _)| word.len())?;
            // `GMT+02:00`, as Java writes an offset.
            match input.get(word.len()..).and_then(Offset::parse) {
                Some((offset, used)) if *minutes == 0 => (offset, word.len().checked_add(used)?),
                _ => (Offset(minutes.checked_mul(60)?), word.len()),
            }
        }
    };
    matches!(input.get(len), None | Some(b' ' | b':')).then_some((offset, len))
}

/// The same after at most one space.
fn zone(input: &[u8]) -> IResult<&[u8], Offset> {
    let (rest, _) = opt(char(' ')).parse(input)?;
    let may_be = |rest: &&[u8]| rest.first().is_some_and(|byte| matches!(byte, b'A'..=b'Z' | b'z' | b'+' | b'-'));
    match Some(rest).filter(may_be).and_then(zone_of).and_then(|(offset, len)| Some((rest.get(len..)?, offset))) {
        Some(found) => Ok(found),
        None => Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Tag))),
    }
}

/// formats.md §3.2: the year of receipt; "if the result is more than 24 h in the future, take the
/// previous year; if it is more than 364 days in the past, the next year".
fn infer_year(civil: Civil, zone: Offset, received: Time) -> Option<(Time, Option<&'static str>)> {
    let year = received.civil().year;
    let in_year = |year: i32| Civil { year, ..civil }.to_time(zone);
    let Some(time) = in_year(year) else {
        return leap_year_before(year, &civil).and_then(in_year).map(|time| (time, Some(LEAP_NOTE)));
    };
    let ahead = time.0.saturating_sub(received.0);
    if ahead > DAY {
        let before = year.saturating_sub(1);
        return match in_year(before) {
            Some(time) => Some((time, None)),
            None => leap_year_before(before, &civil).and_then(in_year).map(|time| (time, Some(LEAP_NOTE))),
        };
    }
    if ahead < DAY.saturating_mul(-364) {
        return Some((in_year(year.saturating_add(1)).unwrap_or(time), None));
    }
    Some((time, None))
}

/// For 29 February alone: the last year before that has one.
fn leap_year_before(year: i32, civil: &Civil) -> Option<i32> {
    if (civil.month, civil.day) != (2, 29) {
        return None;
    }
    (1_i32..=8).filter_map(|back| year.checked_sub(back)).find(|year| days_in_month(*year, 2) == 29)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time::parse_rfc3339(text.as_bytes()).unwrap().0
    }

    /// What is read of `input` when it was received at `received`, in a zone two hours east.
    fn check(received: &str, input: &str, expected: &str, rest: &str) {
        let context = Context { received: at(received), zone: Offset(7200) };
        let stamp = read(input.as_bytes(), &context).map(|stamp| (stamp.time, input.get(stamp.used..).unwrap()));
        assert_eq!(stamp, Some((at(expected), rest)), "{input}");
    }

    #[test]
    fn the_shapes_of_the_wild() {
        let now = "2026-11-21T12:00:00Z";
        for (input, expected, rest) in [
            ("Nov 21 09:05:09 host", "2026-11-21T09:05:09+02:00", " host"),
            ("Nov  1 09:05:09", "2026-11-01T09:05:09+02:00", ""),
            ("nov 1 09:05:09 x", "2026-11-01T09:05:09+02:00", " x"),
            ("NOV 01 9:05:09 x", "2026-11-01T09:05:09+02:00", " x"),
            ("2015 Nov 13 09:05:09 x", "2015-11-13T09:05:09+02:00", " x"),
            ("Nov 13 2015 09:05:09 x", "2015-11-13T09:05:09+02:00", " x"),
            ("Nov 13 09:05:09.123 x", "2026-11-13T09:05:09.123+02:00", " x"),
            ("Mar  1 18:46:11.123 UTC: %S", "2026-03-01T18:46:11.123Z", ": %S"),
            ("Mar  1 18:46:11 CEST x", "2026-03-01T18:46:11+02:00", " x"),
            ("Mar  1 18:46:11 GMT+02:00 x", "2026-03-01T18:46:11+02:00", " x"),
            ("Mar  1 18:46:11 -05:00 x", "2026-03-01T18:46:11-05:00", " x"),
            ("Mar  1 18:46:11+0100 x", "2026-03-01T18:46:11+01:00", " x"),
            ("Mar  1 18:46:11 Zoo x", "2026-03-01T18:46:11+02:00", " Zoo x"),
            ("Mar  1 18:46:11: x", "2026-03-01T18:46:11+02:00", ": x"),
            ("2026-11-21T09:05:11.123+01:00 x", "2026-11-21T09:05:11.123+01:00", " x"),
            ("2026-11-21 09:05:11 x", "2026-11-21T09:05:11+02:00", " x"),
            ("1795251800 x", "2026-11-21T09:03:20Z", " x"),
            ("1795251800.5 x", "2026-11-21T09:03:20.5Z", " x"),
        ] {
            check(now, input, expected, rest);
        }
        let context = Context { received: at(now), zone: Offset(0) };
        for input in
            ["", "Nov", "Nov 31 09:05:09 x", "Nov 21 09:05:09x", "Nov 21 24:05:09 x", "1795251800x", "Now 1 09:05:09 x"]
        {
            assert_eq!(read(input.as_bytes(), &context), None, "{input}");
        }
    }

    #[test]
    fn the_year_at_its_turn() {
        let line = |day| format!("{day} 09:00:00");
        for (received, day, expected) in [
            ("2026-01-01T00:30:00Z", "Dec 31", "2025-12-31T09:00:00+02:00"),
            ("2026-12-31T23:30:00Z", "Jan  1", "2027-01-01T09:00:00+02:00"),
            ("2026-12-31T06:00:00Z", "Jan  2", "2026-01-02T09:00:00+02:00"),
            // Up to 24 hours ahead is a clock that runs fast.
            ("2026-06-01T07:00:00Z", "Jun  2", "2026-06-02T09:00:00+02:00"),
            ("2026-06-01T06:59:59Z", "Jun  2", "2025-06-02T09:00:00+02:00"),
            ("2026-06-01T00:00:00Z", "Feb 29", "2024-02-29T09:00:00+02:00"),
            ("2028-01-15T00:00:00Z", "Feb 29", "2024-02-29T09:00:00+02:00"),
            ("2028-03-15T00:00:00Z", "Feb 29", "2028-02-29T09:00:00+02:00"),
        ] {
            check(received, &line(day), expected, "");
        }
    }
}
