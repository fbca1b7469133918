//! Input bytes whose encoding is looked at once, so that every piece of them is text without a copy.
//!
//! Invariant: a piece of valid UTF-8 is borrowed; anything else is text with U+FFFD, never an error.

use std::borrow::Cow;
use std::ops::Range;

use crate::event::{Cell, Span};
use crate::{Event, Field};

/// One frame and, when it is UTF-8, the same as text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    bytes: &'a [u8],
    utf8: Option<&'a str>,
    /// Where the frame stands in the raw bytes of the event, when they are text.
    base: Option<u32>,
}

impl<'a> Text<'a> {
    /// Looks at the encoding of the whole frame.
    #[cfg(test)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Text { bytes, utf8: simdutf8::basic::from_utf8(bytes).ok(), base: None }
    }

    /// The same for a piece of the event's raw bytes, whose encoding is known.
    pub(crate) fn of(event: &Event<'a>, bytes: &'a [u8]) -> Self {
        let raw = event.raw_text().unwrap_or_default();
        let at = bytes.as_ptr().addr().wrapping_sub(raw.as_ptr().addr());
        match raw.get(at..at.wrapping_add(bytes.len())) {
            // An empty piece may lie anywhere.
            Some(text) if !text.is_empty() => Text { bytes, utf8: Some(text), base: u32::try_from(at).ok() },
            _ => Text { bytes, utf8: simdutf8::basic::from_utf8(bytes).ok(), base: None },
        }
    }

    /// Where a piece stands in the raw bytes of the event: no more is needed to keep it.
    #[inline]
    pub(crate) fn span(&self, range: &Range<usize>) -> Option<Span> {
        let base = self.base?;
        Some(Span { start: base.wrapping_add(range.start as u32), len: range.end.wrapping_sub(range.start) as u32 })
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

    /// A piece of the frame that is ASCII; an empty text when it is not.
    #[inline]
    pub(crate) fn ascii(&self, range: Range<usize>) -> &'a str {
        match self.utf8.and_then(|text| text.get(range.clone())) {
            Some(text) => text,
            None => self.bytes.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default(),
        }
    }

    /// Everything from `at` on.
    pub(crate) fn tail(&self, at: usize) -> Cow<'a, str> {
        self.piece(at.min(self.bytes.len())..self.bytes.len())
    }
}

/// How pieces of a frame get into the event that it becomes.
impl Event<'_> {
    /// Sets a text field to a piece of the frame that is parsed, unless it is empty.
    #[inline]
    pub(crate) fn set_piece(&mut self, field: Field, text: &Text<'_>, range: Range<usize>) {
        if !range.is_empty() {
            let span = self.keep(text, range);
            self.put(field, Cell::Str(span));
        }
    }

    /// A piece of the frame that is parsed.
    #[inline(always)]
    pub(crate) fn keep(&mut self, text: &Text<'_>, range: Range<usize>) -> Span {
        match text.span(&range) {
            Some(span) => span,
            None => self.keep_lossy(text, range),
        }
    }

    #[cold]
    #[inline(never)]
    fn keep_lossy(&mut self, text: &Text<'_>, range: Range<usize>) -> Span {
        self.span(&text.piece(range))
    }
}
