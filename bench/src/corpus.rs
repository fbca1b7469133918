//! The line that is sent: RFC 5424 with structured data, 333 bytes, with three numbers in fixed
//! places (connection, sequence, time of sending) that survive every format.

/// `c`, `n` and `t` stand in the message, so that every output carries them.
const LINE: &str = "<134>1 2026-11-21T09:05:11.123456Z web-01.example.test docker/web 4711 audit \
[origin ip=\"192.0.2.7\" software=\"dockerd\"][meta@32473 container=\"3f4e9a0c1b2d\" image=\"registry.example.test/team/web:1.4\" stream=\"stdout\"] \
GET /api/v1/items/4242 200 12ms user=alice trace 9f86d081884c7d659a2feaa0c55ad015 seqno:ccc:nnnnnnnnnn:tttttttttttttttttttt end\n";

/// What stands before the numbers in any output.
pub const MARKER: &[u8] = b"seqno:";

/// A line with room for its numbers.
pub struct Line {
    pub bytes: Vec<u8>,
    at: usize,
}

impl Line {
    pub fn new(connection: u64) -> Self {
        let mut bytes = LINE.as_bytes().to_vec();
        let at = LINE.find("seqno:").map_or(0, |at| at + MARKER.len());
        digits(&mut bytes[at..at + 3], connection);
        Line { bytes, at }
    }

    /// Writes the sequence number and the time of sending in nanoseconds.
    pub fn number(&mut self, sequence: u64, nanos: u64) {
        digits(&mut self.bytes[self.at + 4..self.at + 14], sequence);
        digits(&mut self.bytes[self.at + 15..self.at + 35], nanos);
    }
}

fn digits(place: &mut [u8], number: u64) {
    let mut rest = number;
    for slot in place.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Connection, sequence and time of the numbers that follow the marker.
pub fn numbers(text: &[u8]) -> Option<(u64, u64, u64)> {
    let read = |from: usize, len: usize| -> Option<u64> {
        text.get(from..from + len)?.iter().try_fold(0_u64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
        })
    };
    Some((read(0, 3)?, read(4, 10)?, read(15, 20)?))
}
