//! The columns of Parquet: one table says what each holds, and the rows of a group wait here until they are written
//! in the order of their times.
//!
//! Invariant: a text is kept once, in one area for each column; memory is about twice that of the lines.

use std::borrow::Cow;

use anyhow::Result;
use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type};
use parquet::file::writer::{SerializedColumnWriter, SerializedRowGroupWriter};
use wharfinger_formats::{Event, Field, Value, image};

use crate::classes::Classes;

/// Which columns there are, and what stands in them: raised with every change here or in `Classes`' rules.
pub const VERSION: u32 = 2;

/// Where a column has its values from.
enum Of {
    Text(Field),
    /// Of a group of what has no field of its own.
    Extra(&'static str, &'static str),
    Int(Field),
    Time(Field),
    Made(for<'e> fn(&'e Event<'_>) -> Option<&'e str>),
    /// Its class of audit events.
    Class,
    /// Whole seconds that the source's clock is ahead of the gateway's.
    Ahead,
}

/// Classes of which only the gateway's own events are.
const OWN: [&str; 3] = ["C10", "C11", "X"];

/// Between the times and the line.
const COLUMNS: &[(&str, Of)] = &[
    ("audit_class", Of::Class),
    ("clock_ahead_seconds", Of::Ahead),
    ("severity", Of::Int(Field::Severity)),
    ("event_id", Of::Text(Field::EventId)),
    ("event_class", Of::Text(Field::EventClass)),
    ("name", Of::Text(Field::Name)),
    ("action", Of::Text(Field::Action)),
    ("outcome", Of::Text(Field::Outcome)),
    ("reason", Of::Text(Field::Reason)),
    ("msg", Of::Text(Field::Msg)),
    ("source", Of::Text(Field::Source)),
    ("peer", Of::Text(Field::Peer)),
    ("machine_id", Of::Made(|event| first(event, &[Field::VmUuid, Field::InstanceId]).or_else(|| machine(event)))),
    ("machine", Of::Made(machine)),
    ("host_name", Of::Text(Field::HostName)),
    ("vm_uuid", Of::Text(Field::VmUuid)),
    ("vm_name", Of::Text(Field::VmName)),
    ("vm_group", Of::Text(Field::VmGroup)),
    ("vm_tags", Of::Text(Field::VmTags)),
    ("vm_evidence", Of::Text(Field::VmEvidence)),
    ("container_id", Of::Text(Field::ContainerId)),
    ("container_name", Of::Text(Field::ContainerName)),
    ("image", Of::Text(Field::ImageRef)),
    ("image_digest", Of::Text(Field::ImageDigest)),
    ("registry", Of::Made(|event| image::registry(event.text(Field::ImageRef)?))),
    ("object", Of::Made(object)),
    ("exec_command", Of::Text(Field::ExecCommand)),
    ("exit_code", Of::Int(Field::ExitCode)),
    ("who", Of::Made(|event| first(event, &[Field::UserName, Field::UserId]))),
    ("user_name", Of::Text(Field::UserName)),
    ("user_id", Of::Text(Field::UserId)),
    ("target_user", Of::Text(Field::TargetUser)),
    ("src_ip", Of::Text(Field::SrcIp)),
    ("rule_id", Of::Text(Field::RuleId)),
    ("rule_name", Of::Text(Field::RuleName)),
    ("finding_id", Of::Extra("finding", "id")),
    ("finding_state", Of::Extra("finding", "state")),
    ("gap_source", Of::Extra("gap", "source")),
    ("period_start", Of::Time(Field::Start)),
    ("period_end", Of::Time(Field::End)),
    ("event_count", Of::Int(Field::Count)),
    ("parse_status", Of::Text(Field::ParseStatus)),
    ("format", Of::Text(Field::Format)),
];

fn first<'e>(event: &'e Event<'_>, fields: &[Field]) -> Option<&'e str> {
    fields.iter().find_map(|field| event.text(*field).filter(|text| !text.is_empty()))
}

/// As people call it: by the inventory's name, or the one that the event has.
fn machine<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    first(event, &[Field::VmName, Field::HostName, Field::VmUuid])
}

