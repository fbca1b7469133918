//! The whole way of an event: intake → journal → `drive` → peer, with crashes at random moments. One
//! thread, a paused clock, a simulated disk: the same seed is the same life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::oracle::{self, Sent};
use super::peer::{Manner, Peer};
use super::{Bug, seeds};
use crate::identity::Snapshot;
use crate::intake::{Frames, Intake, Origin, Trust};
use crate::journal::sim::{Fault, SimDisk};
use crate::journal::{self, Journal, Stepper};
use crate::sinks::{self, SinkStats, drive};
use crate::stats::SourceStats;

/// Lives per push.
const SEEDS: u64 = 1500;
const SENDERS: usize = 3;
/// Virtual time for the last life to bring everything to its end.
const DRAINED_WITHIN: Duration = Duration::from_secs(3600);

/// What outlives the gateway.
struct World {
    random: fastrand::Rng,
    disk: SimDisk,
    sent: Sent,
    peers: [(&'static str, Peer); 3],
    folder: tempfile::TempDir,
    numbers: [u64; SENDERS],
    crashes: u64,
    /// The disk fails now and then. Where it does not, duplicates are counted.
    disk_fails: bool,
}

/// The gateway between a start and its end.
struct Life {
    journal: Journal,
    stepper: Stepper,
    intake: Intake,
    /// Each waits for its receipt before it sends again.
    senders: [Option<JoinHandle<()>>; SENDERS],
    sinks: JoinHandle<()>,
    stop: CancellationToken,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    PowerLoss,
    Clean,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        // The jitter of `drive` comes from the thread's own generator.
        fastrand::seed(random.u64(..));
        let mut peer = |name, manner| (name, Peer::new(manner, random.u64(..)));
        let peers = [peer("plain", Manner::Plain), peer("flaky", Manner::Flaky), peer("doubtful", Manner::Doubtful)];
        let shm = std::path::Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        World {
            disk: SimDisk::new(random.u64(..)),
            disk_fails: random.bool(),
            random,
            sent: Sent::default(),
            peers,
            folder: folder.unwrap(),
            numbers: [0; SENDERS],
            crashes: 0,
        }
    }

    fn live(seed: u64) -> World {
        let mut world = World::new(seed);
        for _ in 0..world.random.usize(2..5) {
            let end = [End::Kill, End::PowerLoss, End::Clean][world.random.usize(..3)];
            let steps = world.random.usize(..60);
            world.in_a_runtime(async |world| {
                let mut life = world.start();
                for _ in 0..steps {
                    world.step(&mut life).await;
                }
                world.end(life, end).await;
            });
        }
        world.in_a_runtime(async |world| world.last_life().await);
        world
    }

    /// Each life has a runtime of its own: with it ends whatever the gateway had begun.
    fn in_a_runtime(&mut self, life: impl AsyncFnOnce(&mut World)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        // One thread for what may block (quarantine files): they come back in the order they went.
        let runtime = runtime.enable_time().start_paused(true).max_blocking_threads(1).build().unwrap();
        runtime.block_on(life(self));
    }

    fn start(&mut self) -> Life {
        let settings = journal::Settings {
            bytes_max: 512 << 10,
            commit_bytes_max: 16 << 10,
            ..journal::Settings::new("/journal")
        };
        let (journal, stepper) = Journal::open_stepped(settings, Arc::new(self.disk.clone())).unwrap();
        oracle::check_accounts(&journal.status());
        let identity = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let intake = Intake::new(journal.clone(), identity, "source", Arc::new(SourceStats::default()));
        let stop = CancellationToken::new();
        let sinks = self.peers.iter().map(|(name, peer)| {
            let cursor = journal.cursor(name).unwrap();
            let mut settings = sinks::Settings::new(name, self.folder.path().to_owned());
            settings.backoff_max = Duration::from_secs(2);
            drive(cursor, peer.sink(), settings, Arc::new(SinkStats::default()), stop.clone())
        });
        // One task, in which all have their turn in the same order: who waits for the journal is woken in
        // an order that tokio draws by lot.
        let sinks = futures_util::future::join_all(sinks.collect::<Vec<_>>());
        let sinks = tokio::spawn(async move { drop(sinks.await) });
        Life { journal, stepper, intake, senders: [const { None }; SENDERS], sinks, stop }
    }

    async fn step(&mut self, life: &mut Life) {
        match self.random.u8(..20) {
            0..8 => {
                let sender = self.random.usize(..SENDERS);
                self.send(life, sender);
            }
            8..13 => {
                life.stepper.turn();
            }
            13 if self.disk_fails => {
                let kind = if self.random.bool() { std::io::ErrorKind::Other } else { std::io::ErrorKind::StorageFull };
                let (after, times) = (self.random.u64(..8), self.random.u64(1..5));
                self.disk.set_fault(Some(Fault { after, times, kind }));
            }
            _ => {}
        }
        // Time passes when nobody has anything to do: everybody has done all there is by then.
        tokio::time::sleep(Duration::from_millis(self.random.u64(1..60))).await;
    }

    fn send(&mut self, life: &mut Life, sender: usize) {
        if life.senders[sender].as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let mut frames = life.intake.frames(origin());
        let mut batch = Vec::new();
        for _ in 0..self.random.usize(1..6) {
            self.numbers[sender] += 1;
            let kind = ["bad", "unfit", "alone"].get(self.random.usize(..40)).unwrap_or(&"good");
            let filler = "x".repeat(self.random.usize(..1200));
            let raw = format!("sender{sender} {} {kind} {filler}", self.numbers[sender]);
            self.sent.send(&raw);
            life.intake.take(&mut frames, raw.as_bytes());
            batch.push(raw);
        }
        let (intake, sent) = (life.intake.clone(), self.sent.clone());
        life.senders[sender] = Some(tokio::spawn(async move {
            if append(&intake, &mut frames).await {
                batch.iter().for_each(|raw| sent.acknowledge(raw));
            }
        }));
    }

    async fn end(&mut self, life: Life, end: End) {
        let Life { journal, mut stepper, intake, senders, sinks, stop } = life;
        self.disk.set_fault(None);
        if end == End::Clean {
            while stepper.turn() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            stop.cancel();
            sinks.await.unwrap();
            self.peers.iter().for_each(|(_, peer)| peer.gateway_left());
            oracle::check_accounts(&journal.status());
            journal.close().await;
            while stepper.turn() {}
            stepper.close();
            // A journal whose last write failed has not closed cleanly.
            self.disk.kill();
            return;
        }
        self.crashes += 1;
        match end {
            End::PowerLoss => {
                self.disk.power_loss();
                self.peers.iter().for_each(|(_, peer)| peer.gateway_went_back());
            }
            _ => self.disk.kill(),
        }
        self.peers.iter().for_each(|(_, peer)| peer.gateway_died());
        drop((senders, sinks, intake, stepper, journal));
    }

    /// A life without trouble: everything comes to its end, and so does a fresh event.
    async fn last_life(&mut self) {
        self.peers.iter().for_each(|(_, peer)| peer.state().calm = true);
        let mut life = self.start();
        for sender in 0..SENDERS {
            self.send(&mut life, sender);
        }
        let deadline = tokio::time::Instant::now() + DRAINED_WITHIN;
        loop {
            life.stepper.turn();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let status = life.journal.status();
            let sent = life.senders.iter().flatten().all(JoinHandle::is_finished);
            if sent && status.cursors.iter().all(|cursor| cursor.lag_records == 0) {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "does not drain: {:?}", status.cursors);
        }
        let fresh = self.sent.acknowledged();
        let last = |sender: usize| format!("sender{sender} {} ", self.numbers[sender]);
        assert!((0..SENDERS).all(|sender| fresh.iter().any(|raw| raw.starts_with(&last(sender)))), "takes no event");
        oracle::check(&life.journal, &self.sent, &self.peers, self.folder.path(), !self.disk_fails);
        self.disk.kill();
    }
}

async fn append(intake: &Intake, frames: &mut Frames) -> bool {
    intake.append(frames).await.is_ok()
}

fn origin() -> Origin {
    Origin {
        peer: "192.0.2.7".into(),
        address: None,
        address_unverified: false,
        trust: Trust::Peer,
        format: None,
        zone_seconds: 0,
    }
}

#[test]
fn random_lives() {
    let crashes = AtomicU64::new(0);
    let lived = seeds::live("sim::pipeline::random_lives", SEEDS, |seed| {
        crashes.fetch_add(World::live(seed).crashes, Relaxed);
    });
    println!("{lived} seeds, {} crashes", crashes.load(Relaxed));
}

#[test]
fn a_seed_is_a_life() {
    for seed in 0..20 {
        let lives = [World::live(seed), World::live(seed)];
        for (one, other) in lives[0].peers.iter().zip(&lives[1].peers) {
            assert!(one.1.state().arrived == other.1.state().arrived, "seed {seed}: {}", one.0);
        }
    }
}

#[test]
fn every_planted_bug_is_caught() {
    let bugs = [
        Bug::AckBeforeSync,
        Bug::RefusalAcknowledged,
        Bug::CommitBeforeDelivery,
        Bug::DoubtIgnored,
        Bug::RetrySkips,
        Bug::NeighbourRefused,
        Bug::TallyForgotten,
    ];
    seeds::catch(&bugs, |seed| {
        World::live(seed);
    });
}
