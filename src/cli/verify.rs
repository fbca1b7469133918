//! `wharfinger verify`: an archive, checked offline with nothing but the public key.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use wharfinger_formats::Time;

use super::config_file::ConfigFile;
use super::convert::now;
use super::failure::{Exit, Failure};
use super::output;
use super::place::{Reach, above};
use super::table::{count, grouped, size};
use super::visible::visible;
use crate::archive::{OpenStore, Proof, Question, Report, Verdict, VerifyingKey, verify_archive};

/// Check an archive offline: every object and seal against the public key of its first seal
///
/// Exit codes: 0 good, 2 wrong usage, 10 altered, 11 missing or in another order, 12 foreign object,
/// 13 bad or unknown signature, 14 the end is not proven, 15 not the stream an anchor is of.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder of the archive, as the sink's `path` names it, or `s3://bucket/prefix`; or the folder of
    /// one stream
    #[arg(required_unless_present = "proof")]
    path: Option<PathBuf>,
    /// The public key of the first seal, or a file with it: the gateway prints it when the archive begins
    #[arg(long, value_name = "KEY|FILE")]
    key: String,
    /// Inflate every object and make the root of its records again
    #[arg(long)]
    deep: bool,
    /// A checkpoint that was kept elsewhere: the archive must be the one it is of. May be given again
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,
    /// Until when the archive is to be complete; unless it is given, now
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Check this proof of one event alone, made by `wharfinger archive prove`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "deep", "anchor", "end"])]
    proof: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    pub file: ConfigFile,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

/// No anchor is longer.
const ANCHOR_BYTES_MAX: u64 = 1 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let key = key(&arguments.key)?;
    let path = match (&arguments.path, &arguments.proof) {
        (_, Some(proof)) => return check_proof(proof, &key, arguments.json),
        (Some(path), None) => path,
        (None, None) => return Err(usage(anyhow::anyhow!("no archive is named"), "name its folder")),
    };
    let anchors = arguments.anchor.iter().map(|path| anchor(path)).collect::<Result<_, _>>()?;
    let end = match &arguments.end {
        Some(text) => time(text)?,
        None => now(),
    };
    let (stores, folder) = streams(arguments, path, &key)?;
    let question = Question { key, deep: arguments.deep, anchors, end };
    let bar = bar();
    let reports = verify_archive(&stores, &folder, &question, &mut |done, total, bytes| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(size(bytes));
    });
    bar.finish_and_clear();
    let reports = reports.map_err(unreadable)?;
    let text = if arguments.json { format!("{:#}\n", json(&reports)) } else { text(&reports) };
    output::write(text.as_bytes())?;
    Ok(exit(&reports))
}

/// One event, shown alone.
fn check_proof(path: &Path, key: &VerifyingKey, as_json: bool) -> Result<Exit, Failure> {
    let read = fs::read(path).map_err(anyhow::Error::from).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    let proof: Proof = read.map_err(|error| {
        usage(error.context(format!("`{}` is no proof", path.display())), "`wharfinger archive prove` makes one")
    })?;
    let (exit, text) = match proof.check(key) {
        Ok(shown) if as_json => (Exit::Ok, format!("{:#}\n", json!({ "good": true, "shown": shown }))),
        Ok(shown) => {
            let (origin, object) = (visible(&shown.origin), visible(&shown.object));
            (Exit::Ok, format!("good: sealed {} by seal {} of {origin}, in {object}\n", shown.sealed, shown.seal))
        }
        Err(why) if as_json => (Exit::Signature, format!("{:#}\n", json!({ "good": false, "why": why }))),
        Err(why) => (Exit::Signature, format!("BAD: {why}\n")),
    };
    output::write(text.as_bytes())?;
    Ok(exit)
}

fn exit(reports: &[Report]) -> Exit {
    let fault = reports.iter().find_map(|report| match report.verdict() {
        Verdict::Good => None,
        Verdict::Bad(fault) => Some(fault),
    });
    fault.map_or(Exit::Ok, Exit::from)
}

fn usage(error: anyhow::Error, hint: &str) -> Failure {
    Failure::new(Exit::VerifyUsage, error, hint)
}

/// The key as it is written, or the first line of a file.
pub(super) fn key(text: &str) -> Result<VerifyingKey, Failure> {
    if let Some(key) = VerifyingKey::parse(text) {
        return Ok(key);
    }
    let hint = "write `name+id+base64`, or a file with that: the gateway keeps one as `sealing/<sink>/vkey-1` in its data directory";
    let read = fs::read_to_string(text).map_err(|error| {
        usage(anyhow::Error::from(error).context(format!("`{text}` is neither a key nor a file")), hint)
    })?;
    let key = read.lines().next().and_then(VerifyingKey::parse);
    key.ok_or_else(|| usage(anyhow::anyhow!("the file `{text}` holds no public key"), hint))
}

