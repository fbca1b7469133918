//! `/api/compliance`, `/api/machine` and `/api/findings`: which machines there are, how each stands to the policy, and
//! why.
//!
//! Invariants: whatever is asked for, an answer has at most [`ROWS_MAX`] rows; nothing is computed for machines that
//! are not shown but what is needed to choose and to count.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wharfinger_formats::{Field, Time};

use super::View;
use crate::identity::{Identity, Seen, Snapshot, State, Stranger};
use crate::policy::{Judge, Listed, Listing, Standing, Standings, rfc3339};

/// So many rows at once.
pub const ROWS_MAX: usize = 1000;
const ROWS: usize = 100;
/// So many groups are named: an inventory may have a folder for each machine.
const GROUPS_MAX: usize = 1000;

/// Which machines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    pub group: Option<String>,
    pub state: Option<State>,
    /// `yes` or `no`: whether anything was heard of containers there.
    pub docker: Option<Docker>,
    /// A piece of the name, the address or the UUID.
    pub q: Option<String>,
    /// How it was then: RFC 3339.
    pub at: Option<String>,
    /// From 1.
    pub page: Option<usize>,
    pub per_page: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Docker {
    Yes,
    No,
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// What the counts and states are of, if it is not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// All machines there are.
    pub total: usize,
    pub counts: Counts,
    pub groups: Vec<String>,
    /// Those that are wanted.
    pub matching: usize,
    pub page: usize,
    pub pages: usize,
    pub machines: Vec<Row>,
}

/// How many of all machines stand so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub compliant: usize,
    pub violating: usize,
    pub silent: usize,
    pub unknown: usize,
    /// Something was heard of containers there.
    pub docker: usize,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What `/api/machine` finds it by.
    pub key: String,
    pub name: String,
    /// Empty: it is in none.
    pub group: String,
    pub state: State,
    /// Since when it is in that state, if that is known.
    pub since: Option<String>,
    pub last_seen: Option<String>,
    /// An inventory names it, or it is the gateway's own.
    pub known: bool,
    pub docker: bool,
    /// Containers that run, as far as events show.
    pub containers: usize,
    /// Containers of the last 24 hours.
    pub unique_containers: usize,
    pub images: usize,
    /// Registries of its images that are not allowed.
    pub untrusted_registries: Vec<String>,
    /// Open ones.
    pub findings: u32,
}

/// One machine, with all that is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    machine: Row,
    facts: Vec<(&'static str, String)>,
    /// The oldest first.
    history: Vec<Change>,
    images: Vec<String>,
    /// The newest first.
    recent: Vec<Moment>,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Serialize)]
struct Change {
    at: String,
    state: State,
}

#[derive(Debug, Clone, Serialize)]
struct Moment {
    at: String,
    class: String,
    what: String,
}

/// Which findings are wanted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FindingQuery {
    machine: Option<String>,
    rule: Option<String>,
    page: Option<usize>,
    per_page: Option<usize>,
}

/// Open findings, the gravest first.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    matching: usize,
    page: usize,
    pages: usize,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Serialize)]
struct Finding {
    id: String,
    rule: String,
    about: String,
    severity: i64,
    why: String,
    recommendation: String,
    /// What `/api/machine` finds its machine by.
    machine: String,
    name: String,
    first_seen: String,
    last_seen: String,
    count: u64,
    /// The id of the event that made it; empty for a silence.
    cause: String,
    facts: Vec<(&'static str, String)>,
}

/// A machine that may be shown.
struct Candidate<'m> {
    key: &'m str,
    name: &'m str,
    group: &'m str,
    facts: Facts<'m>,
    seen: &'m Seen,
    last: Option<Time>,
    state: State,
    since: Option<Time>,
    findings: u32,
}

