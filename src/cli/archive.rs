//! `wharfinger archive`: what is in an archive, and what of it must stay.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::archive_read;
use super::close;
use super::compact;
use super::config_file::ConfigFile;
use super::custody::recorded;
use super::failure::{Exit, Failure};
use super::hold::{self, HoldVerb, Retention};
use super::output;
use super::place::Reach;
use crate::archive::prove;

/// Look into an archive: its objects, its events, the proof of one of them; and say what must stay
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List objects as their seals say: when sealed, how many events, bytes, of which time
    Ls(archive_read::Arguments),
    /// Sums: objects, events and bytes of each stream and source
    Stat(archive_read::Arguments),
    /// Write events, by the time of receipt; every object is checked against its seal first
    Cat(archive_read::CatArguments),
    Compact(compact::Arguments),
    /// Write the proof that an event was sealed, as JSON: `wharfinger verify --proof` checks it, and it
    /// shows no other event
    Prove {
        /// The folder of one stream, `archive/audit`, or `s3://bucket/prefix/audit`
        stream: PathBuf,
        /// The event's id: `00deadbeef000001-0000000000000042`
        event_id: String,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Legal holds: what must not be deleted, whatever its date
    #[command(subcommand)]
    Hold(HoldVerb),
    Retention(Retention),
    Close(close::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::Ls(arguments) => recorded(&arguments.which.file, "read", || archive_read::ls(arguments)),
        Verb::Stat(arguments) => recorded(&arguments.which.file, "read", || archive_read::stat(arguments)),
        Verb::Cat(arguments) => recorded(&arguments.which.file, "read", || archive_read::cat(arguments)),
        Verb::Compact(arguments) => recorded(&arguments.which.file, "export", || compact::run(arguments)),
        Verb::Prove { stream, event_id, reach, file } => recorded(file, "export", || show(stream, event_id, reach)),
        Verb::Hold(verb) => hold::run(verb),
        Verb::Retention(arguments) => hold::report(arguments),
        Verb::Close(arguments) => recorded(&arguments.file, "close", || close::run(arguments)),
    }
}

fn show(stream: &Path, event_id: &str, reach: &Reach) -> Result<Exit, Failure> {
    let number = event_id.split_once('-').and_then(|(_, number)| number.parse().ok());
    let Some(number) = number else {
        let error = anyhow::anyhow!("`{event_id}` is no id of an event");
        return Err(Failure::new(Exit::Usage, error, "16 hexadecimal digits, a dash, 16 digits"));
    };
    let store = reach.stores(stream)?("");
    let proof = prove(&*store, number, event_id).map_err(|error| {
        let error = anyhow::Error::from(error).context("the archive cannot be read");
        Failure::new(Exit::Data, error, "`wharfinger verify` says more")
    })?;
    let Some(proof) = proof else {
        let error = anyhow::anyhow!("the stream `{}` has no event {event_id}", stream.display());
        return Err(Failure::new(Exit::NoInput, error, "another stream of the archive may have it"));
    };
    let mut text = serde_json::to_string_pretty(&proof).unwrap_or_default();
    text.push('\n');
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}
