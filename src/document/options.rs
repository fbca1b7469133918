//! From the tree to the options of a part, by serde.
//!
//! Serde stops at the first mistake. Here the entry with the mistake is left out and the rest read
//! again, so that a user sees all of them at once.
//!
//! Invariant: a mistake is placed at the innermost value that serde was reading.

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::failure::{Failed, Failure};
use super::mistake::Mistake;
use super::node::{Entry, Node, Place, Value};
use crate::part;

/// Reading is tried again so often, one mistake less each time.
const MISTAKES_MAX: usize = 50;

/// What a table is, for messages, and which of its entries are not options.
#[derive(Debug, Clone, Copy)]
pub struct Table<'t> {
    /// `sources.in`; empty for the whole file.
    pub path: &'t str,
    /// Where mistakes of the table as a whole are shown: at its name.
    pub place: Place,
    /// Entries that somebody else reads: `type`.
    pub except: &'t [&'t str],
}

/// Reads the options in `node` by `read`, which is serde's `deserialize` in some dress.
///
/// # Errors
/// Every mistake that can be found.
pub fn read_options<T>(
    node: &Node,
    table: Table<'_>,
    read: impl Fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<T, erased_serde::Error>,
) -> Result<T, Vec<Mistake>> {
    let mut left_out: HashSet<Place> =
        table.except.iter().filter_map(|name| node.entry(name)).map(|entry| entry.place).collect();
    let mut errors = Vec::new();
    for _ in 0..MISTAKES_MAX {
        let attempt = Attempt { left_out: &left_out, first: RefCell::new(None) };
        let path = Path { parent: None, name: table.path };
        let reader = NodeReader { node, place: table.place, path: &path, attempt: &attempt };
        let error = match read(&mut <dyn erased_serde::Deserializer>::erase(reader)) {
            Ok(options) if errors.is_empty() => return Ok(options),
            Ok(_) => break,
            Err(error) => error,
        };
        // Only a reader that fails before it looks at the tree leaves no failure behind.
        let Some(failure) = attempt.first.into_inner() else {
            errors.push(Mistake::new(table.place, error.to_string(), "look at the options of this part"));
            break;
        };
        let entry = failure.entry;
        let mistake = failure.into_mistake(&errors);
        errors.extend(mistake);
        match entry {
            Some(entry) if left_out.insert(entry) => {}
            _ => break,
        }
    }
    Err(errors)
}

/// One try to read a table.
struct Attempt<'a> {
    left_out: &'a HashSet<Place>,
    first: RefCell<Option<Failure>>,
}

/// The way from the root to a value, for messages.
#[derive(Debug, Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    name: &'p str,
}

impl Path<'_> {
    fn text(&self) -> String {
        match self.parent.map(Path::text) {
            Some(parent) if !parent.is_empty() => format!("{parent}.{}", self.name),
            _ => self.name.to_owned(),
        }
    }
}

#[derive(Clone, Copy)]
struct NodeReader<'n> {
    node: &'n Node,
    /// Where mistakes of a whole table are shown: its name, not its first entry.
    place: Place,
    path: &'n Path<'n>,
    attempt: &'n Attempt<'n>,
}

impl NodeReader<'_> {
    fn remember<T>(&self, result: Result<T, Failed>) -> Result<T, Failed> {
        let of_table = matches!(self.node.value, Value::Table(_));
        self.attempt.remember(result, if of_table { self.place } else { self.node.place }, self)
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_str(&value.text),
            Value::List(nodes) => visitor.visit_seq(ListReader { nodes: nodes.iter().enumerate(), of: self }),
            Value::Table(entries) => {
                visitor.visit_map(TableReader { entries: entries.iter(), current: None, of: self })
            }
        }
    }

    /// Text that came from a variable, where a number or a boolean is wanted.
    fn visit_replaced<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        if let Value::String(value) = &self.node.value
            && value.replaced
        {
            let text = value.text.as_str();
            if let Ok(value) = text.parse::<u64>() {
                return visitor.visit_u64(value);
            }
            if let Ok(value) = text.parse::<i64>() {
                return visitor.visit_i64(value);
            }
            if let Ok(value) = text.parse::<bool>() {
                return visitor.visit_bool(value);
            }
        }
        self.visit(visitor)
    }
}

macro_rules! from_replaced {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            self.remember(self.visit_replaced(visitor))
        }
    )* };
}

