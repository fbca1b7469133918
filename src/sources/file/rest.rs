//! What is left of a file that is no longer where it was: compressed, or copied and cut, before it was read to its
//! end.
//!
//! Way of a line here: as in `tail`, from a file that will not grow. A file is known by the hash of its first
//! bytes, which its copies have too, and of those before the position, which files that begin alike have not.
//! Invariants: only what stands behind the stored position is handed on, and nothing of a file that may be another.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::tail::{FileId, HEAD_BYTES, NEAR_BYTES, Position, hash};
use crate::sources::lines::{Line, Lines};

/// Files of one search that may be copies.
const CANDIDATES_MAX: usize = 10_000;
/// With fewer bytes in common one file is not told from another.
const HEAD_BYTES_MIN: u64 = 16;
/// So much is passed over in one look: other files are waiting.
const SKIP_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// See above.
pub(super) struct Rest {
    /// The name under which the position is stored.
    pub(super) name: String,
    /// Whether there is more of it for certain: otherwise it may be that no copy was ever made.
    pub(super) is_missed: bool,
    position: Position,
    /// Files that begin as this one did, and were not looked into.
    untried: VecDeque<PathBuf>,
    /// The one that is looked into.
    trying: Option<Copy>,
    /// The one that has what stands before the position.
    found: Option<Copy>,
    lines: Lines,
    /// Read, and not handed on.
    held: Vec<u8>,
    has_ended: bool,
}

/// What one look brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    More,
    /// All of it was handed on, as far as anyone knows.
    End,
    /// It cannot be read: why.
    Lost(String),
}

/// A file that may be the one.
struct Copy {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    /// Bytes to be passed over.
    skip: u64,
    /// The last ones that were passed over or handed on.
    near: Vec<u8>,
}

/// Files that may be copies, and how they begin.
pub(super) struct Candidates(Vec<(PathBuf, Vec<u8>)>);

impl Candidates {
    /// All files of these folders but those that are followed.
    pub(super) fn of<'f>(folders: impl IntoIterator<Item = &'f PathBuf>, followed: &HashSet<FileId>) -> Candidates {
        let entries = folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
        let files = entries.filter(|entry| {
            entry.metadata().is_ok_and(|metadata| metadata.is_file() && !followed.contains(&FileId::of(&metadata)))
        });
        let begin = |path: PathBuf| {
            let mut head = Vec::new();
            open(&path, 0).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
            Some((path, head))
        };
        Candidates(files.take(CANDIDATES_MAX).filter_map(|entry| begin(entry.path())).collect())
    }

    /// Those that begin like the file that a position is of; a file before what was compressed of it.
    fn like(&self, position: &Position) -> VecDeque<PathBuf> {
        let Some(length) = usize::try_from(position.head_bytes).ok().filter(|_| position.head_bytes >= HEAD_BYTES_MIN)
        else {
            return VecDeque::new();
        };
        let is_like = |head: &[u8]| head.get(..length).is_some_and(|head| hash(head) == position.hash);
        let mut paths: Vec<_> = self.0.iter().filter(|(_, head)| is_like(head)).map(|(path, _)| path.clone()).collect();
        paths.sort();
        paths.into()
    }
}

/// Whether a file is inflated before it is read.
fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz" || extension == "zst")
}

/// What stands in a file from there on, inflated if it is compressed: then always from the beginning.
fn open(path: &Path, from: u64) -> io::Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Ok(Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file)))),
        Some("zst") => Ok(Box::new(zstd::stream::read::Decoder::new(file)?)),
        _ => {
            file.seek(SeekFrom::Start(from))?;
            Ok(Box::new(file))
        }
    }
}

impl Copy {
    fn open(path: PathBuf, position: &Position) -> io::Result<Copy> {
        let near = position.offset.min(NEAR_BYTES);
        let reader = open(&path, position.offset - near)?;
        let skip = if is_packed(&path) { position.offset } else { near };
        Ok(Copy { path, reader, skip, near: Vec::new() })
    }

    fn pass(&mut self, bytes: &[u8]) {
        let kept = NEAR_BYTES as usize;
        self.near.extend_from_slice(&bytes[bytes.len().saturating_sub(kept)..]);
        self.near.drain(..self.near.len().saturating_sub(kept));
    }

    /// Passes over what was handed on, or some of it. Answers whether what stands there fits; none: there is more.
    fn try_position(&mut self, position: &Position, buffer: &mut [u8]) -> io::Result<Option<bool>> {
        let mut left = SKIP_BYTES_MAX;
        while self.skip > 0 {
            if left == 0 {
                return Ok(None);
            }
            let wanted = self.skip.min(left).min(buffer.len() as u64) as usize;
            let read = self.reader.read(&mut buffer[..wanted])?;
            // It is shorter than what was read of it.
            if read == 0 {
                return Ok(Some(false));
            }
            self.pass(&buffer[..read]);
            self.skip -= read as u64;
            left -= read as u64;
        }
        Ok(Some(position.near.is_none_or(|near| near == hash(&self.near))))
    }

