//! A strict reader of CEF, written from the standard and not from our emitter: what a SIEM sees.

use std::collections::BTreeMap;

/// One CEF record.
#[derive(Debug)]
pub struct Cef {
    pub class: String,
    pub name: String,
    pub severity: String,
    pub extension: BTreeMap<String, String>,
}

impl Cef {
    /// Reads a record that stands anywhere in a line. Panics when it is not exactly one correct record.
    pub fn read(line: &str) -> Cef {
        let record = &line[line.find("CEF:0|").unwrap_or_else(|| panic!("no CEF in `{line}`"))..];
        let mut fields = vec![String::new()];
        let mut rest = record.chars();
        while fields.len() < 8 {
            let field = fields.last_mut().expect("never empty");
            match rest.next().unwrap_or_else(|| panic!("fewer than 7 pipes in `{line}`")) {
                '\\' => field.push(escaped(rest.next(), r"\|", line)),
                '|' => fields.push(String::new()),
                other => field.push(other),
            }
        }
        Cef {
            class: fields[4].clone(),
            name: fields[5].clone(),
            severity: fields[6].clone(),
            extension: extension(rest.as_str(), line),
        }
    }

    pub fn get(&self, key: &str) -> &str {
        self.extension.get(key).map_or("", String::as_str)
    }

    /// The value of the custom field with that label: `vmUuid`, `containerName`.
    pub fn labelled(&self, label: &str) -> &str {
        let named = self.extension.iter().find(|(key, value)| key.ends_with("Label") && *value == label);
        named.map_or("", |(key, _)| self.get(key.trim_end_matches("Label")))
    }
}

fn extension(text: &str, line: &str) -> BTreeMap<String, String> {
    // An unescaped `=` ends a key, which begins after the last space before it.
    let bytes = text.as_bytes();
    let is_separator = |at: usize| bytes[at] == b'=' && !escapes_next(&bytes[..at]);
    let separators: Vec<usize> = (0..bytes.len()).filter(|&at| is_separator(at)).collect();
    let key_start = |at: usize| text[..at].rfind(' ').map_or(0, |space| space + 1);
    let mut pairs = BTreeMap::new();
    for (index, &at) in separators.iter().enumerate() {
        let key = &text[key_start(at)..at];
        assert!(!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "key `{key}`: {line}");
        let end = separators.get(index + 1).map_or(text.len(), |&next| key_start(next).saturating_sub(1));
        let mut value = String::new();
        let mut rest = text[at + 1..end].chars();
        while let Some(next) = rest.next() {
            value.push(if next == '\\' { escaped(rest.next(), "\\=nr", line) } else { next });
        }
        assert!(pairs.insert(key.to_owned(), value).is_none(), "key `{key}` twice: {line}");
    }
    pairs
}

/// Whether the text before ends in an odd number of backslashes.
fn escapes_next(before: &[u8]) -> bool {
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

fn escaped(next: Option<char>, legal: &str, line: &str) -> char {
    match next {
        Some('n') if legal.contains('n') => '\n',
        Some('r') if legal.contains('r') => '\r',
        Some(other) if legal.contains(other) => other,
        other => panic!("escape of {other:?} in `{line}`"),
    }
}
