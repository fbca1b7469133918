//! `wharfinger validate`: every mistake in a configuration, with line and hint.

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure, print_mistakes};
use super::output;

/// Check a configuration: every mistake with its line and what to do. Opens no connection
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.file.config.is_none() {
        let hint = "`wharfinger validate --config PATH`; `wharfinger generate config` prints the built-in defaults";
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!("no configuration is named"), hint));
    }
    let config = arguments.file.load()?.config;
    let warnings = config.check()?;
    print_mistakes("warning", &warnings);
    let mut text = String::new();
    for (name, kind) in config.sources.iter().map(|part| (&part.name, part.kind)) {
        text.push_str(&format!("source {name} ({kind})\n"));
    }
    for (name, kind) in config.sinks.iter().map(|part| (&part.name, part.kind)) {
        text.push_str(&format!("sink {name} ({kind})\n"));
    }
    if !config.policy.is_empty() {
        text.push_str(&format!("policy: {}\n", config.policy.describe()));
    }
    text.push_str("the configuration is valid\n");
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}
