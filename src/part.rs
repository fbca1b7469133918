//! What sources and sinks have in common: a row in a table, options that users write, and how a
//! wrong option is reported. Names no other room.

use std::path::PathBuf;

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

/// What every part is told at start.
#[derive(Debug, Clone)]
pub struct PartContext {
    /// The name of the part in the configuration.
    pub name: String,
    /// The gateway's data directory: a part that keeps state makes a folder of its own there.
    pub data_dir: PathBuf,
    /// This machine's host name, for headers that want one.
    pub hostname: String,
}
