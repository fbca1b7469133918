//! Tells by the clock what findings have to say: that they go on, that their cause is gone, that somebody is silent
//! or unknown. And says when the clock of the machine was set.
//!
//! Invariant: time in which the gateway did not listen is nobody's silence: what counts is the time between two looks
//! of a monotonic clock, and it is stored beside who has spoken.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::intake::{AppendError, Intake};

/// How often the book of open findings is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often it is stored who has spoken.
const STORE_INTERVAL: Duration = Duration::from_secs(60);
/// A clock that was set by more than this is told of.
const STEP_MIN: Duration = Duration::from_secs(1);

/// Until `stop`.
pub(super) async fn tell(own: Intake, stop: CancellationToken) {
    let mut clocks = Clocks::now();
    let mut stored = Instant::now();
    loop {
        let is_over = stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none();
        let before = std::mem::replace(&mut clocks, Clocks::now());
        own.machines().register().listened_for(clocks.since(&before));
        if let Some(text) = clocks.step_since(&before) {
            log(own.report("clock.step", 6, &text).await);
        }
        if is_over || stored.elapsed() >= STORE_INTERVAL {
            stored = Instant::now();
            log(own.store_register().await);
        }
        if is_over {
            return;
        }
        log(own.tell_due().await);
    }
}

fn log<T>(told: Result<T, AppendError>) {
    if let Err(error) = told {
        tracing::error!("what a finding has to say cannot be stored: {error}");
    }
}

/// The time by both clocks.
struct Clocks {
    monotonic: Instant,
    wall: SystemTime,
}

impl Clocks {
    fn now() -> Clocks {
        Clocks { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn since(&self, before: &Clocks) -> Duration {
        self.monotonic.duration_since(before.monotonic)
    }

    /// By how much the wall clock was set in between, in words.
    fn step_since(&self, before: &Clocks) -> Option<String> {
        let expected = before.wall.checked_add(self.since(before))?;
        let (step, way) = match self.wall.duration_since(expected) {
            Ok(step) => (step, "forward"),
            Err(back) => (back.duration(), "back"),
        };
        let seconds = step.as_secs_f64();
        (step > STEP_MIN).then(|| format!("the clock of this machine was set {way} by {seconds:.1} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_told_from_one_that_runs() {
        let before = Clocks::now();
        let after = |monotonic: u64, wall: i64| {
            let seconds = Duration::from_secs(wall.unsigned_abs());
            let wall = if wall < 0 { before.wall - seconds } else { before.wall + seconds };
            Clocks { monotonic: before.monotonic + Duration::from_secs(monotonic), wall }
        };
        let step = |monotonic, wall| after(monotonic, wall).step_since(&before);
        assert_eq!(step(5, 5), None);
        assert_eq!(step(5, 6), None, "no more than an adjustment");
        assert_eq!(step(5, 3605).as_deref(), Some("the clock of this machine was set forward by 3600.0 s"));
        assert_eq!(step(5, -86_395).as_deref(), Some("the clock of this machine was set back by 86400.0 s"));
        assert_eq!(after(3600, 3600).since(&before), Duration::from_secs(3600));
    }
}
