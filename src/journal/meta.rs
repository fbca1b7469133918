//! Meta: the small file that says which journal this is. A directory without it begins a new life.
//!
//! ```text
//! 0 magic · 8 version u32 · 12 file bytes u32 · 16 incarnation u64 · 24 secret u64 · 32 CRC32C u32
//! ```

use std::io::{self, IoSlice};
use std::path::Path;

use super::segment::Identity;
use super::storage::Storage;
use super::{Incarnation, Settings};

const MAGIC: [u8; 8] = *b"WHARFMET";
const FILE_BYTES: usize = 36;

/// What the file says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meta {
    Missing,
    Damaged,
    Good(Identity),
}

pub(super) fn read_meta(storage: &dyn Storage, dir: &Path, names: &[String]) -> io::Result<Meta> {
    if !names.iter().any(|name| name == "meta") {
        return Ok(Meta::Missing);
    }
    let mut bytes = [0; FILE_BYTES];
    storage.open(&dir.join("meta"))?.read_at(&mut bytes, 0)?;
    let (covered, crc) = bytes.split_at(FILE_BYTES - 4);
    if covered[..8] != MAGIC || crc32c::crc32c(covered).to_le_bytes() != *crc {
        return Ok(Meta::Damaged);
    }
    let word = |at: usize| covered[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    Ok(Meta::Good(Identity { incarnation: Incarnation(word(16)), secret: word(24) }))
}

pub(super) fn new_identity(settings: &Settings, storage: &dyn Storage) -> io::Result<Identity> {
    let identity = Identity { incarnation: Incarnation(storage.random()?), secret: storage.random()? };
    write_meta(settings, storage, identity)
}

pub(super) fn write_meta(settings: &Settings, storage: &dyn Storage, identity: Identity) -> io::Result<Identity> {
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&(FILE_BYTES as u32).to_le_bytes());
    bytes.extend_from_slice(&identity.incarnation.0.to_le_bytes());
    bytes.extend_from_slice(&identity.secret.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    let temporary = settings.dir.join("meta.temp");
    let file = storage.create(&temporary)?;
    file.write_at(&mut [IoSlice::new(&bytes)], 0)?;
    file.sync_data()?;
    storage.rename(&temporary, &settings.dir.join("meta"))?;
    storage.sync_dir(&settings.dir)?;
    Ok(identity)
}
