//! Snapshot: everything known about machines at one moment, and how one is found in it.
//!
//! Invariants: immutable; a key that two machines share selects neither; what a sender claims selects a machine only
//! where the source is a trusted relay (decisions: identity 16).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use wharfinger_formats::Field;

use super::entry::find_local;
use super::keys::{self, Authority, Key, Keys, Slot};
use super::{Entry, Evidence, GroupOf, Identity, Local, Mac, Register, Seen, Trust, Uuid};
use crate::facts::Facts;

/// Which credential belongs to which machine, by its name or UUID: `identity.senders`.
pub type Senders = BTreeMap<String, String>;

/// Everything known about machines at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    local: Identity,
    keys: Keys,
    by_sender: HashMap<Box<str>, usize>,
    /// Those of the inventory, and this one behind them if no inventory names it.
    machines: Box<[Identity]>,
    /// How many the inventories name.
    listed: usize,
    register: Arc<Register>,
}

/// What a connection proves and an event claims.
#[derive(Debug, Clone, Copy, Default)]
pub struct Who<'e> {
    pub trust: Trust,
    pub address: Option<IpAddr>,
    pub address_unverified: bool,
    /// What the connection has proved beside its address: a name in a client's certificate, `uid 1001`.
    pub credential: Option<&'e str>,
    /// Through which source it comes; whoever sends there has its token, if it has one.
    pub source: &'e str,
    pub claimed_host: Option<&'e str>,
    /// The number that its manager gave an agent, or its machine-id.
    pub claimed_id: Option<&'e str>,
    pub claimed_address: Option<&'e str>,
}

impl Snapshot {
    /// Joins the local machine's facts with the inventory.
    pub fn new(local: &Local, entries: &[Entry]) -> Snapshot {
        Snapshot::grouped(local, entries, &|_| None)
    }

    /// The same, with the policy group of the machine with these facts in place of that of the inventory.
    pub fn grouped(local: &Local, entries: &[Entry], group_of: &GroupOf<'_>) -> Snapshot {
        Snapshot::default().renewed(local, entries, group_of)
    }

    /// What is known now, in place of this: the machines that stay keep what was seen of them.
    #[must_use]
    pub fn renewed(&self, local: &Local, entries: &[Entry], group_of: &GroupOf<'_>) -> Snapshot {
        let before: HashMap<&str, &Arc<Seen>> =
            self.machines.iter().filter_map(|known| Some((known.key()?, &known.seen))).collect();
        let identity = |facts: Facts| {
            let mut identity = Identity { facts, ..Identity::default() }.grouped(group_of);
            let known = identity.key().and_then(|key| before.get(key));
            identity.seen = known.map_or_else(|| Arc::new(self.register.first_seen()), |seen| Arc::clone(seen));
            identity
        };
        let mut machines = Vec::with_capacity(entries.len() + 1);
        machines.extend(entries.iter().map(|entry| identity(entry.facts())));
        let known = find_local(entries, local);
        let own = known.and_then(|at| entries.get(at)).map(Entry::facts).unwrap_or_default();
        // The inventory's word on uuid and name wins: it is what the SIEM's users know.
        let mut own: Facts = own.iter().chain(&local.facts()).collect();
        own.set(Field::VmEvidence, Evidence::Local.name());
        let mut own = identity(own);
        match known.and_then(|at| machines.get(at)) {
            Some(listed) => own.seen = Arc::clone(&listed.seen),
            None => machines.push(own.clone()),
        }
        Snapshot {
            local: own,
            keys: index(entries),
            by_sender: HashMap::new(),
            machines: machines.into(),
            listed: entries.len(),
            register: Arc::clone(&self.register),
        }
    }

    /// The same, with the machines that credentials belong to. Answers whose machine nobody knows.
    #[must_use]
    pub fn with_senders(mut self, senders: &Senders) -> (Snapshot, Vec<String>) {
        let mut unknown = Vec::new();
        let mut by_sender = HashMap::new();
        for (credential, machine) in senders {
            match self.slot_of(machine) {
                Some(Slot::At(at)) => drop(by_sender.insert(Box::from(credential.as_str()), at)),
                _ => unknown.push(machine.clone()),
            }
        }
        self.by_sender = by_sender;
        (self, unknown)
    }

