//! What govc prints as JSON: `govc vm.info -json`, `govc ls -json`, `govc object.collect -json`, old and new.
//!
//! formats §9: "`govc vm.info -json '*'` → virtualMachines[] (old: VirtualMachines with capital names)". What is not
//! asked for is passed over, not kept: one machine is described in 20 kB.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::inventory::{Inventory, Note};
use super::{Entry, Mac, Reported, Uuid, encoding, spreadsheet};
use crate::document::{Mistake, Place};

/// What stands at the top.
#[derive(Deserialize)]
struct Document<'t> {
    #[serde(borrow, default, alias = "VirtualMachines", rename = "virtualMachines")]
    machines: Vec<&'t RawValue>,
    #[serde(borrow, default, alias = "Elements")]
    elements: Vec<&'t RawValue>,
}

#[derive(Deserialize)]
struct Element<'t> {
    #[serde(borrow, default, alias = "Object")]
    object: Option<&'t RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reference {
    #[serde(alias = "Type")]
    r#type: String,
    #[serde(alias = "Value")]
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Machine {
    #[serde(alias = "Self", rename = "self")]
    reference: Reference,
    #[serde(alias = "Name")]
    name: String,
    #[serde(alias = "Config")]
    config: Option<Config>,
    #[serde(alias = "Guest")]
    guest: Option<Guest>,
    #[serde(alias = "Runtime")]
    runtime: Option<Runtime>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    #[serde(alias = "Uuid")]
    uuid: String,
    #[serde(alias = "InstanceUuid", rename = "instanceUuid")]
    instance_uuid: String,
    #[serde(alias = "Name")]
    name: String,
    #[serde(alias = "Template")]
    template: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Guest {
    #[serde(alias = "HostName", rename = "hostName")]
    host_name: String,
    #[serde(alias = "IpAddress", rename = "ipAddress")]
    ip_address: String,
    #[serde(alias = "Net")]
    net: Option<Vec<Nic>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Nic {
    #[serde(alias = "IpAddress", rename = "ipAddress")]
    ip_address: Option<Vec<String>>,
    #[serde(alias = "MacAddress", rename = "macAddress")]
    mac_address: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Runtime {
    #[serde(alias = "PowerState", rename = "powerState")]
    power_state: String,
    #[serde(alias = "Host")]
    host: Option<Reference>,
}

/// `object.collect` of several objects.
#[derive(Deserialize)]
struct Update<'t> {
    #[serde(alias = "Obj")]
    obj: Reference,
    #[serde(borrow, alias = "ChangeSet", rename = "changeSet", default)]
    changes: Vec<Change<'t>>,
}

#[derive(Deserialize)]
struct Change<'t> {
    #[serde(alias = "Name")]
    name: String,
    #[serde(borrow, alias = "Val", default)]
    val: Option<&'t RawValue>,
}

/// New versions wrap a value: `{"_typeName": "string", "_value": "…"}`.
#[derive(Deserialize)]
struct Wrapped<'t> {
    #[serde(borrow, rename = "_value")]
    value: &'t RawValue,
}

/// Whether a text in JSON is one of these, and none of our own lists.
pub(super) fn is_one(text: &str) -> bool {
    let text = text.trim_start();
    if text.starts_with('[') {
        return true;
    }
    let start = text.get(..text.floor_char_boundary(256)).unwrap_or_default();
    ["\"virtualMachines\"", "\"VirtualMachines\"", "\"elements\""].iter().any(|name| start.contains(name))
}

/// # Errors
/// It is not JSON, or nothing of what govc prints.
pub(super) fn read(text: &str) -> Result<Inventory, Mistake> {
    let mut inventory = Inventory { kind: "govc", ..Inventory::default() };
    if text.trim_start().starts_with('[') {
        return collected(text, inventory);
    }
    let document: Document<'_> = serde_json::from_str(text).map_err(|error| wrong(&error, 1))?;
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut add = |raw: &RawValue| {
        let line = lines.of(raw);
        let machine: Machine = part(raw, line)?;
        entry(machine, line, &mut inventory);
        Ok::<(), Mistake>(())
    };
    document.machines.iter().try_for_each(|raw| add(raw))?;
    for raw in document.elements {
        let element: Element<'_> = serde_json::from_str(raw.get()).map_err(|error| wrong(&error, 1))?;
        // `ls` lists folders as well; they have no configuration.
        if let Some(object) = element.object.filter(|object| has_configuration(object.get())) {
            add(object)?;
        }
    }
    Ok(inventory)
}

fn has_configuration(object: &str) -> bool {
    ["\"config\"", "\"Config\""].iter().any(|name| object.contains(name))
}

