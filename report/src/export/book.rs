//! Book: the tables, each as CSV (RFC 4180) and as a sheet of one workbook (ECMA-376), `tables.xlsx`.
//!
//! In a sheet numbers are numbers and times are times (UTC, milliseconds), so that they can be sorted and filtered.
//! Texts are texts, whatever they begin with. A sheet holds 1,048,576 rows: what is more stands on the next. A cell
//! holds 32,767 units of UTF-16: of a longer text the beginning stands there, and all of it in the CSV.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Result;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet};
use wharfinger_formats::visible::visible;

use crate::output::csv_text;
use crate::request::Period;

const ROWS_MAX: u32 = 1_048_576;
/// Units of UTF-16 that a cell can hold.
const TEXT_MAX: usize = 32_767;
/// In letters.
const COLUMN_WIDTH: u32 = 24;

/// One value of a row.
#[derive(Debug, Clone)]
pub struct Cell<'c> {
    kind: Kind,
    text: Cow<'c, str>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Time,
}

impl<'c> Cell<'c> {
    pub fn text(text: impl Into<Cow<'c, str>>) -> Cell<'c> {
        Cell { kind: Kind::Text, text: text.into() }
    }

    /// A number; what is none is a text.
    pub fn number(number: impl ToString) -> Cell<'c> {
        Cell { kind: Kind::Number, text: number.to_string().into() }
    }

    /// A time of RFC 3339 in UTC; what is none is a text.
    pub fn time(time: impl Into<Cow<'c, str>>) -> Cell<'c> {
        Cell { kind: Kind::Time, text: time.into() }
    }

    fn as_number(&self) -> Option<f64> {
        matches!(self.kind, Kind::Number).then(|| self.text.parse().ok())?
    }

    /// Its milliseconds: what is finer has no place in a sheet, and would be refused.
    fn as_time(&self) -> Option<ExcelDateTime> {
        let text = matches!(self.kind, Kind::Time).then(|| self.text.strip_suffix('Z'))??;
        let end = text.find('.').map_or(text.len(), |point| text.len().min(point + 4));
        ExcelDateTime::parse_from_str(text.get(..end)?).ok()
    }
}

/// The workbook while it is made.
pub struct Book {
    workbook: Workbook,
    /// Of a sheet.
    rows_max: u32,
    head: Format,
    time: Format,
}

/// A table while it is written.
pub struct Table<'b> {
    book: &'b mut Book,
    csv: BufWriter<File>,
    name: &'b str,
    columns: Vec<String>,
    sheet: Worksheet,
    /// Sheets before this one.
    full: usize,
    /// The next of this sheet.
    row: u32,
}

impl Book {
    /// # Errors
    /// The folder of the pack cannot be written to.
    pub fn new(pack: &Path, tool: &str, period: Period) -> Result<Book> {
        let mut workbook = Workbook::new();
        // Sheets are on the disk until they are finished, and where the pack is there is room.
        workbook.set_tempdir(pack)?.use_zip_large_file(true);
        let made = ExcelDateTime::from_timestamp(period.to.unwrap_or(0).div_euclid(1_000_000))?;
        let properties = DocProperties::new().set_title("Tables of an evidence pack").set_creation_datetime(&made);
        workbook.set_properties(&properties.set_author(tool));
        let time = Format::new().set_num_format("yyyy-mm-dd hh:mm:ss.000");
        Ok(Book { workbook, rows_max: ROWS_MAX, head: Format::new().set_bold(), time })
    }

    /// Begins a table.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn table<'b>(&'b mut self, mut csv: BufWriter<File>, name: &'b str, columns: &[&str]) -> Result<Table<'b>> {
        let names: Vec<_> = columns.iter().map(|column| csv_text(column)).collect();
        writeln!(csv, "{}", names.join(","))?;
        let columns: Vec<_> = columns.iter().map(|column| (*column).to_owned()).collect();
        let sheet = self.sheet(name.to_owned(), &columns)?;
        Ok(Table { book: self, csv, name, columns, sheet, full: 0, row: 1 })
    }

    fn sheet(&mut self, name: String, columns: &[String]) -> Result<Worksheet> {
        let mut sheet = self.workbook.new_worksheet_with_constant_memory()?;
        sheet.set_name(name)?.set_freeze_panes(1, 0)?;
        for (at, column) in (0..).zip(columns) {
            sheet.write_string_with_format(0, at, column, &self.head)?;
            sheet.set_column_width(at, COLUMN_WIDTH)?;
        }
        Ok(sheet)
    }

    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self, file: BufWriter<File>) -> Result<()> {
        Ok(self.workbook.save_to_writer(file)?)
    }
}

