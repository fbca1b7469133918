//! The accounts of the real program, exact at every look and over kill -9.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use support::gateway::Gateway;
use support::lines::SinkFile;
use support::process::{eventually, free_port};

const TOKEN: &str = "5b1d6f0e-2a53-4c8e-9a61-0f7e6d5c4b3a";
const WITHIN: Duration = Duration::from_secs(60);

/// The status page, after checking that its numbers agree.
fn status(gateway: &Gateway) -> Option<Value> {
    let (code, body) = gateway.get("/api/status")?;
    assert_eq!(code, 200);
    let page: Value = serde_json::from_str(&body).unwrap();
    let rows = |section: &str| page[section].as_array().unwrap().clone();
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} in {row}"));
    let mut taken = 0;
    for row in rows("sources") {
        assert_eq!(number(&row, "received"), number(&row, "taken") + number(&row, "lost"), "{row}");
        taken += number(&row, "taken");
    }
    assert_eq!(taken, number(&page["journal"], "events"), "{page}");
    assert_eq!(page["journal"]["unattributed"], 0, "{page}");
    for row in rows("sinks") {
        let parts = ["delivered", "filtered", "quarantined", "lost", "queued"].map(|name| number(&row, name));
        assert_eq!(number(&row, "received"), parts.iter().sum::<u64>(), "{row}");
        assert_eq!(number(&row, "received"), taken, "{row}");
        assert_eq!(row["unaccounted"], 0, "{row}");
    }
    Some(page)
}

fn row<'p>(page: &'p Value, section: &str, name: &str) -> &'p Value {
    page[section].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
}

/// One request with `count` events; whether it was acknowledged.
fn post(gateway: &Gateway, count: usize) -> bool {
    let body = r#"{"event":"x"}"#.repeat(count);
    let Ok(mut stream) = TcpStream::connect(gateway.address("hec", "http")) else { return false };
    let head = format!(
        "POST /services/collector/event HTTP/1.1\r\nHost: gateway\r\nAuthorization: Splunk {TOKEN}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut answer = String::new();
    stream.write_all((head + &body).as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

#[test]
fn the_accounts_are_exact_over_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let file = SinkFile::in_folder(folder.path());
    let config = format!(
        "sources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\nsinks:\n{}  \
         dead: {{type: syslog, address: \"127.0.0.1:{}\"}}\n",
        file.config(),
        free_port(),
    );
    let mut gateway = Gateway::start(folder.path(), &config);
    let (mut acknowledged, mut restarts) = (0, 1);
    for cycle in 0..6 {
        for count in 1..=20 {
            assert!(post(&gateway, count), "cycle {cycle}");
            acknowledged += count as u64;
            if count % 7 == 0 {
                status(&gateway).unwrap();
            }
        }
        let page = status(&gateway).unwrap();
        assert_eq!(row(&page, "sources", "hec")["received"], acknowledged);
        gateway = gateway.kill().start();
        restarts += 1;
        // The event about the start comes when it is ready.
        let page = eventually("one event for each start", WITHIN, || {
            status(&gateway).filter(|page| row(page, "sources", "wharfinger")["taken"] == restarts)
        });
        assert_eq!(row(&page, "sources", "hec")["received"], acknowledged, "after kill -9");
    }
    let page = eventually("the file has everything", WITHIN, || {
        status(&gateway).filter(|page| row(page, "sinks", "out")["queued"] == 0)
    });
    let delivered = row(&page, "sinks", "out")["delivered"].as_u64().unwrap();
    let mut ids: Vec<String> = file.events().iter().map(|event| event["event_id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len() as u64, delivered, "what is counted as delivered is what is there");
    assert_eq!(row(&page, "sinks", "dead")["delivered"], 0);
    let metrics = gateway.get("/metrics").unwrap().1;
    let wanted = format!(
        "component_received_events_total{{component_id=\"hec\",component_type=\"hec\",component_kind=\"source\"}} {acknowledged}\n"
    );
    assert!(metrics.contains(&wanted), "{wanted} in {metrics}");

    let address = gateway.admin().to_string();
    let shown =
        Command::new(env!("CARGO_BIN_EXE_wharfinger")).args(["status", "--address", &address]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    println!("{shown}");
    assert!(shown.contains("journal  ") && shown.lines().any(|line| line.starts_with("dead")), "{shown}");
    gateway.stop();
    let gone = Command::new(env!("CARGO_BIN_EXE_wharfinger")).args(["status", "--address", &address]).output().unwrap();
    assert_eq!(gone.status.code(), Some(69));
    let message = String::from_utf8(gone.stderr).unwrap();
    assert!(message.contains("cannot ask the gateway") && message.contains("hint: "), "{message}");
}
