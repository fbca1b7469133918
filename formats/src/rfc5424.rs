//! RFC 5424, the syslog protocol: parse and emit.
//!
//! `<PRI>VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP SD [SP MSG]`. Structured
//! data becomes extras: group is the SD-ID, name the PARAM-NAME; an element without parameters is one
//! extra with an empty name. The element [`OWN_ID`] holds canonical fields and becomes fields again.
//!
//! Invariant: one pass over the line, and no allocation unless a value holds an escape or the line
//! is not UTF-8.

pub(crate) mod emit;
mod structured;

use crate::near;
use crate::text::Text;
use crate::{Context, Event, Field, Format, ParseError, Time, syslog};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "rfc5424",
    about: "Syslog, RFC 5424, with structured data",
    detect: Some(detect),
    starts: b"<",
    parse: Some(parse),
    emit: Some(emit::emit),
    open: Some(open),
};

/// The SD-ID of canonical fields. 32473 is the enterprise number for documentation (RFC 5612).
pub(crate) const OWN_ID: &str = "wharfinger@32473";

/// How far into a line Docker's tag and its repetition are searched.
const DOCKER_TAG_WINDOW: usize = 512;

/// `<PRI>VERSION SP` and then a timestamp or `-`: both are needed to tell it from RFC 3164.
fn detect(input: &[u8]) -> u8 {
    if is_rfc5424(input) { 95 } else { 0 }
}

/// Whether the line begins like one of this format.
pub(crate) fn is_rfc5424(input: &[u8]) -> bool {
    let after = syslog::pri(input).and_then(|(rest, _)| rest.get(version_len(rest)?..));
    matches!(
        after.unwrap_or_default(),
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..] | [b'-', b' ', ..]
    )
}

fn parse<'a>(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    open(input, context, event).map(|_| ())
}

/// Parses the line and answers the part of it that may be a line of another format.
pub(crate) fn open<'a>(input: &'a [u8], _context: &Context, event: &mut Event<'a>) -> Result<&'a [u8], ParseError> {
    let (after, pri) = syslog::pri(input).ok_or(ParseError::new(0, "`<`, a number up to 191 and `>`"))?;
    let pri_len = input.len().saturating_sub(after.len());
    let version = version_len(after).ok_or(ParseError::new(pri_len, "a version of 1 to 3 digits and a space"))?;
    let start = pri_len.saturating_add(version);
    let text = Text::of(event, input);
    syslog::set_pri(event, pri);
    let mut line = Line { text, at: start };
    line.timestamp(event)?;
    if !line.header(event) {
        event.mark_partial(&ParseError::new(input.len(), "a space and the rest of the header"), input);
        return Ok(&[]);
    }
    Ok(line.message(event))
}

/// Bytes of VERSION, 1 to 999, with the space after it.
fn version_len(input: &[u8]) -> Option<usize> {
    match input {
        [b'1', b' ', ..] => Some(2),
        [b'0', ..] => None,
        _ => {
            let digits = input.iter().take(4).position(|byte| !byte.is_ascii_digit())?;
            (digits > 0 && input.get(digits) == Some(&b' ')).then(|| digits.saturating_add(1))
        }
    }
}

/// A line and how far it is read.
struct Line<'a> {
    text: Text<'a>,
    at: usize,
}

impl<'a> Line<'a> {
    /// `-` or RFC 3339. Vector #21353: `-` must be accepted. A space for the T, lower case and more
    /// than six fraction digits are read as well. Any other word is kept and noted.
    fn timestamp(&mut self, event: &mut Event<'a>) -> Result<(), ParseError> {
        let bytes = self.text.bytes();
        let rest = bytes.get(self.at..).unwrap_or_default();
        if let Some((time, used)) = Time::parse_rfc3339(rest) {
            let end = self.at.saturating_add(used);
            if matches!(bytes.get(end), None | Some(b' ')) {
                event.set(Field::Time, time);
                self.at = end.saturating_add(1);
                return Ok(());
            }
        }
        let start = self.at;
        let end = self.word().ok_or(ParseError::new(start, "a timestamp or `-`"))?;
        if rest.first() != Some(&b'-') || end != start.saturating_add(1) {
            event.extra("syslog", "timestamp", &self.text.piece(start..end));
            event.note("timestamp not understood");
        }
        Ok(())
    }

