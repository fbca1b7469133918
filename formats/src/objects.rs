//! Nested JSON objects written member by member, for formats whose fields stand in a tree.
//!
//! An emitter names the path of each member; objects are opened and closed as the path changes.
//! What no schema has a place for is written as a map of texts.
//!
//! Invariant: one valid object, in which no key of a map occurs twice, whatever the names of the
//! input are. That a path is not left and entered again is for the caller, and for its tests.

use std::collections::BTreeMap;

use memchr::memmem;

use crate::json::{write_escaped, write_string};
use crate::repeats::Seen;
use crate::{Extra, Time, Value};

/// Levels of objects below the outermost.
const DEPTH: usize = 4;

/// So many names are compared with all before them.
const FEW: usize = 64;

/// The way from the outermost object to the one a member stands in.
pub(crate) type Path = &'static [&'static str];

/// An object while it is written.
pub(crate) struct Objects<'o> {
    out: &'o mut Vec<u8>,
    open: Path,
    /// No member stands yet where the next one goes.
    is_first: bool,
}

impl<'o> Objects<'o> {
    /// Opens the outermost object.
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Objects { out, open: &[], is_first: true }
    }

    /// Closes every object.
    pub(crate) fn end(mut self) {
        self.at(&[]);
        self.out.push(b'}');
    }

    /// Goes to the object at `path`.
    fn at(&mut self, path: Path) {
        if std::ptr::eq(self.open, path) {
            return;
        }
        debug_assert!(path.len() <= DEPTH, "an object too deep");
        let shared = self.open.iter().zip(path).take_while(|(one, other)| one == other).count();
        for _ in shared..self.open.len() {
            self.out.push(b'}');
            self.is_first = false;
        }
        for name in path.get(shared..).unwrap_or_default() {
            self.name(name);
            self.out.push(b'{');
            self.is_first = true;
        }
        self.open = path;
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(if self.is_first { b"\"" } else { b",\"" });
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.is_first = false;
    }

    /// Begins a member whose value the caller writes into what this answers.
    pub(crate) fn member(&mut self, path: Path, name: &'static str) -> &mut Vec<u8> {
        self.at(path);
        self.name(name);
        self.out
    }

    /// A text.
    pub(crate) fn text(&mut self, path: Path, name: &'static str, text: &str) {
        write_string(self.member(path, name), text);
    }

    /// A whole number.
    pub(crate) fn number(&mut self, path: Path, name: &'static str, number: i64) {
        write_number(self.member(path, name), number);
    }

    /// An instant with nine digits of the second.
    pub(crate) fn time(&mut self, path: Path, name: &'static str, time: Time) {
        let out = self.member(path, name);
        out.push(b'"');
        time.write_rfc3339(9, out);
        out.push(b'"');
    }

    /// A list of one text.
    pub(crate) fn list(&mut self, path: Path, name: &'static str, text: &str) {
        let out = self.member(path, name);
        out.push(b'[');
        write_string(out, text);
        out.push(b']');
    }

    /// A list of words of ours.
    pub(crate) fn words(&mut self, path: Path, name: &'static str, words: &[&str]) {
        let out = self.member(path, name);
        out.push(b'[');
        for (at, word) in words.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
            out.extend_from_slice(word.as_bytes());
            out.push(b'"');
        }
        out.push(b']');
    }

    /// A map of texts under the names of extras, if there are any: each is written as text, because
    /// an index takes one type for a name. Names that are the same once they are cleaned become one
    /// list.
    pub(crate) fn map<'e>(&mut self, path: Path, extras: impl Iterator<Item = Extra<'e>> + Clone) {
        if extras.clone().next().is_none() {
            return;
        }
        self.at(path);
        let mark = (self.out.len(), self.is_first);
        let mut seen = Seen::default();
        for (at, extra) in extras.clone().enumerate() {
            self.out.extend_from_slice(if self.is_first { b"\"" } else { b",\"" });
            let from = self.out.len();
            write_name(self.out, &extra);
            let name_end = self.out.len();
            self.out.extend_from_slice(b"\":");
            let (before, name) = self.out.split_at_checked(from.saturating_sub(1)).unwrap_or_default();
            let bare = name.get(1..name_end.saturating_sub(from).saturating_add(1)).unwrap_or_default();
            let is_new = planted!("ecs_emit") || std::str::from_utf8(bare).is_ok_and(|bare| seen.is_new(("", bare)));
            // Different names may leave the same trace: a few are looked at.
            let inside = before.get(mark.0..).unwrap_or_default();
            if !is_new && (at > FEW || memmem::find(inside, name).is_some()) {
                self.out.truncate(mark.0);
                self.is_first = mark.1;
                return self.merged(extras);
            }
            self.is_first = false;
            write_as_text(self.out, extra.value);
        }
    }

    /// The same when two names may be one.
    #[cold]
    fn merged<'e>(&mut self, extras: impl Iterator<Item = Extra<'e>>) {
        let mut names: BTreeMap<Vec<u8>, Vec<Value<'e>>> = BTreeMap::new();
        for extra in extras {
            let mut name = Vec::new();
            write_name(&mut name, &extra);
            names.entry(name).or_default().push(extra.value);
        }
        for (name, values) in names {
            self.out.extend_from_slice(if self.is_first { b"\"" } else { b",\"" });
            self.is_first = false;
            self.out.extend_from_slice(&name);
            self.out.extend_from_slice(b"\":");
            if let [value] = values.as_slice() {
                write_as_text(self.out, *value);
                continue;
            }
            for (at, value) in values.into_iter().enumerate() {
                self.out.push(if at == 0 { b'[' } else { b',' });
                write_as_text(self.out, value);
            }
            self.out.push(b']');
        }
    }
}

