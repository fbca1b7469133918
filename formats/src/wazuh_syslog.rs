//! Alerts as Wazuh's `syslog_output` sends them behind the tag `ossec`: text, JSON and Splunk form. The
//! fourth form is CEF, which `cef` reads.
//!
//! A parser on the way of an event. Nothing in these forms is escaped but in JSON: a description or a
//! log can look like the fields that follow. The first reading counts, and a line that could be read
//! otherwise says so.
//!
//! Invariant: what the manager says comes first and is never replaced by what stands behind it.

use crate::event::Cell;
use crate::json_members::Members;
use crate::json_read::{self, JsonReader, JsonValue, KEYS_MAX};
use crate::text::Text;
use crate::{Context, Event, Field, Format, ParseError};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "wazuh_syslog",
    about: "Wazuh alerts of syslog_output: default, json and splunk",
    detect: Some(detect),
    starts: b"Ac{",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Group of what has no canonical field.
const WAZUH: &str = "wazuh";

const LEVEL: &str = "Alert Level: ";
const RULE: &str = "; Rule: ";
const LOCATION: &str = "; Location: ";

/// Labels that may follow the location, in their order, with their names in the other two forms.
const LABELS: &[(&str, &str)] = &[
    ("classification", "classification"),
    ("srcip", "src_ip"),
    ("srcport", "src_port"),
    ("srccity", "src_city"),
    ("dstip", "dst_ip"),
    ("dstport", "dst_port"),
    ("dstcity", "dst_city"),
    ("user", "acct"),
    ("filename", "file"),
    ("Previous MD5", "md5_old"),
    ("Current MD5", "md5_new"),
    ("Previous SHA1", "sha1_old"),
    ("Current SHA1", "sha1_new"),
    ("Previous SHA256", "sha256_old"),
    ("Current SHA256", "sha256_new"),
];

fn detect(input: &[u8]) -> u8 {
    let is_number = |rest: &[u8]| rest.first().is_some_and(u8::is_ascii_digit);
    if let Some(rest) = input.strip_prefix(LEVEL.as_bytes()) {
        return if is_number(rest) { 90 } else { 0 };
    }
    if let Some(rest) = input.strip_prefix(b"crit=") {
        return if is_number(rest) { 90 } else { 0 };
    }
    let mut crit = false;
    json_read::sniff(input, |key| {
        crit |= key == "crit";
        match key {
            "component" | "classification" if crit => Some(90),
            "Type" | "Actor" | "log" | "rule" | "event" => Some(0),
            _ => None,
        }
    })
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    match input.first() {
        Some(b'{') => json(input, event),
        Some(b'c') => splunk(&Text::of(event, input).tail(0), event),
        _ => default(&Text::of(event, input).tail(0), event),
    }
}

/// `Alert Level: 3; Rule: 87903 - text; Location: x; classification: docker,; srcip: …; full log`
fn default(line: &str, event: &mut Event<'_>) -> Result<(), ParseError> {
    let at = |rest: &str| line.len().saturating_sub(rest.len());
    let rest = line.strip_prefix(LEVEL).ok_or(ParseError::new(0, "`Alert Level: `"))?;
    let (level, rest) = rest.split_once(RULE).ok_or(ParseError::new(at(rest), "a level and `; Rule: `"))?;
    let (id, rest) = rest.split_once(" - ").ok_or(ParseError::new(at(rest), "the number of a rule and ` - `"))?;
    let (description, mut rest) = rest.split_once(LOCATION).ok_or(ParseError::new(at(rest), "`; Location: `"))?;
    planted!("wazuh_syslog" => { let _ = &description[..1]; });
    set_rule(id, level, description, event);
    let location;
    (location, rest) = rest.split_once(';').unwrap_or((rest, ""));
    set_location(location, event);
    if rest.contains(LOCATION) {
        event.mark_ambiguous("`Location:` comes again: the description may be longer");
    }
    for (label, name) in LABELS {
        let value = rest.strip_prefix(' ').and_then(|rest| rest.strip_prefix(label)?.strip_prefix(": "));
        if let Some((value, after)) = value.and_then(|value| value.split_once(';')) {
            set(name, value.trim(), event);
            rest = after;
        }
    }
    event.set_text(Field::Msg, rest.trim());
    Ok(())
}

