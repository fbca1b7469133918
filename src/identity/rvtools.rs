//! RVTools vInfo exports in their versions: columns are matched by name, never by place (formats §9).
//!
//! Before 4.x there is no `SMBIOS UUID` and `VM UUID` is the BIOS UUID; since then `VM UUID` is the
//! instance UUID. The command-line export prefixes each name with `vInfo`.

use super::{Entry, Uuid};
use crate::document::{Mistake, Place};

const FIRST: Place = Place { line: 1, column: 1 };

/// Where each column stands in this file.
struct Columns {
    name: usize,
    power: Option<usize>,
    template: Option<usize>,
    dns_name: Option<usize>,
    address: Option<usize>,
    folder: Option<usize>,
    vm_id: Option<usize>,
    smbios_uuid: Option<usize>,
    vm_uuid: Option<usize>,
    vcenter: Option<usize>,
}

impl Columns {
    fn find(header: &csv::StringRecord) -> Option<Columns> {
        let at = |names: &[&str]| {
            header.iter().position(|column| {
                let column = column.trim().trim_start_matches('\u{feff}');
                names.iter().any(|name| column.eq_ignore_ascii_case(name))
            })
        };
        Some(Columns {
            name: at(&["VM", "vInfoVMName"])?,
            power: at(&["Powerstate", "vInfoPowerstate"]),
            template: at(&["Template", "vInfoTemplate"]),
            dns_name: at(&["DNS Name", "vInfoGuestHostName"]),
            address: at(&["Primary IP Address", "vInfoPrimaryIPAddress"]),
            folder: at(&["Folder", "vInfoFolder"]),
            vm_id: at(&["VM ID", "vInfoVMID", "vInfoObjectID"]),
            smbios_uuid: at(&["SMBIOS UUID", "vInfoSMBIOSUUID"]),
            vm_uuid: at(&["VM UUID", "vInfoUUID", "vInfoInstanceUUID"]),
            vcenter: at(&["VI SDK UUID", "vInfoVISDKUUID"]),
        })
    }

    fn entry(&self, row: &csv::StringRecord) -> Entry {
        let cell = |column: Option<usize>| column.and_then(|at| row.get(at)).unwrap_or_default().trim();
        let (smbios, vm_uuid) = (Uuid::parse(cell(self.smbios_uuid)), Uuid::parse(cell(self.vm_uuid)));
        let (uuid, instance_uuid) = if self.smbios_uuid.is_some() { (smbios, vm_uuid) } else { (vm_uuid, None) };
        let dns_name = cell(self.dns_name);
        Entry {
            name: row.get(self.name).unwrap_or_default().trim().to_owned(),
            uuid,
            instance_uuid,
            moref: cell(self.vm_id).to_owned(),
            vcenter: cell(self.vcenter).to_owned(),
            host_names: if dns_name.is_empty() { Vec::new() } else { vec![dns_name.to_owned()] },
            addresses: cell(self.address).split([',', ' ']).filter_map(|text| text.parse().ok()).collect(),
            machine_id: String::new(),
            group: cell(self.folder).to_owned(),
            power: power(cell(self.power)).to_owned(),
        }
    }
}

fn power(state: &str) -> &'static str {
    match state.to_ascii_lowercase().as_str() {
        "poweredon" => "on",
        "poweredoff" => "off",
        "suspended" => "suspended",
        _ => "",
    }
}

/// Reads an export; a mistake has its line.
pub(super) fn read(text: &[u8]) -> Result<Vec<Entry>, Mistake> {
    // Invalid UTF-8 (exports in a Windows code page) must not cost the file: only the odd letter.
    let text = String::from_utf8_lossy(text);
    let header = text.lines().next().unwrap_or_default();
    let count = |separator| header.matches(separator).count();
    let separator = if count(';') > count(',') { b';' } else { b',' };
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).flexible(true).has_headers(true).from_reader(text.as_bytes());
    let wrong = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        let place = Place { line: usize::try_from(line).unwrap_or(1), column: 1 };
        Mistake::new(place, error.to_string(), "is it a CSV file with one header line?")
    };
    let header = reader.headers().map_err(wrong)?.clone();
    let columns = Columns::find(&header)
        .ok_or_else(|| Mistake::new(FIRST, "no column `VM` or `vInfoVMName`", "export the tab vInfo of RVTools"))?;
    let mut entries = Vec::new();
    for row in reader.records() {
        let row = row.map_err(wrong)?;
        let template =
            columns.template.and_then(|at| row.get(at)).is_some_and(|cell| cell.eq_ignore_ascii_case("true"));
        let entry = columns.entry(&row);
        // A template never runs.
        if !template && !entry.name.is_empty() {
            entries.push(entry);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_4_tells_the_two_uuids_apart() {
        let text = "\u{feff}VM;Powerstate;Template;DNS Name;Primary IP Address;Folder;VM ID;SMBIOS UUID;VM UUID;VI SDK UUID\r\n\
                    \"web \"\"1\"\"\";poweredOn;False;web-1.example;192.0.2.7;/prod;vm-12;421f245c-7fa8-60fa-6af6-a46351ced0eb;50011111-2222-3333-4444-555566667777;vc-1\r\n\
                    tpl;poweredOff;True;;;;vm-13;;;vc-1\r\n";
        let entries = read(text.as_bytes()).unwrap();
        assert_eq!(entries.len(), 1);
        let web = &entries[0];
        assert_eq!(web.name, "web \"1\"");
        assert_eq!(web.uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"));
        assert_eq!(web.instance_uuid, Uuid::parse("50011111-2222-3333-4444-555566667777"));
        assert_eq!((web.power.as_str(), web.moref.as_str(), web.group.as_str()), ("on", "vm-12", "/prod"));
        assert_eq!(web.addresses, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);
    }

    #[test]
    fn version_3_has_only_the_bios_uuid_under_another_name() {
        let text = "VM,Powerstate,Annotation,VM UUID\nold,suspended,\"two\nlines, \"\"quoted\"\"\",422e245c-7fa8-60fa-6af6-a46351ced0eb\n";
        let entries = read(text.as_bytes()).unwrap();
        assert_eq!(entries[0].uuid, Uuid::parse("422e245c-7fa8-60fa-6af6-a46351ced0eb"));
        assert_eq!(entries[0].instance_uuid, None);
        assert_eq!(entries[0].power, "suspended");
    }

    #[test]
    fn a_file_without_the_column_says_what_to_do() {
        assert_eq!(read(b"a,b\n1,2\n").unwrap_err().place, Some(FIRST));
        assert!(read(b"").is_err());
    }
}
