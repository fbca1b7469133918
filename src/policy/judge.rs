//! The judge: asks the rules about every event and keeps the book of open findings.
//!
//! Invariants: a finding about a rule and a machine is told once in a quiet window, with the count of all that
//! happened; what was told but not stored is told again; the book is bounded.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use wharfinger_formats::{Event, Field, Time};

use super::book::{Book, Open, Page};
use super::finding::{self, Finding, State};
use super::stock::Standings;
use super::{Answer, Ask, Policy, Rule, Verdict};
use crate::facts::Facts;

/// What names a machine in the book is cut at so many bytes.
const MACHINE_BYTES_MAX: usize = 256;
/// So many are told by the clock at once.
const DUE_MAX: usize = 256;

/// See above. One for a gateway.
#[derive(Debug)]
pub struct Judge {
    policy: Arc<Policy>,
    /// Rules that are in no policy: the one about broken rules, then those that left it while findings were open.
    others: Vec<Rule>,
    /// The open findings of each rule, then those of the others.
    book: Mutex<Book>,
    /// What is open about each machine, as of the last time that stock was taken.
    pub(super) standings: ArcSwap<Standings>,
}

/// The name of a mark of the journal, and its value; an empty one erases the mark.
pub type Mark = (String, Vec<u8>);

/// A finding that was told.
#[derive(Debug)]
pub struct Told {
    rule: usize,
    machine: Box<str>,
    /// The mark that it is stored as, and its value.
    pub mark: Mark,
}

/// A finding that the clock tells.
#[derive(Debug)]
pub struct Due {
    rule: usize,
    machine: Box<str>,
    open: Open,
    what: What,
}

/// What is told of it.
#[derive(Debug)]
enum What {
    New,
    Again,
    /// Its cause is gone, and why.
    Resolved(String),
}

impl Judge {
    /// With an empty book.
    pub fn new(policy: Arc<Policy>) -> Judge {
        Judge::restored(policy, [])
    }

    /// With the book as it was stored: the values of the marks under [`MARKS`](super::MARKS).
    pub fn restored(policy: Arc<Policy>, marks: impl IntoIterator<Item = Vec<u8>>) -> Judge {
        let mut others = vec![outside("rule_broken", "A rule of the policy broke")];
        let mut pages = vec![Page::new(); policy.rules.len() + 1];
        for (rule, machine, open) in marks.into_iter().filter_map(|mark| Open::from_bytes(&mark)) {
            let known = policy.rules.iter().chain(&others).position(|known| known.id == rule);
            let at = known.unwrap_or_else(|| {
                others.push(outside(&rule, &rule.replace('_', " ")));
                pages.push(Page::new());
                pages.len() - 1
            });
            if let Some(page) = pages.get_mut(at) {
                page.insert(machine, open);
            }
        }
        let book = Mutex::new(Book { pages, forgotten: Vec::new() });
        let judge = Judge { policy, others, book, standings: ArcSwap::default() };
        judge.take_stock();
        judge
    }

