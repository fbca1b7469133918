//! Sink `file`: lines appended to files named by the time of receipt.
//!
//! Invariant: a request is in the file whole, synced, or not at all; nothing is ever overwritten.

mod output;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use wharfinger_formats::{Event, Field, Time};

use self::output::Output;
use super::compress::Compression;
use super::emitter::Emitter;
use super::receipts::Answer;
use super::{Limits, Outcome, Push, Refused, Sink, SinkConfig};
use crate::part::{ByteSize, Interval, Kind, PartContext, Problem, SetupError, describe_io};

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "file",
    about: "Lines in local files",
    schema: || schemars::schema_for!(FileConfig),
    read: |options| Ok(Box::new(erased_serde::deserialize::<FileConfig>(options)?)),
};

/// Lines in local files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The file; `%Y`, `%m`, `%d` and `%H` are the UTC time of receipt:
    /// `/var/log/wharfinger/%Y-%m-%d/%H.ndjson`. With compression, `.gz` or `.zst` is added.
    pub path: String,
    /// What a line looks like.
    #[serde(default = "Emitter::native")]
    pub format: Emitter,
    /// How files are compressed: a gzip member or zstd frame for each request.
    #[serde(default)]
    pub compression: Compression,
    /// From this size on a file is set aside as `<path>.1`, `<path>.2`, … (the highest is the newest).
    /// Nothing is deleted. Unless it is written, files grow.
    #[serde(default)]
    pub max_bytes: Option<ByteSize>,
    /// How long an event may wait for others. `0s`: what is there is written at once.
    #[serde(default)]
    pub max_age: Option<Interval>,
    /// Whether a request counts as delivered only when it is on the disk.
    #[serde(default = "yes")]
    pub sync: bool,
}

const fn yes() -> bool {
    true
}

/// Bytes of one request, before compression.
const REQUEST_BYTES: usize = 1024 * 1024;
const HOUR_NANOS: i64 = 3_600_000_000_000;

impl FileConfig {
    /// How long requests wait when the options do not say: small gzip members compress badly.
    fn age_max(&self) -> Duration {
        match (self.max_age, self.compression) {
            (Some(age), _) => age.get(),
            (None, Compression::None) => Duration::ZERO,
            (None, _) => Duration::from_secs(5),
        }
    }
}

impl SinkConfig for FileConfig {
    fn check(&self) -> Vec<Problem> {
        let problem = |message: String, hint: &str| vec![Problem { option: "path", message, hint: hint.to_owned() }];
        let path = match render(&self.path, Time(0)) {
            Ok(path) => path,
            Err(message) => return problem(message, "write `%%` for a percent sign"),
        };
        if path.is_empty() || path.ends_with('/') {
            return problem(format!("`{path}` names no file"), "add a file name: `events.ndjson`");
        }
        // The nearest folder that exists must let us in.
        let folder = Path::new(&path).ancestors().skip(1).find(|folder| folder.exists()).map(Path::to_owned);
        let folder = folder.unwrap_or_else(|| PathBuf::from("."));
        match std::fs::metadata(&folder) {
            Ok(metadata) if metadata.is_dir() => Vec::new(),
            Ok(_) => problem(format!("`{}` is no folder", folder.display()), "choose another path"),
            Err(error) => problem(format!("`{}`: {}", folder.display(), describe_io(&error)), "choose another path"),
        }
    }

    fn open(&self, _context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        render(&self.path, Time(0)).map_err(|cause| SetupError::new(format!("cannot write `{}`", self.path), cause))?;
        Ok(Box::new(Files {
            config: self.clone(),
            output: Some(Output::new(self.max_bytes.map(ByteSize::get), self.sync, self.compression)),
            request: Vec::new(),
            hour: None,
            path: PathBuf::new(),
        }))
    }
}

struct Files {
    config: FileConfig,
    /// Absent while a request is written.
    output: Option<Output>,
    request: Vec<u8>,
    /// The hour of receipt the path was made for.
    hour: Option<i64>,
    path: PathBuf,
}

