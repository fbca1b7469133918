//! Where the parts of a CEF line stand: the header fields, the keys and their values.
//!
//! Values hold spaces without quotes, so a value ends only where the next key begins. On lines that
//! keep the standard this is the strict reading; on others it is the one that loses nothing.
//!
//! Invariant: ranges only, one pass, and every byte behind the last pipe is in a key, in a value, in
//! the text before the first key or one of the separators around them.

use std::ops::Range;

use crate::marker::Marker;
use crate::near;

/// What a line begins with.
pub(crate) const MARKER: Marker = Marker("CEF:");

/// "Exactly 7 pipes" end a header, the first of them behind the version.
const HEADER_FIELDS: usize = 6;

/// A piece of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Piece {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// It holds a backslash.
    pub(crate) is_escaped: bool,
}

impl Piece {
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The header behind the version: vendor, product, version, class, name and severity.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fields: [Piece; HEADER_FIELDS],
    /// Fewer than all of them when the line ends before.
    pub(crate) len: usize,
    /// Where the extension begins; nothing without the last pipe.
    pub(crate) extension: Option<usize>,
}

/// Reads the header whose first field begins at `at`.
pub(crate) fn header(line: &[u8], at: usize) -> Header {
    let mut header = Header::default();
    let mut start = at;
    let mut scanned = at;
    let mut is_escaped = false;
    while let Some(slot) = header.fields.get_mut(header.len) {
        let found = near::find2(line, scanned, b'|', b'\\');
        if let Some(found) = found.filter(|found| line.get(*found) == Some(&b'\\')) {
            // Whatever stands behind a backslash ends nothing.
            is_escaped = true;
            scanned = found.saturating_add(2);
            continue;
        }
        let end = found.unwrap_or(line.len());
        *slot = Piece { start: start as u32, end: end as u32, is_escaped };
        header.len = header.len.saturating_add(1);
        is_escaped = false;
        start = end.saturating_add(1);
        scanned = start;
        if found.is_none() {
            return header;
        }
    }
    header.extension = Some(start);
    header
}

/// One `key=value` of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pair {
    pub(crate) key: u32,
    pub(crate) value: Piece,
}

impl Pair {
    /// The key ends before the equals sign, behind which the value begins.
    pub(crate) fn key(self) -> Range<usize> {
        self.key as usize..(self.value.start as usize).saturating_sub(1)
    }
}

/// Whether a byte may stand in a key; senders write more than the standard's letters and digits:
/// `ad.field[0]`, `ad.Error_,Code`.
pub(crate) const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b',' | b'[' | b']' | b'-')
}

/// The pairs of an extension, in order.
#[derive(Debug)]
pub(crate) struct Pairs<'l> {
    line: &'l [u8],
    /// Where the value of the last pair ends, without the white space behind it.
    end: usize,
    /// The next pair: where its key begins and its equals sign stands.
    next: Option<(usize, usize)>,
    /// What stands before the first key.
    before: Range<usize>,
}

impl<'l> Pairs<'l> {
    /// The extension that begins at `at` and goes on to the end of the line.
    pub(crate) fn new(line: &'l [u8], at: usize) -> Self {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let rest = line.get(at..).unwrap_or_default();
        let Some(first) = rest.iter().position(|byte| !is_space(byte)) else {
            return Pairs { line, end: line.len(), next: None, before: at..at };
        };
        let start = at.saturating_add(first);
        let end = rest.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| at.saturating_add(last));
        let end = end.saturating_add(1);
        let mut pairs = Pairs { line, end, next: None, before: start..start };
        pairs.next = pairs.find_key(start, start, &mut false);
        let before_end = pairs.next.map_or(end, |(key, _)| key.saturating_sub(1).max(start));
        pairs.before = start..before_end;
        pairs
    }

    /// The text before the first key: empty in a line as it should be.
    pub(crate) fn before(&self) -> Range<usize> {
        self.before.clone()
    }

    /// What has not been read yet, from the next key on.
    pub(crate) fn rest(&self) -> Option<Range<usize>> {
        self.next.map(|(key, _)| key..self.end)
    }

    /// The next key at or behind `from`: a run of key bytes, at `first` or behind a space, with an equals
    /// sign behind it. What stands before it holds a backslash if `is_escaped` is set.
    ///
    /// An equals sign behind a backslash has no run before it; so none needs to be told apart here.
    #[inline]
    fn find_key(&self, from: usize, first: usize, is_escaped: &mut bool) -> Option<(usize, usize)> {
        let line = self.line.get(..self.end)?;
        let mut lowest = from;
        let mut scanned = from;
        loop {
            let found = near::find2(line, scanned, b'=', b'\\')?;
            scanned = found.saturating_add(1);
            if line.get(found) == Some(&b'\\') {
                *is_escaped = true;
                lowest = scanned;
                continue;
            }
            let before = line.get(lowest..found)?;
            let run = before.iter().rev().take_while(|byte| is_key_byte(**byte)).count();
            let key = found.saturating_sub(run);
            if run > 0 && (key == first || key.checked_sub(1).and_then(|at| line.get(at)) == Some(&b' ')) {
                return Some((key, found));
            }
            lowest = scanned;
        }
    }
}

