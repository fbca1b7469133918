//! Tokens, passwords and key passphrases: named by the configuration, read when they are needed.
//!
//! Invariant: neither `Debug` nor `Serialize` shows a secret.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::{Problem, describe_io};

/// A secret: `{file: path}`, `{env: NAME}`, `{credential: NAME}` (a file in systemd's
/// `$CREDENTIALS_DIRECTORY`), or the secret itself as a string.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Inline(String),
    File(PathBuf),
    Env(String),
    Credential(String),
}

/// The longest file taken for a secret: anything larger is a mistake in the path.
const FILE_BYTES_MAX: u64 = 64 * 1024;

const KINDS: &[&str] = &["file", "env", "credential"];

/// A secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the secret file `{}` cannot be read: {cause}", path.display())]
    File { path: PathBuf, cause: String },
    #[error("the environment variable `{0}` is not set")]
    Env(String),
    #[error("the credential `{0}` is not there: `$CREDENTIALS_DIRECTORY` is not set")]
    NoCredentials(String),
    #[error("the secret from {0} is empty")]
    Empty(String),
}

impl Secret {
    /// A secret known in full, for tests and for secrets the gateway makes itself.
    pub fn inline(secret: impl Into<String>) -> Self {
        Secret(Place::Inline(secret.into()))
    }

    /// A secret that stands in a file.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Secret(Place::File(path.into()))
    }

    /// Reads the secret as it is now, without the line end of a file. Call it again after an
    /// authentication failure: files are where secrets get rotated.
    ///
    /// # Errors
    /// The file cannot be read or is larger than 64 KiB, the variable is not set, or it is empty.
    pub fn read(&self) -> Result<String, SecretError> {
        let secret = match &self.0 {
            Place::Inline(secret) => secret.clone(),
            Place::Env(name) => std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?,
            Place::File(path) => read_file(path)?,
            Place::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
                let folder = folder.ok_or_else(|| SecretError::NoCredentials(name.clone()))?;
                read_file(&PathBuf::from(folder).join(name))?
            }
        };
        if secret.is_empty() { Err(SecretError::Empty(format!("{self:?}"))) } else { Ok(secret) }
    }

    /// What keeps the secret from being read on this machine, for `check`.
    pub fn problem(&self, option: &'static str) -> Option<Problem> {
        let error = self.read().err()?;
        let hint = match &error {
            SecretError::File { .. } => "check the path, and that the user that runs the gateway may read it",
            SecretError::Env(_) => "set it in the environment of the gateway, or use `file: path`",
            SecretError::NoCredentials(_) => {
                "run the gateway as a systemd unit with `LoadCredential=`, or use `file: path`"
            }
            SecretError::Empty(_) => "write the secret there",
        };
        Some(Problem { option, message: error.to_string(), hint: hint.to_owned() })
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let failed = |cause: String| SecretError::File { path: path.to_owned(), cause };
    let io = |error: std::io::Error| failed(describe_io(&error));
    // A pipe would be waited for, a device could be without end.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(failed("it is not a regular file".to_owned()));
    }
    let mut secret = String::new();
    File::open(path).map_err(io)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut secret).map_err(io)?;
    if secret.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    secret.truncate(secret.trim_end_matches(['\n', '\r']).len());
    Ok(secret)
}

/// Where the secret is, never what it is.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Inline(_) => f.write_str("the configuration"),
            Place::File(path) => write!(f, "the file `{}`", path.display()),
            Place::Env(name) => write!(f, "the environment variable `{name}`"),
            Place::Credential(name) => write!(f, "the credential `{name}`"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret: `{file: path}`, `{env: NAME}`, `{credential: NAME}` or a string")
            }

            fn visit_str<E: Error>(self, secret: &str) -> Result<Secret, E> {
                Ok(Secret::inline(secret))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
                let Some(kind) = map.next_key::<String>()? else {
                    return Err(A::Error::custom("expected one of `file`, `env`, `credential`, found an empty table"));
                };
                let place = match kind.as_str() {
                    "file" => Place::File(map.next_value()?),
                    "env" => Place::Env(map.next_value()?),
                    "credential" => Place::Credential(map.next_value()?),
                    _ => return Err(A::Error::unknown_field(&kind, KINDS)),
                };
                match map.next_key::<String>()? {
                    None => Ok(Secret(place)),
                    Some(more) => {
                        Err(A::Error::custom(format_args!("a secret stands in one place, found `{kind}` and `{more}`")))
                    }
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "secret" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn from_each_place_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let read = |json: &str| serde_json::from_str::<Secret>(json).unwrap();

        let secret = read(&format!(r#"{{"file": "{}"}}"#, path.display()));
        assert_eq!(secret.read().unwrap(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));

        assert_eq!(read(r#""hunter2""#).read().unwrap(), "hunter2");
        assert!(!format!("{:?}", read(r#""hunter2""#)).contains("hunter2"));
        assert_eq!(
            read(r#"{"env": "WHARFINGER_NO_SUCH"}"#).problem("token").unwrap().message,
            "the environment variable `WHARFINGER_NO_SUCH` is not set"
        );
        for wrong in ["{}", r#"{"path": "x"}"#, r#"{"file": "x", "env": "Y"}"#, "3"] {
            assert!(serde_json::from_str::<Secret>(wrong).is_err(), "{wrong}");
        }
    }
}
