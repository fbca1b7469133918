//! `wharfinger report export` and `verify`: evidence packs.
//!
//! The archive is verified first; what is not as it was sealed is left out and named. `wharfinger-report` writes the
//! pack, and what the verifier says, the facts of the run and the manifest are put beside it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wharfinger_formats::Time;
use wharfinger_formats::visible::visible;

use super::super::archive_read::rfc3339;
use super::super::convert::now;
use super::super::engine::{Engine, Evidence, Folder, Named};
use super::super::failure::{Exit, Failure};
use super::super::output;
use super::super::reconcile::interval;
use super::super::sealed::Which;
use super::super::table::{count, size};
use super::super::verify;
use crate::archive::{KeyFile, MANIFEST, Manifest, Mark, Others, Question, Report, Verdict, VerifyingKey, verify_part};
use crate::gateway;
use crate::identity::{Entry, inventory};
use crate::part::Interval;
use crate::policy::Policy;

/// Facts of the run: who, when, with which words. Another run has others, so the manifest does not list it.
const RUN: &str = "run.json";
const UNLISTED: &[&str] = &[RUN];

/// Write the evidence pack of a framework: what is evidence for each clause, who was covered, what is missing
///
/// The archive is verified first. The pack says `complete`, `complete with listed gaps` or `not provable`; the same
/// archive, period and catalogue make the same bytes. Ends with the code of `verify` where the archive is not as it
/// was sealed, and with 65 where no `--key` was given.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub which: Which,
    /// For which framework: `pci-dss-4.0.1`; a wrong name lists all
    #[arg(long, value_name = "NAME")]
    framework: String,
    /// Only machines of this group or with this tag
    #[arg(long, value_name = "GROUP|TAG", value_parser = scope)]
    scope: Option<String>,
    /// The folder of the pack; there must be none yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The private key to sign the manifest with, from `wharfinger keygen`
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// A list of machines that should have been heard. May be given again; unless it is, those that `--config` names
    #[arg(long, value_name = "FILE")]
    inventory: Vec<PathBuf>,
    /// A machine that says nothing for so long is silent: `15m`
    #[arg(long, value_name = "INTERVAL", default_value = "15m", value_parser = interval)]
    silent_after: Interval,
    /// A checkpoint that was kept elsewhere: the archive must be the one it is of. May be given again
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,
    /// Inflate every object and make the root of its records again
    #[arg(long)]
    deep: bool,
    /// End with 0 even if the archive cannot be vouched for. The pack says so all the same
    #[arg(long)]
    allow_unproven: bool,
    /// Take the Parquet in this folder as it is, and make what is missing there. Unless it is given, everything is made
    /// anew of the evidence, and thrown away afterwards
    #[arg(long, value_name = "FOLDER")]
    parquet: Option<PathBuf>,
    /// Memory the engine may take, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..))]
    memory: u64,
}

/// Check an evidence pack: that every file is the one that was listed, and who has signed
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// The folder of the pack
    #[arg(value_name = "PACK")]
    pack: PathBuf,
    /// The public key that has signed it, or a file with it. Without one nobody vouches for the list itself
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
}

fn scope(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| letter.is_alphanumeric() || "._:/=@ -".contains(letter);
    match !text.is_empty() && text.len() <= 128 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("the name of a group or a tag".to_owned()),
    }
}

