//! Reading and thinning out the quarantine's files, beside a gateway that may be writing them.
//!
//! Invariant: a line is taken out only by putting a synced file without it in place, under the lock
//! that the writer takes too: no line that came meanwhile is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::FlockOperation;
use serde::Deserialize;

/// One refused event, as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Quarantined {
    /// When it was refused, RFC 3339.
    pub time: String,
    pub sink: String,
    pub event_id: String,
    pub reason: String,
    /// The bytes as they were received, base64.
    #[serde(default)]
    raw: Option<String>,
    /// The journal's record, base64.
    pub record: String,
}

impl Quarantined {
    /// The bytes as they were received; `None` when the record could not be read.
    pub fn raw(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.raw.as_ref()?).ok()
    }

    /// The journal's record.
    pub fn record(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.record).ok()
    }
}

/// The files of a quarantine, one a sink, by name. Without a folder there are none.
///
/// # Errors
/// The folder cannot be read.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        files.extend(path.extension().is_some_and(|ending| ending == "ndjson").then_some(path));
    }
    files.sort();
    Ok(files)
}

/// Hands out the lines of a file, oldest first; `None` for one that is torn or none of ours.
///
/// # Errors
/// The file cannot be read, or what `visit` answers.
pub fn read<E: From<io::Error>>(
    path: &Path,
    mut visit: impl FnMut(Option<Quarantined>) -> Result<(), E>,
) -> Result<(), E> {
    each_line(&File::open(path)?, |line| visit(serde_json::from_slice(line).ok()))
}

fn each_line<E: From<io::Error>>(file: &File, mut visit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        visit(&line)?;
        line.clear();
    }
    Ok(())
}

/// Takes out the events that `gone` says; answers how many.
///
/// # Errors
/// The file cannot be read or written: it is as it was.
pub fn remove(path: &Path, mut gone: impl FnMut(&Quarantined) -> bool) -> io::Result<u64> {
    let file = locked(path)?;
    let temporary = path.with_extension("temp");
    let kept = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut out = BufWriter::new(&kept);
    let mut count = 0;
    let written = each_line(&file, |line| match serde_json::from_slice(line) {
        Ok(event) if gone(&event) => {
            count += 1;
            Ok(())
        }
        // The beginning of a line that a crash cut off is nobody's.
        Err(_) if !line.ends_with(b"\n") => Ok(()),
        _ => out.write_all(line),
    });
    written.and_then(|()| out.flush())?;
    drop(out);
    kept.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())?;
    Ok(count)
}

/// The file that is in place, locked.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        let (here, there) = (file.metadata()?, fs::metadata(path)?);
        if (here.dev(), here.ino()) == (there.dev(), there.ino()) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::quarantine::{BYTES_MAX, Entry, Quarantine};
    use super::*;

    #[tokio::test]
    async fn what_comes_while_lines_are_taken_out_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("siem.ndjson");
        let mut quarantine = Quarantine::new(dir.path(), "siem", BYTES_MAX);
        let entry = |id| Entry { time: "t", sink: "siem", event_id: id, reason: "no", raw: Some(b"raw"), record: b"r" };
        for id in ["1", "2", "3"] {
            quarantine.add(&entry(id));
            quarantine.sync().await.unwrap();
        }
        assert_eq!(remove(&path, |event| event.event_id == "2").unwrap(), 1);
        // The writer had the file open.
        quarantine.add(&entry("4"));
        quarantine.sync().await.unwrap();
        assert_eq!(remove(&path, |event| event.event_id == "1").unwrap(), 1);
        quarantine.add(&entry("5"));
        quarantine.sync().await.unwrap();
        let mut ids = Vec::new();
        read(&path, |event| {
            let event = event.unwrap();
            assert_eq!(event.raw().unwrap(), b"raw");
            ids.push(event.event_id);
            Ok::<(), io::Error>(())
        })
        .unwrap();
        assert_eq!(ids, ["3", "4", "5"]);
        assert_eq!(files(dir.path()).unwrap(), [path]);
    }
}
