//! `wharfinger run`: the gateway itself.

use std::time::Duration;

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use super::config_file::{ConfigFile, Loaded};
use super::failure::{Exit, Failure, print_mistakes};
use crate::{config, gateway};

/// How long the end of the process waits for threads that cannot be called off.
const THREADS_MAX: Duration = Duration::from_millis(500);

/// Take in, keep, hand on: run the gateway. SIGTERM drains and ends it, SIGHUP reads the
/// configuration again
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) file: ConfigFile,

    /// What is logged on stderr: `error`, `warn`, `info`, `debug`, or per module
    #[arg(long, value_name = "FILTER", env = "WHARFINGER_LOG", default_value = "info")]
    pub(super) log: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let filter = EnvFilter::try_new(&arguments.log).map_err(|error| {
        Failure::new(Exit::Usage, error, "for example `--log info` or `--log warn,wharfinger::sinks=debug`")
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).compact().init();
    let unavailable = |error| Failure::new(Exit::Unavailable, error, "");
    if arguments.file.config.is_none() {
        let data_dir = arguments.file.data_dir.clone().unwrap_or_else(config::default_data_dir);
        gateway::first_start(&data_dir).map_err(unavailable)?;
    }
    let loaded = checked(&arguments.file)?;
    let built_in = arguments.file.config.is_none();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unavailable(error.into()))?;
    let again =
        || checked(&arguments.file).map(|loaded| loaded.config).map_err(|failure| anyhow!("{}", failure.text()));
    let left_out = built_in.then_some(loaded.left_out.as_slice());
    let done = runtime.block_on(gateway::run(loaded.config, left_out, again));
    // A library that was loaded (PKCS#11) cleans up when the process ends, and no thread may be in it then, not
    // even to end. One that waits for a name server is left alone.
    runtime.shutdown_timeout(THREADS_MAX);
    done.map(|()| Exit::Ok).map_err(unavailable)
}

/// The configuration, checked against this machine.
fn checked(file: &ConfigFile) -> Result<Loaded, Failure> {
    let loaded = file.load()?;
    print_mistakes("warning", &loaded.config.check()?);
    Ok(loaded)
}
