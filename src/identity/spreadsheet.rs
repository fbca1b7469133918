//! Inventories as CSV: RVTools' vInfo and vNetwork in their versions, PowerCLI's `Get-VM | Export-Csv`, own lists.
//!
//! Columns are matched by name, never by place (formats §9). RVTools before 4.x has no `SMBIOS UUID`, and `VM UUID` is
//! the BIOS UUID; since then `VM UUID` is the instance UUID. Its command-line export prefixes each name with `vInfo`.

use super::inventory::{Inventory, Note};
use super::{Entry, Mac, Reported, Uuid};
use crate::document::{Mistake, Place, did_you_mean, list};

/// Who wrote the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    RvTools,
    PowerCli,
    Own,
}

/// What a column holds, and its names at RVTools, PowerCLI and in own lists.
type Column = (Holds, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Name,
    Uuid,
    /// The one or the other: see above.
    VmUuid,
    InstanceUuid,
    Moref,
    Vcenter,
    HostNames,
    Addresses,
    Macs,
    MachineId,
    AgentId,
    Group,
    Power,
    RunsOn,
    Tags,
    Template,
}

/// Names in any case, spaces and `_` left out.
const COLUMNS: &[Column] = &[
    (Holds::Name, &["VM", "vInfoVMName", "vNetworkVMName"], &["Name"], &["name"]),
    (
        Holds::Uuid,
        &["SMBIOS UUID", "vInfoSMBIOSUUID"],
        &["UUID", "BiosUuid", "BIOS UUID", "SmbiosUuid", "SMBIOS UUID"],
        &["uuid"],
    ),
    (Holds::VmUuid, &["VM UUID", "vInfoUUID", "vInfoInstanceUUID", "vNetworkVMUUID"], &[], &[]),
    (Holds::InstanceUuid, &[], &["PersistentId", "InstanceUuid"], &["instance_uuid"]),
    (Holds::Moref, &["VM ID", "vInfoVMID", "vInfoObjectID", "vNetworkVMID"], &["Id", "MoRef"], &["moref"]),
    (Holds::Vcenter, &["VI SDK UUID", "vInfoVISDKUUID"], &["VCenterUuid"], &["vcenter"]),
    (Holds::HostNames, &["DNS Name", "vInfoGuestHostName"], &["HostName", "DNSName", "GuestHostName"], &["host_names"]),
    (
        Holds::Addresses,
        &["Primary IP Address", "vInfoPrimaryIPAddress", "IPv4 Address", "IPv6 Address", "IP Address"],
        &["IPAddress", "IP", "GuestIPAddress"],
        &["addresses"],
    ),
    (Holds::Macs, &["Mac Address", "vNetworkMacAddress"], &["MacAddress", "MAC"], &["macs"]),
    (Holds::MachineId, &[], &[], &["machine_id"]),
    (Holds::AgentId, &[], &[], &["agent_id"]),
    (Holds::Group, &["Folder", "vInfoFolder"], &["Folder"], &["group"]),
    (Holds::Power, &["Powerstate", "vInfoPowerstate", "vNetworkPowerstate"], &["PowerState"], &["power"]),
    (Holds::Tags, &[], &[], &["tags"]),
    (Holds::RunsOn, &["Host", "vInfoHost"], &["VMHost"], &["runs_on"]),
    (Holds::Template, &["Template", "vInfoTemplate"], &[], &[]),
];

/// More columns no export has: RVTools has about 90, and one for each custom attribute.
const COLUMNS_MAX: usize = 4096;
/// So many things are told of one file.
const NOTES_MAX: usize = 10_000;

