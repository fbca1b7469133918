//! The end of a sink's work: what `stop` means for something that waits.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::Time;

/// From `stop` on there is a deadline; until then there is none.
#[derive(Debug)]
pub(super) struct Drain {
    stop: CancellationToken,
    max: Duration,
    until: Option<Instant>,
}

impl Drain {
    pub(super) fn new(stop: CancellationToken, max: Duration) -> Drain {
        Drain { stop, max, until: None }
    }

    /// Waits for `stop`; the deadline counts from the moment it is noticed.
    pub(super) async fn stopping(&mut self) {
        self.stop.cancelled().await;
        self.until.get_or_insert_with(|| Instant::now() + self.max);
    }

    pub(super) fn is_stopping(&mut self) -> bool {
        if self.until.is_none() && self.stop.is_cancelled() {
            self.until = Some(Instant::now() + self.max);
        }
        self.until.is_some()
    }

    pub(super) fn is_over(&mut self) -> bool {
        self.is_stopping() && self.until.is_some_and(|until| until <= Instant::now())
    }

    async fn over(&mut self) {
        self.stopping().await;
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// The result of `work`, unless the deadline comes first.
    pub(super) async fn unless_over<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.over() => None,
        }
    }

    /// Waits because the peer does not take events. A `stop` in the meantime ends the drain: a peer
    /// that is down when we leave gets the rest after the next start.
    pub(super) async fn back_off(&mut self, wait: Duration) {
        if self.is_stopping() {
            self.unless_over(tokio::time::sleep(wait)).await;
            return;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = self.stop.cancelled() => self.until = Some(Instant::now()),
        }
    }

    /// Waits because the peer asked for a pause; `stop` ends the pause.
    pub(super) async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = self.stopping() => {}
        }
    }
}

/// Until that moment; for ever without one.
pub(super) async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Between half of `wait` and all of it, so that many sinks do not come back in step.
pub(super) fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// The wall clock.
pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The wall clock as text.
pub(super) fn now_text() -> String {
    let mut time = Vec::with_capacity(32);
    now().write_rfc3339(6, &mut time);
    String::from_utf8_lossy(&time).into_owned()
}
