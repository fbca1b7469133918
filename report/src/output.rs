//! Output: what a statement answers, for people and for programs.
//!
//! Invariant: no text in it acts on a terminal or a spreadsheet.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use datafusion::arrow::array::{Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use serde::Deserialize;
use wharfinger_formats::Time;
use wharfinger_formats::visible::{is_hidden, visible};

/// Rows of a table for people; more are counted.
const TABLE_ROWS_MAX: usize = 10_000;
/// Letters of a cell in a table for people.
const CELL_CHARS_MAX: usize = 120;
const TIMES: &str = "%Y-%m-%dT%H:%M:%S%.f";
/// With the zone of its column.
const ZONED: &str = "%Y-%m-%dT%H:%M:%S%.f%:z";

/// What it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    Table,
    Csv,
    /// One object a line.
    Json,
    Parquet,
}

/// Takes batches and writes them.
pub struct Output<W: Write + Send> {
    kind: Kind<W>,
    /// What stands where a row has nothing.
    absent: String,
    schema: SchemaRef,
}

enum Kind<W: Write + Send> {
    Table { out: W, rows: Vec<Vec<String>>, more: usize },
    Csv { out: W },
    Json { out: W },
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Output<W> {
    /// # Errors
    /// The head cannot be written.
    pub fn new(format: Format, absent: &str, schema: SchemaRef, mut out: W) -> Result<Output<W>> {
        let kind = match format {
            Format::Table => Kind::Table { out, rows: Vec::new(), more: 0 },
            Format::Csv => {
                let names: Vec<_> = schema.fields().iter().map(|field| csv_text(field.name())).collect();
                writeln!(out, "{}", names.join(","))?;
                Kind::Csv { out }
            }
            Format::Json => Kind::Json { out },
            Format::Parquet => {
                let level = Compression::ZSTD(ZstdLevel::try_new(3)?);
                let properties = WriterProperties::builder().set_compression(level).build();
                Kind::Parquet(Box::new(ArrowWriter::try_new(out, schema.clone(), Some(properties))?))
            }
        };
        Ok(Output { kind, absent: absent.to_owned(), schema })
    }

    /// # Errors
    /// It cannot be written.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let (schema, absent) = (&self.schema, &*self.absent);
        match &mut self.kind {
            Kind::Parquet(writer) => writer.write(batch)?,
            Kind::Table { rows, more, .. } => {
                let room = TABLE_ROWS_MAX.saturating_sub(rows.len()).min(batch.num_rows());
                *more += batch.num_rows() - room;
                each_row(&batch.slice(0, room), &mut |cells| {
                    let absent = if absent.is_empty() { "-" } else { absent };
                    rows.push(cells.iter().map(|cell| shown(cell.as_deref().unwrap_or(absent))).collect());
                    Ok(())
                })?;
            }
            Kind::Csv { out } => each_row(batch, &mut |cells| {
                let text = |(cell, field): (&Option<String>, &Arc<Field>)| match cell {
                    Some(cell) if is_text(field.data_type()) => csv_text(cell),
                    Some(cell) => cell.clone(),
                    None => absent.to_owned(),
                };
                let cells: Vec<_> = cells.iter().zip(schema.fields()).map(text).collect();
                Ok(writeln!(out, "{}", cells.join(","))?)
            })?,
            Kind::Json { out } => each_row(batch, &mut |cells| {
                let said = cells.iter().zip(schema.fields()).filter_map(|(cell, field)| {
                    let cell = cell.as_deref()?;
                    let value = match is_bare(field.data_type()) {
                        // JSON has no infinity.
                        true if cell.parse::<f64>().is_ok_and(|number| !number.is_finite()) => "null".to_owned(),
                        true => cell.to_owned(),
                        false => json_text(cell),
                    };
                    Some(format!("{}:{value}", json_text(field.name())))
                });
                Ok(writeln!(out, "{{{}}}", said.collect::<Vec<_>>().join(","))?)
            })?,
        }
        Ok(())
    }

    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<W> {
        match self.kind {
            Kind::Parquet(writer) => Ok(writer.into_inner()?),
            Kind::Csv { mut out } | Kind::Json { mut out } => {
                out.flush()?;
                Ok(out)
            }
            Kind::Table { mut out, rows, more } => {
                let right: Vec<_> = self.schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
                let names = self.schema.fields().iter().map(|field| field.name().clone()).collect();
                table(&mut out, names, &rows, &right)?;
                if more > 0 {
                    eprintln!("note: {more} rows more are not shown; `--format csv` or `json` writes all of them");
                }
                out.flush()?;
                Ok(out)
            }
        }
    }
}

