//! Findings that no event makes: a machine that should speak and does not, a sender that nobody knows. The clock
//! asks about them.
//!
//! Invariant: what is silent is told once, however many there are: where the book has no room for more, nobody in it
//! is forgotten for another who is just as silent.

use std::collections::HashMap;
use std::time::Duration;

use wharfinger_formats::{Event, Field, Time};

use super::book::{self, OPEN_MAX, Open};
use super::{Answer, Ask, Judge, Policy, Rule, finding};
use crate::facts::Facts;

/// What the clock asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Machines that say nothing.
    Silence,
    /// Senders that nobody knows.
    Strangers,
}

/// A machine of which the clock asks whether it is silent.
#[derive(Debug, Clone, Copy)]
pub struct Silence<'m> {
    /// What names it in the book.
    pub machine: &'m str,
    pub facts: &'m Facts,
    /// For how long it has said nothing while somebody listened.
    pub silent: Duration,
    /// When it said something last, if ever.
    pub last: Option<Time>,
}

/// A sender that nobody knows.
#[derive(Debug, Clone)]
pub struct Sender<'m> {
    /// What names it in the book.
    pub machine: &'m str,
    pub facts: Facts,
    /// When it said something last.
    pub last: Time,
    /// More to say of it.
    pub note: String,
}

/// How somebody stands to a rule.
enum Standing {
    /// It is as the rule says: what is known of it, in words, and when.
    Holds { facts: Facts, note: String, last: Time },
    /// It is not, and why.
    Over(String),
}

impl Policy {
    /// After how long a silence of a machine with these facts is a finding; none: it need not speak.
    fn silent_after(&self, facts: &Facts) -> Option<Duration> {
        // A machine that is switched off or suspended has nothing to say.
        if facts.get(Field::Power).is_some_and(|power| power != "on") {
            return None;
        }
        let group = facts.get(Field::VmGroup).and_then(|name| self.groups.get(*self.by_name.get(name)?));
        group.map_or(&self.default, |group| &group.allowances).silent_after
    }

    /// Whether a machine with these facts that has said nothing for so long should have spoken.
    pub fn is_silent(&self, facts: &Facts, silent: Duration) -> bool {
        self.silent_after(facts).is_some_and(|limit| silent >= limit)
    }
}

