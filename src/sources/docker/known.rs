//! What is known of containers beside what an event says of them: whether they were looked at, what their
//! labels can forge, what their health check runs.
//!
//! Invariant: bounded; a container that is forgotten is one of which nothing is known.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharfinger_formats::{Event, Field};

use super::glance::{Attributes, Glance};

/// So many containers are remembered.
const CONTAINERS_MAX: usize = 8192;
/// So many runs of a health check are remembered until they end.
const EXECS_MAX: usize = 1024;

/// What is known, for all tasks of a source.
pub(super) type Shared = Arc<Mutex<Known>>;

/// See above.
#[derive(Default)]
pub(super) struct Known {
    about: HashMap<u64, About>,
    /// The oldest first.
    order: VecDeque<u64>,
    /// Runs of health checks that were left out and have not ended.
    execs: VecDeque<Box<str>>,
}

/// One container.
#[derive(Default)]
struct About {
    /// It was looked at, or is about to be.
    looked_at: bool,
    /// None: nobody has told.
    labels: Option<Labels>,
    /// The command of its health check, as an event of the engine has it.
    health: Option<Box<str>>,
}

/// Labels by names that the engine uses itself: they stand in the place of its own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Labels {
    exit_code: bool,
    signal: bool,
    exec_id: bool,
}

impl Labels {
    pub(super) fn named<'n>(names: impl Iterator<Item = &'n str>) -> Labels {
        let mut labels = Labels::default();
        for name in names {
            match name {
                "exitCode" => labels.exit_code = true,
                "signal" => labels.signal = true,
                "execID" => labels.exec_id = true,
                _ => {}
            }
        }
        labels
    }

    /// Says of an exit code and a signal whether they are the engine's own word.
    pub(super) fn judge(self, event: &mut Event<'_>) {
        if event.has(Field::ExitCode) {
            event.extra("docker", "exit_code_trusted", !self.exit_code);
        }
        if event.has(Field::Untrusted) {
            event.remove(Field::Untrusted);
            event.set_text(
                Field::Untrusted,
                match (self.exit_code, self.signal) {
                    (true, true) => "exit_code,outcome,signal",
                    (true, false) => "exit_code,outcome",
                    (false, true) => "signal",
                    (false, false) => "",
                },
            );
        }
    }
}

impl Known {
    /// Whether the container is looked at for the first time.
    pub(super) fn look(&mut self, id: &str) -> bool {
        self.entry(id).is_none_or(|about| !std::mem::replace(&mut about.looked_at, true))
    }

    /// Notes the labels of a container.
    pub(super) fn has_labels(&mut self, id: &str, labels: Labels) {
        if let Some(about) = self.entry(id) {
            about.labels = Some(labels);
        }
    }

    /// Notes what the health check of a container runs.
    pub(super) fn has_health_check(&mut self, id: &str, command: Option<&str>) {
        if let Some(about) = self.entry(id) {
            about.health = command.map(|command| command.trim().into());
        }
    }

    /// The labels of a container, if anybody has told.
    pub(super) fn labels(&self, id: &str) -> Option<Labels> {
        self.about.get(&key(id)?)?.labels
    }

    /// Whether the event is of a run of the container's own health check. That such a run has ended is known by
    /// its id, so not where a label can stand in the place of that.
    pub(super) fn is_health_check(&mut self, glance: &Glance<'_>, attributes: &Attributes<'_>) -> bool {
        let Some(about) = key(glance.id()).and_then(|key| self.about.get(&key)) else { return false };
        let Some(health) = &about.health else { return false };
        let (word, command) = glance.action().split_once(": ").unwrap_or((glance.action(), ""));
        let exec = attributes.get("execID").filter(|_| about.labels.is_some_and(|labels| !labels.exec_id));
        match word {
            "exec_create" | "exec_start" if command.trim() == &**health => {
                if let Some(exec) = exec.filter(|exec| !self.execs.iter().any(|known| **known == **exec)) {
                    self.execs.push_back(exec.into());
                    if self.execs.len() > EXECS_MAX {
                        self.execs.pop_front();
                    }
                }
                true
            }
            "exec_die" => {
                let at = exec.and_then(|exec| self.execs.iter().position(|known| **known == *exec));
                at.and_then(|at| self.execs.remove(at)).is_some()
            }
            _ => false,
        }
    }

