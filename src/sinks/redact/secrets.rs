//! Where a text holds secrets: passwords, tokens and keys by the name that stands before them, and those
//! that show by themselves what they are.
//!
//! Two looks: [`is_suspect`] is run over every line and allocates nothing; [`find`] over the texts of the few
//! that are. Both are linear, and of most lines look only at what stands before each sign, and once for all
//! the rest: what is a secret is passed over, and values that are none may overlap a few times ([`Patience`]).
//! Invariant: what is found begins and ends at an ASCII letter or an end of the
//! text, so that UTF-8 stays UTF-8.

use std::cell::Cell;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use memchr::memmem::Finder;

use super::names::{AUTHORIZATION, NAME_BYTES_MAX, ends_like_one, is_other, is_value, may_end, rule_of, stand_in_len};
use super::quotes::Quotes;
use super::values::{bare, behind_sign, number, quoted, to_quote};
use super::words::Words;

/// Secrets that begin so: the rule, how many letters of their kind follow at least.
const SHAPES: &[(&str, &str, usize)] = &[
    ("aws_key", "AKIA", 16),
    ("aws_key", "ASIA", 16),
    ("token", "ghp_", 20),
    ("token", "gho_", 20),
    ("token", "ghu_", 20),
    ("token", "ghs_", 20),
    ("token", "ghr_", 20),
    ("token", "github_pat_", 20),
    ("token", "xoxb-", 20),
    ("token", "xoxp-", 20),
    ("token", "xoxa-", 20),
    ("token", "xoxr-", 20),
    ("token", "xoxe-", 20),
    ("token", "xapp-", 20),
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
/// What stands between a value without quotes and the name of another.
pub(super) const SEPARATORS: &[u8] = b"&;,|";
/// Values of JSON that are no secrets.
const NO_TEXTS: &[&[u8]] = &[b"null", b"true", b"false"];
/// Behind these a credential follows, however short.
const SCHEMES: &[&str] = &["basic", "bearer", "digest", "token", "negotiate", "apikey"];
/// How far the name may stand before `=` or `:`: quotes with their backslashes, spaces.
const BEFORE_MAX: usize = 16;
/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) range: Range<usize>,
    pub(super) rule: &'static str,
    /// Backslashes before each quote that its place needs: a number among quoted texts becomes a text.
    pub(super) quotes: Option<usize>,
}

