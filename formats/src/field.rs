//! The canonical fields of an event: the one list of names that parsers fill and emitters map.
//!
//! A field's number is stored in journals and archives: new fields are appended, none is ever
//! removed or moved.

/// What kind of value a field holds when its text could be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, or a list as JSON.
    Text,
    /// A whole number.
    Int,
    /// An instant.
    Time,
    /// True or false.
    Bool,
}

macro_rules! fields {
    ($( $variant:ident = $name:literal $($reserved:ident)?, $about:literal; )+) => {
        /// A canonical field. Its name is what native JSON, filters and reports use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Field { $( #[doc = $about] $variant, )+ }

        impl Field {
            /// Every field, in the order of the numbers.
            pub const ALL: &'static [Field] = &[ $( Field::$variant, )+ ];
            /// How many there are.
            pub const COUNT: usize = Field::ALL.len();

            /// The canonical name, for example `container.id`.
            pub const fn name(self) -> &'static str {
                match self { $( Field::$variant => $name, )+ }
            }

            /// One line for people.
            pub const fn about(self) -> &'static str {
                match self { $( Field::$variant => $about, )+ }
            }

            /// The field of that canonical name.
            pub fn from_name(name: &str) -> Option<Field> {
                match name { $( $name => Some(Field::$variant), )+ _ => None }
            }

            /// The field of that stored number.
            pub fn from_number(number: u8) -> Option<Field> {
                Field::ALL.get(usize::from(number)).copied()
            }

            /// Only the gateway may set it: what input claims for it stays an extra.
            pub const fn is_reserved(self) -> bool {
                match self { $( Field::$variant => fields!(@ $($reserved)?), )+ }
            }

            /// It says how a line was read, not what happened.
            pub(crate) const fn is_of_reading(self) -> bool {
                use Field::{ParseAmbiguous, ParseDuplicateKeys, ParseError, ParseNotes, ParseStatus};
                matches!(self, ParseStatus | ParseError | ParseNotes | ParseAmbiguous | ParseDuplicateKeys)
            }
        }
    };
    (@ reserved) => { true };
    (@) => { false };
}

