//! `wharfinger selftest`: kill -9 against the journal, on the user's own disk.
//!
//! A child of this very program writes and says what is acknowledged; it is killed at a random moment;
//! what was acknowledged must be there, whole, once and in order. Invariant: nothing outside the
//! folder that it makes is touched, and no child outlives it.

mod child;
mod judge;

use std::io::{BufRead, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::failure::{Exit, Failure};
use super::output;
use super::table::grouped;
use super::visible::visible;
use judge::{Judge, Verdict};

/// Kill a writing process again and again on this disk, and see that nothing it acknowledged is lost
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folder on the disk to be tested; a new folder in it is used and removed
    #[arg(long, value_name = "PATH")]
    dir: PathBuf,

    /// How often the writing process is killed
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,

    /// Repeats the moments of another run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Be the process that is killed, in this life
    #[arg(long, value_name = "LIFE", hide = true)]
    child: Option<u64>,
}

/// A child lives so long, in milliseconds.
const LIFE_MS: std::ops::RangeInclusive<u64> = 20..=400;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if let Some(life) = arguments.child {
        return child::run(&arguments.dir, life).map_err(|error| Failure::new(Exit::Unavailable, error, ""));
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let dir = arguments.dir.join(format!("wharfinger-selftest-{}", std::process::id()));
    let cannot = |error: std::io::Error| {
        let error = anyhow::Error::from(error).context(format!("cannot use `{}`", dir.display()));
        Failure::new(Exit::CannotCreate, error, "name a folder that exists and that this user may write to")
    };
    std::fs::create_dir(&dir).map_err(cannot)?;
    let done = lives(&dir, arguments.kills, seed);
    let verdict = match &done {
        Ok(verdict) if verdict.is_good() => {
            std::fs::remove_dir_all(&dir).map_err(cannot)?;
            verdict
        }
        Ok(verdict) => verdict,
        Err(error) => {
            let error = anyhow::anyhow!("{error:#}");
            let hint = format!("the folder is still there: `{}`; `--seed {seed}` repeats the moments", dir.display());
            return Err(Failure::new(Exit::Failed, error, hint));
        }
    };
    output::write(describe(verdict, &dir, seed).as_bytes())?;
    Ok(if verdict.is_good() { Exit::Ok } else { Exit::Failed })
}

fn lives(dir: &Path, kills: u32, seed: u64) -> anyhow::Result<Verdict> {
    let mut random = fastrand::Rng::with_seed(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut judge = Judge::new(dir);
    runtime.block_on(judge.prepare())?;
    let bar = progress(kills);
    for life in 0..u64::from(kills) {
        let time = Duration::from_millis(random.u64(LIFE_MS));
        let acknowledged = live_and_die(dir, life, time)?;
        runtime.block_on(judge.look(acknowledged))?;
        bar.inc(1);
        if !judge.verdict.is_good() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(judge.verdict)
}

fn progress(kills: u32) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(kills.into());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} kills, {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// A batch as the child reported it after its receipt.
#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    first: u64,
    count: u64,
    micros: u64,
}

/// What the child of one life said.
#[derive(Debug, Default)]
struct Life {
    batches: Vec<Acknowledged>,
    /// From its first receipt to its end.
    time: Duration,
}

/// Kills the child on any way out.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn live_and_die(dir: &Path, life: u64, time: Duration) -> anyhow::Result<Life> {
    let program = std::env::current_exe().context("cannot find this program itself")?;
    let mut command = Command::new(program);
    command.args(["selftest", "--child", &life.to_string(), "--dir"]).arg(dir);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start a child")?;
    let mut child = Killed(child);
    let stdout = child.0.stdout.take().context("the child has no output")?;
    let reader = std::thread::spawn(move || {
        let (mut life, mut begun) = (Life::default(), None);
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        // What was cut off by the kill has no line end, and nobody was told.
        while reader.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
            life.batches.extend(parse(&line));
            life.time = begun.get_or_insert_with(Instant::now).elapsed();
            line.clear();
        }
        life
    });
    std::thread::sleep(time);
    if let Some(status) = child.0.try_wait()? {
        anyhow::bail!("the writing process ended by itself: {status}");
    }
    drop(child);
    reader.join().map_err(|_| anyhow::anyhow!("the reader of the child's output broke"))
}

fn parse(line: &str) -> Option<Acknowledged> {
    let mut numbers = line.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Acknowledged { first: next()?, count: next()?, micros: next()? })
}

fn describe(verdict: &Verdict, dir: &Path, seed: u64) -> String {
    let Verdict { lives, acknowledged, lost, altered, twice, reordered, miscounted, ready_max, .. } = verdict;
    let (events, kills) = (grouped(*acknowledged), grouped(*lives));
    let mut text = format!(
        "kill -9  {kills} times, at random moments while writing (seed {seed})\n\
         events   {events} acknowledged: {lost} lost, {altered} altered, {twice} there twice, {reordered} out of order, \
         {miscounted} miscounted\n\
         starts   each was ready within {} ms\n",
        ready_max.as_millis(),
    );
    if let Some((half, most)) = verdict.waits() {
        let ms = |micros: u64| micros as f64 / 1000.0;
        text.push_str(&format!(
            "receipts half of them within {:.1} ms, 99 of 100 within {:.1} ms, 20 events of {} bytes each\n",
            ms(half),
            ms(most),
            child::EVENT_BYTES,
        ));
    }
    let seconds = verdict.time.as_secs_f64();
    if seconds > 0.0 {
        let rate = grouped((verdict.acknowledged as f64 / seconds) as u64);
        text.push_str(&format!(
            "rate     {rate} events a second, written and synced, from {} senders\n",
            child::SENDERS
        ));
    }
    if verdict.is_good() {
        text.push_str("\nNothing that was acknowledged is lost when the process is killed on this disk.\n");
        text.push_str("Whether the disk tells the truth about syncs, only a power failure shows.\n");
    } else {
        let dir = dir.display().to_string();
        text.push_str(&format!("\nThis is a failure. The folder is still there: {}\n", visible(&dir)));
    }
    text
}
