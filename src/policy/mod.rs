//! Is this allowed here? The step **judge** of an event's way: which machines may do what, and the findings
//! about what they may not.
//!
//! A [`Policy`] is what a configuration says, immutable. A [`Judge`] asks it about every event and remembers which
//! findings are open, so that many events of one kind make one finding.
//!
//! Invariants: no I/O on the way of an event; what no rule selects costs no allocation; a rule that breaks costs
//! a finding of its own, never an event.

mod allowance;
mod book;
mod cases;
mod finding;
mod hours;
mod index;
mod judge;
mod options;
mod read;
mod rules;
mod stock;
mod watch;

use std::collections::HashMap;
use std::time::Duration;

use wharfinger_formats::image::registry;
use wharfinger_formats::{Event, Field, Time};

use crate::facts::Facts;
use crate::filter::Filter;
use allowance::{Allowances, Glob};
use index::Index;

pub use allowance::{Allowance, Permission, Verdict};
pub use book::MARKS;
pub use cases::{Case, Given, read_cases};
pub use finding::Finding;
pub use judge::{Due, Judge, Told};
pub use options::{ExceptionOptions, GroupOptions, PolicyOptions, RuleOptions};
pub use read::read;
pub use rules::{Asked, RULE_SETS, RuleSet, Shipped};
pub use stock::{Listed, Listing, Standing, Standings};
pub use watch::{Clock, Sender, Silence, rfc3339};

/// The group that machines of no other group belong to, and whose answers are those of all others that have none.
pub const DEFAULT_GROUP: &str = "default";

/// Groups, rules and exceptions. Without any it finds nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    rules: Vec<Rule>,
    index: Index,
    groups: Vec<Group>,
    by_name: HashMap<String, usize>,
    default: Allowances,
    exceptions: Vec<Exception>,
    quiet: Duration,
    resolve_after: Duration,
    zone_seconds: i64,
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) id: String,
    /// The rule set it belongs to; empty for a rule of the configuration.
    pub(crate) set: &'static str,
    /// The class of its findings.
    pub(crate) class: String,
    pub(crate) about: String,
    asked: Ask,
    unless: Option<Allowance>,
    pub(crate) severity: i64,
    why: String,
    pub(crate) recommendation: String,
}

impl Rule {
    /// Something happened; otherwise a machine is not as it should be.
    fn is_about_event(&self) -> bool {
        self.class.starts_with("finding.")
    }
}

/// What makes a rule find something.
#[derive(Debug, Clone, PartialEq)]
enum Ask {
    /// Events of which this holds.
    Events(Filter),
    Clock(Clock),
    /// Nothing any more: it is in no policy.
    Nothing,
}

#[derive(Debug, Clone, PartialEq)]
struct Group {
    name: String,
    vms: Vec<Glob>,
    matches: Option<Filter>,
    allowances: Allowances,
}

#[derive(Debug, Clone, PartialEq)]
struct Exception {
    rule: Glob,
    vms: Vec<Glob>,
    until: Time,
    reason: String,
}

/// What the policy answers about one rule and one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'p> {
    /// The rule is not about such an event.
    OtherEvent,
    /// Allowed, not judged, or not told by the event.
    Fine(Verdict),
    /// It would be a finding, but for an exception with that reason.
    Excepted(&'p str),
    Finding,
}

impl Policy {
    /// Whether it can find anything.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What it consists of, in a few words.
    pub fn describe(&self) -> String {
        let (groups, rules, exceptions) = (self.groups.len(), self.rules.len(), self.exceptions.len());
        format!("{groups} groups, {rules} rules, {exceptions} exceptions")
    }

    /// Exceptions that have ended at that time: their rules and reasons.
    pub fn ended(&self, now: Time) -> impl Iterator<Item = &str> {
        self.exceptions.iter().filter(move |exception| exception.until <= now).map(|exception| &*exception.reason)
    }

    /// The group of a machine with these facts: the first that names it.
    pub fn group_of(&self, facts: &Facts) -> Option<&str> {
        let mut machine = Event::new(b"");
        facts.set_on(&mut machine);
        let group = self.groups.iter().find(|group| group.has(&machine));
        let known = machine.text(Field::VmGroup).and_then(|name| self.by_name.get(name));
        let group = group.or_else(|| self.groups.get(*known?))?;
        Some(&group.name)
    }

