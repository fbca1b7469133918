//! Bytes of a binary format, read from the front.
//!
//! Invariant: no length is believed: what is taken is there.

use crate::ParseError;

/// Bytes and how far they are read.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Steps over a byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    /// Steps over as many bytes as a length says; `expected` names them where they are not there.
    pub(crate) fn take(&mut self, len: u64, expected: &'static str) -> Result<&'a [u8], ParseError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        planted!("fluent" => { let _ = &rest[..len as usize]; });
        planted!("docker_local" => { let _ = &rest[..len as usize]; });
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken = taken.ok_or(ParseError::new(self.at, expected))?;
        self.at = self.at.saturating_add(taken.len());
        Ok(taken)
    }
}
