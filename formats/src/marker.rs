//! `CEF:0|` and `LEEF:2.0|`: what such a line begins with, wherever in a frame that is.

use std::ops::Range;

/// How far into a line a marker is looked for, behind what a relay put before it.
const WINDOW: usize = 256;

/// The name and the colon that lines of a format begin with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marker(pub(crate) &'static str);

impl Marker {
    /// Where the name, a version and a pipe begin: at the start of the line, behind a space, or behind the
    /// colon of a tag, as F5 writes it.
    pub(crate) fn find(self, line: &[u8]) -> Option<usize> {
        if self.version(line, 0).is_some() {
            return Some(0);
        }
        let window = line.get(..WINDOW).unwrap_or(line);
        let before = |at: &usize| at.checked_sub(1).and_then(|before| line.get(before));
        memchr::memmem::find_iter(window, self.0)
            .find(|at| matches!(before(at), Some(b' ' | b':')) && self.version(line, *at).is_some())
    }

    /// The version of a marker that begins at `at`; the pipe stands behind it. "Accept any digits with
    /// optional dot and optional space after the colon."
    #[inline]
    pub(crate) fn version(self, line: &[u8], at: usize) -> Option<Range<usize>> {
        let rest = line.get(at..)?.strip_prefix(self.0.as_bytes())?;
        let spaces = rest.iter().take(8).take_while(|byte| **byte == b' ').count();
        let digits = rest.get(spaces..)?;
        let len = digits.iter().take(16).position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let is_number = digits.first().is_some_and(u8::is_ascii_digit) && digits.get(len) == Some(&b'|');
        let start = at.saturating_add(self.0.len()).saturating_add(spaces);
        is_number.then(|| start..start.saturating_add(len))
    }

    /// How sure we are that a line is of the format: one that begins with the marker is; one that has
    /// something unknown before it is likely.
    pub(crate) fn score(self, line: &[u8]) -> u8 {
        /// So far into a line of unknown format the marker is looked for.
        const NEAR: usize = 128;
        match line.first() {
            // JSON holds other people's lines, and syslog with a PRI is known as such.
            None | Some(b'{' | b'[' | b'<') => 0,
            _ if self.version(line, 0).is_some() => 95,
            _ if self.find(line.get(..NEAR).unwrap_or(line)).is_some() => 50,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_stands_at_the_start_or_behind_a_space() {
        for (line, expected) in [
            ("CEF:0|", Some(0)),
            ("CEF: 0|", Some(0)),
            ("CEF:1.0|", Some(0)),
            ("a b CEF:0|", Some(4)),
            ("a tag:CEF:0|", Some(6)),
            ("aCEF:0|", None),
            ("CEF:|", None),
            ("CEF:0", None),
            ("CEF:x|", None),
            ("CEF:.1|", None),
            ("a CEF:x b CEF:1|", Some(10)),
            ("LEEF:1.0|", None),
            ("", None),
        ] {
            assert_eq!(Marker("CEF:").find(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(Marker("LEEF:").version(b"x LEEF: 2.0|", 2), Some(8..11));
    }

    #[test]
    fn what_holds_a_line_is_not_one() {
        for (line, expected) in
            [("CEF:0|", 95), ("host CEF:0|", 50), ("{\"a\":\"x CEF:0|\"}", 0), ("<13>host CEF:0|", 0), ("", 0)]
        {
            assert_eq!(Marker("CEF:").score(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(Marker("CEF:").score(format!("{} CEF:0|", "x".repeat(200)).as_bytes()), 0);
    }
}
