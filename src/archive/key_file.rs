//! The file of a private key: one line, readable by its owner alone.
//!
//! ```text
//! wharfinger-seal-key/v1 <name> <base64 of 32 bytes>
//! ```
//!
//! Invariant: a key that is no longer used is overwritten before its file goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::note::SigningKey;

const FIRST_WORD: &str = "wharfinger-seal-key/v1";
/// No key file is longer.
const BYTES_MAX: u64 = 4096;

/// A key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key file `{}` cannot be read: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("the key file `{}` cannot be written: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("`{}` is no key file: `wharfinger keygen` makes one", .0.display())]
    NoKey(PathBuf),
    #[error("the key file `{}` can be read by others: `chmod 600` it, and think of who may have", .0.display())]
    Open(PathBuf),
    #[error("`{}` holds the key of `{found}`, not of `{wanted}`", path.display())]
    OtherName { path: PathBuf, found: String, wanted: String },
}

/// Where a private key is.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    pub fn new(path: impl Into<PathBuf>) -> KeyFile {
        KeyFile { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file.
    pub fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Reads the key.
    ///
    /// # Errors
    /// There is none, or others may have it.
    pub fn read(&self) -> Result<SigningKey, KeyError> {
        let path = || self.path.clone();
        let metadata = fs::metadata(&self.path).map_err(|cause| KeyError::Read { path: path(), cause })?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Open(path()));
        }
        if metadata.len() > BYTES_MAX {
            return Err(KeyError::NoKey(path()));
        }
        let text = fs::read_to_string(&self.path).map_err(|cause| KeyError::Read { path: path(), cause })?;
        let text = Zeroizing::new(text);
        let mut words = text.split_whitespace();
        let (first, name, seed) = (words.next(), words.next(), words.next());
        let seed = seed.and_then(|seed| STANDARD.decode(seed).ok()).map(Zeroizing::new);
        let seed = seed.and_then(|seed| <[u8; 32]>::try_from(&**seed).ok()).map(Zeroizing::new);
        match (first, name, seed) {
            (Some(FIRST_WORD), Some(name), Some(seed)) => SigningKey::from_seed(name, seed),
            _ => None,
        }
        .ok_or_else(|| KeyError::NoKey(path()))
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// There is one already, or the disk fails.
    pub fn create(&self, key: &SigningKey) -> Result<(), KeyError> {
        let write = || {
            if self.exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            // Whole or not at all; a link, unlike a renamed file, replaces nothing.
            let part = self.path.with_extension("part");
            match fs::remove_file(&part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
            let seed = Zeroizing::new(STANDARD.encode(key.seed()));
            writeln!(file, "{FIRST_WORD} {} {}", key.verifying().name(), *seed)?;
            file.sync_all()?;
            let linked = fs::hard_link(&part, &self.path);
            fs::remove_file(&part)?;
            linked?;
            sync_folder_of(&self.path)
        };
        write().map_err(|cause| KeyError::Write { path: self.path.clone(), cause })
    }

    /// Overwrites the key and removes the file; fine if there is none.
    ///
    /// # Errors
    /// The disk fails.
    pub fn destroy(&self) -> Result<(), KeyError> {
        let destroy = || {
            let bytes = fs::metadata(&self.path)?.len().min(BYTES_MAX);
            let mut file = OpenOptions::new().write(true).open(&self.path)?;
            file.write_all(&vec![0; usize::try_from(bytes).unwrap_or(0)])?;
            file.sync_all()?;
            fs::remove_file(&self.path)?;
            sync_folder_of(&self.path)
        };
        match destroy() {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(KeyError::Write { path: self.path.clone(), cause })
            }
            _ => Ok(()),
        }
    }
}

/// Makes what happened to a name durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_and_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::new(dir.path().join("key"));
        assert!(matches!(file.read(), Err(KeyError::Read { .. })));
        let key = SigningKey::from_seed("gw/audit", [3; 32]).unwrap();
        file.create(&key).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(file.read().unwrap().verifying(), key.verifying());
        assert!(matches!(file.create(&key), Err(KeyError::Write { .. })), "a key is not overwritten by mistake");
        // A second name of the same file shows what is left of the key.
        fs::hard_link(file.path(), dir.path().join("left")).unwrap();
        file.destroy().unwrap();
        file.destroy().unwrap();
        assert!(!file.exists());
        assert!(fs::read(dir.path().join("left")).unwrap().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_key_that_others_may_have_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::new(dir.path().join("key"));
        file.create(&SigningKey::from_seed("gw/audit", [3; 32]).unwrap()).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(file.read(), Err(KeyError::Open(_))));
        let other = KeyFile::new(dir.path().join("other"));
        fs::write(other.path(), "ssh-ed25519 AAAA").unwrap();
        fs::set_permissions(other.path(), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(other.read(), Err(KeyError::NoKey(_))));
    }
}
