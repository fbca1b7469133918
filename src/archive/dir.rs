//! A store in a local folder: a key is a path in it.
//!
//! Invariants: an object appears whole and synced, with the folders it is in, or not at all; what is
//! there is never replaced; reading follows no link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::store::{Put, Store, is_key};

/// A folder of objects.
#[derive(Debug)]
pub struct Dir {
    root: PathBuf,
}

impl Dir {
    /// The folder; it is made with the first object.
    pub fn new(root: impl Into<PathBuf>) -> Dir {
        Dir { root: root.into() }
    }
}

impl Store for Dir {
    fn put_new(&self, key: &str, bytes: &[u8]) -> io::Result<Put> {
        if !is_key(key) {
            return Err(io::Error::other(format!("`{key}` is no key")));
        }
        let path = self.root.join(key);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other(format!("`{key}` is no key")));
        };
        make_folder(folder)?;
        // What a crash left behind may be another name of an object: it goes, and is not written to.
        let part = folder.join(format!(".part-{}", name.to_string_lossy()));
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A second link, unlike a renamed file, replaces nothing.
        let put = match fs::hard_link(&part, &path) {
            Ok(()) => Put::Done,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.holds(key, bytes)? == Some(true) {
                    Put::Same
                } else {
                    Put::Other
                }
            }
            Err(error) => return Err(error),
        };
        fs::remove_file(&part)?;
        File::open(folder)?.sync_all()?;
        Ok(put)
    }

    fn open(&self, key: &str) -> io::Result<Option<Box<dyn Read>>> {
        if !is_key(key) {
            return Ok(None);
        }
        let folder = match rustix::fs::openat(CWD, &self.root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Does not wait for the other end of a pipe that somebody has put there.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match openat2(folder, key, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS) {
            Ok(file) => {
                let file = File::from(file);
                Ok(file.metadata()?.is_file().then(|| Box::new(file) as Box<dyn Read>))
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn keys(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let mut keys = Vec::new();
        walk(&self.root.join(folder), folder, &mut keys)?;
        keys.sort();
        Ok(keys)
    }
}

/// Everything below a folder that is no folder: links too, which are nothing of ours.
fn walk(path: &Path, key: &str, keys: &mut Vec<(String, u64)>) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => match Errno::from_io_error(&error) {
            // Of somebody else: links in a circle, a file, folders in folders beyond any path.
            Some(Errno::LOOP | Errno::NOTDIR | Errno::NAMETOOLONG) => {
                keys.push((key.to_owned(), 0));
                return Ok(());
            }
            _ => return Err(error),
        },
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let (path, key) = (entry.path(), format!("{key}/{name}"));
        if entry.file_type()?.is_dir() {
            walk(&path, &key, keys)?;
        } else if !name.starts_with(".part-") {
            keys.push((key, entry.metadata()?.len()));
        }
    }
    Ok(())
}

/// Makes a folder and those above it; each is synced in the one it is in.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(above)?;
    match fs::DirBuilder::new().mode(0o750).create(folder) {
        Ok(()) => File::open(above)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::store::read_small;
    use super::*;

    #[test]
    fn an_object_is_written_once() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::new(root.path().join("not/there/yet"));
        assert!(dir.keys("data").unwrap().is_empty() && dir.open("data/x").unwrap().is_none());
        assert_eq!(dir.put_new("data/a=1/x", b"one").unwrap(), Put::Done);
        assert_eq!(dir.put_new("data/a=1/x", b"one").unwrap(), Put::Same);
        for other in ["two", "on", "one more"] {
            assert_eq!(dir.put_new("data/a=1/x", other.as_bytes()).unwrap(), Put::Other);
        }
        assert_eq!(read_small(&dir, "data/a=1/x", 3).unwrap().as_deref(), Some(&b"one"[..]));
        assert!(read_small(&dir, "data/a=1/x", 2).is_err());
        assert_eq!(dir.keys("data").unwrap(), [("data/a=1/x".to_owned(), 3)]);
        assert!(dir.put_new("../x", b"").is_err());
    }

    /// A crash between link and unlink leaves a second name of the object.
    #[test]
    fn what_a_crash_left_behind_is_no_way_to_an_object() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::new(root.path());
        dir.put_new("data/x", b"one").unwrap();
        fs::hard_link(root.path().join("data/x"), root.path().join("data/.part-x")).unwrap();
        assert_eq!(dir.put_new("data/x", b"two").unwrap(), Put::Other);
        assert_eq!(fs::read(root.path().join("data/x")).unwrap(), b"one");
        fs::write(root.path().join("victim"), "kept").unwrap();
        symlink(root.path().join("victim"), root.path().join("data/.part-y")).unwrap();
        assert_eq!(dir.put_new("data/y", b"new").unwrap(), Put::Done);
        assert_eq!(fs::read(root.path().join("victim")).unwrap(), b"kept");
    }

    #[test]
    fn links_and_pipes_are_not_read() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::new(root.path());
        fs::create_dir(root.path().join("data")).unwrap();
        fs::write(root.path().join("secret"), "x").unwrap();
        symlink(root.path().join("secret"), root.path().join("data/link")).unwrap();
        symlink(root.path(), root.path().join("data/folder")).unwrap();
        rustix::fs::mknodat(CWD, root.path().join("data/pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        for key in ["data/link", "data/folder/secret", "data/pipe", "data", "data/../secret"] {
            assert!(dir.open(key).unwrap().is_none(), "{key}");
        }
        let keys: Vec<_> = dir.keys("data").unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["data/folder", "data/link", "data/pipe"]);
    }
}
