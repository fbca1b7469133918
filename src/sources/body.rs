//! The body of an HTTP request: read within limits of size, time and memory, and inflated.
//!
//! Invariant: no request makes the gateway hold more than its announced limit, and all of them
//! together no more than [`ALL_BODIES_BYTES`].

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::CONTENT_ENCODING;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::part::{ByteSize, Problem};

/// Memory for the bodies of all requests.
const ALL_BODIES_BYTES: usize = 128 * 1024 * 1024;

/// Memory is asked for in steps of this.
const STEP_BYTES: usize = 64 * 1024;

/// After this time a body must have come at [`RATE_MIN`] on average.
const GRACE: Duration = Duration::from_secs(10);
const RATE_MIN: u64 = 1024;

/// Inflated bytes for each compressed one, looked at once there are [`RATIO_FROM`] of them.
const RATIO_MAX: usize = 100;
const RATIO_FROM: usize = 1024 * 1024;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Over the limit, also by what it inflates to.
    TooLarge,
    TooSlow,
    UnknownEncoding,
    /// Not what its encoding says, or the client has gone.
    Damaged,
    /// All bodies together take what memory there is for them.
    Busy,
}

pub(super) struct Bodies {
    body_bytes_max: usize,
    /// One permit for each step.
    memory: Arc<Semaphore>,
}

/// A body, and its share of the memory.
pub(super) struct Held {
    bytes: Vec<u8>,
    bytes_max: usize,
    memory: Arc<Semaphore>,
    permits: Vec<OwnedSemaphorePermit>,
    refused: Option<BodyError>,
    /// Compressed bytes so far, when the body is compressed.
    packed: Option<usize>,
}

impl std::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

enum Sink {
    Plain(Held),
    Gzip(Box<MultiGzDecoder<Held>>),
    /// Inflated when it is whole, at once: its window takes memory only meanwhile.
    Zstd(Held),
}

/// The largest window of zstd, 8 MiB: what RFC 8878 §3.1.1.1.2 asks decoders to support, and no more.
const ZSTD_WINDOW_LOG: u32 = 23;

impl Bodies {
    /// What is wrong with that as `max_body_bytes`, if anything.
    pub(super) fn problem(body_bytes_max: ByteSize) -> Option<Problem> {
        let is_odd = body_bytes_max > ByteSize::mib(64) || body_bytes_max < ByteSize::kib(1);
        is_odd.then(|| Problem {
            option: "max_body_bytes",
            message: format!("`{}` bytes for one request", body_bytes_max.get()),
            hint: "write something between 1KiB and 64MiB".to_owned(),
        })
    }

    pub(super) fn new(body_bytes_max: usize) -> Self {
        Bodies { body_bytes_max, memory: Arc::new(Semaphore::new(ALL_BODIES_BYTES / STEP_BYTES)) }
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    /// It is too large, too slow, or not what its encoding says.
    pub(super) async fn read(&self, request: Request<Incoming>) -> Result<Held, BodyError> {
        let encoding = request.headers().get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase());
        let body = request.into_body();
        if body.size_hint().lower() > self.body_bytes_max as u64 {
            return Err(BodyError::TooLarge);
        }
        let held = Held {
            bytes: Vec::new(),
            bytes_max: self.body_bytes_max,
            memory: self.memory.clone(),
            permits: Vec::new(),
            refused: None,
            packed: None,
        };
        let sink = Sink::of(encoding.as_deref().unwrap_or_default(), held).ok_or(BodyError::UnknownEncoding)?;
        read(body, sink, self.body_bytes_max).await
    }
}

async fn read<B>(mut body: B, mut sink: Sink, body_bytes_max: usize) -> Result<Held, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let started = Instant::now();
    let mut received = 0;
    loop {
        let allowed = GRACE + Duration::from_secs(received as u64 / RATE_MIN);
        let frame = tokio::time::timeout_at(started + allowed, body.frame()).await.map_err(|_| BodyError::TooSlow)?;
        let Some(frame) = frame else { return sink.finish() };
        // The client has gone: nobody reads the answer.
        let frame = frame.map_err(|_| BodyError::Damaged)?;
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        if received > body_bytes_max {
            return Err(BodyError::TooLarge);
        }
        sink.take(&data)?;
    }
}

impl Sink {
    /// What takes a body of that `Content-Encoding`.
    fn of(encoding: &[u8], held: Held) -> Option<Sink> {
        Some(match encoding {
            b"" | b"identity" => Sink::Plain(held),
            b"gzip" | b"x-gzip" => Sink::Gzip(Box::new(MultiGzDecoder::new(Held { packed: Some(0), ..held }))),
            b"zstd" => Sink::Zstd(held),
            _ => return None,
        })
    }

    fn take(&mut self, data: &[u8]) -> Result<(), BodyError> {
        match self {
            Sink::Plain(held) | Sink::Zstd(held) => held.take(data),
            Sink::Gzip(decoder) => {
                if let Some(packed) = &mut decoder.get_mut().packed {
                    *packed += data.len();
                }
                let written = decoder.write_all(data);
                written.map_err(|_| decoder.get_mut().refused.unwrap_or(BodyError::Damaged))
            }
        }
    }

    fn finish(self) -> Result<Held, BodyError> {
        match self {
            Sink::Plain(held) => Ok(held),
            Sink::Gzip(mut decoder) => match decoder.try_finish() {
                Ok(()) => decoder.finish().map_err(|_| BodyError::Damaged),
                Err(_) => Err(decoder.get_mut().refused.unwrap_or(BodyError::Damaged)),
            },
            Sink::Zstd(packed) => packed.inflate(),
        }
    }
}

