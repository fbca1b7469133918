//! What the Docker CLI prints of an event: `TIME TYPE ACTION ID (KEY=VALUE, KEY=VALUE)`.
//!
//! A parser on the way of an event, for the output of `docker events` without `--format json`. Nothing
//! in it is escaped: a command may hold an id and a parenthesis, the value of a label a comma and an
//! equals sign. So every attribute is a claim, and what more than one reading fits says so.
//!
//! Invariant: no attribute is believed. What comes from one is named in `untrusted`, also name and image.

use std::borrow::Cow;
use std::ops::Range;

use super::{ATTRIBUTES, DockerEvent};
use crate::docker_actions;
use crate::event::Cell;
use crate::json_read::KEYS_MAX;
use crate::text::Text;
use crate::{Context, Event, Field, Format, ParseError, Time};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "docker_cli",
    about: "Docker Engine events as `docker events` prints them, as text",
    detect: Some(detect),
    starts: b"12",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Hexadecimal digits of the id of a container.
const ID_DIGITS: usize = 64;
/// So many ids are looked at, from the last one on: no line costs more than its length.
const CANDIDATES_MAX: usize = 16;

fn detect(input: &[u8]) -> u8 {
    let Some((_, kind, _)) = head(input) else { return 0 };
    let is_known = std::str::from_utf8(kind).is_ok_and(docker_actions::is_kind);
    if is_known { 92 } else { 0 }
}

/// Time, type, and where the action begins.
fn head(input: &[u8]) -> Option<(Time, &[u8], usize)> {
    let (time, used) = Time::parse_rfc3339(input)?;
    let rest = input.get(used..)?.strip_prefix(b" ")?;
    let len = rest.iter().take(16).position(|byte| *byte == b' ')?;
    Some((time, rest.get(..len)?, used.saturating_add(len).saturating_add(2)))
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let expected = ParseError::new(0, "a time of RFC 3339, a type and an action");
    let (time, kind, at) = head(input).ok_or(expected)?;
    let text = Text::of(event, input);
    let kind = at.saturating_sub(kind.len()).saturating_sub(1)..at.saturating_sub(1);
    let Some(id) = find_id(input, at) else {
        return Err(ParseError::new(at, "an action and an id"));
    };
    event.set(Field::Time, time);
    let mut docker = DockerEvent {
        kind: Some(event.keep(&text, kind)),
        action: Some(event.keep(&text, at..id.range.start.saturating_sub(1))),
        actor_id: Some(event.keep(&text, id.range.clone())).filter(|id| id.len > 0),
        ..DockerEvent::default()
    };
    let inside = id.range.end.saturating_add(2);
    let attributes = match input.get(id.range.end..).unwrap_or_default() {
        [b' ', b'(', .., b')'] => inside..input.len().saturating_sub(1),
        [] => inside..inside,
        _ => {
            event.mark_partial(&ParseError::new(input.len(), "a closing parenthesis"), input);
            inside..input.len()
        }
    };
    let is_out_of_order = docker.claims(&text, attributes, event);
    docker.finish(Field::Time, event);
    if id.is_ambiguous {
        event.mark_ambiguous("the command holds what may be the id");
    }
    if is_out_of_order {
        event.mark_ambiguous("an attribute out of order may be text of the one before it");
    }
    let claims = [Field::ContainerName, Field::ImageRef, Field::ExitCode, Field::Outcome, Field::Signal];
    let claims = claims.map(|field| (field.name(), event.has(field)));
    // Where the id may stand elsewhere, the command may end elsewhere.
    let of_id = [Field::ContainerId, Field::ExecCommand, Field::Reason];
    let of_id = of_id.map(|field| (field.name(), id.is_ambiguous && event.has(field)));
    let untrusted = event.span_with(|own| {
        let start = own.len();
        for (name, _) in claims.iter().chain(&of_id).filter(|(_, is_set)| *is_set) {
            own.push_str(if own.len() == start { "" } else { "," });
            own.push_str(name);
        }
    });
    event.set_span(Field::Untrusted, Some(untrusted));
    Ok(())
}

/// Where the id of an event stands.
struct Id {
    range: Range<usize>,
    /// Something else may be the id as well.
    is_ambiguous: bool,
}

