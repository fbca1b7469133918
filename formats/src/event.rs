//! One normalized event: what every parser fills and every emitter reads.
//!
//! Canonical fields sit in a list with an index by [`Field`]; everything else the input said is an
//! [`Extra`], in input order. A text that is a piece of the raw bytes is kept as a range of them, any
//! other is copied once into memory that the event owns: no value has a destructor, and once an event
//! is reused ([`Event::reuse`]) an ordinary line costs no allocation.
//!
//! Invariant: total. Raw bytes and own text of 2 GiB and more are more than a range can say: a text
//! beyond that is left out, the raw bytes never are.

mod cells;

pub(crate) use self::cells::{Cell, ExtraCell, Span};

use crate::{Field, ParseError, Time};

/// The value of a field or an extra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'v> {
    /// Text. Bytes that were not UTF-8 are U+FFFD here and intact in [`Event::raw`].
    Str(&'v str),
    /// A whole number.
    Int(i64),
    /// An instant.
    Time(Time),
    /// True or false.
    Bool(bool),
    /// JSON as it stood in the input: objects, arrays, numbers of any length, null.
    Json(&'v str),
}

/// Something the input said that has no canonical field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extra<'e> {
    /// Where it stood: `sd.origin` is group `sd` with name `origin.ip`; may be empty.
    pub group: &'e str,
    /// Its name there, as written.
    pub name: &'e str,
    /// Its value.
    pub value: Value<'e>,
}

/// One normalized event over its raw bytes.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    raw: &'a [u8],
    /// The raw bytes as text, or empty when they are not UTF-8.
    text: &'a str,
    /// The raw bytes were read to their end as JSON that every reader takes.
    is_json: bool,
    /// Texts that are no piece of `text`, one after the other.
    own: String,
    /// Position in `known` plus one, by field number; 0 is absent.
    index: [u8; Field::COUNT],
    known: Vec<(Field, Cell)>,
    extras: Vec<ExtraCell>,
}

// The index holds positions plus one in a byte.
const _: () = assert!(Field::COUNT < 255);

impl<'a> Event<'a> {
    /// An event that knows nothing yet but its bytes.
    pub fn new(raw: &'a [u8]) -> Self {
        Event {
            raw,
            text: text_of(raw),
            is_json: false,
            own: String::new(),
            index: [0; Field::COUNT],
            known: Vec::new(),
            extras: Vec::new(),
        }
    }

