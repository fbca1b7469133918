//! Records of Docker's `local` log driver, which also go to log plugins: one protobuf `LogEntry`.
//!
//! A parser on the way of an event, behind [`crate::frame::LocalFramer`] or
//! [`crate::frame::PluginFramer`]. The record may still have its lengths around it. A line over 16 KiB
//! comes in parts; such a part is marked `docker.partial`.
//!
//! Invariant: fields that are not known are passed over and said to be there; no length is believed.

use std::borrow::Cow;

use crate::cursor::Cursor;
use crate::json_read::KEYS_MAX;
use crate::{Context, Event, Field, Format, ParseError, Time};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "docker_local",
    about: "Records of Docker's local log driver and of log plugins (protobuf)",
    detect: Some(detect),
    // A record without lengths begins with a line end, which is white space to who looks here.
    starts: b"\0\x06",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// What is missing where a value ends early.
const VALUE: &str = "as many bytes as the length says";
/// Group of what the log driver says beside the text, as for its other drivers.
const DOCKER: &str = "docker";
/// Group of labels, environment and tag that the driver was told to add.
const ATTRS: &str = "attrs";

fn detect(input: &[u8]) -> u8 {
    let (entry, whole) = without_lengths(input);
    let begins = entry.starts_with(b"\x0a\x06stdout") || entry.starts_with(b"\x0a\x06stderr");
    match (begins, whole) {
        (true, true) => 95,
        (true, false) => 85,
        _ => 0,
    }
}

/// The record between its lengths, if both are there and the same.
fn without_lengths(input: &[u8]) -> (&[u8], bool) {
    let lengths = input.split_first_chunk::<4>().and_then(|(first, rest)| {
        let (entry, last) = rest.split_last_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*first)).ok()?;
        (first == last && len == entry.len()).then_some(entry)
    });
    match lengths {
        Some(entry) => (entry, true),
        None => (input, false),
    }
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let (entry, whole) = without_lengths(input);
    let before = if whole { 4 } else { 0 };
    let extras = event.extras().len();
    read(entry, event).map_err(|error| {
        event.truncate_extras(extras);
        ParseError::new(error.at.saturating_add(before), error.expected)
    })?;
    event.set(Field::EventClass, "container.log");
    event.set(Field::Name, "Container log line");
    Ok(())
}

fn read<'a>(entry: &'a [u8], event: &mut Event<'a>) -> Result<(), ParseError> {
    let mut fields = Cursor::new(entry);
    let (mut is_entry, mut is_known, mut count) = (false, true, 0_u32);
    while let Some((number, value)) = fields.next()? {
        count = count.saturating_add(1);
        if count > KEYS_MAX {
            return Err(ParseError::new(fields.at, "at most 2,000 fields"));
        }
        match (number, value) {
            (1, Value::Bytes(source)) => {
                is_entry = true;
                event.extra(DOCKER, "stream", &text(source));
            }
            (2, Value::Varint(nanos)) => event.set(Field::Time, Time(nanos.cast_signed())),
            (3, Value::Bytes(line)) => {
                is_entry = true;
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                event.set_text(Field::Msg, text(line));
            }
            (4, Value::Varint(partial)) if partial != 0 => event.extra(DOCKER, "partial", true),
            (4, Value::Varint(_)) => {}
            (5, Value::Bytes(part)) => read_part(part, event)?,
            (6, Value::Bytes(attr)) => read_attr(attr, event)?,
            _ => is_known = false,
        }
    }
    if !is_known {
        event.note("a field this version does not know");
    }
    if is_entry { Ok(()) } else { Err(ParseError::new(0, "a source and a line")) }
}

fn read_part(part: &[u8], event: &mut Event<'_>) -> Result<(), ParseError> {
    let mut fields = Cursor::new(part);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Varint(last)) => event.extra(DOCKER, "partial_last", last != 0),
            (2, Value::Bytes(id)) => event.extra(DOCKER, "partial_id", &text(id)),
            (3, Value::Varint(ordinal)) => event.extra(DOCKER, "partial_ordinal", ordinal.cast_signed()),
            _ => {}
        }
    }
    Ok(())
}