    /// HOSTNAME, APP-NAME, PROCID and MSGID; false when the line ends before them.
    fn header(&mut self, event: &mut Event<'a>) -> bool {
        let start = self.at;
        for field in [Field::HostName, Field::App, Field::ProcessId, Field::SyslogMsgId] {
            let at = self.at;
            // IBM documents a header that ends behind the host: `… 192.168.1.1 LEEF:1.0|…`.
            if at > start && self.begins_line_for_siem() {
                return true;
            }
            let Some(end) = self.word() else { return false };
            if self.text.bytes().get(at..end) != Some(b"-") {
                event.set_piece(field, &self.text, at..end);
            }
        }
        if !matches!(self.text.bytes().get(self.at), None | Some(b'-' | b'[')) {
            self.docker_tag(start, event);
        }
        if event.text(Field::App).is_some_and(|app| syslog::is_container_id(app.as_bytes())) {
            event.copy(Field::App, Field::ContainerId);
        }
        true
    }

    fn begins_line_for_siem(&self) -> bool {
        matches!(
            self.text.bytes().get(self.at..).unwrap_or_default(),
            [b'C', b'E', b'F', b':', b'0'..=b'9', b'|', ..]
                | [b'L', b'E', b'E', b'F', b':', b'0'..=b'9', b'.', b'0', b'|', ..]
        )
    }

    /// Steps over a word and the space after it; answers where the word ends.
    fn word(&mut self) -> Option<usize> {
        let bytes = self.text.bytes();
        if self.at >= bytes.len() {
            return None;
        }
        let end = near::find(bytes, self.at, b' ').unwrap_or(bytes.len());
        self.at = end.saturating_add(1);
        Some(end)
    }

    /// Docker's syslog driver writes its tag as APP-NAME and MSGID even when it holds spaces:
    /// `host my tag 11329 my tag - text`. `start` is where the host begins.
    fn docker_tag(&mut self, start: usize, event: &mut Event<'a>) {
        let bytes = self.text.bytes();
        let rest = bytes.get(start..).unwrap_or_default();
        let Some(tag_at) = memchr::memchr(b' ', rest).map(|at| start.saturating_add(at).saturating_add(1)) else {
            return;
        };
        let rest = bytes.get(tag_at..).unwrap_or_default();
        let window = rest.get(..DOCKER_TAG_WINDOW).unwrap_or(rest);
        for tag_end in memchr::memchr_iter(b' ', window) {
            let (Some(tag), Some(pid)) = (rest.get(..tag_end), rest.get(tag_end.saturating_add(1)..)) else { continue };
            let digits = pid.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(0);
            let again = pid.get(digits..).and_then(|after| after.strip_prefix(b" ")?.strip_prefix(tag));
            let Some(after) = again.and_then(|after| after.strip_prefix(b" -")) else { continue };
            if digits == 0 || !matches!(after.first(), None | Some(b' ')) {
                continue;
            }
            let pid_at = tag_at.saturating_add(tag_end).saturating_add(1);
            let tag = self.text.piece(tag_at..tag_at.saturating_add(tag_end));
            event.set(Field::ProcessId, &self.text.piece(pid_at..pid_at.saturating_add(digits)));
            event.set(Field::App, &tag);
            event.set(Field::SyslogMsgId, &tag);
            // The nil SD stands one byte before what follows it.
            self.at = bytes.len().saturating_sub(after.len()).saturating_sub(1);
            return;
        }
    }

    /// SD and MSG; answers the bytes of MSG that may be a line of another format. With our own element
    /// there are none: another gateway has looked.
    fn message(&mut self, event: &mut Event<'a>) -> &'a [u8] {
        let bytes = self.text.bytes();
        let mut own = false;
        let after = match bytes.get(self.at..).unwrap_or_default() {
            [] => bytes.len(),
            [b'-'] => bytes.len(),
            [b'-', b' ', ..] => self.at.saturating_add(2),
            [b'[', ..] => match structured::parse(&self.text, self.at, event) {
                Some((end, is_own)) => {
                    own = is_own;
                    end.saturating_add(usize::from(bytes.get(end) == Some(&b' ')))
                }
                // Vector #7796: text that begins with `[` and is no structured data is MSG.
                None => self.at,
            },
            // Vector #741: structured data left out.
            _ => {
                event.note("structured data missing");
                self.at
            }
        };
        let rest = bytes.get(after..).unwrap_or_default();
        // RFC 5424 §6.4: a byte order mark says that MSG is UTF-8; it is no part of the text.
        let message = rest.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(rest);
        // Our own element holds the message when MSG cannot hold it exactly.
        if !event.has(Field::Msg) {
            event.set_piece(Field::Msg, &self.text, bytes.len().saturating_sub(message.len())..bytes.len());
        }
        if own { &[] } else { message }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Choice, EmitContext, Offset};

    const CONTEXT: Context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };

