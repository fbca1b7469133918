//! Receipts: what became of one event, of the real program with real peers, and over losses and splits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::block_in_place;
use wharfinger::journal::Position;
use wharfinger::sinks::receipts::{Became, Keep, find};
use wharfinger::sinks::{Lost, Outcome, Settings};
use wharfinger_formats::Time;

use super::splunk_hec::names;
use crate::support::flow::{Flow, wait_for};
use crate::support::gateway::Gateway;
use crate::support::hec_server::{Dialect, HecServer, TOKEN};
use crate::support::process::{eventually, free_port};
use crate::support::scripted::Scripted;
use crate::support::web_server::{Seen, WebServer};

const WITHIN: Duration = Duration::from_secs(60);

fn status(config: &Path, admin: SocketAddr, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.args(["status", "--config"]).arg(config).args(["--address", &admin.to_string()]).args(arguments);
    command.output().unwrap()
}

fn row<'p>(page: &'p Value, name: &str) -> &'p Value {
    page["sinks"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_an_event_at_each_sink() {
    let folder = tempfile::tempdir().unwrap();
    let judge = |seen: &Seen| (if seen.text().contains("poison") { 400 } else { 202 }, String::new());
    let (web, hec) =
        (WebServer::start(judge).await, HecServer::start(Dialect { acks: true, ..Dialect::default() }).await);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let siem = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut part = [0; 4096];
        while let Ok(1..) = stream.read(&mut part) {}
    });
    let (dir, nobody) = (folder.path().display(), free_port());
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = datagrams.local_addr().unwrap();
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n\
         \x20 web: {{type: http, url: '{}'}}\n\
         \x20 hec: {{type: splunk_hec, endpoint: '{}', token: {TOKEN}}}\n\
         \x20 siem: {{type: syslog, address: '{siem}', resend_age: 100ms}}\n\
         \x20 udp: {{type: syslog, mode: udp, address: '{udp}'}}\n\
         \x20 lines: {{type: file, path: {dir}/lines}}\n\
         \x20 none: {{type: file, path: {dir}/none, when: 'msg == \"nothing\"'}}\n\
         \x20 down: {{type: syslog, address: '127.0.0.1:{nobody}'}}\n\
         \x20 sealed: {{type: archive, path: {dir}/sealed, max_age: 1s}}\n",
        web.url(),
        hec.url(),
    );
    let file = folder.path().join("wharfinger.yaml");
    block_in_place(|| {
        let gateway = Gateway::start(folder.path(), &config);
        let mut sender = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
        sender.write_all(b"<30>1 - web-1 shop 7 - - first\n<30>1 - web-1 shop 7 - - poison\n").unwrap();
        let lines = || std::fs::read_to_string(folder.path().join("lines")).unwrap_or_default();
        let ids = eventually("both lines", WITHIN, || {
            let ids = |line: &str| {
                let event: Value = serde_json::from_str(line).ok()?;
                let text = event["msg"].as_str()?.to_owned();
                Some((text, event["event_id"].as_str()?.to_owned()))
            };
            let ids: Vec<_> = lines().lines().filter_map(ids).collect();
            let id = |text: &str| ids.iter().find(|(msg, _)| msg == text).map(|(_, id)| id.clone());
            Some((id("first")?, id("poison")?))
        });
        let page = |id: &str| -> Value {
            let output = status(&file, gateway.admin(), &["--event", id, "--json"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let settled = |id: &str| {
            eventually("all sinks but one have it", WITHIN, || {
                let page = page(id);
                let queued = page["sinks"].as_array()?.iter().filter(|row| row["became"] == "queued").count();
                (queued == 1).then_some(page)
            })
        };
        let first = settled(&ids.0);
        let answer = |name: &str| row(&first, name)["receipts"][0]["answer"].clone();
        assert_eq!(answer("web"), json!({ "peer": web.address.to_string(), "status": "202" }));
        let said = answer("hec");
        assert_eq!((&said["endpoint"], said["channel"].as_str().unwrap().len()), (&hec.address.to_string().into(), 36));
        assert!(said["ack_id"].as_str().unwrap().parse::<u64>().is_ok(), "{said}");
        assert_eq!(answer("siem"), json!({ "peer": siem.to_string() }));
        // Nobody answers a datagram.
        assert_eq!(answer("udp"), json!({ "peer": udp.to_string(), "unanswered": "UDP" }));
        assert_eq!(row(&first, "udp")["became"], "sent", "{first}");
        assert_eq!(answer("lines"), json!({ "file": format!("{dir}/lines") }));
        let seal = answer("sealed")["seal"].as_str().unwrap().to_owned();
        assert!(folder.path().join("sealed/sealed").join(&seal).is_file(), "{seal}");
        for (name, became) in [("web", "delivered"), ("none", "filtered"), ("down", "queued"), ("sealed", "delivered")]
        {
            assert_eq!(row(&first, name)["became"], became, "{first}");
        }
        let times = &row(&first, "siem")["receipts"][0];
        assert!(times["confirmed"].as_str() > times["answered"].as_str(), "{times}");
        let poison = settled(&ids.1);
        assert_eq!(row(&poison, "web")["became"], "quarantined", "{poison}");
        assert_eq!(row(&poison, "web")["receipts"], json!([]));
        assert_eq!(row(&poison, "lines")["became"], "delivered", "{poison}");

        let text = status(&file, gateway.admin(), &["--event", &ids.0]);
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.starts_with(&format!("event {}\n", ids.0)), "{text}");
        assert!(text.contains("down (syslog) queued\n"), "{text}");
        assert!(text.contains(&format!("peer {}, status 202\n", web.address)), "{text}");
        for (id, code, error) in [
            ("7-1", 64, "16 hex digits, a dash, 16 digits"),
            (&*format!("{}-9000000000000000", &ids.0[..16]), 66, "error: no event has the number"),
        ] {
            let output = status(&file, gateway.admin(), &["--event", id]);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{stderr}");
            assert!(stderr.contains(error), "{stderr}");
        }
        let other = page("00000000000000aa-0000000000000001");
        assert_eq!(row(&other, "web")["note"], "it is older than the receipts that are kept");

        // After kill -9 it still says so, and a torn end is none.
        let stopped = gateway.kill();
        let log = folder.path().join("data/receipts/web.log");
        std::fs::OpenOptions::new().append(true).open(log).unwrap().write_all(b"torn").unwrap();
        let gateway = stopped.start();
        TcpStream::connect(gateway.address("in", "tcp"))
            .unwrap()
            .write_all(b"<30>1 - web-1 shop 7 - - last\n")
            .unwrap();
        eventually("the last line", WITHIN, || lines().contains("last").then_some(()));
        let output = status(&file, gateway.admin(), &["--event", &ids.0, "--json"]);
        let again: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(row(&again, "web")["receipts"], row(&first, "web")["receipts"]);
        gateway.stop();
    });
}

/// After a start without a clean end, where nothing was synced, events of the incarnation before are delivered: under
/// their own ids.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_names_the_event_that_was_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = format!(
        "journal: {{sync: never}}\nsources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n\
         \x20 siem: {{type: syslog, address: '127.0.0.1:{port}', format: json, header: none, resend_age: 100ms}}\n\
         \x20 lines: {{type: file, path: {}/lines}}\n",
        folder.path().display(),
    );
    let file = folder.path().join("wharfinger.yaml");
    let id_of = |text: &str, msg: &str| {
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let id = |event: Value| event["event_id"].as_str().map(str::to_owned);
        events.filter(|event| event["msg"] == msg).find_map(id)
    };
    block_in_place(|| {
        let send = |gateway: &Gateway, line: &[u8]| {
            TcpStream::connect(gateway.address("in", "tcp")).unwrap().write_all(line).unwrap();
        };
        let lines = || std::fs::read_to_string(folder.path().join("lines")).unwrap_or_default();
        let gateway = Gateway::start(folder.path(), &config);
        send(&gateway, b"<30>1 - web-1 shop 7 - - before\n");
        let before = eventually("the first line", WITHIN, || id_of(&lines(), "before"));
        let gateway = gateway.kill().start();
        send(&gateway, b"<30>1 - web-1 shop 7 - - after\n");
        let after = eventually("the second line", WITHIN, || id_of(&lines(), "after"));
        assert_ne!(before[..16], after[..16], "another incarnation");
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut part = [0; 4096];
            while let Ok(1..) = stream.read(&mut part) {}
        });
        for id in [before, after] {
            eventually("a receipt", WITHIN, || {
                let output = status(&file, gateway.admin(), &["--event", &id, "--json"]);
                let page: Value = serde_json::from_slice(&output.stdout).ok()?;
                (row(&page, "siem")["became"] == "delivered").then_some(())
            });
        }
        gateway.stop();
    });
}

