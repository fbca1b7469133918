//! What the engine remembers, compared with what it has sent.
//!
//! An engine gives each reader 100 ms to take an event and then drops it for that one, and tells nobody. One that is
//! short of CPU takes that long itself: with a fiftieth of it, Engine 20.10 lost one of 3,000 events for readers that
//! waited. Its memory has the event. Invariants: one question at a time, on a connection of its own, and nobody waits
//! for the answer; an event is missed only where none equal to it came, and what came is still known.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::client::ClientError;
use super::glance::{Glance, SECOND};
use super::place::Place;
use super::resume::{ENGINE_MEMORY, Facts, moment, second};

/// So often it is asked at most,
const TICK: Duration = Duration::from_secs(1);
/// and at least: after so many ticks.
const TICKS_MAX: u32 = 10;
/// After so many events it is asked at the next tick: soon enough that it still has them.
const EVENTS_MAX: usize = ENGINE_MEMORY / 4;

/// So many events are known that came: more than an answer can be late by.
const CAME_MAX: usize = 8192;
/// So many may still come that were missed: more than an engine holds for a reader that lags behind (1,024, and what
/// the socket holds).
const LATE_MAX: usize = 4096;
/// So much is compared each time: what failed once, or was stamped long before it was remembered, is asked for again.
const SPAN: i64 = 120 * SECOND;

/// The engine's memory, and what came over all connections.
pub(super) struct Memory<'p> {
    place: &'p Place,
    came: VecDeque<Facts>,
    /// Those among them that the stream did not bring. It may have lagged behind.
    late: VecDeque<Facts>,
    /// When the last of those happened.
    late_until: i64,
    /// From then on all came that the engine remembered when it was asked for events first; none before that.
    begin: Option<i64>,
    tick: Interval,
    /// Since it was asked last.
    ticks: u32,
    events: usize,
    asked: Option<Asked<'p>>,
}

type Asked<'p> = Pin<Box<dyn Future<Output = Remembered> + Send + 'p>>;

/// What it remembers.
pub(super) struct Remembered(Result<Bytes, ClientError>);

impl<'p> Memory<'p> {
    pub(super) fn of(place: &'p Place) -> Memory<'p> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Memory {
            place,
            came: VecDeque::new(),
            late: VecDeque::new(),
            late_until: i64::MIN,
            begin: None,
            tick,
            ticks: 0,
            events: 0,
            asked: None,
        }
    }

    /// A stream begins, with all that the engine remembers since then.
    pub(super) fn connected(&mut self, since: i64) {
        self.begin.get_or_insert(since);
    }

    /// The stream brought an event: is it one that was missed, and taken in then?
    pub(super) fn knows(&mut self, facts: Facts) -> bool {
        self.events += 1;
        let at = (facts.time <= self.late_until).then(|| self.late.iter().position(|late| *late == facts)).flatten();
        match at {
            Some(at) => {
                self.late.remove(at);
            }
            None => push(&mut self.came, facts, CAME_MAX),
        }
        at.is_some()
    }

    /// What it remembers, when it is time to ask. Cancel-safe.
    pub(super) async fn next(&mut self) -> Remembered {
        loop {
            if let Some(asked) = &mut self.asked {
                let remembered = asked.await;
                self.asked = None;
                return remembered;
            }
            self.tick.tick().await;
            self.ticks += 1;
            let are_many = self.events >= EVENTS_MAX;
            if let Some(begin) = self.begin.filter(|_| are_many || self.ticks >= TICKS_MAX) {
                // The last of many are too young for this time.
                (self.ticks, self.events) = (if are_many { TICKS_MAX - 2 } else { 0 }, 0);
                let place = self.place;
                self.asked = Some(Box::pin(async move { Remembered(ask(place, begin).await) }));
            }
        }
    }

