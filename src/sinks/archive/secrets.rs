//! Where a text holds secrets: passwords, tokens and keys by the name that stands before them, and those
//! that show by themselves what they are.
//!
//! Two looks: [`is_suspect`] is run over every line and allocates nothing; [`find`] over the texts of the few
//! that are. Both are linear, and of most lines look only at what stands before each sign, and once for all
//! the rest. Invariant: what is found begins and ends at an ASCII letter or an end of the
//! text, so that UTF-8 stays UTF-8.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use memchr::memmem::Finder;

use super::names::{AUTHORIZATION, NAME_BYTES_MAX, ends_like_one, is_other, is_value, may_end, rule_of, stand_in_len};

/// Secrets that begin so: the rule, how many letters of their kind follow at least.
const SHAPES: &[(&str, &str, usize)] = &[
    ("aws_key", "AKIA", 16),
    ("aws_key", "ASIA", 16),
    ("token", "ghp_", 20),
    ("token", "github_pat_", 20),
    ("token", "xoxb-", 20),
    ("token", "xoxp-", 20),
    ("jwt", "eyJ", 40),
    ("bearer", "earer ", 16),
];
static SHAPE_FINDERS: LazyLock<Vec<Finder<'static>>> =
    LazyLock::new(|| SHAPES.iter().map(|(_, beginning, _)| Finder::new(*beginning)).collect());
/// Finds any of what [`SHAPE_FINDERS`], [`FLAGS`] and [`KEY_BLOCKS`] find, in one pass: most texts have none.
/// None: it cannot be made, and each of them has to look.
static ANY: LazyLock<Option<Searcher>> =
    LazyLock::new(|| Searcher::new(SHAPES.iter().map(|(_, beginning, _)| *beginning).chain(["--"])));
static FLAGS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("--"));
static KEY_BLOCKS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY_BEGIN));

const KEY_BEGIN: &[u8] = b"-----BEGIN ";
const KEY_LABEL: &[u8] = b"PRIVATE KEY";
const KEY_END: [&[u8]; 2] = [b"-----", b" BLOCK-----"];
/// The value of a flag is looked for so far.
const FLAG_BYTES_MAX: usize = 4096;
/// Behind these a credential follows, however short.
const SCHEMES: &[&str] = &["basic", "bearer", "digest", "token", "negotiate", "apikey"];
/// How far the name may stand before `=` or `:`: quotes with their backslashes, spaces.
const BEFORE_MAX: usize = 16;
/// How far a value may stand behind the sign, and the quote of a text before the name it begins with.
const APART_MAX: usize = 128;
/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) range: Range<usize>,
    pub(super) rule: &'static str,
    /// Backslashes before each quote that its place needs: a number among quoted texts becomes a text.
    pub(super) quotes: Option<usize>,
}

/// Whether there may be a secret in it, or in a text that stands in it with backslashes.
pub(super) fn is_suspect(text: &[u8]) -> bool {
    let is_name = |at: usize| {
        let name = name_before(text, at, 2 * BEFORE_MAX, may_end);
        name.is_some_and(|name| readings(text, name).any(|name| ends_like_one(&text[name])))
    };
    let is_named =
        |at: usize| (!is_other(&text[..at]) && is_name(at)) || (is_url(text, at) && may_be_user_info(&text[at + 3..]));
    memchr::memchr2_iter(b'=', b':', text).any(is_named)
        || has_others(text)
            && (flags(text).any(|at| ends_like_one(&text[word(text, at)]))
                || KEY_BLOCKS.find(text).is_some()
                || SHAPES
                    .iter()
                    .zip(&*SHAPE_FINDERS)
                    .any(|(shape, finder)| finder.find_iter(text).any(|at| is_long(text, shape, at))))
}

/// Whether there is anything but signs behind names to be looked at.
fn has_others(text: &[u8]) -> bool {
    ANY.as_ref().is_none_or(|any| any.find(text).is_some())
}

/// All secrets of a text, in order; none overlaps another.
pub(super) fn find(text: &[u8]) -> Vec<Secret> {
    find_where(text, may_end, has_others(text))
}

