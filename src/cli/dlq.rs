//! `wharfinger dlq`: what sinks refused for good, and the way back for it.

use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use wharfinger_formats::{EmitContext, Event, FORMATS, Field, stored};

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::table::{count, size, table};
use super::visible::{visible, visible_bytes};
use crate::gateway::control::{self, Answer, Request};
use crate::sinks::quarantined::{self, Quarantined};

/// What sinks refused for good: list it, look at it, bring it back, throw it away
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List refused events, oldest first: time, sink, id, size, reason
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Only those of this sink
        #[arg(long)]
        sink: Option<String>,
        /// As JSON, one event a line
        #[arg(long)]
        json: bool,
    },
    /// Show one refused event: why, its bytes, its fields
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Id of the event
        event_id: String,
        /// Only if this sink refused it
        #[arg(long)]
        sink: Option<String>,
    },
    /// Give events to the running gateway again, for the sink that refused them alone
    Replay {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        which: Which,
    },
    /// Throw events away for good
    Purge {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        which: Which,
    },
}

/// Which refused events.
#[derive(Debug, clap::Args)]
struct Which {
    /// Ids of events
    #[arg(value_name = "EVENT_ID", required_unless_present = "all", conflicts_with = "all")]
    event_ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Only those of this sink
    #[arg(long)]
    sink: Option<String>,
}

impl Which {
    fn has(&self, event: &Quarantined) -> bool {
        let named = self.all || self.event_ids.contains(&event.event_id);
        named && self.sink.as_ref().is_none_or(|sink| *sink == event.sink)
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::List { file, sink, json } => list(&file.data_dir()?, sink.as_deref(), *json),
        Verb::Show { file, event_id, sink } => show(&file.data_dir()?, event_id, sink.as_deref()),
        Verb::Replay { file, which } => replay(&file.data_dir()?, which),
        Verb::Purge { file, which } => purge(&file.data_dir()?, which),
    }
}

fn failed(error: io::Error) -> Failure {
    let hint = "may this user read it? it belongs to the user of the gateway";
    Failure::new(Exit::NoInput, anyhow::Error::from(error).context("the quarantine cannot be read"), hint)
}

fn files(data_dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    quarantined::files(&data_dir.join("quarantine")).map_err(failed)
}

/// All events that are wanted, oldest first in each file.
fn events(data_dir: &Path, wanted: impl Fn(&Quarantined) -> bool) -> Result<Vec<Quarantined>, Failure> {
    let mut events = Vec::new();
    for path in files(data_dir)? {
        let mut torn = 0;
        quarantined::read(&path, |event| -> io::Result<()> {
            match event {
                Some(event) => events.extend(wanted(&event).then_some(event)),
                None => torn += 1,
            }
            Ok(())
        })
        .map_err(failed)?;
        if torn > 0 {
            eprintln!("warning: {} in `{}` cannot be read", count(torn, "line"), visible(&path.display().to_string()));
        }
    }
    Ok(events)
}

