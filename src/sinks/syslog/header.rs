//! The syslog header in front of records that have none of their own, such as CEF and JSON.
//!
//! Invariant: a header is printable ASCII without line ends; the host is one word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfinger_formats::{Event, Field, Time};

/// Which header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// `<PRI>1 2026-11-21T09:00:00.123456Z host app - - -` and the record as MSG.
    #[default]
    Rfc5424,
    /// `<PRI>Nov 21 09:00:00 host` and the record; the time is UTC.
    Rfc3164,
    /// The bare record.
    None,
}

/// "log audit": the facility of events that bring none.
const FACILITY: i64 = 13;
/// RFC 5424 §6.2.4 and §6.2.5.
const HOSTNAME_MAX: usize = 255;
const APP_NAME_MAX: usize = 48;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Header {
    /// Appends the header and the space after it.
    pub(super) fn write(self, event: &Event<'_>, gateway: &str, out: &mut Vec<u8>) {
        if self == Header::None {
            return;
        }
        let time = event.time(Field::Time).or_else(|| event.time(Field::ObservedTime)).unwrap_or(Time(0));
        let host = event.text(Field::HostName).unwrap_or(gateway);
        out.push(b'<');
        number(priority(event), 1, out);
        out.push(b'>');
        if self == Header::Rfc5424 {
            out.extend_from_slice(b"1 ");
            time.write_rfc3339(6, out);
            out.push(b' ');
            word(host, HOSTNAME_MAX, out);
            out.push(b' ');
            word(event.text(Field::App).unwrap_or_default(), APP_NAME_MAX, out);
            out.extend_from_slice(b" - - - ");
            return;
        }
        let civil = time.civil();
        let month = usize::from(civil.month).checked_sub(1).and_then(|month| MONTHS.get(month));
        out.extend_from_slice(month.unwrap_or(&"Jan").as_bytes());
        // RFC 3164 §4.1.2: a day of one digit has a space before it.
        out.extend_from_slice(if civil.day < 10 { b"  " } else { b" " });
        number(civil.day.into(), 1, out);
        for (before, part) in [(b' ', civil.hour), (b':', civil.minute), (b':', civil.second)] {
            out.push(before);
            number(part.into(), 2, out);
        }
        out.push(b' ');
        word(host, HOSTNAME_MAX, out);
        out.push(b' ');
    }
}

/// PRI: facility × 8 + severity (RFC 5424 §6.2.1).
fn priority(event: &Event<'_>) -> u32 {
    let facility = event.int(Field::SyslogFacility).filter(|facility| (0..=23).contains(facility));
    let severity = match event.int(Field::SyslogSeverity) {
        Some(severity @ 0..=7) => severity,
        _ => match event.int(Field::Severity) {
            Some(9..) => 2,
            Some(7..=8) => 3,
            Some(4..=6) => 4,
            Some(2..=3) | None => 6,
            Some(_) => 7,
        },
    };
    u32::try_from(facility.unwrap_or(FACILITY) * 8 + severity).unwrap_or(0)
}

fn number(number: u32, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}

/// Printable ASCII (33 to 126), anything else is `_`; `-` when there is nothing.
fn word(text: &str, max: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(text.chars().take(max).map(|c| if c.is_ascii_graphic() { c as u8 } else { b'_' }));
    if out.len() == start {
        out.push(b'-');
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(header: Header, event: &Event<'_>, expected: &str) {
        let mut out = Vec::new();
        header.write(event, "gateway", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn both_headers_and_none() {
        let mut event = Event::new(b"");
        event.set(Field::Time, Time(1_793_522_700_158_734_145));
        check(Header::Rfc5424, &event, "<110>1 2026-11-01T08:45:00.158734Z gateway - - - - ");
        event.set(Field::HostName, "a b\nc");
        event.set(Field::App, "docker daemon");
        event.set(Field::SyslogFacility, 3);
        event.set(Field::Severity, 8);
        check(Header::Rfc5424, &event, "<27>1 2026-11-01T08:45:00.158734Z a_b_c docker_daemon - - - ");
        event.set(Field::SyslogSeverity, 5);
        check(Header::Rfc3164, &event, "<29>Nov  1 08:45:00 a_b_c ");
        check(Header::None, &event, "");
    }
}
