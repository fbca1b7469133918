//! `wharfinger-bench`: loads a running gateway (or rsyslog, or syslog-ng) over TCP and counts at the
//! sink, every event by its number.
//!
//! The program under test is pinned to core 0, this one to core 1 (run it under `taskset -c 1`).
//! Figures of different runs must not be compared: machines drift. Name several targets in one
//! call and quote ratios.

mod backlog;
mod containers;
mod corpus;
mod count;
mod crash;
mod engine;
mod ingest;
mod load;
mod sinks;
mod target;
mod volume;

use std::error::Error;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use count::Counter;
use crash::Fault;
use sinks::Receiver;
use target::{Kind, Queue, Site, Target};

const USAGE: &str = "\
usage: wharfinger-bench throughput|latency|idle|backlog|ingest [options] TARGET...
       wharfinger-bench crash kill|power [options] TARGET...     (power: as root)
       wharfinger-bench drain hec|hec-gzip|tls|s3 [options]             (wharfinger alone)
       wharfinger-bench connections [options]                           (the same; --events: how many)
       wharfinger-bench docker|alerts|files|stall|engine [options]      (wharfinger alone; engine: as root, with dockerd)
  TARGET          wharfinger | rsyslog | rsyslog-safe (crash) | syslog-ng
  --gateway PATH  the gateway's binary (target/release/wharfinger)
  --events N      throughput, backlog, docker, alerts, files, crash: events to send (2,000,000; crash: 5,000)
  --connections N throughput, backlog, ingest: sender connections (4)
  --sinks N       throughput: sinks that all get everything (1)
  --machines N    an inventory of so many machines, and a policy of 54 rules (0: neither)
  --rate N        latency, stall, ingest, docker: events a second (5,000; the last two: as fast as it goes)
  --seconds N     latency, stall, ingest with a rate: how long (10)
  --batch N       ingest: events a request (100)
  --restart       backlog: kill -9 and start again before the sink comes up
  --journal N     GiB the journal may take (4)
  --idle N        crash: seconds without a write before the fault (3)
  --turns N       engine: how often with and without the gateway (20)
  --runs N        repeat in turn (3)
  --json          the journal's events leave as JSON instead of CEF
  --wazuh         alerts: they leave as they came
  --redact        drain: the sink has all rules of `redact`";

/// What the command line asks for.
struct Options {
    scenario: String,
    targets: Vec<Kind>,
    gateway: PathBuf,
    events: u64,
    connections: u64,
    rate: u64,
    steady: bool,
    seconds: u64,
    turns: u64,
    batch: u64,
    sinks: usize,
    machines: u64,
    restart: bool,
    journal_gib: u64,
    idle: Duration,
    fault: Option<Fault>,
    receiver: Option<Receiver>,
    redact: bool,
    runs: u64,
    format: &'static str,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() {
    let outcome = options().and_then(|options| {
        for run in 1..=options.runs {
            for kind in &options.targets {
                println!("run {run} {}", measure(*kind, &options)?);
            }
        }
        Ok(())
    });
    if let Err(error) = outcome {
        eprintln!("error: {error}");
        std::process::exit(64);
    }
}

fn options() -> Result<Options> {
    let mut words = std::env::args().skip(1);
    let scenario = words.next().ok_or(USAGE)?;
    let mut options = Options {
        targets: Vec::new(),
        gateway: "target/release/wharfinger".into(),
        events: match scenario.as_str() {
            "crash" => 5_000,
            "connections" => 10_000,
            _ => 2_000_000,
        },
        connections: 4,
        rate: 5_000,
        steady: false,
        seconds: 10,
        turns: 20,
        batch: 100,
        sinks: 1,
        machines: 0,
        restart: false,
        journal_gib: 4,
        idle: Duration::from_secs(3),
        fault: None,
        receiver: None,
        redact: false,
        runs: 3,
        format: "cef",
        scenario,
    };
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64> { Ok(words.next().ok_or(USAGE)?.replace([',', '_'], "").parse()?) };
        match word.as_str() {
            "--events" => options.events = number()?,
            "--connections" => options.connections = number()?,
            "--rate" => (options.rate, options.steady) = (number()?, true),
            "--batch" => options.batch = number()?,
            "--sinks" => options.sinks = number()? as usize,
            "--machines" => options.machines = number()?,
            "--restart" => options.restart = true,
            "--journal" => options.journal_gib = number()?,
            "--turns" => options.turns = number()?,
            "--seconds" => options.seconds = number()?,
            "--idle" => options.idle = Duration::from_secs(number()?),
            "--runs" => options.runs = number()?,
            "--json" => options.format = "json",
            "--redact" => options.redact = true,
            "--wazuh" => options.format = "wazuh",
            "--gateway" => options.gateway = words.next().ok_or(USAGE)?.into(),
            "wharfinger" => options.targets.push(Kind::Wharfinger),
            "hec" => options.receiver = Some(Receiver::Hec),
            "hec-gzip" => options.receiver = Some(Receiver::HecGzip),
            "tls" => options.receiver = Some(Receiver::Tls),
            "s3" => options.receiver = Some(Receiver::S3),
            "kill" => options.fault = Some(Fault::Kill),
            "power" => options.fault = Some(Fault::Power),
            "rsyslog" => options.targets.push(Kind::Rsyslog),
            "rsyslog-safe" => options.targets.push(Kind::RsyslogSafe),
            "syslog-ng" => options.targets.push(Kind::SyslogNg),
            _ => return Err(USAGE.into()),
        }
    }
    if options.targets.is_empty() {
        options.targets.push(Kind::Wharfinger);
    }
    Ok(options)
}

