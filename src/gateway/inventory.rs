//! Watches what tells which machines there are: inventory files and providers. An answer is taken as a whole; a wrong
//! one, or none, changes nothing and an event says why.
//!
//! Invariant: what changed is in the journal before any event that is identified by it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::asking::{Answer, Asked, ask};
use super::known::{Folder, Known};
use super::news::{self, News};
use crate::config::Config;
use crate::identity::inventory::{self, State};
use crate::identity::{Entry, Inventory, Local, Senders, Snapshot, Told, join};
use crate::intake::Intake;
use crate::policy::Policy;

/// How often the files are looked at. One is read when it has not changed between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

pub(super) struct Watch {
    /// What the machine says of itself.
    local: Local,
    /// Files and then providers, in the order of the configuration: the first that knows a machine has the last word.
    origins: Vec<Origin>,
    folder: Folder,
    /// Which group a machine belongs to.
    policy: Arc<Policy>,
    senders: Senders,
    /// What is to be told of the start.
    /// What is to be told of the start,
    news: News,
    /// unless it was.
    is_told: bool,
}

/// One who tells of machines, and what he told.
struct Origin {
    /// For people.
    name: String,
    known: Known,
    /// What was told last of what is odd in it.
    odd: String,
    kind: Kind,
}

enum Kind {
    File {
        path: PathBuf,
        /// As it was when it was read,
        read: Option<State>,
        /// and at the last look.
        seen: Option<State>,
    },
    Provider {
        /// Until it is asked for the first time.
        asked: Option<Asked>,
        is_away: bool,
    },
}

/// The machines as a gateway with this configuration knows them: those of the files, and what providers said last.
///
/// # Errors
/// A file cannot be used.
pub fn known_machines(config: &Config) -> anyhow::Result<Vec<Entry>> {
    let folder = Folder::at(config);
    let mut all = Vec::new();
    for path in &config.identity.inventory {
        all.push(inventory::read(path)?.entries);
    }
    let known = config.providers.iter().map(|part| folder.known(&of_provider(&part.name)));
    all.extend(known.filter(|known| !known.is_this_machine()).map(|known| known.entries()));
    Ok(join(all.iter().map(Vec::as_slice)))
}

/// What a provider is called.
fn of_provider(name: &str) -> String {
    format!("provider `{name}`")
}

impl Watch {
    /// Reads every file, and what providers said last.
    pub(super) fn start(config: &Config, local: Local) -> anyhow::Result<(Watch, Snapshot)> {
        let folder = Folder::at(config);
        folder.make();
        let before = folder.all();
        let mut news = News::default();
        let mut origins = Vec::new();
        for path in &config.identity.inventory {
            let name = format!("inventory `{}`", path.display());
            // The state before the content: a change in between is read again.
            let read = State::of(path).ok();
            let mut known = folder.known(&name);
            let inventory = inventory::read(path)?;
            let odd = news::odd(&inventory);
            news.odd(&name, &odd);
            known.replace(inventory.entries, false);
            origins.push(Origin { name, known, odd, kind: Kind::File { path: path.clone(), read, seen: read } });
        }
        for part in &config.providers {
            let name = of_provider(&part.name);
            let known = folder.known(&name);
            let asked = Some(Asked::new(&*part.options)?);
            let odd = String::new();
            origins.push(Origin { name, known, odd, kind: Kind::Provider { asked, is_away: false } });
        }
        let (policy, senders) = (Arc::clone(&config.policy), config.identity.senders.clone());
        let mut watch = Watch { local, origins, folder, policy, senders, news, is_told: false };
        let entries = watch.entries();
        if let Some(before) = before {
            watch.news.changed("since the gateway ran last", &before, &entries);
        }
        let snapshot = watch.snapshot(&Snapshot::default(), &entries);
        Ok((watch, snapshot))
    }

    /// The machines of all, each once.
    fn entries(&self) -> Vec<Entry> {
        let known = self.origins.iter().map(|origin| &origin.known).filter(|known| !known.is_this_machine());
        let all: Vec<Vec<Entry>> = known.map(Known::entries).collect();
        join(all.iter().map(Vec::as_slice))
    }

    fn snapshot(&self, before: &Snapshot, entries: &[Entry]) -> Snapshot {
        let mut local = self.local.clone();
        let of_clouds = self.origins.iter().map(|origin| &origin.known).filter(|known| known.is_this_machine());
        of_clouds.flat_map(Known::entries).for_each(|told| local.told_by_cloud(told));
        let snapshot = before.renewed(&local, entries, &|facts| self.policy.group_of(facts).map(str::to_owned));
        let (snapshot, unknown) = snapshot.with_senders(&self.senders);
        for machine in unknown {
            tracing::warn!(machine, "`identity.senders` names a machine that no inventory knows");
        }
        snapshot
    }

    /// Tells what changed while the gateway was down, and takes it for the measure of the next change. Whoever gives up
    /// waiting for it tells it again.
    pub(super) async fn tell(&mut self, own: &Intake) {
        if self.news.tell(own).await {
            self.origins.iter_mut().for_each(|origin| origin.known.store());
            self.folder.forget_others(self.origins.iter().map(|origin| &origin.known));
        }
        (self.news, self.is_told) = (News::default(), true);
    }

