//! Which virtual machine is this? The step **identify** of an event's way.
//!
//! Providers (`local`, `inventory`) are read at start and whenever a file changes; an event only
//! looks into an immutable [`Snapshot`].
//!
//! Invariants: no I/O on the way of an event; what a sender claims never selects a machine unless
//! the source is a trusted relay (decisions: identity 16).

mod docker;
pub mod inventory;
pub mod local;
mod own;
mod register;
mod rvtools;
mod seen;
mod uuid;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use wharfinger_formats::Field;

pub use docker::{Docker, Moment};
pub use inventory::{Entry, InventoryError};
pub use local::{Local, Roots};
pub use register::{DOCKER_MARKS, MARKS, Register, STRANGERS_MAX, Stranger, has_left};
pub use seen::{Change, STATES, Seen, State};
pub use uuid::Uuid;

/// Whose machine an event of a source is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// This machine: its Docker Engine, its files.
    Local,
    /// The machine at the other end of the connection.
    Peer,
    /// The other end passes on what others said (a central rsyslog, a Wazuh manager): the host or
    /// agent named inside selects the machine, marked `vm.evidence=relayed`.
    Relay,
}

/// Says to which policy group the machine with these facts belongs.
pub type GroupOf<'f> = dyn Fn(&[(Field, String)]) -> Option<String> + 'f;

/// How a machine was recognised: the value of `vm.evidence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    Local,
    Address,
    AddressUnverified,
    Relayed,
}

impl Evidence {
    pub fn name(self) -> &'static str {
        match self {
            Evidence::Local => "local",
            Evidence::Address => "address",
            Evidence::AddressUnverified => "address_unverified",
            Evidence::Relayed => "relayed",
        }
    }
}

/// What is set on every event of one machine.
#[derive(Debug, Default)]
pub struct Identity {
    /// Reserved fields and, for the local machine, `host.*`.
    pub fields: Vec<(Field, String)>,
    /// When it spoke: the same for as long as the machine is known.
    pub seen: Arc<Seen>,
}

impl Identity {
    /// What names it, the surest first; none: nothing is known of it.
    pub fn key(&self) -> Option<&str> {
        [Field::VmUuid, Field::VmName, Field::HostName].into_iter().find_map(|field| self.fact(field))
    }

    /// One fact.
    pub fn fact(&self, field: Field) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == field).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, field: Field, value: &str) {
        if !value.is_empty() && !self.fields.iter().any(|(known, _)| *known == field) {
            self.fields.push((field, value.to_owned()));
        }
    }

    fn grouped(mut self, group_of: &GroupOf<'_>) -> Identity {
        if let Some(group) = group_of(&self.fields) {
            self.fields.retain(|(field, _)| *field != Field::VmGroup);
            self.fields.push((Field::VmGroup, group));
        }
        self
    }
}

/// Everything known about machines at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    local: Arc<Identity>,
    by_address: HashMap<IpAddr, Arc<Identity>>,
    by_name: HashMap<String, Arc<Identity>>,
    /// Those of the inventory, and this one if no inventory names it.
    machines: Vec<Arc<Identity>>,
    register: Arc<Register>,
}

