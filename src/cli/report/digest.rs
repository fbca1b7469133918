//! `wharfinger report digest`: what a day of an archive has brought, for its daily review.
//!
//! The gateway starts this every day; by hand it makes what is missing. A digest is one object of JSON and a text
//! beside it, each written once: what is there is never made again, so what is owed is known by a look alone.
//!
//! Invariants: a digest names the one before it by its hash; the JSON is the digest, and its text is made of it.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wharfinger_formats::Time;
use wharfinger_formats::visible::visible;

use super::super::archive_read::rfc3339;
use super::super::config_file::ConfigFile;
use super::super::convert::now;
use super::super::custody::recorded;
use super::super::engine::{Engine, Evidence, Folder, Named};
use super::super::failure::{Exit, Failure};
use super::super::sealed::{readers, unread};
use super::super::{output, verify};
use super::export::{checked, inventory_words, machine_rows, seals};
use crate::archive::{
    Dir, Mark, OpenStore, Others, Period, Put, Question, Reader, Store, Unread, VerifyingKey, read_small, verify_part,
};
use crate::config::{Config, DigestOptions};
use crate::gateway;
use crate::intake::{Digest, DigestState};

/// The folder in an archive.
const FOLDER: &str = "digests";
const DAY_NANOS: i64 = 24 * 3_600_000_000_000;
/// No digest is longer: what it lists is bounded.
const BYTES_MAX: u64 = 16 << 20;
/// Of its text so much is told to the gateway; an event takes less.
const TOLD_BYTES_MAX: usize = 64 << 10;
/// What the engine may take for one day. Whoever waits ends it earlier.
const SECONDS_MAX: u64 = 6 * 3600;
const MEMORY_BYTES: u64 = 512 << 20;
/// Behind everybody else: the gateway has work to do.
const NICENESS: i32 = 10;
const OUT_OF_MEMORY_FIRST: &str = "800";

/// Make the digests of days that are over: what was received, found and lost, for the daily review
///
/// The gateway does this every day, as the section `digests` of its configuration says. By hand it makes those that
/// are missing, or that of one day. What is there is never made again. Ends with 14 where the archive does not prove
/// yet that a day is whole.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which of the section `digests`
    name: String,
    /// Only that of this day of UTC: `2026-11-21`
    #[arg(long, value_name = "DAY", value_parser = day)]
    day: Option<Day>,
    /// Also where the archive does not prove that the day is whole: the digest says so, and stays so
    #[arg(long)]
    unproven: bool,
    /// As JSON, a line for each day
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// A day of UTC, counted since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Day(i64);

impl Day {
    fn of(time: Time) -> Day {
        Day(time.0.div_euclid(DAY_NANOS))
    }

    fn from(self) -> Time {
        Time(self.0.saturating_mul(DAY_NANOS))
    }

    fn to(self) -> Time {
        Day(self.0 + 1).from()
    }

    /// `2026-11-21`.
    fn name(self) -> String {
        rfc3339(self.from()).chars().take(10).collect()
    }
}

fn day(text: &str) -> Result<Day, String> {
    match Time::parse_rfc3339(format!("{text}T00:00:00Z").as_bytes()) {
        Some((time, used)) if used == text.len() + 10 && Day::of(time).name() == text => Ok(Day::of(time)),
        _ => Err("expected a day such as `2026-11-21`".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    // What the kernel does not grant, is not needed.
    rustix::process::setpriority_process(None, NICENESS).ok();
    fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_FIRST).ok();
    let config = arguments.file.load()?.config;
    // A bucket is reached from here.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error, ""))?;
    let _entered = runtime.enter();
    let Some(mut book) = Book::open(&config, arguments)? else {
        eprintln!("note: nothing is sealed yet, so there is nothing to tell");
        return Ok(Exit::Ok);
    };
    let days = book.days(arguments.day)?;
    // Whoever reads no evidence need not be recorded.
    if days.iter().all(|day| book.made.contains(day)) {
        return book.tell(&days, arguments);
    }
    recorded(&arguments.file, "export", || book.tell(&days, arguments))
}

/// The digests of one name, and the archive that they are of.
struct Book<'c> {
    config: &'c Config,
    name: &'c str,
    options: &'c DigestOptions,
    stores: OpenStore,
    key: VerifyingKey,
    began: Day,
    store: Arc<dyn Store>,
    /// Where its digests stand in `store`, and what people are told before that.
    folder: String,
    shown: String,
    made: BTreeSet<Day>,
}