    /// Whether images of that name may not be used on machines of a group: for those who look at a machine.
    pub fn refused_registry<'i>(&self, group: Option<&str>, image: &'i str) -> Option<&'i str> {
        let group = group.and_then(|name| self.groups.get(*self.by_name.get(name)?));
        let allowances = group.map_or(&self.default, |group| &group.allowances);
        let registry = registry(image)?;
        let is_refused = allowances.registries.as_ref().is_some_and(|list| !list.iter().any(|glob| glob.has(registry)));
        is_refused.then_some(registry)
    }

    /// What the machine of an event may do.
    fn allowances(&self, event: &Event<'_>) -> &Allowances {
        let group = event.text(Field::VmGroup).and_then(|name| self.by_name.get(name));
        group.and_then(|at| self.groups.get(*at)).map_or(&self.default, |group| &group.allowances)
    }

    /// Every rule with what the policy answers about this event: for people.
    pub fn explain(&self, event: &Event<'_>, now: Time) -> impl Iterator<Item = (&str, Option<Allowance>, Answer<'_>)> {
        self.rules.iter().map(move |rule| (&*rule.id, rule.unless, self.answer(rule, event, now)))
    }

    fn answer(&self, rule: &Rule, event: &Event<'_>, now: Time) -> Answer<'_> {
        if !matches!(&rule.asked, Ask::Events(when) if when.has(event)) {
            return Answer::OtherEvent;
        }
        self.answer_again(rule, event, now)
    }

    /// The same about an event that the rule is known to be about.
    fn answer_again(&self, rule: &Rule, event: &Event<'_>, now: Time) -> Answer<'_> {
        let verdict = match rule.unless {
            Some(allowance) => self.allowances(event).judge(allowance, event, self.zone_seconds),
            None => Verdict::Forbidden,
        };
        if verdict != Verdict::Forbidden {
            return Answer::Fine(verdict);
        }
        let holds = |exception: &&Exception| exception.until > now && exception.holds(rule, event);
        self.exceptions.iter().find(holds).map_or(Answer::Finding, |exception| Answer::Excepted(&exception.reason))
    }

    /// In words: "docker forbidden in group `prod`".
    fn describe_group(&self, allowance: Option<Allowance>, event: &Event<'_>) -> String {
        let group = event.text(Field::VmGroup).filter(|name| self.by_name.contains_key(*name));
        let group = group.unwrap_or(DEFAULT_GROUP);
        allowance.map_or_else(|| format!("group {group}"), |allowance| format!("group {group}: {}", allowance.name()))
    }

    /// The groups that answer with `allowed`, for a recommendation.
    fn groups_that_allow(&self, allowance: Allowance) -> String {
        let allow = self.groups.iter().filter(|group| group.allowances.allows(allowance));
        let names: Vec<String> = allow.map(|group| format!("`{}`", group.name)).collect();
        if names.is_empty() { "there is none yet".to_owned() } else { names.join(", ") }
    }
}

impl Group {
    fn has(&self, machine: &Event<'_>) -> bool {
        names(&self.vms, machine) || self.matches.as_ref().is_some_and(|matches| matches.has(machine))
    }
}

impl Exception {
    fn holds(&self, rule: &Rule, event: &Event<'_>) -> bool {
        self.rule.has(&rule.id) && names(&self.vms, event)
    }
}

/// Whether one of the globs is a name or a UUID of the machine.
fn names(globs: &[Glob], machine: &Event<'_>) -> bool {
    let is_one = |field| machine.text(field).is_some_and(|name| globs.iter().any(|glob| glob.has(name)));
    !globs.is_empty() && NAMES.into_iter().any(is_one)
}

/// What a machine is called by, the surest first. The host name is none of them: where no inventory knows the
/// machine, it is what the sender claims.
const NAMES: [Field; 4] = [Field::VmName, Field::VmUuid, Field::VmInstanceUuid, Field::VmMoref];
