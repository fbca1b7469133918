//! Tests of events.

#![allow(clippy::unwrap_used, clippy::string_slice)]

use super::*;

#[test]
fn a_second_value_replaces_the_first() {
    let mut event = Event::new(b"x");
    event.set(Field::Action, "start");
    event.set(Field::Severity, 3);
    event.set(Field::Action, "stop");
    assert_eq!(event.text(Field::Action), Some("stop"));
    assert_eq!(event.int(Field::Severity), Some(3));
    assert_eq!(event.fields().len(), 2);
}

#[test]
fn reuse_forgets_everything_and_keeps_the_memory() {
    let mut event = Event::new(b"one");
    event.set(Field::Action, "start");
    event.extra("sd", "a", "b");
    let capacity = (event.known.capacity(), event.extras.capacity(), event.own.capacity());
    let event = event.reuse(b"two");
    assert_eq!(event, Event::new(b"two"));
    assert_eq!((event.known.capacity(), event.extras.capacity(), event.own.capacity()), capacity);
}

#[test]
fn a_piece_of_the_raw_bytes_is_no_copy() {
    let raw = "host=gw ü";
    let mut event = Event::new(raw.as_bytes());
    event.set(Field::HostName, &raw[5..7]);
    event.set(Field::Msg, raw);
    event.extra(&raw[..4], "", &raw[8..]);
    assert_eq!(event.own, "");
    assert_eq!(event.text(Field::Msg), Some(raw));
    event.set(Field::App, "own");
    event.copy(Field::App, Field::ProcessId);
    event.extra("group", "a", 1);
    event.extra("group", "b", 2);
    assert_eq!(event.own, "owngroupab");
    assert_eq!((event.text(Field::ProcessId), event.extras().nth(2).unwrap().group), (Some("own"), "group"));
}

#[test]
fn fields_in_common_are_set_at_once() {
    let mut common = Event::new(b"");
    common.set(Field::Source, "syslog");
    common.set(Field::Msg, "");
    common.set(Field::Severity, 3);
    common.set(Field::RuleGroups, Value::Json("[]"));
    for other in [common.clone(), {
        let mut over_bytes = Event::new(b"syslog[]");
        over_bytes.set_all(&common);
        over_bytes
    }] {
        let mut event = Event::new(b"raw");
        event.set(Field::App, "own");
        event.set(Field::Source, "claimed");
        event.set_all(&other);
        assert_eq!((event.text(Field::App), event.text(Field::Source)), (Some("own"), Some("syslog")));
        assert_eq!(event.get(Field::RuleGroups), Some(Value::Json("[]")));
        assert_eq!((event.text(Field::Msg), event.int(Field::Severity)), (Some(""), Some(3)));
    }
}

#[test]
fn bytes_that_are_no_text_are_copied_as_text() {
    let raw = b"a\xFFb";
    let mut event = Event::new(raw);
    let text = String::from_utf8_lossy(raw);
    event.set(Field::Msg, &text);
    assert_eq!((event.text(Field::Msg), event.raw()), (Some("a\u{FFFD}b"), &raw[..]));
    assert_eq!(event.raw_text(), None);
}

#[test]
fn what_is_taken_out_can_be_put_back() {
    let mut event = Event::new(b"x");
    event.set(Field::Time, Time(1));
    event.set(Field::Msg, "m");
    event.set(Field::App, "a");
    let time = event.take(Field::Time).unwrap();
    assert_eq!((event.text(Field::Msg), event.text(Field::App)), (Some("m"), Some("a")));
    assert!(!event.has(Field::Time));
    event.put(Field::Time, time);
    assert_eq!(event.time(Field::Time), Some(Time(1)));
}
