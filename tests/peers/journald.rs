//! A real systemd-journald, in a namespace of its own, and what the gateway reads of it.

use std::fs;
use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::inventory;
use crate::support::lines::{SinkFile, text};
use crate::support::process::{Process, eventually};

const WITHIN: Duration = Duration::from_secs(60);

/// A journald that serves nobody else. All it leaves on the disk goes with it.
pub struct Journald {
    namespace: String,
    process: Process,
    /// One of a namespace ends when it has had nothing to do for half a minute, and no such stream is open.
    stream: Option<UnixStream>,
}

impl Journald {
    pub fn start() -> Journald {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let namespace = format!("wharf{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let mut command = Command::new("/lib/systemd/systemd-journald");
        let process = Process::start("systemd-journald", command.arg(&namespace));
        let mut journald = Journald { namespace, process, stream: None };
        eventually("journald listens", WITHIN, || {
            assert!(!journald.process.has_closed_output(), "{}", journald.process.log());
            (journald.socket("socket").exists() && !journald.tell(&["--lines=1"]).is_empty()).then_some(())
        });
        journald.stream = Some(UnixStream::connect(journald.socket("stdout")).expect("a stream to journald"));
        journald
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where its sockets are: a folder of this namespace alone.
    fn folder(&self) -> PathBuf {
        Path::new("/run/systemd").join(format!("journal.{}", self.namespace))
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Sends entries of these fields; one with a line end goes as bytes.
    fn send(&self, fields: &[(&str, &str)]) {
        let mut entry = Vec::new();
        for (name, value) in fields {
            entry.extend_from_slice(name.as_bytes());
            if value.contains('\n') {
                entry.push(b'\n');
                entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
            } else {
                entry.push(b'=');
            }
            entry.extend_from_slice(value.as_bytes());
            entry.push(b'\n');
        }
        let socket = UnixDatagram::unbound().expect("unix socket");
        socket.send_to(&entry, self.socket("socket")).expect("send to journald");
    }

    /// Runs journalctl on the namespace; answers its stdout.
    fn tell(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("journalctl");
        command.arg(format!("--namespace={}", self.namespace)).args(["--quiet", "--no-pager"]).args(arguments);
        let output = command.output().expect("run journalctl; run tests/setup-peers");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until that is in the journal.
    fn has(&self, message: &str) {
        let wanted = format!("MESSAGE={message}");
        eventually("journald has written it", WITHIN, || {
            (!self.tell(&[&wanted, "--output=cat", "--lines=1"]).is_empty()).then_some(())
        });
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        self.process.kill();
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        for folder in ["/var/log/journal", "/run/log/journal"] {
            let own = Path::new(folder).join(format!("{}.{}", machine.trim(), self.namespace));
            // It is in one of them.
            let _ = fs::remove_dir_all(own);
        }
        let _ = fs::remove_dir_all(self.folder());
    }
}

fn gateway(folder: &Path, journald: &Journald, options: &str) -> (Gateway, SinkFile) {
    let out = SinkFile::in_folder(folder);
    let source = format!("{{type: journald, namespace: {}{options}}}", journald.namespace());
    let config = format!("{}sources:\n  journal: {source}\nsinks:\n{}", inventory::identity(folder), out.config());
    (Gateway::start(folder, &config), out)
}

fn is_ours(event: &Value) -> bool {
    text(event, "app") == "wharf-test"
}

/// The messages under the ids they have, each once: a sink may be given again what it had before a kill.
fn messages(out: &SinkFile) -> Vec<String> {
    let events = out.events();
    let mut by_id: Vec<_> = events
        .iter()
        .filter(|event| is_ours(event))
        .map(|event| (text(event, "event_id"), text(event, "msg")))
        .collect();
    by_id.sort_unstable();
    by_id.dedup();
    by_id.into_iter().map(|(_, message)| message.to_owned()).collect()
}

#[test]
fn entries_come_once_over_kills_and_rotations() {
    if peers_are_off() {
        return;
    }
    const ROUNDS: usize = 5;
    const LINES: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let journald = Journald::start();
    let send = |message: &str| journald.send(&[("SYSLOG_IDENTIFIER", "wharf-test"), ("MESSAGE", message)]);
    send("before the gateway");
    journald.has("before the gateway");
    let (mut gateway, out) = gateway(folder.path(), &journald, "");
    gateway
        .process()
        .wait_for("the journal", WITHIN, |line| line.contains("listening on source journal").then_some(()));
    // Until it follows, nobody knows where the end was: one that is there for sure says so.
    let mut number = 0;
    eventually("an entry arrives", WITHIN, || {
        number += 1;
        journald.send(&[("SYSLOG_IDENTIFIER", "wharf-warm"), ("MESSAGE", &format!("warm {number}"))]);
        out.events().iter().any(|event| text(event, "app") == "wharf-warm").then_some(())
    });
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        for line in 0..LINES {
            let message = format!("round {round} line {line}");
            send(&message);
            expected.push(message);
        }
        if round % 2 == 1 {
            journald.tell(&["--rotate"]);
        }
        out.wait_for(random.usize(1..=round * LINES + LINES), WITHIN, is_ours);
        gateway = gateway.kill().start();
    }
    // Whoever writes an entry chooses what stands in it, and cannot hide it as one of the gateway's own.
    let hidden = format!("two lines\n_PID={}\nlast", gateway.process().id());
    send(&hidden);
    send("the end");
    expected.extend([hidden, "the end".to_owned()]);
    out.wait_for(1, WITHIN, |event| text(event, "msg") == "the end");
    gateway.stop();
    let found = messages(&out);
    assert!(found == expected, "seed {seed}: {} of {}: {:?}", found.len(), expected.len(), found.last());
    assert!(!out.events().iter().any(|event| text(event, "event_class") == "gap"), "seed {seed}");
}

#[test]
fn what_the_journal_has_thrown_away_is_a_gap() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let journald = Journald::start();
    let send = |message: &str| journald.send(&[("SYSLOG_IDENTIFIER", "wharf-test"), ("MESSAGE", message)]);
    send("one");
    let (gateway, out) = gateway(folder.path(), &journald, ", read_from: beginning");
    out.wait_for(1, WITHIN, is_ours);
    let stopped = gateway.kill();
    send("never seen");
    journald.has("never seen");
    journald.tell(&["--rotate"]);
    // Files of before the rotation go.
    journald.tell(&["--vacuum-time=1us"]);
    send("two");
    let gateway = stopped.start();
    out.wait_for(1, WITHIN, |event| is_ours(event) && text(event, "msg") == "two");
    gateway.stop();
    assert_eq!(messages(&out), ["one", "two"]);
    let gaps = out.wait_for(1, WITHIN, |event| text(event, "event_class") == "gap");
    assert!(text(&gaps[0], "reason").starts_with("the journal no longer has the last entry"), "{}", gaps[0]);
}

/// Sends a line of a daemon on one of its ways, and waits until the gateway says that Docker runs on that machine.
fn is_a_sign_of_life(source: &str, class: &str, send: impl Fn(&Path, &Gateway)) {
    let folder = tempfile::tempdir().unwrap();
    let out = SinkFile::in_folder(folder.path());
    let policy = "policy:\n  groups:\n    default: {docker: forbidden}\n";
    let source = source.replace("FOLDER", &folder.path().display().to_string());
    let identity = inventory::identity(folder.path());
    let config = format!("{identity}{policy}sources:\n  in: {source}\nsinks:\n{}", out.config());
    let gateway = Gateway::start(folder.path(), &config);
    let sign = eventually("a sign of life", WITHIN, || {
        send(folder.path(), &gateway);
        out.events().into_iter().find(|event| text(event, "source") == "in" && text(event, "event_class") == class)
    });
    assert_eq!(text(&sign, "vm.name"), inventory::VM_NAME, "{sign}");
    let found = out.wait_for(1, WITHIN, |event| text(event, "rule.id") == "docker_not_allowed");
    assert_eq!(text(&found[0], "vm.name"), inventory::VM_NAME);
    eventually("the machine is one that violates", WITHIN, || {
        let (_, page) = gateway.get("/api/compliance")?;
        let page: serde_json::Value = serde_json::from_str(&page).ok()?;
        (page["counts"]["violating"] == 1).then_some(())
    });
    gateway.stop();
}

#[test]
fn a_machine_that_runs_docker_is_recognised_by_its_daemons_log() {
    if peers_are_off() {
        return;
    }
    const READY: &str = r#"time="2026-11-21T09:03:20.158734145Z" level=info msg="Daemon has completed initialization""#;
    let append = |folder: &Path, line: &str| {
        let mut file = fs::File::options().create(true).append(true).open(folder.join("messages")).unwrap();
        writeln!(file, "{line}").unwrap();
    };
    let file = "{type: file, include: [FOLDER/messages], poll_interval: 100ms}";
    is_a_sign_of_life(file, "daemon.ready", |folder, _| append(folder, READY));
    // As rsyslog writes it, in words of 2015.
    let old = r#"Oct 28 05:14:24 HOST docker: time="2015-10-28T05:14:24-04:00" level=info msg="+job log(create, 93c6fb73baeb88edc113dbb3f80b139679c3ef7436c598163a2b0aae95ac8192, web:1)""#;
    is_a_sign_of_life(file, "container.create", |folder, _| append(folder, old));
    let bridge = "Default bridge (docker0) is assigned with an IP address 172.17.0.0/16";
    is_a_sign_of_life(
        "{type: syslog, mode: tcp, address: 127.0.0.1:0, identity: local}",
        "daemon.bridge",
        |_, gateway| {
            let mut stream = std::net::TcpStream::connect(gateway.address("in", "tcp")).unwrap();
            writeln!(
                stream,
                "<30>Oct 28 05:14:24 HOST dockerd[7]: time=\"2026-11-21T09:03:20Z\" level=info msg=\"{bridge}\""
            )
            .unwrap();
        },
    );
    let journald = Journald::start();
    let source = format!("{{type: journald, namespace: {}}}", journald.namespace());
    is_a_sign_of_life(&source, "daemon.ready", |folder, _| {
        // The journal's own word on who writes is the name of the program.
        let dockerd = folder.join("dockerd");
        if !dockerd.exists() {
            fs::copy("/usr/bin/logger", &dockerd).unwrap();
        }
        let mut command = Command::new(dockerd);
        let status = command.arg("--socket").arg(journald.socket("dev-log")).args(["--tag", "dockerd", READY]).status();
        assert!(status.unwrap().success());
    });
}

/// Sends entries to journald, whose fields and values are its arguments, and stays until its input ends.
const SENDER: &str = "
import socket, sys
out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for entry in sys.argv[2:]:
    out.sendto(entry.encode() + b'\\n', sys.argv[1])
sys.stdin.read()
";

#[test]
fn parts_of_a_line_that_docker_has_cut_are_one_event() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let journald = Journald::start();
    let (gateway, out) = gateway(folder.path(), &journald, ", read_from: beginning");
    let part = |ordinal: usize, is_last: bool| {
        let text = format!("{ordinal}{}", "x".repeat(16_000));
        let flag = if is_last { "" } else { "CONTAINER_PARTIAL_MESSAGE=true\n" };
        format!(
            "SYSLOG_IDENTIFIER=wharf-test\nCONTAINER_ID_FULL=93c6fb73baeb\n{flag}CONTAINER_PARTIAL_ID=ab\n\
             CONTAINER_PARTIAL_ORDINAL={ordinal}\nCONTAINER_PARTIAL_LAST={is_last}\nMESSAGE={text}"
        )
    };
    let between = "SYSLOG_IDENTIFIER=wharf-test\nMESSAGE=between".to_owned();
    let entries = [part(1, false), between.clone(), part(2, false), part(3, true)];
    let run = |name: &str| {
        // What journald says of who writes is the name of the program.
        let program = folder.path().join(name);
        std::os::unix::fs::symlink("/usr/bin/python3", &program).unwrap();
        let mut command = Command::new(program);
        command.args(["-c", SENDER]).arg(journald.socket("socket")).args(&entries);
        command.stdin(std::process::Stdio::piped()).spawn().unwrap()
    };
    let lengths = || {
        let mut lengths: Vec<usize> = messages(&out).iter().map(String::len).collect();
        lengths.sort_unstable();
        lengths
    };
    let mut sender = run("dockerd");
    eventually("the line is there", WITHIN, || (lengths() == ["between".len(), 3 * 16_001]).then_some(()));
    drop(sender.stdin.take());
    assert!(sender.wait().unwrap().success());
    let line = out.wait_for(1, WITHIN, |event| text(event, "msg").len() > 16_001).remove(0);
    assert_eq!((text(&line, "event_class"), text(&line, "container.id")), ("container.log", "93c6fb73baeb"));
    assert_eq!(line["fields"].get("docker.partial"), None, "{}", line["fields"]);

    // Whoever else says so only says so: nothing joins.
    let mut sender = run("other");
    eventually("all of them are there", WITHIN, || (lengths().len() == 6).then_some(()));
    drop(sender.stdin.take());
    assert!(sender.wait().unwrap().success());
    assert_eq!(lengths(), ["between".len(), "between".len(), 16_001, 16_001, 16_001, 3 * 16_001]);
    gateway.stop();
}
