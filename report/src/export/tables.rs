//! Tables: coverage, gaps, tallies, details, findings, and who had the evidence in hand.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Result, bail};
use datafusion::arrow::datatypes::Field;

use super::Export;
use super::book::{Book, Cell};
use super::facts::{Facts, lasting, rfc3339};
use super::population::ABSENT;
use crate::engine::Engine;
use crate::output::{each_row, json_text};
use crate::request::Request;

/// # Errors
/// A statement fails, or a file cannot be written.
pub fn write(engine: &Engine, export: &Export, request: &Request, facts: &Facts) -> Result<()> {
    // The writer of sheets has no error for a disk that is full: it panics.
    let written = catch_unwind(AssertUnwindSafe(|| all(engine, export, request, facts)));
    written.unwrap_or_else(|_| bail!("cannot write the tables to `{}`", export.pack.display()))
}

fn all(engine: &Engine, export: &Export, request: &Request, facts: &Facts) -> Result<()> {
    let mut book = Book::new(&export.pack, &export.tool, request.period)?;
    coverage(export, facts, &mut book)?;
    answer(engine, export, &mut book, "findings", include_str!("../../../catalog/sql/findings.sql"))?;
    gaps(export, facts, &mut book)?;
    tally(export, &mut book)?;
    answer(engine, export, &mut book, "details", include_str!("../../../catalog/sql/pack/details.sql"))?;
    book.finish(export.create("tables.xlsx")?)?;
    custody(engine, export, request)
}

/// A statement's answer as a table.
fn answer(engine: &Engine, export: &Export, book: &mut Book, name: &str, sql: &str) -> Result<()> {
    let answer = engine.start(sql)?;
    let schema = answer.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut table = book.table(export.create(&format!("{name}.csv"))?, name, &names)?;
    engine.each(answer, &mut |batch| {
        each_row(batch, &mut |cells| {
            let cell = |(cell, field): (&Option<String>, &Arc<Field>)| match cell {
                Some(cell) if field.data_type().is_numeric() => Cell::number(cell),
                Some(cell) if field.data_type().is_temporal() => Cell::time(cell.clone()),
                Some(cell) => Cell::text(cell.clone()),
                None => Cell::text(ABSENT),
            };
            table.push(&cells.iter().zip(schema.fields()).map(cell).collect::<Vec<_>>())
        })
    })?;
    table.finish()
}

fn coverage(export: &Export, facts: &Facts, book: &mut Book) -> Result<()> {
    let head = [
        "machine",
        "machine_id",
        "group",
        "tags",
        "inventory",
        "first_received",
        "last_received",
        "events",
        "sources",
        "longest_silence_seconds",
        "silences",
        "gaps",
        "not_understood",
        "clock_ahead_median_seconds",
        "clock_ahead_worst_seconds",
    ];
    let mut table = book.table(export.create("coverage.csv")?, "coverage", &head)?;
    for spoken in &facts.machines {
        let (middle, worst) = match spoken.ahead {
            Some((middle, worst)) => (Cell::number(middle), Cell::number(worst)),
            None => (Cell::text(""), Cell::text("")),
        };
        table.push(&[
            Cell::text(&*spoken.name),
            Cell::text(&*spoken.id),
            Cell::text(spoken.group.as_deref().unwrap_or(ABSENT)),
            Cell::text(spoken.tags.as_deref().unwrap_or(ABSENT)),
            Cell::text(if spoken.is_in_inventory { "known" } else { "unknown" }),
            Cell::time(rfc3339(spoken.first)),
            Cell::time(rfc3339(spoken.last)),
            Cell::number(spoken.events),
            Cell::number(spoken.sources),
            Cell::number(spoken.longest_silence / 1_000_000),
            Cell::number(spoken.silences_total),
            Cell::number(spoken.gaps),
            Cell::number(spoken.not_understood),
            middle,
            worst,
        ])?;
    }
    for machine in export.never_heard(facts) {
        let (group, tags) = (machine.group.as_deref().unwrap_or_default(), machine.tags.join(" "));
        let inventory = if machine.is_on { "never heard" } else { "never heard, switched off" };
        let mut cells = [machine.name.as_str(), &machine.id, group, &tags, inventory].map(Cell::text).to_vec();
        cells.extend(["", ""].map(Cell::text));
        cells.extend([0, 0].map(Cell::number));
        cells.extend([""; 6].map(Cell::text));
        table.push(&cells)?;
    }
    table.finish()
}

