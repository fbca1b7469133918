//! What containers write, from the engine's own files: which containers are followed.
//!
//! Way of a line here: engine → **follower** (a task and a connection for each container) → intake. Invariants:
//! whoever asks here never waits; so many containers are followed at once and no more; what of a container was not
//! read when it was removed is declared by a gap record; the gateway never reads what it writes itself.

mod cut;
mod follow;
mod reached;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::Time;

use self::follow::{End, Follower};
use self::reached::Reached;
use super::client::{Call, ClientError};
use super::glance::Glance;
use super::inspect::Listed;
use super::place::Place;
use super::select::Selection;
use crate::intake::{Frames, Gap, Intake, Origin};
use crate::part::SetupError;
use crate::sources::journal_failed;

/// So many messages can wait for the task that follows containers.
const QUEUE_MAX: usize = 1024;
/// So many containers can wait until another one has ended.
const WAITING_MAX: usize = 16 * 1024;
/// Between two tries to list the containers.
const LIST_AGAIN: Duration = Duration::from_secs(5);

/// Marks of how far containers were read begin so.
const MARKS: &str = "logs/";
/// Stored when the containers were listed for the first time.
const STARTED: &str = "logs.started";

/// Whether to read what containers write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wanted {
    #[default]
    None,
    /// From the first start of the gateway on.
    New,
    /// Also what the engine has kept of before.
    All,
}

#[derive(Debug)]
enum Ask {
    /// It was started.
    Follow(String),
    /// It was removed.
    Gone(String),
    /// Some may have been started or removed unseen.
    List,
}

/// The end of the queue that events are put in.
pub(super) struct Logs {
    queue: mpsc::Sender<Ask>,
    want_list: bool,
    /// Of what was started earlier the list knows what is still there, nanoseconds since 1970.
    not_before: i64,
}

impl Logs {
    /// The engine is listened to for the first time, and tells what was before.
    pub(super) fn begin(&mut self, now: i64) {
        self.not_before = now;
    }

    /// Notes that a container was started or removed.
    pub(super) fn note(&mut self, glance: &Glance<'_>) {
        if glance.time() < self.not_before {
            return;
        }
        let ask = match glance.action() {
            "start" => Ask::Follow(glance.id().to_owned()),
            "destroy" => Ask::Gone(glance.id().to_owned()),
            _ => return,
        };
        // The list tells what there was no room for.
        self.want_list |= self.queue.try_send(ask).is_err();
    }

    /// Has the containers listed: some events may not have been seen.
    pub(super) fn list(&mut self) {
        self.want_list = true;
        self.try_list();
    }

    /// The same again, if there was no room for it.
    pub(super) fn try_list(&mut self) {
        if self.want_list && self.queue.try_send(Ask::List).is_ok() {
            self.want_list = false;
        }
    }
}

/// The other end: follows containers.
pub(super) struct Following {
    pub(super) place: Arc<Place>,
    pub(super) selection: Arc<Selection>,
    pub(super) intake: Intake,
    pub(super) origin: Origin,
    queue: mpsc::Receiver<Ask>,
    wanted: Wanted,
    containers_max: usize,
    /// The container that the gateway runs in.
    own: Option<String>,
    /// What became of a container that is being followed, since that began.
    now: HashMap<String, Since>,
    waiting: VecDeque<String>,
    tasks: JoinSet<(String, Result<End, SetupError>)>,
    complained: bool,
}

#[derive(Debug, Default)]
struct Since {
    started: bool,
    gone: bool,
}

/// Both ends.
pub(super) fn queue(
    (wanted, containers_max): (Wanted, usize),
    place: &Arc<Place>,
    selection: &Arc<Selection>,
    intake: &Intake,
    origin: Origin,
) -> (Logs, Following) {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let following = Following {
        place: Arc::clone(place),
        selection: Arc::clone(selection),
        intake: intake.clone(),
        origin,
        queue,
        wanted,
        containers_max,
        own: own_id(),
        now: HashMap::new(),
        waiting: VecDeque::new(),
        tasks: JoinSet::new(),
        complained: false,
    };
    (Logs { queue: sender, want_list: false, not_before: 0 }, following)
}

/// The name of the mark of a container.
fn mark(id: &str) -> String {
    format!("{MARKS}{id}")
}

