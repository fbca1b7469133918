//! Digests: what a day of an archive has brought, as an event of the gateway.
//!
//! Way of a digest: a child of the gateway makes it and says so → **event** `report.digest` → journal → every sink,
//! the archive among them, which seals that it was made. Invariant: what an event holds of it is bounded.

use serde::{Deserialize, Serialize};
use wharfinger_formats::{Event, Field, Time, Value};

use super::{AppendError, Intake, Origin};

/// What became of the digest of a day: a line of whoever makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Digest {
    /// What the configuration calls it.
    pub name: String,
    /// `2026-11-21`.
    pub day: String,
    /// The period: receipt from then on, before then; nanoseconds since 1970.
    pub from: i64,
    pub to: i64,
    pub state: DigestState,
    /// Why it is not there; of one that is there: empty.
    pub why: String,
    /// `complete`, `complete with listed gaps`, `not provable`.
    pub result: String,
    /// Where it is.
    pub file: String,
    /// Of the file, in hexadecimal digits.
    pub sha256: String,
    /// Day and hash of the one before it, if there is one.
    pub previous: String,
    pub framework: String,
    pub scope: String,
    pub events: i64,
    pub machines: i64,
    pub findings: i64,
    /// Things that are missing.
    pub missing: i64,
    /// Events of each class: `C1`.
    pub classes: Vec<(String, i64)>,
    /// What people read, so far as there is room for it.
    pub text: String,
}

/// See above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigestState {
    /// It is there.
    Made,
    /// The archive has not sealed the day yet.
    Waits,
    /// It could not be made.
    #[default]
    Failed,
}

/// The text in an event is cut at so many bytes, anything else at a part of that.
const TEXT_MAX: usize = 8 * 1024;
const WORDS_MAX: usize = 1024;
const CLASSES_MAX: usize = 32;

impl Digest {
    /// The message, for people.
    fn message(&self) -> String {
        let Digest { name, day, .. } = self;
        let text = match self.state {
            DigestState::Made => {
                let Digest { result, events, machines, findings, missing, file, sha256, .. } = self;
                format!(
                    "digest `{name}` of {day}: {result}; {events} events of {machines} machines, {findings} findings, \
                     {missing} things missing; {file}, SHA-256 {sha256}"
                )
            }
            _ => format!("the digest `{name}` of {day} could not be made: {}", self.why),
        };
        cut(&text, 2 * WORDS_MAX).to_owned()
    }

    fn severity(&self) -> i64 {
        match (self.state, self.result.as_str()) {
            (DigestState::Made, "complete") => 2,
            (DigestState::Made, "complete with listed gaps") => 4,
            (DigestState::Made, _) => 7,
            _ => 8,
        }
    }

    fn fill(&self, event: &mut Event<'_>) {
        let is_made = self.state == DigestState::Made;
        event.set(Field::EventClass, "report.digest");
        event.set_text(Field::Name, format!("digest {}", self.name));
        event.set(Field::Severity, self.severity());
        event.set(Field::Action, "make");
        event.set(Field::Outcome, if is_made { "success" } else { "failure" });
        event.set(Field::Start, Time(self.from));
        event.set(Field::End, Time(self.to));
        event.set_text(Field::Reason, cut(if is_made { &self.result } else { &self.why }, WORDS_MAX));
        event.extra("digest", "name", &*self.name);
        event.extra("digest", "day", &*self.day);
        event.extra("digest", "framework", &*self.framework);
        if !self.scope.is_empty() {
            event.extra("digest", "scope", &*self.scope);
        }
        if !is_made {
            return;
        }
        event.set_text(Field::FilePath, cut(&self.file, WORDS_MAX));
        event.set(Field::Count, self.events);
        event.extra("digest", "result", &*self.result);
        event.extra("digest", "sha256", &*self.sha256);
        if !self.previous.is_empty() {
            event.extra("digest", "previous", &*self.previous);
        }
        let numbers = [("machines", self.machines), ("findings", self.findings), ("missing", self.missing)];
        for (name, number) in numbers {
            event.extra("digest", name, number);
        }
        let counts = self.classes.iter().take(CLASSES_MAX);
        let counts: serde_json::Map<_, _> = counts.map(|(class, events)| (class.clone(), (*events).into())).collect();
        event.extra("digest", "classes", Value::Json(&serde_json::Value::from(counts).to_string()));
        event.extra("digest", "text", cut(&self.text, TEXT_MAX));
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

impl Intake {
    /// Tells that a digest was made, or why not. The mark is stored with it, whole or not at all.
    ///
    /// # Errors
    /// As [`gap`](Self::gap).
    pub async fn digest(&self, digest: &Digest, mark: Option<(&str, &[u8])>) -> Result<(), AppendError> {
        let mut frames = self.own(Origin::own(), &digest.message(), |event| digest.fill(event));
        if let Some((name, value)) = mark {
            self.mark(&mut frames, name, value);
        }
        self.append_own(frames).await
    }
}