fn keeping(flow: &Flow) -> (Settings, Keep) {
    let keep = Keep { dir: flow.dir.path().join("receipts"), bytes_max: 1 << 20, age_max: Duration::from_secs(3600) };
    let mut settings = flow.settings("siem");
    settings.backoff_min = Duration::from_millis(1);
    settings.backoff_max = Duration::from_millis(5);
    settings.receipts = Some(keep.clone());
    (settings, keep)
}

/// What the log says of each event: all that it says.
fn told(flow: &Flow, keep: &Keep, count: u64) -> Vec<Vec<Became>> {
    let now = Time(i64::MAX / 2);
    let keep = Keep { age_max: Duration::MAX, ..keep.clone() };
    let one = |position| find(&keep, "siem", (flow.journal.incarnation(), Position(position)), now).unwrap();
    (1..=count).map(|position| one(position).told.into_iter().map(|told| told.became).collect()).collect()
}

/// What is refused, split off and tried again: each event has one entry in the end.
#[tokio::test]
async fn each_event_has_one_entry_whatever_is_tried_again() {
    let flow = Flow::new();
    flow.append(names(60)).await;
    let (settings, keep) = keeping(&flow);
    let mut calls = 0;
    let (sink, _) = Scripted::new(move |lines| {
        calls += 1;
        match calls {
            2 | 5 => Outcome::Retry { after: None, reason: "not now".to_owned() },
            _ if lines.iter().any(|line| line.ends_with(" 17")) => {
                Outcome::Reject { which: None, reason: "poison".to_owned() }
            }
            _ => Outcome::Delivered,
        }
    });
    let running = flow.start_with(settings, Box::new(sink));
    wait_for("all", || running.stats.delivered_total() == 59).await;
    running.finish().await;
    let expected = |position| vec![if position == 17 { Became::Quarantined } else { Became::Delivered }];
    assert_eq!(told(&flow, &keep, 60), (1..=60).map(expected).collect::<Vec<_>>());
}

/// What a peer has taken and lost has no receipt until it is delivered again.
#[tokio::test]
async fn nothing_in_doubt_has_a_receipt() {
    let flow = Flow::new();
    flow.append(names(3)).await;
    let (settings, keep) = keeping(&flow);
    let (mut asked, doubted) = (0, std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true)));
    let waits = std::sync::Arc::clone(&doubted);
    let (sink, seen) = Scripted::delivers();
    let sink = sink.with_doubt(move || {
        asked += 1;
        match asked {
            1 => Ok(1),
            2 => Err(Lost("reset".to_owned())),
            _ => Ok(usize::from(waits.load(std::sync::atomic::Ordering::SeqCst))),
        }
    });
    let running = flow.start_with(settings, Box::new(sink));
    wait_for("the second time", || seen.taken().len() >= 6).await;
    assert_eq!(told(&flow, &keep, 3), vec![Vec::<Became>::new(); 3]);
    doubted.store(false, std::sync::atomic::Ordering::SeqCst);
    wait_for("all", || running.stats.delivered_total() == 3).await;
    running.finish().await;
    assert_eq!(told(&flow, &keep, 3), vec![vec![Became::Delivered]; 3]);
}
