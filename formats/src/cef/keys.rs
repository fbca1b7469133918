//! The CEF extension dictionary: every key by its short and its full name, and what it takes.
//!
//! Read by the parser, which accepts either name, and by the linter. Which of our fields a key holds is
//! said by the emitter's table alone ([`super::table`]): the first row of a key is its meaning, so that
//! what is written is read back as what it was.

use super::table::{How, MSG, MSG_ROW, ROWS, Row};
use crate::Field;
use crate::names::{Names, is_own, own, same as same_name};

/// What the dictionary says a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Text of at most so many characters.
    Text(usize),
    /// A whole number of 32 bits.
    Int,
    /// 0 to 65535.
    Port,
    /// A whole number of 64 bits.
    Long,
    /// A number with a fraction.
    Float,
    /// An instant.
    Time,
    /// An IPv4 address; of version 1 also IPv6.
    Address,
    /// An IPv6 address.
    Ipv6,
    /// Six pairs of hex digits.
    Mac,
}

/// One key of the dictionary.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The same as the standard spells it out; equal to `name` where there is no shorter one.
    pub(crate) full: &'static str,
    pub(crate) takes: Takes,
}

/// What a name on the left of an equals sign means.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    /// A key of the dictionary, by its place in [`KEYS`].
    Key(u16),
    /// The own name of a field that the dictionary has no key for: `rule_id`.
    Own(Field),
    /// Neither.
    No,
}

const fn key(name: &'static str, full: &'static str, takes: Takes) -> Key {
    Key { name, full, takes }
}

const fn same(name: &'static str, takes: Takes) -> Key {
    Key { name, full: name, takes }
}

use Takes::{Address, Float, Int, Ipv6, Long, Mac, Port, Text, Time};

