//! Syslog between the gateway and rsyslog or syslog-ng, in both directions, over TLS and TCP.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::support::cef::Cef;
use crate::support::gateway::Gateway;
use crate::support::inventory::{self, VM_NAME, VM_UUID};
use crate::support::lines::{SinkFile, text};
use crate::support::pki::{CLIENT_NAME, Pki};
use crate::syslog_peer::{ClientCertificate, Receiver, Sender, Transport};
use crate::{peers_are_off, rsyslog, syslog_ng};

const WITHIN: Duration = Duration::from_secs(30);

/// Texts that break escaping, framing or parsing where it is done carelessly.
const TEXTS: &[&str] = &[
    "plain words",
    r"pipe | equals = backslash \ quote U+0022 bracket ] end",
    "act=permit cs1=forged suser=root",
    "CEF:0|forged|record|1|1|forged|10|msg=forged",
    "ünïcode ✓ 漢字",
    "a.b.c: looks like a tag",
    "54 <13>looks like a frame",
];

/// Every text, then enough plain ones that frames are cut anywhere.
fn messages() -> Vec<String> {
    let long = "long ".repeat(1_200);
    let many = (0..500).map(|number| format!("message number {number}"));
    TEXTS.iter().map(|&text| text.to_owned()).chain([long.trim_end().to_owned()]).chain(many).collect()
}

/// A sender of another make → our TLS listener, which requires its certificate → a file.
fn takes_in(start_sender: fn(&Path, &Pki, u16) -> Sender) {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let out = SinkFile::in_folder(folder.path());
    let config = format!(
        "{identity}sources:\n  in:\n    type: syslog\n    mode: tcp\n    address: 127.0.0.1:0\n    tls:\n      \
         certificate: {certificate}\n      key: {key}\n      client_ca: {ca}\nsinks:\n{sink}",
        identity = inventory::identity(folder.path()),
        certificate = pki.server.certificate.display(),
        key = pki.server.key.display(),
        ca = pki.authority.display(),
        sink = out.config(),
    );
    let gateway = Gateway::start(folder.path(), &config);
    let sender = start_sender(folder.path(), &pki, gateway.port("in", "tls"));
    let messages = messages();
    for message in &messages {
        sender.log(&format!("<28>Nov 21 09:05:11 wharf-app[4242]: {message}"));
    }

    let events = out.wait_for(messages.len(), WITHIN, |event| text(event, "app") == "wharf-app");
    // rsyslog keeps the space after the tag as the beginning of MSG.
    let arrived: Vec<&str> = events.iter().map(|event| text(event, "msg").trim_start()).collect();
    assert_eq!(arrived, messages, "the same messages in the same order");
    for event in &events {
        assert_eq!(text(event, "process.id"), "4242");
        assert_eq!((event["syslog.facility"].as_i64(), event["syslog.severity"].as_i64()), (Some(3), Some(4)));
        assert_eq!((text(event, "source"), text(event, "peer")), ("in", CLIENT_NAME));
        assert_eq!((text(event, "vm.name"), text(event, "vm.uuid")), (VM_NAME, VM_UUID));
        // Who comes from the loopback address is on this machine.
        assert_eq!(text(event, "vm.evidence"), "local");
        assert_eq!(event.get("parse.status"), None);
    }
    gateway.stop();
}

#[test]
fn rsyslog_sends_to_us_over_tls() {
    takes_in(rsyslog::sender);
}

#[test]
fn syslog_ng_sends_to_us_over_tls() {
    takes_in(syslog_ng::sender);
}

