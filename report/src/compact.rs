//! Compact: lines of evidence become Parquet files, one folder for each hour of receipt.
//!
//! The input is what `wharfinger` writes: before the lines of an object a line of 0x1E and what its seal says, at
//! the end 0x1E alone.
//!
//! Invariant: a file appears whole, synced, with the hash of every object it was made of in the list beside
//! it; without the end of the input nothing is listed.

use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, bail};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use sha2::{Digest as _, Sha256};
use wharfinger_formats::{Event, native};

use crate::classes::Classes;
use crate::columns::{Rows, VERSION, schema};
use crate::parts::{Object, Report, Written};

/// Lines of one row group, which is sorted in memory.
const GROUP_BYTES: usize = 64 << 20;
/// A file that has grown to that is ended with the object it is in.
const FILE_BYTES: u64 = 192 << 20;
/// No line of an archive is longer.
const LINE_BYTES_MAX: u64 = 256 << 20;
const MARK: u8 = 0x1e;
const ZSTD_LEVEL: i32 = 3;
/// Columns in which no value comes twice, and that nobody asks a range of.
const UNIQUE: [&str; 3] = ["event_id", "line", "record_hash"];

/// See above.
pub struct Compact<'c> {
    folder: PathBuf,
    classes: &'c Classes,
    report: Report,
    open: Option<Open>,
    rows: Rows,
}

/// A file that is being written. One group is compressed while the lines of the next are read.
struct Open {
    writer: Writer,
    partition: String,
    objects: Vec<Object>,
    rows: u64,
    /// Before the group at hand.
    bytes: u64,
}

enum Writer {
    Waits(SerializedFileWriter<File>),
    Writes(JoinHandle<Result<SerializedFileWriter<File>>>),
    /// A group could not be written.
    Failed,
}

