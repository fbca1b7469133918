//! YAML, TOML and JSON as one tree in which every value knows its line, and from there to options,
//! with every mistake placed and explained.
//!
//! Not on the way of an event: configurations and inventories are documents.
//!
//! Invariant: a document of `n` bytes takes memory in proportion to `n`, and its depth is bounded.

mod failure;
mod mistake;
mod node;
mod options;
mod toml;
mod yaml;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use mistake::{Mistake, Mistakes, did_you_mean, hint_for_name, list};
pub use node::{Entry, Node, Place, Text, Value};
pub use options::{Table, read_options};

use crate::part::describe_io;

/// The language of a document, by the ending of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Yaml,
    Toml,
    Json,
}

impl Language {
    /// # Errors
    /// The ending is none of ours.
    pub fn of(path: &Path) -> Result<Language, Mistake> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let cause = match ending.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => return Ok(Language::Yaml),
            "toml" => return Ok(Language::Toml),
            "json" => return Ok(Language::Json),
            "" => "the file has no ending".to_owned(),
            _ => format!("the ending `.{ending}` is not known here"),
        };
        Err(Mistake::new(None, cause, "name it `.yaml`, `.toml` or `.json`"))
    }
}

/// Reads a whole text; a byte order mark is passed over.
///
/// # Errors
/// It is not in that language, refers to itself, or names something twice.
pub fn read(text: &str, language: Language) -> Result<Node, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match language {
        Language::Yaml => yaml::read_yaml(text),
        Language::Json => yaml::read_json(text),
        Language::Toml => toml::read_toml(text),
    }
}

/// The bytes of a file of at most `bytes_max` bytes.
///
/// # Errors
/// It cannot be read, or is longer.
pub fn read_bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Mistake> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the path; a relative path starts at the working directory",
            io::ErrorKind::IsADirectory => "name a file in it",
            _ => "it must be a file that this user may read",
        };
        Mistake::new(None, format!("cannot be read: {}", describe_io(&error)), hint)
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Mistake::new(None, format!("longer than {bytes_max} bytes"), "is it the right file?"));
    }
    Ok(bytes)
}

/// The text of a file of at most `bytes_max` bytes.
///
/// # Errors
/// It cannot be read, is longer, or is not UTF-8.
pub fn read_file(path: &Path, bytes_max: u64) -> Result<String, Mistake> {
    let bytes = read_bytes(path, bytes_max)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        Mistake::new(Place { line, column: 1 }, "this line is not UTF-8", "save the file as UTF-8")
    })
}