enum Facts<'m> {
    Machine(&'m Identity),
    Stranger(&'m Stranger),
}

/// A time in a query cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`at` is no time: write `2026-11-21T09:00:00Z`")]
pub struct NoTime;

/// The machines that are wanted.
///
/// # Errors
/// The time in it is none.
pub fn page(view: &dyn View, query: &Query, now: Time) -> Result<Page, NoTime> {
    let at = match query.at.as_deref().map(|text| (text.len(), Time::parse_rfc3339(text.as_bytes()))) {
        None => None,
        Some((len, Some((time, used)))) if used == len => Some(time),
        Some(_) => return Err(NoTime),
    };
    let (snapshot, judge) = (view.machines(), view.judge());
    let strangers = snapshot.register().strangers_now(now, |one| snapshot.knows(&one.facts()));
    let standings = judge.as_ref().map(|judge| judge.standings()).unwrap_or_default();
    let candidates = candidates(&snapshot, &strangers, &standings, at);
    let (mut counts, mut groups, mut total) = (Counts::default(), BTreeSet::new(), 0);
    let mut wanted = Vec::new();
    for one in candidates {
        total += 1;
        let has_docker = one.seen.docker(|_| ()).is_some();
        counts.add(one.state, has_docker);
        if !groups.contains(one.group) && !one.group.is_empty() && groups.len() < GROUPS_MAX {
            groups.insert(one.group.to_owned());
        }
        if query.wants(&one, has_docker) {
            wanted.push(one);
        }
    }
    let (matching, rows) = (wanted.len(), Rows::of(query.page, query.per_page, wanted.len()));
    // Only as far as they are shown need they be in order.
    if rows.end < wanted.len() {
        wanted.select_nth_unstable_by(rows.end, Candidate::order);
        wanted.truncate(rows.end);
    }
    wanted.sort_unstable_by(Candidate::order);
    let machines = wanted[rows.start..].iter().map(|one| one.row(judge.as_deref(), now)).collect();
    let at = at.map(rfc3339);
    let (page, pages) = (rows.page, rows.pages);
    Ok(Page { at, total, counts, groups: groups.into_iter().collect(), matching, page, pages, machines })
}

/// The machine that is named so, by its key or its name.
pub fn machine(view: &dyn View, key: &str, now: Time) -> Option<Machine> {
    let (snapshot, judge) = (view.machines(), view.judge());
    let strangers = snapshot.register().strangers_now(now, |_| false);
    let standings = judge.as_ref().map(|judge| judge.standings()).unwrap_or_default();
    let all = || candidates(&snapshot, &strangers, &standings, None);
    let found = all().find(|one| one.key == key).or_else(|| all().find(|one| one.is_called(key)))?;
    let findings = judge.as_ref().map(|judge| {
        let of = |machine| judge.listed(Listing { machine: Some(machine), take: ROWS_MAX, ..Listing::default() }).0;
        found.keys().into_iter().flatten().flat_map(of).map(Finding::from).collect()
    });
    let facts = match &found.facts {
        Facts::Machine(identity) => named(&identity.facts),
        Facts::Stranger(stranger) => named(&stranger.facts()),
    };
    let moment = |one: &crate::identity::Moment| Moment {
        at: rfc3339(Time(one.at)),
        class: one.class.to_string(),
        what: one.what.to_string(),
    };
    let history = found.seen.history();
    Some(Machine {
        machine: found.row(judge.as_deref(), now),
        facts,
        history: history.iter().map(|change| Change { at: rfc3339(change.at()), state: change.state }).collect(),
        images: found.seen.docker(|docker| docker.images().map(str::to_owned).collect()).unwrap_or_default(),
        recent: found.seen.docker(|docker| docker.recent().map(moment).collect()).unwrap_or_default(),
        findings: findings.unwrap_or_default(),
    })
}

/// The open findings that are wanted.
pub fn findings(view: &dyn View, query: &FindingQuery) -> Findings {
    let Some(judge) = view.judge() else {
        return Findings { matching: 0, page: 1, pages: 1, findings: Vec::new() };
    };
    let listing = Listing { machine: query.machine.as_deref(), rule: query.rule.as_deref(), ..Listing::default() };
    let (_, matching) = judge.listed(listing);
    let rows = Rows::of(query.page, query.per_page, matching);
    let (listed, matching) = judge.listed(Listing { skip: rows.start, take: rows.end - rows.start, ..listing });
    let findings = listed.into_iter().map(Finding::from).collect();
    Findings { matching, page: rows.page, pages: rows.pages, findings }
}

fn candidates<'m>(
    snapshot: &'m Snapshot,
    strangers: &'m [Stranger],
    standings: &'m Standings,
    at: Option<Time>,
) -> impl Iterator<Item = Candidate<'m>> {
    let known = snapshot.machines().iter().filter_map(move |machine| {
        let key = machine.key()?;
        let change = machine.seen.state_at(at);
        Some(Candidate {
            key,
            name: machine.fact(Field::VmName).or(machine.fact(Field::HostName)).unwrap_or(key),
            group: machine.fact(Field::VmGroup).unwrap_or_default(),
            facts: Facts::Machine(machine),
            seen: &machine.seen,
            last: machine.seen.last(),
            state: change.map_or(State::Unknown, |change| change.state),
            since: change.map(|change| change.at()),
            findings: standings.get(key).map_or(0, |standing| standing.findings),
        })
    });
    let unknown = strangers.iter().filter(move |one| at.is_none_or(|at| one.first <= at)).map(move |stranger| {
        let open = stranger_names(stranger).into_iter().filter_map(|name| standings.get(name));
        let open = open.fold(Standing::default(), |all, one| Standing {
            findings: all.findings + one.findings,
            severity: all.severity.max(one.severity),
            violates: all.violates || one.violates,
        });
        Candidate {
            key: &stranger.name,
            name: &stranger.name,
            group: "",
            facts: Facts::Stranger(stranger),
            seen: &stranger.seen,
            last: Some(stranger.last),
            // Whatever it does, nobody can say that it is as it should be.
            state: if open.violates { State::Violating } else { State::Unknown },
            since: None,
            findings: open.findings,
        }
    });
    known.chain(unknown)
}

