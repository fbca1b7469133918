//! Stock: what is open, by machine and as a list: for the state of machines, and for people who look.
//!
//! Invariant: looking changes nothing, and never takes longer than the book is large.

use std::collections::HashMap;
use std::sync::Arc;

use wharfinger_formats::Time;

use super::book::Open;
use super::finding::State;
use super::judge::finding_of;
use super::{Ask, Clock, Judge, Rule};
use crate::facts::Facts;

/// What is open about each machine.
pub type Standings = HashMap<Box<str>, Standing>;

/// What is open about one machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    pub findings: u32,
    /// The gravest of them.
    pub severity: i64,
    /// One of them says more than that it is silent.
    pub violates: bool,
}

/// Which open findings are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'l> {
    /// About this machine alone, as the book names it.
    pub machine: Option<&'l str>,
    /// Of this rule alone.
    pub rule: Option<&'l str>,
    /// So many are passed over.
    pub skip: usize,
    /// At most so many.
    pub take: usize,
}

/// An open finding, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    pub rule: String,
    pub about: String,
    pub severity: i64,
    pub why: String,
    pub recommendation: String,
    /// As the book names it.
    pub machine: String,
    pub first: Time,
    pub last: Time,
    pub count: u64,
    /// The id of the event that told it last.
    pub told_id: String,
    /// The id of the event that made it.
    pub cause_id: String,
    /// What is kept of that event.
    pub facts: Facts,
}

impl Judge {
    /// Counts what is open about each machine, for those who ask until this is called again.
    pub fn take_stock(&self) -> Arc<Standings> {
        let mut standings = Standings::new();
        for (number, page) in self.book().pages.iter().enumerate() {
            let Some(rule) = self.rule(number) else { continue };
            for machine in page.iter().filter(|(_, open)| open.told.is_some()).map(|(machine, _)| machine) {
                if !standings.contains_key(machine) {
                    standings.insert(machine.clone(), Standing::default());
                }
                if let Some(standing) = standings.get_mut(machine) {
                    standing.findings += 1;
                    standing.severity = standing.severity.max(rule.severity);
                    standing.violates |= rule.asked != Ask::Clock(Clock::Silence);
                }
            }
        }
        let standings = Arc::new(standings);
        self.standings.store(Arc::clone(&standings));
        standings
    }

    /// What was open about each machine when stock was taken last.
    pub fn standings(&self) -> Arc<Standings> {
        self.standings.load_full()
    }

    /// Open findings, the gravest first and of these the newest; and how many there are.
    pub fn listed(&self, listing: Listing<'_>) -> (Vec<Listed>, usize) {
        let book = self.book();
        let mut found: Vec<(&Rule, &str, &Open)> = Vec::new();
        for (number, page) in book.pages.iter().enumerate() {
            let Some(rule) = self.rule(number) else { continue };
            if listing.rule.is_some_and(|wanted| wanted != rule.id) {
                continue;
            }
            let told = page.iter().filter(|(_, open)| open.told.is_some());
            let wanted = told.filter(|(machine, _)| listing.machine.is_none_or(|wanted| *wanted == ***machine));
            found.extend(wanted.map(|(machine, open)| (rule, &**machine, open)));
        }
        let matching = found.len();
        let order = |(rule, machine, open): &(&Rule, &str, &Open)| {
            (-rule.severity, -open.last.0, rule.id.clone(), (*machine).to_owned())
        };
        found.sort_by_cached_key(order);
        let wanted = found.into_iter().skip(listing.skip).take(listing.take);
        (wanted.map(|(rule, machine, open)| self.list(rule, machine, open)).collect(), matching)
    }

    fn list(&self, rule: &Rule, machine: &str, open: &Open) -> Listed {
        let cause = open.event(rule.unless);
        Listed {
            id: open.id.clone(),
            rule: rule.id.clone(),
            about: rule.about.clone(),
            severity: rule.severity,
            why: finding_of(rule, open, State::New).why(self.policy(), &cause),
            recommendation: rule.recommendation.clone(),
            machine: machine.to_owned(),
            first: open.first,
            last: open.last,
            count: open.count,
            told_id: open.told_id.clone(),
            cause_id: open.cause_id.clone(),
            facts: open.cause.clone(),
        }
    }
}
