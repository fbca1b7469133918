//! The child that tells the journal: what it complains of, and its end.
//!
//! Invariant: a child never waits for somebody to read its complaints, and none is left behind.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr};
use tokio::task::JoinSet;

/// So much is kept of what it says of an error.
const COMPLAINT_BYTES_MAX: usize = 4096;

/// Reads what a child complains of, so that it never waits for a reader.
pub(super) fn listen(child: &mut Child) -> JoinSet<Vec<u8>> {
    let mut said = JoinSet::new();
    if let Some(stderr) = child.stderr.take() {
        said.spawn(keep_last(stderr));
    }
    said
}

async fn keep_last(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    // What cannot be read is not said.
    while stderr.read_buf(&mut kept).await.is_ok_and(|read| read > 0) {
        let over = kept.len().saturating_sub(COMPLAINT_BYTES_MAX);
        kept.drain(..over);
    }
    kept
}

/// What a child that has closed its output had to say.
pub(super) async fn last_words(child: &mut Child, mut said: JoinSet<Vec<u8>>) -> String {
    let told = tokio::time::timeout(Duration::from_secs(5), said.join_next()).await;
    let told = told.ok().flatten().and_then(Result::ok).unwrap_or_default();
    let said = String::from_utf8_lossy(&told).trim().to_owned();
    // It has ended, or is ended here.
    let _ = child.kill().await;
    if said.is_empty() { "it has ended".to_owned() } else { said }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Stdio;

    use tokio::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_child_that_complains_without_end_never_waits() {
        let folder = tempfile::tempdir().unwrap();
        let script = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo the last >&2; echo";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(folder.path());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let said = listen(&mut child);
        let mut told = Vec::new();
        let read = child.stdout.take().unwrap();
        tokio::time::timeout(Duration::from_secs(30), read.take(1).read_to_end(&mut told)).await.unwrap().unwrap();
        assert_eq!(told, b"\n");
        let last = last_words(&mut child, said).await;
        assert!(last.ends_with("the last") && last.len() < COMPLAINT_BYTES_MAX, "{}", last.len());
    }
}