/// What the book may name a stranger by.
fn stranger_names(stranger: &Stranger) -> [&str; 2] {
    [&stranger.name, &stranger.claimed_host]
}

impl Query {
    fn wants(&self, one: &Candidate<'_>, has_docker: bool) -> bool {
        self.state.is_none_or(|state| state == one.state)
            && self.docker.is_none_or(|docker| (docker == Docker::Yes) == has_docker)
            && self.group.as_deref().is_none_or(|group| group == one.group)
            && self.q.as_deref().is_none_or(|piece| one.has(piece))
    }
}

impl Candidate<'_> {
    /// The gravest first, then by name.
    fn order(one: &Self, other: &Self) -> Ordering {
        (one.state, one.name, one.key).cmp(&(other.state, other.name, other.key))
    }

    fn has(&self, piece: &str) -> bool {
        let claimed = match &self.facts {
            Facts::Stranger(stranger) => &*stranger.claimed_host,
            Facts::Machine(identity) => identity.fact(Field::HostName).unwrap_or_default(),
        };
        [self.name, self.key, claimed].into_iter().any(|text| contains(text, piece))
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.keys().into_iter().flatten().any(|key| key == name)
    }

    /// What the book may name it by.
    fn keys(&self) -> [Option<&str>; 2] {
        match &self.facts {
            Facts::Machine(_) => [Some(self.key), None],
            Facts::Stranger(stranger) => {
                stranger_names(stranger).map(|name| Some(name).filter(|name| !name.is_empty()))
            }
        }
    }

    fn row(&self, judge: Option<&Judge>, now: Time) -> Row {
        let group = Some(self.group).filter(|group| !group.is_empty());
        let (containers, unique_containers, images, registries) = self
            .seen
            .docker(|docker| {
                let refused = |image| judge?.policy().refused_registry(group, image);
                let registries: BTreeSet<&str> = docker.images().filter_map(refused).collect();
                let registries = registries.into_iter().map(str::to_owned).collect();
                (docker.running(), docker.unique(now), docker.images().count(), registries)
            })
            .unwrap_or_default();
        Row {
            key: self.key.to_owned(),
            name: self.name.to_owned(),
            group: self.group.to_owned(),
            state: self.state,
            since: self.since.map(rfc3339),
            last_seen: self.last.map(rfc3339),
            known: matches!(self.facts, Facts::Machine(_)),
            docker: self.seen.docker(|_| ()).is_some(),
            containers,
            unique_containers,
            images,
            untrusted_registries: registries,
            findings: self.findings,
        }
    }
}

impl From<Listed> for Finding {
    fn from(listed: Listed) -> Finding {
        let fact = |field| listed.facts.get(field);
        let name = fact(Field::VmName).or(fact(Field::HostName)).unwrap_or(&listed.machine).to_owned();
        Finding {
            name,
            facts: named(&listed.facts),
            first_seen: rfc3339(listed.first),
            last_seen: rfc3339(listed.last),
            id: listed.id,
            rule: listed.rule,
            about: listed.about,
            severity: listed.severity,
            why: listed.why,
            recommendation: listed.recommendation,
            machine: listed.machine,
            count: listed.count,
            cause: listed.cause_id,
        }
    }
}

impl Counts {
    fn add(&mut self, state: State, has_docker: bool) {
        self.docker += usize::from(has_docker);
        *match state {
            State::Compliant => &mut self.compliant,
            State::Violating => &mut self.violating,
            State::Silent => &mut self.silent,
            State::Unknown => &mut self.unknown,
        } += 1;
    }
}

/// Which rows an answer has.
struct Rows {
    page: usize,
    pages: usize,
    start: usize,
    end: usize,
}

impl Rows {
    /// The page that is asked for, or the last there is.
    fn of(page: Option<usize>, per_page: Option<usize>, matching: usize) -> Rows {
        let per_page = per_page.unwrap_or(ROWS).clamp(1, ROWS_MAX);
        let pages = matching.div_ceil(per_page).max(1);
        let page = page.unwrap_or(1).clamp(1, pages);
        let start = (page - 1) * per_page;
        Rows { page, pages, start, end: (start + per_page).min(matching) }
    }
}

fn named(facts: &crate::identity::Facts) -> Vec<(&'static str, String)> {
    facts.iter().map(|(field, value)| (field.name(), value.to_owned())).collect()
}

/// Whether the piece stands in it, in letters of any case.
fn contains(text: &str, piece: &str) -> bool {
    let (text, piece) = (text.as_bytes(), piece.as_bytes());
    piece.is_empty() || text.windows(piece.len()).any(|window| window.eq_ignore_ascii_case(piece))
}
