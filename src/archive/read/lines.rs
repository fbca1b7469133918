//! The lines of one object, handed out only when its stored bytes are those that were sealed.

use std::io::{BufRead as _, BufReader, Cursor, Read};

use super::{Sealed, Unread};
use crate::archive::merkle::sha256;
use crate::archive::store::{Store, inflated};
use crate::archive::verify::Fault;

/// A stored object is held in memory, so that what is told is what was checked.
const OBJECT_BYTES_MAX: u64 = 1 << 30;
/// No line of an archive is longer: a frame has at most some MiB.
const LINE_BYTES_MAX: u64 = 256 << 20;
const PIECE_BYTES: usize = 256 * 1024;

/// See above.
pub struct Lines {
    lines: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    key: String,
    /// As the seal says.
    records: u64,
    /// Handed out so far.
    told: u64,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lines({}, {} of {})", self.key, self.told, self.records)
    }
}

impl Lines {
    pub(super) fn open(store: &dyn Store, sealed: &Sealed) -> Result<Lines, Unread> {
        let Sealed { object: key, bytes, sha256: hash, records, .. } = sealed;
        if *bytes > OBJECT_BYTES_MAX {
            return Err(Unread::fault(Fault::Altered, key, format!("{bytes} bytes are more than is read at once")));
        }
        let Some(object) = store.open(key)? else {
            return Err(Unread::fault(Fault::Missing, key, "it is not there, and was sealed"));
        };
        let mut stored = Vec::with_capacity(usize::try_from(*bytes).unwrap_or(0).min(PIECE_BYTES));
        object.take(bytes + 1).read_to_end(&mut stored)?;
        if stored.len() as u64 != *bytes || sha256(&stored) != *hash {
            return Err(Unread::fault(Fault::Altered, key, "its bytes are not those that were sealed"));
        }
        let lines = BufReader::with_capacity(PIECE_BYTES, inflated(key, Box::new(Cursor::new(stored)))?);
        Ok(Lines { lines, line: Vec::new(), key: key.clone(), records: *records, told: 0 })
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// There are not as many as were sealed, or they cannot be inflated.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, Unread> {
        let wrong = |what: String| Unread::fault(Fault::Altered, &self.key, what);
        self.line.clear();
        let read = (&mut self.lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
        read.map_err(|error| wrong(format!("it cannot be inflated: {error}")))?;
        match (self.line.pop(), self.told < self.records) {
            (None, false) => Ok(None),
            (None, true) => {
                Err(wrong(format!("it has {} of the {} records that were sealed", self.told, self.records)))
            }
            (Some(b'\n'), true) => {
                self.told += 1;
                Ok(Some(&self.line))
            }
            (Some(b'\n'), false) => {
                Err(wrong(format!("it has more than the {} records that were sealed", self.records)))
            }
            (Some(_), _) => Err(wrong("a line has no end".to_owned())),
        }
    }
}
