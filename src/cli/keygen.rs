//! `wharfinger keygen`: the key of an archive's first epoch, made before its gateway runs.

use std::path::PathBuf;

use super::failure::{Exit, Failure};
use super::output;
use crate::archive::{KeyFile, SigningKey};

/// Make the key that an archive begins with, and print the public key to verify it with
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Whose key it is: `HOST/SINK`, as in `gw-01.example/archive`
    #[arg(value_name = "NAME")]
    name: String,
    /// Where the private key goes; there must be no file yet
    path: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let named = |error: std::io::Error| {
        Failure::new(
            Exit::Usage,
            anyhow::anyhow!("`{}`: {error}", arguments.name),
            "a host, a slash and the sink's name",
        )
    };
    let key = SigningKey::generate(&arguments.name).map_err(named)?;
    KeyFile::new(&arguments.path)
        .create(&key)
        .map_err(|error| Failure::new(Exit::CannotCreate, error, "choose a path in a folder that is yours"))?;
    output::write(format!("{}\n", key.verifying()).as_bytes())?;
    Ok(Exit::Ok)
}
