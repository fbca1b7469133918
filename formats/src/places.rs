//! Which place of a nested schema a canonical field goes to, as rows of a table, and how it is written.
//!
//! `ecs` and `ocsf` hold such tables. A value that a place does not take stays to be written
//! elsewhere: what has been written is remembered.

use std::net::IpAddr;

use crate::event::{Cell, Span};
use crate::json::{write_json, write_string};
use crate::json_read::JsonReader;
use crate::objects::{Objects, Path};
use crate::{Event, Extra, Field, Time};

/// What a place takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Text,
    Number,
    /// A whole number between quotes.
    NumberAsText,
    /// An instant as text.
    Time,
    /// An instant in milliseconds since 1970.
    Millis,
    /// A list of one text.
    List,
    /// A list of texts that is one already, or of one text.
    Lists,
    Address,
    /// A list of one address.
    Addresses,
}

/// Where a field goes. Rows of one object stand together; of two rows with one place, which are
/// neighbours, the first whose value fits has it.
pub(crate) struct Row(pub(crate) Path, pub(crate) &'static str, pub(crate) Field, pub(crate) How);

/// The fields that have been written, a bit for each.
#[derive(Debug, Default)]
pub(crate) struct Done(u128);

// There are as many bits as there may be fields.
const _: () = assert!(Field::COUNT <= 128);

impl Done {
    pub(crate) fn add(&mut self, field: Field) {
        self.0 |= 1_u128.wrapping_shl(field as u32);
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.0 & 1_u128.wrapping_shl(field as u32) != 0
    }

    /// The fields that have not been written, under their own names.
    pub(crate) fn left<'e>(&self, event: &'e Event<'_>) -> impl Iterator<Item = Extra<'e>> + Clone {
        let done = self.0;
        let (_, fields, _) = event.parts();
        fields.iter().filter(move |(field, _)| !Done(done).has(*field)).map(|(field, cell)| Extra {
            group: "",
            name: field.name(),
            value: event.value(*cell),
        })
    }
}

/// Writes the values that have a place.
pub(crate) fn rows(event: &Event<'_>, rows: &'static [Row], done: &mut Done, objects: &mut Objects<'_>) {
    let mut taken: (Path, &str) = (&[], "");
    for row in rows {
        let Some(cell) = event.at(row.2) else { continue };
        if taken != (row.0, row.1) && write(event, row, cell, objects) {
            done.add(row.2);
            taken = (row.0, row.1);
        }
    }
}

/// Writes a value if the place takes it.
fn write(event: &Event<'_>, row: &Row, cell: Cell, objects: &mut Objects<'_>) -> bool {
    let Row(path, name, _, how) = *row;
    match (how, cell) {
        (How::Text, Cell::Str(span) | Cell::Json(span)) => objects.text(path, name, event.str(span)),
        (How::Time, Cell::Time(nanos)) => objects.time(path, name, Time(nanos)),
        (How::Millis, Cell::Time(nanos)) => objects.number(path, name, Time(nanos).millis()),
        (How::List | How::Lists, Cell::Str(span)) => objects.list(path, name, event.str(span)),
        (How::Lists, Cell::Json(span)) if is_texts(event.str(span)) => {
            write_json(objects.member(path, name), event.str(span));
        }
        (How::Number | How::NumberAsText, _) => match (event.whole(cell), how) {
            (Some(number), How::Number) => objects.number(path, name, number),
            (Some(number), _) => write_string(objects.member(path, name), itoa::Buffer::new().format(number)),
            (None, _) => return false,
        },
        (How::Address | How::Addresses, Cell::Str(span)) => match (address(event, span), how) {
            (Some(address), How::Address) => objects.text(path, name, address),
            (Some(address), _) => objects.list(path, name, address),
            (None, _) => return false,
        },
        _ => return false,
    }
    true
}

/// The text, when it is an address.
fn address<'e>(event: &'e Event<'_>, span: Span) -> Option<&'e str> {
    let text = event.str(span);
    text.parse::<IpAddr>().is_ok().then_some(text)
}

/// Whether JSON is a list of texts.
fn is_texts(json: &str) -> bool {
    let mut reader = JsonReader::over(json);
    let read = reader.array(|reader| match reader.try_string()? {
        Some(_) => Ok(()),
        None => Err(reader.refuse("a text")),
    });
    read.and_then(|()| reader.end()).is_ok()
}
