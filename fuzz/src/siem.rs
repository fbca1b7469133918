//! What must hold of lines for SIEMs, CEF and LEEF, whatever bytes they came from.

use wharfinger_formats::lint::{FINDINGS_MAX, LINTERS, corrected};
use wharfinger_formats::{Event, Field, Time};

use crate::{check_event, emitted, parsed, strict, unique};

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

/// Keys of Wazuh's `syslog_output` in its forms `json` and `splunk`, and in `cef`.
const WAZUH_NAMES: &[&str] = &[
    "crit",
    "id",
    "component",
    "classification",
    "description",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "acct",
    "file",
    "md5_old",
    "md5_new",
    "sha1_old",
    "sha1_new",
    "sha256_old",
    "sha256_new",
    "event_id",
    "replayed",
    "message",
];
const WAZUH_KEYS: &[&str] = &[
    "dvchost",
    "cs1",
    "cs1Label",
    "cat",
    "src",
    "dpt",
    "spt",
    "fname",
    "dhost",
    "shost",
    "suser",
    "dst",
    "externalId",
    "replayed",
    "msg",
];

/// One object behind the tag, and nothing in it that csyslogd has no word for.
pub fn check_wazuh_json(event: &Event<'_>) {
    let line = String::from_utf8(emitted("wazuh_syslog_json", event)).expect("UTF-8");
    assert!(!line.contains(char::is_control), "{line:?}");
    let tree = unique::parse(line.strip_prefix("ossec: ").expect("the tag"));
    let object = tree.as_object().expect("an object");
    check_known(object.keys().map(String::as_str), WAZUH_NAMES);
    assert!(object["crit"].as_i64().is_some_and(|level| (0..=15).contains(&level)), "{line}");
}

/// One object with the name of an integration that this is, so that no value chooses a rule.
pub fn check_wazuh_input(event: &Event<'_>) {
    let line = String::from_utf8(emitted("wazuh_input", event)).expect("UTF-8");
    assert!(!line.contains(char::is_control), "{line:?}");
    let tree = unique::parse(&line);
    let object = tree.as_object().expect("an object");
    check_known(object.keys().map(String::as_str), &["integration", "docker", "wharfinger", "fields"]);
    assert!(["docker", "wharfinger"].contains(&object["integration"].as_str().expect("a text")), "{line}");
}

/// Names, each with digits or with a text between quotes, up to the end of the line.
pub fn check_wazuh_splunk(event: &Event<'_>) {
    let line = String::from_utf8(emitted("wazuh_syslog_splunk", event)).expect("UTF-8");
    assert!(!line.contains(|char: char| char.is_ascii_control()), "{line:?}");
    let mut rest = line.strip_prefix("ossec: ").expect("the tag");
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').expect("a name");
        names.push(name);
        rest = match after.strip_prefix('"') {
            Some(text) => text.split_once('"').expect("the end of a text").1,
            None => after.trim_start_matches(|char: char| char == '-' || char.is_ascii_digit()),
        };
        rest = match rest.strip_prefix(", ").or(rest.strip_prefix(' ')) {
            Some(next) => next,
            None => {
                assert_eq!(rest, "", "{line}");
                rest
            }
        };
    }
    check_known(names.into_iter(), WAZUH_NAMES);
}

/// One line by the strict grammar.
pub fn check_wazuh_cef(event: &Event<'_>) {
    let line = strict::strict(&emitted("wazuh_syslog_cef", event));
    assert_eq!(line.header[1..3], ["Wazuh Inc.", "Wazuh"]);
    assert!(line.header[6].parse::<u8>().is_ok_and(|severity| severity <= 10));
    check_known(line.keys.iter().map(|(key, _)| key.as_str()), WAZUH_KEYS);
}

fn check_known<'n>(names: impl Iterator<Item = &'n str>, known: &[&str]) {
    let mut names: Vec<_> = names.collect();
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "each key once");
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