/// What the verifier says.
pub(super) struct Checked {
    pub exit: Exit,
    pub verdict: String,
    pub findings: Vec<String>,
    /// Keys of what is not as it was sealed, with the stream of each.
    pub faulty: Vec<(String, String)>,
    /// What was sealed as lost in the period.
    pub gaps: Vec<String>,
    text: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let period = arguments.which.part.period();
    let (from, to) = match (period.from, period.to) {
        (Some(from), Some(to)) if from < to => (from, to),
        (Some(_), Some(_)) => return Err(usage("`--from` is not before `--to`", "write the earlier time as `--from`")),
        _ => return Err(usage("the period is not said", "`--from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z`")),
    };
    let key = arguments.sign.as_ref().map(|path| KeyFile::new(path).read()).transpose();
    let key = key.map_err(|error| Failure::new(Exit::NoInput, error, "`wharfinger keygen` makes one"))?;
    let begun = now();
    let checked = check(arguments, to)?;
    let (evidence, unread) = Evidence::there(arguments.which.open()?, period, &checked.faulty);
    let mut unread: Vec<_> = unread.iter().map(Named::to_string).collect();
    if to > begun {
        unread.push("the period has not ended".to_owned());
    }
    let inventory = machines(arguments)?;
    let mut pack = part(&arguments.out)?;
    let part = pack.path.clone();
    let folder = match &arguments.parquet {
        Some(path) => Folder::kept(path.clone()),
        None => Folder::temporary(&part.join(".parquet"))?,
    };
    let task = task(arguments, &part, (from, to), &checked, &unread, &evidence, inventory.as_deref());
    let said = Engine::ask(period, &evidence, &folder.path, &json!({"export": task}))?.value()?;
    drop(folder);
    let write = |name: &str, text: &str| {
        fs::write(part.join(name), text).map_err(|error| cannot_write(&part.join(name), error.into()))
    };
    write("integrity.txt", &format!("{}\n{}.\n", checked.text, tables(arguments)))?;
    write(RUN, &format!("{:#}\n", run_facts(begun, &arguments.which.path)))?;
    let mut about = vec![
        ("framework".to_owned(), arguments.framework.clone()),
        ("period".to_owned(), format!("{} {}", rfc3339(from), rfc3339(to))),
    ];
    about.extend(evidence.last_seals().map(|(stream, seal)| ("as-of".to_owned(), format!("{stream} {seal}"))));
    about.extend(yardsticks(arguments, inventory.as_deref()).into_iter().map(|said| ("with".to_owned(), said)));
    about.push(("result".to_owned(), said["result"].as_str().unwrap_or_default().to_owned()));
    let failed = |error: std::io::Error| cannot_write(&part, error.into());
    let manifest = Manifest::of(&part, about, UNLISTED).map_err(failed)?;
    let text_of = manifest.write(key.as_ref()).map_err(|error| cannot_write(&part, error.into()))?;
    write(MANIFEST, &text_of)?;
    sync(&part).map_err(failed)?;
    fs::rename(&part, &arguments.out).map_err(|error| cannot_write(&arguments.out, error.into()))?;
    pack.keep();
    output::write(text(&said, &manifest, arguments, key.is_some()).as_bytes())?;
    Ok(match checked.exit {
        _ if arguments.allow_unproven => Exit::Ok,
        Exit::Ok if !unread.is_empty() => Exit::Data,
        exit => exit,
    })
}

/// Verifies what is asked for.
fn check(arguments: &Arguments, to: Time) -> Result<Checked, Failure> {
    let Some(text) = &arguments.which.part.key else {
        let verdict = "no public key was given, so the seals are taken on trust".to_owned();
        let text = format!("NOT CHECKED: {verdict}\n");
        return Ok(Checked {
            exit: Exit::Data,
            verdict,
            findings: Vec::new(),
            faulty: Vec::new(),
            gaps: Vec::new(),
            text,
        });
    };
    let key = verify::key(text)?;
    let of_key = key.name().rsplit('/').next();
    if arguments.which.part.stream.as_deref().is_some_and(|stream| Some(stream) != of_key) {
        return Err(usage("`--stream` is not the one that `--key` is of", "leave `--stream` out"));
    }
    let (stores, folder) = verify::streams(&arguments.which.reach, &arguments.which.path, &key)?;
    let anchors = arguments.anchor.iter().map(|path| verify::anchor(path)).collect::<Result<_, _>>()?;
    let others = Others { authorities: None, witnesses: Vec::new() };
    let question = Question { key: key.clone(), deep: arguments.deep, anchors, end: to.min(now()), others };
    let mut watch = verify::Shown::bar();
    let reports = verify_part(&stores, &folder, &question, arguments.which.part.period(), Mark::default(), &mut watch);
    drop(watch);
    let reports = reports.map_err(verify::unreadable)?;
    Ok(checked(&key, &reports))
}

/// Only what stays true when the archive grows: the pack is to be the same then.
pub(super) fn checked(key: &VerifyingKey, reports: &[Report]) -> Checked {
    let exit = verify::exit(reports);
    let verdict = match exit {
        Exit::Ok => "every object of the period is the one that was sealed, and none is missing",
        Exit::EndNotProven => "nothing was altered, but the newest objects may have been withheld",
        _ => "the archive is not as it was sealed",
    };
    let mut text =
        format!("{}: {verdict}\npublic key of the first seal: {key}\n", if exit == Exit::Ok { "GOOD" } else { "BAD" });
    let (mut findings, mut faulty, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    for report in reports {
        // A stream that began later says nothing of the period.
        if report.objects == 0 && report.gaps.is_empty() && report.findings.is_empty() {
            continue;
        }
        let (objects, bytes) = (count(report.objects, "object"), size(report.bytes));
        text.push_str(&format!(
            "\nstream {}\n  {objects} of the period, {bytes}, checked against their seals\n",
            visible(&report.origin)
        ));
        if let Verdict::Bad(fault) = report.verdict() {
            text.push_str(&format!("  fault: {fault:?}\n"));
        }
        for gap in &report.gaps {
            gaps.push(visible(gap).into_owned());
            text.push_str(&format!("  gap sealed in the period, or of an unknown time: {}\n", visible(gap)));
        }
        for finding in &report.findings {
            let line = format!("{}: {}", visible(&finding.key), visible(&finding.what));
            text.push_str(&format!("  {line}\n"));
            findings.push(line);
        }
        let stream = report.origin.rsplit('/').next().unwrap_or_default();
        faulty.extend(report.faulty().map(|key| (stream.to_owned(), key.to_owned())));
        let more = report.findings_total - report.findings.len() as u64;
        if more > 0 {
            text.push_str(&format!("  and {more} findings more\n"));
        }
    }
    Checked { exit, verdict: verdict.to_owned(), findings, faulty, gaps, text }
}

/// Of what the tables are made.
fn tables(arguments: &Arguments) -> &'static str {
    match &arguments.parquet {
        Some(_) => {
            "The tables were made of Parquet that was there before, and was not compared with the evidence again"
        }
        None => "The tables were made of the evidence, each object checked against its seal",
    }
}

