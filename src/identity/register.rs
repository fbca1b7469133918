//! Register: what was seen of all machines over all runs of the gateway, and of strangers that no inventory names.
//!
//! Silence is measured by a clock that runs only while the gateway listens, so time in which it was stopped, and steps
//! of the wall clock, are nobody's silence.
//!
//! Invariant: bounded. A flood of strangers drives out none that was there before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wharfinger_formats::{Field, Time};

use super::seen::{Seen, Stored};
use super::{Identity, hash};
use crate::facts::Facts;

/// So many strangers are told apart.
pub const STRANGERS_MAX: usize = 1024;
/// One that said nothing for so long makes room for another.
const STRANGER_LEAVES_AFTER: Duration = Duration::from_secs(24 * 3600);
/// What a stranger is called by is cut at so many bytes.
const NAME_BYTES_MAX: usize = 256;
/// The register is marks of the journal under this name and a number.
pub const MARKS: &str = "wharfinger/seen/";
/// What was seen of Docker on a machine is a mark of its own under this name.
pub const DOCKER_MARKS: &str = "wharfinger/docker/";
/// So many marks hold the register, so that a change of one machine writes a small part.
const MARKS_MAX: u64 = 64;

/// One who speaks and is in no inventory.
#[derive(Debug, Clone)]
pub struct Stranger {
    /// The address it speaks from, or the name that a relay has for it.
    pub name: Box<str>,
    /// What it says its host is called.
    pub claimed_host: Box<str>,
    pub is_relayed: bool,
    pub first: Time,
    pub last: Time,
    /// What else was seen of it.
    pub seen: Arc<Seen>,
}

/// See above. One for a gateway, shared by its snapshots.
#[derive(Debug, Default)]
pub struct Register {
    /// Milliseconds for which the gateway has listened, over all its runs.
    listened: AtomicU64,
    strangers: Mutex<HashMap<Box<str>, Stranger>>,
    /// When somebody spoke last for whom there was no room; zero: never.
    others: AtomicI64,
    stored: Mutex<StoredMarks>,
}

/// The marks as they were stored last.
#[derive(Debug, Default)]
struct StoredMarks {
    /// A hash of each.
    hashes: BTreeMap<String, u64>,
    listened: u64,
    /// Bytes of what was seen of Docker, by machine, and their sum.
    docker: HashMap<u64, usize>,
    docker_bytes: usize,
}

fn docker_mark(key: u64) -> String {
    format!("{DOCKER_MARKS}{key:016x}")
}

impl StoredMarks {
    /// Forgets the machines that are not among these; answers which they were.
    fn without(&mut self, known: &HashSet<u64>) -> impl Iterator<Item = u64> {
        let gone: Vec<u64> = self.docker.keys().filter(|key| !known.contains(key)).copied().collect();
        for key in &gone {
            self.docker_bytes -= self.docker.remove(key).unwrap_or(0);
        }
        gone.into_iter()
    }

    /// Whether there is room for so many bytes of that machine, in place of those that it has. They count then.
    fn makes_room(&mut self, key: u64, bytes: usize, bytes_max: usize) -> bool {
        let others = self.docker_bytes - self.docker.get(&key).copied().unwrap_or(0);
        if others + bytes > bytes_max {
            return false;
        }
        self.docker.insert(key, bytes);
        self.docker_bytes = others + bytes;
        true
    }
}

