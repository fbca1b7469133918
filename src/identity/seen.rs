//! Seen: what was seen of one machine: when it spoke, how it stood, and its containers.
//!
//! Most events cost one store of a number here; what is about containers takes a lock of its own machine.
//!
//! Invariant: bounded: 150 bytes for a machine of which nothing but its words are known.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wharfinger_formats::{Event, Field, Time};

use super::docker::{self, Docker};

/// So many changes of its state are kept; the oldest go first.
const HISTORY_MAX: usize = 8;

/// How a machine stands to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something on it is not allowed.
    Violating,
    /// It should speak, and does not.
    Silent,
    /// Nothing was ever heard of it, or nothing judges it.
    Unknown,
    /// It speaks, and nothing is wrong.
    Compliant,
}

/// Every state, the gravest first.
pub const STATES: [State; 4] = [State::Violating, State::Silent, State::Unknown, State::Compliant];

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Violating => "violating",
            State::Silent => "silent",
            State::Unknown => "unknown",
            State::Compliant => "compliant",
        }
    }
}

/// From then on it was in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Seconds since 1970: until the year 2106.
    at: u32,
    pub state: State,
}

impl Change {
    pub fn at(self) -> Time {
        Time(i64::from(self.at) * 1_000_000_000)
    }
}

/// See above.
#[derive(Debug, Default)]
pub struct Seen {
    /// Nanoseconds since 1970; zero: never.
    spoke: AtomicI64,
    /// The end of what `spoke` was when the clock looked last: whoever says something at another time has another one,
    noticed: AtomicU32,
    /// and when that was, in seconds of listening.
    listened: AtomicU32,
    more: Mutex<More>,
}

#[derive(Debug, Default)]
struct More {
    now: Option<Change>,
    rest: Option<Box<Rest>>,
}

/// Most machines stand as they always stood, and nothing is heard of containers on them.
#[derive(Debug, Default)]
struct Rest {
    /// In which states it was before; the oldest first.
    earlier: Vec<Change>,
    docker: Option<Box<Docker>>,
}

/// What is stored of it, but for Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    spoke: i64,
    listened: u64,
    history: Vec<Change>,
}

impl Seen {
    /// Of a machine that is known from now on, to somebody who has listened for so many seconds.
    pub(super) fn from(listened: u64) -> Seen {
        Seen { listened: AtomicU32::new(seconds(listened)), ..Seen::default() }
    }

    /// It says something now.
    pub fn speaks(&self, now: Time) {
        self.spoke.store(now.0, Relaxed);
    }

    /// Notes what an event says of its containers.
    pub fn note(&self, event: &Event<'_>, now: Time) {
        if let Some(class) = event.text(Field::EventClass).filter(|class| docker::is_about(class)) {
            self.more().rest().docker.get_or_insert_default().note(class, event, now);
        }
    }

    /// When it said something last.
    pub fn last(&self) -> Option<Time> {
        Some(Time(self.spoke.load(Relaxed))).filter(|time| time.0 != 0)
    }

    /// For how long it has said nothing, to somebody who has listened for so many seconds.
    pub(super) fn silent(&self, listened: u64) -> Duration {
        self.notice(listened);
        Duration::from_secs(listened.saturating_sub(self.listened.load(Relaxed).into()))
    }

    /// Notes when it spoke last, and answers that.
    fn notice(&self, listened: u64) -> i64 {
        let spoke = self.spoke.load(Relaxed);
        let end = spoke as u32;
        if self.noticed.swap(end, Relaxed) != end {
            self.listened.store(seconds(listened), Relaxed);
        }
        spoke
    }

    /// It is in this state now.
    pub fn stands(&self, state: State, now: Time) {
        let mut more = self.more();
        if more.now.is_none_or(|last| last.state != state) {
            let change = Change { at: u32::try_from(now.seconds()).unwrap_or_default(), state };
            if let Some(last) = more.now.replace(change) {
                let earlier = &mut more.rest().earlier;
                if earlier.len() >= HISTORY_MAX - 1 {
                    earlier.remove(0);
                }
                earlier.push(last);
            }
        }
    }

    /// In which state it was then, and since when. None: before all that is kept.
    pub fn state_at(&self, time: Option<Time>) -> Option<Change> {
        let more = self.more();
        let mut changes = more.now.iter().chain(more.earlier().iter().rev());
        changes.find(|change| time.is_none_or(|time| change.at() <= time)).copied()
    }

    /// The changes of its state that are kept, the oldest first.
    pub fn history(&self) -> Vec<Change> {
        let more = self.more();
        more.earlier().iter().chain(&more.now).copied().collect()
    }

    /// What is known of its containers, if anything is.
    pub fn docker<T>(&self, read: impl FnOnce(&Docker) -> T) -> Option<T> {
        self.more().rest.as_deref()?.docker.as_deref().map(read)
    }

    fn more(&self) -> MutexGuard<'_, More> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What changed of Docker since this was called last.
    pub(super) fn stale_docker(&self) -> Option<Vec<u8>> {
        let mut more = self.more();
        let docker = more.rest.as_deref_mut()?.docker.as_mut().filter(|docker| docker.is_stale)?;
        docker.is_stale = false;
        serde_json::to_vec(docker).ok()
    }

