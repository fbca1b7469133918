//! One message of the fluentd forward protocol, as Docker's fluentd driver sends it: a MessagePack
//! list of tag, time, record and options (message mode).
//!
//! A parser on the way of an event, behind [`crate::frame::MsgpackFramer`]. The record of Docker's
//! driver names the container; members without a canonical field are extras of group `record`.
//!
//! Invariant: no length is believed, and nesting is bounded: what lies deeper is said to be left out.

use std::borrow::Cow;

use crate::cursor::Cursor;
use crate::json::write_string;
use crate::json_read::KEYS_MAX;
use crate::{Context, Event, Field, Format, ParseError, Time};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "fluent",
    about: "Messages of the fluentd forward protocol, also of Docker's fluentd driver (MessagePack)",
    detect: Some(detect),
    starts: b"\x93\x94",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// What is missing where a value ends early.
const REST: &str = "the rest of a MessagePack value";
/// Group of members of the record.
const RECORD: &str = "record";
/// Group of what Docker's driver says beside the text, as for its other drivers.
const DOCKER: &str = "docker";
/// Levels of a record that are written out.
const DEPTH_MAX: u8 = 16;

type Read<T> = Result<T, ParseError>;

fn detect(input: &[u8]) -> u8 {
    let mut reader = Cursor::new(input);
    let tag = matches!(reader.value(), Ok(Value::List(3..=4))) && matches!(reader.value(), Ok(Value::Str(_)));
    let time = tag && matches!(reader.value(), Ok(Value::Int(_) | Value::Ext(0, _)));
    if time && matches!(reader.value(), Ok(Value::Map(_))) { 95 } else { 0 }
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Read<()> {
    let extras = event.extras().len();
    let mut reader = Cursor::new(input);
    read(&mut reader, event).inspect_err(|_| event.truncate_extras(extras))?;
    if reader.at < input.len() {
        event.mark_partial(&ParseError::new(reader.at, "the end"), input);
    }
    Ok(())
}

fn read<'a>(reader: &mut Cursor<'a>, event: &mut Event<'a>) -> Read<()> {
    let at = reader.at;
    let Value::List(parts @ 3..=4) = reader.value()? else {
        return Err(ParseError::new(at, "a list of tag, time and record"));
    };
    let tag_at = reader.at;
    let Value::Str(tag) = reader.value()? else { return Err(ParseError::new(tag_at, "a tag")) };
    event.extra(DOCKER, "tag", &text(tag));
    let time_at = reader.at;
    let time = match reader.value()? {
        Value::Int(seconds) => Time::from_unix(seconds, 0),
        Value::Ext(0, bytes) => event_time(bytes),
        _ => return Err(ParseError::new(time_at, "a time")),
    };
    match time {
        Some(time) => event.set(Field::Time, time),
        None => event.note("no time that can be read"),
    }
    let record_at = reader.at;
    let Value::Map(members) = reader.value()? else { return Err(ParseError::new(record_at, "a record")) };
    if members > KEYS_MAX {
        return Err(ParseError::new(record_at, "at most 2,000 members"));
    }
    for _ in 0..members {
        let key_at = reader.at;
        let Value::Str(key) = reader.value()? else { return Err(ParseError::new(key_at, "the name of a member")) };
        member(&text(key), reader, event)?;
    }
    if parts == 4 {
        options(reader, event)?;
    }
    if event.has(Field::ContainerId) {
        event.set(Field::EventClass, "container.log");
        event.set(Field::Name, "Container log line");
    }
    Ok(())
}

/// Seconds and nanoseconds, each of four bytes, big-endian.
fn event_time(bytes: &[u8]) -> Option<Time> {
    let (seconds, nanos) = bytes.split_first_chunk::<4>()?;
    let nanos = u32::from_be_bytes(*nanos.first_chunk::<4>()?);
    Time::from_unix(u32::from_be_bytes(*seconds).into(), nanos)
}

