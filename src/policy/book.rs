//! The book of open findings: one for each rule and machine, also over restarts.
//!
//! Invariant: an entry is stored in the batch of the event that tells it, and erased in the batch of the event that
//! resolves it. In between it is stored again by the clock.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use wharfinger_formats::{Event, Field, Time};

use super::allowance::{self, Allowance};
use super::finding::TAKEN;
use crate::facts::Facts;

/// So many findings may be open for one rule. Beyond, the one that was seen last the longest ago is forgotten: it
/// is told anew if it happens again.
pub(super) const OPEN_MAX: usize = 4096;
/// Values that are kept of a cause are cut at so many bytes.
const VALUE_BYTES_MAX: usize = 1024;
/// A list that is longer is not kept: what cannot be judged again stays open.
const LIST_BYTES_MAX: usize = 8 * 1024;
/// Entries are marks of the journal under this name and their id.
pub const MARKS: &str = "wharfinger/finding/";

/// Open findings, and what is to be erased.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// For each rule.
    pub(super) pages: Vec<Page>,
    /// Marks of entries that were forgotten.
    pub(super) forgotten: Vec<String>,
}

/// Open findings about one rule, by machine.
pub(super) type Page = HashMap<Box<str>, Open>;

/// One that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) id: String,
    pub(super) first: Time,
    pub(super) last: Time,
    pub(super) count: u64,
    /// When it was told last; none: it must be told.
    pub(super) told: Option<Time>,
    /// What the count was then.
    pub(super) told_count: u64,
    /// The id of the event that told it last, as soon as that is stored.
    pub(super) told_id: String,
    /// The id of the event that made it last; a silence has none.
    pub(super) cause_id: String,
    /// It is not stored as it is now.
    pub(super) stale: bool,
    /// Why it is over, if the clock has seen that.
    pub(super) over: Option<String>,
    /// What is kept of the event that was told: when it happened, by whichever clock judged it,
    pub(super) happened: Time,
    /// and where, and on what.
    pub(super) cause: Facts,
    /// What its rule asked for, if that is a list.
    pub(super) list: Option<String>,
}

impl Open {
    pub(super) fn new(id: String, now: Time) -> Open {
        let (told_id, cause_id, cause) = (String::new(), String::new(), Facts::default());
        Open {
            id,
            first: now,
            last: now,
            count: 0,
            told: None,
            told_count: 0,
            told_id,
            cause_id,
            stale: false,
            over: None,
            happened: now,
            cause,
            list: None,
        }
    }

    /// Keeps what is needed of a cause to judge it again.
    pub(super) fn keep(&mut self, cause: &Event<'_>, unless: Option<Allowance>) {
        let list = unless.and_then(|unless| unless.told(cause));
        self.list = list.filter(|list| list.len() <= LIST_BYTES_MAX).map(str::to_owned);
        self.happened = allowance::time(cause).unwrap_or(self.last);
        let kept = TAKEN.into_iter().chain([Field::EventClass, Field::Peer, Field::Reason]);
        let kept = kept.filter_map(|field| Some((field, cause.text(field)?)));
        self.cause = kept.map(|(field, text)| (field, &text[..text.floor_char_boundary(VALUE_BYTES_MAX)])).collect();
    }