/// On what it was done: a container by its id, an image by its name; what has neither, by the id that the Engine
/// gives it (a network, a volume), or a file by its path.
fn object<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    let of_engine = || {
        let mut extras = event.extras().filter(|extra| extra.group == "docker" && extra.name == "Actor.ID");
        match extras.next()?.value {
            Value::Str(text) => Some(text),
            _ => None,
        }
    };
    let image = || first(event, &[Field::ImageRef, Field::ImageDigest]);
    let container = || first(event, &[Field::ContainerId, Field::ContainerName]);
    match event.text(Field::EventClass).unwrap_or_default() {
        class if class.starts_with("image.") => image().or_else(of_engine),
        class if class.starts_with("container.") => container(),
        _ => of_engine().or_else(container).or_else(image).or_else(|| first(event, &[Field::FilePath])),
    }
}

/// The schema as Parquet has it, in the order in which columns are written.
pub fn schema() -> String {
    let column = |(name, of): &(&str, Of)| match of {
        Of::Int(_) | Of::Ahead => format!("optional int64 {name};\n"),
        Of::Time(_) => format!("optional int64 {name} (TIMESTAMP(MICROS,true));\n"),
        _ => format!("optional binary {name} (STRING);\n"),
    };
    let columns: String = COLUMNS.iter().map(column).collect();
    format!(
        "message event {{\n\
         required int64 event_time (TIMESTAMP(MICROS,true));\n\
         required int64 observed_time (TIMESTAMP(MICROS,true));\n{columns}\
         required binary line (STRING);\n\
         required binary stream (STRING);\n\
         required int64 seal;\n\
         required int32 line_number;\n\
         required fixed_len_byte_array(32) record_hash;\n}}"
    )
}

/// Texts of one column.
#[derive(Debug, Default)]
struct Texts {
    area: Vec<u8>,
    /// Start and length; none: absent.
    rows: Vec<Option<(usize, usize)>>,
}

impl Texts {
    fn push(&mut self, text: Option<&[u8]>) {
        let at = self.area.len();
        self.rows.push(text.map(|text| (at, text.len())));
        self.area.extend_from_slice(text.unwrap_or_default());
    }

    fn write(self, order: &[usize], is_optional: bool, column: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let area = Bytes::from(self.area);
        let mut values = Vec::with_capacity(order.len());
        let mut levels = Vec::with_capacity(order.len());
        for row in order.iter().filter_map(|row| self.rows.get(*row)) {
            levels.push(i16::from(row.is_some()));
            values.extend(row.map(|(at, len)| ByteArray::from(area.slice(at..at + len))));
        }
        column.typed::<ByteArrayType>().write_batch(&values, is_optional.then_some(&levels), None)?;
        Ok(())
    }
}

/// The values of one column.
#[derive(Debug)]
enum Cells {
    Texts(Texts),
    Ints(Vec<Option<i64>>),
}

impl Cells {
    fn write(self, order: &[usize], column: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let ints = match self {
            Cells::Texts(texts) => return texts.write(order, true, column),
            Cells::Ints(ints) => ints,
        };
        let picked = || order.iter().map(|row| ints.get(*row).copied().flatten());
        let levels: Vec<i16> = picked().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<i64> = picked().flatten().collect();
        column.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
        Ok(())
    }
}

/// See above.
#[derive(Debug)]
pub struct Rows {
    times: Vec<(i64, i64)>,
    /// As `COLUMNS`.
    columns: Vec<Cells>,
    lines: Texts,
    streams: Texts,
    places: Vec<(i64, i32)>,
    hashes: Vec<[u8; 32]>,
    bytes: usize,
}

impl Default for Rows {
    fn default() -> Rows {
        let cells = |(_, of): &(&str, Of)| match of {
            Of::Int(_) | Of::Time(_) | Of::Ahead => Cells::Ints(Vec::new()),
            _ => Cells::Texts(Texts::default()),
        };
        let (times, places, hashes) = (Vec::new(), Vec::new(), Vec::new());
        let (lines, streams) = (Texts::default(), Texts::default());
        Rows { times, columns: COLUMNS.iter().map(cells).collect(), lines, streams, places, hashes, bytes: 0 }
    }
}

