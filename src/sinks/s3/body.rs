//! The bytes of an object while they come: where the connection breaks, the rest is asked for.
//!
//! Invariant: what is read is one object; when another one stands there meanwhile, that is an error.

use std::io::{self, ErrorKind, Read};

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf as _, Bytes};

use super::bucket::Bucket;

/// How often an object may break off.
const BREAKS_MAX: u32 = 5;

/// See above.
pub(super) struct Body {
    bucket: Bucket,
    key: String,
    stream: ByteStream,
    /// What the store calls this very content.
    tag: Option<String>,
    /// What has come and was not read yet.
    piece: Bytes,
    /// Bytes that have come.
    at: u64,
    breaks: u32,
}

impl Body {
    pub(super) fn new(bucket: Bucket, key: &str, stream: ByteStream, tag: Option<String>) -> Body {
        Body { bucket, key: key.to_owned(), stream, tag, piece: Bytes::new(), at: 0, breaks: 0 }
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !out.is_empty() {
            match self.bucket.next(&mut self.stream) {
                None => return Ok(0),
                Some(Ok(piece)) => {
                    self.at += piece.len() as u64;
                    self.piece = piece;
                }
                Some(Err(error)) if self.breaks == BREAKS_MAX || self.tag.is_none() => {
                    let cause = format!("`{}` breaks off: {error}", self.key);
                    return Err(io::Error::new(ErrorKind::NotConnected, cause));
                }
                Some(Err(_)) => {
                    self.breaks += 1;
                    (self.stream, _) = self.bucket.get(&self.key, self.at, self.tag.as_deref())?;
                }
            }
        }
        let len = self.piece.len().min(out.len());
        self.piece.copy_to_slice(&mut out[..len]);
        Ok(len)
    }
}