/// `crit=3 id=87903 description="…" component="…", classification="…", message="…"`
fn splunk(line: &str, event: &mut Event<'_>) -> Result<(), ParseError> {
    let at = |rest: &str| line.len().saturating_sub(rest.len());
    let mut rest = line;
    let (mut level, mut id, mut description, mut location, mut count) = ("", "", "", "", 0_u32);
    while !rest.is_empty() {
        count = count.saturating_add(1);
        if count > KEYS_MAX {
            return Err(ParseError::new(at(rest), "at most 2,000 names"));
        }
        let (name, after) = rest.split_once('=').ok_or(ParseError::new(at(rest), "`name=`"))?;
        let value;
        (value, rest) = match after.strip_prefix('"') {
            // The message is the last: its quotes are not escaped.
            Some(text) if name == "message" => (text.strip_suffix('"').unwrap_or(text), ""),
            Some(text) => text.split_once('"').ok_or(ParseError::new(at(text), "a closing quote"))?,
            None => after.split_at_checked(after.find([' ', ',']).unwrap_or(after.len())).unwrap_or((after, "")),
        };
        rest = rest.trim_start_matches([',', ' ']);
        match name {
            "crit" if level.is_empty() => level = value,
            "id" if id.is_empty() => id = value,
            "description" if description.is_empty() => description = value,
            "component" if location.is_empty() => location = value,
            "message" if !event.has(Field::Msg) => event.set_text(Field::Msg, value),
            _ => set(name, value, event),
        }
    }
    if id.is_empty() {
        return Err(ParseError::new(0, "`id=`"));
    }
    set_rule(id, level, description, event);
    set_location(location, event);
    Ok(())
}

fn json<'a>(input: &'a [u8], event: &mut Event<'a>) -> Result<(), ParseError> {
    let mut reader = JsonReader::new(input)?;
    let mut members = Members::new(event);
    let (mut level, mut id) = (None, None);
    let (mut description, mut location, mut message) = (None, None, None);
    reader.object(|reader, key| {
        let name = key.text();
        let at = (WAZUH, key);
        match &*name {
            "crit" => members.value(reader, event, &mut level, at),
            "id" => members.value(reader, event, &mut id, at),
            "description" => members.text(reader, event, &mut description, at),
            "component" => members.text(reader, event, &mut location, at),
            "message" => members.text(reader, event, &mut message, at),
            _ => {
                match reader.value()? {
                    JsonValue::Str(text) => set(&name, &text, event),
                    JsonValue::Int(number) => set(&name, itoa::Buffer::new().format(number), event),
                    value => event.extra(WAZUH, &name, &value),
                }
                Ok(())
            }
        }
    })?;
    reader.end()?;
    let Some(id) = id else { return Err(ParseError::new(0, "an `id`")) };
    let text = |value: Option<Cell>| match value {
        Some(Cell::Str(text)) => event.str(text).to_owned(),
        Some(Cell::Int(number)) => number.to_string(),
        _ => String::new(),
    };
    let (id, level) = (text(Some(id)), text(level));
    let [description, location] = [description, location].map(|span| text(span.map(Cell::Str)));
    set_rule(&id, &level, &description, event);
    set_location(&location, event);
    event.set_span(Field::Msg, message);
    members.finish(event);
    Ok(())
}

fn set_rule(id: &str, level: &str, description: &str, event: &mut Event<'_>) {
    event.set(Field::EventClass, &format!("wazuh.{id}"));
    event.set_text(Field::RuleId, id);
    event.set_text(Field::RuleName, description);
    event.set_text(Field::Name, description);
    match level.parse::<i64>() {
        Ok(level) => {
            event.set(Field::RuleLevel, level);
            event.set(Field::Severity, level.clamp(0, 10));
        }
        Err(_) => event.extra("rule", "level", level),
    }
}

/// `(agent) ip->path` names the machine; without it the alert is of the manager itself.
fn set_location(location: &str, event: &mut Event<'_>) {
    if location.is_empty() {
        return;
    }
    event.extra(WAZUH, "location", location);
    let agent = location.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    let Some((name, (ip, _))) = agent.and_then(|(name, rest)| Some((name, rest.split_once("->")?))) else { return };
    event.set_text(Field::HostName, name);
    if ip != "any" {
        event.set_text(Field::HostIp, ip);
    }
}

