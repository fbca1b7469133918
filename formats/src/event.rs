//! One normalized event: what every parser fills and every emitter reads.
//!
//! Canonical fields sit in a list with an index by [`Field`]; everything else the input said is an
//! [`Extra`], in input order. Values borrow from the raw bytes, so an ordinary line costs no
//! allocation once an event is reused ([`Event::reuse`]).

use std::borrow::Cow;

use crate::{Field, ParseError, Time};

/// The value of a field or an extra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text. Bytes that were not UTF-8 are U+FFFD here and intact in [`Event::raw`].
    Str(Cow<'a, str>),
    /// A whole number.
    Int(i64),
    /// An instant.
    Time(Time),
    /// True or false.
    Bool(bool),
    /// JSON as it stood in the input: objects, arrays, numbers of any length, null.
    Json(Cow<'a, str>),
}

/// Something the input said that has no canonical field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra<'a> {
    /// Where it stood: `sd.origin` is group `sd` with name `origin.ip`; may be empty.
    pub group: Cow<'a, str>,
    /// Its name there, as written.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Value<'a>,
}

/// One normalized event over its raw bytes.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    raw: &'a [u8],
    /// Position in `known` plus one, by field number; 0 is absent.
    index: [u8; Field::COUNT],
    known: Vec<(Field, Value<'a>)>,
    extras: Vec<Extra<'a>>,
}

// The index holds positions plus one in a byte.
const _: () = assert!(Field::COUNT < 255);

impl<'a> Event<'a> {
    /// An event that knows nothing yet but its bytes.
    pub fn new(raw: &'a [u8]) -> Self {
        Event { raw, index: [0; Field::COUNT], known: Vec::new(), extras: Vec::new() }
    }

