//! The object under construction: lines compressed and hashed while they come, and what its seal is to say.
//!
//! Invariants: a line holds no line end; the names of sources come from outside and are made safe, and
//! there are at most [`SOURCES_MAX`] of them in a seal.

use std::collections::BTreeMap;
use std::io;

use wharfinger_formats::{Event, Field, Time, Value};

use super::masking::Masking;
use crate::archive::{Gap, Object, Reached, Source, Tree};
use crate::journal::Position;
use crate::sinks::compress::{Compression, Encoder};
use crate::sinks::emitter::Emitter;
use crate::sinks::missing::Missing;
use crate::sinks::{Absent, Push, Refused};

const HOUR_NANOS: i64 = 3_600_000_000_000;
/// Sources a seal lists by name; the others are one together.
const SOURCES_MAX: usize = 1_000;
const OTHERS: &str = "others";
const NAME_BYTES_MAX: usize = 200;
/// Gaps that get a seal each; the others of an object are one together.
const GAPS_MAX: usize = 64;
/// The longest cause in a seal, in letters.
const CAUSE_MAX: usize = 500;
/// Times that seals can say: what a sender writes may be any number.
const TIMES: (Time, Time) = (Time(-9_000_000_000_000_000_000), Time(9_000_000_000_000_000_000));

/// See above.
pub(super) struct Lines {
    compression: Compression,
    emitter: Emitter,
    /// None: what was received is sealed as it is.
    masker: Option<Masking>,
    line: Vec<u8>,
    open: Option<Open>,
    quarantined: Missing,
    lost: Missing,
}

struct Open {
    encoder: Encoder,
    bytes: usize,
    leaves: Tree,
    received: Time,
    incarnation: String,
    /// The first number it accounts for, and the last.
    first: u64,
    last: u64,
    span: (Time, Time),
    sources: BTreeMap<String, (u64, u64, u64)>,
    gaps: Vec<Gap>,
}

/// Lines that are complete, on their way to be sealed.
pub(super) struct Taken {
    open: Option<Open>,
    suffix: &'static str,
    quarantined: u64,
    dropped: u64,
}

impl Lines {
    pub(super) fn new(compression: Compression, masker: Option<Masking>) -> io::Result<Lines> {
        // Said before anything is taken, if it cannot work at all.
        compression.encoder()?;
        let (quarantined, lost) = (Missing::default(), Missing::default());
        let emitter = Emitter::native();
        Ok(Lines { compression, emitter, masker, line: Vec::new(), open: None, quarantined, lost })
    }

    /// The incarnation and number of the last event in it.
    pub(super) fn last(&self) -> Option<(&str, u64)> {
        self.open.as_ref().map(|open| (open.incarnation.as_str(), open.last))
    }

    pub(super) fn clear(&mut self) {
        self.open = None;
    }

    pub(super) fn passed_over(&mut self, range: (Position, Position), why: Absent) {
        match why {
            Absent::Quarantined => self.quarantined.add(range),
            Absent::Lost => self.lost.add(range),
        }
    }

    /// Adds the line of an event, unless the archive has it.
    pub(super) fn push(&mut self, event: &Event<'_>, reached: &Reached) -> Result<Push, Refused> {
        let Some((own, number)) = number(event) else {
            return Err(Refused("it has no number".to_owned()));
        };
        if reached.has(own, number) {
            return Ok(Push::Taken { bytes: self.open.as_ref().map_or(0, |open| open.bytes) });
        }
        let received = event.time(Field::ObservedTime).or_else(|| event.time(Field::Time)).unwrap_or(Time(0));
        let hour = |time: Time| time.0.div_euclid(HOUR_NANOS);
        if self.open.as_ref().is_some_and(|open| hour(open.received) != hour(received) || open.incarnation != own) {
            return Ok(Push::Full);
        }
        let refused = |error: io::Error| Refused(format!("it cannot be compressed: {error}"));
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let first = if own == reached.incarnation { reached.next } else { number };
                none.insert(Open::new(self.compression, received, own, first).map_err(refused)?)
            }
        };
        self.line.clear();
        self.emitter.emit(event, &mut self.line);
        if let Some(masker) = &self.masker {
            masker.mask(event, &self.emitter, &mut self.line);
        }
        open.leaves.add(&self.line);
        self.line.push(b'\n');
        open.encoder.write_all(&self.line).map_err(refused)?;
        open.bytes += self.line.len();
        open.note(event, number, received);
        Ok(Push::Taken { bytes: open.bytes })
    }

    /// What is to be sealed now.
    pub(super) fn take(&mut self) -> Taken {
        let open = self.open.take();
        let (mut quarantined, mut dropped) = (0, 0);
        if let Some(open) = &open {
            let (first, behind) = (Position(open.first), Position(open.last.saturating_add(1)));
            let within = |absent: &Missing| absent.before(behind).saturating_sub(absent.before(first));
            (quarantined, dropped) = (within(&self.quarantined), within(&self.lost));
            // What the stream has accounted for is not asked for again.
            self.quarantined.forget_before(first);
            self.lost.forget_before(first);
        }
        Taken { open, suffix: self.compression.ndjson_suffix(), quarantined, dropped }
    }
}