/// Cells as text, row by row; none: nothing was recorded. Of columns of which there are many, without a detour.
///
/// # Errors
/// A value has no text, or a row is not taken.
pub fn each_row(batch: &RecordBatch, take: &mut dyn FnMut(&[Option<String>]) -> Result<()>) -> Result<()> {
    let options = FormatOptions::default().with_timestamp_format(Some(TIMES)).with_timestamp_tz_format(Some(ZONED));
    let columns = batch.columns();
    let texts = columns.iter().map(|column| Texts::of(column, &options)).collect::<Result<Vec<_>>>()?;
    let mut cells = vec![None; columns.len()];
    for row in 0..batch.num_rows() {
        for ((cell, column), texts) in cells.iter_mut().zip(columns).zip(&texts) {
            if column.is_null(row) {
                *cell = None;
                continue;
            }
            let cell = cell.get_or_insert_with(String::new);
            cell.clear();
            texts.write(row, cell)?;
        }
        take(&cells)?;
    }
    Ok(())
}

/// The texts of a column.
enum Texts<'b> {
    Plain(&'b StringViewArray),
    /// What is too far away for our own clock is written by the other.
    Utc(&'b TimestampMicrosecondArray, ArrayFormatter<'b>),
    /// Times of a zone.
    Zoned(ArrayFormatter<'b>),
    Other(ArrayFormatter<'b>),
}

impl<'b> Texts<'b> {
    fn of(column: &'b dyn Array, options: &FormatOptions<'b>) -> Result<Texts<'b>> {
        if let Some(plain) = column.as_any().downcast_ref() {
            return Ok(Texts::Plain(plain));
        }
        let formatter = ArrayFormatter::try_new(column, options)?;
        let DataType::Timestamp(_, Some(zone)) = column.data_type() else { return Ok(Texts::Other(formatter)) };
        match column.as_any().downcast_ref() {
            Some(times) if &**zone == "UTC" => Ok(Texts::Utc(times, formatter)),
            _ => Ok(Texts::Zoned(formatter)),
        }
    }

    fn write(&self, row: usize, out: &mut String) -> Result<()> {
        match self {
            Texts::Plain(texts) => out.push_str(texts.value(row)),
            Texts::Utc(times, formatter) => match times.value(row).checked_mul(1_000) {
                Some(nanos) => {
                    let digits = match (nanos % 1_000_000_000, nanos % 1_000_000) {
                        (0, _) => 0,
                        (_, 0) => 3,
                        _ => 6,
                    };
                    let mut text = Vec::with_capacity(27);
                    Time(nanos).write_rfc3339(digits, &mut text);
                    out.push_str(std::str::from_utf8(&text)?);
                }
                None => zoned(formatter, row, out)?,
            },
            Texts::Zoned(formatter) => zoned(formatter, row, out)?,
            Texts::Other(formatter) => write!(out, "{}", formatter.value(row))?,
        }
        Ok(())
    }
}

/// `Z` where the zone is UTC.
fn zoned(formatter: &ArrayFormatter<'_>, row: usize, out: &mut String) -> Result<()> {
    write!(out, "{}", formatter.value(row))?;
    if out.ends_with("+00:00") {
        out.truncate(out.len() - "+00:00".len());
        out.push('Z');
    }
    Ok(())
}

fn shown(cell: &str) -> String {
    let text = visible(cell);
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

fn table(out: &mut impl Write, names: Vec<String>, rows: &[Vec<String>], right: &[bool]) -> Result<()> {
    let mut widths: Vec<usize> = names.iter().map(|name| name.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&names).chain(rows) {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(&widths).zip(right) {
            let fill = " ".repeat(width - cell.chars().count());
            let (before, behind) = if *right { (fill.as_str(), "") } else { ("", fill.as_str()) };
            line.push_str(&format!("{before}{cell}{behind}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Whether its text is a JSON value as it is.
fn is_bare(kind: &DataType) -> bool {
    kind.is_numeric() || *kind == DataType::Boolean
}

/// A text as JSON; what a terminal would act on is escaped.
pub fn json_text(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    if !quoted.chars().any(is_hidden) {
        return quoted;
    }
    let mut out = String::with_capacity(quoted.len() + 16);
    for letter in quoted.chars() {
        match is_hidden(letter) {
            true => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
            false => out.push(letter),
        }
    }
    out
}

/// The same, behind what is there.
pub fn push_json(text: &str, out: &mut Vec<u8>) {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        return out.extend(json_text(text).as_bytes());
    }
    out.push(b'"');
    out.extend(text.as_bytes());
    out.push(b'"');
}

fn is_text(kind: &DataType) -> bool {
    !is_bare(kind) && !kind.is_temporal()
}

/// A text as a cell of RFC 4180. What a spreadsheet would calculate gets a `'` before it, what a terminal would act
/// on is written out.
pub fn csv_text(text: &str) -> String {
    let text = visible(text);
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        return text.into_owned();
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_the_same_by_either_clock() {
        let micros = vec![
            Some(1_795_252_321_500_000),
            Some(1_795_252_321_000_000),
            Some(1_795_252_321_123_400),
            Some(-1),
            None,
            Some(10_413_792_000_000_000),
        ];
        let utc = TimestampMicrosecondArray::from(micros.clone()).with_timezone("UTC");
        let london = TimestampMicrosecondArray::from(micros).with_timezone("+01:00");
        let text = arrow_text(vec!["2026-11-21T09:00:00+00:00"; 6]);
        let batch =
            RecordBatch::try_from_iter([("utc", Arc::new(utc) as _), ("zone", Arc::new(london) as _), ("text", text)])
                .unwrap();
        let mut rows = Vec::new();
        each_row(&batch, &mut |cells| {
            rows.push(cells.to_vec());
            Ok(())
        })
        .unwrap();
        let said: Vec<_> = rows.iter().map(|cells| cells[0].as_deref().unwrap_or("-")).collect();
        let expected = [
            "2026-11-21T09:12:01.500Z",
            "2026-11-21T09:12:01Z",
            "2026-11-21T09:12:01.123400Z",
            "1969-12-31T23:59:59.999999Z",
            "-",
            "2300-01-01T00:00:00Z",
        ];
        assert_eq!(said, expected);
        assert_eq!(rows[0][1].as_deref(), Some("2026-11-21T10:12:01.500+01:00"));
        assert_eq!(rows[0][2].as_deref(), Some("2026-11-21T09:00:00+00:00"), "a text stays as it is");
    }

    fn arrow_text(texts: Vec<&str>) -> Arc<dyn Array> {
        Arc::new(datafusion::arrow::array::StringArray::from(texts))
    }

    #[test]
    fn texts_are_inert() {
        for (text, csv, json) in [
            ("plain", "plain", r#""plain""#),
            ("a,b", "\"a,b\"", r#""a,b""#),
            ("=cmd|'/c calc'!A1", "\"'=cmd|'/c calc'!A1\"", r#""=cmd|'/c calc'!A1""#),
            ("+1", "\"'+1\"", r#""+1""#),
            ("-1", "\"'-1\"", r#""-1""#),
            ("@x", "\"'@x\"", r#""@x""#),
            ("\tx", "\\tx", r#""\tx""#),
            ("a\"b", "\"a\"\"b\"", r#""a\"b""#),
            ("\u{1b}[2J", "\\u{1b}[2J", r#""\u001b[2J""#),
            ("\u{202e}\u{e0001}", "\\u{202e}\\u{e0001}", r#""\u202e\udb40\udc01""#),
        ] {
            let mut pushed = Vec::new();
            push_json(text, &mut pushed);
            assert_eq!(String::from_utf8(pushed).unwrap(), json);
            assert_eq!((csv_text(text).as_str(), json_text(text).as_str()), (csv, json), "{text:?}");
        }
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"é".repeat(121)).chars().count(), 121);
    }
}
