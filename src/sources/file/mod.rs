//! `file`: follows files as they grow, through rotation, truncation and restarts.
//!
//! Way of an event here: files → **round** (look at each file once, off the async threads) → one
//! batch for all of them, with the positions inside → append. Invariants: a position is stored only
//! with the lines before it; a renamed file is read to its end, and what was copied or compressed before
//! it was read, in the copy; bytes that were cut off unread are declared by a gap record.

mod follow;
pub(super) mod glob;
mod rest;
mod sums;
mod tail;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::Field;

use self::follow::{Follow, Round, Settings};
use self::glob::Glob;
use self::sums::{Day, Verdict};
use self::watch::Watch;
use super::options::{FormatName, Reading, Zone};
use super::{Source, SourceConfig, journal_failed};
use crate::intake::{Frames, Intake, Trust};
use crate::part::{ByteSize, Interval, Kind, PartContext, Problem, SetupError};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "file",
    about: "Lines of files as they grow, through rotation and truncation",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// A day's checksums are written once, some minutes after it.
const SUMS_EVERY: Duration = Duration::from_secs(600);

/// Files to follow. One that does not exist yet is no mistake: it is read when it appears.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Paths to follow; `*`, `?`, `[a-z]` stand for parts of a name, `**` for folders.
    include: Vec<PathBuf>,
    /// Paths to leave out, written the same way. Default: none.
    #[serde(default)]
    exclude: Vec<PathBuf>,
    /// Where to begin in files that are there at the very first start; later ones are always read
    /// from the beginning. Default: beginning.
    #[serde(default)]
    read_from: ReadFrom,
    /// Longest line; of a longer one the first 1 KiB is kept. Default: 256KiB.
    #[serde(default = "max_length")]
    max_length: ByteSize,
    /// How often to look for new files, and for changes that the kernel did not report. Default: 1s.
    #[serde(default = "poll_interval")]
    poll_interval: Interval,
    /// How long a file that was renamed or deleted is still read after its last line. Default: 30s.
    #[serde(default = "rotate_wait")]
    rotate_wait: Interval,
    /// Whether to check the chain of checksums that Wazuh keeps over the days of the included `alerts.json` or
    /// `archives.json`: every finished day becomes an event `wazuh.sum`, whose outcome is `failure` where the chain
    /// is broken. Default: false.
    #[serde(default)]
    wazuh_sums: bool,
    /// Format of the lines. Default: auto.
    #[serde(default)]
    format: FormatName,
    /// Zone of timestamps that name none. Default: UTC.
    #[serde(default)]
    zone: Zone,
    /// Whose machine the lines are about: `local` or `relay` (the host or agent named in each
    /// line, as in a manager's file). Default: local.
    #[serde(default = "identity")]
    identity: Trust,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ReadFrom {
    #[default]
    Beginning,
    End,
}

fn max_length() -> ByteSize {
    ByteSize::kib(256)
}

fn poll_interval() -> Interval {
    Interval::seconds(1)
}

fn rotate_wait() -> Interval {
    Interval::seconds(30)
}

fn identity() -> Trust {
    Trust::Local
}

impl Config {
    /// The files beside which Wazuh keeps a folder for each year.
    fn sum_logs(&self) -> impl Iterator<Item = &PathBuf> {
        let is_log = |path: &&PathBuf| path.ends_with("alerts.json") || path.ends_with("archives.json");
        self.include.iter().filter(|_| self.wazuh_sums).filter(is_log)
    }
}

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        let problem =
            |option, message: &str, hint: &str| Problem { option, message: message.to_owned(), hint: hint.to_owned() };
        let mut problems = Vec::new();
        if self.include.is_empty() {
            problems.push(problem("include", "no path is given", "write `include: [/var/log/docker.log]`"));
        }
        if let Some(path) = self.include.iter().find(|path| path.is_dir()) {
            let message = format!("`{}` is a folder", path.display());
            problems.push(problem("include", &message, &format!("write `{}/*.log`", path.display())));
        }
        if self.wazuh_sums && self.sum_logs().next().is_none() {
            let hint = "write `include: [/var/ossec/logs/alerts/alerts.json]`";
            problems.push(problem("wazuh_sums", "no `alerts.json` or `archives.json` is included", hint));
        }
        if self.poll_interval.get() < Duration::from_millis(10) {
            problems.push(problem("poll_interval", "looking that often helps nobody", "write `poll_interval: 1s`"));
        }
        problems
    }

    fn open(&self, _: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        Ok(Box::new(Files { config: self.clone() }))
    }
}

