//! `wharfinger verify`: an archive, checked offline with nothing but the public key.

mod state;

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use wharfinger_formats::Time;

use self::state::State;
use super::archive_read::rfc3339;
use super::config_file::ConfigFile;
use super::convert::now;
use super::failure::{Exit, Failure};
use super::output;
use super::place::{Reach, above};
use super::sealed;
use super::table::{count, grouped, size};
use super::visible::visible;
use crate::archive::{
    Mark, OpenStore, Others, Period, Proof, Question, Report, Verdict, VerifyingKey, Watch, WitnessKey, Witnessed,
    authorities, verify_object, verify_part,
};

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
    /// PEM file of the authorities whose time stamps count: each beside a checkpoint must be signed by one
    #[arg(long, value_name = "FILE")]
    tsa_ca: Option<PathBuf>,
    /// The public key of a witness, or a file with it: he must have signed what is older than 70 minutes,
    /// and each checkpoint that is older than ten. May be given again
    #[arg(long, value_name = "KEY|FILE")]
    witness: Vec<String>,
    /// Until when the archive is to be complete; unless it is given, now
    #[arg(long, value_name = "TIME", conflicts_with = "to")]
    end: Option<String>,
    /// Only objects of what was received from then on, by whole hours: `2026-11-21T09:00:00Z`. All seals up to
    /// the end of the period are checked, and no other object is looked at
    #[arg(long, value_name = "TIME", value_parser = sealed::time)]
    from: Option<Time>,
    /// Only objects of what was received before then
    #[arg(long, value_name = "TIME", value_parser = sealed::time)]
    to: Option<Time>,
    /// Note in this file how far it has come, and go on there when it is there already. It is removed at the
    /// end
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Check this object alone, with its seal: `data/dt=2026-11-21/hour=09/000000000042.ndjson.zst`, with the
    /// name of its stream before it where that is not the first
    #[arg(long, value_name = "KEY", conflicts_with_all = ["anchor", "tsa_ca", "witness", "end", "from", "to", "resume"])]
    object: Option<String>,
    /// Check this proof of one event alone, made by `wharfinger archive prove`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "deep", "anchor", "tsa_ca", "witness", "end", "from", "to", "resume", "object"])]
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
    let end = match (&arguments.end, arguments.to) {
        (Some(text), _) => time(text)?,
        (None, Some(to)) => to.min(now()),
        (None, None) => now(),
    };
    let others = others(arguments)?;
    let (stores, folder) = streams(&arguments.reach, path, &key)?;
    if let Some(object) = &arguments.object {
        return check_object(arguments, &stores, &folder, object, key);
    }
    let question = Question { key, deep: arguments.deep, anchors, end, others };
    let period = Period { from: arguments.from, to: arguments.to };
    if period.from.zip(period.to).is_some_and(|(from, to)| from >= to) {
        let error = anyhow::anyhow!("`--from` is not before `--to`: there is nothing between them");
        return Err(Failure::new(Exit::VerifyUsage, error, "write the earlier time as `--from`"));
    }
    let asked = asked(&question, period, path, arguments.reach.endpoint.as_deref());
    let state = arguments.resume.as_deref().map(|path| State::open(path, &asked, &stores)).transpose()?;
    let mark = state.as_ref().map(State::mark).unwrap_or_default();
    let mut watch = Shown { bar: bar(), state };
    let reports = verify_part(&stores, &folder, &question, period, mark, &mut watch);
    watch.bar.finish_and_clear();
    let reports = reports.map_err(unreadable)?;
    let text = if arguments.json { format!("{:#}\n", json(&reports)) } else { text(&reports) };
    output::write(text.as_bytes())?;
    if let Some(state) = watch.state.take() {
        state.finish()?;
    }
    Ok(exit(&reports))
}

/// What a state is of. Another copy is another archive: what was read in one says nothing of the other.
fn asked(question: &Question, period: Period, path: &Path, endpoint: Option<&str>) -> String {
    let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (key, deep, place) = (&question.key, question.deep, place.display());
    format!("{key} {deep} {period:?} {place} {}", endpoint.unwrap_or_default())
}

/// The way, on the terminal and in a file.
pub(super) struct Shown {
    bar: ProgressBar,
    state: Option<State>,
}

