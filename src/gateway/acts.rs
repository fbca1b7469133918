//! What was done with what is in custody while no gateway ran: lines of a file that the next start takes
//! in.
//!
//! Invariant: a line is taken in once, also over crashes: the place in the file is stored with its event.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

use crate::intake::{Act, AppendError, Intake};

/// The mark that says how far the file was taken in.
const MARK: &str = "acts";
/// No line of the file is longer.
const LINE_BYTES_MAX: u64 = 1 << 20;

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("custody-log.ndjson")
}

fn taken_path(data_dir: &Path) -> PathBuf {
    data_dir.join("custody-log.taken")
}

/// Adds a line, synced: for verbs, when no gateway answers.
///
/// # Errors
/// The file cannot be written.
pub fn append(data_dir: &Path, act: &Act) -> io::Result<()> {
    let path = path(data_dir);
    loop {
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        // A gateway that starts puts the file elsewhere.
        if fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|here| here.ino() == there.ino())) {
            let mut line = serde_json::to_vec(act)?;
            line.push(b'\n');
            file.write_all(&line)?;
            return file.sync_all();
        }
    }
}

/// Makes events of what stands in the file.
///
/// # Errors
/// The journal cannot store. A file that cannot be read is left where it is, as is one it has no room for.
pub(super) async fn take_in(data_dir: &Path, own: &Intake) -> Result<(), AppendError> {
    let (path, taken) = (path(data_dir), taken_path(data_dir));
    // One that a crash has left goes first.
    for _ in 0..2 {
        if !taken.exists() && fs::rename(&path, &taken).is_err() {
            return Ok(());
        }
        let acts = match read(&taken) {
            Ok(acts) => acts,
            Err(error) => {
                tracing::error!(%error, file = %taken.display(), "the log of custody cannot be taken in");
                return Ok(());
            }
        };
        let (file, lines) = acts;
        let known = own.marked(MARK).and_then(|mark| String::from_utf8(mark).ok()).unwrap_or_default();
        let done = known.strip_prefix(&format!("{file}:")).and_then(|done| done.parse().ok()).unwrap_or(0);
        for (index, line) in lines.iter().enumerate().skip(done) {
            let mark = format!("{file}:{}", index + 1);
            let mark = Some((MARK, mark.as_bytes()));
            let stored = match serde_json::from_slice::<Act>(line) {
                Ok(act) => own.act(&act, mark).await,
                Err(error) => {
                    let text = format!("a line of the log of custody is damaged: {error}");
                    own.report_with("custody.damaged", 7, &text, mark).await
                }
            };
            match stored {
                Err(AppendError::Full { .. }) => {
                    let file = taken.display();
                    tracing::error!(%file, "no room in the journal: the log of custody is taken in at the next start");
                    return Ok(());
                }
                stored => stored?,
            }
        }
        if let Err(error) = fs::remove_file(&taken) {
            tracing::error!(%error, file = %taken.display(), "what was taken in cannot be removed");
            return Ok(());
        }
    }
    Ok(())
}

/// The lines of a file, and which file it is: the hash of its first line, which has an id. The number of a
/// file that was removed is given to the next one.
fn read(path: &Path) -> io::Result<(String, Vec<Vec<u8>>)> {
    let file = File::open(path)?;
    // Who has it open still writes his line.
    rustix::fs::flock(&file, FlockOperation::LockShared)?;
    let (mut reader, mut lines) = (BufReader::new(file), Vec::new());
    loop {
        let mut line = Vec::new();
        if (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            let first = Sha256::digest(lines.first().map_or(&[][..], Vec::as_slice));
            return Ok((first.iter().map(|byte| format!("{byte:02x}")).collect(), lines));
        }
        lines.push(line);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::{Journal, Settings, Sync, storage};

    #[tokio::test]
    async fn what_the_journal_has_no_room_for_stays_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let settings =
            Settings { bytes_max: 512 << 10, sync: Sync::Never, ..Settings::new(dir.path().join("journal")) };
        let journal = Journal::open(settings, Arc::new(storage::Disk)).unwrap();
        let _slow = journal.cursor("slow").unwrap();
        let own = Intake::new(journal, Arc::default(), "wharfinger", Arc::default());
        let act = Act { id: "x".repeat(16), arguments: vec!["x".repeat(1000)], ..Act::default() };
        append(dir.path(), &act).unwrap();
        let mut stored = own.act(&act, None).await;
        for _ in 0..1_000 {
            if stored.is_err() {
                break;
            }
            stored = own.act(&act, None).await;
        }
        assert!(matches!(stored, Err(AppendError::Full { .. })), "{stored:?}");
        take_in(dir.path(), &own).await.unwrap();
        assert_eq!(read(&taken_path(dir.path())).unwrap().1.len(), 1);
    }
}
