//! Cuts the body of a request into events, and says what is wrong with the first that is not one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::Answer;

/// What has to be looked at in an envelope; the rest is read when the event is parsed.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
}

/// The events of a body: objects, with or without white space between.
///
/// # Errors
/// The answer that names the first event that is not right; nothing of the request is taken then.
pub(super) fn cut(body: &[u8]) -> Result<Vec<&[u8]>, Answer> {
    let mut events = Vec::new();
    for value in serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>() {
        let at = events.len();
        let event = value.map_err(|_| Answer::InvalidFormat(at))?;
        check(event.get(), at)?;
        events.push(event.get().as_bytes());
    }
    if events.is_empty() { Err(Answer::NoData) } else { Ok(events) }
}

fn check(event: &str, at: usize) -> Result<(), Answer> {
    let envelope: Envelope<'_> = serde_json::from_str(event).map_err(|_| Answer::InvalidFormat(at))?;
    let Some(event) = envelope.event else { return Err(Answer::EventRequired(at)) };
    if let Ok(text) = serde_json::from_str::<Cow<'_, str>>(event.get())
        && text.trim().is_empty()
    {
        return Err(Answer::EventBlank(at));
    }
    match envelope.fields {
        Some(fields) if !are_flat(fields.get()) => Err(Answer::BadFields(at)),
        _ => Ok(()),
    }
}

/// Indexed fields hold values and lists of values, never objects.
fn are_flat(fields: &str) -> bool {
    let is_plain = |value: &RawValue| !value.get().starts_with(['{', '[']);
    serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(fields).is_ok_and(|fields| {
        fields.values().all(|value| match value.get().starts_with('[') {
            true => {
                serde_json::from_str::<Vec<&RawValue>>(value.get()).is_ok_and(|list| list.into_iter().all(is_plain))
            }
            false => is_plain(value),
        })
    })
}

/// What the query of a raw request says of all its lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    known: Vec<(&'static str, String)>,
}

impl About {
    pub(super) fn from_query(query: &str) -> Self {
        let mut about = About::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = ["time", "host", "source", "sourcetype", "index"].into_iter().find(|known| *known == name);
            match known {
                Some(known) if !value.is_empty() && !about.known.iter().any(|(name, _)| *name == known) => {
                    about.known.push((known, percent_decoded(value)));
                }
                _ => {}
            }
        }
        about
    }

    /// Writes the line as an event with what is known about it. Answers false when nothing is, or
    /// when the line cannot stand in JSON.
    pub(super) fn wrap(&self, line: &[u8], envelope: &mut Vec<u8>) -> bool {
        let Ok(line) = std::str::from_utf8(line) else { return false };
        if self.known.is_empty() {
            return false;
        }
        envelope.clear();
        envelope.extend_from_slice(b"{");
        for (name, value) in self.known.iter().map(|(name, value)| (*name, value.as_str())).chain([("event", line)]) {
            let before: &[u8] = if envelope.len() > 1 { b",\"" } else { b"\"" };
            envelope.extend_from_slice(before);
            envelope.extend_from_slice(name.as_bytes());
            envelope.extend_from_slice(b"\":");
            // Writing a string into memory cannot fail.
            let _ = serde_json::to_writer(&mut *envelope, value);
        }
        envelope.push(b'}');
        true
    }
}

/// Percent signs that lead nothing stay as they are; what is not UTF-8 is replaced.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = after.first_chunk::<2>().filter(|pair| *first == b'%' && pair.iter().all(u8::is_ascii_hexdigit));
        let decoded = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = after.get(if decoded.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<&[&str], Answer>) {
        let events = cut(body.as_bytes());
        let events = events.as_ref().map(|events| events.iter().map(|e| std::str::from_utf8(e).unwrap()).collect());
        assert_eq!(events, expected.as_ref().map(|events| events.to_vec()), "{body}");
    }

    #[test]
    fn bodies() {
        let (a, b) = (r#"{"event":"a"}"#, r#"{"time":"1.5","event":{"x":[1]},"fields":{"k":"v","m":["a",1]}}"#);
        check(&format!("{a}{b}"), Ok(&[a, b]));
        check(&format!(" {a}\r\n\n{b}\n"), Ok(&[a, b]));
        check("", Err(Answer::NoData));
        check(" \n", Err(Answer::NoData));
        check(r#"{"event":"first"}{"event":"second""#, Err(Answer::InvalidFormat(1)));
        check(&format!("{a}x"), Err(Answer::InvalidFormat(1)));
        check(&format!("[{a}]"), Err(Answer::InvalidFormat(0)));
        check("\"text\"", Err(Answer::InvalidFormat(0)));
        check(&format!("{a}{{\"time\":1}}"), Err(Answer::EventRequired(1)));
        check(r#"{"event":null}"#, Err(Answer::EventRequired(0)));
        check(r#"{"event":""}"#, Err(Answer::EventBlank(0)));
        check(r#"{"event":" \n"}"#, Err(Answer::EventBlank(0)));
        check(r#"{"event":"x","fields":{"a":{"b":1}}}"#, Err(Answer::BadFields(0)));
        check(r#"{"event":"x","fields":{"a":[{"b":1}]}}"#, Err(Answer::BadFields(0)));
        check(r#"{"event":"x","fields":7}"#, Err(Answer::BadFields(0)));
    }

    #[test]
    fn hostile_bodies_end_quickly() {
        for open in ["[", "{\"event\":[", "{\"event\":{\"a\":"] {
            assert!(cut(open.repeat(100_000).as_bytes()).is_err());
        }
        let deep = format!("{{\"event\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(cut(deep.as_bytes()).unwrap().len(), 1);
        assert!(cut(&[0xff; 1000]).is_err());
        assert!(cut(&[0; 1000]).is_err());
    }

    #[test]
    fn what_the_query_says_travels_with_the_line() {
        let about = About::from_query("channel=1&host=web%201&source=&sourcetype=a+b%zz&host=other");
        let mut envelope = Vec::new();
        assert!(about.wrap(b"say \"hi\"", &mut envelope));
        let expected = r#"{"host":"web 1","sourcetype":"a b%zz","event":"say \"hi\""}"#;
        assert_eq!(String::from_utf8(envelope.clone()).unwrap(), expected);
        assert!(!about.wrap(b"\xff", &mut envelope));
        assert!(!About::from_query("channel=1").wrap(b"line", &mut envelope));
    }
}