impl Shown {
    /// On the terminal alone.
    pub(super) fn bar() -> Shown {
        Shown { bar: bar(), state: None }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Shown {
    fn done(&mut self, seals: u64, of: u64, bytes: u64) {
        self.bar.set_length(of);
        self.bar.set_position(seals);
        self.bar.set_message(size(bytes));
    }

    fn reached(&mut self, mark: &Mark) {
        if let Some(Err(error)) = self.state.as_mut().map(|state| state.reached(mark)) {
            eprintln!("warning: how far this is can be noted no more: {error}");
            self.state = None;
        }
    }
}

/// One object, with the seals that speak for it.
fn check_object(
    arguments: &Arguments,
    stores: &OpenStore,
    folder: &str,
    object: &str,
    key: VerifyingKey,
) -> Result<Exit, Failure> {
    let (stream, object) = match object.find("data/dt=") {
        Some(at) => (object[..at].trim_end_matches('/'), &object[at..]),
        None => ("", object),
    };
    let stream = stream.rsplit('/').next().filter(|stream| !stream.is_empty()).unwrap_or(folder);
    let mut readers = sealed::readers(stores, folder, Some(key))?;
    let reader = readers.iter_mut().find(|(name, _)| name == stream);
    let (_, reader) = reader.ok_or_else(|| {
        usage(anyhow::anyhow!("the archive has no stream `{stream}`"), "`--object audit.2/data/…` names one")
    })?;
    let (sealed, findings) = verify_object(reader, object, arguments.deep).map_err(sealed::unread)?;
    let exit = findings.first().map_or(Exit::Ok, |finding| Exit::from(finding.fault));
    let text = match (arguments.json, sealed) {
        (true, sealed) => {
            let sealed = sealed.map(|sealed| {
                json!({
                    "seal": sealed.seq, "time": rfc3339(sealed.time), "bytes": sealed.bytes,
                    "records": sealed.records,
                })
            });
            let report = json!({
                "good": findings.is_empty(), "exit": exit as u8, "stream": stream, "object": object,
                "sealed": sealed, "findings": findings,
            });
            format!("{report:#}\n")
        }
        (false, Some(sealed)) if findings.is_empty() => format!(
            "good: {} is the object that was sealed {} by seal {}: {}, {}\n",
            visible(object),
            rfc3339(sealed.time),
            sealed.seq,
            count(sealed.records, "record"),
            size(sealed.bytes)
        ),
        _ => findings.iter().map(|found| format!("BAD: {}: {}\n", visible(&found.key), visible(&found.what))).collect(),
    };
    output::write(text.as_bytes())?;
    Ok(exit)
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

pub(super) fn exit(reports: &[Report]) -> Exit {
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
pub(super) fn anchor(path: &Path) -> Result<Vec<u8>, Failure> {
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

/// Who else vouches for the archive.
fn others(arguments: &Arguments) -> Result<Others, Failure> {
    let hint = "a PEM file with the certificate of the authority";
    let authorities = arguments.tsa_ca.as_deref().map(authorities).transpose();
    let authorities = authorities.map_err(|error| usage(anyhow::Error::from(error), hint))?;
    let witnesses = arguments.witness.iter().map(|text| witness(text)).collect::<Result<_, _>>()?;
    Ok(Others { authorities, witnesses })
}

fn witness(text: &str) -> Result<WitnessKey, Failure> {
    let of_file = || WitnessKey::parse(fs::read_to_string(text).ok()?.lines().next()?);
    let no_key = || anyhow::anyhow!("`{text}` is neither the key of a witness nor a file with one");
    WitnessKey::parse(text).or_else(of_file).ok_or_else(|| usage(no_key(), "write `name+id+base64`; its kind is 4"))
}

fn time(text: &str) -> Result<Time, Failure> {
    let read = Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len());
    read.map(|(time, _)| time)
        .ok_or_else(|| usage(anyhow::anyhow!("`{text}` is no time"), "write `2026-11-21T09:00:00Z`"))
}

/// The folders of the archive and the name of the first.
pub(super) fn streams(reach: &Reach, path: &Path, key: &VerifyingKey) -> Result<(OpenStore, String), Failure> {
    let name = key.name().rsplit('/').next().unwrap_or_default().to_owned();
    let stores = reach.stores(path).map_err(Failure::of_verify)?;
    if has_seals(&stores, &name)? {
        return Ok((stores, name));
    }
    match above(path) {
        Some((above, folder)) if has_seals(&stores, "")? => {
            Ok((reach.stores(&above).map_err(Failure::of_verify)?, folder))
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
    let is_part = reports.iter().any(|report| report.passed_over.is_some());
    let has_objects = reports.iter().any(|report| report.objects > 0);
    text.push_str(match exit(reports) {
        Exit::Ok if is_part && !has_objects => "good: nothing was sealed of the period, and no seal is missing\n",
        Exit::Ok if is_part => "good: every object of the period is the one that was sealed, and none is missing\n",
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
    if let Some(passed_over) = &report.passed_over {
        let side = |time: &Option<String>, none: &str| time.clone().unwrap_or_else(|| none.to_owned());
        text.push_str(&format!(
            "period       {} to {}, by whole hours\nnot read     {} of other hours, {} behind the period\n",
            side(&passed_over.from, "the beginning"),
            side(&passed_over.to, "the end"),
            count(passed_over.objects, "object"),
            count(passed_over.seals, "seal"),
        ));
    }
    if report.read_before > 0 {
        text.push_str(&format!("read before  {}\n", count(report.read_before, "object")));
    }
    if let Some(stamped) = &report.stamped {
        let how = if stamped.is_proven { "existed at" } else { "(unchecked, without --tsa-ca) existed at" };
        let (seals, stamps) = (grouped(stamped.seals), count(report.stamps, "time stamp"));
        text.push_str(&format!("proven time  the first {seals} seals {how} {}: {stamps}\n", stamped.time));
    }
    for Witnessed { name, seals, time, .. } in &report.witnesses {
        let seals = grouped(*seals);
        text.push_str(&format!("witness      {} has signed the first {seals} seals at {time}\n", visible(name)));
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::archive::{Others, SigningKey};

    /// Whoever verifies two copies with one file for the state reads both.
    #[test]
    fn a_state_is_of_one_copy_and_one_question() {
        let key = SigningKey::generate("gw/audit").unwrap().verifying().clone();
        let (end, others) = (Time(0), Others::default());
        let shallow = Question { key, deep: false, anchors: Vec::new(), end, others };
        let deep = Question { deep: true, ..shallow.clone() };
        let copies = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, two] = copies.each_ref().map(|copy| copy.path());
        let hour = Period { from: Some(Time(1)), to: None };
        let all = [
            asked(&shallow, Period::default(), one, None),
            asked(&shallow, Period::default(), two, None),
            asked(&shallow, Period::default(), one, Some("http://s3.example")),
            asked(&shallow, hour, one, None),
            asked(&deep, Period::default(), one, None),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "{all:?}");
        assert_eq!(asked(&shallow, Period::default(), &one.join("../").join(one.file_name().unwrap()), None), all[0]);
    }
}
