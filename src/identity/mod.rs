//! Which virtual machine is this? The step **identify** of an event's way.
//!
//! Files (`inventory`) and providers (`provider`) say which machines there are, again and again; an event only looks
//! into an immutable [`Snapshot`].
//!
//! Invariants: no I/O on the way of an event; what a sender claims never selects a machine unless
//! the source is a trusted relay (decisions: identity 16).

mod aws;
mod azure;
mod changes;
mod docker;
mod duplicates;
mod encoding;
mod entry;
mod gce;
mod govc;
mod guestinfo;
mod http;
pub mod inventory;
mod join;
mod keys;
mod libvirt;
pub mod local;
mod metadata;
mod own;
mod program;
mod provider;
mod proxmox;
mod register;
mod seen;
mod snapshot;
mod spreadsheet;
#[cfg(test)]
mod stub;
mod uuid;
mod vcenter;
mod vcenter_tags;
mod xml;

use std::sync::Arc;

use wharfinger_formats::Field;

pub use crate::facts::Facts;
pub use changes::{Change as Difference, changes, summary};
pub use docker::{Docker, Moment};
pub use entry::{Entry, Mac, Reported};
pub use inventory::{Inventory, InventoryError, Note};
pub use join::join;
pub use local::{Local, Roots};
pub use provider::{PROVIDERS, Provider, ProviderConfig, ProviderError, Told};
pub use register::{DOCKER_MARKS, MARKS, Register, STRANGERS_MAX, Stranger, has_left};
pub use seen::{Change, STATES, Seen, State};
pub use snapshot::{Senders, Snapshot, Who};
pub use uuid::Uuid;

/// Whose machine an event of a source is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// This machine: its Docker Engine, its files.
    Local,
    /// The machine at the other end of the connection.
    #[default]
    Peer,
    /// The other end passes on what others said (a central rsyslog, a Wazuh manager): the host or
    /// agent named inside selects the machine, marked `vm.evidence=relayed`.
    Relay,
}

/// Says to which policy group the machine with these facts belongs.
pub type GroupOf<'f> = dyn Fn(&Facts) -> Option<String> + 'f;

/// How a machine was recognised: the value of `vm.evidence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    Local,
    /// The name in a client's certificate.
    Certificate,
    /// The token of the source.
    Token,
    /// The user at the other end of a unix socket.
    Unix,
    Address,
    AddressUnverified,
    Relayed,
}

impl Evidence {
    pub fn name(self) -> &'static str {
        match self {
            Evidence::Local => "local",
            Evidence::Certificate => "certificate",
            Evidence::Token => "token",
            Evidence::Unix => "unix",
            Evidence::Address => "address",
            Evidence::AddressUnverified => "address_unverified",
            Evidence::Relayed => "relayed",
        }
    }
}

/// What is set on every event of one machine.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Reserved fields and, for the local machine, `host.*`.
    pub facts: Facts,
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
        self.facts.get(field)
    }

    fn grouped(mut self, group_of: &GroupOf<'_>) -> Identity {
        if let Some(group) = group_of(&self.facts) {
            self.facts.set(Field::VmGroup, &group);
        }
        self
    }
}

/// FNV-1a, for names that are told apart: whoever makes two names fall together is counted once.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
