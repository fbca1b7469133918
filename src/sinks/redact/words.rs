//! The words of a command, as a shell has them (`mysql -p'a b' db`), a list (`["mysql","-pa b","db"]`), or a line of
//! the audit system (`a0="mysql" a1="-pa b"`); each also in a text of a text.

use std::ops::Range;

use super::quotes::Quotes;
use super::values::{number, quoted, trimmed};

/// A word.
#[derive(Debug)]
pub(super) struct Word {
    /// Without the quotes around it.
    pub(super) range: Range<usize>,
    /// Where what is behind it begins.
    pub(super) end: usize,
    /// Of a value in a list that is no text: backslashes before the quotes that a text in its place needs.
    pub(super) quotes: Option<usize>,
}

/// The words behind one.
#[derive(Clone)]
pub(super) struct Words<'t> {
    text: &'t [u8],
    at: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each in such quotes.
    List { slashes: usize, quote: u8 },
    /// Of a shell, to the end of the text it stands in; before the quotes in it stand so many backslashes.
    Line { end: usize, slashes: usize },
}

impl<'t> Words<'t> {
    /// What follows the word that stands there, which may have quotes around it.
    pub(super) fn behind(text: &'t [u8], quotes: &Quotes<'_>, word: Range<usize>) -> Words<'t> {
        let mut around = quotes.around(&word);
        let mut at = word.end;
        let is_single = || word.start > 0 && text[word.start - 1] == b'\'' && text.get(word.end) == Some(&b'\'');
        let item = match around {
            Some(quoted) if quoted.range == word => Some((quoted.slashes, b'"')),
            _ => is_single().then_some((0, b'\'')),
        };
        if let Some((slashes, quote)) = item {
            at += slashes + 1;
            if separated(text, at).is_some() {
                return Words { text, at, kind: Kind::List { slashes, quote } };
            }
            if quote == b'"' {
                around = around.and_then(|quoted| quotes.outside(quoted));
            }
        }
        let end = around.map_or(text.len(), |quoted| quoted.range.end);
        let slashes = around.map_or(0, |quoted| 2 * quoted.slashes + 1);
        Words { text, at: at.min(end), kind: Kind::Line { end, slashes } }
    }

    /// Whether both are read alike: of the same list or line.
    pub(super) fn is_like(&self, other: &Words<'_>) -> bool {
        self.kind == other.kind
    }

    /// What stands in the list that begins there with `[`, up to what is neither text nor number.
    pub(super) fn of_list(text: &'t [u8], at: usize, slashes: usize) -> Words<'t> {
        Words { text, at, kind: Kind::List { slashes, quote: b'"' } }
    }

    fn next_of_list(&mut self, slashes: usize, quote: u8) -> Option<Word> {
        let text = self.text;
        let at = separated(text, self.at)?;
        let Some(range) = quoted(text, at) else {
            let range = number(text, at);
            self.at = range.end;
            let is_listed = text[..at].trim_ascii_end().ends_with(b",") || text[..at].trim_ascii_end().ends_with(b"[");
            let quotes = is_listed.then_some(slashes);
            return (!range.is_empty()).then_some(Word { end: range.end, range, quotes });
        };
        let end = (range.end + slashes + 1).min(text.len());
        let is_alike = range.start == at + slashes + 1 && text[range.start - 1] == quote;
        // The name of a value.
        let is_name = text.get(behind_space(text, end)) == Some(&b':');
        self.at = end;
        (is_alike && !is_name).then_some(Word { range, end, quotes: None })
    }

    fn next_of_line(&mut self, end: usize, slashes: usize) -> Option<Word> {
        let text = self.text;
        loop {
            match text.get(self.at).filter(|_| self.at < end)? {
                b' ' | b'\t' => self.at += 1,
                // The line goes on.
                b'\\' if text[self.at..end].starts_with(b"\\\n") => self.at += 2,
                b'\n' | b'\r' => return None,
                b'\\' => match escape(&text[self.at..end], slashes) {
                    Some(len) if text[self.at + len - 1] == b't' => self.at += len,
                    Some(_) => return None,
                    None => break,
                },
                _ => break,
            }
        }
        let word = shell_word(&text[..end], self.at, slashes);
        let whole = &text[self.at..word.end];
        // Behind these stands another command.
        let is_end = matches!(whole, b"|" | b"||" | b"&" | b"&&" | b";");
        self.at = if whole.ends_with(b";") { end } else { word.end };
        (!is_end && !whole.is_empty()).then_some(word)
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        match self.kind {
            Kind::List { slashes, quote } => self.next_of_list(slashes, quote),
            Kind::Line { end, slashes } => self.next_of_line(end, slashes),
        }
    }
}

