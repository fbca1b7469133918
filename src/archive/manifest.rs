//! Manifest: what is in a folder of evidence, hashed and signed like a seal.
//!
//! A text of `wharfinger-evidence-pack/v1`, lines `word value`, and a line `file SHA-256 BYTES NAME` for each file,
//! sorted; then, where a key was given, an empty line and the signature of a [signed note](https://c2sp.org/signed-note).
//!
//! Invariant: total: whatever stands in the folder, the answer is what is wrong with it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::key_file::KeyError;
use super::note::{Note, SigningKey, VerifyingKey, hex, sign};
use super::verify::{Fault, Finding};

/// Its name in the folder.
pub const MANIFEST: &str = "manifest.seal";
const FIRST_LINE: &str = "wharfinger-evidence-pack/v1";
/// No manifest is longer, and no folder holds more.
const BYTES_MAX: u64 = 4 << 20;

/// See above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub about: Vec<(String, String)>,
    /// Hash in hex, bytes, name.
    files: Vec<(String, u64, String)>,
}

impl Manifest {
    /// Of a folder, but for these files and the manifest.
    ///
    /// # Errors
    /// It cannot be read, or a name in it is none.
    pub fn of(folder: &Path, about: Vec<(String, String)>, except: &[&str]) -> io::Result<Manifest> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let name = name.to_str().filter(|name| is_name(name)).ok_or_else(|| {
                io::Error::other(format!("`{}` is no name of a file of a pack", name.to_string_lossy()))
            })?;
            if name != MANIFEST && !except.contains(&name) {
                let (hash, bytes) = hash(&folder.join(name))?;
                files.push((hash, bytes, name.to_owned()));
            }
        }
        files.sort_by(|one, two| one.2.cmp(&two.2));
        Ok(Manifest { about, files })
    }

    /// The text that is signed.
    fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for (word, value) in &self.about {
            text.push_str(&format!("{word} {value}\n"));
        }
        for (hash, bytes, name) in &self.files {
            text.push_str(&format!("file {hash} {bytes} {name}\n"));
        }
        text
    }

    /// The file, signed if there is a key.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn write(&self, key: Option<&SigningKey>) -> Result<String, KeyError> {
        match key {
            Some(key) => sign(&self.text(), &[key]),
            None => Ok(self.text()),
        }
    }

    fn parse(text: &str) -> Option<Manifest> {
        let mut lines = text.lines();
        let mut manifest = Manifest { about: Vec::new(), files: Vec::new() };
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        for line in lines {
            match line.split_once(' ')? {
                ("file", rest) => {
                    let (hash, rest) = rest.split_once(' ')?;
                    let (bytes, name) = rest.split_once(' ')?;
                    manifest.files.push((hash.to_owned(), bytes.parse().ok()?, name.to_owned()));
                }
                (word, value) => manifest.about.push((word.to_owned(), value.to_owned())),
            }
        }
        let is_good = |file: &(String, u64, String)| is_name(&file.2);
        (manifest.text() == text && manifest.files.iter().all(is_good)).then_some(manifest)
    }

    /// What is wrong with a folder. Without a key nobody vouches for the manifest itself.
    ///
    /// # Errors
    /// The folder or its manifest cannot be read.
    pub fn check(folder: &Path, key: Option<&VerifyingKey>, except: &[&str]) -> io::Result<(Manifest, Vec<Finding>)> {
        let path = folder.join(MANIFEST);
        if fs::symlink_metadata(&path)?.len() > BYTES_MAX {
            return Err(io::Error::other("it is too long for a manifest"));
        }
        let bytes = fs::read(&path)?;
        let note = Note::parse(&bytes);
        let text = match &note {
            Ok(note) => note.text,
            Err(_) => std::str::from_utf8(&bytes).unwrap_or_default(),
        };
        let manifest = Manifest::parse(text).ok_or_else(|| io::Error::other("it is no manifest of a pack"))?;
        let mut findings = Vec::new();
        let is_signed = |key: &VerifyingKey| note.as_ref().is_ok_and(|note| note.is_signed_by(key));
        if let Some(key) = key.filter(|key| !is_signed(key)) {
            findings.push(Finding::new(Fault::Signature, MANIFEST, format!("it is not signed by `{}`", key.name())));
        }
        for (sealed, bytes, name) in &manifest.files {
            match hash(&folder.join(name)) {
                Ok(found) if found == (sealed.clone(), *bytes) => {}
                Ok(_) => findings.push(Finding::new(Fault::Altered, name, "it is not the file that was listed")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    findings.push(Finding::new(Fault::Missing, name, "it is listed and not there"));
                }
                Err(error) => findings.push(Finding::new(Fault::Altered, name, error.to_string())),
            }
        }
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_known =
                name == MANIFEST || except.contains(&&*name) || manifest.files.iter().any(|file| file.2 == name);
            if !is_known {
                findings.push(Finding::new(Fault::Foreign, &name, "it is there and not listed"));
            }
        }
        Ok((manifest, findings))
    }

    /// How many files it lists.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with('.')
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Hash and length of a plain file.
fn hash(path: &Path) -> io::Result<(String, u64)> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut File::open(path)?, &mut hash)?;
    Ok((hex(&hash.finalize()), bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RUN: &[&str] = &["run.json"];

    fn pack(key: &SigningKey) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["summary.txt", "gaps.csv", "run.json"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let about = vec![("framework".to_owned(), "pci-dss-4.0.1".to_owned())];
        let manifest = Manifest::of(folder.path(), about, RUN).unwrap();
        fs::write(folder.path().join(MANIFEST), manifest.write(Some(key)).unwrap()).unwrap();
        folder
    }

    #[test]
    fn whatever_is_changed_is_found() {
        let key = SigningKey::generate("gw/reports").unwrap();
        let checked = |folder: &Path| {
            let (_, findings) = Manifest::check(folder, Some(key.verifying()), RUN).unwrap();
            findings.into_iter().map(|finding| (finding.fault, finding.key)).collect::<Vec<_>>()
        };
        let folder = pack(&key);
        assert_eq!(checked(folder.path()), []);
        fs::write(folder.path().join("run.json"), "another run").unwrap();
        assert_eq!(checked(folder.path()), []);
        fs::write(folder.path().join("summary.txt"), "complete").unwrap();
        fs::remove_file(folder.path().join("gaps.csv")).unwrap();
        fs::write(folder.path().join("more.csv"), "").unwrap();
        let altered = (Fault::Altered, "summary.txt".to_owned());
        let missing = (Fault::Missing, "gaps.csv".to_owned());
        assert_eq!(checked(folder.path()), [missing, altered, (Fault::Foreign, "more.csv".to_owned())]);
        let folder = pack(&SigningKey::generate("gw/reports").unwrap());
        assert_eq!(checked(folder.path()), [(Fault::Signature, MANIFEST.to_owned())]);
    }

    #[test]
    fn a_manifest_is_written_in_one_way_alone() {
        let folder = pack(&SigningKey::generate("gw/reports").unwrap());
        let text = fs::read_to_string(folder.path().join(MANIFEST)).unwrap();
        let text = text.split("\n\n").next().unwrap().to_owned() + "\n";
        assert!(Manifest::parse(&text).is_some(), "{text}");
        for wrong in [
            text.replace("summary.txt", "../summary.txt"),
            text.replace(" 11 ", " 011 "),
            text.replace("v1", "v2"),
            text + "file",
        ] {
            assert_eq!(Manifest::parse(&wrong), None, "{wrong}");
        }
    }
}
