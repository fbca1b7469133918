//! Structured data of RFC 5424 §6.3: `[SD-ID NAME="VALUE" …]…`.
//!
//! Invariant: either all elements are read or the event is left as it was.

use std::ops::Range;

use super::OWN_ID;
use crate::event::{Cell, ExtraCell};
use crate::json_read::KEYS_MAX;
use crate::near;
use crate::repeats::{Seen, repeated_names};
use crate::text::Text;
use crate::{Event, Field, Kind, ParseError, Time, Value};

/// As many keys as an event takes, and all of its fields beside them: what we write can be read.
const PARAMS_MAX: usize = 2_200;
const _: () = assert!(KEYS_MAX as usize + Field::COUNT < PARAMS_MAX);

/// Reads the elements that begin at `at`; answers where they end, and whether one of them is ours.
pub(super) fn parse<'a>(text: &Text<'a>, at: usize, event: &mut Event<'a>) -> Option<(usize, bool)> {
    let mark = event.extras().len();
    let mut own = false;
    let mut ids = Ids { first: [&[]; 4], count: 0, more: Vec::new(), all_new: true };
    let mut at = at;
    while text.bytes().get(at) == Some(&b'[') {
        let limit = mark.saturating_add(PARAMS_MAX);
        match element(text, at.wrapping_add(1), limit, event) {
            Some(Element { id, end, is_all_new }) => {
                own |= id == OWN_ID.as_bytes();
                ids.all_new &= is_all_new;
                ids.add(id);
                at = end;
            }
            None => {
                event.note("structured data not understood");
                if event.extras().len() >= limit {
                    event.mark_partial(&ParseError::new(at, "at most 2,200 parameters"), text.bytes());
                }
                event.truncate_extras(mark);
                return None;
            }
        }
    }
    // With our own element another gateway has looked, and what it found comes along.
    match own {
        true => adopt(event, mark),
        false => ids.name_repeats(mark, event),
    }
    Some((at, own))
}

/// The SD-IDs of a line. §6.3.2: "The same SD-ID MUST NOT exist more than once in a message."
struct Ids<'a> {
    /// Nearly all lines have no more.
    first: [&'a [u8]; 4],
    count: usize,
    more: Vec<&'a [u8]>,
    /// No element has a parameter twice.
    all_new: bool,
}

impl<'a> Ids<'a> {
    fn add(&mut self, id: &'a [u8]) {
        match self.first.get_mut(self.count) {
            Some(slot) => *slot = id,
            None => self.more.push(id),
        }
        self.count = self.count.wrapping_add(1);
    }

    /// Names the ids that came twice, and the parameters that did. A parameter may ("`ip` of `origin`"); who
    /// looks for one value of it should know that there are two.
    fn name_repeats(&self, mark: usize, event: &mut Event<'_>) {
        if self.count < 2 && self.all_new {
            return;
        }
        let mut ids: Vec<&[u8]> = Vec::new();
        let first = self.first.get(..self.count.min(self.first.len())).unwrap_or_default();
        let is_repeated = || first.iter().enumerate().any(|(at, id)| first.iter().take(at).any(|before| before == id));
        if !self.more.is_empty() || is_repeated() {
            ids.extend(first.iter().chain(&self.more));
            ids.sort_unstable();
        }
        let again = ids.iter().zip(ids.iter().skip(1)).filter(|(one, other)| one == other).map(|(one, _)| *one);
        let names: Vec<_> = again.map(String::from_utf8_lossy).collect();
        // What stands in different elements has different names, unless a full stop is in those of elements.
        let all_apart = || self.all_new && first.iter().all(|id| !id.contains(&b'.'));
        if names.is_empty() && (all_apart() || Seen::all_new(event, mark)) {
            return;
        }
        let keys = event.extra_keys().skip(mark);
        if let Some(names) = repeated_names(keys, names.iter().map(|name| &**name)) {
            event.set(Field::ParseDuplicateKeys, &names);
        }
    }
}

/// An element that was read: its SD-ID, and where it ends.
struct Element<'t> {
    id: &'t [u8],
    end: usize,
    /// No parameter is in it twice; else one may be.
    is_all_new: bool,
}