    /// Empties the event and keeps its memory for other bytes.
    pub fn reuse<'b>(mut self, raw: &'b [u8]) -> Event<'b> {
        self.known.clear();
        self.extras.clear();
        // An empty vector of the same layout collects in place: the memory moves on, nothing is copied.
        Event {
            raw,
            index: [0; Field::COUNT],
            known: self.known.into_iter().map_while(|_| None).collect(),
            extras: self.extras.into_iter().map_while(|_| None).collect(),
        }
    }

    /// The bytes as they were received.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Sets a canonical field; a second value replaces the first.
    #[inline]
    pub fn set(&mut self, field: Field, value: impl Into<Value<'a>>) {
        self.put(field, value.into());
    }

    #[inline]
    fn put(&mut self, field: Field, value: Value<'a>) {
        let Some(slot) = self.index.get_mut(field as usize) else { return };
        match usize::from(*slot).checked_sub(1) {
            None => {
                // At most one entry a field: the position fits (asserted above).
                *slot = u8::try_from(self.known.len().saturating_add(1)).unwrap_or(0);
                self.known.push((field, value));
            }
            Some(at) => self.replace(at, value),
        }
    }

    #[cold]
    fn replace(&mut self, at: usize, value: Value<'a>) {
        if let Some(known) = self.known.get_mut(at) {
            known.1 = value;
        }
    }

    /// Sets a text field unless the text is empty: absent is never an empty string.
    pub fn set_text(&mut self, field: Field, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        if !text.is_empty() {
            self.set(field, Value::Str(text));
        }
    }

    /// The value of a field.
    pub fn get(&self, field: Field) -> Option<&Value<'a>> {
        let slot = self.index.get(field as usize).copied().unwrap_or(0);
        let at = usize::from(slot).checked_sub(1)?;
        self.known.get(at).map(|(_, value)| value)
    }

    /// The text of a field that holds text.
    pub fn text(&self, field: Field) -> Option<&str> {
        match self.get(field)? {
            Value::Str(text) | Value::Json(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a field that holds one.
    pub fn int(&self, field: Field) -> Option<i64> {
        match self.get(field)? {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The instant of a field that holds one.
    pub fn time(&self, field: Field) -> Option<Time> {
        match self.get(field)? {
            Value::Time(time) => Some(*time),
            _ => None,
        }
    }

    /// Keeps what has no canonical field.
    #[inline]
    pub fn extra(
        &mut self,
        group: impl Into<Cow<'a, str>>,
        name: impl Into<Cow<'a, str>>,
        value: impl Into<Value<'a>>,
    ) {
        self.extras.push(Extra { group: group.into(), name: name.into(), value: value.into() });
    }

    /// Forgets the extras after the first `len`: a group that turned out to be something else.
    pub(crate) fn truncate_extras(&mut self, len: usize) {
        self.extras.truncate(len);
    }

    /// Takes out the extras from `mark` on that `wanted` names; the others keep their order.
    pub(crate) fn take_extras(
        &mut self,
        mark: usize,
        wanted: impl Fn(&Extra<'a>) -> bool,
    ) -> Vec<(Cow<'a, str>, Value<'a>)> {
        let from = mark.min(self.extras.len());
        self.extras.extract_if(from.., |extra| wanted(extra)).map(|extra| (extra.name, extra.value)).collect()
    }

    /// Takes a field out.
    pub fn remove(&mut self, field: Field) -> Option<Value<'a>> {
        let slot = self.index.get_mut(field as usize)?;
        let at = usize::from(*slot).checked_sub(1)?;
        *slot = 0;
        let (_, value) = self.known.remove(at);
        for slot in &mut self.index {
            if usize::from(*slot) > at {
                *slot = slot.saturating_sub(1);
            }
        }
        Some(value)
    }

    /// Forgets fields and extras; the raw bytes stay.
    pub fn clear(&mut self) {
        self.known.clear();
        self.extras.clear();
        self.index = [0; Field::COUNT];
    }

    /// Canonical fields in the order they were set.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (Field, &Value<'a>)> {
        self.known.iter().map(|(field, value)| (*field, value))
    }

    /// Everything else, in input order.
    pub fn extras(&self) -> &[Extra<'a>] {
        &self.extras
    }

    /// Adds to `parse.notes`: a leniency that was used, one phrase.
    pub fn note(&mut self, note: &'a str) {
        match self.text(Field::ParseNotes).map(|notes| format!("{notes}; {note}")) {
            Some(notes) => self.set(Field::ParseNotes, notes),
            None => self.set(Field::ParseNotes, note),
        }
    }

    /// Only a part was understood; the rest is in `raw`.
    pub fn mark_partial(&mut self, error: &ParseError, input: &[u8]) {
        self.set(Field::ParseStatus, "partial");
        self.set(Field::ParseError, error.describe(input));
    }
}

/// Equal when raw bytes, fields (in any order) and extras (in order) are.
impl PartialEq for Event<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
            && self.known.len() == other.known.len()
            && self.known.iter().all(|(field, value)| other.get(*field) == Some(value))
            && self.extras == other.extras
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Str(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::Str(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Value::Str(text)
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
mod tests {
    use super::*;

    #[test]
    fn a_second_value_replaces_the_first() {
        let mut event = Event::new(b"x");
        event.set(Field::Action, "start");
        event.set(Field::Severity, 3);
        event.set(Field::Action, "stop");
        assert_eq!(event.text(Field::Action), Some("stop"));
        assert_eq!(event.int(Field::Severity), Some(3));
        assert_eq!(event.fields().len(), 2);
    }

    #[test]
    fn reuse_forgets_everything_and_keeps_the_memory() {
        let mut event = Event::new(b"one");
        event.set(Field::Action, "start");
        event.extra("sd", "a", "b");
        let capacity = (event.known.capacity(), event.extras.capacity());
        let event = event.reuse(b"two");
        assert_eq!(event, Event::new(b"two"));
        assert_eq!((event.known.capacity(), event.extras.capacity()), capacity);
    }
}
