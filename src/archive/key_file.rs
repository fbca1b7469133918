//! The file of a private key: one line, readable by its owner alone.
//!
//! ```text
//! wharfinger-seal-key/v1 <name> <base64 of 32 bytes>
//! wharfinger-kept-key/v1 <name> <id of the key in its token, in hex> <base64 of the public key>
//! ```
//!
//! Invariant: a key that is no longer used is overwritten, or destroyed in its token, before its file goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::keeper::{Keeper, KeyId};
use super::note::{SigningKey, hex};

const FIRST_WORD: &str = "wharfinger-seal-key/v1";
const KEPT_WORD: &str = "wharfinger-kept-key/v1";
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
    #[error("`{}` is the name of a key in a token: write `pkcs11` with that token", .0.display())]
    NoKeeper(PathBuf),
    #[error("the token does not answer: {0}")]
    Away(String),
    #[error("the token refuses: {0}")]
    Refused(String),
}

/// Where a private key is.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    keeper: Option<Arc<dyn Keeper>>,
}

impl KeyFile {
    pub fn new(path: impl Into<PathBuf>) -> KeyFile {
        KeyFile { path: path.into(), keeper: None }
    }

    /// One whose key is kept by somebody, if there is somebody.
    pub(super) fn kept(path: PathBuf, keeper: Option<&Arc<dyn Keeper>>) -> KeyFile {
        KeyFile { path, keeper: keeper.cloned() }
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
        if text.starts_with(KEPT_WORD) {
            let keeper = self.keeper.clone().ok_or_else(|| KeyError::NoKeeper(path()))?;
            return read_kept(&text, keeper).ok_or_else(|| KeyError::NoKey(path()));
        }
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
            let seed = key.seed().ok_or_else(|| io::Error::other("it is kept, and has no file"))?;
            match fs::remove_file(self.part()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = self.begin()?;
            let seed = Zeroizing::new(STANDARD.encode(seed));
            writeln!(file, "{FIRST_WORD} {} {}", key.verifying().name(), *seed)?;
            self.finish(&file)
        };
        write().map_err(|cause| KeyError::Write { path: self.path.clone(), cause })
    }

    /// Makes a new key: in the token if there is one, else in a file.
    ///
    /// # Errors
    /// There is a file already, the disk fails, or the token does.
    pub fn generate(&self, name: &str) -> Result<SigningKey, KeyError> {
        let failed = |cause| KeyError::Write { path: self.path.clone(), cause };
        let Some(keeper) = &self.keeper else {
            let key = SigningKey::generate(name).map_err(failed)?;
            self.create(&key)?;
            return Ok(key);
        };
        if self.exists() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        self.forget_part()?;
        let mut id = KeyId::default();
        getrandom::fill(&mut id).map_err(|error| failed(io::Error::other(error.to_string())))?;
        // Which key it will be is on disk before it is made: after a crash nothing stays behind in the token.
        let mut file = self.begin().map_err(failed)?;
        let begun = write!(file, "{KEPT_WORD} {name} {} ", hex(&id)).and_then(|()| file.sync_all());
        begun.and_then(|()| sync_folder_of(&self.path)).map_err(failed)?;
        let public = keeper.generate(&id, name)?;
        let written = writeln!(file, "{}", STANDARD.encode(public));
        written.and_then(|()| self.finish(&file)).map_err(failed)?;
        let no_name = || failed(io::Error::other("this is no name of a key"));
        SigningKey::kept(name, public, Arc::clone(keeper), id).ok_or_else(no_name)
    }

    fn part(&self) -> PathBuf {
        self.path.with_extension("part")
    }

    fn begin(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.part())
    }

    /// Whole or not at all; a link, unlike a renamed file, replaces nothing.
    fn finish(&self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        let linked = fs::hard_link(self.part(), &self.path);
        fs::remove_file(self.part())?;
        linked?;
        sync_folder_of(&self.path)
    }

    /// What a crash has left behind of a file that was being made, and of the key in the token.
    pub(super) fn forget_part(&self) -> Result<(), KeyError> {
        let part = KeyFile { path: self.part(), keeper: self.keeper.clone() };
        if !self.exists() {
            part.destroy_kept()?;
        }
        match fs::remove_file(&part.path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(KeyError::Write { path: part.path, cause }),
            _ => Ok(()),
        }
    }

    /// Destroys the key in the token, if it is one.
    fn destroy_kept(&self) -> Result<(), KeyError> {
        let Ok(text) = fs::read_to_string(&self.path).map(Zeroizing::new) else { return Ok(()) };
        let id = text.strip_prefix(KEPT_WORD).and_then(|rest| rest.split_whitespace().nth(1)).and_then(id);
        match (id, &self.keeper) {
            (Some(id), Some(keeper)) => keeper.destroy(&id),
            (Some(_), None) => Err(KeyError::NoKeeper(self.path.clone())),
            (None, _) => Ok(()),
        }
    }

    /// Overwrites the key, or destroys it where it is kept, and removes the file; fine if there is none.
    ///
    /// # Errors
    /// The disk or the token fails.
    pub fn destroy(&self) -> Result<(), KeyError> {
        self.destroy_kept()?;
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

fn read_kept(text: &str, keeper: Arc<dyn Keeper>) -> Option<SigningKey> {
    let mut words = text.split_whitespace().skip(1);
    let (name, id) = (words.next()?, id(words.next()?)?);
    let public = STANDARD.decode(words.next()?).ok()?.try_into().ok()?;
    SigningKey::kept(name, public, keeper, id)
}

/// Reads what [`hex`] writes.
fn id(text: &str) -> Option<KeyId> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then_some(number.to_be_bytes())
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
