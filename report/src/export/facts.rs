//! Facts: what the events of the period say, summed up by the statements in `catalog/sql/pack`.
//!
//! Invariant: every text from outside is made visible here, once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use wharfinger_formats::Time;
use wharfinger_formats::visible::visible;

use super::Export;
use crate::classes::Detail;
use crate::engine::Engine;
use crate::output::each_row;
use crate::request::Request;

/// Seconds, and microseconds in one.
const MICROS: i64 = 1_000_000;
/// Whoever sends can call himself what he likes.
const MACHINES_MAX: usize = 100_000;
/// Of one machine.
const SILENCES_MAX: usize = 1_000;
const HOUR: i64 = 3_600 * MICROS;

/// See above. Times are microseconds since 1970.
#[derive(Debug, Default)]
pub struct Facts {
    pub machines: Vec<Spoken>,
    /// Of each class, and of each machine.
    pub days: Vec<Day>,
    pub coverage: Vec<Day>,
    pub details: Vec<Details>,
    pub gaps: Vec<Gap>,
    /// Ranges of whole hours in which nothing was received.
    pub empty: Vec<(i64, i64)>,
    /// From the receipt of the oldest event of an object until it was sealed: in the middle, of 99 in 100,
    /// at worst.
    pub delays: Option<[i64; 3]>,
    pub findings: u64,
    /// Machines that were heard and are not listed, because there are too many.
    pub machines_more: u64,
    pub unnamed: u64,
    pub events: u64,
    /// The period.
    pub span: Option<(i64, i64)>,
}

impl Spoken {
    /// It has said nothing between these two.
    fn pause(&mut self, (from, to): (i64, i64), limit: i64) {
        self.longest_silence = self.longest_silence.max(to - from);
        if to - from > limit {
            self.silences_total += 1;
            if self.silences.len() < SILENCES_MAX {
                self.silences.push((from, to));
            }
        }
    }
}

/// A machine that was heard.
#[derive(Debug)]
pub struct Spoken {
    pub id: String,
    pub name: String,
    pub group: Option<String>,
    pub tags: Option<String>,
    pub is_in_inventory: bool,
    pub first: i64,
    pub last: i64,
    pub events: u64,
    pub sources: u64,
    pub gaps: u64,
    pub not_understood: u64,
    /// From, until; more are counted.
    pub silences: Vec<(i64, i64)>,
    pub silences_total: u64,
    pub longest_silence: i64,
    /// Seconds that its clock is ahead of the gateway's: in the middle, and where it is farthest off.
    pub ahead: Option<(i64, i64)>,
}

#[derive(Debug)]
pub struct Day {
    pub day: String,
    pub of: String,
    pub events: u64,
}

/// How many events of a source and class say what.
#[derive(Debug)]
pub struct Details {
    pub source: String,
    pub class: String,
    pub events: u64,
    pub who: u64,
    pub outcome: u64,
    pub machine: u64,
    pub object: u64,
    pub image: u64,
}

impl Details {
    /// How many say this detail.
    pub fn of(&self, detail: Detail) -> u64 {
        match detail {
            Detail::Vm => self.machine,
            Detail::Object => self.object,
            Detail::Image => self.image,
            Detail::User => self.who,
        }
    }
}

#[derive(Debug)]
pub struct Gap {
    pub told: String,
    pub source: Option<String>,
    pub machine: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub events: Option<String>,
    pub cause: Option<String>,
}

/// The cells of one row, taken from the left.
struct Row<'r>(std::slice::Iter<'r, Option<String>>);

impl Row<'_> {
    fn maybe(&mut self) -> Option<String> {
        self.0.next().and_then(Option::as_deref).map(|text| visible(text).into_owned())
    }

    fn text(&mut self) -> String {
        self.maybe().unwrap_or_default()
    }

    fn number(&mut self) -> Result<i64> {
        self.text().parse().context("a number was expected")
    }

    fn count(&mut self) -> Result<u64> {
        Ok(self.number()?.max(0).unsigned_abs())
    }

    fn time(&mut self) -> Result<i64> {
        let text = self.text();
        let (time, _) = Time::parse_rfc3339(text.as_bytes()).context("a time was expected")?;
        Ok(time.0.div_euclid(1_000))
    }
}