/// One element whose SD-ID begins at `start`. None, too, when the event has `limit` extras.
fn element<'t, 'a>(text: &'t Text<'a>, start: usize, limit: usize, event: &mut Event<'a>) -> Option<Element<'t>> {
    let bytes = text.bytes();
    if event.extras().len() >= limit {
        return None;
    }
    let mut at = name_end(bytes, start)?;
    let id = bytes.get(start..at)?;
    let own = id == OWN_ID.as_bytes();
    let group = match id {
        // What stands before a line of CEF is not what the line says. The number is that of ids which have none.
        b"cef" => event.span_with(|own| own.push_str("cef@32473")),
        _ => event.keep(text, start..at),
    };
    if bytes.get(at) == Some(&b']') {
        let empty = event.keep(text, at..at);
        event.push_extra(ExtraCell { group, name: empty, value: Cell::Str(empty) });
        return Some(Element { id, end: at.wrapping_add(1), is_all_new: true });
    }
    let (mut seen, mut is_all_new) = (0_u64, true);
    loop {
        // One space is the rule, more are met.
        while bytes.get(at)? == &b' ' {
            at = at.wrapping_add(1);
        }
        if bytes.get(at)? == &b']' {
            return Some(Element { id, end: at.wrapping_add(1), is_all_new });
        }
        if event.extras().len() >= limit {
            return None;
        }
        let name_at = at;
        at = name_end(bytes, at)?;
        let name = event.keep(text, name_at..at);
        let bit = bit_of(bytes, name_at..at);
        is_all_new &= seen & bit == 0;
        seen |= bit;
        let value_at = value_start(bytes, at)?;
        let (end, escaped) = value_end(bytes, value_at)?;
        let value = match escaped {
            false => Cell::Str(event.keep(text, value_at..end)),
            true => event.cell(Value::Str(&unescape(&text.piece(value_at..end), own))),
        };
        event.push_extra(ExtraCell { group, name, value });
        at = end.wrapping_add(1);
        // A quote is followed by a space or the end of the element.
        if !matches!(bytes.get(at)?, b' ' | b']') {
            return None;
        }
    }
}

/// The same bit for the same name, mostly another one for another.
#[inline]
fn bit_of(bytes: &[u8], name: Range<usize>) -> u64 {
    let last = bytes.get(name.end.wrapping_sub(1)).copied().map_or(0, u32::from);
    // The odd number spreads every bit over the highest six.
    1_u64.wrapping_shl((last | (name.len() as u32) << 8).wrapping_mul(0x9e37_79b9).wrapping_shr(26))
}

/// Where the name that begins at `start` ends: at a control, or §6.3.2's `=`, SP, `]` and `"`. Its
/// length is not checked: too long is still a name.
#[inline]
fn name_end(bytes: &[u8], start: usize) -> Option<usize> {
    near::find_name_end(bytes, start).filter(|end| *end > start)
}

/// Steps over `="`, and over the spaces before the quote that some senders write.
fn value_start(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at..)? {
        [b'=', b'"', ..] => Some(at.saturating_add(2)),
        [b'=', rest @ ..] => {
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            (rest.get(spaces) == Some(&b'"')).then(|| at.saturating_add(spaces).saturating_add(2))
        }
        _ => None,
    }
}

/// Where the closing quote stands, and whether a backslash is before it.
#[inline]
fn value_end(bytes: &[u8], start: usize) -> Option<(usize, bool)> {
    let mut at = start;
    let mut escaped = false;
    loop {
        let found = near::find2(bytes, at, b'"', b'\\')?;
        if bytes.get(found) == Some(&b'"') {
            return Some((found, escaped));
        }
        escaped = true;
        at = found.saturating_add(if planted!("rfc5424") { 1 } else { 2 });
    }
}

/// §6.3.3: `\"`, `\\` and `\]` are the second character; "a backslash before anything else" is an
/// ordinary backslash, except in our own element, where control characters stand as `\n` or `\x1B`.
fn unescape(value: &str, own: bool) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let (c, used) = match after.as_bytes() {
            [c @ (b'"' | b'\\' | b']'), ..] => (char::from(*c), 1),
            [b'n', ..] if own => ('\n', 1),
            [b'r', ..] if own => ('\r', 1),
            [b'0', ..] if own => ('\0', 1),
            [b'x', digits @ ..] if own => match hex(digits) {
                Some(c) => (c, 3),
                None => ('\\', 0),
            },
            _ => ('\\', 0),
        };
        text.push(c);
        rest = after.get(used..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// The control character of two hex digits.
fn hex(digits: &[u8]) -> Option<char> {
    let digits = std::str::from_utf8(digits.get(..2)?).ok()?;
    u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii_control).map(char::from)
}

/// Makes fields of the parameters of our own element. What only the gateway may set stays an extra.
fn adopt(event: &mut Event<'_>, mark: usize) {
    for (name, text) in event.take_extras(mark, |extra| {
        extra.group == OWN_ID && Field::from_name(extra.name).is_some_and(|field| !field.is_reserved())
    }) {
        let Some(field) = Field::from_name(&name).filter(|field| event.takes_from_line(*field)) else {
            event.extra(OWN_ID, &name, &text);
            continue;
        };
        match typed(field, &text) {
            Some(value) => event.set(field, value),
            None => event.set_text(field, text),
        }
    }
}

/// The value of a field that is no text.
fn typed(field: Field, text: &str) -> Option<Value<'static>> {
    match field.kind() {
        Kind::Text => None,
        Kind::Int => text.parse().ok().map(Value::Int),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Time => Time::parse_rfc3339(text.as_bytes())
            .filter(|(_, used)| *used == text.len())
            .map(|(time, _)| Value::Time(time)),
    }
}
