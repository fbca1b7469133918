//! Gap records: events that say which others were lost. They stand where a silence would be.
//!
//! Way of such a record: whoever lost something → **gap** → journal → every sink. Invariant: a
//! number is exact or absent, never a guess.

use wharfinger_formats::{Event, Field, Time, Value};

use super::{AppendError, Frames, Intake, Origin, Tally};

/// What was lost, as a gap record declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// How many events; `None`: nobody can know.
    pub count: Option<u64>,
    /// When the first and the last of them was lost, as far as that is known.
    pub from: Option<Time>,
    pub to: Option<Time>,
    pub cause: String,
    /// Those that had a number already: the first id and the last, and the sink that lost them, if
    /// it was one alone.
    pub numbered: Option<Numbered>,
}

/// Lost after they had a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    pub first_id: String,
    pub last_id: String,
    pub sink: Option<String>,
}

impl Gap {
    /// Nobody knows how many were lost.
    pub fn unknown(cause: impl Into<String>) -> Gap {
        Gap { count: None, from: None, to: None, cause: cause.into(), numbered: None }
    }

    /// The message, for people.
    pub(super) fn text(&self, source: &str) -> String {
        let count = self.count.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
        let cause = &self.cause;
        match &self.numbered {
            None => format!("gap: {count} events of source `{source}` were lost: {cause}"),
            Some(Numbered { first_id, last_id, sink: Some(sink) }) => {
                format!("gap: {count} events, {first_id} to {last_id}, never went to sink `{sink}`: {cause}")
            }
            Some(Numbered { first_id, last_id, sink: None }) => {
                format!("gap: {count} events, {first_id} to {last_id}, were lost: {cause}")
            }
        }
    }

    /// Canonical fields where there are some; all of it again in the group `gap`, where a missing
    /// number says `unknown`.
    pub(super) fn fill(&self, source: &str, event: &mut Event<'_>) {
        event.set(Field::EventClass, "gap");
        event.set(Field::Name, "Events were lost");
        event.set(Field::Severity, 8);
        event.set(Field::Outcome, "failure");
        event.set(Field::Reason, &*self.cause);
        event.extra("gap", "source", source);
        for (field, name, time) in [(Field::Start, "from", self.from), (Field::End, "to", self.to)] {
            if let Some(time) = time {
                event.set(field, time);
                event.extra("gap", name, time);
            }
        }
        let count = self.count.map(|count| Value::Int(i64::try_from(count).unwrap_or(i64::MAX)));
        if let Some(count) = count {
            event.set(Field::Count, count);
        }
        event.extra("gap", "count", count.unwrap_or_else(|| "unknown".into()));
        event.extra("gap", "cause", &*self.cause);
        if let Some(numbered) = &self.numbered {
            event.extra("gap", "first_id", &*numbered.first_id);
            event.extra("gap", "last_id", &*numbered.last_id);
            if let Some(sink) = &numbered.sink {
                event.extra("gap", "sink", &**sink);
            }
        }
    }
}

impl Intake {
    /// Declares that events were lost: a gap record, an event of its own that goes to every sink. It
    /// may use the reserve of the journal.
    ///
    /// # Errors
    /// [`AppendError::Full`]: even the reserve is used up. Or the journal cannot store.
    pub async fn gap(&self, origin: &Origin, gap: &Gap) -> Result<(), AppendError> {
        self.gap_with(origin, gap, None).await
    }

    /// The same, and stores under a name of this source that it was declared, whole or not at all.
    ///
    /// # Errors
    /// As [`gap`](Self::gap).
    pub async fn gap_with(&self, origin: &Origin, gap: &Gap, mark: Option<(&str, &[u8])>) -> Result<(), AppendError> {
        let text = gap.text(&self.source);
        // What had a number was received; it is lost behind the journal, not before it.
        let lost = if gap.numbered.is_some() { 0 } else { gap.count.unwrap_or(0) };
        let mut frames = self.own(origin.clone(), &text, |event| gap.fill(&self.source, event));
        if lost > 0 {
            Tally { taken: 0, lost }.add_to(&mut frames.batch, &self.source);
        }
        if let Some((name, value)) = mark {
            self.mark(&mut frames, name, value);
        }
        self.append_own(frames).await?;
        tracing::warn!(source = &*self.source, "{text}");
        Ok(())
    }

    /// Adds a gap record of which nobody knows the count to a batch, for one who stores with it that it was declared:
    /// whole or not at all. Such a batch is appended with [`append`](Intake::append), which drops nothing.
    pub fn take_gap(&self, frames: &mut Frames, cause: &str) {
        let gap = Gap::unknown(cause);
        let text = gap.text(&self.source);
        self.add_own(frames, &text, |event| gap.fill(&self.source, event));
        tracing::warn!(source = &*self.source, "{text}");
    }
}
