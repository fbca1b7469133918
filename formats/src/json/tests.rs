//! Whatever an event holds comes out as one object of exactly that; `serde_json` is the reader.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value as Tree, json};

use super::*;
use crate::{Field, Time};

fn emitted(event: &Event<'_>) -> Tree {
    let mut out = Vec::new();
    emit(event, &EmitContext::default(), &mut out);
    let text = std::str::from_utf8(&out).unwrap();
    let is_harmless = |char: char| !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}');
    assert!(text.chars().all(is_harmless), "{text:?}");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn check_value(value: Value<'_>, expected: Tree) {
    let mut event = Event::new(b"");
    event.set(Field::Msg, value);
    assert_eq!(emitted(&event), json!({ "msg": expected }));
}

#[test]
fn values_of_every_kind() {
    check_value(
        Value::from("a\"b\\c\n\r\t\0\u{1b}\u{7f}\u{85}\u{a0}é\u{2028}\u{2029}€😀"),
        json!("a\"b\\c\n\r\t\0\u{1b}\u{7f}\u{85}\u{a0}é\u{2028}\u{2029}€😀"),
    );
    check_value(Value::Int(i64::MIN), json!(i64::MIN));
    check_value(Value::Bool(true), json!(true));
    check_value(Value::Time(Time(1_795_251_800_158_734_145)), json!("2026-11-21T09:03:20.158734145Z"));
    for (text, expected) in [
        ("null", Tree::Null),
        ("[1.5,\n{\"a\":\"\u{2028}\"}]\r", json!([1.5, { "a": "\u{2028}" }])),
        ("1e400", json!("1e400")),
        ("\"\\ud800\"", json!("\"\\ud800\"")),
        ("1},\"time\":\"forged\",{\"x\":2", json!("1},\"time\":\"forged\",{\"x\":2")),
        ("", json!("")),
        ("\"", json!("\"")),
    ] {
        check_value(Value::Json(text), expected);
    }
}

#[test]
fn long_texts_are_written_and_read_as_they_are() {
    // Longer than what is gathered at once, with every kind of special at every distance from its end.
    for special in ["\"", "\\", "\n", "\u{7f}", "\u{85}", "\u{2028}", "é", "€", "😀"] {
        for every in [1, 2, 3, 7, 8, 9, 30] {
            // The quote makes its reader take escapes out of all of it.
            let text =
                format!("\"{}", (0..700).map(|at| if at % every == 0 { special } else { "x" }).collect::<String>());
            check_value(Value::from(&text), json!(text));
            let line = json!({ "é": text }).to_string();
            let mut event = Event::new(line.as_bytes());
            let mut reader = JsonReader::over(&line);
            let mut read = None;
            reader
                .object(|reader, _| {
                    read = reader.try_kept(&mut event)?;
                    Ok(())
                })
                .unwrap();
            assert_eq!(event.str(read.unwrap()), text, "every {every}");
        }
    }
}

#[test]
fn the_input_can_set_no_field_of_ours() {
    let mut event = Event::new(b"raw \"bytes\"");
    event.set(Field::Action, "start");
    event.extra("", "event_id", "forged");
    event.extra("", "action\":\"x", "y");
    event.extra("a", "b", "first");
    event.extra("", "a.b", "second");
    assert_eq!(
        emitted(&event),
        json!({
            "action": "start",
            "fields": { "event_id": "forged", "action\":\"x": "y", "a.b": "first" },
            "_dup": [["a.b", "second"]],
            "raw": "raw \"bytes\"",
        })
    );
}

#[test]
fn raw_bytes_that_are_not_text_are_base64() {
    for (raw, base64) in
        [(&b"\xff"[..], "/w=="), (b"\xff\xfe", "//4="), (b"\xff\xfe\xfd", "//79"), (b"\xff\xfe\xfd\0", "//79AA==")]
    {
        assert_eq!(emitted(&Event::new(raw)), json!({ "raw_base64": base64 }));
    }
    assert_eq!(emitted(&Event::new(b"")), json!({}));
}

proptest! {
    #[test]
    fn one_object_with_exactly_these_fields(
        raw in proptest::collection::vec(any::<u8>(), 0..40),
        fields in proptest::collection::vec((0..Field::COUNT, "\\PC{0,8}|[\"\\\\\u{0}-\u{1f}\u{7f}-\u{a0}\u{2028}=|,{}:]{0,8}", any::<bool>()), 0..8),
        extras in proptest::collection::vec(("[a.\"\\\\]{0,2}", "[b.\"\\\\\u{0}\u{85}]{0,2}", ".{0,6}", any::<bool>()), 0..8),
    ) {
        let mut event = Event::new(&raw);
        for (field, text, is_json) in &fields {
            event.set(Field::ALL[*field], if *is_json { Value::Json(text) } else { Value::Str(text) });
        }
        for (group, name, text, is_json) in &extras {
            event.extra(group.as_str(), name.as_str(), if *is_json { Value::Json(text) } else { Value::Str(text) });
        }
        let tree = |value: Value<'_>| match value {
            Value::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| Tree::from(text)),
            Value::Str(text) => Tree::from(text),
            _ => Tree::Null,
        };
        let mut expected = serde_json::Map::new();
        for (field, value) in event.fields() {
            expected.insert(field.name().to_owned(), tree(value));
        }
        let (mut inside, mut dup) = (serde_json::Map::new(), Vec::new());
        for extra in event.extras() {
            let key = if extra.group.is_empty() { extra.name.to_string() } else { format!("{}.{}", extra.group, extra.name) };
            if inside.contains_key(&key) {
                dup.push(json!([key, tree(extra.value)]));
            } else {
                inside.insert(key, tree(extra.value));
            }
        }
        let mut got = emitted(&event);
        let got = got.as_object_mut().unwrap();
        let (text, base64) = (got.remove("raw"), got.remove("raw_base64"));
        prop_assert_eq!(text, std::str::from_utf8(&raw).ok().filter(|raw| !raw.is_empty()).map(Tree::from));
        prop_assert_eq!(base64.is_some(), std::str::from_utf8(&raw).is_err());
        prop_assert_eq!(got.remove("fields"), Some(Tree::from(inside)).filter(|_| event.extras().len() > 0));
        prop_assert_eq!(got.remove("_dup"), Some(Tree::from(dup.clone())).filter(|_| !dup.is_empty()));
        prop_assert_eq!(&*got, &expected);
    }
}
