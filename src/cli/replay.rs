//! `wharfinger replay`: a period of an archive, once more, to a sink of the configuration.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::{Event, Field};

use super::archive_read::rfc3339;
use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::place::Reach;
use super::sealed::{self, Events, Part, unread};
use super::table::{count, grouped, table};
use super::verify;
use super::visible::visible;
use crate::archive::{Place, Reader, Reading, read_events, received};
use crate::config::Config;
use crate::filter::Filter;
use crate::identity::{Local, Roots};
use crate::part::PartContext;
use crate::replay::{Ended, Job, Progress, ReplayError, StateFile, replay};

/// Deliver a period of an archive once more, to one sink, with the ids and times it had
///
/// Events say `replayed`. One that was stopped goes on where it was when it is called again in the same
/// way.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub file: ConfigFile,
    /// The sink of the configuration that gets the events
    #[arg(long, value_name = "NAME")]
    to_sink: String,
    /// The archive, if it is not the one of the configuration: its folder, or `s3://bucket/prefix/STREAM`
    #[arg(long, value_name = "ARCHIVE")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    events: Events,
    /// At most so many events a second: `500` or `500/s`
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<u64>,
    /// Deliver nothing: say what would be delivered, by source and hour
    #[arg(long)]
    dry_run: bool,
    /// Begin at the beginning, also if an earlier call was stopped
    #[arg(long)]
    again: bool,
    /// The report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

fn rate(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected how many events a second: `500`".to_owned())
}

const SHOWN_EVERY: Duration = Duration::from_millis(250);

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = arguments.file.load()?.config;
    // A second installation is no error: whoever came first chose the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error, ""))?;
    let _entered = runtime.enter();
    let part =
        config.sinks.iter().find(|part| part.name == arguments.to_sink).ok_or_else(|| no_sink(arguments, &config))?;
    if part.options.archive().is_some() {
        let error = anyhow::anyhow!("the sink `{}` is an archive: it seals what the gateway takes in", part.name);
        return Err(Failure::new(Exit::Usage, error, "name another sink"));
    }
    let readers = readers(arguments, &config)?;
    if arguments.dry_run {
        return dry_run(arguments, readers);
    }
    let dir = config.data_dir.join("replay");
    let beginning = readers.first().map(|(_, reader)| reader.beginning()).transpose().map_err(unread)?.flatten();
    let job = describe(arguments, beginning, part.hash());
    let state = StateFile::open(&dir, &job, arguments.again);
    let state = state.map_err(|error| failed(error.into(), arguments))?;
    let before = state.state();
    if before.delivered > 0 {
        eprintln!("goes on behind {}; `--again` begins anew", count(before.delivered, "event"));
    }
    let job = Job {
        readers,
        period: arguments.part.period(),
        filter: arguments.events.filter(),
        rate: arguments.rate,
        sink: part.name.clone(),
        redact: part.every.redact.open().map_err(|error| failed(error.into(), arguments))?,
        refused_dir: dir.join("refused"),
    };
    let hostname = Local::read(&Roots { dmi: config.identity.dmi.clone(), ..Roots::default() }).hostname;
    let context =
        PartContext { name: part.name.clone(), data_dir: state.folder(), hostname, notices: None, is_replay: true };
    let (stop, progress) = (CancellationToken::new(), Arc::new(Progress::default()));
    let began = Instant::now();
    let state = Arc::new(state);
    let ended = runtime.block_on(async {
        tokio::spawn(stop_on_signal(stop.clone()));
        let shown = tokio::spawn(show(Arc::clone(&progress)));
        let ended = replay(job, Arc::clone(&state), || part.options.open(&context), progress, stop).await;
        shown.abort();
        ended
    });
    // The reading thread may still be at work on what nobody waits for.
    let ended = ended.map_err(|error| failed(error, arguments))?;
    if matches!(ended, Ended::Finished(_)) {
        state.finish().map_err(|error| failed(error.into(), arguments))?;
    }
    conclude(arguments, ended, before.delivered, began.elapsed())
}

