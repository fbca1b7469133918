//! What came in as CEF under a key that no field of ours has, and goes out as CEF again: under that key.
//!
//! Only in an event that was CEF, whose sender chose the keys already: in any other a name of the input
//! must not pass for a key of the dictionary.
//!
//! Invariant: no key that the emitter writes for a field, or for another name of the input, is written
//! for what a sender said; a key of the dictionary holds what the dictionary says.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::keys::{KEYS, Known, Takes, family, is_of_collectors, lookup, row_of};
use super::table::EXTRA_BYTES_MAX;
use super::write::is_key;
use crate::event::{Cell, ExtraCell};
use crate::names::is_own;
use crate::{Event, Field, Time};

/// Keys of our own that are no fields, and what the parser says of the line itself.
const RESERVED: &[&[u8]] = &[b"emit_cut", b"rawEvent", b"prefix", b"version"];
/// The longest key; longer ones are cut, and no longer the sender's.
const KEY_BYTES_MAX: usize = 255;

/// A value as its own key takes it.
#[derive(Clone, Copy)]
pub(super) struct Relayed {
    pub(super) value: Cell,
    pub(super) bytes_max: usize,
}

/// Whether the event was a line of CEF, by itself or behind a header.
pub(super) fn is_cef(event: &Event<'_>) -> bool {
    event.text(Field::Format).is_some_and(|format| format == "cef" || format.ends_with("+cef"))
}

/// What stands behind the key that the sender gave it; none where that key is not free.
pub(super) fn key(event: &Event<'_>, extra: &ExtraCell) -> Option<Relayed> {
    let name = event.bytes(extra.name);
    if event.bytes(extra.group) != super::parse::CEF.as_bytes() || name.is_empty() || name.len() > KEY_BYTES_MAX {
        return None;
    }
    // A label names the value beside it, which may be one of ours.
    let is_label = name.strip_suffix(b"Label").is_some_and(|base| family(base).is_some());
    let is_free = is_key(name) && !is_label && !name.starts_with(b"ad_") && !RESERVED.contains(&name);
    if !is_free || Field::ALL.iter().any(|field| is_own(*field, name)) {
        return None;
    }
    match lookup(name) {
        Known::Own(_) => None,
        Known::No => Some(Relayed { value: extra.value, bytes_max: EXTRA_BYTES_MAX }),
        // The next collector writes its own there.
        Known::Key(key) if row_of(key).is_some() || is_of_collectors(key) => None,
        Known::Key(key) => {
            let key = KEYS.get(usize::from(key))?;
            by_dictionary(event, extra.value, key.takes).filter(|relayed| is_listed(key.name, relayed.value))
        }
    }
}

/// The value, if it is what the dictionary says; anything else stays under a key of ours.
fn by_dictionary(event: &Event<'_>, value: Cell, takes: Takes) -> Option<Relayed> {
    let text = match value {
        Cell::Str(span) => Some(event.str(span)),
        _ => None,
    };
    let bytes_max = if let Takes::Text(max) = takes { max } else { EXTRA_BYTES_MAX };
    let value = match (takes, value) {
        (Takes::Text(_), Cell::Str(_)) => value,
        (Takes::Mac, _) if text.is_some_and(is_mac) => value,
        (Takes::Int, Cell::Int(number)) if i32::try_from(number).is_ok() => value,
        (Takes::Port, Cell::Int(0..=65_535)) | (Takes::Long, Cell::Int(_)) => value,
        (Takes::Float, Cell::Int(_) | Cell::Json(_)) => value,
        // The dictionary's instants are whole milliseconds.
        (Takes::Time, Cell::Time(nanos)) if nanos.checked_rem(1_000_000) == Some(0) => Cell::Int(Time(nanos).millis()),
        (Takes::Address, _) if text.is_some_and(|text| text.parse::<Ipv4Addr>().is_ok()) => value,
        (Takes::Ipv6, _) if text.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok()) => value,
        _ => return None,
    };
    Some(Relayed { value, bytes_max })
}

/// Numbers that stand for words: a base event, aggregated, correlation or action; in or out.
fn is_listed(key: &str, value: Cell) -> bool {
    match (key, value) {
        ("type", Cell::Int(number)) => (0..=3).contains(&number),
        ("deviceDirection", Cell::Int(number)) => (0..=1).contains(&number),
        _ => true,
    }
}

/// Six pairs of hex digits, with one mark between them.
fn is_mac(text: &str) -> bool {
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    [':', '-'].into_iter().any(|mark| text.split(mark).count() == 6 && text.split(mark).all(is_pair))
}