/// The dictionary, and at its end the keys that collectors add.
pub(crate) static KEYS: &[Key] = &[
    key("act", "deviceAction", Text(63)),
    key("app", "applicationProtocol", Text(31)),
    key("c6a1", "deviceCustomIPv6Address1", Ipv6),
    key("c6a1Label", "deviceCustomIPv6Address1Label", Text(1_023)),
    key("c6a2", "deviceCustomIPv6Address2", Ipv6),
    key("c6a2Label", "deviceCustomIPv6Address2Label", Text(1_023)),
    key("c6a3", "deviceCustomIPv6Address3", Ipv6),
    key("c6a3Label", "deviceCustomIPv6Address3Label", Text(1_023)),
    key("c6a4", "deviceCustomIPv6Address4", Ipv6),
    key("c6a4Label", "deviceCustomIPv6Address4Label", Text(1_023)),
    key("cat", "deviceEventCategory", Text(1_023)),
    key("cfp1", "deviceCustomFloatingPoint1", Float),
    key("cfp1Label", "deviceCustomFloatingPoint1Label", Text(1_023)),
    key("cfp2", "deviceCustomFloatingPoint2", Float),
    key("cfp2Label", "deviceCustomFloatingPoint2Label", Text(1_023)),
    key("cfp3", "deviceCustomFloatingPoint3", Float),
    key("cfp3Label", "deviceCustomFloatingPoint3Label", Text(1_023)),
    key("cfp4", "deviceCustomFloatingPoint4", Float),
    key("cfp4Label", "deviceCustomFloatingPoint4Label", Text(1_023)),
    key("cn1", "deviceCustomNumber1", Long),
    key("cn1Label", "deviceCustomNumber1Label", Text(1_023)),
    key("cn2", "deviceCustomNumber2", Long),
    key("cn2Label", "deviceCustomNumber2Label", Text(1_023)),
    key("cn3", "deviceCustomNumber3", Long),
    key("cn3Label", "deviceCustomNumber3Label", Text(1_023)),
    key("cnt", "baseEventCount", Int),
    key("cs1", "deviceCustomString1", Text(4_000)),
    key("cs1Label", "deviceCustomString1Label", Text(1_023)),
    key("cs2", "deviceCustomString2", Text(4_000)),
    key("cs2Label", "deviceCustomString2Label", Text(1_023)),
    key("cs3", "deviceCustomString3", Text(4_000)),
    key("cs3Label", "deviceCustomString3Label", Text(1_023)),
    key("cs4", "deviceCustomString4", Text(4_000)),
    key("cs4Label", "deviceCustomString4Label", Text(1_023)),
    key("cs5", "deviceCustomString5", Text(4_000)),
    key("cs5Label", "deviceCustomString5Label", Text(1_023)),
    key("cs6", "deviceCustomString6", Text(4_000)),
    key("cs6Label", "deviceCustomString6Label", Text(1_023)),
    same("destinationDnsDomain", Text(255)),
    same("destinationServiceName", Text(1_023)),
    same("destinationTranslatedAddress", Address),
    same("destinationTranslatedPort", Port),
    same("deviceCustomDate1", Time),
    same("deviceCustomDate1Label", Text(1_023)),
    same("deviceCustomDate2", Time),
    same("deviceCustomDate2Label", Text(1_023)),
    same("deviceDirection", Int),
    same("deviceDnsDomain", Text(255)),
    same("deviceExternalId", Text(255)),
    same("deviceFacility", Text(1_023)),
    same("deviceInboundInterface", Text(128)),
    same("deviceNtDomain", Text(255)),
    same("deviceOutboundInterface", Text(128)),
    same("devicePayloadId", Text(128)),
    same("deviceProcessName", Text(1_023)),
    same("deviceTranslatedAddress", Address),
    key("dhost", "destinationHostName", Text(1_023)),
    key("dlat", "destinationGeoLatitude", Float),
    key("dlong", "destinationGeoLongitude", Float),
    key("dmac", "destinationMacAddress", Mac),
    key("dntdom", "destinationNtDomain", Text(255)),
    key("dpid", "destinationProcessId", Int),
    key("dpriv", "destinationUserPrivileges", Text(1_023)),
    key("dproc", "destinationProcessName", Text(1_023)),
    key("dpt", "destinationPort", Port),
    key("dst", "destinationAddress", Address),
    key("dtz", "deviceTimeZone", Text(255)),
    key("duid", "destinationUserId", Text(1_023)),
    key("duser", "destinationUserName", Text(1_023)),
    key("dvc", "deviceAddress", Address),
    key("dvchost", "deviceHostName", Text(100)),
    key("dvcmac", "deviceMacAddress", Mac),
    key("dvcpid", "deviceProcessId", Int),
    key("end", "endTime", Time),
    same("eventId", Long),
    same("externalId", Text(40)),
    same("fileCreateTime", Time),
    same("fileHash", Text(255)),
    same("fileId", Text(1_023)),
    same("fileModificationTime", Time),
    same("filePath", Text(1_023)),
    same("filePermission", Text(1_023)),
    same("fileType", Text(1_023)),
    same("flexDate1", Time),
    same("flexDate1Label", Text(128)),
    same("flexNumber1", Long),
    same("flexNumber1Label", Text(128)),
    same("flexNumber2", Long),
    same("flexNumber2Label", Text(128)),
    same("flexString1", Text(1_023)),
    same("flexString1Label", Text(128)),
    same("flexString2", Text(1_023)),
    same("flexString2Label", Text(128)),
    key("fname", "fileName", Text(1_023)),
    key("fsize", "fileSize", Int),
    key("in", "bytesIn", Long),
    key("msg", "message", Text(1_023)),
    same("oldFileCreateTime", Time),
    same("oldFileHash", Text(255)),
    same("oldFileId", Text(1_023)),
    same("oldFileModificationTime", Time),
    same("oldFileName", Text(1_023)),
    same("oldFilePath", Text(1_023)),
    same("oldFilePermission", Text(1_023)),
    same("oldFileSize", Int),
    same("oldFileType", Text(1_023)),
    key("out", "bytesOut", Long),
    key("outcome", "eventOutcome", Text(63)),
    key("proto", "transportProtocol", Text(31)),
    same("rawEvent", Text(4_000)),
    same("reason", Text(1_023)),
    key("request", "requestUrl", Text(1_023)),
    same("requestClientApplication", Text(1_023)),
    same("requestContext", Text(2_048)),
    same("requestCookies", Text(1_023)),
    same("requestMethod", Text(1_023)),
    key("rt", "deviceReceiptTime", Time),
    key("shost", "sourceHostName", Text(1_023)),
    key("slat", "sourceGeoLatitude", Float),
    key("slong", "sourceGeoLongitude", Float),
    key("smac", "sourceMacAddress", Mac),
    key("sntdom", "sourceNtDomain", Text(255)),
    same("sourceDnsDomain", Text(255)),
    same("sourceServiceName", Text(1_023)),
    same("sourceTranslatedAddress", Address),
    same("sourceTranslatedPort", Port),
    key("spid", "sourceProcessId", Int),
    key("spriv", "sourceUserPrivileges", Text(1_023)),
    key("sproc", "sourceProcessName", Text(1_023)),
    key("spt", "sourcePort", Port),
    key("src", "sourceAddress", Address),
    key("start", "startTime", Time),
    key("suid", "sourceUserId", Text(1_023)),
    key("suser", "sourceUserName", Text(1_023)),
    same("type", Int),
    // From here on those "set by collectors": known when met, never written.
    key("agt", "agentAddress", Address),
    key("ahost", "agentHostName", Text(1_023)),
    key("aid", "agentId", Text(40)),
    key("amac", "agentMacAddress", Mac),
    key("art", "agentReceiptTime", Time),
    key("at", "agentType", Text(63)),
    key("atz", "agentTimeZone", Text(255)),
    key("av", "agentVersion", Text(31)),
    key("catdt", "categoryDeviceType", Text(1_023)),
    same("agentDnsDomain", Text(255)),
    same("agentNtDomain", Text(255)),
    same("agentTranslatedAddress", Address),
    same("categoryBehavior", Text(1_023)),
    same("categoryDeviceGroup", Text(1_023)),
    same("categoryObject", Text(1_023)),
    same("categoryOutcome", Text(1_023)),
    same("categorySignificance", Text(1_023)),
    same("categoryTechnique", Text(1_023)),
    same("categoryTupleDescription", Text(1_023)),
    same("customerExternalID", Text(200)),
    same("customerURI", Text(2_048)),
    same("deviceSeverity", Text(63)),
    key("mrt", "managerReceiptTime", Time),
];

