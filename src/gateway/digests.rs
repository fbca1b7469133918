//! Digests: every day, and at start for the days that were missed, a child of the gateway makes them; what it says
//! becomes events.
//!
//! What is owed is what is not there: the child looks into the archive. What was told is a mark of the journal, stored
//! with the event. So neither a crash nor a clock that is set makes a day's digest, or its event, twice.
//!
//! Invariants: the gateway waits for no child, and none outlives its time, nor the gateway where that ends in order.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use wharfinger_formats::Time;

use crate::admin::status::DigestRow;
use crate::config::{Config, NamedDigest};
use crate::intake::{AppendError, Digest, DigestState, Intake};

/// How often it is looked whether a day is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Until it is tried again; doubled each time.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// One day takes no longer; then the child is ended.
const DAY_MAX: Duration = Duration::from_secs(3600);
/// So long it is waited for an archive to prove that a day is whole. Then the digest says that it does not.
const PROOF_MAX: Duration = Duration::from_secs(24 * 3600);
/// No line and no complaint of a child is longer.
const LINE_BYTES_MAX: u64 = 1 << 20;
const COMPLAINT_BYTES_MAX: u64 = 4096;
/// What a program of Rust ends with that panics.
const PANICKED: i32 = 101;
/// Days of which it is remembered that they were told; more than can be made up for.
const TOLD_MAX: usize = 400;

/// How digests stand, for the admin page: by name.
pub(super) type Board = Arc<Mutex<BTreeMap<String, DigestRow>>>;

