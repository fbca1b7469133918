//! The control socket: what changes something in a running gateway, for its own user and root.
//!
//! `control` in the data directory, mode 0600; the peer's credentials are looked at as well. A request
//! is a line of JSON, the answer is another; a connection may make many. Invariants: an answer `done`
//! comes after the sync; lines, connections and waits have a limit.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::intake::{Act, Intake};

/// A record as base64 and what is around it.
const LINE_BYTES_MAX: u64 = 96 << 20;
const CONNECTIONS_MAX: usize = 4;
/// Those that wait for a place among them,
const WAITING_MAX: usize = 64;
/// and how long: less than the one who asks waits for the answer.
const PLACE_MAX: Duration = Duration::from_secs(5);
/// How long a peer may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a stop waits for what was asked for before.
const END_MAX: Duration = Duration::from_millis(500);

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Brings a quarantined event back, for the sink that refused it alone.
    Replay {
        sink: String,
        event_id: String,
        /// The journal's record, base64.
        record: String,
    },
    /// Somebody does something with what is in custody: it becomes an event.
    Act(Box<Act>),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done, and on disk.
    Done,
    /// It is not: why.
    Failed(String),
}

/// Where the socket of a gateway is.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("control")
}

/// Asks a gateway one thing.
///
/// # Errors
/// None answers, or it has not done it.
pub fn ask(data_dir: &Path, request: &Request, within: Duration) -> std::io::Result<()> {
    use std::io::{BufRead as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(path(data_dir))?;
    stream.set_read_timeout(Some(within))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    std::io::BufReader::new(stream).read_line(&mut answer)?;
    match serde_json::from_str(&answer)? {
        Answer::Done => Ok(()),
        Answer::Failed(why) => Err(std::io::Error::other(why)),
    }
}

/// Listens; the journal's lock is held, so a socket that is there is nobody's.
pub(super) fn bind(data_dir: &Path) -> std::io::Result<UnixListener> {
    let path = path(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    // Until here the directory's own mode (0700) keeps others out.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Until `stop`. What it is at then is done and answered first.
pub(super) async fn serve(listener: UnixListener, own: Intake, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Some((stream, _)) = accepted.ok().filter(|_| connections.len() < WAITING_MAX) else {
            // Far too many at once, or no more file descriptors: who asks comes again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if !is_trusted(&stream) {
            tracing::warn!("somebody else's request on the control socket was refused");
            continue;
        }
        let (own, stop, room) = (own.clone(), stop.clone(), Arc::clone(&room));
        connections.spawn(async move {
            // Nothing is read before: who finds none asked for nothing.
            let Ok(Ok(_place)) = tokio::time::timeout(PLACE_MAX, room.acquire()).await else { return };
            let peer = stream.peer_cred().ok();
            if let Err(error) = converse(stream, &own, peer, &stop).await {
                tracing::debug!(%error, "control socket");
            }
        });
    }
    let _ = tokio::time::timeout(END_MAX, connections.join_all()).await;
}

/// The gateway's own user, or root.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse(
    stream: UnixStream,
    own: &Intake,
    peer: Option<UCred>,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut read).take(LINE_BYTES_MAX);
        let request = tokio::time::timeout(SILENCE_MAX, limited.read_until(b'\n', &mut line));
        let Some(count) = stop.run_until_cancelled(request).await else { return Ok(()) };
        let count = count??;
        if count == 0 || !line.ends_with(b"\n") {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => perform(request, own, peer).await,
            Err(error) => Answer::Failed(format!("the request cannot be read: {error}")),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        tokio::time::timeout(SILENCE_MAX, write.write_all(&text)).await??;
    }
}

async fn perform(request: Request, own: &Intake, peer: Option<UCred>) -> Answer {
    let (sink, event_id, record) = match request {
        Request::Replay { sink, event_id, record } => (sink, event_id, record),
        Request::Act(mut act) => {
            // The kernel knows better than the peer.
            if let Some(peer) = peer {
                act.uid = Some(peer.uid());
                act.pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).or(act.pid);
            }
            return match own.act(&act, None).await {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Failed(error.to_string()),
            };
        }
    };
    let Ok(record) = STANDARD.decode(record) else {
        return Answer::Failed("the record is no base64".to_owned());
    };
    match own.replay(&record, &event_id, &sink).await {
        Ok(()) => {
            tracing::info!(sink, event_id, "a quarantined event is brought back");
            Answer::Done
        }
        Err(error) => Answer::Failed(error.to_string()),
    }
}
