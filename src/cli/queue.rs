//! `wharfinger queue`: the journal without a gateway. Only `repair` changes anything.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use serde_json::{Value, json};
use wharfinger_formats::{EmitContext, Event, FORMATS, stored};

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::table::{count, size, table};
use super::visible::visible;
use crate::intake::Tally;
use crate::journal::inspect::{Holder, Inspection, Summary};
use crate::journal::repair::{self, Finding};
use crate::journal::{Chunk, Damage, OpenError, Position};
use crate::sinks::EventId;

/// Look at the journal while no gateway runs: how it stands, what is damaged, every event in it
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what is kept and how far each sink has got; also while a gateway runs
    Status {
        #[command(flatten)]
        file: ConfigFile,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every record and check it; exit code 65 when something is damaged
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Write every event as one line of native JSON, with its bytes; exit code 65 when some are
    /// missing
    Export {
        #[command(flatten)]
        file: ConfigFile,
        /// Only what this sink has not delivered yet
        #[arg(long, value_name = "SINK")]
        undelivered_by: Option<String>,
    },
    /// Set damaged records aside, after copying the files they are in. Sinks are still told what is
    /// missing
    Repair {
        #[command(flatten)]
        file: ConfigFile,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::Status { file, json } => status(&file.journal_dir()?, *json),
        Verb::Check { file } => check(&file.journal_dir()?),
        Verb::Export { file, undelivered_by } => export(&file.journal_dir()?, undelivered_by.as_deref()),
        Verb::Repair { file, dry_run } => repair(&file.journal_dir()?, *dry_run),
    }
}

/// A journal that cannot be looked at: in use, not there, or not readable.
pub(super) fn cannot_open(error: OpenError) -> Failure {
    let (exit, hint) = match &error {
        OpenError::Held { .. } => {
            (Exit::Unavailable, "stop the gateway first; `wharfinger status` asks it while it runs")
        }
        OpenError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound => {
            (Exit::NoInput, "name the data directory: `--data-dir PATH`, or `--config PATH` of the gateway")
        }
        _ => (Exit::NoInput, "may this user read it? it belongs to the user of the gateway"),
    };
    Failure::new(exit, error, hint)
}

fn failed(error: io::Error) -> Failure {
    Failure::new(Exit::NoInput, anyhow::Error::from(error).context("the journal cannot be read"), "")
}