impl Compact<'_> {
    pub fn new(folder: PathBuf, classes: &Classes) -> Compact<'_> {
        let report = Report { columns: VERSION, classes: classes.version, ..Report::default() };
        Compact { folder, classes, report, open: None, rows: Rows::default() }
    }

    /// Reads to the end of the input and lists what was written.
    ///
    /// # Errors
    /// The input is cut off or holds no events, or files cannot be written.
    pub fn run(mut self, mut input: impl BufRead) -> Result<Report> {
        let (mut line, mut raw, mut memory) = (Vec::new(), Vec::new(), Event::new(b""));
        let (mut object, mut number): (Option<Object>, i32) = (None, 0);
        loop {
            line.clear();
            (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                bail!("the input ends in the middle: what was read is not listed");
            }
            if let Some((&MARK, said)) = line.split_first() {
                if let Some(Object { object, records, .. }) = object.as_ref().filter(|of| of.records != number as u64) {
                    bail!("`{object}` has {number} lines here, and {records} were sealed");
                }
                if said.is_empty() {
                    break;
                }
                object = Some(self.begin(serde_json::from_slice(said).context("what stands before an object")?)?);
                number = 0;
                continue;
            }
            let Some(from) = &object else { bail!("a line stands before its object") };
            let event = native::read(&line, &mut raw, memory);
            let event = event.map_err(|error| anyhow::anyhow!("`{}`: {}", from.object, error.describe(&line)))?;
            // The leaf of RFC 6962: with it a row leads to the root in the seal.
            let hash = Sha256::new().chain_update([0]).chain_update(&line).finalize().into();
            self.rows.push(&event, &line, self.classes, (&from.stream, i64::try_from(from.seal)?, number), hash);
            memory = event.reuse(b"");
            number += 1;
            self.report.rows += 1;
            self.report.bytes_read += line.len() as u64 + 1;
            if self.rows.bytes() >= GROUP_BYTES {
                self.end_group()?;
            }
        }
        self.end_file()?;
        self.list()?;
        Ok(self.report)
    }

    /// The lines of an object follow.
    fn begin(&mut self, object: Object) -> Result<Object> {
        let Some(partition) = object.partition() else { bail!("`{}` is of no hour", object.object) };
        let is_another = self.open.as_ref().is_some_and(|open| {
            let is_full = open.bytes >= FILE_BYTES;
            let is_same =
                open.partition == partition && open.objects.last().is_none_or(|last| last.stream == object.stream);
            is_full || !is_same
        });
        if is_another {
            self.end_file()?;
        }
        match &mut self.open {
            Some(open) => open.objects.push(object.clone()),
            none => *none = Some(Open::begin(&self.folder, partition, object.clone())?),
        }
        Ok(object)
    }

    fn end_group(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if let Some(open) = self.open.as_mut().filter(|_| rows.len() > 0) {
            open.rows += rows.len() as u64;
            let mut writer = open.writer()?;
            open.writer = Writer::Writes(thread::spawn(move || {
                rows.write(writer.next_row_group()?)?;
                Ok(writer)
            }));
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<()> {
        self.end_group()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        let written = open.end(&self.folder)?;
        self.report.bytes_written += written.bytes;
        self.report.files.push(written);
        Ok(())
    }

    /// The list of files with the evidence they were made of.
    fn list(&self) -> Result<()> {
        let objects = || self.report.files.iter().flat_map(|file| &file.objects);
        let (Some(first), Some(last)) = (objects().next(), objects().last()) else { return Ok(()) };
        let name = format!("_compact-{}-{:012}-{:012}.json", first.stream, first.seal, last.seal);
        let text = serde_json::to_vec_pretty(&self.report)?;
        let (path, part) = (self.folder.join(&name), self.folder.join(format!(".part-{name}")));
        fs::write(&part, text)?;
        File::open(&part)?.sync_all()?;
        fs::rename(&part, &path).with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// While it is being written.
fn part(folder: &Path, partition: &str) -> PathBuf {
    folder.join(partition).join(".part-rows")
}

impl Open {
    fn begin(folder: &Path, partition: &str, object: Object) -> Result<Open> {
        let path = part(folder, partition);
        fs::create_dir_all(folder.join(partition))?;
        let file = File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        let by_time = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
        let mut properties = WriterProperties::builder();
        for unique in UNIQUE {
            let column = ColumnPath::from(unique);
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None);
        }
        let properties = properties
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_created_by(concat!("wharfinger ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_sorting_columns(Some(vec![by_time]))
            .build();
        let schema = Arc::new(parse_message_type(&schema())?);
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
        let (writer, partition) = (Writer::Waits(writer), partition.to_owned());
        Ok(Open { writer, partition, objects: vec![object], rows: 0, bytes: 0 })
    }

    /// The writer, once the group before is written.
    fn writer(&mut self) -> Result<SerializedFileWriter<File>> {
        let writer = match std::mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Waits(writer) => writer,
            Writer::Writes(thread) => thread.join().map_err(|_| anyhow::anyhow!("a thread that writes panicked"))??,
            Writer::Failed => bail!("a group before could not be written"),
        };
        self.bytes = writer.bytes_written() as u64;
        Ok(writer)
    }

    fn end(mut self, folder: &Path) -> Result<Written> {
        self.writer()?.into_inner()?.sync_all()?;
        let Open { partition, objects, rows, .. } = self;
        let (Some(first), Some(last)) = (objects.first(), objects.last()) else { bail!("a file of nothing") };
        let name = format!("{}-{:012}-{:012}.zstd.parquet", first.stream, first.seal, last.seal);
        let (from, file) = (part(folder, &partition), format!("{partition}/{name}"));
        let mut hash = Sha256::new();
        let bytes = io::copy(&mut File::open(&from)?, &mut hash)?;
        fs::rename(from, folder.join(&file))?;
        File::open(folder.join(&partition))?.sync_all()?;
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Written { file, bytes, sha256, rows, objects })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn object(seal: u64, hour: &str, records: u64) -> String {
        let key = format!("data/dt=2026-11-21/hour={hour}/{seal:012}.ndjson.zst");
        format!(
            "\u{1e}{{\"stream\":\"audit\",\"seal\":{seal},\"object\":\"{key}\",\"sha256\":\"aa\",\"records\":{records}}}\n"
        )
    }

    #[test]
    fn a_file_for_each_hour_and_a_list_of_what_it_was_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let late = "{\"time\":\"2026-11-21T09:00:02.000000000Z\",\"severity\":3,\"msg\":\"late\"}\n";
        let early = "{\"time\":\"2026-11-21T09:00:01.000000000Z\",\"raw\":\"early\"}\n";
        let input =
            [&object(0, "09", 2), late, early, &object(1, "09", 1), late, &object(2, "10", 1), early, "\u{1e}\n"]
                .concat();
        let report = Compact::new(folder.path().to_owned(), &Classes::read().unwrap()).run(input.as_bytes()).unwrap();
        let rows: Vec<_> = report.files.iter().map(|file| (file.rows, file.objects.len())).collect();
        assert_eq!((rows, report.rows), (vec![(3, 2), (1, 1)], 4));
        assert_eq!(report.files[0].file, "dt=2026-11-21/hour=09/audit-000000000000-000000000001.zstd.parquet");
        let listed = fs::read(folder.path().join("_compact-audit-000000000000-000000000002.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Report>(&listed).unwrap(), report);
    }

    #[test]
    fn what_is_cut_off_is_not_listed() {
        for wrong in [
            "",
            "{}\n",
            "\u{1e}{}\n",
            "\u{1e}\n\n",
            &object(0, "09", 0),
            &(object(0, "09", 1) + "{}"),
            &(object(0, "../x", 0) + "\u{1e}\n"),
            &(object(0, "09", 2) + "{\"raw\":\"one\"}\n\u{1e}\n"),
            &(object(0, "09", 1) + &object(1, "09", 0) + "\u{1e}\n"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let done = Compact::new(folder.path().to_owned(), &Classes::read().unwrap()).run(wrong.as_bytes());
            assert!(done.is_err() || wrong.starts_with("\u{1e}\n"), "{wrong}");
            let listed = fs::read_dir(folder.path())
                .unwrap()
                .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_file()));
            assert_eq!(listed.count(), 0, "{wrong}");
        }
    }
}
