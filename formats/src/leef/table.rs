//! Which field goes to which key of LEEF, in the order they are written.

use crate::Field;
use crate::lead::Lead;

/// What a key takes; a value that is something else goes out under the field's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Text,
    /// Milliseconds since 1970.
    Millis,
    /// 1 to 10.
    Severity,
    /// A whole number.
    Number,
    /// 0 to 65535.
    Port,
}

/// One row of [`ROWS`].
#[derive(Debug)]
pub(super) struct Row {
    pub(super) field: Field,
    pub(super) key: &'static str,
    /// The key between a tab and an equals sign.
    pub(super) lead: Lead,
    pub(super) how: How,
}

const fn row(field: Field, key: &'static str, how: How) -> Row {
    Row { field, key, lead: Lead::EMPTY.then("\t").then(key).then("="), how }
}

/// Every row; the key of the message is written last.
pub(super) static ROWS: &[Row] = &[
    row(Field::Time, "devTime", How::Millis),
    row(Field::Severity, "sev", How::Severity),
    row(Field::Name, "name", How::Text),
    row(Field::HostName, "identHostName", How::Text),
    row(Field::HostIp, "identSrc", How::Text),
    row(Field::Action, "action", How::Text),
    row(Field::Outcome, "outcome", How::Text),
    row(Field::Reason, "reason", How::Text),
    row(Field::Category, "cat", How::Text),
    row(Field::UserName, "usrName", How::Text),
    row(Field::SrcDomain, "domain", How::Text),
    row(Field::SrcIp, "src", How::Text),
    row(Field::SrcPort, "srcPort", How::Port),
    row(Field::DstIp, "dst", How::Text),
    row(Field::DstPort, "dstPort", How::Port),
    row(Field::HttpUrl, "url", How::Text),
    row(Field::ContainerId, "containerId", How::Text),
    row(Field::ContainerName, "containerName", How::Text),
    row(Field::ImageRef, "image", How::Text),
    row(Field::ExecCommand, "command", How::Text),
    row(Field::ExitCode, "exitCode", How::Number),
    row(Field::Signal, "signal", How::Text),
    row(Field::VmUuid, "vmUuid", How::Text),
    row(Field::VmName, "vmName", How::Text),
    row(Field::VmPolicy, "policy", How::Text),
];

pub(super) const MSG: &str = "msg";
pub(super) static MSG_LEAD: Lead = Lead::EMPTY.then("\t").then(MSG).then("=");
pub(super) static TIME_LEAD: Lead = Lead::EMPTY.then("\tdevTime=");
pub(super) static RAW_LEAD: Lead = Lead::EMPTY.then("\traw=");

/// What stands before a field without a key: its name, with `_` for each full stop as in CEF.
pub(super) static OWN_LEADS: [Lead; Field::COUNT] = Lead::of_fields("\t", b'_', "=");

/// The fields a header holds, and MSG, which comes last, by their numbers.
// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(super) const IN_HEADER: [bool; Field::COUNT] = {
    let fields = [Field::EventClass, Field::DeviceVendor, Field::DeviceProduct, Field::DeviceVersion, Field::Msg];
    let mut done = [false; Field::COUNT];
    let mut at = 0;
    while at < fields.len() {
        done[fields[at] as usize] = true;
        at += 1;
    }
    done
};
