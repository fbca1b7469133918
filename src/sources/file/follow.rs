//! All files of one source: finds them, looks at each in turn, lets go of those that are gone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::glob::Glob;
use super::tail::{FileId, Look, Tail};
use crate::intake::{Frames, Intake, Origin};
use crate::sources::fill::PIECE_BYTES;
use crate::sources::options::Reading;
use crate::sources::weight::Weight;

/// Files that are open at once.
const FILES_MAX: usize = 10_000;

/// Stored at the first start: files that appear later are read from the beginning.
const STARTED: &str = "started";

/// What the options say.
pub(super) struct Settings {
    pub(super) include: Vec<Glob>,
    pub(super) exclude: Vec<Glob>,
    pub(super) reading: Reading,
    /// Whether files that are there at the first start are read only from their end.
    pub(super) skip_old: bool,
    pub(super) line_bytes_max: usize,
    pub(super) rotate_wait: Duration,
}

/// The files of one source.
pub(super) struct Follow {
    /// The lines of the last round.
    pub(super) frames: Frames,
    settings: Settings,
    intake: Intake,
    tails: VecDeque<Tail>,
    buffer: Vec<u8>,
    /// Whether this is the first search since the process started, and ever.
    is_first: bool,
    is_first_ever: bool,
    /// Paths that could not be opened, each reported once.
    complained: HashSet<PathBuf>,
}

/// What one round brought beside lines.
#[derive(Default)]
pub(super) struct Round {
    /// There is more to read at once.
    pub(super) more: bool,
    /// Files of which a part was cut off unread, and how.
    pub(super) gaps: Vec<(Origin, String)>,
    /// Where changes may happen.
    pub(super) folders: Vec<PathBuf>,
}

impl Follow {
    pub(super) fn new(settings: Settings, intake: Intake) -> Self {
        let frames = intake.frames(settings.reading.origin("file"));
        let buffer = vec![0; PIECE_BYTES.max(settings.line_bytes_max.saturating_add(1))];
        let is_first_ever = intake.marked(STARTED).is_none();
        Follow {
            frames,
            settings,
            intake,
            tails: VecDeque::new(),
            buffer,
            is_first: true,
            is_first_ever,
            complained: HashSet::new(),
        }
    }

    /// Looks at each file once, until the batch is full; looks for files first if told so.
    pub(super) fn round(&mut self, search: bool) -> Round {
        let mut round = Round::default();
        if search {
            self.search(&mut round);
        }
        let mut weight = Weight::default();
        for _ in 0..self.tails.len() {
            let Some(mut tail) = self.tails.pop_front() else { break };
            let look = self.look(&mut tail, &mut round, &mut weight);
            match look {
                Ok(true) => self.tails.push_back(tail),
                Ok(false) => {}
                Err(error) => {
                    // The next search opens it again where it stood.
                    tracing::warn!(path = %tail.path.display(), %error, "cannot read the file");
                }
            }
            if weight.is_full() {
                round.more = true;
                break;
            }
        }
        round
    }

    /// Reads one piece of a file. Answers whether the file stays open.
    fn look(&mut self, tail: &mut Tail, round: &mut Round, weight: &mut Weight) -> std::io::Result<bool> {
        let Follow { intake, frames, settings, buffer, .. } = self;
        let origin = settings.reading.origin(&tail.path.to_string_lossy());
        frames.turn_to(origin.clone());
        let read = match tail.read(buffer, |line| line.take(intake, frames, weight))? {
            Look::More(read) => {
                round.more = true;
                read
            }
            Look::End(read) => read,
            Look::Truncated { unread } => {
                round.more = true;
                tracing::info!(path = %tail.path.display(), "the file was truncated; reading it from the beginning");
                if unread {
                    round.gaps.push((origin, format!("`{}` was truncated before it was read", tail.path.display())));
                }
                intake.mark(frames, &tail.id.name(), &tail.position());
                return Ok(true);
            }
        };
        if read > 0 {
            intake.mark(frames, &tail.id.name(), &tail.position());
            tail.quiet_since = tail.quiet_since.map(|_| Instant::now());
        }
        if tail.quiet_since.is_some_and(|since| since.elapsed() >= settings.rotate_wait) {
            tail.finish(buffer, |line| line.take(intake, frames, weight))?;
            intake.mark(frames, &tail.id.name(), &[]);
            return Ok(false);
        }
        Ok(true)
    }

