//! The fields of an entry in the export form, as far as the source itself looks at them.
//!
//! Invariant: what stands inside a field is never taken for another one.

/// Name and value of each field, in their order; what is no field ends them.
pub(super) fn fields(entry: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = entry;
    std::iter::from_fn(move || {
        let end = memchr::memchr2(b'=', b'\n', rest)?;
        let (name, after) = rest.split_at(end);
        let value;
        if let Some(line) = after.strip_prefix(b"=") {
            let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
            (value, rest) = line.split_at(end);
        } else {
            // Not a line: its length in 8 bytes, little-endian, and so many bytes.
            let (length, data) = after.get(1..)?.split_first_chunk::<8>()?;
            (value, rest) = data.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        }
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        Some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_inside_of_another_is_none() {
        let message = b"two lines\n_PID=1\n";
        let length = (message.len() as u64).to_le_bytes();
        let entry = [b"__CURSOR=s=1;i=2\nMESSAGE\n", &length[..], message, b"\n_PID=7\nEMPTY=\nlast=x"].concat();
        let found: Vec<_> = fields(&entry).collect();
        let expected: [(&[u8], &[u8]); 5] =
            [(b"__CURSOR", b"s=1;i=2"), (b"MESSAGE", message), (b"_PID", b"7"), (b"EMPTY", b""), (b"last", b"x")];
        assert_eq!(found, expected);
        for broken in [&b""[..], b"\n", b"name", b"name\n\xff\xff", b"name\n\xff\xff\xff\xff\xff\xff\xff\xffx"] {
            assert!(fields(broken).all(|(name, _)| name.is_empty()), "{broken:?}");
        }
    }
}