impl Table<'_> {
    /// Writes a row.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn push(&mut self, cells: &[Cell<'_>]) -> Result<()> {
        let texts = cells.iter().map(|cell| match cell.as_number() {
            Some(_) => cell.text.clone(),
            None => csv_text(&cell.text).into(),
        });
        writeln!(self.csv, "{}", texts.collect::<Vec<_>>().join(","))?;
        if self.row == self.book.rows_max {
            self.full += 1;
            let next = self.book.sheet(format!("{} {}", self.name, self.full + 1), &self.columns)?;
            let sheet = std::mem::replace(&mut self.sheet, next);
            self.close(sheet)?;
            self.row = 1;
        }
        for (at, cell) in (0..).zip(cells).filter(|(_, cell)| !cell.text.is_empty()) {
            match (cell.as_number(), cell.as_time()) {
                (Some(number), _) => self.sheet.write_number(self.row, at, number)?,
                (_, Some(time)) => self.sheet.write_datetime_with_format(self.row, at, &time, &self.book.time)?,
                _ => self.sheet.write_string(self.row, at, shortened(&visible(&cell.text)))?,
            };
        }
        self.row += 1;
        Ok(())
    }

    fn close(&mut self, mut sheet: Worksheet) -> Result<()> {
        let last = u16::try_from(self.columns.len().saturating_sub(1))?;
        sheet.autofilter(0, 0, self.row - 1, last)?;
        self.book.workbook.push_worksheet(sheet);
        Ok(())
    }

    /// # Errors
    /// A file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.csv.flush()?;
        let sheet = std::mem::take(&mut self.sheet);
        self.close(sheet)
    }
}

/// What a cell can hold of a text.
fn shortened(text: &str) -> Cow<'_, str> {
    if text.encode_utf16().count() <= TEXT_MAX {
        return Cow::Borrowed(text);
    }
    let mut room = TEXT_MAX - 1;
    let fits = |letter: &char| {
        let fits = letter.len_utf16() <= room;
        room -= if fits { letter.len_utf16() } else { room };
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_a_sheet_or_a_cell() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| BufWriter::new(File::create(folder.path().join(name)).unwrap());
        let mut book = Book::new(folder.path(), "wharfinger", Period { from: None, to: None }).unwrap();
        book.rows_max = 3;
        let mut table = book.table(file("a.csv"), "a", &["text", "number", "time"]).unwrap();
        for text in ["😀".repeat(20_000), "a".repeat(32_767), "=1".to_owned(), String::new(), "x".to_owned()] {
            table.push(&[Cell::text(text), Cell::number(7), Cell::time("2026-11-21T09:00:59.999500Z")]).unwrap();
        }
        table.push(&[Cell::text("y"), Cell::number("=1"), Cell::time("=2")]).unwrap();
        table.finish().unwrap();
        let names: Vec<_> = book.workbook.worksheets().iter().map(Worksheet::name).collect();
        assert_eq!(names, ["a", "a 2", "a 3"], "two rows and the heads on each");
        book.finish(file("tables.xlsx")).unwrap();
        let csv = std::fs::read_to_string(folder.path().join("a.csv")).unwrap();
        assert_eq!(csv.lines().count(), 7);
        assert!(csv.ends_with("\"'=1\",7,2026-11-21T09:00:59.999500Z\n,7,2026-11-21T09:00:59.999500Z\nx,7,2026-11-21T09:00:59.999500Z\ny,\"'=1\",\"'=2\"\n"));
    }

    #[test]
    fn cells() {
        assert_eq!(shortened(&"a".repeat(32_767)).len(), 32_767);
        let cut = shortened(&"😀".repeat(20_000)).into_owned();
        assert_eq!((cut.encode_utf16().count(), cut.chars().next_back()), (32_767, Some('…')));
        assert!(Cell::time("2026-11-21T09:00:59.999500Z").as_time().is_some(), "a minute has no 60th second");
        assert!(Cell::time("2026-11-21T09:00:00Z").as_time().is_some() && Cell::time("unknown").as_time().is_none());
        assert_eq!(
            (Cell::number("unknown").as_number(), Cell::number(3).as_number(), Cell::text("3").as_number()),
            (None, Some(3.0), None)
        );
    }
}
