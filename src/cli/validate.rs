//! `wharfinger validate`: every mistake in a configuration, with line and hint.

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure, print_mistakes};
use super::output;
use super::visible::visible;

/// Check a configuration: every mistake with its line and what to do. Opens no connection
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let loaded = arguments.file.load()?;
    let warnings = loaded.config.check()?;
    print_mistakes("warning", &warnings);
    let mut text = String::new();
    let config = &loaded.config;
    for (name, kind) in config.sources.iter().map(|part| (&part.name, part.kind)) {
        text.push_str(&format!("source {name} ({kind})\n"));
    }
    for (name, kind) in config.sinks.iter().map(|part| (&part.name, part.kind)) {
        text.push_str(&format!("sink {name} ({kind})\n"));
    }
    for left_out in &loaded.left_out {
        text.push_str(&format!("left out: source {}: {}\n", left_out.name, visible(&left_out.reason)));
    }
    text.push_str("the configuration is valid\n");
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}
