//! A network between a sink and its receiver that does what networks and balancers do: it delays, stalls, resets,
//! loses the answer to what has arrived, reads 1 KiB a second, and answers itself.
//!
//! Every other connection works for a while, so that a sink's backoff begins anew. Faults come in the order of their
//! list; how they are follows from the seed.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

/// What may become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every piece comes late.
    Delay,
    /// Reset at once.
    Refuse,
    /// Reset after some bytes of the sink.
    Reset,
    /// After some bytes nothing moves any more; then reset.
    Stall,
    /// All of it arrives, and of the answer nothing comes back.
    AnswerLost,
    /// 1 KiB a second.
    Slow,
    /// A balancer answers instead of the receiver.
    Answer(u16, &'static str),
}

/// What a receiver without answers can meet. A middle that reads and throws away without a reset cannot be told
/// from a receiver that has it all: no sink of plain syslog is safe from that.
pub const WIRE: &[Fault] = &[Fault::Delay, Fault::Refuse, Fault::Reset, Fault::Stall, Fault::Slow];
/// Behind each of them a sink of plain syslog waits longer: two such sinks share what there is.
pub const ONE_WIRE: &[Fault] = &[Fault::Slow, Fault::Reset, Fault::Refuse];
pub const OTHER_WIRE: &[Fault] = &[Fault::Stall, Fault::Reset, Fault::Delay];
const HTML: &str = "<html><head><title>Bad Gateway</title></head><body>nginx</body></html>";
/// And what a receiver of HTTP. Behind 404 a sink waits for half a minute: it comes last.
pub const WEB: &[Fault] = &[
    Fault::Answer(429, ""),
    Fault::Delay,
    Fault::Answer(500, HTML),
    Fault::AnswerLost,
    Fault::Answer(503, "busy"),
    Fault::Refuse,
    Fault::Answer(413, HTML),
    Fault::Reset,
    Fault::Answer(502, HTML),
    Fault::Stall,
    Fault::Slow,
    Fault::Answer(404, HTML),
];
/// And what a store, which never finds an object too large.
pub const STORE: &[Fault] = &[
    Fault::Answer(503, HTML),
    Fault::AnswerLost,
    Fault::Reset,
    Fault::Answer(429, ""),
    Fault::Delay,
    Fault::Refuse,
    Fault::Answer(500, HTML),
    Fault::Stall,
    Fault::Slow,
    Fault::Answer(404, HTML),
];

/// A network before one receiver.
pub struct Chaos {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    to: SocketAddr,
    faults: &'static [Fault],
    is_calm: AtomicBool,
    connections: AtomicUsize,
    seed: u64,
    met: Mutex<BTreeMap<String, usize>>,
}

impl Chaos {
    pub fn before(to: SocketAddr, faults: &'static [Fault], seed: u64) -> Chaos {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (is_calm, connections, met) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::default());
        let shared = Arc::new(Shared { to, faults, is_calm, connections, seed, met });
        let accepting = Arc::clone(&shared);
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Chaos { address, shared, _runtime: runtime }
    }

    /// From now on connections work.
    pub fn calm(&self) {
        self.shared.is_calm.store(true, SeqCst);
    }

    /// How many faults it knows.
    pub fn kinds(&self) -> usize {
        self.shared.faults.len()
    }

    /// How often each fault was met.
    pub fn met(&self) -> BTreeMap<String, usize> {
        self.shared.met.lock().unwrap().clone()
    }
}

