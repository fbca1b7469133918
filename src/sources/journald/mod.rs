//! `journald`: the systemd journal, as `journalctl` tells it.
//!
//! Way of an event here: journal files → `journalctl` (a child process that follows) → **entry** → intake. Its
//! cursor is stored in the batch of its entry. Invariants: an entry is handed on once; where the last one is no
//! longer among them a gap record says so; a child that ends is started again, and the gateway waits for nobody
//! but the journal of its own.

mod child;
mod entry;
mod own;
mod parts;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use wharfinger_formats::frame::{ExportFramer, Frame};

use self::child::{last_words, listen};
use self::own::Own;
use self::parts::Parts;
use super::fill::{PIECE_BYTES, fill};
use super::options::{FormatName, Reading, Zone};
use super::weight::Weight;
use super::{Source, SourceConfig, journal_failed};
use crate::intake::{Frames, Gap, Intake, Trust};
use crate::part::{ByteSize, Kind, PartContext, Problem, SetupError};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "journald",
    about: "Entries of the systemd journal, with resume and declared gaps",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// Under this name the cursor of the last entry is stored.
const CURSOR: &str = "cursor";

const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Entries of the systemd journal, read by `journalctl`, which must be installed. The gateway's user must be in the
/// group `systemd-journal`. What the gateway itself writes is left out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Units whose entries are wanted: `docker.service`. Default: all.
    units: Vec<String>,
    /// Fields that entries must have: `CONTAINER_NAME=web`; one of those with the same name, and one of each name.
    /// Default: none.
    matches: Vec<String>,
    /// A folder with journal files, as `systemd-journal-remote` makes them. Default: those of this machine.
    directory: Option<PathBuf>,
    /// A namespace of the journal. Default: none.
    namespace: Option<String>,
    /// Where to begin at the very first start: `end` or `beginning` of what the journal has. Default: end.
    read_from: ReadFrom,
    /// Longest entry; of a longer one the first 1 KiB is kept. Default: 256KiB.
    max_length: ByteSize,
    /// The program. Default: journalctl.
    journalctl: PathBuf,
    /// Whose machine the entries are about: `local` or `relay` (the host that each names, for `directory`).
    /// Default: local.
    identity: Trust,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ReadFrom {
    Beginning,
    #[default]
    End,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            units: Vec::new(),
            matches: Vec::new(),
            directory: None,
            namespace: None,
            read_from: ReadFrom::End,
            max_length: ByteSize::kib(256),
            journalctl: "journalctl".into(),
            identity: Trust::Local,
        }
    }
}

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        let problem = |option, message: String, hint: &str| Problem { option, message, hint: hint.to_owned() };
        let mut problems = Vec::new();
        if !is_program(&self.journalctl) {
            let message = format!("`{}` is not installed", self.journalctl.display());
            problems.push(problem("journalctl", message, "install systemd, or name the program with its folder"));
        }
        if let Some(wrong) = self.matches.iter().find(|wanted| !is_match(wanted)) {
            let message = format!("`{wrong}` is no field and value");
            problems.push(problem("matches", message, "write `matches: [CONTAINER_NAME=web]`"));
        }
        if let Some(folder) = self.directory.as_ref().filter(|folder| !folder.is_dir()) {
            let message = format!("`{}` is no folder", folder.display());
            problems.push(problem("directory", message, "`systemd-journal-remote` makes `/var/log/journal/remote`"));
        }
        if self.directory.is_some() && self.namespace.is_some() {
            let message = "`directory` and `namespace` are both given".to_owned();
            problems.push(problem("namespace", message, "name one of them"));
        }
        problems
    }

    fn open(&self, _: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        Ok(Box::new(Journald { config: self.clone() }))
    }
}

