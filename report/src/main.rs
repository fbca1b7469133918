//! `wharfinger-report`: what is derived from a sealed archive. `wharfinger archive compact` calls it and
//! hands it the lines, each object checked against its seal; on stdout it says what it has written.
//!
//! Invariant: what is derived can be made again, and names the evidence it was made of.

mod columns;
mod compact;
mod parts;

use std::io::{BufReader, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use compact::Compact;

const USAGE: &str = "usage: wharfinger-report compact FOLDER < lines\n\nhint: `wharfinger archive compact` calls it";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let folder = match arguments.as_slice() {
        [verb, folder] if verb == "compact" => PathBuf::from(folder),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    let input = BufReader::with_capacity(1 << 20, std::io::stdin());
    let written = Compact::new(folder).run(input);
    let said = written.and_then(|report| Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?));
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(65)
        }
    }
}