/// All secrets, where names that may not end so, and others if there are none, need no look.
fn find_where(text: &[u8], may_end: impl Fn(&[u8], usize) -> bool, has_others: bool) -> Vec<Secret> {
    let mut found = Found { secrets: Vec::new(), covered: 0 };
    for at in memchr::memchr2_iter(b'=', b':', text) {
        let name = name_before(text, at, BEFORE_MAX, &may_end);
        let named =
            name.and_then(|name| readings(text, name).find_map(|name| Some((rule_of(&text[name.clone()])?, name))));
        found.look(at, || match named {
            Some((rule, name)) => value(text, rule, name, at + 1),
            None if is_url(text, at) => user_info(text, at + 3),
            None => None,
        });
    }
    if has_others {
        found.look_for_others(text);
    }
    let mut found = found.secrets;
    found.retain(|secret| {
        let text = &text[secret.range.clone()];
        !text.is_empty() && stand_in_len(text) != Some(text.len())
    });
    found.sort_by_key(|secret| (secret.range.start, usize::MAX - secret.range.end));
    let mut end = 0;
    found.retain(|secret| {
        let is_apart = secret.range.start >= end;
        end = end.max(secret.range.end);
        is_apart
    });
    found
}

/// What one way of looking has found. What it has covered is not looked at again: that keeps it linear.
struct Found {
    secrets: Vec<Secret>,
    covered: usize,
}

impl Found {
    /// What stands behind flags, and what shows by itself what it is.
    fn look_for_others(&mut self, text: &[u8]) {
        self.covered = 0;
        for at in flags(text) {
            self.look(at, || behind_flag(text, at));
        }
        self.covered = 0;
        for at in KEY_BLOCKS.find_iter(text) {
            self.look(at, || key_block(text, at));
        }
        for (shape, finder) in SHAPES.iter().zip(&*SHAPE_FINDERS) {
            self.covered = 0;
            for at in finder.find_iter(text) {
                self.look(at, || shaped(text, shape, at));
            }
        }
    }

