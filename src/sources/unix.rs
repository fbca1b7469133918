//! Stream sockets that are files: made, listened on, taken away.
//!
//! Invariant: the file of a process that listens is never taken away.

use std::os::unix::net::UnixListener;
use std::path::Path;

use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::accept::{self, ACCEPT_PAUSE, Limits};
use super::arrivals::Arrivals;
use crate::part::SetupError;

/// Makes the socket file.
///
/// # Errors
/// Another process listens there, or the folder is missing or not ours.
pub(super) fn bind(path: &Path) -> Result<UnixListener, SetupError> {
    remove_stale(path, || std::os::unix::net::UnixStream::connect(path).map(drop));
    let open = || {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    open().map_err(|error| SetupError::new(format!("cannot listen on unix {}", path.display()), error))
}

/// Gives each connection, with who is at its other end, to `work` in a task of its own, until `stop`; then waits
/// for the tasks.
///
/// # Errors
/// The first error of `work`.
pub(super) async fn serve<W, F>(
    listener: UnixListener,
    limits: Limits,
    stop: &CancellationToken,
    work: W,
) -> Result<(), SetupError>
where
    W: Fn(UnixStream, String) -> F,
    F: Future<Output = Result<(), SetupError>> + Send + 'static,
{
    let listener = tokio::net::UnixListener::from_std(listener)
        .map_err(|error| SetupError::new("cannot listen on the socket file", error))?;
    let (arrivals, mut connections) = (Arrivals::until(stop.clone()), JoinSet::new());
    loop {
        let has_room = connections.len() < limits.connections_max;
        let accept = async {
            match has_room {
                true => listener.accept().await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = connections.join_next() => accept::outcome(ended)?,
            accepted = arrivals.next(accept) => match accepted {
                None => break,
                Some(Ok((stream, _))) => {
                    let uid = stream.peer_cred().map_or_else(|_| "uid ?".to_owned(), |cred| format!("uid {}", cred.uid()));
                    connections.spawn(work(stream, uid));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Who comes now is to know that nobody listens.
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        accept::outcome(ended)?;
    }
    Ok(())
}

/// Takes away the socket file of a listener that has ended.
pub(super) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "cannot remove the socket file");
    }
}

/// Takes away the socket file that a killed process has left, so that it can be made again.
pub(super) fn remove_stale(path: &Path, answers: impl FnOnce() -> std::io::Result<()>) {
    if answers().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused) {
        remove(path);
    }
}
