//! What must hold of an event of the ingestion API of Aria Operations for Logs, whatever bytes it is.

use serde_json::Value as Tree;
use wharfinger_formats::{Event, Field, Value};

use crate::{check_event, nothing_lost, parsed};

/// Understood or refused; no word of it is gone, and a field is the piece of the text that it names.
pub fn check(input: &[u8]) {
    let event = parsed("loginsight", input);
    check_event(&event);
    if event.get(Field::ParseStatus).is_some() {
        return;
    }
    let Ok(mut tree) = serde_json::from_slice::<Tree>(input) else { return };
    // What came twice is kept twice, and this reader has the last of each alone.
    if event.get(Field::ParseDuplicateKeys).is_some() {
        return;
    }
    let text = tree["text"].as_str().unwrap_or_default().to_owned();
    for field in tree["fields"].as_array_mut().into_iter().flatten() {
        check_field(field, &text, &event);
    }
    // What a line of another format says is for its own target.
    if event.text(Field::Format) != Some("loginsight") {
        tree["text"] = Tree::Null;
    }
    nothing_lost::check(&tree, &event);
}

/// A field that was read leaves its value, one that was not stays whole.
fn check_field(field: &mut Tree, text: &str, event: &Event<'_>) {
    let Some(members) = field.as_object() else { return };
    let Some(name) = members.get("name").and_then(Tree::as_str) else { return };
    let place = |name: &str| members.get(name).and_then(Tree::as_u64).and_then(|place| usize::try_from(place).ok());
    let found = || event.extras().filter(|extra| extra.group == "loginsight");
    // Of a name that came twice this reader has the last, and the event the first.
    let is_kept = found().any(|extra| is_whole(extra.value, field));
    match (members.get("content"), place("startPosition"), place("length")) {
        (Some(content), ..) if !is_kept => *field = content.clone(),
        (None, Some(start), Some(length)) if members.len() == 3 => {
            let piece: Option<String> = (start.saturating_add(length) <= text.chars().count())
                .then(|| text.chars().skip(start).take(length).collect());
            let is_right = |value| matches!((value, &piece), (Value::Str(value), Some(piece)) if value == piece);
            let is_cut = found().any(|extra| extra.name == name && is_right(extra.value));
            let is_host = name == "hostname" && piece.as_deref().is_some_and(|piece| !piece.is_empty());
            // One beyond twice the text stays whole, too.
            assert!(is_host || is_cut || is_kept, "{field}");
            *field = Tree::Null;
        }
        _ => {}
    }
}

fn is_whole(value: Value<'_>, field: &Tree) -> bool {
    matches!(value, Value::Json(text) if serde_json::from_str::<Tree>(text).is_ok_and(|tree| tree == *field))
}
