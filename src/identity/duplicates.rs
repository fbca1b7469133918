//! Duplicates: rows of one machine are joined, and keys that several machines share are told.
//!
//! One machine: the same instance UUID, or the same name with the same moref or BIOS UUID. Copies of a machine share
//! the BIOS UUID and often more: they stay what they are, and what they share selects none of them.
//!
//! Invariant: nothing is left out without a note that says which rows and what was done with them.

use std::collections::HashMap;
use std::hash::Hash;

use super::inventory::{Inventory, NOTES_MAX, Note};
use super::{Entry, Uuid};

/// Joins the rows of one machine, and explains what several share.
pub(super) fn join(inventory: &mut Inventory) {
    let mut kept: Vec<Entry> = Vec::with_capacity(inventory.entries.len());
    let mut by_instance: HashMap<Uuid, usize> = HashMap::new();
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for entry in std::mem::take(&mut inventory.entries) {
        let name = entry.name.to_lowercase();
        let same_instance = entry.instance_uuid.and_then(|uuid| by_instance.get(&uuid)).copied();
        let same_name = || {
            let of_name = by_name.get(&name)?.iter().copied();
            of_name.into_iter().find(|at| kept.get(*at).is_some_and(|known| is_same(known, &entry)))
        };
        let known = same_instance.or_else(same_name);
        if let Some(known) = known.and_then(|at| kept.get_mut(at)) {
            inventory.notes.push(joined(known, &entry));
            known.complete(&entry);
            continue;
        }
        if let Some(uuid) = entry.instance_uuid {
            by_instance.insert(uuid, kept.len());
        }
        by_name.entry(name).or_default().push(kept.len());
        kept.push(entry);
    }
    inventory.notes.extend(shared(&kept));
    inventory.entries = kept;
}

/// Of one name: whether it is one machine, listed twice.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let differ = matches!((one.instance_uuid, other.instance_uuid), (Some(one), Some(other)) if one != other)
        || (!one.vcenter.is_empty() && !other.vcenter.is_empty() && one.vcenter != other.vcenter)
        || (!one.moref.is_empty() && !other.moref.is_empty() && one.moref != other.moref);
    let agree = (!one.moref.is_empty() && one.moref == other.moref) || (one.uuid.is_some() && one.uuid == other.uuid);
    !differ && agree
}

fn joined(known: &Entry, again: &Entry) -> Note {
    let key = match (again.instance_uuid, again.uuid) {
        (Some(uuid), _) if known.instance_uuid == again.instance_uuid => format!("instance UUID `{uuid}`"),
        (_, Some(uuid)) if known.uuid == again.uuid => format!("name and BIOS UUID `{uuid}`"),
        _ => format!("name and moref `{}`", again.moref),
    };
    let first = place(known);
    let text = format!(
        "`{}` is `{}`{first} again, by {key}: the two are one machine, and the first row's word wins where they differ",
        again.name, known.name
    );
    Note { line: again.line, text }
}

fn place(entry: &Entry) -> String {
    if entry.line == 0 { String::new() } else { format!(" (line {})", entry.line) }
}

/// What several machines share, so that it selects none of them.
pub(super) fn shared(entries: &[Entry]) -> Vec<Note> {
    let mut notes = Vec::new();
    explain(entries, "BIOS UUID", |entry| entry.uuid.map(Uuid::unordered), &mut notes);
    explain(entries, "name", |entry| Some(entry.name.to_lowercase()).filter(|name| !name.is_empty()), &mut notes);
    let told = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    let host_names = |entry: &Entry| by(told(&entry.host_names), told(&entry.reported.host_names));
    each(entries, "host name", host_names, &mut notes);
    let addresses = |entry: &Entry| by(entry.addresses.clone(), entry.reported.addresses.clone());
    each(entries, "address", addresses, &mut notes);
    each(entries, "MAC address", |entry| by(entry.macs.clone(), entry.reported.macs.clone()), &mut notes);
    let ids = |entry: &Entry| by(entry.ids().map(str::to_owned).collect(), Vec::new());
    each(entries, "machine-id or agent id", ids, &mut notes);
    notes
}

fn explain<K: Eq + Hash + ToString>(
    entries: &[Entry],
    kind: &str,
    key: impl Fn(&Entry) -> Option<K>,
    notes: &mut Vec<Note>,
) {
    each(entries, kind, |entry| by(key(entry).into_iter().collect(), Vec::new()), notes);
}

/// What is known of a machine, and whether only its guest says so.
fn by<K>(told: Vec<K>, reported: Vec<K>) -> Vec<(K, bool)> {
    told.into_iter().map(|key| (key, false)).chain(reported.into_iter().map(|key| (key, true))).collect()
}

