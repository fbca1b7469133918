//! Where objects, seals and checkpoints are kept: written once under a key, never changed.
//!
//! Calls block: the sink runs them on a thread of their own, verbs have nothing else to do.

use std::fmt::Debug;
use std::io::{self, Read};

use wharfinger_formats::Time;

/// Bytes compared at once.
const PIECE_BYTES: usize = 64 * 1024;
/// No seal and no checkpoint is longer.
pub(super) const NOTE_BYTES_MAX: u64 = 4 << 20;

/// What became of an object that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there now, durable.
    Done,
    /// It was there already, with the same bytes.
    Same,
    /// Something else is there under its key.
    Other,
}

/// How the store itself keeps an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Until when its lock lasts.
    pub until: Option<Time>,
    /// It is under legal hold.
    pub is_held: bool,
}

/// A place for objects.
pub trait Store: Debug + Send + Sync {
    /// Whether what is written will be kept as it is to be; asked before anything is.
    ///
    /// # Errors
    /// It will not, or the store cannot be asked.
    fn ready(&self) -> io::Result<()> {
        Ok(())
    }

    /// Writes an object unless there is one under its key.
    ///
    /// # Errors
    /// It is not known to be there: the same again later.
    fn put_new(&self, key: &str, bytes: &[u8]) -> io::Result<Put>;

    /// An object to be read; none if there is none under that key, or if it is no key.
    ///
    /// # Errors
    /// The store cannot be asked.
    fn open(&self, key: &str) -> io::Result<Option<Box<dyn Read>>>;

    /// Whether what stands under a key is these bytes; none if nothing does that could be read.
    ///
    /// # Errors
    /// The store cannot be asked.
    fn holds(&self, key: &str, bytes: &[u8]) -> io::Result<Option<bool>> {
        let Some(mut object) = self.open(key)? else { return Ok(None) };
        let (mut rest, mut piece) = (bytes, vec![0; PIECE_BYTES]);
        loop {
            match object.read(&mut piece) {
                Ok(0) => return Ok(Some(rest.is_empty())),
                Ok(len) => match rest.strip_prefix(&piece[..len]) {
                    Some(after) => rest = after,
                    None => return Ok(Some(false)),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// All keys that begin with a folder, in order, with the bytes of their objects.
    ///
    /// # Errors
    /// The store cannot be asked.
    fn keys(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;

    /// How these objects are kept. A store without locks keeps them as long as nobody deletes them.
    ///
    /// # Errors
    /// The store cannot be asked.
    fn kept(&self, keys: &[String]) -> io::Result<Vec<Kept>> {
        Ok(vec![Kept::default(); keys.len()])
    }

    /// How many objects are best read at once: more than one where each takes a way to somewhere else.
    fn read_at_once(&self) -> usize {
        1
    }

    /// Whether it keeps objects under legal hold itself: then [`Store::kept`] says what is held, and no record.
    fn locks(&self) -> bool {
        false
    }

    /// Puts objects under legal hold, or ends that. A store without locks has the record of it alone.
    ///
    /// # Errors
    /// The store refuses, or cannot be asked.
    fn hold(&self, _keys: &[String], _is_held: bool) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a text can be a key: `[A-Za-z0-9._=-]` between slashes, no part empty or with a dot in front.
/// What a seal names is read under no other.
pub fn is_key(key: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._=-".contains(&byte);
    key.len() <= 512 && key.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(legal))
}

/// Whether an error tells nothing about what is in the store: it gives no answer, or none to us.
pub(super) fn is_away(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::PermissionDenied)
}

/// The lines of an object, inflated as its key says.
///
/// # Errors
/// The decoder cannot begin.
pub(super) fn inflated<'o>(key: &str, object: Box<dyn Read + 'o>) -> io::Result<Box<dyn Read + 'o>> {
    Ok(match key.rsplit('.').next() {
        Some("zst") => Box::new(zstd::Decoder::new(object)?),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(object)),
        _ => object,
    })
}

/// A small object whole, at most `bytes_max` of it.
///
/// # Errors
/// The store cannot be asked, or the object is longer.
pub fn read_small(store: &dyn Store, key: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(object) = store.open(key)? else { return Ok(None) };
    let mut bytes = Vec::new();
    object.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(io::Error::other(format!("`{key}` is longer than {bytes_max} bytes"))),
        false => Ok(Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_out_of_the_store() {
        assert!(is_key("data/dt=2026-11-21/hour=09/000000000000.ndjson.zst"));
        for wrong in ["", "/etc/passwd", "../x", "data/../x", "data//x", "data/.x", "a b", "a\n", "ä", &"a".repeat(513)]
        {
            assert!(!is_key(wrong), "{wrong}");
        }
    }
}
