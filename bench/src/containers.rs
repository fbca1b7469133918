//! What stands around containers: events of an Engine that is played, alerts in a growing file, many files at once,
//! and a collector that answers nobody for a while. Counted at the journal (by the gateway's own metrics) or at the
//! collector.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{Options, Result};

const ALERTS: &str = include_str!("../../formats/benches/corpora/wazuh.ndjson");
const EVENTS: &str = include_str!("../../formats/benches/corpora/docker-events.ndjson");
/// Files that grow at once.
const FILES: u64 = 2_000;
/// No run takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A gateway with a configuration of its own, on core 0.
pub struct Gateway {
    child: Child,
    dir: PathBuf,
    admin: SocketAddr,
}

impl Gateway {
    /// `{dir}` in the configuration is its folder.
    pub fn start(options: &Options, dir: &Path, config: &str) -> Result<Gateway> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let head = format!(
            "data_dir: {dir}/data\nadmin: {{listen: \"{admin}\"}}\njournal: {{bytes_max: {}GiB}}\n",
            options.journal_gib,
            dir = dir.display()
        );
        let path = dir.join("wharfinger.yaml");
        fs::write(&path, head + &config.replace("{dir}", &dir.display().to_string()))?;
        let log = fs::File::create(dir.join("log"))?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&options.gateway).args(["run", "--config"]).arg(&path);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut gateway = Gateway { child, dir: dir.to_owned(), admin };
        let started = Instant::now();
        while TcpStream::connect(admin).is_err() {
            if gateway.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(20) {
                return Err(format!("it does not start:\n{}", fs::read_to_string(dir.join("log"))?).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(gateway)
    }

    /// What the source `in` says of itself: taken in, and lost.
    pub fn counts(&self) -> Result<(u64, u64)> {
        let of = |name| self.metric(name, "\"source\"", "\"in\"");
        Ok((of("wharfinger_component_received_events_total")?, of("wharfinger_component_discarded_events_total")?))
    }

    /// What the sink `out` has delivered.
    pub fn delivered(&self) -> Result<u64> {
        self.metric("wharfinger_component_sent_events_total", "\"sink\"", "\"out\"")
    }

    fn metric(&self, name: &str, kind: &str, id: &str) -> Result<u64> {
        let token = fs::read_to_string(self.dir.join("data/page-token")).unwrap_or_default();
        let mut stream = TcpStream::connect(self.admin)?;
        let head = format!("Host: {}\r\nAuthorization: Bearer {token}\r\nConnection: close", self.admin);
        write!(stream, "GET /metrics HTTP/1.1\r\n{head}\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let is_ours = |line: &&str| line.starts_with(name) && line.contains(kind) && line.contains(id);
        Ok(page.lines().find(is_ours).and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0))
    }

    /// Waits until so many were taken in or lost.
    pub fn wait_for(&self, events: u64) -> Result<(u64, u64)> {
        let begun = Instant::now();
        loop {
            let (taken, lost) = self.counts()?;
            if taken + lost >= events || begun.elapsed() > PATIENCE {
                return Ok((taken, lost));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn stat(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?)
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = self.stat("stat")?;
        let after_name = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?.1;
        let words = after_name.split_ascii_whitespace().skip(11).take(2);
        // USER_HZ is 100 on every Linux that this runs on.
        Ok(Duration::from_millis(words.filter_map(|word| word.parse::<u64>().ok()).sum::<u64>() * 10))
    }

    pub fn rss_mib(&self) -> Result<u64> {
        let status = self.stat("status")?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.split_ascii_whitespace().nth(1).ok_or("no number")?.parse::<u64>()? / 1024)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that goes with the value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Result<Folder> {
        let dir = std::env::temp_dir().join(format!("wharfinger-bench-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        Ok(Folder(dir))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A collector: answers each request with success, and counts the events. While it is `stalled` it answers nobody.
#[derive(Clone, Default)]
pub struct Collector {
    events: Arc<AtomicU64>,
    stalled: Arc<AtomicBool>,
}

impl Collector {
    /// From now on it answers nobody.
    pub fn stall(&self) {
        self.stalled.store(true, Relaxed);
    }

    pub fn serve(&self) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let collector = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let collector = collector.clone();
                thread::spawn(move || collector.follow(stream));
            }
        });
        Ok(address)
    }

    fn follow(&self, mut stream: TcpStream) -> Option<()> {
        let (mut buffer, mut read) = (vec![0; 4 << 20], 0);
        loop {
            let head_end = loop {
                let found = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n");
                if let Some(at) = found {
                    break at + 4;
                }
                read += more(&mut stream, &mut buffer[read..])?;
            };
            let head = String::from_utf8_lossy(&buffer[..head_end]).to_ascii_lowercase();
            let length: usize = head.split("content-length:").nth(1)?.split("\r\n").next()?.trim().parse().ok()?;
            while read < head_end + length {
                read += more(&mut stream, &mut buffer[read..])?;
            }
            while self.stalled.load(Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
            self.events.fetch_add(count(&buffer[head_end..head_end + length]), Relaxed);
            buffer.copy_within(head_end + length..read, 0);
            read -= head_end + length;
            let answer = "{\"text\":\"Success\",\"code\":0}";
            // In one piece: the kernel would hold the second back.
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(answer.as_bytes()).ok()?;
        }
    }

    /// Waits until so many have come; answers how many did.
    fn wait_for(&self, events: u64) -> u64 {
        let begun = Instant::now();
        while self.events.load(Relaxed) < events && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        self.events.load(Relaxed)
    }
}

fn more(stream: &mut TcpStream, room: &mut [u8]) -> Option<usize> {
    stream.read(room).ok().filter(|read| *read > 0)
}

/// Envelopes in a body: each begins with its time, and none is shorter than what is passed over.
fn count(body: &[u8]) -> u64 {
    const BEGIN: &[u8] = b"{\"time\":";
    let (mut events, mut at) = (0, 0);
    while at + BEGIN.len() <= body.len() {
        if body[at] == b'{' && body[at..].starts_with(BEGIN) {
            events += 1;
            at += 100;
        } else {
            at += 1;
        }
    }
    events
}

/// Plays an Engine on a socket: one stream of so many events, all with a time of their own. With a rate they come
/// evenly; else as fast as they are taken.
fn engine(socket: &Path, events: u64, rate: Option<u64>) -> Result<thread::JoinHandle<Duration>> {
    let listener = UnixListener::bind(socket)?;
    let lines: Vec<(String, String)> = EVENTS
        .lines()
        .filter_map(|line| {
            let (head, _) = line.split_once("\"time\":")?;
            Some((head.to_owned(), format!("\"time\":{{}},\"timeNano\":{{}}}}{}", "\n")))
        })
        .collect();
    Ok(thread::spawn(move || {
        loop {
            let Ok((stream, _)) = listener.accept() else { return Duration::ZERO };
            if let Some(took) = serve(stream, &lines, events, rate) {
                return took;
            }
        }
    }))
}

fn serve(mut stream: UnixStream, lines: &[(String, String)], events: u64, rate: Option<u64>) -> Option<Duration> {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        if head.starts_with("GET /version") {
            let body = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
            let fields = "Content-Type: application/json\r\nDate: Sat, 21 Nov 2026 09:03:20 GMT";
            write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
            continue;
        }
        let fields =
            "Content-Type: application/json\r\nDate: Sat, 21 Nov 2026 09:03:20 GMT\r\nTransfer-Encoding: chunked";
        write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").ok()?;
        let first = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()?;
        let (begun, mut sent) = (Instant::now(), 0);
        let mut chunk = String::new();
        while sent < events {
            let due = match rate {
                Some(rate) => (begun.elapsed().as_secs_f64() * rate as f64) as u64,
                None => events,
            };
            if sent >= due {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            chunk.clear();
            let until = due.min(sent + 64).min(events);
            for number in sent..until {
                let nanos = first + number * 1_000;
                let (head, tail) = &lines[number as usize % lines.len()];
                let tail = tail.replacen("{}", &(nanos / 1_000_000_000).to_string(), 1);
                chunk.push_str(head);
                chunk.push_str(&tail.replacen("{}", &nanos.to_string(), 1));
            }
            sent = until;
            write!(stream, "{:x}\r\n{chunk}\r\n", chunk.len()).ok()?;
        }
        let took = begun.elapsed();
        // The Engine stays.
        thread::spawn(move || stream.read(&mut [0; 1]));
        return Some(took);
    }
}

pub fn hec(collector: SocketAddr, format: &str) -> String {
    format!(
        "sinks:\n  out: {{type: splunk_hec, endpoint: \"http://{collector}\", token: t, ack: off, compression: none, format: {format}}}\n"
    )
}

/// Events of an Engine to the journal, which no sink reads but to pass over.
pub fn docker(options: &Options) -> Result<String> {
    let folder = Folder::new("docker")?;
    let socket = folder.0.join("docker.sock");
    let rate = options.steady.then_some(options.rate);
    let playing = engine(&socket, options.events, rate)?;
    let config = "sources:\n  in: {type: docker, socket: {dir}/docker.sock, inspect: false}\n\
                  sinks:\n  out: {type: file, path: {dir}/out, when: 'source == \"nobody\"'}\n";
    let gateway = Gateway::start(options, &folder.0, config)?;
    let (begun, cpu) = (Instant::now(), gateway.cpu()?);
    let (taken, lost) = gateway.wait_for(options.events)?;
    let (elapsed, cpu) = (begun.elapsed(), gateway.cpu()?.saturating_sub(cpu));
    let sent = playing.join().map_err(|_| "the engine panicked")?;
    Ok(format!(
        "docker: sent in {:.2} s, {:.0} events/s to the journal, {:.2} us CPU an event, RSS {} MiB, lost {lost} of {}",
        sent.as_secs_f64(),
        taken as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / taken.max(1) as f64,
        gateway.rss_mib()?,
        options.events,
    ))
}

/// `alerts.json` → journal → collector.
pub fn alerts(options: &Options) -> Result<String> {
    let folder = Folder::new("alerts")?;
    let lines: Vec<&str> = ALERTS.lines().collect();
    let mut file = std::io::BufWriter::new(fs::File::create(folder.0.join("alerts.json"))?);
    for number in 0..options.events {
        writeln!(file, "{}", lines[number as usize % lines.len()])?;
    }
    file.flush()?;
    let collector = Collector::default();
    let address = collector.serve()?;
    let source = "sources:\n  in: {type: file, include: [{dir}/alerts.json], format: wazuh, identity: relay}\n";
    let gateway = Gateway::start(options, &folder.0, &(source.to_owned() + &hec(address, options.format)))?;
    let (begun, cpu) = (Instant::now(), gateway.cpu()?);
    let (taken, _) = gateway.wait_for(options.events)?;
    let journaled = begun.elapsed();
    let arrived = collector.wait_for(options.events);
    let (elapsed, cpu) = (begun.elapsed(), gateway.cpu()?.saturating_sub(cpu));
    Ok(format!(
        "alerts: {:.0}/s to the journal, {:.0}/s to the collector, {:.2} us CPU an alert, RSS {} MiB, lost {}",
        taken as f64 / journaled.as_secs_f64(),
        arrived as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / arrived.max(1) as f64,
        gateway.rss_mib()?,
        options.events.saturating_sub(arrived),
    ))
}

/// The memory of following many files, each of which grows.
pub fn files(options: &Options) -> Result<String> {
    let folder = Folder::new("files")?;
    let logs = folder.0.join("logs");
    fs::create_dir(&logs)?;
    let collector = Collector::default();
    let address = collector.serve()?;
    let source = "sources:\n  in: {type: file, include: [\"{dir}/logs/*.log\"], format: docker_json}\n";
    let gateway = Gateway::start(options, &folder.0, &(source.to_owned() + &hec(address, "json")))?;
    let (rounds, mut peak) = (options.events.div_ceil(FILES).clamp(1, 100), 0);
    for round in 0..rounds {
        for number in 0..FILES {
            let mut file = fs::File::options().create(true).append(true).open(logs.join(format!("{number}.log")))?;
            writeln!(
                file,
                "{{\"log\":\"line {round} of {number}: {}\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T09:03:20.158734145Z\"}}",
                "x".repeat(100)
            )?;
        }
        gateway.wait_for((round + 1) * FILES)?;
        peak = peak.max(gateway.rss_mib()?);
    }
    let arrived = collector.wait_for(rounds * FILES);
    Ok(format!(
        "files: {FILES} files, {} lines, RSS {} MiB, at most {peak}, lost {}",
        rounds * FILES,
        gateway.rss_mib()?,
        (rounds * FILES).saturating_sub(arrived)
    ))
}

/// An Engine at a steady rate while the collector answers nobody; then it answers.
pub fn stall(options: &Options) -> Result<String> {
    let folder = Folder::new("stall")?;
    let events = options.rate * options.seconds;
    let collector = Collector::default();
    collector.stall();
    let address = collector.serve()?;
    let playing = engine(&folder.0.join("docker.sock"), events, Some(options.rate))?;
    let source = "sources:\n  in: {type: docker, socket: {dir}/docker.sock, inspect: false}\n";
    let gateway = Gateway::start(options, &folder.0, &(source.to_owned() + &hec(address, "json")))?;
    let sent = playing.join().map_err(|_| "the engine panicked")?;
    let (taken, lost) = gateway.wait_for(events)?;
    let (held, rss) = (collector.events.load(Relaxed), gateway.rss_mib()?);
    collector.stalled.store(false, Relaxed);
    let drain = Instant::now();
    let arrived = collector.wait_for(events);
    Ok(format!(
        "stall: {events} events at {}/s in {:.1} s with a collector that answers nobody ({held} answered): {taken} in the \
         journal, {lost} lost, RSS {rss} MiB; then {arrived} at the collector after {:.1} s",
        options.rate,
        sent.as_secs_f64(),
        drain.elapsed().as_secs_f64(),
    ))
}