impl<'c> Book<'c> {
    /// None while nothing was sealed.
    fn open(config: &'c Config, arguments: &Arguments) -> Result<Option<Book<'c>>, Failure> {
        let Some(named) = config.digests.iter().find(|digest| digest.name == arguments.name) else {
            let error = anyhow::anyhow!("there is no digest `{}`", arguments.name);
            let names: Vec<_> = config.digests.iter().map(|digest| format!("`{}`", digest.name)).collect();
            let hint = match names.is_empty() {
                true => "the section `digests` of the configuration (`--config`) has none".to_owned(),
                false => format!("the section `digests` has {}", names.join(", ")),
            };
            return Err(Failure::new(Exit::Usage, error, hint));
        };
        let options = &named.options;
        let sink = config.sinks.iter().find(|sink| sink.name == options.archive);
        let stores = sink.and_then(|sink| sink.options.archive()).ok_or_else(|| {
            let error = anyhow::anyhow!("there is no sink `{}` of type `archive`", options.archive);
            Failure::new(Exit::Config, error, "`wharfinger validate` says more")
        })?;
        let stores =
            stores.map_err(|error| Failure::new(Exit::Unavailable, error, "`wharfinger validate` says more"))?;
        let key = config.data_dir.join("sealing").join(&options.archive).join("vkey-1");
        if !key.exists() {
            return Ok(None);
        }
        let key = verify::key(&key.to_string_lossy())?;
        let began = Reader::new(stores(&options.archive), None).began().map_err(unread)?;
        let Some(began) = began else { return Ok(None) };
        // The gateway, as the key of its archive calls it: two of them may share a folder.
        let gateway = key.name().split('/').next().unwrap_or_default();
        let folder = format!("{gateway}/{}", named.name);
        let (store, shown): (Arc<dyn Store>, _) = match &options.to {
            Some(to) => (Arc::new(Dir::new(to)), to.display().to_string()),
            None => (stores(FOLDER), FOLDER.to_owned()),
        };
        let listed = store.keys(&folder).map_err(|error| away(&shown, error))?;
        let day_of =
            |(key, _): &(String, u64)| day(key.strip_prefix(&folder)?.strip_prefix('/')?.strip_suffix(".json")?).ok();
        let made = listed.iter().filter_map(day_of).collect();
        let began = Day::of(began);
        Ok(Some(Book { config, name: &named.name, options, stores, key, began, store, folder, shown, made }))
    }

    /// Which are asked for: that one, or those of the last days whose time has come, from the first of the archive on.
    fn days(&self, asked: Option<Day>) -> Result<Vec<Day>, Failure> {
        if let Some(day) = asked {
            return match day.to() <= now() {
                true => Ok(vec![day]),
                false => {
                    let error = anyhow::anyhow!("{} is not over", day.name());
                    Err(Failure::new(Exit::Usage, error, "a day ends at midnight, UTC"))
                }
            };
        }
        let last = self.options.last_due(now());
        let first = (last + 1 - i64::from(self.options.catch_up_days)).max(self.began.0);
        Ok((first..=last).map(Day).collect())
    }

    /// Says of each day what became of it; one that fails does not hold up the next. One that is not proven does: what
    /// proves a later day proves it as well, and each is to name the one before it.
    fn tell(&mut self, days: &[Day], arguments: &Arguments) -> Result<Exit, Failure> {
        let (mut exit, mut waits) = (Exit::Ok, false);
        for day in days {
            let digest = match waits && !self.made.contains(day) {
                true => Ok(self.waiting(*day)),
                false => self.digest(*day, arguments.unproven),
            };
            let (told, ended) = match digest {
                Ok(told) if told.state == DigestState::Waits => {
                    waits = true;
                    (told, Exit::EndNotProven)
                }
                Ok(told) => (told, Exit::Ok),
                Err(failure) => {
                    let why = failure.text().split_whitespace().collect::<Vec<_>>().join(" ");
                    let why = why.strip_prefix("error: ").map(str::to_owned).unwrap_or(why);
                    (Digest { why, ..self.blank(*day) }, failure.exit())
                }
            };
            let line = match arguments.json {
                true => serde_json::to_string(&told).unwrap_or_default(),
                false => match told.state {
                    DigestState::Made => {
                        format!("{}: {}, {}, SHA-256 {}", told.day, told.result, visible(&told.file), told.sha256)
                    }
                    _ => format!("{}: not made: {}", told.day, visible(&told.why)),
                },
            };
            output::write(format!("{line}\n").as_bytes())?;
            exit = if exit == Exit::Ok { ended } else { exit };
        }
        Ok(exit)
    }

    /// Of which nothing is known yet.
    fn blank(&self, day: Day) -> Digest {
        Digest {
            name: self.name.to_owned(),
            day: day.name(),
            from: day.from().0,
            to: day.to().0,
            framework: self.options.framework.clone(),
            scope: self.options.scope.clone().unwrap_or_default(),
            ..Digest::default()
        }
    }

    /// Whose time has not come.
    fn waiting(&self, day: Day) -> Digest {
        let why = "the archive does not prove yet that the day is whole".to_owned();
        Digest { state: DigestState::Waits, why, ..self.blank(day) }
    }

    /// That of a day: as it is there, else made.
    fn digest(&mut self, day: Day, unproven: bool) -> Result<Digest, Failure> {
        if !self.made.contains(&day) {
            let Some(document) = self.document(day, unproven)? else { return Ok(self.waiting(day)) };
            let (key, text) = (self.key_of(day, "json"), format!("{document:#}\n"));
            if text.len() as u64 > BYTES_MAX {
                let error = anyhow::anyhow!("the digest of {} would have {} bytes", day.name(), text.len());
                return Err(Failure::new(Exit::CannotCreate, error, "`scope` makes it smaller"));
            }
            // Somebody else may have made it meanwhile: then that one counts.
            self.store.put_new(&key, text.as_bytes()).map_err(|error| away(&self.shown, error))?;
            self.made.insert(day);
        }
        let (bytes, document) = self.read(day)?;
        let key = self.key_of(day, "txt");
        let text = document["text"].as_str().unwrap_or_default();
        // A crash may have come between the two.
        match self.store.put_new(&key, text.as_bytes()).map_err(|error| away(&self.shown, error))? {
            Put::Done | Put::Same => {}
            Put::Other => {
                let error = anyhow::anyhow!("`{}/{key}` is not the text of the digest beside it", self.shown);
                return Err(Failure::new(Exit::Altered, error, "remove it: it is made again of the JSON"));
            }
        }
        Ok(self.said(day, &bytes, &document))
    }

    fn key_of(&self, day: Day, ending: &str) -> String {
        format!("{}/{}.{ending}", self.folder, day.name())
    }

    /// One that is there, and of this archive.
    fn read(&self, day: Day) -> Result<(Vec<u8>, Value), Failure> {
        let key = self.key_of(day, "json");
        let bytes = read_small(&*self.store, &key, BYTES_MAX).map_err(|error| away(&self.shown, error))?;
        let bytes = bytes.unwrap_or_default();
        let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let of = [&document["key"], &document["digest"], &document["day"]].map(Value::as_str);
        if of != [Some(&*self.key.to_string()), Some(self.name), Some(&*day.name())] {
            let error = anyhow::anyhow!("`{}/{key}` is no digest `{}` of this archive", self.shown, self.name);
            let hint = "it was altered, or another gateway of this name writes there: `to` names a folder of its own";
            return Err(Failure::new(Exit::Altered, error, hint));
        }
        Ok((bytes, document))
    }

    /// The last one before a day that is of this archive. One that is not is told of as itself, and holds up no other.
    fn previous(&self, day: Day) -> Result<Value, Failure> {
        for before in self.made.range(..day).rev() {
            match self.read(*before) {
                Ok((bytes, _)) => return Ok(json!({"day": before.name(), "sha256": hex(&bytes)})),
                Err(failure) if failure.exit() == Exit::Altered => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Value::Null)
    }

    /// What a digest that is there says.
    fn said(&self, day: Day, bytes: &[u8], document: &Value) -> Digest {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_i64().unwrap_or_default();
        let length = |value: &Value| value.as_array().map_or(0, Vec::len) as i64;
        let classes = document["classes"].as_array().into_iter().flatten();
        let before = &document["previous"];
        let previous = format!("{} {}", text(&before["day"]), text(&before["sha256"]));
        Digest {
            state: DigestState::Made,
            result: text(&document["result"]),
            file: format!("{}/{}", self.shown, self.key_of(day, "json")),
            sha256: hex(bytes),
            previous: previous.trim().to_owned(),
            events: number(&document["events"]),
            machines: number(&document["machines_total"]),
            findings: number(&document["findings_total"]),
            missing: length(&document["missing"]) + number(&document["missing_more"]),
            classes: classes.map(|class| (text(&class["id"]), number(&class["events"]))).collect(),
            text: beginning(&document["text"]),
            ..self.blank(day)
        }
    }

    /// Makes that of a day; none while the archive does not prove that the day is whole.
    fn document(&self, day: Day, unproven: bool) -> Result<Option<Value>, Failure> {
        let period = Period { from: Some(day.from()), to: Some(day.to()) };
        let others = Others { authorities: None, witnesses: Vec::new() };
        // No clock proves it: a gateway that catches up seals old events late. What was received later, and is sealed,
        // does, and so does a stream that is closed.
        let end = Time(i64::MAX);
        let question = Question { key: self.key.clone(), deep: false, anchors: Vec::new(), end, others };
        let mut watch = verify::Shown::bar();
        let archive = &self.options.archive;
        let reports = verify_part(&self.stores, archive, &question, period, Mark::default(), &mut watch);
        drop(watch);
        let checked = checked(&self.key, &reports.map_err(verify::unreadable)?);
        if checked.exit == Exit::EndNotProven && !unproven {
            return Ok(None);
        }
        let readers = readers(&self.stores, archive, Some(self.key.clone()))?;
        let (evidence, unread) = Evidence::there(readers, period, &checked.faulty);
        if let Some(Named { why: Unread::Io(error), .. }) = unread.iter().find(|one| matches!(one.why, Unread::Io(_))) {
            let error = anyhow::anyhow!("the archive cannot be read: {error}");
            return Err(Failure::new(Exit::Unavailable, error, "it is tried again"));
        }
        let unread: Vec<_> = unread.iter().map(Named::to_string).collect();
        let inventory = self.inventory()?;
        let previous = self.previous(day)?;
        let gateway = self.key.name().split('/').next().unwrap_or_default();
        let findings: Vec<_> = checked.findings.iter().chain(&unread).map(|text| visible(text)).collect();
        let yardsticks = [format!("silent after {}", self.options.silent_after), inventory_words(inventory.as_deref())];
        let tool = concat!("wharfinger ", env!("CARGO_PKG_VERSION"));
        let task = json!({
            "name": self.name,
            "gateway": gateway,
            "day": day.name(),
            "previous": previous,
            "export": {
                "pack": "",
                "framework": self.options.framework,
                "scope": self.options.scope,
                "from": rfc3339(day.from()),
                "to": rfc3339(day.to()),
                "tool": tool,
                "verified": {
                    "good": checked.exit == Exit::Ok && unread.is_empty(),
                    "verdict": checked.verdict,
                    "findings": findings,
                    "gaps": checked.gaps,
                },
                "yardsticks": yardsticks,
                "seals": seals(&evidence),
                "inventory": inventory,
                "silent_seconds": self.options.silent_after.get().as_secs(),
                "limits": {"seconds": SECONDS_MAX, "memory_bytes": MEMORY_BYTES},
            },
        });
        let folder = Folder::temporary(&std::env::temp_dir().join("wharfinger-digest"))?;
        let said = Engine::ask(period, &evidence, &folder.path, &json!({"digest": task}))?.value()?;
        let sum = &said["summary"];
        let as_of = evidence.last_seals().map(|(stream, seal)| json!({"stream": stream, "seal": seal}));
        Ok(Some(json!({
            "digest": self.name, "gateway": gateway, "archive": archive, "key": self.key.to_string(),
            "day": day.name(), "from": sum["from"], "to": sum["to"], "scope": sum["scope"],
            "framework": sum["framework"], "catalog": sum["catalog"], "classes_version": sum["classes_version"],
            "tool": tool, "measured": sum["yardsticks"], "previous": previous,
            "as_of": as_of.collect::<Vec<_>>(),
            "result": sum["result"], "integrity": sum["verdict"], "missing": sum["missing"],
            "missing_more": sum["missing_more"], "events": sum["events"], "unclassified": sum["unclassified"],
            "filtered": sum["filtered"], "not_understood": sum["not_understood"], "objects": sum["objects"],
            "classes": sum["classes"], "machines_total": sum["machines"], "never_heard": sum["never_heard"],
            "silent": sum["silent"], "machines": said["machines"], "findings_total": sum["findings"],
            "findings": said["findings"], "gaps": sum["gaps"], "text": said["text"],
        })))
    }

    /// The machines that should have been heard; none where nobody says so.
    fn inventory(&self) -> Result<Option<Vec<Value>>, Failure> {
        if self.config.identity.inventory.is_empty() && self.config.providers.is_empty() {
            return Ok(None);
        }
        let entries = gateway::known_machines(self.config)
            .map_err(|error| Failure::new(Exit::Config, error, "`wharfinger inventory check` says more"))?;
        Ok(Some(machine_rows(&entries, Some(&self.config.policy))))
    }
}

/// As much of a text as is told.
fn beginning(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    text.get(..text.floor_char_boundary(TOLD_BYTES_MAX)).unwrap_or_default().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn away(place: &str, error: std::io::Error) -> Failure {
    let error = anyhow::Error::from(error).context(format!("digests cannot be kept in `{place}`"));
    Failure::new(Exit::CannotCreate, error, "is it there, is there room, and may the gateway write to it?")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn days_have_names() {
        for name in ["1970-01-01", "2024-02-29", "2026-11-21", "2026-12-31"] {
            let read = day(name).unwrap();
            assert_eq!(read.name(), name);
            assert_eq!((Day::of(read.from()), Day::of(read.to())), (read, Day(read.0 + 1)));
        }
        for wrong in ["", "2026-02-29", "2026-11-21T00", "21.11.2026", "2026-11-21 ", "2026-1-1"] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
    }
}