impl Held {
    /// What its frames of zstd hold.
    fn inflate(self) -> Result<Held, BodyError> {
        let (bytes, memory) = (Vec::new(), self.memory.clone());
        let mut held = Held { bytes, memory, permits: Vec::new(), refused: None, packed: Some(self.len()), ..self };
        let decoder = zstd::stream::read::Decoder::with_buffer(&self.bytes[..]);
        let copied = decoder.and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            io::copy(&mut decoder, &mut held)
        });
        copied.map_err(|_| held.refused.unwrap_or(BodyError::Damaged)).map(|_| held)
    }

    fn take(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let length = self.bytes.len() + data.len();
        let is_bomb = self.packed.is_some_and(|packed| length > RATIO_FROM && length / RATIO_MAX > packed);
        if length > self.bytes_max || is_bomb {
            return Err(BodyError::TooLarge);
        }
        while self.permits.len() * STEP_BYTES < length {
            // Waiting could wait for ever, with every request holding a part.
            self.permits.push(self.memory.clone().try_acquire_owned().map_err(|_| BodyError::Busy)?);
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Write for Held {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.take(data) {
            Ok(()) => Ok(data.len()),
            Err(error) => {
                self.refused = Some(error);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For fuzzing: what a body holds that arrives in pieces of `step` bytes; nothing if it is refused.
#[cfg(fuzzing)]
pub fn inflated(encoding: &[u8], body: &[u8], step: usize, bytes_max: usize) -> Option<Vec<u8>> {
    let memory = Arc::new(Semaphore::new(ALL_BODIES_BYTES / STEP_BYTES));
    let held = Held { bytes: Vec::new(), bytes_max, memory, permits: Vec::new(), refused: None, packed: None };
    let mut sink = Sink::of(encoding, held)?;
    for piece in body.chunks(step) {
        sink.take(piece).ok()?;
    }
    sink.finish().ok().map(|held| held.bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    fn held(bytes_max: usize) -> Held {
        let memory = Arc::new(Semaphore::new(1024));
        Held { bytes: Vec::new(), bytes_max, memory, permits: Vec::new(), refused: None, packed: None }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn inflate(body: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
        let sink = Sink::of(b"gzip", held(bytes_max)).unwrap();
        read(Full::new(Bytes::from(body)), sink, bytes_max).await.map(|held| held.to_vec())
    }

    #[tokio::test]
    async fn gzip_within_limits() {
        assert_eq!(inflate(gzip(b"{}"), 1000).await, Ok(b"{}".to_vec()));
        let two_members = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(inflate(two_members, 1000).await, Ok(b"onetwo".to_vec()));
        assert_eq!(inflate(b"no gzip".to_vec(), 1000).await, Err(BodyError::Damaged));
        let cut = gzip(&[b'x'; 500]);
        assert_eq!(inflate(cut[..cut.len() - 9].to_vec(), 1000).await, Err(BodyError::Damaged));
        assert_eq!(inflate(gzip(&[b'x'; 1001]), 1000).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn a_bomb_is_refused_by_size_and_by_ratio() {
        let bomb = gzip(&vec![0; 4 << 20]);
        assert_eq!(inflate(bomb.clone(), 1 << 20).await, Err(BodyError::TooLarge));
        // Within the size, but no log is that even.
        assert_eq!(inflate(bomb, 10 << 20).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn zstd_within_the_same_limits() {
        let inflate = async |body: Vec<u8>, bytes_max| {
            let sink = Sink::of(b"zstd", held(bytes_max)).unwrap();
            read(Full::new(Bytes::from(body)), sink, bytes_max).await.map(|held| held.to_vec())
        };
        let packed = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        assert_eq!(inflate([packed(b"one"), packed(b"two")].concat(), 1000).await, Ok(b"onetwo".to_vec()));
        assert_eq!(inflate(b"no zstd".to_vec(), 1000).await, Err(BodyError::Damaged));
        let cut = packed(b"a line that is not whole");
        assert_eq!(inflate(cut[..cut.len() - 1].to_vec(), 1000).await, Err(BodyError::Damaged));
        assert_eq!(inflate(packed(&[b'x'; 1001]), 1000).await, Err(BodyError::TooLarge));
        let bomb = packed(&vec![0; 4 << 20]);
        assert_eq!(inflate(bomb, 10 << 20).await, Err(BodyError::TooLarge), "by its ratio");
        // A frame that asks for a window of 1 GiB (RFC 8878 §3.1.1.1.2): 20 << 3.
        let greedy = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 20 << 3, 0x01, 0x00, 0x00];
        assert_eq!(inflate(greedy.to_vec(), 10 << 20).await, Err(BodyError::Damaged));
    }

    #[tokio::test]
    async fn memory_is_shared() {
        let memory = Arc::new(Semaphore::new(2));
        let mut first = Held { memory: memory.clone(), ..held(1 << 20) };
        let mut second = Held { memory: memory.clone(), ..held(1 << 20) };
        assert_eq!(first.take(&vec![0; STEP_BYTES + 1]), Ok(()));
        assert_eq!(second.take(b"x"), Err(BodyError::Busy));
        drop(first);
        assert_eq!(second.take(b"x"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up() {
        let drip = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
        });
        let body = StreamBody::new(Box::pin(drip));
        let started = Instant::now();
        assert!(matches!(read(body, Sink::Plain(held(1000)), 1000).await, Err(BodyError::TooSlow)));
        assert_eq!(started.elapsed(), GRACE);
    }
}
