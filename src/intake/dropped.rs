//! Events for which there is no room: dropped, counted, and declared by a gap record.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use wharfinger_formats::Time;

use super::{AppendError, Frames, Gap, Intake, Origin};
use crate::stats;

/// How long dropped events wait for the end of the interval they belong to.
const DECLARE_AFTER: Duration = Duration::from_secs(60);

/// Events dropped one after the other, until somebody declares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub count: u64,
    pub from: Time,
    pub to: Time,
}

impl Dropped {
    /// Adds events that are dropped now.
    pub fn add(dropped: &mut Option<Dropped>, count: u64) {
        let now = super::now();
        let known = dropped.get_or_insert(Dropped { count: 0, from: now, to: now });
        known.count += count;
        known.to = now;
    }

    /// The gap they leave.
    pub fn gap(&self, cause: &str) -> Gap {
        let Dropped { count, from, to } = *self;
        Gap { count: Some(count), from: Some(from), to: Some(to), cause: cause.to_owned(), numbered: None }
    }
}

impl Intake {
    /// As [`append`](Self::append) for sources that cannot wait: what does not fit is dropped, counted, and declared
    /// by a gap record as soon as there is room again, or after [`DECLARE_AFTER`]. Answers how many
    /// events were dropped.
    ///
    /// # Errors
    /// The journal cannot store.
    pub async fn append_or_drop(&self, frames: &mut Frames) -> Result<u64, AppendError> {
        let events = (frames.len() - frames.found.len() - frames.own) as u64;
        let dropped = match self.try_append(frames).await {
            Ok(()) => 0,
            Err(AppendError::Full { .. }) => {
                self.drop_events(events);
                events
            }
            Err(error) => return Err(error),
        };
        let waited =
            self.dropped().is_some_and(|dropped| dropped.to.0 - dropped.from.0 >= DECLARE_AFTER.as_nanos() as i64);
        if dropped == 0 || waited {
            self.declare_dropped(frames.origin()).await?;
        }
        Ok(dropped)
    }

    /// A batch of so many events that was taken out of `frames` finds no room, and nobody sends them again.
    pub(super) fn give_up(&self, frames: &mut Frames, events: u64) {
        self.take_back(&mut frames.found);
        if events > 0 {
            self.drop_events(events);
        }
    }

    fn drop_events(&self, events: u64) {
        stats::add(&self.stats.undeclared, events);
        Dropped::add(&mut self.dropped(), events);
    }

    /// Declares what [`append_or_drop`](Self::append_or_drop) and [`append_until`](Self::append_until) have dropped,
    /// if there is room at least in the reserve: for the end of a source, and for one that has fallen silent.
    ///
    /// # Errors
    /// The journal cannot store.
    pub async fn declare_dropped(&self, origin: &Origin) -> Result<(), AppendError> {
        let Some(dropped) = self.dropped().take() else { return Ok(()) };
        match self.gap(origin, &dropped.gap("the journal was full")).await {
            Err(AppendError::Full { .. }) => {
                // Declared with what is dropped next.
                let mut later = self.dropped();
                let known = later.get_or_insert(Dropped { count: 0, ..dropped });
                known.count += dropped.count;
                known.from = dropped.from;
                Ok(())
            }
            declared => {
                self.stats.undeclared.fetch_sub(dropped.count, Relaxed);
                declared
            }
        }
    }

    /// Something was dropped and is not declared yet.
    pub fn has_undeclared(&self) -> bool {
        self.dropped().is_some()
    }

    fn dropped(&self) -> MutexGuard<'_, Option<Dropped>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