/// What a connection proves and an event claims.
#[derive(Debug, Clone, Copy)]
pub struct Who<'e> {
    pub trust: Trust,
    pub address: Option<IpAddr>,
    pub address_unverified: bool,
    pub claimed_host: Option<&'e str>,
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
        for entry in entries {
            let identity = seen(entry.identity().grouped(group_of));
            for address in &entry.addresses {
                // A machine that shares an address with another is not recognised by it.
                snapshot.insert_address(*address, &identity);
            }
            for name in entry.names() {
                snapshot.by_name.entry(name.to_ascii_lowercase()).or_insert_with(|| Arc::clone(&identity));
            }
            snapshot.machines.push(identity);
        }
        let mut own = local.identity();
        let listed = inventory::find_local(entries, local);
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

    fn insert_address(&mut self, address: IpAddr, identity: &Arc<Identity>) {
        use std::collections::hash_map::Entry as Slot;
        match self.by_address.entry(address) {
            Slot::Vacant(slot) => {
                slot.insert(Arc::clone(identity));
            }
            Slot::Occupied(mut slot) => {
                slot.insert(Arc::new(Identity::default()));
            }
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

    /// Whether a sender with these facts would be recognised now, by its address or by the name that a relay has for
    /// it.
    pub fn knows(&self, facts: &[(Field, String)]) -> bool {
        let fact = |field| facts.iter().find(|(known, _)| *known == field).map(|(_, value)| value.as_str());
        match (fact(Field::Peer).map(str::parse::<IpAddr>), fact(Field::HostName)) {
            (Some(Ok(address)), _) => {
                self.by_address.get(&canonical(address)).is_some_and(|one| !one.fields.is_empty())
            }
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
                let name = who.claimed_host?;
                self.named(name).map(|identity| (identity, Evidence::Relayed))
            }
            Trust::Peer => {
                let address = who.address?;
                let evidence = if who.address_unverified { Evidence::AddressUnverified } else { Evidence::Address };
                if address.is_loopback() && !who.address_unverified {
                    return Some((&self.local, Evidence::Local));
                }
                let identity = self.by_address.get(&canonical(address))?;
                (!identity.fields.is_empty()).then_some((&**identity, evidence))
            }
        }
    }

    fn named(&self, name: &str) -> Option<&Identity> {
        if let Ok(address) = name.parse() {
            return self.by_address.get(&canonical(address)).map(|identity| &**identity);
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.by_name.get(&name.to_ascii_lowercase()).map(|identity| &**identity);
        }
        self.by_name.get(name).map(|identity| &**identity)
    }
}

/// FNV-1a, for names that are told apart: whoever makes two names fall together is counted once.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// IPv4 in IPv6 clothes is the same machine.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, uuid: &str, address: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            uuid: Uuid::parse(uuid),
            addresses: vec![address.parse().unwrap()],
            ..Entry::default()
        }
    }

    fn name_of(found: Option<(&Identity, Evidence)>) -> Option<(String, Evidence)> {
        let (identity, evidence) = found?;
        let name = identity.fields.iter().find(|(field, _)| *field == Field::VmName)?;
        Some((name.1.clone(), evidence))
    }

    #[test]
    fn a_claimed_name_selects_a_machine_only_through_a_relay() {
        let entries = [entry("web", "421f245c-7fa8-60fa-6af6-a46351ced0eb", "192.0.2.7")];
        let snapshot = Snapshot::new(&Local::default(), &entries);
        let who = |trust, address: &str, claimed| Who {
            trust,
            address: address.parse().ok(),
            address_unverified: false,
            claimed_host: Some(claimed),
        };
        let resolve = |who| name_of(snapshot.resolve(who));
        assert_eq!(resolve(who(Trust::Peer, "192.0.2.8", "web")), None);
        assert_eq!(resolve(who(Trust::Peer, "192.0.2.7", "other")), Some(("web".into(), Evidence::Address)));
        assert_eq!(resolve(who(Trust::Peer, "::ffff:192.0.2.7", "x")), Some(("web".into(), Evidence::Address)));
        assert_eq!(resolve(who(Trust::Relay, "192.0.2.8", "WEB")), Some(("web".into(), Evidence::Relayed)));
        assert_eq!(resolve(who(Trust::Relay, "192.0.2.7", "other")), None);
    }

    #[test]
    fn an_address_of_two_machines_proves_nothing() {
        let entries = [entry("a", "", "192.0.2.7"), entry("b", "", "192.0.2.7")];
        let snapshot = Snapshot::new(&Local::default(), &entries);
        let who = Who {
            trust: Trust::Peer,
            address: "192.0.2.7".parse().ok(),
            address_unverified: false,
            claimed_host: None,
        };
        assert_eq!(name_of(snapshot.resolve(who)), None);
    }

    #[test]
    fn the_guests_swapped_uuid_finds_the_inventorys_machine() {
        // formats §9: HW version >= 13 shows the first three fields swapped against vCenter.
        let local = Local { uuid: Uuid::parse("5C241F42-A87F-FA60-6AF6-A46351CED0EB"), ..Local::default() };
        let entries = [entry("web", "421F245C-7FA8-60FA-6AF6-A46351CED0EB", "192.0.2.7")];
        let snapshot = Snapshot::new(&local, &entries);
        let uuid = snapshot.local().fields.iter().find(|(field, _)| *field == Field::VmUuid).unwrap();
        assert_eq!(uuid.1, "421f245c-7fa8-60fa-6af6-a46351ced0eb");
    }
}
