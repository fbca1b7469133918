//! Time stamps of checkpoints by `openssl ts`: asked for, refused when they are of something else, kept,
//! and accepted by `openssl ts -verify`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::peers_folder;
use crate::support::process::eventually;

const WITHIN: Duration = Duration::from_secs(60);
const CONFIG: &str = "sources:\n  in: {type: syslog, mode: tcp, address: 127.0.0.1:0}\nsinks:\n  \
                      audit: {type: archive, path: ARCHIVE, max_age: 200ms, \
                      timestamps: {url: 'http://AUTHORITY/tsr', ca: CA}}\n  \
                      out: {type: file, path: OUT}\n";
const OPENSSL: &str = "[req]\ndistinguished_name = dn\n[dn]\n[ca]\nbasicConstraints = critical, CA:true\n\
                       [stamps]\nextendedKeyUsage = critical, timeStamping\nkeyUsage = critical, digitalSignature\n\
                       [authority]\nserial = serial\nsigner_cert = stamps.pem\nsigner_key = stamps.key\n\
                       signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\n";

const AWAY: u8 = 0;
/// Answers what was asked first, whatever is asked.
const OLD: u8 = 1;
const GOOD: u8 = 2;

/// A time stamp authority: `openssl ts -reply` behind HTTP.
struct Authority {
    folder: tempfile::TempDir,
    address: String,
    mood: Arc<AtomicU8>,
}

impl Authority {
    fn start() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("openssl.cnf"), OPENSSL).unwrap();
        fs::write(folder.path().join("serial"), "01\n").unwrap();
        for command in [
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=authority -extensions ca",
            "req -x509 -newkey rsa:2048 -nodes -keyout no.key -out other.pem -days 30 -subj /CN=other -extensions ca",
            "req -new -newkey rsa:2048 -nodes -keyout stamps.key -out stamps.csr -subj /CN=stamps",
        ] {
            openssl(folder.path(), &format!("{command} -config openssl.cnf"));
        }
        let signs = "x509 -req -in stamps.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30";
        openssl(folder.path(), &format!("{signs} -extfile openssl.cnf -extensions stamps -out stamps.pem"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mood, path) = (Arc::new(AtomicU8::new(AWAY)), folder.path().to_owned());
        let asked = Arc::clone(&mood);
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| answer(&path, asked.load(SeqCst), stream))
        });
        Authority { folder, address, mood }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// One request on a connection. What goes wrong here is a request that fails.
