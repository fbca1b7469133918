//! The quarantine: where events go that a sink or its peer refuses for good, one NDJSON file a sink.
//!
//! Invariant: an event is in the file, synced, before the cursor passes it; what no longer fits under
//! the cap is counted, never dropped in silence.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::FlockOperation;
use serde::Serialize;

/// Default cap of one sink's file.
pub const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One refused event, as a line of the file.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When it was refused, RFC 3339.
    pub time: &'a str,
    pub sink: &'a str,
    pub event_id: &'a str,
    pub reason: &'a str,
    /// The bytes as they were received; absent when the stored record cannot be read.
    pub raw: Option<&'a [u8]>,
    /// The journal's record: all that is needed to deliver the event later.
    pub record: &'a [u8],
}

/// The file of one sink.
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    file: Option<Arc<File>>,
    bytes: u64,
    bytes_max: u64,
    pending: Vec<u8>,
    added: Added,
    last_reason: String,
}

/// Events added since the last sync.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    pub kept: usize,
    /// The file is at its cap: they are counted, and their bytes are gone.
    pub not_kept: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    sink: &'a str,
    event_id: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    record: String,
}

impl Quarantine {
    /// The file `<dir>/<sink>.ndjson`; made when the first event arrives.
    pub fn new(dir: &Path, sink: &str, bytes_max: u64) -> Quarantine {
        let path = dir.join(format!("{sink}.ndjson"));
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Quarantine {
            path,
            file: None,
            bytes,
            bytes_max,
            pending: Vec::new(),
            added: Added::default(),
            last_reason: String::new(),
        }
    }

    /// Adds a line to what [`Quarantine::sync`] writes, if it fits under the cap.
    pub fn add(&mut self, entry: &Entry<'_>) {
        let line = Line {
            time: entry.time,
            sink: entry.sink,
            event_id: entry.event_id,
            reason: entry.reason,
            raw: entry.raw.map(|raw| STANDARD.encode(raw)),
            record: STANDARD.encode(entry.record),
        };
        let before = self.pending.len();
        // Strings into a vector: neither can fail.
        let written = serde_json::to_writer(&mut self.pending, &line).is_ok();
        self.pending.push(b'\n');
        if self.bytes + self.pending.len() as u64 > self.bytes_max {
            // Perhaps somebody has made room meanwhile.
            self.bytes = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        }
        let fits = written && self.bytes + self.pending.len() as u64 <= self.bytes_max;
        if fits {
            self.added.kept += 1;
        } else {
            self.pending.truncate(before);
            self.added.not_kept += 1;
        }
        self.last_reason.clear();
        self.last_reason.push_str(entry.reason);
    }

    /// Bytes that wait for [`Quarantine::sync`].
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Forgets what waits: the events will be refused again.
    pub fn forget_pending(&mut self) {
        self.pending.clear();
        self.added = Added::default();
    }

    /// Writes what waits and syncs it; answers what was added since the last time.
    ///
    /// # Errors
    /// The disk is full or broken: nothing counts as written, what waits still waits.
    pub async fn sync(&mut self) -> io::Result<Added> {
        if !self.pending.is_empty() {
            self.write_pending().await?;
        }
        let added = std::mem::take(&mut self.added);
        if added != Added::default() {
            // Together: a flood of refused events is no flood of log lines.
            let (file, reason) = (self.path.display(), &self.last_reason);
            tracing::warn!(%file, added.kept, added.not_kept, reason, "events refused for good are in quarantine");
        }
        Ok(added)
    }

    async fn write_pending(&mut self) -> io::Result<()> {
        let (path, file, bytes) = (self.path.clone(), self.file.take(), self.bytes);
        let pending = std::mem::take(&mut self.pending);
        let work = tokio::task::spawn_blocking(move || {
            let result = append(&path, file, bytes, &pending);
            (pending, result)
        });
        let (pending, result) = work.await.map_err(io::Error::other)?;
        self.pending = pending;
        let (file, end) = result?;
        self.file = Some(file);
        self.bytes = end;
        self.pending.clear();
        Ok(())
    }
}

/// Appends `lines`; answers the file and where it ends now.
fn append(path: &Path, file: Option<Arc<File>>, end: u64, lines: &[u8]) -> io::Result<(Arc<File>, u64)> {
    let mut known = file.map(|file| (file, end));
    let (file, end) = loop {
        let (file, end) = match known.take() {
            Some(known) => known,
            None => (Arc::new(open(path)?), u64::MAX),
        };
        rustix::fs::flock(&*file, FlockOperation::LockExclusive)?;
        // `wharfinger dlq` puts a new file in place of this one, under the same lock.
        if is_in_place(&file, path)? {
            break (file, end);
        }
    };
    let appended = append_locked(&file, end, lines);
    let unlocked = rustix::fs::flock(&*file, FlockOperation::Unlock);
    let end = appended?;
    unlocked?;
    Ok((file, end))
}

fn append_locked(mut file: &File, end: u64, lines: &[u8]) -> io::Result<u64> {
    // A write that failed half-way, now or before a crash, leaves no half line behind.
    let end = if end == u64::MAX { end_of_last_line(file)? } else { end };
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    file.write_all(lines)?;
    file.sync_data()?;
    Ok(end + lines.len() as u64)
}

fn is_in_place(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(there) => {
            let here = file.metadata()?;
            Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens or makes the file, and sees to it that its name survives a power loss.
fn open(path: &Path) -> io::Result<File> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}

fn end_of_last_line(mut file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 8192];
    while end > 0 {
        let len = end.min(block.len() as u64);
        let part = &mut block[..len as usize];
        file.seek(SeekFrom::Start(end - len))?;
        file.read_exact(part)?;
        match memchr::memrchr(b'\n', part) {
            Some(at) => return Ok(end - len + at as u64 + 1),
            None => end -= len,
        }
    }
    Ok(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry<'a>(id: &'a str, raw: &'a [u8]) -> Entry<'a> {
        Entry {
            time: "2026-11-21T09:00:00Z",
            sink: "siem",
            event_id: id,
            reason: "\"blank\"\n",
            raw: Some(raw),
            record: b"r",
        }
    }

    #[tokio::test]
    async fn lines_survive_and_a_torn_one_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q/siem.ndjson");
        let mut quarantine = Quarantine::new(&dir.path().join("q"), "siem", BYTES_MAX);
        quarantine.add(&entry("1", b"a\nb\xff"));
        quarantine.sync().await.unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time\":").unwrap();

        let mut quarantine = Quarantine::new(&dir.path().join("q"), "siem", BYTES_MAX);
        quarantine.add(&entry("2", b"c"));
        quarantine.sync().await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["raw"], "YQpi/w==");
        assert_eq!(lines[1]["event_id"], "2");
    }

    #[tokio::test]
    async fn the_cap_holds() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::new(dir.path(), "siem", 300);
        quarantine.add(&entry("1", b"a"));
        quarantine.add(&entry("2", &[b'x'; 200]));
        assert_eq!(quarantine.sync().await.unwrap(), Added { kept: 1, not_kept: 1 });
        assert_eq!(quarantine.sync().await.unwrap(), Added::default());
        assert_eq!(std::fs::read_to_string(dir.path().join("siem.ndjson")).unwrap().lines().count(), 1);
    }
}
