//! The command line: verbs, what is printed, and exit codes.
//!
//! stdout is data and nothing else; a closed pipe is not an error; what came from outside is made
//! visible before a person sees it. Invariant: nothing is decided about events here.

mod archive;
mod archive_read;
mod asking;
mod close;
mod compact;
mod completion;
mod compliance;
mod config_file;
mod convert;
mod custody;
mod demo;
mod diff;
mod dlq;
mod engine;
mod explain;
mod failure;
mod generate;
mod graph;
mod hold;
pub(crate) mod input;
mod inventory;
mod keygen;
mod lint;
mod list;
mod migrate;
mod output;
mod place;
mod policy;
mod query;
mod queue;
mod reconcile;
mod records;
mod replay;
mod report;
mod route;
mod run;
mod sealed;
mod selftest;
mod status;
mod table;
mod validate;
mod verify;
mod visible;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Exit, Failure};

/// Takes container-security logs into custody, says on which virtual machine each event happened,
/// and hands it on to a SIEM.
#[derive(Debug, Parser)]
#[command(name = "wharfinger", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 a self-test failed or events differ, 64 wrong usage, 65 wrong data, 66 no input, 69 a service is unavailable, 73 cannot write, 78 wrong configuration.";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Arguments),
    Status(status::Arguments),
    Compliance(compliance::Arguments),
    Inventory(inventory::Arguments),
    Queue(queue::Arguments),
    Dlq(dlq::Arguments),
    Selftest(selftest::Arguments),
    Verify(verify::Arguments),
    Archive(archive::Arguments),
    Replay(replay::Arguments),
    Reconcile(reconcile::Arguments),
    Report(report::Arguments),
    Query(query::Arguments),
    Keygen(keygen::Arguments),
    Validate(validate::Arguments),
    Policy(policy::Arguments),
    Demo(demo::Arguments),
    Convert(convert::Arguments),
    Explain(explain::Arguments),
    Graph(graph::Arguments),
    Lint(lint::Arguments),
    Diff(diff::Arguments),
    List(list::Arguments),
    Generate(generate::Arguments),
    Migrate(migrate::Arguments),
    Completion(completion::Arguments),
}

/// Does what the arguments of the process ask for.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // `--help` and `--version` come this way too.
        Err(error) => {
            let exit = match std::env::args().nth(1).as_deref() {
                _ if !error.use_stderr() => Exit::Ok,
                // A script that reads its exit code as the answer must never take a typing error for one.
                Some("verify") => Exit::VerifyUsage,
                _ => Exit::Usage,
            };
            return if error.print().is_err() { Exit::Ok.into() } else { exit.into() };
        }
    };
    let done = match arguments.verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Selftest(arguments) => selftest::run(&arguments),
        Verb::Dlq(arguments) => dlq::run(&arguments),
        Verb::Queue(arguments) => queue::run(&arguments),
        Verb::Status(arguments) => status::run(&arguments),
        Verb::Compliance(arguments) => compliance::run(&arguments),
        Verb::Inventory(arguments) => inventory::run(&arguments),
        Verb::Archive(arguments) => archive::run(&arguments),
        Verb::Verify(arguments) => custody::recorded(&arguments.file, "verify", || verify::run(&arguments)),
        Verb::Reconcile(arguments) => custody::recorded(&arguments.file, "reconcile", || reconcile::run(&arguments)),
        Verb::Replay(arguments) => custody::recorded(&arguments.file, "replay", || replay::run(&arguments)),
        Verb::Report(arguments) => report::run(&arguments),
        Verb::Query(arguments) if arguments.list => query::run(&arguments),
        Verb::Query(arguments) => custody::recorded(&arguments.which.file, "read", || query::run(&arguments)),
        Verb::Keygen(arguments) => keygen::run(&arguments),
        Verb::Validate(arguments) => validate::run(&arguments),
        Verb::Policy(arguments) => policy::run(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Convert(arguments) => convert::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Graph(arguments) => graph::run(&arguments),
        Verb::Lint(arguments) => lint::run(&arguments),
        Verb::Diff(arguments) => diff::run(&arguments),
        Verb::List(arguments) => list::run(&arguments),
        Verb::Generate(arguments) => generate::run(&arguments),
        Verb::Migrate(arguments) => migrate::run(&arguments),
        Verb::Completion(arguments) => completion::run(&arguments),
    };
    done.map_or_else(Failure::report, ExitCode::from)
}