/// A checkpoint in a file: as it was written, or from a SIEM, where `\n` stands for its line ends.
fn anchor(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |cause: String| {
        let error = anyhow::anyhow!(cause).context(format!("the anchor `{}` cannot be used", path.display()));
        usage(error, "the message of an `archive.checkpoint` event, or a file from `checkpoint/`")
    };
    let length = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > ANCHOR_BYTES_MAX {
        return Err(failed(format!("{length} bytes are no checkpoint")));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let mut text = text.replace("\r\n", "\n").replace("\\n", "\n");
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(text.into_bytes())
}

fn time(text: &str) -> Result<Time, Failure> {
    let read = Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len());
    read.map(|(time, _)| time)
        .ok_or_else(|| usage(anyhow::anyhow!("`{text}` is no time"), "write `2026-11-21T09:00:00Z`"))
}

/// The folders of the archive and the name of the first.
fn streams(arguments: &Arguments, path: &Path, key: &VerifyingKey) -> Result<(OpenStore, String), Failure> {
    let name = key.name().rsplit('/').next().unwrap_or_default().to_owned();
    let stores = arguments.reach.stores(path).map_err(Failure::of_verify)?;
    if has_seals(&stores, &name)? {
        return Ok((stores, name));
    }
    match above(path) {
        Some((above, folder)) if has_seals(&stores, "")? => {
            Ok((arguments.reach.stores(&above).map_err(Failure::of_verify)?, folder))
        }
        _ => {
            let error = anyhow::anyhow!("there is no archive of `{}` in `{}`", key.name(), path.display());
            Err(usage(error, "name the folder in which the folder of the archive is"))
        }
    }
}

pub(super) fn has_seals(stores: &OpenStore, folder: &str) -> Result<bool, Failure> {
    let store = stores(folder);
    // Of a long stream the list is long, and its first seal is there.
    let found =
        store.open("seal/000000000000").and_then(|first| Ok(first.is_some() || !store.keys("seal")?.is_empty()));
    found.map_err(unreadable)
}

pub(super) fn unreadable(error: std::io::Error) -> Failure {
    let error = anyhow::Error::from(error).context("the archive cannot be read");
    Failure::new(Exit::NoInput, error, "may this user read it?")
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed} {bar:30} {pos}/{len} seals, {msg}, {eta} left");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn json(reports: &[Report]) -> serde_json::Value {
    json!({ "good": exit(reports) == Exit::Ok, "exit": exit(reports) as u8, "streams": reports })
}

fn text(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        text.push_str(&of_stream(report));
    }
    text.push_str(match exit(reports) {
        Exit::Ok => "good: every object is the one that was sealed, and nothing is missing\n",
        Exit::EndNotProven => "not proven: nothing was altered, but the newest objects may have been withheld\n",
        _ => "BAD: the archive is not as it was sealed\n",
    });
    text
}

fn of_stream(report: &Report) -> String {
    let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "never".to_owned());
    let (seals, checkpoints) = (count(report.seals, "seal"), count(report.checkpoints, "checkpoint"));
    let mut text = format!(
        "stream       {}\nsealed       {} to {}: {seals}, {checkpoints}, {}\nobjects      {}, {}\nnumbers      {}",
        visible(&report.origin),
        time(&report.first_time),
        time(&report.last_time),
        count(report.anchors, "anchor"),
        grouped(report.objects),
        size(report.bytes),
        count(report.taken, "event"),
    );
    for (name, number) in [
        ("archived", report.archived),
        ("filtered", report.filtered),
        ("quarantined", report.quarantined),
        ("lost", report.dropped),
    ] {
        if number > 0 || name == "archived" {
            text.push_str(&format!(", {} {name}", grouped(number)));
        }
    }
    text.push('\n');
    for gap in &report.gaps {
        text.push_str(&format!("gap          {}\n", visible(gap)));
    }
    for finding in &report.findings {
        let fault = format!("{:?}", finding.fault).to_lowercase();
        text.push_str(&format!("{fault:<12} {}: {}\n", visible(&finding.key), visible(&finding.what)));
    }
    let more = report.findings_total - report.findings.len() as u64;
    if more > 0 {
        text.push_str(&format!("             and {} more\n", grouped(more)));
    }
    text.push('\n');
    text
}
