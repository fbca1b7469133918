//! Snapshot: everything known about machines at one moment, and how one is found in it.
//!
//! Invariants: immutable; a key that two machines share selects neither; what a sender claims selects a machine only
//! where the source is a trusted relay (decisions: identity 16).

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use wharfinger_formats::Field;

use super::entry::find_local;
use super::{Entry, Evidence, GroupOf, Identity, Local, Mac, Register, Seen, Trust, Uuid};

/// The machine of a key: its place, or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot(u32);

const NOBODY: Slot = Slot(u32::MAX);

/// Which credential belongs to which machine, by its name or UUID: `identity.senders`.
pub type Senders = BTreeMap<String, String>;

/// Everything known about machines at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    local: Arc<Identity>,
    by_address: HashMap<IpAddr, Slot>,
    by_name: HashMap<Box<str>, Slot>,
    by_id: HashMap<Box<str>, Slot>,
    /// Under the smaller of both byte orders.
    by_uuid: HashMap<Uuid, Slot>,
    by_mac: HashMap<Mac, Slot>,
    by_sender: HashMap<Box<str>, Slot>,
    /// Those of the inventory, and this one if no inventory names it.
    machines: Vec<Arc<Identity>>,
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
        let mut snapshot = Snapshot { register: Arc::clone(&self.register), ..Snapshot::default() };
        let before: HashMap<&str, &Arc<Seen>> =
            self.machines.iter().filter_map(|known| Some((known.key()?, &known.seen))).collect();
        let seen = |mut identity: Identity| {
            let known = identity.key().and_then(|key| before.get(key));
            identity.seen = known.map_or_else(|| Arc::new(self.register.first_seen()), |seen| Arc::clone(seen));
            Arc::new(identity)
        };
        for (at, entry) in entries.iter().enumerate() {
            snapshot.index(Slot::of(at), entry);
            snapshot.machines.push(seen(entry.identity().grouped(group_of)));
        }
        snapshot.index_short_names(entries);
        let mut own = local.identity();
        let listed = find_local(entries, local);
        if let Some(entry) = listed.and_then(|at| entries.get(at)) {
            // The inventory's word on uuid and name wins: it is what the SIEM's users know.
            let mut joined = entry.identity();
            for (field, value) in &own.fields {
                joined.set(*field, value);
            }
            own = joined;
        }
        own.set(Field::VmEvidence, Evidence::Local.name());
        own = own.grouped(group_of);
        match listed.and_then(|at| snapshot.machines.get(at)) {
            Some(listed) => {
                own.seen = Arc::clone(&listed.seen);
                snapshot.local = Arc::new(own);
            }
            None => {
                snapshot.local = seen(own);
                snapshot.machines.push(Arc::clone(&snapshot.local));
            }
        }
        snapshot
    }

    /// The same, with the machines that credentials belong to. Answers whose machine nobody knows.
    #[must_use]
    pub fn with_senders(mut self, senders: &Senders) -> (Snapshot, Vec<String>) {
        let mut unknown = Vec::new();
        let mut by_sender = HashMap::new();
        for (credential, machine) in senders {
            match self.slot_of(machine) {
                Some(slot) if slot != NOBODY => drop(by_sender.insert(Box::from(credential.as_str()), slot)),
                _ => unknown.push(machine.clone()),
            }
        }
        self.by_sender = by_sender;
        (self, unknown)
    }

    fn index(&mut self, slot: Slot, entry: &Entry) {
        for address in entry.addresses.iter().filter(|address| tells_apart(address)) {
            insert(&mut self.by_address, canonical(*address), slot);
        }
        for name in entry.names() {
            insert(&mut self.by_name, name.to_lowercase().into(), slot);
        }
        for id in entry.ids() {
            insert(&mut self.by_id, id.into(), slot);
        }
        for uuid in [entry.uuid, entry.instance_uuid].into_iter().flatten() {
            insert(&mut self.by_uuid, uuid.unordered(), slot);
        }
        for mac in &entry.macs {
            insert(&mut self.by_mac, *mac, slot);
        }
    }

    /// A host calls itself `web-01` that the inventory calls `web-01.example`; whoever has the short name as his
    /// own comes first.
    fn index_short_names(&mut self, entries: &[Entry]) {
        let mut short: HashMap<Box<str>, Slot> = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            for (label, _) in entry.host_names.iter().filter_map(|name| name.split_once('.')) {
                let label: Box<str> = label.to_lowercase().into();
                if !label.is_empty() && !self.by_name.contains_key(&label) {
                    insert(&mut short, label, Slot::of(at));
                }
            }
        }
        self.by_name.extend(short);
        for map in [&mut self.by_name, &mut self.by_id] {
            map.shrink_to_fit();
        }
    }

    /// The policy group now of a machine that was known by these facts; as it was, if nobody knows it any more.
    pub fn group_of<'s>(&'s self, facts: &'s [(Field, String)]) -> Option<&'s str> {
        fn fact(facts: &[(Field, String)], field: Field) -> Option<&str> {
            facts.iter().find(|(known, _)| *known == field).map(|(_, value)| value.as_str())
        }
        let is_local = |field| fact(facts, field).is_some_and(|value| self.local.fact(field) == Some(value));
        let local = [Field::VmUuid, Field::VmName].into_iter().any(is_local).then_some(&*self.local);
        let now = local.or_else(|| self.named(fact(facts, Field::VmName)?));
        fact(now.map_or(facts, |identity| &identity.fields), Field::VmGroup)
    }

    /// Whether a sender with these facts would be recognised now, by what it has proved or by the name that a relay
    /// has for it.
    pub fn knows(&self, facts: &[(Field, String)]) -> bool {
        let fact = |field| facts.iter().find(|(known, _)| *known == field).map(|(_, value)| value.as_str());
        match (fact(Field::Peer), fact(Field::HostName)) {
            (Some(peer), _) => match peer.parse::<IpAddr>() {
                Ok(address) => self.machine(self.by_address.get(&canonical(address)).copied()).is_some(),
                Err(_) => self.of_credential(peer).is_some(),
            },
            (None, Some(name)) => self.named(name).is_some(),
            _ => false,
        }
    }

    /// Those of the inventories in their order, and this one behind them if none of them names it.
    pub fn machines(&self) -> &[Arc<Identity>] {
        &self.machines
    }

    /// Those that the inventories name: of this one alone nobody expects anything.
    pub fn listed(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.machines.iter().filter(|machine| !Arc::ptr_eq(machine, &self.local))
    }

    /// What all snapshots of one gateway share: who else has spoken.
    pub fn register(&self) -> &Register {
        &self.register
    }

    /// The local machine.
    pub fn local(&self) -> &Arc<Identity> {
        &self.local
    }

    /// The machine, and how it was recognised.
    pub fn resolve(&self, who: Who<'_>) -> Option<(&Identity, Evidence)> {
        match who.trust {
            Trust::Local => Some((&self.local, Evidence::Local)),
            Trust::Relay => {
                // Its manager gives an agent the id; the name is the agent's own choice.
                let claims = [who.claimed_id, who.claimed_host, who.claimed_address];
                let found = claims.into_iter().flatten().find_map(|claim| self.named(claim));
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
                let identity = self.machine(self.by_address.get(&canonical(address)).copied())?;
                Some((identity, evidence))
            }
        }
    }

    /// By what a connection has proved: who is told to have it, or the machine that a certificate names.
    fn of_credential(&self, credential: &str) -> Option<(&Identity, Evidence)> {
        // An address is none, and most peers have nothing else.
        if credential.parse::<IpAddr>().is_ok() {
            return None;
        }
        let is_user = credential.starts_with("uid ");
        let evidence = if is_user { Evidence::Unix } else { Evidence::Certificate };
        let told = self.machine(self.by_sender.get(credential).copied());
        let found = told.or_else(|| if is_user { None } else { self.named(credential) })?;
        Some((found, evidence))
    }

    /// By the token of its source.
    fn of_source(&self, source: &str) -> Option<&Identity> {
        if self.by_sender.is_empty() || source.is_empty() {
            return None;
        }
        self.machine(self.by_sender.get(format!("source {source}").as_str()).copied())
    }

    /// The machine of a name, an address, a UUID in either byte order, an address of a network card, or an id.
    pub fn named(&self, name: &str) -> Option<&Identity> {
        self.machine(self.slot_of(name))
    }

    /// Whether several machines have it, so that it selects none.
    pub fn is_shared(&self, name: &str) -> bool {
        self.slot_of(name) == Some(NOBODY)
    }

    fn slot_of(&self, name: &str) -> Option<Slot> {
        if let Some(slot) = self.slot_of_name(name) {
            return Some(slot);
        }
        if let Ok(address) = name.parse() {
            return self.by_address.get(&canonical(address)).copied();
        }
        // RFC 4122 §3: names a UUID in a URI, as in a certificate.
        let uuid = Uuid::parse(name.strip_prefix("urn:uuid:").unwrap_or(name));
        let of_uuid = uuid.and_then(|uuid| self.by_uuid.get(&uuid.unordered()));
        let of_id = of_uuid.or_else(|| self.by_id.get(name));
        of_id.or_else(|| Mac::parse(name).and_then(|mac| self.by_mac.get(&mac))).copied()
    }

    fn slot_of_name(&self, name: &str) -> Option<Slot> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
            return self.by_name.get(name.to_lowercase().as_str()).copied();
        }
        self.by_name.get(name).copied()
    }

    fn machine(&self, slot: Option<Slot>) -> Option<&Identity> {
        self.machines.get(usize::try_from(slot?.0).ok()?).map(|identity| &**identity)
    }
}

impl Slot {
    /// Four thousand million machines are in no inventory.
    fn of(at: usize) -> Slot {
        Slot(u32::try_from(at).unwrap_or(u32::MAX))
    }
}

/// A key that another machine has already selects nobody.
fn insert<K: Hash + Eq>(map: &mut HashMap<K, Slot>, key: K, slot: Slot) {
    let known = map.entry(key).or_insert(slot);
    if *known != slot {
        *known = NOBODY;
    }
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