    /// Appends what is stored: what names it, when it spoke, when that was by the clock of listening, its history.
    pub(super) fn write(&self, key: u64, listened: u64, out: &mut Vec<u8>) {
        let spoke = self.notice(listened);
        out.extend_from_slice(&key.to_le_bytes());
        out.extend_from_slice(&spoke.to_le_bytes());
        out.extend_from_slice(&u64::from(self.listened.load(Relaxed)).to_le_bytes());
        let history = self.history();
        out.push(history.len() as u8);
        for change in history {
            out.extend_from_slice(&change.at.to_le_bytes());
            out.push(change.state as u8);
        }
    }

    /// Puts back what was stored.
    pub(super) fn restore(&self, stored: Option<Stored>, listened: u64, docker: Option<&[u8]>) {
        let mut stored = stored.unwrap_or(Stored { spoke: 0, listened, history: Vec::new() });
        self.spoke.store(stored.spoke, Relaxed);
        self.noticed.store(stored.spoke as u32, Relaxed);
        self.listened.store(seconds(stored.listened), Relaxed);
        let now = stored.history.pop();
        let rest =
            Rest { earlier: stored.history, docker: docker.and_then(|bytes| serde_json::from_slice(bytes).ok()) };
        let has_rest = !rest.earlier.is_empty() || rest.docker.is_some();
        *self.more() = More { now, rest: has_rest.then(|| Box::new(rest)) };
    }
}

impl More {
    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    fn earlier(&self) -> &[Change] {
        self.rest.as_deref().map_or(&[], |rest| &rest.earlier)
    }
}

/// 136 years of listening.
fn seconds(listened: u64) -> u32 {
    u32::try_from(listened).unwrap_or(u32::MAX)
}

impl Stored {
    /// Every machine of a mark, by what names it. What cannot be read ends it.
    pub(super) fn read_all(mut mark: &[u8]) -> Vec<(u64, Stored)> {
        let mut all = Vec::new();
        while let Some((key, stored, rest)) = Stored::read(mark) {
            all.push((key, stored));
            mark = rest;
        }
        all
    }

    fn read(mark: &[u8]) -> Option<(u64, Stored, &[u8])> {
        let (key, rest) = mark.split_first_chunk()?;
        let (spoke, rest) = rest.split_first_chunk()?;
        let (listened, rest) = rest.split_first_chunk()?;
        let (changes, mut rest) = rest.split_first()?;
        let mut history = Vec::with_capacity(usize::from(*changes));
        for _ in 0..*changes {
            let (at, behind) = rest.split_first_chunk()?;
            let (state, behind) = behind.split_first()?;
            history.push(Change { at: u32::from_le_bytes(*at), state: *STATES.get(usize::from(*state))? });
            rest = behind;
        }
        let (spoke, listened) = (i64::from_le_bytes(*spoke), u64::from_le_bytes(*listened));
        Some((u64::from_le_bytes(*key), Stored { spoke, listened, history }, rest))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    #[test]
    fn history_answers_how_it_stood_then() {
        let seen = Seen::default();
        for (seconds, state) in
            [(10, State::Unknown), (20, State::Compliant), (25, State::Compliant), (30, State::Violating)]
        {
            seen.stands(state, at(seconds));
        }
        let then = |seconds| seen.state_at(Some(at(seconds))).map(|change| (change.state, change.at().seconds()));
        assert_eq!(then(9), None);
        assert_eq!(then(10), Some((State::Unknown, 10)));
        assert_eq!(then(29), Some((State::Compliant, 20)));
        assert_eq!(seen.state_at(None).unwrap().state, State::Violating);
        for seconds in 100..200 {
            seen.stands(STATES[seconds as usize % 2], at(seconds));
        }
        assert_eq!(seen.history().len(), HISTORY_MAX);
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let seen = Seen::from(7);
        seen.speaks(at(5));
        seen.stands(State::Silent, at(6));
        seen.stands(State::Compliant, at(7));
        let mut event = Event::new(b"");
        event.set(Field::EventClass, "container.start");
        event.set(Field::ContainerName, "web");
        seen.note(&event, at(8));
        let mut mark = Vec::new();
        seen.write(42, 9, &mut mark);
        Seen::default().write(43, 9, &mut mark);
        let docker = seen.stale_docker().unwrap();
        assert!(seen.stale_docker().is_none());

        let stored = Stored::read_all(&mark);
        assert_eq!(stored.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [42, 43]);
        let again = Seen::default();
        again.restore(Some(stored[0].1.clone()), 99, Some(&docker));
        assert_eq!((again.last(), again.history()), (seen.last(), seen.history()));
        assert_eq!(again.silent(12), Duration::from_secs(3));
        assert_eq!(again.docker(Docker::running), Some(1));
        for end in 0..mark.len() {
            assert!(Stored::read_all(&mark[..end]).len() < 2, "a torn mark");
        }
    }

    #[test]
    fn a_machine_without_docker_takes_little() {
        let arc = 2 * size_of::<usize>();
        let earlier = size_of::<Rest>() + (HISTORY_MAX - 1) * size_of::<Change>();
        let bytes = arc + size_of::<Seen>() + earlier;
        assert!(bytes <= 150, "{bytes} bytes");
    }
}
