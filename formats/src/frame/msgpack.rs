//! MessagePack objects one after the other: the forward protocol that Docker's fluentd driver speaks.

use std::ops::Range;

use super::FrameError;
use super::stream::{Scanner, Stream, pass};

/// Cuts a stream of MessagePack objects.
pub type MsgpackFramer = Stream<Object>;

/// Where in an object the bytes stand.
#[derive(Debug, Clone)]
pub struct Object {
    /// Values that must still come before the object is whole.
    values: u64,
    /// Of the value that has begun: what follows its first byte.
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// At the first byte of a value.
    First,
    /// In a length of so many bytes, which counts bytes, or values for each of its ones.
    Length {
        left: u8,
        len: u64,
        counts: Counts,
    },
    Data {
        left: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Counts {
    /// So many bytes and some more.
    Bytes(u64),
    /// So many values for each.
    Values(u64),
}

impl Default for Object {
    fn default() -> Self {
        Object { values: 1, state: State::First }
    }
}

impl Object {
    /// A value begins with this byte.
    fn first(&mut self, byte: u8) -> Result<State, FrameError> {
        let data = |left: u64| State::Data { left };
        let length = |left, counts| State::Length { left, len: 0, counts };
        Ok(match byte {
            0x80..=0x8f => self.more(u64::from(byte & 0x0f).saturating_mul(2)),
            0x90..=0x9f => self.more(u64::from(byte & 0x0f)),
            0xa0..=0xbf => data(u64::from(byte & 0x1f)),
            0xc1 => return Err(FrameError::NoMsgpack),
            0xc4 | 0xd9 => length(1, Counts::Bytes(0)),
            0xc5 | 0xda => length(2, Counts::Bytes(0)),
            0xc6 | 0xdb => length(4, Counts::Bytes(0)),
            // Extensions have a byte for their type.
            0xc7 => length(1, Counts::Bytes(1)),
            0xc8 => length(2, Counts::Bytes(1)),
            0xc9 => length(4, Counts::Bytes(1)),
            0xcc | 0xd0 => data(1),
            0xcd | 0xd1 | 0xd4 => data(2),
            0xd5 => data(3),
            0xca | 0xce | 0xd2 => data(4),
            0xd6 => data(5),
            0xcb | 0xcf | 0xd3 => data(8),
            0xd7 => data(9),
            0xd8 => data(17),
            0xdc => length(2, Counts::Values(1)),
            0xdd => length(4, Counts::Values(1)),
            0xde => length(2, Counts::Values(2)),
            0xdf => length(4, Counts::Values(2)),
            // Small numbers, nil and truth values are all of themselves.
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => data(0),
        })
    }

    fn more(&mut self, values: u64) -> State {
        self.values = self.values.saturating_add(values);
        State::Data { left: 0 }
    }
}

impl Scanner for Object {
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let mut rest = bytes;
        loop {
            match &mut self.state {
                State::First => {
                    let Some((byte, after)) = rest.split_first() else { return Ok(None) };
                    self.state = self.first(*byte)?;
                    rest = after;
                }
                State::Length { left: 0, len, counts } => {
                    let (len, counts) = (*len, *counts);
                    self.state = match counts {
                        Counts::Bytes(more) => State::Data { left: len.saturating_add(more) },
                        Counts::Values(times) => self.more(len.saturating_mul(times)),
                    };
                }
                State::Length { left, len, .. } => {
                    let Some((byte, after)) = rest.split_first() else { return Ok(None) };
                    *len = len.wrapping_shl(8) | u64::from(*byte);
                    *left = left.saturating_sub(1);
                    rest = after;
                }
                State::Data { left } => {
                    rest = pass(rest, left);
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.values = self.values.saturating_sub(1);
                    if self.values == 0 {
                        return Ok(Some(bytes.len().saturating_sub(rest.len())));
                    }
                    self.state = State::First;
                }
            }
        }
    }

    fn frame(len: usize) -> Range<usize> {
        0..len
    }
}
