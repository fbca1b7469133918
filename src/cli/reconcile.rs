//! `wharfinger reconcile`: what a SIEM has, against what was sealed.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::path::PathBuf;

use serde_json::json;
use wharfinger_formats::Time;

use super::archive_read::rfc3339;
use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::sealed::{Events, Part, unread};
use super::table::{Cell, count, table};
use super::visible::visible;
use super::{place::Reach, sealed};
use crate::config::Config;
use crate::filter::Filter;
use crate::part::Interval;
use crate::reconcile::{Ledger, Question, ReconcileError, Report, Row, read_export};

/// Compare what a SIEM has with the archive: missing, twice, unknown, late, by source and hour
///
/// Exit codes: 0 nothing is missing, 1 events are missing (with `--strict` also: twice, unknown or late),
/// 10 to 13 the archive is not as it was sealed.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What the SIEM exported: ids, one a line; CSV with a column `event_id`; JSON of a search. `-` is stdin
    export: PathBuf,
    /// The folder of the archive or of one stream, or `s3://bucket/prefix/STREAM`
    #[arg(long)]
    archive: PathBuf,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    events: Events,
    /// The sink that delivers to this SIEM: what was brought back for it alone is expected too
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Indexed so long after its receipt, an event is late; the export must have `_indextime`
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = interval)]
    late: Interval,
    /// Write the ids of all missing events to a file, one a line
    #[arg(long, value_name = "FILE")]
    missing: Option<PathBuf>,
    /// End with exit code 1 also when events came twice, late, or are unknown
    #[arg(long)]
    strict: bool,
    /// The report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    pub file: ConfigFile,
}

pub(super) fn interval(text: &str) -> Result<Interval, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Ids that the text names; the others are counted.
const SHOWN_MAX: usize = 20;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let config =
        arguments.file.config.is_some().then(|| arguments.file.load()).transpose()?.map(|loaded| loaded.config);
    let question = Question {
        when: config.as_ref().and_then(|config| own_sink(arguments, config)).unwrap_or_else(Filter::all),
        period: arguments.part.period(),
        filter: arguments.events.filter(),
        sink: arguments.sink.clone(),
        late_seconds: arguments.late.get().as_secs(),
    };
    let readers = sealed::open(&arguments.archive, &arguments.part, &arguments.reach)?;
    let mut ledger = Ledger::open(readers, question).map_err(failed)?;
    let cannot_read = |error: anyhow::Error| {
        let error = error.context(format!("the export `{}` cannot be used", arguments.export.display()));
        Failure::new(Exit::Data, error, "ids, one a line; CSV with a column `event_id`; JSON of a search")
    };
    let mut export: Box<dyn BufRead> = match arguments.export.to_str() {
        Some("-") => Box::new(BufReader::new(std::io::stdin())),
        _ => {
            let file = File::open(&arguments.export).map_err(|error| {
                let error = anyhow::Error::from(error).context(format!("cannot open `{}`", arguments.export.display()));
                Failure::new(Exit::NoInput, error, "check the path")
            })?;
            Box::new(BufReader::with_capacity(1 << 18, file))
        }
    };
    read_export(&mut *export, &mut |found| ledger.find(found)).map_err(|error| cannot_read(error.into()))?;
    let cannot_write = |error: std::io::Error| {
        let error = anyhow::Error::from(error).context("the missing ids cannot be written");
        Failure::new(Exit::CannotCreate, error, "check the path of `--missing`")
    };
    let file = arguments.missing.as_ref().map(File::create).transpose().map_err(cannot_write)?;
    let mut missing = file.map(BufWriter::new);
    let report = ledger.close(&mut |id| missing.as_mut().map_or(Ok(()), |file| writeln!(file, "{id}")));
    let report = report.map_err(failed)?;
    if let Some(mut file) = missing {
        file.flush().map_err(cannot_write)?;
    }
    let notes = notes(arguments, config.as_ref(), &report);
    let text = if arguments.json { json_text(&report, &notes) } else { text(&report, &notes) };
    output::write(text.as_bytes())?;
    let is_wrong = report.missing > 0 || (arguments.strict && !report.is_clean());
    Ok(if is_wrong { Exit::Failed } else { Exit::Ok })
}

