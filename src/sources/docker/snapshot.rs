//! What an engine has, told after a gap: events that were missed may have changed all of it.
//!
//! Way of such an event: a gap is declared → **snapshot** (its own connection, in its own time) → an event for each
//! container, image, volume and network, and one that counts them → intake. Invariants: what is owed is a mark of
//! the journal, set with the gap record, and what was told is another, set with the last of the events, so a gap in
//! between is never taken for told; a list that the engine does not give is said to be missing, never taken for empty.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::{Event, Field};

use super::client::{Call, ClientError, Engine};
use super::glance::Attributes;
use super::place::Place;
use super::select::Selection;
use super::session::at;
use crate::intake::{AppendError, Frames, Gap, Intake};
use crate::part::SetupError;
use crate::sources::journal_failed;
use crate::sources::weight::Weight;

/// Set when a snapshot is owed; its value is why, and a number that no other has.
const OWED: &str = "snapshot";
/// The value of [`OWED`] for which a snapshot was told last.
const TOLD: &str = "snapshot.told";
/// Between two tries to reach the engine, or to find room in the journal.
const PAUSE: Duration = Duration::from_secs(1);
/// Names and single values are cut at so many bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// So much is kept of what the engine says of a thing: an image can have any number of tags.
const RAW_BYTES_MAX: usize = 128 * 1024;

/// Tells the task that a snapshot is owed.
pub(super) type Owed = Arc<Notify>;

/// Declares a gap, and that a snapshot is owed for it, whole or not at all.
///
/// # Errors
/// Nothing can be stored.
pub(super) async fn owe(intake: &Intake, frames: &Frames, cause: &str, owed: &Owed) -> Result<(), SetupError> {
    let gap = Gap::unknown(cause);
    let why = format!("{cause}\0{:016x}", fastrand::u64(..));
    loop {
        match intake.gap_with(frames.origin(), &gap, Some((OWED, why.as_bytes()))).await {
            Err(AppendError::Full { .. }) => tokio::time::sleep(PAUSE).await,
            declared => {
                owed.notify_one();
                return declared.map_err(journal_failed);
            }
        }
    }
}

/// The task.
pub(super) struct Snapshot {
    pub(super) place: Arc<Place>,
    pub(super) selection: Arc<Selection>,
    pub(super) intake: Intake,
    pub(super) frames: Frames,
    pub(super) owed: Owed,
}

/// Of an entry of `GET /containers/json`. Labels and commands hold what their owners like.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    #[serde(default, rename = "ImageID")]
    image_id: String,
    #[serde(default)]
    created: i64,
    #[serde(default)]
    state: String,
    #[serde(default)]
    status: String,
    /// Only to choose by.
    #[serde(default, skip_serializing)]
    labels: Option<HashMap<String, String>>,
}

/// Of `GET /images/json`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    repo_digests: Vec<String>,
    #[serde(default)]
    created: i64,
    #[serde(default)]
    size: i64,
}

/// The answer to `GET /volumes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    #[serde(default, deserialize_with = "nullable")]
    volumes: Vec<Volume>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    #[serde(default)]
    driver: String,
    #[serde(default)]
    mountpoint: String,
    #[serde(default)]
    created_at: String,
}

/// Of `GET /networks`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    name: String,
    id: String,
    #[serde(default)]
    driver: String,
    #[serde(default)]
    created: String,
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A thing that the engine has.
trait Thing: Serialize {
    const CLASS: &'static str;
    const NAME: &'static str;
    fn fill(&self, event: &mut Event<'_>);

    /// Whether it is left out. Only containers are.
    fn is_left_out(&self, _: &Selection) -> bool {
        false
    }
}

impl Thing for Container {
    const CLASS: &'static str = "container.snapshot";
    const NAME: &'static str = "Container as it is after a gap";

    fn fill(&self, event: &mut Event<'_>) {
        event.set_text(Field::ContainerId, cut(&self.id));
        event.set_text(Field::ContainerName, cut(self.names.first().map_or("", |name| name.trim_start_matches('/'))));
        event.set_text(Field::ImageRef, cut(&self.image));
        for (name, value) in [("state", &self.state), ("status", &self.status), ("image_id", &self.image_id)] {
            event.extra("snapshot", name, cut(value));
        }
    }

    fn is_left_out(&self, selection: &Selection) -> bool {
        let labels = self.labels.iter().flatten().map(|(name, value)| (&**name, &**value));
        let own = self.names.first().map(|name| ("name", &**name)).into_iter().chain([("image", &*self.image)]);
        let all = labels.chain(own).map(|(name, value)| (name.into(), value.into()));
        selection.leaves_out(&Attributes::new(all.collect()))
    }
}

impl Thing for Image {
    const CLASS: &'static str = "image.snapshot";
    const NAME: &'static str = "Image as it is after a gap";

    fn fill(&self, event: &mut Event<'_>) {
        let digest = self.repo_digests.first().and_then(|digest| digest.split_once('@')).map(|(_, digest)| digest);
        event.set_text(Field::ImageRef, cut(self.repo_tags.first().map_or("", |tag| tag)));
        event.set_text(Field::ImageDigest, cut(digest.unwrap_or(&self.id)));
        event.extra("snapshot", "image_id", cut(&self.id));
    }
}

impl Thing for Volume {
    const CLASS: &'static str = "volume.snapshot";
    const NAME: &'static str = "Volume as it is after a gap";