impl Judge {
    /// Looks at the machines that are known. What it finds is told by [`due`](Self::due).
    pub fn look_at_silence<'m>(&self, now: Time, machines: impl Iterator<Item = Silence<'m>>) {
        let Some((number, rule)) = self.asked_by(Clock::Silence) else { return };
        let known = self.open_machines(number);
        let mut standings = HashMap::new();
        for one in machines {
            let limit = self.policy().silent_after(one.facts);
            let standing = match limit {
                Some(limit) if one.silent >= limit => {
                    let since = match one.last {
                        Some(last) => format!("the last word came at {}", rfc3339(last)),
                        None => "nothing ever came".to_owned(),
                    };
                    Standing::Holds { facts: one.facts.clone(), note: since, last: now }
                }
                _ if !known.contains_key(one.machine) => continue,
                Some(_) => Standing::Over("it speaks again".to_owned()),
                None => Standing::Over("nothing is expected of it now".to_owned()),
            };
            standings.insert(one.machine, standing);
        }
        self.settle_standings(number, rule, now, &standings, |_| Some("no inventory names it any more".to_owned()));
    }

    /// Looks at the senders that nobody knows. `has_left` says whether one that spoke last then is forgotten.
    pub fn look_at_strangers<'m>(
        &self,
        now: Time,
        senders: impl Iterator<Item = Sender<'m>>,
        knows: impl Fn(&Facts) -> bool,
        has_left: impl Fn(Time) -> bool,
    ) {
        let Some((number, rule)) = self.asked_by(Clock::Strangers) else { return };
        let holds = |one: Sender<'m>| {
            let standing = Standing::Holds { facts: one.facts, note: one.note, last: one.last };
            (one.machine, standing)
        };
        let standings = senders.map(holds).collect();
        self.settle_standings(number, rule, now, &standings, |open| {
            let why = match open.last {
                _ if knows(&open.cause) => "an inventory names it now",
                last if has_left(last) => "it has said nothing for a day",
                // The list of strangers begins anew with the gateway: it is given the time to speak again.
                _ => return None,
            };
            Some(why.to_owned())
        });
    }

    fn asked_by(&self, clock: Clock) -> Option<(usize, &Rule)> {
        self.policy().rules.iter().enumerate().find(|(_, rule)| rule.asked == Ask::Clock(clock))
    }

    fn open_machines(&self, number: usize) -> HashMap<Box<str>, ()> {
        let book = self.book();
        book.pages.get(number).into_iter().flat_map(|page| page.keys().cloned()).map(|machine| (machine, ())).collect()
    }

    /// Opens findings about those of whom the rule holds, and notes of open ones that it is over. `gone` says so of
    /// those of whom nothing was said.
    fn settle_standings(
        &self,
        number: usize,
        rule: &Rule,
        now: Time,
        standings: &HashMap<&str, Standing>,
        gone: impl Fn(&Open) -> Option<String>,
    ) {
        let mut book = self.book();
        let Some(page) = book.pages.get_mut(number) else { return };
        for (machine, open) in page.iter_mut() {
            open.over = match standings.get(&**machine) {
                Some(Standing::Holds { last, .. }) => {
                    open.last = open.last.max(*last);
                    self.not_judged(rule, &open.cause, now)
                }
                Some(Standing::Over(why)) => Some(why.clone()),
                None => gone(open),
            };
        }
        for (machine, standing) in standings {
            let Standing::Holds { facts, note, last } = standing else { continue };
            if page.len() >= OPEN_MAX {
                break;
            }
            if page.contains_key(*machine) || self.not_judged(rule, facts, now).is_some() {
                continue;
            }
            let mut open = Open::new(finding::id(&rule.id, machine, now), now);
            let mut cause: Event<'static> = book::event_of(facts);
            cause.set(Field::Reason, note.as_str());
            open.keep(&cause, None);
            (open.count, open.last) = (1, *last);
            page.insert((*machine).into(), open);
        }
    }

    /// Why the policy does not mind.
    fn not_judged(&self, rule: &Rule, facts: &Facts, now: Time) -> Option<String> {
        match self.policy().answer_again(rule, &book::event_of(facts), now) {
            Answer::Finding | Answer::OtherEvent => None,
            Answer::Excepted(reason) => Some(format!("it is excepted: {reason}")),
            Answer::Fine(_) => Some("the policy does not mind".to_owned()),
        }
    }
}

