//! Indexer acknowledgement: what collectors have accepted and not yet indexed.
//!
//! A collector answers an accepted request with a number, for the channel that the request named, and is
//! asked about the number until it says `true`, which it says once. The number means nothing to another
//! node behind a load balancer, and nothing to one that was started again, so what is not acknowledged in
//! time is sent again through a new channel; at once, where numbers begin again.
//!
//! Invariant: an acknowledgement counts only in the channel in which its number was given.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::sinks::Lost;

/// So many requests may wait for their acknowledgement; then nothing is sent until some have it. A
/// question about all of them, and its answer, stay below 64 KiB.
pub(super) const PENDING_MAX: usize = 2_000;

/// All that is accepted and not indexed, and the channel of each collector.
#[derive(Debug)]
pub(super) struct Acks {
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    channels: Vec<Channel>,
    /// Accepted requests, oldest first; the first is not indexed.
    accepted: VecDeque<Accepted>,
}

#[derive(Debug)]
struct Channel {
    guid: String,
    /// The highest number that was given in it.
    last: Option<u64>,
    /// Numbers began again: who gave the first ones has forgotten them.
    is_forgotten: bool,
}

#[derive(Debug)]
struct Accepted {
    collector: usize,
    number: u64,
    since: Instant,
    indexed: bool,
}

/// What to ask a collector.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) channel: String,
    pub(super) numbers: Vec<u64>,
}

