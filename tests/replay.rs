//! The real program over a real archive: what is listed, shown, replayed and reconciled is what was sealed,
//! and whoever did it is in the archive too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::gateway::Gateway;
use support::hec_server::{Dialect, HecServer, Play, TOKEN};
use support::lines::events;
use support::process::eventually;

mod support;

const WITHIN: Duration = Duration::from_secs(60);
const CONFIG: &str = "sources:\n  in: {type: syslog, mode: tcp, address: 127.0.0.1:0}\nsinks:\n  \
                      audit: {type: archive, path: DIR/archive, max_age: 200ms}\n  \
                      out: {type: file, path: DIR/out.ndjson}\n  \
                      again: {type: file, path: DIR/again.ndjson}\n";

/// An archive that its gateway has left, and what its other sink got.
struct Sealed {
    dir: tempfile::TempDir,
}

impl Sealed {
    fn of(count: usize) -> Sealed {
        Sealed::with(count, "")
    }

    /// `more` stands below the sinks.
    fn with(count: usize, more: &str) -> Sealed {
        let dir = tempfile::tempdir().unwrap();
        let config = CONFIG.replace("DIR", &dir.path().display().to_string()) + more;
        let gateway = Gateway::start(dir.path(), &config);
        let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
        let mut lines = String::new();
        for number in 0..count {
            let vm = number % 7;
            lines.push_str(&format!(
                "<134>1 2026-11-21T09:05:11.{number:06}Z vm-{vm} app - - [x@1.2 a=\"\\\"b\"] message {number} ä\u{1}\n"
            ));
        }
        stream.write_all(lines.as_bytes()).unwrap();
        drop(stream);
        let out = dir.path().join("out.ndjson");
        eventually("all events at the other sink", WITHIN, || {
            let text = fs::read_to_string(&out).ok()?;
            (text.lines().filter(|line| line.contains("\"source\":\"in\"")).count() >= count).then_some(())
        });
        gateway.stop();
        // What the sinks were too slow for comes with the next start, which is one more event or two.
        Sealed { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command.args(arguments).env("WHARFINGER_CONFIG", self.path("wharfinger.yaml"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The archive's folder after a verb.
    fn archive(&self, verb: &[&str], options: &[&str]) -> Output {
        let archive = self.path("archive").display().to_string();
        self.run(&[verb, &[&archive], options].concat())
    }

    /// What the program says, when it is done.
    fn text(&self, arguments: &[&str]) -> String {
        done(&self.run(arguments))
    }

    /// All events of the archive.
    fn sealed(&self) -> Vec<Value> {
        events(&done(&self.archive(&["archive", "cat"], &[])))
    }
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn ids<'e>(events: impl IntoIterator<Item = &'e Value>) -> Vec<String> {
    events.into_iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

fn is_in(event: &Value) -> bool {
    event["source"] == "in"
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut objects = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { objects.extend(self::objects(&path)) } else { objects.push(path) }
    }
    objects.sort();
    objects
}

#[test]
fn what_is_listed_and_shown_is_what_was_sealed() {
    let sealed = Sealed::of(300);
    let all = sealed.sealed();
    assert_eq!(all.iter().filter(|event| is_in(event)).count(), 300);
    let listed = events(&done(&sealed.archive(&["archive", "ls"], &["--json"])));
    let total: u64 = listed.iter().map(|object| object["events"].as_u64().unwrap()).sum();
    assert_eq!(total, all.len() as u64);
    let stat: Value = serde_json::from_str(&done(&sealed.archive(&["archive", "stat"], &["--json"]))).unwrap();
    assert_eq!((&stat["streams"][0]["events"], &stat["streams"][0]["stream"]), (&total.into(), &"audit".into()));
    // By an expression, a source, an id, a time; in another format, and the bytes themselves.
    let cat = |options: &[&str]| done(&sealed.archive(&["archive", "cat"], options));
    let some = cat(&["--where", "host.claimed_name == \"vm-3\" && msg.contains('message 1')", "--source", "in"]);
    assert!(some.lines().count() > 10 && events(&some).iter().all(|event| event["host.claimed_name"] == "vm-3"));
    let one = all.iter().rfind(|event| is_in(event)).unwrap();
    let id = one["event_id"].as_str().unwrap();
    assert_eq!(&events(&cat(&["--id", id])), std::slice::from_ref(one));
    assert_eq!(cat(&["--id", id, "--raw"]), one["raw"].as_str().unwrap().to_owned() + "\n");
    assert!(cat(&["--id", id, "--format", "cef"]).starts_with("CEF:0|"));
    assert_eq!(cat(&["--to", "2001-01-01T00:00:00Z"]), "");
    assert_eq!(cat(&["--from", "2001-01-01T00:00:00Z"]).lines().count(), all.len());
    let key = fs::read_to_string(sealed.path("data/sealing/audit/vkey-1")).unwrap();
    assert_eq!(cat(&["--key", key.trim()]).lines().count(), all.len());
    // What was touched is named and never shown.
    let paths = objects(&sealed.path("archive/audit/data"));
    let last = paths.last().unwrap();
    let bytes = fs::read(last).unwrap();
    fs::write(last, [&bytes[..], b"x"].concat()).unwrap();
    let output = sealed.archive(&["archive", "cat"], &["--key", key.trim()]);
    let name = last.strip_prefix(sealed.path("archive/audit")).unwrap().display().to_string();
    assert!(output.status.code() == Some(10) && String::from_utf8_lossy(&output.stderr).contains(&name), "{output:?}");
    fs::remove_file(last).unwrap();
    assert_eq!(sealed.archive(&["archive", "cat"], &[]).status.code(), Some(11));
    fs::write(last, bytes).unwrap();
    let other = "gw/audit+9ef4f6d4+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
    assert_ne!(sealed.archive(&["archive", "cat"], &["--key", other]).status.code(), Some(0));
    assert_eq!(sealed.archive(&["archive", "cat"], &["--where", "nothing == 1"]).status.code(), Some(64));
}

#[test]
fn a_period_comes_again_with_its_ids_and_times() {
    let sealed = Sealed::of(2_000);
    let all = sealed.sealed();
    let dry = sealed.text(&["replay", "--to-sink", "again", "--dry-run", "--source", "in", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&dry).unwrap()["events"], 2_000);
    let before = fs::read_to_string(sealed.path("again.ndjson")).unwrap();
    sealed.text(&["replay", "--to-sink", "again", "--source", "in"]);
    let after = fs::read_to_string(sealed.path("again.ndjson")).unwrap();
    let mut again = events(&after[before.len()..]);
    for event in &mut again {
        assert_eq!(event.as_object_mut().unwrap().remove("replayed"), Some(Value::Bool(true)));
    }
    let expected: Vec<_> = all.into_iter().filter(is_in).collect();
    assert_eq!(again, expected);
    // Done is done: the same once more is everything once more. An archive gets nothing again.
    let report = sealed.text(&["replay", "--to-sink", "again", "--source", "in", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["delivered"], 2_000);
    assert_eq!(sealed.run(&["replay", "--to-sink", "audit"]).status.code(), Some(64));
    assert_eq!(sealed.run(&["replay", "--to-sink", "nowhere"]).status.code(), Some(64));
}

#[test]
fn a_replay_that_is_killed_goes_on_and_loses_nothing() {
    let sealed = Sealed::of(3_000);
    let mut expected = ids(&sealed.sealed());
    let file = sealed.path("again.ndjson");
    fs::remove_file(&file).unwrap();
    let lines = || fs::read_to_string(&file).unwrap_or_default().lines().count();
    for _ in 0..3 {
        let before = lines();
        let arguments = ["replay", "--to-sink", "again", "--rate", "400/s"];
        let mut child = sealed.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("some hundred more events", WITHIN, || (lines() > before + 600).then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let report = sealed.text(&["replay", "--to-sink", "again", "--rate", "400/s", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["delivered_before"].as_u64().unwrap() > 600, "{report}");
    let got = ids(&events(&fs::read_to_string(&file).unwrap()));
    // What was under way when it was killed comes twice.
    assert!(got.len() < expected.len() + 3 * 1_500, "{}", got.len());
    let mut got: Vec<_> = got.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_at_first_gets_everything_with_its_ids() {
    let server = HecServer::start(Dialect { poison: Some("message 77 "), ..Dialect::default() }).await;
    let more = format!("  hec: {{type: splunk_hec, endpoint: '{}', token: {TOKEN}}}\n", server.url());
    let sealed = tokio::task::spawn_blocking(move || Sealed::with(500, &more)).await.unwrap();
    let before = server.count();
    server.play([Play::Code(503, 9), Play::Html(502), Play::Hangup { taken: false }]);
    let sealed = tokio::task::spawn_blocking(move || {
        let report = sealed.text(&["replay", "--to-sink", "hec", "--source", "in", "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&report["delivered"], &report["refused"]), (&499.into(), &1.into()));
        sealed
    })
    .await
    .unwrap();
    let expected: Vec<_> = sealed.sealed().into_iter().filter(is_in).collect();
    let poisoned = |event: &&Value| !event["msg"].as_str().unwrap().contains("message 77 ");
    let taken = server.taken();
    let again = &taken[before..];
    assert_eq!(again.len(), 499);
    assert!(again.iter().all(|envelope| envelope["fields"]["replayed"] == "true"));
    let mut got: Vec<_> = server.ids().split_off(before);
    let mut wanted = ids(expected.iter().filter(poisoned));
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);
    let refused = fs::read_to_string(sealed.path("data/replay/refused/hec.ndjson")).unwrap();
    let refused: Value = serde_json::from_str(refused.trim()).unwrap();
    let lone = expected.iter().find(|event| !poisoned(event)).unwrap();
    assert_eq!(refused["event_id"], lone["event_id"]);
}

#[test]
fn every_missing_event_is_named_and_none_else() {
    let sealed = Sealed::of(5_000);
    let all: Vec<_> = sealed.sealed().into_iter().filter(is_in).collect();
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kept = ids(&all);
    random.shuffle(&mut kept);
    let mut missing = kept.split_off(4_000);
    missing.sort();
    let archive = sealed.path("archive").display().to_string();
    let reconcile = |export: String, exit: i32| -> Value {
        fs::write(sealed.path("export"), export).unwrap();
        let (export, named) = (sealed.path("export"), sealed.path("missing"));
        let paths = [export.to_str().unwrap(), "--archive", &archive, "--missing", named.to_str().unwrap()];
        let output = sealed.run(&[&["reconcile"], &paths[..], &["--json", "--source", "in", "--sink", "out"]].concat());
        assert_eq!(output.status.code(), Some(exit), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let named = || fs::read_to_string(sealed.path("missing")).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let received =
        |id: &String| all.iter().find(|event| event["event_id"] == id.as_str()).unwrap()["observed_time"].clone();
    let list = kept.join("\n");
    let indexed = seconds(received(&kept[0]).as_str().unwrap());
    let rows: String = kept
        .iter()
        .enumerate()
        .map(|(at, id)| {
            let time = if at < 3 { indexed + 4_000 } else { indexed };
            format!("{time},\"x, \"\"y\",{id}\n")
        })
        .collect();
    let results: String =
        kept.iter().map(|id| format!("{{\"preview\":false,\"result\":{{\"event_id\":\"{id}\"}}}}\n")).collect();
    for (export, lates) in [(list.clone(), 0), (format!("_indextime,host,event_id\n{rows}"), 3), (results, 0)] {
        let report = reconcile(export, 1);
        assert_eq!(
            (&report["missing"], &report["found"], &report["late"]),
            (&1_000.into(), &4_000.into(), &lates.into())
        );
        assert_eq!((&report["duplicates"], &report["unknown"]), (&0.into(), &0.into()));
        let mut found = named();
        found.sort();
        assert_eq!(found, missing);
        let by_row: u64 =
            report["by_source_and_hour"].as_array().unwrap().iter().map(|row| row["missing"].as_u64().unwrap()).sum();
        assert_eq!(by_row, 1_000);
        assert_eq!(report["configurations"].as_array().unwrap().len(), 1);
    }
    // All there, some twice, some of nobody.
    let odd =
        format!("{list}\n{}\n{}\n{}\n00deadbeef000001-0000000000000042\nno id\n", missing.join("\n"), kept[5], kept[6]);
    let report = reconcile(odd, 0);
    assert_eq!((&report["missing"], &report["duplicates"]), (&0.into(), &2.into()));
    assert_eq!((&report["unknown"], &report["malformed"]), (&1.into(), &1.into()));
    assert_eq!(report["duplicate_ids"], serde_json::json!([kept[5], kept[6]]));
    assert!(named().is_empty());
    // What the sink was not sent, nobody expects.
    let config = sealed.path("when.yaml");
    let when = format!("event_id in {:?}", [&missing[..10], &kept[..10]].concat());
    fs::write(&config, format!("sinks:\n  out: {{type: stdout, when: '{when}'}}\n")).unwrap();
    fs::write(sealed.path("export"), &list).unwrap();
    let (export, config) = (sealed.path("export").display().to_string(), config.display().to_string());
    let paths = ["reconcile", &export, "--archive", &archive, "--config", &config, "--sink", "out", "--json"];
    let report: Value = serde_json::from_slice(&sealed.run(&paths).stdout).unwrap();
    assert_eq!((&report["archived"], &report["missing"]), (&20.into(), &10.into()));
    assert_eq!(report["missing_ids"], serde_json::json!(missing[..10]));
}

fn seconds(text: &str) -> i64 {
    wharfinger_formats::Time::parse_rfc3339(text.as_bytes()).unwrap().0.seconds()
}

#[test]
fn who_reads_is_in_the_archive_whether_the_gateway_runs_or_not() {
    let sealed = Sealed::of(10);
    sealed.sealed();
    let log = fs::read_to_string(sealed.path("data/custody-log.ndjson")).unwrap();
    assert_eq!(log.lines().count(), 2, "a beginning and an end: {log}");
    let missing = sealed.path("nothing").display().to_string();
    assert_ne!(sealed.run(&["archive", "cat", &missing]).status.code(), Some(0));
    let text = fs::read_to_string(sealed.path("wharfinger.yaml")).unwrap();
    let config = text.split_once("sources:").map(|(_, rest)| format!("sources:{rest}")).unwrap();
    let gateway = Gateway::start(sealed.dir.path(), &config);
    let is_left = || {
        ["ndjson", "taken"].map(|end| sealed.path(&format!("data/custody-log.{end}"))).iter().any(|path| path.exists())
    };
    eventually("the log is taken in", WITHIN, || (!is_left()).then_some(()));
    sealed.sealed();
    gateway.stop();
    let acts =
        || -> Vec<_> { sealed.sealed().into_iter().filter(|event| event["event_class"] == "custody.read").collect() };
    let first = acts();
    // The file of the second time may have the inode of the first.
    let gateway = Gateway::start(sealed.dir.path(), &config);
    eventually("the log is taken in again", WITHIN, || (!is_left()).then_some(()));
    gateway.stop();
    let acts = acts();
    assert_eq!((first.len(), acts.len()), (6, 8));
    let story: Vec<_> = acts
        .iter()
        .map(|act| (act["fields"]["custody.phase"].as_str().unwrap(), act["outcome"].as_str().unwrap()))
        .collect();
    let (begin, good, bad) = (("begin", "unknown"), ("end", "success"), ("end", "failure"));
    assert_eq!(story, [begin, good, begin, bad, begin, good, begin, good]);
    for act in &acts {
        let uid = rustix::process::getuid().as_raw().to_string();
        assert_eq!((&act["source"], &act["user.id"]), (&"wharfinger".into(), &uid.into()));
        assert_eq!(act["fields"]["custody.arguments"][0], "archive");
        assert!(act["fields"]["custody.id"].as_str().unwrap().len() == 16 && act["process.id"].is_string(), "{act}");
    }
    assert_eq!(acts[0]["fields"]["custody.id"], acts[1]["fields"]["custody.id"]);
}

#[test]
fn who_reads_unrecorded_is_told() {
    let sealed = Sealed::of(1);
    let archive = sealed.path("archive");
    fs::write(sealed.path("data.other"), "").unwrap();
    for data_dir in ["nowhere", "data.other"] {
        let data_dir = sealed.path(data_dir);
        let ls = sealed.run(&["archive", "ls", archive.to_str().unwrap(), "--data-dir", data_dir.to_str().unwrap()]);
        let told = String::from_utf8_lossy(&ls.stderr);
        assert!(ls.status.success() && told.contains("warning: this is recorded nowhere"), "{ls:?}");
    }
    // What the shell hands on need not be text.
    let mut odd = sealed.command(&["archive", "ls"]);
    let odd = odd.arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/no\xffwhere")).output().unwrap();
    assert!(odd.status.code().is_some_and(|code| code != 101), "{odd:?}");
    let typo = sealed.run(&["replay", "--to-sink", "agian", "--dry-run"]);
    assert_eq!(typo.status.code(), Some(64), "{typo:?}");
}

#[test]
fn a_part_of_an_archive_is_verified_and_one_that_was_stopped_goes_on() {
    let sealed = Sealed::of(20);
    let key = sealed.path("data/sealing/audit/vkey-1").display().to_string();
    let archive = sealed.path("archive");
    let verify = |options: &[&str]| {
        let output = sealed.archive(&["verify"], &[&["--key", &key, "--json"], options].concat());
        let report = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), report, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Of an hour long ago nothing is to be read, and of now it is all.
    let (code, report, _) = verify(&["--from", "2020-01-01T00:00:00Z", "--to", "2020-01-01T01:00:00Z"]);
    assert_eq!((code, &report["streams"][0]["objects"]), (0, &0.into()), "{report:#}");
    let (code, report, _) = verify(&["--from", "2020-01-01T00:00:00Z"]);
    let stream = &report["streams"][0];
    assert!(code == 0 && stream["objects"].as_u64() > Some(0), "{report:#}");
    assert_eq!(
        stream["passed_over"],
        serde_json::json!({"from": "2020-01-01T00:00:00.000Z", "to": null, "objects": 0, "seals": 0})
    );

    let object = objects(&archive.join("audit/data")).remove(0);
    let name = object.strip_prefix(archive.join("audit")).unwrap().to_str().unwrap();
    for name in [name.to_owned(), format!("audit/{name}")] {
        let (code, report, _) = verify(&["--object", &name, "--deep"]);
        assert_eq!((code, &report["good"]), (0, &true.into()), "{report:#}");
    }
    assert_eq!(verify(&["--object", &format!("audit.7/{name}")]).0, 2);
    let backwards = verify(&["--from", "2026-11-21T10:00:00Z", "--to", "2026-11-21T09:00:00Z"]);
    assert!(backwards.0 == 2 && backwards.2.contains("`--from` is not before `--to`"), "{backwards:?}");

    // A state is noted, is of this archive alone, and is gone at the end.
    let state = sealed.path("state").display().to_string();
    let bytes = fs::read(&object).unwrap();
    fs::write(&object, [&bytes[..], b"x"].concat()).unwrap();
    assert_eq!(verify(&["--object", name]).0, 10);
    assert_eq!(verify(&["--resume", &state]).0, 10);
    assert!(!Path::new(&state).exists());
    fs::write(&object, bytes).unwrap();
    let question = verify(&["--resume", "/nowhere/state"]);
    assert!(question.0 == 2 && question.2.contains("/nowhere/state"), "{question:?}");
    for wrong in ["", "{}", r#"{"question":"another","mark":{"streams":[]}}"#] {
        fs::write(&state, wrong).unwrap();
        let (code, _, said) = verify(&["--resume", &state]);
        assert!(code == 2 && said.contains("the state `"), "{wrong}: {said}");
    }
}

/// Whatever is done with an archive, its beginning and its end are recorded, under the name of what was done.
#[test]
fn every_act_is_recorded_whatever_it_is() {
    let sealed = Sealed::of(5);
    let event = ids(&sealed.sealed()).remove(0);
    let archive = sealed.path("archive").display().to_string();
    let (stream, key) = (format!("{archive}/audit"), sealed.path("data/sealing/audit/vkey-1").display().to_string());
    let (export, parquet) =
        (sealed.path("out.ndjson").display().to_string(), sealed.path("parquet").display().to_string());
    let set = sealed.text(&["archive", "hold", "set", &stream, "--reason", "case 7", "--json"]);
    let hold = serde_json::from_str::<Value>(&set).unwrap()["id"].as_str().unwrap().to_owned();
    let log = || fs::read_to_string(sealed.path("data/custody-log.ndjson")).unwrap();
    // Showing all, and the hold.
    let mut told = log().lines().count();
    assert_eq!(told, 4);
    let acts: &[(&str, &[&str])] = &[
        ("read", &["archive", "ls", &archive]),
        ("read", &["archive", "stat", &archive]),
        ("read", &["archive", "cat", &archive]),
        ("export", &["archive", "prove", &stream, &event]),
        ("export", &["archive", "compact", &archive, "--out", &parquet]),
        ("verify", &["verify", &archive, "--key", &key]),
        ("verify", &["verify", &archive, "--key", "no key"]),
        ("reconcile", &["reconcile", &export, "--archive", &archive]),
        ("replay", &["replay", "--to-sink", "again", "--dry-run"]),
        ("replay", &["replay", "--to-sink", "again"]),
        ("hold", &["archive", "hold", "clear", &stream, &hold, "--reason", "settled"]),
        ("close", &["archive", "close", "--sink", "audit", "--reason", "the end"]),
    ];
    for (action, arguments) in acts {
        let output = sealed.run(arguments);
        let log = log();
        let new: Vec<Value> = log.lines().skip(told).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(new.len(), 2, "{arguments:?}: {output:?}: {new:#?}");
        assert!(new.iter().all(|act| act["action"] == *action && act["id"] == new[0]["id"]), "{arguments:?}: {new:#?}");
        assert_eq!((&new[0]["exit"], &new[1]["exit"]), (&Value::Null, &output.status.code().into()), "{arguments:?}");
        told += 2;
    }
}

/// Of one that was killed some events come twice, which would hide a beginning that is too late; of one that
/// was stopped none does.
#[test]
fn a_replay_that_was_stopped_goes_on_with_the_very_next_event() {
    let sealed = Sealed::of(2_000);
    let expected = ids(&sealed.sealed());
    let file = sealed.path("again.ndjson");
    fs::remove_file(&file).unwrap();
    let lines = || fs::read_to_string(&file).unwrap_or_default().lines().count();
    let arguments = ["replay", "--to-sink", "again", "--rate", "400/s"];
    let mut stops = 0;
    for _ in 0..3 {
        let before = lines();
        let child = sealed.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("some more events", WITHIN, || (lines() > before + 200).then_some(()));
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        stops += usize::from(output.status.code() == Some(69));
    }
    assert!(stops > 1, "{stops}");
    sealed.text(&arguments);
    assert_eq!(ids(&events(&fs::read_to_string(&file).unwrap())), expected);
}

#[test]
fn what_a_sink_keeps_for_a_replay_is_not_the_gateways() {
    let (sealed, silent) = (Sealed::of(5), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let (url, path) = (format!("http://{}", silent.local_addr().unwrap()), sealed.path("wharfinger.yaml"));
    let sink = format!("  s3: {{type: s3, bucket: b, endpoint: '{url}', access_key_id: k, secret_access_key: k}}\n");
    fs::write(&path, fs::read_to_string(&path).unwrap() + &sink).unwrap();
    fs::create_dir(sealed.path("data/s3")).unwrap();
    fs::write(sealed.path("data/s3/s3.cut"), "the gateway's").unwrap();
    let mut child = sealed.command(&["replay", "--to-sink", "s3"]).spawn().unwrap();
    let is_cut = |entry: fs::DirEntry| entry.path().join("s3/s3.cut").exists().then_some(());
    let cut = || fs::read_dir(sealed.path("data/replay")).ok()?.flatten().find_map(is_cut);
    eventually("the replay's own cut", WITHIN, cut);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(sealed.path("data/s3/s3.cut")).unwrap(), "the gateway's");
}