struct Files {
    config: Config,
}

#[async_trait]
impl Source for Files {
    fn endpoints(&self) -> Vec<String> {
        self.config.include.iter().map(|path| format!("file {}", path.display())).collect()
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        let logs: Vec<PathBuf> = self.config.sum_logs().cloned().collect();
        let reading = Reading { format: self.config.format, zone: self.config.zone, trust: self.config.identity };
        let sums = check_sums(logs, reading, intake.clone(), &stop);
        tokio::try_join!(follow(self.config, intake, &stop), sums).map(drop)
    }
}

/// Follows the files until `stop`, with two batches in turns.
async fn follow(config: Config, intake: Intake, stop: &CancellationToken) -> Result<(), SetupError> {
    let Config { include, exclude, read_from, max_length, poll_interval, rotate_wait, format, zone, identity, .. } =
        config;
    let settings = Settings {
        include: include.iter().map(|path| Glob::new(path)).collect(),
        exclude: exclude.iter().map(|path| Glob::new(path)).collect(),
        reading: Reading { format, zone, trust: identity },
        skip_old: read_from == ReadFrom::End,
        line_bytes_max: max_length.as_usize(),
        rotate_wait: rotate_wait.get(),
    };
    let mut watch = Watch::new();
    let mut follow = Follow::new(settings, intake.clone());
    // The batch of the round before.
    let mut read = follow.spare();
    let (mut search, mut due) = (true, Instant::now());
    loop {
        let reading = tokio::task::spawn_blocking(move || {
            let round = follow.round(search);
            (follow, round)
        });
        // While one batch is synced the next is read; that is handed over when the one before is stored.
        let (stored, done) = tokio::join!(intake.append(&mut read), reading);
        stored.map_err(journal_failed)?;
        let round;
        (follow, round) = done.map_err(|error| SetupError::new("cannot read files", error))?;
        let Round { more, folders } = round;
        std::mem::swap(&mut follow.frames, &mut read);
        watch.add(folders);
        if search {
            due = Instant::now() + poll_interval.get();
        }
        // Files that are always written to put no search off: their folder may have been watched too late for another.
        search = Instant::now() >= due;
        // A search asks the journal how far each file was read.
        if !more || search || stop.is_cancelled() {
            intake.append(&mut read).await.map_err(journal_failed)?;
        }
        if stop.is_cancelled() {
            return Ok(());
        }
        if !more && !search {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                names = watch.changed() => search = names,
                () = tokio::time::sleep_until(due) => search = true,
            }
        }
    }
}

/// Checks each day whose checksums were written, now and then, until `stop`. What is not done then is done by the
/// next run.
async fn check_sums(
    logs: Vec<PathBuf>,
    reading: Reading,
    intake: Intake,
    stop: &CancellationToken,
) -> Result<(), SetupError> {
    let work = async {
        loop {
            for log in &logs {
                check_days(log, reading, &intake).await?;
            }
            tokio::time::sleep(SUMS_EVERY).await;
        }
    };
    stop.run_until_cancelled(work).await.unwrap_or(Ok(()))
}

