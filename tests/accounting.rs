//! The accounts of the real program, exact at every look and over kill -9.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
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

/// One request with `count` events of so many bytes, every other of `y`; whether it was acknowledged.
fn post(gateway: &Gateway, count: usize, bytes: usize) -> bool {
    let event = |letter: &str| format!(r#"{{"event":"{}"}}"#, letter.repeat(bytes));
    let body: String = ["x", "y"].into_iter().cycle().take(count).map(event).collect();
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
    // The journal's beginning is an event, and each start.
    let (mut acknowledged, mut own) = (0, 2);
    for cycle in 0..6 {
        for count in 1..=20 {
            assert!(post(&gateway, count, 1), "cycle {cycle}");
            acknowledged += count as u64;
            if count % 7 == 0 {
                status(&gateway).unwrap();
            }
        }
        let page = status(&gateway).unwrap();
        assert_eq!(row(&page, "sources", "hec")["received"], acknowledged);
        gateway = gateway.kill().start();
        own += 1;
        // The event about the start comes when it is ready.
        let page = eventually("one event for each start", WITHIN, || {
            status(&gateway).filter(|page| row(page, "sources", "wharfinger")["taken"].as_u64() >= Some(own))
        });
        assert_eq!(row(&page, "sources", "hec")["received"], acknowledged, "after kill -9");
    }
    // What the gateway has to say of itself may come at any moment.
    let page = eventually("what is counted as delivered is what is there", WITHIN, || {
        let page = status(&gateway).filter(|page| row(page, "sinks", "out")["queued"] == 0)?;
        let ids: BTreeSet<_> = file.events().iter().map(|event| event["event_id"].to_string()).collect();
        (row(&page, "sinks", "out")["delivered"] == ids.len()).then_some(page)
    });
    assert_eq!(row(&page, "sinks", "dead")["delivered"], 0);
    let metrics = gateway.get("/metrics").unwrap().1;
    let wanted = format!(
        "component_received_events_total{{component_id=\"hec\",component_type=\"hec\",component_kind=\"source\"}} {acknowledged}\n"
    );
    assert!(metrics.contains(&wanted), "{wanted} in {metrics}");

    let address = gateway.admin().to_string();
    let data = gateway.data();
    let status = |data: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command.args(["status", "--address", &address, "--data-dir"]).arg(data).output().unwrap()
    };
    let refused = status(folder.path());
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("page-token") && message.contains("hint: "), "{message}");
    let shown = String::from_utf8(status(&data).stdout).unwrap();
    println!("{shown}");
    assert!(shown.contains("journal  ") && shown.lines().any(|line| line.starts_with("dead")), "{shown}");
    gateway.stop();
    let gone = status(&data);
    assert_eq!(gone.status.code(), Some(69));
    let message = String::from_utf8(gone.stderr).unwrap();
    assert!(message.contains("cannot ask the gateway") && message.contains("hint: "), "{message}");
}

/// The lines that a syslog receiver got, from the moment it is there.
fn collect(port: u16) -> Arc<Mutex<Vec<Value>>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&events);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                for line in BufReader::new(stream.unwrap()).lines().map_while(Result::ok) {
                    kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
                }
            });
        }
    });
    events
}

#[test]
fn a_sink_that_is_away_too_long_holds_up_nobody_and_is_told_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, port, other) = (SinkFile::in_folder(folder.path()), free_port(), free_port());
    // The third is away too, and what it is not sent is given up before it could pass it: that counts once.
    let config = format!(
        "journal:\n  bytes_max: 16MiB\nsources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\nsinks:\n{}  \
         away: {{type: syslog, address: \"127.0.0.1:{port}\", format: json, header: none}}\n  \
         half: {{type: syslog, address: \"127.0.0.1:{other}\", format: json, header: none, when: msg.startsWith(\"y\")}}\n",
        file.config(),
    );
    let mut gateway = Gateway::start(folder.path(), &config);
    // Twice what the journal holds, a kill in between.
    for round in 0..40 {
        // The file sets the pace: while it is behind, 503 says to come again.
        eventually("taken in", WITHIN, || post(&gateway, 100, 8000).then_some(()));
        if round == 25 {
            gateway = gateway.kill().start();
        }
    }
    let page = eventually("the file has everything", WITHIN, || {
        status(&gateway).filter(|page| row(page, "sinks", "out")["queued"] == 0)
    });
    let away = row(&page, "sinks", "away");
    let lost = away["lost"].as_u64().unwrap();
    assert!(lost > 500 && away["undeclared"] == lost, "{away}");
    assert_eq!(row(&page, "sinks", "out")["lost"], 0);
    // What was under way when the gateway was killed comes again under the same number.
    let theirs = |events: &[Value]| {
        let theirs = events.iter().filter(|event| event["source"] == "hec");
        theirs.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(theirs(&file.events()) as u64, row(&page, "sources", "hec")["taken"].as_u64().unwrap());
    let alarms = |class: &str| {
        let alarms = file.events().into_iter().filter(|event| event["event_class"] == class);
        alarms.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>().len()
    };
    eventually("the alarm", WITHIN, || (alarms("journal.full") == 1).then_some(()));
    assert!(alarms("journal.filling") <= 1);

    let arrived = collect(port);
    let page = eventually("what is left has arrived", WITHIN, || {
        status(&gateway).filter(|page| row(page, "sinks", "away")["queued"] == 0)
    });
    let away = row(&page, "sinks", "away");
    assert_eq!((away["lost"].as_u64(), away["undeclared"].as_u64()), (Some(lost), Some(0)));
    collect(other);
    let page = eventually("what is left of the half has arrived", WITHIN, || {
        status(&gateway).filter(|page| row(page, "sinks", "half")["queued"] == 0)
    });
    let half = row(&page, "sinks", "half");
    assert!(half["filtered"].as_u64().unwrap() > 0, "{page}");
    // Each number once: not asked for, given up, or sent.
    let count = |name: &str| half[name].as_u64().unwrap();
    assert_eq!(count("filtered") + count("lost") + count("delivered"), page["journal"]["events"], "{page}");
    gateway.stop();
    let events = arrived.lock().unwrap().clone();
    let gaps: Vec<&Value> = events.iter().filter(|event| event["fields"]["gap.sink"] == "away").collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["count"], lost, "{}", gaps[0]);
    // What the record names and what arrived are all there was.
    let number = |id: &str| id[17..].parse::<u64>().unwrap();
    let text = |field: &str| gaps[0]["fields"][field].as_str().unwrap().to_owned();
    let (first, last) = (number(&text("gap.first_id")), number(&text("gap.last_id")));
    assert_eq!(last - first + 1, lost);
    let mut all: BTreeSet<u64> = events.iter().map(|event| number(event["event_id"].as_str().unwrap())).collect();
    assert!(all.range(first..=last).next().is_none());
    all.extend(first..=last);
    assert_eq!(all.len() as u64, *all.last().unwrap(), "dense from the first to the last");
}

