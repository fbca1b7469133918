//! What the sink makes of records, without a network.

#![allow(clippy::unwrap_used)]

use super::*;

fn sink(yaml: &str) -> Syslog {
    let config: SyslogConfig = serde_json::from_str(yaml).unwrap();
    let targets = config.targets().map(|(_, target)| target.unwrap()).collect();
    Syslog {
        framing: config.framing(),
        header: config.header,
        hostname: "gateway".to_owned(),
        targets: Targets::new("siem", targets, ClientTls::default()),
        connection: None,
        window: Window::new(1, Duration::ZERO),
        lost: None,
        request: Vec::new(),
        ends: Vec::new(),
        record: Vec::new(),
        config,
    }
}

#[test]
fn frames_as_rfc_6587_says() {
    let mut event = Event::new(b"two\nlines");
    event.set(wharfinger_formats::Field::HostName, "h");
    let mut counted = sink(r#"{"address": "a:1", "format": "raw", "framing": "octet_counting", "header": "none"}"#);
    counted.push(&event).unwrap();
    counted.push(&event).unwrap();
    assert_eq!(counted.request, b"10 two\\nlines10 two\\nlines");
    let mut lines = sink(r#"{"address": "a:1", "format": "raw", "header": "none"}"#);
    assert_eq!(lines.push(&event).unwrap(), Push::Taken { bytes: 11 });
    assert_eq!(lines.request, b"two\\nlines\n");
}

#[test]
fn a_datagram_is_cut_at_a_character_or_refused() {
    let mut event = Event::new("aéb".as_bytes());
    event.set(wharfinger_formats::Field::HostName, "h");
    let options = r#"{"address": "a:1", "mode": "udp", "format": "raw", "header": "none", "datagram_max": 2"#;
    let mut cut = sink(&format!("{options}}}"));
    cut.push(&event).unwrap();
    assert_eq!(cut.request, b"a");
    let mut refusing = sink(&format!("{options}, \"oversize\": \"refuse\"}}"));
    assert!(refusing.push(&event).is_err());
}