    /// Until `stop`.
    pub(super) async fn run(mut self, identity: Arc<ArcSwap<Snapshot>>, own: Intake, stop: CancellationToken) {
        if !self.is_told {
            self.tell(&own).await;
        }
        // Nobody waits for an answer, and one is kept while another is worked on.
        let (answers, mut answered) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        for (at, origin) in self.origins.iter_mut().enumerate() {
            if let Kind::Provider { asked, .. } = &mut origin.kind
                && let Some(asked) = asked.take()
            {
                tasks.spawn(ask(at, asked, answers.clone()));
            }
        }
        let mut look = tokio::time::interval(INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(answer) = answered.recv() => {
                    stop.run_until_cancelled(self.take(answer, &identity, &own)).await;
                }
                _ = look.tick() => {
                    for at in 0..self.origins.len() {
                        stop.run_until_cancelled(self.look(at, &identity, &own)).await;
                    }
                }
            }
        }
        tasks.shutdown().await;
    }

    /// Reads a file again that has changed and come to rest.
    async fn look(&mut self, at: usize, identity: &ArcSwap<Snapshot>, own: &Intake) {
        let Some(Origin { kind: Kind::File { path, read, seen }, .. }) = self.origins.get_mut(at) else { return };
        let now = State::of(path).ok();
        let is_at_rest = std::mem::replace(seen, now) == now;
        if now == *read || !is_at_rest {
            return;
        }
        *read = now;
        let path = path.clone();
        // Parsing a large export takes a while: not on a thread that serves connections.
        let told = tokio::task::spawn_blocking(move || inventory::read(&path)).await;
        let told = told.map_err(|broken| broken.to_string()).and_then(|told| told.map_err(|error| error.to_string()));
        match told {
            Ok(inventory) => self.replace(at, inventory, false, identity, own).await,
            Err(error) => {
                tracing::error!("{error}; the last good inventory stays");
                let mut news = News::default();
                news.say("inventory.refused", 6, format!("{error}; the last good inventory stays"));
                news.tell(own).await;
            }
        }
    }

    /// What a provider answered, or why it did not.
    async fn take(&mut self, answer: Answer, identity: &ArcSwap<Snapshot>, own: &Intake) {
        let Some(Origin { name, kind: Kind::Provider { is_away, .. }, .. }) = self.origins.get_mut(answer.at) else {
            return;
        };
        let mut news = News::default();
        let was_away = std::mem::replace(is_away, answer.told.is_err());
        match answer.told {
            Ok(told) => {
                if was_away {
                    news.say("inventory.back", 2, format!("{name} answers again"));
                }
                let (inventory, is_this_machine) = match told {
                    Told::Machines(inventory) => (inventory.joined(), false),
                    Told::ThisMachine(mut entry) => {
                        entry.bound();
                        (Inventory { entries: vec![*entry], ..Inventory::default() }, true)
                    }
                };
                news.tell(own).await;
                self.replace(answer.at, inventory, is_this_machine, identity, own).await;
            }
            Err(error) => {
                tracing::warn!("{name}: {error}");
                // Told once, not every time that it is asked in vain.
                if !was_away {
                    let text = format!("{name}: {error}; what it said last stays");
                    news.say("inventory.failed", 6, text);
                }
                news.tell(own).await;
            }
        }
    }

    /// One says something else than before: that is told, and then it holds.
    async fn replace(
        &mut self,
        at: usize,
        inventory: Inventory,
        is_this_machine: bool,
        identity: &ArcSwap<Snapshot>,
        own: &Intake,
    ) {
        // A hundred thousand machines take a second: others go on on another thread.
        let renewed = tokio::task::block_in_place(|| self.renewed(at, inventory, is_this_machine, &identity.load()));
        if let Some((news, snapshot)) = renewed {
            let is_told = news.tell(own).await;
            identity.store(Arc::new(snapshot));
            if let Some(origin) = self.origins.get_mut(at).filter(|_| is_told) {
                tokio::task::block_in_place(|| origin.known.store());
            }
        }
    }

    /// What is to be told, and what is known then; nothing, if it says the same as before.
    fn renewed(
        &mut self,
        at: usize,
        inventory: Inventory,
        is_this_machine: bool,
        now: &Snapshot,
    ) -> Option<(News, Snapshot)> {
        let before = self.entries();
        let origin = self.origins.get_mut(at)?;
        if origin.known.is_same(&inventory.entries, is_this_machine) {
            return None;
        }
        let mut news = News::default();
        // Machines come and go; what stays odd is told once.
        let odd = news::odd(&inventory);
        if odd != origin.odd {
            news.odd(&origin.name, &odd);
        }
        origin.odd = odd;
        if is_this_machine {
            news.this_machine(&origin.name, &inventory.entries);
        }
        origin.known.replace(inventory.entries, is_this_machine);
        let name = origin.name.clone();
        let entries = self.entries();
        news.changed(&name, &before, &entries);
        let snapshot = self.snapshot(now, &entries);
        Some((news, snapshot))
    }
}
