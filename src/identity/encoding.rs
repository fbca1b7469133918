//! From the bytes of an inventory file to text, whoever wrote it.
//!
//! Exports come in UTF-8 with and without a byte order mark, in UTF-16 (PowerShell's `-Encoding Unicode`), and in
//! the code page of a Windows machine.

use std::borrow::Cow;

use crate::document::{Mistake, Place};

/// The letters 80 to 9F of Windows-1252; the rest is Latin-1. Five are not used, and stand for themselves.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// What was read, and the first line that was not what it should be, if it could be read all the same.
#[derive(Debug)]
pub(super) struct Decoded<'b> {
    pub(super) text: Cow<'b, str>,
    pub(super) odd_line: Option<usize>,
}

/// # Errors
/// It is no text: the first line that is none.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Mistake> {
    let decoded = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => match std::str::from_utf8(rest) {
            Ok(text) => Decoded { text: text.into(), odd_line: None },
            Err(error) => {
                let line = line_of(rest, error.valid_up_to());
                return Err(broken(line, "it begins with the mark of UTF-8, and this line is not UTF-8"));
            }
        },
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Decoded { text: text.into(), odd_line: None },
            Err(error) => {
                let text: String = bytes.iter().map(|byte| windows_1252(*byte)).collect();
                Decoded { text: text.into(), odd_line: Some(line_of(bytes, error.valid_up_to())) }
            }
        },
    };
    match decoded.text.find('\0') {
        Some(at) => Err(broken(line_of(decoded.text.as_bytes(), at), "a zero byte: this is no text")),
        None => Ok(decoded),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Decoded<'static>, Mistake> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len() / 2);
    for letter in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let letter = letter.map_err(|_| {
            broken(
                line_of(text.as_bytes(), text.len()),
                "it begins with the mark of UTF-16, and half a letter stands here",
            )
        })?;
        text.push(letter);
    }
    if !rest.is_empty() {
        return Err(broken(line_of(text.as_bytes(), text.len()), "UTF-16 with an odd number of bytes: it is cut off"));
    }
    Ok(Decoded { text: text.into(), odd_line: None })
}

fn windows_1252(byte: u8) -> char {
    let of_page = byte.checked_sub(0x80).and_then(|at| WINDOWS_1252.get(usize::from(at)));
    of_page.copied().unwrap_or(char::from(byte))
}

/// Counted from one.
pub(super) fn line_of(bytes: &[u8], at: usize) -> usize {
    memchr::memchr_iter(b'\n', bytes.get(..at).unwrap_or(bytes)).count() + 1
}

fn broken(line: usize, cause: &str) -> Mistake {
    Mistake::new(Place { line, column: 1 }, cause, "export it again, as UTF-8")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn utf16_of(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(bytes_of).collect()
    }

    #[test]
    fn text_of_every_kind() {
        let text = "Name\r\nBüro–1 🐋\r\n";
        for bytes in [
            text.as_bytes().to_vec(),
            [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat(),
            utf16_of(text, u16::to_le_bytes),
            utf16_of(text, u16::to_be_bytes),
        ] {
            let decoded = decode(&bytes).unwrap();
            assert_eq!((&*decoded.text, decoded.odd_line), (text, None));
        }
        let decoded = decode(b"Name\r\nB\xfcro\x961 \x80\r\n").unwrap();
        assert_eq!((&*decoded.text, decoded.odd_line), ("Name\r\nBüro–1 €\r\n", Some(2)));
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        let cut = utf16_of("a\nb", u16::to_le_bytes);
        let cases: [(&[u8], usize); 4] = [
            (b"\xef\xbb\xbfa\n\xff\n", 2),
            (&cut[..cut.len() - 1], 2),
            (b"\xff\xfea\0\n\0\x00\xd8b\0", 2),
            (b"a\nb\nc\0", 3),
        ];
        for (bytes, line) in cases {
            let mistake = decode(bytes).unwrap_err();
            assert_eq!(mistake.place.unwrap().line, line, "{bytes:?}: {}", mistake.cause);
        }
    }
}
