//! What a peer refuses for good: the event is found and set aside, the others go on.
//!
//! Invariant: no event is refused because of its neighbours.

use wharfinger_formats::{Event, Field, stored};

use super::{Drive, Went};
use crate::journal::{Chunk, Position, Record};
use crate::sinks::drain::now_text;
use crate::sinks::event_id::EventId;
use crate::sinks::quarantine::Entry;
use crate::sinks::{Absent, Feed};

impl<F: Feed> Drive<F> {
    /// The peer refused the request: the event it named goes to quarantine, or it is halved until one stands alone.
    pub(super) async fn refused(&mut self, which: Option<usize>, reason: &str) -> Went {
        self.redo = self.redo.or(Some(self.request.next));
        let (first, count) = (self.request.first, self.request.positions.len());
        let alone = if count == 1 || planted!(NeighbourRefused) { Some(0) } else { which };
        match alone.and_then(|which| self.request.positions.get(which).copied()) {
            Some(position) if !self.set_aside(position, reason).await => {
                return self.again(None, format!("the journal cannot be read at {}", position.0)).await;
            }
            // The rest of the refused range may well be good: it is tried whole.
            Some(_) => self.suspects = 0,
            None => self.suspects = count,
        }
        self.back_to(first);
        Went::Back
    }

    /// Reads one record again and puts it into quarantine.
    async fn set_aside(&mut self, position: Position, reason: &str) -> bool {
        self.cursor.rewind(position);
        let mut chunk = Chunk::new();
        let read = self.cursor.try_read(&mut chunk, 1).await.unwrap_or(false);
        let found = chunk.records().find(|record| read && record.position == position);
        found.map(|record| self.quarantine(&record, reason)).is_some()
    }

    pub(super) fn quarantine(&mut self, record: &Record<'_>, reason: &str) {
        let id = EventId::new(record.incarnation, record.position);
        let event = stored::decode(record.payload, Event::new(b"")).ok();
        self.quarantine.add(&Entry {
            time: &now_text(),
            sink: &self.settings.name,
            event_id: event.as_ref().and_then(|event| event.text(Field::EventId)).unwrap_or(id.text()),
            reason,
            raw: event.as_ref().map(Event::raw),
            record: record.payload,
        });
        self.unsynced.push(record.position);
        self.sink.passed_over((record.position, record.position), Absent::Quarantined);
        if let Err(at) = self.skip.binary_search(&record.position) {
            self.skip.insert(at, record.position);
        }
    }
}
