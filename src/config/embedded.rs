//! What `wharfinger run` does without a configuration file.

use std::path::{Path, PathBuf};

use super::Config;
use crate::document::{Language, Mistakes};

/// The configuration itself: also what `wharfinger generate config` prints to begin with.
const TEXT: &str = include_str!("default.yaml");

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
    /// "`/var/run/docker.sock` cannot be read: no such file or directory"
    pub reason: String,
}

impl Config {
    /// The text of the defaults.
    pub fn embedded_text() -> &'static str {
        TEXT
    }

    /// The defaults, without the sources whose options this machine does not satisfy: no Docker
    /// socket, no readable log. A source in a file is never left out: there it is an error.
    ///
    /// # Errors
    /// `data_dir` or a variable cannot be used; the text itself is tested.
    pub fn embedded(data_dir: Option<&Path>) -> Result<Embedded, Mistakes> {
        let data_dir = data_dir.map_or_else(super::default_data_dir, PathBuf::from);
        let lookup = |name: &str| match name {
            "WHARFINGER_DATA_DIR" => Some(data_dir.display().to_string()),
            _ => std::env::var(name).ok(),
        };
        let mut config = Config::parse(TEXT, Path::new("built-in defaults"), Language::Yaml, &lookup)?;
        let mut left_out = Vec::new();
        config.sources.retain(|source| match source.options.check().into_iter().next() {
            None => true,
            Some(problem) => {
                left_out.push(LeftOut { name: source.name.clone(), reason: problem.message });
                false
            }
        });
        Ok(Embedded { config, left_out })
    }
}
