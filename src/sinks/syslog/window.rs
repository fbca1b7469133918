//! The resend window: which requests a broken connection may have taken with it.
//!
//! The kernel holds at most the window's bytes (the connection's send buffer is that large) and gives
//! the connection up when the peer acknowledges nothing for the window's age (TCP_USER_TIMEOUT). So
//! what is older than the age on a living connection, or has a whole window after it, has reached
//! the peer's kernel. What the receiver loses inside itself cannot be known.
//!
//! Only lengths are kept: the journal has the bytes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Window {
    bytes_max: usize,
    age_max: Duration,
    /// When each request was handed over, and its bytes; oldest first.
    requests: VecDeque<(Instant, usize)>,
    bytes: usize,
}

impl Window {
    pub(super) fn new(bytes_max: usize, age_max: Duration) -> Window {
        Window { bytes_max, age_max, requests: VecDeque::new(), bytes: 0 }
    }

    /// A request was handed to the kernel.
    pub(super) fn add(&mut self, bytes: usize) {
        self.requests.push_back((Instant::now(), bytes));
        self.bytes += bytes;
    }

    /// How many of the latest requests may still be lost.
    pub(super) fn len(&mut self) -> usize {
        while let Some((since, bytes)) = self.requests.front()
            && (self.bytes - bytes >= self.bytes_max || since.elapsed() >= self.age_max)
        {
            self.bytes -= bytes;
            self.requests.pop_front();
        }
        self.requests.len()
    }

    /// They are lost, and will be sent again.
    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn holds_what_is_young_or_within_the_last_bytes() {
        let mut window = Window::new(100, Duration::from_secs(30));
        window.add(60);
        window.add(60);
        window.add(30);
        // The last two hold 90 bytes: the first may still sit in the kernel.
        assert_eq!(window.len(), 3);
        window.add(10);
        assert_eq!(window.len(), 3);
        tokio::time::advance(Duration::from_secs(29)).await;
        window.add(1);
        assert_eq!(window.len(), 3);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(window.len(), 1);
        window.clear();
        assert_eq!(window.len(), 0);
    }
}