impl<'de> Deserializer<'de> for NodeReader<'_> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.remember(self.visit(visitor))
    }

    from_replaced! { deserialize_bool deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8
    deserialize_i16 deserialize_i32 deserialize_i64 deserialize_f32 deserialize_f64 }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.remember(match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failed> {
        self.remember(visitor.visit_newtype_struct(self))
    }

    // `name:` without anything below is a table in which everything has its default.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.remember(match self.node.value {
            Value::Null => visitor.visit_map(TableReader { entries: [].iter(), current: None, of: self }),
            _ => self.visit(visitor),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.remember(match &self.node.value {
            Value::String(value) => {
                visitor.visit_enum(NameReader { name: &value.text, place: self.node.place, of: self })
            }
            Value::Table(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(VariantReader { entry, of: self }),
                _ => Err(Failed::custom("expected one name, found a table of several")),
            },
            _ => Err(Failed::invalid_type(self.node.unexpected(), &"a name")),
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
    }
}

/// A name: of an option, of a variant, of a variant without options.
struct NameReader<'n> {
    name: &'n str,
    place: Place,
    of: NodeReader<'n>,
}

impl<'de> Deserializer<'de> for NameReader<'_> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.of.attempt.remember(visitor.visit_str(self.name), self.place, &self.of)
    }

    serde::forward_to_deserialize_any! {
        bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, 'n> EnumAccess<'de> for NameReader<'n> {
    type Error = Failed;
    type Variant = NoOptions;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, NoOptions), Failed> {
        Ok((seed.deserialize(self)?, NoOptions))
    }
}

/// What follows a variant that was written as its name alone.
struct NoOptions;

impl NoOptions {
    fn missing<T>() -> Result<T, Failed> {
        Err(Failed::custom(part::with_hint("expected a table of options, found a name", "write `{name: …}`")))
    }
}

impl<'de> VariantAccess<'de> for NoOptions {
    type Error = Failed;

    fn unit_variant(self) -> Result<(), Failed> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Failed> {
        NoOptions::missing()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Failed> {
        NoOptions::missing()
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Failed> {
        NoOptions::missing()
    }
}

struct ListReader<'n> {
    nodes: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
    of: NodeReader<'n>,
}

impl<'de> SeqAccess<'de> for ListReader<'_> {
    type Error = Failed;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failed> {
        let attempt = self.of.attempt;
        let Some((index, node)) = self.nodes.find(|(_, node)| !attempt.left_out.contains(&node.place)) else {
            return Ok(None);
        };
        let name = (index + 1).to_string();
        let path = Path { parent: Some(self.of.path), name: &name };
        let result = seed.deserialize(NodeReader { node, place: node.place, path: &path, attempt });
        attempt.leave_out(node.place, &result);
        result.map(Some)
    }
}

struct TableReader<'n> {
    entries: std::slice::Iter<'n, Entry>,
    current: Option<&'n Entry>,
    of: NodeReader<'n>,
}

impl<'de> MapAccess<'de> for TableReader<'_> {
    type Error = Failed;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failed> {
        let attempt = self.of.attempt;
        self.current = self.entries.find(|entry| !attempt.left_out.contains(&entry.place));
        let Some(entry) = self.current else { return Ok(None) };
        let result = seed.deserialize(NameReader { name: &entry.name, place: entry.place, of: self.of });
        attempt.leave_out(entry.place, &result);
        result.map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failed> {
        let Some(entry) = self.current else { return Err(Failed::custom("a value without a name")) };
        let (place, attempt) = (entry.place, self.of.attempt);
        let path = Path { parent: Some(self.of.path), name: &entry.name };
        let result = seed.deserialize(NodeReader { node: &entry.node, place, path: &path, attempt });
        attempt.leave_out(place, &result);
        result
    }
}

impl Attempt<'_> {
    /// Keeps the first failure: serde reports the same again on each level up.
    fn remember<T>(&self, result: Result<T, Failed>, place: Place, of: &NodeReader<'_>) -> Result<T, Failed> {
        result.inspect_err(|failed| {
            let failure = || Failure::new(failed.clone(), place, of.path.text(), of.node, self.left_out);
            self.first.borrow_mut().get_or_insert_with(failure);
        })
    }

    /// The innermost entry around a failure is what the next attempt leaves out.
    fn leave_out<T>(&self, place: Place, result: &Result<T, Failed>) {
        if result.is_err()
            && let Some(failure) = self.first.borrow_mut().as_mut()
        {
            failure.entry.get_or_insert(place);
        }
    }
}

/// `name: {options}` as a variant of an enumeration.
struct VariantReader<'n> {
    entry: &'n Entry,
    of: NodeReader<'n>,
}

impl<'de, 'n> EnumAccess<'de> for VariantReader<'n> {
    type Error = Failed;
    type Variant = NodeReader<'n>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, NodeReader<'n>), Failed> {
        let variant = seed.deserialize(NameReader { name: &self.entry.name, place: self.entry.place, of: self.of })?;
        Ok((variant, NodeReader { node: &self.entry.node, place: self.entry.place, ..self.of }))
    }
}

impl<'de> VariantAccess<'de> for NodeReader<'_> {
    type Error = Failed;

    fn unit_variant(self) -> Result<(), Failed> {
        Err(Failed::invalid_type(self.node.unexpected(), &"the name alone, without options"))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failed> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_struct("", fields, visitor)
    }
}
