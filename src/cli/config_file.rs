//! Which configuration a verb works with.

use std::path::PathBuf;

use super::failure::Failure;
use crate::config::{Config, LeftOut, default_data_dir};

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
    /// Where the gateway keeps what it must not lose, without a look at sources and sinks.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, if there is one.
    pub(super) fn data_dir(&self) -> Result<PathBuf, Failure> {
        match (&self.data_dir, &self.config) {
            (Some(data_dir), _) => Ok(data_dir.clone()),
            (None, Some(path)) => Ok(Config::load(path)?.data_dir),
            (None, None) => Ok(default_data_dir()),
        }
    }

    /// Where its journal is.
    ///
    /// # Errors
    /// As [`data_dir`](Self::data_dir).
    pub(super) fn journal_dir(&self) -> Result<PathBuf, Failure> {
        Ok(self.data_dir()?.join("journal"))
    }

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
