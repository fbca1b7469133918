//! `wharfinger dlq`: hostile events are shown safely, and come back to the sink that refused them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use wharfinger::sinks::quarantine::{BYTES_MAX, Entry, Quarantine};
use wharfinger_formats::{Event, Field, stored};

use support::gateway::Gateway;
use support::lines::SinkFile;
use support::process::eventually;

const WITHIN: Duration = Duration::from_secs(60);
const HOSTILE: &[u8] = b"\x1b]0;owned\x07 \xff\xe2\x80\xae evil\nline two";

/// Fills the quarantine of sink `out`, as `drive` would.
fn refuse(data_dir: &Path, ids: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut quarantine = Quarantine::new(&data_dir.join("quarantine"), "out", BYTES_MAX);
    for id in ids {
        let mut event = Event::new(HOSTILE);
        event.set(Field::EventClass, "test");
        event.set(Field::Msg, *id);
        let mut record = Vec::new();
        stored::encode(&event, &mut record);
        quarantine.add(&Entry {
            time: "2026-11-21T09:00:00.000000Z",
            sink: "out",
            event_id: id,
            reason: "HTTP 400: \u{1b}[2J bad \u{202e}field",
            raw: Some(HOSTILE),
            record: &record,
        });
    }
    runtime.block_on(quarantine.sync()).unwrap();
}

fn dlq(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.arg("dlq").args(arguments).arg("--data-dir").arg(folder.join("data")).env_clear();
    command.output().unwrap()
}

fn shown(output: &Output) -> String {
    let (out, error) =
        (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap());
    let text = format!("{out}{error}");
    let hidden = |letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}';
    assert!(!text.chars().any(hidden), "{text:?}");
    text
}

#[test]
fn refused_events_are_listed_shown_brought_back_and_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    assert_eq!(shown(&dlq(folder.path(), &["list"])), "nothing is in quarantine\n");
    let id = |number: u64| format!("00000000deadbeef-{number:016}");
    let ids: Vec<String> = (1..=4).map(id).collect();
    refuse(&data, &ids.iter().map(String::as_str).collect::<Vec<_>>());

    let list = dlq(folder.path(), &["list"]);
    println!("{}", shown(&list));
    assert_eq!(shown(&list).lines().count(), 5);
    let json = String::from_utf8(dlq(folder.path(), &["list", "--json"]).stdout).unwrap();
    assert!(json.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["sink"] == "out"));
    let show = dlq(folder.path(), &["show", &ids[0]]);
    println!("{}", shown(&show));
    assert!(shown(&show).contains("\\u{1b}]0;owned"), "{}", shown(&show));
    let unknown = dlq(folder.path(), &["show", "nothing"]);
    assert_eq!(unknown.status.code(), Some(66), "{}", shown(&unknown));
    let alone = dlq(folder.path(), &["replay", "--all"]);
    assert_eq!(alone.status.code(), Some(69), "{}", shown(&alone));
    assert!(shown(&alone).contains("hint: start the gateway"), "{}", shown(&alone));
    assert_eq!(dlq(folder.path(), &["purge"]).status.code(), Some(64), "not by mistake");

    let (file, other) = (SinkFile::in_folder(folder.path()), folder.path().join("other.ndjson"));
    let config = format!("sinks:\n{}  other: {{type: file, path: {}}}\n", file.config(), other.display());
    let gateway =
        Gateway::start(folder.path(), &format!("sources:\n  in: {{type: file, include: [/nowhere]}}\n{config}"));
    let mode = std::fs::metadata(data.join("control")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let back = dlq(folder.path(), &["replay", &ids[0], &ids[2]]);
    assert_eq!((back.status.code(), shown(&back).as_str()), (Some(0), "2 events brought back\n"));
    let events = file.wait_for(2, WITHIN, |event| event["replayed"] == true);
    let causes: Vec<&str> = events.iter().map(|event| event["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, [&ids[0], &ids[2]]);
    assert!(events.iter().all(|event| event["raw_base64"].is_string() && event["msg"] == event["cause"]), "{events:?}");
    eventually("the other sink has passed them", WITHIN, || {
        let page: Value = serde_json::from_str(&gateway.get("/api/status")?.1).unwrap();
        let row = page["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == "other").unwrap().clone();
        assert_eq!(row["unaccounted"], 0);
        (row["queued"] == 0 && row["filtered"] == 2).then_some(())
    });
    assert!(!std::fs::read_to_string(&other).unwrap().contains("replayed"), "not for this sink");
    let gone = dlq(folder.path(), &["purge", &ids[1]]);
    assert_eq!((gone.status.code(), shown(&gone).as_str()), (Some(0), "1 event thrown away\n"));
    assert_eq!(shown(&dlq(folder.path(), &["list"])).lines().count(), 2, "one is left");
    assert_eq!(shown(&dlq(folder.path(), &["purge", "--all"])), "1 event thrown away\n");
    gateway.stop();
    assert!(!data.join("control").exists());
}

/// The control socket serves four at once. Who comes then waits for a place and is not sent away.
#[test]
fn who_finds_no_place_at_the_control_socket_waits_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let out = SinkFile::in_folder(folder.path());
    let source = "sources:\n  in: {type: file, include: [/nowhere]}\nsinks:\n";
    let gateway = Gateway::start(folder.path(), &format!("{source}{}", out.config()));
    let connect = || UnixStream::connect(gateway.data().join("control")).unwrap();
    let ask = |stream: &mut UnixStream| {
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream.write_all(b"{}\n").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    };
    let mut held: Vec<UnixStream> = (0..4).map(|_| connect()).collect();
    held.iter_mut().for_each(|stream| assert!(ask(stream).contains("cannot be read")));
    let mut fifth = connect();
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| ask(&mut fifth));
        // It came, and waits.
        std::thread::sleep(Duration::from_millis(200));
        held.pop();
        answer.join().unwrap()
    });
    assert!(answer.contains("cannot be read"), "`{answer}`");
    gateway.stop();
}
