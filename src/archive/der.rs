//! DER, as far as time stamps need it: values taken one after the other, each with its tag.
//!
//! Invariant: total over any bytes. A length that is not there, not the shortest, or not said is no value.

/// Tags that are asked for.
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const TAGGED_0: u8 = 0xa0;

/// One value as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

/// Values that stand one behind the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    /// The next; none at the end, and where no value is.
    fn next(&mut self) -> Option<Value<'a>> {
        let (tag, rest) = self.0.split_first()?;
        // Tags of several bytes have no use here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (first, rest) = rest.split_first()?;
        let (len, rest) = match usize::from(*first) {
            short @ 0..=0x7f => (short, rest),
            // X.690 §10.1: "The definite form of length encoding shall be used, encoded in the minimum number
            // of octets." Four of them are more than is ever read.
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(long & 0x7f)?;
                let len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
                let is_shortest = len > 0x7f && digits.first() != Some(&0);
                (is_shortest.then_some(len)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        let whole = self.0.get(..self.0.len() - rest.len())?;
        self.0 = rest;
        Some(Value { tag: *tag, content, whole })
    }
}

impl<'a> Values<'a> {
    /// The content of the next value, which has this tag.
    pub(super) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|value| value.tag == tag).map(|value| value.content)
    }

    /// The next value if it has this tag; any other stays.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Value<'a>> {
        let mut ahead = *self;
        let value = ahead.next().filter(|value| value.tag == tag)?;
        *self = ahead;
        Some(value)
    }

    /// The values in the next one, which has this tag.
    pub(super) fn within(&mut self, tag: u8) -> Option<Values<'a>> {
        self.read(tag).map(Values)
    }
}

/// A value to be sent: all we send is short.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    debug_assert!(content.len() < 0x80, "the short form of a length");
    [&[tag, u8::try_from(content.len()).unwrap_or(u8::MAX)][..], &content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shortest_or_not_there_is_no_value() {
        let long = [&[OCTETS, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(Values(&long).read(OCTETS), Some(&[7; 0x80][..]));
        for wrong in [
            &[OCTETS][..],
            &[OCTETS, 1],
            &[OCTETS, 0x80, 0, 0],
            &[OCTETS, 0x81, 1, 7],
            &[OCTETS, 0x82, 0, 0x80],
            &[OCTETS, 0x85, 1, 0, 0, 0, 0],
            &[OCTETS, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 1, 0],
        ] {
            assert_eq!(Values(wrong).next(), None, "{wrong:?}");
        }
        let mut values = Values(&[INTEGER, 1, 5, BOOLEAN, 1, 0xff]);
        assert_eq!(values.optional(BOOLEAN), None);
        assert_eq!((values.read(INTEGER), values.read(BOOLEAN)), (Some(&[5][..]), Some(&[0xff][..])));
        assert_eq!(values.next(), None);
    }
}
