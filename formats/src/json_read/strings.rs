//! Strings of JSON: passed over, borrowed, or written into an event without their escapes.
//!
//! Invariant: what is answered was checked to the letter of RFC 8259 §7, in one pass.

use std::borrow::Cow;

use super::{JsonReader, Read};
use crate::Event;
use crate::escape::{Gathered, Specials, bytes_before, word_of};
use crate::event::Span;

/// What ends a run of plain characters in a string.
const IN_STRING: Specials<2> = Specials::controls_and([b'"', b'\\']);

/// A string as it stands between its quotes, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quoted<'a> {
    /// The text between the quotes, escapes and all.
    pub(crate) body: &'a str,
    escaped: bool,
}

impl<'a> JsonReader<'a> {
    /// Reads a string; the caller has seen its opening quote.
    pub(super) fn string(&mut self) -> Read<Quoted<'a>> {
        self.step();
        let from = self.at;
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        let len = IN_STRING.plain_len(rest);
        self.at = from.wrapping_add(len);
        if rest.get(len) == Some(&b'"') {
            self.step();
            return Ok(Quoted {
                body: self.text.get(from..from.wrapping_add(len)).unwrap_or_default(),
                escaped: false,
            });
        }
        self.escapes(from)
    }

    /// The same from the first byte on that is not plain.
    #[inline(never)]
    fn escapes(&mut self, from: usize) -> Read<Quoted<'a>> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'\\') => {}
                Some(b'"') => {
                    let body = self.since(from);
                    self.step();
                    return Ok(Quoted { body, escaped: true });
                }
                Some(_) => return Err(self.refuse("no control character in a string")),
                None => return Err(self.refuse("`\"`")),
            }
            let (_, len) = self.escape()?;
            self.at = self.at.wrapping_add(len);
            self.pass_plain();
        }
    }

    /// Reads a string into an event; the caller has seen its opening quote.
    #[inline]
    pub(super) fn kept(&mut self, event: &mut Event<'_>) -> Read<Span> {
        self.step();
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let len = IN_STRING.plain_len(rest);
        let (from, to) = (self.at, self.at.wrapping_add(len));
        self.at = to;
        if rest.get(len) == Some(&b'"') {
            self.step();
            return Ok(event.span(self.text.get(from..to).unwrap_or_default()));
        }
        let mut read = Ok(());
        let span = event.span_with(|own| {
            own.push_str(self.since(from));
            read = self.unescaped(own);
        });
        read.map(|()| span)
    }

    /// Appends a string without its escapes, from the first byte on that is not plain.
    fn unescaped(&mut self, out: &mut String) -> Read<()> {
        let bytes = self.text.as_bytes();
        let mut gathered = Gathered::new();
        loop {
            if gathered.is_full() {
                append(&mut gathered, out);
            }
            match bytes.get(self.at..).unwrap_or_default() {
                // The byte behind it stands for itself.
                [b'\\', byte @ (b'"' | b'\\' | b'/'), ..] => {
                    gathered.put(u64::from(*byte), 1);
                    self.at = self.at.wrapping_add(2);
                }
                [b'\\', ..] => {
                    let (char, len) = self.escape()?;
                    let mut utf8 = [0; 8];
                    let char_len = char.encode_utf8(&mut utf8).len();
                    gathered.put(u64::from_le_bytes(utf8), char_len);
                    self.at = self.at.wrapping_add(len);
                }
                [b'"', ..] => {
                    self.step();
                    append(&mut gathered, out);
                    return Ok(());
                }
                [] => return Err(self.refuse("`\"`")),
                _ => return Err(self.refuse("no control character in a string")),
            }
            // The next special byte is near.
            while let Some(word) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
                let word = u64::from_le_bytes(*word);
                let plain = bytes_before(IN_STRING.marks(word));
                gathered.put(word, plain);
                self.at = self.at.wrapping_add(plain);
                if plain < 8 {
                    break;
                }
                if gathered.is_full() {
                    append(&mut gathered, out);
                }
            }
            // Only at the end of the text are there fewer than eight.
            while let Some(byte) = bytes.get(self.at).filter(|byte| !IN_STRING.has(**byte)) {
                gathered.put(u64::from(*byte), 1);
                self.step();
            }
        }
    }

    /// Goes on to the next byte that is special, which is near.
    #[inline]
    fn pass_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(word) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let plain = bytes_before(IN_STRING.marks(u64::from_le_bytes(*word)));
            self.at = self.at.wrapping_add(plain);
            if plain < 8 {
                return;
            }
        }
        let rest = bytes.get(self.at..).unwrap_or_default();
        self.at = self.at.wrapping_add(IN_STRING.plain_len(rest));
    }

    /// What the escape here stands for, and how long it is, both halves of a surrogate pair together.
    #[inline]
    fn escape(&mut self) -> Read<(char, usize)> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        match unescape(rest) {
            Some((Some(char), len)) => Ok((char, len)),
            Some((None, len)) => {
                self.unportable = true;
                Ok((char::REPLACEMENT_CHARACTER, len))
            }
            None if rest.get(1) == Some(&b'u') => Err(self.refuse("`\\u` and four hex digits")),
            None => Err(self.refuse("an escape of JSON")),
        }
    }
}

