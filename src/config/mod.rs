//! The configuration: one file in YAML, TOML or JSON, read into a [`Config`] or into every mistake
//! in it, each with its line and what to do.
//!
//! Not on the way of an event: the gateway wires the parts that this room read. Parts are found
//! through [`SOURCES`] and [`SINKS`]; no part is named here.
//!
//! Invariant: a [`Config`] exists only when the whole file was understood.

mod check;
mod digests;
mod embedded;
mod every_sink;
mod reference;
mod sections;
#[cfg(test)]
mod tests;
mod variables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use digests::{Digest as DigestOptions, FRAMEWORKS, NamedDigest, report_program};
pub use embedded::{Embedded, LeftOut};
pub use every_sink::EverySink;
pub use reference::reference;
pub use sections::{Admin, Identity, Journal, Receipts, Sync, default_data_dir};

use crate::document::{
    self, Entry, Language, Mistake, Mistakes, Node, Place, Table, Value, hint_for_name, list, read_options,
};
use crate::identity::{PROVIDERS, ProviderConfig};
use crate::part::Kind;
use crate::policy::{self, Policy};
use crate::sinks::{SINKS, SinkConfig};
use crate::sources::{SOURCES, SourceConfig};

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
    /// Who is asked which machines there are, in the order of the file.
    pub providers: Vec<Part<dyn ProviderConfig>>,
    /// What is allowed on which machines; finds nothing where there is no section `policy`.
    pub policy: Arc<Policy>,
    pub journal: Journal,
    pub receipts: Receipts,
    pub admin: Admin,
    /// What is looked through every day, in the order of the file.
    pub digests: Vec<NamedDigest>,
    root: Node,
    file: PathBuf,
}

/// A source or a sink: its name, its kind, and its options as that kind read them.
pub struct Part<T: ?Sized> {
    pub name: String,
    /// What stands after `type:`.
    pub kind: &'static str,
    pub options: Box<T>,
    /// What every sink takes.
    pub every: EverySink,
    /// Where its name stands.
    pub place: Place,
    node: Node,
}

impl<T: ?Sized> Part<T> {
    /// SHA-256 of its options: the same for the same meaning, wherever the part stands.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.node.hash_into(&mut hash);
        hash.finalize().into()
    }
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

