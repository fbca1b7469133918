//! An Engine that is restarted has forgotten its events: a gap, what it has then, and its new events.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::gateway::Gateway;
use crate::support::lines::{SinkFile, text};
use crate::support::process::Process;
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