impl Iterator for Pairs<'_> {
    type Item = Pair;

    #[inline]
    fn next(&mut self) -> Option<Pair> {
        let (key, equals) = self.next?;
        let start = equals.saturating_add(1);
        let mut is_escaped = false;
        // No key begins at the value's own start: an equals sign stands before it, not a space.
        self.next = self.find_key(start, usize::MAX, &mut is_escaped);
        // "Exactly one separating space is removed: earlier spaces belong to the value."
        let end = self.next.map_or(self.end, |(next, _)| next.saturating_sub(1)).max(start);
        Some(Pair { key: key as u32, value: Piece { start: start as u32, end: end as u32, is_escaped } })
    }
}

#[cfg(test)]
#[allow(clippy::string_slice)]
mod tests {
    use super::*;

    fn check(extension: &str, expected: &[(&str, &str)]) {
        let mut pairs = Pairs::new(extension.as_bytes(), 0);
        let before = pairs.before();
        let found: Vec<_> =
            pairs.by_ref().map(|pair| (&extension[pair.key()], &extension[pair.value.range()])).collect();
        let before = &extension[before];
        let found: Vec<_> = if before.is_empty() { found } else { [vec![("", before)], found].concat() };
        assert_eq!(found, expected, "{extension:?}");
    }

    #[test]
    fn a_value_runs_to_the_space_before_the_next_key() {
        check("", &[]);
        check(" \t\r\n", &[]);
        check("src=10.0.0.1 msg=a b c", &[("src", "10.0.0.1"), ("msg", "a b c")]);
        check(" src=1  dst=2   spt=3 \r\n", &[("src", "1 "), ("dst", "2  "), ("spt", "3")]);
        check("cs1= cs1Label=x a=", &[("cs1", ""), ("cs1Label", "x"), ("a", "")]);
        check("a=1\tb=2\nc=3 d=4", &[("a", "1\tb=2\nc=3"), ("d", "4")]);
    }

    #[test]
    fn an_equals_sign_without_a_key_before_it_is_part_of_the_value() {
        check("request=http://x/?a=b&c=d dst=1", &[("request", "http://x/?a=b&c=d"), ("dst", "1")]);
        check("msg=a == b", &[("msg", "a == b")]);
        check(r#"h={"q": "a;q=0.9"} x=1"#, &[("h", r#"{"q": "a;q=0.9"}"#), ("x", "1")]);
        check("app='a; Guid:test=' cs1= y=2", &[("app", "'a; Guid:test='"), ("cs1", ""), ("y", "2")]);
        check("moo=this =has = equals\\=", &[("moo", "this =has = equals\\=")]);
        check("ad.rawEvent=CEF:0|n|10|k\\=v k1\\=v1", &[("ad.rawEvent", "CEF:0|n|10|k\\=v k1\\=v1")]);
        check("q=k1\\=v1&k2\\=v3 aa.bc&k3\\=v4", &[("q", "k1\\=v1&k2\\=v3 aa.bc&k3\\=v4")]);
        check(r"act=a \\= dst=1", &[("act", r"a \\="), ("dst", "1")]);
        check(r"a= \\hi=b", &[("a", r" \\hi=b")]);
    }

    #[test]
    fn keys_of_the_wild() {
        check(
            "ad.field[0]=f ad.Error_,Code=3 a-b=x é=1",
            &[("ad.field[0]", "f"), ("ad.Error_,Code", "3"), ("a-b", "x é=1")],
        );
    }

    #[test]
    fn text_before_the_first_key_is_kept() {
        check("this is no key", &[("", "this is no key")]);
        check("is not a=b", &[("", "is not"), ("a", "b")]);
        check("=x a=b", &[("", "=x"), ("a", "b")]);
    }

    #[test]
    fn the_header_ends_with_the_seventh_pipe() {
        let line = r"CEF:0|a|b\||c\\||e|f|g|x=1";
        let found = header(line.as_bytes(), 6);
        let fields: Vec<_> = found.fields.iter().take(found.len).map(|piece| &line[piece.range()]).collect();
        assert_eq!(fields, ["a", r"b\|", r"c\\", "", "e", "f"]);
        assert_eq!(found.fields.map(|piece| piece.is_escaped), [false, true, true, false, false, false]);
        assert_eq!(found.extension, line.find("g|x").map(|_| line.len() - 5));
    }

    #[test]
    fn a_header_may_end_early() {
        for (line, len) in [("CEF:0|", 1), ("CEF:0|a|b|", 3), ("CEF:0|a|b|c|d|e|5", 6), (r"CEF:0|a\", 1)] {
            let found = header(line.as_bytes(), 6);
            assert_eq!((found.len, found.extension), (len, None), "{line}");
        }
        assert_eq!(header(b"CEF:0|a|b|c|d|e|5|", 6).extension, Some(18));
    }
}
