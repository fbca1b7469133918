//! Inventory files: which machines exist, as somebody else knows them.
//!
//! The kind is told by the file's ending: RVTools exports are `.csv` (module `rvtools`).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use wharfinger_formats::Field;

use super::{Identity, Local, Uuid, rvtools};

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
    #[error("cannot read `{path}`: {cause}")]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("`{path}` is {bytes} bytes, more than {FILE_BYTES_MAX}")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("`{path}` has the ending `{ending}`, not csv")]
    UnknownKind { path: PathBuf, ending: String },
    #[error("{path}:{line}: {message}")]
    Wrong { path: PathBuf, line: usize, message: String },
}

/// Reads one file.
///
/// # Errors
/// It cannot be read or understood; the message names file and line.
pub fn read(path: &Path) -> Result<Vec<Entry>, InventoryError> {
    let unreadable = |cause| InventoryError::Read { path: path.to_owned(), cause };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(InventoryError::TooLarge { path: path.to_owned(), bytes });
    }
    let text = std::fs::read(path).map_err(unreadable)?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "csv" => rvtools::read(&text),
        _ => return Err(InventoryError::UnknownKind { path: path.to_owned(), ending }),
    }
    .map_err(|(line, message)| InventoryError::Wrong { path: path.to_owned(), line, message })
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

/// The entry that is the machine we run on: by UUID in either byte order, then by machine-id, then
/// by host name; a key that two entries share decides nothing.
pub(super) fn find_local<'e>(entries: &'e [Entry], local: &Local) -> Option<&'e Entry> {
    let by_uuid = |entry: &&Entry| match (entry.uuid, local.uuid) {
        (Some(theirs), Some(ours)) => ours.same_machine(theirs),
        _ => false,
    };
    let by_machine_id = |entry: &&Entry| !local.machine_id.is_empty() && entry.machine_id == local.machine_id;
    let by_name = |entry: &&Entry| {
        !local.hostname.is_empty() && entry.names().any(|name| name.eq_ignore_ascii_case(&local.hostname))
    };
    only(entries.iter().filter(by_uuid))
        .or_else(|| only(entries.iter().filter(by_machine_id)))
        .or_else(|| only(entries.iter().filter(by_name)))
}

fn only<'e>(mut found: impl Iterator<Item = &'e Entry>) -> Option<&'e Entry> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
