//! Entry: one machine, as an inventory or a provider knows it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use wharfinger_formats::Field;

use super::{Local, Uuid};
use crate::facts::Facts;

/// Texts are cut at so many bytes: a host name has 253 at most.
const TEXT_BYTES_MAX: usize = 256;
/// Tags of one machine together: they stand on every event.
const TAGS_BYTES_MAX: usize = 2048;
/// Names, addresses and cards of one machine.
const LIST_MAX: usize = 64;

/// The address of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// Reads `00:50:56:aa:bb:cc`, also with `-`, or Cisco's `0050.56aa.bbcc`. None for all zeros and for group
    /// addresses (the lowest bit of the first byte): no card has one.
    pub fn parse(text: &str) -> Option<Mac> {
        let text = text.trim();
        let has_form = match text.len() {
            17 => text.bytes().enumerate().all(|(at, byte)| (at % 3 == 2) == matches!(byte, b':' | b'-')),
            14 => text.bytes().enumerate().all(|(at, byte)| (at % 5 == 4) == (byte == b'.')),
            _ => false,
        };
        let mut bytes = [0_u8; 6];
        let digits = text.bytes().filter(|byte| !matches!(byte, b':' | b'-' | b'.'));
        for (at, digit) in digits.enumerate() {
            let value = u8::try_from(char::from(digit).to_digit(16)?).ok()?;
            let slot = bytes.get_mut(at / 2)?;
            *slot = (*slot << 4) | value;
        }
        (has_form && bytes != [0; 6] && bytes[0] & 1 == 0).then_some(Mac(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Mac, &'static str> {
        Mac::parse(&text).ok_or("no address of a network card")
    }
}

/// One machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    pub name: String,
    /// BIOS UUID, as the hypervisor shows it.
    pub uuid: Option<Uuid>,
    pub instance_uuid: Option<Uuid>,
    pub moref: String,
    /// Instance UUID of the vCenter the moref belongs to.
    pub vcenter: String,
    pub host_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub macs: Vec<Mac>,
    pub reported: Reported,
    pub machine_id: String,
    /// What its manager calls it: the number of a Wazuh agent.
    pub agent_id: String,
    pub group: String,
    /// `on`, `off` or `suspended`.
    pub power: String,
    /// The host it runs on.
    pub runs_on: String,
    /// As events have it: `vmware`, `kvm`, `amazon`.
    pub hypervisor: String,
    pub cloud: String,
    pub instance_id: String,
    pub region: String,
    /// `prod`, of a vCenter `environment:prod`.
    pub tags: Vec<String>,
    /// Where it stands in its file; zero: nowhere.
    pub line: usize,
}

/// What somebody on the machine says of it, through the tools in the guest. Whoever is root there can say anything, so
/// it selects the machine only where nobody else is selected by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reported {
    pub host_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub macs: Vec<Mac>,
}

