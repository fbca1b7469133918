//! The private keys of an archive in a token: SoftHSM, looked into with `pkcs11-tool`.

use std::fs::{self, File, FileTimes};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::peers_folder;
use crate::support::process::eventually;

const WITHIN: Duration = Duration::from_secs(60);
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "correct-horse-91";
const CONFIG: &str = "sources:\n  in: {type: syslog, mode: tcp, address: 127.0.0.1:0}\nsinks:\n  \
                      audit: {type: archive, path: FOLDER/archive, max_age: 200ms, \
                      pkcs11: {module: MODULE, token: seals, pin_file: FOLDER/pin}}\n";

/// A token, and the folder of a gateway that uses it.
struct Token(tempfile::TempDir);

impl Token {
    fn make() -> Token {
        let token = Token(tempfile::tempdir().unwrap());
        fs::create_dir(token.path("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", token.path("tokens").display());
        fs::write(token.path("softhsm2.conf"), conf).unwrap();
        let made = token.run(
            "softhsm2-util",
            &["--init-token", "--free", "--label", "seals", "--so-pin", "so-pin-1", "--pin", PIN],
        );
        assert!(made.status.success(), "{made:?}");
        token.write_pin(PIN);
        token
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write_pin(&self, pin: &str) {
        fs::write(self.path("pin"), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("env");
        command.arg(format!("SOFTHSM2_CONF={}", self.path("softhsm2.conf").display())).arg(program);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program).args(arguments).output().unwrap()
    }

    /// What a client by another hand says of the private keys.
    fn private_keys(&self) -> Vec<String> {
        let login = ["--module", MODULE, "--token-label", "seals", "--login", "--pin", PIN];
        let listed = self.run("pkcs11-tool", &[&login[..], &["--list-objects", "--type", "privkey"]].concat());
        assert!(listed.status.success(), "{listed:?}");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        text.split("Private Key Object").skip(1).map(str::to_owned).collect()
    }

    fn config(&self) -> String {
        self.fill_in(CONFIG)
    }

    fn fill_in(&self, config: &str) -> String {
        config.replace("FOLDER", &self.0.path().display().to_string()).replace("MODULE", MODULE)
    }

    fn start(&self) -> Gateway {
        self.start_with(CONFIG)
    }

    fn start_with(&self, config: &str) -> Gateway {
        let mut command = Command::new("env");
        command.arg(format!("SOFTHSM2_CONF={}", self.path("softhsm2.conf").display()));
        Gateway::start_under(command, self.0.path(), &self.fill_in(config))
    }

    fn seals(&self) -> usize {
        fs::read_dir(self.path("archive/audit/seal")).map_or(0, Iterator::count)
    }

    fn send(&self, gateway: &Gateway, text: &str) {
        let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
        writeln!(stream, "<134>1 2026-11-21T09:05:11.123456Z vm-1 app - - - {text}").unwrap();
    }

    /// The program and the script of the documentation: the same exit code.
    fn verdict(&self) -> Option<i32> {
        let key = fs::read_to_string(self.path("data/sealing/audit/vkey-1")).unwrap();
        let mut ours = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        let ours = ours.arg("verify").arg(self.path("archive")).args(["--deep", "--key", &key]).output().unwrap();
        let mut script = Command::new(peers_folder().join("venv/bin/python"));
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py")).arg(self.path("archive/audit"));
        let script = script.args([key.trim(), "now"]).output().unwrap();
        assert_eq!(ours.status.code(), script.status.code(), "{ours:?} {script:?}");
        ours.status.code()
    }
}

#[test]
fn keys_are_made_and_destroyed_in_the_token_and_never_leave_it() {
    if peers_are_off() {
        return;
    }
    let token = Token::make();
    let gateway = token.start();
    token.send(&gateway, "one");
    eventually("it is sealed", WITHIN, || (token.seals() > 0).then_some(()));
    let first = token.private_keys();
    assert_eq!(first.len(), 1, "{first:?}");
    for word in ["always sensitive", "never extractable", "local", "/audit"] {
        assert!(first[0].contains(word), "{word}: {first:?}");
    }
    let id = first[0].split("ID:").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let login = ["--module", MODULE, "--token-label", "seals", "--login", "--pin", PIN];
    let out = token.path("stolen").display().to_string();
    let read = ["--read-object", "--type", "privkey", "--id", &id, "--output-file", &out];
    token.run("pkcs11-tool", &[&login[..], &read].concat());
    assert!(fs::read(&out).unwrap_or_default().is_empty(), "the private key can be read");
    let state = token.path("data/sealing/audit");
    assert!(fs::read_to_string(state.join("key-1-0")).unwrap().starts_with("wharfinger-kept-key/v1 "));
    // Not killed: what is still to be put would bring its own head.
    gateway.stop();

    // A day later: the next key is made in the token, and the old one destroyed when the seal is stored.
    let mut head: serde_json::Value = serde_json::from_slice(&fs::read(state.join("head.json")).unwrap()).unwrap();
    head["epoch_began"] = 0.into();
    fs::write(state.join("head.json"), head.to_string()).unwrap();
    let gateway = token.start();
    eventually("the next epoch", WITHIN, || {
        (state.join("key-1-1").exists() && !state.join("key-1-0").exists()).then_some(())
    });
    let second = token.private_keys();
    assert!(second.len() == 1 && !second[0].contains(&id), "{second:?}");
    let before = token.seals();
    token.send(&gateway, "two");
    eventually("it is sealed with the next key", WITHIN, || (token.seals() > before).then_some(()));
    gateway.kill();
    let gateway = token.start();
    gateway.stop();
    assert_eq!(token.verdict(), Some(0));
    assert_eq!(token.private_keys().len(), 1);
}

#[test]
fn without_its_token_the_archive_waits_and_loses_nothing() {
    if peers_are_off() {
        return;
    }
    let token = Token::make();
    let gateway = token.start();
    token.send(&gateway, "one");
    eventually("it is sealed", WITHIN, || (token.seals() > 0).then_some(()));
    gateway.stop();
    fs::rename(token.path("tokens"), token.path("unplugged")).unwrap();
    fs::create_dir(token.path("tokens")).unwrap();
    let gateway = token.start();
    token.send(&gateway, "two");
    eventually("the status says so", WITHIN, || {
        let (_, status) = gateway.get("/api/status")?;
        status.contains("has no token `seals`").then_some(())
    });
    let sealed = token.seals();
    // As it was, with what it holds.
    fs::remove_dir(token.path("tokens")).unwrap();
    fs::rename(token.path("unplugged"), token.path("tokens")).unwrap();
    eventually("it goes on", WITHIN, || (token.seals() > sealed).then_some(()));
    eventually("all is delivered", WITHIN, || {
        let cat = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
            .args(["archive", "cat"])
            .arg(token.path("archive/audit"))
            .arg("--raw")
            .output()
            .unwrap();
        String::from_utf8_lossy(&cat.stdout).contains("two").then_some(())
    });
    gateway.stop();
    assert_eq!(token.verdict(), Some(0));
}

/// A module cleans up when the process ends, and crashes where a thread that was in it ends at the same moment:
/// with eight archives at one end in 26 under load, in some 150 without.
#[test]
fn nobody_is_in_the_module_when_the_process_ends() {
    if peers_are_off() {
        return;
    }
    let token = Token::make();
    let (begin, sink) = CONFIG.split_at(CONFIG.find("  audit").unwrap());
    let sinks: String = (0..8).map(|number| sink.replace("audit", &format!("a{number}"))).collect();
    for round in 0..50 {
        let gateway = token.start_with(&format!("{begin}{sinks}"));
        if round == 0 {
            token.send(&gateway, "one");
        }
        // The last checkpoints are signed at the end.
        gateway.stop();
    }
}

#[test]
fn a_pin_that_was_refused_is_not_tried_again_and_not_shown() {
    if peers_are_off() {
        return;
    }
    let token = Token::make();
    token.write_pin("wrong-battery-17");
    let config =
        format!("data_dir: {}\nadmin:\n  listen: 127.0.0.1:0\n", token.path("data").display()) + &token.config();
    fs::write(token.path("wharfinger.yaml"), config).unwrap();
    let path = token.path("wharfinger.yaml").display().to_string();
    let refused = || {
        let output = token.run("timeout", &["60", env!("CARGO_BIN_EXE_wharfinger"), "run", "--config", &path]);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && text.contains("was refused"), "{text}");
        assert!(!text.contains(PIN) && !text.contains("wrong-battery-17"), "{text}");
    };
    refused();
    // The right one in a file that looks as it did: that it is refused shows that nothing was tried.
    let written = fs::metadata(token.path("pin")).unwrap().modified().unwrap();
    fs::write(token.path("pin"), PIN).unwrap();
    let file = File::options().write(true).open(token.path("pin")).unwrap();
    file.set_times(FileTimes::new().set_modified(written)).unwrap();
    refused();
    token.write_pin(PIN);
    let gateway = token.start();
    token.send(&gateway, "one");
    eventually("it is sealed", WITHIN, || (token.seals() > 0).then_some(()));
    gateway.stop();
    assert_eq!(token.verdict(), Some(0));
    // Open to others, it is no secret.
    fs::set_permissions(token.path("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    let gateway = token.start();
    eventually("the status says so", WITHIN, || {
        let (_, status) = gateway.get("/api/status")?;
        status.contains("can be read by others").then_some(())
    });
    gateway.stop();
}
