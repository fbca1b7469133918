//! Gap records: events that say which others were lost. They stand where a silence would be.
//!
//! Way of such a record: whoever lost something → **gap** → journal → every sink. Invariant: a
//! number is exact or absent, never a guess.

use wharfinger_formats::{Event, Field, Time, Value};

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