/// What it was measured by: whoever reads the result has to know.
fn yardsticks(arguments: &Arguments, inventory: Option<&[Value]>) -> Vec<String> {
    let depth = if arguments.deep { "every object was inflated and its root made again" } else { "hashes of objects" };
    vec![
        format!("silent after {}", arguments.silent_after),
        inventory_words(inventory),
        format!("{}, {depth}", count(arguments.anchor.len() as u64, "anchor")),
        tables(arguments).to_lowercase(),
    ]
}

/// The inventory, with a hash by which two are told apart.
pub(super) fn inventory_words(inventory: Option<&[Value]>) -> String {
    match inventory {
        None => "no inventory".to_owned(),
        Some(machines) => {
            let hash = Sha256::digest(json!(machines).to_string());
            let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("an inventory of {}, SHA-256 {hash}", count(machines.len() as u64, "machine"))
        }
    }
}

fn task(
    arguments: &Arguments,
    pack: &Path,
    (from, to): (Time, Time),
    checked: &Checked,
    unread: &[String],
    evidence: &Evidence,
    inventory: Option<&[Value]>,
) -> Value {
    let findings: Vec<_> = checked.findings.iter().chain(unread).map(|text| visible(text)).collect();
    json!({
        "pack": pack,
        "framework": arguments.framework,
        "scope": arguments.scope,
        "from": rfc3339(from),
        "to": rfc3339(to),
        "tool": concat!("wharfinger ", env!("CARGO_PKG_VERSION")),
        "verified": {
            "good": checked.exit == Exit::Ok && unread.is_empty(),
            "verdict": checked.verdict,
            "findings": findings,
            "gaps": checked.gaps,
        },
        "yardsticks": yardsticks(arguments, inventory),
        "seals": seals(evidence),
        "inventory": inventory,
        "silent_seconds": arguments.silent_after.get().as_secs(),
        "limits": {"seconds": u32::MAX, "memory_bytes": arguments.memory << 20},
    })
}

/// What the seals say of each object.
pub(super) fn seals(evidence: &Evidence) -> Vec<Value> {
    let seals = evidence.sealed.iter().map(|(_, sealed)| {
        let sources: Vec<_> = sealed.sources.iter().map(|source| json!([source.name, source.records])).collect();
        json!({
            "time": sealed.time.0.div_euclid(1_000), "bytes": sealed.bytes, "filtered": sealed.tally.filtered,
            "quarantined": sealed.tally.quarantined, "dropped": sealed.tally.dropped, "sources": sources,
        })
    });
    seals.collect()
}

/// The machines that should have been heard; none: no inventory was named.
fn machines(arguments: &Arguments) -> Result<Option<Vec<Value>>, Failure> {
    let failed = |error: anyhow::Error| Failure::new(Exit::Config, error, "`wharfinger inventory check` says more");
    let mut entries: Vec<Entry> = Vec::new();
    for path in &arguments.inventory {
        entries.extend(inventory::read(path).map_err(|error| failed(error.into()))?.entries);
    }
    let mut policy = None;
    if arguments.which.file.config.is_some() {
        let config = arguments.which.file.load()?.config;
        if arguments.inventory.is_empty() {
            entries = gateway::known_machines(&config).map_err(failed)?;
        }
        policy = Some(config.policy);
    } else if arguments.inventory.is_empty() {
        return Ok(None);
    }
    Ok(Some(machine_rows(&entries, policy.as_deref())))
}

