//! `wharfinger diff`: what events say differently, field by field: the lines of two files, or the
//! lines of one as they are after two emitters have written them.

mod align;

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
use align::{Entry, Step, Window};

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
    let mut page = Page { arguments, events: 0, different: 0, only_one: 0, only_other: 0 };
    match (&arguments.other, arguments.emitters) {
        (_, Some(Pair(one, other))) => {
            let (one, other) = (Emitted::new(one, arguments.zone), Emitted::new(other, arguments.zone));
            let mut records = open(&arguments.one)?;
            let mut raw = Vec::new();
            while let Some((record, found)) = records.next()? {
                let event = reading.event(found, &record, &mut raw, Event::new(b""));
                let number = page.events + 1;
                page.compare((number, &one.read(&event)), (number, &other.read(&event)))?;
            }
        }
        (Some(other), None) => align_files(&mut page, &reading, [open(&arguments.one)?, open(other)?])?,
        (None, None) => {}
    }
    page.conclude()
}

/// Tells the events of two files in the order of both.
fn align_files(page: &mut Page<'_>, reading: &Reading, files: [Reader; 2]) -> Result<(), Failure> {
    let [mut ones, mut others] = files;
    let (mut one, mut other) = (Window::default(), Window::default());
    loop {
        for (window, file) in [(&mut one, &mut ones), (&mut other, &mut others)] {
            while window.has_room() {
                match file.next()? {
                    Some((record, found)) => window.push(read(reading, found, &record), |name| page.is_ignored(name)),
                    None => window.end(),
                }
            }
        }
        let steps = align::next(&mut one, &mut other);
        if steps.is_empty() {
            return Ok(());
        }
        for step in steps {
            match step {
                Step::Both(one, other) => page.compare((one.number, &one.said), (other.number, &other.said))?,
                Step::One(entry) => page.missing(&entry, true)?,
                Step::Other(entry) => page.missing(&entry, false)?,
            }
        }
    }
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
    said(&reading.event(found, record, &mut raw, Event::new(b"")), |group, name| format!("{group}/{name}"))
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
        let mut raw = Vec::new();
        said(&self.reading.event(None, &line, &mut raw, Event::new(b"")), common_name)
    }
}

/// The name of an extra as every format can write it: CEF and LEEF have `ad_docker_scope` for the `scope` of
/// `docker@32473` in RFC 5424.
fn common_name(group: &str, name: &str) -> String {
    let group = group.split_once('@').map_or(group, |(group, _)| group);
    let letters = |text: &str| text.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '_').collect();
    let (group, name): (String, String) = (letters(group), letters(name));
    if group.is_empty() { name } else { format!("{group}_{name}") }
}

fn said(event: &Event<'_>, named: fn(&str, &str) -> String) -> Said {
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
        let name = named(extra.group, extra.name);
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
    /// Events of one file that the other has not.
    only_one: u64,
    only_other: u64,
}

/// An event in a text is known by these, as far as it has them.
const NAMED_BY: [Field; 4] = [Field::Time, Field::EventClass, Field::Name, Field::Msg];
/// Characters of a message that are shown to know it by.
const MSG_CHARS: usize = 80;

impl Page<'_> {
    /// Tells what two events say differently; `number` is the place of one in its file.
    fn compare(&mut self, (number, one): (u64, &Said), (number_other, other): (u64, &Said)) -> Result<(), Failure> {
        self.events += 1;
        let mut text = String::new();
        let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
        for name in names.filter(|name| !self.is_ignored(name)) {
            let (left, right) = (one.get(name), other.get(name));
            if left == right {
                continue;
            }
            if self.arguments.json {
                let object = json!({ "event": number, "other_event": number_other, "field": name,
                    "one": left, "other": right });
                let _ = writeln!(text, "{object}");
                continue;
            }
            if text.is_empty() {
                let _ = match number == number_other {
                    true => writeln!(text, "event {number}"),
                    false => writeln!(text, "event {number}, {number_other} of the other"),
                };
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

    /// Tells of an event that is in one file alone.
    fn missing(&mut self, entry: &Entry, is_of_one: bool) -> Result<(), Failure> {
        self.events += 1;
        self.different += 1;
        *if is_of_one { &mut self.only_one } else { &mut self.only_other } += 1;
        let known_by = NAMED_BY.iter().filter_map(|field| entry.said.get(field.name()));
        let known_by: Vec<String> = known_by.map(|text| text.chars().take(MSG_CHARS).collect()).collect();
        let (number, known_by) = (entry.number, known_by.join(" "));
        let line = match (self.arguments.json, is_of_one) {
            (true, true) => json!({ "event": number, "only_in": "one", "summary": known_by }).to_string(),
            (true, false) => json!({ "other_event": number, "only_in": "other", "summary": known_by }).to_string(),
            (false, true) => format!("event {number}\n  - only in the one: {}", visible(&known_by)),
            (false, false) => format!("event {number} of the other\n  + only in the other: {}", visible(&known_by)),
        };
        output::write(format!("{line}\n").as_bytes())
    }

    /// The format of a line is how it came, not what it says.
    fn is_ignored(&self, name: &str) -> bool {
        let between_emitters = self.arguments.emitters.is_some() && name == Field::Format.name();
        between_emitters || self.arguments.ignore.iter().any(|ignored| ignored == name)
    }

    fn conclude(&self) -> Result<Exit, Failure> {
        let plural = if self.events == 1 { "" } else { "s" };
        let only = match (self.only_one, self.only_other) {
            (0, 0) => String::new(),
            (one, other) => format!("; {one} only in the one, {other} only in the other"),
        };
        eprintln!("{} of {} event{plural} differ{only}", self.different, self.events);
        Ok(if self.different == 0 { Exit::Ok } else { Exit::Failed })
    }
}