fn rows(engine: &Engine, sql: &str, take: &mut dyn FnMut(&mut Row<'_>) -> Result<()>) -> Result<()> {
    engine.each(engine.start(sql)?, &mut |batch| each_row(batch, &mut |cells| take(&mut Row(cells.iter()))))
}

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../catalog/sql/pack/", $name, ".sql"))
    };
}

impl Facts {
    /// # Errors
    /// A statement fails.
    pub fn read(engine: &Engine, export: &Export, request: &Request) -> Result<Facts> {
        let mut facts = Facts::default();
        rows(engine, sql!("machines"), &mut |row| {
            if facts.machines.len() >= MACHINES_MAX {
                facts.machines_more += 1;
                return Ok(());
            }
            facts.machines.push(Spoken {
                id: row.text(),
                name: row.text(),
                group: row.maybe(),
                tags: row.maybe(),
                is_in_inventory: row.maybe().is_some(),
                first: row.time()?,
                last: row.time()?,
                events: row.count()?,
                sources: row.count()?,
                gaps: row.count()?,
                not_understood: row.count()?,
                silences: Vec::new(),
                silences_total: 0,
                longest_silence: 0,
                ahead: None,
            });
            Ok(())
        })?;
        facts.machines.sort_by(|one, two| one.id.cmp(&two.id));
        rows(engine, sql!("days"), &mut |row| {
            let day = Day { day: row.text(), of: row.text(), events: row.count()? };
            facts.events += day.events;
            facts.days.push(day);
            Ok(())
        })?;
        rows(engine, sql!("coverage"), &mut |row| {
            let (day, machine, events) = (row.text(), row.maybe(), row.count()?);
            match machine {
                Some(of) => facts.coverage.push(Day { day, of, events }),
                None => facts.unnamed += events,
            }
            Ok(())
        })?;
        rows(engine, sql!("details"), &mut |row| {
            let (source, class, events, who) = (row.text(), row.text(), row.count()?, row.count()?);
            // What and when every event says.
            let (_, _) = (row.count()?, row.count()?);
            let (outcome, machine, object, image) = (row.count()?, row.count()?, row.count()?, row.count()?);
            facts.details.push(Details { source, class, events, who, outcome, machine, object, image });
            Ok(())
        })?;
        rows(engine, include_str!("../../../catalog/sql/gaps.sql"), &mut |row| {
            let told = row.text();
            let (_, source, machine) = (row.text(), row.maybe(), row.maybe());
            let (from, to, events, cause) = (row.maybe(), row.maybe(), row.maybe(), row.maybe());
            facts.gaps.push(Gap { told, source, machine, from, to, events, cause });
            Ok(())
        })?;
        facts.delays(engine, export, request)?;
        facts.hours(engine)?;
        facts.silences(engine, export)?;
        facts.clocks(engine)?;
        let classes = facts.classes();
        facts.findings = classes.get("X").copied().unwrap_or(0);
        Ok(facts)
    }

    fn spoken(&mut self, id: &str) -> Option<&mut Spoken> {
        let place = self.machines.binary_search_by(|spoken| spoken.id.as_str().cmp(id)).ok()?;
        self.machines.get_mut(place)
    }

