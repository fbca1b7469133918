//! Reading ahead: a store that answers slowly, and many at once, is asked for what comes next before it is
//! needed. A store that answers at once is asked in turn, on the thread that walks.
//!
//! Invariant: who asks bounds how much is under way; nothing that was not begun is done once he has gone.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

type Work<'w> = Box<dyn FnOnce() + Send + 'w>;

/// Threads that read.
pub(super) struct Pool<'p, 'w> {
    /// None: everything is done at once.
    work: Option<Sender<Work<'w>>>,
    is_over: &'p AtomicBool,
}

/// What is being read.
pub(super) enum Later<T> {
    Done(T),
    Coming(Receiver<T>),
}

/// Calls `run` with so many threads to read for it.
pub(super) fn with_pool<'w, T>(threads: usize, run: impl FnOnce(Pool<'_, 'w>) -> T) -> T {
    let is_over = AtomicBool::new(false);
    if threads <= 1 {
        return run(Pool { work: None, is_over: &is_over });
    }
    let (work, works) = channel::<Work<'w>>();
    let works = Mutex::new(works);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = works.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match next {
                        Ok(work) if !is_over.load(Relaxed) => work(),
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
            });
        }
        run(Pool { work: Some(work), is_over: &is_over })
    })
}

impl<'w> Pool<'_, 'w> {
    /// Whether others read while the walk goes on.
    pub(super) fn reads_ahead(&self) -> bool {
        self.work.is_some()
    }

    pub(super) fn later<T: Send + 'w>(&self, work: impl FnOnce() -> T + Send + 'w) -> Later<T> {
        let Some(pool) = &self.work else { return Later::Done(work()) };
        let (done, coming) = sync_channel(1);
        // Nobody may be there any more to take it, or to do it: whoever waits is told.
        let _ = pool.send(Box::new(move || drop(done.send(work()))));
        Later::Coming(coming)
    }
}

impl Drop for Pool<'_, '_> {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

impl<T> Later<T> {
    /// Waits for it.
    pub(super) fn wait(self) -> io::Result<T> {
        match self {
            Later::Done(done) => Ok(done),
            Later::Coming(coming) => {
                coming.recv().map_err(|_| io::Error::other("a thread that read the store has ended"))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn answers_come_to_who_asked_and_what_nobody_waits_for_is_not_begun() {
        for threads in [1, 4] {
            let done = AtomicUsize::new(0);
            with_pool(threads, |pool| {
                let squares: Vec<_> = (0..100_u64).map(|number| pool.later(move || number * number)).collect();
                for (number, square) in squares.into_iter().enumerate() {
                    assert_eq!(square.wait().unwrap(), (number * number) as u64);
                }
            });
            let gate = Mutex::new(());
            let held = gate.lock().unwrap();
            with_pool(threads.max(2), |pool| {
                for _ in 0..100 {
                    pool.later(|| {
                        drop(gate.lock());
                        done.fetch_add(1, Relaxed)
                    });
                }
                drop(pool);
                drop(held);
            });
            assert!(done.load(Relaxed) <= threads.max(2), "{done:?}");
        }
    }
}