    /// Whether `other` is this file compressed, or the other way round.
    fn is_same_as(&self, other: &Path) -> bool {
        let packs = |packed: &Path, plain: &Path| is_packed(packed) && packed.with_extension("") == plain;
        packs(other, &self.path) || packs(&self.path, other)
    }
}

impl Rest {
    /// The rest of the file that a stored position is of. None: no file begins like it.
    pub(super) fn find(name: &str, stored: &[u8], candidates: &Candidates, line_bytes_max: usize) -> Option<Rest> {
        let position = Position::from_bytes(stored)?;
        let untried = candidates.like(&position);
        if untried.is_empty() {
            return None;
        }
        Some(Rest {
            name: name.to_owned(),
            is_missed: true,
            position,
            untried,
            trying: None,
            found: None,
            lines: Lines::new(line_bytes_max),
            held: Vec::new(),
            has_ended: false,
        })
    }

    /// The file it is in, or may be in.
    pub(super) fn path(&self) -> &Path {
        let file = self.trying.as_ref().or(self.found.as_ref()).map(|copy| &copy.path);
        file.or(self.untried.front()).map_or(Path::new(&self.name), PathBuf::as_path)
    }

    /// Reads once and gives the lines to `each` until that answers false.
    pub(super) fn read(&mut self, buffer: &mut [u8], each: impl FnMut(Line<'_>) -> bool) -> Part {
        if self.trying.is_some() || !self.untried.is_empty() {
            return self.search(buffer);
        }
        let Some(copy) = &mut self.found else {
            if !self.is_missed {
                return Part::End;
            }
            return Part::Lost(
                "a file that was followed is gone: what was written there meanwhile may be missing".into(),
            );
        };
        if !self.has_ended && self.held.len() < buffer.len() {
            let wanted = buffer.len() - self.held.len();
            match copy.reader.read(&mut buffer[..wanted]) {
                Ok(read) => {
                    self.has_ended = read == 0;
                    self.held.extend_from_slice(&buffer[..read]);
                }
                Err(error) => {
                    return Part::Lost(format!("the rest of `{}` cannot be read: {error}", copy.path.display()));
                }
            }
        }
        self.hand_on(each)
    }

    fn hand_on(&mut self, mut each: impl FnMut(Line<'_>) -> bool) -> Part {
        let mut stopped = false;
        let done = self.lines.cut(&self.held, |line| {
            stopped = !each(line);
            !stopped
        });
        // A line that is too long is not done before its end: it begins there.
        let whole = done.saturating_sub(usize::try_from(self.lines.passed()).unwrap_or(usize::MAX));
        if let Some(copy) = &mut self.found {
            copy.pass(&self.held[..whole]);
            if whole > 0 {
                self.position.near = Some(hash(&copy.near));
            }
            copy.pass(&self.held[whole..done]);
        }
        self.held.drain(..done);
        self.position.offset += done as u64;
        if stopped || !self.has_ended {
            return Part::More;
        }
        self.lines.finish(&self.held, each);
        Part::End
    }

    /// Looks into one of the files that begin alike, for a while.
    fn search(&mut self, buffer: &mut [u8]) -> Part {
        let copy = match self.trying.take() {
            Some(copy) => Ok(copy),
            None => match self.untried.pop_front() {
                Some(path) => Copy::open(path, &self.position),
                None => return Part::More,
            },
        };
        // One that cannot be read, or not so far, is not the one.
        let Ok(mut copy) = copy else { return Part::More };
        match copy.try_position(&self.position, buffer) {
            Ok(None) => self.trying = Some(copy),
            Ok(Some(true)) => match &self.found {
                None => self.found = Some(copy),
                Some(found) if found.is_same_as(&copy.path) => {}
                Some(found) => {
                    let (one, other) = (found.path.display(), copy.path.display());
                    return Part::Lost(format!(
                        "a file that was followed is gone, and whether `{one}` or `{other}` is its rest cannot be told: \
                         what was written there meanwhile may be missing"
                    ));
                }
            },
            Ok(Some(false)) | Err(_) => {}
        }
        Part::More
    }

    /// What is to be stored.
    pub(super) fn position(&self) -> Vec<u8> {
        let offset = self.position.offset - self.lines.passed();
        Position { offset, ..self.position }.to_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::tail::Tail;
    use super::*;

    const LINE_BYTES_MAX: usize = 200;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// The position behind all of `text`.
    fn stored(text: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, text).unwrap();
        let mut tail = Tail::open(&path, None, LINE_BYTES_MAX).unwrap().0;
        while tail.read(&mut vec![0; 4096], |_| true).unwrap() != super::super::tail::Look::End(0) {}
        tail.position()
    }

    fn find(folder: &Path, stored: &[u8]) -> Option<Rest> {
        let candidates = Candidates::of([&folder.to_owned()], &HashSet::new());
        Rest::find("rest.1.2", stored, &candidates, LINE_BYTES_MAX)
    }

    /// So many lines, and how it ended.
    fn read(rest: &mut Rest, lines_max: usize) -> (Vec<String>, Part) {
        let (mut lines, mut buffer) = (Vec::new(), vec![0; LINE_BYTES_MAX + 1]);
        loop {
            let part = rest.read(&mut buffer, |line| {
                lines.push(match line {
                    Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                    Line::Oversize(_, bytes) => format!("{bytes} bytes"),
                });
                lines.len() < lines_max
            });
            if part != Part::More || lines.len() >= lines_max {
                return (lines, part);
            }
        }
    }

    /// Three days of a log: each begins with the same 2,000 bytes.
    fn day(number: usize) -> String {
        let lines: String = (0..100).map(|line| format!("day {number} line {line}\n")).collect();
        format!("{}{lines}", "the same banner at every start\n".repeat(65))
    }

    #[test]
    fn of_files_that_begin_alike_the_one_that_fits() {
        for plain in [true, false] {
            for wanted in 0..3 {
                let folder = tempfile::tempdir().unwrap();
                for number in 0..3 {
                    let path = folder.path().join(format!("app.log.{number}"));
                    match plain {
                        true => fs::write(path, day(number)).unwrap(),
                        false => fs::write(path.with_extension(format!("{number}.gz")), gzip(&day(number))).unwrap(),
                    }
                }
                // Not all of it is there yet.
                let torn = gzip(&day(wanted));
                fs::write(folder.path().join("app.log.torn.gz"), &torn[..torn.len() / 2]).unwrap();
                let text = day(wanted);
                let (before, after) = text.split_at(text.find("line 90").unwrap() - "day 0 ".len());
                let mut rest = find(folder.path(), &stored(before)).unwrap();
                let expected: Vec<_> = after.lines().collect();
                assert_eq!(read(&mut rest, 3).0, expected[..3]);
                // Another run goes on in the same file.
                let mut rest = find(folder.path(), &rest.position()).unwrap();
                let (lines, part) = read(&mut rest, 100);
                assert_eq!((lines, part), (expected[3..].iter().map(|line| (*line).to_owned()).collect(), Part::End));
            }
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let banner = "the same banner at every start\n";
        for (name, text) in [("app.log.1", "one\n"), ("app.log.2", "two\n")] {
            fs::write(folder.path().join(name), format!("{banner}{text}")).unwrap();
        }
        let (lines, part) = read(&mut find(folder.path(), &stored(banner)).unwrap(), 100);
        assert!(lines.is_empty());
        assert!(matches!(&part, Part::Lost(cause) if cause.contains("app.log.1` or `")), "{part:?}");

        // A file and what is compressed of it are one.
        fs::write(folder.path().join("app.log.1.gz"), gzip(&format!("{banner}one\n"))).unwrap();
        fs::remove_file(folder.path().join("app.log.2")).unwrap();
        let mut rest = find(folder.path(), &stored(banner)).unwrap();
        assert_eq!(read(&mut rest, 100), (vec!["one".to_owned()], Part::End));

        // None that begins alike has what was read.
        assert!(find(folder.path(), &stored(&format!("{banner}a line of neither file\n"))).is_none());
        let long = day(0) + "more\n";
        fs::write(folder.path().join("day"), day(1)).unwrap();
        let (lines, part) = read(&mut find(folder.path(), &stored(&long)).unwrap(), 100);
        assert!(lines.is_empty() && matches!(part, Part::Lost(cause) if cause.contains("is gone")));
    }

    #[test]
    fn a_long_line_is_told_whole_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let begun = day(0);
        let text = format!("{begun}short\n{}\nlast\n", "x".repeat(1_000));
        fs::write(folder.path().join("app.log.1"), &text).unwrap();
        fs::write(folder.path().join("app.log.2"), day(1)).unwrap();
        let mut rest = find(folder.path(), &stored(&begun)).unwrap();
        let mut buffer = vec![0; LINE_BYTES_MAX + 1];
        let (mut lines, mut looks) = (0, 0);
        // Until it stands in the long line.
        while rest.lines.passed() == 0 {
            rest.read(&mut buffer, |_| {
                lines += 1;
                true
            });
            looks += 1;
            assert!(looks < 100);
        }
        assert_eq!(lines, 1);
        let mut rest = find(folder.path(), &rest.position()).unwrap();
        assert_eq!(read(&mut rest, 1).0, ["1000 bytes"]);
        let mut rest = find(folder.path(), &rest.position()).unwrap();
        assert_eq!(read(&mut rest, 100), (vec!["last".to_owned()], Part::End));
    }
}