    fn delays(&mut self, engine: &Engine, export: &Export, request: &Request) -> Result<()> {
        let sealed = || request.objects.iter().zip(&export.seals);
        let of: BTreeMap<(&str, u64), i64> =
            sealed().map(|(object, sealed)| ((object.stream.as_str(), object.seal), sealed.time)).collect();
        let mut delays = Vec::new();
        let records: BTreeMap<(&str, u64), u64> =
            sealed().map(|(object, _)| ((object.stream.as_str(), object.seal), object.records)).collect();
        rows(engine, sql!("received"), &mut |row| {
            let (stream, seal, received, events) = (row.text(), row.count()?, row.time()?, row.count()?);
            let key = (stream.as_str(), seal);
            if let Some(records) = records.get(&key).filter(|records| events > **records) {
                bail!(
                    "Parquet has {events} events of seal {seal} of `{stream}`, and {records} were sealed; hint: remove \
                     the folder, it can be made again"
                );
            }
            delays.extend(of.get(&key).map(|time| (time - received).max(0)));
            Ok(())
        })?;
        self.span = request.period.from.zip(request.period.to);
        delays.sort_unstable();
        let at = |part: usize| delays.get((delays.len().saturating_sub(1)) * part / 100).copied();
        let worst = delays.last().copied();
        self.delays = at(50).zip(at(99)).zip(worst).map(|((middle, most), worst)| [middle, most, worst]);
        Ok(())
    }

    fn hours(&mut self, engine: &Engine) -> Result<()> {
        let mut heard = BTreeSet::new();
        rows(engine, sql!("hours"), &mut |row| {
            heard.insert(row.time()?.div_euclid(HOUR));
            Ok(())
        })?;
        let Some((first, last)) = self.span else { return Ok(()) };
        let mut next = first.div_euclid(HOUR);
        // Behind the last hour stands the end of the period.
        let end = (last - 1).div_euclid(HOUR);
        for hour in heard.into_iter().chain([end + 1]) {
            if hour > next {
                self.empty.push(((next * HOUR).max(first), (hour * HOUR).min(last)));
            }
            next = next.max(hour + 1);
        }
        Ok(())
    }

    fn silences(&mut self, engine: &Engine, export: &Export) -> Result<()> {
        let limit = export.silent_seconds * MICROS;
        let (begin, end) = self.span.unwrap_or_default();
        for spoken in &mut self.machines {
            let (before, behind) = ((begin, spoken.first), (spoken.last, end));
            spoken.pause(before, limit);
            spoken.pause(behind, limit);
        }
        rows(engine, sql!("silences"), &mut |row| {
            let (id, from, to) = (row.text(), row.time()?, row.time()?);
            if let Some(spoken) = self.spoken(&id) {
                spoken.pause((from, to), limit);
            }
            Ok(())
        })?;
        for spoken in &mut self.machines {
            spoken.silences.sort_unstable();
        }
        Ok(())
    }

    fn clocks(&mut self, engine: &Engine) -> Result<()> {
        let mut of: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
        rows(engine, sql!("clocks"), &mut |row| {
            of.entry(row.text()).or_default().push((row.number()?, row.count()?));
            Ok(())
        })?;
        for (id, seconds) in of {
            let half = seconds.iter().map(|(_, events)| events).sum::<u64>().div_ceil(2);
            let mut below = 0;
            let middle = seconds.iter().find(|(_, events)| {
                below += events;
                below >= half
            });
            let worst = seconds.iter().map(|(ahead, _)| *ahead).max_by_key(|ahead| ahead.unsigned_abs());
            if let Some(spoken) = self.spoken(&id) {
                spoken.ahead = middle.map(|(middle, _)| *middle).zip(worst);
            }
        }
        Ok(())
    }

    /// How many events there are of each class.
    pub fn classes(&self) -> BTreeMap<&str, u64> {
        let mut classes = BTreeMap::new();
        for day in &self.days {
            *classes.entry(day.of.as_str()).or_default() += day.events;
        }
        classes
    }
}

/// `2026-11-21T09:00:00Z`.
pub fn rfc3339(micros: i64) -> String {
    let mut text = Vec::with_capacity(24);
    let fraction = if micros.rem_euclid(MICROS) == 0 { 0 } else { 3 };
    Time(micros.saturating_mul(1_000)).write_rfc3339(fraction, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// `1 h 5 min`, `30 s`.
pub fn lasting(micros: i64) -> String {
    let seconds = micros / MICROS;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}
