//! Every action of a container's life, driven through a real Engine, against a golden table of what comes out:
//! class, action, outcome, container, image, exit code, rule of Wazuh, and the line of CEF.
//!
//! `BLESS=1` writes the table anew; the difference is to be reviewed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::docker::{Engine, IMAGE};
use crate::support::gateway::Gateway;
use crate::support::inventory;
use crate::support::lines::{SinkFile, text};
use crate::support::process::Process;
use crate::{docker, peers_are_off};

const WITHIN: Duration = Duration::from_secs(60);
/// How long is waited for an event that the Engine may have dropped.
const LATE: Duration = Duration::from_secs(30);
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/lifecycle.golden");

/// What no two runs have in common, by its key in CEF.
const OWN_EACH_TIME: &[&str] =
    &["rt", "dvchost", "dhost", "peer", "deviceCustomDate1", "externalId", "deviceExternalId"];

/// The life of four containers, an image, a volume and a network.
fn drive(engine: &Engine, folder: &Path, out: &SinkFile) {
    let file = |name: &str| folder.join(name).display().to_string();
    let (saved, exported, imported) = (file("saved.tar"), file("exported.tar"), file("imported.tar"));
    let label = ["--label", "cycle=1"];
    let run = |name: &str, options: &[&str], script: &str| {
        let named = ["run", "--network", "none", "--name", name];
        engine.command(&[&named, &label[..], options, &[IMAGE, "sh", "-c", script]].concat())
    };
    // It ends as it ends.
    let end = |mut command: Command| command.output().expect("run docker");
    let docker = |line: &str| engine.docker(&line.split(' ').collect::<Vec<_>>());
    docker("volume create --label cycle=1 cycle-data");
    docker("network create --label cycle=1 cycle-net");
    docker(&format!("create --network none --name cycle --label cycle=1 --volume cycle-data:/data {IMAGE} sleep 600"));
    for line in [
        "start cycle",
        "pause cycle",
        "unpause cycle",
        "exec cycle echo in the container",
        "top cycle",
        "rename cycle cycle-new",
        "update --cpu-shares 512 cycle-new",
        "restart --time 1 cycle-new",
        "stop --time 1 cycle-new",
        "start cycle-new",
        "kill --signal KILL cycle-new",
        "commit --message why cycle-new cycle-image:1",
        "tag cycle-image:1 cycle-image:2",
        "rmi cycle-image:2",
    ] {
        docker(line);
    }
    docker(&format!("export --output {exported} cycle-new"));
    docker(&format!("cp cycle-new:/bin/true {}", file("copied")));
    docker(&format!("cp {} cycle-new:/copied", file("copied")));
    docker(&format!("save --output {saved} cycle-image:1"));
    docker("rmi cycle-image:1");
    docker(&format!("load --input {saved}"));
    fs::copy(&exported, &imported).unwrap();
    docker(&format!("import {imported} cycle-image:3"));
    end(run("cycle-exit", &[], "exit 7"));
    run_out_of_memory(folder, out, |options, script| run("cycle-oom", options, script));
    end(run("cycle-gone", &["--rm"], "true"));
    for line in [
        "rm cycle-exit",
        "rm cycle-oom",
        "container prune --force --filter label=cycle",
        "rmi cycle-image:1",
        "rmi cycle-image:3",
        "image prune --force --filter label=cycle",
        "volume rm cycle-data",
        "volume prune --force --filter label=cycle",
        "network rm cycle-net",
        "network prune --force --filter label=cycle",
    ] {
        docker(line);
    }
}

/// A container whose memory runs out again and again until that was told. Not once: containerd listens for it only
/// when the container runs already, and stops before it ends.
fn run_out_of_memory(folder: &Path, out: &SinkFile, run: impl Fn(&[&str], &str) -> Command) {
    let told = folder.join("told");
    fs::create_dir(&told).unwrap();
    let hog = "until [ -e /told/oom ]; do \
               (x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done); code=$?; sleep 0.5; done; exit $code";
    let mount = format!("{}:/told", told.display());
    let mut command = run(&["--memory", "8m", "--volume", &mount], hog);
    let mut container = Process::start("docker run", &mut command);
    out.wait_for(1, WITHIN, |event| text(event, "event_class") == "container.oom");
    fs::write(told.join("oom"), "").unwrap();
    assert_eq!(container.wait().code(), Some(137), "{}", container.log());
}

fn is_ours(event: &Value) -> bool {
    // Other tests share the Engine; none of them prunes.
    let is_prune = text(event, "event_class").ends_with(".prune");
    text(event, "source") == "engine" && (is_prune || event.to_string().contains("cycle"))
}

/// That memory ran out is told once or more often.
fn is_counted(event: &Value) -> bool {
    text(event, "event_class") != "container.oom"
}

