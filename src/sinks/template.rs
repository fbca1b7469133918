//! Templates: JSON with places that an event fills.
//!
//! ```text
//! {"text": "{msg} on {vm.name:100}", "at": {time.millis}, "event": {record}}
//! ```
//!
//! A place is a name in braces, right behind the brace, which no JSON has: a field, `fields.group.name` for what has
//! no field, and what [`Place`] lists. Within quotes it is its text, escaped; outside it is a JSON value, `null`
//! where the event has none. `:100` cuts a text after so many characters, also that of a record within quotes.
//!
//! Invariant: nothing that an event says ends a text, a value or a line of the template.

use wharfinger_formats::{Event, Field, Kind, Time, Value};

use super::emitter::Emitter;

/// A template, ready to be filled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Place { place: Place, chars_max: usize, is_quoted: bool },
}

#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// `{record}`: what the sink's format makes of the event; an object if it is one.
    Record,
    /// `{secret}`: the sink's option.
    Secret,
    Field(Field),
    /// `{time.millis}`: milliseconds since 1970, of any field that is a time.
    Millis(Field),
    /// `{time.date}`: `2026-11-21` in UTC, of any field that is a time.
    Date(Field),
    /// `{time.hour}`: `09` in UTC.
    Hour(Field),
    /// `{severity.word}`: `info`, `warning`, `error`, `critical`.
    SeverityWord,
    /// `{fields.group.name}`.
    Extra(String),
}

const HINT: &str = "a field such as `{vm.name}`, `{fields.group.name}`, `{record}`, `{secret}`, `{time.millis}`, \
                    `{time.date}`, `{time.hour}` or `{severity.word}`; `wharfinger list fields` names all fields";

/// What stands around a place.
pub(super) struct Filling<'f> {
    pub(super) format: Emitter,
    pub(super) secret: &'f str,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A place is not closed or names nothing: what is wrong, and what may stand there.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let (mut parts, mut before, mut rest) = (Vec::new(), String::new(), text);
        let mut is_quoted = false;
        while let Some(at) = rest.find('{') {
            let (text, behind) = (&rest[..at], &rest[at + 1..]);
            before.push_str(text);
            is_quoted = quotes(text, is_quoted);
            if !behind.starts_with(|c: char| c.is_ascii_lowercase()) {
                before.push('{');
                rest = behind;
                continue;
            }
            let name = behind.split_once('}');
            let (name, behind) = name.ok_or_else(|| format!("`{{{}` is not closed", start(behind)))?;
            let (place, chars_max) = place(name).ok_or_else(|| format!("`{{{name}}}` names nothing: {HINT}"))?;
            if chars_max < usize::MAX && (place == Place::Secret || place == Place::Record && !is_quoted) {
                let hint = "only texts can: write `\"{record:100}\"`, within quotes, or leave the number out";
                return Err(format!("`{{{name}}}` cannot be cut: {hint}"));
            }
            if !before.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut before)));
            }
            parts.push(Part::Place { place, chars_max, is_quoted });
            rest = behind;
        }
        before.push_str(rest);
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        Ok(Template { parts })
    }

    /// Reads a template of a plain text: places are the event's own.
    ///
    /// # Errors
    /// As [`Template::parse`]; a record or a secret is no text.
    pub(super) fn parse_text(text: &str) -> Result<Template, String> {
        let template = Template::parse(text)?;
        let is_of_event = |part: &Part| !matches!(part, Part::Place { place: Place::Record | Place::Secret, .. });
        if template.parts.iter().all(is_of_event) {
            return Ok(template);
        }
        Err("`{record}` and `{secret}` are for bodies: name a field, such as `{vm.name}`".to_owned())
    }

    /// Whether it is the same for every event.
    pub(super) fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// As plain text; none if the event lacks something that it names, or nothing is left.
    pub(super) fn text(&self, event: &Event<'_>) -> Option<String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place { place, chars_max, .. } => out.push_str(cut(&place.text(event)?, *chars_max)),
            }
        }
        Some(out).filter(|out| !out.trim().is_empty())
    }

    /// The template that is the record alone, as a JSON value.
    pub(super) fn record() -> Template {
        Template { parts: vec![Part::Place { place: Place::Record, chars_max: usize::MAX, is_quoted: false }] }
    }

    /// Whether it holds the secret, which then must be there.
    pub(super) fn has_secret(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Place { place: Place::Secret, .. }))
    }

    /// Appends what an event makes of it.
    pub(super) fn fill(&self, event: &Event<'_>, filling: &Filling<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Place { place, chars_max, is_quoted } => {
                    let start = out.len();
                    place.write(event, filling, *chars_max, out);
                    if *is_quoted {
                        unquote(start, out);
                    }
                }
            }
        }
    }
}

