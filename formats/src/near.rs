//! Where the next of a few bytes stands, when it mostly stands near: words, names and short values.
//!
//! Eight bytes are looked at together, without the set-up that a wide search pays for itself only on
//! long runs; what goes on for longer is left to `memchr`.
//!
//! Invariant: one pass, and no byte is looked at by more than one of the two ways twice.

/// So many bytes are looked at here before `memchr` takes over.
const NEAR: usize = 64;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The place of the first `wanted` at or after `at`.
#[inline]
pub(crate) fn find(bytes: &[u8], at: usize, wanted: u8) -> Option<usize> {
    near(bytes, at, |eight| equal(eight, wanted), |byte| byte == wanted, |rest| memchr::memchr(wanted, rest))
}

/// The place of the first `one` or `other` at or after `at`.
#[inline]
pub(crate) fn find2(bytes: &[u8], at: usize, one: u8, other: u8) -> Option<usize> {
    near(
        bytes,
        at,
        |eight| equal(eight, one) | equal(eight, other),
        |byte| byte == one || byte == other,
        |rest| memchr::memchr2(one, other, rest),
    )
}

/// The place of the first control character, space, `=`, `]` or `"` at or after `at`: what ends a name
/// of RFC 5424 §6.3.2.
#[inline]
pub(crate) fn find_name_end(bytes: &[u8], at: usize) -> Option<usize> {
    let ends = |byte: u8| matches!(byte, 0..=b' ' | b'=' | b']' | b'"');
    near(
        bytes,
        at,
        |eight| below(eight, 0x21) | equal(eight, b'=') | equal(eight, b']') | equal(eight, b'"'),
        ends,
        |rest| rest.iter().position(|byte| ends(*byte)),
    )
}

#[inline(always)]
fn near(
    bytes: &[u8],
    at: usize,
    among: impl Fn(u64) -> u64,
    is: impl Fn(u8) -> bool,
    far: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let mut left = rest;
    let mut passed = 0_usize;
    while let Some((eight, after)) = left.split_first_chunk() {
        let found = among(u64::from_le_bytes(*eight)) & HIGH;
        if found != 0 {
            // At most 56, so the conversion is exact.
            return Some(at.wrapping_add(passed).wrapping_add((found.trailing_zeros() >> 3) as usize));
        }
        left = after;
        passed = passed.wrapping_add(8);
        if passed == NEAR {
            return far(left).map(|found| at.wrapping_add(passed).wrapping_add(found));
        }
    }
    left.iter().position(|byte| is(*byte)).map(|found| at.wrapping_add(passed).wrapping_add(found))
}

/// The high bit of each byte that is below `limit`. A subtraction borrows only from bytes above one
/// that has matched, so the lowest bit set is always true.
#[inline(always)]
fn below(eight: u64, limit: u64) -> u64 {
    eight.wrapping_sub(ONES.wrapping_mul(limit)) & !eight
}

/// The high bit of each byte that is `byte`; the lowest bit set is always true.
#[inline(always)]
fn equal(eight: u64, byte: u8) -> u64 {
    below(eight ^ ONES.wrapping_mul(byte as u64), 1)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_wherever_it_stands() {
        for len in 0..100 {
            for at in 0..=len {
                let plain = vec![b'x'; len];
                assert_eq!(find(&plain, at, b' '), None);
                for place in 0..len {
                    let mut bytes = plain.clone();
                    for found in [b' ', b'=', b']', b'"', 0, 0x1f] {
                        bytes[place] = found;
                        let expected = (place >= at).then_some(place);
                        assert_eq!(find(&bytes, at, found), expected);
                        assert_eq!(find2(&bytes, at, b'\\', found), expected);
                        assert_eq!(find_name_end(&bytes, at), expected);
                    }
                }
            }
        }
        assert_eq!(find(b"x", 2, b'x'), None);
        // Bytes above 0x7f and neighbours of those sought are no match.
        let others: Vec<u8> = (0..=255).filter(|byte| !matches!(byte, 0..=b' ' | b'=' | b']' | b'"')).collect();
        assert_eq!(find_name_end(&others, 0), None);
    }
}