impl Writer {
    /// RVTools says `VM`, PowerShell `Name`, we say `name`.
    fn of(header: &csv::StringRecord) -> Option<Writer> {
        let has = |names: &[&str]| header.iter().any(|column| names.contains(&column.trim()));
        match () {
            () if has(&["VM", "vInfoVMName", "vNetworkVMName"]) => Some(Writer::RvTools),
            () if has(&["name"]) => Some(Writer::Own),
            () if header.iter().any(|column| column.trim().eq_ignore_ascii_case("name")) => Some(Writer::PowerCli),
            () => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Writer::RvTools => "RVTools",
            Writer::PowerCli => "PowerCLI",
            Writer::Own => "own list",
        }
    }

    fn names(self, column: &Column) -> &'static [&'static str] {
        match self {
            Writer::RvTools => column.1,
            Writer::PowerCli => column.2,
            Writer::Own => column.3,
        }
    }
}

fn is_same(column: &str, name: &str) -> bool {
    let letters = |text: &'_ str| {
        let text = text.trim().to_ascii_lowercase();
        text.chars().filter(|letter| !matches!(letter, ' ' | '_')).collect::<String>()
    };
    letters(column) == letters(name)
}

/// Where each column stands in this file.
struct Columns {
    writer: Writer,
    at: Vec<(Holds, usize)>,
    /// Without a column of its own, RVTools' `VM UUID` is that of the BIOS.
    has_uuid: bool,
}

impl Columns {
    fn find(header: &csv::StringRecord, writer: Writer, place: Place) -> Result<Columns, Mistake> {
        let mut at = Vec::new();
        for (number, title) in header.iter().enumerate() {
            let column = COLUMNS.iter().find(|column| writer.names(column).iter().any(|name| is_same(title, name)));
            match column {
                Some((holds, ..)) => at.push((*holds, number)),
                None if writer == Writer::Own => return Err(unknown_column(title.trim(), place)),
                None => {}
            }
        }
        let has_uuid = at.iter().any(|(holds, _)| *holds == Holds::Uuid);
        Ok(Columns { writer, at, has_uuid })
    }

    fn cells<'r>(&'r self, row: &'r csv::StringRecord, wanted: Holds) -> impl Iterator<Item = &'r str> {
        let columns = self.at.iter().filter(move |(holds, _)| *holds == wanted);
        columns.filter_map(|(_, at)| row.get(*at)).map(str::trim).filter(|cell| !cell.is_empty() && *cell != "null")
    }

    fn entry(&self, row: &csv::StringRecord, line: usize, notes: &mut Vec<Note>) -> Entry {
        let text = |holds| self.cells(row, holds).next().unwrap_or_default().to_owned();
        let mut uuid = |holds| {
            let cell = self.cells(row, holds).next()?;
            let uuid = Uuid::parse(cell);
            if uuid.is_none() {
                notes.push(Note { line, text: format!("`{cell}` is no UUID that tells machines apart: left out") });
            }
            uuid
        };
        let (own_uuid, vm_uuid, instance) = (uuid(Holds::Uuid), uuid(Holds::VmUuid), uuid(Holds::InstanceUuid));
        let (uuid, instance_uuid) = if self.has_uuid { (own_uuid, instance.or(vm_uuid)) } else { (vm_uuid, instance) };
        let moref = text(Holds::Moref);
        let host_names = self.words(row, Holds::HostNames, line, notes, "host name", |word| Some(word.to_owned()));
        let addresses = self.words(row, Holds::Addresses, line, notes, "address", |word| word.parse().ok());
        // In what tools write of a vCenter, both come from the tools in the guest.
        let (own, reported) = match self.writer {
            Writer::Own => ((host_names, addresses), Reported::default()),
            Writer::RvTools | Writer::PowerCli => {
                (Default::default(), Reported { host_names, addresses, ..Reported::default() })
            }
        };
        Entry {
            name: text(Holds::Name),
            uuid,
            instance_uuid,
            moref: moref.strip_prefix("VirtualMachine-").unwrap_or(&moref).to_owned(),
            vcenter: text(Holds::Vcenter),
            host_names: own.0,
            addresses: own.1,
            reported,
            macs: self.words(row, Holds::Macs, line, notes, "address of a network card", Mac::parse),
            machine_id: text(Holds::MachineId),
            agent_id: text(Holds::AgentId),
            group: text(Holds::Group),
            power: power(&text(Holds::Power)).to_owned(),
            runs_on: text(Holds::RunsOn),
            tags: self.words(row, Holds::Tags, line, notes, "tag", |word| Some(word.to_owned())),
            line,
            ..Entry::default()
        }
    }