#[test]
fn with_no_sink_ahead_senders_wait_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (free_port(), free_port());
    let config = format!(
        "journal:\n  bytes_max: 16MiB\nsources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\nsinks:\n  \
         one: {{type: syslog, address: \"127.0.0.1:{one}\", format: json, header: none}}\n  \
         two: {{type: syslog, address: \"127.0.0.1:{two}\", format: json, header: none}}\n",
    );
    let gateway = Gateway::start(folder.path(), &config);
    let mut sent = 0;
    while post(&gateway, 100, 8000) {
        sent += 100;
        assert!(sent < 4000, "16 MiB hold no more");
    }
    assert!(sent > 1000, "{sent}");
    let arrived = [collect(one), collect(two)];
    eventually("all of it has arrived", WITHIN, || {
        let page = status(&gateway)?;
        let done = |name| row(&page, "sinks", name)["queued"] == 0;
        (done("one") && done("two")).then_some(())
    });
    assert!(post(&gateway, 1, 1), "there is room again");
    gateway.stop();
    for events in arrived {
        let events = events.lock().unwrap().clone();
        assert!(!events.iter().any(|event| event["event_class"] == "gap"));
        let ids: BTreeSet<&str> = events
            .iter()
            .filter(|event| event["source"] == "hec")
            .map(|event| event["event_id"].as_str().unwrap())
            .collect();
        // A request that was refused may have been stored in part.
        assert!((sent..sent + 101).contains(&ids.len()), "{} of {sent}", ids.len());
    }
}

#[test]
fn a_journal_that_was_put_back_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = SinkFile::in_folder(folder.path());
    let config =
        format!("sources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\nsinks:\n{}", file.config());
    let gateway = Gateway::start(folder.path(), &config);
    assert!(post(&gateway, 5, 1));
    file.wait_for(5, WITHIN, |event| event["source"] == "hec");
    let stopped = gateway.kill();
    // As a copy of the machine from before would have it: the segment as it is now, a cursor from later.
    let journal = folder.path().join("data/journal");
    let segment = std::fs::read(journal.join("0000000000000001.segment")).unwrap();
    let gateway = stopped.start();
    assert!(post(&gateway, 50, 1));
    file.wait_for(55, WITHIN, |event| event["source"] == "hec");
    // That there was more only the cursor knows then, once it has moved.
    eventually("the cursor has passed it", WITHIN, || {
        (row(&status(&gateway)?, "sinks", "out")["queued"] == 0).then_some(())
    });
    let stopped = gateway.kill();
    for entry in std::fs::read_dir(&journal).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "segment") {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::write(journal.join("0000000000000001.segment"), segment).unwrap();
    let gateway = stopped.start();
    let gaps = file.wait_for(1, WITHIN, |event| event["event_class"] == "gap");
    assert_eq!(gaps[0]["fields"]["gap.count"], "unknown", "{}", gaps[0]);
    assert!(gaps[0]["reason"].as_str().unwrap().contains("put back to an earlier state"), "{}", gaps[0]);
    let (before, after) = (file.events()[0]["event_id"].to_string(), gaps[0]["event_id"].to_string());
    assert_ne!(before[..17], after[..17], "a new incarnation");
    let gateway = gateway.kill().start();
    assert!(post(&gateway, 1, 1));
    file.wait_for(56, WITHIN, |event| event["source"] == "hec");
    gateway.stop();
    // One record, which a kill right behind its delivery brings a second time: under the same number.
    let events = file.events();
    let said = events.iter().filter(|event| event["event_class"] == "gap");
    let said: BTreeSet<&str> = said.map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(said.len(), 1, "said once: {said:?}");
}
