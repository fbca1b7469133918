//! Our own inventory list: machines in YAML, TOML or JSON, with the same messages as a configuration.
//!
//! ```yaml
//! machines:
//!   - {name: web-01, uuid: 421f245c-7fa8-60fa-6af6-a46351ced0eb, addresses: [192.0.2.7], group: playground}
//! ```

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Entry, Mac, Uuid};
use crate::document::{Mistake, Node, Table, Value, read_options};

/// What such a list is called.
pub(super) const KIND: &str = "own list";

/// One machine of the list.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Machine {
    /// Its name in the inventory.
    name: String,
    /// BIOS UUID as the hypervisor shows it; the guest may see its first three fields byte-swapped.
    uuid: String,
    /// UUID that is unique in one vCenter.
    instance_uuid: String,
    /// Managed object reference: `vm-42`.
    moref: String,
    /// Instance UUID of the vCenter the moref belongs to.
    vcenter: String,
    /// Names it calls itself by.
    host_names: Vec<String>,
    /// Addresses it sends from.
    addresses: Vec<IpAddr>,
    /// Addresses of its network cards: `00:50:56:aa:bb:cc`.
    macs: Vec<String>,
    /// Content of its `/etc/machine-id`.
    machine_id: String,
    /// What its manager calls it: the number of a Wazuh agent.
    agent_id: String,
    /// Policy group.
    group: String,
    /// `on`, `off` or `suspended`.
    power: String,
    /// The host it runs on.
    runs_on: String,
    /// For groups of the policy: `match: '"environment:prod" in vm.tags'`.
    tags: Vec<String>,
}

/// The machines of a document.
///
/// # Errors
/// Every mistake in it.
pub(super) fn read_list(root: &Node) -> Result<Vec<Entry>, Vec<Mistake>> {
    let hint = "write `machines:` with one entry for each: `- {name: web-01, addresses: [192.0.2.7]}`";
    let Some(list) = root.entry("machines") else {
        return Err(vec![Mistake::new(root.place, "has no `machines`", hint)]);
    };
    let Value::List(machines) = &list.node.value else {
        let cause = format!("`machines`: expected a list, found {}", list.node.kind());
        return Err(vec![Mistake::new(list.node.place, cause, hint)]);
    };
    let mut errors = Vec::new();
    let mut entries = Vec::with_capacity(machines.len());
    for node in machines {
        let table = Table { path: "machines", place: node.place, except: &[] };
        let read = read_options(node, table, |options| erased_serde::deserialize::<Machine>(options));
        match read.and_then(|machine| machine.entry(node).map_err(|error| vec![error])) {
            Ok(entry) => entries.push(entry),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(entries) } else { Err(errors) }
}

impl Machine {
    fn entry(self, node: &Node) -> Result<Entry, Mistake> {
        let uuid = |name: &str, text: &str| match Uuid::parse(text) {
            None if !text.is_empty() => {
                let place = node.entry(name).map_or(node.place, |entry| entry.node.place);
                let cause = format!("`{text}` is no UUID that identifies a machine");
                Err(Mistake::new(place, cause, "32 hex digits; leave it out when it is not known"))
            }
            uuid => Ok(uuid),
        };
        if self.name.is_empty() {
            return Err(Mistake::new(node.place, "a machine without a `name`", "give it the name people know"));
        }
        let macs = self.macs.iter().map(|text| Mac::parse(text).ok_or(text)).collect::<Result<_, _>>();
        let macs = macs.map_err(|text| {
            let place = node.entry("macs").map_or(node.place, |entry| entry.node.place);
            let cause = format!("`{text}` is no address of a network card");
            Mistake::new(place, cause, "write it as `00:50:56:aa:bb:cc`")
        })?;
        Ok(Entry {
            uuid: uuid("uuid", &self.uuid)?,
            instance_uuid: uuid("instance_uuid", &self.instance_uuid)?,
            name: self.name,
            moref: self.moref,
            vcenter: self.vcenter,
            host_names: self.host_names,
            addresses: self.addresses,
            macs,
            tags: self.tags,
            machine_id: self.machine_id,
            agent_id: self.agent_id,
            group: self.group,
            power: self.power,
            runs_on: self.runs_on,
            line: node.place.line,
            ..Entry::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::document::{self, Language, Mistakes};

    fn read(text: &str) -> Result<Vec<Entry>, String> {
        let root = document::read(text, Language::Yaml).unwrap();
        read_list(&root).map_err(|errors| Mistakes::new(Path::new("vms.yaml"), errors).to_string())
    }

    #[test]
    fn a_list_of_machines() {
        let entries = read(
            "machines:\n  - name: web-01\n    uuid: 421F245C-7FA8-60FA-6AF6-A46351CED0EB\n    addresses: [192.0.2.7, \"2001:db8::7\"]\n    group: playground\n",
        );
        let entries = entries.unwrap();
        assert_eq!(entries[0].name, "web-01");
        assert_eq!(entries[0].uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"));
        assert_eq!(entries[0].addresses.len(), 2);
    }

    #[test]
    fn every_mistake_has_its_line() {
        let error =
            read("machines:\n  - {name: a, adresses: []}\n  - {uuid: \"42\", name: b}\n  - {group: x}\n").unwrap_err();
        for part in ["vms.yaml:2:", "adresses", "vms.yaml:3:", "`42` is no UUID", "vms.yaml:4:", "without a `name`"] {
            assert!(error.contains(part), "{part} is not in:\n{error}");
        }
        assert!(read("vms: []").unwrap_err().contains("has no `machines`"));
    }
}