fn answer(folder: &Path, mood: u8, stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut question = vec![0; length];
    if reader.read_exact(&mut question).is_err() {
        return;
    }
    if mood == GOOD || !folder.join("answer").exists() {
        fs::write(folder.join("question"), question).unwrap();
        openssl(folder, "ts -reply -config openssl.cnf -section authority -queryfile question -out answer");
    }
    let (status, body) = match mood {
        AWAY => ("503 Away", Vec::new()),
        _ => ("200 OK", fs::read(folder.join("answer")).unwrap()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = reader.get_mut().write_all(&[head.as_bytes(), &body].concat());
}

fn openssl(folder: &Path, command: &str) -> Output {
    let output = Command::new("openssl").args(command.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn checkpoints(archive: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(archive.join("audit/checkpoint")).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().map_or("", |extension| extension.to_str().unwrap()) == suffix);
    paths.sort();
    paths
}

/// What `verify` answers, and what the script of the documentation does: the same exit code.
fn verify(folder: &Path, authority: &str) -> (i32, String) {
    let (archive, key) = (folder.join("archive"), folder.join("data/sealing/audit/vkey-1"));
    let mut ours = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    ours.arg("verify").arg(&archive).arg("--key").arg(&key).args(["--tsa-ca", authority]);
    // Long after: every seal has had time to be stamped.
    ours.args(["--end", "2099-01-01T00:00:00Z"]);
    let ours = ours.output().unwrap();
    (ours.status.code().unwrap(), String::from_utf8_lossy(&ours.stdout).into_owned())
}

fn script(folder: &Path) -> Option<i32> {
    let mut script = Command::new(peers_folder().join("venv/bin/python"));
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py")).arg(folder.join("archive/audit"));
    script.arg(fs::read_to_string(folder.join("data/sealing/audit/vkey-1")).unwrap().trim()).arg("now");
    script.output().unwrap().status.code()
}

#[test]
fn openssl_stamps_checkpoints_and_accepts_what_is_kept() {
    if peers_are_off() {
        return;
    }
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::start());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let config = CONFIG.replace("ARCHIVE", &path("archive")).replace("OUT", &path("out.ndjson"));
    let config =
        config.replace("AUTHORITY", &authority.address).replace("CA}", &format!("{}}}", authority.file("ca.pem")));
    let archive = folder.path().join("archive");

    // An authority that is away holds up nothing.
    let gateway = Gateway::start(folder.path(), &config);
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    // The gateway's own beginning is the first.
    eventually("something is sealed", WITHIN, || archive.join("audit/seal/000000000000").exists().then_some(()));
    writeln!(stream, "<134>1 2026-11-21T09:05:11.123456Z vm-1 app - - - one").unwrap();
    eventually("it is sealed", WITHIN, || archive.join("audit/seal/000000000001").exists().then_some(()));
    gateway.stop();
    assert_eq!((checkpoints(&archive, "").len(), checkpoints(&archive, "tsr").len()), (1, 0));

    // It is said once that it is away, and what it answers to another request is not kept.
    let gateway = Gateway::start(folder.path(), &config);
    let said = |what: &str| {
        let lines = fs::read_to_string(folder.path().join("out.ndjson")).unwrap_or_default();
        lines.lines().any(|line| line.contains("archive.timestamp") && line.contains(what)).then_some(())
    };
    eventually("it is said to be away", WITHIN, || said("status 503"));
    authority.mood.store(OLD, SeqCst);
    gateway.stop();
    let gateway = Gateway::start(folder.path(), &config);
    eventually("its answer is refused", WITHIN, || said("its answer is not kept"));
    assert_eq!(checkpoints(&archive, "tsr").len(), 0);

    // When it is back, every checkpoint gets its own.
    authority.mood.store(GOOD, SeqCst);
    eventually("it is back", WITHIN, || said("again"));
    eventually("both are stamped", WITHIN, || (checkpoints(&archive, "tsr").len() == 2).then_some(()));
    gateway.stop();
    let mut close = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    close.args(["archive", "close", "--sink", "audit", "--reason", "moved", "--config", &path("wharfinger.yaml")]);
    assert!(close.output().unwrap().status.success());
    let last = checkpoints(&archive, "tsr").pop().unwrap();
    assert_eq!(last.with_extension(""), checkpoints(&archive, "").pop().unwrap(), "the end is stamped at once");

    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/custody.md")).unwrap();
    let recipe = page.split("```sh\n").find(|block| block.starts_with("openssl ts")).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-e", "-c", recipe.split("```").next().unwrap()]).current_dir(archive.join("audit"));
    shell.env("size", last.file_stem().unwrap()).env("ca", authority.file("ca.pem"));
    let shell = shell.output().unwrap();
    assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));

    let (code, text) = verify(folder.path(), &authority.file("ca.pem"));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("seals existed at 20") && text.contains("4 time stamps"), "{text}");
    assert_eq!(script(folder.path()), Some(0));
    // Of an authority that is not trusted.
    assert_eq!(verify(folder.path(), &authority.file("other.pem")).0, 13);
    // Beside no checkpoint.
    let foreign = archive.join("audit/checkpoint/000000999999.tsr");
    fs::copy(&last, &foreign).unwrap();
    assert_eq!((verify(folder.path(), &authority.file("ca.pem")).0, script(folder.path())), (12, Some(12)));
    fs::remove_file(foreign).unwrap();
    // Beside another checkpoint.
    fs::copy(&last, &checkpoints(&archive, "tsr")[0]).unwrap();
    assert_eq!(verify(folder.path(), &authority.file("ca.pem")).0, 10);
    // No time stamp at all.
    fs::write(&checkpoints(&archive, "tsr")[0], "hello").unwrap();
    assert_eq!(verify(folder.path(), &authority.file("ca.pem")).0, 10);
    // Those of the end, and then all, are gone.
    fs::remove_file(&checkpoints(&archive, "tsr")[0]).unwrap();
    fs::remove_file(&last).unwrap();
    let (code, text) = verify(folder.path(), &authority.file("ca.pem"));
    assert!(code == 13 && text.contains("of what came behind"), "{code}: {text}");
    checkpoints(&archive, "tsr").iter().for_each(|path| fs::remove_file(path).unwrap());
    let (code, text) = verify(folder.path(), &authority.file("ca.pem"));
    assert!(code == 13 && text.contains("there is no time stamp of these authorities"), "{code}: {text}");
    assert_eq!(script(folder.path()), Some(0), "the script asks for none");
}
