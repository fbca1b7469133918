//! Events that a source makes of what it asked for, and which event was the cause of that.
//!
//! Invariant: as for frames: parsed or not, identified and judged, and on disk before anybody is told.

use wharfinger_formats::{Event, Field};

use super::{Frames, Intake, mark_unparsed};
use crate::stats;

impl Intake {
    /// Adds an event whose fields the source sets itself. `raw` is what they were read from.
    pub fn take_made(&self, frames: &mut Frames, raw: &[u8], fill: impl for<'a> Fn(&mut Event<'a>)) {
        self.add(frames, raw, |context, event| {
            event.set(Field::Time, context.received);
            fill(event);
        });
    }

    /// As [`take`](Self::take); what the source knows better than the frame says, `also` sets.
    pub fn take_and(&self, frames: &mut Frames, frame: &[u8], also: impl for<'a> Fn(&mut Event<'a>)) {
        let choice = frames.choice;
        self.add(frames, frame, |context, event| {
            wharfinger_formats::parse(choice, event.raw(), context, event);
            also(event);
        });
    }

    /// A frame that cannot be handed to a parser: what is given of it becomes an `unparsed` event with that reason.
    pub fn take_unparsed(&self, frames: &mut Frames, head: &[u8], reason: &str) {
        self.add(frames, head, |_, event| mark_unparsed(event, reason.to_owned()));
    }

    /// Counts events that the source was told to leave out.
    pub fn exclude(&self, events: u64) {
        stats::add(&self.stats.excluded, events);
    }

    /// The id of an event of the batch that was appended last: `place` is what [`Frames::len`] said before
    /// it was taken. None if that batch was dropped.
    pub fn id_in(&self, frames: &Frames, place: usize) -> Option<String> {
        let first = frames.stored?;
        Some(format!("{}-{:016}", self.journal.incarnation(), first.0 + place as u64))
    }

    /// The values of all marks of this source whose names begin so.
    pub fn marked_all(&self, prefix: &str) -> Vec<Vec<u8>> {
        self.journal.marks(&format!("{}/{prefix}", self.source))
    }

    /// The names of all marks of this source.
    pub fn marked_names(&self) -> Vec<String> {
        self.journal.mark_names(&format!("{}/", self.source))
    }
}
