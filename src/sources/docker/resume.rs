//! What was seen of an engine's events: from where to ask again, which answers are repeats, and
//! whether something is missing between.
//!
//! Invariant: an event is called a repeat only while the engine sends what it remembers, and only
//! when an equal one was seen before.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::glance::{Glance, SECOND};

/// The engine keeps that many events in memory for `since`.
pub(super) const ENGINE_MEMORY: usize = 256;

/// Repeats can only be among the last events; some more, for events that overtook each other.
const SEEN_MAX: usize = 2 * ENGINE_MEMORY;

/// What tells one event from another: its time, and a hash over time, type, action and actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    /// Nanoseconds since 1970; 0 when the event does not tell.
    pub(super) time: i64,
    hash: [u8; 8],
}

/// Where we stand in the events of one engine.
#[derive(Debug, Default)]
pub(super) struct Resume {
    last: Option<Facts>,
    /// The events of the last second before `last`, oldest first, and at most [`SEEN_MAX`].
    seen: VecDeque<Facts>,
    replay: Option<Replay>,
    gap: Option<&'static str>,
}

/// The engine is sending what it remembers.
#[derive(Debug)]
struct Replay {
    /// Events after this moment are not memory but news.
    until: i64,
    /// The event that must be among them if nothing is missing.
    awaited: Facts,
    found: bool,
    returned: usize,
}

impl Facts {
    pub(super) fn of(event: &[u8], glance: Option<&Glance<'_>>) -> Facts {
        let Some(glance) = glance else { return Facts { time: 0, hash: hash(&[event]) } };
        let (time, kind, action, id) = (glance.time(), &glance.kind, glance.action(), glance.id());
        Facts { time, hash: hash(&[&time.to_le_bytes(), kind.as_bytes(), action.as_bytes(), id.as_bytes()]) }
    }
}

/// Stored with positions, so it must not change from one release to the next.
fn hash(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut hash = [0; 8];
    hash.copy_from_slice(&hasher.finalize()[..8]);
    hash
}

impl Resume {
    /// From the bytes of [`Resume::position`].
    pub(super) fn from_position(position: Option<&[u8]>) -> Self {
        let (words, _) = position.unwrap_or_default().as_chunks::<8>();
        let mut facts = words.chunks_exact(2).map(|pair| Facts { time: i64::from_le_bytes(pair[0]), hash: pair[1] });
        Resume { last: facts.next(), seen: facts.take(SEEN_MAX).collect(), ..Resume::default() }
    }

    /// What is to be stored: the last event, then those that could be repeated. At most 8 KiB.
    pub(super) fn position(&self) -> Vec<u8> {
        let facts = self.last.iter().chain(&self.seen);
        facts.flat_map(|facts| [facts.time.to_le_bytes(), facts.hash]).flatten().collect()
    }

    /// The moment to ask for: a second before the last event, since `since` includes its moment
    /// and events can overtake each other. At first, all the engine remembers.
    pub(super) fn since(&self) -> String {
        moment(self.from())
    }

    /// The same in nanoseconds since 1970.
    pub(super) fn from(&self) -> i64 {
        self.last.map_or(0, |last| last.time.saturating_sub(SECOND)).max(0)
    }

    /// Whether no event was ever seen.
    pub(super) fn is_at_start(&self) -> bool {
        self.last.is_none()
    }

    /// The engine begins to answer; `asked_at` is its clock in seconds, if it told.
    pub(super) fn connected(&mut self, asked_at: Option<i64>) {
        let until = second(asked_at).saturating_add(1).saturating_mul(SECOND);
        self.replay = self.last.map(|awaited| Replay { until, awaited, found: false, returned: 0 });
    }

    /// Whether the engine may still be sending what it remembers.
    pub(super) fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// Whether this event was not seen before; notes it.
    pub(super) fn is_new(&mut self, facts: Facts) -> bool {
        if self.replay.as_ref().is_some_and(|replay| facts.time > replay.until) {
            self.end_replay();
        }
        if let Some(replay) = &mut self.replay {
            replay.returned += 1;
            replay.found |= facts == replay.awaited;
            if self.has_seen(facts) {
                return false;
            }
        }
        if self.last.is_none_or(|last| facts.time >= last.time) {
            self.last = Some(facts);
        }
        self.note(facts);
        true
    }

    /// Whether it was taken in lately.
    pub(super) fn has_seen(&self, facts: Facts) -> bool {
        self.seen.contains(&facts)
    }

    /// An event that was taken in; where the stream stands is another matter.
    pub(super) fn note(&mut self, facts: Facts) {
        self.last.get_or_insert(facts);
        self.seen.push_back(facts);
        let oldest = self.last.map_or(0, |last| last.time.saturating_sub(SECOND));
        while self.seen.len() > SEEN_MAX || self.seen.front().is_some_and(|first| first.time < oldest) {
            self.seen.pop_front();
        }
    }

    /// The engine has sent all it remembered.
    pub(super) fn end_replay(&mut self) {
        let Some(replay) = self.replay.take() else { return };
        if !replay.found {
            self.gap = Some("the engine no longer knows the last event seen: it was restarted, or had over 256 since");
        } else if replay.returned >= ENGINE_MEMORY {
            self.gap = Some("the engine's memory of 256 events was full: older ones may be missing");
        }
    }

