//! CEF's escapes, and keys that no input can forge.
//!
//! Invariant: nothing written here holds a line end, and nothing in a value ends it.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::escape::{Specials, all, bytes_before, eight, word_of};

/// What is a space in a value: none begins or ends with it. Line ends are kept, as `\n`.
fn is_blank(char: char) -> bool {
    char != '\r' && char != '\n' && is_blank_in_header(char)
}

fn is_blank_in_header(char: char) -> bool {
    char <= ' ' || char == '\u{7f}'
}

/// As much of a text as `bytes_max` bytes hold, without the blanks at its ends, and whether
/// something was left out.
pub(crate) fn piece(text: &str, bytes_max: usize) -> (&str, bool) {
    cut(text, bytes_max, is_blank)
}

fn cut(text: &str, bytes_max: usize, is_blank: fn(char) -> bool) -> (&str, bool) {
    let whole = text.trim_matches(is_blank);
    if whole.len() <= bytes_max {
        return (whole, false);
    }
    let end = whole.floor_char_boundary(bytes_max);
    (whole.get(..end).unwrap_or_default().trim_end_matches(is_blank), true)
}

/// Whether a text has something between blanks, and no blank at its ends.
pub(super) fn is_trimmed(bytes: &[u8]) -> bool {
    let solid = |byte: Option<&u8>| byte.is_some_and(|byte| !is_blank(char::from(*byte)));
    solid(bytes.first()) && solid(bytes.last())
}

/// Whether a text goes out as it stands; an empty one does not. All blanks but the space itself are special.
// Not inlined, as the others of its kind: by itself the check becomes a few vector instructions, and
// no registers are saved around it.
#[inline(never)]
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    !matches!(bytes, [] | [b' ', ..] | [.., b' ']) && IN_VALUE.none_in(bytes)
}

static IN_VALUE: Specials<3> = Specials::controls_and([b'=', b'\\', 0x7f]);
static IN_HEADER: Specials<3> = Specials::controls_and([b'|', b'\\', 0x7f]);

/// Writes a value of the extension: the equals sign and the backslash get a backslash, line ends
/// become `\n` and `\r`, other control characters a space. A pipe is plain here.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    if has_no_controls(text) {
        // What nearly every text is that needs escapes: prose with an equals sign or two.
        let mut from = 0;
        for at in memchr::memchr2_iter(b'=', b'\\', text) {
            planted!("cef_emit" => {
                if text[at] == b'=' {
                    continue;
                }
            });
            out.extend_from_slice(text.get(from..at).unwrap_or_default());
            out.push(b'\\');
            from = at;
        }
        return out.extend_from_slice(text.get(from..).unwrap_or_default());
    }
    let mut rest = text;
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

#[inline(never)]
fn has_no_controls(text: &[u8]) -> bool {
    all(text, |byte| (byte >= 0x20) & (byte != 0x7f))
}

/// Writes a header field: the pipe and the backslash get a backslash, every control character
/// becomes a space ("CR/LF are not allowed" there). An equals sign is plain here. Answers whether it
/// had to be cut.
#[inline]
pub(crate) fn write_header(out: &mut Vec<u8>, bytes: &[u8], bytes_max: usize) -> bool {
    if bytes.len() <= bytes_max && is_plain_in_header(bytes) {
        out.extend_from_slice(bytes);
        false
    } else {
        write_odd_header(out, &String::from_utf8_lossy(bytes), bytes_max)
    }
}

fn is_plain_in_header(bytes: &[u8]) -> bool {
    !matches!(bytes, [b' ', ..] | [.., b' ']) && IN_HEADER.plain_len(bytes) == bytes.len()
}

#[cold]
fn write_odd_header(out: &mut Vec<u8>, text: &str, bytes_max: usize) -> bool {
    let (text, is_cut) = cut(text, bytes_max, is_blank_in_header);
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
    is_cut
}

/// The longest part of a key that is taken from a group or a name.
const KEY_BYTES_MAX: usize = 255;

/// Bit 7 of each byte that no key may hold: those outside of `[A-Za-z0-9_]`. Every mark is exact.
#[inline]
const fn marks_outside_of_keys(word: u64) -> u64 {
    // Seven bits a byte: no sum below carries into the next one.
    let ascii = word & eight(0x7f);
    let lower = ascii | eight(0x20);
    let letter = lower.wrapping_add(eight(0x80 - b'a')) & !lower.wrapping_add(eight(0x7f - b'z'));
    let digit = ascii.wrapping_add(eight(0x80 - b'0')) & !ascii.wrapping_add(eight(0x7f - b'9'));
    let other = (ascii ^ eight(b'_')).wrapping_add(eight(0x7f));
    (word | !(letter | digit) & other) & eight(0x80)
}

/// How many bytes from the start may stand in a key.
#[inline]
fn key_len(name: &[u8]) -> usize {
    let (words, rest) = name.as_chunks::<8>();
    let mut len = 0_usize;
    for word in words {
        let marks = marks_outside_of_keys(u64::from_le_bytes(*word));
        if marks != 0 {
            return len.saturating_add(bytes_before(marks));
        }
        len = len.saturating_add(8);
    }
    // The byte behind the last one is 0, which ends the name.
    len.saturating_add(bytes_before(marks_outside_of_keys(word_of(rest))))
}

