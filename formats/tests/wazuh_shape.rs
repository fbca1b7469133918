//! A Docker event as Wazuh would have alerted on it: our own parser, which reads real alerts, finds the
//! same event in it, and the strict reader finds every key once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects, missing_docs)]

use std::fs;
use std::path::Path;

use serde_json::Value as Tree;
use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Field, Offset, Time, parse};

#[path = "support/unique.rs"]
mod unique;

const CONTEXT: Context = Context { received: Time(1_795_255_200_000_000_000), zone: Offset(0) };

fn alert_of(event: &Event<'_>) -> String {
    let emit = FORMATS.iter().find(|format| format.name == "wazuh").and_then(|format| format.emit).expect("an emitter");
    let mut out = Vec::new();
    emit(event, &EmitContext::default(), &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn parsed(line: &str) -> Event<'_> {
    let mut event = Event::new(line.as_bytes());
    parse(Choice::Auto, line.as_bytes(), &CONTEXT, &mut event);
    event
}

/// As Wazuh's decoder leaves it: objects and texts, nothing else.
fn check_texts(tree: &Tree) {
    match tree {
        Tree::Object(object) => object.values().for_each(check_texts),
        other => assert!(other.is_string(), "{other}"),
    }
}

#[test]
fn the_alert_holds_the_event() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/docker-events");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut events = 0;
    for path in files.filter(|path| path.extension().is_some_and(|end| end == "ndjson")) {
        for line in fs::read_to_string(&path).unwrap().lines() {
            let event = parsed(line);
            let alert = alert_of(&event);
            let tree = unique::parse(&alert);
            check_texts(&tree["data"]);
            let back = parsed(&alert);
            assert_eq!(back.text(Field::Format), Some("wazuh"), "{alert}");
            for field in [
                Field::EventClass,
                Field::ContainerId,
                Field::ContainerName,
                Field::Action,
                Field::ExitCode,
                Field::Signal,
            ] {
                assert_eq!(back.get(field), event.get(field), "{}: {line}", field.name());
            }
            let same_instant = back.time(Field::Start).zip(event.time(Field::Time)).map(|(one, other)| one.0 - other.0);
            // What the decoder's double leaves of it.
            assert!(same_instant.is_none_or(|nanos| nanos.abs() < 2_000), "{line}");
            assert_eq!(alert_of(&back), alert, "an alert goes out as it came");
            events += 1;
        }
    }
    assert!(events > 100, "only {events} events");
}

#[test]
fn what_no_docker_rule_is_about() {
    for line in [
        "<38>Nov 21 09:15:59 bastion sshd[2731]: Invalid user admin from 192.0.2.77",
        r#"time="2026-11-21T08:55:02Z" level=debug msg="Calling POST /v1.41/containers/create?name=web""#,
        "no format at all",
    ] {
        let alert = alert_of(&parsed(line));
        let tree = unique::parse(&alert);
        assert_eq!(tree["rule"]["id"], "0", "{line}");
        assert_eq!(tree["rule"]["groups"][0], "wharfinger");
        assert_eq!(tree["full_log"], line);
    }
}

#[test]
fn a_label_cannot_leave_its_place() {
    let line = r#"{"Type":"container","Action":"start","Actor":{"ID":"ab","Attributes":{"docker.status":"die","name":"web","rule.id":"1","x\"},\"rule\":{\"id\":\"2":"y"}},"time":1,"timeNano":1000000000}"#;
    let tree = unique::parse(&alert_of(&parsed(line)));
    assert_eq!(tree["rule"]["id"], "87903");
    assert_eq!(tree["data"]["docker"]["status"], "start");
    assert_eq!(tree["data"]["docker"]["Actor"]["Attributes"]["docker"]["status"], "die");
    assert_eq!(tree["data"]["docker"]["Actor"]["Attributes"]["rule"]["id"], "1");
    assert_eq!(tree.as_object().unwrap().len(), 8);
}

#[test]
fn a_finding_is_an_alert_of_its_rule_and_of_no_docker_rule() {
    let mut event = Event::new(b"");
    event.set(Field::EventClass, "compliance.docker_not_allowed");
    event.set(Field::Action, "create");
    event.set(Field::Severity, 8);
    event.set(Field::RuleId, "docker_not_allowed");
    event.set(Field::RuleName, "Docker runs where it is not allowed");
    event.set(Field::RuleGroups, "docker-placement");
    event.set(Field::VmName, "db-03");
    event.set(Field::Count, 3);
    event.extra("finding", "id", "c0ffee0123456789");
    event.extra("finding", "state", "open");
    let alert = alert_of(&event);
    let tree = unique::parse(&alert);
    let expected = serde_json::json!({
        "level": 12, "description": "Docker runs where it is not allowed: db-03", "id": "docker_not_allowed",
        "firedtimes": 3, "mail": false, "groups": ["wharfinger", "finding", "docker-placement"],
    });
    assert_eq!(tree["rule"], expected, "{alert}");
    assert_eq!(tree["agent"]["name"], "db-03");
    assert_eq!(tree["data"]["fields"]["finding_state"], "open", "{alert}");
    assert_eq!(tree["decoder"]["name"], "wharfinger");
    // Over, it is no news for anybody.
    event.set(Field::Severity, 2);
    assert_eq!(unique::parse(&alert_of(&event))["rule"]["level"], 3);
}