    fn fill(&self, event: &mut Event<'_>) {
        event.extra("snapshot", "volume", cut(&self.name));
        event.extra("snapshot", "driver", cut(&self.driver));
    }
}

impl Thing for Network {
    const CLASS: &'static str = "network.snapshot";
    const NAME: &'static str = "Network as it is after a gap";

    fn fill(&self, event: &mut Event<'_>) {
        event.extra("snapshot", "network", cut(&self.name));
        event.extra("snapshot", "network_id", cut(&self.id));
        event.extra("snapshot", "driver", cut(&self.driver));
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// How many there are of each kind; none: nobody told.
#[derive(Debug, Default)]
struct Counts {
    told: Vec<(&'static str, i64)>,
    refused: Vec<String>,
}

impl Snapshot {
    /// Tells what is owed, whenever something is, until `stop`. What is not done then is done by the next run.
    ///
    /// # Errors
    /// Nothing can be stored.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), SetupError> {
        stop.run_until_cancelled(self.work()).await.unwrap_or(Ok(()))
    }

    async fn work(&mut self) -> Result<(), SetupError> {
        loop {
            let owed = self.intake.marked(OWED).filter(|owed| !owed.is_empty());
            match owed.filter(|owed| self.intake.marked(TOLD).as_ref() != Some(owed)) {
                Some(owed) => self.tell(&owed).await?,
                None => self.owed.notified().await,
            }
        }
    }

    /// Tells what the engine has, for the gap that stands in this mark.
    async fn tell(&mut self, owed: &[u8]) -> Result<(), SetupError> {
        let why = String::from_utf8_lossy(owed.split(|byte| *byte == 0).next().unwrap_or(owed));
        let mut engine = loop {
            match self.place.connect().await {
                Ok(engine) => break engine,
                // Whoever follows the events complains.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        self.frames.turn_to(at(self.frames.origin(), engine.peer));
        let mut counts = Counts::default();
        self.list::<Vec<Container>, _>(&mut engine, Call::AllContainers, |all| all, &mut counts).await?;
        self.list::<Vec<Image>, _>(&mut engine, Call::Images, |all| all, &mut counts).await?;
        self.list::<Volumes, _>(&mut engine, Call::Volumes, |all| all.volumes, &mut counts).await?;
        self.list::<Vec<Network>, _>(&mut engine, Call::Networks, |all| all, &mut counts).await?;
        self.sum_up(&why, &counts);
        self.intake.mark(&mut self.frames, TOLD, owed);
        self.intake.append(&mut self.frames).await.map_err(journal_failed)
    }

    /// One list of the engine, an event for each entry.
    async fn list<A: DeserializeOwned, T: Thing>(
        &mut self,
        engine: &mut Engine,
        call: Call<'_>,
        things: impl Fn(A) -> Vec<T>,
        counts: &mut Counts,
    ) -> Result<(), SetupError> {
        let answer: Result<A, ClientError> = engine.read(call).await;
        let mut things = match answer {
            Ok(answer) => things(answer),
            Err(error) => {
                tracing::warn!(engine = %self.place, %error, "a part of the snapshot is missing");
                counts.refused.push(error.to_string());
                return Ok(());
            }
        };
        let all = things.len();
        things.retain(|thing| !thing.is_left_out(&self.selection));
        self.intake.exclude((all - things.len()) as u64);
        counts.told.push((T::CLASS, i64::try_from(things.len()).unwrap_or(i64::MAX)));
        let mut weight = Weight::default();
        for thing in things {
            // Texts and numbers can always be written.
            let mut raw = serde_json::to_vec(&thing).unwrap_or_default();
            let bytes_total = raw.len();
            raw.truncate(RAW_BYTES_MAX);
            self.intake.take_made(&mut self.frames, &raw, |event| {
                event.set(Field::EventClass, T::CLASS);
                event.set(Field::Name, T::NAME);
                event.set(Field::Action, "snapshot");
                event.set(Field::Severity, 1);
                thing.fill(event);
                if bytes_total > RAW_BYTES_MAX {
                    let told = format!("{bytes_total} bytes are over the limit; the first of them are kept");
                    event.set(Field::ParseStatus, "partial");
                    event.set_text(Field::ParseError, told);
                }
            });
            weight.add(raw.len());
            if weight.is_full() {
                weight.clear();
                self.intake.append(&mut self.frames).await.map_err(journal_failed)?;
            }
        }
        Ok(())
    }

    /// The last event: what was told, so that whatever is not among it is known to be gone.
    fn sum_up(&mut self, why: &str, counts: &Counts) {
        let is_whole = counts.refused.is_empty();
        self.intake.take_made(&mut self.frames, why.as_bytes(), |event| {
            event.set(Field::EventClass, "docker.snapshot");
            event.set(Field::Name, "State of the engine after a gap");
            event.set(Field::Action, "snapshot");
            event.set(Field::Severity, if is_whole { 3 } else { 6 });
            event.set(Field::Outcome, if is_whole { "success" } else { "failure" });
            event.set_text(Field::Msg, why);
            event.set_text(Field::Reason, counts.refused.join("; "));
            for (class, count) in &counts.told {
                event.extra("snapshot", class.trim_end_matches(".snapshot"), *count);
            }
        });
    }
}
