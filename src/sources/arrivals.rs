//! What has arrived when a source is to stop is taken in first.
//!
//! Stands around the reads of sources whose protocol acknowledges nothing: what the kernel holds for them would
//! be lost with the socket, and nobody would know. Invariant: no sender and no number of them holds up the stop.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::journal_failed;
use super::throttle::Throttle;
use crate::intake::{Frames, Intake};
use crate::part::SetupError;

/// How long more is waited for once the source is to stop.
const WAIT: Duration = Duration::from_millis(50);

/// How long senders that go on are read then, all of a source together.
const READ_MAX: Duration = Duration::from_secs(1);

/// So much longer what was read waits for room in the journal. Then no more is read: a sender that holds something
/// back still has it.
const ROOM_MAX: Duration = Duration::from_millis(500);

static CUT_OFF: Throttle = Throttle::new();

/// The reads of a source.
#[derive(Clone)]
pub(super) struct Arrivals {
    stop: CancellationToken,
    /// The source is to stop: it is read until then at most.
    end: Arc<OnceLock<Instant>>,
}

impl Arrivals {
    pub(super) fn until(stop: CancellationToken) -> Arrivals {
        Arrivals { stop, end: Arc::default() }
    }

    /// Answers what `read` does; none where the source is to stop and nothing more has arrived.
    ///
    /// `read` is dropped where it does not end: it has to be cancel-safe.
    pub(super) async fn next<T>(&self, read: impl Future<Output = T>) -> Option<T> {
        let mut read = std::pin::pin!(read);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            read = &mut read => return Some(read),
        }
        let now = Instant::now();
        let end = *self.end.get_or_init(|| now + READ_MAX);
        if now < end {
            return timeout_at(end.min(now + WAIT), read).await.ok();
        }
        if let Some(senders) = CUT_OFF.speak() {
            tracing::warn!(senders, "a source was stopped while more came: without acknowledgement, that may be lost");
        }
        None
    }

    /// Appends what was read. What the journal has no room for when the source is to stop is dropped and counted; who
    /// stops the source declares it.
    pub(super) async fn append(&self, intake: &Intake, frames: &mut Frames) -> Result<(), SetupError> {
        let given_up = async {
            self.stop.cancelled().await;
            let end = *self.end.get_or_init(|| Instant::now() + READ_MAX);
            sleep_until(end + ROOM_MAX).await;
        };
        intake.append_until(frames, given_up).await.map_err(journal_failed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn what_has_arrived_before_a_stop_is_read() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let (stop, mut buffer) = (CancellationToken::new(), [0; 2]);
        near.write_all(b"abc").await.unwrap();
        stop.cancel();
        let arrivals = Arrivals::until(stop);
        assert_eq!(arrivals.next(far.read(&mut buffer)).await.unwrap().unwrap(), 2);
        assert_eq!(arrivals.next(far.read(&mut buffer)).await.unwrap().unwrap(), 1);
        assert!(arrivals.next(far.read(&mut buffer)).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_goes_on_does_not_hold_up_the_stop() {
        let (stop, began) = (CancellationToken::new(), Instant::now());
        stop.cancel();
        let arrivals = Arrivals::until(stop);
        while arrivals.next(tokio::time::sleep(WAIT / 2)).await.is_some() {}
        assert_eq!(began.elapsed(), READ_MAX);
    }
}
