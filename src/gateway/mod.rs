//! The gateway: start, wire, reload, drain, stop. It spawns every long-lived task.
//!
//! Invariant: sources stop before sinks, and the journal is closed last.

pub mod acts;
mod asking;
pub mod control;
mod custody;
mod digests;
mod findings;
mod greeting;
mod inventory;
mod known;
mod news;
mod parts;
mod token;
mod trail;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::config::{self, Config, LeftOut, Receipts};
use crate::identity::{Local, Roots};
use crate::intake::{Intake, OWN_SOURCE};
use crate::journal::{self, Journal, storage::Disk};
use crate::policy::{self, Judge};
use crate::sinks::receipts::Keep;
use crate::stats;

pub use inventory::known_machines;
pub use token::{page_token, page_token_file};

use custody::Custody;
use digests::{Board, Digests};
use parts::{Parts, Yard};

/// A power loss brings again what sinks delivered in so long a time, and no more.
const PLACES_KEPT_EVERY: Duration = Duration::from_secs(2);
/// The same while the disk fails: it is not worn out, nor is the log of those who read it.
const PLACES_TRIED_EVERY: Duration = Duration::from_secs(30);
/// What parts have to say and the journal has not taken yet.
const NOTICES_MAX: usize = 64;
/// So long sources wait for the news of inventories to be in the journal.
const NEWS_MAX: Duration = Duration::from_secs(5);

/// Runs until SIGTERM, SIGINT, or the end of the last source; SIGHUP calls `load` again. `left_out`
/// is given when the configuration is the built-in one, and what this machine has nothing for.
///
/// # Errors
/// Something named in the configuration cannot start, or custody cannot go on.
pub async fn run(
    mut config: Config,
    left_out: Option<&[LeftOut]>,
    load: impl Fn() -> anyhow::Result<Config>,
) -> anyhow::Result<()> {
    // A second installation is no error: whoever came first chose the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    make_private_dir(&config.data_dir)?;
    let journal = Journal::open(journal_settings(&config), Arc::new(Disk))?;
    let local = Local::read(&Roots { dmi: config.identity.dmi.clone(), ..Roots::default() });
    let (mut inventory, snapshot) = inventory::Watch::start(&config, local.clone())?;
    let identity = Arc::new(ArcSwap::from_pointee(snapshot));
    let source_stats = stats::Sources::default();
    let judge = judge(&config, &journal);
    let own = Intake::new(journal.clone(), Arc::clone(&identity), OWN_SOURCE, source_stats.named(OWN_SOURCE))
        .judged_by(judge.clone());
    own.restore_register();
    let custody = Arc::new(Custody::new(own.clone(), journal.clone()));
    let (notices, noticed) = mpsc::channel(NOTICES_MAX);
    let board = Board::default();
    let mut parts = Parts::new(Yard {
        custody: Arc::clone(&custody),
        journal: journal.clone(),
        identity: Arc::clone(&identity),
        judge,
        data_dir: config.data_dir.clone(),
        receipts: receipts(&config),
        hostname: local.hostname.clone(),
        source_stats,
        notices,
        digests: Arc::clone(&board),
    });
    forget_old_cursors(&journal, &config);
    custody.begin().await?;
    // From the first event on, every end is an orderly one.
    let mut signals = Signals::watch()?;
    for part in std::mem::take(&mut config.sinks) {
        parts.start_sink(Arc::new(part))?;
    }
    // What changed of the machines stands before the first event of theirs, unless the journal is full.
    let _ = tokio::time::timeout(NEWS_MAX, inventory.tell(&own)).await;
    for part in std::mem::take(&mut config.sources) {
        parts.start_source(Arc::new(part))?;
    }
    let stop = CancellationToken::new();
    let control_path = control::path(&config.data_dir);
    let wrong_tokens = Arc::new(AtomicU64::new(0));
    let page = serve_admin(&config, &parts, Arc::clone(&wrong_tokens), stop.clone()).await?;
    let watch = tokio::spawn(inventory.run(identity, own.clone(), stop.clone()));
    let control = match control::bind(&config.data_dir) {
        Ok(listener) => Some(tokio::spawn(control::serve(listener, own.clone(), stop.clone()))),
        Err(error) => {
            tracing::warn!(%error, "no control socket: `wharfinger dlq replay` will not work");
            None
        }
    };
    let custody_stop = stop.clone();
    let custody = tokio::spawn(async move { custody.watch(custody_stop, noticed).await });
    let places = tokio::spawn(keep_places(journal.clone(), stop.clone()));
    let findings = tokio::spawn(findings::tell(own.clone(), stop.clone()));
    let trail = tokio::spawn(trail::tell(own.clone(), parts.view(), wrong_tokens, stop.clone()));
    own.report("gateway.start", 2, &format!("started with configuration {}", hex(&config.hash()))).await?;
    acts::take_in(&config.data_dir, &own).await?;
    greeting::print(&config, left_out, &local);

    let mut digests = Digests::new(own.clone(), board);
    digests.replace(&config).await;
    let outcome = serve(&mut parts, &mut digests, &own, config, load, &mut signals).await;
    let end = async {
        digests.stop().await;
        own.report("gateway.stop", 2, "stopped").await.ok();
        parts.stop_sources().await;
        parts.drain_sinks().await;
        stop.cancel();
        let _ = watch.await;
        let _ = custody.await;
        let _ = places.await;
        let _ = findings.await;
        let _ = trail.await;
        if let Some(control) = control {
            let _ = control.await;
        }
        let _ = std::fs::remove_file(&control_path);
        page.abort();
        journal.close().await;
    };
    tokio::select! {
        () = end => {}
        // A second signal means: now. What is appended is synced, and what is not delivered stays in the journal.
        () = signals.end() => {}
    }
    outcome
}

