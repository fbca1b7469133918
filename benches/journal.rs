//! What the journal costs on this disk: `taskset -c 0 cargo bench --bench journal`.
//!
//! Durable appends a second by batch size, the wait for a receipt at a fixed rate, records a second
//! that a cursor reads, and how long a start takes with a backlog. One thread for the callers
//! beside the journal's own. The directory is `JOURNAL_BENCH_DIR`, or one under `target`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use wharfinger::journal::storage::Disk;
use wharfinger::journal::{Batch, Chunk, Journal, Position, Settings};

const RECORD_BYTES: usize = 500;
const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir =
        std::env::var_os("JOURNAL_BENCH_DIR").map_or_else(|| PathBuf::from("target/journal-bench"), PathBuf::from);
    std::fs::create_dir_all(&dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (tasks, records) in [(1, 1), (256, 1), (16, 100), (4, 1000)] {
        runtime.block_on(appends(&dir, tasks, records, false))?;
        runtime.block_on(appends(&dir, tasks, records, true))?;
    }
    for rate in [100, 5_000, 20_000] {
        runtime.block_on(latency(&dir, rate))?;
    }
    runtime.block_on(reads(&dir))?;
    start(&dir)?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn open(dir: &Path) -> Result<Journal, Box<dyn std::error::Error>> {
    let path = dir.join("journal");
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    Ok(Journal::open(Settings { bytes_max: 4 << 30, ..Settings::new(path) }, Arc::new(Disk))?)
}

fn fill(batch: &mut Batch, records: usize) {
    for number in 0..records {
        batch.push_with(|buffer| buffer.resize(buffer.len() + RECORD_BYTES, b'a' + (number % 26) as u8));
    }
}

/// Reads and commits everything until it is stopped, as a sink does.
async fn drain(journal: Journal) {
    let Ok(mut cursor) = journal.cursor("sink") else { return };
    let mut chunk = Chunk::new();
    while cursor.read(&mut chunk, 1 << 20).await.is_ok() {
        if let Some(record) = chunk.records().last() {
            let next = Position(record.position.0 + 1);
            if cursor.commit(next).is_err() {
                return;
            }
        }
    }
}

async fn appends(dir: &Path, tasks: usize, records: usize, drained: bool) -> Result<(), Box<dyn std::error::Error>> {
    let journal = open(dir)?;
    let sink = drained.then(|| tokio::spawn(drain(journal.clone())));
    if !drained {
        drop(journal.cursor("sink")?);
    }
    let start = Instant::now();
    let workers = (0..tasks).map(|_| {
        let journal = journal.clone();
        tokio::spawn(async move {
            let mut batch = Batch::new();
            let mut appended = 0;
            while start.elapsed() < RUN {
                fill(&mut batch, records);
                let Ok(receipt) = journal.append(std::mem::take(&mut batch)).await else { break };
                appended += receipt.count;
                batch = receipt.batch;
            }
            appended
        })
    });
    let mut appended = 0;
    for worker in workers.collect::<Vec<_>>() {
        appended += worker.await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let status = journal.status();
    println!(
        "append {tasks:>3} tasks × {records:>4} records{}: {:>9.0} records/s, {:>5.0} MB/s, {:>5.0} syncs/s of {:.2} ms",
        if drained { ", drained" } else { "         " },
        appended as f64 / seconds,
        status.appended_bytes_total as f64 / seconds / 1e6,
        status.syncs_total as f64 / seconds,
        status.sync_seconds.as_secs_f64() * 1e3 / status.syncs_total as f64,
    );
    journal.close().await;
    if let Some(sink) = sink {
        sink.await?;
    }
    Ok(())
}

async fn latency(dir: &Path, rate: u32) -> Result<(), Box<dyn std::error::Error>> {
    let journal = open(dir)?;
    let sink = tokio::spawn(drain(journal.clone()));
    let start = Instant::now();
    let mut waiting = Vec::new();
    let mut due = 0;
    while start.elapsed() < RUN {
        let now = (start.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        for _ in due..now {
            let journal = journal.clone();
            let mut batch = Batch::new();
            fill(&mut batch, 1);
            let begun = Instant::now();
            waiting.push(tokio::spawn(async move { journal.append(batch).await.map(|_| begun.elapsed()) }));
        }
        due = now;
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let mut waits = Vec::new();
    for append in waiting {
        waits.push(append.await??);
    }
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let syncs = journal.status().syncs_total as f64 / RUN.as_secs_f64();
    println!(
        "receipt at {rate:>6}/s: p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms, {syncs:.0} syncs/s",
        at(0.5),
        at(0.99),
        at(1.0),
    );
    journal.close().await;
    sink.await?;
    Ok(())
}

/// A start after a crash: the last segment, nearly full, is scanned.
fn start(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    drop(open(dir)?);
    let settings = Settings { bytes_max: 4 << 30, ..Settings::new(dir.join("journal")) };
    let (journal, mut stepper) = Journal::open_stepped(settings.clone(), Arc::new(Disk))?;
    for _ in 0..110 {
        let mut batch = Batch::new();
        fill(&mut batch, 1000);
        let mut append = std::pin::pin!(journal.append(batch));
        while append.as_mut().now_or_never().is_none() {
            stepper.turn();
        }
    }
    drop((journal, stepper));
    let begun = Instant::now();
    let journal = Journal::open(settings, Arc::new(Disk))?;
    println!("start after a crash with {} records in the last segment: {:.1?}", journal.status().last, begun.elapsed());
    Ok(())
}

async fn reads(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let journal = open(dir)?;
    let mut cursor = journal.cursor("sink")?;
    let mut batch = Batch::new();
    let total = 4_000_000;
    for _ in 0..total / 1000 {
        fill(&mut batch, 1000);
        batch = journal.append(std::mem::take(&mut batch)).await?.batch;
    }
    let mut chunk = Chunk::new();
    let start = Instant::now();
    let (mut records, mut bytes) = (0, 0);
    while cursor.try_read(&mut chunk, 512 << 10).await? {
        records += chunk.len();
        bytes += chunk.records().map(|record| record.payload.len()).sum::<usize>();
        if let Some(record) = chunk.records().last() {
            cursor.commit(Position(record.position.0 + 1))?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "read {records} records: {:.0} records/s, {:.0} MB/s",
        records as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
    drop(cursor);
    journal.close().await;
    Ok(())
}
