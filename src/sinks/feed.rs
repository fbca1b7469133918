//! Feed: what `drive` reads: the journal behind a cursor, or an archive that is replayed.
//!
//! Invariant: positions are dense and go up; what is committed is never read again, and everything else
//! can be.

use std::future::Future;

use crate::journal::{Chunk, Cursor, CursorError, Incarnation, Passed, Position, ReadError};

/// See above. The methods are those of [`Cursor`], which says more.
pub trait Feed: Send {
    /// Half of the id of an event that brings none.
    fn incarnation(&self) -> Incarnation;

    /// Everything before it is committed.
    fn committed(&self) -> Position;

    /// What became of the events before that.
    fn passed(&self) -> Passed;

    /// The next records, at once: false when none is there now.
    ///
    /// # Errors
    /// They cannot be read; or there are no more: [`ReadError::Closed`].
    fn try_read(&mut self, chunk: &mut Chunk, bytes_max: usize)
    -> impl Future<Output = Result<bool, ReadError>> + Send;

    /// The same, waiting for them. A dropped call took nothing.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    fn read(&mut self, chunk: &mut Chunk, bytes_max: usize) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Reads on from here.
    fn rewind(&mut self, to: Position);

    /// What became of the events before `next`, which are never needed again.
    ///
    /// # Errors
    /// It cannot be stored: the next call may work.
    fn commit_passed(&mut self, next: Position, passed: Passed) -> Result<(), CursorError>;
}

impl Feed for Cursor {
    fn incarnation(&self) -> Incarnation {
        Cursor::incarnation(self)
    }

    fn committed(&self) -> Position {
        Cursor::committed(self)
    }

    fn passed(&self) -> Passed {
        Cursor::passed(self)
    }

    async fn try_read(&mut self, chunk: &mut Chunk, bytes_max: usize) -> Result<bool, ReadError> {
        Cursor::try_read(self, chunk, bytes_max).await
    }

    async fn read(&mut self, chunk: &mut Chunk, bytes_max: usize) -> Result<(), ReadError> {
        Cursor::read(self, chunk, bytes_max).await
    }

    fn rewind(&mut self, to: Position) {
        Cursor::rewind(self, to);
    }

    fn commit_passed(&mut self, next: Position, passed: Passed) -> Result<(), CursorError> {
        Cursor::commit_passed(self, next, passed)
    }
}