    /// `field=value` for fields, `group/name=value` for extras, in order, without the PRI fields.
    fn shown(input: &[u8]) -> String {
        let mut event = Event::new(input);
        crate::parse(Choice::Auto, input, &CONTEXT, &mut event);
        let show = |value: crate::Value<'_>| match value {
            crate::Value::Str(text) | crate::Value::Json(text) => text.to_owned(),
            crate::Value::Int(number) => number.to_string(),
            crate::Value::Bool(value) => value.to_string(),
            crate::Value::Time(time) => time.0.to_string(),
        };
        let hidden = [Field::SyslogFacility, Field::SyslogSeverity, Field::Severity, Field::Format];
        let fields = event.fields().filter(|(field, _)| !hidden.contains(field));
        let fields = fields.map(|(field, value)| format!("{}={}", field.name(), show(value)));
        let extras = event.extras().map(|x| format!("{}/{}={}", x.group, x.name, show(x.value)));
        fields.chain(extras).collect::<Vec<_>>().join("|")
    }

    fn check(input: &str, expected: &str) {
        assert_eq!(shown(input.as_bytes()), expected, "{input:?}");
    }

    /// As many keys as an event may have, and what is more is not read at all: the line is its message.
    #[test]
    fn parameters_are_counted() {
        let line = |count: usize| format!("<13>1 - h a - - [x{}] hi", " b=\"c\"".repeat(count));
        assert!(shown(line(2_000).as_bytes()).contains("msg=hi"));
        let too_many = shown(line(3_000).as_bytes());
        assert!(too_many.contains("parse.status=partial") && too_many.contains("msg=[x b=\"c\""), "{too_many}");
    }

    #[test]
    fn the_header_and_structured_data_of_the_standard() {
        // RFC 5424 §6.5, in own words.
        check(
            "<34>1 2026-11-21T09:03:20.003Z gw.example.com su - ID47 - 'su root' failed",
            "time=1795251800003000000|host.name=gw.example.com|app=su|syslog.msgid=ID47|msg='su root' failed",
        );
        check(
            "<165>1 2026-11-21T09:03:20Z h a 77 - [ex@32473 iut=\"3\" src=\"App\"][origin ip=\"192.0.2.1\"] hi",
            "time=1795251800000000000|host.name=h|app=a|process.id=77|msg=hi\
             |ex@32473/iut=3|ex@32473/src=App|origin/ip=192.0.2.1",
        );
        check("<0>999 - - - - - -", "");
        check("<0>1 - - - - - [a][b@1 x=\"\"]", "a/=|b@1/x=");
    }

    #[test]
    fn escapes_of_values() {
        // §6.3.3: `"`, `\` and `]` are escaped; a backslash before anything else is literal.
        check(r#"<0>1 - - - - - [a x="\"\\\]" y="\n\z\\n"] m"#, r#"msg=m|a/x="\]|a/y=\n\z\n"#);
        // An unescaped `]` inside quotes is read as it stands.
        check(r#"<0>1 - - - - - [a x="[1]"]"#, "a/x=[1]");
    }

    #[test]
    fn the_wild() {
        // formats.md §3.1 [W], in its order.
        check("<0>1 - h a - - - m", "host.name=h|app=a|msg=m");
        check("<0>1 2026-11-21T09:03:20.123456789Z h a - - -", "time=1795251800123456789|host.name=h|app=a");
        check("<0>1 2026-11-21t09:03:20z h - - - -", "time=1795251800000000000|host.name=h");
        check("<0>1 2026-11-21 09:03:20Z h - - - -", "time=1795251800000000000|host.name=h");
        check(
            "<0>1 - h a - 6993 text of it",
            "host.name=h|app=a|syslog.msgid=6993|parse.notes=structured data missing|msg=text of it",
        );
        check(
            "<0>1 - h a - - [not structured] text",
            "host.name=h|app=a|parse.notes=structured data not understood|msg=[not structured] text",
        );
        check(
            "<0>1 - h a - - [a b=\"c\"][=] text",
            "host.name=h|app=a|parse.notes=structured data not understood|msg=[a b=\"c\"][=] text",
        );
        check(
            "<0>1 - h a - - [a b=\"c\"",
            "host.name=h|app=a|parse.notes=structured data not understood|msg=[a b=\"c\"",
        );
        check("<0>1 - h a - - [a b=\"c\"]text", "host.name=h|app=a|msg=text|a/b=c");
        check("<0>1 - h a - - [a b= \"c\"] text", "host.name=h|app=a|msg=text|a/b=c");
        check("<0>1 - h a - - - [a b=\"c\"]", "host.name=h|app=a|msg=[a b=\"c\"]");
        check("<0>1 - hôte a - - - \u{FEFF}ü", "host.name=hôte|app=a|msg=ü");
        check(
            "<0>1 2026-99-21T09:03:20Z h - - - - m",
            "parse.notes=timestamp not understood|host.name=h|msg=m|syslog/timestamp=2026-99-21T09:03:20Z",
        );
        assert_eq!(shown(b"<0>1 - h a - - - \xFF!"), "host.name=h|app=a|msg=\u{FFFD}!");
    }

    #[test]
    fn docker_tags_may_hold_spaces() {
        // formats.md §4.5: find ` <pid> <same tag> - ` again.
        check(
            "<30>1 - vm my tag/x 11329 my tag/x - plain 5 line",
            "host.name=vm|app=my tag/x|process.id=11329|syslog.msgid=my tag/x|msg=plain 5 line",
        );
        check("<30>1 - vm a b c d 1 a b c d -", "host.name=vm|app=a b c d|process.id=1|syslog.msgid=a b c d");
        check(
            "<30>1 - vm 00a8660c4ab0 9 00a8660c4ab0 - CEF:0|x",
            "host.name=vm|app=00a8660c4ab0|process.id=9|syslog.msgid=00a8660c4ab0|container.id=00a8660c4ab0|msg=CEF:0|x",
        );
    }

    #[test]
    fn a_line_that_ends_in_its_header_is_partial() {
        let text = shown(b"<34>1 2026-11-21T09:03:20Z gw su");
        assert!(text.contains("|app=su|parse.status=partial|parse.error=expected a space"), "{text}");
    }

    fn emitted(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        emit::emit(event, &EmitContext::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_came_in_goes_out() {
        for line in [
            "<165>1 2026-11-21T09:03:20.003000Z h a 77 ID [ex@32473 iut=\"3\" q=\"\\\"\\\\\\]\"][origin ip=\"192.0.2.1\"] hi",
            "<0>1 2026-11-21T09:03:20.000000Z - - - - - [x",
            "<191>1 - - - - - [meta][timeQuality tzKnown=\"0\"]",
        ] {
            let mut event = Event::new(line.as_bytes());
            parse(line.as_bytes(), &CONTEXT, &mut event).unwrap();
            assert_eq!(emitted(&event), line);
        }
    }

    /// Without our own element a receiver would read such a message as a line of another format.
    #[test]
    fn a_message_that_looks_like_a_line_comes_back_as_text() {
        let lines = [r#"{"log":"01","name":["docker"]},"ag"#, "CEF:0|v|p|1|c|n|5|msg=x", "__CURSOR=2 text"];
        for text in lines {
            let mut event = Event::new(b"raw");
            event.set(Field::Severity, 5);
            event.set(Field::Msg, text);
            let line = emitted(&event);
            let mut back = Event::new(line.as_bytes());
            crate::parse(Choice::Auto, line.as_bytes(), &CONTEXT, &mut back);
            assert_eq!((back.text(Field::Msg), back.text(Field::Format)), (Some(text), Some("rfc5424")), "{line}");
        }
    }

    #[test]
    fn one_record_and_nothing_lost() {
        let mut event = Event::new(b"raw");
        event.set(Field::Time, Time(1_795_251_800_123_456_789));
        event.set(Field::HostName, "a b");
        event.set(Field::EventClass, "container.start");
        event.set(Field::Severity, 5);
        event.set(Field::Msg, "one\ntwo");
        event.extra("labels", "a=\"b\"\n", "]\0\x1B");
        event.extra("labels", "c", 7);
        event.extra("", "x", true);
        event.extra("labels", "d", "e");
        let line = "<108>1 2026-11-21T09:03:20.123456Z a_b - - - [wharfinger@32473 \
                    time=\"2026-11-21T09:03:20.123456789Z\" host.name=\"a b\" event_class=\"container.start\" \
                    msg=\"one\\ntwo\"][extra@32473 x=\"true\"]\
                    [labels@32473 a__b__=\"\\]\\0\\x1B\" c=\"7\" d=\"e\"] one\\ntwo";
        assert_eq!(emitted(&event), line);
        let mut back = Event::new(line.as_bytes());
        crate::parse(Choice::Auto, line.as_bytes(), &CONTEXT, &mut back);
        for (field, value) in event.fields() {
            assert_eq!(back.get(field), Some(value), "{}", field.name());
        }
    }

    #[test]
    fn only_the_gateway_sets_its_fields() {
        check(
            "<0>1 - - - - - [wharfinger@32473 event_id=\"9\" hops=\"2\" action=\"start\"]",
            "action=start|wharfinger@32473/event_id=9|wharfinger@32473/hops=2",
        );
    }
}
