//! Writing to stdout.

use std::io::{self, ErrorKind, Write};

use super::failure::{Exit, Failure};
use crate::part::describe_io;

/// Writes data to stdout.
///
/// # Errors
/// [`Failure::ClosedPipe`] when nobody reads any more, otherwise what the operating system says.
pub(super) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(failed)
}

/// What became of a write to stdout.
pub(super) fn failed(error: io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::ClosedPipe;
    }
    let error = anyhow::anyhow!(describe_io(&error)).context("cannot write to stdout");
    Failure::new(Exit::CannotCreate, error, "is the disk full?")
}