impl Place {
    fn text(&self, event: &Event<'_>) -> Option<String> {
        let value = match self {
            Place::Record | Place::Secret => return None,
            Place::SeverityWord => return Some(severity_word(event).to_owned()),
            Place::Millis(field) => return Some(time(event, *field)?.millis().to_string()),
            Place::Date(field) => return Some(date(time(event, *field)?)),
            Place::Hour(field) => return Some(hour(time(event, *field)?)),
            Place::Field(Field::Time) => Value::Time(time(event, Field::Time)?),
            Place::Field(field) => event.get(*field)?,
            Place::Extra(name) => extra(event, name)?,
        };
        Some(match value {
            Value::Str(text) | Value::Json(text) => text.to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Time(time) => {
                let mut text = Vec::new();
                time.write_rfc3339(6, &mut text);
                String::from_utf8(text).ok()?
            }
        })
    }

    /// Appends a JSON value.
    fn write(&self, event: &Event<'_>, filling: &Filling<'_>, chars_max: usize, out: &mut Vec<u8>) {
        let text = |text: &str, out: &mut Vec<u8>| string(cut(text, chars_max), out);
        match self {
            Place::Record if filling.format.is_object() && chars_max == usize::MAX => filling.format.emit(event, out),
            Place::Record => {
                let mut record = Vec::new();
                filling.format.emit(event, &mut record);
                text(&String::from_utf8_lossy(&record), out);
            }
            Place::Secret => string(filling.secret, out),
            Place::SeverityWord => string(severity_word(event), out),
            Place::Millis(field) => match time(event, *field) {
                Some(time) => out.extend_from_slice(itoa::Buffer::new().format(time.millis()).as_bytes()),
                None => out.extend_from_slice(b"null"),
            },
            Place::Date(_) | Place::Hour(_) => match self.text(event) {
                Some(of_time) => text(&of_time, out),
                None => out.extend_from_slice(b"null"),
            },
            Place::Field(Field::Time) => value(time(event, Field::Time).map(Value::Time), text, out),
            Place::Field(field) => value(event.get(*field), text, out),
            Place::Extra(name) => value(extra(event, name), text, out),
        }
    }
}

/// `group.name`, or the name of what has no group.
fn extra<'e>(event: &'e Event<'_>, wanted: &str) -> Option<Value<'e>> {
    let is_it = |group: &str, name: &str| match wanted.strip_prefix(group).filter(|_| !group.is_empty()) {
        Some(rest) => rest.strip_prefix('.') == Some(name),
        None => group.is_empty() && wanted == name,
    };
    event.extras().find(|extra| is_it(extra.group, extra.name)).map(|extra| extra.value)
}

/// A time of an event; where it has none of its own, that of receipt.
fn time(event: &Event<'_>, field: Field) -> Option<Time> {
    let received = || event.time(Field::ObservedTime).filter(|_| field == Field::Time);
    event.time(field).or_else(received)
}

fn value(value: Option<Value<'_>>, text: impl Fn(&str, &mut Vec<u8>), out: &mut Vec<u8>) {
    match value {
        None => out.extend_from_slice(b"null"),
        // JSON of the input stays a text: it may hold line ends.
        Some(Value::Str(value) | Value::Json(value)) => text(value, out),
        Some(Value::Int(number)) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Some(Value::Bool(truth)) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Some(Value::Time(time)) => {
            out.push(b'"');
            // Receivers know microseconds; some refuse more.
            time.write_rfc3339(6, out);
            out.push(b'"');
        }
    }
}

