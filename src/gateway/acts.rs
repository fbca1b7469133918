//! What was done with what is in custody while no gateway ran: lines of a file that the next start takes
//! in.
//!
//! Invariant: a line is taken in once, also over crashes: the place in the file is stored with its event.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

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
/// The journal cannot store. A file that cannot be read is left where it is.
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
        let (inode, lines) = acts;
        let known = own.marked(MARK).and_then(|mark| String::from_utf8(mark).ok()).unwrap_or_default();
        let done = known.strip_prefix(&format!("{inode}:")).and_then(|done| done.parse().ok()).unwrap_or(0);
        for (index, line) in lines.iter().enumerate().skip(done) {
            let mark = format!("{inode}:{}", index + 1);
            match serde_json::from_slice::<Act>(line) {
                Ok(act) => own.act(&act, Some((MARK, mark.as_bytes()))).await?,
                Err(error) => {
                    let text = format!("a line of the log of custody is damaged: {error}");
                    own.report_with("custody.damaged", 7, &text, Some((MARK, mark.as_bytes()))).await?;
                }
            }
        }
        if let Err(error) = fs::remove_file(&taken) {
            tracing::error!(%error, file = %taken.display(), "what was taken in cannot be removed");
            return Ok(());
        }
    }
    Ok(())
}

/// The lines of a file, and which file it is.
fn read(path: &Path) -> io::Result<(u64, Vec<Vec<u8>>)> {
    let file = File::open(path)?;
    // Who has it open still writes his line.
    rustix::fs::flock(&file, FlockOperation::LockShared)?;
    let inode = file.metadata()?.ino();
    let (mut reader, mut lines) = (BufReader::new(file), Vec::new());
    loop {
        let mut line = Vec::new();
        if (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok((inode, lines));
        }
        lines.push(line);
    }
}