#[async_trait]
impl Sink for Files {
    fn limits(&self) -> Limits {
        Limits { events_max: usize::MAX, bytes_max: REQUEST_BYTES, age_max: self.config.age_max() }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        let received = event.time(Field::ObservedTime).or_else(|| event.time(Field::Time)).unwrap_or(Time(0));
        let hour = received.0.div_euclid(HOUR_NANOS);
        if self.hour != Some(hour) {
            let path = render(&self.config.path, received).map_err(Refused)? + self.config.compression.suffix();
            if !self.request.is_empty() && *self.path != *path {
                return Ok(Push::Full);
            }
            self.path = path.into();
            self.hour = Some(hour);
        }
        self.config.format.emit(event, &mut self.request);
        self.request.push(b'\n');
        Ok(Push::Taken { bytes: self.request.len() })
    }

    async fn deliver(&mut self) -> Outcome {
        let config = &self.config;
        let new_output = || Output::new(config.max_bytes.map(ByteSize::get), config.sync, config.compression);
        let mut output = self.output.take().unwrap_or_else(new_output);
        let (path, request) = (self.path.clone(), std::mem::take(&mut self.request));
        let work = tokio::task::spawn_blocking(move || {
            let written = output.append(&path, &request);
            (output, request, written)
        });
        let written = match work.await {
            Ok((output, request, written)) => {
                self.output = Some(output);
                self.request = request;
                written
            }
            Err(error) => Err(std::io::Error::other(error)),
        };
        self.clear();
        match written {
            Ok(()) => Outcome::Delivered,
            Err(error) => {
                let reason = format!("`{}` cannot be written: {}", self.path.display(), describe_io(&error));
                Outcome::Retry { after: None, reason }
            }
        }
    }

    fn answer(&mut self) -> Answer {
        vec![("file", self.path.display().to_string())]
    }

    fn clear(&mut self) {
        self.request.clear();
        self.hour = None;
    }
}

/// The path at a moment. Only digits are put in: no event can lead out of the folder.
fn render(template: &str, time: Time) -> Result<String, String> {
    let civil = time.civil();
    let mut path = String::with_capacity(template.len() + 8);
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            path.push(letter);
            continue;
        }
        match letters.next() {
            Some('Y') => path.push_str(&format!("{:04}", civil.year)),
            Some('m') => path.push_str(&format!("{:02}", civil.month)),
            Some('d') => path.push_str(&format!("{:02}", civil.day)),
            Some('H') => path.push_str(&format!("{:02}", civil.hour)),
            Some('%') => path.push('%'),
            other => {
                let found = other.map(String::from).unwrap_or_default();
                return Err(format!("`%{found}` is none of `%Y`, `%m`, `%d`, `%H`"));
            }
        }
    }
    Ok(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_262_400_000_000_000;

    #[test]
    fn paths_by_the_hour() {
        assert_eq!(render("/a/%Y-%m-%d/%H%%.log", Time(NOON)).unwrap(), "/a/2026-11-21/12%.log");
        assert!(render("/a/%S", Time(NOON)).is_err());
        assert!(render("/a/%", Time(NOON)).is_err());
    }

    #[tokio::test]
    async fn a_new_hour_ends_the_request_and_begins_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = format!("{}/%H/events.log", dir.path().display());
        let config: FileConfig = serde_json::from_value(serde_json::json!({ "path": path, "format": "raw" })).unwrap();
        assert!(config.check().is_empty());
        let context = PartContext {
            name: "file".to_owned(),
            data_dir: dir.path().to_owned(),
            hostname: "gateway".to_owned(),
            notices: None,
            is_replay: false,
        };
        let mut sink = config.open(&context).unwrap();
        for (raw, time, pushed) in [("a", NOON, true), ("b", NOON + 1, true), ("c", NOON + HOUR_NANOS, false)] {
            let mut event = Event::new(raw.as_bytes());
            event.set(Field::ObservedTime, Time(time));
            assert_eq!(sink.push(&event).unwrap() != Push::Full, pushed);
        }
        assert_eq!(sink.deliver().await, Outcome::Delivered);
        let mut event = Event::new(b"c");
        event.set(Field::ObservedTime, Time(NOON + HOUR_NANOS));
        sink.push(&event).unwrap();
        assert_eq!(sink.deliver().await, Outcome::Delivered);
        let read = |hour: &str| std::fs::read_to_string(dir.path().join(hour).join("events.log")).unwrap();
        assert_eq!((read("12").as_str(), read("13").as_str()), ("a\nb\n", "c\n"));
    }
}