    fn entry(&mut self, id: &str) -> Option<&mut About> {
        let key = key(id)?;
        if !self.about.contains_key(&key) {
            self.order.push_back(key);
            if self.order.len() > CONTAINERS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.about.remove(&oldest);
            }
        }
        Some(self.about.entry(key).or_default())
    }
}

/// An id is random: its first sixteen digits are enough.
fn key(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(..16)?, 16).ok()
}

pub(super) fn locked(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // Nothing panics while the lock is held.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123";

    fn event(action: &str, exec: &str) -> String {
        format!(
            r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{ID}","Attributes":{{"execID":"{exec}"}}}},"timeNano":1}}"#
        )
    }

    fn is_health_check(known: &mut Known, action: &str, exec: &str) -> bool {
        let event = event(action, exec);
        let (glance, attributes) = (Glance::of(event.as_bytes()).unwrap(), Attributes::of(event.as_bytes()).unwrap());
        known.is_health_check(&glance, &attributes)
    }

    #[test]
    fn a_health_check_is_known_by_its_command_and_its_end_by_its_id() {
        let mut known = Known::default();
        assert!(!is_health_check(&mut known, "exec_create: /bin/sh -c true", "e1"), "nothing is known");
        known.has_health_check(ID, Some("/bin/sh -c true"));
        known.has_labels(ID, Labels::default());
        for (action, exec, expected) in [
            ("exec_create: /bin/sh -c true", "e1", true),
            ("exec_create: sh ", "e2", false),
            ("exec_start: /bin/sh -c true", "e1", true),
            ("exec_die", "e2", false),
            ("exec_die", "e1", true),
            ("exec_die", "e1", false),
            ("die", "e1", false),
        ] {
            assert_eq!(is_health_check(&mut known, action, exec), expected, "{action} {exec}");
        }
        // A label makes all ids the same: no end is left out.
        known.has_labels(ID, Labels::named(["execID"].into_iter()));
        assert!(is_health_check(&mut known, "exec_create: /bin/sh -c true", "e1"));
        assert!(!is_health_check(&mut known, "exec_die", "e1"));
    }

    #[test]
    fn labels_take_trust_away_and_their_absence_gives_it() {
        let check = |labels: &[&str], expected: &str, is_trusted: bool| {
            let mut event = Event::new(b"");
            event.set(Field::ExitCode, 0);
            event.set(Field::Untrusted, "exit_code,outcome");
            Labels::named(labels.iter().copied()).judge(&mut event);
            assert_eq!(event.text(Field::Untrusted).unwrap_or_default(), expected);
            let extra = event.extras().next().unwrap();
            assert_eq!((extra.name, extra.value), ("exit_code_trusted", is_trusted.into()));
        };
        check(&["tier", "execID"], "", true);
        check(&["exitCode"], "exit_code,outcome", false);
        check(&["signal"], "signal", true);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut known = Known::default();
        let id = |number: usize| format!("{number:064x}").chars().rev().collect::<String>();
        (0..2 * CONTAINERS_MAX).for_each(|number| assert!(known.look(&id(number))));
        assert_eq!((known.about.len(), known.order.len()), (CONTAINERS_MAX, CONTAINERS_MAX));
        assert!(known.look(&id(0)) && !known.look(&id(2 * CONTAINERS_MAX - 1)));
        assert!(known.look("no id") && known.look("no id"));
        known.has_health_check(ID, Some("x"));
        known.has_labels(ID, Labels::default());
        (0..2 * EXECS_MAX).for_each(|exec| assert!(is_health_check(&mut known, "exec_create: x", &exec.to_string())));
        assert_eq!(known.execs.len(), EXECS_MAX);
    }
}
