//! Watches the inventory files: a changed one is read as a whole; a wrong one changes nothing and an
//! event says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::identity::{Entry, Local, Snapshot, inventory};
use crate::intake::Intake;
use crate::policy::Policy;

/// How often the files' times are looked at.
const INTERVAL: Duration = Duration::from_secs(5);

pub(super) struct Watch {
    local: Local,
    files: Vec<File>,
    /// Which group a machine belongs to.
    policy: Arc<Policy>,
}

struct File {
    path: PathBuf,
    changed: Option<SystemTime>,
    entries: Vec<Entry>,
}

impl Watch {
    /// Reads every file.
    pub(super) fn start(paths: &[PathBuf], local: Local, policy: Arc<Policy>) -> anyhow::Result<(Watch, Snapshot)> {
        let mut files = Vec::new();
        for path in paths {
            // The time before the content: a change in between is read again.
            let changed = changed(path);
            files.push(File { path: path.clone(), changed, entries: inventory::read(path)? });
        }
        let watch = Watch { local, files, policy };
        let snapshot = watch.snapshot(&Snapshot::default());
        Ok((watch, snapshot))
    }

    fn snapshot(&self, before: &Snapshot) -> Snapshot {
        let entries: Vec<Entry> = self.files.iter().flat_map(|file| file.entries.iter().cloned()).collect();
        before.renewed(&self.local, &entries, &|facts| self.policy.group_of(facts).map(str::to_owned))
    }

    /// Until `stop`.
    pub(super) async fn run(mut self, identity: Arc<ArcSwap<Snapshot>>, own: Intake, stop: CancellationToken) {
        if self.files.is_empty() {
            return;
        }
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            for at in 0..self.files.len() {
                if changed(&self.files[at].path) != self.files[at].changed {
                    self.reread(at, &identity, &own).await;
                }
            }
        }
    }

    async fn reread(&mut self, at: usize, identity: &ArcSwap<Snapshot>, own: &Intake) {
        let file = &mut self.files[at];
        file.changed = changed(&file.path);
        let path = file.path.clone();
        // Parsing a large export takes a while: not on a thread that serves connections.
        let read = tokio::task::spawn_blocking(move || inventory::read(&path)).await;
        let report = match read {
            Ok(Ok(entries)) => {
                file.entries = entries;
                let text = format!("inventory `{}` has {} machines", file.path.display(), file.entries.len());
                identity.store(Arc::new(self.snapshot(&identity.load())));
                own.report("inventory.changed", 2, &text).await
            }
            Ok(Err(error)) => {
                tracing::error!("{error}; the last good inventory stays");
                own.report("inventory.refused", 6, &format!("{error}; the last good inventory stays")).await
            }
            Err(broken) => own.report("inventory.refused", 8, &broken.to_string()).await,
        };
        if let Err(error) = report {
            tracing::error!("cannot record the change of an inventory: {error}");
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