/// Writes what may stand in a key: `[A-Za-z0-9_]`; other characters are dropped.
#[inline]
fn write_key_part(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= KEY_BYTES_MAX && is_key(bytes) {
        out.extend_from_slice(bytes);
    } else {
        write_cleaned(out, bytes);
    }
}

#[inline(never)]
pub(super) fn is_key(name: &[u8]) -> bool {
    let is_letter = |byte: u8| (byte | 0x20).wrapping_sub(b'a') < 26;
    all(name, |byte| is_letter(byte) | (byte.wrapping_sub(b'0') < 10) | (byte == b'_'))
}

#[cold]
fn write_cleaned(out: &mut Vec<u8>, name: &[u8]) {
    let mut rest = name.get(..KEY_BYTES_MAX).unwrap_or(name);
    while let Some((kept, after)) = rest.split_at_checked(key_len(rest)) {
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
pub(crate) struct Keys<'e> {
    /// A bit for each key, by its length and its last bytes: a key whose bit is not set is new.
    seen: [u64; 16],
    /// Where each key stands.
    few: [usize; FEW],
    len: usize,
    many: BTreeSet<Vec<u8>>,
    /// Counts up only: each number tried is tried once in an event.
    next: u32,
    /// The group written last, and where it begins and ends with what stands around it.
    group: (&'e [u8], Range<usize>),
}

impl Default for Keys<'_> {
    fn default() -> Self {
        Keys { seen: [0; 16], few: [0; FEW], len: 0, many: BTreeSet::new(), next: 2, group: (b"", 0..0) }
    }
}

impl<'e> Keys<'e> {
    /// Writes a space and ` ad_<group>_<name>`, unlike any other key of the event; answers where the key stands.
    #[inline]
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, group: &'e [u8], name: &[u8]) -> Range<usize> {
        let from = out.len();
        if self.group.0 == group && !group.is_empty() {
            out.extend_from_within(self.group.1.clone());
        } else {
            out.extend_from_slice(b" ad_");
            if !group.is_empty() {
                write_key_part(out, group);
                out.push(b'_');
                self.group = (group, from..out.len());
            }
        }
        write_key_part(out, name);
        let at = from.saturating_add(1);
        self.make_unique(out, at);
        at..out.len()
    }

    /// Writes a space and the name as it is, unless that key is taken.
    pub(crate) fn write_own(&mut self, out: &mut Vec<u8>, name: &[u8]) -> Option<Range<usize>> {
        let from = out.len();
        out.push(b' ');
        out.extend_from_slice(name);
        let at = from.saturating_add(1);
        if self.is_seen(out, at) && self.is_taken(out, at) {
            out.truncate(from);
            return None;
        }
        self.remember(out, at);
        Some(at..out.len())
    }

    /// The key stands in `out` from `at` to the end; a number is put behind it if it is taken.
    #[inline]
    fn make_unique(&mut self, out: &mut Vec<u8>, at: usize) {
        if self.is_seen(out, at) {
            self.number(out, at);
        }
        self.remember(out, at);
    }

    fn remember(&mut self, out: &[u8], at: usize) {
        match self.few.get_mut(self.len) {
            Some(slot) => {
                *slot = at;
                self.len = self.len.saturating_add(1);
            }
            None => {
                self.many.insert(out.get(at..).unwrap_or_default().to_vec());
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn number(&mut self, out: &mut Vec<u8>, at: usize) {
        let end = out.len();
        while self.is_taken(out, at) {
            out.truncate(end);
            out.push(b'_');
            out.extend_from_slice(itoa::Buffer::new().format(self.next).as_bytes());
            self.next = self.next.saturating_add(1);
            // The numbered key is one of those seen.
            self.is_seen(out, at);
        }
    }

    /// Whether the key may be one of those before; it is one of them from now on.
    #[inline]
    fn is_seen(&mut self, out: &[u8], at: usize) -> bool {
        let key = out.get(at..).unwrap_or_default();
        let last = key.last_chunk().map_or_else(|| word_of(key), |last| u64::from_le_bytes(*last));
        let len = u64::try_from(key.len()).unwrap_or(0);
        // The odd number spreads every bit of them over the highest ten.
        let mark = (last ^ len).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_shr(54);
        let bit = 1_u64.wrapping_shl(u32::try_from(mark & 63).unwrap_or(0));
        let Some(word) = self.seen.get_mut(usize::try_from(mark.wrapping_shr(6)).unwrap_or(0)) else { return true };
        let is_seen = *word & bit != 0;
        *word |= bit;
        is_seen
    }

    fn is_taken(&self, out: &[u8], at: usize) -> bool {
        let key = out.get(at..).unwrap_or_default();
        let few = self.few.get(..self.len).unwrap_or_default();
        let stands_at = |from: &usize| {
            // A key ends at its equals sign, which no key holds.
            out.get(*from..).and_then(|rest| rest.strip_prefix(key)).is_some_and(|rest| rest.first() == Some(&b'='))
        };
        few.iter().any(stands_at) || self.many.contains(key)
    }
}
