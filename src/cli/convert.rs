//! `wharfinger convert`: records of one format in, lines of another out. One thread, big blocks, one
//! event that is used again for every record.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};
use wharfinger_formats::{Emit, EmitContext, Event, FORMATS, Field, Offset, Time};

use super::failure::{Exit, Failure};
use super::input::{Input, Line};
use super::output;
use super::records::{Reading, Records, readable, unparsed};
use crate::part::{ByteSize, describe_io};

/// Convert log lines from one format to another, from files (also gzip and zstd) or stdin to stdout
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files to read; `-` or none is stdin
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Format of the input (see `wharfinger list`); `auto` looks at each line, and at the first bytes of a file
    /// for journald's export form and the files of Docker's `local` driver. Only where it is named: `json` reads
    /// native JSON back, and `dockerd` joins Go traces to the line above them
    #[arg(long, value_name = "FORMAT", default_value = "auto", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(readable()))]
    from: String,

    /// Format to write
    #[arg(long, value_name = "FORMAT", default_value = "json", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(writable()))]
    to: String,

    /// Zone of timestamps that name none: `+01:00`
    #[arg(long, value_name = "OFFSET", default_value = "Z", value_parser = zone, allow_hyphen_values = true)]
    zone: Offset,

    /// Longest line; of a longer one the first 1 KiB is kept, as an event of class `unparsed`
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    line_max: ByteSize,

    /// End with exit code 65 when a line was not understood
    #[arg(long)]
    strict: bool,
}

fn writable() -> Vec<&'static str> {
    FORMATS.iter().filter(|format| format.emit.is_some()).map(|format| format.name).collect()
}

/// Reads an offset from UTC.
pub(super) fn zone(text: &str) -> Result<Offset, String> {
    match Offset::parse(text.as_bytes()) {
        Some((offset, used)) if used == text.len() => Ok(offset),
        _ => Err("expected an offset from UTC such as `+01:00`, `-0530` or `Z`".to_owned()),
    }
}

/// Now, for formats whose timestamps leave out the year.
pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let usage =
        |name: &str| Failure::new(Exit::Usage, anyhow::anyhow!("unknown format `{name}`"), "see `wharfinger list`");
    let format = FORMATS.iter().find(|format| format.name == arguments.to);
    let emit = format.and_then(|format| format.emit).ok_or_else(|| usage(&arguments.to))?;
    let mut converter = Converter {
        from: arguments.from.clone(),
        reading: Reading::new(&arguments.from, arguments.zone),
        emit,
        event: Event::new(b""),
        raw: Vec::new(),
        lines: 0,
        unparsed: 0,
        out: Vec::new(),
    };
    let stdin = [PathBuf::from("-")];
    let files = if arguments.files.is_empty() { &stdin[..] } else { &arguments.files };
    let progress = Progress::start(files);
    let mut outcome = Ok(());
    for file in files {
        outcome = Input::open(file)
            .map_err(|error| {
                let error = anyhow::anyhow!(describe_io(&error)).context(format!("cannot open `{}`", file.display()));
                Failure::new(Exit::NoInput, error, "check the path")
            })
            .and_then(|mut input| converter.convert(&mut input, arguments.line_max, &progress));
        if outcome.is_err() {
            break;
        }
    }
    progress.bar.finish_and_clear();
    outcome?;
    converter.conclude(arguments.strict)
}

struct Converter {
    from: String,
    reading: Reading,
    emit: Emit,
    /// The memory of the event, between records.
    event: Event<'static>,
    /// The same for the bytes that native JSON brings.
    raw: Vec<u8>,
    lines: u64,
    unparsed: u64,
    out: Vec<u8>,
}

impl Converter {
    fn convert(&mut self, input: &mut Input, line_max: ByteSize, progress: &Progress) -> Result<(), Failure> {
        let mut records = Records::new(&self.from, line_max.as_usize());
        loop {
            let filled = records.read(input, |record, found| self.record(record, found, line_max));
            // Before the next read, which may wait for ever.
            output::write(&self.out)?;
            self.out.clear();
            progress.show(input, self.lines);
            match filled {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let error = anyhow::anyhow!(describe_io(&error))
                        .context(format!("cannot read `{}` to its end", input.name));
                    let hint = "what was read until here has been converted; is the file whole?";
                    return Err(Failure::new(Exit::Data, error, hint));
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, record: Line<'_>, found: Option<&str>, line_max: ByteSize) {
        let memory = std::mem::replace(&mut self.event, Event::new(b""));
        let event = match record {
            Line::Whole(record) if record.trim_ascii().is_empty() => {
                self.event = memory;
                return;
            }
            Line::Whole(record) => self.reading.event(found, record, &mut self.raw, memory),
            Line::TooLong { head, bytes } => {
                let error = format!(
                    "expected a line of at most {line_max}, found {bytes} bytes, of which this is the beginning"
                );
                unparsed(head, memory, &error)
            }
        };
        self.lines += 1;
        self.unparsed += u64::from(event.text(Field::EventClass) == Some("unparsed"));
        (self.emit)(&event, &EmitContext::default(), &mut self.out);
        self.out.push(b'\n');
        self.event = event.reuse(b"");
    }

    fn conclude(&self, strict: bool) -> Result<Exit, Failure> {
        let (lines, unparsed) = (self.lines, self.unparsed);
        let plural = if lines == 1 { "" } else { "s" };
        let summary =
            format!("{unparsed} of {lines} line{plural} not understood: passed on as events of class `unparsed`");
        match (unparsed, strict) {
            (0, _) => Ok(Exit::Ok),
            (_, false) => {
                eprintln!("{summary}");
                Ok(Exit::Ok)
            }
            (_, true) => {
                let hint = "`wharfinger explain LINE` says why of one line";
                Err(Failure::new(Exit::Data, anyhow::anyhow!(summary), hint))
            }
        }
    }
}

/// Bytes and lines on stderr, when a person watches.
struct Progress {
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    fn start(files: &[PathBuf]) -> Progress {
        let watched = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let size = |file: &PathBuf| std::fs::metadata(file).ok().filter(|data| data.is_file()).map(|data| data.len());
        let total: Option<u64> = files.iter().map(size).sum();
        let (bar, template) = match (watched, total) {
            (false, _) => (ProgressBar::hidden(), ""),
            (true, Some(total)) => {
                (ProgressBar::new(total), "{wide_bar} {bytes} of {total_bytes} {binary_bytes_per_sec} {msg} {eta}")
            }
            (true, None) => (ProgressBar::new_spinner(), "{spinner} {bytes} {binary_bytes_per_sec} {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar, since: Instant::now() }
    }

    fn show(&self, input: &Input, lines: u64) {
        if !self.bar.is_hidden() {
            self.bar.inc(input.bytes_read.swap(0, Ordering::Relaxed));
            let elapsed = self.since.elapsed().max(Duration::from_millis(1));
            self.bar.set_message(format!("{:.0} lines/s", lines as f64 / elapsed.as_secs_f64()));
        }
    }
}