    /// The policy group now of a machine that was known by these facts; as it was, if nobody knows it any more.
    pub fn group_of<'s>(&'s self, facts: &'s Facts) -> Option<&'s str> {
        let is_local = |field| facts.get(field).is_some_and(|value| self.local.fact(field) == Some(value));
        let local = [Field::VmUuid, Field::VmName].into_iter().any(is_local).then_some(&self.local);
        let now = local.or_else(|| self.named(facts.get(Field::VmName)?));
        now.map_or(facts, |identity| &identity.facts).get(Field::VmGroup)
    }

    /// Whether a sender with these facts would be recognised now, by what it has proved or by the name that a relay
    /// has for it.
    pub fn knows(&self, facts: &Facts) -> bool {
        match (facts.get(Field::Peer), facts.get(Field::HostName)) {
            (Some(peer), _) => match peer.parse::<IpAddr>() {
                Ok(address) => self.at(address).is_some(),
                Err(_) => self.of_credential(peer).is_some(),
            },
            (None, Some(name)) => self.named(name).is_some(),
            _ => false,
        }
    }

    /// Those of the inventories in their order, and this one behind them if none of them names it.
    pub fn machines(&self) -> &[Identity] {
        &self.machines
    }

    /// Those that the inventories name: of this one alone nobody expects anything.
    pub fn listed(&self) -> &[Identity] {
        self.machines.get(..self.listed).unwrap_or_default()
    }

    /// What all snapshots of one gateway share: who else has spoken.
    pub fn register(&self) -> &Register {
        &self.register
    }

    /// The local machine.
    pub fn local(&self) -> &Identity {
        &self.local
    }

    /// The machine, and how it was recognised.
    pub fn resolve(&self, who: Who<'_>) -> Option<(&Identity, Evidence)> {
        match who.trust {
            Trust::Local => Some((&self.local, Evidence::Local)),
            Trust::Relay => {
                // Its manager gives an agent the id; the name is the agent's own choice, and no id.
                let by_id =
                    who.claimed_id.and_then(|id| self.of_agent(id).or_else(|| self.machine(self.slot_of_key(id))));
                let claims = [who.claimed_host, who.claimed_address].into_iter().flatten();
                let found = by_id.or_else(|| claims.into_iter().find_map(|claim| self.named(claim)));
                found.map(|identity| (identity, Evidence::Relayed))
            }
            Trust::Peer => {
                if let Some(found) = who.credential.and_then(|credential| self.of_credential(credential)) {
                    return Some(found);
                }
                if let Some(identity) = self.of_source(who.source) {
                    return Some((identity, Evidence::Token));
                }
                let address = who.address?;
                let evidence = if who.address_unverified { Evidence::AddressUnverified } else { Evidence::Address };
                if address.is_loopback() && !who.address_unverified {
                    return Some((&self.local, Evidence::Local));
                }
                Some((self.at(address)?, evidence))
            }
        }
    }

    /// By what a connection has proved: who is told to have it, or the machine that a certificate names.
    fn of_credential(&self, credential: &str) -> Option<(&Identity, Evidence)> {
        // An address is none, and most peers have nothing else.
        if credential.parse::<IpAddr>().is_ok() {
            return None;
        }
        // No name in a certificate holds a space.
        let evidence = match credential.split_once(' ') {
            Some(("uid", _)) => Evidence::Unix,
            Some(("token", _)) => Evidence::Token,
            _ => Evidence::Certificate,
        };
        let told = self.by_sender.get(credential).and_then(|at| self.machines.get(*at));
        let named = || self.named(credential).filter(|_| evidence == Evidence::Certificate);
        let found = told.or_else(named)?;
        Some((found, evidence))
    }

    /// By the token of its source.
    fn of_source(&self, source: &str) -> Option<&Identity> {
        if self.by_sender.is_empty() || source.is_empty() {
            return None;
        }
        self.machines.get(*self.by_sender.get(format!("source {source}").as_str())?)
    }

    /// By the id of an agent that is told to be on it.
    fn of_agent(&self, id: &str) -> Option<&Identity> {
        if self.by_sender.is_empty() {
            return None;
        }
        self.machines.get(*self.by_sender.get(format!("agent {id}").as_str())?)
    }