/// Whether collectors alone add the key: "do not emit".
pub(super) fn is_of_collectors(key: u16) -> bool {
    usize::from(key) >= COLLECTORS_AT
}

/// Where the keys of collectors begin.
// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const COLLECTORS_AT: usize = {
    let mut at = 0;
    while !same_name(KEYS[at].name.as_bytes(), b"agt") {
        at += 1;
    }
    at
};

/// What begins a custom key, which digits follow and, in another key, `Label`; and what it takes.
pub(crate) const FAMILIES: &[(&str, Takes)] = &[
    ("cs", Text(4_000)),
    ("cn", Long),
    ("cfp", Float),
    ("c6a", Ipv6),
    ("deviceCustomDate", Time),
    ("flexString", Text(1_023)),
    ("flexNumber", Long),
    ("flexDate", Time),
    ("deviceCustomString", Text(4_000)),
    ("deviceCustomNumber", Long),
    ("deviceCustomFloatingPoint", Float),
    ("deviceCustomIPv6Address", Ipv6),
];

/// What a custom key takes, also one that the dictionary does not number as high (`cs9`).
pub(crate) fn family(name: &[u8]) -> Option<Takes> {
    // Most names end in a letter.
    if !name.last()?.is_ascii_digit() {
        return None;
    }
    let digits_at = name.iter().rposition(|byte| !byte.is_ascii_digit())?.saturating_add(1);
    let (prefix, digits) = name.split_at_checked(digits_at)?;
    // `c6a` ends in no digit, so that its own number is told from it.
    let found = FAMILIES.iter().find(|(family, _)| family.as_bytes() == prefix);
    found.filter(|_| !digits.is_empty()).map(|(_, takes)| *takes)
}

/// The row of the emitter's table whose key it is: the first one.
pub(super) fn row_of(key: u16) -> Option<&'static Row> {
    match ROW_OF.get(usize::from(key)).copied().unwrap_or(NONE) {
        LAST => Some(&MSG_ROW),
        row => ROWS.get(usize::from(row)),
    }
}

/// What a name means.
#[inline]
pub(crate) fn lookup(name: &[u8]) -> Known {
    let is = |number: u16| match field_of(number) {
        Some(field) => is_own(field, name),
        None => {
            KEYS.get(usize::from(number)).is_some_and(|key| key.name.as_bytes() == name || key.full.as_bytes() == name)
        }
    };
    match NAMES.find(name, is) {
        None => Known::No,
        Some(number) => field_of(number).map_or(Known::Key(number), Known::Own),
    }
}

/// Marks the number of a field among [`NAMES`].
const OWN: u16 = 1 << 14;

fn field_of(number: u16) -> Option<Field> {
    let field = number.checked_sub(OWN)?;
    Field::ALL.get(usize::from(field)).copied()
}

/// Of a key that is never written, and of the message, which is written behind all rows.
const NONE: u8 = u8::MAX;
const LAST: u8 = NONE - 1;

/// Whether the emitter may write the field under its own name: it is one that input may set, and no
/// key of the dictionary takes whatever it holds.
// Evaluated when the crate is compiled, as all that follows.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn has_own_name(field: Field) -> bool {
    if field.is_reserved() || super::IN_HEADER[field as usize] {
        return false;
    }
    let mut at = 0;
    while at < ROWS.len() {
        if ROWS[at].field as usize == field as usize && matches!(ROWS[at].how, How::Text(_) | How::Millis) {
            return false;
        }
        at += 1;
    }
    true
}

