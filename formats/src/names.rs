//! Names to numbers, by a table that is made when the crate is compiled.
//!
//! Invariant: a name is compared whole before it is taken for another, and a search looks at a few places.

/// A place without a name.
const EMPTY: u16 = u16::MAX;

/// A number for each name. `PLACES` is a power of two, and at least twice the names.
#[derive(Debug)]
pub(crate) struct Names<const PLACES: usize> {
    places: [u16; PLACES],
}

// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
impl<const PLACES: usize> Names<PLACES> {
    pub(crate) const fn new() -> Self {
        assert!(PLACES.is_power_of_two() && PLACES <= 1_024);
        Names { places: [EMPTY; PLACES] }
    }

    /// The table with one name more.
    pub(crate) const fn with(mut self, name: &[u8], number: u16) -> Self {
        assert!(number != EMPTY);
        let mut place = hash(name) & (PLACES - 1);
        while self.places[place] != EMPTY {
            place = (place + 1) & (PLACES - 1);
        }
        self.places[place] = number;
        self
    }
}

impl<const PLACES: usize> Names<PLACES> {
    /// The number of a name; `is` compares the name with that of a number.
    #[inline]
    pub(crate) fn find(&self, name: &[u8], is: impl Fn(u16) -> bool) -> Option<u16> {
        let mask = PLACES.wrapping_sub(1);
        let mut place = hash(name) & mask;
        for _ in 0..PLACES {
            let number = self.places.get(place).copied().unwrap_or(EMPTY);
            if number == EMPTY {
                return None;
            }
            if is(number) {
                return Some(number);
            }
            place = place.wrapping_add(1) & mask;
        }
        None
    }
}

/// Where the search for a name begins: its first four bytes, that in the middle, the last one, and the length.
// No index is past the last byte.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn hash(name: &[u8]) -> usize {
    if name.is_empty() {
        return 0;
    }
    let last = name.len() - 1;
    let mut mixed = (name.len() as u64) << 48 | (name[last] as u64) << 40 | (name[last / 2] as u64) << 32;
    let mut at = 0;
    while at < 4 && at <= last {
        mixed |= (name[at] as u64) << (8 * at);
        at += 1;
    }
    // The odd number spreads every bit over the highest ten.
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
}

/// Whether two names are the same, when the crate is compiled.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(crate) const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The own name of a field where no full stop may stand: `_` stands for each.
pub(crate) fn is_own(field: crate::Field, name: &[u8]) -> bool {
    let own = field.name().as_bytes();
    own.len() == name.len() && own.iter().zip(name).all(|(own, byte)| own == byte || (*own == b'.' && *byte == b'_'))
}

/// A name in which `_` stands for each full stop, and how long it is.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(crate) const fn own(field: crate::Field) -> ([u8; 32], usize) {
    let name = field.name().as_bytes();
    let mut own = [0; 32];
    let mut at = 0;
    while at < name.len() {
        own[at] = if name[at] == b'.' { b'_' } else { name[at] };
        at += 1;
    }
    (own, name.len())
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_number_even_where_all_begin_alike() {
        const NAMES: [&str; 4] = ["cs1Label", "cs2Label", "", "cs1Labex"];
        static TABLE: Names<8> = {
            let mut table = Names::new();
            let mut at = 0;
            while at < NAMES.len() {
                table = table.with(NAMES[at].as_bytes(), at as u16);
                at += 1;
            }
            table
        };
        for (number, name) in (0..).zip(NAMES) {
            assert_eq!(TABLE.find(name.as_bytes(), |at| NAMES[usize::from(at)] == name), Some(number), "{name}");
        }
        assert_eq!(TABLE.find(b"cs3Label", |_| false), None);
    }

    #[test]
    fn a_field_is_known_by_its_name_without_stops() {
        assert!(is_own(crate::Field::RuleId, b"rule_id") && is_own(crate::Field::RuleId, b"rule.id"));
        assert!(!is_own(crate::Field::RuleId, b"rule_ix") && !is_own(crate::Field::RuleId, b"rule_i"));
        let (name, len) = own(crate::Field::VmInstanceUuid);
        assert_eq!(&name[..len], b"vm_instance_uuid");
    }
}
