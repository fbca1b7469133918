//! What must hold of lines for SIEMs, CEF and LEEF, whatever bytes they came from.

use wharfinger_formats::lint::{FINDINGS_MAX, LINTERS, corrected};
use wharfinger_formats::{Event, Field, Time};

use crate::{check_event, emitted, parsed};

/// A line of CEF: an event, and the line that is written of it is read as the same again, byte for byte.
pub fn check_cef_line(input: &[u8]) {
    // It may be the first key: then no space stands before it.
    check_written_again("cef", input, "emit_cut=");
}

/// The same of LEEF, which cuts nothing.
pub fn check_leef_line(input: &[u8]) {
    check_leef(&parsed("leef", input));
    check_written_again("leef", input, "\n");
}

/// One line by the grammar alone, each key once, and none of ours out of the input's names.
pub fn check_leef(event: &Event<'_>) {
    let line = String::from_utf8(emitted("leef", event)).expect("UTF-8");
    assert!(!line.contains(|char: char| char.is_ascii_control() && char != '\t'), "{line:?}");
    let fields: Vec<&str> = line.splitn(7, '|').collect();
    assert_eq!((fields.len(), fields[0], fields[5]), (7, "LEEF:2.0", "x09"), "{line:?}");
    let attributes = fields[6].split('\t').filter(|attribute| !attribute.is_empty());
    let mut keys: Vec<&str> = attributes
        .map(|attribute| {
            let (key, value) = attribute.split_once('=').expect("a key");
            assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line:?}");
            assert!(!value.is_empty(), "{line:?}");
            key
        })
        .collect();
    let extras = keys.iter().filter(|key| key.starts_with("ad_")).count();
    assert!(extras <= event.extras().len());
    // One a field, and the raw bytes of what was not understood.
    assert!(keys.len() - extras <= event.fields().len() + 1, "{keys:?}");
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "each key once");
}

/// Every finding is of a rule of its linter and about bytes of the line.
pub fn check_lint(input: &[u8]) {
    crate::planted::plant();
    for linter in LINTERS {
        let findings = linter.check(input);
        assert!(findings.len() <= FINDINGS_MAX);
        for finding in &findings {
            assert!(input.get(finding.range.clone()).is_some(), "{finding:?}");
            assert!(linter.rules.iter().any(|rule| rule.id == finding.rule.id), "{finding:?}");
        }
        let fixes: usize = findings.iter().filter_map(|finding| finding.fix.as_ref()).map(String::len).sum();
        assert!(corrected(input, &findings).len() <= input.len() + fixes);
    }
}

/// What is written of the event is a line that reads as the same. Not looked at: values that were cut
/// (`cut` says so), bytes that go along with what was not understood, milliseconds of so few digits that they
/// read as seconds, and a process whose id is a number but for control characters, which no line can carry.
fn check_written_again(format: &str, input: &[u8], cut: &str) {
    let mut event = parsed(format, input);
    check_event(&event);
    event.remove(Field::Format);
    let early = |field| event.time(field).is_some_and(|time| time < Time(1_000_000_000_000_000_000));
    let is_hidden = event.text(Field::ProcessId).is_some_and(|id| id.contains(char::is_control));
    if is_hidden || event.has(Field::ParseStatus) || [Field::Time, Field::Start, Field::End].into_iter().any(early) {
        return;
    }
    let line = String::from_utf8(emitted(format, &event)).expect("UTF-8");
    // The longest name that a key takes whole.
    if line.contains(cut) || event.extras().any(|extra| extra.group.len().max(extra.name.len()) > 200) {
        return;
    }
    let mut back: Event<'_> = parsed(format, line.as_bytes());
    assert!(!back.has(Field::ParseStatus), "{line}");
    back.remove(Field::Format);
    let again = String::from_utf8(emitted(format, &back)).expect("UTF-8");
    assert_eq!(again, line);
}