/// Appends what was gathered; the beginning of a character waits for its end.
#[inline(never)]
fn append(gathered: &mut Gathered, out: &mut String) {
    let bytes = gathered.take();
    let text = match simdutf8::compat::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes.get(..error.valid_up_to()).and_then(|whole| str::from_utf8(whole).ok()).unwrap_or_default(),
    };
    out.push_str(text);
    let cut = bytes.get(text.len()..).unwrap_or_default();
    let (word, len) = (word_of(cut), cut.len());
    gathered.put(word, len);
}

impl<'a> Quoted<'a> {
    /// The text the string stands for. Half a surrogate pair becomes U+FFFD.
    #[inline]
    pub(crate) fn text(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(self.unescaped()) } else { Cow::Borrowed(self.body) }
    }

    #[cold]
    fn unescaped(self) -> String {
        let mut text = String::with_capacity(self.body.len());
        let mut rest = self.body;
        while let Some((plain, escape)) =
            memchr::memchr(b'\\', rest.as_bytes()).and_then(|at| rest.split_at_checked(at))
        {
            text.push_str(plain);
            let (char, len) = unescape(escape.as_bytes()).unwrap_or((None, escape.len()));
            text.push(char.unwrap_or(char::REPLACEMENT_CHARACTER));
            rest = escape.get(len..).unwrap_or_default();
        }
        text.push_str(rest);
        text
    }

    /// The same as a text of an event.
    #[inline]
    pub(crate) fn keep(self, event: &mut Event<'_>) -> Span {
        if self.escaped { event.span(&self.unescaped()) } else { event.span(self.body) }
    }

    /// The string without a line end, and whether it had one.
    pub(crate) fn line(self) -> (Self, bool) {
        if !self.escaped {
            return (self, false);
        }
        let line = self.body.strip_suffix(r"\n").filter(|rest| !ends_in_escape(rest));
        let Some(line) = line else { return (self, false) };
        // A terminal ends its lines with CR LF.
        let line = line.strip_suffix(r"\r").filter(|rest| !ends_in_escape(rest)).unwrap_or(line);
        let escaped = memchr::memchr(b'\\', line.as_bytes()).is_some();
        (Quoted { body: line, escaped }, true)
    }
}

/// Whether the last backslash of `body` begins an escape that what follows belongs to.
fn ends_in_escape(body: &str) -> bool {
    body.bytes().rev().take_while(|byte| *byte == b'\\').count() & 1 == 1
}

/// What the escape at the start of `bytes` stands for, unless it is half a surrogate pair, and how long
/// it is.
#[inline]
fn unescape(bytes: &[u8]) -> Option<(Option<char>, usize)> {
    let char = match bytes.get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        plain @ (b'"' | b'\\' | b'/') => char::from(*plain),
        b'u' => return utf16(bytes).map(|(_, char, len)| (char, len)),
        _ => return None,
    };
    Some((Some(char), 2))
}

/// The escape `\uXXXX` at the start of `bytes`, with its low half if it is a high one: the first
/// unit, the character if there is one, and the bytes used.
fn utf16(bytes: &[u8]) -> Option<(u16, Option<char>, usize)> {
    let first = unit(bytes)?;
    let second = if (0xd800..0xdc00).contains(&first) { bytes.get(6..).and_then(unit) } else { None };
    if let Some(second) = second.filter(|second| (0xdc00..0xe000).contains(second)) {
        let pair = char::decode_utf16([first, second]).next().and_then(Result::ok);
        return Some((first, pair, 12));
    }
    Some((first, char::from_u32(first.into()), 6))
}

fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(br"\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0_u16, |sum, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(sum.wrapping_shl(4) | u16::try_from(digit).ok()?)
    })
}