fn status(dir: &Path, as_json: bool) -> Result<Exit, Failure> {
    let (inspection, holder) = Inspection::open_in_use(dir).map_err(cannot_open)?;
    let summary = inspection.summary().map_err(failed)?;
    let text = match as_json {
        true => format!("{:#}\n", status_json(dir, holder, &summary)),
        false => status_text(dir, holder, &summary),
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn status_json(dir: &Path, holder: Holder, summary: &Summary) -> Value {
    let sink = |(name, at): &(String, Option<crate::journal::CursorStatus>)| {
        let Some(at) = at else { return json!({"name": name, "damaged": true}) };
        let passed = at.passed;
        json!({
            "name": name, "position": at.position.0, "received": at.received(), "delivered": passed.delivered,
            "filtered": passed.filtered, "quarantined": passed.quarantined, "lost": passed.lost,
            "queued": at.lag_records, "undeclared": at.given_up, "unaccounted": at.unaccounted(),
        })
    };
    let source = |(name, sums): &(String, Vec<u64>)| {
        let Tally { taken, lost } = Tally::from_sums(sums);
        json!({"name": name, "received": taken + lost, "taken": taken, "lost": lost})
    };
    let pid = if let Holder::Process(pid) = holder { pid } else { None };
    json!({
        "dir": dir.display().to_string(), "in_use": holder != Holder::Nobody, "pid": pid,
        "incarnation": summary.incarnation.map(|incarnation| incarnation.to_string()),
        "segments": summary.segments, "bytes": summary.bytes, "spare_bytes": summary.spare_bytes,
        "first": summary.first.0, "next": summary.next.0,
        "sources": summary.tallies.iter().map(source).collect::<Vec<_>>(),
        "sinks": summary.cursors.iter().map(sink).collect::<Vec<_>>(),
    })
}

fn status_text(dir: &Path, holder: Holder, summary: &Summary) -> String {
    let held = match holder {
        Holder::Nobody => "no gateway has it open".to_owned(),
        Holder::Process(Some(pid)) => format!("in use by process {pid}"),
        Holder::Process(None) => "in use".to_owned(),
    };
    let life =
        summary.incarnation.map_or_else(|| "unknown: the file `meta` is damaged".to_owned(), |it| it.to_string());
    let kept = summary.next.0 - summary.first.0;
    let segments = count(summary.segments as u64, "segment");
    let bytes = size(summary.bytes + summary.spare_bytes);
    let range = if kept == 0 { String::new() } else { format!(", {} to {}", summary.first.0, summary.next.0 - 1) };
    let mut text = format!(
        "journal      {}, {held}\nincarnation  {life}\nkept         {}{range}, in {segments}, {bytes}\n\n",
        visible(&dir.display().to_string()),
        count(kept, "event"),
    );
    let rows: Vec<_> = summary
        .tallies
        .iter()
        .map(|(name, sums)| {
            let Tally { taken, lost } = Tally::from_sums(sums);
            [name.as_str().into(), (taken + lost).into(), taken.into(), lost.into()]
        })
        .collect();
    text.push_str(&table(["source", "received", "taken in", "lost"], &rows));
    text.push('\n');
    let rows: Vec<_> = summary
        .cursors
        .iter()
        .filter_map(|(name, at)| {
            let at = at.as_ref()?;
            let passed = at.passed;
            let [delivered, filtered, quarantined, lost] =
                [passed.delivered, passed.filtered, passed.quarantined, passed.lost].map(Into::into);
            Some([
                name.as_str().into(),
                at.received().into(),
                delivered,
                filtered,
                quarantined,
                lost,
                at.lag_records.into(),
            ])
        })
        .collect();
    let head = ["sink", "received", "delivered", "filtered", "quarantined", "lost", "queued"];
    text.push_str(&table(head, &rows));
    for (name, _) in summary.cursors.iter().filter(|(_, at)| at.is_none()) {
        text.push_str(&format!(
            "  {}: its place is damaged, it will get everything that is kept again\n",
            visible(name)
        ));
    }
    text
}

fn check(dir: &Path) -> Result<Exit, Failure> {
    let inspection = Inspection::open(dir).map_err(cannot_open)?;
    let summary = inspection.summary().map_err(failed)?;
    let (mut events, mut unreadable) = (0_u64, 0_u64);
    let mut missing: Vec<Damage> = Vec::new();
    let read: io::Result<()> = inspection.read(Position(0), |chunk| {
        events += chunk.len() as u64;
        unreadable +=
            chunk.records().filter(|record| stored::decode(record.payload, Event::new(b"")).is_err()).count() as u64;
        missing.extend_from_slice(chunk.damaged());
        Ok(())
    });
    read.map_err(failed)?;
    let findings = repair::findings(&inspection, dir).map_err(failed)?;
    let mut text = format!("{} in {} read\n", count(events, "event"), count(summary.segments as u64, "segment"));
    for damage in &missing {
        text.push_str(&describe_damage(damage));
    }
    if unreadable > 0 {
        text.push_str(&format!("{} of an unknown form\n", count(unreadable, "event")));
    }
    text.push_str(&describe_findings(&findings));
    let lost_places = summary.cursors.iter().filter(|(_, at)| at.is_none());
    for (name, _) in lost_places.clone() {
        text.push_str(&format!("the place of sink `{}` is damaged\n", visible(name)));
    }
    output::write(text.as_bytes())?;
    let whole = missing.is_empty() && findings.is_empty() && unreadable == 0 && lost_places.count() == 0;
    Ok(if whole { Exit::Ok } else { Exit::Data })
}

fn describe_damage(damage: &Damage) -> String {
    let (first, last) = damage.missing;
    let count = count(last.0 - first.0 + 1, "event");
    let why = match damage.bytes {
        0 => "not there".to_owned(),
        bytes => format!("damaged, {}", size(bytes)),
    };
    format!("missing: {first} to {last}, {count}, {why}\n")
}

fn describe_findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let name = finding.file.file_name().unwrap_or_default().to_string_lossy();
        let header = if finding.header { "its header and " } else { "" };
        let (ranges, bytes) = (count(finding.ranges.len() as u64, "place"), size(finding.bytes()));
        text.push_str(&format!("to repair: {}: {header}{ranges}, {bytes}\n", visible(&name)));
    }
    text
}

