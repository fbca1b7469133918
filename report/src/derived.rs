//! Derived: which Parquet is there already, of which evidence. Read out of the lists that stand beside it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::classes::Classes;
use crate::columns::VERSION;
use crate::parts::{Object, Report, Written};

/// See above.
#[derive(Debug, Default)]
pub struct Derived {
    files: Vec<Written>,
    /// Of stream and seal: which file, and the hash of the object it was made of.
    objects: HashMap<(String, u64), (usize, String)>,
}

impl Derived {
    /// Reads the lists in a folder; one that is not there has none.
    ///
    /// # Errors
    /// The folder cannot be read, or what is in it was made by another version.
    pub fn read(folder: &Path, classes: &Classes) -> Result<Derived> {
        let mut derived = Derived::default();
        let mut lists: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(derived),
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", folder.display())),
        };
        lists.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("_compact-") && name.ends_with(".json")
        });
        lists.sort();
        for list in lists {
            let read = || -> Result<Report> { Ok(serde_json::from_slice(&fs::read(&list)?)?) };
            let report = read().with_context(|| format!("`{}` cannot be read", list.display()))?;
            if (report.columns, report.classes) != (VERSION, classes.version) {
                bail!(
                    "`{}` is of other columns or classes than this version writes; hint: remove the folder, it can be \
                     made again",
                    list.display()
                );
            }
            for file in report.files {
                derived.add(file);
            }
        }
        Ok(derived)
    }

    fn add(&mut self, file: Written) {
        for Object { stream, seal, sha256, .. } in &file.objects {
            self.objects.insert((stream.clone(), *seal), (self.files.len(), sha256.clone()));
        }
        self.files.push(file);
    }

    /// Removes Parquet that no list names: somebody was stopped while he wrote it.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not be removed.
    pub fn forget_others(&self, folder: &Path) -> Result<()> {
        let known: HashSet<&str> = self.files.iter().map(|file| file.file.as_str()).collect();
        let inside = |folder: PathBuf, begins: &'static str| -> std::io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
            let is_meant =
                |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins));
            Ok(entries.collect::<std::io::Result<Vec<_>>>()?.into_iter().filter(is_meant).collect())
        };
        for day in inside(folder.to_owned(), "dt=")? {
            for hour in inside(day, "hour=")? {
                for file in inside(hour, "")? {
                    let name = file.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or_default();
                    if name.ends_with(".zstd.parquet") && !known.contains(name) {
                        fs::remove_file(&file)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What was written just now.
    pub fn extend(&mut self, report: Report) {
        report.files.into_iter().for_each(|file| self.add(file));
    }

    /// Numbers, in the list, of the objects of which there is no Parquet yet.
    ///
    /// # Errors
    /// There is Parquet that was made of another object with the same seal.
    pub fn wanted(&self, objects: &[Object]) -> Result<Vec<usize>> {
        let mut wanted = Vec::new();
        for (number, object) in objects.iter().enumerate() {
            match self.objects.get(&(object.stream.clone(), object.seal)) {
                None => wanted.push(number),
                Some((_, sha256)) if *sha256 == object.sha256 => {}
                Some((file, _)) => bail!(
                    "`{}` was made of another object than the one sealed by seal {} of `{}`; hint: the folder is of \
                     another archive; name another one, or remove it",
                    self.files.get(*file).map_or("", |file| &file.file),
                    object.seal,
                    object.stream
                ),
            }
        }
        Ok(wanted)
    }

    /// The files in which these objects are, in the order in which they were sealed.
    pub fn files(&self, objects: &[Object]) -> Vec<&Written> {
        let mut seen = HashSet::new();
        let of = |object: &Object| self.objects.get(&(object.stream.clone(), object.seal)).map(|(file, _)| *file);
        let numbers = objects.iter().filter_map(of).filter(|number| seen.insert(*number));
        numbers.filter_map(|number| self.files.get(number)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn object(seal: u64, sha256: &str) -> Object {
        let object = format!("data/dt=2026-11-21/hour=09/{seal:012}.ndjson.zst");
        Object { stream: "audit".into(), seal, object, sha256: sha256.into(), records: 1 }
    }

    fn list(folder: &Path, columns: u32, objects: &[Object]) {
        let file = Written { file: "a".into(), bytes: 1, sha256: String::new(), rows: 1, objects: objects.to_vec() };
        let classes = Classes::read().unwrap().version;
        let report = Report { columns, classes, files: vec![file], ..Report::default() };
        fs::write(folder.join("_compact-audit-0-1.json"), serde_json::to_vec(&report).unwrap()).unwrap();
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let (folder, classes) = (tempfile::tempdir().unwrap(), Classes::read().unwrap());
        let of_none = Derived::read(&folder.path().join("none"), &classes).unwrap();
        assert_eq!(of_none.wanted(&[object(0, "aa")]).unwrap(), [0]);
        list(folder.path(), VERSION, &[object(0, "aa"), object(2, "cc")]);
        let derived = Derived::read(folder.path(), &classes).unwrap();
        assert_eq!(derived.wanted(&[object(0, "aa"), object(1, "bb"), object(2, "cc")]).unwrap(), [1]);
        assert_eq!(derived.files(&[object(0, "aa"), object(2, "cc")]).len(), 1);
        assert!(derived.files(&[object(1, "bb")]).is_empty());
        let error = derived.wanted(&[object(2, "dd")]).unwrap_err();
        assert!(error.to_string().contains("another object than the one sealed by seal 2"), "{error}");
    }

    #[test]
    fn what_another_version_made_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        list(folder.path(), VERSION - 1, &[object(0, "aa")]);
        let error = Derived::read(folder.path(), &Classes::read().unwrap()).unwrap_err();
        assert!(error.to_string().contains("remove the folder"), "{error}");
    }
}
