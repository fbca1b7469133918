//! The rows of one group, column by column, until they are written in the order of their times.
//!
//! Invariant: a text is kept once, in one area for each column; memory is about twice that of the lines.

use anyhow::Result;
use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type};
use parquet::file::writer::{SerializedColumnWriter, SerializedRowGroupWriter};
use wharfinger_formats::{Event, Field, Value};

/// Columns of text, each with the field it holds; they stand between the times and the line.
pub const TEXTS: &[(&str, Field)] = &[
    ("event_id", Field::EventId),
    ("event_class", Field::EventClass),
    ("name", Field::Name),
    ("action", Field::Action),
    ("outcome", Field::Outcome),
    ("reason", Field::Reason),
    ("msg", Field::Msg),
    ("source", Field::Source),
    ("host_name", Field::HostName),
    ("vm_uuid", Field::VmUuid),
    ("vm_name", Field::VmName),
    ("vm_group", Field::VmGroup),
    ("container_id", Field::ContainerId),
    ("container_name", Field::ContainerName),
    ("image", Field::ImageRef),
    ("user_name", Field::UserName),
    ("src_ip", Field::SrcIp),
    ("rule_id", Field::RuleId),
    ("format", Field::Format),
];

/// The schema as Parquet has it, in the order in which columns are written.
pub fn schema() -> String {
    let texts: String = TEXTS.iter().map(|(name, _)| format!("optional binary {name} (STRING);\n")).collect();
    format!(
        "message event {{\n\
         required int64 event_time (TIMESTAMP(MICROS,true));\n\
         required int64 observed_time (TIMESTAMP(MICROS,true));\n\
         optional int32 severity;\n{texts}\
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

    fn write(self, order: &[usize], column: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let area = Bytes::from(self.area);
        let mut values = Vec::with_capacity(order.len());
        let mut levels = Vec::with_capacity(order.len());
        for row in order.iter().filter_map(|row| self.rows.get(*row)) {
            levels.push(i16::from(row.is_some()));
            values.extend(row.map(|(at, len)| ByteArray::from(area.slice(at..at + len))));
        }
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        Ok(())
    }
}

/// See above.
#[derive(Debug)]
pub struct Rows {
    times: Vec<(i64, i64)>,
    severities: Vec<Option<i32>>,
    texts: Vec<Texts>,
    lines: Texts,
    streams: Texts,
    places: Vec<(i64, i32)>,
    hashes: Vec<[u8; 32]>,
    bytes: usize,
}

impl Default for Rows {
    fn default() -> Rows {
        let texts = TEXTS.iter().map(|_| Texts::default()).collect();
        let (lines, streams) = (Texts::default(), Texts::default());
        let (times, severities, places, hashes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Rows { times, severities, texts, lines, streams, places, hashes, bytes: 0 }
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
    pub fn push(&mut self, event: &Event<'_>, line: &[u8], (stream, seal, number): (&str, i64, i32), hash: [u8; 32]) {
        let received = event.time(Field::ObservedTime).or_else(|| event.time(Field::Time));
        let received = received.map_or(0, |time| time.0.div_euclid(1_000));
        let time = event.time(Field::Time).map_or(received, |time| time.0.div_euclid(1_000));
        self.times.push((time, received));
        let severity = event.int(Field::Severity).and_then(|severity| i32::try_from(severity).ok());
        self.severities.push(severity);
        for ((_, field), texts) in TEXTS.iter().zip(&mut self.texts) {
            match event.get(*field) {
                Some(Value::Str(text) | Value::Json(text)) => texts.push(Some(text.as_bytes())),
                Some(Value::Int(number)) => texts.push(Some(number.to_string().as_bytes())),
                Some(Value::Bool(truth)) => texts.push(Some(truth.to_string().as_bytes())),
                Some(Value::Time(_)) | None => texts.push(None),
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
        let severities: Vec<Option<i32>> =
            order.iter().map(|row| self.severities.get(*row).copied().flatten()).collect();
        next(&mut |column| {
            let levels: Vec<i16> = severities.iter().map(|severity| i16::from(severity.is_some())).collect();
            let values: Vec<i32> = severities.iter().copied().flatten().collect();
            column.typed::<Int32Type>().write_batch(&values, Some(&levels), None)?;
            Ok(())
        })?;
        for texts in self.texts.into_iter().chain([self.lines, self.streams]) {
            let mut texts = Some(texts);
            next(&mut |column| texts.take().map_or(Ok(()), |texts| texts.write(&order, column)))?;
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