    /// What stands in cells with several of a kind.
    fn words<T>(
        &self,
        row: &csv::StringRecord,
        holds: Holds,
        line: usize,
        notes: &mut Vec<Note>,
        kind: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let cells = self.cells(row, holds).flat_map(|cell| cell.split([',', ' ', ';', '|', '{', '}']));
        let mut all = Vec::new();
        for word in cells.filter(|word| !word.is_empty()) {
            match read(word) {
                Some(one) => all.push(one),
                None => notes.push(Note { line, text: format!("`{word}` is no {kind}: left out") }),
            }
        }
        all
    }
}

fn unknown_column(title: &str, place: Place) -> Mistake {
    let known: Vec<&str> = COLUMNS.iter().flat_map(|column| column.3.iter().copied()).collect();
    let hint = match did_you_mean(title, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the columns of an own list are {}", list(&known)),
    };
    Mistake::new(place, format!("unknown column `{title}`"), hint)
}

/// `on`, `off`, `suspended`, in everybody's words; nothing, if it is none of them.
pub(super) fn power(state: &str) -> &'static str {
    match state.to_ascii_lowercase().as_str() {
        "poweredon" | "on" | "running" => "on",
        "poweredoff" | "off" | "stopped" | "shut off" => "off",
        "suspended" | "paused" => "suspended",
        _ => "",
    }
}

/// Reads an export; a mistake has its line.
pub(super) fn read(text: &str) -> Result<Inventory, Mistake> {
    // Windows PowerShell: `#TYPE VMware.VimAutomation.ViCore.Impl.V1.VM.UniversalVirtualMachineImpl`.
    let (skipped, body) = match text.split_once('\n') {
        Some((first, rest)) if first.trim_start_matches('"').starts_with("#TYPE ") => (1, rest),
        _ => (0, text),
    };
    is_whole(body, skipped)?;
    let first = Place { line: skipped + 1, column: 1 };
    let separator = separator(body.lines().next().unwrap_or_default());
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(body.as_bytes());
    let wrong = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        let place = Place { line: usize::try_from(line).unwrap_or(1) + skipped, column: 1 };
        Mistake::new(place, error.to_string(), "is it a CSV file with one header line?")
    };
    let header = reader.headers().map_err(wrong)?.clone();
    let hint = "export the tab vInfo of RVTools or `Get-VM` of PowerCLI, or begin an own list with the column `name`";
    let Some(writer) = Writer::of(&header) else {
        return Err(Mistake::new(first, "no column `VM`, `vInfoVMName`, `Name` or `name`", hint));
    };
    if header.len() > COLUMNS_MAX {
        return Err(Mistake::new(first, format!("{} columns", header.len()), hint));
    }
    let columns = Columns::find(&header, writer, first)?;
    let mut inventory = Inventory { kind: writer.name(), ..Inventory::default() };
    if columns.at.len() < 2 {
        let text = "only the names of machines are here: nothing but a relay's word can select one".to_owned();
        inventory.notes.push(Note { line: first.line, text });
    }
    let mut lines = Lines { text: body.as_bytes(), at: 0, line: 1 };
    for row in reader.records() {
        let row = row.map_err(wrong)?;
        let line = lines.at(row.position().map_or(0, |at| usize::try_from(at.byte()).unwrap_or(0))) + skipped;
        let notes = &mut inventory.notes;
        notes.truncate(NOTES_MAX);
        if row.len() < header.len() {
            let text = format!("{} of {} columns: the others are taken for empty", row.len(), header.len());
            notes.push(Note { line, text });
        }
        // A template never runs.
        if columns.cells(&row, Holds::Template).any(|cell| cell.eq_ignore_ascii_case("true")) {
            continue;
        }
        let entry = columns.entry(&row, line, notes);
        match entry.name.is_empty() {
            true => notes.push(Note { line, text: "a machine without a name: left out".to_owned() }),
            false => inventory.entries.push(entry),
        }
    }
    Ok(inventory)
}

