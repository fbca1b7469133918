//! An ordinary line costs no allocation once the memory of an earlier event is reused: not to parse,
//! not to store, not to read back, not to emit.
#![allow(clippy::unwrap_used, clippy::panic)]

use allocation_counter::measure;
use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Offset, Time, parse, stored};

/// An ordinary line of each format that is read.
const LINES: &[(&str, &str)] = &[
    (
        "docker_events",
        r#"{"status":"exec_start: sh -c ls","id":"ec62","from":"probe:1","Type":"container","Action":"exec_start: sh -c ls","Actor":{"ID":"ec62","Attributes":{"com.example.owner":"alice","execID":"64","image":"probe:1","name":"web-1"}},"scope":"local","time":1795251801,"timeNano":1795251801856697243}"#,
    ),
    (
        "docker_cli",
        "2026-11-21T09:03:20.158734145Z container start 5d1f9a3c7be24860a1f0c3d2e4b5968778695a4b3c2d1e0ff0e1d2c3b4a59687 (image=web:1, name=web-1)",
    ),
    (
        "docker_json",
        r#"{"log":"a line of text\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-11-21T09:05:26.289526028Z"}"#,
    ),
    (
        "wazuh",
        r#"{"timestamp":"2026-11-21T11:15:40.101+0200","rule":{"level":3,"description":"Docker: Container web-1 started","id":"87903","groups":["docker"]},"agent":{"id":"002","name":"node-2","ip":"10.9.0.19"},"manager":{"name":"wazuh-1"},"id":"1795252540.80112","decoder":{"name":"json"},"data":{"docker":{"Type":"container","Action":"start","Actor":{"ID":"5d","Attributes":{"image":"web:1","name":"web-1"}},"timeNano":"1795252540049788416.000000"}},"location":"Wazuh-Docker"}"#,
    ),
    (
        "rfc5424",
        r#"<134>1 2026-11-21T09:03:20.158734Z node-2 nginx 2731 access [origin ip="10.9.0.19"] GET /users/42 200"#,
    ),
    ("rfc3164", "<38>Nov 21 09:15:59 bastion sshd[2731]: Invalid user admin from 192.0.2.77 port 51922"),
    (
        "hec",
        r#"{"time":1795251915.280330,"host":"web-1","source":"nginx","event":"GET /health 200","fields":{"region":"eu"}}"#,
    ),
    (
        "loginsight",
        r#"{"agentId":"4c4c4544-0037-5910-805a-c4c04f585831","text":"GET /health 200","timestamp":1795251915280,"fields":[{"name":"hostname","content":"web-1"},{"name":"filepath","content":"/var/log/nginx/access.log"}]}"#,
    ),
    (
        "cef",
        r"CEF:0|Example|Firewall|2.1|100|Connection denied|7|rt=1795251800158 dvchost=fw-1 src=192.0.2.77 spt=51922 dst=10.9.0.19 dpt=22 proto=TCP act=deny suser=admin cs1=ssh-in cs1Label=Rule in=1019 request=/a?b\=c msg=Connection denied by rule",
    ),
    (
        "journald",
        r#"{"__CURSOR":"s=59;i=3c3","__REALTIME_TIMESTAMP":"1795252153507221","MESSAGE":"a line of text","PRIORITY":"6","SYSLOG_IDENTIFIER":"web/x","CONTAINER_ID":"93c6fb73baeb","CONTAINER_NAME":"web","IMAGE_NAME":"probe:1","_COMM":"dockerd","_HOSTNAME":"vm"}"#,
    ),
    (
        "gelf",
        r#"{"version":"1.1","host":"vm","short_message":"a line of text","timestamp":1795251918.551,"level":6,"_container_id":"ab","_container_name":"web","_image_name":"probe:1","_tag":"t"}"#,
    ),
    (
        "wazuh_syslog",
        "Alert Level: 5; Rule: 5710 - sshd: no such user; Location: (web-1) 10.9.0.19->/var/log/auth.log; classification: syslog,sshd,; srcip: 192.0.2.77; Invalid user",
    ),
    (
        "auditd",
        r#"type=SYSCALL msg=audit(1795251915.280:4711): arch=c000003e syscall=257 success=yes exit=3 pid=2731 auid=1000 comm="vim" exe="/usr/bin/vim" key="docker""#,
    ),
    (
        "leef",
        "LEEF:2.0|Example|Firewall|2.1|100|x09|devTime=1795251800158\tidentHostName=fw-1\tsrc=192.0.2.77\tsrcPort=51922\tdst=10.9.0.19\tproto=TCP\taction=deny\tusrName=admin\tmsg=Connection denied by rule",
    ),
    ("dockerd", r#"time="2026-11-21T08:55:02.123456789Z" level=info msg="API listen on /run/docker.sock""#),
];

/// The same of formats that are no text.
const FRAMES: &[(&str, &[u8])] = &[
    ("docker_local", b"\x0a\x06stdout\x10\xe3\xc4\xfc\xff\xdb\x83\x81\xf5\x18\x1a\x0ea line of text"),
    ("fluent", b"\x94\xa3tag\xce\x6b\x01\x62\x11\x82\xa3log\xaea line of text\xa6source\xa6stdout\x80"),
];

fn lines() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    LINES.iter().map(|(name, line)| (*name, line.as_bytes())).chain(FRAMES.iter().copied())
}