impl Entry {
    /// Every name that its inventory has for it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.host_names.iter().map(String::as_str);
        std::iter::once(self.name.as_str()).chain(names).filter(|name| !name.is_empty())
    }

    /// Its host names, whoever says so.
    pub fn all_host_names(&self) -> impl Iterator<Item = &str> {
        self.host_names.iter().chain(&self.reported.host_names).map(String::as_str)
    }

    /// Its addresses, whoever says so.
    pub fn all_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().chain(&self.reported.addresses).copied()
    }

    /// Its cards, whoever says so.
    pub fn all_macs(&self) -> impl Iterator<Item = Mac> {
        self.macs.iter().chain(&self.reported.macs).copied()
    }

    /// Numbers that a machine or its manager was given: compared as they are.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        let ids = [&self.machine_id, &self.agent_id, &self.instance_id].into_iter();
        ids.map(String::as_str).filter(|id| !id.is_empty())
    }

    /// What stands on its events.
    pub fn facts(&self) -> Facts {
        let uuid = |uuid: Option<Uuid>| uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        let (bios, instance) = (uuid(self.uuid), uuid(self.instance_uuid));
        let tags = if self.tags.is_empty() { String::new() } else { serde_json::json!(self.tags).to_string() };
        let facts = [
            (Field::VmUuid, &*bios),
            (Field::VmInstanceUuid, &*instance),
            (Field::VmMoref, &self.moref),
            (Field::VmName, &self.name),
            (Field::VmGroup, &self.group),
            (Field::VcenterUuid, &self.vcenter),
            (Field::Power, &self.power),
            (Field::Hypervisor, &self.hypervisor),
            (Field::Cloud, &self.cloud),
            (Field::InstanceId, &self.instance_id),
            (Field::Region, &self.region),
            (Field::HostName, self.all_host_names().next().unwrap_or_default()),
            (Field::VmTags, &tags),
        ];
        facts.into_iter().collect()
    }

    /// Cuts what is too long to stand on every event of the machine.
    pub fn bound(&mut self) {
        let texts = [
            &mut self.name,
            &mut self.moref,
            &mut self.vcenter,
            &mut self.machine_id,
            &mut self.agent_id,
            &mut self.group,
            &mut self.power,
            &mut self.runs_on,
            &mut self.hypervisor,
            &mut self.cloud,
            &mut self.instance_id,
            &mut self.region,
        ];
        let Reported { host_names, addresses, macs } = &mut self.reported;
        for text in texts.into_iter().chain(&mut self.host_names).chain(&mut *host_names).chain(&mut self.tags) {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        let mut bytes = 0;
        self.tags.retain(|tag| {
            bytes += tag.len();
            bytes <= TAGS_BYTES_MAX
        });
        [&mut self.host_names, host_names].into_iter().for_each(|names| names.truncate(LIST_MAX));
        [&mut self.addresses, addresses].into_iter().for_each(|addresses| addresses.truncate(LIST_MAX));
        [&mut self.macs, macs].into_iter().for_each(|macs| macs.truncate(LIST_MAX));
    }

    /// Takes over what another knows of the same machine and this does not.
    pub(super) fn complete(&mut self, other: &Entry) {
        fn text(to: &mut String, from: &str) {
            if to.is_empty() {
                from.clone_into(to);
            }
        }
        fn list<T: Clone + PartialEq>(to: &mut Vec<T>, from: &[T]) {
            let new: Vec<T> = from.iter().filter(|one| !to.contains(one)).cloned().collect();
            to.extend(new);
        }
        self.uuid = self.uuid.or(other.uuid);
        self.instance_uuid = self.instance_uuid.or(other.instance_uuid);
        // A moref means nothing without its vCenter.
        if self.moref.is_empty() {
            self.moref.clone_from(&other.moref);
            self.vcenter.clone_from(&other.vcenter);
        }
        for (to, from) in [
            (&mut self.name, &other.name),
            (&mut self.machine_id, &other.machine_id),
            (&mut self.agent_id, &other.agent_id),
            (&mut self.group, &other.group),
            (&mut self.power, &other.power),
            (&mut self.runs_on, &other.runs_on),
            (&mut self.hypervisor, &other.hypervisor),
            (&mut self.cloud, &other.cloud),
            (&mut self.instance_id, &other.instance_id),
            (&mut self.region, &other.region),
        ] {
            text(to, from);
        }
        list(&mut self.host_names, &other.host_names);
        list(&mut self.addresses, &other.addresses);
        list(&mut self.macs, &other.macs);
        list(&mut self.tags, &other.tags);
        list(&mut self.reported.host_names, &other.reported.host_names);
        list(&mut self.reported.addresses, &other.reported.addresses);
        list(&mut self.reported.macs, &other.reported.macs);
    }
}

/// The place of the entry that is the machine we run on: by UUID in either byte order, then by machine-id, then
/// by host name; a key that two entries share decides nothing alone.
///
/// formats §9: "require a second key (instanceUuid, MAC, host name) when one UUID hits 2 VMs".
pub(super) fn find_local(entries: &[Entry], local: &Local) -> Option<usize> {
    let by_uuid = |entry: &Entry| match (entry.uuid, local.uuid) {
        (Some(theirs), Some(ours)) => ours.same_machine(theirs),
        _ => false,
    };
    let by_machine_id = |entry: &Entry| !local.machine_id.is_empty() && entry.machine_id == local.machine_id;
    let by_mac = |entry: &Entry| entry.macs.iter().any(|mac| local.macs.contains(mac));
    let by_reported_mac = |entry: &Entry| entry.reported.macs.iter().any(|mac| local.macs.contains(mac));
    let by_name = |entry: &Entry| {
        !local.hostname.is_empty() && entry.names().any(|name| name.eq_ignore_ascii_case(&local.hostname))
    };
    let same: Vec<usize> = (0..entries.len()).filter(|at| entries.get(*at).is_some_and(by_uuid)).collect();
    match same.as_slice() {
        [] => {}
        [only] => return Some(*only),
        // Copies: only among them.
        copies => {
            let among = |is_it: &dyn Fn(&Entry) -> bool| {
                only(copies.iter().copied().filter(|at| entries.get(*at).is_some_and(is_it)))
            };
            let told = among(&by_machine_id).or_else(|| among(&by_mac)).or_else(|| among(&by_name));
            // What a guest reports decides only where nothing else does.
            return told.or_else(|| among(&by_reported_mac));
        }
    }
    // Whoever has another UUID is another machine, whatever it is called.
    let may_be = |entry: &Entry| entry.uuid.is_none() || local.uuid.is_none();
    let in_all = |is_it: &dyn Fn(&Entry) -> bool| {
        only(entries.iter().enumerate().filter(|(_, entry)| may_be(entry) && is_it(entry)).map(|(at, _)| at))
    };
    in_all(&by_machine_id).or_else(|| in_all(&by_name))
}

