//! `wharfinger report`: what an archive says, for auditors and for a SOC.

mod digest;
mod export;
mod views;

use serde_json::json;

use super::archive_read::{self, CatArguments};
use super::custody::recorded;
use super::failure::{Exit, Failure};
use super::query;
use super::sealed::Which;
pub(super) use views::STATEMENTS;
use views::View;

/// Reports of an archive: machines, images, commands, findings; evidence packs for auditors
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    #[command(flatten)]
    View(View),
    /// Everything of a machine or a period, in any format: `--vm web-01 --format cef`
    Events(CatArguments),
    /// Events by chance, for who is to look at some: the same seed draws the same ones
    Sample(SampleArguments),
    Export(export::Arguments),
    Verify(export::VerifyArguments),
    Digest(digest::Arguments),
}

/// What `sample` is told.
#[derive(Debug, clap::Args)]
struct SampleArguments {
    #[command(flatten)]
    which: Which,
    /// How many
    #[arg(long, value_name = "NUMBER", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    n: u64,
    /// Any words; those who draw note them, and whoever checks draws again with them
    #[arg(long, value_name = "WORDS")]
    seed: String,
    /// Only of this class: `C2`
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    bounds: query::Bounds,
}

fn sample(arguments: &SampleArguments) -> Result<Exit, Failure> {
    let task = json!({"sample": {
        "rows": arguments.n, "seed": arguments.seed, "class": arguments.class, "absent": query::ABSENT,
        "limits": arguments.bounds.limits(),
    }});
    query::ask(&task, &arguments.which, &arguments.bounds)
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::View(view) => {
            let (sql, arguments) = view.parts();
            if arguments.sql {
                super::output::write(sql.as_bytes())?;
                return Ok(Exit::Ok);
            }
            recorded(&arguments.which.file, "read", || {
                query::answer(sql, query::ABSENT, &arguments.which, &arguments.shape)
            })
        }
        Verb::Events(arguments) => recorded(&arguments.which.file, "export", || archive_read::cat(arguments)),
        Verb::Sample(arguments) => recorded(&arguments.which.file, "export", || sample(arguments)),
        Verb::Export(arguments) => recorded(&arguments.which.file, "export", || export::run(arguments)),
        Verb::Verify(arguments) => export::check_pack(arguments),
        Verb::Digest(arguments) => digest::run(arguments),
    }
}
