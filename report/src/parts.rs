//! What is said about files: where their rows come from, and what was written.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An object of evidence, as its seal says it: stands before its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub stream: String,
    /// The number of its seal.
    pub seal: u64,
    /// Its key.
    pub object: String,
    /// Of the bytes as they are stored, in hex.
    pub sha256: String,
    pub records: u64,
}

impl Object {
    /// `dt=2026-11-21/hour=09` out of its key: the hour of receipt.
    pub fn partition(&self) -> Option<&str> {
        let (_, rest) = self.object.split_once("data/")?;
        let (partition, _) = rest.rsplit_once('/')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"=-/".contains(&byte);
        (partition.starts_with("dt=") && partition.bytes().all(is_plain)).then_some(partition)
    }
}

/// One file and the evidence it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Below the folder.
    pub file: String,
    pub bytes: u64,
    /// Of the file, in hex.
    pub sha256: String,
    pub rows: u64,
    pub objects: Vec<Object>,
}

impl Written {
    /// Whether it is still the file that was listed.
    ///
    /// # Errors
    /// It is another one, or cannot be read.
    pub fn check(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.file);
        let mut hash = Sha256::new();
        let mut file = File::open(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        io::copy(&mut file, &mut hash)?;
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(
            found == self.sha256,
            "`{}` is not the file that was listed; hint: remove the folder, it can be made again",
            path.display()
        );
        Ok(())
    }
}

/// All of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which columns they have, and which classes of events: [`crate::columns::VERSION`] and that of the catalogue.
    #[serde(default)]
    pub columns: u32,
    #[serde(default)]
    pub classes: u32,
    pub files: Vec<Written>,
    pub rows: u64,
    /// Of the lines that were read.
    pub bytes_read: u64,
    pub bytes_written: u64,
}
