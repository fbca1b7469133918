//! How far a verification has come, in a file: one that was stopped goes on there.
//!
//! Invariant: it goes on only in the archive and with the question that the file is of.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{unreadable, usage};
use crate::archive::{Mark, OpenStore};
use crate::cli::failure::Failure;
use crate::cli::table::count;

/// What a stop costs is read again: at most what takes so long.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);
/// No state is longer: a thousand faults of objects in each of some streams.
const BYTES_MAX: u64 = 64 << 20;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// Key, depth and period, for people as well.
    question: String,
    mark: Mark,
}

/// The file.
pub(super) struct State {
    path: PathBuf,
    content: Content,
    written: Option<Instant>,
}

impl State {
    /// The state in a file, or a new one.
    pub(super) fn open(path: &Path, question: &str, stores: &OpenStore) -> Result<State, Failure> {
        let shown = path.display();
        let content = match fs::metadata(path).map(|metadata| metadata.len()) {
            Ok(..=BYTES_MAX) => fs::read(path),
            Ok(_) => Err(io::Error::other("it is too long")),
            Err(error) => Err(error),
        };
        let content = match content {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let content = Content { question: question.to_owned(), mark: Mark::default() };
                let mut state = State { path: path.to_owned(), content, written: None };
                let cannot = |error| usage(anyhow::Error::from(error), "name a file that can be written");
                state.reached(&Mark::default()).map_err(cannot)?;
                return Ok(state);
            }
            Err(error) => {
                let error = anyhow::Error::from(error).context(format!("the state `{shown}` cannot be read"));
                return Err(usage(error, "remove it, and everything is read again"));
            }
        };
        let refused = |what: &str| {
            let error = anyhow::anyhow!("the state `{shown}` {what}");
            usage(error, "name another file, or remove this one, and everything is read again")
        };
        let content: Content = serde_json::from_slice(&content).map_err(|_| refused("is none of a verification"))?;
        if content.question != question {
            return Err(refused("is of another key, period or depth"));
        }
        if !content.mark.fits(stores).map_err(unreadable)? {
            return Err(refused("is of another archive: this one does not have the seal at which it was left"));
        }
        eprintln!("goes on behind {}", count(content.mark.seals(), "seal"));
        Ok(State { path: path.to_owned(), content, written: None })
    }

    pub(super) fn mark(&self) -> Mark {
        self.content.mark.clone()
    }

    /// Notes how far it is, from time to time.
    pub(super) fn reached(&mut self, mark: &Mark) -> io::Result<()> {
        if self.written.is_some_and(|written| written.elapsed() < WRITE_INTERVAL) {
            return Ok(());
        }
        self.content.mark.clone_from(mark);
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", self.path.display()));
        let mut part = self.path.clone().into_os_string();
        part.push(".part");
        fs::write(&part, serde_json::to_vec(&self.content)?).map_err(failed)?;
        fs::rename(&part, &self.path).map_err(failed)?;
        self.written = Some(Instant::now());
        Ok(())
    }

    /// Everything is read: nothing is left to go on with.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let error = anyhow::Error::from(error).context(format!("`{}` stays", self.path.display()));
                Err(usage(error, "remove it"))
            }
            _ => Ok(()),
        }
    }
}
