//! Facts: fields and their values, as they are kept of a machine or of an event for a long time.
//!
//! All of them stand in one piece of memory, one behind the other: the number of the field and the length of the value
//! as a character each, then the value. So a machine's six facts cost 12 bytes beside their texts and the pointer, and
//! are read without a search in memory.

use std::fmt;

use wharfinger_formats::{Event, Field, Value};

/// Longer values are cut, at a character: no name is as long.
const VALUE_BYTES_MAX: usize = 16 << 10;

/// See above. A field stands there once at most, and an empty value never. `vm.tags` is a list in JSON.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Facts(Box<str>);

impl Facts {
    /// In the order in which they were set.
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    pub fn get(&self, field: Field) -> Option<&str> {
        self.iter().find(|(known, _)| *known == field).map(|(_, value)| value)
    }

    /// Sets one, in place of what it was; an empty value takes it away.
    pub fn set(&mut self, field: Field, value: &str) {
        let others = self.iter().filter(|(known, _)| *known != field);
        *self = others.chain(std::iter::once((field, value))).collect();
    }

    /// Sets all of them on an event.
    pub fn set_on(&self, event: &mut Event<'_>) {
        for (field, value) in self {
            match field {
                // The only fact that is a list.
                Field::VmTags => event.set(field, Value::Json(value)),
                _ => event.set(field, value),
            }
        }
    }

    /// What they take beside their values, in bytes.
    #[cfg(test)]
    pub fn overhead(&self) -> usize {
        size_of::<Facts>() + self.0.len() - self.iter().map(|(_, value)| value.len()).sum::<usize>()
    }
}

/// Of two values of a field the first counts.
impl<V: AsRef<str>> FromIterator<(Field, V)> for Facts {
    fn from_iter<I: IntoIterator<Item = (Field, V)>>(facts: I) -> Facts {
        let mut text = String::new();
        for (field, value) in facts {
            let value = value.as_ref();
            let value = &value[..value.floor_char_boundary(VALUE_BYTES_MAX)];
            let length = u32::try_from(value.len()).ok().and_then(char::from_u32);
            let is_known = Iter(&text).any(|(known, _)| known == field);
            if let Some(length) = length.filter(|_| !value.is_empty() && !is_known) {
                text.push(char::from(field as u8));
                text.push(length);
                text.push_str(value);
            }
        }
        Facts(text.into())
    }
}

/// The facts one behind the other.
#[derive(Debug, Clone)]
pub struct Iter<'f>(&'f str);

impl<'f> Iterator for Iter<'f> {
    type Item = (Field, &'f str);

    fn next(&mut self) -> Option<(Field, &'f str)> {
        let mut chars = self.0.chars();
        let field = Field::from_number(u8::try_from(chars.next()?).ok()?)?;
        let length = usize::try_from(u32::from(chars.next()?)).ok()?;
        let (value, rest) = chars.as_str().split_at_checked(length)?;
        self.0 = rest;
        Some((field, value))
    }
}

impl<'f> IntoIterator for &'f Facts {
    type Item = (Field, &'f str);
    type IntoIter = Iter<'f>;

    fn into_iter(self) -> Iter<'f> {
        self.iter()
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(field, value)| (field.name(), value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_read_in_its_order() {
        let long = "ü".repeat(VALUE_BYTES_MAX);
        let mut facts: Facts =
            [(Field::VmName, "web"), (Field::Power, ""), (Field::VmName, "db"), (Field::Peer, &*long)]
                .into_iter()
                .collect();
        assert_eq!(facts.iter().map(|(field, _)| field).collect::<Vec<_>>(), [Field::VmName, Field::Peer]);
        assert_eq!((facts.get(Field::VmName), facts.get(Field::Power)), (Some("web"), None));
        assert_eq!(facts.get(Field::Peer).map(str::len), Some(VALUE_BYTES_MAX));
        facts.set(Field::VmGroup, "lab");
        facts.set(Field::VmName, "db");
        facts.set(Field::Peer, "");
        assert_eq!(facts.iter().collect::<Vec<_>>(), [(Field::VmGroup, "lab"), (Field::VmName, "db")]);
        assert_eq!(format!("{facts:?}"), r#"{"vm.group": "lab", "vm.name": "db"}"#);
    }

    #[test]
    fn tags_are_a_list_on_events() {
        let facts: Facts = [(Field::VmName, "web"), (Field::VmTags, r#"["use:db"]"#)].into_iter().collect();
        let mut event = Event::new(b"");
        facts.set_on(&mut event);
        assert_eq!(event.get(Field::VmName), Some(Value::Str("web")));
        assert_eq!(event.get(Field::VmTags), Some(Value::Json(r#"["use:db"]"#)));
    }

    #[test]
    fn every_field_and_every_length_is_read_back() {
        for (at, field) in Field::ALL.iter().enumerate() {
            for length in [1, 127, 128, 2047, 2048, VALUE_BYTES_MAX - at] {
                let value = "x".repeat(length);
                let facts: Facts = [(*field, &*value), (Field::VmName, "web")].into_iter().collect();
                assert_eq!(facts.get(*field), Some(&*value));
                assert!(*field == Field::VmName || facts.get(Field::VmName) == Some("web"));
            }
        }
    }
}