/// What is asked for, so that the same is known again: another archive in the same place is not, nor is the
/// same sink with another peer.
fn describe(arguments: &Arguments, beginning: Option<[u8; 32]>, sink: [u8; 32]) -> String {
    let Arguments { file, to_sink, archive, part, events, .. } = arguments;
    let time = |time: Option<wharfinger_formats::Time>| time.map(rfc3339);
    let hex = |hash: [u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    json!({
        "config": file.config, "archive": archive, "stream": part.stream, "to_sink": to_sink,
        "from": time(part.from), "to": time(part.to), "events": format!("{events:?}"),
        "beginning": beginning.map(hex), "sink": hex(sink),
    })
    .to_string()
}

fn no_sink(arguments: &Arguments, config: &Config) -> Failure {
    let names: Vec<&str> = config.sinks.iter().map(|part| part.name.as_str()).collect();
    let error = anyhow::anyhow!("the configuration has no sink `{}`", arguments.to_sink);
    Failure::new(Exit::Usage, error, format!("it has `{}`", names.join("`, `")))
}

/// The archive that is named, or the one of the configuration, with the key that its gateway keeps.
fn readers(arguments: &Arguments, config: &Config) -> Result<Vec<(String, Reader)>, Failure> {
    if let Some(path) = &arguments.archive {
        return sealed::open(path, &arguments.part, &arguments.reach);
    }
    let archives: Vec<_> =
        config.sinks.iter().filter_map(|part| Some((part.name.as_str(), part.options.archive()?))).collect();
    let wanted = arguments.part.stream.as_deref();
    let base = |name: &str| name.split_once('.').map_or(name.to_owned(), |(base, _)| base.to_owned());
    let mut found = archives.into_iter().filter(|(name, _)| wanted.is_none_or(|wanted| base(wanted) == *name));
    let (Some((name, stores)), None) = (found.next(), found.next()) else {
        let error = anyhow::anyhow!("the configuration does not say which archive is meant");
        return Err(Failure::new(Exit::Usage, error, "`--stream` names a sink of type `archive`, `--archive` a place"));
    };
    let stores = stores.map_err(|error| Failure::new(Exit::Config, error, "see the sink's options"))?;
    let folder = wanted.unwrap_or(name);
    let number = folder.rsplit_once('.').map_or("1", |(_, number)| number);
    let own = config.data_dir.join("sealing").join(name).join(format!("vkey-{number}"));
    let key = match (&arguments.part.key, own.to_str()) {
        (None, Some(own)) if std::path::Path::new(own).is_file() => Some(verify::key(own)?),
        _ => arguments.part.key()?,
    };
    let readers = sealed::readers(&stores, folder, key)?;
    if readers.is_empty() {
        let error = anyhow::anyhow!("the archive `{folder}` has no seal yet");
        return Err(Failure::new(Exit::NoInput, error, "the gateway writes the first with the first object"));
    }
    Ok(readers)
}

async fn stop_on_signal(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
    }
}

/// A bar for people; for others, why nothing is delivered, once.
async fn show(progress: Arc<Progress>) {
    let bar = match io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let (mut before, mut told) = (0, None);
    loop {
        tokio::time::sleep(SHOWN_EVERY).await;
        let delivered = progress.delivered.load(Relaxed);
        let rate = delivered.saturating_sub(before) as f64 / SHOWN_EVERY.as_secs_f64();
        before = delivered;
        let left = progress.seals_left.load(Relaxed);
        let trouble = progress.trouble();
        let text = format!("{} delivered, {rate:.0}/s, {} left", count(delivered, "event"), count(left, "seal"));
        bar.set_message(trouble.as_ref().map_or(text, |trouble| format!("trying again: {}", visible(trouble))));
        bar.tick();
        if bar.is_hidden() && trouble.is_some() && told.is_none() {
            eprintln!("trying again: {}", visible(trouble.as_deref().unwrap_or_default()));
        }
        told = trouble;
    }
}

