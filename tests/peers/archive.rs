//! The sealed archive, verified by three that share no code: the program, the Python script of the
//! documentation, and openssl with the commands of the documentation.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::peers_folder;
use crate::support::process::eventually;

const WITHIN: Duration = Duration::from_secs(60);
const CONFIG: &str = "sources:\n  in: {type: syslog, mode: tcp, address: 127.0.0.1:0}\nsinks:\n  \
                      audit: {type: archive, path: ARCHIVE, max_age: 200ms}\n  \
                      out: {type: file, path: OUT}\n";

/// An archive with some objects, closed by its gateway, and what the gateway said elsewhere about it.
struct Sealed {
    folder: tempfile::TempDir,
    key: String,
    anchor: PathBuf,
}

impl Sealed {
    fn make() -> Sealed {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = CONFIG.replace("ARCHIVE", &path("archive")).replace("OUT", &path("out.ndjson"));
        let gateway = Gateway::start(folder.path(), &config);
        let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
        let data = folder.path().join("archive/audit/data");
        // The gateway's own beginning is the first.
        for object in 0..=4 {
            eventually("one more object", WITHIN, || (files(&data).len() > object).then_some(()));
            writeln!(stream, "<134>1 2026-11-21T09:05:11.123456Z vm-{object} app - - - message {object}").unwrap();
        }
        gateway.stop();
        let key = fs::read_to_string(folder.path().join("data/sealing/audit/vkey-1")).unwrap();
        // The checkpoint of the end becomes an event, which the other sink gets with the next start.
        let gateway = Gateway::start(folder.path(), &config);
        let message = eventually("the checkpoint at the other sink", WITHIN, || {
            let lines = fs::read_to_string(folder.path().join("out.ndjson")).ok()?;
            let line = lines.lines().find(|line| line.contains("archive.checkpoint"))?;
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            Some(event["msg"].as_str().unwrap().to_owned())
        });
        gateway.stop();
        let anchor = folder.path().join("anchor");
        fs::write(&anchor, message).unwrap();
        Sealed { folder, key: key.trim().to_owned(), anchor }
    }

    /// The same, to be tampered with.
    fn copy(&self) -> Sealed {
        let folder = tempfile::tempdir().unwrap();
        let copied =
            Command::new("cp").arg("-a").arg(self.folder.path().join(".")).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        let anchor = folder.path().join("anchor");
        Sealed { folder, key: self.key.clone(), anchor }
    }

    fn stream(&self) -> PathBuf {
        self.folder.path().join("archive/audit")
    }

    /// The file of a seal.
    fn seal(&self, seq: usize) -> PathBuf {
        self.stream().join(format!("seal/{seq:012}"))
    }

