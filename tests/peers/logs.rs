//! What containers of a real Engine write, through its API.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::docker::Engine;
use crate::support::gateway::Gateway;
use crate::support::inventory;
use crate::support::lines::{SinkFile, text};
use crate::{docker, peers_are_off};

const WITHIN: Duration = Duration::from_secs(60);

/// A gateway that reads what containers of that name write, and the file it writes to.
fn gateway(folder: &Path, engine: &Engine, names: &str) -> (Gateway, SinkFile) {
    let out = SinkFile::in_folder(folder);
    let config = format!(
        "{}sources:\n  engine: {{type: docker, socket: {}, inspect: false, logs: all, include: {{names: [{names}]}}}}\n\
         sinks:\n{}",
        inventory::identity(folder),
        engine.socket().display(),
        out.config()
    );
    (Gateway::start(folder, &config), out)
}

fn is_line(event: &Value) -> bool {
    text(event, "event_class") == "container.log"
}

fn lines_of<'e>(events: &'e [Value], name: &str) -> Vec<&'e str> {
    let of_container = |event: &&Value| is_line(event) && text(event, "container.name") == name;
    events.iter().filter(of_container).map(|event| text(event, "msg")).collect()
}

#[test]
fn lines_parts_and_terminals_come_whole() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let long = "x".repeat(40_000);
    let script = "printf '%40000s\\n' '' | tr ' ' x; echo out; echo; printf 'no end'; exec sleep 600";
    for (name, terminal) in [("says-plain", false), ("says-typed", true)] {
        let options = ["--detach", "--name", name, "--tty"];
        engine.run(&options[..if terminal { 4 } else { 3 }], &["sh", "-c", script]);
    }
    engine.run(&["--name", "says-err"], &["sh", "-c", "echo to-out; echo to-err >&2"]);
    let (gateway, out) = gateway(folder.path(), &engine, "\"says-*\"");
    let events = out.wait_for(8, WITHIN, is_line);
    for name in ["says-plain", "says-typed"] {
        // The last line is open while the container runs.
        assert_eq!(lines_of(&events, name), [&long, "out", ""], "{name}");
        engine.docker(&["kill", name]);
    }
    let events = out.wait_for(10, WITHIN, is_line);
    for name in ["says-plain", "says-typed"] {
        assert_eq!(lines_of(&events, name).last(), Some(&"no end"), "{name}");
    }
    let mut of_err: Vec<_> = events.iter().filter(|event| text(event, "container.name") == "says-err").collect();
    of_err.sort_by_key(|event| text(event, "msg"));
    let streams: Vec<_> = of_err.iter().map(|event| (text(event, "msg"), &event["fields"]["docker.stream"])).collect();
    assert_eq!(streams, [("to-err", &Value::from("stderr")), ("to-out", &Value::from("stdout"))]);
    assert_eq!((text(of_err[0], "image.ref"), text(of_err[0], "vm.name")), (docker::IMAGE, inventory::VM_NAME));
    for name in ["says-plain", "says-typed", "says-err"] {
        engine.docker(&["rm", "--force", name]);
    }
    gateway.stop();
    assert!(!out.events().iter().any(|event| text(event, "event_class") == "gap"), "{:?}", out.events());
}

#[test]
fn a_killed_gateway_loses_and_repeats_no_line_of_a_container() {
    if peers_are_off() {
        return;
    }
    const KILLS: usize = 5;
    const LINES: usize = 8000;
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let (mut gateway, out) = gateway(folder.path(), &engine, "counts");
    // As fast as it can, and it outlives the gateway: lines are written while nobody reads.
    let script = "i=0; while [ $i -lt 8000 ]; do echo \"line $i\"; i=$((i+1)); done; echo done; exec sleep 600";
    engine.run(&["--detach", "--name", "counts"], &["sh", "-c", script]);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut seen = 0;
    for _ in 0..KILLS {
        seen += random.usize(1..1500);
        out.wait_for(seen.min(LINES), WITHIN, is_line);
        gateway = gateway.kill().start();
    }
    out.wait_for(1, WITHIN, |event| text(event, "msg") == "done");
    gateway.stop();
    let events = out.events();
    assert!(!events.iter().any(|event| text(event, "event_class") == "gap"), "seed {seed}");
    // A sink may get again what it was given before a kill, under the same id; the journal has each line once.
    let mut by_id: Vec<(&str, &str)> = events
        .iter()
        .filter(|event| is_line(event))
        .map(|event| (text(event, "event_id"), text(event, "msg")))
        .collect();
    by_id.sort_unstable();
    by_id.dedup();
    let lines: Vec<&str> = by_id.iter().map(|(_, line)| *line).collect();
    let expected: Vec<String> = (0..LINES).map(|number| format!("line {number}")).chain(["done".to_owned()]).collect();
    assert!(lines == expected, "seed {seed}: {} lines of {}", lines.len(), expected.len());
    engine.docker(&["rm", "--force", "counts"]);
}