/// Whether there may be a secret in it, or in a text that stands in it with backslashes.
pub(in crate::sinks) fn is_suspect(text: &[u8]) -> bool {
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
#[cfg(test)]
pub(super) fn find(text: &[u8]) -> Vec<Secret> {
    find_of(text, &Quotes::of(text), |_| true)
}

/// The same of the rules that are wanted alone: what is not wanted covers nothing.
pub(super) fn find_of(text: &[u8], quotes: &Quotes<'_>, wanted: impl Fn(&str) -> bool) -> Vec<Secret> {
    find_where(text, quotes, may_end, has_others(text), wanted)
}

/// All secrets, where names that may not end so, and others if there are none, need no look.
fn find_where(
    text: &[u8],
    quotes: &Quotes<'_>,
    may_end: impl Fn(&[u8], usize) -> bool,
    has_others: bool,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Secret> {
    let mut found = Found { secrets: Vec::new(), covered: 0 };
    let patience = Patience::with(text);
    for at in memchr::memchr2_iter(b'=', b':', text) {
        let name = name_before(text, at, BEFORE_MAX, &may_end);
        let named =
            name.and_then(|name| readings(text, name).find_map(|name| Some((rule_of(&text[name.clone()])?, name))));
        match named {
            Some((rule, name)) => found.look(at, || values(text, quotes, rule, name, at + 1, &patience)),
            None if is_url(text, at) => found.look(at, || user_info(text, at + 3)),
            None => {}
        }
    }
    if has_others {
        found.look_for_others(text, quotes, &patience);
    }
    let mut found = found.secrets;
    found.retain(|secret| {
        let text = &text[secret.range.clone()];
        !text.is_empty() && stand_in_len(text) != Some(text.len()) && wanted(secret.rule)
    });
    found.sort_by_key(|secret| (secret.range.start, usize::MAX - secret.range.end));
    let mut end = 0;
    found.retain_mut(|secret| {
        // What two of them share is one's alone.
        secret.range.start = secret.range.start.max(end);
        end = end.max(secret.range.end);
        !secret.range.is_empty()
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
    fn look_for_others(&mut self, text: &[u8], quotes: &Quotes<'_>, patience: &Patience) {
        self.covered = 0;
        for at in flags(text) {
            self.look(at, || behind_flag(text, quotes, at, patience));
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

    fn look<S: IntoIterator<Item = Secret>>(&mut self, at: usize, look: impl FnOnce() -> S) {
        if at < self.covered {
            return;
        }
        for secret in look() {
            self.covered = secret.range.end;
            self.secrets.push(secret);
        }
    }
}

/// How many bytes of values may be read and found to be no secrets. In a command none overlaps another; a text in
/// which they add up to more than a few times its length was made to be slow, and what is left of it counts as secret.
struct Patience(Cell<usize>);

impl Patience {
    fn with(text: &[u8]) -> Patience {
        Patience(Cell::new(4 * text.len() + 4096))
    }

    /// Whether a value of so many bytes may be let go.
    fn lets_go(&self, bytes: usize) -> bool {
        let left = self.0.get().saturating_sub(bytes + 8);
        self.0.set(left);
        left > 0
    }
}

pub(super) fn is_name(byte: u8) -> bool {
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
pub(super) fn escape_len(text: &[u8], at: usize) -> usize {
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

/// What stands behind `name=` or `"name":`, or in a list there.
fn values(
    text: &[u8],
    quotes: &Quotes<'_>,
    rule: &'static str,
    name: Range<usize>,
    from: usize,
    patience: &Patience,
) -> Vec<Secret> {
    let Some(from) = behind_sign(text, from) else { return Vec::new() };
    // Among quoted names a bare value is no text.
    let slashes = text[name.end..].iter().take_while(|byte| **byte == b'\\').count();
    let is_json = text.get(name.end + slashes) == Some(&b'"');
    let secret = |text, range, quotes| secret(text, rule, &name, range, quotes, patience);
    if is_json && text.get(from) == Some(&b'[') {
        let items = Words::of_list(text, from, slashes);
        return items.filter_map(|item| secret(text, item.range, item.quotes)).collect();
    }
    let unquoted = is_json.then_some(slashes);
    // No value goes on behind the text that its name stands in.
    let around = if is_json { None } else { quotes.around(&name) };
    let text = &text[..around.map_or(text.len(), |quoted| quoted.range.end.max(name.end))];
    if from >= text.len() {
        return Vec::new();
    }
    let (value, unquoted) = match quoted(text, from) {
        Some(range) => (range, None),
        None if is_json => (number(text, from), unquoted),
        None => match to_quote(text, name.start, from) {
            Some(range) => (range, None),
            None if rule == AUTHORIZATION => (authorization_line(text, from), None),
            // In a form nothing else is a separator.
            None if name.start > 0 && b"&?".contains(&text[name.start - 1]) => (bare(text, from, b"&"), None),
            None => (bare(text, from, SEPARATORS), None),
        },
    };
    secret(text, value, unquoted).into_iter().collect()
}

/// What such a value holds, if it is one; `quotes` if it is no text.
fn secret(
    text: &[u8],
    rule: &'static str,
    name: &Range<usize>,
    range: Range<usize>,
    quotes: Option<usize>,
    patience: &Patience,
) -> Option<Secret> {
    let body = &text[range.clone()];
    if rule == AUTHORIZATION {
        return Some(Secret { range: authorization(text, range)?, rule, quotes: None });
    }
    let is_none = !is_value(&text[name.clone()], body) || (quotes.is_some() && NO_TEXTS.contains(&body));
    (!(is_none && patience.lets_go(body.len()))).then_some(Secret { range, rule, quotes })
}

/// `Bearer abc`: what is behind the scheme; or all of it, if it is long enough for a credential.
fn authorization(text: &[u8], whole: Range<usize>) -> Option<Range<usize>> {
    let space = memchr::memchr(b' ', &text[whole.clone()]).map(|space| whole.start + space);
    let (scheme, range) = match space {
        Some(space) => (whole.start..space, space + 1..whole.end),
        None => (whole.start..whole.start, whole),
    };
    let is_scheme = SCHEMES.iter().any(|name| text[scheme.clone()].eq_ignore_ascii_case(name.as_bytes()));
    (is_scheme || range.len() >= 8).then_some(range)
}

/// A line of a header: the scheme ends at the space.
fn authorization_line(text: &[u8], from: usize) -> Range<usize> {
    let first = bare(text, from, SEPARATORS);
    match text.get(first.end) {
        Some(b' ') if first.len() < 16 => from..bare(text, first.end + 1, SEPARATORS).end,
        _ => first,
    }
}

/// `--password x`, `"--password","x"`; what stands behind `=` is found by its sign.
fn behind_flag(text: &[u8], quotes: &Quotes<'_>, at: usize, patience: &Patience) -> Option<Secret> {
    let name = word(text, at);
    let rule = rule_of(&text[name.clone()])?;
    text.get(name.end).filter(|byte| byte.is_ascii_whitespace() || b"\"'\\".contains(byte))?;
    let value = Words::behind(text, quotes, name).next()?;
    let body = &text[value.range.clone()];
    // `--secret source=x` names one.
    let is_reference = rule == "secret" && memchr::memchr(b'=', body).is_some();
    let is_none = value.quotes.is_some() && NO_TEXTS.contains(&body);
    let is_other = is_reference || is_none || body.starts_with(b"--");
    (!(is_other && patience.lets_go(body.len()))).then_some(Secret { range: value.range, rule, quotes: value.quotes })
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