/// Machines of an inventory as the engine takes them.
pub(super) fn machine_rows(entries: &[Entry], policy: Option<&Policy>) -> Vec<Value> {
    let machine = |entry: &Entry| {
        let id = entry.uuid.map_or_else(|| entry.name.clone(), |uuid| uuid.to_string());
        let judged = policy.and_then(|policy| policy.group_of(&entry.facts()).map(str::to_owned));
        let group = judged.or_else(|| Some(entry.group.clone()).filter(|group| !group.is_empty()));
        // Whoever names machines is not who reads the pack.
        let seen = |text: &str| visible(text).into_owned();
        json!({
            "id": seen(&id), "name": seen(&entry.name), "has_id": entry.uuid.is_some(), "group": group.map(|group| seen(&group)),
            "tags": entry.tags.iter().map(|tag| seen(tag)).collect::<Vec<_>>(), "is_on": entry.power != "off",
        })
    };
    entries.iter().map(machine).collect()
}

/// Who made it, when and how.
fn run_facts(begun: Time, archive: &Path) -> Value {
    let own = |name: &str| std::env::var(name).ok();
    let arguments: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    json!({
        "begun": rfc3339(begun), "ended": rfc3339(now()), "command": arguments, "archive": archive,
        "user": own("SUDO_USER").or_else(|| own("USER")), "uid": rustix::process::getuid().as_raw(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Where it is made before it has its name: nobody else has a folder of that name. It goes away unless it gets its
/// own.
fn part(out: &Path) -> Result<Folder, Failure> {
    if out.symlink_metadata().is_ok() {
        let error = anyhow::anyhow!("`{}` is there already", out.display());
        return Err(Failure::new(Exit::CannotCreate, error, "a pack is never written over: name another folder"));
    }
    let Some(name) = out.file_name() else { return Err(usage("`--out` names no folder", "`--out pack-2026-11`")) };
    let above = out.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = fs::canonicalize(above).map_err(|error| cannot_write(above, error.into()))?;
    let mut part = std::ffi::OsString::from(".part-");
    part.push(name);
    Folder::temporary(&above.join(part))
}

/// Every file is on disk when this returns.
fn sync(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        fs::File::open(entry?.path())?.sync_all()?;
    }
    fs::File::open(folder)?.sync_all()
}

fn usage(what: &str, hint: &str) -> Failure {
    Failure::new(Exit::Usage, anyhow::anyhow!("{what}"), hint)
}

fn cannot_write(path: &Path, error: anyhow::Error) -> Failure {
    let error = error.context(format!("cannot write `{}`", path.display()));
    Failure::new(Exit::CannotCreate, error, "is there room in the folder, and may this user write to it?")
}

/// What a person is told on the terminal.
fn text(said: &Value, manifest: &Manifest, arguments: &Arguments, is_signed: bool) -> String {
    const SHOWN: usize = 20;
    let missing = said["missing"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text =
        format!("{}: {}\n", visible(&arguments.out.display().to_string()), said["result"].as_str().unwrap_or(""));
    for one in missing.iter().take(SHOWN) {
        text.push_str(&format!("  {}\n", visible(one["text"].as_str().unwrap_or_default())));
    }
    let more = missing.len().saturating_sub(SHOWN) as u64 + said["missing_more"].as_u64().unwrap_or(0);
    if more > 0 {
        text.push_str(&format!("  and {more} things more, in summary.txt\n"));
    }
    let signed = if is_signed { "signed" } else { "not signed: `--sign` names a key" };
    text.push_str(&format!("{}, {signed}\n", count(manifest.len() as u64, "file")));
    text
}

pub(super) fn check_pack(arguments: &VerifyArguments) -> Result<Exit, Failure> {
    let key = arguments.key.as_deref().map(verify::key).transpose()?;
    let checked = Manifest::check(&arguments.pack, key.as_ref(), UNLISTED);
    let (manifest, findings) = checked.map_err(|error| {
        let error = anyhow::Error::from(error).context(format!("`{}` cannot be checked", arguments.pack.display()));
        Failure::new(Exit::NoInput, error, "name the folder that `wharfinger report export` has written")
    })?;
    let mut text = String::new();
    for (word, value) in &manifest.about {
        text.push_str(&format!("{:<10} {}\n", visible(word), visible(value)));
    }
    for finding in &findings {
        text.push_str(&format!("BAD: {}: {}\n", visible(&finding.key), visible(&finding.what)));
    }
    text.push_str(&match (&findings[..], key) {
        ([], Some(key)) => {
            format!("good: {} as listed, signed by {}\n", count(manifest.len() as u64, "file"), visible(key.name()))
        }
        ([], None) => format!(
            "as listed: {}; without `--key` nobody vouches for the list\n",
            count(manifest.len() as u64, "file")
        ),
        _ => "BAD: the pack is not as it was made\n".to_owned(),
    });
    output::write(text.as_bytes())?;
    Ok(findings.first().map_or(Exit::Ok, |finding| Exit::from(finding.fault)))
}