/// Both names of each key, by its place in [`KEYS`], and the own names of fields.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
static NAMES: Names<1_024> = {
    let mut names = Names::new();
    let mut at = 0;
    while at < KEYS.len() {
        names = names.with(KEYS[at].name.as_bytes(), at as u16);
        if !same_name(KEYS[at].name.as_bytes(), KEYS[at].full.as_bytes()) {
            names = names.with(KEYS[at].full.as_bytes(), at as u16);
        }
        at += 1;
    }
    at = 0;
    while at < Field::COUNT {
        if has_own_name(Field::ALL[at]) {
            let (name, len) = own(Field::ALL[at]);
            names = names.with(name.split_at(len).0, OWN | at as u16);
        }
        at += 1;
    }
    names
};

/// The first row of each key, or [`NONE`].
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
static ROW_OF: [u8; KEYS.len()] = {
    assert!(ROWS.len() < LAST as usize);
    let mut rows = [NONE; KEYS.len()];
    let mut at = 0;
    while at < KEYS.len() {
        if same_name(KEYS[at].name.as_bytes(), MSG.0.as_bytes()) {
            rows[at] = LAST;
        }
        let mut row = ROWS.len();
        while row > 0 {
            row -= 1;
            if same_name(KEYS[at].name.as_bytes(), ROWS[row].key.as_bytes()) {
                rows[at] = row as u8;
            }
        }
        at += 1;
    }
    rows
};

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for (at, key) in (0_u16..).zip(KEYS) {
            for name in [key.name, key.full] {
                assert!(matches!(lookup(name.as_bytes()), Known::Key(found) if found == at), "{name}");
                assert!(!matches!(lookup(name.to_uppercase().as_bytes()), Known::Key(_)), "{name}");
                assert!(!matches!(lookup(&[name.as_bytes(), b"x"].concat()), Known::Key(_)), "{name}x");
            }
        }
        for (name, field) in [
            ("rule_id", Field::RuleId),
            ("host_ip", Field::HostIp),
            ("parse_status", Field::ParseStatus),
            ("exit_code", Field::ExitCode),
            ("signal", Field::Signal),
        ] {
            assert!(matches!(lookup(name.as_bytes()), Known::Own(found) if found == field), "{name}");
        }
        // Written in the header, under a key that takes every text, or by the gateway alone.
        for name in ["severity", "event_class", "action", "host_name", "time", "vm_uuid", "event_id", "format", "", "x"]
        {
            assert!(matches!(lookup(name.as_bytes()), Known::No), "{name}");
        }
    }

    #[test]
    fn every_key_that_is_written_is_of_the_dictionary() {
        for row in ROWS.iter().chain([&MSG_ROW]) {
            let Known::Key(key) = lookup(row.key.as_bytes()) else { panic!("{}", row.key) };
            assert_eq!(row_of(key).map(|first| first.key), Some(row.key));
            let takes = KEYS.get(usize::from(key)).map(|key| key.takes);
            match row.how {
                How::Text(bytes_max) => assert_eq!(takes, Some(Takes::Text(bytes_max)), "{}", row.key),
                How::Millis => assert_eq!(takes, Some(Takes::Time), "{}", row.key),
                How::Port => assert_eq!(takes, Some(Takes::Port), "{}", row.key),
                How::Ipv4 => assert_eq!(takes, Some(Takes::Address), "{}", row.key),
                How::Ipv6 => assert_eq!(takes, Some(Takes::Ipv6), "{}", row.key),
                // The dictionary wants text there, and a number is one.
                How::Number if row.key == "deviceFacility" => {}
                How::Number => assert!(matches!(takes, Some(Takes::Int | Takes::Long)), "{}", row.key),
            }
        }
        // `at` is a key that collectors add, whatever else it may mean.
        assert_eq!(KEYS.iter().filter(|key| key.full.is_empty() || key.name.len() > key.full.len()).count(), 0);
    }

    #[test]
    fn custom_keys_have_a_number() {
        assert_eq!(family(b"cs1"), Some(Takes::Text(4_000)));
        assert_eq!(family(b"cs10"), Some(Takes::Text(4_000)));
        assert_eq!(family(b"c6a4"), Some(Takes::Ipv6));
        assert_eq!(family(b"c6a12"), Some(Takes::Ipv6));
        assert_eq!(family(b"deviceCustomDate2"), Some(Takes::Time));
        for name in ["cs", "cs1Label", "1", "", "c6a", "xcs1", "customs1"] {
            assert_eq!(family(name.as_bytes()), None, "{name}");
        }
    }
}