/// Whether it can be started: as a path, or found in `PATH`.
fn is_program(name: &Path) -> bool {
    if name.components().count() > 1 {
        return name.is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// `FIELD=value`: nothing that `journalctl` could take for an option or a path.
fn is_match(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.split_once('=').is_some_and(|(name, _)| is_name(name))
}

struct Journald {
    config: Config,
}

impl Journald {
    fn place(&self) -> String {
        let Config { directory, namespace, .. } = &self.config;
        match (directory, namespace) {
            (Some(directory), _) => directory.display().to_string(),
            (None, Some(namespace)) => format!("namespace {namespace}"),
            (None, None) => "this machine".to_owned(),
        }
    }

    /// `journalctl` that tells all entries from that one on, or only the last one before those to come.
    fn command(&self, cursor: Option<&str>) -> Command {
        let Config { units, matches, directory, namespace, read_from, journalctl, .. } = &self.config;
        let mut command = Command::new(journalctl);
        command.args(["--output=export", "--all", "--follow", "--no-pager", "--quiet"]);
        command.args(units.iter().map(|unit| format!("--unit={unit}")));
        command.args(directory.iter().map(|folder| format!("--directory={}", folder.display())));
        command.args(namespace.iter().map(|namespace| format!("--namespace={namespace}")));
        match (cursor, read_from) {
            (Some(cursor), _) => command.arg(format!("--cursor={cursor}")).arg("--no-tail"),
            (None, ReadFrom::Beginning) => command.arg("--no-tail"),
            (None, ReadFrom::End) => command.arg("--lines=1"),
        };
        command.args(matches).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

#[async_trait]
impl Source for Journald {
    fn endpoints(&self) -> Vec<String> {
        vec![format!("journald {}", self.place())]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        let reading =
            Reading { format: FormatName::only("journald"), zone: Zone::default(), trust: self.config.identity };
        let frames = intake.frames(reading.origin(&self.place()));
        let mut session = Session {
            intake,
            frames,
            awaited: None,
            tail_before: None,
            cursor: None,
            own: Own::of_this_process(),
            parts: Parts::new(self.config.max_length.as_usize()),
            entry_bytes_max: self.config.max_length.as_usize(),
        };
        let mut backoff = BACKOFF_MIN;
        let mut complained = String::new();
        loop {
            session.cursor = session.intake.marked(CURSOR).and_then(|cursor| String::from_utf8(cursor).ok());
            session.awaited.clone_from(&session.cursor);
            let is_at_end = session.cursor.is_none() && self.config.read_from == ReadFrom::End;
            session.tail_before = is_at_end.then(now_micros);
            match self.command(session.cursor.as_deref()).spawn() {
                Ok(mut child) => {
                    let said = listen(&mut child);
                    if session.follow(&mut child, &stop).await? {
                        backoff = BACKOFF_MIN;
                    }
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    complain(&last_words(&mut child, said).await, &mut complained);
                }
                Err(error) => complain(&error.to_string(), &mut complained),
            }
            let pause = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
            backoff = (backoff * 2).min(BACKOFF_MAX);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(());
            }
        }
    }
}

/// Warns, once while it stays the same.
fn complain(error: &str, complained: &mut String) {
    if complained != error {
        tracing::warn!(error, "no entries of the journal while `journalctl` fails; trying on");
        error.clone_into(complained);
    }
}

fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What an entry is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    News,
    /// News, and others before it are missing.
    Gap,
    /// It was read before, or is older than the first start.
    Known,
    /// The gateway's own.
    Own,
}

/// What is known while a child runs.
struct Session {
    intake: Intake,
    frames: Frames,
    /// The entry that must come first, since it was the last one.
    awaited: Option<String>,
    /// At the first start of all: an entry of before that moment only says where the end is.
    tail_before: Option<u64>,
    /// Of the last entry in the batch.
    cursor: Option<String>,
    /// Our own process; none: it cannot be told from others.
    own: Option<Own>,
    /// Parts of lines of containers.
    parts: Parts,
    entry_bytes_max: usize,
}

impl Session {
    /// Takes in entries until the child ends, or `stop`. Answers whether there were any.
    async fn follow(&mut self, child: &mut Child, stop: &CancellationToken) -> Result<bool, SetupError> {
        let Some(mut stdout) = child.stdout.take() else { return Ok(false) };
        let mut framer = ExportFramer::new(self.entry_bytes_max);
        let mut held: Vec<u8> = Vec::new();
        let mut has_read = false;
        loop {
            let room = held.len() + PIECE_BYTES;
            let due = self.parts.since().map(|since| since + parts::WAIT);
            let too_late = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let read = tokio::select! {
                // What is held was not appended, and is read again.
                () = stop.cancelled() => return Ok(has_read),
                read = fill(&mut stdout, &mut held, room) => read,
                () = too_late => {
                    self.give_up_parts().await?;
                    continue;
                }
            };
            if !read.unwrap_or(false) {
                break;
            }
            has_read = true;
            if !self.take(&mut framer, &mut held).await? {
                break;
            }
        }
        // What is stored now the next child does not bring again.
        self.give_up_parts().await?;
        Ok(has_read)
    }

    /// Takes all whole entries. Answers false if it is no export form at all.
    async fn take(&mut self, framer: &mut ExportFramer, held: &mut Vec<u8>) -> Result<bool, SetupError> {
        let mut weight = Weight::default();
        let mut done = 0;
        let is_well = loop {
            match framer.next(&held[done..]) {
                // Only the end of a stream leaves a part of an entry, and there is none: the child comes again.
                Frame::NeedMore { used } | Frame::Truncated { used, .. } => {
                    done += used;
                    break true;
                }
                Frame::Malformed(error) => {
                    tracing::warn!(%error, "`journalctl` does not write its export form");
                    break false;
                }
                Frame::Complete { start, end, used } => {
                    let entry = &held[done + start..done + end];
                    if self.is_news(entry).await? {
                        let Session { parts, intake, frames, .. } = self;
                        parts.push(entry, |frame| intake.take(frames, frame));
                    }
                    weight.add(entry.len());
                    done += used;
                }
                Frame::TooLong { used, bytes_total } => {
                    let head = framer.head();
                    if self.is_news(head).await? {
                        self.intake.take_oversize(&mut self.frames, head, bytes_total);
                    }
                    weight.add(head.len());
                    done += used;
                }
            }
            if weight.is_full() {
                weight.clear();
                self.append().await?;
            }
        };
        held.drain(..done);
        self.append().await?;
        Ok(is_well)
    }

    /// Whether an entry, or the head of one, is to be taken. Declares the gap before it.
    async fn is_news(&mut self, entry: &[u8]) -> Result<bool, SetupError> {
        let (verdict, found) = self.judge(entry);
        match verdict {
            Verdict::Gap => {
                let cause = "the journal no longer has the last entry that was read: older ones are gone";
                self.intake.declare(self.frames.origin(), &Gap::unknown(cause)).await.map_err(journal_failed)?;
            }
            Verdict::Own => self.intake.exclude(1),
            Verdict::News | Verdict::Known => {}
        }
        self.cursor = found.or(self.cursor.take());
        Ok(matches!(verdict, Verdict::News | Verdict::Gap))
    }

    /// What an entry is to us, and its cursor.
    fn judge(&mut self, entry: &[u8]) -> (Verdict, Option<String>) {
        let mut found = None;
        let mut time = 0;
        for (name, value) in entry::fields(entry) {
            match name {
                b"__CURSOR" => found = Some(String::from_utf8_lossy(value).into_owned()),
                b"__REALTIME_TIMESTAMP" => {
                    time = std::str::from_utf8(value).ok().and_then(|time| time.parse().ok()).unwrap_or(0);
                }
                _ => {}
            }
        }
        let verdict = if let Some(awaited) = self.awaited.take() {
            if found.as_ref() == Some(&awaited) { Verdict::Known } else { Verdict::Gap }
        } else if self.tail_before.take().is_some_and(|before| time < before) {
            Verdict::Known
        } else if self.own.as_ref().is_some_and(|own| own.wrote(entry)) {
            Verdict::Own
        } else {
            Verdict::News
        };
        (verdict, found)
    }

    /// The parts that are missing are not coming.
    async fn give_up_parts(&mut self) -> Result<(), SetupError> {
        let Session { parts, intake, frames, .. } = self;
        parts.finish(|frame| intake.take(frames, frame));
        self.append().await
    }

    /// While parts are held nothing is appended, and no cursor stored: a crash loses none of them.
    async fn append(&mut self) -> Result<(), SetupError> {
        if self.parts.since().is_some() {
            return Ok(());
        }
        if let Some(cursor) = &self.cursor {
            self.intake.mark(&mut self.frames, CURSOR, cursor.as_bytes());
        }
        self.intake.append(&mut self.frames).await.map_err(journal_failed)
    }
}

#[cfg(test)]
mod tests;
