//! What sources and sinks have in common: a row in a table, options that users write, and how a
//! wrong option is reported. Names no other room.
//!
//! Option types that parts share: [`ByteSize`] (`64MiB`), [`Interval`] (`5s`), [`Listen`]
//! (`127.0.0.1:5514`) and [`Secret`]. Invariant: a secret is never printed or written.

mod address;
mod duration;
mod secret;
mod size;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

pub use address::Listen;
pub use duration::Interval;
pub use secret::{Secret, SecretError};
pub use size::ByteSize;

/// One row of `SOURCES` or `SINKS`: `T` is the trait of its configuration.
pub struct Kind<T: ?Sized> {
    /// What users write after `type:`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// The options with their documentation, for the reference and for `list`.
    pub schema: fn() -> schemars::Schema,
    /// Reads the options; the caller knows file and line.
    pub read: fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Box<T>, erased_serde::Error>,
}

/// Something wrong with an option that only a look at the machine can tell: `validate` prints it
/// with file and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The option: `listen`, `tls.certificate`.
    pub option: &'static str,
    /// What is wrong, lower case, no full stop: "`/etc/x.pem` cannot be read: permission denied".
    pub message: String,
    /// The next step for the user; may be empty.
    pub hint: String,
}

impl Problem {
    /// Tries to open a file that a part is going to read; `None` when that works.
    pub fn for_file(option: &'static str, path: &Path) -> Option<Problem> {
        let error = std::fs::File::open(path).err()?;
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path; a relative path starts at the working directory",
            std::io::ErrorKind::PermissionDenied => "let the user that runs the gateway read it",
            _ => "",
        };
        let message = format!("`{}` cannot be read: {}", path.display(), describe_io(&error));
        Some(Problem { option, message, hint: hint.to_owned() })
    }
}

/// What the operating system said, without the error number that [`std::io::Error`] adds.
pub fn describe_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Why a request failed, with its causes and without the URL: that may hold a secret.
pub fn describe_http(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "the request failed".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// An address a part listens on, so that two parts that want the same one are found before start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// The option that says so: `listen`.
    pub option: &'static str,
    /// What is listened for.
    pub transport: Transport,
    /// Where; port 0 collides with nothing.
    pub address: SocketAddr,
}

/// What a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Listening {
    /// Whether the operating system could refuse to open both.
    pub fn collides(&self, other: &Listening) -> bool {
        let (a, b) = (self.address, other.address);
        let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
        self.transport == other.transport && a.port() == b.port() && a.port() != 0 && same_host
    }
}

/// The text of an error about an option's value, with the next step for the user. The
/// configuration prints the second line as the hint.
pub(crate) fn with_hint(cause: impl fmt::Display, hint: &str) -> String {
    format!("{cause}{HINT}{hint}")
}

/// Stands between cause and hint in the errors of [`with_hint`].
pub const HINT: &str = "\nhint: ";

/// A part cannot start.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct SetupError {
    /// What was tried: "cannot listen on 127.0.0.1:5514".
    pub what: String,
    /// Why not.
    pub cause: String,
}

impl SetupError {
    pub fn new(what: impl Into<String>, cause: impl ToString) -> Self {
        SetupError { what: what.into(), cause: cause.to_string() }
    }
}

/// Something a part says to every sink: it becomes an event of the gateway's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The event's class: `archive.checkpoint`.
    pub class: &'static str,
    /// 0 to 10.
    pub severity: i64,
    /// The event's message.
    pub text: String,
}

/// What every part is told at start.
#[derive(Debug, Clone)]
pub struct PartContext {
    /// The name of the part in the configuration.
    pub name: String,
    /// The gateway's data directory: a part that keeps state makes a folder of its own there.
    pub data_dir: PathBuf,
    /// This machine's host name, for headers that want one.
    pub hostname: String,
    /// Takes what the part has to say to every sink.
    pub notices: Option<mpsc::Sender<Notice>>,
    /// For a replay: the gateway's own part of that name may be at work beside it.
    pub is_replay: bool,
}
