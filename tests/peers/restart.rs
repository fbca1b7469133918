//! An Engine that is restarted has forgotten its events: a gap, what it has then, and its new events. One that drops
//! events for its reader remembers them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::lines::{SinkFile, text};
use crate::support::process::{Process, eventually};
use crate::{peers_are_off, shared};

const WITHIN: Duration = Duration::from_secs(60);

/// An Engine that serves this test alone.
struct Engine {
    folder: PathBuf,
}

impl Engine {
    fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    fn start(&self) -> Process {
        let mut command = Command::new("dockerd");
        for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "docker.pid")] {
            command.arg(option).arg(self.folder.join(name));
        }
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--shutdown-timeout=5"]);
        let process = Process::start("dockerd", &mut command);
        process.wait_for("the API", WITHIN, |line| line.contains("API listen on").then_some(()));
        process
    }

    fn make_volume(&self, name: &str) {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        let output = command.args(["volume", "create", name]).output().expect("run docker");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The API of an Engine, for what has to be quick.
struct Api(BufReader<UnixStream>);

impl Api {
    /// Makes a volume; answers how long that took.
    fn make_volume(&mut self, name: &str) -> Duration {
        let body = format!("{{\"Name\":\"{name}\"}}");
        let head = "POST /volumes/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length";
        let began = Instant::now();
        write!(self.0.get_mut(), "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.contains(" 201 "), "{line}");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            length = line.strip_prefix("Content-Length: ").map_or(length, |length| length.trim().parse().unwrap());
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
        began.elapsed()
    }
}

fn gateway(folder: &Path, engine: &Engine) -> (Gateway, SinkFile) {
    let out = SinkFile::in_folder(folder);
    let source = format!("{{type: docker, socket: {}, inspect: false}}", engine.socket().display());
    (Gateway::start(folder, &format!("sources:\n  engine: {source}\nsinks:\n{}", out.config())), out)
}

#[test]
fn a_restarted_engine_leaves_a_gap_and_is_told_of_anew() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine { folder: shared::folder("restart") };
    let mut process = engine.start();
    let (gateway, out) = gateway(folder.path(), &engine);
    gateway.process().wait_for("the Engine", WITHIN, |line| line.contains("connected to the engine").then_some(()));
    engine.make_volume("before");
    out.wait_for(1, WITHIN, |event| text(event, "event_class") == "volume.create");

    process.terminate(WITHIN);
    let lost = |line: &str| line.contains("no events until the engine can be reached").then_some(());
    gateway.process().wait_for("that the Engine is gone", WITHIN, lost);
    let mut process = engine.start();
    let whole = out.wait_for(1, WITHIN, |event| text(event, "event_class") == "docker.snapshot").remove(0);
    assert_eq!((text(&whole, "outcome"), &whole["fields"]["snapshot.volume"]), ("success", &1.into()), "{whole}");
    let gap = out.wait_for(1, WITHIN, |event| text(event, "event_class") == "gap").remove(0);
    assert!(text(&gap, "reason").contains("it was restarted, or had over 256 since"), "{gap}");
    assert_eq!(text(&whole, "msg"), text(&gap, "reason"));
    let volume = out.wait_for(1, WITHIN, |event| text(event, "event_class") == "volume.snapshot").remove(0);
    assert_eq!(volume["fields"]["snapshot.volume"], "before", "{volume}");

    engine.make_volume("after");
    out.wait_for(2, WITHIN, |event| text(event, "event_class") == "volume.create");
    gateway.stop();
    process.terminate(WITHIN);
    // What is still mounted there goes with the next run.
    let _ = fs::remove_dir_all(&engine.folder);
}

/// An Engine gives its reader 100 ms to take an event, and drops it then. No gap: it still knows what it dropped.
#[test]
fn what_an_engine_dropped_is_taken_from_its_memory() {
    if peers_are_off() {
        return;
    }
    /// One call may be slow for another reason, so many after one another are not,
    const DROPPED: usize = 20;
    /// unless the Engine has not even filled what it holds for a reader: 1,024 events, and the socket some 300.
    const HELD: usize = 1400;
    /// It remembers 256, other events among them.
    const REMEMBERED: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine { folder: shared::folder("dropped") };
    let mut process = engine.start();
    let (gateway, out) = gateway(folder.path(), &engine);
    gateway.process().wait_for("the Engine", WITHIN, |line| line.contains("connected to the engine").then_some(()));
    engine.make_volume("first");
    out.wait_for(1, WITHIN, |event| text(event, "event_class") == "volume.create");

    gateway.process().signal("STOP");
    let mut api = Api(BufReader::new(UnixStream::connect(engine.socket()).unwrap()));
    let (mut slow, mut in_a_row) = (BTreeSet::new(), 0);
    let mut made = 0;
    while in_a_row < DROPPED || made < HELD {
        let is_slow = api.make_volume(&format!("volume-{made}.")) > Duration::from_millis(100);
        in_a_row = if is_slow { in_a_row + 1 } else { 0 };
        if is_slow {
            slow.insert(made);
        }
        made += 1;
        assert!(made < 20_000, "the Engine never waited for its reader");
    }
    gateway.process().signal("CONT");
    let come = || {
        let mut come = BTreeMap::new();
        let volumes = out.events().into_iter().filter(|event| text(event, "event_class") == "volume.create");
        let number = |event: Value| event.to_string().split_once("volume-")?.1.split_once('.')?.0.parse::<usize>().ok();
        volumes.filter_map(number).for_each(|number| *come.entry(number).or_insert(0) += 1);
        come
    };
    // An Engine that is short of CPU may have dropped one before, and then it remembers that no more.
    let remembered = made - REMEMBERED..made;
    eventually("all that it remembers", WITHIN, || {
        let come = come();
        remembered.clone().all(|number| come.contains_key(&number)).then_some(())
    });
    let told = |line: &str| line.contains("the engine has not sent events that it remembers").then_some(());
    gateway.process().wait_for("that it was so", WITHIN, told);
    gateway.stop();
    let come = come();
    assert!(come.values().all(|times| *times == 1), "each once: {come:?}");
    let lost: Vec<usize> = (0..made).filter(|number| !come.contains_key(number)).collect();
    assert!(lost.iter().all(|number| slow.contains(number)), "{lost:?} of {made} never came");
    assert!(out.events().iter().all(|event| text(event, "event_class") != "gap"));
    println!("{} of {made} events were dropped, {} lost", slow.len(), lost.len());
    process.terminate(WITHIN);
    fs::remove_dir_all(&engine.folder).unwrap();
}
