//! Writing to stdout.

use std::io::{self, ErrorKind, Write};

use anyhow::Context as _;

use super::failure::{Exit, Failure};

/// Writes data to stdout.
///
/// # Errors
/// [`Failure::ClosedPipe`] when nobody reads any more, otherwise what the operating system says.
pub(super) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(failed)
}

fn failed(error: io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::ClosedPipe;
    }
    match Err::<(), _>(error).context("cannot write to stdout") {
        Err(error) => Failure::new(Exit::CannotCreate, error, "is the disk full?"),
        Ok(()) => Failure::ClosedPipe,
    }
}
