//! `wharfinger completion`: a script for the shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::failure::{Exit, Failure};
use super::output;

/// Print a script that completes arguments in a shell
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "wharfinger", &mut script);
    output::write(&script)?;
    Ok(Exit::Ok)
}
