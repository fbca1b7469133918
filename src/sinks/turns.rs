//! Several peers of one sink: whose turn it is, and who is left out for a while because it failed.
//!
//! Invariant: there is always one to try, and one that fails again and again is tried less and less.

use std::time::Duration;

use tokio::time::Instant;

/// How long a peer that failed is left out while there are others; twice as long each time.
const LEFT_OUT: Duration = Duration::from_secs(10);
const LEFT_OUT_MAX: Duration = Duration::from_secs(300);

/// Peers, by their place in the configuration.
#[derive(Debug)]
pub(super) struct Turns {
    /// The sink's name, for the log.
    sink: String,
    /// Until when a peer is left out, and how long that was.
    left_out: Vec<Option<(Instant, Duration)>>,
    /// The peer whose turn it is.
    next: usize,
}

impl Turns {
    /// `count` peers, at least one.
    pub(super) fn new(sink: &str, count: usize) -> Turns {
        Turns { sink: sink.to_owned(), left_out: vec![None; count], next: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.left_out.len()
    }

    /// One after the other: the next that is not left out, or else the one that has been for longest.
    pub(super) fn take_turn(&mut self) -> usize {
        let at = self.from(self.next);
        self.next = (at + 1) % self.count();
        at
    }

    /// The first in the configuration's order that is not left out, or else the one that has been for longest.
    pub(super) fn preferred(&self) -> usize {
        self.from(0)
    }

    fn from(&self, first: usize) -> usize {
        let (count, now) = (self.count(), Instant::now());
        let turns = || (0..count).map(|step| (first + step) % count);
        let stands = turns().find(|at| self.left_out[*at].is_none_or(|(until, _)| until <= now));
        stands.or_else(|| turns().min_by_key(|at| self.left_out[*at])).unwrap_or(0)
    }

    /// It has taken something.
    pub(super) fn stands(&mut self, at: usize, peer: impl FnOnce() -> String) {
        if self.left_out[at].take().is_some() {
            tracing::info!(sink = self.sink, peer = peer(), "a receiver is back");
        }
    }

    /// It has failed. True if there is another one to try at once.
    pub(super) fn leave_out(&mut self, at: usize, peer: impl FnOnce() -> String, reason: &str) -> bool {
        let now = Instant::now();
        if self.count() == 1 {
            return false;
        }
        let wait = self.left_out[at].map_or(LEFT_OUT, |(_, wait)| (wait * 2).min(LEFT_OUT_MAX));
        if self.left_out[at].replace((now + wait, wait)).is_none() {
            tracing::warn!(sink = self.sink, peer = peer(), reason, "a receiver fails and is left out");
        }
        self.left_out.iter().any(|left_out| left_out.is_none_or(|(until, _)| until <= now))
    }

    /// It takes and loses, which is worse than not to take: left out for so long, if there are others.
    pub(super) fn leave_out_for(&mut self, at: usize, wait: Duration) {
        if self.count() > 1 {
            self.left_out[at] = Some((Instant::now() + wait, LEFT_OUT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(count: usize) -> Turns {
        Turns::new("siem", count)
    }

    fn fail(turns: &mut Turns, at: usize) -> bool {
        turns.leave_out(at, || at.to_string(), "it fails")
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_is_left_out_for_longer_and_longer() {
        let mut turns = turns(3);
        assert_eq!([turns.take_turn(), turns.take_turn(), turns.take_turn(), turns.take_turn()], [0, 1, 2, 0]);
        assert!(fail(&mut turns, 1));
        assert_eq!([turns.take_turn(), turns.take_turn(), turns.take_turn()], [2, 0, 2]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!([turns.take_turn(), turns.take_turn()], [0, 1]);
        assert!(fail(&mut turns, 1));
        tokio::time::advance(Duration::from_secs(19)).await;
        assert_eq!([turns.take_turn(), turns.take_turn(), turns.take_turn()], [2, 0, 2], "20 s the second time");
        tokio::time::advance(Duration::from_secs(1)).await;
        turns.stands(1, String::new);
        assert!(fail(&mut turns, 1), "10 s again");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(fail(&mut turns, 2));
        assert!(!fail(&mut turns, 0), "nobody is left to try at once");
        assert_eq!(turns.take_turn(), 1, "but there is always somebody to try: who has been left out for longest");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_preferred_when_it_is_back() {
        let mut turns = turns(2);
        assert_eq!([turns.preferred(), turns.preferred()], [0, 0]);
        assert!(fail(&mut turns, 0));
        assert_eq!(turns.preferred(), 1);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(turns.preferred(), 0);
        let mut alone = super::Turns::new("siem", 1);
        assert!(!fail(&mut alone, 0));
        alone.leave_out_for(0, Duration::from_secs(60));
        assert_eq!((alone.preferred(), alone.left_out[0]), (0, None));
    }
}
