//! The sink is down while everything comes in; then it comes up.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::count::Counter;
use crate::target::{Kind, Queue, Site, Target};
use crate::{Options, Result, load};

pub fn backlog(kind: Kind, options: &Options) -> Result<String> {
    // Bound and dropped: nobody listens there until the backlog stands.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let site = Arc::new(Site::new(kind)?);
    let mut target = Target::start_at(&site, kind, Queue::Memory, options, &[address])?;
    let started = Instant::now();
    load::flood(target.address, options.connections, options.events / options.connections)?;
    let sent = started.elapsed();
    let mut queued = format!("RSS {} MiB", target.rss_mib()?);
    if options.restart {
        // What the sockets still hold.
        std::thread::sleep(Duration::from_secs(3));
        target.kill()?;
        target = Target::start_at(&site, kind, Queue::Memory, options, &[address])?;
        let ready = target.ready_after.as_secs_f64() * 1e3;
        queued.push_str(&format!(", killed, ready again after {ready:.0} ms, RSS {} MiB", target.rss_mib()?));
    }
    let bytes = site.bytes().unwrap_or(0);
    let counter = Counter::new(options.connections, options.events / options.connections);
    let counting = counter.serve(TcpListener::bind(address)?)?;
    counting.first(Duration::from_secs(60));
    let drain = Instant::now();
    let tally = counting.wait(Duration::from_secs(600));
    Ok(format!(
        "{kind}: took in {:.0} events/s with the sink down, {:.1} GiB queued, {queued}, drained at {:.0} events/s, \
         RSS {} MiB, {tally}",
        counter.expected() as f64 / sent.as_secs_f64(),
        bytes as f64 / f64::from(1 << 30),
        counter.expected() as f64 / drain.elapsed().as_secs_f64(),
        target.rss_mib()?,
    ))
}
