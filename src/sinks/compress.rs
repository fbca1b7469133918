//! Compression of files and objects: one gzip member or zstd frame, the same bytes for the same input.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// How requests are compressed (`Content-Encoding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compress {
    #[default]
    Gzip,
    None,
}

/// zstd's own fast level: seven times smaller. Level 3 saves a sixth of that for a fifth more time, and no level
/// above is worth its time: the table is in docs/performance.md.
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// What a file name ends with.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }

    /// The same for a file of JSON lines.
    pub(super) fn ndjson_suffix(self) -> &'static str {
        match self {
            Compression::None => ".ndjson",
            Compression::Gzip => ".ndjson.gz",
            Compression::Zstd => ".ndjson.zst",
        }
    }

    /// The media type of what it makes of lines. Never a Content-Encoding: clients would inflate
    /// silently, and hashes, sizes and names would no longer match.
    #[cfg(feature = "s3")]
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Compression::None => "application/x-ndjson",
            Compression::Gzip => "application/gzip",
            Compression::Zstd => "application/zstd",
        }
    }

    pub(super) fn encoder(self) -> io::Result<Encoder> {
        Ok(match self {
            Compression::None => Encoder::Plain(Vec::new()),
            // No time and no name in the header: the same input makes the same bytes.
            Compression::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            Compression::Zstd => Encoder::Zstd(zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// All of `bytes` at once.
    pub(super) fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut encoder = self.encoder()?;
        encoder.write_all(bytes)?;
        encoder.finish()
    }
}

pub(super) enum Encoder {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Plain(out) => out.write_all(bytes),
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Plain(out) => Ok(out),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_same_bytes_for_the_same_lines_and_back() {
        let lines = b"{\"a\":1}\n".repeat(1000);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let packed = compression.compress(&lines).unwrap();
            assert_eq!(packed, compression.compress(&lines).unwrap());
            let mut back = Vec::new();
            match compression {
                Compression::None => back.clone_from(&packed),
                Compression::Gzip => {
                    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
                }
                Compression::Zstd => back = zstd::decode_all(&packed[..]).unwrap(),
            }
            assert_eq!(back, lines);
        }
    }
}