fn only(mut found: impl Iterator<Item = usize>) -> Option<usize> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_cards() {
        for text in ["00:50:56:AA:bb:cc", "00-50-56-aa-bb-cc", "0050.56aa.bbcc", " 00:50:56:aa:bb:cc "] {
            assert_eq!(Mac::parse(text).unwrap().to_string(), "00:50:56:aa:bb:cc", "{text}");
        }
        for text in ["", "005056aabbcc", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "0:50:56:a:b:c"]
        {
            assert_eq!(Mac::parse(text), None, "{text}");
        }
    }

    #[test]
    fn of_two_copies_the_second_key_decides() {
        let uuid = Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb");
        let entry = |name: &str, mac: &str| Entry {
            name: name.to_owned(),
            uuid,
            macs: Mac::parse(mac).into_iter().collect(),
            ..Entry::default()
        };
        let entries = [entry("web", "00:50:56:00:00:01"), entry("web-copy", "00:50:56:00:00:02")];
        let local = |name: &str, mac: &str| Local {
            uuid: uuid.map(Uuid::swapped),
            hostname: name.to_owned(),
            macs: Mac::parse(mac).into_iter().collect(),
            ..Local::default()
        };
        assert_eq!(find_local(&entries, &local("other", "")), None);
        assert_eq!(find_local(&entries, &local("WEB-copy", "")), Some(1));
        assert_eq!(find_local(&entries, &local("web-copy", "00:50:56:00:00:01")), Some(0));
        assert_eq!(find_local(&entries[..1], &local("other", "")), Some(0));
        let named = Entry { name: "web".to_owned(), ..Entry::default() };
        assert_eq!(find_local(&[named], &local("WEB", "")), Some(0));
        // What a guest reports makes it neither the gateway's machine nor a rival of that.
        let reported = |name: &str, mac: &str| Entry {
            name: name.to_owned(),
            reported: Reported {
                host_names: vec!["web".to_owned()],
                macs: Mac::parse(mac).into_iter().collect(),
                ..Reported::default()
            },
            ..Entry::default()
        };
        let ours = Local { uuid: None, ..local("web", "00:50:56:00:00:01") };
        let named = Entry { name: "web".to_owned(), ..Entry::default() };
        assert_eq!(find_local(&[reported("x", "00:50:56:00:00:01"), named], &ours), Some(1));
        assert_eq!(find_local(&[reported("x", "00:50:56:00:00:01")], &ours), None);
        // Of copies it decides where nothing else does.
        let copy = |mac: &str| Entry { uuid, ..reported("copy", mac) };
        let copies = [copy("00:50:56:00:00:01"), copy("00:50:56:00:00:02")];
        assert_eq!(find_local(&copies, &local("other", "00:50:56:00:00:02")), Some(1));
        let told = [copy("00:50:56:00:00:01"), entry("web", "00:50:56:00:00:01")];
        assert_eq!(find_local(&told, &local("other", "00:50:56:00:00:01")), Some(1));
        let another = Entry { uuid: Uuid::parse("00000001-0002-0003-6af6-a46351ced0eb"), ..entry("web", "") };
        assert_eq!(find_local(&[another], &local("web", "")), None, "another UUID is another machine");
    }

    #[test]
    fn no_text_of_a_provider_is_so_long_that_events_do_not_fit() {
        let mut entry = Entry {
            name: "ü".repeat(10_000),
            host_names: vec!["x".repeat(10_000); 1_000],
            addresses: vec!["192.0.2.7".parse().unwrap(); 1_000],
            tags: vec!["x".repeat(1000); 1000],
            ..Entry::default()
        };
        entry.bound();
        assert_eq!(entry.tags.concat().len(), TAGS_BYTES_MAX);
        assert_eq!(
            (entry.name.len(), entry.host_names.len(), entry.addresses.len()),
            (TEXT_BYTES_MAX, LIST_MAX, LIST_MAX)
        );
        assert!(entry.host_names.iter().all(|name| name.len() == TEXT_BYTES_MAX));
    }

    #[test]
    fn what_one_does_not_know_another_adds() {
        let mut one = Entry { name: "web".into(), moref: "vm-1".into(), vcenter: "a".into(), ..Entry::default() };
        let other = Entry {
            name: "Web".into(),
            moref: "vm-2".into(),
            vcenter: "b".into(),
            group: "lab".into(),
            addresses: vec!["192.0.2.7".parse().unwrap()],
            ..Entry::default()
        };
        one.complete(&other);
        one.complete(&other);
        assert_eq!((one.name.as_str(), one.moref.as_str(), one.vcenter.as_str()), ("web", "vm-1", "a"));
        assert_eq!((one.group.as_str(), one.addresses.len()), ("lab", 1));
    }
}
