//! Events through a redactor: what is gone, what is left, and what stands in its place.
#![allow(clippy::unwrap_used)]

use wharfinger_formats::{Field, Value};

use super::*;
use crate::sinks::emitter::Emitter;

const KEY: &str = "0123456789abcdef";

fn redactor(rules: &[Rule], key: Option<&str>) -> Arc<Redactor> {
    let rules = rules.iter().map(|rule| (*rule, key.map(Secret::inline))).collect();
    Redaction(rules).open().unwrap().unwrap()
}

/// What a sink would have of the event, and how many secrets were taken out; none where the event goes as it is.
fn line_of(redactor: &Redactor, event: &Event<'_>) -> Option<(String, Counts)> {
    let rewritten = redactor.0.rewritten(event, |event, counts| {
        let mut line = Vec::new();
        Emitter::native().emit(&event, &mut line);
        (String::from_utf8(line).unwrap(), *counts)
    });
    assert!(rewritten.is_none() || !redactor.0.is_clean(event), "a look found less than a search");
    rewritten
}

#[test]
fn each_rule_takes_what_it_names_and_nothing_else() {
    let raw = br#"{"Env":["MODE=blue42"],"cmd":"login --password hunter2 -H 'Authorization: Bearer abcdefgh12345678'","c":"4111 1111 1111 1111","m":"eve@example.com"}"#;
    let secrets = ["blue42", "abcdefgh12345678", "hunter2", "4111 1111 1111 1111", "eve@example.com"];
    let mut event = Event::new(raw);
    event.set(Field::ExecCommand, "login --password hunter2");
    event.set(Field::Msg, "eve@example.com pays with 4111 1111 1111 1111 by abcdefgh12345678 in blue42");
    event.extra("env", "MODE", "blue42");
    for (rule, secret) in Rule::ALL.into_iter().zip(secrets) {
        let (line, counts) = line_of(&redactor(&[rule], None), &event).unwrap();
        let left: Vec<_> = secrets.into_iter().filter(|secret| line.contains(secret)).collect();
        let expected: Vec<_> = secrets.into_iter().filter(|other| *other != secret || rule == Rule::Env).collect();
        assert_eq!(left, expected, "{}: {line}", rule.name());
        // A value of an environment is often a word: elsewhere it stays.
        let times = if rule == Rule::Env { 1 } else { 0 };
        assert_eq!(line.matches(secret).count(), times, "{line}");
        assert_eq!((counts.of(rule), counts.all()), (2, 2), "{line}");
    }
    let all = redactor(&Rule::ALL, None);
    let (line, counts) = line_of(&all, &event).unwrap();
    assert_eq!(Rule::ALL.map(|rule| counts.of(rule)), [2; 5], "{line}");
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    let raw: serde_json::Value = serde_json::from_str(read["raw"].as_str().unwrap()).unwrap();
    assert_eq!((&raw["Env"][0], &raw["c"]), (&"MODE=[masked/env]".into(), &"[masked/card]".into()));
}

#[test]
fn a_hash_is_the_same_for_the_same_secret_and_key() {
    let mut event = Event::new(b"eve@example.com and eve@example.com, not bob@example.com");
    event.set(Field::UserName, "eve@example.com");
    let emails = |key| line_of(&redactor(&[Rule::Emails], Some(key)), &event).unwrap().0;
    let line = emails(KEY);
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    let eve = read["user.name"].as_str().unwrap();
    assert!(eve.starts_with("[masked/email/15/") && eve.len() == "[masked/email/15/]".len() + 16, "{eve}");
    assert_eq!((line.matches(eve).count(), line.matches("[masked/email/").count()), (3, 4), "{line}");
    assert!(!emails("another key of 16").contains(eve));
}

#[test]
fn what_is_masked_stays_as_it_is() {
    let all = redactor(&Rule::ALL, None);
    let mut event = Event::new(b"--password hunter2 eve@example.com 4111111111111111 -e MODE=x");
    event.extra("env", "MODE", "blue42");
    let (once, _) = line_of(&all, &event).unwrap();
    let read: serde_json::Value = serde_json::from_str(&once).unwrap();
    let mut event = Event::new(read["raw"].as_str().unwrap().as_bytes());
    event.extra("env", "MODE", read["fields"]["env.MODE"].as_str().unwrap());
    assert!(line_of(&all, &event).is_none(), "{once}");
    // A word that is no rule's could be a secret.
    assert!(line_of(&all, &Event::new(b"password=[masked/hunter2]")).is_some());
}

