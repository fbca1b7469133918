//! All files of one source: finds them, looks at each in turn, lets go of those that are gone.
//!
//! Invariant: a position that is given up and the gap record that says so stand in one batch, so neither is stored
//! without the other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::glob::Glob;
use super::rest::{Candidates, Part, Rest};
use super::tail::{FileId, Look, Tail};
use crate::intake::{Frames, Intake};
use crate::sources::fill::PIECE_BYTES;
use crate::sources::options::Reading;
use crate::sources::weight::Weight;

/// Files that are open at once.
const FILES_MAX: usize = 10_000;

/// Stored at the first start: files that appear later are read from the beginning.
const STARTED: &str = "started";
/// Names of the positions in what is left of files that are gone begin so.
const RESTS: &str = "rest.";

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
    /// What is left of files that are no longer where they were.
    rests: VecDeque<Rest>,
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
            rests: VecDeque::new(),
            buffer,
            is_first: true,
            is_first_ever,
            complained: HashSet::new(),
        }
    }

    /// A second batch, to be filled while the first is stored.
    pub(super) fn spare(&self) -> Frames {
        self.intake.frames(self.settings.reading.origin("file"))
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
                return round;
            }
        }
        self.read_rest(&mut round, &mut weight);
        round
    }

    /// Reads on in what is left of a file that is gone.
    fn read_rest(&mut self, round: &mut Round, weight: &mut Weight) {
        let Some(mut rest) = self.rests.pop_front() else { return };
        let Follow { intake, frames, settings, buffer, .. } = self;
        let origin = settings.reading.origin(&rest.path().to_string_lossy());
        frames.turn_to(origin);
        round.more = true;
        match rest.read(buffer, |line| line.take(intake, frames, weight)) {
            Part::More => {
                intake.mark(frames, &rest.name, &rest.position());
                self.rests.push_back(rest);
            }
            Part::End => intake.mark(frames, &rest.name, &[]),
            Part::Lost(cause) => {
                intake.mark(frames, &rest.name, &[]);
                intake.take_gap(frames, &cause);
            }
        }
    }

    /// Looks for what is left of files by their stored positions; what is not found may be lost.
    fn find_rests(&mut self, gone: Vec<(String, Vec<u8>)>, folders: &HashSet<PathBuf>) {
        if gone.is_empty() {
            return;
        }
        let followed = self.tails.iter().map(|tail| tail.id).collect();
        let candidates = Candidates::of(folders, &followed);
        let open: HashSet<String> = self.tails.iter().map(|tail| tail.id.name()).collect();
        let mut missing = 0_usize;
        for (name, stored) in gone {
            let own = if name.starts_with(RESTS) { name.clone() } else { format!("{RESTS}{name}") };
            let found = Rest::find(&own, &stored, &candidates, self.settings.line_bytes_max);
            if own != name && !open.contains(&name) {
                self.intake.mark(&mut self.frames, &name, &[]);
            }
            match found {
                Some(rest) => {
                    tracing::info!(path = %rest.path().display(), "looking for the rest of a file that was moved");
                    self.intake.mark(&mut self.frames, &own, &stored);
                    self.rests.push_back(rest);
                }
                None => {
                    self.intake.mark(&mut self.frames, &own, &[]);
                    missing += 1;
                }
            }
        }
        // One record for all of them: a folder that was moved away may have held thousands.
        let files = match missing {
            0 => return,
            1 => "a file that was followed is".to_owned(),
            more => format!("{more} files that were followed are"),
        };
        self.frames.turn_to(self.settings.reading.origin("file"));
        let cause = format!("{files} gone: what was written there meanwhile may be missing");
        self.intake.take_gap(&mut self.frames, &cause);
    }

    /// Reads one piece of a file. Answers whether the file stays open.
    fn look(&mut self, tail: &mut Tail, round: &mut Round, weight: &mut Weight) -> std::io::Result<bool> {
        let Follow { intake, frames, settings, buffer, .. } = self;
        let origin = settings.reading.origin(&tail.path.to_string_lossy());
        frames.turn_to(origin);
        let before = tail.position();
        let read = match tail.read(buffer, |line| line.take(intake, frames, weight))? {
            Look::More(read) => {
                round.more = true;
                read
            }
            Look::End(read) => read,
            Look::Truncated { unread } => {
                round.more = true;
                tracing::info!(path = %tail.path.display(), "the file was truncated; reading it from the beginning");
                intake.mark(frames, &tail.id.name(), &tail.position());
                self.find_copy(tail, &before, unread);
                weight.add(0);
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

    /// A file was cut: whoever did may have copied it before, with what was written since the last look, whether or
    /// not anything was `unread` then.
    fn find_copy(&mut self, tail: &Tail, before: &[u8], unread: bool) {
        let name = format!("{RESTS}{}", tail.id.name());
        let mut followed: HashSet<FileId> = self.tails.iter().map(|tail| tail.id).collect();
        followed.insert(tail.id);
        let folder = tail.path.parent().map(Path::to_owned);
        let found = Rest::find(&name, before, &Candidates::of(&folder, &followed), self.settings.line_bytes_max);
        match found {
            Some(mut rest) => {
                rest.is_missed = unread;
                self.intake.mark(&mut self.frames, &name, before);
                self.rests.push_back(rest);
            }
            None if !unread => {}
            None => {
                let cause = format!("`{}` was truncated before it was read", tail.path.display());
                self.intake.take_gap(&mut self.frames, &cause);
            }
        }
    }

    fn search(&mut self, round: &mut Round) {
        let mut found = HashSet::new();
        let open: HashMap<FileId, usize> = self.tails.iter().enumerate().map(|(at, tail)| (tail.id, at)).collect();
        let mut folders: HashSet<PathBuf> = self.settings.include.iter().map(|glob| glob.root().to_owned()).collect();
        let mut gone = Vec::new();
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
                    None => gone.extend(self.open(&path, FileId::of(&metadata))),
                }
            }
        }
        if self.is_first {
            self.find_renamed(&folders, &mut found);
            let open: HashSet<String> = self.tails.iter().map(|tail| tail.id.name()).collect();
            let names = self.intake.marked_names().into_iter();
            let positions = names.filter(|name| is_position(name) && !open.contains(name)).filter_map(|name| {
                let stored = self.intake.marked(&name).filter(|stored| !stored.is_empty())?;
                Some((name, stored))
            });
            gone.extend(positions);
            self.find_rests(gone, &folders);
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

    /// A pattern matches this file, and it is not open yet under any name. Answers the position that is stored for
    /// another file of this number.
    fn open(&mut self, path: &Path, id: FileId) -> Option<(String, Vec<u8>)> {
        if self.tails.len() >= FILES_MAX {
            self.complain(path, "too many files are open");
            return None;
        }
        let stored = self.intake.marked(&id.name()).filter(|stored| !stored.is_empty());
        let opened = Tail::open(path, stored.as_deref(), self.settings.line_bytes_max).and_then(|(mut tail, known)| {
            if !known && self.is_first_ever && self.settings.skip_old {
                tail.skip_to_end()?;
                self.intake.mark(&mut self.frames, &tail.id.name(), &tail.position());
            }
            Ok((tail, known))
        });
        match opened {
            Ok((tail, known)) => {
                if !known && stored.is_some() {
                    self.intake.mark(&mut self.frames, &id.name(), &tail.position());
                }
                tracing::info!(path = %path.display(), "following the file");
                self.complained.remove(path);
                self.tails.push_back(tail);
                stored.filter(|_| !known && self.is_first).map(|stored| (id.name(), stored))
            }
            Err(error) => {
                self.complain(path, &error.to_string());
                None
            }
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

/// Whether a mark of that name is the position in a file.
fn is_position(name: &str) -> bool {
    let id = name.strip_prefix(RESTS).unwrap_or(name);
    id.split_once('.').is_some_and(|(device, inode)| {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_number(device) && is_number(inode)
    })
}

/// Compressed files are rotated copies of what was read already.
fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["gz", "zst", "bz2", "xz"].iter().any(|packed| extension == *packed))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::intake::Trust;
    use crate::journal::storage::Disk;
    use crate::journal::{Journal, Settings as JournalSettings};
    use crate::sources::options::{FormatName, Zone};

    fn follow(journal: &Journal, path: &Path) -> Follow {
        let settings = Settings {
            include: vec![Glob::new(path)],
            exclude: Vec::new(),
            reading: Reading { format: FormatName::default(), zone: Zone::default(), trust: Trust::Local },
            skip_old: false,
            line_bytes_max: 1024,
            rotate_wait: Duration::from_secs(30),
        };
        Follow::new(settings, Intake::new(journal.clone(), Arc::default(), "in", Arc::default()))
    }

    #[tokio::test]
    async fn a_position_is_given_up_in_the_batch_of_its_gap() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("logs/app.log");
        fs::create_dir(folder.path().join("logs")).unwrap();
        let journal = Journal::open(JournalSettings::new(folder.path().join("journal")), Arc::new(Disk)).unwrap();
        fs::write(&log, "a line that was read\n").unwrap();
        let mut before = follow(&journal, &log);
        before.round(true);
        let intake = before.intake.clone();
        intake.append(&mut before.frames).await.unwrap();
        assert!(intake.marked_names().iter().any(|name| is_position(name)));

        fs::remove_file(&log).unwrap();
        // One that is killed before its batch is stored has given nothing up.
        for _ in 0..2 {
            let mut killed = follow(&journal, &log);
            killed.round(true);
            assert_eq!(killed.frames.len(), 1, "the gap stands in the batch");
        }
        let mut last = follow(&journal, &log);
        last.round(true);
        intake.append(&mut last.frames).await.unwrap();
        let mut after = follow(&journal, &log);
        after.round(true);
        assert_eq!(after.frames.len(), 0, "it is declared once");
        let sums = journal.status().tallies;
        assert_eq!((&sums["in"][..], &sums["wharfinger"][..]), (&[1][..], &[1][..]));

        // Cut before it was read to its end, and copied nowhere.
        fs::write(&log, "another line\nand one that has no").unwrap();
        after.round(true);
        intake.append(&mut after.frames).await.unwrap();
        fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
        after.round(true);
        assert_eq!(after.frames.len(), 1, "the gap stands in the batch");
        let mut restarted = follow(&journal, &log);
        restarted.round(true);
        assert_eq!(restarted.frames.len(), 1, "the gap is still owed");
    }
}
