//! `wharfinger generate`: files that are made from the code.

use clap::ValueEnum;

use super::failure::{Exit, Failure};
use super::output;
use crate::config::{Config, reference};

/// Print a configuration to begin with, or the reference of all options
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// The defaults of `wharfinger run`, as a file to change
    Config,
    /// Every option of every source and sink, in Markdown
    Reference,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match arguments.what {
        What::Config => output::write(Config::embedded_text().as_bytes())?,
        What::Reference => output::write(reference().as_bytes())?,
    }
    Ok(Exit::Ok)
}