/// Whoever judges events: nobody where there is no policy, unless findings of an earlier one are open.
fn judge(config: &Config, journal: &Journal) -> Option<Arc<Judge>> {
    let open = journal.marks(policy::MARKS);
    let is_needed = !config.policy.is_empty() || !open.is_empty();
    is_needed.then(|| Arc::new(Judge::restored(Arc::clone(&config.policy), open)))
}

/// Makes the data directory and the token of the built-in HEC source, when they are not there yet.
///
/// # Errors
/// They cannot be written.
pub fn first_start(data_dir: &Path) -> anyhow::Result<()> {
    make_private_dir(data_dir)?;
    token::make(data_dir, token::HEC)
}

/// What the operator may ask of a running gateway.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn watch() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Until the gateway is to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Makes the places of the sinks durable again and again, beside the journal's own thread: so a power
/// loss makes them deliver again only what they have delivered since.
async fn keep_places(journal: Journal, stop: CancellationToken) {
    let mut wait = PLACES_KEPT_EVERY;
    while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        let journal = journal.clone();
        let kept = tokio::task::spawn_blocking(move || journal.sync_cursors()).await;
        wait = if kept.is_ok_and(|kept| kept) { PLACES_KEPT_EVERY } else { PLACES_TRIED_EVERY };
    }
}

/// The time between start and stop.
async fn serve(
    parts: &mut Parts,
    digests: &mut Digests,
    own: &Intake,
    mut config: Config,
    load: impl Fn() -> anyhow::Result<Config>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => reload(parts, digests, own, &mut config, &load).await?,
            (name, why) = parts.ended() => {
                let last = parts.forget_source(&name);
                why.with_context(|| format!("source `{name}` ended"))?;
                tracing::info!(source = name, "has read all there is");
                if last {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The new configuration is checked whole before anything changes; a wrong one changes nothing.
async fn reload(
    parts: &mut Parts,
    digests: &mut Digests,
    own: &Intake,
    config: &mut Config,
    load: impl Fn() -> anyhow::Result<Config>,
) -> anyhow::Result<()> {
    let mut new = match load() {
        Ok(new) => new,
        Err(error) => {
            eprintln!("{error:#}\n\nthe configuration stays as it was");
            own.report("gateway.reload", 6, "the new configuration was refused; the old one stays").await?;
            return Ok(());
        }
    };
    let fixed =
        (&new.data_dir, &new.journal, &new.identity, &new.policy, (&new.admin, &new.receipts), new.providers_hash());
    let before =
        (&config.data_dir, &config.journal, &config.identity, &config.policy, (&config.admin, &config.receipts));
    if fixed != (before.0, before.1, before.2, before.3, before.4, config.providers_hash()) {
        tracing::warn!(
            "`data_dir`, `journal`, `identity`, `policy`, `receipts` and `admin` change only with a restart"
        );
    }
    let shared = |parts: &mut Vec<_>| std::mem::take(parts).into_iter().map(Arc::new).collect();
    for error in parts.replace(shared(&mut new.sources), new.sinks.drain(..).map(Arc::new).collect()).await {
        tracing::error!("{error}");
        own.report("gateway.reload", 8, &error.to_string()).await?;
    }
    digests.replace(&new).await;
    let (after, before) = (hex(&new.hash()), hex(&config.hash()));
    own.report("gateway.reload", 3, &format!("configuration {after} replaces {before}")).await?;
    tracing::info!(hash = after, "the new configuration is in force");
    *config = new;
    Ok(())
}

async fn serve_admin(
    config: &Config,
    parts: &Parts,
    wrong_tokens: Arc<AtomicU64>,
    stop: CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let address = config.admin.listen.get();
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for the admin page"))?;
    eprintln!("listening on admin page http {}", listener.local_addr()?);
    let (view, token) = (parts.view(), page_token(&config.data_dir)?);
    Ok(tokio::spawn(async move {
        if let Err(error) = admin::serve(listener, view, &token, wrong_tokens, stop).await {
            tracing::error!("the admin page ended: {error}");
        }
    }))
}

/// A sink that left the configuration while the gateway was down must not hold the journal for ever.
fn forget_old_cursors(journal: &Journal, config: &Config) {
    for cursor in journal.status().cursors {
        if !config.sinks.iter().any(|part| part.name == cursor.name) {
            tracing::warn!(
                sink = cursor.name,
                undelivered = cursor.lag_records,
                "is no longer in the configuration; its place in the journal is given up"
            );
            if let Err(error) = journal.forget_cursor(&cursor.name) {
                tracing::error!(sink = cursor.name, "cannot forget the cursor: {error}");
            }
        }
    }
}

fn receipts(config: &Config) -> Option<Keep> {
    let Receipts { keep, bytes_max, age_max } = config.receipts;
    let dir = config.data_dir.join("receipts");
    keep.then(|| Keep { dir, bytes_max: bytes_max.get(), age_max: age_max.get() })
}

fn journal_settings(config: &Config) -> journal::Settings {
    let sync = match config.journal.sync {
        config::Sync::Always => journal::Sync::Always,
        config::Sync::Interval => journal::Sync::Interval(config.journal.sync_interval.get()),
        config::Sync::Never => journal::Sync::Never,
    };
    let bytes_max = config.journal.bytes_max.get();
    journal::Settings { sync, bytes_max, ..journal::Settings::new(config.data_dir.join("journal")) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot create the data directory `{}`", dir.display()))
}