impl Register {
    /// The gateway has listened for so long since this was called last.
    pub fn listened_for(&self, time: Duration) {
        self.listened.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    fn listened(&self) -> u64 {
        self.listened.load(Relaxed) / 1000
    }

    /// Of a machine that is known from now on.
    pub(super) fn first_seen(&self) -> Seen {
        Seen::from(self.listened())
    }

    /// For how long that machine has said nothing while the gateway listened.
    pub fn silent(&self, seen: &Seen) -> Duration {
        seen.silent(self.listened())
    }

    /// One says something whom no inventory names. Answers where it is noted what is seen of it; nowhere, if there is
    /// no room for another.
    pub fn stranger(&self, name: &str, claimed_host: Option<&str>, is_relayed: bool, now: Time) -> Option<Arc<Seen>> {
        let name = cut(name);
        let mut strangers = self.strangers();
        let has_room = strangers.len() < STRANGERS_MAX;
        match strangers.get_mut(name) {
            Some(known) => {
                known.last = now;
                if let Some(host) = claimed_host.filter(|host| **host != *known.claimed_host) {
                    known.claimed_host = cut(host).into();
                }
                Some(Arc::clone(&known.seen))
            }
            None if has_room => {
                let (name, claimed_host): (Box<str>, _) = (name.into(), cut(claimed_host.unwrap_or_default()).into());
                let seen = Arc::<Seen>::default();
                let stranger = Stranger {
                    name: name.clone(),
                    claimed_host,
                    is_relayed,
                    first: now,
                    last: now,
                    seen: Arc::clone(&seen),
                };
                strangers.insert(name, stranger);
                Some(seen)
            }
            None => {
                self.others.store(now.0, Relaxed);
                None
            }
        }
    }

    /// Everybody who spoke within a day and is not `known` by now, in the order of their names.
    pub fn strangers_now(&self, now: Time, known: impl Fn(&Stranger) -> bool) -> Vec<Stranger> {
        let mut strangers = self.strangers();
        strangers.retain(|_, stranger| !has_left(stranger.last, now) && !known(stranger));
        let mut all: Vec<Stranger> = strangers.values().cloned().collect();
        drop(strangers);
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// When somebody spoke last for whom there was no room among the strangers.
    pub fn others(&self) -> Option<Time> {
        Some(Time(self.others.load(Relaxed))).filter(|time| time.0 != 0)
    }

    fn strangers(&self) -> MutexGuard<'_, HashMap<Box<str>, Stranger>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The marks that changed since they were stored, and their values; an empty one erases. They count as stored. The
    /// clock comes last: who stores them in parts makes nobody more silent than he is. What was seen of Docker is kept
    /// as far as it fits into so many bytes.
    pub fn stale<'m>(
        &self,
        machines: impl Iterator<Item = &'m Identity>,
        docker_bytes_max: usize,
    ) -> Vec<(String, Vec<u8>)> {
        let listened = self.listened();
        let mut marks: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut stale = Vec::new();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = HashSet::new();
        for machine in machines {
            let Some(key) = machine.key().map(|key| hash(key.as_bytes())) else { continue };
            known.insert(key);
            machine.seen.write(key, listened, marks.entry(format!("{MARKS}{}", key % MARKS_MAX)).or_default());
            if let Some(docker) = machine.seen.stale_docker()
                && stored.makes_room(key, docker.len(), docker_bytes_max)
            {
                stale.push((docker_mark(key), [&key.to_le_bytes(), &*docker].concat()));
            }
        }
        let hashes: BTreeMap<String, u64> = marks.iter().map(|(name, value)| (name.clone(), hash(value))).collect();
        let gone =
            stored.hashes.keys().filter(|name| !marks.contains_key(*name)).map(|name| (name.clone(), Vec::new()));
        stale.extend(gone);
        stale.extend(stored.without(&known).map(|key| (docker_mark(key), Vec::new())));
        stale.extend(marks.into_iter().filter(|(name, _)| stored.hashes.get(name) != hashes.get(name)));
        if !stale.is_empty() || stored.listened != listened {
            stale.push((format!("{MARKS}clock"), listened.to_le_bytes().to_vec()));
        }
        (stored.hashes, stored.listened) = (hashes, listened);
        stale
    }

    /// Puts back what was stored, and goes on listening where it stopped.
    pub fn restore<'m>(
        &self,
        machines: impl Iterator<Item = &'m Identity>,
        marks: impl Iterator<Item = Vec<u8>>,
        docker: impl Iterator<Item = Vec<u8>>,
    ) {
        let mut known = HashMap::new();
        for mark in marks {
            // The clock is the only mark of eight bytes.
            match <[u8; 8]>::try_from(&*mark) {
                Ok(clock) => self.listened.store(u64::from_le_bytes(clock).saturating_mul(1000), Relaxed),
                Err(_) => known.extend(Stored::read_all(&mark)),
            }
        }
        let split =
            |mark: Vec<u8>| mark.split_first_chunk().map(|(key, rest)| (u64::from_le_bytes(*key), rest.to_vec()));
        let mut docker: HashMap<u64, Vec<u8>> = docker.filter_map(split).collect();
        let listened = self.listened();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in &docker {
            stored.makes_room(*key, value.len(), usize::MAX);
        }
        drop(stored);
        for machine in machines {
            let Some(key) = machine.key().map(|key| hash(key.as_bytes())) else { continue };
            machine.seen.restore(known.remove(&key), listened, docker.remove(&key).as_deref());
        }
    }
}

/// Whether a stranger who spoke last then is forgotten.
pub fn has_left(last: Time, now: Time) -> bool {
    u128::from(now.0.saturating_sub(last.0).max(0).unsigned_abs()) > STRANGER_LEAVES_AFTER.as_nanos()
}

impl Stranger {
    /// As facts of an event. What it calls itself is a claim, and stays one.
    pub fn facts(&self) -> Facts {
        let named = if self.is_relayed { Field::HostName } else { Field::Peer };
        let is_address = !self.is_relayed && self.name.parse::<IpAddr>().is_ok();
        let facts = [
            (named, &*self.name),
            (Field::SrcIp, if is_address { &*self.name } else { "" }),
            (Field::HostClaimedName, &self.claimed_host),
        ];
        facts.into_iter().collect()
    }
}

fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::identity::{Entry, Local, Snapshot};

    fn machines(names: &[&str]) -> Snapshot {
        let entry = |name: &&str| Entry { name: (*name).to_owned(), ..Entry::default() };
        Snapshot::new(&Local::default(), &names.iter().map(entry).collect::<Vec<_>>())
    }

    fn silent(snapshot: &Snapshot) -> Vec<u64> {
        let machines = snapshot.machines().iter().filter(|machine| machine.key().is_some());
        machines.map(|machine| snapshot.register().silent(&machine.seen).as_secs()).collect()
    }

    fn listen(snapshot: &Snapshot, seconds: u64) {
        snapshot.register().listened_for(Duration::from_secs(seconds));
    }

    #[test]
    fn silence_is_counted_while_somebody_listens() {
        let snapshot = machines(&["a", "b"]);
        listen(&snapshot, 100);
        assert_eq!(silent(&snapshot), [100, 100]);
        snapshot.machines()[0].seen.speaks(Time(7));
        assert_eq!(silent(&snapshot), [0, 100]);
        listen(&snapshot, 50);
        assert_eq!(silent(&snapshot), [50, 150]);

        // What is known anew is not accused for the time before; what stays keeps what was seen.
        let entries: Vec<Entry> = ["b", "c"].map(|name| Entry { name: name.to_owned(), ..Entry::default() }).into();
        let renewed = snapshot.renewed(&Local::default(), &entries, &|_| None);
        listen(&renewed, 10);
        assert_eq!(silent(&renewed), [160, 10]);
    }

    #[test]
    fn a_restart_goes_on_where_the_gateway_stopped_to_listen() {
        let before = machines(&["a", "b"]);
        listen(&before, 100);
        before.machines()[0].seen.speaks(Time(7));
        silent(&before);
        listen(&before, 20);
        let stale = |bytes| before.register().stale(before.machines().iter(), bytes);
        let marks = stale(0);
        assert!(stale(0).is_empty());
        assert!(marks.iter().all(|(name, _)| name.starts_with(MARKS)));
        assert!(
            marks.last().is_some_and(|(name, _)| name.ends_with("clock")),
            "a part is older than the clock, never newer"
        );

        let after = machines(&["a", "b", "c"]);
        let values = marks.into_iter().map(|(_, value)| value).chain([b"none of ours".to_vec()]);
        after.register().restore(after.machines().iter(), values, std::iter::empty());
        assert_eq!(silent(&after), [20, 120, 0]);
        assert_eq!(after.machines()[0].seen.last(), Some(Time(7)));
        assert_eq!(after.machines()[1].seen.last(), None);
    }

    #[test]
    fn what_is_stored_of_docker_is_bounded() {
        let snapshot = machines(&["a", "b", "c"]);
        let mut event = wharfinger_formats::Event::new(b"");
        event.set(Field::EventClass, "container.start");
        event.set(Field::ContainerName, "web");
        let note = || snapshot.machines().iter().for_each(|machine| machine.seen.note(&event, Time(1)));
        let stored = |bytes| {
            let marks = snapshot.register().stale(snapshot.machines().iter(), bytes);
            marks.into_iter().filter(|(name, _)| name.starts_with(DOCKER_MARKS)).count()
        };
        note();
        let bytes = snapshot.machines()[0].seen.docker(|docker| serde_json::to_vec(docker).unwrap().len()).unwrap();
        assert_eq!(stored(2 * bytes), 2);
        note();
        assert_eq!(stored(10 * bytes), 3, "in place of what was stored of them");
        assert_eq!(stored(10 * bytes), 0, "nothing changed");
        let left = snapshot.register().stale(snapshot.machines().iter().take(1), 10 * bytes);
        let erased = left.iter().filter(|(name, value)| name.starts_with(DOCKER_MARKS) && value.is_empty()).count();
        assert_eq!(erased, 2, "two left the inventory");
    }

    #[test]
    fn a_flood_of_strangers_drives_nobody_out() {
        let register = Register::default();
        for number in 0..STRANGERS_MAX {
            register.stranger(&number.to_string(), None, false, Time(1));
        }
        register.stranger("7", Some("web"), false, Time(2));
        assert_eq!(register.others(), None);
        register.stranger("late", None, false, Time(3));
        assert_eq!(register.others(), Some(Time(3)));
        let now = register.strangers_now(Time(4), |stranger| &*stranger.name == "9");
        assert_eq!(now.len(), STRANGERS_MAX - 1);
        let known = now.iter().find(|stranger| &*stranger.name == "7").unwrap();
        assert_eq!((&*known.claimed_host, known.first, known.last), ("web", Time(1), Time(2)));
        register.stranger("late", None, false, Time(5));
        assert!(register.strangers_now(Time(4), |_| false).iter().any(|stranger| &*stranger.name == "late"));
        let tomorrow = Time(25 * 3_600_000_000_000);
        assert!(register.strangers_now(tomorrow, |_| false).is_empty());
    }
}