impl Open {
    fn new(compression: Compression, received: Time, incarnation: &str, first: u64) -> io::Result<Open> {
        Ok(Open {
            encoder: compression.encoder()?,
            bytes: 0,
            leaves: Tree::default(),
            received,
            incarnation: incarnation.to_owned(),
            first,
            last: first,
            span: (Time(i64::MAX), Time(i64::MIN)),
            sources: BTreeMap::new(),
            gaps: Vec::new(),
        })
    }

    fn note(&mut self, event: &Event<'_>, number: u64, received: Time) {
        self.last = number;
        let time = event.time(Field::Time).unwrap_or(received).clamp(TIMES.0, TIMES.1);
        self.span = (self.span.0.min(time), self.span.1.max(time));
        let mut name = source_name(event);
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&name) {
            name = OTHERS.to_owned();
        }
        let (records, _, last) = self.sources.entry(name).or_insert((0, number, number));
        *records += 1;
        *last = number;
        // What was parsed has a format. So nobody but the gateway itself declares a gap.
        if event.text(Field::EventClass) == Some("gap") && !event.has(Field::Format) {
            self.add_gap(gap(event));
        }
    }
}

impl Open {
    fn add_gap(&mut self, gap: Gap) {
        if self.gaps.len() < GAPS_MAX {
            return self.gaps.push(gap);
        }
        let Some(last) = self.gaps.last_mut() else { return };
        OTHERS.clone_into(&mut last.source);
        "more gaps than seals: each is an event of the object".clone_into(&mut last.cause);
        last.from = last.from.min(gap.from);
        last.to = last.to.max(gap.to);
        last.missing = last.missing.zip(gap.missing).map(|(one, other)| one.saturating_add(other));
    }
}

/// The incarnation of an event, and its number.
pub(super) fn number<'e>(event: &'e Event<'_>) -> Option<(&'e str, u64)> {
    let (incarnation, number) = event.text(Field::EventId)?.split_once('-')?;
    Some((incarnation, number.parse().ok()?))
}

/// The machine and the source: `vm-17/docker`, of `[A-Za-z0-9._-]` and what stands for the rest.
fn source_name(event: &Event<'_>) -> String {
    let machine = [Field::VmName, Field::VmUuid, Field::HostName].into_iter().find_map(|field| event.text(field));
    let mut name = safe(machine.unwrap_or("unknown"));
    name.push('/');
    name.push_str(&safe(event.text(Field::Source).unwrap_or("unknown")));
    name
}

fn safe(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes().take(NAME_BYTES_MAX) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => safe.push(byte.into()),
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    safe
}

/// A gap record as a seal says it.
fn gap(event: &Event<'_>) -> Gap {
    let extra = |name: &str| {
        let found = event.extras().find(|extra| extra.group == "gap" && extra.name == name)?;
        if let Value::Str(text) = found.value { Some(text.to_owned()) } else { None }
    };
    let own = || event.text(Field::Source).unwrap_or("unknown").to_owned();
    Gap {
        source: safe(&extra("source").unwrap_or_else(own)),
        from: event.time(Field::Start).map(|time| time.clamp(TIMES.0, TIMES.1)),
        to: event.time(Field::End).map(|time| time.clamp(TIMES.0, TIMES.1)),
        missing: event.int(Field::Count).and_then(|count| u64::try_from(count).ok()),
        cause: event.text(Field::Reason).unwrap_or("unknown").chars().take(CAUSE_MAX).collect(),
    }
}

