//! CEF's escapes, and keys that no input can forge.
//!
//! Invariant: nothing written here holds a line end, and nothing in a value ends it.

use std::collections::BTreeSet;

use crate::escape::Specials;

/// What is a space in a value: none begins or ends with it. Line ends are kept, as `\n`.
pub(super) fn is_blank(char: char) -> bool {
    char != '\r' && char != '\n' && is_blank_in_header(char)
}

fn is_blank_in_header(char: char) -> bool {
    char <= ' ' || char == '\u{7f}'
}

/// As much of a text as `bytes_max` bytes hold, without the blanks at its ends, and whether
/// something was left out.
pub(super) fn piece(text: &str, bytes_max: usize, is_blank: fn(char) -> bool) -> (&str, bool) {
    // Most texts begin and end with something: then there is nothing to look for.
    let is_inner = |byte: Option<&u8>| byte.is_some_and(|byte| *byte > b' ' && *byte != 0x7f);
    let ends = (text.as_bytes().first(), text.as_bytes().last());
    let whole = if is_inner(ends.0) && is_inner(ends.1) { text } else { text.trim_matches(is_blank) };
    if whole.len() <= bytes_max {
        return (whole, false);
    }
    let end = whole.floor_char_boundary(bytes_max);
    (whole.get(..end).unwrap_or_default().trim_end_matches(is_blank), true)
}

static IN_VALUE: Specials<3> = Specials::controls_and([b'=', b'\\', 0x7f]);
static IN_HEADER: Specials<3> = Specials::controls_and([b'|', b'\\', 0x7f]);

/// Writes a value of the extension: the equals sign and the backslash get a backslash, line ends
/// become `\n` and `\r`, other control characters a space. A pipe is plain here.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some((plain, [byte, after @ ..])) = rest.split_at_checked(IN_VALUE.plain_len(rest)) {
        out.extend_from_slice(plain);
        match byte {
            b'=' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.push(b'\t'),
            _ => out.push(b' '),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Writes a header field: the pipe and the backslash get a backslash, every control character
/// becomes a space ("CR/LF are not allowed" there). An equals sign is plain here.
pub(super) fn write_header(out: &mut Vec<u8>, text: &str, bytes_max: usize) {
    let (text, _) = piece(text, bytes_max, is_blank_in_header);
    let mut rest = text.as_bytes();
    while let Some((plain, [byte, after @ ..])) = rest.split_at_checked(IN_HEADER.plain_len(rest)) {
        out.extend_from_slice(plain);
        match byte {
            b'|' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            _ => out.push(b' '),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// The longest part of a key that is taken from a group or a name.
const KEY_BYTES_MAX: usize = 255;

/// The bytes a key may hold.
// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
static IN_KEY: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_';
        byte += 1;
    }
    table
};

/// Writes what may stand in a key: `[A-Za-z0-9_]`; other characters are dropped.
pub(super) fn write_key_part(out: &mut Vec<u8>, name: &str) {
    let mut rest = name.as_bytes().get(..KEY_BYTES_MAX).unwrap_or(name.as_bytes());
    loop {
        let is_dropped = |byte: &u8| !IN_KEY.get(usize::from(*byte)).copied().unwrap_or(false);
        let len = rest.iter().position(is_dropped).unwrap_or(rest.len());
        let Some((kept, after)) = rest.split_at_checked(len) else { return };
        out.extend_from_slice(kept);
        match after {
            [] => return,
            [_, after @ ..] => rest = after,
        }
    }
}

const FEW: usize = 64;

/// The keys made from names of the input so far. Two names may be the same once cleaned; the later
/// key then gets a number.
pub(super) struct Keys {
    /// Length and last byte of a key, and where it stands.
    few: [(u32, usize); FEW],
    len: usize,
    many: BTreeSet<Vec<u8>>,
    /// Counts up only: each number tried is tried once in an event.
    next: u32,
}

impl Default for Keys {
    fn default() -> Self {
        Keys { few: [(0, 0); FEW], len: 0, many: BTreeSet::new(), next: 2 }
    }
}

impl Keys {
    /// The key stands in `out` from `at` to the end; a number is put behind it if it is taken.
    pub(super) fn make_unique(&mut self, out: &mut Vec<u8>, at: usize) {
        let end = out.len();
        while self.is_taken(out, at) {
            out.truncate(end);
            out.push(b'_');
            out.extend_from_slice(itoa::Buffer::new().format(self.next).as_bytes());
            self.next = self.next.saturating_add(1);
        }
        match self.few.get_mut(self.len) {
            Some(slot) => {
                *slot = (mark(out.get(at..).unwrap_or_default()), at);
                self.len = self.len.saturating_add(1);
            }
            None => {
                self.many.insert(out.get(at..).unwrap_or_default().to_vec());
            }
        }
    }

    fn is_taken(&self, out: &[u8], at: usize) -> bool {
        let key = out.get(at..).unwrap_or_default();
        let wanted = mark(key);
        let few = self.few.get(..self.len).unwrap_or_default();
        let stands_at = |from: &usize| {
            // A key ends at its equals sign, which no key holds.
            out.get(*from..).and_then(|rest| rest.strip_prefix(key)).is_some_and(|rest| rest.first() == Some(&b'='))
        };
        few.iter().any(|(mark, from)| *mark == wanted && stands_at(from)) || self.many.contains(key)
    }
}

fn mark(key: &[u8]) -> u32 {
    u32::try_from(key.len()).unwrap_or(u32::MAX).wrapping_shl(8) | u32::from(key.last().copied().unwrap_or(0))
}
