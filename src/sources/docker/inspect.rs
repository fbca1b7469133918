//! Looks at containers when they are made or started: an event alone does not say what they may do.
//!
//! Way of such an event: an event of the engine is stored → **queue** → **inspector** (its own connection, in
//! its own time) → `container.inspect` → intake. Invariants: nobody waits for the engine here but the
//! inspector; whatever was to be looked at is told of, with the reason if it was not: it is marked in the
//! batch of its cause, and the mark goes with the batch of what was found.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_util::sync::CancellationToken;
use wharfinger_formats::{Event, Field, Time};

use super::client::{Call, ClientError, Engine};
use super::container::{Container, Image, Inspected};
use super::glance::{Attributes, Glance};
use super::known::{Shared, locked};
use super::place::Place;
use super::select::Selection;
use super::session::at;
use crate::intake::{Frames, Intake};
use crate::part::SetupError;
use crate::sources::journal_failed;

/// So many containers can wait for a look.
const QUEUE_MAX: usize = 1024;
/// So many are stored with one sync.
const BATCH_MAX: usize = 32;
/// So often an answer that broke off is asked for again; one that never begins is waited for.
const TRIES_MAX: usize = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// So many images are remembered with what the engine said of them.
const IMAGES_MAX: usize = 128;

/// Marks of what is still to be looked at begin so.
pub(super) const MARKS: &str = "inspect/";

/// Why a container is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    Create,
    Start,
    /// It ran when the gateway began to listen, or after a gap.
    Running,
}

/// A container to look at; as JSON the value of its mark.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    id: String,
    of: Of,
    /// When the event happened, nanoseconds since 1970; 0 without one.
    at: i64,
    /// The event's id; unknown after a restart.
    #[serde(skip)]
    cause: Option<String>,
}

/// What the inspector is asked to do.
#[derive(Debug)]
pub(super) enum Ask {
    Look(Wanted),
    /// Look at all containers that run and were not looked at before.
    Running,
}

/// The end of the queue that events are put in.
pub(super) struct Looks {
    queue: mpsc::Sender<Ask>,
    known: Shared,
    /// Of the batch that is being made: what is asked once it is stored, and the event's place.
    noted: Vec<(OwnedPermit<Ask>, Wanted, usize)>,
    /// The running containers are still to be asked for.
    want_running: bool,
}

impl Looks {
    /// Notes the event that was just taken, at `place` of the batch, if it wants a look.
    pub(super) fn note(&mut self, glance: &Glance<'_>, place: usize, intake: &Intake, frames: &mut Frames) {
        let of = match glance.action() {
            "create" => Of::Create,
            "start" => Of::Start,
            _ => return,
        };
        if !glance.is_of_container() || !locked(&self.known).look(glance.id()) {
            return;
        }
        let mut wanted = Wanted { id: glance.id().to_owned(), of, at: glance.time(), cause: None };
        match self.queue.clone().try_reserve_owned() {
            Ok(permit) => {
                intake.mark(frames, &wanted.mark(), &wanted.to_bytes());
                self.noted.push((permit, wanted, place));
            }
            Err(_) => {
                // Ids are made on the way out: so far the cause is named by how far before it stands.
                wanted.cause = Some(format!("-{}", frames.len().saturating_sub(place)));
                wanted.record(Err("more containers were started than could be looked at".to_owned()), intake, frames);
            }
        }
    }

    /// The batch was stored, or dropped.
    pub(super) fn stored(&mut self, intake: &Intake, frames: &Frames) {
        for (permit, mut wanted, place) in self.noted.drain(..) {
            wanted.cause = intake.id_in(frames, place);
            permit.send(Ask::Look(wanted));
        }
    }

    /// Asks for the containers that run: some may have been started unseen.
    pub(super) fn ask_for_running(&mut self) {
        self.want_running = true;
        self.try_running();
    }

    /// The same again, if there was no room for it.
    pub(super) fn try_running(&mut self) {
        if self.want_running && self.queue.try_send(Ask::Running).is_ok() {
            self.want_running = false;
        }
    }
}

