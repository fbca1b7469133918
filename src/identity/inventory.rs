//! Inventory files: which machines exist, as somebody else knows them.
//!
//! Two kinds, told apart by the file's ending: RVTools exports are `.csv`, our own lists `.yaml`,
//! `.toml` or `.json`.

use std::net::IpAddr;
use std::path::Path;

use wharfinger_formats::Field;

use super::{Identity, Local, Uuid, own, rvtools};
use crate::document::{self, Language, Mistake, Mistakes};

/// Larger files are refused: 100,000 machines take about 60 MB in RVTools' widest form.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// One machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    pub machine_id: String,
    pub group: String,
    /// `on`, `off` or `suspended`.
    pub power: String,
}

/// An inventory file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

/// Reads one file.
///
/// # Errors
/// It cannot be read or understood: every mistake with file, line and what to do.
pub fn read(path: &Path) -> Result<Vec<Entry>, InventoryError> {
    let one = |mistake| Mistakes::new(path, vec![mistake]);
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
        let bytes = document::read_bytes(path, FILE_BYTES_MAX).map_err(one)?;
        return Ok(rvtools::read(&bytes).map_err(one)?);
    }
    let language = Language::of(path).map_err(|mistake| {
        one(Mistake::new(
            None,
            mistake.cause,
            "RVTools exports end in `.csv`, own lists in `.yaml`, `.toml` or `.json`",
        ))
    })?;
    let text = document::read_file(path, FILE_BYTES_MAX).map_err(one)?;
    let root = document::read(&text, language).map_err(one)?;
    Ok(own::read_list(&root).map_err(|mistakes| Mistakes::new(path, mistakes))?)
}

impl Entry {
    /// Every name a relay may call it by.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str())
            .chain(self.host_names.iter().map(String::as_str))
            .filter(|name| !name.is_empty())
    }

    pub(super) fn identity(&self) -> Identity {
        let mut identity = Identity::default();
        let uuid = |uuid: Option<Uuid>| uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        identity.set(Field::VmUuid, &uuid(self.uuid));
        identity.set(Field::VmInstanceUuid, &uuid(self.instance_uuid));
        identity.set(Field::VmMoref, &self.moref);
        identity.set(Field::VmName, &self.name);
        identity.set(Field::VmGroup, &self.group);
        identity.set(Field::VcenterUuid, &self.vcenter);
        identity.set(Field::Power, &self.power);
        identity.set(Field::HostName, self.host_names.first().map_or("", String::as_str));
        identity
    }
}

/// The place of the entry that is the machine we run on: by UUID in either byte order, then by machine-id, then
/// by host name; a key that two entries share decides nothing.
pub(super) fn find_local(entries: &[Entry], local: &Local) -> Option<usize> {
    let by_uuid = |entry: &Entry| match (entry.uuid, local.uuid) {
        (Some(theirs), Some(ours)) => ours.same_machine(theirs),
        _ => false,
    };
    let by_machine_id = |entry: &Entry| !local.machine_id.is_empty() && entry.machine_id == local.machine_id;
    let by_name = |entry: &Entry| {
        !local.hostname.is_empty() && entry.names().any(|name| name.eq_ignore_ascii_case(&local.hostname))
    };
    only(entries, by_uuid).or_else(|| only(entries, by_machine_id)).or_else(|| only(entries, by_name))
}

fn only(entries: &[Entry], is_it: impl Fn(&Entry) -> bool) -> Option<usize> {
    let mut found = entries.iter().enumerate().filter(|(_, entry)| is_it(entry));
    let (first, _) = found.next()?;
    found.next().is_none().then_some(first)
}
