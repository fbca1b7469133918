//! A reader of CEF for tests and fuzzing, written from the grammar alone: it knows nothing of the
//! emitter and forgives nothing.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::panic)]

/// A line as the grammar reads it: seven header fields and the keys in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) header: Vec<String>,
    pub(crate) keys: Vec<(String, String)>,
}

/// "Exactly 7 pipes" that are not escaped; in the extension every `=` that is not escaped ends a key,
/// and one space stands before each key but the first.
pub(crate) fn strict(line: &[u8]) -> Line {
    let line = std::str::from_utf8(line).unwrap();
    assert!(line.chars().all(|char| char == '\t' || (char >= ' ' && char != '\u{7f}')), "{line:?}");
    let mut header = vec![String::new()];
    let mut chars = line.chars();
    while header.len() < 8 {
        let field = header.last_mut().unwrap();
        match chars.next().unwrap_or_else(|| panic!("too few pipes: {line}")) {
            '\\' => field.push(chars.next().filter(|char| "|\\".contains(*char)).unwrap()),
            '|' => header.push(String::new()),
            char => field.push(char),
        }
    }
    header.pop();
    Line { header, keys: extension(chars.as_str()) }
}

fn extension(text: &str) -> Vec<(String, String)> {
    let mut keys: Vec<(String, String)> = Vec::new();
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => value.push(match chars.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                char @ ('=' | '\\') => char,
                char => panic!("no escape of CEF: \\{char} in {text}"),
            }),
            '=' => {
                let key = value.rsplit(' ').next().unwrap().to_owned();
                assert!(
                    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                    "{text}"
                );
                value.truncate(value.len() - key.len());
                match keys.last_mut() {
                    Some(last) => last.1 = value.strip_suffix(' ').unwrap().to_owned(),
                    None => assert!(value.is_empty(), "{text}"),
                }
                keys.push((key, String::new()));
                value.clear();
            }
            char => value.push(char),
        }
    }
    match keys.last_mut() {
        Some(last) => last.1 = value,
        None => assert!(value.is_empty(), "{text}"),
    }
    assert!(keys.iter().all(|(_, value)| !value.is_empty() && value.trim_matches([' ', '\t']) == value), "{text}");
    keys
}