    /// Of what it remembers the events that never came, oldest first; they count as come.
    ///
    /// # Errors
    /// It could not say.
    pub(super) fn missed<'e>(&mut self, remembered: &'e Remembered) -> Result<Vec<(&'e [u8], Facts)>, &'e ClientError> {
        let events = remembered.0.as_ref()?;
        // What came before is not known any more.
        let known_from = match self.came.front() {
            Some(first) if self.came.len() == CAME_MAX => first.time.saturating_add(SECOND),
            _ => self.begin.unwrap_or_default(),
        };
        let lines = || events.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        // Who remembers more is no Engine: of more it cannot be said whether it came.
        let lines = lines().skip(lines().count().saturating_sub(ENGINE_MEMORY));
        let facts = |line| (line, Facts::of(line, Glance::of(line).as_ref()));
        let mut missed: Vec<(&[u8], Facts)> = lines.map(super::session::event).map(facts).collect();
        missed.retain(|(_, facts)| facts.time >= known_from);
        let all: HashSet<Facts> = missed.iter().map(|(_, facts)| *facts).collect();
        let came: HashSet<&Facts> = self.came.iter().filter(|facts| all.contains(facts)).collect();
        missed.retain(|(_, facts)| !came.contains(facts));
        for (_, facts) in &missed {
            push(&mut self.came, *facts, CAME_MAX);
            push(&mut self.late, *facts, LATE_MAX);
            self.late_until = self.late_until.max(facts.time);
        }
        Ok(missed)
    }
}

/// What it remembers of the last two minutes, but for the last second: that may be on its way.
async fn ask(place: &Place, begin: i64) -> Result<Bytes, ClientError> {
    let mut engine = place.connect().await?;
    let until = second(engine.now).saturating_sub(1).saturating_mul(SECOND);
    let since = until.saturating_sub(SPAN).max(begin);
    match until > since {
        true => engine.remembered(&moment(since), &moment(until)).await,
        // Its clock was set back.
        false => Ok(Bytes::new()),
    }
}

fn push(facts: &mut VecDeque<Facts>, new: Facts, max: usize) {
    facts.push_back(new);
    if facts.len() > max {
        facts.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: i64) -> String {
        format!(r#"{{"Type":"container","Action":"start","Actor":{{"ID":"c1"}},"timeNano":{}}}"#, second * SECOND)
    }

    fn facts(second: i64) -> Facts {
        Facts::of(line(second).as_bytes(), Glance::of(line(second).as_bytes()).as_ref())
    }

    fn missed(memory: &mut Memory<'_>, seconds: &[i64]) -> Vec<i64> {
        let lines: Vec<String> = seconds.iter().map(|second| line(*second)).collect();
        let remembered = Remembered(Ok(lines.join("\n").into()));
        memory
            .missed(&remembered)
            .map(|missed| missed.iter().map(|(_, facts)| facts.time / SECOND).collect())
            .unwrap_or_default()
    }

    #[tokio::test]
    async fn what_never_came_is_missed_once() {
        let place = Place::Socket("/nowhere".into());
        let mut memory = Memory::of(&place);
        memory.connected(5 * SECOND);
        [5, 6, 8].iter().for_each(|second| assert!(!memory.knows(facts(*second))));
        assert_eq!(missed(&mut memory, &[3, 4, 5, 6, 7, 8, 9]), [7, 9], "before the fifth second others looked");
        assert_eq!(missed(&mut memory, &[6, 7, 8, 9]), [0; 0], "it is asked for again and again");
        // The stream was late only: what it comes to now is known, and an equal one behind it is not.
        assert!(memory.knows(facts(9)));
        assert!(!memory.knows(facts(9)));
        // Another connection changes nothing of it.
        memory.connected(9 * SECOND);
        assert_eq!(memory.begin, Some(5 * SECOND));
        assert!(memory.knows(facts(7)));
    }

    #[tokio::test]
    async fn what_is_no_longer_known_is_not_missed() {
        let place = Place::Socket("/nowhere".into());
        let mut memory = Memory::of(&place);
        memory.connected(0);
        (10..10 + CAME_MAX as i64).for_each(|second| assert!(!memory.knows(facts(second))));
        assert_eq!(missed(&mut memory, &[8, 9, 10, 11]), [0; 0]);
        // Who remembers more than an Engine is asked for the last of it only.
        let more: Vec<i64> = (20_000..20_300).collect();
        assert_eq!(missed(&mut memory, &more), more[300 - ENGINE_MEMORY..]);
        assert!(memory.missed(&Remembered(Err(ClientError::Slow))).is_err());
    }
}
