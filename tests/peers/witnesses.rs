//! A witness written from its specification alone (`witness.py`): signs checkpoints of a stream that only
//! grows, and none of one that was forked.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::peers_folder;
use crate::support::process::{Process, eventually};

const WITHIN: Duration = Duration::from_secs(60);
const CONFIG: &str = "sources:\n  in: {type: syslog, mode: tcp, address: 127.0.0.1:0}\nsinks:\n  \
                      audit: {type: archive, path: ARCHIVE, max_age: 200ms, witnesses: \
                      [{url: 'http://127.0.0.1:PORT/log', vkey: 'VKEY'}]}\n  \
                      out: {type: file, path: OUT}\n";

struct Witness {
    folder: tempfile::TempDir,
    process: Process,
    vkey: String,
    port: u16,
}

impl Witness {
    fn start() -> Witness {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("logs"), "").unwrap();
        let mut command = Command::new(peers_folder().join("venv/bin/python"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/witness.py")).arg(folder.path());
        let process = Process::start("witness", &mut command);
        let port = |line: &str| line.strip_prefix("port ").map(|port| port.parse().unwrap());
        let port = process.wait_for("the port of the witness", WITHIN, port);
        let vkey = process.lines()[0].clone();
        Witness { folder, process, vkey, port }
    }

    fn asked(&self) -> Vec<serde_json::Value> {
        let lines = fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A gateway's folder, which may be copied.
struct Place {
    folder: tempfile::TempDir,
    config: String,
}

impl Place {
    fn new(folder: tempfile::TempDir, witness: &Witness) -> Place {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = CONFIG.replace("ARCHIVE", &path("archive")).replace("OUT", &path("out.ndjson"));
        let config = config.replace("PORT", &witness.port.to_string()).replace("VKEY", &witness.vkey);
        Place { folder, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Gateway {
        Gateway::start(self.folder.path(), &self.config)
    }

    /// Events in objects of their own, and a checkpoint, which is made when the gateway stops.
    fn grow(&self, objects: usize, what: &str) {
        let gateway = self.start();
        let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
        let seals = || fs::read_dir(self.path("archive/audit/seal")).map_or(0, Iterator::count);
        for object in 0..objects {
            let before = seals();
            writeln!(stream, "<134>1 2026-11-21T09:05:11.123456Z vm-1 app - - - {what} {object}").unwrap();
            eventually("one more seal", WITHIN, || (seals() > before).then_some(()));
        }
        gateway.stop();
    }

    /// The newest checkpoint, and the files of witnesses beside it.
    fn newest(&self) -> (PathBuf, Vec<PathBuf>) {
        let entries = fs::read_dir(self.path("archive/audit/checkpoint")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let newest = paths.iter().rfind(|path| path.extension().is_none()).unwrap().clone();
        paths.retain(|path| path.extension().is_some() && path.with_extension("") == newest);
        (newest, paths)
    }

    /// Runs the gateway until the newest checkpoint is signed.
    fn cosign(&self) -> PathBuf {
        let before = self.newest().0;
        let gateway = self.start();
        let signed = eventually("the witness signs", WITHIN, || {
            let name = before.file_name().unwrap().to_str().unwrap().to_owned();
            let entries = fs::read_dir(before.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
            // While it is written, it has another beginning.
            let is_signed =
                |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}.witness-"));
            entries.into_iter().find(is_signed)
        });
        gateway.stop();
        signed
    }

    fn said(&self, what: &str) -> Option<()> {
        let lines = fs::read_to_string(self.path("out.ndjson")).unwrap_or_default();
        lines.lines().any(|line| line.contains("archive.witness") && line.contains(what)).then_some(())
    }

    fn key(&self) -> String {
        fs::read_to_string(self.path("data/sealing/audit/vkey-1")).unwrap().trim().to_owned()
    }

    fn verify(&self, witness: &str, end: Option<&str>) -> (i32, String) {
        let mut ours = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        ours.arg("verify").arg(self.path("archive")).args(["--key", &self.key(), "--witness", witness]);
        ours.args(end.iter().flat_map(|end| ["--end", end]));
        let ours = ours.output().unwrap();
        let text = [ours.stdout, ours.stderr].concat();
        (ours.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    }

    fn script(&self) -> Option<i32> {
        let mut script = Command::new(peers_folder().join("venv/bin/python"));
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py")).arg(self.path("archive/audit"));
        script.args([&self.key(), "now"]).output().unwrap().status.code()
    }

    fn close(&self) -> (i32, String) {
        let mut close = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        close.args(["archive", "close", "--sink", "audit", "--reason", "moved", "--config"]);
        let close = close.arg(self.path("wharfinger.yaml")).output().unwrap();
        (close.status.code().unwrap(), String::from_utf8_lossy(&close.stderr).into_owned())
    }
}

#[test]
fn a_witness_signs_what_only_grows_and_no_fork() {
    if peers_are_off() {
        return;
    }
    let witness = Witness::start();
    let place = Place::new(tempfile::tempdir().unwrap(), &witness);
    place.grow(3, "before");

    // It does not know the stream yet: what its operator is to add is said.
    let gateway = place.start();
    eventually("the witness does not know it", WITHIN, || place.said("status 404"));
    gateway.stop();
    let log = fs::read_to_string(place.path("data/sealing/audit/log-vkey-audit")).unwrap();
    assert!(place.said(log.trim()).is_some());
    fs::write(witness.folder.path().join("logs"), &log).unwrap();
    place.cosign();

    // From then on each is proved to go on from the last.
    let fork = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(place.path(".")).arg(fork.path()).status().unwrap();
    assert!(copied.success());
    place.grow(4, "after");
    let signed = place.cosign();
    let asked = witness.asked().pop().unwrap();
    assert!(asked["status"] == 200 && asked["old"].as_u64() > Some(0) && asked["proof"].as_u64() > Some(0), "{asked}");
    let (code, text) = place.verify(&witness.vkey, None);
    assert!(code == 0 && text.contains("witness.test/one has signed the first"), "{code}: {text}");
    assert_eq!(place.script(), Some(0));

    // The state of the gateway that says what the witness has seen is lost: it says so itself.
    let remembered = fs::read_dir(place.path("data/sealing/audit")).unwrap().map(|entry| entry.unwrap().path());
    let remembered = remembered.into_iter().find(|path| path.to_str().unwrap().contains("audit/witness-")).unwrap();
    fs::remove_file(remembered).unwrap();
    place.grow(1, "more");
    place.cosign();
    let statuses: Vec<_> = witness.asked().iter().map(|asked| asked["status"].as_u64().unwrap()).collect();
    assert!(statuses.ends_with(&[409, 200]), "{statuses:?}");

    // What was copied goes on in another way: first shorter than what the witness knows, then longer.
    let fork = Place::new(fork, &witness);
    fork.grow(1, "forked");
    let gateway = fork.start();
    eventually("it is shorter", WITHIN, || fork.said("the stream was cut back or forked"));
    gateway.stop();
    fork.grow(12, "forked");
    let gateway = fork.start();
    eventually("it is another", WITHIN, || fork.said("another stream than it has seen: a fork"));
    gateway.stop();
    assert_eq!(witness.asked().pop().unwrap()["status"], 422);
    let (code, text) = fork.close();
    assert!(code == 69 && text.contains("the archive is closed; the witness `witness.test/one`"), "{code}: {text}");
    assert_eq!(fork.newest().1, Vec::<PathBuf>::new());
    // Its own keys have signed it, and it is closed: only the witness tells.
    let late = Some("2099-01-01T00:00:00Z");
    assert_eq!(fork.script(), Some(0));
    let (code, text) = fork.verify(&witness.vkey, late);
    assert!(code == 13 && text.contains("has signed none since"), "{code}: {text}");
    // Nor does it help to leave out the checkpoints that are not signed.
    let entries = fs::read_dir(fork.path("archive/audit/checkpoint")).unwrap().map(|entry| entry.unwrap().path());
    let names: Vec<PathBuf> = entries.collect();
    let signed_one = |path: &&PathBuf| {
        path.extension().is_none() && !names.iter().any(|other| other.with_extension("") == **path && other != *path)
    };
    names.iter().filter(signed_one).for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!((fork.script(), fork.verify(&witness.vkey, late).0), (Some(0), 13));
    // Who closes an archive is told that its end is not signed; he asks again with the same command.
    fs::write(witness.folder.path().join("logs"), "").unwrap();
    let (code, text) = place.close();
    assert!(code == 69 && text.contains("status 404") && text.contains("the same command again"), "{code}: {text}");
    assert_eq!(place.verify(&witness.vkey, late).0, 13);
    fs::write(witness.folder.path().join("logs"), &log).unwrap();
    assert_eq!(place.close().0, 0);
    assert_eq!(place.verify(&witness.vkey, late).0, 0);

    // Signatures that are none.
    let other = Witness::start();
    assert_eq!(place.verify(&other.vkey, None).0, 13);
    let text = fs::read_to_string(&signed).unwrap();
    let mut bad = text.clone().into_bytes();
    let middle = bad.len() - 20;
    bad[middle] = if bad[middle] == b'A' { b'B' } else { b'A' };
    let bad = String::from_utf8(bad).unwrap();
    for (text, fault) in [(bad, 13), (text.replacen("audit\n", "audit2\n", 1), 10), ("hello".to_owned(), 10)] {
        fs::write(&signed, &text).unwrap();
        assert_eq!(place.verify(&witness.vkey, None).0, fault, "{text}");
    }
    drop(witness.process);
}
