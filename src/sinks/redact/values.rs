//! Where values begin and end: between quotes, as a number, to a separator.
//!
//! Invariant: each costs as many steps as the value has bytes, and some more.

use std::ops::Range;

use super::secrets::is_name;

/// How far a value may stand behind the sign, and the quote of a text before the name it begins with.
const APART_MAX: usize = 128;

/// Where the value behind a sign begins: behind the rest of `=>`, `==` or `:=`, and white space. The next
/// line is none of it if it is about something else.
pub(super) fn behind_sign(text: &[u8], from: usize) -> Option<usize> {
    let window = &text[from..text.len().min(from + APART_MAX)];
    let gap = window.iter().take_while(|byte| b"=>: \t\r\n".contains(byte)).count();
    let is_other_line = memchr::memchr(b'\n', &window[..gap]).is_some() && is_named(&window[gap..]);
    (!is_other_line).then_some(from + gap)
}

/// Whether `name=` or `name:` stands there, with a value.
fn is_named(text: &[u8]) -> bool {
    let text = text[..text.len().min(APART_MAX)].trim_ascii_start();
    let is_part = |byte: &&u8| is_name(**byte) || **byte == b'.';
    let len = text.iter().take(64).take_while(is_part).count();
    len > 0
        && text.get(len).is_some_and(|sign| b"=:".contains(sign))
        && text.get(len + 1).is_some_and(|byte| *byte != b'=')
}

/// A text that begins with the name, `"NAME=value"`: the value goes to its end, or to the next name.
pub(super) fn to_quote(text: &[u8], name: usize, from: usize) -> Option<Range<usize>> {
    let before = &text[name.saturating_sub(APART_MAX)..name];
    let len = before.iter().rev().take_while(|byte| is_name(**byte) || **byte == b'.').count();
    let quote = (name - len).checked_sub(1)?;
    let slashes = text[..quote].iter().rev().take(64).take_while(|byte| **byte == b'\\').count();
    let end = quoted(text, quote - slashes)?.end;
    // Where the quote ends something else, its text has ended before the value.
    let value = text.get(from..end)?;
    let next = value.iter().enumerate().position(|(at, byte)| byte.is_ascii_whitespace() && is_named(&value[at..]));
    Some(from..from + next.unwrap_or(value.len()))
}

/// What stands between quotes. Texts in texts have backslashes before theirs, 1, 3 or 7: what ends one has
/// as many, or those of backslashes inside besides.
pub(super) fn quoted(text: &[u8], from: usize) -> Option<Range<usize>> {
    let slashes = text[from..].iter().take_while(|byte| **byte == b'\\').count();
    let quote = *text.get(from + slashes).filter(|byte| b"\"'".contains(byte))?;
    if !(slashes + 1).is_power_of_two() {
        return None;
    }
    let from = from + slashes + 1;
    for at in memchr::memchr_iter(quote, &text[from..]) {
        let before = text[from..from + at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if before % ((slashes + 1) * 2) == slashes {
            return Some(from..from + at - slashes);
        }
    }
    // Cut off: the rest of the text is part of it.
    Some(from..text.len())
}

/// A value of JSON that is no text.
pub(super) fn number(text: &[u8], from: usize) -> Range<usize> {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",;&\"'\\{}[]()<>|".contains(byte);
    let len = text[from..].iter().take_while(|byte| !is_end(byte)).count();
    from..from + len
}

/// A value without quotes: passwords have any sign in them. It ends at white space, a quote, or one of these
/// separators that another name follows; brackets at its end that it has not opened are none of it, nor separators.
pub(super) fn bare(text: &[u8], from: usize, separators: &[u8]) -> Range<usize> {
    let is_end = |at: usize| {
        let behind = text.get(at + 1).copied();
        match text[at] {
            b'"' => true,
            b'\\' => {
                let run = text[at..].iter().take(16).take_while(|byte| **byte == b'\\').count();
                text.get(at + run) != Some(&b' ') && behind.is_some_and(|byte| b"\\\"'nrt".contains(&byte))
            }
            b'\'' => behind.is_none_or(|byte| byte.is_ascii_whitespace() || b"\"',;)]}".contains(&byte)),
            byte if separators.contains(&byte) => is_named(&text[at + 1..]),
            // A shell's word goes on behind it.
            b' ' => at == from || text[at - 1] != b'\\',
            byte => byte.is_ascii_whitespace(),
        }
    };
    let end = (from..text.len()).find(|at| is_end(*at)).unwrap_or(text.len());
    trimmed(text, from..end)
}

/// Without the brackets at its end that it has not opened, and separators.
pub(super) fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let Range { start: from, mut end } = range;
    // Some of them: a line of nothing else costs as much as any other.
    for _ in 0..8 {
        let Some(last) = text[from..end].last() else { break };
        let opening = match last {
            b',' | b';' => None,
            b')' => Some(b'('),
            b']' => Some(b'['),
            b'}' => Some(b'{'),
            b'>' => Some(b'<'),
            _ => break,
        };
        if opening.is_some_and(|opening| text[from..end].contains(&opening)) {
            break;
        }
        end -= 1;
    }
    from..end
}
