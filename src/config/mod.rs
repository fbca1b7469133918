//! The configuration: one file in YAML, TOML or JSON, read into a [`Config`] or into every mistake
//! in it, each with its line and what to do.
//!
//! Not on the way of an event: the gateway wires the parts that this room read. Parts are found
//! through [`SOURCES`] and [`SINKS`]; no part is named here.
//!
//! Invariant: a [`Config`] exists only when the whole file was understood.

mod check;
mod de;
mod embedded;
mod error;
mod failure;
mod node;
mod reference;
mod sections;
#[cfg(test)]
mod tests;
mod toml;
mod variables;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use check::Warnings;
pub use embedded::{Embedded, LeftOut};
pub use error::{ConfigError, ConfigErrors, did_you_mean, hint_for_name};
pub use node::Place;
pub use reference::reference;
pub use sections::{Admin, Identity, Journal, Sync, default_data_dir};

use crate::part::Kind;
use crate::sinks::{SINKS, SinkConfig};
use crate::sources::{SOURCES, SourceConfig};
use de::{Table, read_options};
use error::list;
use node::{Entry, Node, Value};

/// The largest file that is read; a thousand sources fit.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything a gateway is told.
#[derive(Debug)]
pub struct Config {
    /// Where the gateway keeps what it must not lose.
    pub data_dir: PathBuf,
    /// Where events come from, in the order of the file.
    pub sources: Vec<Part<dyn SourceConfig>>,
    /// Where events go, in the order of the file.
    pub sinks: Vec<Part<dyn SinkConfig>>,
    pub identity: Identity,
    pub journal: Journal,
    pub admin: Admin,
    root: Node,
    file: PathBuf,
}

/// A source or a sink: its name, its kind, and its options as that kind read them.
pub struct Part<T: ?Sized> {
    pub name: String,
    /// What stands after `type:`.
    pub kind: &'static str,
    pub options: Box<T>,
    /// Where its name stands.
    pub place: Place,
    node: Node,
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("options", &self.options)
            .finish()
    }
}

/// The language of a file, by its ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Yaml,
    Toml,
    Json,
}

impl Config {
    /// Reads a file, with the variables of the environment.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let failed = |error| ConfigErrors::new(path, vec![error]);
        let language = Language::of(path).map_err(failed)?;
        let text = read_file(path).map_err(failed)?;
        Config::parse(&text, path, language, &|name| std::env::var(name).ok())
    }

    /// Reads a text. `file` is what messages call it, `lookup` gives variables their values.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(
        text: &str,
        file: &Path,
        language: Language,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigErrors> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let root = match language {
            Language::Yaml => yaml::read_yaml(text),
            Language::Json => yaml::read_json(text),
            Language::Toml => toml::read_toml(text),
        };
        let mut root = root.map_err(|error| ConfigErrors::new(file, vec![error]))?;
        let mut errors = Vec::new();
        variables::replace(&mut root, lookup, &mut errors);
        // With a value missing, what depends on it would be reported as well.
        if !errors.is_empty() {
            return Err(ConfigErrors::new(file, errors));
        }
        Config::from_root(root, file).map_err(|errors| ConfigErrors::new(file, errors))
    }

    fn from_root(root: Node, file: &Path) -> Result<Config, Vec<ConfigError>> {
        let mut errors = Vec::new();
        if !matches!(root.value, Value::Table(_) | Value::Null) {
            let cause = format!("expected a table with {}, found {}", list(sections::NAMES), root.kind());
            return Err(vec![ConfigError::new(root.place, cause, "begin with `sources:` and `sinks:`")]);
        }
        for entry in root.entries().iter().filter(|entry| !sections::NAMES.contains(&entry.name.as_str())) {
            let hint = sections::hint_for_section(&entry.name);
            errors.push(ConfigError::new(entry.place, format!("unknown section `{}`", entry.name), hint));
        }
        let data_dir = sections::data_dir(&root, &mut errors);
        let identity = section(&root, "identity", &mut errors);
        let journal: Option<Journal> = section(&root, "journal", &mut errors);
        let admin = section(&root, "admin", &mut errors);
        let sources = read_parts(&root, "sources", SOURCES, &mut errors);
        let sinks = read_parts(&root, "sinks", SINKS, &mut errors);
        match (data_dir, identity, journal, admin) {
            (Some(data_dir), Some(identity), Some(journal), Some(admin)) if errors.is_empty() => {
                Ok(Config { data_dir, sources, sinks, identity, journal, admin, root, file: file.to_owned() })
            }
            _ => Err(errors),
        }
    }

    /// SHA-256 of what was read, after variables were replaced: the same for the same meaning in
    /// another language, order or layout.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.root.hash_into(&mut hash);
        hash.finalize().into()
    }
}