impl Shared {
    async fn serve(&self, sink: TcpStream) {
        let number = self.connections.fetch_add(1, SeqCst);
        let mut random = fastrand::Rng::with_seed(self.seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let Ok(receiver) = TcpStream::connect(self.to).await else { return reset(&sink) };
        if self.is_calm.load(SeqCst) {
            return self.pass(sink, receiver, usize::MAX, Duration::ZERO).await;
        }
        if number % 2 == 1 {
            let while_it_works = self.pass(sink, receiver, usize::MAX, Duration::ZERO);
            // Dropped where it stands, which resets it.
            let _ = timeout(Duration::from_millis(random.u64(500..1_200)), while_it_works).await;
            return;
        }
        let fault = self.faults[number / 2 % self.faults.len()];
        *self.met.lock().unwrap().entry(format!("{fault:?}")).or_default() += 1;
        match fault {
            Fault::Delay => {
                let late = self.pass(sink, receiver, usize::MAX, Duration::from_millis(random.u64(20..60)));
                let _ = timeout(Duration::from_secs(1), late).await;
            }
            Fault::Refuse => reset(&sink),
            Fault::Reset => self.pass(sink, receiver, random.usize(1..3_000), Duration::ZERO).await,
            Fault::Stall => stall(sink, receiver, random.usize(1..3_000)).await,
            Fault::AnswerLost => lose_answer(sink, receiver).await,
            Fault::Slow => slow(sink, receiver).await,
            Fault::Answer(status, body) => answer(sink, status, body).await,
        }
    }

    /// Both ways, until so many bytes came from the sink; what is dropped or left before one side ends it is reset.
    async fn pass(&self, sink: TcpStream, mut receiver: TcpStream, bytes_max: usize, delay: Duration) {
        let mut sink = Resetting(Some(sink));
        let (mut bytes, mut up, mut down) = (0, vec![0; 16 << 10], vec![0; 16 << 10]);
        while bytes <= bytes_max {
            let Some(stream) = &mut sink.0 else { return };
            let is_over = tokio::select! {
                read = stream.read(&mut up) => match read {
                    Ok(0) | Err(_) => {
                        let _ = receiver.shutdown().await;
                        let _ = timeout(Duration::from_secs(5), tokio::io::copy(&mut receiver, stream)).await;
                        true
                    }
                    Ok(read) => {
                        sleep(delay).await;
                        bytes += read;
                        receiver.write_all(&up[..read]).await.is_err()
                    }
                },
                read = receiver.read(&mut down) => match read {
                    Ok(0) | Err(_) => true,
                    Ok(read) => {
                        sleep(delay).await;
                        stream.write_all(&down[..read]).await.is_err()
                    }
                },
            };
            if is_over {
                if let Some(mut stream) = sink.0.take() {
                    let _ = stream.shutdown().await;
                }
                return;
            }
        }
    }
}

/// A connection that is reset where it is dropped.
struct Resetting(Option<TcpStream>);

impl Drop for Resetting {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            reset(stream);
        }
    }
}

fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

async fn stall(mut sink: TcpStream, mut receiver: TcpStream, bytes_max: usize) {
    let mut some = vec![0; bytes_max];
    if let Ok(read) = sink.read(&mut some).await {
        let _ = receiver.write_all(&some[..read]).await;
    }
    sleep(Duration::from_millis(800)).await;
    reset(&sink);
}

/// Everything goes up for a while, nothing comes down.
async fn lose_answer(sink: TcpStream, receiver: TcpStream) {
    let (mut from_sink, to_sink) = sink.into_split();
    let (mut answers, mut to_receiver) = receiver.into_split();
    let up = async { tokio::io::copy(&mut from_sink, &mut to_receiver).await };
    let down = async { answers.read(&mut [0; 1024]).await };
    // The receiver has answered: so it has taken it.
    let _ = timeout(Duration::from_secs(3), async {
        tokio::select! { _ = up => {}, _ = down => {} }
    })
    .await;
    reset(whole(&from_sink, &to_sink));
}

fn whole<'s>(half: &'s OwnedReadHalf, _: &OwnedWriteHalf) -> &'s TcpStream {
    half.as_ref()
}

async fn slow(sink: TcpStream, receiver: TcpStream) {
    // What the kernel takes for us is not slow.
    let _ = SockRef::from(&sink).set_recv_buffer_size(4 << 10);
    let (mut sink, mut receiver) = (sink, receiver);
    for _ in 0..15 {
        let mut piece = [0; 102];
        match timeout(Duration::from_millis(100), sink.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => drop(receiver.write_all(&piece[..read]).await),
            Err(_) => {}
        }
        sleep(Duration::from_millis(100)).await;
    }
    reset(&sink);
}

/// Reads one request and answers it.
async fn answer(mut sink: TcpStream, status: u16, body: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match sink.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<u64>().ok()).unwrap_or(0);
    if head.contains("expect: 100-continue") {
        let _ = sink.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    }
    let _ = tokio::io::copy(&mut (&mut sink).take(length), &mut tokio::io::sink()).await;
    let kind = if body.starts_with('<') { "text/html" } else { "text/plain" };
    let answer = format!(
        "HTTP/1.1 {status} Chaos\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = sink.write_all(answer.as_bytes()).await;
    let _ = sink.shutdown().await;
}