    fn look(&mut self, at: usize, look: impl FnOnce() -> Option<Secret>) {
        if at < self.covered {
            return;
        }
        if let Some(secret) = look() {
            self.covered = secret.range.end;
            self.secrets.push(secret);
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The last part of the name before a sign, behind which only quotes and spaces stand, if it may be that of a
/// secret.
fn name_before(
    text: &[u8],
    sign: usize,
    gap_max: usize,
    may_end: impl Fn(&[u8], usize) -> bool,
) -> Option<Range<usize>> {
    let (mut end, least) = (sign, sign.saturating_sub(gap_max));
    while end > least {
        match text[end - 1] {
            b'"' | b'\'' | b'\\' | b' ' | b'\t' => end -= 1,
            // As texts in texts write it.
            b't' if end >= 2 && text[end - 2] == b'\\' => end -= 2,
            _ => break,
        }
    }
    if !may_end(text, end) {
        return None;
    }
    let from = end.saturating_sub(NAME_BYTES_MAX);
    let len = text[from..end].iter().rev().take_while(|byte| is_name(**byte)).count();
    let name = end - len..end;
    (name.start < name.end).then_some(name)
}

/// A name, and the same without the rest of an escape before it: `\token` may be either.
fn readings(text: &[u8], name: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let escape = escape_len(text, name.start);
    let short = name.start + escape..name.end;
    std::iter::once(name).chain((escape > 0 && short.start < short.end).then_some(short))
}

/// The bytes of the name that are the rest of an escape before it: in a text of JSON a new line is `\n`.
fn escape_len(text: &[u8], at: usize) -> usize {
    match (at.checked_sub(1).map(|before| text[before]), text[at..].first()) {
        (Some(b'\\'), Some(b'n' | b'r' | b't' | b'b' | b'f')) => 1,
        (Some(b'\\'), Some(b'u')) => {
            let digits = text.get(at + 1..at + 5).unwrap_or_default();
            if !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit) { 5 } else { 0 }
        }
        _ => 0,
    }
}

/// Where `--name` may begin: of a row of dashes the last two.
fn flags(text: &[u8]) -> impl Iterator<Item = usize> {
    FLAGS.find_iter(text).filter(|at| !text[at + 2..].starts_with(b"--"))
}

/// The word that begins there.
fn word(text: &[u8], at: usize) -> Range<usize> {
    let len = text[at..].iter().take_while(|byte| is_name(**byte)).take(64).count();
    at..at + len
}

fn is_url(text: &[u8], at: usize) -> bool {
    text[at..].starts_with(b"://")
}

/// `user:password@host`: the password, which may have a `@` of its own.
fn user_info(text: &[u8], from: usize) -> Option<Secret> {
    let rest = &text[from..];
    let end = rest.iter().position(|byte| byte.is_ascii_whitespace() || b"/?#\"'\\<>".contains(byte));
    let rest = &rest[..end.unwrap_or(rest.len())];
    let host = memchr::memrchr(b'@', rest)?;
    let colon = memchr::memchr(b':', &rest[..host])?;
    Some(Secret { range: from + colon + 1..from + host, rule: "url", quotes: None })
}

/// Whether `user:password@` may begin there, also with escapes in it.
fn may_be_user_info(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| byte.is_ascii_whitespace() || b"/?#\"'<>".contains(byte));
    let text = &text[..end.unwrap_or(text.len())];
    memchr::memrchr(b'@', text).is_some_and(|host| memchr::memchr(b':', &text[..host]).is_some())
}

/// The value behind `name=` or `"name":`.
fn value(text: &[u8], rule: &'static str, name: Range<usize>, from: usize) -> Option<Secret> {
    let from = behind_sign(text, from)?;
    // Among quoted names a bare value is no text.
    let slashes = text[name.end..].iter().take_while(|byte| **byte == b'\\').count();
    let is_json = text.get(name.end + slashes) == Some(&b'"');
    let (secret, is_quoted) = match quoted(text, from) {
        Some(range) => (range, true),
        None if is_json => (number(text, from), false),
        None => match to_quote(text, name.start, from) {
            Some(range) => (range, true),
            None => (bare(text, from), false),
        },
    };
    let body = &text[secret.clone()];
    match rule {
        AUTHORIZATION => return authorization(text, secret, is_quoted),
        _ if !is_value(&text[name], body) => return None,
        _ if is_quoted => return Some(Secret { range: secret, rule, quotes: None }),
        _ => {}
    }
    match body {
        b"null" | b"true" | b"false" if is_json => None,
        _ => Some(Secret { range: secret, rule, quotes: is_json.then_some(slashes) }),
    }
}

/// Where the value behind a sign begins: behind the rest of `=>`, `==` or `:=`, and white space. The next
/// line is none of it if it is about something else.
fn behind_sign(text: &[u8], from: usize) -> Option<usize> {
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
fn to_quote(text: &[u8], name: usize, from: usize) -> Option<Range<usize>> {
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

/// `Bearer abc`: what is behind the scheme; or all of it, if it is long enough for a credential.
fn authorization(text: &[u8], whole: Range<usize>, is_quoted: bool) -> Option<Secret> {
    let space = memchr::memchr(b' ', &text[whole.clone()]).map(|space| whole.start + space);
    let (scheme, range) = match space {
        Some(space) => (whole.start..space, space + 1..whole.end),
        // A line of a header: the scheme ends at the space.
        None if !is_quoted && text.get(whole.end) == Some(&b' ') && whole.len() < 16 => {
            (whole.clone(), bare(text, whole.end + 1))
        }
        None => (whole.start..whole.start, whole),
    };
    let is_scheme = SCHEMES.iter().any(|name| text[scheme.clone()].eq_ignore_ascii_case(name.as_bytes()));
    (is_scheme || range.len() >= 8).then_some(Secret { range, rule: AUTHORIZATION, quotes: None })
}

/// What stands between quotes. Texts in texts have backslashes before theirs, 1, 3 or 7: what ends one has
/// as many, or those of backslashes inside besides.
fn quoted(text: &[u8], from: usize) -> Option<Range<usize>> {
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
fn number(text: &[u8], from: usize) -> Range<usize> {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",;&\"'\\{}[]()<>|".contains(byte);
    let len = text[from..].iter().take_while(|byte| !is_end(byte)).count();
    from..from + len
}

/// A value without quotes: passwords have any sign in them. It ends at white space, a quote, or a separator
/// that another name follows; brackets at its end that it has not opened are none of it, nor separators.
fn bare(text: &[u8], from: usize) -> Range<usize> {
    let is_end = |at: usize| {
        let behind = text.get(at + 1).copied();
        match text[at] {
            b'"' => true,
            b'\\' => behind.is_some_and(|byte| b"\\\"'nrt".contains(&byte)),
            b'\'' => behind.is_none_or(|byte| byte.is_ascii_whitespace() || b"\"',;)]}".contains(&byte)),
            b'&' | b';' | b',' | b'|' => is_named(&text[at + 1..]),
            byte => byte.is_ascii_whitespace(),
        }
    };
    let mut end = (from..text.len()).find(|at| is_end(*at)).unwrap_or(text.len());
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

/// `--password x`, `"--password","x"`.
fn behind_flag(text: &[u8], at: usize) -> Option<Secret> {
    let text = &text[..text.len().min(at + FLAG_BYTES_MAX)];
    let name = word(text, at);
    let rule = rule_of(&text[name.clone()])?;
    let behind = &text[name.end..];
    let gap = behind.iter().take_while(|byte| b"\"'\\, ".contains(byte)).count();
    let is_apart = behind[..gap].iter().any(|byte| b", ".contains(byte));
    // The value's own quote is no part of the gap.
    let back = behind[..gap].iter().rev().take_while(|byte| b"\"'\\".contains(byte)).count();
    let from = name.end + gap - back;
    let range = quoted(text, from).unwrap_or_else(|| bare(text, from));
    // `--secret source=x` names one.
    let is_reference = rule == "secret" && memchr::memchr(b'=', &text[range.clone()]).is_some();
    let is_reference = is_reference || text[range.clone()].starts_with(b"--");
    (is_apart && !is_reference).then_some(Secret { range, rule, quotes: None })
}

/// A private key of PEM or PGP, to its end or that of the text.
fn key_block(text: &[u8], at: usize) -> Option<Secret> {
    let behind = at + KEY_BEGIN.len();
    let label = &text[behind..text.len().min(behind + 64)];
    let head = behind + key_label(label)?;
    let end = key_label(&text[head..]).map_or(text.len(), |end| head + end);
    Some(Secret { range: at..end, rule: "private_key", quotes: None })
}

/// Where the first `PRIVATE KEY-----` or `PRIVATE KEY BLOCK-----` of a text ends.
fn key_label(text: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(text, KEY_LABEL).map(|at| at + KEY_LABEL.len()).find_map(|at| {
        let end = KEY_END.iter().find(|end| text[at..].starts_with(end))?;
        Some(at + end.len())
    })
}

/// A secret that begins like one.
fn shaped(text: &[u8], (rule, beginning, len_min): &(&'static str, &str, usize), at: usize) -> Option<Secret> {
    let behind = at + beginning.len();
    // The word before a token is none of it.
    let from = if beginning.ends_with(' ') { behind } else { at };
    // In a text of JSON the letter before may be the end of a line: `\n`.
    let is_escape = at > 1 && text[at - 2] == b'\\' && b"nrtbf".contains(&text[at - 1]);
    if from == at && at > 0 && text[at - 1].is_ascii_alphanumeric() && !is_escape {
        return None;
    }
    let len = text[behind..].iter().take_while(|byte| is_credential(**byte)).count();
    (len >= *len_min).then_some(Secret { range: from..behind + len, rule, quotes: None })
}

/// Whether enough follows for such a secret, whatever stands before it.
fn is_long(text: &[u8], (_, beginning, len_min): &(&'static str, &str, usize), at: usize) -> bool {
    let behind = &text[at + beginning.len()..];
    behind.get(..*len_min).is_some_and(|behind| behind.iter().all(|byte| is_credential(*byte)))
}

fn is_credential(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.~+/=".contains(&byte)
}

#[cfg(test)]
mod tests;
