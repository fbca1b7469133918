//! Masks the secrets of an event before it is sealed: what is under a lock for years cannot be taken back.
//!
//! What stands for a secret is `[masked/RULE/BYTES/HASH]`: the hash is salted, so that the same secret can be
//! recognized by who has the salt, and guessed by nobody else. A secret that was found once is masked wherever
//! it stands in texts of the event; what says who did what to what is no such text, or a label named `token`
//! could blank the evidence about its own container. Invariant: an event without a secret is written as it is,
//! with one look over its line.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use aws_lc_rs::hmac;
use wharfinger_formats::{Event, Extra, Field, Value};

use super::names::{MASK, STAND_IN_BYTES_MAX, is_value, rule_of, stand_in_len};
use super::secrets::{Secret, find, is_suspect};
use crate::sinks::emitter::Emitter;

const SALT_BYTES: usize = 32;
/// A shorter one is masked where its name stands, and not wherever its letters do.
const REPEATED_BYTES_MIN: usize = 6;
/// Secrets of an event that are looked for everywhere.
const REPEATED_MAX: usize = 16;
/// The group of what is said about a masked line.
const GROUP: &str = "archive";
/// Fields that people or programs write as they like. All others say what happened to whom: a secret of
/// elsewhere in the event is not looked for in them.
const FREE: &[Field] = &[
    Field::Msg,
    Field::Reason,
    Field::ExecCommand,
    Field::HttpUrl,
    Field::FileName,
    Field::FilePath,
    Field::ParseError,
];

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
            Ok(salt) if salt.len() == SALT_BYTES => {
                closed(path)?;
                salt
            }
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
                _ => {
                    let known = if FREE.contains(&field) { &*known } else { &[] };
                    self.value(value, known, &mut count, |value| other.set(field, value));
                }
            }
        }
        for extra in event.extras() {
            let name = self.masked(extra.name.as_bytes(), &[], &mut count);
            let name = name.as_deref().map_or(Cow::Borrowed(extra.name), String::from_utf8_lossy);
            match whole(&extra) {
                Some((rule, text)) => {
                    count += 1;
                    other.extra(extra.group, name, &*self.stand_in(text.as_bytes(), rule));
                }
                None => self.value(extra.value, &known, &mut count, |value| other.extra(extra.group, &name, value)),
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
            let repeats = memchr::memmem::find_iter(text, &known.text).map(|at| at..at + known.text.len());
            let repeats = repeats.filter(|range| !is_member_name(text, range));
            secrets.extend(repeats.map(|range| Secret { range, rule: known.rule, quotes: None }));
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

/// Whoever reads the salt can guess secrets: it is read by its owner alone.
fn closed(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(io::Error::other(format!("others may read the salt `{path}` (mode {mode:o}): `chmod 600 {path}`")))
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
    fs::rename(&part, path)?;
    // A salt that a crash took back would give the same secrets another sign.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Whether a piece of a text is the name of a value: `"piece":`, `piece=`.
fn is_member_name(text: &[u8], piece: &Range<usize>) -> bool {
    let before = text[..piece.start].last();
    let behind = &text[piece.end..];
    let slashes = behind.iter().take_while(|byte| **byte == b'\\').count();
    match behind.get(slashes) {
        Some(quote) if b"\"'".contains(quote) && before == Some(quote) => {
            let mut behind = behind[slashes + 1..].iter().skip_while(|byte| byte.is_ascii_whitespace());
            behind.next().is_some_and(|byte| b":=".contains(byte))
        }
        Some(b'=') => !before.is_some_and(|byte| byte.is_ascii_alphanumeric()),
        _ => false,
    }
}

/// Whether that piece is inside of what stands for a secret.
fn is_stand_in(text: &[u8], range: &Range<usize>) -> bool {
    let from = range.start.saturating_sub(STAND_IN_BYTES_MAX);
    let before = &text[from..text.len().min(range.start + MASK.len())];
    let Some(at) = memchr::memmem::rfind(before, MASK.as_bytes()).map(|at| from + at) else { return false };
    stand_in_len(&text[at..]).is_some_and(|len| at <= range.start && range.end <= at + len)
}

/// Secrets of the event that are to be masked wherever they stand. What stands in a field that says who did
/// what is none of them, and the name of a value neither: they may be guessed, and hide the evidence.
fn known(event: &Event<'_>) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut keep = |text: &[u8], rule| {
        let is_new = known.len() < REPEATED_MAX && text.len() >= REPEATED_BYTES_MIN;
        let is_new = is_new && stand_in_len(text) != Some(text.len()) && known.iter().all(|known| known.text != text);
        if is_new && !is_evidence(event, text) {
            known.push(Known { text: text.to_vec(), rule });
        }
    };
    for extra in event.extras() {
        if let Some((rule, text)) = whole(&extra) {
            keep(text.as_bytes(), rule);
        }
    }
    let texts = event.fields().map(|(_, value)| value).chain(event.extras().map(|extra| extra.value));
    let texts = texts.filter_map(|value| match value {
        Value::Str(text) | Value::Json(text) => Some(text.as_bytes()),
        _ => None,
    });
    let names = event.extras().map(|extra| extra.name.as_bytes());
    for text in std::iter::once(event.raw()).chain(texts).chain(names) {
        find(text).into_iter().for_each(|secret| keep(&text[secret.range], secret.rule));
    }
    known
}

/// Whether a text is part of a field that says who did what, or the name of an extra.
fn is_evidence(event: &Event<'_>, text: &[u8]) -> bool {
    let has = |value| match value {
        Value::Str(value) | Value::Json(value) => memchr::memmem::find(value.as_bytes(), text).is_some(),
        Value::Int(value) => value.to_string().as_bytes() == text,
        _ => false,
    };
    event.fields().any(|(field, value)| !FREE.contains(&field) && has(value))
        || event.extras().any(|extra| extra.name.as_bytes() == text)
}

/// The value of an extra whose name says it is a secret, unless it says nothing.
fn whole<'e>(extra: &Extra<'e>) -> Option<(&'static str, Cow<'e, str>)> {
    let rule = rule_of(extra.name.as_bytes())?;
    let text = match extra.value {
        Value::Str("null") | Value::Json("null") => return None,
        Value::Str(text) | Value::Json(text) => Cow::Borrowed(text),
        Value::Int(number) => Cow::Owned(number.to_string()),
        _ => return None,
    };
    let is_one = !text.is_empty() && stand_in_len(text.as_bytes()) != Some(text.len());
    (is_one && is_value(extra.name.as_bytes(), text.as_bytes())).then_some((rule, text))
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

    /// A label named `token` masks itself, and nothing that is said about its container.
    #[test]
    fn a_planted_secret_blanks_no_evidence() {
        for planted in ["evil.io/xmrig", "container.create", "xmrig-1", "evil.io", "Attributes", "10.1.2.3"] {
            let raw = format!(
                r#"{{"Action":"create","Actor":{{"Attributes":{{"image":"evil.io/xmrig","name":"xmrig-1","x.token":"{planted}"}}}}}}"#
            );
            let mut event = Event::new(raw.as_bytes());
            let fields = [
                (Field::EventClass, "container.create"),
                (Field::ImageRef, "evil.io/xmrig"),
                (Field::ContainerName, "xmrig-1"),
                (Field::SrcIp, "10.1.2.3"),
                (Field::Msg, "create evil.io/xmrig as xmrig-1"),
            ];
            fields.into_iter().for_each(|(field, text)| event.set(field, text));
            event.extra("label", "x.token", planted);
            let line = line(&event);
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            for (field, text) in fields {
                assert_eq!(read[field.name()], text, "{planted}: {line}");
            }
            let raw: serde_json::Value = serde_json::from_str(read["raw"].as_str().unwrap()).unwrap();
            assert_eq!(raw["Actor"]["Attributes"]["image"], "evil.io/xmrig", "{line}");
            assert!(raw["Actor"]["Attributes"]["x.token"].as_str().unwrap().starts_with("[masked/token/"), "{line}");
        }
        let mut event = Event::new(br#"{"password":"password","POSTGRES_PASSWORD":"postgres","image":"postgres"}"#);
        event.set(Field::ImageRef, "postgres");
        let line = line(&event);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        let raw: serde_json::Value = serde_json::from_str(read["raw"].as_str().unwrap()).unwrap();
        assert_eq!((&read["image.ref"], &raw["image"]), (&"postgres".into(), &"postgres".into()), "{line}");
        assert!(raw["password"].as_str().unwrap().starts_with("[masked/password/8/"), "{line}");
    }

    #[test]
    fn what_only_begins_like_a_stand_in_is_masked() {
        let mut event = Event::new(b"password=[masked/hunter2 token=[masked/token/5/0123456789abcdef]x");
        event.extra("env", "DB_PASSWORD", "[masked/s3cr3t99");
        event.extra("label", "postgres://u:inaname7@h", "x");
        let line = line(&event);
        for secret in ["hunter2", "s3cr3t99", "inaname7"] {
            assert!(!line.contains(secret), "{line}");
        }
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["fields"]["archive.masked"], 4, "{line}");
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
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("salt");
        let signs = [0, 1].map(|_| Masker::open(&path).unwrap().stand_in(b"x", "token"));
        assert_eq!(signs[0], signs[1]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Masker::open(&path).err().unwrap().to_string().contains("chmod 600"));
        fs::write(&path, "short").unwrap();
        assert!(Masker::open(&path).is_err());
    }
}