/// Counts lines on the way through a text. The reader's own count takes the end of a line for the next one's begin.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn at(&mut self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let at = at + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.line += memchr::memchr_iter(b'\n', self.text.get(self.at..at).unwrap_or_default()).count();
        self.at = at;
        self.line
    }
}

/// RFC 4180 §2 5 to 7: a quote opens a cell, closes it, or is written twice, so there is an even number of them. A
/// file that is still being written may end in the middle of a cell.
fn is_whole(text: &str, skipped: usize) -> Result<(), Mistake> {
    let quotes = memchr::memchr_iter(b'"', text.as_bytes());
    let (count, last) = quotes.fold((0_usize, 0), |(count, _), at| (count + 1, at));
    if count.is_multiple_of(2) {
        return Ok(());
    }
    let line = super::encoding::line_of(text.as_bytes(), last) + skipped;
    let cause = "a cell in quotes does not end: the file is cut off, or a quote inside is not written twice";
    Err(Mistake::new(Place { line, column: 1 }, cause, "export it again"))
}

/// What stands between the titles the most often.
fn separator(header: &str) -> u8 {
    let count = |separator: u8| memchr::memchr_iter(separator, header.as_bytes()).count();
    b";\t".iter().copied().find(|other| count(*other) > count(b',')).unwrap_or(b',')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        read(text).unwrap().entries
    }

    #[test]
    fn version_4_tells_the_two_uuids_apart() {
        let text = "VM;Powerstate;Template;DNS Name;Primary IP Address;Folder;VM ID;SMBIOS UUID;VM UUID;VI SDK UUID\r\n\
                    \"web \"\"1\"\"\";poweredOn;False;web-1.example;192.0.2.7;/prod;vm-12;421f245c-7fa8-60fa-6af6-a46351ced0eb;50011111-2222-3333-4444-555566667777;vc-1\r\n\
                    tpl;poweredOff;True;;;;vm-13;;;vc-1\r\n";
        let entries = entries(text);
        assert_eq!(entries.len(), 1);
        let web = &entries[0];
        assert_eq!((web.name.as_str(), web.line), ("web \"1\"", 2));
        assert_eq!(web.uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"));
        assert_eq!(web.instance_uuid, Uuid::parse("50011111-2222-3333-4444-555566667777"));
        assert_eq!((web.power.as_str(), web.moref.as_str(), web.group.as_str()), ("on", "vm-12", "/prod"));
        assert_eq!(web.reported.addresses, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);
    }

    #[test]
    fn version_3_has_only_the_bios_uuid_under_another_name() {
        let text = "VM,Powerstate,Annotation,VM UUID\nold,suspended,\"two\nlines, \"\"quoted\"\"\",422e245c-7fa8-60fa-6af6-a46351ced0eb\nnew,poweredOn,,\n";
        let entries = entries(text);
        assert_eq!(entries[0].uuid, Uuid::parse("422e245c-7fa8-60fa-6af6-a46351ced0eb"));
        assert_eq!((entries[0].instance_uuid, entries[0].power.as_str()), (None, "suspended"));
        assert_eq!(entries[1].line, 4, "a cell may have lines of its own");
    }

    #[test]
    fn the_command_line_has_names_of_its_own_and_the_network_tab_addresses() {
        let text = "vInfoVMName,vInfoPowerState,vInfoGuestHostName,vInfoPrimaryIPAddress,vInfoUUID\nweb,poweredOn,web.example,192.0.2.7,422e245c-7fa8-60fa-6af6-a46351ced0eb\n";
        let web = &entries(text)[0];
        assert_eq!((web.reported.host_names.len(), web.reported.addresses.len(), web.power.as_str()), (1, 1, "on"));
        let text = "VM,Adapter,Mac Address,IPv4 Address,IPv6 Address,VM ID\nweb,Vmxnet3,00:50:56:aa:bb:cc,192.0.2.7,\"fe80::1, 2001:db8::7\",vm-1\n";
        let web = &entries(text)[0];
        assert_eq!((web.macs.len(), web.reported.addresses.len(), web.moref.as_str()), (1, 3, "vm-1"));
    }

    #[test]
    fn power_shell_with_and_without_its_type_line() {
        let body = "\"Name\",\"PowerState\",\"VMHost\",\"Folder\",\"PersistentId\",\"Id\",\"IPAddress\"\r\n\
                    \"web\",\"PoweredOn\",\"esx1.example\",\"prod\",\"50011111-2222-3333-4444-555566667777\",\"VirtualMachine-vm-42\",\"192.0.2.7 fe80::1\"\r\n";
        let typed = format!("#TYPE VMware.VimAutomation.ViCore.Impl.V1.VM.UniversalVirtualMachineImpl\r\n{body}");
        for (text, line) in [(body, 2), (typed.as_str(), 3)] {
            let inventory = read(text).unwrap();
            assert_eq!(inventory.kind, "PowerCLI");
            let web = &inventory.entries[0];
            assert_eq!((web.name.as_str(), web.moref.as_str(), web.line), ("web", "vm-42", line));
            assert_eq!((web.runs_on.as_str(), web.group.as_str(), web.power.as_str()), ("esx1.example", "prod", "on"));
            assert_eq!(web.instance_uuid, Uuid::parse("50011111-2222-3333-4444-555566667777"));
            assert_eq!((web.uuid, web.reported.addresses.len()), (None, 2));
        }
    }

    #[test]
    fn an_own_list_has_the_names_of_the_options_and_no_others() {
        let text = "name,uuid,addresses,macs,agent_id,group\nweb,421f245c-7fa8-60fa-6af6-a46351ced0eb,192.0.2.7 2001:db8::7,00:50:56:aa:bb:cc,007,lab\n";
        let web = &entries(text)[0];
        assert_eq!(
            (web.addresses.len(), web.macs.len(), web.agent_id.as_str(), web.group.as_str()),
            (2, 1, "007", "lab")
        );
        let mistake = read("name,adresses\n").unwrap_err();
        assert_eq!(
            (mistake.cause.as_str(), mistake.hint.as_str()),
            ("unknown column `adresses`", "did you mean `addresses`?")
        );
    }

    #[test]
    fn what_is_odd_is_told_with_its_line_and_the_rest_is_taken() {
        let text = "VM,Primary IP Address,VM UUID\nweb,192.0.2.300,42\n,192.0.2.8,\nshort\n";
        let inventory = read(text).unwrap();
        assert_eq!(inventory.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["web", "short"]);
        let notes: Vec<String> = inventory.notes.iter().map(|note| format!("{}: {}", note.line, note.text)).collect();
        assert_eq!(
            notes,
            [
                "2: `42` is no UUID that tells machines apart: left out",
                "2: `192.0.2.300` is no address: left out",
                "3: a machine without a name: left out",
                "4: 1 of 3 columns: the others are taken for empty",
            ]
        );
    }

    #[test]
    fn a_file_that_is_none_says_what_to_do() {
        for (text, line) in
            [("a,b\n1,2\n", 1), ("", 1), ("VM,Note\nweb,\"cut o", 2), ("#TYPE X\nVM,Note\nweb,\"cut o", 3)]
        {
            assert_eq!(read(text).unwrap_err().place.map(|place| place.line), Some(line), "{text}");
        }
    }
}
