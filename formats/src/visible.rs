//! Text from outside, made fit for a terminal: nothing in it moves the cursor, hides or reorders
//! what a person reads.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character that a terminal would act on or not show written as `\u{…}`,
/// `\n`, `\t`, `\r` or `\0`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            _ if is_hidden(letter) => {
                // Writing into a string cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// The same, with line ends kept: for messages of several lines.
pub fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// The same for bytes: what is not UTF-8 is written as `\x…`.
pub fn visible_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&visible(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Control characters; what changes the direction of text; what takes no room or looks like a
/// space without being one; line ends that are not `\n`; what is no character at all.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || u32::from(letter) & 0xfffe == 0xfffe
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() {
        for (bytes, expected) in [
            (&b"plain \xc3\xa9"[..], "plain é"),
            (b"\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            (b"a\nb\tc\r\0", "a\\nb\\tc\\r\\0"),
            ("\u{202e}txt.exe\u{200b}\u{feff}\u{9b}".as_bytes(), "\\u{202e}txt.exe\\u{200b}\\u{feff}\\u{9b}"),
            (b"\xff\xfe!", "\\xff\\xfe!"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        ] {
            assert_eq!(visible_bytes(bytes), expected);
        }
        assert_eq!(visible_lines("a\nb\u{1b}"), "a\nb\\u{1b}");
    }
}
