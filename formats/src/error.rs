//! Why a parser gave up, and where.

use std::fmt;

/// A byte offset into the input and what would have been right there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// Byte offset into the input of the parser.
    pub at: usize,
    /// A noun phrase: "a digit", "`CEF:` and a version".
    pub expected: &'static str,
}

impl ParseError {
    /// An error at byte `at`.
    pub const fn new(at: usize, expected: &'static str) -> Self {
        ParseError { at, expected }
    }

    /// The sentence for people: what was expected and what stands there instead.
    pub fn describe(&self, input: &[u8]) -> String {
        let rest = input.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return format!("expected {} at byte {}, found the end", self.expected, self.at);
        }
        let shown: String = String::from_utf8_lossy(rest.get(..24).unwrap_or(rest)).escape_debug().collect();
        format!("expected {} at byte {}, found `{shown}`", self.expected, self.at)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

impl std::error::Error for ParseError {}
