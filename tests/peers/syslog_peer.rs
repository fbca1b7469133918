//! What rsyslog and syslog-ng have in common when a test talks to them.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::pki::Pki;
use crate::support::process::{Process, eventually};

/// How a receiver is reached.
#[derive(Clone, Copy)]
pub enum Transport<'a> {
    Tcp,
    Tls { pki: &'a Pki, client_certificate: ClientCertificate },
}

/// What a receiver asks of its clients.
#[derive(Clone, Copy)]
pub enum ClientCertificate {
    Required,
    NotAsked,
}

/// A running receiver.
pub struct Receiver {
    /// Ends with this value; its output is printed when the test fails.
    process: Process,
    pub port: u16,
    pub received: Received,
}

impl Receiver {
    /// A receiver that writes into `folder`.
    pub fn new(process: Process, port: u16, folder: &Path) -> Receiver {
        let received = Received { raw: folder.join("raw.log"), parsed: folder.join("parsed.log") };
        Receiver { process, port, received }
    }

    /// Ends it in order: it writes down what it has read.
    pub fn terminate(mut self) {
        self.process.terminate(Duration::from_secs(20));
    }
}

/// The files a receiver writes: one line a message.
pub struct Received {
    raw: PathBuf,
    parsed: PathBuf,
}

/// One message as the receiver's own parser understood it.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Parsed {
    pub pri: String,
    pub time: String,
    pub host: String,
    pub app: String,
    #[serde(default)]
    pub procid: String,
    #[serde(default)]
    pub msgid: String,
    #[serde(default)]
    pub msg: String,
}

impl Received {
    /// Complete lines that have arrived so far.
    pub fn lines(&self) -> Vec<String> {
        complete_lines(&self.raw)
    }

    /// The same messages, read by the receiver's parser.
    pub fn parsed(&self) -> Vec<Parsed> {
        complete_lines(&self.parsed)
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in `{line}`")))
            .collect()
    }

    /// Waits for the first line that `wanted` accepts.
    pub fn wait_for(&self, what: &str, within: Duration, wanted: impl Fn(&str) -> bool) -> String {
        eventually(what, within, || self.lines().into_iter().find(|line| wanted(line)))
    }

    /// Waits until that many messages stand in both files.
    pub fn wait_for_count(&self, count: usize, within: Duration) {
        eventually(&format!("{count} messages at the receiver"), within, || {
            (self.lines().len() >= count && self.parsed().len() >= count).then_some(())
        });
    }
}

fn complete_lines(path: &Path) -> Vec<String> {
    let Ok(bytes) = fs::read(path) else { return Vec::new() };
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    String::from_utf8_lossy(&bytes[..end]).lines().map(str::to_owned).collect()
}

/// A running sender and the socket that feeds it.
pub struct Sender {
    /// Ends with this value; its output is printed when the test fails.
    _process: Process,
    socket: UnixDatagram,
}

impl Sender {
    /// A sender that reads from the other end of `socket`.
    pub fn new(process: Process, socket: UnixDatagram) -> Sender {
        Sender { _process: process, socket }
    }

    /// Hands over one message, written as a program on the machine writes it.
    pub fn log(&self, message: &str) {
        self.socket.send(message.as_bytes()).expect("send to the sender's socket");
    }
}