/// The other end: asks the engine, and makes events of what it says.
pub(super) struct Inspector {
    place: Arc<Place>,
    intake: Intake,
    frames: Frames,
    queue: mpsc::Receiver<Ask>,
    selection: Arc<Selection>,
    known: Shared,
    engine: Option<Engine>,
    images: VecDeque<(String, Image)>,
    /// To look at when nobody asks for anything: what was left over, and containers that run.
    backlog: VecDeque<Wanted>,
    /// The last refusal, so that one that comes always is reported once.
    complained: Option<String>,
}

/// Both ends. What an earlier run of the gateway has left over is looked at first.
pub(super) fn queue(
    place: &Arc<Place>,
    selection: &Arc<Selection>,
    known: &Shared,
    intake: &Intake,
    frames: Frames,
) -> (Looks, Inspector) {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let backlog = left_over(intake);
    for wanted in &backlog {
        locked(known).look(&wanted.id);
    }
    let looks = Looks { queue: sender, known: Arc::clone(known), noted: Vec::new(), want_running: false };
    let inspector = Inspector {
        place: Arc::clone(place),
        intake: intake.clone(),
        frames,
        queue,
        selection: Arc::clone(selection),
        known: Arc::clone(known),
        engine: None,
        images: VecDeque::new(),
        backlog,
        complained: None,
    };
    (looks, inspector)
}

/// Says of what is left over that it will not be looked at.
///
/// # Errors
/// Nothing can be stored.
pub(super) async fn give_up(intake: &Intake, frames: &mut Frames) -> Result<(), SetupError> {
    for wanted in left_over(intake) {
        wanted.record(Err("looking at containers was switched off".to_owned()), intake, frames);
        intake.mark(frames, &wanted.mark(), b"");
    }
    intake.append(frames).await.map_err(journal_failed)
}

fn left_over(intake: &Intake) -> VecDeque<Wanted> {
    intake.marked_all(MARKS).iter().filter_map(|mark| serde_json::from_slice(mark).ok()).collect()
}

/// Of an entry of `GET /containers/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