impl Acks {
    /// # Errors
    /// The operating system has no random numbers.
    pub(super) fn new(collectors: usize, timeout: Duration) -> Result<Acks, getrandom::Error> {
        let channel = |_| guid().map(|guid| Channel { guid, last: None, is_forgotten: false });
        let channels = (0..collectors).map(channel).collect::<Result<_, _>>()?;
        Ok(Acks { timeout, state: Mutex::new(State { channels, accepted: VecDeque::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel to name in a request.
    pub(super) fn channel(&self, collector: usize) -> String {
        self.state().channels[collector].guid.clone()
    }

    pub(super) fn is_full(&self) -> bool {
        self.state().accepted.len() >= PENDING_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().accepted.is_empty()
    }

    /// A request was accepted under this number; without one it is as good as indexed.
    pub(super) fn accept(&self, collector: usize, number: Option<u64>) {
        let mut state = self.state();
        if number.is_none() && state.accepted.is_empty() {
            return;
        }
        if let Some(number) = number {
            // One request is sent at a time, so numbers only rise (§6: from 0, for a channel and an indexer).
            let waits = |accepted: &Accepted| accepted.collector == collector && !accepted.indexed;
            let is_owed = state.accepted.iter().any(waits);
            let channel = &mut state.channels[collector];
            channel.is_forgotten |= is_owed && channel.last.is_some_and(|last| number <= last);
            channel.last = Some(number);
        }
        let (number, indexed) = (number.unwrap_or_default(), number.is_none());
        state.accepted.push_back(Accepted { collector, number, since: Instant::now(), indexed });
    }

    /// What a collector is still to be asked.
    pub(super) fn question(&self, collector: usize) -> Option<Question> {
        let state = self.state();
        let waiting = state.accepted.iter().filter(|it| it.collector == collector && !it.indexed);
        let numbers: Vec<u64> = waiting.map(|accepted| accepted.number).collect();
        (!numbers.is_empty()).then(|| Question { channel: state.channels[collector].guid.clone(), numbers })
    }

    /// The collector says that these are indexed.
    pub(super) fn indexed(&self, collector: usize, channel: &str, numbers: &HashSet<u64>) {
        let mut state = self.state();
        // The answer may come after the channel was given up, or be about numbers that were given twice.
        if state.channels[collector].guid != channel || state.channels[collector].is_forgotten {
            return;
        }
        let named = |accepted: &&mut Accepted| accepted.collector == collector && numbers.contains(&accepted.number);
        state.accepted.iter_mut().filter(named).for_each(|accepted| accepted.indexed = true);
        while state.accepted.front().is_some_and(|accepted| accepted.indexed) {
            state.accepted.pop_front();
        }
    }

    /// How many of the latest accepted requests may still be lost.
    ///
    /// # Errors
    /// A collector has not acknowledged in time, or has forgotten what it had: which, and why. All that wait
    /// are given up, and their channels with them.
    pub(super) fn in_doubt(&self) -> Result<usize, (usize, Lost)> {
        let mut state = self.state();
        let waiting = state.accepted.len();
        let oldest = state.accepted.front().filter(|oldest| oldest.since.elapsed() >= self.timeout);
        let (collector, why) = match (oldest, state.channels.iter().position(|channel| channel.is_forgotten)) {
            (Some(oldest), _) => {
                (oldest.collector, format!("does not acknowledge within {} s", self.timeout.as_secs_f64()))
            }
            (None, Some(forgetful)) => (forgetful, "has forgotten what it had accepted".to_owned()),
            (None, None) => return Ok(waiting),
        };
        state.accepted.clear();
        for channel in &mut state.channels {
            // Without random numbers the old channel goes on: late answers are about what is sent again.
            let guid = guid().unwrap_or_else(|_| std::mem::take(&mut channel.guid));
            *channel = Channel { guid, last: None, is_forgotten: false };
        }
        Err((collector, Lost(format!("{why}: {waiting} requests are sent again"))))
    }
}

/// A random GUID (RFC 9562 §5.4), as a channel must have it.
fn guid() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(text, "{dash}{byte:02X}");
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn numbers(numbers: &[u64]) -> HashSet<u64> {
        numbers.iter().copied().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_from_the_first_that_waits_are_in_doubt() {
        let acks = Acks::new(2, Duration::from_secs(10)).unwrap();
        acks.accept(0, None);
        assert_eq!(acks.in_doubt().unwrap(), 0, "no number, nothing to wait for");
        // Each collector counts for itself.
        acks.accept(0, Some(0));
        acks.accept(1, Some(0));
        acks.accept(0, None);
        acks.accept(0, Some(1));
        assert_eq!(acks.question(0).unwrap().numbers, [0, 1]);
        acks.indexed(1, &acks.channel(1), &numbers(&[0]));
        assert_eq!(acks.in_doubt().unwrap(), 4);
        assert!(acks.question(1).is_none());
        acks.indexed(0, "another channel", &numbers(&[0, 1]));
        assert_eq!(acks.in_doubt().unwrap(), 4);
        acks.indexed(0, &acks.channel(0), &numbers(&[0, 7]));
        assert_eq!(acks.in_doubt().unwrap(), 1);

        let before = acks.channel(0);
        tokio::time::advance(Duration::from_secs(10)).await;
        let (collector, lost) = acks.in_doubt().unwrap_err();
        assert!(collector == 0 && lost.0.contains("1 requests"), "{lost}");
        assert_eq!(acks.in_doubt().unwrap(), 0);
        assert_ne!(acks.channel(0), before);
    }

    /// A collector that was started again gives the same numbers: they acknowledge nothing of before.
    #[tokio::test(start_paused = true)]
    async fn numbers_that_begin_again_are_a_loss() {
        let acks = Acks::new(1, Duration::from_secs(10)).unwrap();
        (0..3).for_each(|number| acks.accept(0, Some(number)));
        acks.accept(0, Some(0));
        acks.indexed(0, &acks.channel(0), &numbers(&[0, 1, 2]));
        assert!(acks.in_doubt().unwrap_err().1.0.contains("4 requests"));
        acks.accept(0, Some(0));
        assert_eq!(acks.in_doubt().unwrap(), 1, "in a new channel it is the first");
    }

    #[test]
    fn a_channel_is_a_guid() {
        let guid = guid().unwrap();
        let dashes: Vec<usize> = guid.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((guid.len(), &dashes[..], &guid[14..15]), (36, &[8, 13, 18, 23][..], "4"));
    }
}
