//! The senders.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::corpus::Line;

/// Each connection sends its events in 64 KiB writes, all connections in turn from one thread.
pub fn flood(address: SocketAddr, connections: u64, events_each: u64) -> Result<()> {
    let mut senders = Vec::new();
    for connection in 0..connections {
        let mut stream = TcpStream::connect(address)?;
        senders.push(std::thread::spawn(move || -> std::io::Result<()> {
            let mut line = Line::new(connection);
            let mut buffer = Vec::with_capacity(70_000);
            let now = nanos();
            for sequence in 0..events_each {
                line.number(sequence, now);
                buffer.extend_from_slice(&line.bytes);
                if buffer.len() >= 65_536 {
                    stream.write_all(&buffer)?;
                    buffer.clear();
                }
            }
            stream.write_all(&buffer)
        }));
    }
    for sender in senders {
        sender.join().map_err(|_| "a sender panicked")??;
    }
    Ok(())
}

/// One connection, one write an event, evenly spread.
pub fn steady(address: SocketAddr, events: u64, rate: u64) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut line = Line::new(0);
    let started = Instant::now();
    for sequence in 0..events {
        let due = Duration::from_nanos(sequence * 1_000_000_000 / rate);
        while let Some(early) = due.checked_sub(started.elapsed()) {
            std::thread::sleep(early);
        }
        line.number(sequence, nanos());
        stream.write_all(&line.bytes)?;
    }
    Ok(())
}

pub fn nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
