//! Reconcile: the ids that a SIEM has, against those that an archive has: what is missing, what came twice,
//! what nobody knows, what came late; for each source and hour.
//!
//! Way: seals of the period say which numbers there are → ids of the export become bits → every event of
//! the archive looks for its own.
//!
//! Invariant: memory is four bits for each number that the seals account for, and with times of indexing
//! eight bytes for each id in the export; both have a limit.

mod bits;
mod export;
mod report;
mod times;

use std::collections::BTreeMap;
use std::io;

use wharfinger_formats::{Event, Field, Time, Value};

use self::bits::Numbers;
pub use self::export::{ExportError, Found, read_export};
pub use self::report::{Report, Row};
use self::times::Times;
use crate::archive::{Period, Place, Reader, Reading, Unread, read_events, received};
use crate::filter::Filter;

/// Numbers of all streams together: half a gigabyte of bits.
const NUMBERS_MAX: u64 = 1 << 30;
/// Sources and hours that are told apart.
const ROWS_MAX: usize = 100_000;
/// Ids that a report names of each kind; all are counted.
const NAMED_MAX: usize = 10_000;
const RANGES_MAX: usize = 10_000;
const CONFIGURATIONS_MAX: usize = 100;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub period: Period,
    /// Which events the SIEM should have.
    pub filter: Filter,
    /// The sink that delivers to it: what was brought back for another one is not expected.
    pub sink: Option<String>,
    /// Which events that sink is sent.
    pub when: Filter,
    /// Indexed so many seconds after its receipt, an event is late.
    pub late_seconds: u64,
}

/// The answer cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Unread(#[from] Unread),
    #[error("{0} numbers are more than is held in memory at once: {NUMBERS_MAX}")]
    TooMany(u64),
}

/// What the archive has, and what was found of it so far.
pub struct Ledger {
    readers: Vec<(String, Reader)>,
    /// By incarnation of the journal.
    numbers: BTreeMap<u64, Numbers>,
    times: Times,
    question: Question,
    report: Report,
}

/// The incarnation and the number in an id.
pub(crate) fn id(text: &str) -> Option<(u64, u64)> {
    let (incarnation, number) = text.split_once('-')?;
    let is_id = incarnation.len() == 16
        && number.len() == 16
        && incarnation.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && number.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| Some((u64::from_str_radix(incarnation, 16).ok()?, number.parse().ok()?)))?
}

impl Ledger {
    /// Looks which numbers the period has.
    ///
    /// # Errors
    /// The archive cannot be read, or has too many.
    pub fn open(mut readers: Vec<(String, Reader)>, question: Question) -> Result<Ledger, ReconcileError> {
        let mut spans = BTreeMap::<u64, (u64, u64)>::new();
        for (_, reader) in &mut readers {
            let (mut span, mut first) = (None::<(u64, u64)>, None);
            for sealed in reader.objects(question.period)? {
                let sealed = sealed?;
                let (from, to) = span.unwrap_or(sealed.ingest);
                span = Some((from.min(sealed.ingest.0), to.max(sealed.ingest.1)));
                first.get_or_insert(sealed);
            }
            let (Some((from, to)), Some(first)) = (span, first) else { continue };
            // A stream is of one incarnation, and its lines say which.
            let mut lines = reader.lines(&first)?;
            let incarnation = match lines.next_line()? {
                Some(line) => incarnation(line),
                None => None,
            };
            let Some(incarnation) = incarnation else { continue };
            let known = spans.entry(incarnation).or_insert((from, to));
            *known = (known.0.min(from), known.1.max(to));
        }
        // Streams of one incarnation may lie far apart in it: memory is for all between them.
        let width = |(from, to): (u64, u64)| to.saturating_sub(from).saturating_add(1);
        let total = spans.values().fold(0, |sum: u64, span| sum.saturating_add(width(*span)));
        if total > NUMBERS_MAX {
            return Err(ReconcileError::TooMany(total));
        }
        let (mut numbers, mut before) = (BTreeMap::new(), 0);
        for (incarnation, span) in spans {
            numbers.insert(incarnation, Numbers::new(before, span.0, span.1));
            before += width(span);
        }
        Ok(Ledger { readers, numbers, times: Times::default(), question, report: Report::default() })
    }

