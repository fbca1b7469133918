//! What `wharfinger run` does without a configuration file.

use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::{Config, Part};
use crate::document::{Language, Mistakes, Value};
use crate::part::describe_io;
use crate::sources::SourceConfig;

/// The configuration itself: also what `wharfinger generate config` prints to begin with.
const TEXT: &str = include_str!("default.yaml");

/// The variable of that text which the data directory stands for.
const DATA_DIR: &str = "WHARFINGER_DATA_DIR";

/// The defaults as they apply to this machine.
#[derive(Debug)]
pub struct Embedded {
    pub config: Config,
    /// Sources that were left out because what they read is not here.
    pub left_out: Vec<LeftOut>,
}

/// A source of the defaults that this machine has nothing for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub name: String,
    /// "`/var/run/docker.sock`: no such file or directory"
    pub reason: String,
}

impl Config {
    /// The text of the defaults.
    pub fn embedded_text() -> &'static str {
        TEXT
    }

    /// The defaults, without the sources that read something this machine does not have, or does
    /// not let us read: no Docker socket, no log. In a file such a source is an error or is waited
    /// for; it is never left out.
    ///
    /// # Errors
    /// A variable cannot be used; the text itself is tested.
    pub fn embedded(data_dir: Option<&Path>) -> Result<Embedded, Mistakes> {
        let data_dir = data_dir.map_or_else(super::default_data_dir, PathBuf::from);
        let lookup = |name: &str| (name == DATA_DIR).then(|| data_dir.display().to_string());
        let mut config = Config::parse(TEXT, Path::new("built-in defaults"), Language::Yaml, &lookup)?;
        let mut left_out = Vec::new();
        config.sources.retain(|source| match nothing_to_read(source) {
            None => true,
            Some(reason) => {
                left_out.push(LeftOut { name: source.name.clone(), reason });
                false
            }
        });
        Ok(Embedded { config, left_out })
    }
}

/// Options of the defaults that name what a source reads, and what it must be allowed to do there.
const READS: &[(&str, Access)] = &[("socket", Access::READ_OK.union(Access::WRITE_OK)), ("include", Access::READ_OK)];

/// Why a source would have nothing to read; `None` when it has, or when it listens.
fn nothing_to_read(source: &Part<dyn SourceConfig>) -> Option<String> {
    let (option, access) = READS.iter().find_map(|(name, access)| Some((source.node.entry(name)?, access)))?;
    let paths: Vec<&str> = match &option.node.value {
        Value::String(path) => vec![&path.text],
        Value::List(paths) => paths.iter().filter_map(|path| path.text()).collect(),
        _ => Vec::new(),
    };
    let mut reason = format!("`{}` names nothing", option.name);
    for path in paths {
        match rustix::fs::access(path, *access) {
            Ok(()) => return None,
            Err(error) => reason = format!("`{path}`: {}", describe_io(&error.into())),
        }
    }
    Some(reason)
}
