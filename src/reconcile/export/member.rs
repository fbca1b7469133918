//! What is wanted of a result in JSON; all else is passed over as it is read.
//!
//! Invariant: memory is that of the texts that may be an id, a time or the raw event.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{ID_NAMES, INDEXED, seconds};

/// An object.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) is_preview: bool,
    /// As [`ID_NAMES`].
    pub(super) ids: [Option<String>; ID_NAMES.len()],
    /// Seconds since 1970.
    pub(super) indexed: Option<u32>,
    pub(super) raw: Option<String>,
    pub(super) result: Option<Box<Row>>,
    pub(super) fields: Option<Box<Row>>,
    pub(super) event: Option<Box<Row>>,
}

/// Any value.
#[derive(Debug)]
pub(super) enum Member {
    Bool(bool),
    Number(String),
    Text(String),
    Row(Box<Row>),
    Other,
}

impl Member {
    pub(super) fn row(self) -> Option<Box<Row>> {
        if let Member::Row(row) = self { Some(row) } else { None }
    }

    fn text(self) -> Option<String> {
        if let Member::Text(text) = self { Some(text) } else { None }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(Wanted)
    }
}

struct Wanted;

impl<'de> Visitor<'de> for Wanted {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a result of a search")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Member, E> {
        Ok(Member::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Member, E> {
        Ok(Member::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Member, E> {
        Ok(Member::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Member, E> {
        Ok(Member::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Member, E> {
        Ok(Member::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Member, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Member, A::Error> {
        let mut row = Box::<Row>::default();
        while let Some(name) = members.next_key::<String>()? {
            match &*name {
                "preview" => row.is_preview = matches!(members.next_value()?, Member::Bool(true)),
                "result" => row.result = members.next_value::<Member>()?.row(),
                "fields" => row.fields = members.next_value::<Member>()?.row(),
                "event" => row.event = members.next_value::<Member>()?.row(),
                "_raw" => row.raw = members.next_value::<Member>()?.text(),
                INDEXED => {
                    row.indexed = match members.next_value()? {
                        Member::Text(text) | Member::Number(text) => seconds(&text),
                        _ => None,
                    }
                }
                name => match ID_NAMES.iter().position(|id| *id == name).and_then(|at| row.ids.get_mut(at)) {
                    Some(id) => *id = members.next_value::<Member>()?.text(),
                    None => {
                        members.next_value::<IgnoredAny>()?;
                    }
                },
            }
        }
        Ok(Member::Row(row))
    }
}