impl Following {
    /// Follows containers until `stop`.
    ///
    /// # Errors
    /// Nothing can be stored.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), SetupError> {
        let mut list_at = None;
        loop {
            let ask = tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = self.tasks.join_next() => {
                    self.ended(done, stop).await?;
                    continue;
                }
                ask = self.queue.recv() => match ask {
                    Some(ask) => ask,
                    None => break,
                },
                // A moment, not a pause: on a host where containers come and go all the time a pause would never end.
                () = tokio::time::sleep_until(list_at.unwrap_or_else(Instant::now)), if list_at.is_some() => Ask::List,
            };
            match ask {
                Ask::Follow(id) => self.follow(id, stop),
                Ask::Gone(id) => match self.now.get_mut(&id) {
                    Some(since) => since.gone = true,
                    None => self.forget(&id, false).await?,
                },
                Ask::List => {
                    let Some(listed) = stop.run_until_cancelled(self.listed()).await else { break };
                    list_at = listed.is_err().then(|| Instant::now() + LIST_AGAIN);
                    match listed {
                        Ok(listed) => self.list(listed, stop).await?,
                        Err(error) => tracing::warn!(engine = %self.place, %error, "no list of containers; trying on"),
                    }
                }
            }
        }
        while let Some(done) = self.tasks.join_next().await {
            self.ended(done, stop).await?;
        }
        Ok(())
    }

    async fn listed(&self) -> Result<Vec<Listed>, ClientError> {
        self.place.connect().await?.read(Call::AllContainers).await
    }

    /// Follows all that there are, and declares what is gone.
    async fn list(&mut self, mut listed: Vec<Listed>, stop: &CancellationToken) -> Result<(), SetupError> {
        let there: HashSet<String> = listed.iter().map(|container| container.id.clone()).collect();
        listed.retain(|container| !self.is_own(&container.id) && !self.selection.leaves_out(&container.attributes()));
        let meant: HashSet<String> = listed.iter().map(|container| container.id.clone()).collect();
        let is_first = self.intake.marked(STARTED).is_none();
        if is_first {
            let mut frames = self.intake.frames(self.origin.clone());
            for container in listed.iter().filter(|_| self.wanted == Wanted::New) {
                let reached = Reached::from(&container.id, now());
                self.intake.mark(&mut frames, &mark(&container.id), &reached.to_bytes());
            }
            self.intake.mark(&mut frames, STARTED, &[1]);
            self.intake.append(&mut frames).await.map_err(journal_failed)?;
        }
        for mark in self.intake.marked_all(MARKS) {
            let Some(reached) = Reached::of_bytes(&mark) else { continue };
            if self.now.contains_key(&reached.id) || meant.contains(&reached.id) {
                continue;
            }
            match there.contains(&reached.id) {
                // It is there, and nobody wants it any more.
                true => self.erase(&reached.id).await?,
                false => self.forget(&reached.id, false).await?,
            }
        }
        for container in listed {
            if !self.now.contains_key(&container.id) {
                self.follow(container.id, stop);
            }
        }
        Ok(())
    }

    fn is_own(&self, id: &str) -> bool {
        self.own.as_deref() == Some(id)
    }

    /// Begins to follow a container, now or when there is room; never the gateway's own, whose every line about a
    /// line would be one more.
    fn follow(&mut self, id: String, stop: &CancellationToken) {
        if self.is_own(&id) {
            return;
        }
        if let Some(since) = self.now.get_mut(&id) {
            since.started = true;
            return;
        }
        if self.now.len() >= self.containers_max {
            self.complain();
            if self.waiting.len() < WAITING_MAX && !self.waiting.contains(&id) {
                self.waiting.push_back(id);
            }
            return;
        }
        self.now.insert(id.clone(), Since::default());
        let follower = Follower {
            id: id.clone(),
            place: Arc::clone(&self.place),
            selection: Arc::clone(&self.selection),
            intake: self.intake.clone(),
            frames: self.intake.frames(self.origin.clone()),
            last: None,
            declared: None,
        };
        let stop = stop.clone();
        self.tasks.spawn(async move { (id, follower.run(&stop).await) });
    }

    fn complain(&mut self) {
        if !std::mem::replace(&mut self.complained, true) {
            let at_once = self.containers_max;
            tracing::warn!(
                at_once,
                "more containers than are followed at once: the others wait until one has ended; \
                 `logs_containers_max` allows more"
            );
        }
    }

    /// A follower has ended: the next one, and what has happened meanwhile.
    async fn ended(
        &mut self,
        done: Result<(String, Result<End, SetupError>), JoinError>,
        stop: &CancellationToken,
    ) -> Result<(), SetupError> {
        let (id, end) = done.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => SetupError::new("cannot follow a container", error),
        })?;
        let since = self.now.remove(&id).unwrap_or_default();
        match end? {
            _ if stop.is_cancelled() => return Ok(()),
            End::Gone => self.forget(&id, true).await?,
            _ if since.gone => self.forget(&id, false).await?,
            End::Read if since.started => self.follow(id, stop),
            End::Read | End::LeftOut => {}
        }
        if let Some(next) = self.waiting.pop_front() {
            self.follow(next, stop);
        }
        Ok(())
    }

    /// A container is gone: forgets how far it was read, and declares what was not. Of one without a mark that is
    /// something only if it was to be read.
    async fn forget(&mut self, id: &str, is_wanted: bool) -> Result<(), SetupError> {
        let waiting = self.waiting.len();
        self.waiting.retain(|waiting| waiting != id);
        let is_wanted = is_wanted || self.waiting.len() < waiting;
        let stored = self.intake.marked(&mark(id)).and_then(|stored| Reached::of_bytes(&stored));
        if stored.as_ref().map_or(is_wanted, |reached| !reached.ended) {
            let is_begun = stored.as_ref().is_some_and(|reached| !reached.is_nothing());
            let what = if is_begun { "the rest of the output" } else { "the output" };
            let gap = Gap::unknown(format!("container `{id}` was removed before {what} was read"));
            self.intake.declare(&self.origin, &gap).await.map_err(journal_failed)?;
        }
        if stored.is_some() {
            self.erase(id).await?;
        }
        Ok(())
    }

    /// Erases how far a container was read.
    async fn erase(&self, id: &str) -> Result<(), SetupError> {
        let mut frames: Frames = self.intake.frames(self.origin.clone());
        self.intake.mark(&mut frames, &mark(id), b"");
        self.intake.append(&mut frames).await.map_err(journal_failed)
    }
}

