//! `wharfinger query`: SQL over an archive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Arg;
use clap::builder::ArgPredicate;
use serde_json::{Value, json};

use super::engine::{Engine, Evidence, Parquet};
use super::failure::{Exit, Failure};
use super::output;
use super::report::STATEMENTS;
use super::sealed::Which;
use super::visible::visible;

/// Ask an archive in SQL: `select machine …  from events`
///
/// The events of the period are the table `events`; see docs/reports.md for its columns. Objects of which there is no
/// Parquet yet become Parquet first, each checked against its seal. Only `select` is taken.
#[derive(Debug, clap::Args)]
#[command(mut_args(or_list))]
pub(super) struct Arguments {
    /// The statement; `@NAME` for a saved one; `@FILE` for one in a file
    #[arg(value_name = "SQL")]
    sql: String,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub shape: Shape,
    /// Show the saved statements instead
    #[arg(long)]
    pub list: bool,
    /// Where own statements are saved, each as `NAME.sql`. Unless it is given, `queries` beside the configuration
    #[arg(long, value_name = "FOLDER")]
    queries: Option<PathBuf>,
}

/// Whoever asks for the list names nothing.
fn or_list(argument: Arg) -> Arg {
    if !["sql", "path"].contains(&argument.get_id().as_str()) {
        return argument;
    }
    argument.required(false).required_unless_present("list").default_value_if("list", ArgPredicate::IsPresent, ".")
}

/// What an answer looks like, and what it may take.
#[derive(Debug, clap::Args)]
pub(super) struct Shape {
    /// What the answer looks like
    #[arg(long, default_value = "table", value_parser = ["table", "csv", "json", "parquet"])]
    format: String,
    #[command(flatten)]
    bounds: Bounds,
}

/// Where Parquet is, and what an answer may take.
#[derive(Debug, clap::Args)]
pub(super) struct Bounds {
    #[command(flatten)]
    parquet: Parquet,
    /// Seconds it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Memory the statement may take, in MiB; what needs more goes to the disk meanwhile
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..))]
    memory: u64,
}

/// No statement is longer.
const SQL_BYTES_MAX: u64 = 1 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.list {
        output::write(list(arguments).as_bytes())?;
        return Ok(Exit::Ok);
    }
    let sql = match arguments.sql.strip_prefix('@') {
        None => arguments.sql.clone(),
        Some(name) => saved(name, arguments)?,
    };
    answer(&sql, "", &arguments.which, &arguments.shape)
}

/// The statement of a name: an own one, else one of the reports, else that of a file.
fn saved(name: &str, arguments: &Arguments) -> Result<String, Failure> {
    let own = folder(arguments).map(|folder| folder.join(format!("{name}.sql")));
    if let Some(own) = own.filter(|own| is_name(name) && own.is_file()) {
        return read(&own);
    }
    match STATEMENTS.iter().find(|(own, _)| *own == name) {
        Some((_, sql)) => Ok((*sql).to_owned()),
        None => read(Path::new(name)),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: anyhow::Error| {
        let error = error.context(format!("the statement in `{}` cannot be read", path.display()));
        Failure::new(Exit::NoInput, error, "`@` stands before a name (`wharfinger query --list`) or a file")
    };
    let length = fs::metadata(path).map_err(|error| failed(error.into()))?.len();
    if length > SQL_BYTES_MAX {
        return Err(failed(anyhow::anyhow!("{length} bytes are no statement")));
    }
    fs::read_to_string(path).map_err(|error| failed(error.into()))
}

/// Where own statements are.
fn folder(arguments: &Arguments) -> Option<PathBuf> {
    let beside = || Some(arguments.which.file.config.as_ref()?.parent()?.join("queries"));
    arguments.queries.clone().or_else(beside)
}

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(is_plain)
}

/// A line for each, the own ones in place of those of their names.
fn list(arguments: &Arguments) -> String {
    let mut all: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (name, sql) in STATEMENTS {
        all.insert((*name).to_owned(), (about(sql), "built in".to_owned()));
    }
    let entries = folder(arguments).and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sql")).filter(|name| is_name(name));
        if let Some(name) = name {
            let sql = read(&path).unwrap_or_default();
            all.insert(name.to_owned(), (about(&sql), path.display().to_string()));
        }
    }
    let width = all.keys().map(String::len).max().unwrap_or(0);
    let line = |(name, (about, place)): (&String, &(String, String))| {
        format!("{name:width$}  {} ({})\n", visible(about), visible(place))
    };
    all.iter().map(line).collect()
}

/// What a statement says of itself: the comment in its first line.
fn about(sql: &str) -> String {
    sql.lines()
        .next()
        .and_then(|line| line.strip_prefix("--"))
        .unwrap_or("no comment in the first line")
        .trim()
        .to_owned()
}

/// What reports say where a source has recorded nothing.
pub(super) const ABSENT: &str = "not recorded by source";

/// Asks and writes the answer, with these words where a row has nothing.
pub(super) fn answer(sql: &str, absent: &str, which: &Which, shape: &Shape) -> Result<Exit, Failure> {
    let limits = shape.bounds.limits();
    let task = json!({"query": {"sql": sql, "format": shape.format, "absent": absent, "limits": limits}});
    ask(&task, which, &shape.bounds)
}

/// Hands a task to the engine, and its answer to standard output.
pub(super) fn ask(task: &Value, which: &Which, bounds: &Bounds) -> Result<Exit, Failure> {
    let folder = bounds.parquet.folder(&which.path)?;
    let evidence = Evidence::read(which)?;
    Engine::ask(which.part.period(), &evidence, &folder.path, task)?.each(&mut output::write)?;
    Ok(Exit::Ok)
}

impl Bounds {
    pub(super) fn limits(&self) -> Value {
        json!({"seconds": self.timeout, "memory_bytes": self.memory << 20})
    }
}