    /// What it judges by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Calls `tell` with each finding that the event makes and that is not quiet.
    pub fn judge(&self, event: &Event<'_>, now: Time, tell: impl FnMut(&Finding<'_>, Told)) {
        self.judge_by(event, now, tell, |hit| self.policy.index.select(event, hit));
    }

    /// The same; `select` calls with the number of each rule that may be about the event.
    fn judge_by(
        &self,
        event: &Event<'_>,
        now: Time,
        mut tell: impl FnMut(&Finding<'_>, Told),
        select: impl FnOnce(&mut dyn FnMut(usize)),
    ) {
        let asked = Cell::new(None);
        let mut hit = |number: usize| {
            asked.set(Some(number));
            let Some(rule) = self.policy.rules.get(number) else { return };
            if self.policy.answer(rule, event, now) == Answer::Finding {
                self.note(number, rule, event, now, &mut tell);
            }
        };
        // A bug in a rule costs a finding about itself, never the event.
        let done = catch_unwind(AssertUnwindSafe(|| select(&mut hit)));
        if done.is_err() {
            let id = asked.get().and_then(|number| self.policy.rules.get(number)).map_or("?", |rule| &rule.id);
            tracing::error!(rule = id, "a rule of the policy broke on an event: please report it");
            let broken = self.policy.rules.len();
            if let Some(rule) = self.rule(broken) {
                self.note(broken, rule, event, now, &mut tell);
            }
        }
    }

    pub(super) fn rule(&self, number: usize) -> Option<&Rule> {
        self.policy.rules.iter().chain(&self.others).nth(number)
    }

    fn note(
        &self,
        number: usize,
        rule: &Rule,
        event: &Event<'_>,
        now: Time,
        tell: &mut impl FnMut(&Finding<'_>, Told),
    ) {
        let machine = machine(event);
        let mut book = self.book();
        let new = || Open::new(finding::id(&rule.id, machine, now), now);
        let Some(known) = book.entry(number, machine, new) else { return };
        known.count += 1;
        known.last = known.last.max(now);
        let state = match known.told {
            None => State::New,
            Some(told) if self.is_over(told, now) => State::Again,
            Some(_) => {
                known.stale = true;
                return;
            }
        };
        known.told = Some(now);
        known.told_count = known.count;
        known.stale = false;
        known.keep(event, rule.unless);
        let mark = (known.mark(), known.to_bytes(&rule.id, machine));
        tell(&finding_of(rule, known, state), Told { rule: number, machine: machine.into(), mark });
    }

    /// Whether the quiet window is over.
    fn is_over(&self, told: Time, now: Time) -> bool {
        let since = u128::from(now.0.saturating_sub(told.0).max(0).unsigned_abs());
        since >= self.policy.quiet.as_nanos()
    }

    /// These could not be stored: they are told with the next event that makes them.
    pub fn take_back(&self, told: impl Iterator<Item = Told>) {
        let mut book = self.book();
        for Told { rule, machine, .. } in told {
            if let Some(known) = book.known(rule, &machine) {
                known.told = None;
            }
        }
    }

    /// This one is stored under that id, and the event that made it under the other.
    pub fn stored(&self, told: &Told, id: String, cause_id: String) {
        if let Some(known) = self.book().known(told.rule, &told.machine) {
            (known.told_id, known.cause_id, known.stale) = (id, cause_id, true);
        }
    }

    /// The marks of entries that changed since they were stored, and their values; an empty one erases.
    pub fn stale(&self) -> Vec<Mark> {
        let mut book = self.book();
        let mut marks: Vec<_> = book.forgotten.drain(..).map(|mark| (mark, Vec::new())).collect();
        for (number, page) in book.pages.iter_mut().enumerate() {
            let Some(rule) = self.rule(number) else { continue };
            for (machine, open) in page.iter_mut().filter(|(_, open)| open.stale && open.told.is_some()) {
                if marks.len() >= DUE_MAX {
                    return marks;
                }
                open.stale = false;
                marks.push((open.mark(), open.to_bytes(&rule.id, machine)));
            }
        }
        marks
    }

    /// What the clock has to tell: findings that happened in a quiet window that is over, and those whose cause is
    /// gone. `group_of` says to which group the machine with these facts belongs now.
    pub fn due(&self, now: Time, group_of: impl Fn(&Facts) -> Option<String>) -> Vec<Due> {
        let mut due = Vec::new();
        for (number, page) in self.book().pages.iter().enumerate() {
            for (machine, open) in page {
                if let Some(what) = self.what_is_due(number, open, now, &group_of) {
                    let mut open = open.clone();
                    if let What::New = what {
                        (open.told, open.told_count) = (Some(now), open.count);
                    }
                    if let Some(group) = group_of(&open.cause) {
                        open.cause.set(Field::VmGroup, &group);
                    }
                    due.push(Due { rule: number, machine: machine.clone(), open, what });
                }
                if due.len() >= DUE_MAX {
                    return due;
                }
            }
        }
        due
    }

    fn what_is_due(
        &self,
        number: usize,
        open: &Open,
        now: Time,
        group_of: impl Fn(&Facts) -> Option<String>,
    ) -> Option<What> {
        let by_clock = self.policy.rules.get(number).is_some_and(|rule| matches!(rule.asked, Ask::Clock(_)));
        match open.told {
            // It waits for the next event that makes it.
            None if !by_clock => None,
            None => open.over.is_none().then_some(What::New),
            Some(told) => {
                let resolved = if by_clock { open.over.clone() } else { self.resolved(number, open, now, group_of) };
                let is_again = open.count > open.told_count && self.is_over(told, now);
                resolved.map(What::Resolved).or_else(|| is_again.then_some(What::Again))
            }
        }
    }

    /// Why the same event would be no finding now, or is no longer worth keeping.
    fn resolved(
        &self,
        number: usize,
        open: &Open,
        now: Time,
        group_of: impl Fn(&Facts) -> Option<String>,
    ) -> Option<String> {
        let Some(rule) = self.policy.rules.get(number) else {
            // A broken rule is mended by nothing that can be seen here.
            let has_left = number > self.policy.rules.len();
            return has_left.then(|| "the rule is no longer in force".to_owned());
        };
        let since = u128::from(now.0.saturating_sub(open.last.0).max(0).unsigned_abs());
        // What a machine is like stays so until it changes; what happened on it is over some day.
        if rule.is_about_event() && since >= self.policy.resolve_after.as_nanos() {
            let after = crate::part::Interval::seconds(self.policy.resolve_after.as_secs());
            return Some(format!("it has not happened again for {after}"));
        }
        let mut event = open.event(rule.unless);
        event.set(Field::Time, open.happened);
        match group_of(&open.cause) {
            Some(group) => event.set(Field::VmGroup, group.as_str()),
            None => event.remove(Field::VmGroup),
        }
        match self.policy.answer_again(rule, &event, now) {
            // What is not known any more cannot be called allowed.
            Answer::Finding | Answer::OtherEvent | Answer::Fine(Verdict::NotTold) => None,
            Answer::Excepted(reason) => Some(format!("it is excepted: {reason}")),
            Answer::Fine(_) => {
                Some(format!("the policy allows it now ({})", self.policy.describe_group(rule.unless, &event)))
            }
        }
    }

    /// The finding, what is kept of its cause, and the mark to store with it: empty when it is resolved.
    pub fn finding<'d>(&'d self, due: &'d Due) -> Option<(Finding<'d>, Event<'static>, &'d str, Mark)> {
        let rule = self.rule(due.rule)?;
        let (state, value) = match &due.what {
            What::New => (State::New, due.open.to_bytes(&rule.id, &due.machine)),
            What::Again => (State::Again, due.open.to_bytes(&rule.id, &due.machine)),
            What::Resolved(why) => (State::Resolved(why), Vec::new()),
        };
        let finding = finding_of(rule, &due.open, state);
        Some((finding, due.open.event(rule.unless), &due.open.told_id, (due.open.mark(), value)))
    }

    /// This one is stored under that id.
    pub fn settle(&self, due: &Due, now: Time, id: String) {
        let mut book = self.book();
        if let What::Resolved(_) = due.what {
            // What happened since is told anew, when it happens again.
            book.pages.get_mut(due.rule).and_then(|page| page.remove(&due.machine));
        } else if let Some(known) = book.known(due.rule, &due.machine) {
            (known.told, known.told_count) = (Some(now), due.open.count);
            (known.told_id, known.stale) = (id, true);
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn finding_of<'f>(rule: &'f Rule, open: &'f Open, state: State<'f>) -> Finding<'f> {
    Finding { rule, id: &open.id, state, count: open.count, first: open.first, last: open.last }
}

/// A rule that no event is asked about.
fn outside(id: &str, about: &str) -> Rule {
    Rule {
        id: id.to_owned(),
        set: "",
        class: format!("finding.{id}"),
        about: about.to_owned(),
        asked: Ask::Nothing,
        unless: None,
        severity: 7,
        why: "a rule could not be asked about this event".to_owned(),
        recommendation: "please report it, with the rule and the event".to_owned(),
    }
}

/// The machine a finding is about: as it is known, and by its sender where it is not.
fn machine<'e>(event: &'e Event<'_>) -> &'e str {
    let names = [Field::VmUuid, Field::VmName, Field::HostName, Field::Peer];
    let name = names.into_iter().find_map(|field| event.text(field)).unwrap_or("unknown");
    name.get(..name.floor_char_boundary(MACHINE_BYTES_MAX)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::document::{self, Language};

    fn judge(policy: &str) -> Judge {
        let root = document::read(&format!("policy: {policy}"), Language::Yaml).unwrap();
        let policy = super::super::read(root.entry("policy").unwrap()).unwrap();
        Judge::new(Arc::new(policy))
    }

    const FORBIDDEN: &str = "{quiet: 10s, groups: {default: {docker: forbidden}, lab: {docker: allowed}}}";

    fn event(machine: &str) -> Event<'static> {
        let mut event = Event::new(b"");
        event.set(Field::EventClass, "container.start");
        event.set(Field::VmName, machine);
        event
    }

    fn at(seconds: i64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    /// What is told of it: the state, the count and the id.
    fn told(judge: &Judge, machine: &str, seconds: i64) -> Option<(State<'static>, u64, String, Told)> {
        let mut all = Vec::new();
        judge.judge(&event(machine), at(seconds), |finding, told| {
            let state = if finding.state == State::New { State::New } else { State::Again };
            all.push((state, finding.count, finding.id.to_owned(), told));
        });
        assert!(all.len() <= 1);
        all.pop()
    }

    #[test]
    fn once_in_a_quiet_window_for_each_machine() {
        let judge = judge(FORBIDDEN);
        let (state, count, id, _) = told(&judge, "a", 100).unwrap();
        assert_eq!((state, count), (State::New, 1));
        assert!(told(&judge, "a", 105).is_none() && told(&judge, "a", 109).is_none());
        let other = told(&judge, "b", 105).unwrap();
        assert_ne!(other.2, id);
        let (state, count, again, _) = told(&judge, "a", 110).unwrap();
        assert_eq!((state, count, again), (State::Again, 4, id));
    }

    #[test]
    fn what_was_not_stored_is_told_again() {
        let judge = judge(FORBIDDEN);
        let (.., id, this) = told(&judge, "a", 100).unwrap();
        judge.take_back([this].into_iter());
        assert!(judge.due(at(1000), |_| None).is_empty(), "nothing is known of it");
        let (state, count, again, _) = told(&judge, "a", 101).unwrap();
        assert_eq!((state, count, again), (State::New, 2, id));
    }

    #[test]
    fn the_clock_tells_what_happened_in_a_quiet_window_once() {
        let judge = judge(FORBIDDEN);
        let (.., this) = told(&judge, "a", 100).unwrap();
        judge.stored(&this, "the id".to_owned(), "the cause".to_owned());
        assert!(judge.due(at(200), |_| None).is_empty(), "it did not happen again");
        told(&judge, "a", 105);
        assert!(judge.due(at(109), |_| None).is_empty(), "it is quiet");
        let due = judge.due(at(110), |_| None);
        let (finding, cause, cause_id, mark) = judge.finding(&due[0]).unwrap();
        assert_eq!((finding.state, finding.count, cause_id), (State::Again, 2, "the id"));
        assert_eq!((finding.last, cause.text(Field::VmName)), (at(105), Some("a")));
        assert!(mark.0.starts_with(super::super::MARKS) && !mark.1.is_empty());
        judge.settle(&due[0], at(110), "another id".to_owned());
        assert!(judge.due(at(500), |_| None).is_empty(), "it is told once");
    }

    #[test]
    fn it_is_resolved_when_the_machine_may_do_it() {
        let judge = judge(FORBIDDEN);
        told(&judge, "a", 100).unwrap();
        told(&judge, "b", 100).unwrap();
        let group_of = |facts: &Facts| (facts.get(Field::VmName) == Some("a")).then(|| "lab".to_owned());
        let due = judge.due(at(101), group_of);
        assert_eq!(due.len(), 1);
        let (finding, cause, _, mark) = judge.finding(&due[0]).unwrap();
        assert!(matches!(finding.state, State::Resolved(why) if why.contains("group lab: docker")));
        assert_eq!((cause.text(Field::VmGroup), mark.1.is_empty()), (Some("lab"), true));
        judge.settle(&due[0], at(101), String::new());
        assert!(judge.due(at(102), group_of).is_empty());
        assert_eq!(told(&judge, "a", 103).unwrap().0, State::New, "it would be a new one");
    }

    #[test]
    fn what_happened_is_over_some_day_and_what_a_machine_is_like_is_not() {
        let judge = judge("{resolve_after: 7d, groups: {default: {docker: forbidden, registries: []}}}");
        let mut pull = event("a");
        pull.set(Field::ImageRef, "nginx");
        judge.judge(&pull, at(100), |_, _| {});
        let day = 24 * 3600;
        assert!(judge.due(at(100 + 6 * day), |_| None).is_empty());
        let due = judge.due(at(100 + 7 * day), |_| None);
        let over: Vec<_> = due.iter().filter_map(|due| judge.finding(due)).map(|(finding, ..)| finding).collect();
        assert_eq!(over.iter().map(|finding| finding.rule_id()).collect::<Vec<_>>(), ["untrusted_registry"]);
        assert!(matches!(over[0].state, State::Resolved("it has not happened again for 7d")));
    }

    /// Receipt is no time of working: what happened at night is not resolved because it was received by day.
    #[test]
    fn hours_are_judged_again_by_the_same_clock() {
        let judge = judge("{groups: {default: {working_hours: ['08:00-18:00']}}}");
        let mut night = event("a");
        night.set(Field::Time, at(3 * 3600));
        let mut count = 0;
        judge.judge(&night, at(12 * 3600), |finding, _| {
            assert_eq!(finding.rule_id(), "outside_working_hours");
            count += 1;
        });
        assert_eq!((count, judge.due(at(12 * 3600 + 1), |_| None).len()), (1, 0));
    }

    #[test]
    fn the_book_survives_a_restart_and_a_rule_that_left() {
        let before = judge(FORBIDDEN);
        let (.., id, this) = told(&before, "a", 100).unwrap();
        let again = Judge::restored(Arc::clone(&before.policy), [this.mark.1.clone(), b"no entry".to_vec()]);
        assert!(told(&again, "a", 105).is_none(), "it is quiet");
        assert_eq!(told(&again, "a", 110).unwrap().2, id);
        let empty = Judge::restored(Arc::default(), [this.mark.1]);
        let due = empty.due(at(101), |_| None);
        let (finding, ..) = empty.finding(&due[0]).unwrap();
        assert!(matches!(finding.state, State::Resolved(why) if why.contains("no longer in force")));
    }

    #[test]
    fn a_rule_that_breaks_is_a_finding_and_the_event_goes_on() {
        let judge = judge(FORBIDDEN);
        let mut found = Vec::new();
        judge.judge_by(
            &event("a"),
            at(1),
            |finding, _| found.push(finding.rule_id().to_owned()),
            |hit| {
                hit(0);
                panic!("a rule breaks");
            },
        );
        assert_eq!(found, ["docker_not_allowed", "rule_broken"]);
        assert!(told(&judge, "b", 2).is_some(), "the judge goes on");
    }
}