/// The id of the container that the gateway itself runs in: it must not read what it writes about itself. The
/// engine mounts files from the folder of that name into it.
fn own_id() -> Option<String> {
    id_of_mounts(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

fn id_of_mounts(mounts: &str) -> Option<String> {
    let behind = mounts.split("/containers/").skip(1);
    let mut ids = behind.filter_map(|rest| rest.get(..64).filter(|_| rest[64..].starts_with("/hostname")));
    ids.find(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::journal::storage::Disk;
    use crate::journal::{Journal, Settings};
    use crate::sources::docker::select::Containers;
    use crate::sources::options::{FormatName, Reading, Zone};

    /// An engine that nobody plays, asked for what the containers `web` write.
    fn following(folder: &std::path::Path) -> (Journal, Following) {
        let journal = Journal::open(Settings::new(folder.join("journal")), Arc::new(Disk)).unwrap();
        let intake = Intake::new(journal.clone(), Arc::default(), "in", Arc::default());
        let place = Arc::new(Place::Socket(folder.join("docker.sock")));
        let include = Containers { names: vec!["web".to_owned()], ..Containers::default() };
        let selection = Arc::new(Selection { include, exclude: Containers::default() });
        let reading = Reading {
            format: FormatName::only("docker_events"),
            zone: Zone::default(),
            trust: crate::intake::Trust::Local,
        };
        (journal, queue((Wanted::All, 8), &place, &selection, &intake, reading.origin("docker")).1)
    }

    #[tokio::test]
    async fn the_gateway_never_follows_itself_on_any_way() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut following) = following(folder.path());
        let (own, other) = ("ab".repeat(32), "cd".repeat(32));
        following.own = Some(own.clone());
        let stop = CancellationToken::new();
        // An event says that it was started.
        following.follow(own.clone(), &stop);
        assert!(following.now.is_empty() && following.waiting.is_empty());
        let listed = [&own, &other].map(|id| format!(r#"{{"Id":"{id}","Names":["/web"]}}"#)).join(",");
        following.list(serde_json::from_str(&format!("[{listed}]")).unwrap(), &stop).await.unwrap();
        assert_eq!(following.now.keys().collect::<Vec<_>>(), [&other]);
        stop.cancel();
    }

    #[tokio::test]
    async fn what_the_selection_leaves_out_now_is_not_called_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, mut following) = following(folder.path());
        let (left_out, gone) = ("ab".repeat(32), "cd".repeat(32));
        let mut frames = following.intake.frames(following.origin.clone());
        for id in [&left_out, &gone] {
            following.intake.mark(&mut frames, &mark(id), &Reached::from(id, Time(7)).to_bytes());
        }
        following.intake.mark(&mut frames, STARTED, &[1]);
        following.intake.append(&mut frames).await.unwrap();
        let listed = format!(r#"[{{"Id":"{left_out}","Names":["/db"]}}]"#);
        following.list(serde_json::from_str(&listed).unwrap(), &CancellationToken::new()).await.unwrap();
        for id in [&left_out, &gone] {
            assert!(following.intake.marked(&mark(id)).is_none_or(|mark| mark.is_empty()), "{id}");
        }
        // One gap, for the one that is gone.
        assert_eq!(journal.status().last.0, 1);
    }

    #[test]
    fn the_gateway_knows_its_own_container() {
        let id = "ab".repeat(32);
        let line = |id: &str, file: &str| {
            format!("1 2 254:1 /var/lib/docker/containers/{id}/{file} /etc/{file} rw - ext4 /dev/vda1 rw\n")
        };
        assert_eq!(id_of_mounts(&(line("x", "hostname") + &line(&id, "hostname"))), Some(id.clone()));
        assert_eq!(id_of_mounts(&line(&id, "mounts/shm")), None);
        assert_eq!(id_of_mounts("1 2 254:1 / / rw - ext4 /dev/vda1 rw\n"), None);
    }
}