    /// Empties the event and keeps its memory for other bytes.
    pub fn reuse<'b>(self, raw: &'b [u8]) -> Event<'b> {
        self.reuse_as(raw, text_of(raw))
    }

    /// The same when the caller has looked at the encoding: `text` is `raw` or empty.
    pub(crate) fn reuse_as<'b>(self, raw: &'b [u8], text: &'b str) -> Event<'b> {
        let Event { mut own, mut known, mut extras, .. } = self;
        own.clear();
        known.clear();
        extras.clear();
        Event { raw, text, is_json: false, own, index: [0; Field::COUNT], known, extras }
    }

    /// The same event over its raw bytes, when it was made without any: no text of it is a piece of them.
    pub(crate) fn over<'b>(self, raw: &'b [u8]) -> Event<'b> {
        debug_assert!(self.text.is_empty(), "a text may be a piece of other bytes");
        let Event { own, index, known, extras, .. } = self;
        Event { raw, text: text_of(raw), is_json: false, own, index, known, extras }
    }

    /// The bytes as they were received.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The raw bytes as text, when they are UTF-8.
    pub(crate) fn raw_text(&self) -> Option<&'a str> {
        (self.text.len() == self.raw.len()).then_some(self.text)
    }

    /// The raw bytes, all of them, when whoever read them says that they are one JSON value.
    pub(crate) fn raw_json(&self) -> Option<&'a str> {
        self.raw_text().filter(|_| self.is_json)
    }

    pub(crate) fn mark_json(&mut self) {
        self.is_json = true;
    }

    /// Sets a canonical field; a second value replaces the first.
    #[inline]
    pub fn set<'v>(&mut self, field: Field, value: impl Into<Value<'v>>) {
        let cell = self.cell(value.into());
        self.put(field, cell);
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, field: Field, cell: Cell) {
        let Some(slot) = self.index.get_mut(field as usize) else { return };
        if let Some(known) = usize::from(*slot).checked_sub(1).and_then(|at| self.known.get_mut(at)) {
            known.1 = cell;
            return;
        }
        // At most one entry a field: the position fits (asserted above).
        *slot = (self.known.len() as u8).wrapping_add(1);
        self.known.push((field, cell));
    }

    /// Sets a text field unless the text is empty: absent is never an empty string.
    #[inline]
    pub fn set_text(&mut self, field: Field, text: impl AsRef<str>) {
        let text = text.as_ref();
        if !text.is_empty() {
            self.set(field, text);
        }
    }

    /// Sets a field to a text that is kept, unless it is empty or there is none.
    #[inline]
    pub(crate) fn set_span(&mut self, field: Field, text: Option<Span>) {
        if let Some(text) = text.filter(|text| text.len > 0) {
            self.put(field, Cell::Str(text));
        }
    }

    /// Sets every field of `other`, whose extras stay behind: what many events have in common is put
    /// together once.
    pub fn set_all(&mut self, other: &Event<'_>) {
        let shift = self.own.len();
        if shift.saturating_add(other.own.len()) >= Span::OWN as usize || !other.text.is_empty() {
            return other.fields().for_each(|(field, value)| self.set(field, value));
        }
        self.own.push_str(&other.own);
        for (field, cell) in &other.known {
            self.put(*field, cell.shifted(shift as u32));
        }
    }

    /// Gives `to` the value of `from`, when there is one.
    pub fn copy(&mut self, from: Field, to: Field) {
        if let Some(cell) = self.at(from) {
            self.put(to, cell);
        }
    }

    #[inline]
    pub(crate) fn at(&self, field: Field) -> Option<Cell> {
        let slot = self.index.get(field as usize).copied().unwrap_or(0);
        self.known.get(usize::from(slot).checked_sub(1)?).map(|(_, cell)| *cell)
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, field: Field) -> Option<Value<'_>> {
        self.at(field).map(|cell| self.value(cell))
    }

    /// Whether a field has a value.
    #[inline]
    pub fn has(&self, field: Field) -> bool {
        self.index.get(field as usize).is_some_and(|slot| *slot > 0)
    }

    /// The text of a field that holds text.
    #[inline]
    pub fn text(&self, field: Field) -> Option<&str> {
        match self.at(field)? {
            Cell::Str(span) | Cell::Json(span) => Some(self.str(span)),
            _ => None,
        }
    }

    /// The number of a field that holds one.
    pub fn int(&self, field: Field) -> Option<i64> {
        match self.at(field)? {
            Cell::Int(number) => Some(number),
            _ => None,
        }
    }

    /// The instant of a field that holds one.
    pub fn time(&self, field: Field) -> Option<Time> {
        match self.at(field)? {
            Cell::Time(nanos) => Some(Time(nanos)),
            _ => None,
        }
    }

    /// Keeps what has no canonical field.
    #[inline]
    pub fn extra<'v>(&mut self, group: impl AsRef<str>, name: impl AsRef<str>, value: impl Into<Value<'v>>) {
        let group = self.group_span(group.as_ref());
        let name = self.span(name.as_ref());
        let value = self.cell(value.into());
        self.extras.push(ExtraCell { group, name, value });
    }

    /// The same with a value that was taken out of a field.
    pub(crate) fn put_extra(&mut self, group: &str, name: &str, value: Cell) {
        let name = self.span(name);
        self.put_named(group, name, value);
    }

    /// The same when the name is kept.
    #[inline]
    pub(crate) fn put_named(&mut self, group: &str, name: Span, value: Cell) {
        let group = self.group_span(group);
        self.extras.push(ExtraCell { group, name, value });
    }

    /// Extras come in groups: the text of one that is not in the raw bytes is kept once.
    #[inline]
    fn group_span(&mut self, group: &str) -> Span {
        if let Some(span) = self.raw_span(group) {
            return span;
        }
        match self.extras.last() {
            Some(last) if self.bytes(last.group) == group.as_bytes() => last.group,
            _ => self.own_span(group),
        }
    }

    /// Forgets the extras after the first `len`: a group that turned out to be something else.
    pub(crate) fn truncate_extras(&mut self, len: usize) {
        self.extras.truncate(len);
    }

    /// Takes out the texts from `mark` on that `wanted` names; the others keep their order.
    pub(crate) fn take_extras(&mut self, mark: usize, wanted: impl Fn(&Extra<'_>) -> bool) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        let cells = self.extras.split_off(mark.min(self.extras.len()));
        for cell in cells {
            let extra = self.resolve(cell);
            match extra.value {
                Value::Str(text) if wanted(&extra) => taken.push((extra.name.to_owned(), text.to_owned())),
                _ => self.extras.push(cell),
            }
        }
        taken
    }

    /// Takes a field out.
    pub fn remove(&mut self, field: Field) {
        self.take(field);
    }

    /// The same, and answers its value to be [`put`](Self::put) back.
    pub(crate) fn take(&mut self, field: Field) -> Option<Cell> {
        let slot = self.index.get_mut(field as usize)?;
        let at = usize::from(*slot).checked_sub(1)?;
        *slot = 0;
        let (_, cell) = self.known.remove(at);
        for slot in &mut self.index {
            *slot = slot.wrapping_sub(u8::from(usize::from(*slot) > at));
        }
        Some(cell)
    }

    /// Forgets fields and extras; the raw bytes stay.
    pub fn clear(&mut self) {
        self.own.clear();
        self.known.clear();
        self.extras.clear();
        self.index = [0; Field::COUNT];
        self.is_json = false;
    }

    /// Canonical fields in the order they were set.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (Field, Value<'_>)> {
        self.known.iter().map(|(field, cell)| (*field, self.value(*cell)))
    }

    /// Everything else, in input order.
    pub fn extras(&self) -> impl DoubleEndedIterator<Item = Extra<'_>> + ExactSizeIterator + Clone {
        self.extras.iter().map(|cell| self.resolve(*cell))
    }

    /// Group and name of everything else, in input order.
    pub(crate) fn extra_keys(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.extras.iter().map(|cell| (self.str(cell.group), self.str(cell.name)))
    }

    /// The same as bytes: no more is needed to tell names apart.
    pub(crate) fn extra_key_bytes(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.extras.iter().map(|cell| (self.bytes(cell.group), self.bytes(cell.name)))
    }

    /// Adds to `parse.notes`, once: a leniency that was used, one phrase.
    pub fn note(&mut self, note: &str) {
        match self.text(Field::ParseNotes) {
            Some(notes) if notes.split("; ").any(|known| known == note) => {}
            Some(notes) => self.set(Field::ParseNotes, &format!("{notes}; {note}")),
            None => self.set(Field::ParseNotes, note),
        }
    }

    /// Whether a line may set this field under its own name, as a relay of ours writes it. What only the
    /// gateway may say it may not, and what was found while reading the line it cannot unsay.
    pub(crate) fn takes_from_line(&self, field: Field) -> bool {
        !(field.is_reserved() || field.is_of_reading() && self.has(field))
    }

    /// The line could also be read otherwise, and the note says how.
    pub(crate) fn mark_ambiguous(&mut self, note: &str) {
        self.set(Field::ParseAmbiguous, true);
        self.note(note);
    }

    /// Only a part was understood; the rest is in `raw`.
    pub fn mark_partial(&mut self, error: &ParseError, input: &[u8]) {
        self.set(Field::ParseStatus, "partial");
        self.set(Field::ParseError, &error.describe(input));
    }
}

/// `raw` as text when it is UTF-8, and short enough for a [`Span`].
fn text_of(raw: &[u8]) -> &str {
    match simdutf8::basic::from_utf8(raw) {
        Ok(text) if text.len() < Span::OWN as usize => text,
        _ => "",
    }
}

/// Equal when raw bytes, fields (in any order) and extras (in order) are.
impl PartialEq for Event<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
            && self.known.len() == other.known.len()
            && self.fields().all(|(field, value)| other.get(field) == Some(value))
            && self.extras().eq(other.extras())
    }
}

impl<'v, T: AsRef<str> + ?Sized> From<&'v T> for Value<'v> {
    #[inline]
    fn from(text: &'v T) -> Self {
        Value::Str(text.as_ref())
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<Time> for Value<'_> {
    fn from(time: Time) -> Self {
        Value::Time(time)
    }
}

#[cfg(test)]
mod tests;
