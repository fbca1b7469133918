//! What verbs that read an archive have in common: which archive, which time, which events.

use std::path::{Path, PathBuf};

use wharfinger_formats::{Field, Time};

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::place::{Reach, above};
use super::verify;
use crate::archive::{OpenStore, Period, Reader, Unread, VerifyingKey, read_archive};
use crate::filter::Filter;

/// Which archive, and of which time.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The folder of the archive or of one stream, or `s3://bucket/prefix/STREAM`
    #[arg(value_name = "ARCHIVE")]
    pub path: PathBuf,
    #[command(flatten)]
    pub part: Part,
    #[command(flatten)]
    pub reach: Reach,
    #[command(flatten)]
    pub file: ConfigFile,
}

/// Which part of an archive.
#[derive(Debug, clap::Args)]
pub(super) struct Part {
    /// The stream to begin with, where the folder holds several archives: `audit`
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// The public key of the first seal, or a file with it. Without one the seals themselves are taken on trust
    #[arg(long, value_name = "KEY|FILE")]
    pub key: Option<String>,
    /// What was received from then on: `2026-11-21T09:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<Time>,
    /// What was received before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<Time>,
}

/// Which events.
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Events for which this holds: `severity >= 5 && event_class.startsWith("container.")`
    #[arg(long = "where", value_name = "EXPRESSION", value_parser = Filter::parse)]
    filter: Option<Filter>,
    /// Only events of this source of the gateway
    #[arg(long)]
    source: Option<String>,
    /// Only events of this machine: its name or UUID in the inventory, or its host name
    #[arg(long, value_name = "NAME|UUID")]
    vm: Option<String>,
}

/// A time as RFC 3339 has it.
pub(super) fn time(text: &str) -> Result<Time, String> {
    match Time::parse_rfc3339(text.as_bytes()) {
        Some((time, used)) if used == text.len() => Ok(time),
        _ => Err("expected a time such as `2026-11-21T09:00:00Z`".to_owned()),
    }
}

impl Events {
    pub(super) fn filter(&self) -> Filter {
        let mut filter = self.filter.clone().unwrap_or_else(Filter::all);
        if let Some(source) = &self.source {
            filter = filter.and_text(Field::Source, source);
        }
        if let Some(vm) = &self.vm {
            let machine = [Field::VmName, Field::VmUuid, Field::VmInstanceUuid, Field::HostName];
            filter = filter.and_any(&machine, vm);
        }
        filter
    }
}

impl Part {
    pub(super) fn period(&self) -> Period {
        Period { from: self.from, to: self.to }
    }

    pub(super) fn key(&self) -> Result<Option<VerifyingKey>, Failure> {
        let key = self.key.as_deref().map(verify::key).transpose()?;
        if key.is_none() {
            eprintln!(
                "note: without `--key` objects are checked against their seals, and the seals are taken on trust"
            );
        }
        Ok(key)
    }
}

impl Which {
    /// The streams, each with its name.
    pub(super) fn open(&self) -> Result<Vec<(String, Reader)>, Failure> {
        open(&self.path, &self.part, &self.reach)
    }
}

/// The streams of the archive in a place, each with its name.
pub(super) fn open(path: &Path, part: &Part, reach: &Reach) -> Result<Vec<(String, Reader)>, Failure> {
    let key = part.key()?;
    let (stores, folder) = place(path, part, reach, key.as_ref())?;
    readers(&stores, &folder, key)
}

/// The streams from that one on. What stands between them and is none of them is left out, and said.
pub(super) fn readers(
    stores: &OpenStore,
    folder: &str,
    key: Option<VerifyingKey>,
) -> Result<Vec<(String, Reader)>, Failure> {
    let (readers, foreign) = read_archive(stores, folder, key).map_err(unread)?;
    for name in foreign {
        eprintln!("warning: `{name}` is left out: it goes on from no stream before; see `wharfinger verify`");
    }
    Ok(readers)
}

/// The folders of the archive and the name of the first.
fn place(path: &Path, part: &Part, reach: &Reach, key: Option<&VerifyingKey>) -> Result<(OpenStore, String), Failure> {
    let stores = reach.stores(path)?;
    let of_key = || key.and_then(|key| key.name().rsplit('/').next()).map(str::to_owned);
    if let Some(name) = part.stream.clone().or_else(of_key)
        && verify::has_seals(&stores, &name)?
    {
        return Ok((stores, name));
    }
    if let Some((above, folder)) = above(path)
        && verify::has_seals(&stores, "")?
    {
        return Ok((reach.stores(&above)?, folder));
    }
    match streams_in(path).as_slice() {
        [name] if part.stream.is_none() => Ok((stores, name.clone())),
        names => {
            let error = anyhow::anyhow!("there is no stream of seals in `{}`", path.display());
            let hint = match names {
                [] => "name the folder of the archive: the sink's `path`, or a folder in it".to_owned(),
                names => format!("`--stream` says which: `{}`", names.join("`, `")),
            };
            Err(Failure::new(Exit::NoInput, error, hint))
        }
    }
}

/// The first streams in a local folder.
fn streams_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_first = |name: &String| name.rsplit_once('.').is_none_or(|(_, number)| number.parse::<u64>().is_err());
    let with_seals = entries.flatten().filter(|entry| entry.path().join("seal").is_dir());
    let mut names: Vec<String> =
        with_seals.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_first).collect();
    names.sort();
    names
}

/// Why an archive cannot be read on, with the exit code of `verify` where it is not as it was sealed.
pub(super) fn unread(error: Unread) -> Failure {
    match error {
        Unread::Io(error) => verify::unreadable(error),
        Unread::Fault { fault, .. } => {
            let error = anyhow::Error::from(error).context("the archive is not as it was sealed");
            Failure::new(Exit::from(fault), error, "`wharfinger verify` says all that is wrong with it")
        }
    }
}