/// Also in JSON, and in a text of it; nothing of it is left, and JSON stays JSON.
#[test]
fn a_secret_is_found_wherever_its_name_or_flag_says_so() {
    let all = redactor(&Rule::ALL, None);
    for text in [
        r#"["--password","hunter2"]"#,
        r#"["--password" , "hunter2"]"#,
        r#"["--password",1234567]"#,
        r#"["--password","a \"b, hunter2"]"#,
        r#"["mysql","-phunter2"]"#,
        r#"{"env":["DB_PASSWORD=hunter2","A=b"]}"#,
        r#"{"password":["a","hunter2",1234567]}"#,
        r#"{"headers":{"Authorization":["Bearer hunter2"]}}"#,
        r#"{"password":"\u0061hunter2\"","n":[1,{}]}"#,
        r#"{"a":"password=\"","password":"x\"hunter2"}"#,
        r#"argc=3 a0="mysql" a1="--password" a2="hunter2""#,
        r#"mysql --password="a hunter2" db"#,
        r#"mysql --password "a&b=hunter2" db"#,
        "mysql --password='a hunter2' db",
        "mysql --password='a;b=hunter2' db",
        r"mysql --password=a\ hunter2 db",
        r#"sh -c "mysql -p'a hunter2' db""#,
        r#"password="a;b&c=hunter2"&d=e"#,
        "user=bob&password=a;b=hunter2&c=d",
        "Server=x;Password='a;b=hunter2';Database=y",
        r#"5" disk, password="a hunter2""#,
        // Two blocks that no secret ends, and a secret in the second.
        r#"["-----BEGIN PRIVATE KEY-----",{"token":["PRIVATE KEY----- -----BEGIN PRIVATE KEY-----","hunter2"]},"PRIVATE KEY-----"]"#,
    ] {
        let nested = serde_json::json!({ "log": text }).to_string();
        let twice = serde_json::json!([nested]).to_string();
        for text in [text, &*nested, &*twice] {
            let event = Event::new(text.as_bytes());
            let (line, _) = line_of(&all, &event).unwrap_or_else(|| panic!("nothing found: {text}"));
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let raw = line["raw"].as_str().unwrap();
            assert!(!raw.contains("hunter2") && !raw.contains("1234567"), "{text}: {raw}");
            let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(is_json(raw), is_json(text), "{text}: {raw}");
        }
    }
}

/// What the gateway says of an event, and what names a thing by digits.
#[test]
fn ids_and_times_are_left() {
    let raw = br#"{"Type":"container","timeNano":1795251800158734145,"Actor":{"ID":"4111111111111111aaaaaaaaaaaaaaaa4111111111111111aaaaaaaaaaaaaaaa"}}"#;
    let mut event = Event::new(raw);
    event.set(Field::EventId, "4111111111111111-4111111111111111");
    event.set(Field::VmUuid, "4111111111111111");
    event.set(Field::VmName, "eve@example.com");
    event.set(Field::ContainerId, "4111111111111111");
    event.set(Field::ImageDigest, "sha256:4111111111111111");
    event.extra("docker", "timeNano", 1_795_251_800_158_734_145_i64);
    event.extra("docker", "size", 4_111_111_111_111_112_i64);
    assert!(line_of(&redactor(&Rule::ALL, None), &event).is_none());
}

#[test]
fn a_card_that_is_a_number_is_one() {
    let mut event = Event::new(br#"{"card":4111111111111111,"list":{"n":5}}"#);
    event.extra("", "card", 4_111_111_111_111_111_i64);
    event.extra("", "list", Value::Json(r#"{"n":5,"card":4111111111111111}"#));
    let (line, counts) = line_of(&redactor(&[Rule::Cards], None), &event).unwrap();
    assert_eq!(counts.all(), 3);
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(read["fields"]["card"], "[masked/card]");
    assert_eq!(read["fields"]["list"], serde_json::json!({ "n": 5, "card": "[masked/card]" }));
    assert_eq!(read["raw"], r#"{"card":"[masked/card]","list":{"n":5}}"#);
}

#[test]
fn a_key_that_can_be_guessed_is_a_mistake() {
    let redaction = |key: &str| Redaction(vec![(Rule::Cards, Some(Secret::inline(key)))]);
    assert!(redaction(KEY).problems().is_empty() && redaction(KEY).open().is_ok());
    let problems = redaction("short").problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("`cards`") && !problems[0].message.contains("short"), "{problems:?}");
    assert!(redaction("short").open().is_err());
    assert!(Redaction::default().open().unwrap().is_none());
}

/// An event made to be slow costs as much as any other: all rules, also over what is found.
#[test]
fn time_is_linear() {
    let all = redactor(&Rule::ALL, Some(KEY));
    for piece in [
        ",-e,A=",
        "-e A=\"",
        "\"-e\",\"A=",
        "\"env\":[\"a=",
        "\"env\":{\"",
        "\"env\":[",
        "v    ",
        "curl -u ",
        "curl'-u'",
        "mysql -p",
        "\"sshpass\",\"-p\",\"x",
        "4111 ",
        "4111-1111-1111-111",
        "4",
        "a@a.",
        "%40@",
        "a@b.example ",
        "4111111111111111 ",
        "[masked/",
        "--token '",
        "--token \"",
        "\"--token\",",
        "\"--token\",\"a\":",
        "\\\"--secret\\\", \\\"a=",
        "mysql -p'",
        "\"mysql\",\"-p",
        "\"password\":[",
        "\"password\":[\"a\",",
        "\"",
        "\\\"\"",
        "-e-e",
        "-e \"A=1 b=2 ",
        "\"A=1 b=2 -e ",
        "-e \\\"A=1 b=2 -e 'A=1 ",
        "auth=",
        "--secret\"a=",
        "--secret a=\\ ",
        "--token\\\n",
        "\"auth\":[\"\\\"",
        "curl --user ",
        "login ",
    ] {
        let text = piece.repeat((256 << 10) / piece.len());
        let mut event = Event::new(text.as_bytes());
        event.set(Field::Msg, &*text);
        let worked = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec;
        let start = worked();
        std::hint::black_box((all.0.is_clean(&event), line_of(&all, &event).is_some()));
        // A square would take a minute.
        assert!(worked() - start < 10, "{piece:?}: {} s", worked() - start);
    }
}
