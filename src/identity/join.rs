//! Join: what several inventories and providers say of one machine becomes one machine.
//!
//! The first that names a machine has the last word on each fact; the others add what it does not say.
//!
//! Invariant: two machines of one inventory stay two, and a doubt keeps machines apart.

use std::collections::HashMap;

use super::{Entry, Uuid};

/// What tells that two entries are one machine, the surest first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Instance(Uuid),
    Moref(String, String),
    Cloud(String, String),
    Bios(Uuid),
    Name(String),
}

impl Key {
    /// All keys of an entry.
    pub(super) fn of(entry: &Entry) -> Vec<Key> {
        let both =
            |one: &str, other: &str| (!one.is_empty() && !other.is_empty()).then(|| (one.to_owned(), other.to_owned()));
        let mut keys = Vec::new();
        keys.extend(entry.instance_uuid.map(Key::Instance));
        keys.extend(both(&entry.vcenter, &entry.moref).map(|(vcenter, moref)| Key::Moref(vcenter, moref)));
        keys.extend(both(&entry.cloud, &entry.instance_id).map(|(cloud, id)| Key::Cloud(cloud, id)));
        keys.extend(entry.uuid.map(|uuid| Key::Bios(uuid.unordered())));
        keys.extend(Some(entry.name.to_lowercase()).filter(|name| !name.is_empty()).map(Key::Name));
        keys
    }
}

/// Entries by their keys; a key of two is of nobody.
pub(super) struct ByKey(HashMap<Key, Option<usize>>);

impl ByKey {
    pub(super) fn of<'e>(entries: impl Iterator<Item = &'e Entry>) -> ByKey {
        let mut by_key = ByKey(HashMap::new());
        entries.enumerate().for_each(|(at, entry)| by_key.add(entry, at));
        by_key
    }

    fn add(&mut self, entry: &Entry, at: usize) {
        for key in Key::of(entry) {
            let known = self.0.entry(key).or_insert(Some(at));
            if *known != Some(at) {
                *known = None;
            }
        }
    }

    /// The only one with that key.
    pub(super) fn only(&self, key: &Key) -> Option<usize> {
        self.0.get(key).copied().flatten()
    }
}

/// The machines of all inventories, in their order.
pub fn join<'e>(inventories: impl IntoIterator<Item = &'e [Entry]>) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for entries in inventories {
        if all.is_empty() {
            all.extend_from_slice(entries);
            continue;
        }
        let (known, theirs) = (ByKey::of(all.iter()), ByKey::of(entries.iter()));
        for (at, entry) in entries.iter().enumerate() {
            let keys = Key::of(entry);
            let same = keys.iter().filter(|key| theirs.only(key) == Some(at)).find_map(|key| {
                let place = known.only(key)?;
                let one = all.get(place)?;
                let is_sure = !matches!(key, Key::Name(_))
                    || !(differ(one.all_addresses(), entry.all_addresses())
                        || differ(one.all_macs(), entry.all_macs()));
                (is_sure && agree(one, entry)).then_some(place)
            });
            match same.and_then(|place| all.get_mut(place)) {
                Some(one) => one.complete(entry),
                None => all.push(entry.clone()),
            }
        }
    }
    all
}

/// Both are known, and nothing is in both: for two that share no more than a name, that is a doubt.
fn differ<T: PartialEq>(one: impl Iterator<Item = T>, other: impl Iterator<Item = T>) -> bool {
    let (one, other): (Vec<T>, Vec<T>) = (one.collect(), other.collect());
    !one.is_empty() && !other.is_empty() && !one.iter().any(|known| other.contains(known))
}

/// Nothing that tells machines apart says that they are two.
fn agree(one: &Entry, other: &Entry) -> bool {
    let instances = !matches!((one.instance_uuid, other.instance_uuid), (Some(one), Some(other)) if one != other);
    let bios = !matches!((one.uuid, other.uuid), (Some(one), Some(other)) if !one.same_machine(other));
    let morefs = one.vcenter.is_empty() || one.vcenter != other.vcenter || one.moref == other.moref;
    let clouds = one.cloud.is_empty() || one.cloud != other.cloud || one.instance_id == other.instance_id;
    instances && bios && morefs && clouds
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIOS: &str = "421f245c-7fa8-60fa-6af6-a46351ced0eb";
    const SWAPPED: &str = "5c241f42-a87f-fa60-6af6-a46351ced0eb";

    fn entry(name: &str, bios: &str, group: &str) -> Entry {
        Entry { name: name.to_owned(), uuid: Uuid::parse(bios), group: group.to_owned(), ..Entry::default() }
    }

    fn check(one: &[Entry], other: &[Entry], expected: &[(&str, &str)]) {
        let joined = join([one, other]);
        let found: Vec<(&str, &str)> = joined.iter().map(|entry| (&*entry.name, &*entry.group)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_machine_in_two_inventories_is_one() {
        check(&[entry("web", BIOS, "")], &[entry("Web (old)", SWAPPED, "lab")], &[("web", "lab")]);
        check(&[entry("web", "", "lab")], &[entry("WEB", BIOS, "prod")], &[("web", "lab")]);
        let moref = |name: &str, vcenter: &str| Entry {
            moref: "vm-1".to_owned(),
            vcenter: vcenter.to_owned(),
            ..entry(name, "", name)
        };
        check(&[moref("a", "vc")], &[moref("b", "vc")], &[("a", "a")]);
        check(&[moref("a", "vc")], &[moref("b", "other")], &[("a", "a"), ("b", "b")]);
    }

    #[test]
    fn a_doubt_keeps_machines_apart() {
        let other = "421f245c-7fa8-60fa-6af6-a46351ced0ec";
        check(&[entry("web", BIOS, "a")], &[entry("web", other, "b")], &[("web", "a"), ("web", "b")]);
        // Somebody calls a machine of his own like one of the list.
        let at = |name: &str, group: &str, address: &str| Entry {
            addresses: address.parse().into_iter().collect(),
            ..entry(name, "", group)
        };
        check(&[at("db", "prod", "192.0.2.9")], &[at("db", "", "192.0.2.66")], &[("db", "prod"), ("db", "")]);
        check(&[at("db", "prod", "192.0.2.9")], &[at("db", "", "192.0.2.9")], &[("db", "prod")]);
        // Copies: which of the two?
        let copies = [entry("web", BIOS, "a"), entry("copy", BIOS, "b")];
        check(&copies, &[entry("x", BIOS, "c")], &[("web", "a"), ("copy", "b"), ("x", "c")]);
        check(&[entry("x", BIOS, "c")], &copies, &[("x", "c"), ("web", "a"), ("copy", "b")]);
        check(&copies, &[entry("copy", BIOS, "c")], &[("web", "a"), ("copy", "b")]);
    }
}
