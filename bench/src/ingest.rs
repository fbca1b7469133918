//! Acknowledged events: HEC requests, each answered only after its events are synced.
//!
//! The age of an acknowledgement counts from when its request was due, not from when there was time
//! to send it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::corpus::MARKER;
use crate::count::Counter;
use crate::target::{Kind, TOKEN, Target};
use crate::{Options, Result};

/// The text of an event, without its envelope.
const EVENT_BYTES: usize = 500;

pub fn ingest(kind: Kind, options: &Options) -> Result<String> {
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let target = Target::start(kind, options, sink.local_addr()?)?;
    let (connections, batch) = (options.connections, options.batch);
    let requests = match options.steady {
        false => options.events / connections / batch,
        true => options.rate * options.seconds / connections / batch,
    };
    let pace = options.steady.then(|| Duration::from_secs_f64((connections * batch) as f64 / options.rate as f64));
    let counter = Counter::new(connections, requests * batch);
    let counting = counter.serve(sink)?;
    let (cpu, begun, address) = (target.cpu()?, Instant::now(), target.address);
    let senders = (0..connections).map(|number| {
        thread::spawn(move || send(address, number, requests, batch, pace).map_err(|error| error.to_string()))
    });
    let mut ages = Vec::new();
    for sender in senders.collect::<Vec<_>>() {
        ages.extend(sender.join().map_err(|_| "a sender panicked")??);
    }
    let elapsed = begun.elapsed();
    let cpu = target.cpu()?.saturating_sub(cpu);
    let tally = counting.wait(Duration::from_secs(120));
    ages.sort_unstable();
    let at = |share: f64| {
        ages.get(((ages.len().max(1) - 1) as f64 * share) as usize).map_or(0.0, |age| age.as_secs_f64() * 1e3)
    };
    Ok(format!(
        "{kind}: {:.0} acknowledged events/s of {EVENT_BYTES} bytes, {batch} a request, {connections} connections; \
         acknowledged after p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; {:.2} us CPU an event; RSS {} MiB; {tally}",
        counter.expected() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        cpu.as_secs_f64() * 1e6 / counter.expected() as f64,
        target.rss_mib()?,
    ))
}

/// One connection's requests, one after the other; how long each waited for its answer.
fn send(
    address: SocketAddr,
    connection: u64,
    requests: u64,
    batch: u64,
    pace: Option<Duration>,
) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let begun = Instant::now();
    // Not all at once.
    let offset = pace.unwrap_or_default().mul_f64(connection as f64 / 16.0 % 1.0);
    let (mut ages, mut body) = (Vec::with_capacity(requests as usize), Vec::new());
    for request in 0..requests {
        let mut due = begun.elapsed();
        if let Some(pace) = pace {
            due = offset + pace.mul_f64(request as f64);
            if let Some(early) = due.checked_sub(begun.elapsed()) {
                thread::sleep(early);
            }
        }
        body.clear();
        for event in 0..batch {
            put_event(&mut body, connection, request * batch + event);
        }
        let head = format!(
            "POST /services/collector/event HTTP/1.1\r\nHost: gateway\r\nAuthorization: Splunk {TOKEN}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat())?;
        answer(&mut answers)?;
        ages.push(begun.elapsed().saturating_sub(due));
    }
    Ok(ages)
}

/// An event with its numbers behind the marker.
fn put_event(body: &mut Vec<u8>, connection: u64, sequence: u64) {
    let marker = String::from_utf8_lossy(MARKER);
    let text = format!("GET /api/v1/items/4242 200 12ms user=alice {marker}{connection:03}:{sequence:010}:{:020} ", 0);
    body.extend_from_slice(br#"{"event":""#);
    let begin = body.len();
    body.extend_from_slice(text.as_bytes());
    body.resize(begin + EVENT_BYTES, b'.');
    body.extend_from_slice(br#""}"#);
}

fn answer(answers: &mut impl BufRead) -> Result<()> {
    let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
    loop {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            return Err("the gateway closed the connection".into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if text.is_empty() {
            break;
        }
        if let Some(value) = text.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if status.is_empty() {
            status = text;
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body)?;
    if status.starts_with("http/1.1 200") { Ok(()) } else { Err(format!("the gateway answered `{status}`").into()) }
}