fn conclude(arguments: &Arguments, ended: Ended, before: u64, took: Duration) -> Result<Exit, Failure> {
    let (Ended::Finished(passed) | Ended::Stopped(passed)) = ended;
    let is_finished = matches!(ended, Ended::Finished(_));
    let rate = passed.delivered.saturating_sub(before) as f64 / took.as_secs_f64().max(0.001);
    let text = match arguments.json {
        true => {
            let report = json!({
                "finished": is_finished, "sink": arguments.to_sink, "delivered": passed.delivered,
                "delivered_before": before, "filtered": passed.filtered, "refused": passed.quarantined,
                "seconds": took.as_secs_f64(), "events_per_second": rate.round(),
            });
            format!("{report:#}\n")
        }
        false => {
            let mut text =
                format!("{} delivered to `{}`", count(passed.delivered, "event"), visible(&arguments.to_sink));
            text.push_str(&format!(" in {:.1} s, {} a second\n", took.as_secs_f64(), grouped(rate as u64)));
            if passed.quarantined > 0 {
                let refused = count(passed.quarantined, "event");
                text.push_str(&format!(
                    "{refused} refused for good: `replay/refused` in the data directory has them\n"
                ));
            }
            if !is_finished {
                text.push_str("stopped: the same call goes on\n");
            }
            text
        }
    };
    output::write(text.as_bytes())?;
    Ok(if is_finished { Exit::Ok } else { Exit::Unavailable })
}

fn failed(error: ReplayError, arguments: &Arguments) -> Failure {
    match error {
        ReplayError::Unread(error) => unread(error),
        ReplayError::Alarm(_) => {
            let error = anyhow::Error::from(error).context(format!("`{}` takes nothing", arguments.to_sink));
            Failure::new(Exit::Unavailable, error, "what was delivered is noted: the same call goes on")
        }
        ReplayError::Sink(_) => Failure::new(Exit::Config, error, "see the sink's options"),
        ReplayError::State(_) => {
            Failure::new(Exit::CannotCreate, error, "the user of the gateway may write its data directory")
        }
    }
}

/// Counts what would be delivered.
struct Counting {
    filter: Filter,
    /// Source and hour.
    counts: BTreeMap<(String, String), u64>,
}

/// Sources and hours that are told apart.
const ROWS_MAX: usize = 100_000;

impl Reading for Counting {
    fn event(&mut self, _: Place, event: &mut Event<'_>) -> io::Result<bool> {
        if self.filter.has(event) {
            let hour: String = rfc3339(received(event)).chars().take(13).collect();
            let source = event.text(Field::Source).unwrap_or("unknown").to_owned();
            if self.counts.len() < ROWS_MAX || self.counts.contains_key(&(source.clone(), hour.clone())) {
                *self.counts.entry((source, hour)).or_default() += 1;
            } else {
                *self.counts.entry(("others".to_owned(), "any".to_owned())).or_default() += 1;
            }
        }
        Ok(true)
    }
}

fn dry_run(arguments: &Arguments, mut readers: Vec<(String, Reader)>) -> Result<Exit, Failure> {
    let mut counting = Counting { filter: arguments.events.filter(), counts: BTreeMap::new() };
    read_events(&mut readers, arguments.part.period(), Place::default(), &mut counting).map_err(unread)?;
    let total: u64 = counting.counts.values().sum();
    let text = match arguments.json {
        true => {
            let row = |((source, hour), events): (&(String, String), &u64)| json!({ "source": source, "hour": hour, "events": events });
            let rows: Vec<_> = counting.counts.iter().map(row).collect();
            format!("{:#}\n", json!({ "sink": arguments.to_sink, "events": total, "by_source_and_hour": rows }))
        }
        false => {
            let row = |((source, hour), events): (&(String, String), &u64)| {
                [source.as_str().into(), hour.as_str().into(), (*events).into()]
            };
            let rows: Vec<_> = counting.counts.iter().map(row).collect();
            let sink = visible(&arguments.to_sink);
            format!(
                "{}\n{} would be delivered to `{sink}`\n",
                table(["source", "hour", "events"], &rows),
                count(total, "event")
            )
        }
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}
