//! What RFC 5424 and RFC 3164 have in common: PRI, the two scales of severity, and tags.
//!
//! Invariant: nothing here decides that a line is no syslog; that is for the two parsers.

use crate::time::number;
use crate::{Event, Field};

/// The event severity of each syslog severity, emergency first.
const EVENT_SEVERITY: [i64; 8] = [10, 9, 8, 7, 5, 3, 2, 1];

/// Reads `<PRI>` at the start of `input`, 0 to 191 in at most three digits; answers what follows.
#[inline]
pub(crate) fn pri(input: &[u8]) -> Option<(&[u8], u8)> {
    let (digits, rest): (&[u8], _) = match input {
        [b'<', digits @ ..] if digits.get(2) == Some(&b'>') => (digits.get(..2)?, digits.get(3..)?),
        [b'<', digits @ ..] if digits.get(3) == Some(&b'>') => (digits.get(..3)?, digits.get(4..)?),
        [b'<', digits @ ..] if digits.get(1) == Some(&b'>') => (digits.get(..1)?, digits.get(2..)?),
        _ => return None,
    };
    let pri = number(digits)?;
    u8::try_from(pri).ok().filter(|pri| *pri <= 191).map(|pri| (rest, pri))
}

/// Sets facility, severity and the severity of the event.
pub(crate) fn set_pri(event: &mut Event<'_>, pri: u8) {
    let severity = pri & 7;
    event.set(Field::SyslogFacility, i64::from(pri >> 3));
    event.set(Field::SyslogSeverity, i64::from(severity));
    event.set(Field::Severity, event_severity(severity));
}

/// The event severity (0 to 10) of a syslog severity (0 to 7).
pub(crate) fn event_severity(syslog: u8) -> i64 {
    EVENT_SEVERITY.get(usize::from(syslog & 7)).copied().unwrap_or(0)
}

/// The syslog severity of an event severity: 9 and 10 are critical, never emergency, because
/// receivers print emergencies on every terminal.
pub(crate) fn syslog_severity(event: i64) -> u8 {
    match event {
        9.. => 2,
        7..=8 => 3,
        4..=6 => 4,
        2..=3 => 6,
        _ => 7,
    }
}

/// Facility of events that bring none: 13, "log audit". These records are audit evidence, and the
/// local facilities belong to the site's own rules.
const FACILITY_DEFAULT: u8 = 13;

/// Facility and severity of the PRI of an event. The severity that came in stays unless something has
/// judged the event otherwise since: §0's scale of 0 to 10 has no word for notice, so the way there and
/// back is not exact.
pub(crate) fn priority(event: &Event<'_>) -> (u8, u8) {
    let small = |field, max| event.int(field).and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= max);
    let came = small(Field::SyslogSeverity, 7);
    let severity = match (came, event.int(Field::Severity)) {
        (Some(came), Some(judged)) if event_severity(came) != judged => syslog_severity(judged),
        (Some(came), _) => came,
        (None, Some(judged)) => syslog_severity(judged),
        (None, None) => 6,
    };
    (small(Field::SyslogFacility, 23).unwrap_or(FACILITY_DEFAULT), severity)
}

/// Whether a tag is a container id, the default tag of Docker's syslog driver: then the message is
/// what a container wrote, and nothing it says about the engine may be believed.
pub(crate) fn is_container_id(tag: &[u8]) -> bool {
    matches!(tag.len(), 12 | 64) && tag.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pri_is_0_to_191_in_at_most_three_digits() {
        for (input, expected) in [("<0>x", 0), ("<13>x", 13), ("<191>x", 191), ("<013>x", 13)] {
            assert_eq!(pri(input.as_bytes()), Some((&b"x"[..], expected)), "{input}");
        }
        for input in ["", "<", "<>", "<192>", "<999>x", "<0013>", "<1", "<1a>", "13>", "<-1>", "< 1>"] {
            assert!(pri(input.as_bytes()).is_none(), "{input}");
        }
    }

    #[test]
    fn severities_map_both_ways() {
        // formats.md §0: 0→10 1→9 2→8 3→7 4→5 5→3 6→2 7→1.
        assert_eq!((0..8).map(event_severity).collect::<Vec<_>>(), [10, 9, 8, 7, 5, 3, 2, 1]);
        // Back: 9-10→2 7-8→3 4-6→4 2-3→6 0-1→7.
        assert_eq!((0..=10).map(syslog_severity).collect::<Vec<_>>(), [7, 7, 6, 6, 4, 4, 4, 3, 3, 2, 2]);
        assert_eq!((syslog_severity(i64::MIN), syslog_severity(i64::MAX)), (7, 2));
    }

    #[test]
    fn a_container_id_is_12_or_64_lower_hex_digits() {
        assert!(is_container_id(b"00a8660c4ab0"));
        assert!(is_container_id("0a".repeat(32).as_bytes()));
        for tag in ["", "nginx", "00A8660C4AB0", "00a8660c4ab", "00a8660c4ab00"] {
            assert!(!is_container_id(tag.as_bytes()), "{tag}");
        }
    }
}
