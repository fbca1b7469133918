//! Bytes that may be copied as they stand, looked at many at a time: parsers of JSON and all
//! emitters spend most of their time here.
//!
//! Whether a special byte is there is asked of 16 or 32 bytes at once ([`all`]). Where it stands is
//! found eight bytes at a time: they are one number, and a few sums over it mark the special ones.

/// Whether all bytes are so. It looks at every one of a block, because without an early end the
/// compiler looks at many at once, and nearly all texts are so to their end.
// Inlined where it is known what is asked.
#[inline(always)]
pub(crate) fn all(bytes: &[u8], is_so: impl Fn(u8) -> bool) -> bool {
    let all_of_32 = |block: &[u8; 32]| block.iter().fold(true, |so, byte| so & is_so(*byte));
    // Asked of sixteen twice: the compiler sees that it is the same, and makes one vector of it.
    let all_of_16 = |block: &[u8; 16]| all_of_32(&joined(block, block));
    // What stands at the end may overlap with what stands before it.
    if let Some(last) = bytes.last_chunk() {
        return bytes.as_chunks().0.iter().all(all_of_32) && all_of_32(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<16>(), bytes.last_chunk()) {
        return all_of_32(&joined(first, last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk()) {
        return all_of_16(&joined(first, last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk()) {
        let ends: [u8; 8] = joined(first, last);
        return all_of_16(&joined(&ends, &ends));
    }
    bytes.iter().all(|byte| is_so(*byte))
}

#[inline(always)]
fn joined<const HALF: usize, const WHOLE: usize>(one: &[u8; HALF], other: &[u8; HALF]) -> [u8; WHOLE] {
    let mut whole = [0; WHOLE];
    if let Some(start) = whole.first_chunk_mut() {
        *start = *one;
    }
    if let Some(end) = whole.last_chunk_mut() {
        *end = *other;
    }
    whole
}

/// The control characters below 0x20 and a few bytes more.
pub(crate) struct Specials<const N: usize> {
    listed: [u8; N],
    table: [bool; 256],
}

/// A byte eight times.
pub(crate) const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// How many bytes stand before the first with a mark (bit 7 of that byte); 8 without one.
#[inline]
pub(crate) fn bytes_before(marks: u64) -> usize {
    usize::try_from(marks.trailing_zeros().wrapping_shr(3)).unwrap_or(8)
}

/// The bits of a few bytes.
#[inline]
pub(crate) const fn bits(bytes: usize) -> u32 {
    (bytes as u32).wrapping_shl(3)
}

/// Fewer than eight bytes as one number, with 0 for those that are not there.
#[inline]
pub(crate) fn word_of(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        // Four at either end: where they overlap they are the same.
        let last = u64::from(u32::from_le_bytes(*last)).wrapping_shl(bits(bytes.len().wrapping_sub(4)));
        return u64::from(u32::from_le_bytes(*first)) | last;
    }
    match bytes {
        [] => 0,
        [one] => u64::from(*one),
        [one, two] => u64::from(u16::from_le_bytes([*one, *two])),
        [one, two, three, ..] => u64::from(u32::from_le_bytes([*one, *two, *three, 0])),
    }
}

/// Bytes that are gathered before they are appended: where an escape stands between any few of them, to append each
/// few costs more than all else.
pub(crate) struct Gathered {
    bytes: [u8; GATHERED_BYTES],
    len: usize,
}

const GATHERED_BYTES: usize = 256;

impl Gathered {
    pub(crate) fn new() -> Self {
        Gathered { bytes: [0; GATHERED_BYTES], len: 0 }
    }

    /// Adds the first `len` of eight bytes; there is room unless it was full.
    #[inline(always)]
    pub(crate) fn put(&mut self, word: u64, len: usize) {
        debug_assert!(len <= 8 && self.len.saturating_add(8) <= GATHERED_BYTES, "no room");
        if let Some(room) = self.bytes.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            *room = word.to_le_bytes();
            self.len = self.len.wrapping_add(len);
        }
    }

    /// Whether it has to be emptied before more than one [`put`](Self::put).
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.len > GATHERED_BYTES.wrapping_sub(24)
    }

    /// Empties it and answers what was in it.
    pub(crate) fn take(&mut self) -> &[u8] {
        let len = std::mem::take(&mut self.len);
        self.bytes.get(..len).unwrap_or_default()
    }
}

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

    /// Whether no byte is special.
    // Inlined where the set is known, so that all is compared with constants.
    #[inline(always)]
    pub(crate) fn none_in(&self, bytes: &[u8]) -> bool {
        all(bytes, |byte| !self.listed.iter().fold(byte < 0x20, |found, listed| found | (byte == *listed)))
    }

    /// How many bytes from the start of `bytes` are not special.
    #[inline]
    pub(crate) fn plain_len(&self, bytes: &[u8]) -> usize {
        let mut plain = 0_usize;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let marks = self.marks(u64::from_le_bytes(*word));
            if marks != 0 {
                return plain.wrapping_add(bytes_before(marks));
            }
            plain = plain.wrapping_add(8);
        }
        plain.wrapping_add(rest.iter().position(|byte| self.has(*byte)).unwrap_or(rest.len()))
    }

    /// Whether this byte is special.
    #[inline]
    pub(crate) fn has(&self, byte: u8) -> bool {
        self.table.get(usize::from(byte)).copied().unwrap_or(true)
    }

    /// Bit 7 of each special byte, exact for the lowest one.
    #[inline(always)]
    pub(crate) fn marks(&self, word: u64) -> u64 {
        // Less than 0x20, or equal: one less than nothing sets bit 7, as does a byte that had it.
        let mut below = word.wrapping_sub(eight(0x20));
        let mut above = 0;
        for listed in &self.listed {
            let zero = word ^ eight(*listed);
            let less = zero.wrapping_sub(eight(1));
            if listed.is_ascii() {
                below |= less;
            } else {
                above |= less & !zero;
            }
        }
        (below & !word | above) & eight(0x80)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_is_found_wherever_it_stands() {
        let specials = Specials::controls_and([b'"', 0x7f, 0xc2]);
        for len in 0..80 {
            for plain in [b'x', b' ', b'!', b'#', b'~', 0x80, 0x9f, 0xa2, 0xc1, 0xc3, 0xff] {
                let plain = vec![plain; len];
                assert_eq!((specials.plain_len(&plain), specials.none_in(&plain)), (len, true));
                for at in 0..len {
                    for special in [b'"', 0x7f, 0, 0x1f, 0xc2] {
                        let mut bytes = plain.clone();
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = special;
                        }
                        assert_eq!((specials.plain_len(&bytes), specials.none_in(&bytes)), (at, false));
                    }
                }
            }
        }
    }
}
