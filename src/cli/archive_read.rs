//! `wharfinger archive ls|stat|cat`: what is in an archive, and its events.
//!
//! Invariant: nothing is written of an object that is not the one that was sealed.

use std::collections::BTreeMap;

use serde_json::json;
use wharfinger_formats::{EmitContext, Event, FORMATS, Field, ParseError, Time, native};

use super::failure::{Exit, Failure};
use super::output;
use super::sealed::{Events, Which, unread};
use super::table::{Cell, count, grouped, size, table};
use super::visible::visible;
use crate::archive::{Period, Sealed, received};
use crate::filter::Filter;

/// What `ls` and `stat` are told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub which: Which,
    /// As JSON: `ls` one object a line
    #[arg(long)]
    json: bool,
}

/// What `cat` is told.
#[derive(Debug, clap::Args)]
pub(super) struct CatArguments {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    events: Events,
    /// Only the event with this id. May be given again
    #[arg(long, value_name = "EVENT_ID")]
    id: Vec<String>,
    /// What a line looks like: a format that can be written, see `wharfinger list`
    #[arg(long, default_value = "json")]
    format: String,
    /// The bytes as they were received, untouched; a line end is added where there is none
    #[arg(long, conflicts_with = "format")]
    raw: bool,
}

/// Lines are written out when there are so many bytes of them.
const OUT_BYTES: usize = 256 * 1024;

pub(super) fn rfc3339(time: Time) -> String {
    let mut text = Vec::with_capacity(24);
    time.write_rfc3339(3, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) fn ls(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for (stream, mut reader) in arguments.which.open()? {
        for sealed in reader.objects(arguments.which.part.period()).map_err(unread)? {
            let sealed = sealed.map_err(unread)?;
            if arguments.json {
                output::write(format!("{}\n", object_json(&stream, &sealed)).as_bytes())?;
            } else {
                rows.push(row(&stream, &sealed));
            }
        }
    }
    if !arguments.json {
        let head = ["stream", "seal", "sealed", "events", "bytes", "first event", "last event", "object"];
        output::write(table(head, &rows).as_bytes())?;
    }
    Ok(Exit::Ok)
}

fn row(stream: &str, sealed: &Sealed) -> [Cell; 8] {
    let [time, first, last] = [sealed.time, sealed.span.0, sealed.span.1].map(|time| rfc3339(time).as_str().into());
    let (records, bytes) = (sealed.records.into(), sealed.bytes.into());
    [stream.into(), sealed.seq.into(), time, records, bytes, first, last, sealed.object.as_str().into()]
}

fn object_json(stream: &str, sealed: &Sealed) -> serde_json::Value {
    let hash: String = sealed.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "stream": stream, "seal": sealed.seq, "sealed": rfc3339(sealed.time), "object": sealed.object,
        "bytes": sealed.bytes, "sha256": hash, "events": sealed.records,
        "first_event": rfc3339(sealed.span.0), "last_event": rfc3339(sealed.span.1),
        "ingest": [sealed.ingest.0, sealed.ingest.1],
    })
}

/// What a stream holds of a period.
#[derive(Debug, Default)]
struct Sums {
    objects: u64,
    bytes: u64,
    events: u64,
    filtered: u64,
    quarantined: u64,
    lost: u64,
    span: Option<(Time, Time)>,
    sources: BTreeMap<String, u64>,
}

impl Sums {
    fn add(&mut self, sealed: &Sealed) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(sealed.bytes);
        self.events = self.events.saturating_add(sealed.records);
        self.filtered = self.filtered.saturating_add(sealed.tally.filtered);
        self.quarantined = self.quarantined.saturating_add(sealed.tally.quarantined);
        self.lost = self.lost.saturating_add(sealed.tally.dropped);
        let (first, last) = self.span.unwrap_or(sealed.span);
        self.span = Some((first.min(sealed.span.0), last.max(sealed.span.1)));
        for source in &sealed.sources {
            *self.sources.entry(source.name.clone()).or_default() += source.records;
        }
    }

    fn json(&self, stream: &str) -> serde_json::Value {
        json!({
            "stream": stream, "objects": self.objects, "bytes": self.bytes, "events": self.events,
            "filtered": self.filtered, "quarantined": self.quarantined, "lost": self.lost,
            "first_event": self.span.map(|span| rfc3339(span.0)), "last_event": self.span.map(|span| rfc3339(span.1)),
            "sources": self.sources,
        })
    }

    fn text(&self, stream: &str) -> String {
        let (events, objects) = (count(self.events, "event"), count(self.objects, "object"));
        let mut text = format!("stream   {}\nholds    {events} in {objects}, {}\n", visible(stream), size(self.bytes));
        if let Some((first, last)) = self.span {
            text.push_str(&format!("events   {} to {}\n", rfc3339(first), rfc3339(last)));
        }
        for (what, number) in
            [("filtered", self.filtered), ("in quarantine", self.quarantined), ("lost, declared", self.lost)]
        {
            if number > 0 {
                text.push_str(&format!("absent   {} {what}\n", grouped(number)));
            }
        }
        let rows: Vec<_> = self.sources.iter().map(|(name, events)| [name.as_str().into(), (*events).into()]).collect();
        text.push_str(&format!("\n{}\n", table(["source", "events"], &rows)));
        text
    }
}

