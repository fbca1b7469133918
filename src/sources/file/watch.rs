//! Wakes the follower of files when something changes in their folders. The poll finds what this
//! misses, so every failure here costs only delay.

use std::collections::HashSet;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

/// Folders that are watched at most; the poll serves the rest.
const FOLDERS_MAX: usize = 4096;

const EVENTS_BYTES: usize = 16 * 1024;

/// inotify(7): watch, mask, cookie and length of the name, four bytes each, then the name.
const EVENT_HEADER_BYTES: usize = 16;

pub(super) struct Watch {
    inotify: Option<Inotify>,
    folders: HashSet<PathBuf>,
}

struct Inotify {
    watches: OwnedFd,
    /// The same, as something the runtime can wait for.
    events: Receiver,
}

impl Watch {
    pub(super) fn new() -> Self {
        let open = || {
            let watches = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            // Like a pipe, it is read with read(2) and announces itself to epoll.
            let events = Receiver::from_owned_fd_unchecked(watches.try_clone()?)?;
            Ok::<_, io::Error>(Inotify { watches, events })
        };
        let inotify = open().inspect_err(|error| tracing::warn!(%error, "file changes are found by polling only"));
        Watch { inotify: inotify.ok(), folders: HashSet::new() }
    }

    /// Watches these folders too.
    pub(super) fn add(&mut self, folders: Vec<PathBuf>) {
        let Some(inotify) = &self.inotify else { return };
        let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE;
        for folder in folders {
            if self.folders.len() < FOLDERS_MAX && !self.folders.contains(&folder) {
                match inotify::add_watch(&inotify.watches, &folder, wanted | WatchFlags::ONLYDIR) {
                    Ok(_) => drop(self.folders.insert(folder)),
                    Err(error) => tracing::debug!(folder = %folder.display(), %error, "cannot watch the folder"),
                }
            }
        }
    }

    /// Waits for a change. Answers whether names have changed, not only contents. Cancel-safe.
    pub(super) async fn changed(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return pending().await };
        let mut buffer = [0; EVENTS_BYTES];
        loop {
            let read = match inotify.events.readable().await {
                Ok(()) => inotify.events.try_read(&mut buffer),
                Err(error) => Err(error),
            };
            match read {
                Ok(length) => {
                    let masks = masks(&buffer[..length]);
                    if masks & ReadFlags::IGNORED.bits() != 0 {
                        // A watched folder is gone; if it comes back it is watched again.
                        self.folders.clear();
                    }
                    return masks & !ReadFlags::MODIFY.bits() != 0;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!(%error, "file changes are found by polling only");
                    return pending().await;
                }
            }
        }
    }
}

/// The masks of all events, put together.
fn masks(mut events: &[u8]) -> u32 {
    let mut masks = 0;
    while let Some((header, rest)) = events.split_first_chunk::<EVENT_HEADER_BYTES>() {
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        masks |= word(4);
        events = rest.get(word(12) as usize..).unwrap_or_default();
    }
    masks
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn tells_new_names_from_new_contents() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new();
        watch.add(vec![folder.path().to_owned(), folder.path().join("missing")]);
        let mut changed = async || tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.unwrap();

        std::fs::write(folder.path().join("log"), "").unwrap();
        assert!(changed().await);
        std::fs::write(folder.path().join("log"), "one\n").unwrap();
        assert!(!changed().await);
        std::fs::rename(folder.path().join("log"), folder.path().join("log.1")).unwrap();
        assert!(changed().await);
    }
}
