//! The chain of checksums that a Wazuh manager keeps over the days of its alerts.
//!
//! `alerts/2026/Nov/ossec-alerts-21.json.sum` holds the hashes of that day's file, all its parts one after the
//! other and not compressed, and those of the `.sum` of the day before. Invariant: what cannot be compared is a
//! break, and is said to be one; nothing is changed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wharfinger_formats::{Civil, Offset, Time};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_NANOS: i64 = 86_400_000_000_000;
/// A `.sum` is about 1 KiB.
const SUM_BYTES_MAX: u64 = 64 * 1024;
/// A day is rotated by size at most so often.
const PARTS_MAX: usize = 999;

/// The day of a `.sum`, as days can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(i64);

/// What was found of one day.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) day: Day,
    pub(super) sum: PathBuf,
    /// What does not agree.
    pub(super) breaks: Vec<String>,
}

/// The two hashes that a `.sum` names.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    /// Of the day.
    current: Option<String>,
    /// Of the `.sum` before; none: there was none.
    chained: Option<String>,
}

impl Day {
    /// From what is stored.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Day> {
        Some(Day(i64::from_le_bytes(bytes.try_into().ok()?)))
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// Of `2026/Nov/ossec-alerts-21.json.sum` in the folder of the alerts.
    fn of(path: &Path, stem: &str) -> Option<Day> {
        let name = path.file_name()?.to_str()?.strip_prefix(stem)?.strip_suffix(".json.sum")?;
        let month_folder = path.parent()?;
        let month = MONTHS.iter().zip(1..).find(|(month, _)| month_folder.ends_with(month))?.1;
        let year = month_folder.parent()?.file_name()?.to_str()?.parse().ok()?;
        let civil = Civil { year, month, day: name.parse().ok()?, hour: 0, minute: 0, second: 0, nanos: 0 };
        Some(Day(civil.to_time(Offset(0))?.0 / DAY_NANOS))
    }

    /// `2026/Nov/ossec-alerts-21` in that folder.
    fn stem(self, root: &Path, stem: &str) -> PathBuf {
        let civil = Time(self.0 * DAY_NANOS).civil();
        let month = MONTHS.get(usize::from(civil.month).wrapping_sub(1)).copied().unwrap_or_default();
        root.join(format!("{:04}/{month}/{stem}{:02}", civil.year, civil.day))
    }
}

/// Checks all days after `last`; the first time only the newest. `log` is `alerts.json` or `archives.json`.
pub(super) fn check(log: &Path, last: Option<Day>) -> Vec<Verdict> {
    let Some(root) = log.parent() else { return Vec::new() };
    let stem = if log.ends_with("archives.json") { "ossec-archive-" } else { "ossec-alerts-" };
    let mut days = days(root, stem);
    match last {
        Some(last) => days.retain(|(day, _)| *day > last),
        None => drop(days.drain(..days.len().saturating_sub(1))),
    }
    let verdict = |(day, sum): (Day, PathBuf)| Verdict { day, breaks: breaks(root, stem, day, &sum), sum };
    days.into_iter().map(verdict).collect()
}

/// The days that have a `.sum`, the oldest first.
fn days(root: &Path, stem: &str) -> Vec<(Day, PathBuf)> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let years = entries(root.to_owned()).filter(|path| path.is_dir());
    let months = years.flat_map(entries).filter(|path| path.is_dir());
    let mut days: Vec<_> = months.flat_map(entries).filter_map(|path| Some((Day::of(&path, stem)?, path))).collect();
    days.sort_unstable();
    days
}

fn breaks(root: &Path, stem: &str, day: Day, path: &Path) -> Vec<String> {
    let sum = match read(path) {
        Ok(sum) => sum,
        Err(error) => return vec![format!("it cannot be read: {error}")],
    };
    let mut breaks = Vec::new();
    match (sum.current, hash_of_day(&day.stem(root, stem))) {
        (None, _) => breaks.push("it names no hash of its day".to_owned()),
        (Some(_), Err(error)) => breaks.push(format!("the file of the day cannot be read: {error}")),
        (Some(told), Ok(found)) if told == found => {}
        (Some(told), Ok(found)) => breaks.push(format!("the file of the day was changed: SHA-256 {found}, not {told}")),
    }
    let mut before = Day(day.0 - 1).stem(root, stem).into_os_string();
    before.push(".json.sum");
    match (sum.chained, hash(&mut open(Path::new(&before)))) {
        (None, Err(_)) => breaks.push("the chain begins here: there is nothing of the day before".to_owned()),
        (None, Ok(_)) => breaks.push("it does not name the hash of the day before, which is there".to_owned()),
        (Some(_), Err(error)) => breaks.push(format!("the hashes of the day before cannot be read: {error}")),
        (Some(told), Ok(found)) if told == found => {}
        (Some(told), Ok(found)) => {
            breaks.push(format!("the hashes of the day before were changed: SHA-256 {found}, not {told}"));
        }
    }
    breaks
}