pub(super) fn stat(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut streams = Vec::new();
    for (stream, mut reader) in arguments.which.open()? {
        let mut sums = Sums::default();
        for sealed in reader.objects(arguments.which.part.period()).map_err(unread)? {
            sums.add(&sealed.map_err(unread)?);
        }
        streams.push((stream, sums));
    }
    let text = match arguments.json {
        true => {
            let streams: Vec<_> = streams.iter().map(|(stream, sums)| sums.json(stream)).collect();
            format!("{:#}\n", json!({ "streams": streams }))
        }
        false => streams.iter().map(|(stream, sums)| sums.text(stream)).collect(),
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// How an event is written.
enum Written {
    /// The line as it stands in the archive.
    Line,
    Raw,
    Emitted(wharfinger_formats::Emit),
}

pub(super) fn cat(arguments: &CatArguments) -> Result<Exit, Failure> {
    let format = FORMATS.iter().find(|format| format.name == arguments.format);
    let written = match (arguments.raw, format.and_then(|format| format.emit)) {
        (true, _) => Written::Raw,
        (false, Some(_)) if arguments.format == "json" => Written::Line,
        (false, Some(emit)) => Written::Emitted(emit),
        (false, None) => {
            let error = anyhow::anyhow!("`{}` is no format that can be written", arguments.format);
            return Err(Failure::new(Exit::Usage, error, "see `wharfinger list`"));
        }
    };
    let period = arguments.which.part.period();
    let mut cat = Cat {
        written,
        period,
        filter: arguments.events.filter(),
        ids: &arguments.id,
        raw: Vec::new(),
        memory: Event::new(b""),
        out: Vec::new(),
    };
    for (_, mut reader) in arguments.which.open()? {
        let mut objects = reader.objects(period).map_err(unread)?;
        while let Some(sealed) = objects.next() {
            let sealed = sealed.map_err(unread)?;
            let mut lines = objects.lines(&sealed).map_err(unread)?;
            while let Some(line) = lines.next_line().map_err(unread)? {
                cat.line(line).map_err(|error| no_line(&error, line, &sealed))?;
                if cat.out.len() >= OUT_BYTES {
                    output::write(&cat.out)?;
                    cat.out.clear();
                }
            }
        }
    }
    output::write(&cat.out)?;
    Ok(Exit::Ok)
}

/// A line that was sealed and is none of ours.
pub(super) fn no_line(error: &ParseError, line: &[u8], sealed: &Sealed) -> Failure {
    let error = anyhow::anyhow!("{}", error.describe(line)).context(format!("`{}` holds no event", sealed.object));
    Failure::new(Exit::Data, error, "something else than the gateway has written it")
}

struct Cat<'a> {
    written: Written,
    period: Period,
    filter: Filter,
    ids: &'a [String],
    raw: Vec<u8>,
    /// The memory of the event, between lines.
    memory: Event<'static>,
    out: Vec<u8>,
}

impl Cat<'_> {
    /// Appends what is to be written of a line, if it is asked for.
    fn line(&mut self, line: &[u8]) -> Result<(), ParseError> {
        let is_whole = self.period == Period::default() && self.filter.is_all() && self.ids.is_empty();
        if is_whole && matches!(self.written, Written::Line) {
            self.out.extend_from_slice(line);
            self.out.push(b'\n');
            return Ok(());
        }
        // An id stands in its line as it is.
        let is_named = |id: &String| memchr::memmem::find(line, id.as_bytes()).is_some();
        if !self.ids.is_empty() && !self.ids.iter().any(is_named) {
            return Ok(());
        }
        let event = native::read(line, &mut self.raw, std::mem::replace(&mut self.memory, Event::new(b"")))?;
        let id = event.text(Field::EventId).unwrap_or_default();
        let is_asked = self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id);
        if is_asked && self.period.has(received(&event)) && self.filter.has(&event) {
            match self.written {
                Written::Line => self.out.extend_from_slice(line),
                Written::Raw => self.out.extend_from_slice(event.raw()),
                Written::Emitted(emit) => emit(&event, &EmitContext::default(), &mut self.out),
            }
            if !self.out.ends_with(b"\n") {
                self.out.push(b'\n');
            }
        }
        self.memory = event.reuse(b"");
        Ok(())
    }
}
