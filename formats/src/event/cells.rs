//! How an event keeps its values: texts as ranges of its bytes, everything else by value.
//!
//! Invariant: a value has neither a destructor nor a lifetime, and a range that is not there is an empty text.

use super::{Event, Extra, Value};
use crate::{Field, Time};

/// A text of an event: a range of its raw bytes, or of its own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// With [`Span::OWN`], counted from the start of the own text.
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    /// Set in `start`: the text is the event's own.
    pub(crate) const OWN: u32 = 1 << 31;
    const EMPTY: Span = Span { start: 0, len: 0 };

    /// What a range can say, below [`Span::OWN`].
    fn new(start: usize, len: usize) -> Option<Span> {
        let end = start.checked_add(len)?;
        let fits = end < Span::OWN as usize;
        fits.then_some(Span { start: start as u32, len: len as u32 })
    }
}

/// A value as it is kept: without a lifetime, so that the list of them outlives the bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell {
    Str(Span),
    Json(Span),
    Int(i64),
    Time(i64),
    Bool(bool),
}

impl Cell {
    /// The same in an event whose own text has so many bytes before it.
    #[inline]
    pub(super) fn shifted(self, by: u32) -> Cell {
        match self {
            Cell::Str(span) => Cell::Str(Span { start: span.start.wrapping_add(by), ..span }),
            Cell::Json(span) => Cell::Json(Span { start: span.start.wrapping_add(by), ..span }),
            other => other,
        }
    }
}

/// An [`Extra`] as it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExtraCell {
    pub(crate) group: Span,
    pub(crate) name: Span,
    pub(crate) value: Cell,
}

/// How values are kept.
impl Event<'_> {
    #[inline]
    pub(crate) fn cell(&mut self, value: Value<'_>) -> Cell {
        match value {
            Value::Str(text) => Cell::Str(self.span(text)),
            Value::Json(text) => Cell::Json(self.span(text)),
            Value::Int(number) => Cell::Int(number),
            Value::Time(time) => Cell::Time(time.0),
            Value::Bool(truth) => Cell::Bool(truth),
        }
    }

    #[inline]
    pub(crate) fn value(&self, cell: Cell) -> Value<'_> {
        match cell {
            Cell::Str(span) => Value::Str(self.str(span)),
            Cell::Json(span) => Value::Json(self.str(span)),
            Cell::Int(number) => Value::Int(number),
            Cell::Time(nanos) => Value::Time(Time(nanos)),
            Cell::Bool(truth) => Value::Bool(truth),
        }
    }

    #[inline]
    pub(super) fn resolve(&self, cell: ExtraCell) -> Extra<'_> {
        Extra { group: self.str(cell.group), name: self.str(cell.name), value: self.value(cell.value) }
    }

    #[inline]
    pub(crate) fn str(&self, span: Span) -> &str {
        let start = (span.start & !Span::OWN) as usize;
        let range = start..start.wrapping_add(span.len as usize);
        let text = if span.start & Span::OWN == 0 { self.text } else { self.own.as_str() };
        text.get(range).unwrap_or_default()
    }

    /// The bytes of a text: all that an emitter needs that copies what is plain.
    #[inline]
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        let start = (span.start & !Span::OWN) as usize;
        let text = if span.start & Span::OWN == 0 { self.text } else { self.own.as_str() };
        text.as_bytes().get(start..start.wrapping_add(span.len as usize)).unwrap_or_default()
    }

    /// Where `piece`, which is a piece of the text, stands.
    pub(crate) fn within(&self, text: Span, piece: &str) -> Span {
        let from = piece.as_ptr().addr().wrapping_sub(self.str(text).as_ptr().addr());
        Span { start: text.start.wrapping_add(from as u32), len: piece.len() as u32 }
    }

    /// A text without what `trim` takes off.
    pub(crate) fn trimmed(&self, text: Span, trim: impl FnOnce(&str) -> &str) -> Span {
        self.within(text, trim(self.str(text)))
    }

    /// The number a value is, also when it was written as text.
    pub(crate) fn whole(&self, cell: Cell) -> Option<i64> {
        match cell {
            Cell::Int(number) => Some(number),
            Cell::Str(span) => self.str(span).parse().ok(),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn span(&mut self, text: &str) -> Span {
        match self.raw_span(text) {
            Some(span) => span,
            None => self.own_span(text),
        }
    }

    /// The range of the raw bytes that the text is: a text that lies inside their memory.
    #[inline]
    pub(super) fn raw_span(&self, text: &str) -> Option<Span> {
        let start = text.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let room = self.text.len().checked_sub(start)?;
        // A text of 2 GiB is no event's: see `text_of`.
        (text.len() <= room).then_some(Span { start: start as u32, len: text.len() as u32 })
    }

    #[inline(never)]
    pub(super) fn own_span(&mut self, text: &str) -> Span {
        let Some(span) = Span::new(self.own.len(), text.len()) else { return Span::EMPTY };
        self.own.push_str(text);
        Span { start: span.start | Span::OWN, len: span.len }
    }

    /// Keeps what `write` appends as a text of the event's own.
    pub(crate) fn span_with(&mut self, write: impl FnOnce(&mut String)) -> Span {
        let start = self.own.len();
        write(&mut self.own);
        match Span::new(start, self.own.len().saturating_sub(start)) {
            Some(span) => Span { start: span.start | Span::OWN, len: span.len },
            None => {
                self.own.truncate(start);
                Span::EMPTY
            }
        }
    }

    /// The texts that are no piece of the raw bytes, and all values: for the stored form.
    pub(crate) fn parts(&self) -> (&str, &[(Field, Cell)], &[ExtraCell]) {
        (&self.own, &self.known, &self.extras)
    }

    /// The same, to be filled; what is put there must name ranges that are there.
    pub(crate) fn own_mut(&mut self) -> &mut String {
        &mut self.own
    }

    pub(crate) fn push_extra(&mut self, extra: ExtraCell) {
        self.extras.push(extra);
    }
}