fn list(data_dir: &Path, sink: Option<&str>, as_json: bool) -> Result<Exit, Failure> {
    let events = events(data_dir, |event| sink.is_none_or(|sink| *sink == event.sink))?;
    let bytes = |event: &Quarantined| event.raw().map_or(0, |raw| raw.len() as u64);
    let mut text = String::new();
    if as_json {
        for event in &events {
            let Quarantined { time, sink, event_id, reason, .. } = event;
            let line =
                json!({"time": time, "sink": sink, "event_id": event_id, "bytes": bytes(event), "reason": reason});
            text.push_str(&format!("{line}\n"));
        }
    } else if events.is_empty() {
        text.push_str("nothing is in quarantine\n");
    } else {
        let row = |event: &Quarantined| {
            let words = [&event.time, &event.sink, &event.event_id].map(|word| word.as_str().into());
            let [time, sink, id] = words;
            [time, sink, id, bytes(event).into(), event.reason.as_str().into()]
        };
        let rows: Vec<_> = events.iter().map(row).collect();
        text.push_str(&table(["refused", "sink", "event", "bytes", "reason"], &rows));
    }
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn not_there(event_ids: &[String]) -> Failure {
    let error = anyhow::anyhow!("not in quarantine: `{}`", event_ids.join("`, `"));
    Failure::new(Exit::NoInput, error, "`wharfinger dlq list` shows what is")
}

fn show(data_dir: &Path, event_id: &str, sink: Option<&str>) -> Result<Exit, Failure> {
    let wanted = |event: &Quarantined| event.event_id == event_id && sink.is_none_or(|sink| *sink == event.sink);
    let events = events(data_dir, wanted)?;
    if events.is_empty() {
        return Err(not_there(&[event_id.to_owned()]));
    }
    let text: Vec<String> = events.iter().map(describe).collect();
    output::write(text.join("\n").as_bytes())?;
    Ok(Exit::Ok)
}

fn describe(event: &Quarantined) -> String {
    let [id, sink, time, reason] = [&event.event_id, &event.sink, &event.time, &event.reason].map(|text| visible(text));
    let mut text = format!("event    {id}\nsink     {sink}\nrefused  {time}\nreason   {reason}\n");
    if let Some(raw) = event.raw() {
        text.push_str(&format!("bytes    {}\n\n{}\n", size(raw.len() as u64), visible_bytes(&raw)));
    }
    let record = event.record().unwrap_or_default();
    let emit = FORMATS.iter().find(|format| format.name == "json").and_then(|format| format.emit);
    match (stored::decode(&record, Event::new(b"")), emit) {
        (Ok(mut decoded), Some(emit)) => {
            decoded.set(Field::EventId, event.event_id.as_str());
            let mut line = Vec::new();
            emit(&decoded, &EmitContext::default(), &mut line);
            text.push_str(&format!("\n{}\n", visible_bytes(&line)));
        }
        (Err(error), _) => text.push_str(&format!("\nthe stored record cannot be read: {error}\n")),
        (Ok(_), None) => {}
    }
    text
}

fn replay(data_dir: &Path, which: &Which) -> Result<Exit, Failure> {
    let mut events = events(data_dir, |event| which.has(event))?;
    // A crash may have left an event twice.
    let mut seen = HashSet::new();
    events.retain(|event| seen.insert((event.sink.clone(), event.event_id.clone())));
    if events.is_empty() && !which.all {
        return Err(not_there(&which.event_ids));
    }
    if events.is_empty() {
        output::write(b"nothing is in quarantine\n")?;
        return Ok(Exit::Ok);
    }
    let path = control::path(data_dir);
    let mut gateway = Gateway::connect(&path).map_err(|error| {
        let error = anyhow::Error::from(error).context(format!("no gateway answers on `{}`", path.display()));
        Failure::new(Exit::Unavailable, error, "start the gateway: it delivers what is brought back")
    })?;
    let mut done = 0;
    let mut stopped = None;
    for event in &events {
        match gateway.replay(event) {
            Ok(()) => done += 1,
            Err(error) => {
                stopped = Some(error);
                break;
            }
        }
    }
    // Those that are in the journal again, and no others.
    let back = &events[..done];
    for path in files(data_dir)? {
        let same =
            |event: &Quarantined| back.iter().any(|back| back.sink == event.sink && back.event_id == event.event_id);
        quarantined::remove(&path, same).map_err(failed)?;
    }
    output::write(format!("{} brought back\n", count(done as u64, "event")).as_bytes())?;
    match stopped {
        None => Ok(Exit::Ok),
        Some(error) => {
            Err(Failure::new(Exit::Unavailable, error, "the others are still in quarantine: try again later"))
        }
    }
}

/// A running gateway's control socket.
struct Gateway {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Gateway {
    fn connect(path: &Path) -> io::Result<Gateway> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Gateway { stream, answers })
    }

    fn replay(&mut self, event: &Quarantined) -> anyhow::Result<()> {
        let Quarantined { sink, event_id, record, .. } = event.clone();
        let mut line = serde_json::to_vec(&Request::Replay { sink, event_id, record })?;
        line.push(b'\n');
        self.stream.write_all(&line).context("the gateway cannot be asked")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).context("the gateway does not answer")?;
        match serde_json::from_str(&answer).context("the gateway's answer cannot be read")? {
            Answer::Done => Ok(()),
            Answer::Failed(reason) => {
                Err(anyhow::anyhow!("event `{}` cannot be brought back: {reason}", event.event_id))
            }
        }
    }
}

fn purge(data_dir: &Path, which: &Which) -> Result<Exit, Failure> {
    let mut gone = 0;
    for path in files(data_dir)? {
        gone += quarantined::remove(&path, |event| which.has(event)).map_err(failed)?;
    }
    if gone == 0 && !which.all {
        return Err(not_there(&which.event_ids));
    }
    output::write(format!("{} thrown away\n", count(gone, "event")).as_bytes())?;
    Ok(Exit::Ok)
}
