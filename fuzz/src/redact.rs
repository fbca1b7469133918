//! What must hold of events whose secrets a sink may not have: none of those that stand where the rules look is left,
//! and what was JSON still is.

use serde_json::json;
use wharfinger::fuzzing::redact::{is_clean, redacted};
use wharfinger_formats::{Event, Field, Value};

/// Part of every secret that is planted.
const SECRET: &str = "hUnt3rX7";

/// The first byte says what is done with the rest.
pub fn check(input: &[u8]) {
    crate::planted::plant();
    let [kind, rest @ ..] = input else { return };
    match kind {
        0..64 => check_any(rest, kind % 2 == 0),
        _ => check_planted(*kind, rest),
    }
}

/// Any bytes, also as fields: JSON stays JSON, the rest grows in bounds, and a second pass finds nothing more.
fn check_any(bytes: &[u8], is_hashed: bool) {
    let mut event = Event::new(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        event.set(Field::Msg, text);
        if is_json(bytes) {
            event.extra("a", "json", Value::Json(text));
        }
    }
    let Some(raw) = check_event(&event, is_hashed) else { return };
    if let Some(again) = redacted(&Event::new(&raw), is_hashed, |event| event.raw().to_vec()) {
        // What a stand-in has cut in two may be something else.
        assert!(again.len() <= bound(raw.len()), "a second pass");
    }
}

/// The raw bytes without secrets, if there were any.
fn check_event(event: &Event<'_>, is_hashed: bool) -> Option<Vec<u8>> {
    let raw = redacted(event, is_hashed, |other| {
        assert!(!is_clean(event), "a look finds what a search does");
        assert!(other.raw().len() <= bound(event.raw().len()), "{} bytes", other.raw().len());
        assert_eq!(is_json(other.raw()), is_json(event.raw()), "{}", String::from_utf8_lossy(other.raw()));
        for ((field, value), (was, old)) in other.fields().zip(event.fields()) {
            assert_eq!(field, was);
            assert_eq!(matches!(value, Value::Json(_)), matches!(old, Value::Json(_)));
        }
        other.raw().to_vec()
    });
    // Text stays text.
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    assert!(raw.as_ref().is_none_or(|raw| is_text(raw) || !is_text(event.raw())));
    raw
}

fn bound(len: usize) -> usize {
    32 * len + 128
}

fn is_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first().is_some_and(|first| b"{[".contains(first))
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// A secret with any signs around it that its place allows, between anything else: nothing of it is left.
fn check_planted(kind: u8, rest: &[u8]) {
    let [place, cut, rest @ ..] = rest else { return };
    let (noise, other) = rest.split_at(rest.len().min(usize::from(*cut)));
    let (noise, other) = (String::from_utf8_lossy(noise), String::from_utf8_lossy(other));
    let (before, behind) = noise.split_at(noise.char_indices().nth(noise.chars().count() / 2).map_or(0, |(at, _)| at));
    // Any text; what may stand between quotes of a shell; in a form; in a word.
    let kept = |allowed: &dyn Fn(char) -> bool| -> String {
        let noise = |text: &str| text.chars().filter(|letter| allowed(*letter)).collect::<String>();
        format!("x{}{SECRET}{}", noise(before), noise(behind))
    };
    let any = kept(&|_| true);
    let quotable = kept(&|letter| !"'\"\\".contains(letter) && !letter.is_control());
    let encoded = kept(&|letter| letter.is_ascii_alphanumeric() || "%+;._*-".contains(letter));
    let word = kept(&|letter| letter.is_ascii_alphanumeric() || "_.+/@!#".contains(letter));
    let line: String =
        other.chars().filter(|letter| letter.is_ascii_alphanumeric() || " /._".contains(*letter)).collect();
    // A flag before would take what follows for its own.
    let item = other.trim_start_matches('-');
    let text = match place % 20 {
        0 => json!({ "a": other, "password": any, "z": other }).to_string(),
        1 => json!({ "a": other, "api_token": [item, any, 5], "z": other }).to_string(),
        2 => json!([other, "--password", any, other]).to_string(),
        3 => json!({ "a": other, "Cmd": ["mysql", item, format!("-p{any}")] }).to_string(),
        4 => json!({ "Cmd": ["sshpass", "-p", any, other], "z": other }).to_string(),
        5 => json!({ "a": other, "Env": [format!("A_PASSWORD={any}"), "B=c"], "z": other }).to_string(),
        6 => json!(["curl", "-u", format!("me:{any}"), other]).to_string(),
        7 => format!("{line} mysql -u root -p'{quotable}' {line}"),
        8 => format!("{line} mysql -u root -p\"{quotable}\" {line}"),
        9 => format!("{line} app --password='{quotable}' {line}"),
        10 => format!("{line} app --password \"{quotable}\" {line}"),
        11 => format!("{line} curl -u me:'{quotable}' {line}"),
        12 => format!("a=1&password={encoded}&b=c"),
        13 => format!("{line} sshpass -p {word} ssh {line}"),
        14 => format!("{line} --token {word} {line}"),
        15 => format!("{line} password=\"{quotable}\" {line}"),
        16 => format!("{line} postgres://user:{}@host/db {line}", word.replace('/', "").replace('#', "")),
        17 => format!("argc=3 a0=\"mysql\" a1=\"--password\" a2=\"{}\" {line}", quotable.replace(' ', "")),
        18 => format!("docker run -e A=\"{quotable}\" {line}"),
        _ => json!({ "a": [other, { "b": "docker", "Cmd": ["docker", "login", "-p", any] }] }).to_string(),
    };
    let mut text = text;
    for _ in 0..kind % 3 {
        text = json!({ "log": text }).to_string();
    }
    let mut event = Event::new(text.as_bytes());
    event.set(Field::Msg, &*text);
    event.set(Field::ExecCommand, &*text);
    event.extra("a", "b", &*text);
    let left = |texts: &str| assert!(!texts.contains(SECRET), "{text}\n{texts}");
    assert!(check_event(&event, kind % 2 == 0).is_some(), "nothing found: {text}");
    redacted(&event, kind % 2 == 0, |other| {
        left(&String::from_utf8_lossy(other.raw()));
        other.fields().for_each(|(_, value)| left(&format!("{value:?}")));
        other.extras().for_each(|extra| left(&format!("{:?}", extra.value)));
    });
}
