//! How fast a synced journal empties into each kind of receiver, and what idle connections over TLS cost.
//!
//! The receiver answers nobody until all of it is in the journal; then the time runs. Bodies that are compressed are
//! counted by the gateway's own metrics, which say what the receiver has confirmed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::containers::{Folder, Gateway};
use crate::count::Counter;
use crate::{Options, Result, load};

/// No run takes longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// Who takes the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    Hec,
    HecGzip,
    Tls,
    S3,
}

/// Journal → receiver.
pub fn drain(options: &Options) -> Result<String> {
    let folder = Folder::new("drain")?;
    let source = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let each = options.events / options.connections;
    let (counter, gate) = (Counter::new(options.connections, each), Arc::new(AtomicBool::new(false)));
    let receiver = options.receiver.ok_or("name a receiver: hec, hec-gzip, tls or s3")?;
    let (_child, sink) = match receiver {
        Receiver::Hec | Receiver::HecGzip | Receiver::S3 => (None, web(&gate)?),
        Receiver::Tls => {
            let (child, address) = tls(&folder.0, &counter, &gate)?;
            (Some(child), address)
        }
    };
    let sink = match receiver {
        Receiver::Hec => format!(
            "{{type: splunk_hec, endpoint: \"http://{sink}\", token: t, ack: off, compression: none, timeout: 5m}}"
        ),
        Receiver::HecGzip => {
            format!("{{type: splunk_hec, endpoint: \"http://{sink}\", token: t, ack: off, timeout: 5m}}")
        }
        Receiver::S3 => format!(
            "{{type: s3, bucket: b, endpoint: \"http://{sink}\", access_key_id: a, secret_access_key: s, compression: zstd, max_age: 1s}}"
        ),
        Receiver::Tls => format!(
            "{{type: syslog, address: \"localhost:{}\", tls: {{ca: {{dir}}/cert.pem}}, format: json, header: none, framing: newline}}",
            sink.port()
        ),
    };
    let rules = if options.redact { ", redact: [env, tokens, passwords, cards, emails]}" } else { "}" };
    let sink = sink.trim_end_matches('}').to_owned() + rules;
    let config = format!("sources:\n  in: {{type: syslog, mode: tcp, address: \"{source}\"}}\nsinks:\n  out: {sink}\n");
    let gateway = Gateway::start(options, &folder.0, &config)?;
    load::flood(source, options.connections, each)?;
    let (taken, _) = gateway.wait_for(counter.expected())?;
    let before = gateway.delivered()?;
    let (begun, cpu) = (Instant::now(), gateway.cpu()?);
    gate.store(true, Relaxed);
    let arrived = match receiver {
        Receiver::Tls => counter.expected() - counter.wait(PATIENCE).lost,
        _ => {
            while gateway.delivered()? < counter.expected() && begun.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(20));
            }
            gateway.delivered()?.min(counter.expected())
        }
    };
    let (elapsed, cpu) = (begun.elapsed(), gateway.cpu()?.saturating_sub(cpu));
    Ok(format!(
        "drain to {receiver:?}: {:.0} events/s, {:.2} us CPU an event, RSS {} MiB, {before} of {taken} before, lost {}",
        arrived.saturating_sub(before) as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / arrived.max(1) as f64,
        gateway.rss_mib()?,
        taken.saturating_sub(arrived),
    ))
}

/// An HTTP server that answers success to everything, once the gate is open. That is what a collector says, and a store
/// to a PUT; a store has no object and no upload.
fn web(gate: &Arc<AtomicBool>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let gate = Arc::clone(gate);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let gate = Arc::clone(&gate);
            thread::spawn(move || answer(stream, &gate));
        }
    });
    Ok(address)
}

fn answer(stream: TcpStream, gate: &AtomicBool) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::with_capacity(1 << 20, stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
        }
        let head = head.to_ascii_lowercase();
        let length =
            head.split("content-length:").nth(1).and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok());
        std::io::copy(&mut (&mut reader).take(length.unwrap_or(0)), &mut std::io::sink()).ok()?;
        while !gate.load(Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        let (status, body) = match head.as_bytes() {
            [b'h', ..] => ("404 Not Found", ""),
            [b'g', ..] => ("200 OK", "<ListMultipartUploadsResult></ListMultipartUploadsResult>"),
            _ if head.contains("x-amz-") => ("200 OK", ""),
            _ => ("200 OK", "{\"text\":\"Success\",\"code\":0}"),
        };
        // In one piece: the kernel would hold the second back.
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        writer.write_all(answer.as_bytes()).ok()?;
    }
}

/// Ended with the value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// OpenSSL's own server on core 1: what it inflates of one connection is read once the gate is open.
fn tls(folder: &Path, counter: &Counter, gate: &Arc<AtomicBool>) -> Result<(Ended, SocketAddr)> {
    certificate(folder)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-accept", &address.to_string(), "-cert", "cert.pem", "-key", "key.pem"]);
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let (counter, gate) = (counter.clone(), Arc::clone(gate));
    thread::spawn(move || {
        while !gate.load(Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        counter.receive(stdout);
    });
    while TcpStream::connect(address).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    Ok((Ended(child), address))
}

fn certificate(folder: &Path) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"]);
    command.args([
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    let output = command.current_dir(folder).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("no certificate: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Opens connections over TLS from as many addresses as it takes, and keeps them.
const CONNECT: &str = "import resource, socket, ssl, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
port, count = int(sys.argv[1]), int(sys.argv[2])
context = ssl.create_default_context(cafile='cert.pem')
kept = []
for number in range(count):
    plain = socket.create_connection(('127.0.0.1', port), source_address=(f'127.0.1.{1 + number // 1000}', 0))
    kept.append(context.wrap_socket(plain, server_hostname='localhost'))
print('open', flush=True)
sys.stdin.read()
";

/// The memory of connections over TLS that say nothing; `events` is how many there are.
pub fn connections(options: &Options) -> Result<String> {
    let folder = Folder::new("connections")?;
    certificate(&folder.0)?;
    let source = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: \"{source}\", tls: {{certificate: {{dir}}/cert.pem, key: {{dir}}/key.pem}}}}\n\
         sinks:\n  out: {{type: file, path: {{dir}}/out}}\n"
    );
    let gateway = Gateway::start(options, &folder.0, &config)?;
    let (before, cpu, begun) = (gateway.rss_mib()?, gateway.cpu()?, Instant::now());
    let mut command = Command::new("python3");
    command.args(["-c", CONNECT, &source.port().to_string(), &options.events.to_string()]).current_dir(&folder.0);
    let mut child = Ended(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut said = String::new();
    BufReader::new(child.0.stdout.take().ok_or("no stdout")?).read_line(&mut said)?;
    if said.trim() != "open" {
        return Err("the connections were not opened: more files may have to be allowed (`ulimit -n`)".into());
    }
    let (opened, cpu) = (begun.elapsed(), gateway.cpu()?.saturating_sub(cpu));
    thread::sleep(Duration::from_secs(2));
    Ok(format!(
        "connections: {} over TLS opened in {:.1} s ({:.0} us CPU each), RSS {} MiB, {before} before",
        options.events,
        opened.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / options.events as f64,
        gateway.rss_mib()?,
    ))
}