const CONTEXT: Context = Context { received: Time(1_795_255_200_000_000_000), zone: Offset(0) };

#[test]
fn an_ordinary_line_is_parsed_without_an_allocation() {
    for (name, line) in lines() {
        let choice = Choice::named(name).unwrap_or_else(|| panic!("{name} can be read"));
        let mut event = Event::new(line);
        parse(choice, line, &CONTEXT, &mut event);
        let first = event.clone();
        let mut event = event.reuse(line);
        let cost = measure(|| parse(choice, line, &CONTEXT, &mut event));
        assert_eq!(event, first, "{name}");
        // dockerd copies its message while it looks into it; the class of an alert is put together.
        let allowed = u64::from(matches!(name, "dockerd" | "wazuh_syslog"));
        assert!(cost.count_total <= allowed, "{name}: {cost:?}");
    }
}

#[test]
fn a_record_is_written_and_read_without_an_allocation() {
    for (name, line) in lines() {
        let mut event = Event::new(line);
        parse(Choice::Auto, line, &CONTEXT, &mut event);
        let mut record = Vec::new();
        stored::encode(&event, &mut record);
        let mut used = stored::decode(&record, Event::new(b"")).unwrap();
        let mut again = Vec::with_capacity(record.len() * 2 + 256);
        let cost = measure(|| {
            stored::encode(&event, &mut again);
            used = stored::decode(&record, std::mem::replace(&mut used, Event::new(b""))).unwrap();
        });
        assert_eq!((&again, &used), (&record, &event), "{name}");
        assert_eq!(cost.count_total, 0, "{name}: {cost:?}");
    }
}

#[test]
fn an_ordinary_event_is_emitted_without_an_allocation() {
    for (name, line) in lines() {
        let mut event = Event::new(line);
        parse(Choice::Auto, line, &CONTEXT, &mut event);
        for form in ["cef", "json", "ecs", "ocsf"] {
            let emit = FORMATS.iter().find(|format| format.name == form).and_then(|format| format.emit).unwrap();
            let mut out = Vec::with_capacity(16 * 1024);
            let cost = measure(|| emit(&event, &EmitContext::default(), &mut out));
            assert_eq!(cost.count_total, 0, "{name} as {form}: {cost:?}");
        }
    }
}

#[test]
fn every_format_that_is_read_is_measured() {
    let read = FORMATS.iter().filter(|format| format.parse.is_some()).map(|format| format.name);
    let without: Vec<_> = read.filter(|name| !lines().any(|(measured, _)| measured == *name)).collect();
    assert!(without.is_empty(), "no ordinary line of {without:?}");
}
