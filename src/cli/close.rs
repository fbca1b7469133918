//! `wharfinger archive close`: the end of an archive for good.

use super::config_file::ConfigFile;
use super::convert::now;
use super::failure::{Exit, Failure};
use super::output;
use super::visible::visible_lines;
use crate::part::PartContext;
use crate::sinks::Ended;

/// End an archive for good: a last seal says that no other follows, so that its end is proven for ever.
/// The gateway must not run
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The sink that writes it
    #[arg(long)]
    sink: String,
    /// Why: it stands in the seal
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    pub(super) file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { sink, reason, file } = arguments;
    let config = file.load()?.config;
    let usage = |error: anyhow::Error, hint: &str| Failure::new(Exit::Usage, error, hint);
    let Some(part) = config.sinks.iter().find(|part| part.name == *sink) else {
        let hint = "name one of the configuration, or another configuration";
        return Err(usage(anyhow::anyhow!("there is no sink `{sink}`"), hint));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error, ""))?;
    // A bucket is reached from here.
    let _entered = runtime.enter();
    let (name, data_dir) = (sink.clone(), config.data_dir.clone());
    let context = PartContext { name, data_dir, hostname: String::new(), notices: None, is_replay: false };
    let Some(ended) = part.options.end(&context, reason, now()) else {
        let hint = "only an `archive` can be ended";
        return Err(usage(anyhow::anyhow!("the sink `{sink}` is of type `{}`", part.kind), hint));
    };
    let Ended { proof, not_vouched } = ended.map_err(|error| {
        let hint = "stop the gateway first; where the store was down, the same again goes on";
        Failure::new(Exit::Unavailable, error, hint)
    })?;
    output::write(visible_lines(&proof).as_bytes())?;
    if not_vouched.is_empty() {
        return Ok(Exit::Ok);
    }
    let error = anyhow::anyhow!("the archive is closed; {}", not_vouched.join("; "));
    Err(Failure::new(Exit::Unavailable, error, "the same command again asks again"))
}
