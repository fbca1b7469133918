//! Repair: what is damaged is set aside, so that the files are whole again.
//!
//! A segment with damage is copied first. Then each damaged range before the end of the log is
//! overwritten with one record that says nothing, and a damaged header is written anew. What was
//! lost stays lost, and readers still declare it: numbers are not moved.
//!
//! Invariant: no record that holds is changed, and nothing is changed before its copy is synced.

use std::fs;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::batch::Marks;
use super::inspect::Inspection;
use super::record::{self, Found, HEADER_BYTES as RECORD_HEADER_BYTES, Header as RecordHeader, Kind, Seed};
use super::recovery::Candidate;
use super::segment::{self, HEADER_BYTES};
use super::storage::{Disk, LockError, Storage};

/// What is wrong with one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The segment's file.
    pub file: PathBuf,
    /// Its header does not hold; it can be made from the records.
    pub header: bool,
    /// Bytes that make no record, before the end of the log.
    pub ranges: Vec<Range<u64>>,
}

impl Finding {
    /// Bytes that will be overwritten.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// What is wrong, segment by segment.
///
/// # Errors
/// The disk cannot be read.
pub fn findings(inspection: &Inspection, dir: &Path) -> io::Result<Vec<Finding>> {
    let last = inspection.segments.last().map(|segment| segment.id);
    let mut findings = Vec::new();
    for segment in &inspection.segments {
        let end = if Some(segment.id) == last { inspection.tail.end } else { segment.bytes };
        let ranges = damaged_ranges(segment, end)?;
        if !segment.header_holds || !ranges.is_empty() {
            let file = segment::path(dir, segment.id);
            findings.push(Finding { file, header: !segment.header_holds, ranges });
        }
    }
    Ok(findings)
}

/// A segment is at most 64 MiB, and read whole.
fn damaged_ranges(segment: &Candidate, end: u64) -> io::Result<Vec<Range<u64>>> {
    let mut bytes = vec![0; usize::try_from(end).unwrap_or(usize::MAX)];
    let filled = segment.file.read_at(&mut bytes, 0)?;
    bytes.truncate(filled);
    let seed = segment.header.seed();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut hole = None;
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        match record::look(&bytes, at, seed) {
            Found::Whole(header) => {
                ranges.extend(hole.take().map(|from| from..at as u64));
                at += header.record_bytes();
            }
            Found::BadPayload(header) => {
                hole.get_or_insert(at as u64);
                at += header.record_bytes();
            }
            Found::Short(_) | Found::Nothing => {
                hole.get_or_insert(at as u64);
                // Behind the last record is what the file had before, or nothing.
                let Ok(next) = record::resync(&bytes, at + 1, seed) else { break };
                at = next;
            }
        }
    }
    // Too little for a record of its own: it stays, and harms nobody.
    ranges.retain(|range| range.end - range.start >= RECORD_HEADER_BYTES as u64);
    Ok(ranges)
}

/// Repairs what [`findings`] found; answers the folder with the copies.
///
/// # Errors
/// A process has the journal, or the disk fails: what is not yet repaired is as it was.
pub fn repair(inspection: Inspection, dir: &Path, findings: &[Finding], backup: &Path) -> Result<(), OpenError> {
    let failed = |cause: io::Error| OpenError::Io { dir: dir.to_owned(), cause };
    let segments = inspection.release();
    let _lock = Disk.lock(&dir.join("lock")).map_err(|error| match error {
        LockError::Held { pid } => OpenError::Held { dir: dir.to_owned(), pid },
        LockError::Io(cause) => failed(cause),
    })?;
    fs::DirBuilder::new().mode(0o700).create(backup).map_err(failed)?;
    for finding in findings {
        let segment = segments.iter().find(|segment| segment::path(dir, segment.id) == finding.file);
        let Some(segment) = segment else { continue };
        keep_copy(&finding.file, backup).map_err(failed)?;
        write_anew(segment, finding).map_err(failed)?;
    }
    Ok(())
}

fn keep_copy(file: &Path, backup: &Path) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default();
    fs::copy(file, backup.join(name))?;
    fs::File::open(backup.join(name))?.sync_all()?;
    fs::File::open(backup)?.sync_all()?;
    backup.parent().map_or(Ok(()), |above| fs::File::open(above)?.sync_all())
}

fn write_anew(segment: &Candidate, finding: &Finding) -> io::Result<()> {
    let file = Disk.open(&finding.file)?;
    if finding.header {
        let head = segment.header.with_checkpoint(&Marks::new(), 0);
        file.write_at(&mut [IoSlice::new(&head[..HEADER_BYTES])], 0)?;
    }
    let mut bytes = vec![0; usize::try_from(segment.bytes).unwrap_or(usize::MAX)];
    let filled = segment.file.read_at(&mut bytes, 0)?;
    bytes.truncate(filled);
    for range in &finding.ranges {
        let bytes = void(&bytes, range, segment.header.seed(), segment.header.first);
        file.write_at(&mut [IoSlice::new(&bytes)], range.start)?;
    }
    file.sync_data()
}

/// A record that says nothing, as long as the range. It carries the number that would come next, so
/// that nobody takes it for the end of anything.
fn void(bytes: &[u8], range: &Range<u64>, seed: Seed, first: u64) -> Vec<u8> {
    let (start, end) = (range.start as usize, range.end as usize);
    let payload = vec![0; end - start - RECORD_HEADER_BYTES];
    let mut header = RecordHeader::for_payload(Kind::Synced, &payload);
    let (mut at, mut next) = (HEADER_BYTES, first);
    while at < start {
        match record::look(bytes, at, seed) {
            Found::Whole(header) => {
                next = header.sequence + u64::from(header.kind == Kind::Event);
                at += header.record_bytes();
            }
            Found::BadPayload(header) => at += header.record_bytes(),
            Found::Short(_) | Found::Nothing => at = record::resync(bytes, at + 1, seed).unwrap_or(start),
        }
    }
    header.sequence = next;
    let mut out = header.to_bytes(seed.at(start)).to_vec();
    out.extend_from_slice(&payload);
    out
}