fn export(dir: &Path, undelivered_by: Option<&str>) -> Result<Exit, Failure> {
    let inspection = Inspection::open(dir).map_err(cannot_open)?;
    let from = match undelivered_by {
        None => Position(0),
        Some(sink) => {
            let summary = inspection.summary().map_err(failed)?;
            let found = summary.cursors.into_iter().find(|(name, _)| name == sink);
            let Some((_, at)) = found else {
                let error = anyhow::anyhow!("no sink `{sink}` has a place in this journal");
                return Err(Failure::new(Exit::Usage, error, "`wharfinger queue status` lists them"));
            };
            at.map_or(Position(0), |at| at.position)
        }
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let (mut line, mut missing) = (Vec::new(), 0);
    let mut event = Event::new(b"");
    inspection
        .read(from, |chunk: &Chunk| -> Result<(), Export> {
            for damage in chunk.damaged() {
                missing += damage.missing.1.0 - damage.missing.0.0 + 1;
                eprint!("{}", describe_damage(damage));
            }
            for record in chunk.records() {
                line.clear();
                let id = EventId::new(record.incarnation, record.position);
                let reuse = std::mem::replace(&mut event, Event::new(b""));
                event = write_line(record.payload, reuse, &id, &mut line).reuse(b"");
                out.write_all(&line).map_err(Export::Write)?;
            }
            Ok(())
        })
        .and_then(|()| out.flush().map_err(Export::Write))
        .map_err(|error| match error {
            Export::Read(error) => failed(error),
            Export::Write(error) => output::failed(error),
        })?;
    Ok(if missing == 0 { Exit::Ok } else { Exit::Data })
}

/// Where an export stopped.
enum Export {
    Read(io::Error),
    Write(io::Error),
}

impl From<io::Error> for Export {
    fn from(error: io::Error) -> Self {
        Export::Read(error)
    }
}

/// Native JSON with the event's id. A record of an unknown form keeps its bytes.
fn write_line<'r>(record: &'r [u8], reuse: Event<'_>, id: &EventId, line: &mut Vec<u8>) -> Event<'r> {
    let emit = FORMATS.iter().find(|format| format.name == "json").and_then(|format| format.emit);
    let event = match (stored::decode(record, reuse), emit) {
        (Ok(mut event), Some(emit)) => {
            id.number(&mut event);
            emit(&event, &EmitContext::default(), line);
            event
        }
        (Ok(event), None) => event,
        (Err(error), _) => {
            let unreadable = json!({
                "event_id": id.text(), "record_base64": STANDARD.encode(record), "error": error.to_string(),
            });
            line.extend_from_slice(unreadable.to_string().as_bytes());
            Event::new(b"")
        }
    };
    line.push(b'\n');
    event
}

fn repair(dir: &Path, dry_run: bool) -> Result<Exit, Failure> {
    let inspection = Inspection::open(dir).map_err(cannot_open)?;
    let findings = repair::findings(&inspection, dir).map_err(failed)?;
    if findings.is_empty() {
        output::write(b"nothing to repair\n")?;
        return Ok(Exit::Ok);
    }
    let mut text = describe_findings(&findings);
    if dry_run {
        text.push_str("nothing was changed (--dry-run)\n");
        output::write(text.as_bytes())?;
        return Ok(Exit::Ok);
    }
    let backup = backup_dir(dir);
    repair::repair(inspection, dir, &findings, &backup).map_err(cannot_open)?;
    text.push_str(&format!(
        "repaired; copies of the files as they were are in {}\n",
        visible(&backup.display().to_string())
    ));
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// Beside the journal, so that no gateway takes it for a part of it.
fn backup_dir(dir: &Path) -> PathBuf {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name =
        (0..).map(|again| if again == 0 { format!("repair-{seconds}") } else { format!("repair-{seconds}-{again}") });
    let above = dir.parent().unwrap_or(Path::new("."));
    name.map(|name| above.join(name)).find(|path| !path.exists()).unwrap_or_else(|| above.join("repair"))
}
