//! The tree that every configuration language is read into: values that remember where they stood.
//!
//! Invariant: a node is never printed whole: strings may be secrets.

use std::fmt;

use sha2::{Digest, Sha256};

/// A line and a column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// A value and where it begins.
#[derive(Clone)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// What it is and where, not what it says.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.kind(), self.place.line, self.place.column)
    }
}

#[derive(Clone)]
pub enum Value {
    /// Nothing was written: `sinks:` and no more.
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Text),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Clone)]
pub struct Text {
    pub text: String,
    /// A variable was replaced in it, so that it may stand where a number is wanted: a variable
    /// cannot be written as anything but text.
    pub replaced: bool,
}

/// A name and its value in a table.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    pub node: Node,
}

impl Node {
    /// The entry of that name, of a table.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// The entries of a table; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The entry that `option` names: `tls.certificate` is an entry of a table in a table. As much
    /// of the way as exists.
    pub fn find(&self, option: &str) -> Option<&Entry> {
        let (first, rest) = option.split_once('.').unwrap_or((option, ""));
        let entry = self.entry(first)?;
        entry.node.find(rest).or(Some(entry))
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(value) => Some(&value.text),
            _ => None,
        }
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Adds the tree to a hash so that no two different trees add the same bytes; the order of
    /// entries and the language they were written in make no difference.
    pub fn hash_into(&self, hash: &mut Sha256) {
        let mut text = |tag: u8, text: &str| {
            hash.update([tag]);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        match &self.value {
            Value::Null => text(b'n', ""),
            Value::Bool(value) => text(b'b', if *value { "true" } else { "false" }),
            Value::Int(value) => text(b'i', &value.to_string()),
            Value::Float(value) => text(b'f', &value.to_string()),
            Value::String(value) => text(b's', &value.text),
            Value::List(nodes) => {
                text(b'l', &nodes.len().to_string());
                nodes.iter().for_each(|node| node.hash_into(hash));
            }
            Value::Table(entries) => {
                text(b't', &entries.len().to_string());
                let mut entries: Vec<&Entry> = entries.iter().collect();
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                for entry in entries {
                    hash.update((entry.name.len() as u64).to_le_bytes());
                    hash.update(&entry.name);
                    entry.node.hash_into(hash);
                }
            }
        }
    }
}
