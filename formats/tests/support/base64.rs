//! RFC 4648 base64, as fixtures hold bytes that are no text.

/// The bytes, or nothing when it is no base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut len) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = DIGITS.iter().position(|known| *known == byte)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        len += 6;
        if len >= 8 {
            len -= 8;
            out.push(u8::try_from(bits >> len & 0xFF).ok()?);
        }
    }
    Some(out)
}
