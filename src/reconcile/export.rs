//! Ids out of what a SIEM exports: a list, CSV with a head, JSON lines, or a document of search results.
//!
//! Invariant: one line, row or result at a time, of at most [`RECORD_BYTES_MAX`]; of JSON what is not wanted is
//! passed over as it is read. Nothing makes it stop but what is no export.

mod member;

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wharfinger_formats::Time;

use self::member::{Member, Row};

/// No line, row or result of an export is longer.
const RECORD_BYTES_MAX: u64 = 16 << 20;
/// What the column of ids is called.
const ID_NAMES: [&str; 4] = ["event_id", "externalId", "event.event_id", "fields.event_id"];
const INDEXED: &str = "_indextime";

/// One event that the SIEM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'e> {
    pub id: &'e str,
    /// Seconds since 1970.
    pub indexed: Option<u32>,
}

/// The export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is CSV without a column `event_id`")]
    NoColumn,
    #[error("it is no CSV: {0}")]
    Csv(#[from] csv::Error),
    #[error("line {line} is no JSON: {cause}")]
    Json { line: u64, cause: serde_json::Error },
    #[error("it has times of indexing for more events than memory is used for")]
    TooManyTimes,
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a record of it is longer than {RECORD_BYTES_MAX} bytes"))
}

/// Reads on as long as something is left for the present record.
struct Bounded<'b> {
    inner: &'b mut dyn BufRead,
    left: &'b Cell<u64>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (left, asked) = (self.left.get(), buffer.len() as u64);
        if left == 0 {
            return Err(too_long());
        }
        let count = (&mut *self.inner).take(left.min(asked)).read(buffer)?;
        self.left.set(left.saturating_sub(count as u64));
        Ok(count)
    }
}

type Tell<'t> = dyn FnMut(&Found<'_>) -> Result<(), ExportError> + 't;

/// Tells every id of an export; what it is is seen by its beginning.
///
/// # Errors
/// It is none, it cannot be read, or what `tell` answers.
pub fn read_export(export: &mut dyn BufRead, tell: &mut Tell<'_>) -> Result<(), ExportError> {
    let start = export.fill_buf()?;
    let start = start.trim_ascii_start();
    let head = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match start.first() {
        Some(b'[') => document(export, tell),
        Some(b'{') if head.windows(9).any(|part| part == b"\"results\"") => document(export, tell),
        Some(b'{') => json_lines(export, tell),
        _ if head.contains(&b',') || ID_NAMES.iter().any(|name| is_name(head, name)) => table(export, tell),
        _ => list(export, tell),
    }
}

fn is_name(head: &[u8], name: &str) -> bool {
    head.trim_ascii().strip_prefix(b"\"").and_then(|head| head.strip_suffix(b"\"")).unwrap_or(head.trim_ascii())
        == name.as_bytes()
}

fn each_line(
    export: &mut dyn BufRead,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if (&mut *export).take(RECORD_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 == RECORD_BYTES_MAX {
            return Err(too_long().into());
        }
        number += 1;
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() {
            each(number, trimmed)?;
        }
    }
}

/// An id a line.
fn list(export: &mut dyn BufRead, tell: &mut Tell<'_>) -> Result<(), ExportError> {
    each_line(export, |_, line| tell(&Found { id: String::from_utf8_lossy(line).trim_matches('"'), indexed: None }))
}

fn table(export: &mut dyn BufRead, tell: &mut Tell<'_>) -> Result<(), ExportError> {
    let left = Cell::new(RECORD_BYTES_MAX);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(Bounded { inner: export, left: &left });
    let head = reader.byte_headers()?.clone();
    let column = |name: &str| head.iter().position(|cell| cell.trim_ascii() == name.as_bytes());
    let id = ID_NAMES.iter().find_map(|name| column(name)).ok_or(ExportError::NoColumn)?;
    let indexed = column(INDEXED);
    let mut row = csv::ByteRecord::new();
    while reader.read_byte_record(&mut row)? {
        left.set(RECORD_BYTES_MAX);
        let text = |at: usize| row.get(at).map(String::from_utf8_lossy).unwrap_or_default();
        let indexed = indexed.and_then(|at| seconds(&text(at)));
        tell(&Found { id: text(id).trim(), indexed })?;
    }
    Ok(())
}

fn json_lines(export: &mut dyn BufRead, tell: &mut Tell<'_>) -> Result<(), ExportError> {
    each_line(export, |number, line| {
        let member: Member = serde_json::from_slice(line).map_err(|cause| ExportError::Json { line: number, cause })?;
        member.row().map_or(Ok(()), |row| result(&row, tell))
    })
}

/// One result: `{"result": {…}}` of a search, an envelope of HEC, or an event.
fn result(row: &Row, tell: &mut Tell<'_>) -> Result<(), ExportError> {
    // A preview tells the same again; what else Splunk writes between results has none.
    if row.is_preview {
        return Ok(());
    }
    let inner = row.result.as_deref().unwrap_or(row);
    let places = [Some(inner), inner.fields.as_deref(), inner.event.as_deref()];
    let id = places.into_iter().flatten().find_map(|place| place.ids.iter().flatten().next());
    let raw = || serde_json::from_str(inner.raw.as_deref()?).ok();
    let own = match id {
        Some(_) => None,
        None => raw().and_then(|raw: Member| raw.row()).and_then(|mut raw| raw.ids.first_mut()?.take()),
    };
    match id.or(own.as_ref()) {
        Some(id) => tell(&Found { id, indexed: inner.indexed }),
        // `{"lastrow": true}` and messages are no results.
        None if row.result.is_some() || inner.raw.is_some() => tell(&Found { id: "", indexed: inner.indexed }),
        None => Ok(()),
    }
}

