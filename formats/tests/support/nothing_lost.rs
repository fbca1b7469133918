//! Whether every word of a JSON line stands somewhere in the event that was made from it.

use serde_json::Value as Tree;
use wharfinger_formats::{Event, Time, Value};

/// Panics with the word that is gone. The raw bytes do not count: they hold everything.
pub(crate) fn check(tree: &Tree, event: &Event<'_>) {
    let mut written = String::new();
    for value in event.fields().map(|(_, value)| value).chain(event.extras().map(|extra| extra.value)) {
        match value {
            // What is kept as JSON may write its words with other escapes: read it as JSON.
            Value::Json(text) => match serde_json::from_str(text) {
                Ok(tree) => words(&tree, &mut |word| written.extend([word, " "])),
                Err(_) => written.push_str(text),
            },
            Value::Str(text) => written.push_str(text),
            _ => {}
        }
        written.push('\n');
    }
    words(tree, &mut |word| {
        let number = word.trim();
        let as_number = number.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte))
            && (number.is_empty() || number.parse::<f64>().is_ok());
        assert!(as_number || is_time(word) || written.contains(word), "{word:?} is gone:\n{written}");
    });
}

/// Instants and numbers are kept as such, and so not as words.
fn is_time(word: &str) -> bool {
    Time::parse_rfc3339(word.as_bytes()).is_some()
}

fn words(tree: &Tree, look: &mut impl FnMut(&str)) {
    match tree {
        Tree::String(text) => text.split([' ', '\n', '\r', ':', '/']).for_each(|word| {
            if !is_time(text) {
                look(word);
            }
        }),
        Tree::Array(list) => list.iter().for_each(|tree| words(tree, look)),
        Tree::Object(object) => object.values().for_each(|tree| words(tree, look)),
        _ => {}
    }
}
