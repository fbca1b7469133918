//! The resend window: which requests a broken connection may have taken with it.
//!
//! A request is safe when the peer's kernel has acknowledged it and it is older than the window's age,
//! or when more bytes came after it than the kernel's send buffer, which is as large as the window, can
//! hold. What the receiver loses inside itself cannot be known.
//!
//! Only lengths are kept: the journal has the bytes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How often the kernel is asked what is unacknowledged, at most: the answer costs a file of /proc.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Window {
    bytes_max: usize,
    age_max: Duration,
    /// When each request was handed over, and its bytes; oldest first.
    requests: VecDeque<(Instant, usize)>,
    bytes: usize,
    asked: Option<Instant>,
}

impl Window {
    pub(super) fn new(bytes_max: usize, age_max: Duration) -> Window {
        Window { bytes_max, age_max, requests: VecDeque::new(), bytes: 0, asked: None }
    }

    /// A request was handed to the kernel.
    pub(super) fn add(&mut self, bytes: usize) {
        self.requests.push_back((Instant::now(), bytes));
        self.bytes += bytes;
    }

    /// Requests that may be lost.
    pub(super) fn count(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many of the latest requests may still be lost. `unacknowledged` asks the kernel for the
    /// bytes the peer's has not acknowledged; `None`: it does not say.
    pub(super) fn in_doubt(&mut self, unacknowledged: impl FnOnce() -> Option<usize>) -> usize {
        self.settle(self.bytes_max, Duration::ZERO);
        let now = Instant::now();
        let old = self.requests.front().is_some_and(|(since, _)| now - *since >= self.age_max);
        if old && self.asked.is_none_or(|asked| now - asked >= ASK_INTERVAL) {
            self.asked = Some(now);
            if let Some(bytes) = unacknowledged() {
                self.settle(bytes, self.age_max);
            }
        }
        self.requests.len()
    }

    /// Forgets requests of that age which have at least `after` bytes after them.
    fn settle(&mut self, after: usize, age: Duration) {
        let now = Instant::now();
        while let Some((since, bytes)) = self.requests.front()
            && self.bytes - bytes >= after
            && now - *since >= age
        {
            self.bytes -= bytes;
            self.requests.pop_front();
        }
    }

    /// Forgets all: they arrived, or are lost and will be sent again.
    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn holds_what_is_young_unacknowledged_or_within_the_last_bytes() {
        let mut window = Window::new(100, Duration::from_secs(5));
        window.add(60);
        window.add(60);
        window.add(30);
        // The last two hold 90 bytes: the first may still sit in the kernel.
        assert_eq!(window.in_doubt(|| unreachable!()), 3);
        window.add(10);
        assert_eq!(window.in_doubt(|| unreachable!()), 3);
        tokio::time::advance(Duration::from_secs(4)).await;
        window.add(1);
        assert_eq!(window.in_doubt(|| unreachable!()), 4);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(window.in_doubt(|| None), 4);
        assert_eq!(window.in_doubt(|| unreachable!("asked once a second")), 4);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(window.in_doubt(|| Some(12)), 3, "30 and 10 bytes old, 12 unacknowledged");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(window.in_doubt(|| Some(0)), 1);
        window.clear();
        assert_eq!(window.in_doubt(|| unreachable!()), 0);
    }
}