/// The id of an action that begins at `at`: the word behind it, or, where a command stands between, the last
/// id of a container before attributes that stand in order.
fn find_id(input: &[u8], at: usize) -> Option<Id> {
    let rest = input.get(at..)?;
    let word = memchr::memchr(b' ', rest)?;
    planted!("docker_cli" => { let _ = rest[word - 1]; });
    if rest.get(word.checked_sub(1)?) != Some(&b':') {
        let start = at.checked_add(word)?.checked_add(1)?;
        let len = memchr::memmem::find(input.get(start..)?, b" (").unwrap_or(input.len().saturating_sub(start));
        // A prune has no id, but two spaces.
        return (len > 0 || start < input.len())
            .then(|| Id { range: start..start.saturating_add(len), is_ambiguous: false });
    }
    let ends = memchr::memmem::find_iter(rest, b" (").chain([rest.len()]);
    let mut ids = ends.filter_map(|end| {
        let start = end.checked_sub(ID_DIGITS)?;
        let is_id =
            rest.get(start..end)?.iter().all(u8::is_ascii_hexdigit) && rest.get(start.checked_sub(1)?) == Some(&b' ');
        is_id.then_some(at.saturating_add(start)..at.saturating_add(end))
    });
    let first = ids.next()?;
    let more: Vec<Range<usize>> = ids.collect();
    let Some(last) = more.last() else { return Some(Id { range: first, is_ambiguous: false }) };
    // Whoever runs a command can write an id into it: what comes last was written by the CLI, unless a label
    // says it, which stands among attributes in their order.
    let fits = |range: &&Range<usize>| input.get(range.end..).is_some_and(is_in_order);
    let range = more.iter().rev().chain([&first]).take(CANDIDATES_MAX).find(fits).unwrap_or(last).clone();
    Some(Id { range, is_ambiguous: true })
}

/// Whether ` (KEY=VALUE, …)` follows, each key once and sorted, as the CLI writes them.
fn is_in_order(input: &[u8]) -> bool {
    let Some(mut rest) = input.strip_prefix(b" (").and_then(|rest| rest.strip_suffix(b")")) else { return false };
    let mut before: Option<&[u8]> = None;
    loop {
        let Some((key, _)) = memchr::memchr(b'=', rest).and_then(|equals| rest.split_at_checked(equals)) else {
            return false;
        };
        if before.is_some_and(|before| key <= before) {
            return false;
        }
        before = Some(key);
        let Some(end) = value_end(rest, key.len()) else { return true };
        rest = rest.get(end.saturating_add(2)..).unwrap_or_default();
    }
}

impl DockerEvent {
    /// Takes the attributes in `range`; answers whether they can be read in another way. The CLI sorts
    /// them by key: a key that is out of order, or comes again, is part of a value before it or behind.
    fn claims<'a>(&mut self, text: &Text<'a>, range: Range<usize>, event: &mut Event<'a>) -> bool {
        let mut is_ambiguous = false;
        let mut before: Cow<'a, str> = Cow::Borrowed("");
        let (mut start, mut count) = (range.start, 0_u32);
        while start < range.end {
            count = count.saturating_add(1);
            if count > KEYS_MAX {
                event.mark_partial(&ParseError::new(start, "at most 2000 attributes"), text.bytes());
                let rest = event.keep(text, start..range.end);
                event.put_extra(ATTRIBUTES, "", Cell::Str(rest));
                break;
            }
            let rest = text.bytes().get(start..range.end).unwrap_or_default();
            let equals = memchr::memchr(b'=', rest).unwrap_or(rest.len());
            let key = text.piece(start..start.saturating_add(equals));
            let end = value_end(rest, equals).map_or(range.end, |end| start.saturating_add(end));
            let value = event.keep(text, start.saturating_add(equals).saturating_add(1).min(end)..end);
            is_ambiguous |= key <= before && start > range.start;
            match &*key {
                "image" if self.image.is_none() => self.image = Some(value),
                "name" if self.name.is_none() => self.name = Some(value),
                "container" if self.container.is_none() => self.container = Some(value),
                "exitCode" if self.exit_code.is_none() => self.exit_code = Some(Cell::Str(value)),
                "signal" if self.signal.is_none() => self.signal = Some(Cell::Str(value)),
                _ => event.put_extra(ATTRIBUTES, &key, Cell::Str(value)),
            }
            before = key;
            start = end.saturating_add(2);
        }
        is_ambiguous
    }
}

/// Where the value behind the equals sign at `equals` ends: at the last comma and space before the next
/// equals sign. Nothing is looked at twice.
fn value_end(rest: &[u8], equals: usize) -> Option<usize> {
    let from = equals.saturating_add(1);
    let mut comma = None;
    for at in memchr::memchr2_iter(b',', b'=', rest.get(from..)?) {
        let at = from.saturating_add(at);
        match (rest.get(at..)?, comma) {
            ([b',', b' ', ..], _) => comma = Some(at),
            ([b'=', ..], Some(_)) => return comma,
            _ => {}
        }
    }
    None
}
