//! The process that is killed: writes numbered events, and says on stdout what is acknowledged.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::super::failure::Exit;
use crate::journal::{Batch, Chunk, Journal, Settings, storage::Disk};

/// Of one event.
pub(super) const EVENT_BYTES: usize = 500;
/// Senders at the same time: they share syncs.
pub(super) const SENDERS: u64 = 8;
/// Events in a batch.
const BATCH: u64 = 20;

/// The journal under test.
pub(super) fn settings(dir: &Path) -> Settings {
    Settings { bytes_max: 256 << 20, ..Settings::new(dir.join("journal")) }
}

/// The number of a sender's event in that life.
fn number(life: u64, sender: u64, index: u64) -> u64 {
    life << 40 | sender << 32 | index
}

/// Who sent it: numbers of one sender are in order.
pub(super) fn sender(number: u64) -> u64 {
    number >> 32
}

/// The bytes of the event with that number.
pub(super) fn fill(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
    let mut random = fastrand::Rng::with_seed(number);
    for _ in 0..(EVENT_BYTES - 8) / 4 {
        out.extend_from_slice(&random.u32(..).to_le_bytes());
    }
}

/// Until it is killed, or nobody reads what it says.
pub(super) fn run(dir: &Path, life: u64) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let journal = Journal::open(settings(dir), Arc::new(Disk))?;
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send(journal.clone(), life, sender));
        }
        senders.spawn(read(journal));
        match senders.join_next().await {
            Some(ended) => ended?.map(|()| Exit::Ok),
            None => Ok(Exit::Ok),
        }
    })
}

async fn send(journal: Journal, life: u64, sender: u64) -> anyhow::Result<()> {
    let mut batch = Batch::new();
    let mut index = 0;
    loop {
        let first = number(life, sender, index);
        for place in 0..BATCH {
            batch.push_with(|out| fill(first + place, out));
        }
        batch.tally("selftest", &[BATCH]);
        let begun = Instant::now();
        batch = journal.append(batch).await?.batch;
        let line = format!("{first} {BATCH} {}\n", begun.elapsed().as_micros());
        // One write: a line is whole or cut off, never mixed with another.
        std::io::stdout().lock().write_all(line.as_bytes())?;
        std::io::stdout().lock().flush()?;
        index += BATCH;
    }
}

/// A reader whose place is stored all the time, as a sink's would be.
async fn read(journal: Journal) -> anyhow::Result<()> {
    let mut cursor = journal.cursor("reader")?;
    let mut chunk = Chunk::new();
    loop {
        cursor.read(&mut chunk, 1 << 16).await?;
        if let Some(last) = chunk.records().last() {
            cursor.commit(last.position.next())?;
        }
    }
}