    /// The event that was told, as far as it is kept.
    pub(super) fn event(&self, unless: Option<Allowance>) -> Event<'static> {
        let mut event = event_of(&self.cause);
        if let (Some(unless), Some(list)) = (unless, &self.list) {
            unless.tell(list, &mut event);
        }
        event
    }

    /// The mark it is stored as.
    pub(super) fn mark(&self) -> String {
        format!("{MARKS}{}", self.id)
    }

    pub(super) fn to_bytes(&self, rule: &str, machine: &str) -> Vec<u8> {
        let cause: Map<String, Value> =
            self.cause.iter().map(|(field, text)| (field.name().to_owned(), text.into())).collect();
        let entry = json!({
            "rule": rule, "machine": machine, "id": self.id, "first": self.first.0, "last": self.last.0,
            "count": self.count, "told": self.told.map(|told| told.0), "told_id": self.told_id,
            "cause_id": self.cause_id, "happened": self.happened.0, "cause": cause, "list": self.list,
        });
        entry.to_string().into_bytes()
    }

    /// The rule, the machine and the entry; none for what is no entry.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<(String, Box<str>, Open)> {
        let entry: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        let time = |name: &str| entry[name].as_i64().map(Time);
        let field = |(name, value): (&String, &Value)| Some((Field::from_name(name)?, value.as_str()?.to_owned()));
        let count = entry["count"].as_u64()?;
        let open = Open {
            id: text("id")?,
            first: time("first")?,
            last: time("last")?,
            count,
            told: time("told"),
            told_count: count,
            told_id: text("told_id").unwrap_or_default(),
            cause_id: text("cause_id").unwrap_or_default(),
            stale: false,
            over: None,
            happened: time("happened")?,
            cause: entry["cause"].as_object()?.iter().filter_map(field).collect(),
            list: text("list"),
        };
        Some((text("rule")?, text("machine")?.into(), open))
    }
}

/// An event with these facts.
pub(super) fn event_of(facts: &Facts) -> Event<'static> {
    let mut event = Event::new(b"");
    facts.set_on(&mut event);
    event
}

impl Book {
    /// The entry of a machine, made if there is none; another is forgotten where there is no room.
    pub(super) fn entry(&mut self, rule: usize, machine: &str, make: impl FnOnce() -> Open) -> Option<&mut Open> {
        let page = self.pages.get_mut(rule)?;
        if !page.contains_key(machine) {
            if page.len() >= OPEN_MAX {
                // Looks at all of them: this many findings about one rule are rare.
                let oldest = page.iter().min_by_key(|(_, known)| known.last).map(|(machine, _)| machine.clone());
                let forgotten = oldest.and_then(|machine| page.remove(&machine));
                self.forgotten.extend(forgotten.map(|open| open.mark()));
            }
            page.insert(machine.into(), make());
        }
        page.get_mut(machine)
    }

    /// The entry of a machine.
    pub(super) fn known(&mut self, rule: usize, machine: &str) -> Option<&mut Open> {
        self.pages.get_mut(rule)?.get_mut(machine)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_stored() {
        let mut open = Open::new("17".to_owned(), Time(5));
        let mut event = Event::new(b"");
        event.set(Field::VmName, "web \"1\"");
        event.set(Field::EventClass, &"é".repeat(1000));
        event.extra("inspect", "host_mounts", wharfinger_formats::Value::Json(r#"["/etc"]"#));
        open.keep(&event, Some(Allowance::HostMounts));
        assert_eq!(open.event(Some(Allowance::HostMounts)).extras().len(), 1);
        (open.count, open.told_count, open.told) = (7, 7, Some(Time(6)));
        let (rule, machine, read) = Open::from_bytes(&open.to_bytes("r", "m")).unwrap();
        assert_eq!((&*rule, &*machine), ("r", "m"));
        let sorted = |open: &Open| {
            let mut cause: Vec<(Field, &str)> = open.cause.iter().collect();
            cause.sort_unstable();
            Open { cause: cause.into_iter().collect(), ..open.clone() }
        };
        assert_eq!(sorted(&read), sorted(&open));
        assert!(Open::from_bytes(b"{}").is_none());
    }

    #[test]
    fn a_page_is_bounded_and_the_oldest_goes() {
        let mut book = Book { pages: vec![Page::new()], ..Book::default() };
        for number in 0..=i64::try_from(OPEN_MAX).unwrap() {
            book.entry(0, &format!("vm {number}"), || Open::new(number.to_string(), Time(number))).unwrap();
        }
        let page = &book.pages[0];
        assert_eq!((page.len(), page.contains_key("vm 0"), page.contains_key("vm 1")), (OPEN_MAX, false, true));
        assert_eq!(book.forgotten, [format!("{MARKS}0")]);
    }
}
