//! Docker: what was seen of the containers and images of one machine.
//!
//! Invariant: bounded, whatever a machine says: what does not fit is not told apart.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use wharfinger_formats::{Event, Field, Time};

/// So many containers of a machine are told apart.
const CONTAINERS_MAX: usize = 1024;
/// So many images.
const IMAGES_MAX: usize = 64;
/// So many of the things that happened last are kept.
const RECENT_MAX: usize = 20;
/// Texts are cut at so many bytes.
const TEXT_BYTES_MAX: usize = 160;
/// Containers are counted over so many seconds.
pub const PERIOD_SECONDS: i64 = 24 * 3600;
/// An id is the same with its first digits alone.
const ID_DIGITS: usize = 12;

/// See above.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Docker {
    containers: HashMap<u64, Container>,
    images: BTreeSet<Box<str>>,
    recent: VecDeque<Moment>,
    /// It is not stored as it is now.
    #[serde(skip)]
    pub(super) is_stale: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Container {
    /// Seconds since 1970.
    last: i64,
    runs: bool,
}

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When it was received, in nanoseconds since 1970.
    pub at: i64,
    pub class: String,
    /// The container or image.
    pub what: String,
}

/// Whether an event of that class is about containers or images, or a sign of life of the daemon.
pub fn is_about(class: &str) -> bool {
    class.starts_with("container.") || class.starts_with("image.") || class.starts_with("daemon.")
}

impl Docker {
    /// Something of that class happened.
    pub(super) fn note(&mut self, class: &str, event: &Event<'_>, now: Time) {
        self.is_stale = true;
        let (object, action) = class.split_once('.').unwrap_or((class, ""));
        let image = event.text(Field::ImageRef).filter(|image| !image.starts_with("sha256:")).map(cut);
        if let Some(image) = image {
            match (object, action) {
                ("image", "delete" | "untag") => drop(self.images.remove(image)),
                _ => self.image(image),
            }
        }
        let name = event.text(Field::ContainerName).filter(|_| object == "container");
        let id = event.text(Field::ContainerId).filter(|_| object == "container");
        if let Some(id) = id.or(name) {
            self.container(id.get(..ID_DIGITS).unwrap_or(id), action, now);
        }
        // What is asked all the time would leave no room for what happens.
        if !matches!(action, "exec_start" | "exec_die" | "health_status" | "top" | "resize" | "inspect" | "log") {
            // The oldest lends its memory.
            let mut moment = Moment::default();
            while self.recent.len() >= RECENT_MAX {
                moment = self.recent.pop_back().unwrap_or_default();
            }
            moment.at = now.0;
            cut(class).clone_into(&mut moment.class);
            cut(name.or(id).or(image).unwrap_or_default()).clone_into(&mut moment.what);
            self.recent.push_front(moment);
        }
    }

    /// A pull names its image without the tag that the container has: that is no other image.
    fn image(&mut self, image: &str) {
        if self.images.contains(image) {
            return;
        }
        let (start, tagged) = (format!("{image}:"), image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')));
        if self.images.range(start.into_boxed_str()..).next().is_some_and(|known| is_tag_of(known, image)) {
            return;
        }
        if let Some((name, _)) = tagged {
            self.images.remove(name);
        }
        if self.images.len() < IMAGES_MAX {
            self.images.insert(image.into());
        }
    }

    fn container(&mut self, id: &str, action: &str, now: Time) {
        let key = super::hash(id.as_bytes());
        if self.containers.len() >= CONTAINERS_MAX && !self.containers.contains_key(&key) {
            // The one that stopped the longest ago makes room; one that runs never does.
            let gone = self.containers.iter().filter(|(_, known)| !known.runs).min_by_key(|(_, known)| known.last);
            let Some(gone) = gone.map(|(key, _)| *key) else { return };
            self.containers.remove(&gone);
        }
        let known = self.containers.entry(key).or_insert(Container { last: 0, runs: false });
        known.last = now.seconds();
        match action {
            "start" | "restart" | "unpause" | "health_status" | "exec_start" => known.runs = true,
            "die" | "stop" | "destroy" => known.runs = false,
            _ => {}
        }
    }

    /// How many containers run, as far as events show.
    pub fn running(&self) -> usize {
        self.containers.values().filter(|container| container.runs).count()
    }

    /// How many containers there were in the last [`PERIOD_SECONDS`].
    pub fn unique(&self, now: Time) -> usize {
        let is_recent = |container: &&Container| container.runs || now.seconds() - container.last < PERIOD_SECONDS;
        self.containers.values().filter(is_recent).count()
    }

    /// The images by name, in order.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.images.iter().map(|image| &**image)
    }

    /// What happened last, the newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Moment> {
        self.recent.iter()
    }
}

/// Whether an image is that one with a tag.
fn is_tag_of(image: &str, name: &str) -> bool {
    image.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).is_some_and(|tag| !tag.contains('/'))
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    fn note(docker: &mut Docker, class: &str, id: &str, image: &str, seconds: i64) {
        let mut event = Event::new(b"");
        event.set_text(Field::ContainerId, id);
        event.set_text(Field::ImageRef, image);
        docker.note(class, &event, at(seconds));
    }

    #[test]
    fn containers_are_counted_while_they_run_and_for_a_day() {
        let mut docker = Docker::default();
        let (one, other) = ("1".repeat(64), "2".repeat(64));
        note(&mut docker, "container.create", &one, "nginx", 0);
        note(&mut docker, "container.start", &one, "nginx", 1);
        note(&mut docker, "container.start", &other, "sha256:17", 2);
        note(&mut docker, "container.die", &other[..12], "nginx", 3);
        assert_eq!((docker.running(), docker.unique(at(4))), (1, 2));
        assert_eq!((docker.running(), docker.unique(at(4 + PERIOD_SECONDS))), (1, 1));
        assert_eq!(docker.images().collect::<Vec<_>>(), ["nginx"]);
        note(&mut docker, "container.start", &one, "host:5000/web:1", 5);
        note(&mut docker, "image.pull", "", "host:5000/web", 5);
        note(&mut docker, "image.pull", "", "host", 5);
        assert_eq!(docker.images().collect::<Vec<_>>(), ["host", "host:5000/web:1", "nginx"]);
        note(&mut docker, "container.start", &one, "nginx:1.27", 5);
        assert_eq!(docker.images().count(), 3, "it has its tag now");
        for image in ["nginx:1.27", "host", "host:5000/web:1"] {
            note(&mut docker, "image.delete", "", image, 5);
        }
        assert_eq!(docker.images().count(), 0);
        let newest = docker.recent().next().map(|moment| (&*moment.class, &*moment.what));
        assert_eq!(newest, Some(("image.delete", "host:5000/web:1")));
    }

    #[test]
    fn whatever_a_machine_says_is_bounded() {
        let mut docker = Docker::default();
        for number in 0..3000 {
            note(
                &mut docker,
                "container.start",
                &format!("{number:012}"),
                &format!("{number}{}", "x".repeat(999)),
                number,
            );
        }
        assert_eq!((docker.running(), docker.images().count(), docker.recent().count()), (1024, 64, 20));
        assert!(docker.images().all(|image| image.len() <= TEXT_BYTES_MAX));
        note(&mut docker, "container.die", &format!("{:012}", 1), "", 3001);
        note(&mut docker, "container.start", "a new one", "", 3002);
        assert_eq!(docker.running(), 1024, "one that stopped made room");
    }
}
