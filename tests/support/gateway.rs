//! The real binary under test: `wharfinger run` with a config and a folder of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::process::{Process, eventually};

/// How long the gateway may take to be ready on a machine that is busy with other tests.
const READY_WITHIN: Duration = Duration::from_secs(30);

const BINARY: &str = env!("CARGO_BIN_EXE_wharfinger");

/// A gateway that may be killed and started again on the same data.
pub struct Gateway {
    config: PathBuf,
    process: Process,
    endpoints: Vec<Endpoint>,
    admin: SocketAddr,
}

/// One line `listening on <kind> <name> <transport> <address>` of the gateway's start.
#[derive(Debug, Clone)]
struct Endpoint {
    kind: String,
    name: String,
    transport: String,
    address: String,
}

impl Gateway {
    /// Writes `config` (YAML: sources, sinks, what else a test wants) with a data directory in
    /// `folder` and an admin address, starts the gateway and waits until it is ready.
    pub fn start(folder: &Path, config: &str) -> Gateway {
        Gateway::start_config(Gateway::write_config(folder, config), Command::new(BINARY))
    }

    /// The same under a command that takes the gateway's as its last arguments: `strace` and such.
    pub fn start_under(mut command: Command, folder: &Path, config: &str) -> Gateway {
        command.arg(BINARY);
        Gateway::start_config(Gateway::write_config(folder, config), command)
    }

    fn write_config(folder: &Path, config: &str) -> PathBuf {
        let file = folder.join("wharfinger.yaml");
        let data = folder.join("data");
        let head = format!("data_dir: {}\nadmin:\n  listen: 127.0.0.1:0\n", data.display());
        fs::write(&file, format!("{head}{config}")).expect("write config");
        file
    }

    fn start_config(config: PathBuf, mut command: Command) -> Gateway {
        command.arg("run").arg("--config").arg(&config);
        let process = Process::start("wharfinger", &mut command);
        let mut endpoints = Vec::new();
        let admin = process.wait_for("the admin address", READY_WITHIN, |line| {
            let endpoint = endpoint(line)?;
            let admin = (endpoint.kind == "admin").then(|| endpoint.address.parse().expect("admin address"));
            endpoints.push(endpoint);
            admin
        });
        let mut gateway = Gateway { config, process, endpoints, admin };
        eventually("the gateway is ready", READY_WITHIN, || {
            gateway.get("/ready").filter(|(status, _)| *status == 200).map(|_| ())
        });
        gateway.endpoints = gateway.process.lines().iter().filter_map(|line| endpoint(line)).collect();
        gateway
    }

    /// The address a source listens on.
    pub fn address(&self, name: &str, transport: &str) -> SocketAddr {
        let found = self.endpoints.iter().find(|endpoint| endpoint.name == name && endpoint.transport == transport);
        let endpoint = found.unwrap_or_else(|| panic!("no {transport} endpoint of `{name}` in {:?}", self.endpoints));
        endpoint.address.parse().expect("socket address")
    }

    pub fn port(&self, name: &str, transport: &str) -> u16 {
        self.address(name, transport).port()
    }

    /// Where the admin page is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The folder of the configuration's `data_dir`.
    pub fn data(&self) -> PathBuf {
        self.config.with_file_name("data")
    }

    /// What the admin listener wants to be sent.
    pub fn token(&self) -> String {
        fs::read_to_string(self.data().join("page-token")).unwrap_or_default()
    }

    /// Asks the admin listener; `None` while nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let (token, admin) = (self.token(), self.admin);
        let head = format!("Host: {admin}\r\nAuthorization: Bearer {token}\r\nConnection: close");
        write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// Writes another configuration, and waits until it is in force.
    pub fn reload(&self, config: &str) {
        let count = || self.process.lines().iter().filter(|line| line.contains("configuration is in force")).count();
        let before = count();
        Gateway::write_config(self.config.parent().expect("a folder"), config);
        self.process.signal("HUP");
        eventually("the new configuration is in force", READY_WITHIN, || (count() > before).then_some(()));
    }

    /// SIGTERM: drains and ends, or the test fails.
    pub fn stop(mut self) {
        let status = self.process.terminate(Duration::from_secs(30));
        assert!(status.success(), "the gateway ended with {status}:\n{}", self.log());
    }

    /// kill -9. Answers what is needed to start it again.
    pub fn kill(mut self) -> Stopped {
        self.process.kill();
        Stopped { config: self.config.clone() }
    }

    /// The gateway ends by itself; answers how, and what is needed to start it again.
    pub fn end(mut self) -> (ExitStatus, Stopped) {
        (self.process.wait(), Stopped { config: self.config.clone() })
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// A gateway that was killed: its config and data are still there.
pub struct Stopped {
    config: PathBuf,
}

impl Stopped {
    pub fn start(self) -> Gateway {
        Gateway::start_config(self.config, Command::new(BINARY))
    }
}

fn endpoint(line: &str) -> Option<Endpoint> {
    let (_, rest) = line.split_once("listening on ")?;
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Endpoint { kind: words.next()?, name: words.next()?, transport: words.next()?, address: words.next()? })
}
