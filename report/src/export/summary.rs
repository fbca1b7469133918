//! Summary: the first page of a pack, for people: `summary.txt`, `summary.html`, `not-covered.txt`.

use anyhow::Result;
use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use serde::Serialize;

use super::Export;
use super::charts::{self, Chart};
use super::facts::{Facts, lasting};
use super::framework::{Clause, Framework};
use super::missing::{Kind, Missing};
use crate::classes::Classes;
use crate::request::Request;

/// What is missing is listed up to here; the tables have all of it.
const LISTED_MAX: usize = 500;
/// Letters of one thing in a list, names in it included; the tables have all of them.
const TEXT_CHARS_MAX: usize = 400;
/// Letters of a name beside a chart.
const NAME_CHARS_MAX: usize = 28;
const PAGES: [(&str, &str); 3] = [
    ("summary.txt", include_str!("../../../catalog/pages/summary.txt")),
    ("summary.html", include_str!("../../../catalog/pages/summary.html")),
    ("not-covered.txt", include_str!("../../../catalog/pages/not-covered.txt")),
];

/// See above.
#[derive(Debug, Serialize)]
pub struct Summary<'s> {
    title: &'s str,
    framework: String,
    catalog: u32,
    classes_version: u32,
    tool: &'s str,
    scope: Option<&'s str>,
    scope_of_framework: &'s str,
    from: &'s str,
    to: &'s str,
    pub result: &'static str,
    is_proven: bool,
    verdict: &'s str,
    pub missing: Vec<Missing>,
    missing_more: usize,
    events: u64,
    unclassified: u64,
    objects: usize,
    last_seal: Option<String>,
    machines: usize,
    never_heard: Option<usize>,
    findings: u64,
    gaps: usize,
    yardsticks: &'s [String],
    /// Of whole objects.
    filtered: u64,
    not_understood: u64,
    silent: usize,
    delays: Option<[String; 3]>,
    classes: Vec<Counted<'s>>,
    clauses: Vec<Shown<'s>>,
    details: Vec<Completeness>,
    days: Chart,
    coverage: Chart,
    silences: Chart,
    width: f64,
    label: f64,
}

#[derive(Debug, Clone, Serialize)]
struct Counted<'s> {
    id: &'s str,
    title: &'s str,
    events: u64,
}

#[derive(Debug, Serialize)]
struct Shown<'s> {
    #[serde(flatten)]
    clause: &'s Clause,
    counted: Vec<Counted<'s>>,
    events: u64,
}

/// Of the events of a source and class, how many in a hundred say it.
#[derive(Debug, Serialize)]
struct Completeness {
    source: String,
    class: String,
    events: u64,
    who: u64,
    outcome: u64,
    machine: u64,
    object: u64,
    /// How many do not say who.
    without_who: u64,
}

impl<'s> Summary<'s> {
    pub fn new(
        export: &'s Export,
        request: &'s Request,
        classes: &'s Classes,
        framework: &'s Framework,
        facts: &'s Facts,
        mut missing: Vec<Missing>,
    ) -> Summary<'s> {
        let is_proven = !missing.iter().any(|one| one.kind == Kind::Unproven);
        let result = match (is_proven, missing.is_empty()) {
            (false, _) => "not provable",
            (true, true) => "complete",
            (true, false) => "complete with listed gaps",
        };
        let of_class = facts.classes();
        let counted = |id: &str| {
            let class = classes.all.iter().find(|class| class.id == id)?;
            Some(Counted { id: &class.id, title: &class.title, events: of_class.get(id).copied().unwrap_or(0) })
        };
        let clauses = framework.clause.iter().map(|clause| {
            let counted: Vec<_> = clause.classes.iter().filter_map(|id| counted(id)).collect();
            Shown { clause, events: counted.iter().map(|class| class.events).sum(), counted }
        });
        let never_heard = export.inventory.as_ref().map(|_| export.never_heard(facts).count());
        let filtered = export.seals.iter().map(|sealed| sealed.filtered).sum();
        let not_understood = facts.machines.iter().map(|spoken| spoken.not_understood).sum();
        let percent = |part: u64, of: u64| part * 100 / of.max(1);
        let details = facts.details.iter().map(|said| Completeness {
            source: shortened(&said.source),
            class: said.class.clone(),
            events: said.events,
            who: percent(said.who, said.events),
            outcome: percent(said.outcome, said.events),
            machine: percent(said.machine, said.events),
            object: percent(said.object, said.events),
            without_who: said.events - said.who,
        });
        let missing_more = missing.len().saturating_sub(LISTED_MAX);
        missing.truncate(LISTED_MAX);
        missing.iter_mut().for_each(|one| one.text = shortened(&one.text));
        Summary {
            title: &framework.title,
            framework: format!("{}-{}", framework.framework, framework.version),
            catalog: framework.catalog,
            classes_version: classes.version,
            tool: &export.tool,
            scope: export.scope.as_deref(),
            scope_of_framework: &framework.scope,
            from: &export.from,
            to: &export.to,
            result,
            is_proven,
            verdict: &export.verified.verdict,
            missing,
            missing_more,
            events: facts.events,
            unclassified: of_class.get("none").copied().unwrap_or(0),
            objects: request.objects.len(),
            last_seal: request.objects.last().map(|object| format!("{} of {}", object.seal, object.stream)),
            machines: facts.machines.len(),
            never_heard,
            findings: facts.findings,
            gaps: facts.gaps.len() + export.verified.gaps.len(),
            yardsticks: &export.yardsticks,
            filtered,
            not_understood,
            silent: facts.machines.iter().filter(|spoken| !spoken.silences.is_empty()).count(),
            delays: facts.delays.map(|delays| delays.map(lasting)),
            classes: classes.all.iter().filter_map(|class| counted(&class.id)).collect(),
            clauses: clauses.collect(),
            details: details.collect(),
            days: charts::days(facts),
            coverage: charts::coverage(facts),
            silences: charts::silences(facts),
            width: charts::WIDTH,
            label: 170.0,
        }
    }

    /// Its files, by name.
    ///
    /// # Errors
    /// A template is wrong.
    pub fn pages(&self) -> Result<Vec<(&'static str, String)>> {
        let mut environment = environment()?;
        PAGES.iter().try_for_each(|(name, text)| environment.add_template(name, text))?;
        let page = |(name, _): &(&'static str, &str)| Ok((*name, environment.get_template(name)?.render(Serde(self))?));
        PAGES.iter().map(page).collect()
    }
}

/// For a page: who sends can call himself as long as he likes.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// As all pages want it.
///
/// # Errors
/// Never: the syntax is ours.
pub fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_filter("grouped", |number: u64| grouped(number));
    environment.add_filter("truncated", |name: String| match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name,
    });
    Ok(environment)
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
