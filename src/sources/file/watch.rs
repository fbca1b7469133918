//! Wakes the follower of files when something changes in their folders. The poll finds what this
//! misses, so every failure here costs only delay.

use std::collections::HashSet;
use std::future::pending;
use std::path::PathBuf;

use inotify::{EventMask, Inotify, WatchMask};
use tokio::io::unix::AsyncFd;

/// Folders that are watched at most; the poll serves the rest.
const FOLDERS_MAX: usize = 4096;

const EVENTS_BYTES: usize = 16 * 1024;

pub(super) struct Watch {
    inotify: Option<AsyncFd<Inotify>>,
    folders: HashSet<PathBuf>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let inotify = Inotify::init().and_then(|inotify| Ok(AsyncFd::register(inotify)?));
        if let Err(error) = &inotify {
            tracing::warn!(%error, "file changes are found by polling only");
        }
        Watch { inotify: inotify.ok(), folders: HashSet::new() }
    }

    /// Watches these folders too.
    pub(super) fn add(&mut self, folders: Vec<PathBuf>) {
        let Some(inotify) = &self.inotify else { return };
        let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVE | WatchMask::DELETE | WatchMask::ONLYDIR;
        for folder in folders {
            if self.folders.len() < FOLDERS_MAX && !self.folders.contains(&folder) {
                match inotify.get_ref().watches().add(&folder, mask) {
                    Ok(_) => drop(self.folders.insert(folder)),
                    Err(error) => tracing::debug!(folder = %folder.display(), %error, "cannot watch the folder"),
                }
            }
        }
    }

    /// Waits for a change. Answers whether names have changed, not only contents.
    pub(super) async fn changed(&mut self) -> bool {
        let Some(inotify) = &mut self.inotify else { return pending().await };
        loop {
            let Ok(mut ready) = inotify.readable_mut().await else { return pending().await };
            let mut buffer = [0; EVENTS_BYTES];
            let events = ready.try_io(|inotify| inotify.get_mut().read_events(&mut buffer));
            match events {
                Ok(Ok(events)) => {
                    let mut names = false;
                    for event in events {
                        names |= event.mask != EventMask::MODIFY;
                        if event.mask.contains(EventMask::IGNORED) {
                            // A watched folder is gone; if it comes back it is watched again.
                            self.folders.clear();
                        }
                    }
                    return names;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "file changes are found by polling only");
                    return pending().await;
                }
                Err(_would_block) => {}
            }
        }
    }
}