fn member<'a>(key: &str, reader: &mut Cursor<'a>, event: &mut Event<'a>) -> Read<()> {
    let value = reader.value()?;
    let field = match key {
        "container_id" => Field::ContainerId,
        "container_name" => Field::ContainerName,
        "log" | "message" => Field::Msg,
        _ => return extra(key, value, reader, event),
    };
    match value {
        Value::Str(bytes) if !event.has(field) => {
            let text = text(bytes);
            // A terminal ends its lines with CR LF; the driver takes only the LF away.
            let text = text.strip_suffix('\r').unwrap_or(&text);
            let text = if field == Field::ContainerName { text.strip_prefix('/').unwrap_or(text) } else { text };
            event.set_text(field, text);
            Ok(())
        }
        value => extra(key, value, reader, event),
    }
}

fn extra<'a>(key: &str, value: Value<'a>, reader: &mut Cursor<'a>, event: &mut Event<'a>) -> Read<()> {
    let (group, name) = match key {
        "source" => (DOCKER, "stream"),
        "partial_message" => (DOCKER, "partial"),
        "partial_id" | "partial_ordinal" | "partial_last" => (DOCKER, key),
        _ => (RECORD, key),
    };
    match value {
        Value::Str(b"true") if name == "partial" => event.extra(group, name, true),
        Value::Str(bytes) => event.extra(group, name, &text(bytes)),
        Value::Int(number) => event.extra(group, name, number),
        Value::Bool(truth) => event.extra(group, name, truth),
        value => {
            let mut json = Vec::new();
            write_json(value, reader, DEPTH_MAX, &mut json)?;
            let json = String::from_utf8(json).unwrap_or_default();
            event.extra(group, name, crate::Value::Json(&json));
        }
    }
    Ok(())
}

/// `chunk` asks for a receipt, which is for the source to send.
fn options<'a>(reader: &mut Cursor<'a>, event: &mut Event<'a>) -> Read<()> {
    let at = reader.at;
    let members = match reader.value()? {
        Value::Map(members) => members,
        Value::Nil => 0,
        _ => return Err(ParseError::new(at, "options")),
    };
    if members > KEYS_MAX {
        return Err(ParseError::new(at, "at most 2,000 options"));
    }
    for _ in 0..members {
        let key_at = reader.at;
        let Value::Str(key) = reader.value()? else { return Err(ParseError::new(key_at, "the name of an option")) };
        let value = reader.value()?;
        match value {
            Value::Str(bytes) => event.extra("fluent", text(key), &text(bytes)),
            value => {
                let mut json = Vec::new();
                write_json(value, reader, DEPTH_MAX, &mut json)?;
                event.extra("fluent", text(key), crate::Value::Json(&String::from_utf8(json).unwrap_or_default()));
            }
        }
    }
    Ok(())
}