/// One object's changes as a list, or those of several.
fn collected(text: &str, mut inventory: Inventory) -> Result<Inventory, Mistake> {
    // One list for each object that was asked for.
    for list in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let list = list.map_err(|error| wrong(&error, 1))?;
        let line = encoding::line_of(text.as_bytes(), list.get().as_ptr() as usize - text.as_ptr() as usize);
        let mut lines = Lines { text: list.get(), at: 0, line };
        let parts: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|error| wrong(&error, line))?;
        if parts.iter().all(|part| serde_json::from_str::<Change<'_>>(part.get()).is_ok()) {
            let changes: Vec<Change<'_>> = serde_json::from_str(list.get()).map_err(|error| wrong(&error, line))?;
            entry(machine_of(&Reference::default(), &changes, line)?, line, &mut inventory);
            continue;
        }
        for raw in parts {
            let line = lines.of(raw);
            let update: Update<'_> = serde_json::from_str(raw.get()).map_err(|error| wrong(&error, line))?;
            entry(machine_of(&update.obj, &update.changes, line)?, line, &mut inventory);
        }
    }
    Ok(inventory)
}

/// The properties of one object, put together again.
fn machine_of(of: &Reference, changes: &[Change<'_>], line: usize) -> Result<Machine, Mistake> {
    let mut values: HashMap<&str, &str> = HashMap::new();
    for change in changes {
        if let Some(raw) = change.val {
            let inner = serde_json::from_str::<Wrapped<'_>>(raw.get()).map_or(raw.get(), |wrapped| wrapped.value.get());
            values.insert(change.name.as_str(), inner);
        }
    }
    fn value<T: DeserializeOwned + Default>(
        values: &HashMap<&str, &str>,
        name: &str,
        line: usize,
    ) -> Result<T, Mistake> {
        let read = |text: &&str| serde_json::from_str(text).map_err(|error| wrong(&error, line));
        values.get(name).map_or_else(|| Ok(T::default()), read)
    }
    let whole: Option<Config> = value(&values, "config", line)?;
    let config = Config {
        uuid: value(&values, "config.uuid", line)?,
        instance_uuid: value(&values, "config.instanceUuid", line)?,
        template: value(&values, "config.template", line)?,
        name: value(&values, "config.name", line)?,
    };
    let guest: Option<Guest> = value(&values, "guest", line)?;
    let parts = Guest {
        host_name: value(&values, "guest.hostName", line)?,
        ip_address: value(&values, "guest.ipAddress", line)?,
        net: nics(&values, line)?,
    };
    let runtime: Option<Runtime> = value(&values, "runtime", line)?;
    let power = Runtime {
        power_state: value(&values, "runtime.powerState", line)?,
        host: value(&values, "runtime.host", line)?,
    };
    Ok(Machine {
        reference: Reference { r#type: of.r#type.clone(), value: of.value.clone() },
        name: value(&values, "name", line)?,
        config: Some(whole.unwrap_or(config)),
        guest: Some(guest.unwrap_or(parts)),
        runtime: Some(runtime.unwrap_or(power)),
    })
}

/// A list, or in new versions a list in an object: `{"_typeName": "ArrayOfGuestNicInfo", "_value": […]}`; old ones
/// have `{"GuestNicInfo": […]}`.
fn nics(values: &HashMap<&str, &str>, line: usize) -> Result<Option<Vec<Nic>>, Mistake> {
    #[derive(Deserialize)]
    struct Old {
        #[serde(alias = "guestNicInfo", rename = "GuestNicInfo")]
        nics: Option<Vec<Nic>>,
    }
    let Some(text) = values.get("guest.net") else { return Ok(None) };
    match serde_json::from_str::<Option<Vec<Nic>>>(text) {
        Ok(nics) => Ok(nics),
        Err(_) => serde_json::from_str::<Old>(text).map(|old| old.nics).map_err(|error| wrong(&error, line)),
    }
}

fn entry(machine: Machine, line: usize, inventory: &mut Inventory) {
    let Reference { r#type, value: moref } = machine.reference;
    let config = machine.config.unwrap_or_default();
    // A template never runs; hosts and folders are no machines.
    if config.template || !(r#type.is_empty() || r#type == "VirtualMachine") {
        return;
    }
    let name = if machine.name.is_empty() { config.name } else { machine.name };
    if name.is_empty() {
        inventory.notes.push(Note { line, text: "a machine without a name: left out".to_owned() });
        return;
    }
    let guest = machine.guest.unwrap_or_default();
    let runtime = machine.runtime.unwrap_or_default();
    let nics = guest.net.unwrap_or_default();
    let mut addresses = Vec::new();
    let all = std::iter::once(&guest.ip_address).chain(nics.iter().flat_map(|nic| nic.ip_address.iter().flatten()));
    for address in all.filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    inventory.entries.push(Entry {
        name,
        uuid: Uuid::parse(&config.uuid),
        instance_uuid: Uuid::parse(&config.instance_uuid),
        moref,
        reported: Reported {
            host_names: Some(guest.host_name).filter(|name| !name.is_empty()).into_iter().collect(),
            addresses,
            macs: nics.iter().filter_map(|nic| Mac::parse(&nic.mac_address)).collect(),
        },
        power: spreadsheet::power(&runtime.power_state).to_owned(),
        runs_on: runtime.host.unwrap_or_default().value,
        line,
        ..Entry::default()
    });
}

fn part<T: DeserializeOwned>(raw: &RawValue, line: usize) -> Result<T, Mistake> {
    serde_json::from_str(raw.get()).map_err(|error| wrong(&error, line))
}

/// serde counts lines from the beginning of the piece that it was given.
fn wrong(error: &serde_json::Error, line: usize) -> Mistake {
    let text = error.to_string();
    let cause = text.split_once(" at line ").map_or(text.as_str(), |(cause, _)| cause).to_owned();
    let place = Place { line: line + error.line().saturating_sub(1), column: error.column().max(1) };
    Mistake::new(place, cause, "write it with `govc vm.info -json '*'` or `govc object.collect -json`")
}

/// Lines of pieces that come one behind the other.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, piece: &RawValue) -> usize {
        let at = (piece.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let between = self.text.as_bytes().get(self.at..at).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', between).count();
        self.at = at;
        self.line
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NEW: &str = r#"{"virtualMachines": [
        {"self": {"type": "VirtualMachine", "value": "vm-42"}, "name": "web",
         "config": {"uuid": "421f245c-7fa8-60fa-6af6-a46351ced0eb", "instanceUuid": "50011111-2222-3333-4444-555566667777", "template": false, "hardware": {}},
         "guest": {"hostName": "web.example", "ipAddress": "192.0.2.7", "net": [{"macAddress": "00:50:56:aa:bb:cc", "ipAddress": ["192.0.2.7", "fe80::1"]}]},
         "runtime": {"powerState": "poweredOn", "host": {"type": "HostSystem", "value": "host-9"}}},
        {"self": {"type": "VirtualMachine", "value": "vm-43"}, "name": "tpl", "config": {"template": true}}]}"#;

    fn check(text: &str, lines: &[usize]) -> Entry {
        assert!(is_one(text), "{text}");
        let inventory = read(text).unwrap();
        assert_eq!(inventory.entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), lines);
        let web = inventory.entries[0].clone();
        assert_eq!(web.name, "web");
        assert_eq!(web.uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"));
        web
    }

    #[test]
    fn info_of_old_and_new_versions() {
        let web = check(NEW, &[2]);
        assert_eq!((web.moref.as_str(), web.power.as_str(), web.runs_on.as_str()), ("vm-42", "on", "host-9"));
        let told = &web.reported;
        assert_eq!((told.host_names.len(), told.addresses.len(), told.macs.len()), (1, 2, 1));
        assert_eq!(web.instance_uuid, Uuid::parse("50011111-2222-3333-4444-555566667777"));
        let mut old = NEW.to_owned();
        for name in [
            "virtualMachines",
            "self",
            "type",
            "value",
            "name",
            "config",
            "uuid",
            "instanceUuid",
            "template",
            "guest",
            "hostName",
            "ipAddress",
            "net",
            "macAddress",
            "runtime",
            "powerState",
            "host",
        ] {
            let capital = format!("\"{}{}\":", name[..1].to_uppercase(), &name[1..]);
            old = old.replace(&format!("\"{name}\":"), &capital);
        }
        assert_eq!(check(&old, &[2]), web);
        let machine = NEW.split_once('[').unwrap().1;
        let listed = format!(
            "{{\"elements\": [{{\"Path\": \"/dc/vm/web\", \"Object\": {}}}]}}",
            machine.split_once(",\n        {\"self\": {\"type\": \"VirtualMachine\", \"value\": \"vm-43\"").unwrap().0
        );
        assert_eq!(check(&listed, &[2]).moref, "vm-42");
    }

    #[test]
    fn collected_properties() {
        let one = r#"[{"name":"name","op":"assign","val":{"_typeName":"string","_value":"web"}},
            {"name":"config.uuid","op":"assign","val":"421f245c-7fa8-60fa-6af6-a46351ced0eb"},
            {"name":"runtime.powerState","op":"assign","val":{"_typeName":"VirtualMachinePowerState","_value":"poweredOff"}},
            {"name":"guest.net","op":"assign","val":{"_typeName":"ArrayOfGuestNicInfo","_value":[{"_typeName":"GuestNicInfo","macAddress":"00:50:56:aa:bb:cc"}]}}]"#;
        let web = check(one, &[1]);
        assert_eq!((web.power.as_str(), web.reported.macs.len()), ("off", 1));
        check(&format!("{one}\n{}", one.replace("web", "db").replace("421f", "421e")), &[1, 5]);
        let several = format!(
            "[\n{{\"kind\":\"enter\",\"obj\":{{\"type\":\"VirtualMachine\",\"value\":\"vm-42\"}},\"changeSet\":{one}}},\n\
             {{\"kind\":\"enter\",\"obj\":{{\"type\":\"HostSystem\",\"value\":\"host-1\"}},\"changeSet\":[]}}]"
        );
        assert_eq!(check(&several, &[2]).moref, "vm-42");
    }

    #[test]
    fn a_mistake_has_its_line() {
        let mistake = read(&NEW.replace("\"poweredOn\"", "7")).unwrap_err();
        assert_eq!(mistake.place.unwrap().line, 5, "{}", mistake.cause);
        assert!(read(&NEW[..NEW.len() / 2]).is_err());
        assert!(!is_one("{\"machines\": []}"));
    }
}
