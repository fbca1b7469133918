//! Which configuration a verb works with.

use std::path::PathBuf;

use super::failure::Failure;
use crate::config::{Config, LeftOut};

/// Where the configuration is.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigFile {
    /// Configuration file: `.yaml`, `.toml` or `.json`. Without one, the built-in defaults apply
    #[arg(long, short, value_name = "PATH", env = "WHARFINGER_CONFIG")]
    pub config: Option<PathBuf>,

    /// Folder for what must not be lost, in place of the configuration's `data_dir`
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
}

/// A configuration as a verb gets it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub config: Config,
    /// Only of the defaults: sources this machine has nothing for.
    pub left_out: Vec<LeftOut>,
}

impl ConfigFile {
    /// Reads it, without a look at the machine: that is [`Config::check`].
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        let Some(path) = &self.config else {
            let embedded = Config::embedded(self.data_dir.as_deref())?;
            return Ok(Loaded { config: embedded.config, left_out: embedded.left_out });
        };
        let mut config = Config::load(path)?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        Ok(Loaded { config, left_out: Vec::new() })
    }
}