impl Listed {
    /// The same as an event of the container says it.
    pub(super) fn attributes(&self) -> Attributes<'_> {
        let labels = self.labels.iter().flatten().map(|(name, value)| (&**name, &**value));
        let own = self.names.first().map(|name| ("name", &**name)).into_iter().chain([("image", &*self.image)]);
        Attributes::new(labels.chain(own).map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Inspector {
    /// Looks at what is asked for, until `stop` or until nobody can ask any more. What is not done then is
    /// done by the next run.
    ///
    /// # Errors
    /// Nothing can be stored.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), SetupError> {
        stop.run_until_cancelled(self.work()).await.unwrap_or(Ok(()))
    }

    async fn work(&mut self) -> Result<(), SetupError> {
        loop {
            let ask = match self.queue.try_recv() {
                Ok(ask) => ask,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => match self.backlog.pop_front() {
                    Some(wanted) => Ask::Look(wanted),
                    None => {
                        self.append().await?;
                        match self.queue.recv().await {
                            Some(ask) => ask,
                            None => return Ok(()),
                        }
                    }
                },
            };
            match ask {
                Ask::Look(wanted) => self.look(&wanted).await,
                Ask::Running => self.list().await,
            }
            if self.frames.len() >= BATCH_MAX {
                self.append().await?;
            }
        }
    }

    async fn append(&mut self) -> Result<(), SetupError> {
        self.intake.append(&mut self.frames).await.map_err(journal_failed)
    }

    async fn look(&mut self, wanted: &Wanted) {
        let found = self.inspect(&wanted.id).await;
        let found = found.map_err(|error| match error.is_absence() {
            true => "the container was gone before it could be looked at".to_owned(),
            false => self.complain(&error),
        });
        wanted.record(found, &self.intake, &mut self.frames);
        self.intake.mark(&mut self.frames, &wanted.mark(), b"");
    }

    /// Puts the containers that run, and were not looked at yet, behind what is asked for.
    async fn list(&mut self) {
        let listed = self.ask::<Vec<Listed>>(Call::Containers).await;
        match listed {
            Ok(listed) => {
                let mut known = locked(&self.known);
                let meant = |container: &Listed| !self.selection.leaves_out(&container.attributes());
                let unknown = listed.into_iter().filter(|container| meant(container) && known.look(&container.id));
                let wanted = unknown.map(|listed| Wanted { id: listed.id, of: Of::Running, at: 0, cause: None });
                self.backlog.extend(wanted);
            }
            Err(error) => {
                let reason = self.complain(&error);
                let nameless = Wanted { id: String::new(), of: Of::Running, at: 0, cause: None };
                nameless.record(
                    Err(format!("no list of the running containers: {reason}")),
                    &self.intake,
                    &mut self.frames,
                );
            }
        }
    }

    /// Warns of a refusal, once while it stays the same.
    fn complain(&mut self, error: &ClientError) -> String {
        let complaint = error.to_string();
        if self.complained.as_ref() != Some(&complaint) {
            tracing::warn!(engine = %self.place, error = complaint, "a container could not be looked at");
            self.complained = Some(complaint.clone());
        }
        complaint
    }

    async fn inspect(&mut self, id: &str) -> Result<Inspected, ClientError> {
        let container: Container = self.ask(Call::Container { id }).await?;
        {
            let mut known = locked(&self.known);
            known.has_labels(id, container.labels());
            known.has_health_check(id, container.health_check().as_deref());
        }
        let image = self.image(&container.image).await;
        Ok(Inspected { container, image })
    }

    /// What is known of an image; none where the engine, or a proxy before it, will not tell.
    async fn image(&mut self, id: &str) -> Option<Image> {
        if let Some((_, image)) = self.images.iter().find(|(known, _)| known == id) {
            return Some(image.clone());
        }
        let image: Image = self.ask(Call::Image { id }).await.ok()?;
        self.images.push_back((id.to_owned(), image.clone()));
        if self.images.len() > IMAGES_MAX {
            self.images.pop_front();
        }
        Some(image)
    }

    /// Asks the engine, again on a new connection when the old one broke. While nobody listens it waits:
    /// then nothing is started either.
    async fn ask<T: DeserializeOwned>(&mut self, call: Call<'_>) -> Result<T, ClientError> {
        let mut tries = 0;
        loop {
            let engine = match &mut self.engine {
                Some(engine) => Ok(engine),
                none => self.place.connect().await.map(|engine| {
                    self.frames.turn_to(at(self.frames.origin(), engine.peer));
                    none.insert(engine)
                }),
            };
            let answer = match engine {
                Ok(engine) => engine.read(call).await,
                Err(ClientError::Connect(_)) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_of_connection() => {
                    self.engine = None;
                    tries += 1;
                    if tries >= TRIES_MAX {
                        return Err(error);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}

impl Wanted {
    fn mark(&self) -> String {
        format!("{MARKS}{}", self.id)
    }

    fn to_bytes(&self) -> Vec<u8> {
        // Texts and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Adds the event: what was found, or why nothing was.
    fn record(&self, found: Result<Inspected, String>, intake: &Intake, frames: &mut Frames) {
        let raw = found.as_ref().map_or_else(|reason| reason.clone().into_bytes(), Inspected::raw);
        intake.take_made(frames, &raw, |event| {
            event.set(Field::EventClass, "container.inspect");
            event.set(Field::Action, "inspect");
            event.set(Field::Severity, 3);
            event.set_text(Field::ContainerId, &self.id);
            event.set_text(Field::Cause, self.cause.as_deref().unwrap_or_default());
            if self.at > 0 {
                event.set(Field::Start, Time(self.at));
            }
            self.say_why(event);
            match &found {
                Ok(inspected) => {
                    event.set(Field::Name, "Container inspected");
                    event.set(Field::Outcome, "success");
                    inspected.fill(event);
                }
                Err(reason) => {
                    event.set(Field::Name, "Container not inspected");
                    event.set(Field::Outcome, "failure");
                    let reason = format!("not recorded: {reason}");
                    event.set(Field::Reason, &*reason);
                    event.set(Field::Msg, &*reason);
                }
            }
        });
    }

    fn say_why(&self, event: &mut Event<'_>) {
        let of = match self.of {
            Of::Create => "create",
            Of::Start => "start",
            Of::Running => "running",
        };
        event.extra("inspect", "of", of);
    }
}
