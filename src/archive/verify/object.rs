//! One object against its seal.
//!
//! Invariants: an object is read in pieces; it is inflated only when its bytes are those that were sealed.

use std::io::{self, BufRead as _, BufReader, Read};

use sha2::{Digest, Sha256};

use crate::archive::merkle::{Hash, Tree};
use crate::archive::seal::Data;
use crate::archive::store::{Store, inflated};

const PIECE_BYTES: usize = 256 * 1024;
/// No line of an archive is longer: a frame has at most some MiB.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// What is wrong with it, if anything is.
pub(super) fn check_object(store: &dyn Store, data: &Data, deep: bool) -> io::Result<Option<String>> {
    let Some(object) = store.open(&data.object)? else {
        return Ok(Some("it is no file that can be read".to_owned()));
    };
    let mut counted = Hashed { inner: object, hash: Sha256::new(), bytes: 0 };
    io::copy(&mut BufReader::with_capacity(PIECE_BYTES, &mut counted), &mut io::sink())?;
    let hash: Hash = counted.hash.finalize().into();
    if counted.bytes != data.bytes || hash != data.sha256 {
        return Ok(Some("its bytes are not those that were sealed".to_owned()));
    }
    if !deep {
        return Ok(None);
    }
    match store.open(&data.object)? {
        Some(object) => root(inflated(&data.object, object)?, data),
        None => Ok(Some("it was there, and is not any more".to_owned())),
    }
}

/// Makes the root of its lines.
fn root(lines: Box<dyn Read>, data: &Data) -> io::Result<Option<String>> {
    let mut lines = BufReader::with_capacity(PIECE_BYTES, lines);
    let mut tree = Tree::default();
    loop {
        let (mut leaf, mut len) = (Sha256::new().chain_update([0]), 0_u64);
        let is_whole = loop {
            let piece = lines.fill_buf()?;
            if piece.is_empty() {
                break false;
            }
            let (part, used, is_whole) = match memchr::memchr(b'\n', piece) {
                Some(at) => (&piece[..at], at + 1, true),
                None => (piece, piece.len(), false),
            };
            leaf.update(part);
            len += used as u64;
            lines.consume(used);
            if is_whole || len > LINE_BYTES_MAX {
                break is_whole;
            }
        };
        match is_whole {
            true if tree.size() < data.records => tree.push(leaf.finalize().into()),
            true => return Ok(Some(format!("it has more than the {} records that were sealed", data.records))),
            false if len > 0 => return Ok(Some("its last line has no end".to_owned())),
            false => break,
        }
    }
    if tree.size() != data.records || tree.root() != data.root {
        return Ok(Some(format!("its {} records are not those that were sealed", tree.size())));
    }
    Ok(None)
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(piece)?;
        self.hash.update(&piece[..len]);
        self.bytes += len as u64;
        Ok(len)
    }
}
