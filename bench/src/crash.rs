//! What is left of a queue after kill -9 or a power loss.
//!
//! The sink is down, events come in, the program has all the time it wants to put them away; then it
//! is killed, or the file system that its data is on loses its power. It is started again, the sink
//! comes up, and every event is counted there by its number.

use std::fmt;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::count::Counter;
use crate::target::{Kind, Queue, Site, Target};
use crate::volume::Volume;
use crate::{Options, Result, load};

/// A program that is still putting events away after so long a time is not waited for.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// The sink has everything there is when nothing came for so long a time.
const QUIET: Duration = Duration::from_secs(10);
const DRAINED_WITHIN: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Power,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Fault::Kill { "kill -9" } else { "power loss" })
    }
}

pub fn crash(kind: Kind, options: &Options, fault: Fault) -> Result<String> {
    let site = Arc::new(Site::new(kind)?);
    let volume = (fault == Fault::Power).then(|| Volume::mount(&site.data())).transpose()?;
    // Bound and dropped: nobody listens there until the fault is over.
    let sink = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let target = Target::start_at(&site, kind, Queue::Disk, options, &[sink])?;
    let begun = Instant::now();
    load::flood(target.address, 1, options.events)?;
    let settled = settle(&site.data(), options.idle)?.duration_since(begun);
    if let Some(volume) = &volume {
        // A machine without power answers nobody, and nothing of the program runs on.
        target.signal("STOP")?;
        volume.power_off()?;
    }
    target.kill()?;
    if let Some(volume) = &volume {
        volume.unmount()?;
        volume.power_on()?;
    }
    let counter = Counter::new(1, options.events);
    let counting = counter.serve(TcpListener::bind(sink)?)?;
    let target = Target::start_at(&site, kind, Queue::Disk, options, &[sink])?;
    let tally = counting.quiet(QUIET, DRAINED_WITHIN);
    target.kill()?;
    Ok(format!(
        "{fault} {kind}: lost {}, duplicated {} of {} events, put away in {:.1} s",
        tally.lost,
        tally.duplicates,
        options.events,
        settled.as_secs_f64(),
    ))
}

/// Waits until nothing below `data` has changed for `idle`; answers when the last change was seen.
fn settle(data: &Path, idle: Duration) -> Result<Instant> {
    let begun = Instant::now();
    let (mut seen, mut since) = (state(data)?, Instant::now());
    while since.elapsed() < idle {
        if begun.elapsed() > SETTLED_WITHIN {
            return Err(format!("still writing to `{}` after {SETTLED_WITHIN:?}", data.display()).into());
        }
        thread::sleep(Duration::from_millis(50));
        let now = state(data)?;
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    Ok(since)
}

/// How many bytes there are, and when the newest of them were written.
fn state(dir: &Path) -> Result<(u64, SystemTime)> {
    let mut state = (0, SystemTime::UNIX_EPOCH);
    for entry in fs::read_dir(dir)? {
        // A file may go while we look.
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        let (bytes, newest) = if metadata.is_dir() {
            self::state(&entry.path()).unwrap_or((0, SystemTime::UNIX_EPOCH))
        } else {
            (metadata.len(), metadata.modified()?)
        };
        state = (state.0 + bytes, state.1.max(newest));
    }
    Ok(state)
}
