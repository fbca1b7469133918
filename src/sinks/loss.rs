//! A sink's losses: events that were numbered and will never reach it, on their way to a gap record.
//!
//! Invariant: the cursor passes what is lost only after it was declared.

use std::fmt::Debug;

use async_trait::async_trait;

use super::event_id::EventId;

/// What a sink lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The sink's name in the configuration.
    pub sink: String,
    pub first: EventId,
    pub last: EventId,
    /// How many, exactly.
    pub count: u64,
    pub cause: LossCause,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossCause {
    /// The journal's files are damaged: no sink will get them.
    Damaged,
    /// The journal was full, and this sink gave them up.
    GivenUp,
}

/// Who writes gap records.
#[async_trait]
pub trait Declare: Debug + Send + Sync {
    /// Returns once the loss is declared, on disk; at once if it was declared before.
    ///
    /// # Errors
    /// It cannot be written now: the same again later.
    async fn declare(&self, loss: Loss) -> Result<(), String>;
}
