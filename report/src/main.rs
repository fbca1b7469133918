//! `wharfinger-report`: what is derived from a sealed archive: Parquet, answers to SQL, evidence packs. `wharfinger`
//! starts it, asks one thing on standard input and hands it the lines, each object checked against its seal.
//!
//! Invariant: what is derived can be made again, and names the evidence it was made of.

mod classes;
mod columns;
mod compact;
mod derived;
mod engine;
mod export;
mod output;
mod parts;
mod request;
mod sample;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use classes::Classes;
use compact::Compact;
use derived::Derived;
use engine::{Engine, Events};
use output::Output;
use request::{Query, Request, Task};

const USAGE: &str = "usage: wharfinger starts this program\n\nhint: `wharfinger archive compact`, `wharfinger query` and \
                     `wharfinger report` are what you look for";
/// A request names every object of a period.
const REQUEST_BYTES_MAX: u64 = 1 << 30;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    }
    match run(BufReader::with_capacity(1 << 20, io::stdin()), BufWriter::with_capacity(1 << 16, io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", wharfinger_formats::visible::visible_lines(&format!("{error:#}")));
            ExitCode::from(65)
        }
    }
}

/// Whoever reads has seen enough.
fn is_closed(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Nobody else writes to the folder while it is held.
fn lock(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let file = File::create(folder.join("_lock"))?;
    file.lock()?;
    Ok(file)
}

fn run(mut input: impl BufRead, mut out: impl Write + Send) -> Result<()> {
    let mut line = Vec::new();
    (&mut input).take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line)?;
    let request: Request = serde_json::from_slice(&line).context("the request cannot be read")?;
    let classes = Classes::read()?;
    // Two that make Parquet of the same hour would write the same file.
    let lock = lock(&request.folder);
    let mut derived = Derived::read(&request.folder, &classes)?;
    let wanted = derived.wanted(&request.objects)?;
    match &lock {
        Ok(_) if !wanted.is_empty() => derived.forget_others(&request.folder)?,
        Ok(_) => {}
        // Where everything is Parquet already, nobody has to be able to write.
        Err(_) if wanted.is_empty() => {}
        Err(error) => bail!(
            "`{}` cannot be written to: {error}; hint: `--parquet` names another folder",
            request.folder.display()
        ),
    }
    writeln!(out, "{}", serde_json::to_string(&wanted)?)?;
    out.flush()?;
    let written = Compact::new(request.folder.clone(), &classes).run(&mut input)?;
    if let Task::Compact = request.task {
        return Ok(writeln!(out, "{}", serde_json::to_string(&written)?)?);
    }
    derived.extend(written);
    drop(lock);
    let files = derived.files(&request.objects);
    let events = || Events {
        folder: &request.folder,
        files: files.iter().map(|file| file.file.as_str()).collect(),
        period: request.period,
        scope: None,
        without: BTreeMap::new(),
    };
    match &request.task {
        Task::Compact => Ok(()),
        Task::Query(Query { sql, format, absent, limits }) => {
            let engine = Engine::new(&events(), *limits)?;
            let answer = engine.start(sql)?;
            let mut output = Output::new(*format, absent, answer.schema(), out)?;
            engine.each(answer, &mut |batch| output.push(batch))?;
            output.finish().map(drop)
        }
        Task::Sample(sample) => sample.run(&Engine::new(&events(), sample.limits)?, &mut out),
        Task::Export(export) => export.run(&request, &files, &classes, &mut out),
        Task::Digest(digest) => digest.run(&request, &files, &classes, &mut out),
    }
}
