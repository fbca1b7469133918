//! Which field goes to which key of the CEF dictionary, in the order they are written.
//!
//! Lengths are those of the dictionary, in bytes of UTF-8 before escaping. A custom key (`cs1`) is
//! directly followed by its label.

use crate::Field;

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
    pub(super) how: How,
    /// The label's key and the label.
    pub(super) label: Option<(&'static str, &'static str)>,
    /// Written, even a second time, unless this other field has the key.
    pub(super) unless: Option<Field>,
}

/// The last key and its length.
pub(super) const MSG: (&str, usize) = ("msg", 1_023);
/// The longest value of a key outside the dictionary: that of `cs1` to `cs6`.
pub(super) const EXTRA_BYTES_MAX: usize = 4_000;

const fn row(field: Field, key: &'static str, how: How) -> Row {
    Row { field, key, how, label: None, unless: None }
}

const fn labelled(field: Field, key: &'static str, how: How, label: (&'static str, &'static str)) -> Row {
    Row { field, key, how, label: Some(label), unless: None }
}

/// Every row; the first row of a field that takes its value wins.
pub(super) const ROWS: &[Row] = &[
    row(Field::Time, "rt", How::Millis),
    row(Field::Start, "start", How::Millis),
    row(Field::End, "end", How::Millis),
    row(Field::HostName, "dvchost", How::Text(100)),
    row(Field::HostIp, "dvc", How::Ipv4),
    labelled(Field::HostIp, "c6a1", How::Ipv6, ("c6a1Label", "deviceIPv6")),
    row(Field::HostId, "deviceExternalId", How::Text(255)),
    row(Field::DstHost, "dhost", How::Text(1_023)),
    // The machine is both where it was seen and what it was done to.
    Row { field: Field::HostName, key: "dhost", how: How::Text(1_023), label: None, unless: Some(Field::DstHost) },
    row(Field::SyslogFacility, "deviceFacility", How::Number),
    row(Field::App, "deviceProcessName", How::Text(1_023)),
    row(Field::ProcessId, "dvcpid", How::Number),
    row(Field::Action, "act", How::Text(63)),
    row(Field::Outcome, "outcome", How::Text(63)),
    row(Field::Reason, "reason", How::Text(1_023)),
    row(Field::Category, "cat", How::Text(1_023)),
    Row { field: Field::RuleGroups, key: "cat", how: How::Text(1_023), label: None, unless: Some(Field::Category) },
    row(Field::Count, "cnt", How::Number),
    row(Field::UserName, "suser", How::Text(1_023)),
    row(Field::UserId, "suid", How::Text(1_023)),
    row(Field::TargetUser, "duser", How::Text(1_023)),
    row(Field::SrcDomain, "sntdom", How::Text(255)),
    row(Field::DstDomain, "dntdom", How::Text(255)),
    row(Field::SrcIp, "src", How::Ipv4),
    labelled(Field::SrcIp, "c6a2", How::Ipv6, ("c6a2Label", "sourceIPv6")),
    row(Field::SrcHost, "shost", How::Text(1_023)),
    row(Field::SrcPort, "spt", How::Port),
    row(Field::DstIp, "dst", How::Ipv4),
    labelled(Field::DstIp, "c6a3", How::Ipv6, ("c6a3Label", "destinationIPv6")),
    row(Field::DstPort, "dpt", How::Port),
    row(Field::FileName, "fname", How::Text(1_023)),
    row(Field::FilePath, "filePath", How::Text(1_023)),
    row(Field::ImageDigest, "fileHash", How::Text(255)),
    row(Field::HttpMethod, "requestMethod", How::Text(1_023)),
    row(Field::HttpUrl, "request", How::Text(1_023)),
    row(Field::EventId, "externalId", How::Text(40)),
    labelled(Field::ExitCode, "cn1", How::Number, ("cn1Label", "exitCode")),
    labelled(Field::Signal, "cn2", How::Number, ("cn2Label", "signal")),
    labelled(Field::ContainerId, "cs1", How::Text(4_000), ("cs1Label", "containerId")),
    labelled(Field::ContainerName, "cs2", How::Text(4_000), ("cs2Label", "containerName")),
    labelled(Field::ImageRef, "cs3", How::Text(4_000), ("cs3Label", "image")),
    labelled(Field::ExecCommand, "cs4", How::Text(4_000), ("cs4Label", "command")),
    labelled(Field::VmUuid, "cs5", How::Text(4_000), ("cs5Label", "vmUuid")),
    labelled(Field::VmPolicy, "cs6", How::Text(4_000), ("cs6Label", "vmPolicy")),
    labelled(Field::VmName, "flexString1", How::Text(1_023), ("flexString1Label", "vmName")),
    labelled(Field::VmMoref, "flexString2", How::Text(1_023), ("flexString2Label", "vmMoref")),
    labelled(Field::ObservedTime, "deviceCustomDate1", How::Millis, ("deviceCustomDate1Label", "observed")),
];
