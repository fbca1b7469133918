//! What stands before a value, made when the crate is compiled: `,"container.id":`, ` dvchost=`.
//!
//! A lead is copied as a block of one length, whatever its own: that is two moves and no call.

use crate::Field;

/// The bytes of a block; no lead is longer.
const BLOCK: usize = 32;

/// A short text ready to be appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lead {
    block: [u8; BLOCK],
    len: usize,
}

// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
impl Lead {
    /// A lead without bytes.
    pub(crate) const EMPTY: Lead = Lead { block: [0; BLOCK], len: 0 };

    /// The lead followed by a text.
    pub(crate) const fn then(mut self, text: &str) -> Lead {
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() {
            self.block[self.len] = text[at];
            self.len += 1;
            at += 1;
        }
        self
    }

    /// The lead with another byte for each full stop.
    const fn with_for_stop(mut self, byte: u8) -> Lead {
        let mut at = 0;
        while at < self.len {
            if self.block[at] == b'.' {
                self.block[at] = byte;
            }
            at += 1;
        }
        self
    }

    /// A lead for each field: its name between two texts, with `stop` for each `.` of the name.
    pub(crate) const fn of_fields(before: &str, stop: u8, after: &str) -> [Lead; Field::COUNT] {
        let mut leads = [Lead::EMPTY; Field::COUNT];
        let mut at = 0;
        while at < Field::COUNT {
            leads[at] = Lead::EMPTY.then(before).then(Field::ALL[at].name()).with_for_stop(stop).then(after);
            at += 1;
        }
        leads
    }
}

impl Lead {
    /// Appends the lead.
    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let end = out.len().wrapping_add(self.len);
        out.extend_from_slice(&self.block);
        out.truncate(end);
    }
}

impl Lead {
    /// The bytes of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.block.get(..self.len).unwrap_or_default()
    }
}

/// The lead of a field in a table of [`Lead::of_fields`].
#[inline]
pub(crate) fn lead(leads: &'static [Lead; Field::COUNT], field: Field) -> &'static Lead {
    leads.get(field as usize).unwrap_or(&Lead::EMPTY)
}
