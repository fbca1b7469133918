//! `wharfinger explain`: one line in; which format it is and why, each field with its place in the
//! bytes, and what would be written.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use clap::builder::PossibleValuesParser;
use wharfinger_formats::{Choice, EmitContext, Event, Extra, FORMATS, Field, Offset, Value};

use super::config_file::ConfigFile;
use super::convert::zone;
use super::failure::{Exit, Failure};
use super::input::{Input, Line};
use super::output;
use super::records::{Reading, Records, objects, readable};
use super::route::{self, Assignment};
use super::visible::{visible, visible_bytes};
use crate::part::describe_io;

/// Explain one line: its format, each field and where it stands, and what would be written
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The line; the first record of stdin when left out
    line: Option<OsString>,

    /// Format to read it as, in place of a guess; native JSON is read where it is named: `json`
    #[arg(long, value_name = "FORMAT", default_value = "auto", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(readable()))]
    from: String,

    /// Zone of timestamps that name none: `+01:00`
    #[arg(long, value_name = "OFFSET", default_value = "Z", value_parser = zone, allow_hyphen_values = true)]
    zone: Offset,

    /// Say instead which sinks of the configuration are sent it, and which part of their `when` decides
    #[arg(long)]
    route: bool,

    /// With `--route`: a field that the gateway sets and the line does not say: `vm.name=web-1`
    #[arg(long, value_name = "FIELD=VALUE", value_parser = route::assignment, requires = "route")]
    set: Vec<Assignment>,

    #[command(flatten)]
    file: ConfigFile,
}

/// A byte order mark is no part of a line.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// The longest line that is explained.
const LINE_MAX: usize = 1 << 20;

/// Values are cut here: people look, programs use `convert`.
const VALUE_CHARS: usize = 120;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (line, found) = match &arguments.line {
        Some(line) => (first_object(line.as_bytes()), None),
        None => first_record(&arguments.from)?,
    };
    let reading = Reading::new(&arguments.from, arguments.zone);
    let mut raw = Vec::new();
    let mut event = reading.event(found, &line, &mut raw, Event::new(b""));
    if arguments.route {
        route::set(&mut event, &arguments.set);
        output::write(route::routed(&arguments.file.load()?.config, &event)?.as_bytes())?;
        return Ok(Exit::Ok);
    }
    let choice = reading.choice;
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = Page { colour, text: String::new() }.write(&line, choice, &event);
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// Of objects of JSON on one line the first is explained, and it is said how many are not.
fn first_object(line: &[u8]) -> Vec<u8> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    objects(line, |object| found.push(object.to_vec()));
    tell_of_others(found.len());
    found.swap_remove(0)
}

fn tell_of_others(count: usize) {
    if count > 1 {
        eprintln!("this is the first of {count} records; `convert` reads them all");
    }
}

/// The first record of stdin, and its format if the first bytes have shown it.
fn first_record(from: &str) -> Result<(Vec<u8>, Option<&'static str>), Failure> {
    let failed = |error: io::Error| {
        let error = anyhow::anyhow!(describe_io(&error)).context("cannot read stdin");
        Failure::new(Exit::NoInput, error, "give the line as an argument")
    };
    let mut input = Input::open(Path::new("-")).map_err(failed)?;
    let mut records = Records::new(from, LINE_MAX);
    let (mut first, mut too_long) = (None, None);
    loop {
        let more = records.read(&mut input, |record, found| match record {
            _ if first.is_some() || too_long.is_some() => {}
            Line::Whole(record) => first = Some((record.to_vec(), found)),
            Line::TooLong { bytes, .. } => too_long = Some(bytes),
        });
        if let Some(bytes) = too_long {
            let error = anyhow::anyhow!("the line has {bytes} bytes, more than {LINE_MAX}");
            return Err(Failure::new(Exit::Data, error, "give one line of a log"));
        }
        if let Some(first) = first {
            return Ok(first);
        }
        if !more.map_err(failed)? {
            let error = anyhow::anyhow!("there is no line on stdin");
            return Err(Failure::new(Exit::NoInput, error, "give the line as an argument, or pipe it in"));
        }
    }
}

/// What is printed. Everything from the line passes [`visible`].
struct Page {
    colour: bool,
    text: String,
}

