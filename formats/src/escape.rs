//! Runs of bytes that may be copied as they stand, found many at a time: parsers of JSON and all
//! emitters spend most of their time here.

/// The control characters below 0x20 and a few bytes more.
pub(crate) struct Specials<const N: usize> {
    listed: [u8; N],
    table: [bool; 256],
}

/// Runs shorter than this are found byte by byte: most names and many values are.
const SHORT: usize = 8;

impl<const N: usize> Specials<N> {
    /// Those `listed`, and all below 0x20.
    // Evaluated when the crate is compiled: an index out of bounds would be an error there.
    #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    pub(crate) const fn controls_and(listed: [u8; N]) -> Self {
        let mut table = [false; 256];
        let mut at = 0;
        while at < 0x20 {
            table[at] = true;
            at += 1;
        }
        at = 0;
        while at < N {
            table[listed[at] as usize] = true;
            at += 1;
        }
        Specials { listed, table }
    }

    /// How many bytes from the start of `bytes` are not special.
    #[inline]
    pub(crate) fn plain_len(&self, bytes: &[u8]) -> usize {
        match self.position(bytes.get(..SHORT).unwrap_or(bytes)) {
            Some(at) => at,
            None if bytes.len() <= SHORT => bytes.len(),
            None => self.long_plain_len(bytes),
        }
    }

    /// The same for a run known to be longer than [`SHORT`].
    fn long_plain_len(&self, bytes: &[u8]) -> usize {
        let (chunks, _) = bytes.get(SHORT..).unwrap_or_default().as_chunks::<16>();
        let plain = chunks.iter().take_while(|chunk| self.is_plain(chunk)).count().saturating_mul(16);
        let plain = plain.saturating_add(SHORT);
        let rest = bytes.get(plain..).unwrap_or_default();
        plain.saturating_add(self.position(rest).unwrap_or(rest.len()))
    }

    fn position(&self, bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|byte| self.table.get(usize::from(*byte)).copied().unwrap_or(true))
    }

    /// Without a branch between the bytes, which compilers turn into a few vector instructions.
    #[inline]
    fn is_plain(&self, chunk: &[u8; 16]) -> bool {
        let is_special = |byte: u8| self.listed.iter().fold(byte < 0x20, |found, listed| found | (byte == *listed));
        !chunk.iter().fold(false, |found, byte| found | is_special(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_is_found_wherever_it_stands() {
        let specials = Specials::controls_and([b'"', 0x7f]);
        for len in 0..80 {
            let plain = vec![b'x'; len];
            assert_eq!(specials.plain_len(&plain), len);
            for at in 0..len {
                for special in [b'"', 0x7f, 0, 0x1f] {
                    let mut bytes = plain.clone();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = special;
                    }
                    assert_eq!(specials.plain_len(&bytes), at);
                }
            }
        }
    }
}
