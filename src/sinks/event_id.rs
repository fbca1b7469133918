//! The one number of an event, from socket to SIEM: `<incarnation, 16 hex>-<sequence, 16 digits>`.

use wharfinger_formats::{Event, Field};

use crate::journal::{Incarnation, Position};

/// 33 characters: fits CEF's externalId (40).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId([u8; 33]);

impl EventId {
    /// The id of the record at `position` of the journal with that incarnation.
    pub fn new(incarnation: Incarnation, position: Position) -> EventId {
        let mut id = [b'0'; 33];
        let mut rest = incarnation.0;
        for digit in id[..16].iter_mut().rev() {
            *digit = b"0123456789abcdef"[(rest % 16) as usize];
            rest /= 16;
        }
        id[16] = b'-';
        let mut rest = position.0;
        for digit in id[17..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        EventId(id)
    }

    /// Incarnation and position of an id; none if it is none.
    pub fn read(text: &str) -> Option<(Incarnation, Position)> {
        let (incarnation, position) = text.split_once('-').filter(|(a, b)| (a.len(), b.len()) == (16, 16))?;
        let is_number = position.bytes().all(|byte| byte.is_ascii_digit());
        let incarnation = Some(incarnation).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let incarnation = u64::from_str_radix(incarnation, 16).ok()?;
        is_number.then(|| Some((Incarnation(incarnation), Position(position.parse().ok()?)))).flatten()
    }

    /// The position in it.
    pub fn position(&self) -> Position {
        Position(self.text().get(17..).and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }

    /// The id of another position in the same incarnation.
    #[must_use]
    pub fn at(&self, position: u64) -> EventId {
        let incarnation = u64::from_str_radix(self.text().get(..16).unwrap_or_default(), 16).unwrap_or(0);
        EventId::new(Incarnation(incarnation), Position(position))
    }

    /// Gives the event its number, and its cause the number that it has: a finding names the event that it is
    /// about by how far before it that stands. What was numbered before keeps its number.
    pub fn number(&self, event: &mut Event<'_>) {
        if event.has(Field::EventId) {
            return;
        }
        event.set(Field::EventId, self.text());
        let before = event.text(Field::Cause).and_then(|cause| cause.strip_prefix('-')?.parse::<u64>().ok());
        if let Some(cause) = before.and_then(|before| self.position().0.checked_sub(before)) {
            event.set(Field::Cause, self.at(cause).text());
        }
    }

    /// The id as text.
    pub fn text(&self) -> &str {
        // Hex digits, digits and a dash.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_its_parts() {
        let id = EventId::new(Incarnation(7), Position(42));
        assert_eq!(EventId::read(id.text()), Some((Incarnation(7), Position(42))));
        for wrong in ["", "7-42", "000000000000000x-0000000000000042", "0000000000000007-+000000000000042"] {
            assert_eq!(EventId::read(wrong), None, "{wrong}");
        }
        assert_eq!((id.position(), id.at(43)), (Position(42), EventId::new(Incarnation(7), Position(43))));
    }

    #[test]
    fn is_hex_and_digits_of_fixed_width() {
        let id = |incarnation, position| EventId::new(Incarnation(incarnation), Position(position));
        assert_eq!(id(0x00de_adbe_ef00_0001, 42).text(), "00deadbeef000001-0000000000000042");
        assert_eq!(id(u64::MAX, 9_999_999_999_999_999).text(), "ffffffffffffffff-9999999999999999");
    }
}