/// What is known of a value: its name, itself, and where it stands.
type Row = (String, String, String);

impl Page {
    fn write(mut self, line: &[u8], choice: Choice, event: &Event<'_>) -> String {
        self.format(line, choice, event);
        self.heading("fields");
        let of_field = |(field, value): (Field, Value<'_>)| (field.name().to_owned(), shown(value), place(line, value));
        self.rows(event.fields().filter(|(field, _)| !is_about_parsing(*field)).map(of_field).collect());
        if event.extras().len() > 0 {
            self.heading("everything else");
            let name =
                |group: &str, name: &str| if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
            let of_extra =
                |extra: Extra<'_>| (cut(&name(extra.group, extra.name)), shown(extra.value), place(line, extra.value));
            self.rows(event.extras().map(of_extra).collect());
        }
        let notes: Vec<Row> = event.fields().filter(|(field, _)| is_about_parsing(*field)).map(of_field).collect();
        if !notes.is_empty() {
            self.heading("notes");
            self.rows(notes);
        }
        for name in ["cef", "json"] {
            self.emitted(name, event);
        }
        self.text
    }

    /// Which format was chosen, and how sure each other was.
    fn format(&mut self, line: &[u8], choice: Choice, event: &Event<'_>) {
        let mut scores: Vec<(&str, u8)> = FORMATS
            .iter()
            .filter(|format| format.parse.is_some())
            .filter_map(|format| Some((format.name, format.detect?(line.strip_prefix(MARK).unwrap_or(line)))))
            .filter(|(_, score)| *score > 0)
            .collect();
        scores.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
        self.heading("format");
        let format = event.text(Field::Format).unwrap_or("none: the line was not understood");
        let asked = if let Choice::Named(_) = choice { ", as asked for" } else { "" };
        self.line(&format!("{format}{asked}"));
        let scores: Vec<String> = scores.iter().map(|(name, score)| format!("{name} {score}")).collect();
        self.line(&match scores.is_empty() {
            true => "scores of 100: none recognises it".to_owned(),
            false => format!("scores of 100: {}", scores.join(", ")),
        });
        self.line(&format!("{} bytes: {}", line.len(), cut_text(&visible_bytes(line))));
    }

    fn emitted(&mut self, name: &str, event: &Event<'_>) {
        let Some(emit) = FORMATS.iter().find(|format| format.name == name).and_then(|format| format.emit) else {
            return;
        };
        let mut out = Vec::new();
        emit(event, &EmitContext::default(), &mut out);
        self.heading(&format!("as {name}"));
        self.line(&visible_bytes(&out));
    }

    fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let (on, off) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.text.push_str(&format!("{on}{text}{off}\n"));
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(&format!("  {text}\n"));
    }

    fn rows(&mut self, rows: Vec<Row>) {
        let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
        let (names, places) = (width(|row| &row.0), width(|row| &row.2));
        let (on, off) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        for (name, value, place) in &rows {
            self.line(&format!("{name:names$}  {on}{place:>places$}{off}  {value}"));
        }
    }
}

/// Fields that say how the line was understood, not what it says.
fn is_about_parsing(field: Field) -> bool {
    field == Field::Format || field.name().starts_with("parse.")
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Str(text) | Value::Json(text) => cut(text),
        Value::Int(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Time(time) => {
            let mut out = Vec::new();
            time.write_rfc3339(9, &mut out);
            visible_bytes(&out)
        }
    }
}

fn cut(text: &str) -> String {
    cut_text(&visible(text))
}

fn cut_text(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        Some((at, _)) => format!("{}… ({} characters)", text.get(..at).unwrap_or_default(), text.chars().count()),
        None => text.to_owned(),
    }
}

/// The range of bytes a value is a piece of; `made` when it is none.
fn place(line: &[u8], value: Value<'_>) -> String {
    let (Value::Str(text) | Value::Json(text)) = value else { return "made".to_owned() };
    // Compared as numbers: an owned value lies outside of the line, wherever that is.
    let (start, of_line) = (text.as_ptr() as usize, line.as_ptr() as usize);
    match start.checked_sub(of_line) {
        Some(at) if !text.is_empty() && at + text.len() <= line.len() => format!("{at}..{}", at + text.len()),
        _ => "made".to_owned(),
    }
}