fields! {
    Time = "time", "When it happened, by the source's clock.";
    Start = "start", "When the reported activity began.";
    End = "end", "When the reported activity ended.";
    ObservedTime = "observed_time" reserved, "When the gateway received it.";
    EventClass = "event_class", "What kind of event: `container.start`, `wazuh.87903`, `unparsed`.";
    Name = "name", "A short human name of the event.";
    Severity = "severity", "0 (lowest) to 10.";
    Action = "action", "What was done: `start`, `exec_create`.";
    Outcome = "outcome", "`success`, `failure` or `unknown`.";
    Reason = "reason", "Why it had that outcome.";
    Category = "category", "The sender's category or categories.";
    Msg = "msg", "The message text.";
    EventId = "event_id" reserved, "The one number of the event, from socket to SIEM.";
    ContainerId = "container.id", "Container id as given, 64 or 12 hex digits.";
    ContainerName = "container.name", "Container name without the leading slash.";
    ImageRef = "image.ref", "Image as the user named it.";
    ImageDigest = "image.digest", "Content digest of the image.";
    ExecCommand = "exec.command", "Command run inside a container.";
    ExitCode = "exit_code", "Exit code of a process or container.";
    Signal = "signal", "Signal sent to a container.";
    HostName = "host.name", "Name of the machine it happened on.";
    HostIp = "host.ip", "Address of the machine it happened on.";
    HostId = "host.id", "Machine id, or the agent's id at its manager.";
    HostClaimedName = "host.claimed_name", "Host name the sender claims, when the connection says otherwise.";
    VmUuid = "vm.uuid" reserved, "BIOS UUID of the virtual machine.";
    VmInstanceUuid = "vm.instance_uuid" reserved, "Instance UUID, unique in one vCenter.";
    VmMoref = "vm.moref" reserved, "Managed object reference.";
    VmName = "vm.name" reserved, "Name in the inventory.";
    VmGroup = "vm.group" reserved, "Policy group.";
    VmPolicy = "vm.policy" reserved, "Policy in force for the group.";
    VmEvidence = "vm.evidence" reserved, "How the virtual machine was recognised.";
    Hypervisor = "hypervisor" reserved, "Kind of hypervisor.";
    Cloud = "cloud" reserved, "Cloud provider.";
    InstanceId = "instance_id" reserved, "Instance id at the cloud provider.";
    Region = "region" reserved, "Cloud region.";
    VcenterUuid = "vcenter.uuid" reserved, "Which vCenter the moref belongs to.";
    Power = "power" reserved, "`on`, `off` or `suspended`.";
    UserName = "user.name", "Who did it.";
    UserId = "user.id", "Id of who did it.";
    TargetUser = "user.target", "Account it was done to.";
    SrcIp = "src.ip", "Source address.";
    SrcPort = "src.port", "Source port.";
    SrcHost = "src.host", "Source host name.";
    DstIp = "dst.ip", "Destination address.";
    DstPort = "dst.port", "Destination port.";
    DstHost = "dst.host", "Destination host name.";
    SrcDomain = "src.nt_domain", "Source Windows domain.";
    DstDomain = "dst.nt_domain", "Destination Windows domain.";
    FileName = "file.name", "File name.";
    FilePath = "file.path", "File path.";
    HttpMethod = "http.method", "HTTP method.";
    HttpUrl = "http.url", "URL or request path.";
    Count = "count", "How many times it happened.";
    SyslogFacility = "syslog.facility", "Facility number, 0 to 23.";
    SyslogSeverity = "syslog.severity", "Severity number, 0 (emergency) to 7.";
    SyslogMsgId = "syslog.msgid", "RFC 5424 MSGID.";
    App = "app", "Program or application name.";
    ProcessId = "process.id", "RFC 5424 PROCID or the pid in a tag.";
    DeviceVendor = "device.vendor", "CEF device vendor.";
    DeviceProduct = "device.product", "CEF device product.";
    DeviceVersion = "device.version", "CEF device version.";
    RuleId = "rule.id", "Id of the rule that fired.";
    RuleName = "rule.name", "What the rule says.";
    RuleLevel = "rule.level", "The rule's own level, as the source counts.";
    RuleGroups = "rule.groups", "Groups of the rule.";
    Source = "source" reserved, "Name of the source in the configuration.";
    Peer = "peer" reserved, "Address or credential of the connection.";
    Format = "format" reserved, "Format the bytes were parsed as, outermost first.";
    ParseStatus = "parse.status", "`partial` or `failed`; absent when all was understood.";
    ParseError = "parse.error", "What was expected, where, and what was found.";
    ParseNotes = "parse.notes", "Leniencies used.";
    ParseAmbiguous = "parse.ambiguous", "The line could also be read otherwise.";
    ParseDuplicateKeys = "parse.duplicate_keys", "Keys that occurred more than once.";
    Untrusted = "untrusted", "Fields the owner of a container could have forged.";
    Cause = "cause" reserved, "Event ids this one is about.";
    Hops = "hops" reserved, "How many gateways it has passed.";
    Replayed = "replayed" reserved, "It was brought back from the archive or from quarantine.";
    ToSink = "to_sink" reserved, "The only sink it is for: it was brought back from its quarantine.";
    VmTags = "vm.tags" reserved, "Tags of its inventory, as a list.";
}

impl Field {
    /// What kind of value it holds.
    pub const fn kind(self) -> Kind {
        match self {
            Field::Time | Field::Start | Field::End | Field::ObservedTime => Kind::Time,
            Field::Severity
            | Field::ExitCode
            | Field::SrcPort
            | Field::DstPort
            | Field::Count
            | Field::SyslogFacility
            | Field::SyslogSeverity
            | Field::RuleLevel
            | Field::Hops => Kind::Int,
            Field::ParseAmbiguous | Field::Replayed => Kind::Bool,
            _ => Kind::Text,
        }
    }
}