    fn search(&mut self, round: &mut Round) {
        let mut found = HashSet::new();
        let open: HashMap<FileId, usize> = self.tails.iter().enumerate().map(|(at, tail)| (tail.id, at)).collect();
        let mut folders: HashSet<PathBuf> = self.settings.include.iter().map(|glob| glob.root().to_owned()).collect();
        let mut paths = Vec::new();
        self.settings.include.iter().for_each(|glob| glob.find(&mut |path| paths.push(path)));
        paths.retain(|path| !is_packed(path) && !self.settings.exclude.iter().any(|glob| glob.matches(path)));
        for path in paths {
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if metadata.is_file() && found.insert(FileId::of(&metadata)) {
                folders.extend(path.parent().map(Path::to_owned));
                match open.get(&FileId::of(&metadata)).and_then(|at| self.tails.get_mut(*at)) {
                    Some(tail) if tail.path == path => {}
                    Some(tail) => tail.path = path,
                    None => self.open(&path, FileId::of(&metadata)),
                }
            }
        }
        if self.is_first {
            self.find_renamed(&folders, &mut found);
            self.intake.mark(&mut self.frames, STARTED, &[1]);
        }
        self.is_first = false;
        self.is_first_ever = false;
        for tail in &mut self.tails {
            if found.contains(&tail.id) {
                tail.quiet_since = None;
            } else if tail.quiet_since.is_none() {
                tail.quiet_since = Some(Instant::now());
            }
        }
        round.folders = folders.into_iter().filter(|folder| !folder.as_os_str().is_empty()).collect();
    }

    /// A pattern matches this file, and it is not open yet under any name.
    fn open(&mut self, path: &Path, id: FileId) {
        if self.tails.len() >= FILES_MAX {
            self.complain(path, "too many files are open");
            return;
        }
        let stored = self.intake.marked(&id.name());
        let opened = Tail::open(path, stored.as_deref(), self.settings.line_bytes_max).and_then(|(mut tail, known)| {
            if !known && self.is_first_ever && self.settings.skip_old {
                tail.skip_to_end()?;
                self.intake.mark(&mut self.frames, &tail.id.name(), &tail.position());
            }
            Ok(tail)
        });
        match opened {
            Ok(tail) => {
                tracing::info!(path = %path.display(), "following the file");
                self.complained.remove(path);
                self.tails.push_back(tail);
            }
            Err(error) => self.complain(path, &error.to_string()),
        }
    }

    /// Files that were renamed while the gateway was down: no pattern finds them any more, but
    /// their positions are stored.
    fn find_renamed(&mut self, folders: &HashSet<PathBuf>, found: &mut HashSet<FileId>) {
        for folder in folders {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                let id = FileId::of(&metadata);
                if !metadata.is_file() || found.contains(&id) {
                    continue;
                }
                let Some(stored) = self.intake.marked(&id.name()) else { continue };
                if let Ok((tail, true)) = Tail::open(&entry.path(), Some(&stored), self.settings.line_bytes_max) {
                    tracing::info!(path = %entry.path().display(), "reading the rest of a renamed file");
                    self.tails.push_back(tail);
                }
            }
        }
    }

    fn complain(&mut self, path: &Path, cause: &str) {
        if self.complained.len() < FILES_MAX && self.complained.insert(path.to_owned()) {
            tracing::warn!(path = %path.display(), cause, "cannot follow the file");
        }
    }
}

/// Compressed files are rotated copies of what was read already.
fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["gz", "zst", "bz2", "xz"].iter().any(|packed| extension == *packed))
}
