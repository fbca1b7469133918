//! `wharfinger archive compact`: evidence, checked, into Parquet for analysis. `wharfinger-report` writes
//! it: the engine is a program of its own, so that the gateway stays small.

use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::failure::{Exit, Failure};
use super::output;
use super::sealed::{Which, unread};
use super::table::{count, size};
use crate::archive::{Reader, Sealed};

/// Derive Parquet from the evidence, sorted by time, in folders `dt=/hour=` of receipt
///
/// Every object is checked against its seal first. A list beside the files names the objects of each, and
/// every row has the hash by which it leads to the root in its seal.
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

/// Stands before what is said about an object, and alone at the end.
const MARK: u8 = 0x1e;
const PROGRAM: &str = "wharfinger-report";

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None if arguments.which.path.is_dir() => arguments.which.path.join("parquet"),
        None => {
            let error = anyhow::anyhow!("it is not said where to write");
            return Err(Failure::new(Exit::Usage, error, "`--out` names a local folder"));
        }
    };
    let readers = arguments.which.open()?;
    let mut program = start(&out)?;
    let told = tell(&mut program, arguments, readers);
    // Its input is closed now. Without an end it lists nothing.
    let mut said = String::new();
    let read = program.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut said));
    let ended = program.wait();
    told?;
    let report: Option<serde_json::Value> = serde_json::from_str(&said).ok();
    match (read, ended, report) {
        (Ok(_), Ok(status), Some(report)) if status.success() => conclude(arguments, &out, &report),
        (_, status, _) => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let error = anyhow::anyhow!("`{PROGRAM}` did not end well: {status}");
            Err(Failure::new(Exit::CannotCreate, error, "is there room in the folder, and may this user write to it?"))
        }
    }
}

/// The program beside this one, or in the path.
fn start(out: &Path) -> Result<Child, Failure> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let program = beside.filter(|beside| beside.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM));
    let mut command = Command::new(&program);
    command.arg("compact").arg(out).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|error| {
        let error = anyhow::Error::from(error).context(format!("cannot start `{}`", program.display()));
        Failure::new(Exit::Unavailable, error, "it belongs beside this program: `cargo build -p wharfinger-report`")
    })
}

/// Hands over every line, behind what the seal of its object says.
fn tell(program: &mut Child, arguments: &Arguments, readers: Vec<(String, Reader)>) -> Result<(), Failure> {
    let Some(stdin) = program.stdin.take() else { return Ok(()) };
    let mut input = BufWriter::with_capacity(1 << 20, stdin);
    let gone = |error: std::io::Error| {
        let error = anyhow::Error::from(error).context(format!("`{PROGRAM}` takes nothing more"));
        Failure::new(Exit::CannotCreate, error, "it has said why above")
    };
    for (stream, mut reader) in readers {
        let mut objects = reader.objects(arguments.which.part.period()).map_err(unread)?;
        while let Some(sealed) = objects.next() {
            let sealed = sealed.map_err(unread)?;
            let mut lines = objects.lines(&sealed).map_err(unread)?;
            begin(&mut input, &stream, &sealed).map_err(gone)?;
            while let Some(line) = lines.next_line().map_err(unread)? {
                input.write_all(line).and_then(|()| input.write_all(b"\n")).map_err(gone)?;
            }
        }
    }
    input.write_all(&[MARK, b'\n']).and_then(|()| input.flush()).map_err(gone)
}

fn begin(input: &mut dyn Write, stream: &str, sealed: &Sealed) -> std::io::Result<()> {
    let sha256: String = sealed.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let said = json!({
        "stream": stream, "seal": sealed.seq, "object": sealed.object, "sha256": sha256, "records": sealed.records,
    });
    input.write_all(&[MARK])?;
    writeln!(input, "{said}")
}

fn conclude(arguments: &Arguments, out: &Path, report: &serde_json::Value) -> Result<Exit, Failure> {
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