fn failed(error: ReconcileError) -> Failure {
    match error {
        ReconcileError::Unread(error) => unread(error),
        ReconcileError::TooMany(_) => Failure::new(Exit::Usage, error, "ask about less time: `--from`, `--to`"),
    }
}

/// Which events the sink that was named is sent.
fn own_sink(arguments: &Arguments, config: &Config) -> Option<Filter> {
    let name = arguments.sink.as_ref()?;
    config.sinks.iter().find(|part| part.name == *name).map(|part| part.every.when.clone())
}

/// What stands behind the answer.
fn notes(arguments: &Arguments, config: Option<&Config>, report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if arguments.sink.is_none() {
        notes.push("without `--sink`, losses that a sink has declared are not told apart".to_owned());
    }
    let Some(config) = config else {
        notes.push("without `--config` it is not known which sinks there were: every event is expected".to_owned());
        return notes;
    };
    if report.configurations.is_empty() {
        notes.push("the period does not say which configuration was in force".to_owned());
    }
    let own: String = config.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    if report.configurations.iter().any(|hash| *hash != own) {
        notes.push(format!("not in force all the time: this configuration is {own}"));
    }
    match (&arguments.sink, own_sink(arguments, config)) {
        (Some(sink), None) => notes.push(format!("this configuration has no sink `{sink}`")),
        (Some(sink), Some(when)) if !when.is_all() => {
            notes.push(format!("expected is what `when` of sink `{sink}` lets through, and gap records"));
        }
        _ => {}
    }
    notes
}

fn hour(hours: i64) -> String {
    rfc3339(Time(hours.saturating_mul(3_600_000_000_000))).chars().take(13).collect()
}

fn json_text(report: &Report, notes: &[String]) -> String {
    let row = |((source, hours), row): (&(String, i64), &Row)| {
        json!({
            "source": source, "hour": hour(*hours), "archived": row.archived, "missing": row.missing,
            "duplicate": row.duplicate, "late": row.late,
        })
    };
    let rows: Vec<_> = report.rows.iter().map(row).collect();
    let report = json!({
        "complete": report.missing == 0, "archived": report.archived, "not_expected": report.not_expected,
        "found": report.found, "missing": report.missing, "declared_lost": report.declared,
        "duplicates": report.duplicates, "unknown": report.unknown, "malformed": report.malformed,
        "late": report.late, "missing_ids": report.missing_ids, "duplicate_ids": report.duplicate_ids,
        "unknown_ids": report.unknown_ids, "malformed_ids": report.malformed_ids, "late_ids": report.late_ids,
        "by_source_and_hour": rows, "configurations": report.configurations, "notes": notes,
    });
    format!("{report:#}\n")
}

fn text(report: &Report, notes: &[String]) -> String {
    let row = |((source, hours), row): (&(String, i64), &Row)| -> [Cell; 6] {
        let numbers = [row.archived, row.missing, row.duplicate, row.late].map(Cell::from);
        let [archived, missing, duplicate, late] = numbers;
        [source.as_str().into(), hour(*hours).as_str().into(), archived, missing, duplicate, late]
    };
    let rows: Vec<_> = report.rows.iter().map(row).collect();
    let mut text = table(["source", "hour", "archived", "missing", "twice", "late"], &rows);
    text.push('\n');
    for (what, total, ids) in [
        ("missing", report.missing, &report.missing_ids),
        ("twice", report.duplicates, &report.duplicate_ids),
        ("unknown", report.unknown, &report.unknown_ids),
        ("no id", report.malformed, &report.malformed_ids),
        ("late", report.late, &report.late_ids),
    ] {
        for id in ids.iter().take(SHOWN_MAX) {
            text.push_str(&format!("{what:<8} {}\n", visible(id)));
        }
        if total > SHOWN_MAX as u64 {
            text.push_str(&format!("{what:<8} … {} in all\n", count(total, "event")));
        }
    }
    for note in notes {
        text.push_str(&format!("note     {}\n", visible(note)));
    }
    let (archived, found) = (count(report.archived, "event"), count(report.found, "id"));
    text.push_str(&format!("{archived} in the archive, {found} in the export: "));
    text.push_str(&match report.missing {
        0 => "nothing is missing\n".to_owned(),
        missing if report.declared > 0 => {
            format!("{} missing, {} of them declared lost\n", count(missing, "event"), count(report.declared, "event"))
        }
        missing => format!("{} missing\n", count(missing, "event")),
    });
    text
}