/// Lines over TCP → our syslog sink → a receiver of another make.
fn hands_on(start_receiver: fn(&Path, Transport<'_>) -> Receiver, transport: Transport<'_>, format: &str) {
    let folder = tempfile::tempdir().unwrap();
    let receiver = start_receiver(folder.path(), transport);
    let tls = match transport {
        Transport::Tcp => String::new(),
        Transport::Tls { pki, client_certificate } => {
            let identity = match client_certificate {
                ClientCertificate::NotAsked => String::new(),
                ClientCertificate::Required => format!(
                    "      certificate: {}\n      key: {}\n",
                    pki.client.certificate.display(),
                    pki.client.key.display()
                ),
            };
            format!("    tls:\n      ca: {}\n{identity}", pki.authority.display())
        }
    };
    let config = format!(
        "{identity}sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n  siem:\n    \
         type: syslog\n    address: localhost:{port}\n    format: {format}\n{tls}",
        identity = inventory::identity(folder.path()),
        port = receiver.port,
    );
    let gateway = Gateway::start(folder.path(), &config);
    let messages = messages();
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    for message in &messages {
        writeln!(stream, "<134>1 2026-11-21T09:05:11.123456Z far-host wharf-app 42 ID - {message}").unwrap();
    }

    // The gateway tells of its own start as well.
    let theirs = |line: &str| line.contains("wharf-app");
    crate::support::process::eventually("all messages at the receiver", WITHIN, || {
        (receiver.received.lines().iter().filter(|line| theirs(line)).count() >= messages.len()).then_some(())
    });
    match format {
        "cef" => check_cef(&receiver, &messages, theirs),
        _ => check_rfc5424(&receiver, &messages),
    }
    gateway.stop();
}

fn check_rfc5424(receiver: &Receiver, messages: &[String]) {
    for line in receiver.received.lines().iter().filter(|line| line.contains(" wharf-app ")) {
        assert!(line.contains("event_id=\"") && line.contains(&format!("vm.uuid=\"{VM_UUID}\"")), "{line}");
    }
    let parsed = crate::support::process::eventually("the parsed form", WITHIN, || {
        let parsed: Vec<_> =
            receiver.received.parsed().into_iter().filter(|parsed| parsed.app == "wharf-app").collect();
        (parsed.len() >= messages.len()).then_some(parsed)
    });
    let arrived: Vec<&str> = parsed.iter().map(|parsed| parsed.msg.trim_start()).collect();
    assert_eq!(arrived, messages, "the same messages in the same order");
    for parsed in &parsed {
        assert_eq!((parsed.pri.as_str(), parsed.procid.as_str(), parsed.msgid.as_str()), ("134", "42", "ID"));
        assert!(parsed.time.starts_with("2026-11-21T"), "{}", parsed.time);
    }
}

fn check_cef(receiver: &Receiver, messages: &[String], theirs: impl Fn(&str) -> bool) {
    let lines: Vec<String> = receiver.received.lines().into_iter().filter(|line| theirs(line)).collect();
    let records: Vec<Cef> = lines.iter().map(|line| Cef::read(line)).collect();
    assert_eq!(records.len(), messages.len());
    for (record, message) in records.iter().zip(messages) {
        // `msg` holds at most 1023 bytes (dictionary of the CEF standard).
        assert_eq!(record.get("msg"), &message[..message.len().min(1023)]);
        assert_eq!(record.get("deviceProcessName"), "wharf-app");
        assert_eq!((record.labelled("vmUuid"), record.labelled("vmName")), (VM_UUID, VM_NAME));
        assert_eq!(record.get("externalId").len(), 33);
        assert_eq!(record.get("suser"), "");
    }
}

#[test]
fn rsyslog_takes_rfc5424_from_us_over_mutual_tls() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let transport = Transport::Tls { pki: &pki, client_certificate: ClientCertificate::Required };
    hands_on(rsyslog::receiver, transport, "rfc5424");
}

#[test]
fn rsyslog_takes_cef_from_us_over_tcp() {
    if peers_are_off() {
        return;
    }
    hands_on(rsyslog::receiver, Transport::Tcp, "cef");
}

#[test]
fn syslog_ng_takes_cef_from_us_over_mutual_tls() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let transport = Transport::Tls { pki: &pki, client_certificate: ClientCertificate::Required };
    hands_on(syslog_ng::receiver, transport, "cef");
}

#[test]
fn syslog_ng_takes_rfc5424_from_us_over_tls() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let transport = Transport::Tls { pki: &pki, client_certificate: ClientCertificate::NotAsked };
    hands_on(syslog_ng::receiver, transport, "rfc5424");
}
