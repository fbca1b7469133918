//! Runs of bytes an emitter may copy as they stand, found many bytes at a time.

/// How many bytes from the start of `bytes` are not `special`.
///
/// The test is made on 16 bytes at once without a branch between them, which compilers turn into
/// vector instructions; emitters spend most of their time here.
#[inline]
pub(crate) fn plain_len(bytes: &[u8], special: impl Fn(u8) -> bool) -> usize {
    let (chunks, _) = bytes.as_chunks::<16>();
    let is_plain = |chunk: &&[u8; 16]| !chunk.iter().fold(false, |found, byte| found | special(*byte));
    let plain = chunks.iter().take_while(is_plain).count().saturating_mul(16);
    let rest = bytes.get(plain..).unwrap_or_default();
    plain.saturating_add(rest.iter().position(|byte| special(*byte)).unwrap_or(rest.len()))
}