fn gaps(export: &Export, facts: &Facts, book: &mut Book) -> Result<()> {
    let head = ["kind", "source_or_machine", "from", "to", "duration", "events", "cause", "alert_time", "remedy"];
    let mut table = book.table(export.create("gaps.csv")?, "gaps", &head)?;
    for gap in &facts.gaps {
        let of = gap.source.as_deref().or(gap.machine.as_deref()).unwrap_or(ABSENT);
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".to_owned());
        table.push(&[
            Cell::text("lost"),
            Cell::text(of),
            Cell::time(part(&gap.from)),
            Cell::time(part(&gap.to)),
            Cell::text(""),
            Cell::number(part(&gap.events)),
            Cell::text(part(&gap.cause)),
            Cell::time(&*gap.told),
            Cell::text(""),
        ])?;
    }
    for gap in &export.verified.gaps {
        table.push(&["sealed gap", ABSENT, "", "", "", "", gap, "", ""].map(Cell::text))?;
    }
    let silences = facts
        .machines
        .iter()
        .flat_map(|spoken| spoken.silences.iter().map(move |(from, to)| ("silence", spoken.name.as_str(), *from, *to)));
    let empty = facts.empty.iter().map(|(from, to)| ("nothing received", "all", *from, *to));
    for (kind, of, from, to) in silences.chain(empty) {
        let mut cells = vec![Cell::text(kind), Cell::text(of), Cell::time(rfc3339(from)), Cell::time(rfc3339(to))];
        cells.push(Cell::text(lasting(to - from)));
        cells.extend([""; 4].map(Cell::text));
        table.push(&cells)?;
    }
    table.finish()
}

fn tally(export: &Export, book: &mut Book) -> Result<()> {
    let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut archived, mut filtered, mut quarantined, mut dropped) = (0, 0, 0, 0);
    for sealed in &export.seals {
        for (source, records) in &sealed.sources {
            *sources.entry(source).or_default() += records;
            archived += records;
        }
        filtered += sealed.filtered;
        quarantined += sealed.quarantined;
        dropped += sealed.dropped;
    }
    let head = ["machine/source", "received", "archived", "filtered", "quarantined", "lost"];
    let mut table = book.table(export.create("tally.csv")?, "tally", &head)?;
    for (source, records) in sources {
        let none = || Cell::text("");
        table.push(&[Cell::text(source), none(), Cell::number(records), none(), none(), none()])?;
    }
    let received: u64 = archived + filtered + quarantined + dropped;
    let mut cells = vec![Cell::text("all")];
    cells.extend([received, archived, filtered, quarantined, dropped].map(Cell::number));
    table.push(&cells)?;
    table.finish()
}

/// Each object, and each act of custody, in the order of their times.
fn custody(engine: &Engine, export: &Export, request: &Request) -> Result<()> {
    let mut out = export.create("custody.ndjson")?;
    for (object, sealed) in request.objects.iter().zip(&export.seals) {
        writeln!(
            out,
            "{{\"step\":\"sealed\",\"time\":\"{}\",\"stream\":{},\"seal\":{},\"object\":{},\"sha256\":\"{}\",\"bytes\":{},\
             \"events\":{}}}",
            rfc3339(sealed.time),
            json_text(&object.stream),
            object.seal,
            json_text(&object.object),
            object.sha256,
            sealed.bytes,
            object.records
        )?;
    }
    let answer = engine.start(include_str!("../../../catalog/sql/pack/custody.sql"))?;
    engine.each(answer, &mut |batch| {
        each_row(batch, &mut |cells| {
            let names = ["time", "event_id", "step", "who", "outcome", "what"];
            let said = names
                .iter()
                .zip(cells)
                .map(|(name, cell)| format!("\"{name}\":{}", json_text(cell.as_deref().unwrap_or(ABSENT))));
            Ok(writeln!(out, "{{{}}}", said.collect::<Vec<_>>().join(","))?)
        })
    })?;
    Ok(out.flush()?)
}
