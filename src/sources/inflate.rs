//! Inflates what came compressed, into memory and within a limit.
//!
//! Invariant: never more than the limit is held, whatever the input says it will become.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// Why there is nothing inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InflateError {
    #[error("it inflates to more than the limit of {0} bytes")]
    TooLong(usize),
    #[error("its compressed bytes are damaged")]
    Damaged,
}

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zlib,
}

impl Compression {
    /// By the first bytes: RFC 1952 §2.3.1, RFC 1950 §2.2.
    pub(super) fn of(bytes: &[u8]) -> Option<Compression> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            // Deflate with a window of at most 32 KiB, and a check that both bytes are a multiple of 31.
            [method, flags, ..]
                if method & 0x0f == 8
                    && method >> 4 <= 7
                    && u16::from_be_bytes([*method, *flags]).is_multiple_of(31) =>
            {
                Some(Compression::Zlib)
            }
            _ => None,
        }
    }

    /// All that it inflates to, at most `bytes_max`.
    ///
    /// # Errors
    /// It is longer, or damaged.
    pub(super) fn inflate(self, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
        let mut inflated = Vec::new();
        let limit = bytes_max as u64 + 1;
        let read = match self {
            Compression::Gzip => MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut inflated),
            Compression::Zlib => ZlibDecoder::new(bytes).take(limit).read_to_end(&mut inflated),
        };
        match read {
            Ok(length) if length > bytes_max => Err(InflateError::TooLong(bytes_max)),
            Ok(_) => Ok(inflated),
            Err(_) => Err(InflateError::Damaged),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_compressed_is_known_and_bounded() {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"{}").unwrap();
        let zlib = encoder.finish().unwrap();
        for (bytes, expected) in
            [(gzip(b"{}"), Some(Compression::Gzip)), (zlib, Some(Compression::Zlib)), (b"{}".to_vec(), None)]
        {
            assert_eq!(Compression::of(&bytes), expected, "{bytes:?}");
            if let Some(compression) = expected {
                assert_eq!(compression.inflate(&bytes, 2).as_deref(), Ok(&b"{}"[..]));
                assert_eq!(compression.inflate(&bytes, 1), Err(InflateError::TooLong(1)));
                assert_eq!(compression.inflate(&bytes[..bytes.len() - 5], 100), Err(InflateError::Damaged));
            }
        }
        // 4 MiB in 4 KiB.
        let bomb = gzip(&vec![0; 4 << 20]);
        assert!(bomb.len() < 10_000);
        assert_eq!(Compression::Gzip.inflate(&bomb, 1000), Err(InflateError::TooLong(1000)));
    }
}
