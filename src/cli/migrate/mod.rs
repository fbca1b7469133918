//! `wharfinger migrate`: a configuration of Wazuh as one of the gateway.
//!
//! Invariant: what it prints passes `wharfinger validate`, or it says what does not.

mod ossec;
mod xml;

use std::path::PathBuf;

use anyhow::Context as _;

use super::failure::{Exit, Failure};
use super::output;
use super::visible::visible_lines;

/// A configuration is some hundred lines.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Turn a configuration of Wazuh into one of the gateway: `<syslog_output>`, `<remote>`, `<integration>` and the
/// docker-listener, with notes on what has no equivalent
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file: `/var/ossec/etc/ossec.conf`
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let name = arguments.file.display().to_string();
    let no_input = |error: std::io::Error| {
        let error = anyhow::anyhow!(crate::part::describe_io(&error)).context(format!("cannot read `{name}`"));
        Failure::new(Exit::NoInput, error, "Wazuh's is `/var/ossec/etc/ossec.conf`, and may need root")
    };
    let length = std::fs::metadata(&arguments.file).map_err(no_input)?.len();
    if length > BYTES_MAX {
        let error = anyhow::anyhow!("`{name}` has {length} bytes");
        return Err(Failure::new(Exit::Data, error, "name the file `ossec.conf`"));
    }
    let bytes = std::fs::read(&arguments.file).map_err(no_input)?;
    let text = String::from_utf8_lossy(&bytes);
    let file = xml::parse(&text).with_context(|| format!("`{name}` is no XML"));
    let file = file.map_err(|error| Failure::new(Exit::Data, error, "name the file `ossec.conf`"))?;
    let migrated = ossec::migrate(&file);
    output::write(visible_lines(&migrated.to_yaml(&name)).as_bytes())?;
    Ok(Exit::Ok)
}