fn measure(kind: Kind, options: &Options) -> Result<String> {
    match options.scenario.as_str() {
        "throughput" => throughput(kind, options),
        "latency" => latency(kind, options),
        "idle" => idle(kind, options),
        "backlog" => backlog::backlog(kind, options),
        "ingest" => ingest::ingest(kind, options),
        "docker" => containers::docker(options),
        "alerts" => containers::alerts(options),
        "files" => containers::files(options),
        "stall" => containers::stall(options),
        "engine" => engine::engine(options),
        "drain" => sinks::drain(options),
        "connections" => sinks::connections(options),
        "crash" => crash::crash(kind, options, options.fault.ok_or(USAGE)?),
        _ => Err(USAGE.into()),
    }
}

/// TCP in → parse → (journal, synced) → CEF over TCP out, as fast as it goes.
fn throughput(kind: Kind, options: &Options) -> Result<String> {
    let counter = Counter::new(options.connections, options.events / options.connections);
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let address = sink.local_addr()?;
    let counting = counter.serve(sink)?;
    let mut addresses = vec![address];
    let mut others = Vec::new();
    for _ in 1..options.sinks {
        let sink = TcpListener::bind("127.0.0.1:0")?;
        addresses.push(sink.local_addr()?);
        others.push(Counter::new(options.connections, options.events / options.connections).serve(sink)?);
    }
    let target = Target::start_at(&Arc::new(Site::new(kind)?), kind, Queue::Memory, options, &addresses)?;
    let started = Instant::now();
    let cpu = target.cpu()?;
    load::flood(target.address, options.connections, options.events / options.connections)?;
    let sent = started.elapsed();
    let tally = counting.wait(Duration::from_secs(120));
    let behind: u64 = others.iter().map(|other| other.wait(Duration::from_secs(120)).lost).sum();
    let elapsed = started.elapsed();
    let cpu = target.cpu()?.saturating_sub(cpu);
    let events = counter.expected();
    Ok(format!(
        "{kind}: {:.0} events/s, {:.2} us CPU an event, sent in {:.2} s, done in {:.2} s, RSS {} MiB, {:.0} bytes written to disk an event, {tally}{}",
        events as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / events as f64,
        sent.as_secs_f64(),
        elapsed.as_secs_f64(),
        target.rss_mib()?,
        target.disk_bytes()? as f64 / events as f64,
        if options.sinks > 1 { format!("; at {} other sinks lost {behind}", others.len()) } else { String::new() },
    ))
}

/// A steady rate on one connection; how long each event takes from socket to sink.
fn latency(kind: Kind, options: &Options) -> Result<String> {
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let target = Target::start(kind, options, sink.local_addr()?)?;
    let events = options.rate * options.seconds;
    let counter = Counter::new(1, events);
    let counting = counter.serve(sink)?;
    let cpu = target.cpu()?;
    load::steady(target.address, events, options.rate)?;
    let cpu = target.cpu()?.saturating_sub(cpu);
    let tally = counting.wait(Duration::from_secs(30));
    let (p50, p99, max) = counter.latency();
    Ok(format!(
        "{kind}: at {} events/s p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms, CPU {:.0} %, {tally}",
        options.rate,
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        max.as_secs_f64() * 1e3,
        cpu.as_secs_f64() * 100.0 / options.seconds as f64,
    ))
}

/// From start to port open, and the memory of doing nothing.
fn idle(kind: Kind, options: &Options) -> Result<String> {
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let target = Target::start(kind, options, sink.local_addr()?)?;
    let ready = target.ready_after;
    std::thread::sleep(Duration::from_secs(3));
    Ok(format!("{kind}: ready after {:.0} ms, idle RSS {} MiB", ready.as_secs_f64() * 1e3, target.rss_mib()?))
}
