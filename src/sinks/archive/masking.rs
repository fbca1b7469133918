//! Masks the secrets of an event before it is sealed: what is under a lock for years cannot be taken back.
//!
//! Each is hashed with a salt of this archive, so that the same secret can be recognized by who has the salt, and
//! guessed by nobody else. Invariant: an event without a secret is written as it is, with one look over its line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use wharfinger_formats::Event;

use crate::sinks::emitter::Emitter;
use crate::sinks::redact::{How, Masker, Rule, hex, is_suspect};

const SALT_BYTES: usize = 32;
/// The group of what is said about a masked line.
const GROUP: &str = "archive";

/// See above.
pub(super) struct Masking {
    masker: Masker,
    salt: Arc<hmac::Key>,
}

impl Masking {
    /// With the salt in a file, which is made if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Masking> {
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
        Ok(Masking::salted(&salt))
    }

    fn salted(salt: &[u8]) -> Masking {
        let salt = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, salt));
        let masker = Masker::new([Rule::Passwords, Rule::Tokens].map(|rule| (rule, How::Hash(Arc::clone(&salt)))));
        Masking { masker, salt }
    }

    /// Writes the line of the event again, if there are secrets in it.
    pub(super) fn mask(&self, event: &Event<'_>, emitter: &Emitter, line: &mut Vec<u8>) {
        // The line holds every text of the event. Bytes that are no text stand in it as base64.
        let is_text = std::str::from_utf8(event.raw()).is_ok();
        if !is_suspect(line) && (is_text || !is_suspect(event.raw())) {
            return;
        }
        self.masker.rewritten(event, |mut other, counts| {
            let raw_bytes = i64::try_from(event.raw().len()).unwrap_or(i64::MAX);
            other.extra(GROUP, "masked", i64::from(counts.all()));
            other.extra(GROUP, "raw_bytes", raw_bytes);
            other.extra(GROUP, "raw_hmac_sha256", &*hex(hmac::sign(&self.salt, event.raw()).as_ref()));
            line.clear();
            emitter.emit(&other, line);
        });
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wharfinger_formats::{Field, Value};

    use super::*;

    fn masking() -> Masking {
        Masking::salted(&[7; SALT_BYTES])
    }

    fn sign_of(masking: &Masking, secret: &str, rule: &str) -> String {
        masking.masker.stand_in(secret.as_bytes(), rule)
    }

    fn line(event: &Event<'_>) -> String {
        let (emitter, mut line) = (Emitter::native(), Vec::new());
        emitter.emit(event, &mut line);
        masking().mask(event, &emitter, &mut line);
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
        assert_eq!(read["fields"]["archive.raw_hmac_sha256"], hex(hmac::sign(&masking().salt, raw).as_ref()));
        // The same secret has the same sign, another one another.
        let sign = sign_of(&masking(), "hunter2", "password");
        assert_eq!(line.matches(&sign).count(), 2, "{line}");
        assert_ne!(sign_of(&masking(), "hunter3", "password"), sign);
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
        let signs = [0, 1].map(|_| sign_of(&Masking::open(&path).unwrap(), "x", "token"));
        assert_eq!(signs[0], signs[1]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Masking::open(&path).err().unwrap().to_string().contains("chmod 600"));
        fs::write(&path, "short").unwrap();
        assert!(Masking::open(&path).is_err());
    }
}