impl Taken {
    /// The object and the gaps declared in it; none if there is no line.
    pub(super) fn finish(self) -> io::Result<Option<(Object, Vec<Gap>)>> {
        let Some(open) = self.open else { return Ok(None) };
        let of = |(name, (records, first, last))| Source { name, records, first, last };
        let object = Object {
            bytes: open.encoder.finish()?,
            suffix: self.suffix,
            received: open.received,
            records: open.leaves.size(),
            root: open.leaves.root(),
            incarnation: open.incarnation,
            first: open.first,
            last: open.last,
            span: open.span,
            quarantined: self.quarantined,
            dropped: self.dropped,
            sources: open.sources.into_iter().map(of).collect(),
        };
        Ok(Some((object, open.gaps)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: i64 = 495_000 * HOUR_NANOS;

    fn push(lines: &mut Lines, number: u64, received: i64, fill: impl FnOnce(&mut Event<'_>)) -> Push {
        let mut event = Event::new(b"raw");
        event.set(Field::EventId, &format!("00000000000000aa-{number:016}"));
        event.set(Field::ObservedTime, Time(received));
        fill(&mut event);
        lines.push(&event, &Reached::from_parts("00000000000000aa", 5)).unwrap()
    }

    #[test]
    fn an_object_says_what_is_in_it_and_what_is_not() {
        let mut lines = Lines::new(Compression::None, None).unwrap();
        assert_eq!(push(&mut lines, 4, HOUR, |_| {}), Push::Taken { bytes: 0 }, "the stream has it");
        assert!(lines.last().is_none());
        push(&mut lines, 6, HOUR, |event| event.set(Field::VmName, "a b\n"));
        lines.passed_over((Position(2), Position(5)), Absent::Lost);
        lines.passed_over((Position(7), Position(7)), Absent::Quarantined);
        push(&mut lines, 9, HOUR + 1, |event| {
            event.set(Field::Time, Time(HOUR - 7));
            event.set(Field::EventClass, "gap");
            event.set(Field::Count, 3);
            event.extra("gap", "source", "udp");
        });
        assert_eq!(push(&mut lines, 10, HOUR + HOUR_NANOS, |_| {}), Push::Full, "another hour");
        let (object, gaps) = lines.take().finish().unwrap().unwrap();
        assert_eq!((object.first, object.last, object.records), (5, 9, 2));
        assert_eq!((object.dropped, object.quarantined), (1, 1));
        assert_eq!(object.span, (Time(HOUR - 7), Time(HOUR)));
        assert_eq!(object.bytes.iter().filter(|byte| **byte == b'\n').count(), 2);
        let names: Vec<_> = object.sources.iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["a%20b%0A/unknown", "unknown/unknown"]);
        assert_eq!((gaps.len(), gaps[0].source.as_str(), gaps[0].missing), (1, "udp", Some(3)));
        assert!(lines.take().finish().unwrap().is_none());
    }

    #[test]
    fn a_flood_of_names_stays_short() {
        let mut lines = Lines::new(Compression::None, None).unwrap();
        for number in 5..5 + 3 * SOURCES_MAX as u64 {
            push(&mut lines, number, HOUR, |event| event.set(Field::VmName, &format!("vm-{number}")));
        }
        let (object, _) = lines.take().finish().unwrap().unwrap();
        assert_eq!(object.sources.len(), SOURCES_MAX + 1);
        assert_eq!(object.sources.iter().map(|source| source.records).sum::<u64>(), object.records);
        assert!(object.sources.is_sorted_by(|one, other| one.name < other.name));
    }

    #[test]
    fn nobody_but_the_gateway_declares_a_gap_and_no_time_is_too_wild() {
        let mut lines = Lines::new(Compression::None, None).unwrap();
        push(&mut lines, 5, HOUR, |event| {
            event.set(Field::EventClass, "gap");
            event.set(Field::Format, "rfc5424");
            event.set(Field::Time, Time(i64::MIN));
        });
        for number in 6..6 + 2 * GAPS_MAX as u64 {
            push(&mut lines, number, HOUR, |event| {
                event.set(Field::EventClass, "gap");
                event.set(Field::Count, 2);
                event.set(Field::Reason, &"x".repeat(10_000));
                event.set(Field::End, Time(i64::MAX));
            });
        }
        let (object, gaps) = lines.take().finish().unwrap().unwrap();
        assert_eq!(object.span, (TIMES.0, Time(HOUR)));
        assert_eq!(gaps.iter().filter_map(|gap| gap.missing).sum::<u64>(), 4 * GAPS_MAX as u64);
        assert_eq!((gaps.len(), gaps[0].cause.len(), gaps[0].to), (GAPS_MAX, CAUSE_MAX, Some(TIMES.1)));
    }
}