/// Seconds since 1970, as such or as RFC 3339.
fn seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    let whole = text.split('.').next().and_then(|whole| whole.parse().ok());
    whole.or_else(|| u32::try_from(Time::parse_rfc3339(text.as_bytes())?.0.seconds()).ok())
}

/// `[…]`, or `{"results": […]}`, one element at a time.
fn document(export: &mut dyn BufRead, tell: &mut Tell<'_>) -> Result<(), ExportError> {
    let mut refused = None;
    let left = Cell::new(RECORD_BYTES_MAX);
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(Bounded { inner: export, left: &left }));
    let read = (&mut reader).deserialize_any(Results { tell, refused: &mut refused, left: &left });
    match (read, refused) {
        (_, Some(error)) => Err(error),
        (Err(cause), None) => Err(ExportError::Json { line: cause.line() as u64, cause }),
        (Ok(()), None) => Ok(()),
    }
}

struct Results<'r, 't> {
    tell: &'r mut Tell<'t>,
    refused: &'r mut Option<ExportError>,
    left: &'r Cell<u64>,
}

impl<'de> DeserializeSeed<'de> for Results<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Results<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("results of a search")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut results: A) -> Result<(), A::Error> {
        while let Some(member) = results.next_element::<Member>()? {
            self.left.set(RECORD_BYTES_MAX);
            if let Err(error) = member.row().map_or(Ok(()), |row| result(&row, self.tell)) {
                *self.refused = Some(error);
                return Err(serde::de::Error::custom("enough"));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name == "results" {
                members.next_value_seed(Results {
                    tell: &mut *self.tell,
                    refused: &mut *self.refused,
                    left: self.left,
                })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_an_end_is_no_record() {
        let endless = |begin: &'static str| {
            let rest = BufReader::new(io::repeat(b'x').take(RECORD_BYTES_MAX * 2));
            read_export(&mut begin.as_bytes().chain(rest), &mut |_| Ok(()))
        };
        for begin in ["event_id,a\na-1,\"", "{\"a\":\"", "[{\"event_id\":\"", "a-1\n"] {
            let read = endless(begin);
            assert!(read.as_ref().is_err_and(|error| error.to_string().contains("longer than")), "{begin} {read:?}");
        }
    }

    fn found(export: &str) -> Vec<(String, Option<u32>)> {
        let mut found = Vec::new();
        read_export(&mut export.as_bytes(), &mut |one| {
            found.push((one.id.to_owned(), one.indexed));
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn every_kind_of_export_tells_the_same() {
        let expected = [("a-1".to_owned(), Some(1_795_251_600)), ("a-2".to_owned(), None)];
        for export in [
            "_time,event_id,_indextime\n2026-11-21,a-1,1795251600\nx,\"a-2\",\n",
            "{\"result\":{\"event_id\":\"a-1\",\"_indextime\":\"1795251600\"}}\n\n{\"preview\":false,\"result\":{\"event_id\":\"a-2\"}}\n",
            "{\"preview\":true,\"result\":{\"event_id\":\"a-1\"}}\n{\"fields\":{\"event_id\":\"a-1\"},\"_indextime\":1795251600.25}\n{\"event\":{\"event_id\":\"a-2\"}}\n{\"lastrow\":true}",
            "{\"preview\":false,\"results\":[{\"event_id\":\"a-1\",\"_indextime\":\"2026-11-21T09:00:00Z\"},{\"_raw\":\"{\\\"event_id\\\":\\\"a-2\\\"}\"}],\"more\":[1]}",
            "[{\"externalId\":\"a-1\",\"_indextime\":\"1795251600\"},{\"event_id\":\"a-2\"}]",
        ] {
            assert_eq!(found(export), expected, "{export}");
        }
        assert_eq!(found("a-1\r\n\n \"a-2\"\n").iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a-1", "a-2"]);
        assert_eq!(found("event_id\na-1\n").len(), 1);
        assert!(found("").is_empty());
    }

    #[test]
    fn what_is_no_export_is_an_error() {
        let read = |export: &str| read_export(&mut export.as_bytes(), &mut |_| Ok(()));
        assert!(matches!(read("a,b\n1,2\n"), Err(ExportError::NoColumn)));
        assert!(matches!(read("{\"a\":1}\n{"), Err(ExportError::Json { line: 2, .. })));
        assert!(matches!(read("[{\"a\":1}"), Err(ExportError::Json { .. })));
        let refused = read_export(&mut "[{\"event_id\":\"a\"}]".as_bytes(), &mut |_| Err(ExportError::TooManyTimes));
        assert!(matches!(refused, Err(ExportError::TooManyTimes)));
    }
}
