//! Digest: what a day has brought, for whoever reviews it: counts, exceptions, what is missing.
//!
//! Way: the facts of a pack → one page and one JSON object; no file is written here.
//!
//! Invariant: as for packs, nothing in it depends on when or where it is made.

use std::io::Write;

use anyhow::Result;
use minijinja::value::Serde;
use serde::{Deserialize, Serialize};
use wharfinger_formats::visible::visible;

use super::Export;
use super::facts::{Facts, lasting, rfc3339};
use super::framework::Framework;
use super::missing;
use super::summary::{Summary, environment, shortened};
use crate::classes::Classes;
use crate::output::each_row;
use crate::parts::Written;
use crate::request::Request;

/// Of machines and of findings so many are listed; more are counted.
const LISTED_MAX: usize = 200;
const PAGE: &str = include_str!("../../../catalog/pages/digest.txt");
const FINDINGS: &str = include_str!("../../../catalog/sql/findings.sql");
/// What `findings.sql` answers, as far as a digest tells it.
const CELLS: [&str; 13] = [
    "event_time",
    "event_id",
    "rule",
    "rule_name",
    "severity",
    "machine",
    "group",
    "container",
    "image",
    "who",
    "finding",
    "state",
    "reason",
];

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// What the configuration calls it: `daily`.
    pub name: String,
    /// Whose archive it is of.
    pub gateway: String,
    /// `2026-11-21`.
    pub day: String,
    /// The one before it, if there is one.
    pub previous: Option<Previous>,
    /// Its `pack` is not written.
    pub export: Export,
}

/// The digest before.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    pub day: String,
    /// Of its JSON, in hexadecimal digits.
    pub sha256: String,
}

#[derive(Debug, Serialize)]
struct Machine {
    name: String,
    id: String,
    group: Option<String>,
    is_in_inventory: bool,
    events: u64,
    gaps: u64,
    last: String,
    longest_silence: String,
}

/// One row of `findings.sql`, by the names of `CELLS`.
type Finding = serde_json::Map<String, serde_json::Value>;

/// What the page is made of.
#[derive(Serialize)]
struct Page<'s> {
    digest: &'s str,
    gateway: &'s str,
    day: &'s str,
    previous: &'s Option<Previous>,
    machines_listed: &'s [Machine],
    findings_listed: &'s [Finding],
    #[serde(flatten)]
    summary: &'s Summary<'s>,
}

impl Digest {
    /// Answers `{"summary", "machines", "findings", "text"}`.
    ///
    /// # Errors
    /// The framework is not in the catalogue, or a statement fails.
    pub fn run(&self, request: &Request, files: &[&Written], classes: &Classes, out: &mut dyn Write) -> Result<()> {
        let export = &self.export;
        let framework = Framework::read(&export.framework)?;
        files.iter().try_for_each(|file| file.check(&request.folder))?;
        let engine = export.engine(request, files)?;
        let facts = Facts::read(&engine, export, request)?;
        let missing = missing::find(export, request, classes, &facts);
        let summary = Summary::new(export, request, classes, &framework, &facts, missing);
        let machines: Vec<_> = facts.machines.iter().take(LISTED_MAX).map(Machine::of).collect();
        let mut findings: Vec<Finding> = Vec::new();
        engine.each(engine.start(FINDINGS)?, &mut |batch| {
            each_row(batch, &mut |cells| {
                if findings.len() < LISTED_MAX {
                    let cells = cells.iter().map(|cell| cell.as_deref().map(|text| shortened(&visible(text))));
                    findings.push(CELLS.iter().map(|name| (*name).to_owned()).zip(cells.map(Into::into)).collect());
                }
                Ok(())
            })
        })?;
        let page = Page {
            digest: &self.name,
            gateway: &self.gateway,
            day: &self.day,
            previous: &self.previous,
            machines_listed: &machines,
            findings_listed: &findings,
            summary: &summary,
        };
        let text = environment()?.render_str(PAGE, Serde(&page))?;
        let answer = serde_json::json!({"summary": &summary, "machines": machines, "findings": findings, "text": text});
        Ok(writeln!(out, "{answer}")?)
    }
}

impl Machine {
    fn of(spoken: &super::facts::Spoken) -> Machine {
        Machine {
            name: shortened(&spoken.name),
            id: shortened(&spoken.id),
            group: spoken.group.as_deref().map(shortened),
            is_in_inventory: spoken.is_in_inventory,
            events: spoken.events,
            gaps: spoken.gaps,
            last: rfc3339(spoken.last),
            longest_silence: lasting(spoken.longest_silence),
        }
    }
}