    /// An id that the SIEM has.
    ///
    /// # Errors
    /// There are more times of indexing than memory for them.
    pub fn find(&mut self, found: &Found<'_>) -> Result<(), ExportError> {
        self.report.found += 1;
        let Some((incarnation, number)) = id(found.id) else {
            self.report.malformed += 1;
            Report::name(&mut self.report.malformed_ids, found.id);
            return Ok(());
        };
        let Some(mut place) = self.numbers.get_mut(&incarnation).and_then(|numbers| numbers.at(number)) else {
            self.report.unknown += 1;
            Report::name(&mut self.report.unknown_ids, found.id);
            return Ok(());
        };
        if place.see() {
            self.report.duplicates += 1;
            Report::name(&mut self.report.duplicate_ids, found.id);
        }
        match found.indexed {
            Some(indexed) => self.times.keep(place.number(), indexed),
            None => Ok(()),
        }
    }

    /// Reads the archive. `missing` is told every id that is not there, in order.
    ///
    /// # Errors
    /// The archive cannot be read on, or what `missing` says.
    pub fn close(mut self, missing: &mut dyn FnMut(&str) -> io::Result<()>) -> Result<Report, ReconcileError> {
        let period = self.question.period;
        let mut readers = std::mem::take(&mut self.readers);
        self.times.sort();
        let mut walk = Walk { ledger: &mut self, missing, declared: Vec::new() };
        read_events(&mut readers, period, Place::default(), &mut walk)?;
        let declared = merged(std::mem::take(&mut walk.declared));
        self.report.declared = declared.iter().map(|range| self.missing_in(range)).sum();
        for (incarnation, numbers) in &self.numbers {
            for number in numbers.unknown() {
                self.report.unknown += 1;
                Report::name(&mut self.report.unknown_ids, &format!("{incarnation:016x}-{number:016}"));
            }
        }
        Ok(self.report)
    }

    fn missing_in(&self, (incarnation, first, last): &(u64, u64, u64)) -> u64 {
        self.numbers.get(incarnation).map_or(0, |numbers| numbers.missing_in(*first, *last))
    }
}

fn incarnation(line: &[u8]) -> Option<u64> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    id(line["event_id"].as_str()?).map(|(incarnation, _)| incarnation)
}

/// Ranges that touch are one: no number is counted twice.
fn merged(mut ranges: Vec<(u64, u64, u64)>) -> Vec<(u64, u64, u64)> {
    ranges.retain(|(_, first, last)| first <= last);
    ranges.sort_unstable();
    let mut merged = Vec::<(u64, u64, u64)>::new();
    for range in ranges {
        match merged.last_mut() {
            Some(before) if before.0 == range.0 && range.1 <= before.2 => before.2 = before.2.max(range.2),
            _ => merged.push(range),
        }
    }
    merged
}

struct Walk<'l> {
    ledger: &'l mut Ledger,
    missing: &'l mut dyn FnMut(&str) -> io::Result<()>,
    /// What the sink has declared lost: incarnation, first and last number.
    declared: Vec<(u64, u64, u64)>,
}