/// The words of PagerDuty and many others; those of CEF's "low", "medium", "high" and "very high".
fn severity_word(event: &Event<'_>) -> &'static str {
    match event.int(Field::Severity).unwrap_or_default() {
        ..=3 => "info",
        4..=6 => "warning",
        7..=8 => "error",
        9.. => "critical",
    }
}

/// What a name means, and after how many characters its text is cut.
fn place(name: &str) -> Option<(Place, usize)> {
    let (name, chars_max) = match name.rsplit_once(':') {
        Some((name, digits)) => (name, digits.parse().ok().filter(|max| *max > 0)?),
        None => (name, usize::MAX),
    };
    let place = match name {
        "record" => Place::Record,
        "secret" => Place::Secret,
        "severity.word" => Place::SeverityWord,
        _ => match (name.strip_prefix("fields."), name.rsplit_once('.').and_then(of_time)) {
            (Some(extra), _) if !extra.is_empty() => Place::Extra(extra.to_owned()),
            (_, Some(place)) => place,
            _ => Place::Field(Field::from_name(name)?),
        },
    };
    Some((place, chars_max))
}

/// What is made of a time.
fn of_time((field, what): (&str, &str)) -> Option<Place> {
    let field = Field::from_name(field).filter(|field| field.kind() == Kind::Time)?;
    match what {
        "millis" => Some(Place::Millis(field)),
        "date" => Some(Place::Date(field)),
        "hour" => Some(Place::Hour(field)),
        _ => None,
    }
}

fn date(time: Time) -> String {
    let civil = time.civil();
    format!("{:04}-{:02}-{:02}", civil.year, civil.month, civil.day)
}

fn hour(time: Time) -> String {
    format!("{:02}", time.civil().hour)
}

/// Whether the text behind `text` stands within quotes, if `text` did or did not.
fn quotes(text: &str, mut is_quoted: bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if is_quoted => drop(bytes.next()),
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    is_quoted
}

/// The value from `start` on as a piece of a JSON string: what is none becomes the text of it.
fn unquote(start: usize, out: &mut Vec<u8>) {
    match out.get(start) {
        Some(b'"') => {
            out.pop();
            out.remove(start);
        }
        Some(b'n') => out.truncate(start),
        Some(b'{') => {
            let object = out.split_off(start);
            string(&String::from_utf8_lossy(&object), out);
            unquote(start, out);
        }
        _ => {}
    }
}

fn cut(text: &str, chars_max: usize) -> &str {
    // No text has more characters than bytes.
    if text.len() <= chars_max {
        return text;
    }
    text.char_indices().nth(chars_max).map_or(text, |(at, _)| &text[..at])
}

fn start(text: &str) -> &str {
    cut(text, 20)
}

/// A JSON string.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    // Text into a vector: cannot fail.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(template: &str, format: &str, event: &Event<'_>) -> String {
        let mut out = Vec::new();
        let filling = Filling { format: Emitter::named(format).unwrap(), secret: "s\"1" };
        Template::parse(template).unwrap().fill(event, &filling, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn event() -> Event<'static> {
        let mut event = Event::new(b"raw \"bytes\"\nand \xff");
        event.set(Field::Time, Time(1_795_251_800_158_734_145));
        event.set(Field::VmName, "a\"b\n\\{msg}\u{2028}");
        event.set(Field::Severity, 7);
        event.set(Field::Replayed, true);
        event.extra("finding", "id", "f-1");
        event.extra("", "plain", "p");
        event
    }

    #[test]
    fn places_within_quotes_and_outside() {
        for (template, expected) in [
            ("{}", "{}"),
            (r#"{"a": {}, "b": { }}"#, r#"{"a": {}, "b": { }}"#),
            ("{severity}", "7"),
            (r#""{severity}""#, r#""7""#),
            ("{severity.word}", r#""error""#),
            ("{replayed}", "true"),
            ("{time}", r#""2026-11-21T09:03:20.158734Z""#),
            (r#""at {time}""#, r#""at 2026-11-21T09:03:20.158734Z""#),
            ("{time.millis}", "1795251800158"),
            (r#""{time.millis}""#, r#""1795251800158""#),
            ("{vm.name}", "\"a\\\"b\\n\\\\{msg}\u{2028}\""),
            (r#""on {vm.name}!""#, "\"on a\\\"b\\n\\\\{msg}\u{2028}!\""),
            ("{vm.name:2}", r#""a\"""#),
            (r#""{vm.name:2}""#, r#""a\"""#),
            ("{msg}{start.millis}", "nullnull"),
            (r#""{msg}{start.millis}""#, r#""""#),
            ("{fields.finding.id}{fields.plain}", r#""f-1""p""#),
            ("{fields.finding}", "null"),
            ("{secret}", r#""s\"1""#),
            (r#"{"\"{fields.plain}": "\\"}{fields.plain}"#, r#"{"\"p": "\\"}"p""#),
            ("{record}", "\"raw \\\"bytes\\\"\\\\nand \u{fffd}\""),
            (r#""{record:5}""#, r#""raw \"""#),
        ] {
            assert_eq!(filled(template, "raw", &event()), expected, "{template}");
        }
        let object = filled("{record}", "json", &event());
        assert!(object.starts_with('{'));
        let text = filled(r#""{record}""#, "json", &event());
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), object);
    }

    #[test]
    fn plain_texts() {
        for (template, expected) in [
            ("main", Some("main")),
            ("vm_{severity}", Some("vm_7")),
            ("{severity.word}-{vm.name:1}-{fields.plain}-{replayed}", Some("error-a-p-true")),
            ("{time}", Some("2026-11-21T09:03:20.158734Z")),
            ("{time.millis}", Some("1795251800158")),
            ("a {vm.group}", None),
            ("{fields.none}", None),
            (" ", None),
        ] {
            let template = Template::parse_text(template).unwrap();
            assert_eq!(template.text(&event()).as_deref(), expected, "{template:?}");
        }
        assert!(
            Template::parse_text("a").unwrap().is_constant() && !Template::parse_text("{msg}").unwrap().is_constant()
        );
        assert!(Template::parse_text("{record}").is_err() && Template::parse_text("x{secret}").is_err());
    }

    #[test]
    fn a_mistake_is_named() {
        for (template, expected) in [
            ("{vm.nam}", "`{vm.nam}` names nothing"),
            ("{vm.name", "`{vm.name` is not closed"),
            ("{vm.name:}", "names nothing"),
            ("{vm.name:0}", "names nothing"),
            ("{vm.name.millis}", "names nothing"),
            ("{fields.}", "names nothing"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(expected), "{template}: {error}");
        }
    }

    /// Whatever a field holds, the template stays one JSON value on one line.
    #[test]
    fn nothing_ends_a_value_or_a_line() {
        let template = r#"{"a":"{msg}","b":{msg},"c":"{record}","d":{record},"e":"{fields.g.n:3}"}"#;
        let mut seed = 1_u64;
        for _ in 0..2_000 {
            let mut text = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push(
                    ['"', '\\', '\n', '\r', '{', '}', '\0', '\u{2028}', 'n', ',', 'é', '\u{7f}']
                        [(seed >> 33) as usize % 12],
                );
            }
            let mut event = Event::new(text.as_bytes());
            event.set(Field::Msg, text.as_str());
            event.extra("g", "n", text.as_str());
            for format in ["raw", "json", "cef"] {
                let line = filled(template, format, &event);
                assert!(!line.contains(['\n', '\r']), "{line:?}");
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!((&value["a"], &value["b"]), (&text.as_str().into(), &text.as_str().into()));
                assert_eq!(value["e"], text.chars().take(3).collect::<String>());
                assert_eq!(value.as_object().unwrap().len(), 5);
            }
        }
    }
}
