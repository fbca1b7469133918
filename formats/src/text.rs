//! Input bytes whose encoding is looked at once, so that every piece of them is text without a copy.
//!
//! Invariant: a piece of valid UTF-8 is borrowed; anything else is text with U+FFFD, never an error.

use std::borrow::Cow;
use std::ops::Range;

/// One frame and, when it is UTF-8, the same as text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    bytes: &'a [u8],
    utf8: Option<&'a str>,
}

impl<'a> Text<'a> {
    /// Looks at the encoding of the whole frame.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Text { bytes, utf8: simdutf8::basic::from_utf8(bytes).ok() }
    }

    /// The bytes themselves.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A piece of the frame; an empty text when the range is not inside it.
    #[inline]
    pub(crate) fn piece(&self, range: Range<usize>) -> Cow<'a, str> {
        match self.utf8.and_then(|text| text.get(range.clone())) {
            Some(text) => Cow::Borrowed(text),
            None => String::from_utf8_lossy(self.bytes.get(range).unwrap_or_default()),
        }
    }

    /// Everything from `at` on.
    pub(crate) fn tail(&self, at: usize) -> Cow<'a, str> {
        self.piece(at.min(self.bytes.len())..self.bytes.len())
    }
}
