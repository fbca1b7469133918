//! Which field goes to which key of the CEF dictionary, in the order they are written.
//!
//! Lengths are those of the dictionary, in bytes of UTF-8 before escaping. A custom key (`cs1`) is
//! directly followed by its label.

use crate::Field;
use crate::lead::Lead;

/// What a key takes; a value that is something else goes out under the field's own name.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// Text of at most so many bytes.
    Text(usize),
    /// Milliseconds since 1970.
    Millis,
    /// A whole number.
    Number,
    /// 0 to 65535.
    Port,
    /// An IPv4 address: `dvc`, `src` and `dst` take no other in this version.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
}

/// One row of [`ROWS`].
#[derive(Debug)]
pub(super) struct Row {
    pub(super) field: Field,
    pub(super) key: &'static str,
    /// The key between a space and an equals sign.
    pub(super) lead: Lead,
    pub(super) how: How,
    /// The label's key and the label, with the space before them.
    pub(super) label: Option<Lead>,
    /// Written, even a second time, unless this other field has the key.
    pub(super) unless: Option<Field>,
}

impl Row {
    /// The label alone; empty without one.
    pub(super) fn label_text(&self) -> &[u8] {
        let lead = self.label.as_ref().map(Lead::bytes).unwrap_or_default();
        lead.split(|byte| *byte == b'=').next_back().unwrap_or_default()
    }
}

/// The last key and its length.
pub(super) const MSG: (&str, usize) = ("msg", 1_023);
/// The same as a row, for who reads it.
pub(super) static MSG_ROW: Row = row(Field::Msg, MSG.0, How::Text(MSG.1));
/// The longest value of a key outside the dictionary: that of `cs1` to `cs6`.
pub(super) const EXTRA_BYTES_MAX: usize = 4_000;

const fn row(field: Field, key: &'static str, how: How) -> Row {
    Row { field, key, lead: Lead::EMPTY.then(" ").then(key).then("="), how, label: None, unless: None }
}

/// The label's key is the key with `Label` behind it.
const fn labelled(field: Field, key: &'static str, how: How, label: &'static str) -> Row {
    let label = Lead::EMPTY.then(" ").then(key).then("Label=").then(label);
    Row { label: Some(label), ..row(field, key, how) }
}

/// Every row; the first row of a field that takes its value wins.
pub(super) static ROWS: &[Row] = &[
    row(Field::Time, "rt", How::Millis),
    row(Field::Start, "start", How::Millis),
    row(Field::End, "end", How::Millis),
    row(Field::HostName, "dvchost", How::Text(100)),
    row(Field::HostIp, "dvc", How::Ipv4),
    labelled(Field::HostIp, "c6a1", How::Ipv6, "deviceIPv6"),
    row(Field::HostId, "deviceExternalId", How::Text(255)),
    row(Field::DstHost, "dhost", How::Text(1_023)),
    // The machine is both where it was seen and what it was done to.
    Row { unless: Some(Field::DstHost), ..row(Field::HostName, "dhost", How::Text(1_023)) },
    row(Field::SyslogFacility, "deviceFacility", How::Number),
    row(Field::App, "deviceProcessName", How::Text(1_023)),
    row(Field::ProcessId, "dvcpid", How::Number),
    row(Field::Action, "act", How::Text(63)),
    row(Field::Outcome, "outcome", How::Text(63)),
    row(Field::Reason, "reason", How::Text(1_023)),
    row(Field::Category, "cat", How::Text(1_023)),
    Row { unless: Some(Field::Category), ..row(Field::RuleGroups, "cat", How::Text(1_023)) },
    row(Field::Count, "cnt", How::Number),
    row(Field::UserName, "suser", How::Text(1_023)),
    row(Field::UserId, "suid", How::Text(1_023)),
    row(Field::TargetUser, "duser", How::Text(1_023)),
    row(Field::SrcDomain, "sntdom", How::Text(255)),
    row(Field::DstDomain, "dntdom", How::Text(255)),
    row(Field::SrcIp, "src", How::Ipv4),
    labelled(Field::SrcIp, "c6a2", How::Ipv6, "sourceIPv6"),
    row(Field::SrcHost, "shost", How::Text(1_023)),
    row(Field::SrcPort, "spt", How::Port),
    row(Field::DstIp, "dst", How::Ipv4),
    labelled(Field::DstIp, "c6a3", How::Ipv6, "destinationIPv6"),
    row(Field::DstPort, "dpt", How::Port),
    row(Field::FileName, "fname", How::Text(1_023)),
    row(Field::FilePath, "filePath", How::Text(1_023)),
    row(Field::ImageDigest, "fileHash", How::Text(255)),
    row(Field::HttpMethod, "requestMethod", How::Text(1_023)),
    row(Field::HttpUrl, "request", How::Text(1_023)),
    row(Field::EventId, "externalId", How::Text(40)),
    labelled(Field::ExitCode, "cn1", How::Number, "exitCode"),
    labelled(Field::Signal, "cn2", How::Number, "signal"),
    labelled(Field::ContainerId, "cs1", How::Text(4_000), "containerId"),
    labelled(Field::ContainerName, "cs2", How::Text(4_000), "containerName"),
    labelled(Field::ImageRef, "cs3", How::Text(4_000), "image"),
    labelled(Field::ExecCommand, "cs4", How::Text(4_000), "command"),
    labelled(Field::VmUuid, "cs5", How::Text(4_000), "vmUuid"),
    labelled(Field::VmPolicy, "cs6", How::Text(4_000), "vmPolicy"),
    labelled(Field::VmName, "flexString1", How::Text(1_023), "vmName"),
    labelled(Field::VmMoref, "flexString2", How::Text(1_023), "vmMoref"),
    labelled(Field::ObservedTime, "deviceCustomDate1", How::Millis, "observed"),
];

/// The rows of each field, a bit for each.
// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(super) static ROWS_OF: [u64; Field::COUNT] = {
    assert!(ROWS.len() <= 64);
    let mut rows = [0; Field::COUNT];
    let mut at = 0;
    while at < ROWS.len() {
        rows[ROWS[at].field as usize] |= 1 << at;
        at += 1;
    }
    rows
};

/// What stands before a field without a key: its name, in which no key may hold a full stop.
pub(super) static OWN_LEADS: [Lead; Field::COUNT] = Lead::of_fields(" ", b'_', "=");
