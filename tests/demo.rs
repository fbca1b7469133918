//! `wharfinger demo`: what it promises to show is found, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use support::cef::Cef;
use support::process::{Process, eventually, free_port};

/// A machine is silent after a minute.
const WITHIN: Duration = Duration::from_secs(150);

fn get(port: u16, folder: &Path, path: &str) -> Option<Value> {
    let token = fs::read_to_string(folder.join("data/page-token")).ok()?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let head = format!("Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nConnection: close");
    write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

#[test]
fn a_day_of_forty_machines_has_five_findings() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a demo");
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.args(["demo", "--speed", "3600", "--admin", &format!("127.0.0.1:{port}"), "--dir"]).arg(&folder);
    let mut demo = Process::start("demo", &mut command);
    let page = eventually("the silent machine", WITHIN, || {
        let page = get(port, &folder, "/api/compliance")?;
        (page["counts"]["silent"] == 1).then_some(page)
    });
    let counts = &page["counts"];
    assert_eq!((&counts["violating"], &counts["docker"]), (&4.into(), &22.into()), "{counts}");
    assert_eq!((&page["total"], &counts["unknown"]), (&41.into(), &1.into()), "forty machines, and this one: {counts}");

    let text = eventually("the findings in CEF", WITHIN, || {
        let text = fs::read_to_string(folder.join("findings.cef")).ok()?;
        (text.lines().count() >= 5).then_some(text)
    });
    let mut found: Vec<(String, String)> = text
        .lines()
        .map(|line| {
            let cef = Cef::read(line);
            (cef.class.to_string(), cef.labelled("vmName").to_string())
        })
        .collect();
    found.sort();
    let expected = [
        ("compliance.docker_not_allowed", "db-03"),
        ("compliance.docker_not_allowed", "payroll-01"),
        ("compliance.source_silent", "backup-01"),
        ("finding.privileged_container", "app-09"),
        ("finding.untrusted_registry", "app-05"),
    ];
    assert_eq!(found, expected.map(|(class, name)| (class.to_owned(), name.to_owned())));
    assert!(demo.terminate(Duration::from_secs(30)).success());
}
