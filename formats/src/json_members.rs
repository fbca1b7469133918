//! Members of JSON objects on their way into an event: to a slot the parser looks at, or to an extra.
//!
//! Invariant: every member ends in one of the two. A key that comes twice keeps both its values; the
//! first is the one that counts, and `parse.duplicate_keys` names it.

use std::borrow::Cow;

use crate::event::{Cell, Span};
use crate::json_read::{JsonReader, Quoted};
use crate::repeats::{Seen, repeated_names};
use crate::{Event, Field, ParseError};

/// Remembers, while one object is read, what came twice.
pub(crate) struct Members<'a> {
    first_extra: usize,
    repeated: Vec<Cow<'a, str>>,
    /// Keys that should be texts and came as something else: they have been said, too.
    no_text: Vec<(&'static str, &'a str)>,
}

impl<'a> Members<'a> {
    pub(crate) fn new(event: &Event<'a>) -> Self {
        Members { first_extra: event.extras().len(), repeated: Vec::new(), no_text: Vec::new() }
    }

    /// Reads a member into `slot` if it is text and the first of its key, else into an extra.
    pub(crate) fn text(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        slot: &mut Option<Span>,
        (group, key): (&'static str, Quoted<'a>),
    ) -> Result<(), ParseError> {
        if slot.is_some() || self.no_text.iter().any(|(of, before)| *of == group && *before == key.body) {
            return self.again(reader, event, (group, key));
        }
        match reader.try_kept(event)? {
            Some(text) => *slot = Some(text),
            None => {
                self.no_text.push((group, key.body));
                self.extra(reader, event, (group, key))?;
            }
        }
        Ok(())
    }

    /// Reads a member of any kind into `slot` if it is the first of its key, else into an extra.
    pub(crate) fn value(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        slot: &mut Option<Cell>,
        (group, key): (&'static str, Quoted<'a>),
    ) -> Result<(), ParseError> {
        if slot.is_some() {
            return self.again(reader, event, (group, key));
        }
        *slot = Some(reader.cell(event)?);
        Ok(())
    }

    /// Reads a member whose key came before.
    pub(crate) fn again(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        at: (&'static str, Quoted<'a>),
    ) -> Result<(), ParseError> {
        self.repeated.push(at.1.text());
        self.extra(reader, event, at)
    }

    /// Reads a member into an extra.
    pub(crate) fn extra(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        (group, key): (&'static str, Quoted<'a>),
    ) -> Result<(), ParseError> {
        let name = key.keep(event);
        let value = reader.cell(event)?;
        event.put_named(group, name, value);
        Ok(())
    }

    /// Names what came twice in `parse.duplicate_keys`.
    pub(crate) fn finish(self, event: &mut Event<'a>) {
        if self.repeated.is_empty() && Seen::all_new(event, self.first_extra) {
            return;
        }
        let keys = event.extra_keys().skip(self.first_extra);
        if let Some(names) = repeated_names(keys, self.repeated.iter().map(|name| &**name)) {
            event.set(Field::ParseDuplicateKeys, &names);
        }
    }
}