/// How many events the table has.
fn promised(table: &str) -> usize {
    let rows =
        table.lines().filter_map(|line| line.split_once(" x ")).filter(|(_, row)| !row.starts_with("container.oom"));
    rows.filter_map(|(count, _)| count.parse::<usize>().ok()).sum()
}

/// The row of an event: ids, times and what else differs each time is `#`.
fn row(event: &Value, cef: &str, wazuh: &Value) -> String {
    let exit = event.get("exit_code").map_or_else(String::new, ToString::to_string);
    let cells = [
        text(event, "event_class"),
        text(event, "action"),
        text(event, "outcome"),
        text(event, "container.name"),
        text(event, "image.ref"),
        &exit,
        &format!("{}/{}", text(&wazuh["rule"], "id"), wazuh["rule"]["level"]),
    ];
    let cef = &cef[cef.find("CEF:0|").expect("CEF")..];
    let words: Vec<String> = cef.split(' ').map(plain).collect();
    format!("{}\n    {}", cells.map(|cell| if cell.is_empty() { "-" } else { cell }).join(" | "), words.join(" "))
}

fn plain(word: &str) -> String {
    if let Some((key, _)) = word.split_once('=').filter(|(key, _)| OWN_EACH_TIME.contains(key)) {
        return format!("{key}=#");
    }
    let mut plain = String::new();
    let mut run = String::new();
    for letter in word.chars().chain(['\0']) {
        if letter.is_ascii_hexdigit() {
            run.push(letter);
            continue;
        }
        // Ids of 12 and of 64 digits, nanoseconds.
        plain.push_str(if run.len() >= 12 { "#" } else { &run });
        run.clear();
        plain.push(letter);
    }
    plain.trim_end_matches('\0').to_owned()
}

#[test]
fn the_whole_life_of_containers_and_images_comes_out_as_it_should() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let out = SinkFile::in_folder(folder.path());
    let path = |name: &str| folder.path().join(name);
    let config = format!(
        "{}sources:\n  engine: {{type: docker, socket: {}, inspect: false}}\nsinks:\n{}  cef: {{type: file, path: {}, \
         format: cef}}\n  wazuh: {{type: file, path: {}, format: wazuh}}\n",
        inventory::identity(folder.path()),
        engine.socket().display(),
        out.config(),
        path("out.cef").display(),
        path("out.wazuh").display()
    );
    let gateway = Gateway::start(folder.path(), &config);
    gateway.process().wait_for("the Engine", WITHIN, |line| line.contains("connected to the engine").then_some(()));
    drive(&engine, folder.path(), &out);
    out.wait_for(1, WITHIN, |event| text(event, "event_class") == "network.prune");
    // An Engine that is short of CPU drops an event now and then; what it remembers of them comes ten seconds later.
    let golden = fs::read_to_string(GOLDEN).unwrap_or_default();
    let (promised, began) = (promised(&golden), Instant::now());
    while out.events().iter().filter(|event| is_ours(event) && is_counted(event)).count() < promised
        && began.elapsed() < LATE
    {
        thread::sleep(Duration::from_millis(200));
    }
    gateway.stop();

    let mut events = out.events();
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    let (cef, wazuh) = (read("out.cef"), read("out.wazuh"));
    let wazuh: Vec<Value> = wazuh.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Each sink gets every event, in the order of the journal.
    assert_eq!((events.len(), events.len()), (cef.lines().count(), wazuh.len()));
    let all = events.iter().zip(cef.lines()).zip(&wazuh);
    let rows: Vec<String> =
        all.filter(|((event, _), _)| is_ours(event)).map(|((event, cef), wazuh)| row(event, cef, wazuh)).collect();

    // What the Engine does at the same time it tells in any order, and that memory ran out once or more often.
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter().for_each(|row| *counted.entry(row).or_default() += 1);
    let many = |row: &str, count: usize| if row.starts_with("container.oom") { 1 } else { count };
    let table: String = counted.iter().map(|(row, count)| format!("{} x {row}\n", many(row, *count))).collect();
    let golden = match std::env::var_os("BLESS") {
        Some(_) => fs::write(GOLDEN, &table).map(|()| table.clone()).unwrap(),
        None => golden,
    };
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (found, expected) = (lines(&table), lines(&golden));
    let new: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    assert!(found == expected, "not in the table: {new:#?}\nmissing: {missing:#?}");

    // One after the other it happened.
    events.sort_by(|one, other| text(one, "time").cmp(text(other, "time")));
    let actions: Vec<&str> = events
        .iter()
        .filter(|event| matches!(text(event, "container.name"), "cycle" | "cycle-new"))
        .map(|event| text(event, "action"))
        .collect();
    let told = "create start pause unpause exec_create exec_start exec_die top rename update restart start kill die \
                commit export archive-path extract-to-dir destroy";
    let mut rest = actions.iter();
    for action in told.split_whitespace() {
        assert!(rest.any(|told| *told == action), "`{action}` in {actions:?}");
    }
}