/// The running digests.
pub(super) struct Digests {
    own: Intake,
    board: Board,
    running: Vec<NamedDigest>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Digests {
    pub(super) fn new(own: Intake, board: Board) -> Digests {
        Digests { own, board, running: Vec::new(), stop: CancellationToken::new(), tasks: Vec::new() }
    }

    /// Goes on with those of a configuration.
    pub(super) async fn replace(&mut self, config: &Config) {
        if self.running == config.digests {
            return;
        }
        self.stop().await;
        self.stop = CancellationToken::new();
        self.running.clone_from(&config.digests);
        let names = self.running.iter().map(|digest| digest.name.clone());
        let rows =
            names.map(|name| (name.clone(), DigestRow { name, state: "waits".to_owned(), ..DigestRow::default() }));
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = rows.collect();
        for digest in &self.running {
            let keeper = Keeper {
                digest: digest.clone(),
                config: config.file().to_owned(),
                data_dir: config.data_dir.clone(),
                own: self.own.clone(),
                board: Arc::clone(&self.board),
                failed: BTreeMap::new(),
                waiting: BTreeMap::new(),
            };
            self.tasks.push(tokio::spawn(keeper.run(self.stop.clone())));
        }
    }

    /// Ends them, with their children.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

/// One digest.
struct Keeper {
    digest: NamedDigest,
    config: PathBuf,
    data_dir: PathBuf,
    own: Intake,
    board: Board,
    /// Of each day what was told to be in its way: nothing is told twice.
    failed: BTreeMap<String, String>,
    /// Of which days the archive owes a proof, and since when.
    waiting: BTreeMap<String, Instant>,
}

/// What a child came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    waits: bool,
    fails: bool,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        let (mut done, mut retry) = (None, RETRY_MIN);
        loop {
            let due = self.digest.options.last_due(now());
            let mut wait = LOOK_INTERVAL;
            // Also where the clock went back: what is there is not made again.
            if done != Some(due) {
                let Some(round) = stop.run_until_cancelled(self.round()).await else { return };
                if round == Round::default() {
                    (done, retry) = (Some(due), RETRY_MIN);
                } else {
                    wait = retry;
                    retry = (2 * retry).min(RETRY_MAX);
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Lets a child make what is owed, and tells what it says.
    async fn round(&mut self) -> Round {
        let mut round = Round::default();
        if let Err(why) = self.ask(&mut round).await {
            let day = Digest { name: self.digest.name.clone(), why, ..Digest::default() };
            let options = &self.digest.options;
            let due = options.last_due(now());
            let nanos = |day: i64| day.saturating_mul(24 * 3600 * 1_000_000_000);
            let (framework, scope) = (options.framework.clone(), options.scope.clone().unwrap_or_default());
            let day = Digest { day: day_name(due), from: nanos(due), to: nanos(due + 1), framework, scope, ..day };
            self.hear(&day, &mut round).await;
        }
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let row = board.entry(self.digest.name.clone()).or_default();
        match round {
            Round { fails: true, .. } => {}
            Round { waits: true, .. } => (row.state, row.error) = ("waits".to_owned(), None),
            _ => (row.state, row.error) = ("made".to_owned(), None),
        }
        round
    }

    async fn ask(&mut self, round: &mut Round) -> Result<(), String> {
        let scratch = Scratch::new().map_err(|error| format!("no folder for it can be made: {error}"))?;
        // Also where the file has been replaced by a newer one since.
        let mut command = std::process::Command::new("/proc/self/exe");
        command.arg0("wharfinger").args(["report", "digest", "--json"]).arg("--config").arg(&self.config);
        command.arg("--data-dir").arg(&self.data_dir).env("TMPDIR", &scratch.0);
        let overdue = self.waiting.iter().find(|(_, since)| since.elapsed() >= PROOF_MAX).map(|(day, _)| day.clone());
        if let Some(day) = overdue {
            // This one alone; the others have their turn when it is made.
            command.args(["--unproven", "--day", &day]);
            round.waits = true;
        }
        command.arg(&self.digest.name).process_group(0);
        let mut command = Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child =
            command.spawn().map_err(|error| format!("`wharfinger report digest` cannot be started: {error}"))?;
        let mut child = Group(child);
        let complaint = child.0.stderr.take().map(|stderr| tokio::spawn(complaint(stderr)));
        let mut lines = child.0.stdout.take().map(BufReader::new).ok_or("it has no output")?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut within = (&mut lines).take(LINE_BYTES_MAX);
            let read = within.read_until(b'\n', &mut line);
            let late = |_| format!("it took longer than {} minutes, and was ended", DAY_MAX.as_secs() / 60);
            if timeout(DAY_MAX, read).await.map_err(late)?.map_err(|error| error.to_string())? == 0 {
                break;
            }
            let day = serde_json::from_slice(&line).map_err(|error| format!("it says something else: {error}"))?;
            self.hear(&day, round).await;
        }
        let status = timeout(DAY_MAX, child.0.wait()).await.map_err(|_| "it does not end".to_owned())?;
        let status = status.map_err(|error| error.to_string())?;
        // What stood in the way of a day it has said.
        if status.success() || (round.fails || round.waits) && status.code().is_some_and(|code| code != PANICKED) {
            return Ok(());
        }
        let complaint = match complaint {
            Some(complaint) => complaint.await.unwrap_or_default(),
            None => String::new(),
        };
        Err(format!("`wharfinger report digest` ended: {status}: {complaint}"))
    }

    /// What became of a day is told once, and shown.
    async fn hear(&mut self, day: &Digest, round: &mut Round) {
        let told = match day.state {
            DigestState::Waits => {
                round.waits = true;
                self.waiting.entry(day.day.clone()).or_insert_with(Instant::now);
                Ok(String::new())
            }
            DigestState::Made => {
                self.waiting.remove(&day.day);
                self.made(day).await
            }
            DigestState::Failed => self.failure(day).await,
        };
        let trouble = told.unwrap_or_else(|error| format!("what became of it cannot be stored: {error}"));
        if !trouble.is_empty() {
            round.fails = true;
            tracing::error!(digest = day.name, day = day.day, "{trouble}");
        }
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let row = board.entry(self.digest.name.clone()).or_default();
        if !trouble.is_empty() {
            (row.state, row.error) = ("fails".to_owned(), Some(format!("{}: {trouble}", day.day)));
        }
        if day.state == DigestState::Made {
            (row.last_day, row.last_end, row.result) = (day.day.clone(), day.to / 1_000_000_000, day.result.clone());
        }
    }

    /// Answers what is the trouble.
    async fn failure(&mut self, day: &Digest) -> Result<String, AppendError> {
        if self.failed.get(&day.day) != Some(&day.why) {
            self.own.digest(day, None).await?;
            self.failed.insert(day.day.clone(), day.why.clone());
        }
        Ok(day.why.clone())
    }

    /// The same of one that is there: none, if it is the one that was told.
    async fn made(&mut self, day: &Digest) -> Result<String, AppendError> {
        let mark = format!("digest/{}", self.digest.name);
        let told: BTreeMap<String, String> =
            self.own.marked(&mark).and_then(|told| serde_json::from_slice(&told).ok()).unwrap_or_default();
        match told.get(&day.day) {
            Some(hash) if *hash == day.sha256 => return Ok(String::new()),
            Some(hash) => {
                let why = format!("`{}` is not the digest that was made: its SHA-256 was {hash}", day.file);
                return self.failure(&Digest { state: DigestState::Failed, why, ..day.clone() }).await;
            }
            None => {}
        }
        let mut told = told;
        told.insert(day.day.clone(), day.sha256.clone());
        while told.len() > TOLD_MAX {
            told.pop_first();
        }
        let told = serde_json::to_vec(&told).unwrap_or_default();
        self.own.digest(day, Some((&mark, &told))).await?;
        self.failed.remove(&day.day);
        tracing::info!(digest = day.name, day = day.day, file = day.file, "{}", day.result);
        Ok(String::new())
    }
}

/// What a child says on standard error, so far as there is room for it; it never waits for a reader.
async fn complaint(mut stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    let _ = (&mut stderr).take(COMPLAINT_BYTES_MAX).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A child with its own children: none of them is left behind.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // One that was waited for has no number any more, which may be somebody else's by now.
        let leader = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Where children keep what they need meanwhile; it goes away with them, unless the gateway is killed.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("wharfinger-digests-{:016x}", fastrand::u64(..)));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn day_name(day: i64) -> String {
    let mut text = Vec::new();
    Time(day.saturating_mul(24 * 3600 * 1_000_000_000)).write_rfc3339(0, &mut text);
    String::from_utf8_lossy(&text).chars().take(10).collect()
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn is_there(id: u32) -> bool {
        // One that has ended and was not waited for is no process any more.
        let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn a_child_is_ended_with_its_own_children() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; wait"]).process_group(0);
        let mut command = Command::from(command);
        let mut child = Group(command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let (own, of_it) = (child.0.id().unwrap(), line.trim().parse().unwrap());
        assert!(is_there(own) && is_there(of_it));
        drop(child);
        let gone = async {
            while is_there(own) || is_there(of_it) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), gone).await.unwrap();
    }

    #[test]
    fn what_a_child_needs_meanwhile_goes_away() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.0.clone();
        std::fs::write(path.join("events"), "x").unwrap();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o077,
            0
        );
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn days_have_names() {
        assert_eq!((day_name(0), day_name(20_778)), ("1970-01-01".to_owned(), "2026-11-21".to_owned()));
    }
}
