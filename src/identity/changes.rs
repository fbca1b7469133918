//! Changes: in what an inventory differs from what it was: machines added, removed, renamed, moved, other addresses.
//!
//! Each becomes an event, so that the journal tells what was known when.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::join::{ByKey, Key};
use super::{Entry, Identity};

/// What became of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Added,
    Removed,
    Renamed,
    /// To another host or folder.
    Moved,
    Addresses,
    Power,
    /// Anything else that identifies it.
    Other,
}

/// Every kind, in the order in which they are summed up.
pub const KINDS: [Kind; 7] =
    [Kind::Added, Kind::Removed, Kind::Renamed, Kind::Moved, Kind::Addresses, Kind::Power, Kind::Other];

impl Kind {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Added => "added",
            Kind::Removed => "removed",
            Kind::Renamed => "renamed",
            Kind::Moved => "moved",
            Kind::Addresses => "addresses",
            Kind::Power => "power",
            Kind::Other => "changed",
        }
    }

    /// The class of the event.
    pub fn class(self) -> &'static str {
        match self {
            Kind::Added => "inventory.vm_added",
            Kind::Removed => "inventory.vm_removed",
            Kind::Renamed => "inventory.vm_renamed",
            Kind::Moved => "inventory.vm_moved",
            Kind::Addresses => "inventory.vm_addresses",
            Kind::Power => "inventory.vm_power",
            Kind::Other => "inventory.vm_changed",
        }
    }
}

/// One change of one machine.
#[derive(Debug)]
pub struct Change<'e> {
    pub kind: Kind,
    /// As it is known now; of one that is gone, as it was.
    pub entry: &'e Entry,
    /// From what to what: `name `web` → `web-01``; empty where it came or went.
    pub text: String,
}

impl Change<'_> {
    /// What is known of the machine, as events have it.
    pub fn identity(&self) -> Identity {
        Identity { facts: self.entry.facts(), ..Identity::default() }
    }
}

/// In what the new differs from the old, in the order of the new; those that are gone last.
pub fn changes<'e>(old: &'e [Entry], new: &'e [Entry]) -> Vec<Change<'e>> {
    let (before, after) = (ByKey::of(old.iter()), ByKey::of(new.iter()));
    let mut is_found = vec![false; old.len()];
    let mut found = Vec::new();
    for (at, entry) in new.iter().enumerate() {
        let keys = Key::of(entry);
        let mut places = keys.iter().filter(|key| after.only(key) == Some(at)).filter_map(|key| before.only(key));
        let known = places.find(|place| is_found.get(*place) == Some(&false));
        match known.and_then(|place| Some((old.get(place)?, is_found.get_mut(place)?))) {
            Some((known, mark)) => {
                *mark = true;
                compare(known, entry, &mut found);
            }
            None => found.push(Change { kind: Kind::Added, entry, text: String::new() }),
        }
    }
    let gone = old.iter().zip(is_found).filter(|(_, is_found)| !is_found).map(|(entry, _)| entry);
    found.extend(gone.map(|entry| Change { kind: Kind::Removed, entry, text: String::new() }));
    found
}

fn compare<'e>(old: &Entry, new: &'e Entry, found: &mut Vec<Change<'e>>) {
    let mut change = |kind, name: &str, was: String, is: String| {
        if was != is {
            let text = format!("{name} {} → {}", quoted(&was), quoted(&is));
            found.push(Change { kind, entry: new, text });
        }
    };
    let uuid = |uuid: Option<super::Uuid>| uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
    change(Kind::Renamed, "name", old.name.clone(), new.name.clone());
    change(Kind::Moved, "runs on", old.runs_on.clone(), new.runs_on.clone());
    change(Kind::Moved, "group", old.group.clone(), new.group.clone());
    change(Kind::Addresses, "addresses", set(old.all_addresses()), set(new.all_addresses()));
    change(Kind::Addresses, "MAC addresses", set(old.all_macs()), set(new.all_macs()));
    change(Kind::Power, "power", old.power.clone(), new.power.clone());
    change(Kind::Other, "host names", set(old.all_host_names()), set(new.all_host_names()));
    change(Kind::Other, "tags", set(old.tags.iter()), set(new.tags.iter()));
    change(Kind::Other, "BIOS UUID", uuid(old.uuid), uuid(new.uuid));
    change(Kind::Other, "instance UUID", uuid(old.instance_uuid), uuid(new.instance_uuid));
    change(Kind::Other, "moref", old.moref.clone(), new.moref.clone());
    change(Kind::Other, "machine-id", old.machine_id.clone(), new.machine_id.clone());
    change(Kind::Other, "agent id", old.agent_id.clone(), new.agent_id.clone());
    change(Kind::Other, "instance id", old.instance_id.clone(), new.instance_id.clone());
}

/// In one order, whatever order a server has them in.
fn set<T: Display>(all: impl Iterator<Item = T>) -> String {
    all.map(|one| one.to_string()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") }
}

/// `2 added, 1 moved`; each machine once for each kind.
pub fn summary(changes: &[Change<'_>]) -> String {
    let count = |kind: Kind| changes.iter().filter(|change| change.kind == kind).count();
    let words: Vec<String> = KINDS
        .iter()
        .map(|kind| (count(*kind), kind.name()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if words.is_empty() { "no change".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::identity::Uuid;

    fn entry(name: &str, uuid: &str) -> Entry {
        Entry { name: name.to_owned(), uuid: Uuid::parse(uuid), ..Entry::default() }
    }

    #[test]
    fn each_change_is_told_once() {
        let uuid = "421f245c-7fa8-60fa-6af6-a46351ced0eb";
        let web = Entry {
            addresses: ["192.0.2.7", "192.0.2.8"].map(|text| text.parse().unwrap()).into(),
            runs_on: "esx1".to_owned(),
            power: "on".to_owned(),
            ..entry("web", uuid)
        };
        let old = [web.clone(), entry("db", ""), entry("old", "")];
        let mut now = Entry { name: "web-01".to_owned(), runs_on: "esx2".to_owned(), power: "off".to_owned(), ..web };
        now.addresses.reverse();
        let new = [entry("mail", ""), entry("DB", ""), now];
        let found = changes(&old, &new);
        let told: Vec<String> =
            found.iter().map(|one| format!("{} {} {}", one.kind.name(), one.entry.name, one.text)).collect();
        assert_eq!(
            told,
            [
                "added mail ",
                "renamed DB name `db` → `DB`",
                "renamed web-01 name `web` → `web-01`",
                "moved web-01 runs on `esx1` → `esx2`",
                "power web-01 power `on` → `off`",
                "removed old ",
            ]
        );
        assert_eq!(summary(&found), "1 added, 1 removed, 2 renamed, 1 moved, 1 power");
        assert!(changes(&new, &new).is_empty());
        assert_eq!(summary(&[]), "no change");
    }

    #[test]
    fn copies_are_told_apart_by_what_they_do_not_share() {
        let uuid = "421f245c-7fa8-60fa-6af6-a46351ced0eb";
        let both = [entry("web", uuid), entry("copy", uuid)];
        assert!(changes(&both, &both).is_empty());
        let found = changes(&both, &both[..1]);
        assert_eq!((found.len(), found[0].kind, found[0].entry.name.as_str()), (1, Kind::Removed, "copy"));
    }
}
