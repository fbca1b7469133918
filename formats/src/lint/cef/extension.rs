//! The pairs of an extension, one by one: their keys, and what stands between and inside of values.

use std::ops::Range;

use super::super::Report;
use super::{
    CONTROL, EMPTY, EQUALS, ESCAPE, EXTENSION_TEXT, KEY_AGAIN, KEY_COLLECTOR, KEY_FULL, KEY_IN_TEXT, KEY_NAME,
    KEY_UNKNOWN, LABEL_ALONE, LABEL_MISSING, LINE_END, QUOTES, SPACE, escapes,
};
use crate::cef::grammar::{Pair, Pairs};
use crate::cef::keys::{KEYS, Known, Takes, family, lookup};
use crate::json_read::KEYS_MAX;
use crate::names::is_own;
use crate::repeats::repeats;
use crate::{FORMATS, Field};

/// The pairs of a line.
pub(super) struct Extension<'r, 'l> {
    pub(super) report: &'r mut Report<'l>,
    /// Version 0: address keys take IPv4 alone.
    pub(super) is_first: bool,
    /// This program wrote the line, by its own header or, of a line that was relayed, by its keys.
    pub(super) of_gateway: bool,
    pub(super) at: usize,
}

impl<'l> Extension<'_, 'l> {
    pub(super) fn check(&mut self) {
        let line = self.report.line;
        let pairs = Pairs::new(line, self.at);
        let before = pairs.before();
        if before.start > self.at && line.get(self.at) == Some(&b' ') && before.end >= before.start {
            self.report.fix(&SPACE, self.at..before.start, "a space before the first key; write none", "");
        }
        if !before.is_empty() {
            self.report.say(&EXTENSION_TEXT, before.clone(), "text without a key; write `msg=` before it");
            escapes(self.report, before, b"=\\nr", &ESCAPE);
        }
        let pairs: Vec<Pair> = pairs.take(KEYS_MAX as usize).collect();
        // A key by its short and its full name is the same key.
        let names: Vec<(&str, &str)> = pairs.iter().map(|pair| ("", short(self.name(pair)))).collect();
        self.of_gateway |= pairs.iter().any(|pair| self.is_mark(pair));
        let again = repeats(names.iter().copied());
        let mut sorted: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
        sorted.sort_unstable();
        let mut before: Option<&str> = None;
        for (at, pair) in pairs.iter().enumerate() {
            if self.report.is_full() {
                return;
            }
            let is_last = at.saturating_add(1) == pairs.len();
            let name = short(self.name(pair));
            self.key(pair, before, &sorted);
            if again.binary_search(&at).is_ok() {
                self.report.say(&KEY_AGAIN, pair.key(), format!("`{name}` a second time; write each key once"));
            }
            self.text(pair, name, is_last);
            self.value(pair, name);
            before = Some(name);
        }
        self.end();
    }

    /// What stands behind the last value.
    fn end(&mut self) {
        let line = self.report.line;
        // The line end is the transport's; what stands before it is part of the last value for many receivers.
        let end = line.trim_ascii_end().len();
        let spaces = line.get(end..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if spaces > 0 && end > self.at {
            let range = end..end.saturating_add(spaces);
            self.report.fix(&SPACE, range, "spaces at the end of the line; write none", "");
        }
        const ESCAPED_RETURN: &[u8] = b"#015";
        if line.get(self.at..end).unwrap_or_default().ends_with(ESCAPED_RETURN) {
            let range = end.saturating_sub(ESCAPED_RETURN.len())..end;
            let message = "a carriage return that rsyslog wrote as `#015`; end the line with a line feed alone";
            self.report.fix(&LINE_END, range, message, "");
        }
    }

    fn name(&self, pair: &Pair) -> &'l str {
        self.report.line.get(pair.key()).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// Whether the pair says which format a line was read as: nobody else writes that.
    fn is_mark(&self, pair: &Pair) -> bool {
        let value = self.report.bytes(pair.value.range());
        let mut names = value.split(|byte| *byte == b'+');
        let is_read = |name: &[u8]| FORMATS.iter().any(|row| row.parse.is_some() && row.name.as_bytes() == name);
        self.report.bytes(pair.key()) == b"format" && names.all(is_read)
    }

    fn key(&mut self, pair: &Pair, before: Option<&str>, sorted: &[&str]) {
        let (range, written) = (pair.key(), self.name(pair));
        let name = short(written);
        let has = |name: &str| sorted.binary_search(&name).is_ok();
        if written.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'_') {
            let fix: String = written.chars().filter(char::is_ascii_alphanumeric).collect();
            return self.report.fix(&KEY_NAME, range, format!("key `{written}`; write letters and digits alone"), fix);
        }
        match lookup(name.as_bytes()) {
            Known::Key(key) if usize::from(key) >= collectors() => {
                self.report.say(
                    &KEY_COLLECTOR,
                    range.clone(),
                    format!("`{written}` is set by collectors; leave it out"),
                );
            }
            Known::Key(_) if name != written => {
                let message = format!("`{written}` is the full name of a key; write `{name}`");
                self.report.fix(&KEY_FULL, range.clone(), message, name);
            }
            Known::Key(_) => {}
            _ if self.of_gateway && is_ours(name) => {}
            _ => self.unknown(range.clone(), name, before, &has),
        }
        match name.strip_suffix("Label") {
            Some(base) if family(base.as_bytes()).is_some() && !has(base) => {
                self.report.say(&LABEL_ALONE, range, format!("`{written}` without `{base}`; write both or none"));
            }
            None if family(name.as_bytes()).is_some() && !has(&format!("{name}Label")) => {
                let message = format!("`{written}` without a label; write {name}Label and what it is");
                self.report.say(&LABEL_MISSING, range, message);
            }
            _ => {}
        }
    }

    /// A key outside of the dictionary; behind a text it may be a word of that text.
    fn unknown(&mut self, range: Range<usize>, name: &str, before: Option<&str>, has: &dyn Fn(&str) -> bool) {
        if let Some(key) = KEYS.iter().find(|key| key.name.eq_ignore_ascii_case(name)) {
            let message = format!("`{name}` is no key of the dictionary; write `{}`", key.name);
            return self.report.fix(&KEY_UNKNOWN, range, message, key.name);
        }
        let is_text = before.is_some_and(is_text) && family(name.as_bytes()).is_none();
        if is_text && !has(&format!("{name}Label")) && !name.ends_with("Label") {
            let equals = range.end..range.end.saturating_add(1);
            let message = format!(
                "`{name}=` behind a text begins a key, and none of the dictionary; if it is meant, write cs1 with \
                 cs1Label={name}, and if it is text, `{name}\\=`"
            );
            self.report.say(&KEY_IN_TEXT, equals, message);
        } else {
            let message = format!("`{name}` is no key of the dictionary; write cs1 with cs1Label={name}");
            self.report.say(&KEY_UNKNOWN, range, message);
        }
    }

    /// What is wrong with the characters of a value.
    fn text(&mut self, pair: &Pair, name: &str, is_last: bool) {
        let range = pair.value.range();
        let bytes = self.report.bytes(range.clone());
        if bytes.is_empty() {
            return self.report.say(&EMPTY, pair.key(), format!("`{name}` has no value; leave it out"));
        }
        escapes(self.report, range.clone(), b"=\\nr", &ESCAPE);
        let mut is_escaped = false;
        for (at, byte) in range.clone().zip(bytes) {
            let here = at..at.saturating_add(1);
            match byte {
                b'\\' => {
                    is_escaped = !is_escaped;
                    continue;
                }
                b'=' if !is_escaped => {
                    self.report.fix(&EQUALS, here, format!("an equals sign in `{name}`; write `\\=`"), "\\=")
                }
                b'\n' => self.report.fix(&LINE_END, here, format!("a line end in `{name}`; write `\\n`"), "\\n"),
                b'\r' => self.report.fix(&LINE_END, here, format!("a line end in `{name}`; write `\\r`"), "\\r"),
                byte if byte.is_ascii_control() && *byte != b'\t' => {
                    self.report.fix(&CONTROL, here, format!("a control character in `{name}`; write a space"), " ");
                }
                _ => {}
            }
            is_escaped = false;
            if self.report.is_full() {
                return;
            }
        }
        self.quotes(range.clone(), name);
        let trimmed = bytes.trim_ascii();
        if trimmed.len() < bytes.len() && !(is_last && trimmed.is_empty()) {
            let start = range.start.saturating_add(bytes.len().saturating_sub(bytes.trim_ascii_start().len()));
            let end = range.start.saturating_add(bytes.trim_ascii_end().len());
            let spaces = if start > range.start { range.start..start } else { end..range.end };
            self.report.fix(&SPACE, spaces, format!("spaces around the value of `{name}`; write none"), "");
        }
    }

    /// Quotes around a whole value: both of one kind, and none of that kind between them.
    fn quotes(&mut self, range: Range<usize>, name: &str) {
        let Some((open @ (b'"' | b'\''), [inside @ .., close])) = self.report.bytes(range.clone()).split_first() else {
            return;
        };
        if close != open || inside.contains(open) {
            return;
        }
        let last = range.end.saturating_sub(1);
        self.report.fix(
            &QUOTES,
            range.start..range.start.saturating_add(1),
            format!("a quote before the value of `{name}`; write none"),
            "",
        );
        self.report.fix(&QUOTES, last..range.end, format!("a quote behind the value of `{name}`; write none"), "");
    }
}

/// The short name of a key of the dictionary; any other name as it is.
fn short(name: &str) -> &str {
    match lookup(name.as_bytes()) {
        Known::Key(key) => KEYS.get(usize::from(key)).map_or(name, |key| key.name),
        _ => name,
    }
}

/// A key of the gateway's own: a field without a key in the dictionary, a name of the input, or what was cut.
fn is_ours(name: &str) -> bool {
    name.starts_with("ad_") || name == "emit_cut" || Field::ALL.iter().any(|field| is_own(*field, name.as_bytes()))
}

/// Where the keys of collectors begin in the dictionary.
fn collectors() -> usize {
    KEYS.iter().position(|key| key.name == "agt").unwrap_or(KEYS.len())
}

/// Keys whose values are written by people, in which a word may look like a key.
fn is_text(key: &str) -> bool {
    let numbered = family(key.as_bytes()).is_some_and(|takes| matches!(takes, Takes::Text(_)));
    numbered || key.starts_with("request") || matches!(key, "msg" | "message" | "reason" | "filePath" | "rawEvent")
}
