//! RELP frames: `TXNR SP COMMAND SP DATALEN [SP DATA] LF`, in which a receiver answers each number.
//!
//! [`RelpFramer`] cuts a connection into frames, [`parse`] takes one apart, [`write()`] makes one. What
//! commands mean and when to answer is for the source or sink.

use std::ops::Range;

use super::FrameError;
use super::stream::{Scanner, Stream, pass};

/// Cuts one direction of a RELP connection.
pub type RelpFramer = Stream<Header>;

/// The highest transaction number; the next one is 1.
pub const TXNR_MAX: u32 = 999_999_999;

/// The longest name of a command.
const COMMAND_BYTES_MAX: usize = 32;

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relp<'f> {
    /// 1 to [`TXNR_MAX`]; 0 only for hints of the server.
    pub txnr: u32,
    /// `open`, `syslog`, `close`, `rsp`, `serverclose`.
    pub command: &'f str,
    /// What follows the length.
    pub data: &'f [u8],
}

/// Takes apart a frame that [`RelpFramer`] has cut.
pub fn parse(frame: &[u8]) -> Option<Relp<'_>> {
    let mut parts = frame.splitn(4, |byte| *byte == b' ');
    let txnr = crate::time::number(parts.next()?)?;
    let command = std::str::from_utf8(parts.next()?).ok()?;
    parts.next()?;
    Some(Relp { txnr, command, data: parts.next().unwrap_or_default() })
}

/// Appends a frame to `out`.
pub fn write(frame: &Relp<'_>, out: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(number.format(frame.txnr).as_bytes());
    out.push(b' ');
    out.extend_from_slice(frame.command.as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(frame.data.len()).as_bytes());
    if !frame.data.is_empty() {
        out.push(b' ');
        out.extend_from_slice(frame.data);
    }
    out.push(b'\n');
}

/// The number after `txnr`.
pub fn next_txnr(txnr: u32) -> u32 {
    if txnr >= TXNR_MAX { 1 } else { txnr.saturating_add(1) }
}

/// Where in a frame the bytes stand.
#[derive(Debug, Clone, Default)]
pub struct Header {
    part: Part,
    /// Bytes of this part.
    bytes: usize,
    data_len: u64,
    left: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Txnr,
    Command,
    Length,
    Data,
    Trailer,
}

impl Scanner for Header {
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let mut rest = bytes;
        loop {
            if self.part == Part::Data {
                rest = pass(rest, &mut self.left);
                if self.left > 0 {
                    return Ok(None);
                }
                self.part = Part::Trailer;
            }
            let Some((byte, after)) = rest.split_first() else { return Ok(None) };
            rest = after;
            self.bytes = self.bytes.saturating_add(1);
            match (self.part, *byte) {
                (Part::Txnr, b'0'..=b'9') if self.bytes <= 9 => {}
                (Part::Txnr, b' ') if self.bytes > 1 => (self.part, self.bytes) = (Part::Command, 0),
                (Part::Command, b'a'..=b'z' | b'A'..=b'Z') if self.bytes <= COMMAND_BYTES_MAX => {}
                (Part::Command, b' ') if self.bytes > 1 => (self.part, self.bytes) = (Part::Length, 0),
                (Part::Length, digit @ b'0'..=b'9') if self.bytes <= 9 => {
                    let digit = u64::from(digit.wrapping_sub(b'0'));
                    self.data_len = self.data_len.saturating_mul(10).saturating_add(digit);
                }
                // Without data there is no space; some senders write one all the same.
                (Part::Length, b' ') if self.bytes > 1 => (self.part, self.left) = (Part::Data, self.data_len),
                (Part::Length, b'\n') if self.bytes > 1 && self.data_len == 0 => break,
                (Part::Trailer, b'\n') => break,
                _ => return Err(FrameError::NoRelp),
            }
        }
        Ok(Some(bytes.len().saturating_sub(rest.len())))
    }

    /// Without the line end.
    fn frame(len: usize) -> Range<usize> {
        0..len.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        for (txnr, command, data) in [
            (1, "open", &b"relp_version=0\nrelp_software=x\ncommands=syslog"[..]),
            (TXNR_MAX, "syslog", b"<13>Nov 21 09:05:11 h t: a b\n"),
            (0, "serverclose", b""),
            (7, "rsp", b" 200 OK"),
        ] {
            let frame = Relp { txnr, command, data };
            let mut out = Vec::new();
            write(&frame, &mut out);
            assert_eq!(parse(out.strip_suffix(b"\n").unwrap_or_default()), Some(frame));
        }
        assert_eq!((next_txnr(0), next_txnr(1), next_txnr(TXNR_MAX)), (1, 2, 1));
    }
}