async fn check_days(log: &Path, reading: Reading, intake: &Intake) -> Result<(), SetupError> {
    let mark = format!("sums.{}", log.display());
    let last = intake.marked(&mark).and_then(|stored| Day::from_bytes(&stored));
    let path = log.to_owned();
    let verdicts = tokio::task::spawn_blocking(move || sums::check(&path, last)).await;
    let verdicts = verdicts.map_err(|error| SetupError::new("cannot check sums", error))?;
    let mut frames = intake.frames(reading.origin(&log.to_string_lossy()));
    for verdict in verdicts {
        tell(&verdict, intake, &mut frames);
        intake.mark(&mut frames, &mark, &verdict.day.to_bytes());
    }
    intake.append(&mut frames).await.map_err(journal_failed)
}

fn tell(verdict: &Verdict, intake: &Intake, frames: &mut Frames) {
    let path = verdict.sum.to_string_lossy();
    let is_whole = verdict.breaks.is_empty();
    intake.take_made(frames, path.as_bytes(), |event| {
        event.set(Field::EventClass, "wazuh.sum");
        event.set(Field::Name, if is_whole { "Checksums of Wazuh hold" } else { "Checksums of Wazuh are broken" });
        event.set(Field::Severity, if is_whole { 1 } else { 8 });
        event.set(Field::Outcome, if is_whole { "success" } else { "failure" });
        event.set_text(Field::FilePath, &path);
        event.set_text(Field::Reason, verdict.breaks.join("; "));
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use wharfinger_formats::{Event, stored};

    use super::*;
    use crate::journal::storage::Disk;
    use crate::journal::{Chunk, Journal, Settings as JournalSettings};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_read_meanwhile_is_stored_behind_what_was_read_before() {
        const LINES: usize = 4_000;
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("app.log");
        let line = |number: usize| format!("{number} {}", "x".repeat(300));
        let lines: String = (0..LINES).map(|number| line(number) + "\n").collect();
        std::fs::write(&log, &lines).unwrap();
        let settings = JournalSettings::new(folder.path().join("journal"));
        let (journal, mut stepper) = Journal::open_stepped(settings, Arc::new(Disk)).unwrap();
        // Nothing but what was read makes it store.
        let options = serde_json::json!({ "include": [log], "format": "rfc3164", "poll_interval": "1h" });
        let config: Config = serde_json::from_value(options).unwrap();
        let intake = Intake::new(journal.clone(), Arc::default(), "in", Arc::default());
        let stop = CancellationToken::new();
        let (way, ended) = (intake.clone(), stop.clone());
        let following = tokio::spawn(async move { follow(config, way, &ended).await.is_ok() });

        let (mut cursor, mut chunk) = (journal.cursor("out").unwrap(), Chunk::new());
        let (mut seen, mut commits) = (0, 0);
        let begun = Instant::now();
        while seen < LINES {
            assert!(begun.elapsed() < Duration::from_secs(120), "after {seen} lines nothing more is stored");
            commits += usize::from(stepper.turn());
            tokio::task::yield_now().await;
            // Where it stands is never ahead of what is stored, and no line is stored twice or out of turn.
            while cursor.try_read(&mut chunk, 1 << 20).await.unwrap() {
                for record in chunk.records() {
                    let event = stored::decode(record.payload, Event::new(b"")).unwrap();
                    assert_eq!(event.raw(), line(seen).as_bytes());
                    seen += 1;
                }
            }
            let name = intake.marked_names().into_iter().find(|name| name.contains('.'));
            let offset = name.and_then(|name| intake.marked(&name)).and_then(|mark| mark.first_chunk().copied());
            let stands: usize = (0..seen).map(|number| line(number).len() + 1).sum();
            assert_eq!(u64::from_le_bytes(offset.unwrap_or_default()), stands as u64);
        }
        assert!(commits >= 4, "in pieces");
        stop.cancel();
        while !following.is_finished() {
            stepper.turn();
            tokio::task::yield_now().await;
        }
        assert!(following.await.unwrap());
    }
}