/// To the second.
pub fn rfc3339(time: Time) -> String {
    let mut out = Vec::new();
    time.write_rfc3339(0, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::document::{self, Language};

    fn judge(policy: &str) -> Judge {
        let root = document::read(&format!("policy: {policy}"), Language::Yaml).unwrap();
        Judge::new(Arc::new(super::super::read(root.entry("policy").unwrap()).unwrap()))
    }

    fn at(seconds: i64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    /// Machines by name, group, power and minutes of silence; what is told of them then.
    fn look(judge: &Judge, now: i64, machines: &[(&str, &str, &str, u64)]) -> Vec<String> {
        let facts: Vec<Facts> = machines
            .iter()
            .map(|(name, group, power, _)| {
                let facts = [(Field::VmName, *name), (Field::VmGroup, *group), (Field::Power, *power)];
                facts.into_iter().collect()
            })
            .collect();
        let silence = |(facts, (name, .., minutes)): (_, &(&'static str, &str, &str, u64))| Silence {
            machine: name,
            facts,
            silent: Duration::from_secs(60 * minutes),
            last: None,
        };
        let machines: Vec<_> =
            machines.iter().map(|(n, g, p, m)| (String::from(*n).leak() as &str, *g, *p, *m)).collect();
        judge.look_at_silence(at(now), facts.iter().zip(&machines).map(silence));
        let mut told = Vec::new();
        for due in judge.due(at(now), |_| None) {
            let (finding, cause, ..) = judge.finding(&due).unwrap();
            told.push(finding.text(judge.policy(), &cause));
            judge.settle(&due, at(now), "an id".to_owned());
        }
        told.sort();
        told
    }

    const WATCHED: &str = "{groups: {default: {silent_after: 30m}, lab: {silent_after: 2h}}, exceptions: \
                           [{rule: source_silent, vms: [old-*], until: 2199-01-01, reason: ticket}]}";

    #[test]
    fn silence_is_told_once_and_resolved_by_a_word() {
        let judge = judge(WATCHED);
        let all =
            [("a", "", "", 31), ("b", "", "", 29), ("c", "lab", "on", 31), ("d", "", "off", 99), ("old-1", "", "", 99)];
        let told = look(&judge, 100, &all);
        let expected = "A machine that should speak is silent on `a`: nothing was heard of it for too long (nothing ever \
                        came; group default: silent_after)";
        assert_eq!(told, [expected]);
        assert!(look(&judge, 90_000, &all).is_empty(), "it is told once, however long it lasts");
        let told = look(&judge, 90_001, &[("a", "", "", 0)]);
        assert!(told.len() == 1 && told[0].ends_with("resolved: it speaks again"), "{told:?}");
        assert!(look(&judge, 90_002, &[("a", "", "", 0)]).is_empty());
    }

    #[test]
    fn it_is_over_when_nothing_is_expected_or_known_of_it() {
        let judge = judge(WATCHED);
        assert_eq!(look(&judge, 1, &[("a", "", "", 99), ("b", "", "", 99), ("c", "", "", 99)]).len(), 3);
        let told = look(&judge, 2, &[("a", "", "off", 99), ("c", "lab", "", 99)]);
        let ends = ["nothing is expected of it now", "no inventory names it any more", "it speaks again"];
        assert!(told.iter().zip(ends).all(|(told, end)| told.ends_with(end)), "{told:#?}");
    }

    #[test]
    fn a_net_that_fails_for_all_is_no_flood() {
        let judge = judge(WATCHED);
        let names: Vec<String> = (0..OPEN_MAX + 50).map(|number| format!("vm-{number}")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), "", "", 99)).collect();
        let mut told = 0;
        for round in 0..40 {
            told += look(&judge, 100 + round, &all).len();
        }
        assert_eq!(told, OPEN_MAX);
        assert_eq!(look(&judge, 1000, &all), Vec::<String>::new());
    }

    #[test]
    fn a_stranger_is_told_until_an_inventory_knows_it_or_it_left() {
        let judge = judge("{groups: {default: {unknown_senders: forbidden}}}");
        let look = |now, senders: &[&str], known: bool| {
            let sender = |name: &&'static str| Sender {
                machine: name,
                facts: [(Field::Peer, *name)].into_iter().collect(),
                last: at(now),
                note: "it calls itself `web`".to_owned(),
            };
            let senders: Vec<Sender<'static>> =
                senders.iter().map(|name| sender(&(String::from(*name).leak() as &'static str))).collect();
            judge.look_at_strangers(at(now), senders.into_iter(), |_| known, |last| at(now).0 - last.0 > at(100).0);
            let mut told = Vec::new();
            for due in judge.due(at(now), |_| None) {
                let (finding, cause, ..) = judge.finding(&due).unwrap();
                told.push(finding.text(judge.policy(), &cause));
                judge.settle(&due, at(now), String::new());
            }
            told
        };
        let told = look(10, &["192.0.2.9"], false);
        assert!(told[0].contains("on `192.0.2.9`: ") && told[0].contains("it calls itself `web`"), "{told:?}");
        assert!(look(11, &["192.0.2.9"], false).is_empty());
        assert!(look(100, &[], false).is_empty(), "a restart forgets who spoke, not who was told");
        let told = look(112, &[], false);
        assert!(told[0].ends_with("resolved: it has said nothing for a day"), "{told:?}");
        assert_eq!(look(200, &["192.0.2.9"], false).len(), 1);
        assert!(look(201, &[], true)[0].ends_with("resolved: an inventory names it now"));
    }
}
