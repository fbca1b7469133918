//! What the gateway costs a real Docker Engine: volumes are made, in turns with nobody listening, with somebody who
//! throws away what he hears (every listener costs the Engine something), and with a gateway whose collector answers
//! nobody.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::containers::{Collector, Folder, Gateway, hec};
use crate::{Options, Result};

/// Volumes that are made one after the other before the other side has its turn.
const VOLUMES: u64 = 500;

/// An Engine of its own, with its own folders; ended with the value.
struct Engine {
    child: Child,
    socket: std::path::PathBuf,
}

impl Engine {
    fn start(dir: &Path) -> Result<Engine> {
        let path = |name: &str| dir.join(name);
        let (socket, log) = (path("docker.sock"), fs::File::create(path("dockerd.log"))?);
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(path("root")).arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("pid")).arg("--host").arg(format!("unix://{}", socket.display()));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut engine = Engine { child, socket };
        let started = Instant::now();
        while UnixStream::connect(&engine.socket).is_err() {
            if engine.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(60) {
                return Err(format!("dockerd does not start:\n{}", fs::read_to_string(path("dockerd.log"))?).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(engine)
    }

    /// How long it takes to make them; they are gone again afterwards.
    fn volumes(&self, count: u64) -> Result<Duration> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let begun = Instant::now();
        for number in 0..count {
            let body = format!("{{\"Name\":\"v{number}\"}}");
            let head = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
            ask(&mut stream, &format!("POST /volumes/create HTTP/1.1\r\nHost: d\r\n{head}\r\n\r\n{body}"), "201")?;
        }
        let took = begun.elapsed();
        for number in 0..count {
            ask(&mut stream, &format!("DELETE /volumes/v{number} HTTP/1.1\r\nHost: d\r\n\r\n"), "204")?;
        }
        Ok(took)
    }
}

/// Hears all events and throws them away, until it is dropped.
struct Listener(UnixStream);

impl Listener {
    fn start(engine: &Engine) -> Result<Listener> {
        let mut stream = UnixStream::connect(&engine.socket)?;
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")?;
        let (mut heard, mut buffer) = (stream.try_clone()?, [0; 65_536]);
        // The head of the answer: from now on it listens.
        let _ = heard.read(&mut buffer)?;
        thread::spawn(move || while heard.read(&mut buffer).is_ok_and(|read| read > 0) {});
        Ok(Listener(stream))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// Answers are small, and come in one piece or two.
fn ask(stream: &mut UnixStream, request: &str, status: &str) -> Result<()> {
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err("the Engine has closed the connection".into());
        }
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if !head.starts_with(&format!("HTTP/1.1 {status}")) {
            return Err(text.into_owned().into());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        if body.len() >= length.map_or(Ok(0), str::parse)? {
            return Ok(());
        }
    }
}

/// The medians of the ratios of neighbours.
pub fn engine(options: &Options) -> Result<String> {
    let (folder, engine_folder) = (Folder::new("engine")?, Folder::new("dockerd")?);
    let engine = Engine::start(&engine_folder.0)?;
    let collector = Collector::default();
    collector.stall();
    let address = collector.serve()?;
    let source = format!("sources:\n  in: {{type: docker, socket: {}}}\n", engine.socket.display());
    let config = source + &hec(address, "json");
    engine.volumes(VOLUMES)?;
    let (mut ratios, mut heard_ratios) = (Vec::new(), Vec::new());
    let (mut without, mut heard, mut with, mut events) = (Vec::new(), Vec::new(), Vec::new(), (0, 0));
    for _ in 0..options.turns {
        let alone = engine.volumes(VOLUMES)?;
        let listener = Listener::start(&engine)?;
        let listened = engine.volumes(VOLUMES)?;
        drop(listener);
        let gateway = Gateway::start(options, &folder.0, &config)?;
        let started = Instant::now();
        while gateway.counts()?.0 == 0 {
            if started.elapsed() > Duration::from_secs(20) {
                return Err("the gateway takes nothing in".into());
            }
            engine.volumes(1)?;
        }
        let watched = engine.volumes(VOLUMES)?;
        events = gateway.counts()?;
        ratios.push(watched.as_secs_f64() / alone.as_secs_f64());
        heard_ratios.push(watched.as_secs_f64() / listened.as_secs_f64());
        without.push(alone);
        heard.push(listened);
        with.push(watched);
        drop(gateway);
        // The next one begins at a place of its own.
        fs::remove_dir_all(folder.0.join("data"))?;
    }
    ratios.sort_by(f64::total_cmp);
    heard_ratios.sort_by(f64::total_cmp);
    [&mut without, &mut heard, &mut with].into_iter().for_each(|all| all.sort());
    let micros = |all: &[Duration]| all[all.len() / 2].as_secs_f64() * 1e6 / VOLUMES as f64;
    Ok(format!(
        "engine: a volume takes {:.0} us, with any listener {:.0} us, with a gateway whose collector answers nobody {:.0} us: \
         {:.3} times the listener, {:.3} times nobody (the middle of {} turns, {:.3} to {:.3}); in the last turn {} events \
         taken in, {} lost",
        micros(&without),
        micros(&heard),
        micros(&with),
        heard_ratios[heard_ratios.len() / 2],
        ratios[ratios.len() / 2],
        ratios.len(),
        ratios[0],
        ratios[ratios.len() - 1],
        events.0,
        events.1,
    ))
}
