//! Docker's syslog driver in each of its formats, and over TLS.

use crate::containers::{OUTPUT, log_options, messages, through_driver};
use crate::peers_are_off;
use crate::support::lines::text;
use crate::support::pki::Pki;

fn through_syslog_driver(format: Option<&str>) {
    if peers_are_off() {
        return;
    }
    let events = through_driver("{type: syslog, mode: tcp, address: 127.0.0.1:0}", "tcp", |address| {
        let format = format.map(|format| format!("syslog-format={format}"));
        let options = [Some(format!("syslog-address=tcp://{address}")), Some("tag=deck".to_owned()), format];
        log_options("syslog", &options.into_iter().flatten().collect::<Vec<_>>())
    });
    assert_eq!(messages(&events), OUTPUT);
    for event in &events {
        assert_eq!((text(event, "app"), event["syslog.severity"].as_i64()), ("deck", Some(6)), "{event}");
    }
}

#[test]
fn the_format_of_its_own() {
    through_syslog_driver(None);
}

#[test]
fn rfc_3164() {
    through_syslog_driver(Some("rfc3164"));
}

#[test]
fn rfc_5424_with_whole_seconds() {
    through_syslog_driver(Some("rfc5424"));
}

/// Over TLS, RFC 5424 is framed by octet counting, the others by line ends.
fn through_tls(format: &str) {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let source = format!(
        "{{type: syslog, mode: tcp, address: 127.0.0.1:0, identity: local, tls: {{certificate: {}, key: {}, client_ca: {}}}}}",
        pki.server.certificate.display(),
        pki.server.key.display(),
        pki.authority.display()
    );
    let events = through_driver(&source, "tls", |address| {
        let options = [
            format!("syslog-address=tcp+tls://{address}"),
            format!("syslog-format={format}"),
            format!("syslog-tls-ca-cert={}", pki.authority.display()),
            format!("syslog-tls-cert={}", pki.client.certificate.display()),
            format!("syslog-tls-key={}", pki.client.key.display()),
            "tag=deck/{{.Name}}".to_owned(),
        ];
        log_options("syslog", &options)
    });
    assert_eq!(messages(&events), OUTPUT);
    for event in &events {
        assert!(text(event, "app").starts_with("deck/"), "{event}");
    }
}

#[test]
fn over_tls_counted() {
    through_tls("rfc5424micro");
}

#[test]
fn over_tls_by_line() {
    through_tls("rfc3164");
}