    /// The machine of an address.
    fn at(&self, address: IpAddr) -> Option<&Identity> {
        self.machine(self.keys.get(Key::Address(canonical(address))))
    }

    /// The machine of a name, an address, a UUID in either byte order, an address of a network card, or an id.
    pub fn named(&self, name: &str) -> Option<&Identity> {
        self.machine(self.slot_of(name))
    }

    /// Whether several machines have it, so that it selects none.
    pub fn is_shared(&self, name: &str) -> bool {
        self.slot_of(name) == Some(Slot::Shared)
    }

    /// Names come last: a guest may report any for its own.
    fn slot_of(&self, name: &str) -> Option<Slot> {
        self.slot_of_key(name).or_else(|| self.slot_of_name(name))
    }

    fn slot_of_key(&self, name: &str) -> Option<Slot> {
        if let Ok(address) = name.parse() {
            return self.keys.get(Key::Address(canonical(address)));
        }
        // RFC 4122 §3: names a UUID in a URI, as in a certificate.
        let uuid = Uuid::parse(name.strip_prefix("urn:uuid:").unwrap_or(name));
        let of_uuid = uuid.and_then(|uuid| self.keys.get(Key::Uuid(uuid.unordered())));
        let of_id = of_uuid.or_else(|| self.keys.get(Key::Id(name)));
        of_id.or_else(|| self.keys.get(Key::Mac(Mac::parse(name)?)))
    }

    fn slot_of_name(&self, name: &str) -> Option<Slot> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
            return self.keys.get(Key::Name(&name.to_lowercase()));
        }
        self.keys.get(Key::Name(name))
    }

    fn machine(&self, slot: Option<Slot>) -> Option<&Identity> {
        match slot? {
            Slot::At(at) => self.machines.get(at),
            Slot::Shared => None,
        }
    }
}

/// Every key of every machine.
fn index(entries: &[Entry]) -> Keys {
    use Authority::{Guest, GuestShort, Inventory, InventoryShort};
    let mut keys = keys::Builder::default();
    for (at, entry) in entries.iter().enumerate() {
        if !entry.name.is_empty() {
            keys.add(Key::Name(&entry.name.to_lowercase()), Inventory, at);
        }
        let told = entry.host_names.iter().map(|name| (name, [Inventory, InventoryShort]));
        let reported = entry.reported.host_names.iter().filter(|name| is_name(name));
        let reported = reported.map(|name| (name, [Guest, GuestShort]));
        for (name, [whole, short]) in told.chain(reported).filter(|(name, _)| !name.is_empty()) {
            let name = name.to_lowercase();
            keys.add(Key::Name(&name), whole, at);
            // A host calls itself `web-01` that the inventory calls `web-01.example`.
            if let Some((label, _)) = name.split_once('.').filter(|(label, _)| !label.is_empty()) {
                keys.add(Key::Name(label), short, at);
            }
        }
        let addresses = entry.addresses.iter().map(|address| (address, Inventory));
        for (address, authority) in addresses.chain(entry.reported.addresses.iter().map(|address| (address, Guest))) {
            if tells_apart(address) {
                keys.add(Key::Address(canonical(*address)), authority, at);
            }
        }
        entry.macs.iter().for_each(|mac| keys.add(Key::Mac(*mac), Inventory, at));
        entry.reported.macs.iter().for_each(|mac| keys.add(Key::Mac(*mac), Guest, at));
        entry.ids().for_each(|id| keys.add(Key::Id(id), Inventory, at));
        for uuid in [entry.uuid, entry.instance_uuid].into_iter().flatten() {
            keys.add(Key::Uuid(uuid.unordered()), Inventory, at);
        }
    }
    keys.build()
}

/// Neither an address nor a UUID: where nobody has it, it is still no name of a guest.
fn is_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_err() && Mac::parse(name).is_none() && !name.contains(':') && Uuid::parse(name).is_none()
}

/// What every machine has tells none apart, whatever a guest reports of itself.
fn tells_apart(address: &IpAddr) -> bool {
    let address = canonical(*address);
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_link_local || address.is_unspecified() || address.is_multicast())
}

/// IPv4 in IPv6 clothes is the same machine.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