/// Writes a value as JSON. What is nested too deep is refused.
fn write_json(value: Value<'_>, reader: &mut Cursor<'_>, depth: u8, out: &mut Vec<u8>) -> Read<()> {
    let deeper = depth.checked_sub(1).ok_or(ParseError::new(reader.at, "at most 16 levels"))?;
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::Big(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::Float(number) if number.is_finite() => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(_) => out.extend_from_slice(b"null"),
        Value::Str(bytes) | Value::Ext(_, bytes) => write_string(out, &text(bytes)),
        Value::List(len) => {
            out.push(b'[');
            for at in 0..len {
                if at > 0 {
                    out.push(b',');
                }
                let item = reader.value()?;
                write_json(item, reader, deeper, out)?;
            }
            out.push(b']');
        }
        Value::Map(len) => {
            out.push(b'{');
            for at in 0..len {
                if at > 0 {
                    out.push(b',');
                }
                let key_at = reader.at;
                let Value::Str(key) = reader.value()? else {
                    return Err(ParseError::new(key_at, "the name of a member"));
                };
                write_string(out, &text(key));
                out.push(b':');
                let item = reader.value()?;
                write_json(item, reader, deeper, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// One value; of lists and maps only how many follow.
enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    /// Beyond what an `i64` holds.
    Big(u64),
    Float(f64),
    /// Text or bytes.
    Str(&'a [u8]),
    Ext(u8, &'a [u8]),
    List(u32),
    Map(u32),
}

impl<'a> Cursor<'a> {
    fn value(&mut self) -> Read<Value<'a>> {
        let at = self.at;
        let first = self.unsigned(1)? as u8;
        Ok(match first {
            0x00..=0x7f | 0xe0..=0xff => Value::Int(first.cast_signed().into()),
            0x80..=0x8f => Value::Map(u32::from(first & 0x0f)),
            0x90..=0x9f => Value::List(u32::from(first & 0x0f)),
            0xa0..=0xbf => Value::Str(self.take(u64::from(first & 0x1f), REST)?),
            0xc0 => Value::Nil,
            0xc2 | 0xc3 => Value::Bool(first == 0xc3),
            0xc4 | 0xd9 => self.sized(1)?,
            0xc5 | 0xda => self.sized(2)?,
            0xc6 | 0xdb => self.sized(4)?,
            0xc7 => self.extension(None, 1)?,
            0xc8 => self.extension(None, 2)?,
            0xc9 => self.extension(None, 4)?,
            0xca => Value::Float(f32::from_bits(self.unsigned(4)? as u32).into()),
            0xcb => Value::Float(f64::from_bits(self.unsigned(8)?)),
            0xcc => self.number(1)?,
            0xcd => self.number(2)?,
            0xce => self.number(4)?,
            0xcf => self.number(8)?,
            0xd0 => Value::Int((self.unsigned(1)? as u8).cast_signed().into()),
            0xd1 => Value::Int((self.unsigned(2)? as u16).cast_signed().into()),
            0xd2 => Value::Int((self.unsigned(4)? as u32).cast_signed().into()),
            0xd3 => Value::Int(self.unsigned(8)?.cast_signed()),
            0xd4 => self.extension(Some(1), 0)?,
            0xd5 => self.extension(Some(2), 0)?,
            0xd6 => self.extension(Some(4), 0)?,
            0xd7 => self.extension(Some(8), 0)?,
            0xd8 => self.extension(Some(16), 0)?,
            0xdc => Value::List(self.unsigned(2)? as u32),
            0xdd => Value::List(self.unsigned(4)? as u32),
            0xde => Value::Map(self.unsigned(2)? as u32),
            0xdf => Value::Map(self.unsigned(4)? as u32),
            0xc1 => return Err(ParseError::new(at, "a MessagePack value")),
        })
    }

    /// Text or bytes behind a length of so many bytes.
    fn sized(&mut self, bytes: usize) -> Read<Value<'a>> {
        let len = self.unsigned(bytes)?;
        self.take(len, REST).map(Value::Str)
    }

    fn number(&mut self, bytes: usize) -> Read<Value<'a>> {
        let number = self.unsigned(bytes)?;
        Ok(i64::try_from(number).map_or(Value::Big(number), Value::Int))
    }

    fn extension(&mut self, len: Option<u64>, bytes: usize) -> Read<Value<'a>> {
        let len = match len {
            Some(len) => len,
            None => self.unsigned(bytes)?,
        };
        let kind = self.unsigned(1)? as u8;
        self.take(len, REST).map(|data| Value::Ext(kind, data))
    }

    /// A number of so many bytes, big-endian; at most eight.
    fn unsigned(&mut self, bytes: usize) -> Read<u64> {
        let taken = self.take(bytes as u64, REST)?;
        Ok(taken.iter().fold(0, |number, byte| number.wrapping_shl(8) | u64::from(*byte)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Offset;

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    /// `["t", time, {…}, {}]` in which the record is of the members given.
    fn message(time: &[u8], members: u8, record: &[u8]) -> Vec<u8> {
        [b"\x94\xa1t", time, &[0x80 | members], record, b"\x80"].concat()
    }

    fn extras(event: &Event<'_>) -> Vec<String> {
        event.extras().map(|extra| format!("{}.{} {:?}", extra.group, extra.name, extra.value)).collect()
    }

    #[test]
    fn a_message_of_dockers_driver() {
        let record = b"\xaccontainer_id\xa2ab\xaecontainer_name\xa4/web\xa6source\xa6stdout\xa3log\xa4a\xffb\r\xafpartial_message\xa4true";
        let input = message(b"\xd7\0\x6b\x01\x62\x11\0\0\x01\0", 5, record);
        let mut event = Event::new(&input);
        parse(&input, &CONTEXT, &mut event).unwrap();
        assert_eq!((event.text(Field::ContainerId), event.text(Field::ContainerName)), (Some("ab"), Some("web")));
        assert_eq!(
            (event.text(Field::Msg), event.text(Field::EventClass)),
            (Some("a\u{fffd}b"), Some("container.log"))
        );
        assert_eq!(event.time(Field::Time), Time::from_unix(0x6b01_6211, 256));
        assert_eq!(
            extras(&event),
            [r#"docker.tag Str("t")"#, r#"docker.stream Str("stdout")"#, "docker.partial Bool(true)"]
        );
        assert_eq!(detect(&input), 95);
    }

    #[test]
    fn values_of_every_kind() {
        let record = [
            &b"\xa1a\xc0\xa1b\xc3\xa1c\xd3\xff\xff\xff\xff\xff\xff\xff\xfe\xa1d\xcf\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\xa1e\x92\x01\x81\xa1k\xc2\xa1f\xcb\x3f\xf8\0\0\0\0\0\0\xa1g\xd9\x01x\xa1h\xc7\x02\x05yz",
        ]
        .concat();
        let input = message(b"\xce\0\0\0\x05", 8, &record);
        let mut event = Event::new(&input);
        parse(&input, &CONTEXT, &mut event).unwrap();
        let expected = [
            r#"docker.tag Str("t")"#,
            r#"record.a Json("null")"#,
            "record.b Bool(true)",
            "record.c Int(-2)",
            r#"record.d Json("18446744073709551615")"#,
            r#"record.e Json("[1,{\"k\":false}]")"#,
            r#"record.f Json("1.5")"#,
            r#"record.g Str("x")"#,
            r#"record.h Json("\"yz\"")"#,
        ];
        assert_eq!(extras(&event), expected);
        assert_eq!(event.time(Field::Time), Some(Time(5_000_000_000)));
    }

    #[test]
    fn what_is_cut_or_too_deep_is_refused() {
        let whole = message(b"\x05", 1, b"\xa1a\x91\xa1x");
        for len in 0..whole.len() {
            let input = whole.get(..len).unwrap();
            let mut event = Event::new(input);
            assert!(parse(input, &CONTEXT, &mut event).is_err() && event.extras().len() == 0, "{len}");
        }
        let deep = message(b"\x05", 1, &[&b"\xa1a"[..], &[0x91; 100_000], b"\x01"].concat());
        assert!(parse(&deep, &CONTEXT, &mut Event::new(&deep)).is_err());
        // Lengths without their bytes.
        for lie in [&b"\x94\xa1t\x05\xdf\xff\xff\xff\xff"[..], b"\x94\xdb\xff\xff\xff\xffx", b"\xdd\xff\xff\xff\xff"] {
            assert!(parse(lie, &CONTEXT, &mut Event::new(lie)).is_err());
        }
        let more = [&whole[..], b"\x01"].concat();
        let mut event = Event::new(&more);
        parse(&more, &CONTEXT, &mut event).unwrap();
        assert_eq!(event.text(Field::ParseStatus), Some("partial"));
    }
}