impl Language {
    /// # Errors
    /// The ending is none of ours.
    pub fn of(path: &Path) -> Result<Language, ConfigError> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Ok(Language::Yaml),
            "toml" => Ok(Language::Toml),
            "json" => Ok(Language::Json),
            "" => Err(ConfigError::new(None, "the file has no ending", "name it `.yaml`, `.toml` or `.json`")),
            _ => {
                let cause = format!("the ending `.{ending}` is not one of a configuration");
                Err(ConfigError::new(None, cause, "name it `.yaml`, `.toml` or `.json`"))
            }
        }
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path; `wharfinger generate config` writes one to begin with",
            _ => "it must be a file that this user may read",
        };
        ConfigError::new(None, format!("cannot be read: {}", crate::part::describe_io(&error)), hint)
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let cause = format!("is longer than {FILE_BYTES_MAX} bytes");
        return Err(ConfigError::new(
            None,
            cause,
            "this is not a configuration, or it lists what belongs into an inventory",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::new(Place { line, column: 1 }, "this line is not UTF-8", "save the file as UTF-8")
    })
}

/// A section of fixed options; absent is all defaults.
fn section<T: serde::de::DeserializeOwned>(root: &Node, name: &str, errors: &mut Vec<ConfigError>) -> Option<T> {
    let nothing = Node { place: root.place, value: Value::Null };
    let (node, place) = root.entry(name).map_or((&nothing, root.place), |entry| (&entry.node, entry.place));
    let table = Table { path: name, place, except: None };
    read_options(node, table, |options| erased_serde::deserialize(options)).map_err(|found| errors.extend(found)).ok()
}

/// All parts of one section, each read by its kind; mistakes of one do not hide those of another.
fn read_parts<T: ?Sized>(root: &Node, section: &str, kinds: &[Kind<T>], errors: &mut Vec<ConfigError>) -> Vec<Part<T>> {
    let Some(entry) = root.entry(section) else { return Vec::new() };
    let entries = match &entry.node.value {
        Value::Table(entries) => entries.as_slice(),
        Value::Null => &[],
        _ => {
            let cause = format!("`{section}`: expected a table of names, found {}", entry.node.kind());
            let hint = format!("give each a name: `{section}: {{name: {{type: …}}}}`");
            errors.push(ConfigError::new(entry.node.place, cause, hint));
            &[]
        }
    };
    let read = |entry| read_part(entry, section, kinds).map_err(|found| errors.extend(found)).ok();
    entries.iter().filter_map(read).collect()
}

fn read_part<T: ?Sized>(entry: &Entry, section: &str, kinds: &[Kind<T>]) -> Result<Part<T>, Vec<ConfigError>> {
    let path = format!("{section}.{}", entry.name);
    let one = |place: Place, cause: String, hint: String| Err(vec![ConfigError::new(place, cause, hint)]);
    if !is_part_name(&entry.name) {
        let hint = "use letters, digits, `-` and `_`, at most 64; `wharfinger` names the gateway itself".to_owned();
        return one(entry.place, format!("`{}` cannot be the name of a part", entry.name), hint);
    }
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let Some(of_type) = entry.node.entry("type") else {
        return match entry.node.value {
            Value::Table(_) | Value::Null => {
                let hint = format!("add `type:` with one of {}", list(&names));
                one(entry.place, format!("`{path}` has no type"), hint)
            }
            _ => {
                let cause = format!("`{path}`: expected a table of options, found {}", entry.node.kind());
                one(
                    entry.node.place,
                    cause,
                    "write the options below it, indented, beginning with `type: …`".to_owned(),
                )
            }
        };
    };
    let Value::String(name) = &of_type.node.value else {
        let cause = format!("`{path}.type`: expected a name, found {}", of_type.node.kind());
        return one(of_type.node.place, cause, format!("one of {}", list(&names)));
    };
    let Some(kind) = kinds.iter().find(|kind| kind.name == name.text) else {
        let cause = format!("`{path}`: unknown type `{}`", name.text);
        return one(of_type.node.place, cause, hint_for_name(&name.text, &names));
    };
    let table = Table { path: &path, place: entry.place, except: Some("type") };
    let options = read_options(&entry.node, table, kind.read)?;
    Ok(Part { name: entry.name.clone(), kind: kind.name, options, place: entry.place, node: entry.node.clone() })
}

/// Names become folders, metric labels and fields of events.
fn is_part_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && name != "wharfinger"
}