/// What may follow, under its name in the JSON form.
fn set(name: &str, value: &str, event: &mut Event<'_>) {
    let field = match name {
        "classification" => Field::RuleGroups,
        "src_ip" => Field::SrcIp,
        "dst_ip" => Field::DstIp,
        "acct" => Field::TargetUser,
        "file" => Field::FilePath,
        "src_port" | "dst_port" => {
            let field = if name == "src_port" { Field::SrcPort } else { Field::DstPort };
            return match value.parse::<u16>() {
                Ok(port) if !event.has(field) => event.set(field, i64::from(port)),
                _ => event.extra(WAZUH, name, value),
            };
        }
        _ => return event.extra(WAZUH, name, value),
    };
    match event.has(field) {
        true => event.extra(WAZUH, name, value),
        // Groups end in a comma.
        false => event.set_text(field, value.trim_end_matches(',')),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Choice, Offset, Time};

    const CONTEXT: Context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };

    fn check(line: &str, expected: &[(Field, &str)]) {
        let mut event = Event::new(line.as_bytes());
        crate::parse(Choice::Auto, line.as_bytes(), &CONTEXT, &mut event);
        for (field, text) in expected {
            assert_eq!(event.text(*field), Some(*text), "{field:?} of {line}");
        }
        assert_eq!((event.int(Field::RuleLevel), event.int(Field::Severity)), (Some(12), Some(10)), "{line}");
    }

    use Field::{EventClass, HostIp, HostName, Msg, Name, RuleGroups, RuleId, SrcIp, TargetUser};

    #[test]
    fn the_three_forms_say_the_same() {
        let same = [
            (EventClass, "wazuh.5710"),
            (RuleId, "5710"),
            (Name, "sshd: no - such user"),
            (HostName, "web-1"),
            (HostIp, "10.9.0.19"),
            (RuleGroups, "syslog,sshd"),
            (SrcIp, "192.0.2.77"),
            (TargetUser, "admin"),
            (Msg, "Invalid user \"admin\"; from here"),
        ];
        for line in [
            "<132>Nov 21 09:05:09 mgr ossec: Alert Level: 12; Rule: 5710 - sshd: no - such user; Location: (web-1) 10.9.0.19->/var/log/auth.log; classification: syslog,sshd,; srcip: 192.0.2.77; user: admin; Invalid user \"admin\"; from here",
            "<132>Nov 21 09:05:09 mgr ossec: crit=12 id=5710 description=\"sshd: no - such user\" component=\"(web-1) 10.9.0.19->/var/log/auth.log\", classification=\"syslog,sshd,\", src_ip=\"192.0.2.77\", acct=\"admin\", message=\"Invalid user \"admin\"; from here\"",
            r#"<132>Nov 21 09:05:09 mgr ossec: {"crit":12,"id":5710,"component":"(web-1) 10.9.0.19->/var/log/auth.log","classification":"syslog,sshd,","description":"sshd: no - such user","src_ip":"192.0.2.77","acct":"admin","message":"Invalid user \"admin\"; from here"}"#,
        ] {
            check(line, &same);
        }
    }

    #[test]
    fn a_description_can_look_like_what_follows() {
        let line = "Alert Level: 12; Rule: 87903 - Docker: Container x; Location: forged; classification: y,; started; Location: Wazuh-Docker; classification: docker,;";
        check(line, &[(Name, "Docker: Container x"), (RuleGroups, "y")]);
        let mut event = Event::new(line.as_bytes());
        parse(line.as_bytes(), &CONTEXT, &mut event).unwrap();
        assert_eq!(event.get(Field::ParseAmbiguous), Some(crate::Value::Bool(true)));
    }

    #[test]
    fn what_is_no_alert() {
        for line in [
            "Alert Level: 3",
            "Alert Level: 3; Rule: 1",
            "Alert Level: 3; Rule: 1 - x",
            "crit=3",
            "crit=3 id=\"",
            "{}",
            "crit=1 x",
        ] {
            assert!(parse(line.as_bytes(), &CONTEXT, &mut Event::new(line.as_bytes())).is_err(), "{line}");
        }
        assert_eq!(detect(b"critical: the disk is full"), 0);
        assert_eq!(detect(br#"{"crit":1,"message":"x"}"#), 0);
    }
}