/// `group.name` with `_` for each full stop, which indexes read as the border of two objects, and
/// for a name of nothing but white space, which they refuse.
fn write_name(out: &mut Vec<u8>, extra: &Extra<'_>) {
    let from = out.len();
    let is_empty = extra.group.is_empty() && extra.name.trim().is_empty();
    if !extra.group.is_empty() {
        write_escaped(out, extra.group);
        out.push(b'_');
    }
    write_escaped(out, if is_empty { "_" } else { extra.name });
    for byte in out.iter_mut().skip(from).filter(|byte| **byte == b'.') {
        *byte = b'_';
    }
}

/// A value of any kind between quotes.
pub(crate) fn write_as_text(out: &mut Vec<u8>, value: Value<'_>) {
    if let Value::Str(text) | Value::Json(text) = value {
        return write_string(out, text);
    }
    out.push(b'"');
    match value {
        Value::Int(number) => write_number(out, number),
        Value::Bool(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Value::Time(time) => time.write_rfc3339(9, out),
        Value::Str(_) | Value::Json(_) => {}
    }
    out.push(b'"');
}

pub(crate) fn write_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Event;

    #[test]
    fn objects_open_and_close_as_paths_change() {
        let mut out = Vec::new();
        let mut objects = Objects::begin(&mut out);
        objects.text(&["a"], "x", "1\n");
        objects.number(&["a", "b"], "y", -2);
        objects.words(&["a", "c", "d"], "z", &["p", "q"]);
        objects.list(&[], "l", "\"");
        objects.time(&["e"], "t", Time(0));
        objects.end();
        let expected = r#"{"a":{"x":"1\n","b":{"y":-2},"c":{"d":{"z":["p","q"]}}},"l":["\""],"e":{"t":"1970-01-01T00:00:00.000000000Z"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut empty = Vec::new();
        Objects::begin(&mut empty).end();
        assert_eq!(empty, b"{}");
    }

    #[test]
    fn a_map_holds_each_name_once() {
        let mut event = Event::new(b"");
        for (group, name, value) in
            [("a", "b.c", "1"), ("", "a_b.c", "2"), ("", " ", "3"), ("g", "", "4"), ("", "\"", "5")]
        {
            event.extra(group, name, value);
        }
        event.extra("n", "json", Value::Json("[1]"));
        event.extra("n", "int", 7);
        let mut out = Vec::new();
        let mut objects = Objects::begin(&mut out);
        objects.map(&["m"], event.extras());
        objects.map(&["none"], event.extras().take(0));
        objects.map(&["one"], event.extras().skip(6));
        objects.end();
        let expected =
            r#"{"m":{"\"":"5","_":"3","a_b_c":["1","2"],"g_":"4","n_int":"7","n_json":"[1]"},"one":{"n_int":"7"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
