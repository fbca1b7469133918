//! `wharfinger diff`: what events say differently, field by field: the lines of two files, or the
//! lines of one as they are after two emitters have written them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde_json::json;
use wharfinger_formats::{Emit, EmitContext, Event, FORMATS, Field, Format, Offset, Value};

use super::convert::zone;
use super::failure::{Exit, Failure};
use super::input::{Input, Line};
use super::output;
use super::records::{Reading, Records, readable};
use super::visible::visible;
use crate::part::describe_io;

/// Compare events field by field: the lines of two files, or with `--emitters cef,leef` one file
/// as two formats carry it; exit code 1 when they differ
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One file, or the only one with `--emitters`; `-` is stdin
    #[arg(value_name = "FILE")]
    one: PathBuf,

    /// The other file
    #[arg(value_name = "OTHER", required_unless_present = "emitters", conflicts_with = "emitters")]
    other: Option<PathBuf>,

    /// Two formats that are written and read: what each brings of the same event
    #[arg(long, value_name = "ONE,OTHER", value_parser = emitters)]
    emitters: Option<Pair>,

    /// Format of the input, as for `convert`; native JSON is read where it is named: `json`
    #[arg(long, value_name = "FORMAT", default_value = "auto", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(readable()))]
    from: String,

    /// Fields that may differ: `time,format`
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    ignore: Vec<String>,

    /// One object a difference
    #[arg(long)]
    json: bool,

    /// Zone of timestamps that name none: `+01:00`
    #[arg(long, value_name = "OFFSET", default_value = "Z", value_parser = zone, allow_hyphen_values = true)]
    zone: Offset,
}

/// The longest line that is compared.
const LINE_MAX: usize = 1 << 20;

/// Two formats that are written and read.
#[derive(Debug, Clone, Copy)]
struct Pair(&'static Format, &'static Format);

fn emitters(text: &str) -> Result<Pair, String> {
    let both = || FORMATS.iter().filter(|format| format.emit.is_some() && readable().contains(&format.name));
    let find = |name: &str| both().find(|format| format.name == name.trim());
    match text.split_once(',').map(|(one, other)| (find(one), find(other))) {
        Some((Some(one), Some(other))) => Ok(Pair(one, other)),
        _ => {
            let names: Vec<&str> = both().map(|format| format.name).collect();
            Err(format!("expected two of {} with a comma", names.join(", ")))
        }
    }
}

/// What an event says, by the names of its fields and extras.
type Said = BTreeMap<String, String>;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let reading = Reading::new(&arguments.from, arguments.zone);
    let open = |path: &Path| Reader::open(path, &arguments.from);
    let mut page = Page { arguments, events: 0, different: 0 };
    match (&arguments.other, arguments.emitters) {
        (_, Some(Pair(one, other))) => {
            let (one, other) = (Emitted::new(one, arguments.zone), Emitted::new(other, arguments.zone));
            let mut records = open(&arguments.one)?;
            let mut raw = Vec::new();
            while let Some((record, found)) = records.next()? {
                let event = reading.event(found, &record, &mut raw, Event::new(b""));
                page.compare(&one.read(&event), &other.read(&event))?;
            }
        }
        (Some(other), None) => {
            let (mut ones, mut others) = (open(&arguments.one)?, open(other)?);
            loop {
                match (ones.next()?, others.next()?) {
                    (None, None) => break,
                    (one, other) => {
                        let read =
                            |record: Option<Record>| record.map(|(record, found)| read(&reading, found, &record));
                        page.compare(&read(one).unwrap_or_default(), &read(other).unwrap_or_default())?;
                    }
                }
            }
        }
        (None, None) => {}
    }
    page.conclude()
}

