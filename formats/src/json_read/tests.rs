//! The scanner against `serde_json`: what one accepts the other accepts, and they read the same.
#![allow(clippy::unwrap_used, clippy::unreachable, clippy::arithmetic_side_effects)]

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::*;

/// Reads all of `text` as a tree through the scanner's own means.
fn tree<'a>(reader: &mut JsonReader<'a>) -> Read<Tree> {
    if reader.at_object() {
        let mut object = serde_json::Map::new();
        reader.object(|reader, key| {
            object.insert(key.text().into_owned(), tree(reader)?);
            Ok(())
        })?;
        return Ok(Tree::Object(object));
    }
    Ok(match reader.value()? {
        JsonValue::Str(text) => Tree::from(text.into_owned()),
        JsonValue::Int(number) => Tree::from(number),
        JsonValue::Bool(truth) => Tree::from(truth),
        JsonValue::Json(text) => serde_json::from_str(text).unwrap_or(Tree::Null),
    })
}

fn check(text: &str) {
    let mut skipping = JsonReader::over(text);
    let skipped = skipping.skip().and_then(|_| skipping.end());
    let oracle = serde_json::from_str::<Tree>(text);
    let accepted = skipped.is_ok() && !skipping.is_unportable();
    assert_eq!(accepted, oracle.is_ok(), "{text:?}: {skipped:?} against {oracle:?}");
    let mut reader = JsonReader::over(text);
    let read = tree(&mut reader).and_then(|tree| reader.end().map(|()| tree));
    assert_eq!(read.is_ok(), skipped.is_ok(), "{text:?}: both ways of reading agree");
    if let Ok(oracle) = oracle {
        assert_eq!(read.unwrap(), oracle, "{text:?}");
    }
}

#[test]
fn what_serde_json_accepts_and_only_that() {
    for text in [
        "",
        " ",
        "{}",
        "[]",
        "{ }",
        "[ ]",
        "[,]",
        "{,}",
        "[1,]",
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{a:1}"#,
        "nul",
        "null",
        "true",
        "tru",
        "falsey",
        "-",
        "-0",
        "0",
        "01",
        "1.",
        ".5",
        "1.5",
        "1e",
        "1e+",
        "1e5",
        "1E-5",
        "-1.25e+10",
        "1e400",
        "1e-400",
        "18446744073709551616",
        "9223372036854775807",
        "-9223372036854775808",
        r#""\n""#,
        r#""\x""#,
        r#""\u12""#,
        r#""\u00e9""#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83dx""#,
        r#""\ud83d\ud83d""#,
        "\"a\tb\"",
        "\"\u{7f}\"",
        "\"a\u{2028}b\"",
        "\"",
        "\"\\",
        "\"\\u\"",
        "[1 2]",
        "[[1],[2,[3]]]",
        "{\"a\":{\"b\":[{}]}}",
        "[1]]",
        "{}{}",
        "\u{feff}{}",
        "[\"x\",\r\n\t1 ]",
        "{\"a\" : 1}",
    ] {
        check(text);
    }
}

#[test]
fn deep_and_wide_input_is_refused_at_the_limit() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    // The innermost pair is empty and opens no level of its own.
    assert!(JsonReader::over(&deep(65)).skip().is_ok());
    assert_eq!(JsonReader::over(&deep(66)).skip().unwrap_err().expected, "at most 64 levels of JSON");
    assert_eq!(JsonReader::over(&"[".repeat(100_000)).skip().unwrap_err().at, 65);
    assert_eq!(JsonReader::over(&r#"{"a":"#.repeat(100_000)).skip().unwrap_err().expected, "at most 64 levels of JSON");
    let wide = |keys: usize| format!("{{{}}}", vec![r#""a":0"#; keys].join(","));
    assert!(JsonReader::over(&wide(2_000)).skip().is_ok());
    assert_eq!(JsonReader::over(&wide(2_001)).skip().unwrap_err().expected, "at most 2,000 keys");
}

#[test]
fn a_line_end_is_taken_off_without_copying() {
    for (body, text, ended, borrowed) in [
        (r"plain\n", "plain", true, true),
        (r"tty\r\n", "tty", true, true),
        (r"\n", "", true, true),
        (r"part", "part", false, true),
        (r"back\\n", r"back\n", false, false),
        (r"back\\\n", r"back\", true, false),
        (r"back\\r\n", r"back\r", true, false),
        (r"a\tb\n", "a\tb", true, false),
    ] {
        let quoted = format!("\"{body}\"");
        let mut reader = JsonReader::over(&quoted);
        let (line, end) = reader.try_string().unwrap().unwrap().line();
        let line = line.text();
        assert_eq!((&*line, end, matches!(line, Cow::Borrowed(_))), (text, ended, borrowed), "{body}");
    }
}

#[test]
fn errors_say_where() {
    let error = |input: &[u8]| match JsonReader::new(input) {
        Ok(mut reader) => reader.skip().and_then(|_| reader.end()).unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error(br#"{"a":1 "b":2}"#), ParseError::new(7, "`,` or `}`"));
    assert_eq!(error(br#"{"a":"x"#), ParseError::new(7, "`\"`"));
    assert_eq!(error(b"{\"a\":\"\xff\"}"), ParseError::new(6, "UTF-8"));
    assert_eq!(error(b"[1] x"), ParseError::new(4, "the end"));
}

fn json() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<f64>().prop_map(Tree::from),
        ".*".prop_map(Tree::from),
        "[\"\\\\\u{0}-\u{1f}é\u{2028}😀]{0,20}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Tree::from),
            proptest::collection::btree_map(".{0,12}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn valid_json_is_read_as_serde_json_reads_it(tree in json(), pretty in any::<bool>()) {
        check(&if pretty { serde_json::to_string_pretty(&tree).unwrap() } else { tree.to_string() });
    }

    #[test]
    fn broken_json_is_refused_as_serde_json_refuses_it(
        tree in json(), at in any::<prop::sample::Index>(), with in "[\\[\\]{}:,\"\\\\u0-9a-f.eE+ \t\u{1}-]{0,3}", cut in 0..4_usize,
    ) {
        let chars: Vec<char> = tree.to_string().chars().collect();
        let at = at.index(chars.len() + 1);
        let broken: String = chars.iter().take(at).copied().chain(with.chars()).chain(chars.iter().skip(at + cut).copied()).collect();
        check(&broken);
    }

    #[test]
    fn noise_is_judged_as_serde_json_judges_it(noise in "[\\[\\]{}:,\"\\\\u0-9a-ftrunlse.E+ -]{0,30}") {
        check(&noise);
    }
}