impl Reading for Walk<'_> {
    fn event(&mut self, _: Place, event: &mut Event<'_>) -> io::Result<bool> {
        self.note(event);
        let Ledger { numbers, times, question, report, .. } = &mut *self.ledger;
        let text = event.text(Field::EventId).unwrap_or_default();
        let Some((incarnation, number)) = id(text) else { return Ok(true) };
        let Some(mut place) = numbers.get_mut(&incarnation).and_then(|numbers| numbers.at(number)) else {
            return Ok(true);
        };
        let is_for_it = match (event.text(Field::ToSink), &question.sink) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(sink)) => own == sink,
        };
        if !is_for_it || !question.when.sends(event) || !question.filter.has(event) {
            place.know();
            report.not_expected += 1;
            return Ok(true);
        }
        let received = received(event);
        let row = row(&mut report.rows, event.text(Field::Source).unwrap_or("unknown"), received);
        report.archived += 1;
        row.archived += 1;
        place.expect();
        if !place.is_seen() {
            report.missing += 1;
            row.missing += 1;
            Report::name(&mut report.missing_ids, text);
            (self.missing)(text)?;
        } else if place.is_twice() {
            row.duplicate += 1;
        }
        let late = times.of(place.number()).filter(|indexed| {
            let age = i64::from(*indexed).saturating_sub(received.seconds());
            u64::try_from(age).is_ok_and(|age| age > question.late_seconds)
        });
        if late.is_some() {
            report.late += 1;
            row.late += 1;
            Report::name(&mut report.late_ids, text);
        }
        Ok(true)
    }
}

impl Walk<'_> {
    /// What the gateway itself says of the time: losses of the sink, configurations in force.
    fn note(&mut self, event: &Event<'_>) {
        if event.has(Field::Format) {
            return;
        }
        let class = event.text(Field::EventClass).unwrap_or_default();
        if class == "gap" && self.declared.len() < RANGES_MAX {
            let extra = |name: &str| {
                let found = event.extras().find(|extra| extra.group == "gap" && extra.name == name)?;
                if let Value::Str(text) = found.value { Some(text) } else { None }
            };
            let sink = extra("sink");
            let is_its = sink.is_none() || sink == self.ledger.question.sink.as_deref();
            let range = extra("first_id").and_then(id).zip(extra("last_id").and_then(id));
            let is_one = |((first, _), (last, _)): &((u64, u64), (u64, u64))| first == last;
            if let Some(((incarnation, first), (_, last))) = range.filter(is_one).filter(|_| is_its) {
                self.declared.push((incarnation, first, last));
            }
        }
        if matches!(class, "gateway.start" | "gateway.reload") {
            let words = event.text(Field::Msg).unwrap_or_default().split(' ');
            let is_hash = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            // Of a reload the first is the new one.
            let known = &mut self.ledger.report.configurations;
            if let Some(hash) = words.into_iter().find(is_hash)
                && known.len() < CONFIGURATIONS_MAX
                && known.last().is_none_or(|last| last != hash)
            {
                known.push(hash.to_owned());
            }
        }
    }
}

fn row<'r>(rows: &'r mut BTreeMap<(String, i64), Row>, source: &str, received: Time) -> &'r mut Row {
    const HOUR_SECONDS: i64 = 3600;
    let key = (source.to_owned(), received.seconds().div_euclid(HOUR_SECONDS));
    match rows.len() < ROWS_MAX || rows.contains_key(&key) {
        true => rows.entry(key).or_default(),
        false => rows.entry(("others".to_owned(), 0)).or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{id, merged};

    #[test]
    fn a_number_that_was_declared_twice_is_one() {
        let ranges = vec![(1, 5, 9), (2, 0, 3), (1, 1, 5), (1, 7, 8), (1, 20, 20), (1, 30, 29), (2, 3, 3)];
        assert_eq!(merged(ranges), [(1, 1, 9), (1, 20, 20), (2, 0, 3)]);
    }

    #[test]
    fn only_an_id_is_one() {
        assert_eq!(id("00deadbeef000001-0000000000000042"), Some((0x00de_adbe_ef00_0001, 42)));
        for wrong in
            ["", "-", "00DEADBEEF000001-0000000000000042", "00deadbeef000001-42", "+0deadbeef000001-+000000000000042"]
        {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }
}
