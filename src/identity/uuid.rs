//! UUIDs of machines, in both byte orders.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A machine's UUID. SMBIOS stores the first three fields little-endian; guests, hypervisors and
/// inventories disagree on who swaps them, so a match tries [`Uuid::swapped`] too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Uuid([u8; 16]);

/// Boards without a UUID of their own share this one.
const PLACEHOLDER: Uuid =
    Uuid([0x03, 0x00, 0x02, 0x00, 0x04, 0x00, 0x05, 0x00, 0x00, 0x06, 0x00, 0x07, 0x00, 0x08, 0x00, 0x09]);

impl Uuid {
    /// Reads 32 hex digits with any of ` `, `-`, `{}` between; `None` also for nil, all-F and the
    /// placeholder of nameless boards: they identify nothing.
    pub fn parse(text: &str) -> Option<Uuid> {
        let mut bytes = [0_u8; 16];
        let mut digits = 0_usize;
        for byte in text.trim().bytes() {
            let value = match byte {
                b'-' | b' ' | b'{' | b'}' => continue,
                _ => u8::try_from(char::from(byte).to_digit(16)?).ok()?,
            };
            let slot = bytes.get_mut(digits / 2)?;
            *slot = (*slot << 4) | value;
            digits += 1;
        }
        let uuid = Uuid(bytes);
        let empty = bytes == [0; 16] || bytes == [0xff; 16] || uuid == PLACEHOLDER || uuid.swapped() == PLACEHOLDER;
        (digits == 32 && !empty).then_some(uuid)
    }

    /// VMware's product serial carries the UUID unswapped: `VMware-42 1f 24 …`.
    pub fn from_vmware_serial(serial: &str) -> Option<Uuid> {
        Uuid::parse(serial.trim().strip_prefix("VMware-")?)
    }

    /// The first three fields with their bytes reversed.
    pub fn swapped(self) -> Uuid {
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.0;
        let mut bytes = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
        for (to, from) in bytes.iter_mut().skip(8).zip(rest) {
            *to = from;
        }
        Uuid(bytes)
    }

    /// The same for both byte orders of one UUID: the smaller of the two.
    #[must_use]
    pub fn unordered(self) -> Uuid {
        self.min(self.swapped())
    }

    /// The same machine in either byte order.
    pub fn same_machine(self, other: Uuid) -> bool {
        self == other || self.swapped() == other
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> String {
        uuid.to_string()
    }
}

impl TryFrom<String> for Uuid {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Uuid, &'static str> {
        Uuid::parse(&text).ok_or("no UUID that tells machines apart")
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_the_field_resolve_in_both_orders() {
        // vCenter against guest (pyvmomi 688), Azure vmId against guest (WALinuxAgent 830; made whole).
        for (ours, theirs) in [
            ("5C241F42-A87F-FA60-6AF6-A46351CED0EB", "421F245C-7FA8-60FA-6AF6-A46351CED0EB"),
            ("D0DF4C54-4ECB-4A11-A0B1-0123456789AB", "544CDFD0-CB4E-114A-A0B1-0123456789AB"),
            ("ec23aef5-54be-4843-8d24-8c819f88453e", "f5ae23ec-be54-4348-8d24-8c819f88453e"),
        ] {
            let (ours, theirs) = (Uuid::parse(ours).unwrap(), Uuid::parse(theirs).unwrap());
            assert!(ours.same_machine(theirs) && theirs.same_machine(ours));
            assert_ne!(ours, theirs);
        }
    }

    #[test]
    fn the_serial_carries_the_unswapped_uuid() {
        let serial = "VMware-42 1f 24 5c 7f a8 60 fa-6a f6 a4 63 51 ce d0 eb";
        assert_eq!(Uuid::from_vmware_serial(serial).unwrap().to_string(), "421f245c-7fa8-60fa-6af6-a46351ced0eb");
    }

    #[test]
    fn what_identifies_nothing_is_no_uuid() {
        for text in [
            "",
            "Not Settable",
            "42",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "421F245C-7FA8-60FA-6AF6-A46351CED0EB0",
        ] {
            assert_eq!(Uuid::parse(text), None, "{text}");
        }
    }
}