fn read(path: &Path) -> io::Result<Sum> {
    let mut text = String::new();
    File::open(path)?.take(SUM_BYTES_MAX).read_to_string(&mut text)?;
    let (current, chained) = text.split_once("Chained checksum:").unwrap_or((&text, ""));
    // `SHA256 (logs/alerts/2026/Nov/ossec-alerts-21) = <hex>`
    let hash = |section: &str| {
        let line = section.lines().find(|line| line.starts_with("SHA256"))?;
        let hash = line.rsplit_once(" = ")?.1.trim().to_ascii_lowercase();
        (hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hash)
    };
    Ok(Sum { current: hash(current), chained: hash(chained) })
}

/// Of a day in all its parts: `…-21.json`, then `…-21-001.json` and so on, each compressed or not.
fn hash_of_day(stem: &Path) -> io::Result<String> {
    let part = |number: usize| {
        let mut path = stem.as_os_str().to_owned();
        path.push(if number == 0 { ".json".to_owned() } else { format!("-{number:03}.json") });
        PathBuf::from(path)
    };
    let mut whole: Box<dyn Read> = open(&part(0))?;
    for number in 1..=PARTS_MAX {
        match open(&part(number)) {
            Ok(next) => whole = Box::new(whole.chain(next)),
            Err(_) => break,
        }
    }
    hash(&mut Ok(whole))
}

/// A file, or the compressed one in its place.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => {
            let mut packed = path.as_os_str().to_owned();
            packed.push(".gz");
            let file = File::open(packed).map_err(|_| error)?;
            Ok(Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))))
        }
    }
}

fn hash(file: &mut io::Result<Box<dyn Read>>) -> io::Result<String> {
    let file = match file {
        Ok(file) => file,
        Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
    };
    let mut hasher = Sha256::new();
    io::copy(file, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn sha256(bytes: &[u8]) -> String {
        hash(&mut Ok(Box::new(io::Cursor::new(bytes.to_vec())))).unwrap()
    }

    /// A manager's folder with three days, the first of another month; the second has two parts and is compressed.
    fn manager() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("alerts");
        let mut before: Option<Vec<u8>> = None;
        for (day, parts) in
            [("2026/Oct/ossec-alerts-31", 1), ("2026/Nov/ossec-alerts-01", 2), ("2026/Nov/ossec-alerts-02", 1)]
        {
            let stem = root.join(day);
            std::fs::create_dir_all(stem.parent().unwrap()).unwrap();
            let mut whole = Vec::new();
            for part in 0..parts {
                let text = format!("alert of {day}, part {part}\n");
                whole.extend_from_slice(text.as_bytes());
                let suffix = if part == 0 { String::new() } else { format!("-{part:03}") };
                let path = |end: &str| format!("{}{suffix}.json{end}", stem.display());
                if parts == 2 {
                    let file = File::create(path(".gz")).unwrap();
                    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                    packed.write_all(text.as_bytes()).unwrap();
                    packed.finish().unwrap();
                } else {
                    std::fs::write(path(""), text).unwrap();
                }
            }
            let chained = before.as_ref().map_or("none".to_owned(), |before| sha256(before));
            let sum = format!(
                "Current checksum:\nMD5  (logs/{day}) = x\nSHA256 (logs/{day}) = {}\n\nChained checksum:\n\
                 MD5  (logs/old) = x\nSHA256 (logs/old) = {chained}\n",
                sha256(&whole)
            );
            std::fs::write(format!("{}.json.sum", stem.display()), &sum).unwrap();
            before = Some(sum.into_bytes());
        }
        let log = root.join("alerts.json");
        (folder, log)
    }

    fn all_breaks(log: &Path) -> Vec<Vec<String>> {
        check(log, Some(Day(0))).into_iter().map(|verdict| verdict.breaks).collect()
    }

    #[test]
    fn a_whole_chain_over_months_and_parts() {
        let (_folder, log) = manager();
        let found = all_breaks(&log);
        assert_eq!(found[1..], [vec![], Vec::<String>::new()]);
        assert!(found[0][0].starts_with("the chain begins here"), "{found:?}");
        // At first the newest alone; then what is new.
        let newest = check(&log, None);
        assert_eq!((newest.len(), &newest[0].breaks), (1, &vec![]));
        assert_eq!(check(&log, Day::from_bytes(&newest[0].day.to_bytes())), []);
    }

    #[test]
    fn breaks_are_found() {
        let (_folder, log) = manager();
        let file = |name: &str| log.parent().unwrap().join(name);
        std::fs::write(file("2026/Nov/ossec-alerts-02.json"), "another\n").unwrap();
        assert!(all_breaks(&log)[2][0].starts_with("the file of the day was changed"));
        let sum = file("2026/Nov/ossec-alerts-01.json.sum");
        let forged = std::fs::read_to_string(&sum).unwrap() + "\n";
        std::fs::write(&sum, forged).unwrap();
        assert!(all_breaks(&log)[2][1].starts_with("the hashes of the day before were changed"));
        std::fs::remove_file(file("2026/Nov/ossec-alerts-01-001.json.gz")).unwrap();
        assert!(all_breaks(&log)[1][0].starts_with("the file of the day was changed"));
        std::fs::remove_file(file("2026/Nov/ossec-alerts-01.json.gz")).unwrap();
        assert!(all_breaks(&log)[1][0].starts_with("the file of the day cannot be read"));
        std::fs::remove_file(sum).unwrap();
        let found = all_breaks(&log);
        assert_eq!(found.len(), 2);
        assert!(found[1][1].starts_with("the hashes of the day before cannot be read"), "{found:?}");
    }
}
