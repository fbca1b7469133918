//! Producers: load with acknowledgements (HEC) and without (TCP).

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub const TOKEN: &str = "5b1d6f0e-2a53-4c8e-9a61-0f7e6d5c4b3a";

/// Sends requests until nobody listens any more, or `stop`; answers the messages that were
/// acknowledged. `name` begins each message.
pub fn hec(address: SocketAddr, name: &str, seed: u64, stop: &AtomicBool) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = Vec::new();
    let mut connection = None;
    for request in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(stream) = connection.take().or_else(|| TcpStream::connect(address).ok()) else { break };
        let mut stream: TcpStream = stream;
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let count = random.usize(1..=20);
        let messages: Vec<String> = (0..count).map(|number| format!("hec {name}.{request}.{number}")).collect();
        if post(&mut stream, &messages) {
            acknowledged.extend(messages);
            connection = Some(stream);
        } else {
            // Refused, or cut off: on a new connection, if there is somebody.
            thread::sleep(Duration::from_millis(5));
        }
    }
    acknowledged
}

/// Sends one request; only a whole 200 with code 0 is an acknowledgement.
pub fn post(stream: &mut TcpStream, messages: &[String]) -> bool {
    let body = messages.iter().fold(String::new(), |mut body, message| {
        write!(body, r#"{{"event":"{message}"}}"#).unwrap();
        body
    });
    let head = format!(
        "POST /services/collector/event HTTP/1.1\r\nHost: gateway\r\nAuthorization: Splunk {TOKEN}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).is_ok() && is_success(stream)
}

fn is_success(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if length.is_some_and(|length: usize| body.len() >= length) {
                return head.starts_with("HTTP/1.1 200") && body.contains(r#""code":0"#);
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return false,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
        }
    }
}

/// Sends lines, about 4,000 a second, until the connection breaks or `stop`.
pub fn tcp(address: SocketAddr, name: &str, stop: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    for number in 0.. {
        let mut lines = String::new();
        for part in 0..20 {
            writeln!(lines, "<134>1 2026-11-21T09:05:11.123456Z host app - - - tcp {name}.{number}.{part}").unwrap();
        }
        if stop.load(Ordering::Relaxed) || stream.write_all(lines.as_bytes()).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
