//! Logfmt as Go's logrus writes it: `key=value` and `key="Go %q string"`, separated by spaces.
//!
//! Invariant: every byte between the pairs is a space, or the pair is answered as a word without `=`.

use std::borrow::Cow;

use crate::text::Text;

/// One pair; a word without `=` is a key with an empty value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) value: Cow<'a, str>,
    /// The value has no closing quote: the line was cut.
    pub(super) cut: bool,
}

/// The pairs of a line from a byte on.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    text: Text<'a>,
    at: usize,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(text: Text<'a>, at: usize) -> Self {
        Pairs { text, at }
    }

    /// Where the next pair may begin.
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let bytes = self.text.bytes();
        let spaces = bytes.get(self.at..)?.iter().position(|byte| !is_space(*byte))?;
        let start = self.at.saturating_add(spaces);
        let rest = bytes.get(start..)?;
        let key_len = rest.iter().position(|byte| *byte == b'=' || is_space(*byte)).unwrap_or(rest.len());
        let key_end = start.saturating_add(key_len);
        let key = self.text.piece(start..key_end);
        let value_at = key_end.saturating_add(1);
        let (value, cut) = match rest.get(key_len..).unwrap_or_default() {
            [b'=', b'"', quoted @ ..] => {
                let start = value_at.saturating_add(1);
                let (len, escaped) = quoted_len(quoted);
                let end = start.saturating_add(len.unwrap_or(quoted.len()));
                self.at = end.saturating_add(1);
                let value = self.text.piece(start..end);
                (if escaped { Cow::Owned(unquote(&value)) } else { value }, len.is_none())
            }
            [b'=', bare @ ..] => {
                let len = memchr::memchr3(b' ', b'\t', b'\n', bare).unwrap_or(bare.len());
                self.at = value_at.saturating_add(len);
                (self.text.piece(value_at..self.at), false)
            }
            _ => {
                self.at = key_end;
                (Cow::Borrowed(""), false)
            }
        };
        Some(Pair { key, value, cut })
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Bytes before the closing quote, and whether a backslash is among them.
fn quoted_len(quoted: &[u8]) -> (Option<usize>, bool) {
    let mut at = 0_usize;
    let mut escaped = false;
    while let Some(found) = quoted.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        let found = at.saturating_add(found);
        if quoted.get(found) == Some(&b'"') {
            return (Some(found), escaped);
        }
        escaped = true;
        at = found.saturating_add(2);
    }
    (None, escaped)
}

/// Undoes Go's `%q`. Bytes that are no text become U+FFFD; an unknown escape stays as it is.
pub(super) fn unquote(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        let after = after.get(1..).unwrap_or_default();
        let used = escape(after, &mut out);
        if used == 0 {
            out.push(b'\\');
        }
        rest = after.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Appends what the escape after a backslash stands for; answers the bytes used, 0 for none.
fn escape(after: &[u8], out: &mut Vec<u8>) -> usize {
    let simple = match after.first() {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'a') => 7,
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'v') => 11,
        Some(byte @ (b'"' | b'\\' | b'\'')) => *byte,
        _ => return coded(after, out),
    };
    out.push(simple);
    1
}

/// `\xHH`, `\uHHHH`, `\UHHHHHHHH` and `\ooo`.
fn coded(after: &[u8], out: &mut Vec<u8>) -> usize {
    let number = |range: std::ops::Range<usize>, radix| {
        let digits = std::str::from_utf8(after.get(range)?).ok().filter(|digits| !digits.starts_with('+'))?;
        u32::from_str_radix(digits, radix).ok()
    };
    let byte = |number: Option<u32>| number.and_then(|number| u8::try_from(number).ok());
    let (used, found) = match after.first() {
        Some(b'x') => (3, byte(number(1..3, 16)).map(|byte| out.push(byte))),
        Some(b'0'..=b'7') => (3, byte(number(0..3, 8)).map(|byte| out.push(byte))),
        Some(b'u' | b'U') => {
            let used = if after.first() == Some(&b'u') { 5 } else { 9 };
            let c = number(1..used, 16).map(|number| char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
            (used, c.map(|c| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes())))
        }
        _ => return 0,
    };
    if found.is_some() { used } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &[(&str, &str)]) {
        let pairs: Vec<_> = Pairs::new(Text::new(input.as_bytes()), 0).collect();
        let pairs: Vec<_> = pairs.iter().map(|pair| (pair.key.as_ref(), pair.value.as_ref())).collect();
        assert_eq!(pairs, expected, "{input}");
    }

    #[test]
    fn pairs_quoted_and_bare() {
        check(r#"a=1 b="two words"  c= d="" "#, &[("a", "1"), ("b", "two words"), ("c", ""), ("d", "")]);
        check(r#"graphdriver(s)=overlay2 d="651.447µs""#, &[("graphdriver(s)", "overlay2"), ("d", "651.447µs")]);
        check("x word y=%!s(<nil>)", &[("x", ""), ("word", ""), ("y", "%!s(<nil>)")]);
        // Logfmt inside a value: only the outer level is read.
        check(r#"msg="w time=\"t\" level=info""#, &[("msg", r#"w time="t" level=info"#)]);
        check(r#"msg="cut \"#, &[("msg", "cut \\")]);
        check("", &[]);
    }

    #[test]
    fn go_escapes() {
        for (quoted, expected) in [
            (r#"\" \\ \n\t\r"#, "\" \\ \n\t\r"),
            (r"\a\b\f\v\x1b\033", "\x07\x08\x0C\x0B\x1B\x1B"),
            (r"\u00e9\U0001F433\xc3\xa9", "é🐳é"),
            (r"\xff|\ud800", "\u{FFFD}|\u{FFFD}"),
            (r"\q \x1 \u12 \", r"\q \x1 \u12 \"),
        ] {
            assert_eq!(unquote(quoted), expected);
        }
    }
}
