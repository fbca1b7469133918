//! Tables for people: words to the left, numbers to the right, two spaces between.

use super::visible::visible;

/// A cell: a word or a number.
pub(super) enum Cell {
    Word(String),
    Number(u64),
}

impl From<&str> for Cell {
    fn from(word: &str) -> Cell {
        Cell::Word(visible(word).into_owned())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Number(number)
    }
}

/// The lines of a table; words from outside are made visible.
pub(super) fn table<const COLUMNS: usize>(head: [&str; COLUMNS], rows: &[[Cell; COLUMNS]]) -> String {
    let texts: Vec<[String; COLUMNS]> = rows.iter().map(|row| row.each_ref().map(text)).collect();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = texts.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    });
    // A column of numbers has its name on the right, too.
    let right: [bool; COLUMNS] =
        std::array::from_fn(|column| rows.first().is_some_and(|row| matches!(row[column], Cell::Number(_))));
    let line = |cells: [&str; COLUMNS]| {
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            let fill = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let (before, behind) = if right[column] { (fill.as_str(), "") } else { ("", fill.as_str()) };
            line.push_str(&format!("{}{before}{cell}{behind}", if column == 0 { "" } else { "  " }));
        }
        format!("{}\n", line.trim_end())
    };
    let mut out = line(head);
    for row in &texts {
        out.push_str(&line(row.each_ref().map(String::as_str)));
    }
    out
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Word(word) => word.clone(),
        Cell::Number(number) => grouped(*number),
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 event`, `2 events`.
pub(super) fn count(number: u64, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {of}{plural}", grouped(number))
}

/// `1536` as `1.5 KiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        // What would be shown as 1024.0 is one of the next.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Seconds as people say them: `40 s`, `12 min`, `7.5 h`, `3.1 days`.
pub(super) fn time(seconds: u64) -> String {
    const HOUR: f64 = 3600.0;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{:.1} h", seconds as f64 / HOUR),
        172_800..31_536_000 => format!("{:.1} days", seconds as f64 / HOUR / 24.0),
        _ => "more than a year".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_acts_on_the_terminal() {
        let rows = [["ä\u{1b}[2J".into(), 1_234_567.into(), "x".into()], ["b".into(), 0.into(), "".into()]];
        let expected = "name           number  word\nä\\u{1b}[2J  1,234,567  x\nb                   0\n";
        assert_eq!(table(["name", "number", "word"], &rows), expected);
    }

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
