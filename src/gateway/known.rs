//! Known: what each inventory and provider said last, on disk: so that a start needs nobody to answer, tells what
//! changed while the gateway was down, and nothing of it takes memory beside the snapshot.
//!
//! Invariants: a file is whole or absent: written as temp, synced, renamed; it says something new only after that
//! was told, so that a crash tells it twice and never not at all; files of others in the folder are left alone.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::identity::{Entry, join};

/// What stands in the first line of a file.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Of another version it is as if it were absent.
    version: u32,
    /// Who said it.
    name: String,
    /// It is about the machine that the gateway runs on.
    this_machine: bool,
    /// So many lines follow.
    machines: usize,
}

const VERSION: u32 = 1;

/// Where the files are.
pub(super) struct Folder(PathBuf);

/// What one of them said last.
pub(super) struct Known {
    path: PathBuf,
    name: String,
    is_this_machine: bool,
    /// Of all that it said; none: it said nothing yet.
    hash: Option<[u8; 32]>,
    /// Until it is stored.
    held: Option<Vec<Entry>>,
}

impl Folder {
    /// That of a gateway with this configuration; it need not be there.
    pub(super) fn at(config: &Config) -> Folder {
        Folder(config.data_dir.join("inventories"))
    }

    pub(super) fn make(&self) {
        if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0) {
            tracing::warn!(%error, "cannot make `{}`", self.0.display());
        }
    }

    /// The machines of all files, each once; none if there is no file: then nobody said anything yet.
    pub(super) fn all(&self) -> Option<Vec<Entry>> {
        let read: Vec<(Head, Vec<Entry>)> = self.paths().iter().filter_map(|path| read(path).ok()).collect();
        let machines = || read.iter().filter(|(head, _)| !head.this_machine).map(|(_, entries)| entries.as_slice());
        machines().next().is_some().then(|| join(machines()))
    }

    pub(super) fn known(&self, name: &str) -> Known {
        let digest = Sha256::digest(name);
        let stem: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = self.0.join(format!("{stem}.ndjson"));
        let mut known = Known { path, name: name.to_owned(), is_this_machine: false, hash: None, held: None };
        if let Ok((head, entries)) = read(&known.path)
            && head.name == name
        {
            known.is_this_machine = head.this_machine;
            known.hash = Some(hash(&entries));
        }
        known
    }

    /// Removes what nobody of these said: of files and providers that left the configuration.
    pub(super) fn forget_others<'k>(&self, known: impl Iterator<Item = &'k Known>) {
        let ours: HashSet<&Path> = known.map(|known| known.path.as_path()).collect();
        for path in self.paths().iter().filter(|path| !ours.contains(path.as_path())) {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(%error, "cannot remove `{}`", path.display());
            }
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        let Ok(files) = fs::read_dir(&self.0) else { return Vec::new() };
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        let mut paths: Vec<PathBuf> = paths.filter(|path| is_ours(path)).collect();
        paths.sort();
        paths
    }
}

impl Known {
    pub(super) fn is_this_machine(&self) -> bool {
        self.is_this_machine
    }

    pub(super) fn is_same(&self, entries: &[Entry], is_this_machine: bool) -> bool {
        self.is_this_machine == is_this_machine && self.hash == Some(hash(entries))
    }

    /// What it said last.
    pub(super) fn entries(&self) -> Vec<Entry> {
        if let Some(held) = &self.held {
            return held.clone();
        }
        if self.hash.is_none() {
            return Vec::new();
        }
        read(&self.path).map(|(_, entries)| entries).unwrap_or_else(|error| {
            tracing::error!(%error, "`{}` can no longer be read: {} is unknown until it says it again", self.path.display(), self.name);
            Vec::new()
        })
    }

    /// It says this now; [`store`](Self::store) follows when it is told.
    pub(super) fn replace(&mut self, entries: Vec<Entry>, is_this_machine: bool) {
        if self.is_same(&entries, is_this_machine) {
            return;
        }
        (self.is_this_machine, self.hash) = (is_this_machine, Some(hash(&entries)));
        self.held = Some(entries);
    }

