//! Masks the secrets of an event before it is sealed: what is under a lock for years cannot be taken back.
//!
//! What stands for a secret is `[masked/RULE/BYTES/HASH]`: the hash is salted, so that the same secret can be
//! recognized by who has the salt, and guessed by nobody else. A secret that was found once is masked wherever
//! it stands in the event. Invariant: an event without one is written as it is, with one look over its line.

use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::hmac;
use wharfinger_formats::{Event, Field, Value};

use super::secrets::{MASK, Secret, find, is_suspect, rule_of};
use crate::sinks::emitter::Emitter;

const SALT_BYTES: usize = 32;
/// A shorter one is masked where its name stands, and not wherever its letters do.
const REPEATED_BYTES_MIN: usize = 6;
/// Secrets of an event that are looked for everywhere.
const REPEATED_MAX: usize = 16;
/// The group of what is said about a masked line.
const GROUP: &str = "archive";

/// See above.
pub(super) struct Masker {
    salt: hmac::Key,
}

/// What is masked wherever it stands.
struct Known {
    text: Vec<u8>,
    rule: &'static str,
}

impl Masker {
    /// With the salt in a file, which is made if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Masker> {
        let salt = match fs::read(path) {
            Ok(salt) if salt.len() == SALT_BYTES => salt,
            Ok(_) => return Err(io::Error::other(format!("`{}` is no salt of {SALT_BYTES} bytes", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut salt = vec![0; SALT_BYTES];
                getrandom::fill(&mut salt).map_err(|error| io::Error::other(error.to_string()))?;
                keep(path, &salt)?;
                salt
            }
            Err(error) => return Err(error),
        };
        Ok(Masker { salt: hmac::Key::new(hmac::HMAC_SHA256, &salt) })
    }

    /// Writes the line of the event again, if there are secrets in it.
    pub(super) fn mask(&self, event: &Event<'_>, emitter: &Emitter, line: &mut Vec<u8>) {
        // The line holds every text of the event. Bytes that are no text stand in it as base64.
        let is_text = std::str::from_utf8(event.raw()).is_ok();
        if !is_suspect(line) && (is_text || !is_suspect(event.raw())) {
            return;
        }
        let known = known(event);
        let mut count = 0;
        let raw = self.masked(event.raw(), &known, &mut count);
        let raw = raw.as_deref().unwrap_or(event.raw());
        let mut other = Event::new(raw);
        for (field, value) in event.fields() {
            match value {
                _ if field.is_reserved() || field == Field::Source => other.set(field, value),
                _ => self.value(value, &known, &mut count, |value| other.set(field, value)),
            }
        }
        for extra in event.extras() {
            let whole = rule_of(extra.name.as_bytes()).and_then(|rule| Some((rule, whole(extra.value)?)));
            match whole {
                Some((rule, text)) => {
                    count += 1;
                    other.extra(extra.group, extra.name, &*self.stand_in(text.as_bytes(), rule));
                }
                None => {
                    self.value(extra.value, &known, &mut count, |value| other.extra(extra.group, extra.name, value))
                }
            }
        }
        if count == 0 {
            return;
        }
        other.extra(GROUP, "masked", count);
        other.extra(GROUP, "raw_bytes", i64::try_from(event.raw().len()).unwrap_or(i64::MAX));
        other.extra(GROUP, "raw_hmac_sha256", &*hex(hmac::sign(&self.salt, event.raw()).as_ref()));
        line.clear();
        emitter.emit(&other, line);
    }

    /// Gives a value on, masked if it holds a secret.
    fn value(&self, value: Value<'_>, known: &[Known], count: &mut i64, set: impl FnOnce(Value<'_>)) {
        let (Value::Str(text) | Value::Json(text)) = value else { return set(value) };
        let Some(masked) = self.masked(text.as_bytes(), known, count) else { return set(value) };
        let masked = String::from_utf8_lossy(&masked);
        match value {
            // What a mask has made of it may be no JSON.
            Value::Json(_) if serde_json::from_str::<serde::de::IgnoredAny>(&masked).is_ok() => {
                set(Value::Json(&masked))
            }
            _ => set(Value::Str(&masked)),
        }
    }

    /// The text with its secrets masked; none if it has none.
    fn masked(&self, text: &[u8], known: &[Known], count: &mut i64) -> Option<Vec<u8>> {
        let mut secrets = find(text);
        for known in known {
            let repeats = memchr::memmem::find_iter(text, &known.text);
            secrets.extend(repeats.map(|at| Secret {
                range: at..at + known.text.len(),
                rule: known.rule,
                quotes: None,
            }));
        }
        secrets.sort_by_key(|secret| (secret.range.start, usize::MAX - secret.range.end));
        let (mut masked, mut from) = (Vec::new(), 0);
        for Secret { range, rule, quotes } in secrets {
            // What stands for a secret is left, and what is masked already.
            let range = range.start.max(from)..range.end;
            if range.is_empty() || is_stand_in(text, &range) {
                continue;
            }
            masked.extend_from_slice(&text[from..range.start]);
            let quote = quotes.map(|slashes| "\\".repeat(slashes) + "\"").unwrap_or_default();
            masked.extend_from_slice(quote.as_bytes());
            masked.extend_from_slice(self.stand_in(&text[range.clone()], rule).as_bytes());
            masked.extend_from_slice(quote.as_bytes());
            from = range.end;
            *count += 1;
        }
        masked.extend_from_slice(&text[from..]);
        (from > 0).then_some(masked)
    }

