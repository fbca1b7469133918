//! Population: every event of every class, with its six details and where it is sealed.
//!
//! Invariant: nothing is left blank: what a source does not give is `not recorded by source`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow};

use super::Export;
use crate::engine::Engine;
use crate::output::{each_row, push_json};
use crate::request::Request;

const SQL: &str = include_str!("../../../catalog/sql/pack/population.sql");
/// What every event says or is said not to say: who, what, outcome, where, on what, through which source.
const DETAILS: [&str; 6] = ["who", "event_class", "outcome", "machine", "object", "source"];
pub const ABSENT: &str = "not recorded by source";
const LEVEL: i32 = 1;

/// Lines of a class that are compressed together.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait for the other thread.
const CHUNKS_MAX: usize = 8;

/// Events as lines. Another thread compresses and writes them meanwhile.
pub struct Population<'p> {
    /// Keys of objects by stream and seal.
    objects: HashMap<(&'p str, u64), &'p str>,
    /// Of each class what has not been handed over.
    lines: BTreeMap<String, Vec<u8>>,
    chunks: SyncSender<(String, Vec<u8>)>,
    writer: JoinHandle<Result<()>>,
}

impl<'p> Population<'p> {
    pub fn new(export: &'p Export, request: &'p Request) -> Population<'p> {
        let place = |object: &'p crate::parts::Object| ((&*object.stream, object.seal), &*object.object);
        let objects = request.objects.iter().map(place).collect();
        let (chunks, taken) = sync_channel(CHUNKS_MAX);
        let pack = export.pack.clone();
        let writer = thread::spawn(move || write(&pack, &taken));
        Population { objects, lines: BTreeMap::new(), chunks, writer }
    }

    /// Adds what is in the files of an engine.
    ///
    /// # Errors
    /// The statement fails, or a file cannot be written.
    pub fn add(&mut self, engine: &Engine) -> Result<()> {
        let answer = engine.start(SQL)?;
        let schema = answer.schema();
        let names: Vec<Column> = schema.fields().iter().map(|field| Column::new(field.name())).collect();
        engine.each(answer, &mut |batch| each_row(batch, &mut |cells| self.row(&names, cells)))
    }

    fn row(&mut self, columns: &[Column], cells: &[Option<String>]) -> Result<()> {
        let cell = |name: &str| {
            let at = columns.iter().position(|column| column.name == name)?;
            cells.get(at)?.as_deref()
        };
        let class = cell("audit_class").unwrap_or_default();
        let (stream, seal) = (cell("stream").unwrap_or_default(), cell("seal").unwrap_or_default());
        // Of Parquet that holds more than was asked for.
        let Some(object) = self.objects.get(&(stream, seal.parse()?)) else { return Ok(()) };
        if !self.lines.contains_key(class) {
            self.lines.insert(class.to_owned(), Vec::with_capacity(CHUNK_BYTES + (64 << 10)));
        }
        let lines = self.lines.get_mut(class).context("it was made above")?;
        let mut before = b'{';
        for (column, cell) in columns.iter().zip(cells) {
            let value = match cell {
                Some(value) => value,
                None if column.is_detail => ABSENT,
                None => continue,
            };
            lines.push(before);
            before = b',';
            lines.extend(&column.quoted);
            match column.is_number {
                true => lines.extend(value.as_bytes()),
                false => push_json(value, lines),
            }
        }
        lines.extend(b",\"sealed_in\":");
        push_json(object, lines);
        lines.extend(b"}\n");
        if lines.len() >= CHUNK_BYTES {
            let chunk = std::mem::replace(lines, Vec::with_capacity(CHUNK_BYTES + (64 << 10)));
            self.chunks.send((class.to_owned(), chunk)).context("the thread that writes the population has ended")?;
        }
        Ok(())
    }

    /// Also where `add` failed: it knows why nothing more is written.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(self) -> Result<()> {
        let Population { lines, chunks, writer, .. } = self;
        lines.into_iter().for_each(|chunk| drop(chunks.send(chunk)));
        drop(chunks);
        writer.join().map_err(|_| anyhow!("the thread that writes the population panicked"))?
    }
}

/// A column of the statement, ready to be written.
struct Column {
    name: String,
    /// `"name":`
    quoted: Vec<u8>,
    is_detail: bool,
    is_number: bool,
}

impl Column {
    fn new(name: &str) -> Column {
        let quoted = format!("\"{name}\":").into_bytes();
        let is_number = matches!(name, "seal" | "line_number" | "exit_code");
        Column { name: name.to_owned(), quoted, is_detail: DETAILS.contains(&name), is_number }
    }
}

/// A file for each class.
fn write(pack: &Path, chunks: &Receiver<(String, Vec<u8>)>) -> Result<()> {
    let mut files: BTreeMap<String, zstd::Encoder<'static, BufWriter<File>>> = BTreeMap::new();
    for (class, chunk) in chunks {
        if !files.contains_key(&class) {
            let path = pack.join(format!("events-{class}.ndjson.zst"));
            let file = File::create_new(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
            files.insert(class.clone(), zstd::Encoder::new(BufWriter::with_capacity(1 << 18, file), LEVEL)?);
        }
        files.get_mut(&class).context("it was opened above")?.write_all(&chunk)?;
    }
    for encoder in files.into_values() {
        encoder.finish()?.flush()?;
    }
    Ok(())
}