/// The bytes of a record, and the format if its file has shown it.
type Record = (Vec<u8>, Option<&'static str>);

/// The records of a file, one by one, without those that are empty.
struct Reader {
    input: Input,
    records: Records,
    waiting: VecDeque<Record>,
    more: bool,
}

impl Reader {
    fn open(path: &Path, from: &str) -> Result<Reader, Failure> {
        let input = Input::open(path).map_err(|error| {
            let error = anyhow::anyhow!(describe_io(&error)).context(format!("cannot open `{}`", path.display()));
            Failure::new(Exit::NoInput, error, "check the path")
        })?;
        Ok(Reader { input, records: Records::new(from, LINE_MAX), waiting: VecDeque::new(), more: true })
    }

    fn next(&mut self) -> Result<Option<Record>, Failure> {
        while self.waiting.is_empty() && self.more {
            let waiting = &mut self.waiting;
            let read = self.records.read(&mut self.input, |record, found| {
                let (Line::Whole(bytes) | Line::TooLong { head: bytes, .. }) = record;
                if !bytes.trim_ascii().is_empty() {
                    waiting.push_back((bytes.to_vec(), found));
                }
            });
            self.more = read.map_err(|error| {
                let name = &self.input.name;
                let error = anyhow::anyhow!(describe_io(&error)).context(format!("cannot read `{name}` to its end"));
                Failure::new(Exit::Data, error, "is the file whole?")
            })?;
        }
        Ok(self.waiting.pop_front())
    }
}

fn read(reading: &Reading, found: Option<&str>, record: &[u8]) -> Said {
    let mut raw = Vec::new();
    said(&reading.event(found, record, &mut raw, Event::new(b"")))
}

/// A format that is written and read again.
struct Emitted {
    emit: Option<Emit>,
    reading: Reading,
}

impl Emitted {
    fn new(format: &Format, zone: Offset) -> Emitted {
        Emitted { emit: format.emit, reading: Reading::new(format.name, zone) }
    }

    /// What is left of an event behind the format.
    fn read(&self, event: &Event<'_>) -> Said {
        let mut line = Vec::new();
        if let Some(emit) = self.emit {
            emit(event, &EmitContext::default(), &mut line);
        }
        read(&self.reading, None, &line)
    }
}

fn said(event: &Event<'_>) -> Said {
    let shown = |value: Value<'_>| match value {
        Value::Str(text) | Value::Json(text) => text.to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Time(time) => {
            let mut out = Vec::new();
            time.write_rfc3339(9, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
    };
    let mut said: Said = event.fields().map(|(field, value)| (field.name().to_owned(), shown(value))).collect();
    for extra in event.extras() {
        let name = format!("{}/{}", extra.group, extra.name);
        // The values of a name that comes twice stand one behind the other.
        said.entry(name)
            .and_modify(|before| *before = format!("{before}\n{}", shown(extra.value)))
            .or_insert_with(|| shown(extra.value));
    }
    said
}

struct Page<'a> {
    arguments: &'a Arguments,
    events: u64,
    different: u64,
}

impl Page<'_> {
    fn compare(&mut self, one: &Said, other: &Said) -> Result<(), Failure> {
        self.events += 1;
        let mut text = String::new();
        let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
        for name in names.filter(|name| !self.is_ignored(name)) {
            let (left, right) = (one.get(name), other.get(name));
            if left == right {
                continue;
            }
            let number = self.events;
            if self.arguments.json {
                let object = json!({ "event": number, "field": name, "one": left, "other": right });
                let _ = writeln!(text, "{object}");
                continue;
            }
            if text.is_empty() {
                let _ = writeln!(text, "event {number}");
            }
            for (sign, value) in [('-', left), ('+', right)] {
                if let Some(value) = value {
                    let _ = writeln!(text, "  {sign} {} = {}", visible(name), visible(value));
                }
            }
        }
        self.different += u64::from(!text.is_empty());
        output::write(text.as_bytes())
    }

    /// The format of a line is how it came, not what it says.
    fn is_ignored(&self, name: &str) -> bool {
        let between_emitters = self.arguments.emitters.is_some() && name == Field::Format.name();
        between_emitters || self.arguments.ignore.iter().any(|ignored| ignored == name)
    }

    fn conclude(&self) -> Result<Exit, Failure> {
        let plural = if self.events == 1 { "" } else { "s" };
        eprintln!("{} of {} event{plural} differ", self.different, self.events);
        Ok(if self.different == 0 { Exit::Ok } else { Exit::Failed })
    }
}