    fn stand_in(&self, secret: &[u8], rule: &str) -> String {
        let hash = hmac::sign(&self.salt, secret);
        let short = hash.as_ref().get(..8).unwrap_or_default();
        format!("{MASK}{rule}/{}/{}]", secret.len(), hex(short))
    }
}

/// Writes the salt down, for its owner alone: whole or not at all.
fn keep(path: &Path, salt: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(salt)?;
    file.sync_all()?;
    fs::rename(&part, path)
}

/// Whether that piece is inside of what stands for a secret.
fn is_stand_in(text: &[u8], range: &Range<usize>) -> bool {
    let before = &text[range.start.saturating_sub(64)..range.start];
    memchr::memmem::rfind(before, MASK.as_bytes()).is_some_and(|at| memchr::memchr(b']', &before[at..]).is_none())
}

/// Secrets of the event that are to be masked wherever they stand.
fn known(event: &Event<'_>) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut keep = |text: &[u8], rule| {
        let is_new = known.len() < REPEATED_MAX && text.len() >= REPEATED_BYTES_MIN;
        if is_new && !text.starts_with(MASK.as_bytes()) && known.iter().all(|known| known.text != text) {
            known.push(Known { text: text.to_vec(), rule });
        }
    };
    for extra in event.extras() {
        if let Some((rule, text)) = rule_of(extra.name.as_bytes()).and_then(|rule| Some((rule, whole(extra.value)?))) {
            keep(text.as_bytes(), rule);
        }
    }
    let texts = event.fields().map(|(_, value)| value).chain(event.extras().map(|extra| extra.value));
    let texts = texts.filter_map(|value| match value {
        Value::Str(text) | Value::Json(text) => Some(text.as_bytes()),
        _ => None,
    });
    for text in std::iter::once(event.raw()).chain(texts) {
        find(text).into_iter().for_each(|secret| keep(&text[secret.range], secret.rule));
    }
    known
}

/// The value of a name that says it is a secret, unless it says nothing.
fn whole(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Str(text) | Value::Json(text) if !text.is_empty() && !text.starts_with(MASK) && text != "null" => {
            Some(Cow::Borrowed(text))
        }
        Value::Int(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn masker() -> Masker {
        Masker { salt: hmac::Key::new(hmac::HMAC_SHA256, &[7; SALT_BYTES]) }
    }

    fn line(event: &Event<'_>) -> String {
        let (emitter, mut line) = (Emitter::native(), Vec::new());
        emitter.emit(event, &mut line);
        masker().mask(event, &emitter, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_secret_is_nowhere_in_the_line() {
        let raw = br#"{"cmd":["mysql","--password","hunter2"],"env":"cs1=s3cr3t99 n=\u0068"}"#;
        let mut event = Event::new(raw);
        event.set(Field::EventId, "00000000000000aa-0000000000000005");
        event.set(Field::Msg, "login of app with hunter2 and s3cr3t99 at db");
        event.extra("env", "DB_PASSWORD", "s3cr3t99");
        event.extra("env", "API_TOKEN", 12_345_678_i64);
        event.extra("env", "auth", Value::Json(r#"{"token":12345678,"ttl":9}"#));
        let line = line(&event);
        for secret in ["hunter2", "s3cr3t99", "12345678"] {
            assert!(!line.contains(secret), "{secret}: {line}");
        }
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["event_id"], "00000000000000aa-0000000000000005");
        assert!(read["fields"]["env.auth"]["token"].as_str().unwrap().starts_with("[masked/token/8/"), "{line}");
        assert_eq!(read["fields"]["env.auth"]["ttl"], 9);
        assert_eq!(read["fields"]["archive.masked"], 7);
        assert_eq!(read["fields"]["archive.raw_bytes"], raw.len());
        assert_eq!(read["fields"]["archive.raw_hmac_sha256"], hex(hmac::sign(&masker().salt, raw).as_ref()));
        // The same secret has the same sign, another one another.
        let sign = masker().stand_in(b"hunter2", "password");
        assert_eq!(line.matches(&sign).count(), 2, "{line}");
        assert_ne!(masker().stand_in(b"hunter3", "password"), sign);
    }

    #[test]
    fn a_line_without_secrets_is_the_same_bytes_and_a_masked_one_stays_as_it_is() {
        let mut event = Event::new(b"Failed password for root from 10.0.0.1 port 22");
        event.extra("a", "b", "c");
        let (emitter, mut plain) = (Emitter::native(), Vec::new());
        emitter.emit(&event, &mut plain);
        assert_eq!(line(&event).as_bytes(), plain);

        let mut event = Event::new(b"token=abcdefgh");
        event.set(Field::Msg, "token=abcdefgh");
        let once = line(&event);
        let read: serde_json::Value = serde_json::from_str(&once).unwrap();
        let raw = read["raw"].as_str().unwrap().to_owned();
        let mut event = Event::new(raw.as_bytes());
        event.set(Field::Msg, &*raw);
        assert!(!line(&event).contains("archive.masked"));
    }

    #[test]
    fn bytes_that_are_no_text_are_looked_into_as_well() {
        let event = Event::new(b"\xff password=hunter2 \xfe");
        let line = line(&event);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["fields"]["archive.masked"], 1, "{line}");
    }

    #[test]
    fn the_salt_is_kept_and_closed() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("salt");
        let signs = [0, 1].map(|_| Masker::open(&path).unwrap().stand_in(b"x", "token"));
        assert_eq!(signs[0], signs[1]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(Masker::open(&path).is_err());
    }
}