    /// What the program and the script answer: the same exit code.
    fn verdict(&self, end: &str) -> i32 {
        let mut ours = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        ours.arg("verify").arg(self.folder.path().join("archive")).args(["--deep", "--key", &self.key, "--anchor"]);
        ours.arg(&self.anchor);
        if end != "now" {
            ours.args(["--end", end]);
        }
        let ours = ours.output().unwrap();
        let mut script = Command::new(peers_folder().join("venv/bin/python"));
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py")).arg(self.stream());
        let theirs = script.args([&self.key, end]).arg(&self.anchor).output().unwrap();
        assert_eq!(ours.status.code(), theirs.status.code(), "{}\n{}", shown(&ours), shown(&theirs));
        ours.status.code().unwrap()
    }
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every file below a folder, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn program_and_script_and_openssl_agree_about_an_archive() {
    if peers_are_off() {
        return;
    }
    let sealed = Sealed::make();
    assert_eq!(sealed.verdict("now"), 0);
    let objects = files(&sealed.stream().join("data"));
    let seals = files(&sealed.stream().join("seal"));
    assert!(objects.len() >= 5 && seals.len() > objects.len());
    openssl(&sealed, 0);

    let tampered = |how: &dyn Fn(&Sealed)| {
        let copy = sealed.copy();
        how(&copy);
        copy
    };
    let object = |sealed: &Sealed, at: usize| files(&sealed.stream().join("data"))[at].clone();
    let flip = tampered(&|sealed| {
        let mut bytes = fs::read(object(sealed, 1)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(object(sealed, 1), bytes).unwrap();
    });
    assert_eq!(flip.verdict("now"), 10);
    let missing = tampered(&|sealed| fs::remove_file(object(sealed, 2)).unwrap());
    assert_eq!(missing.verdict("now"), 11);
    let hole = tampered(&|sealed| fs::remove_file(sealed.seal(1)).unwrap());
    assert_eq!(hole.verdict("now"), 11);
    let foreign = tampered(&|sealed| {
        fs::copy(object(sealed, 0), sealed.stream().join("data/more")).unwrap();
    });
    assert_eq!(foreign.verdict("now"), 12);
    let edited = tampered(&|sealed| {
        let text = fs::read_to_string(sealed.seal(0)).unwrap();
        fs::write(sealed.seal(0), text.replace("epoch 0", "epoch 1")).unwrap();
    });
    assert_eq!(edited.verdict("now"), 13);
    // No seal is younger: what came later may have been withheld.
    assert_eq!(sealed.verdict("2099-01-01T00:00:00Z"), 14);
    // Cut back to before the anchor, it is not the archive that the other sink knows.
    let cut = tampered(&|sealed| {
        fs::remove_dir_all(sealed.stream().join("checkpoint")).unwrap();
        for seq in 2..seals.len() {
            fs::remove_file(sealed.seal(seq)).unwrap();
        }
        let number = |path: &Path| path.file_name().unwrap().to_str().unwrap()[..12].parse::<u64>().unwrap();
        for path in files(&sealed.stream().join("data")).iter().filter(|path| number(path) >= 2) {
            fs::remove_file(path).unwrap();
        }
    });
    assert_eq!(cut.verdict("now"), 15);
    // What only a careless reader takes for good.
    for (from, to) in [("=\n", "=\nmore\n"), ("=\n", "=\n\u{2014} a b\n"), ("=\n", "!=\n")] {
        let odd = tampered(&|sealed| {
            let text = fs::read_to_string(sealed.seal(1)).unwrap();
            let (head, signatures) = text.split_at(text.find("\n\n").unwrap());
            fs::write(sealed.seal(1), head.to_owned() + &signatures.replace(from, to)).unwrap();
        });
        assert_eq!(odd.verdict("now"), 13, "{to:?}");
    }
    let linked = tampered(&|sealed| {
        let (path, moved) = (object(sealed, 1), sealed.folder.path().join("moved"));
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(moved, path).unwrap();
    });
    assert_eq!(linked.verdict("now"), 10);
    for name in ["junk", "0000000000001", "000000000000"] {
        let odd = tampered(&|sealed| {
            let folder = sealed.stream().join("checkpoint");
            fs::copy(files(&folder).last().unwrap(), folder.join(name)).unwrap();
        });
        assert_eq!(odd.verdict("now"), 12, "{name}");
    }
    let anchor = tampered(&|sealed| {
        let text = fs::read_to_string(&sealed.anchor).unwrap();
        let root = text.lines().nth(2).unwrap().to_owned();
        let other: String = root.chars().rev().skip(1).collect();
        fs::write(&sealed.anchor, text.replace(&root, &format!("{other}="))).unwrap();
    });
    assert_eq!(anchor.verdict("now"), 15);

    // Ended for good, its end is proven whenever it is asked for.
    let close = || {
        let mut close = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        close.args(["archive", "close", "--sink", "audit", "--reason", "moved", "--config"]);
        close.arg(sealed.folder.path().join("wharfinger.yaml")).output().unwrap()
    };
    let closed = close();
    assert!(closed.status.success() && shown(&closed).contains("/audit\n"), "{}", shown(&closed));
    assert_eq!(sealed.verdict("2099-01-01T00:00:00Z"), 0);
    fs::write(&sealed.anchor, &closed.stdout).unwrap();
    assert_eq!(sealed.verdict("now"), 0);
    let seals = files(&sealed.stream().join("seal")).len();
    assert!(close().status.success());
    assert_eq!(files(&sealed.stream().join("seal")).len(), seals, "there is one end");
}

/// Runs the commands of docs/custody.md for one seal as they stand there, and again for a changed object.
fn openssl(sealed: &Sealed, seq: usize) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/custody.md")).unwrap();
    let recipe = page.split("```sh\n").find(|block| block.starts_with("awk")).unwrap().split("```").next().unwrap();
    let run = |sealed: &Sealed| {
        let mut shell = Command::new("bash");
        shell.args(["-e", "-o", "pipefail", "-c", recipe]).current_dir(sealed.stream());
        shell.env("key", &sealed.key).env("seq", format!("{seq:012}")).output().unwrap()
    };
    let copy = sealed.copy();
    let good = run(&copy);
    assert!(good.status.success() && shown(&good).contains("Signature Verified Successfully"), "{}", shown(&good));
    let text = fs::read_to_string(copy.seal(seq)).unwrap();
    fs::write(copy.seal(seq), text.replace("quarantined=0", "quarantined=1")).unwrap();
    let bad = run(&copy);
    assert!(!bad.status.success(), "{}", shown(&bad));
}