impl Rows {
    /// How many bytes of lines it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Adds the event of a line: which line of which object.
    pub fn push(
        &mut self,
        event: &Event<'_>,
        line: &[u8],
        classes: &Classes,
        (stream, seal, number): (&str, i64, i32),
        hash: [u8; 32],
    ) {
        let received = event.time(Field::ObservedTime).or_else(|| event.time(Field::Time));
        let received = received.map_or(0, |time| time.0.div_euclid(1_000));
        let time = event.time(Field::Time).map_or(received, |time| time.0.div_euclid(1_000));
        self.times.push((time, received));
        for ((_, of), cells) in COLUMNS.iter().zip(&mut self.columns) {
            match (of, cells) {
                (Of::Int(field), Cells::Ints(ints)) => ints.push(event.int(*field)),
                (Of::Ahead, Cells::Ints(ints)) => ints.push(Some((time - received + 500_000).div_euclid(1_000_000))),
                (Of::Time(field), Cells::Ints(ints)) => {
                    ints.push(event.time(*field).map(|time| time.0.div_euclid(1_000)));
                }
                (of, Cells::Texts(texts)) => texts.push(text(of, event, classes).as_deref().map(str::as_bytes)),
                (_, Cells::Ints(ints)) => ints.push(None),
            }
        }
        self.lines.push(Some(line));
        self.streams.push(Some(stream.as_bytes()));
        self.places.push((seal, number));
        self.hashes.push(hash);
        self.bytes += line.len();
    }

    /// Writes all of them, the earliest first.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write<W: std::io::Write + Send>(self, mut group: SerializedRowGroupWriter<'_, W>) -> Result<()> {
        let mut order: Vec<usize> = (0..self.times.len()).collect();
        // Rows of one moment stay in the order of their receipt.
        order.sort_by_key(|row| self.times.get(*row).map(|(time, _)| *time));
        let pick = |row: &usize| self.times.get(*row).copied().unwrap_or_default();
        let place = |row: &usize| self.places.get(*row).copied().unwrap_or_default();
        let mut next = |write: &mut dyn FnMut(&mut SerializedColumnWriter<'_>) -> Result<()>| -> Result<()> {
            let mut column = group.next_column()?.ok_or_else(|| anyhow::anyhow!("the schema has no more columns"))?;
            write(&mut column)?;
            Ok(column.close()?)
        };
        let numbers = |values: Vec<i64>| {
            move |column: &mut SerializedColumnWriter<'_>| -> Result<()> {
                column.typed::<Int64Type>().write_batch(&values, None, None)?;
                Ok(())
            }
        };
        next(&mut numbers(order.iter().map(|row| pick(row).0).collect()))?;
        next(&mut numbers(order.iter().map(|row| pick(row).1).collect()))?;
        for cells in self.columns {
            let mut cells = Some(cells);
            next(&mut |column| cells.take().map_or(Ok(()), |cells| cells.write(&order, column)))?;
        }
        for texts in [self.lines, self.streams] {
            let mut texts = Some(texts);
            next(&mut |column| texts.take().map_or(Ok(()), |texts| texts.write(&order, false, column)))?;
        }
        next(&mut numbers(order.iter().map(|row| place(row).0).collect()))?;
        let lines: Vec<i32> = order.iter().map(|row| place(row).1).collect();
        next(&mut |column| {
            column.typed::<Int32Type>().write_batch(&lines, None, None)?;
            Ok(())
        })?;
        let hashes = order.iter().filter_map(|row| self.hashes.get(*row));
        let hashes: Vec<FixedLenByteArray> = hashes.map(|hash| ByteArray::from(hash.to_vec()).into()).collect();
        next(&mut |column| {
            column.typed::<FixedLenByteArrayType>().write_batch(&hashes, None, None)?;
            Ok(())
        })?;
        group.close()?;
        Ok(())
    }
}

fn text<'e>(of: &Of, event: &'e Event<'_>, classes: &'e Classes) -> Option<Cow<'e, str>> {
    let value = match of {
        Of::Text(field) => event.get(*field)?,
        Of::Extra(group, name) => event.extras().find(|extra| extra.group == *group && extra.name == *name)?.value,
        Of::Made(made) => return made(event).map(Cow::Borrowed),
        Of::Class => {
            // What was parsed has a format: nobody but the gateway speaks of itself, or finds.
            let is_own = !event.has(Field::Format);
            let class = classes.of(event.text(Field::EventClass)?)?;
            return (is_own || !OWN.contains(&class)).then_some(Cow::Borrowed(class));
        }
        Of::Int(_) | Of::Time(_) | Of::Ahead => return None,
    };
    match value {
        Value::Str(text) | Value::Json(text) => Some(Cow::Borrowed(text)),
        Value::Int(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if truth { "true" } else { "false" })),
        Value::Time(_) => None,
    }
}