    /// What it says is told: the next start begins from that.
    pub(super) fn store(&mut self) {
        let Some(entries) = self.held.take() else { return };
        if let Err(error) = self.write(&entries) {
            tracing::warn!(%error, "cannot store in `{}` what {} said; it is kept in memory", self.path.display(), self.name);
            self.held = Some(entries);
        }
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut out = BufWriter::new(file);
        let head = Head {
            version: VERSION,
            name: self.name.clone(),
            this_machine: self.is_this_machine,
            machines: entries.len(),
        };
        serde_json::to_writer(&mut out, &head)?;
        for entry in entries {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, entry)?;
        }
        out.write_all(b"\n")?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    }
}

/// The digits of a hash.
fn is_ours(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_hash = stem.len() == 16 && stem.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash && path.extension().is_some_and(|end| end == "ndjson")
}

fn read(path: &Path) -> io::Result<(Head, Vec<Entry>)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut lines = BufReader::new(fs::File::open(path)?).lines();
    let head: Head = serde_json::from_str(&lines.next().unwrap_or_else(|| Err(invalid("it is empty")))?)?;
    if head.version != VERSION {
        return Err(invalid("it is of another version"));
    }
    let entries: Vec<Entry> = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<io::Result<_>>()?;
    if entries.len() != head.machines {
        return Err(invalid("it is cut off"));
    }
    Ok((head, entries))
}

fn hash(entries: &[Entry]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for entry in entries {
        // A string cannot hold a new line in JSON.
        hash.update(serde_json::to_vec(entry).unwrap_or_default());
        hash.update(b"\n");
    }
    hash.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            macs: crate::identity::Mac::parse("00:50:56:aa:bb:cc").into_iter().collect(),
            ..Entry::default()
        }
    }

    #[test]
    fn what_was_said_last_is_there_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let folder = || Folder(dir.path().to_owned());
        assert_eq!(folder().all(), None);
        let mut known = folder().known("provider `a`");
        assert!(known.entries().is_empty() && !known.is_same(&[], false), "it said nothing, not that there is nothing");
        known.replace(vec![entry("web"), entry("db")], false);
        assert_eq!(known.entries(), [entry("web"), entry("db")]);
        assert_eq!(folder().all(), None, "what is not told yet is news to the next start");
        known.store();
        let again = folder().known("provider `a`");
        assert_eq!(again.entries(), [entry("web"), entry("db")]);
        assert!(again.is_same(&[entry("web"), entry("db")], false));
        assert!(!again.is_same(&[entry("web")], false) && !again.is_same(&again.entries(), true));
        assert_eq!(folder().all().unwrap().len(), 2);

        let mut this = folder().known("provider `cloud`");
        this.replace(vec![entry("me")], true);
        this.store();
        let theirs = [dir.path().join("vms.ndjson"), dir.path().join("0123456789abcdef.csv")];
        theirs.iter().for_each(|path| fs::write(path, "name\nweb\n").unwrap());
        assert!(folder().known("provider `cloud`").is_this_machine());
        folder().forget_others([&this].into_iter());
        assert_eq!(folder().all(), None, "of the others nothing is left, and this machine is no inventory");
        assert!(theirs.iter().all(|path| path.exists()), "what somebody else keeps there stays");
    }

    #[test]
    fn a_file_that_is_damaged_is_as_if_it_were_absent() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder(dir.path().to_owned());
        let mut known = folder.known("a");
        known.replace(vec![entry("web"), entry("db")], false);
        known.store();
        let bytes = fs::read(&known.path).unwrap();
        for end in [0, 10, bytes.len() / 2, bytes.len() - 10] {
            fs::write(&known.path, &bytes[..end]).unwrap();
            assert!(folder.known("a").entries().is_empty(), "{end}");
        }
    }

    #[test]
    fn without_a_disk_it_is_kept_in_memory() {
        let folder = Folder(PathBuf::from("/proc/nowhere"));
        let mut known = folder.known("a");
        known.replace(vec![entry("web")], false);
        known.store();
        assert_eq!(known.entries(), [entry("web")]);
    }
}
