//! `wharfinger archive compact`: evidence, checked, into Parquet for analysis.

use std::path::PathBuf;

use serde_json::json;

use super::engine::{Engine, Evidence};
use super::failure::{Exit, Failure};
use super::output;
use super::sealed::Which;
use super::table::{count, size};

/// Derive Parquet from the evidence, sorted by time, in folders `dt=/hour=` of receipt
///
/// Every object is checked against its seal first; of which there is Parquet already, they are left out. A list
/// beside the files names the objects of each, and every row has the hash by which it leads to the root in its seal.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub which: Which,
    /// The folder to write to. Unless it is given, `parquet` in the folder of the archive
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None if arguments.which.path.is_dir() => arguments.which.path.join("parquet"),
        None => {
            let error = anyhow::anyhow!("it is not said where to write");
            return Err(Failure::new(Exit::Usage, error, "`--out` names a local folder"));
        }
    };
    let evidence = Evidence::read(&arguments.which)?;
    let report = Engine::ask(arguments.which.part.period(), &evidence, &out, &json!("compact"))?.value()?;
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    let files = report["files"].as_array().map_or(0, Vec::len) as u64;
    let text = match arguments.json {
        true => format!("{report:#}\n"),
        false => format!(
            "{} in {}, {} of lines became {}, in `{}`\n",
            count(number("rows"), "event"),
            count(files, "file"),
            size(number("bytes_read")),
            size(number("bytes_written")),
            out.display()
        ),
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}