    /// Why events may be missing; once each time that is found.
    pub(super) fn take_gap(&mut self) -> Option<&'static str> {
        self.gap.take()
    }
}

/// A moment in nanoseconds as the API takes it.
pub(super) fn moment(nanos: i64) -> String {
    format!("{}.{:09}", nanos / SECOND, nanos % SECOND)
}

/// The engine's clock in seconds, or ours where it does not tell.
pub(super) fn second(told: Option<i64>) -> i64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    told.unwrap_or_else(|| i64::try_from(now()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(event: &[u8]) -> Facts {
        Facts::of(event, Glance::of(event).as_ref())
    }

    fn event(time: i64) -> Facts {
        let json = format!(r#"{{"Type":"container","Action":"start","Actor":{{"ID":"c1"}},"timeNano":{time}}}"#);
        facts(json.as_bytes())
    }

    /// Has `seen`, reconnects at second 100, is sent `replayed`: what is new, and is there a gap?
    fn check(seen: &[i64], replayed: &[i64], expected_new: &[i64], expected_gap: bool) {
        let mut before = Resume::default();
        seen.iter().for_each(|time| assert!(before.is_new(event(*time))));
        let mut resume = Resume::from_position(Some(&before.position()));
        assert_eq!(resume.since(), before.since());
        resume.connected(Some(100));
        let new: Vec<i64> = replayed.iter().copied().filter(|time| resume.is_new(event(*time))).collect();
        resume.end_replay();
        assert_eq!(new, expected_new);
        assert_eq!(resume.take_gap().is_some(), expected_gap, "{seen:?} {replayed:?}");
    }

    #[test]
    fn repeats_are_dropped_and_gaps_are_found() {
        const S: i64 = SECOND;
        check(&[5 * S, 5 * S + 1], &[5 * S, 5 * S + 1, 6 * S], &[6 * S], false);
        check(&[5 * S], &[5 * S], &[], false);
        // The engine was restarted.
        check(&[5 * S], &[], &[], true);
        check(&[5 * S], &[7 * S], &[7 * S], true);
        // Its memory was overrun: the last seen event is gone, or just about to go.
        let overrun: Vec<i64> = (0..256).map(|number| 6 * S + number).collect();
        check(&[5 * S], &overrun, &overrun, true);
        let full: Vec<i64> = (0..256).map(|number| 5 * S + number).collect();
        check(&[5 * S], &full, &full[1..], true);
        check(&[5 * S], &full[..255], &full[1..255], false);
        // The first connection of all misses nothing.
        check(&[], &full, &full, false);
    }

    #[test]
    fn news_is_never_a_repeat_and_ends_the_replay() {
        let mut resume = Resume::default();
        assert!(resume.is_new(event(5 * SECOND)));
        assert!(resume.is_new(event(5 * SECOND)), "equal, but not from memory");
        resume.connected(Some(6));
        assert!(!resume.is_new(event(5 * SECOND)));
        assert!(resume.is_new(event(8 * SECOND)));
        assert!(!resume.is_replaying());
        assert_eq!(resume.take_gap(), None);
    }

    /// The stream may have lagged behind: whether something is missing in it, only it can say.
    #[test]
    fn what_was_taken_in_otherwise_is_a_repeat_and_no_position() {
        let mut resume = Resume::default();
        assert!(resume.is_new(event(5 * SECOND)));
        resume.note(event(9 * SECOND));
        assert_eq!(resume.since(), "4.000000000");
        let mut resume = Resume::from_position(Some(&resume.position()));
        resume.connected(Some(20));
        assert!(!resume.is_new(event(9 * SECOND)));
        resume.end_replay();
        assert!(resume.take_gap().is_some(), "5 s was not among what came");
    }

    #[test]
    fn the_moment_to_ask_for_and_odd_events() {
        let mut resume = Resume::default();
        assert_eq!(resume.since(), "0.000000000");
        assert!(resume.is_new(event(1_795_251_800_158_734_145)));
        assert_eq!(resume.since(), "1795251799.158734145");
        assert!(resume.is_new(facts(b"not JSON")));
        assert!(resume.is_new(facts(&b"[".repeat(100_000))));
        assert_eq!(resume.since(), "1795251799.158734145");
        let old = facts(br#"{"status":"create","id":"dfdf82bd3881","from":"ubuntu:latest","time":1374067924}"#);
        assert_eq!(old.time, 1_374_067_924 * SECOND);
        assert_ne!(old, facts(br#"{"status":"start","id":"dfdf82bd3881","time":1374067924}"#));
    }

    #[test]
    fn the_position_stays_small() {
        let mut resume = Resume::default();
        (0..10_000).for_each(|number| assert!(resume.is_new(event(5 * SECOND + number))));
        assert_eq!(resume.position().len(), (SEEN_MAX + 1) * 16);
        assert!(resume.is_new(event(60 * SECOND)));
        assert_eq!(resume.position().len(), 2 * 16);
    }
}