/// The word that begins there, with quoted pieces anywhere in it.
fn shell_word(text: &[u8], from: usize, slashes: usize) -> Word {
    let end = shell_word_end(text, from, slashes);
    let range = unquoted(text, from..end);
    let range = if range.end == end { trimmed(text, range) } else { range };
    Word { range, end, quotes: None }
}

fn shell_word_end(text: &[u8], from: usize, slashes: usize) -> usize {
    let mut at = from;
    while let Some(byte) = text.get(at) {
        at = match byte {
            byte if byte.is_ascii_whitespace() => return at,
            b'\'' => match memchr::memchr(b'\'', &text[at + 1..]) {
                // It ends what the whole command stands in.
                Some(_) | None if is_closing(text, from, at) => return at,
                Some(len) => at + len + 2,
                None => at + 1,
            },
            b'"' | b'\\' => {
                let run = text[at..].iter().take_while(|byte| **byte == b'\\').count();
                match text.get(at + run) {
                    Some(b'"') if run == slashes => match quoted(text, at) {
                        Some(inside) if inside.end < text.len() => inside.end + slashes + 1,
                        _ if at == from || is_value_start(text, from, at) => text.len(),
                        _ => return at,
                    },
                    Some(_) if escape(&text[at..], slashes).is_some() => return at,
                    _ => at + run + 1,
                }
            }
            _ => at + 1,
        };
    }
    text.len()
}

/// Whether a value begins there within a word: `-p'x'`, `--password='x'`, `user:'x'`.
fn is_value_start(text: &[u8], from: usize, at: usize) -> bool {
    let before = &text[from..at];
    matches!(before, [b'-', letter] if letter.is_ascii_alphabetic()) || before.ends_with(b"=") || before.ends_with(b":")
}

/// Whether a `'` is the end of what the word stands in.
fn is_closing(text: &[u8], from: usize, at: usize) -> bool {
    let is_behind = |byte: &u8| byte.is_ascii_whitespace() || b"\"\\,;)]}".contains(byte);
    at > from && !is_value_start(text, from, at) && text.get(at + 1).is_none_or(is_behind)
}

/// The bytes of white space that a text begins with, where a quote has so many backslashes: `\n`, `\\n`.
fn escape(text: &[u8], slashes: usize) -> Option<usize> {
    let run = text.iter().take_while(|byte| **byte == b'\\').count();
    let is_one = run > 0 && run == slashes.div_ceil(2) && text.get(run).is_some_and(|byte| b"nrt".contains(byte));
    is_one.then_some(run + 1)
}

/// Without the quotes around all of it.
pub(super) fn unquoted(text: &[u8], range: Range<usize>) -> Range<usize> {
    match quoted(&text[..range.end], range.start) {
        Some(inside) if inside.end < range.end && inside.end + (inside.start - range.start) == range.end => inside,
        _ => range,
    }
}

/// Where the next item of a list begins: behind `,`, `[`, or ` a1=`.
fn separated(text: &[u8], at: usize) -> Option<usize> {
    let at = behind_space(text, at);
    match text.get(at)? {
        b',' | b'[' => Some(behind_space(text, at + 1)),
        b'a' if text[at - 1] == b' ' => {
            let digits = text[at + 1..].iter().take(8).take_while(|byte| byte.is_ascii_digit()).count();
            (digits > 0 && text.get(at + 1 + digits) == Some(&b'=')).then_some(at + digits + 2)
        }
        _ => None,
    }
}

/// Behind white space, as texts in texts write it, too.
fn behind_space(text: &[u8], mut at: usize) -> usize {
    loop {
        at += text[at.min(text.len())..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let run = text.get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b'\\').count();
        match text.get(at + run) {
            Some(b'n' | b'r' | b't') if run > 0 => at += run + 1,
            _ => return at,
        }
    }
}
