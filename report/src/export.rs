//! Export: the evidence pack of a framework, out of the Parquet of a period.
//!
//! Way: SQL → facts → what is missing → tables, population, summary. `wharfinger` adds what the verifier says and the
//! manifest.
//!
//! Invariant: nothing in it depends on when, where or by whom it is made: the same archive, period and catalogue make
//! the same bytes.

mod book;
mod charts;
mod digest;
mod facts;
mod framework;
mod missing;
mod pdf;
mod population;
mod summary;
mod tables;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::classes::Classes;
use crate::engine::{Engine, Events};
use crate::parts::{Object, Written};
use crate::request::{Limits, Request};
pub use digest::Digest;
use facts::Facts;
use framework::Framework;
use population::Population;
use summary::Summary;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// An empty folder.
    pub pack: PathBuf,
    /// `pci-dss-4.0.1`.
    pub framework: String,
    /// Only machines of this group or with this tag.
    pub scope: Option<String>,
    /// As people write them, for the summary.
    pub from: String,
    pub to: String,
    /// Who made it: `wharfinger 0.1.0`.
    pub tool: String,
    pub verified: Verified,
    /// What it is measured by, each in some words.
    pub yardsticks: Vec<String>,
    /// Facts of the seals, in the order of `objects`.
    pub seals: Vec<Sealed>,
    /// Machines of the inventory, if there is one.
    pub inventory: Option<Vec<Machine>>,
    /// A machine that says nothing for so long is silent.
    pub silent_seconds: i64,
    pub limits: Limits,
}

/// Streams and seals of what stands in these files and was not asked for.
fn without<'o>(files: &[&'o Written], asked: &[Object]) -> BTreeMap<&'o str, Vec<u64>> {
    let asked: HashSet<(&str, u64)> = asked.iter().map(|object| (&*object.stream, object.seal)).collect();
    let mut without: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for object in files.iter().flat_map(|file| &file.objects) {
        if !asked.contains(&(&*object.stream, object.seal)) {
            without.entry(&object.stream).or_default().push(object.seal);
        }
    }
    without
}

/// What the verifier says of the archive.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// Nothing was found, and the end is proven.
    pub good: bool,
    /// In one sentence.
    pub verdict: String,
    /// What was found, each in one sentence that names it.
    pub findings: Vec<String>,
    /// What was sealed as lost in the period.
    pub gaps: Vec<String>,
}

/// What the seal of an object says, beside what stands in `parts::Object`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Microseconds since 1970.
    pub time: i64,
    pub bytes: u64,
    pub filtered: u64,
    pub quarantined: u64,
    pub dropped: u64,
    /// Of each source how many.
    pub sources: Vec<(String, u64)>,
}

/// A machine of the inventory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// UUID or name, as events have it.
    pub id: String,
    pub name: String,
    /// `id` is one that nobody can call himself by; else it is the name.
    pub has_id: bool,
    pub group: Option<String>,
    pub tags: Vec<String>,
    /// Whether it runs, as far as that is known.
    pub is_on: bool,
}

impl Export {
    /// Writes the pack and answers what it shows.
    ///
    /// # Errors
    /// The framework is not in the catalogue, a statement fails, or a file cannot be written.
    pub fn run(&self, request: &Request, files: &[&Written], classes: &Classes, out: &mut dyn Write) -> Result<()> {
        let framework = Framework::read(&self.framework)?;
        files.iter().try_for_each(|file| file.check(&request.folder))?;
        let view = |files: &[&Written]| self.engine(request, files);
        let engine = view(files)?;
        let facts = Facts::read(&engine, self, request)?;
        let missing = missing::find(self, request, classes, &facts);
        tables::write(&engine, self, request, &facts)?;
        let mut population = Population::new(self, request);
        let added = files.iter().try_for_each(|file| population.add(&view(&[file])?));
        population.finish()?;
        added?;
        let summary = Summary::new(self, request, classes, &framework, &facts, missing);
        for (name, text) in summary.pages()? {
            self.create(name)?.write_all(text.as_bytes())?;
            if name == "summary.html" {
                let pdf = pdf::of_page(&text, &self.tool, request.period.to.unwrap_or(0))?;
                self.create("summary.pdf")?.write_all(&pdf)?;
            }
        }
        Ok(writeln!(out, "{}", serde_json::to_string(&summary)?)?)
    }

    /// Over what is meant of these files.
    fn engine(&self, request: &Request, files: &[&Written]) -> Result<Engine> {
        let events = Events {
            folder: &request.folder,
            files: files.iter().map(|file| file.file.as_str()).collect(),
            period: request.period,
            scope: self.scope.as_deref(),
            without: without(files, &request.objects),
        };
        Engine::new(&events, self.limits)
    }

    /// A file of the pack.
    fn create(&self, name: &str) -> Result<BufWriter<File>> {
        let path = self.pack.join(name);
        let file = File::create_new(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(BufWriter::with_capacity(1 << 18, file))
    }

    /// Machines of the inventory that are meant and of which there is no event. What has an id is known by it alone:
    /// a name anybody can have.
    fn never_heard<'f>(&'f self, facts: &'f Facts) -> impl Iterator<Item = &'f Machine> {
        let ids: HashSet<&str> = facts.machines.iter().map(|spoken| spoken.id.as_str()).collect();
        let names: HashSet<&str> = facts.machines.iter().map(|spoken| spoken.name.as_str()).collect();
        let is_heard = move |machine: &Machine| match machine.has_id {
            true => ids.contains(machine.id.as_str()),
            false => names.contains(machine.name.as_str()),
        };
        self.inventory.iter().flatten().filter(|machine| self.has(machine)).filter(move |machine| !is_heard(machine))
    }

    /// Whether a machine of the inventory is meant.
    fn has(&self, machine: &Machine) -> bool {
        let is_of = |scope: &String| machine.group.as_ref() == Some(scope) || machine.tags.contains(scope);
        self.scope.as_ref().is_none_or(is_of)
    }
}