impl Config {
    /// Reads a file, with the variables of the environment.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: &Path) -> Result<Config, Mistakes> {
        let failed = |error| Mistakes::new(path, vec![error]);
        let language = Language::of(path).map_err(failed)?;
        let text = document::read_file(path, FILE_BYTES_MAX).map_err(failed)?;
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
    ) -> Result<Config, Mistakes> {
        let mut root = document::read(text, language).map_err(|mistake| Mistakes::new(file, vec![mistake]))?;
        let mut errors = Vec::new();
        variables::replace(&mut root, lookup, &mut errors);
        // With a value missing, what depends on it would be reported as well.
        if !errors.is_empty() {
            return Err(Mistakes::new(file, errors));
        }
        Config::from_root(root, file).map_err(|errors| Mistakes::new(file, errors))
    }

    fn from_root(root: Node, file: &Path) -> Result<Config, Vec<Mistake>> {
        let mut errors = Vec::new();
        if !matches!(root.value, Value::Table(_) | Value::Null) {
            let cause = format!("expected a table with {}, found {}", list(sections::NAMES), root.kind());
            return Err(vec![Mistake::new(root.place, cause, "begin with `sources:` and `sinks:`")]);
        }
        for entry in root.entries().iter().filter(|entry| !sections::NAMES.contains(&entry.name.as_str())) {
            let hint = sections::hint_for_section(&entry.name);
            errors.push(Mistake::new(entry.place, format!("unknown section `{}`", entry.name), hint));
        }
        let data_dir = sections::data_dir(&root, &mut errors);
        let identity = section_but(&root, "identity", &["providers"], &mut errors);
        let providers = root.entry("identity").and_then(|identity| identity.node.entry("providers"));
        let providers = read_parts(providers, "identity.providers", PROVIDERS, &mut errors);
        let policy = root.entry("policy").map_or_else(|| Ok(Policy::default()), policy::read);
        let policy = policy.map_err(|found| errors.extend(found)).ok().map(Arc::new);
        let journal: Option<Journal> = section(&root, "journal", &mut errors);
        let receipts = section(&root, "receipts", &mut errors);
        let admin = section(&root, "admin", &mut errors);
        let sources = read_parts(root.entry("sources"), "sources", SOURCES, &mut errors);
        let sinks = read_parts(root.entry("sinks"), "sinks", SINKS, &mut errors);
        let digests = digests::read(&root, &mut errors);
        match (data_dir, identity, policy, journal, receipts, admin) {
            (Some(data_dir), Some(identity), Some(policy), Some(journal), Some(receipts), Some(admin))
                if errors.is_empty() =>
            {
                let file = file.to_owned();
                Ok(Config {
                    data_dir,
                    sources,
                    sinks,
                    identity,
                    providers,
                    policy,
                    journal,
                    receipts,
                    admin,
                    digests,
                    root,
                    file,
                })
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

    /// Where it was read from, as it was named.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Changes when a provider does.
    pub fn providers_hash(&self) -> Vec<[u8; 32]> {
        self.providers.iter().map(Part::hash).collect()
    }
}

/// A section of fixed options; absent is all defaults.
fn section<T: serde::de::DeserializeOwned>(root: &Node, name: &str, errors: &mut Vec<Mistake>) -> Option<T> {
    section_but(root, name, &[], errors)
}

/// The same, without entries that somebody else reads.
fn section_but<T: serde::de::DeserializeOwned>(
    root: &Node,
    name: &str,
    except: &[&str],
    errors: &mut Vec<Mistake>,
) -> Option<T> {
    let nothing = Node { place: root.place, value: Value::Null };
    let (node, place) = root.entry(name).map_or((&nothing, root.place), |entry| (&entry.node, entry.place));
    let table = Table { path: name, place, except };
    read_options(node, table, |options| erased_serde::deserialize(options)).map_err(|found| errors.extend(found)).ok()
}

/// All parts of one section, each read by its kind; mistakes of one do not hide those of another.
fn read_parts<T: ?Sized>(
    entry: Option<&Entry>,
    section: &str,
    kinds: &[Kind<T>],
    errors: &mut Vec<Mistake>,
) -> Vec<Part<T>> {
    let Some(entry) = entry else { return Vec::new() };
    let entries = match &entry.node.value {
        Value::Table(entries) => entries.as_slice(),
        Value::Null => &[],
        _ => {
            let cause = format!("`{section}`: expected a table of names, found {}", entry.node.kind());
            let hint = format!("give each a name: `{section}: {{name: {{type: …}}}}`");
            errors.push(Mistake::new(entry.node.place, cause, hint));
            &[]
        }
    };
    let read = |entry| read_part(entry, section, kinds).map_err(|found| errors.extend(found)).ok();
    entries.iter().filter_map(read).collect()
}

fn read_part<T: ?Sized>(entry: &Entry, section: &str, kinds: &[Kind<T>]) -> Result<Part<T>, Vec<Mistake>> {
    let path = format!("{section}.{}", entry.name);
    let one = |place: Place, cause: String, hint: String| Err(vec![Mistake::new(place, cause, hint)]);
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
    let is_sink = section == "sinks";
    let except: &[&str] = if is_sink { EverySink::OPTIONS } else { &["type"] };
    let table = Table { path: &path, place: entry.place, except };
    let every = if is_sink { EverySink::read(&entry.node, &path) } else { Ok(EverySink::default()) };
    let (options, every) = match (read_options(&entry.node, table, kind.read), every) {
        (Ok(options), Ok(every)) => (options, every),
        (options, every) => return Err(options.err().into_iter().chain(every.err()).flatten().collect()),
    };
    let (name, node) = (entry.name.clone(), entry.node.clone());
    Ok(Part { name, kind: kind.name, options, every, place: entry.place, node })
}

/// Names become folders, metric labels and fields of events.
fn is_part_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && name != "wharfinger"
}