fn read_attr(attr: &[u8], event: &mut Event<'_>) -> Result<(), ParseError> {
    let mut fields = Cursor::new(attr);
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    event.extra(ATTRS, text(key), &text(value));
    Ok(())
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The value of a field, by its wire type.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a fixed length, which no field of ours has.
    Fixed,
}

/// The fields of a message, one after the other.
impl<'a> Cursor<'a> {
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, ParseError> {
        if self.is_at_end() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8, VALUE).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len, VALUE)?)
            }
            5 => self.take(4, VALUE).map(|_| Value::Fixed)?,
            _ => return Err(ParseError::new(self.at, "a wire type of protobuf")),
        };
        Ok(Some((tag.wrapping_shr(3), value)))
    }

    /// Seven bits a byte, lowest first, in at most ten bytes.
    fn varint(&mut self) -> Result<u64, ParseError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(byte) = self.byte() else { break };
            number |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ParseError::new(self.at, "a number of protobuf"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Offset;

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn check(input: &[u8], fields: &[(Field, &str)], extras: &[(&str, &str)]) {
        let mut event = Event::new(input);
        parse(input, &CONTEXT, &mut event).unwrap();
        for (field, expected) in fields {
            assert_eq!(event.text(*field), Some(*expected), "{field:?}");
        }
        let got: Vec<_> =
            event.extras().map(|e| (format!("{}.{}", e.group, e.name), format!("{:?}", e.value))).collect();
        let expected: Vec<_> = extras.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_record_with_and_without_its_lengths() {
        let entry = b"\x0a\x06stderr\x10\xe3\xc4\xfc\xff\xdb\x83\x81\xf5\x18\x1a\x04a\xffb\r";
        let framed = [&[0, 0, 0, 24][..], entry, &[0, 0, 0, 24]].concat();
        for input in [&entry[..], &framed] {
            let mut event = Event::new(input);
            parse(input, &CONTEXT, &mut event).unwrap();
            assert_eq!(event.time(Field::Time), Some(Time(1_795_251_927_282_295_395)));
            check(input, &[(Field::Msg, "a\u{fffd}b")], &[("docker.stream", r#"Str("stderr")"#)]);
        }
        assert_eq!((detect(&framed), detect(entry), detect(b"\0\0\0\x01x\0\0\0\x01")), (95, 85, 0));
    }

    #[test]
    fn parts_and_attributes() {
        let part =
            b"\x0a\x06stdout\x1a\x02ab\x20\x01\x2a\x08\x08\x01\x12\x02id\x18\x02\x32\x06\x0a\x01k\x12\x01v\x38\x01";
        let extras = [
            ("docker.stream", r#"Str("stdout")"#),
            ("docker.partial", "Bool(true)"),
            ("docker.partial_last", "Bool(true)"),
            ("docker.partial_id", r#"Str("id")"#),
            ("docker.partial_ordinal", "Int(2)"),
            ("attrs.k", r#"Str("v")"#),
        ];
        check(part, &[(Field::Msg, "ab"), (Field::ParseNotes, "a field this version does not know")], &extras);
    }

    #[test]
    fn what_is_cut_is_refused_and_leaves_no_trace() {
        let part = b"\x0a\x06stdout\x10\xe3\xc4\xfc\xff\xdb\x83\x81\xf5\x18\x1a\x02ab";
        for len in 0..part.len() {
            let input = part.get(..len).unwrap();
            let mut event = Event::new(input);
            // Between two fields a message may end.
            assert_eq!(parse(input, &CONTEXT, &mut event).is_ok(), [8, 18].contains(&len), "{len}");
            assert!(event.extras().len() <= 1);
        }
        for wrong in [
            &b"\x0f"[..],
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(parse(wrong, &CONTEXT, &mut Event::new(wrong)).is_err(), "{wrong:?}");
        }
    }
}
