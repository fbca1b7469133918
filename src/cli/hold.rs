//! `wharfinger archive hold|retention`: what of an archive must stay, why, and what may be deleted when.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use wharfinger_formats::Time;

use super::config_file::ConfigFile;
use super::convert::now;
use super::custody::recorded;
use super::failure::{Exit, Failure};
use super::output;
use super::place::{Reach, above};
use super::reconcile::interval;
use super::table::{Cell, count, size, table};
use crate::archive::{Day, Hold, Period, Store, clear_hold, holds, retention, set_hold, streams};
use crate::part::Interval;

/// A stream and the way there.
#[derive(Debug, clap::Args)]
pub(super) struct Stream {
    /// The folder of one stream, `archive/audit`, or `s3://bucket/prefix/audit`
    stream: PathBuf,
    #[command(flatten)]
    reach: Reach,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum HoldVerb {
    /// Hold what was received in a period: it stays beyond its date, until the hold is cleared
    Set {
        #[command(flatten)]
        stream: Stream,
        /// Why: it is kept with the hold, and recorded by the gateway
        #[arg(long)]
        reason: String,
        /// From which moment of receipt on; unless it is given, from the beginning
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: Option<Time>,
        /// Until before which one; unless it is given, until now
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: Option<Time>,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// End a hold; what another one covers stays held
    Clear {
        #[command(flatten)]
        stream: Stream,
        /// The hold: `archive hold list` names them
        id: String,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// List all holds there ever were
    List {
        #[command(flatten)]
        stream: Stream,
    },
}

/// What may be deleted when, by day of receipt
#[derive(Debug, clap::Args)]
pub(super) struct Retention {
    #[command(flatten)]
    stream: Stream,
    /// How long events are to be kept, as the sink's `keep` says; a lock that lasts longer counts
    #[arg(long, value_parser = interval)]
    keep: Option<Interval>,
}

fn time(text: &str) -> Result<Time, String> {
    let read = Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len());
    read.map(|(time, _)| time).ok_or_else(|| "it is no time: write `2026-11-21T09:00:00Z`".to_owned())
}

fn failed(error: std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::NotConnected { Exit::Unavailable } else { Exit::NoInput };
    let error = anyhow::Error::from(error).context("not done, or not all of it");
    Failure::new(exit, error, "may this user read and write it? the same again goes on")
}

pub(super) fn run(verb: &HoldVerb) -> Result<Exit, Failure> {
    match verb {
        HoldVerb::Set { stream, reason, from, to, file } => {
            let period = Period { from: *from, to: *to };
            recorded(file, "hold", || set(stream, period, reason))
        }
        HoldVerb::Clear { stream, id, reason, file } => recorded(file, "hold", || clear(stream, id, reason)),
        HoldVerb::List { stream } => list(stream),
    }
}

/// The stream and those that go on from it.
fn stores(stream: &Stream) -> Result<Vec<Arc<dyn Store>>, Failure> {
    let place = &stream.stream;
    let found = match above(place) {
        Some((root, name)) => {
            let stores = stream.reach.stores(&root)?;
            let names = streams(&stores, &name).map_err(failed)?;
            names.iter().map(|name| stores(name)).collect()
        }
        None => Vec::new(),
    };
    if found.is_empty() {
        let error = anyhow::anyhow!("there is no archive in `{}`: it has no first seal", place.display());
        return Err(Failure::new(Exit::NoInput, error, "name the folder of one stream, such as `archive/audit`"));
    }
    Ok(found)
}

fn set(stream: &Stream, period: Period, reason: &str) -> Result<Exit, Failure> {
    let now = now();
    if period.from.is_some_and(|from| from >= period.to.map_or(now, |to| to.min(now))) {
        let error = anyhow::anyhow!("the period ends before it begins: it ends now at the latest");
        return Err(Failure::new(Exit::Usage, error, "`--from` is before `--to`, and before now"));
    }
    let (mut first, mut objects) = (None, 0);
    for store in stores(stream)? {
        let (hold, held) = set_hold(&*store, period, reason, &user(), now).map_err(failed)?;
        first.get_or_insert(hold);
        objects += held;
    }
    if objects == 0 {
        eprintln!("note: no object was received in that period: nothing but the seals and checkpoints is held");
    }
    said(stream, first.as_ref(), &format!("{} held", count(objects, "object")))
}

fn clear(stream: &Stream, id: &str, reason: &str) -> Result<Exit, Failure> {
    let (mut cleared, mut objects) = (None, 0);
    let now = now();
    for store in stores(stream)? {
        if let Some((hold, free)) = clear_hold(&*store, id, reason, &user(), now).map_err(failed)? {
            cleared.get_or_insert(hold);
            objects += free;
        }
    }
    if cleared.is_none() {
        let error = anyhow::anyhow!("no hold `{id}` is in force");
        return Err(Failure::new(Exit::NoInput, error, "`wharfinger archive hold list` names those that are"));
    }
    said(stream, cleared.as_ref(), &format!("{} let go", count(objects, "object")))
}

fn said(stream: &Stream, hold: Option<&Hold>, what: &str) -> Result<Exit, Failure> {
    let Some(hold) = hold else { return Ok(Exit::Ok) };
    let text = if stream.json { format!("{:#}\n", json!(hold)) } else { format!("hold {}: {what}\n", hold.id) };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn list(stream: &Stream) -> Result<Exit, Failure> {
    let mut all: Vec<Hold> = Vec::new();
    for store in stores(stream)? {
        // What was set for all streams is one hold, as long as they agree.
        let more = holds(&*store).map_err(failed)?;
        all.extend(more.into_iter().filter(|hold| !all.contains(hold)).collect::<Vec<_>>());
    }
    warn(&all);
    let holds = all;
    let text = match (stream.json, holds.is_empty()) {
        (true, _) => format!("{:#}\n", json!(holds)),
        (false, true) => "there was never a hold\n".to_owned(),
        (false, false) => {
            let row = |hold: &Hold| -> [Cell; 6] {
                let from = hold.from.as_deref().unwrap_or("the beginning");
                let cleared = hold.cleared.as_ref().map_or("in force", |end| end.time.as_str());
                [&hold.id, from, &hold.to, &hold.set.by, &hold.set.reason, cleared].map(Cell::from)
            };
            let rows: Vec<_> = holds.iter().map(row).collect();
            table(["hold", "from", "to", "by", "reason", "cleared"], &rows)
        }
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

pub(super) fn report(arguments: &Retention) -> Result<Exit, Failure> {
    let Retention { stream, keep } = arguments;
    let store = stream.reach.stores(&stream.stream)?("");
    warn(&holds(&*store).map_err(failed)?);
    let days = retention(&*store, keep.map(Interval::get), now()).map_err(failed)?;
    let text = match (stream.json, days.is_empty()) {
        (true, _) => format!("{:#}\n", json!(days)),
        (false, true) => "the stream has no objects\n".to_owned(),
        (false, false) => {
            let row = |day: &Day| -> [Cell; 7] {
                let until = day.until.as_deref().unwrap_or("not said");
                let [objects, locked, held, free] = [day.objects, day.locked, day.held, day.free].map(Cell::from);
                [day.day.as_str().into(), objects, size(day.bytes).as_str().into(), locked, held, until.into(), free]
            };
            let rows: Vec<_> = days.iter().map(row).collect();
            table(["day", "objects", "size", "locked", "held", "may go from", "may go now"], &rows)
        }
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn warn(holds: &[Hold]) {
    for hold in holds.iter().filter(|hold| hold.is_damaged) {
        let id = &hold.id;
        eprintln!("warning: a record of the hold `{id}` is damaged or none: what it may cover counts as held");
    }
}

/// Who asks, as the system knows him.
fn user() -> String {
    let id = rustix::process::getuid().as_raw();
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    name.map_or_else(|_| format!("uid {id}"), |name| format!("{name} (uid {id})"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::archive::Dir;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        verb: HoldVerb,
    }

    fn set_in(place: &std::path::Path, more: &[&str]) -> Result<Exit, Failure> {
        let place = place.display().to_string();
        let line = Line::parse_from([&["hold", "set", &place, "--reason", "case 7", "--json"], more].concat());
        let HoldVerb::Set { stream, reason, from, to, .. } = line.verb else { panic!("`set` is `set`") };
        set(&stream, Period { from, to }, &reason)
    }

    #[test]
    fn a_hold_is_of_all_streams_that_go_on_and_of_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        for name in ["audit", "audit.2", "audit.4", "audit.14", "audits"] {
            Dir::new(place(name)).put_new("seal/000000000000", b"x").unwrap();
            Dir::new(place(name)).put_new("data/dt=2026-11-01/hour=00/000000000001.ndjson", b"{}\n").unwrap();
        }
        let held = |name: &str| holds(&Dir::new(place(name))).unwrap().into_iter().map(|hold| hold.id).collect();
        // The folder above, one of nothing, and periods of nothing.
        assert!(set_in(root.path(), &[]).is_err() && set_in(&place("audti"), &[]).is_err());
        let day = "2026-11-02T00:00:00Z";
        assert!(set_in(&place("audit"), &["--from", day, "--to", day]).is_err());
        assert!(set_in(&place("audit"), &["--from", "2200-01-01T00:00:00Z"]).is_err());
        assert_eq!(held("audit"), Vec::<String>::new());

        assert!(set_in(&place("audit"), &["--to", day]).is_ok());
        let one: Vec<String> = held("audit");
        assert_eq!(one.len(), 1);
        // A stream that is missing between two others hides none that `verify` would look at.
        assert_eq!((held("audit.2"), held("audit.4")), (one.clone(), one));
        assert_eq!((held("audit.14"), held("audits")), (Vec::new(), Vec::new()));
    }
}