fn each<K: Eq + Hash + ToString>(
    entries: &[Entry],
    kind: &str,
    keys: impl Fn(&Entry) -> Vec<(K, bool)>,
    notes: &mut Vec<Note>,
) {
    let mut first: HashMap<K, (usize, bool)> = HashMap::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        for (key, is_reported) in keys(entry) {
            if notes.len() >= NOTES_MAX {
                return;
            }
            let Some((known, was_reported)) = first.get(&key).copied() else {
                first.insert(key, (at, is_reported));
                continue;
            };
            let Some(known) = entries.get(known).filter(|_| known != at) else { continue };
            let selects = match (was_reported, is_reported) {
                (true, false) => format!("it selects `{}`, for of the other only the guest says so", entry.name),
                (false, true) => format!("it selects `{}`, for of this one only the guest says so", known.name),
                _ => "it selects neither of them; what else is known of each still does".to_owned(),
            };
            let (name, text, other) = (&entry.name, key.to_string(), &known.name);
            let text = format!("`{name}` has the {kind} `{text}` of `{other}`{}: {selects}", place(known));
            notes.push(Note { line: entry.line, text });
            if was_reported && !is_reported {
                first.insert(key, (at, is_reported));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::spreadsheet;
    use super::*;

    fn check(rows: &str, machines: usize, expected: &[&str]) -> Vec<Entry> {
        let text = format!("VM,VM ID,SMBIOS UUID,VM UUID,DNS Name,Primary IP Address,Mac Address\n{rows}");
        let mut inventory = spreadsheet::read(&text).unwrap();
        join(&mut inventory);
        let notes: Vec<String> = inventory.notes.iter().map(|note| format!("{}: {}", note.line, note.text)).collect();
        assert_eq!(notes.len(), expected.len(), "{notes:#?}");
        for (note, expected) in notes.iter().zip(expected) {
            assert!(note.starts_with(expected), "{expected}\n{note}");
        }
        assert_eq!(inventory.entries.len(), machines, "{:#?}", inventory.entries);
        inventory.entries
    }

    const BIOS: &str = "421f245c-7fa8-60fa-6af6-a46351ced0eb";

    #[test]
    fn a_machine_that_is_listed_twice_is_one() {
        let rows = format!(
            "web,vm-1,{BIOS},50011111-2222-3333-4444-555566667777,,192.0.2.7,\n\
             web2,vm-1,{BIOS},50011111-2222-3333-4444-555566667777,,192.0.2.8,\n\
             db,vm-2,,,,192.0.2.9,\ndb,vm-2,,,,2001:db8::9,\n"
        );
        let entries = check(
            &rows,
            2,
            &[
                "3: `web2` is `web` (line 2) again, by instance UUID `50011111-2222-3333-4444-555566667777`",
                "5: `db` is `db` (line 4) again, by name and moref `vm-2`",
            ],
        );
        assert_eq!(entries[0].name, "web");
        assert_eq!(entries.iter().map(|entry| entry.all_addresses().count()).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn what_only_a_guest_says_counts_less() {
        let address: std::net::IpAddr = "192.0.2.7".parse().unwrap();
        let told = |name: &str| Entry { name: name.to_owned(), addresses: vec![address], ..Entry::default() };
        let reported = |name: &str| Entry {
            name: name.to_owned(),
            reported: super::super::Reported { addresses: vec![address], ..Default::default() },
            ..Entry::default()
        };
        let notes = |entries: &[Entry]| shared(entries).into_iter().map(|note| note.text).collect::<Vec<_>>();
        let [first, second] = &*notes(&[reported("a"), told("web"), reported("b")]) else { panic!() };
        assert!(first.ends_with("of `a`: it selects `web`, for of the other only the guest says so"), "{first}");
        assert!(second.ends_with("of `web`: it selects `web`, for of this one only the guest says so"), "{second}");
        assert!(notes(&[reported("a"), reported("b")])[0].contains("it selects neither of them"));
    }

    #[test]
    fn copies_are_two_and_what_they_share_is_told() {
        // The second is the first with its first three fields swapped.
        let rows = format!(
            "web,vm-1,{BIOS},50011111-2222-3333-4444-555566667777,web.example,192.0.2.7,00:50:56:aa:bb:cc\n\
             web-copy,vm-2,5c241f42-a87f-fa60-6af6-a46351ced0eb,50011111-2222-3333-4444-555566667778,WEB.example,192.0.2.7,00:50:56:aa:bb:cc\n\
             WEB,vm-3,,,,,\n"
        );
        check(
            &rows,
            3,
            &[
                "3: `web-copy` has the BIOS UUID",
                "4: `WEB` has the name `web` of `web` (line 2): it selects neither",
                "3: `web-copy` has the host name `web.example` of `web` (line 2)",
                "3: `web-copy` has the address `192.0.2.7` of `web` (line 2)",
                "3: `web-copy` has the MAC address `00:50:56:aa:bb:cc` of `web` (line 2)",
            ],
        );
    }
}
