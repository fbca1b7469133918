//! JSON in which no object has a key twice: what `serde_json` takes in silence is refused here.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Tree};

/// Panics when it is no JSON, or a key occurs twice.
pub(crate) fn parse(text: &str) -> Tree {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let tree = Unique.deserialize(&mut deserializer).unwrap_or_else(|error| panic!("{error}: {text}"));
    deserializer.end().unwrap_or_else(|error| panic!("{error}: {text}"));
    tree
}

struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Tree, M::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(Unique)?;
            if object.insert(key.clone(), value).is_some() {
                return Err(M::Error::custom(format!("the key `{key}` twice")));
            }
        }
        Ok(Tree::Object(object))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Tree, S::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Unique)? {
            list.push(item);
        }
        Ok(Tree::Array(list))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::from(text))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Tree, E> {
        Ok(Tree::from(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::from(number))
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
}
