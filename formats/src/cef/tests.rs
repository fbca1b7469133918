//! Whatever an event holds comes out as one line of exactly that.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use proptest::prelude::*;

use super::strict::strict;
use super::*;
use crate::Time;

fn emitted(event: &Event<'_>) -> String {
    let mut out = Vec::new();
    emit(event, &EmitContext { vendor: "V|\\", product: "P", version: "1" }, &mut out);
    String::from_utf8(out).unwrap()
}

fn check(fields: &[(Field, Value<'_>)], expected: &str) {
    let mut event = Event::new(b"raw");
    for (field, value) in fields {
        event.set(*field, *value);
    }
    let line = emitted(&event);
    assert_eq!(line.strip_prefix(r"CEF:0|V\|\\|P|1|event|event|Unknown|"), Some(expected), "{line}");
    strict(line.as_bytes());
}

#[test]
fn fields_go_to_their_keys_in_order() {
    check(&[], "");
    check(
        &[
            (Field::Msg, Value::from("a=b | c\\d\nnext")),
            (Field::ContainerName, Value::from("x act=permit")),
            (Field::Time, Value::Time(Time(1_795_251_800_158_734_145))),
            (Field::HostName, Value::from("vm1")),
            (Field::ExitCode, Value::Int(137)),
            (Field::RuleGroups, Value::Json(r#"["docker","web"]"#)),
            (Field::ParseAmbiguous, Value::Bool(true)),
        ],
        r"rt=1795251800158 dvchost=vm1 dhost=vm1 parse_ambiguous=true cat=docker,web cn1=137 cn1Label=exitCode cs2=x act\=permit cs2Label=containerName msg=a\=b | c\\d\nnext",
    );
    check(
        &[
            (Field::HostName, Value::from("vm1")),
            (Field::DstHost, Value::from("db")),
            (Field::SrcIp, Value::from("10.0.0.1")),
            (Field::SrcPort, Value::from("443")),
            (Field::DstIp, Value::from("::1")),
            (Field::DstPort, Value::Int(70_000)),
            (Field::HostIp, Value::from("any")),
        ],
        "dvchost=vm1 dhost=db dst_port=70000 host_ip=any src=10.0.0.1 spt=443 c6a3=::1 c6a3Label=destinationIPv6",
    );
}

#[test]
fn the_header_holds_no_line_end_and_no_bare_pipe() {
    let mut event = Event::new(b"raw");
    event.set(Field::EventClass, "a|b\\c\r\nd");
    event.set(Field::Name, "\r\nname = x\n");
    event.set(Field::DeviceVendor, &"v".repeat(100));
    event.set(Field::Severity, 15);
    let line = emitted(&event);
    assert_eq!(line, format!(r"CEF:0|{}|P|1|a\|b\\c  d|name = x|10|emit_cut=device.vendor", "v".repeat(63)));
}

#[test]
fn long_values_are_cut_at_a_character_and_say_so() {
    let long = format!("{}é \\=", "x".repeat(62));
    check(
        &[(Field::Action, Value::from(&long)), (Field::Msg, Value::from(&"m".repeat(1_024)))],
        &format!("act={} emit_cut=act,msg msg={}", "x".repeat(62), "m".repeat(1_023)),
    );
}

#[test]
fn names_of_the_input_cannot_be_keys_of_ours() {
    let mut event = Event::new(b"raw");
    for (group, name) in
        [("", "act"), ("attributes", "a.b"), ("attributes", "ab"), ("attributes", "a b"), ("rule", "id"), ("", "|=")]
    {
        event.extra(group, name, "v");
    }
    event.extra("attributes", "ab_2", "w");
    event.extra("attributes", "empty", "");
    let line = emitted(&event);
    let keys: Vec<_> = strict(line.as_bytes()).keys.into_iter().map(|(key, _)| key).collect();
    let expected = [
        "ad_act",
        "ad_attributes_ab",
        "ad_attributes_ab_2",
        "ad_attributes_ab_3",
        "ad_rule_id",
        "ad_",
        "ad_attributes_ab_2_4",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_thousand_equal_names_are_told_apart() {
    let mut event = Event::new(b"raw");
    for number in 0..1_000 {
        event.extra("a", if number % 2 == 0 { "b".to_owned() } else { format!("b_{number}") }, "v");
    }
    let mut keys: Vec<_> = strict(emitted(&event).as_bytes()).keys.into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 1_000);
}

#[test]
fn what_was_not_understood_goes_along() {
    let mut event = Event::new(b"b\xffd = line\n");
    event.set(Field::ParseStatus, "failed");
    assert!(emitted(&event).ends_with("|parse_status=failed rawEvent=b\u{fffd}d \\= line\\n"), "{}", emitted(&event));
}

/// What a value of the extension becomes: the rule of §1.1 in the plainest words.
fn cleaned(text: &str, bytes_max: usize) -> String {
    let spaced: String = text
        .chars()
        .map(|char| {
            if matches!(char, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}') { ' ' } else { char }
        })
        .collect();
    let mut rest = spaced.trim_matches([' ', '\t']).to_owned();
    while rest.len() > bytes_max {
        rest.pop();
    }
    rest.trim_end_matches([' ', '\t']).to_owned()
}

/// Which rows come behind our own keys is said twice: for the emitter before the program runs, and for lines.
#[test]
fn both_know_the_keys_of_free_text() {
    for row in ROWS {
        assert_eq!(is_free_text(row.key.as_bytes()), parse::is_free_text(row.key.as_bytes()), "{}", row.key);
    }
}

const HOSTILE: &str =
    "[ a=|\\\\\n\r\t\u{0}\u{1b}\u{7f}\u{85}\u{2028}é😀]{0,12}|.{0,12}|( act=deny|\nCEF:0\\||\\\\){1,4}|x{4090}[=é]{10}";
const FIELDS: &[(Field, &[&str], usize, &str)] = &[
    (Field::HostName, &["dvchost"], 100, ""),
    (Field::HostName, &["dhost"], 1_023, ""),
    (Field::Action, &["act"], 63, ""),
    (Field::RuleName, &["rule_name"], 4_000, ""),
    (Field::UserName, &["suser"], 1_023, ""),
    (Field::FilePath, &["filePath"], 1_023, ""),
    (Field::ContainerName, &["cs2", "cs2Label"], 4_000, "containerName"),
    (Field::ExecCommand, &["cs4", "cs4Label"], 4_000, "command"),
    (Field::VmName, &["flexString1", "flexString1Label"], 1_023, "vmName"),
    (Field::Msg, &["msg"], 1_023, ""),
];

proptest! {
    #[test]
    fn one_line_with_exactly_these_keys(
        class in HOSTILE,
        fields in proptest::collection::vec((0..FIELDS.len(), HOSTILE), 0..6),
        extras in proptest::collection::vec((HOSTILE, HOSTILE, HOSTILE), 0..6),
    ) {
        let mut event = Event::new(b"raw");
        event.set(Field::EventClass, class.as_str());
        for (at, text) in &fields {
            event.set(FIELDS[*at].0, text.as_str());
        }
        for (group, name, text) in &extras {
            event.extra(group.as_str(), name.as_str(), text.as_str());
        }
        let line = strict(emitted(&event).as_bytes());
        prop_assert_eq!(&line.header[0], "CEF:0");
        prop_assert!(line.header[4].len() <= 1_023);

        let (input, ours): (Vec<_>, Vec<_>) =
            line.keys.into_iter().filter(|(key, _)| key != "emit_cut").partition(|(key, _)| key.starts_with("ad_"));
        let mut expected = Vec::new();
        for (field, keys, bytes_max, label) in FIELDS {
            let text = cleaned(event.text(*field).unwrap_or_default(), *bytes_max);
            if !text.is_empty() {
                expected.push((keys[0].to_owned(), text));
                expected.extend(keys.get(1).map(|key| ((*key).to_owned(), (*label).to_owned())));
            }
        }
        prop_assert_eq!(ours, expected);
        let values: Vec<_> = input.iter().map(|(_, value)| value.clone()).collect();
        let expected: Vec<_> = extras.iter().map(|(_, _, text)| cleaned(text, 4_000)).filter(|text| !text.is_empty()).collect();
        prop_assert_eq!(values, expected);
        let mut keys: Vec<_> = input.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        prop_assert_eq!(keys.len(), all);
    }
}
