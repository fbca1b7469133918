//! From what users write to a [`Policy`], with every mistake placed and explained.

use std::collections::HashMap;
use std::time::Duration;

use wharfinger_formats::{Field, Offset, Time};

use super::allowance::{Allowances, Glob};
use super::hours::Hours;
use super::index::{Index, RULES_MAX};
use super::rules::{Asked, RULE_SETS, Shipped};
use super::{
    Allowance, Ask, DEFAULT_GROUP, Exception, ExceptionOptions, Group, GroupOptions, Policy, PolicyOptions, Rule,
    RuleOptions,
};
use crate::document::{Entry, Mistake, Node, Place, Table, Value, hint_for_name, list, read_options};
use crate::filter::Filter;
use crate::part::Interval;

/// Silence is noticed within seconds, and senders are slow at times.
const SILENT_AFTER_MIN: Duration = Duration::from_secs(60);
/// Sections of their own below `policy`.
const PARTS: &[&str] = &["groups", "rules", "exceptions"];

/// Reads the section `policy`.
///
/// # Errors
/// Every mistake in it.
pub fn read(section: &Entry) -> Result<Policy, Vec<Mistake>> {
    let mut errors = Vec::new();
    let table = Table { path: "policy", place: section.place, except: PARTS };
    let options = read_options(&section.node, table, |options| erased_serde::deserialize::<PolicyOptions>(options));
    let options = options.map_err(|found| errors.extend(found)).unwrap_or_default();
    let of_option = |name: &str| section.node.entry(name).map_or(section.place, |entry| entry.node.place);
    let (quiet, resolve_after) = (options.quiet.get(), options.resolve_after.get());
    let mut policy = Policy { quiet, resolve_after, ..Policy::default() };
    match Offset::parse(options.zone.as_bytes()) {
        Some((offset, used)) if used == options.zone.len() => policy.zone_seconds = offset.0.into(),
        _ => errors.push(Mistake::new(
            of_option("zone"),
            format!("`policy.zone`: `{}` is no offset from UTC", options.zone),
            "write `+01:00`, `-05:30` or `Z`",
        )),
    }
    policy.groups = named(&section.node, "groups", &mut errors).iter().filter_map(|e| group(e, &mut errors)).collect();
    policy.inherit();
    for name in &options.rule_sets {
        match RULE_SETS.iter().find(|set| set.name == name) {
            Some(set) => {
                let rules: Vec<Rule> = set.rules.iter().filter_map(|rule| shipped(rule, set.name, &policy)).collect();
                policy.rules.extend(rules);
            }
            None => {
                let names: Vec<&str> = RULE_SETS.iter().map(|set| set.name).collect();
                let cause = format!("`policy.rule_sets`: there is no rule set `{name}`");
                errors.push(Mistake::new(of_option("rule_sets"), cause, hint_for_name(name, &names)));
            }
        }
    }
    for entry in named(&section.node, "rules", &mut errors) {
        let rule = rule(entry, &policy, &mut errors);
        policy.rules.extend(rule);
    }
    policy.exceptions = exceptions(&section.node, &policy.rules, &mut errors);
    if policy.rules.len() > RULES_MAX {
        let cause = format!("`policy.rules`: more than {RULES_MAX} rules");
        errors.push(Mistake::new(of_option("rules"), cause, "join some of them with `||`"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    policy.index = Index::default();
    for (number, rule) in (0..).zip(&policy.rules) {
        if let Ask::Events(when) = &rule.asked {
            policy.index.add(number, when);
        }
    }
    Ok(policy)
}

impl Policy {
    /// Gives each group the answers of the group `default` where it has none.
    fn inherit(&mut self) {
        let default = self.groups.iter().find(|group| group.name == DEFAULT_GROUP);
        self.default = default.map(|group| group.allowances.clone()).unwrap_or_default();
        for group in &mut self.groups {
            group.allowances = std::mem::take(&mut group.allowances).or(&self.default);
        }
        self.by_name = self.groups.iter().map(|group| group.name.clone()).zip(0..).collect::<HashMap<_, _>>();
    }

    /// Whether a group answers it: a rule about what nobody answers can find nothing.
    fn answers(&self, rule: &Shipped) -> bool {
        rule.unless.is_none_or(|allowance| self.groups.iter().any(|group| group.allowances.answers(allowance)))
    }
}

/// The entries of a table of names.
fn named<'n>(section: &'n Node, part: &str, errors: &mut Vec<Mistake>) -> &'n [Entry] {
    let Some(entry) = section.entry(part) else { return &[] };
    match &entry.node.value {
        Value::Table(entries) => entries,
        Value::Null => &[],
        _ => {
            let cause = format!("`policy.{part}`: expected a table of names, found {}", entry.node.kind());
            errors.push(Mistake::new(entry.node.place, cause, format!("give each a name: `{part}: {{name: {{…}}}}`")));
            &[]
        }
    }
}

fn group(entry: &Entry, errors: &mut Vec<Mistake>) -> Option<Group> {
    let path = format!("policy.groups.{}", entry.name);
    let table = Table { path: &path, place: entry.place, except: &[] };
    let read = read_options(&entry.node, table, |options| erased_serde::deserialize::<GroupOptions>(options));
    let options = read.map_err(|found| errors.extend(found)).ok()?;
    let before = errors.len();
    let place = |name: &str| entry.node.entry(name).map_or(entry.place, |entry| entry.node.place);
    let matches = options.matches.as_deref().and_then(|text| {
        let filter = expression(text, &path, "match", place("match"), errors)?;
        let is_known = |field: &Field| field.is_reserved() || field.name().starts_with("host.");
        if !filter.fields().is_some_and(|fields| fields.iter().all(is_known)) {
            let cause = format!("`{path}.match`: asks for more than what is known of a machine");
            let hint = "use `vm.name`, `vm.uuid`, `host.name`, `hypervisor`, `cloud`, `region`, `power` and their like";
            errors.push(Mistake::new(place("match"), cause, hint));
        }
        Some(filter)
    });
    if entry.name == DEFAULT_GROUP && (options.matches.is_some() || !options.vms.is_empty()) {
        let cause = "the group `default` is that of machines of no other group";
        errors.push(Mistake::new(entry.place, cause, "leave out `vms` and `match`, or give the group another name"));
    }
    if entry.name != DEFAULT_GROUP && options.unknown_senders.is_some() {
        let cause = format!("`{path}.unknown_senders`: an unknown sender belongs to no group but `{DEFAULT_GROUP}`");
        errors.push(Mistake::new(place("unknown_senders"), cause, format!("move it to the group `{DEFAULT_GROUP}`")));
    }
    if options.silent_after.is_some_and(|limit| limit.get() < SILENT_AFTER_MIN) {
        let cause = format!("`{path}.silent_after`: too short to be told from a pause");
        errors.push(Mistake::new(place("silent_after"), cause, "write at least `1m`"));
    }
    let mut working_hours = options.working_hours.as_ref().map(|_| Vec::new());
    for text in options.working_hours.iter().flatten() {
        match (Hours::parse(text), &mut working_hours) {
            (Some(hours), Some(all)) => all.push(hours),
            _ => errors.push(Mistake::new(
                place("working_hours"),
                format!("`{path}.working_hours`: `{text}` is no time of the week"),
                "write `Mon-Fri 08:00-18:00`, `Sat 22:00-02:00`, or `08:00-18:00` for every day",
            )),
        }
    }
    let globs = |texts: Option<Vec<String>>| texts.map(|texts| texts.iter().map(|text| Glob::new(text)).collect());
    let allowances = Allowances {
        docker: options.docker,
        registries: globs(options.registries),
        images: globs(options.images),
        privileged: options.privileged,
        host_namespaces: globs(options.host_namespaces),
        host_mounts: globs(options.host_mounts),
        docker_socket: options.docker_socket,
        capabilities: globs(options.capabilities),
        published_ports: globs(options.published_ports),
        weaknesses: globs(options.weaknesses),
        exec: options.exec,
        shell: options.shell,
        users: globs(options.users),
        working_hours,
        silent_after: options.silent_after.map(Interval::get),
        unknown_senders: options.unknown_senders,
    };
    let vms = globs(Some(options.vms)).unwrap_or_default();
    (errors.len() == before).then(|| Group { name: entry.name.clone(), vms, matches, allowances })
}

/// A shipped rule; none when no group answers what it asks.
fn shipped(rule: &Shipped, set: &'static str, policy: &Policy) -> Option<Rule> {
    if !policy.answers(rule) {
        return None;
    }
    Some(Rule {
        id: rule.id.to_owned(),
        set,
        class: format!("{}.{}", if rule.compliance { "compliance" } else { "finding" }, rule.id),
        about: rule.about.to_owned(),
        asked: match rule.asked {
            // Every shipped expression is read in a test.
            Asked::About(when) => Ask::Events(Filter::parse(when).ok()?),
            Asked::ByClock(clock) => Ask::Clock(clock),
        },
        unless: rule.unless,
        severity: rule.severity,
        why: rule.why.to_owned(),
        recommendation: with_groups(rule.recommendation, rule.unless, policy),
    })
}

fn rule(entry: &Entry, policy: &Policy, errors: &mut Vec<Mistake>) -> Option<Rule> {
    let path = format!("policy.rules.{}", entry.name);
    let table = Table { path: &path, place: entry.place, except: &[] };
    let read = read_options(&entry.node, table, |options| erased_serde::deserialize::<RuleOptions>(options));
    let options = read.map_err(|found| errors.extend(found)).ok()?;
    let place = |name: &str| entry.node.entry(name).map_or(entry.place, |entry| entry.node.place);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if entry.name.is_empty() || entry.name.len() > 64 || !entry.name.bytes().all(plain) {
        let cause = format!("`{}` cannot be the name of a rule", entry.name);
        errors.push(Mistake::new(entry.place, cause, "use small letters, digits and `_`, at most 64"));
        return None;
    }
    let is_shipped = |set: &super::RuleSet| set.rules.iter().any(|rule| rule.id == entry.name);
    if RULE_SETS.iter().any(is_shipped) {
        let cause = format!("`{path}`: a shipped rule has that name");
        errors.push(Mistake::new(entry.place, cause, "give it another name"));
        return None;
    }
    let severity = options.severity.unwrap_or(5);
    if !(0..=10).contains(&severity) {
        let cause = format!("`{path}.severity`: {severity} is none");
        errors.push(Mistake::new(place("severity"), cause, "write 0 (lowest) to 10"));
        return None;
    }
    let when = expression(&options.when, &path, "when", place("when"), errors)?;
    let recommendation = options.recommendation.unwrap_or_default();
    Some(Rule {
        class: format!("finding.{}", entry.name),
        about: options.about.unwrap_or_else(|| entry.name.replace('_', " ")),
        id: entry.name.clone(),
        set: "",
        asked: Ask::Events(when),
        unless: options.unless,
        severity,
        why: options.why,
        recommendation: with_groups(&recommendation, options.unless, policy),
    })
}

/// `{groups}` stands for the groups where it is allowed.
fn with_groups(recommendation: &str, unless: Option<Allowance>, policy: &Policy) -> String {
    let groups = unless.map_or_else(String::new, |allowance| policy.groups_that_allow(allowance));
    recommendation.replace("{groups}", &groups)
}

fn exceptions(section: &Node, rules: &[Rule], errors: &mut Vec<Mistake>) -> Vec<Exception> {
    let Some(entry) = section.entry("exceptions") else { return Vec::new() };
    let Value::List(nodes) = &entry.node.value else {
        let cause = format!("`policy.exceptions`: expected a list, found {}", entry.node.kind());
        errors.push(Mistake::new(entry.node.place, cause, "write `- {rule: …, vms: […], until: …, reason: …}`"));
        return Vec::new();
    };
    let shipped = RULE_SETS.iter().flat_map(|set| set.rules).map(|rule| rule.id);
    let names: Vec<&str> = shipped.chain(rules.iter().map(|rule| &*rule.id)).collect();
    nodes.iter().filter_map(|node| exception(node, &names, errors)).collect()
}

fn exception(node: &Node, rules: &[&str], errors: &mut Vec<Mistake>) -> Option<Exception> {
    let table = Table { path: "policy.exceptions", place: node.place, except: &[] };
    let read = read_options(node, table, |options| erased_serde::deserialize::<ExceptionOptions>(options));
    let options = read.map_err(|found| errors.extend(found)).ok()?;
    let place = |name: &str| node.entry(name).map_or(node.place, |entry| entry.node.place);
    let before = errors.len();
    let mut refuse = |place: Place, cause: String, hint: String| errors.push(Mistake::new(place, cause, hint));
    let rule = Glob::new(&options.rule);
    if !rules.iter().any(|name| rule.has(name)) {
        let cause = format!("`policy.exceptions`: there is no rule `{}`", options.rule);
        refuse(place("rule"), cause, hint_for_name(&options.rule, rules));
    }
    if options.vms.is_empty() {
        refuse(place("vms"), "`policy.exceptions`: names no machine".to_owned(), "`vms: [\"*\"]` is all".to_owned());
    }
    if options.reason.trim().is_empty() {
        let hint = "say who accepted it and why: for the next one who reads it".to_owned();
        refuse(place("reason"), "`policy.exceptions`: has no reason".to_owned(), hint);
    }
    let until = time(&options.until);
    if until.is_none() {
        let cause = format!("`policy.exceptions`: `{}` is no time", options.until);
        refuse(place("until"), cause, "write a day, `2027-01-31`, or a time, `2027-01-31T18:00:00Z`".to_owned());
    }
    let vms = options.vms.iter().map(|text| Glob::new(text)).collect();
    let until = until.filter(|_| errors.len() == before)?;
    Some(Exception { rule, vms, until, reason: options.reason })
}

fn time(text: &str) -> Option<Time> {
    let midnight = format!("{text}T00:00:00Z");
    let whole =
        |text: &str| Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len()).map(|(time, _)| time);
    whole(text).or_else(|| whole(&midnight))
}

fn expression(text: &str, path: &str, option: &str, place: Place, errors: &mut Vec<Mistake>) -> Option<Filter> {
    let refused = |error: crate::filter::FilterError| {
        let rest: String = text.get(error.at..).unwrap_or_default().chars().take(20).collect();
        let found = if rest.is_empty() { "the end".to_owned() } else { format!("`{rest}`") };
        let cause = format!("`{path}.{option}`: expected {} at byte {}, found {found}", error.expected, error.at);
        let example = ["event_class.startsWith(\"container.\")", "vm.name.startsWith(\"play-\")"];
        let example = if option == "match" { &example[1..] } else { &example[..1] };
        Mistake::new(place, cause, format!("an expression such as {}", list(example)))
    };
    Filter::parse(text).map_err(|error| errors.push(refused(error))).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::document::{self, Language, Mistakes};

    fn policy(text: &str) -> Result<Policy, String> {
        let root = document::read(&format!("policy:\n{text}"), Language::Yaml).unwrap();
        read(root.entry("policy").unwrap())
            .map_err(|errors| Mistakes::new(std::path::Path::new("p.yaml"), errors).to_string())
    }

    #[test]
    fn every_shipped_rule_can_be_read_and_is_selected_by_something() {
        for rule in RULE_SETS.iter().flat_map(|set| set.rules) {
            if let Asked::About(when) = rule.asked {
                let when = Filter::parse(when).unwrap_or_else(|error| panic!("{}: {error}", rule.id));
                assert!(when.selects().is_some(), "{} is asked about every event", rule.id);
            }
            assert!((0..=10).contains(&rule.severity) && !rule.about.is_empty());
        }
    }

    #[test]
    fn a_machine_belongs_to_the_first_group_that_names_it() {
        let policy = policy(
            "  groups:\n    lab: {vms: [\"lab-*\", \"421F245C*\"], docker: allowed}\n    \
             cloud: {match: 'has(cloud) && vm.name != \"bastion\"'}\n    \
             tagged: {match: '\"use:db\" in vm.tags'}\n    playground: {}\n    \
             default: {docker: forbidden}\n",
        )
        .unwrap();
        let group = |facts: &[(Field, &str)]| policy.group_of(&facts.iter().copied().collect()).map(str::to_owned);
        assert_eq!(group(&[(Field::VmName, "LAB-3")]).as_deref(), Some("lab"));
        assert_eq!(group(&[(Field::VmUuid, "421f245c-7fa8-60fa-6af6-a46351ced0eb")]).as_deref(), Some("lab"));
        assert_eq!(group(&[(Field::VmName, "web"), (Field::Cloud, "aws")]).as_deref(), Some("cloud"));
        assert_eq!(group(&[(Field::VmName, "bastion"), (Field::Cloud, "aws")]), None);
        assert_eq!(group(&[(Field::VmName, "x"), (Field::VmGroup, "playground")]).as_deref(), Some("playground"));
        let tags = (Field::VmTags, r#"["prod","use:db"]"#);
        assert_eq!(group(&[(Field::VmName, "x"), tags]).as_deref(), Some("tagged"));
        assert_eq!(group(&[(Field::HostName, "lab-3")]), None, "a claimed name is no proof");
        let by_group = policy.rules.iter().filter(|rule| rule.unless.is_some()).count();
        assert_eq!(by_group, 1, "rules that nobody answers are left out");
        assert!(policy.rules[0].recommendation.contains("(`lab`)"), "{}", policy.rules[0].recommendation);
    }

    #[test]
    fn every_mistake_has_its_line_and_a_hint() {
        let error = policy(
            "  zone: Mars\n  rule_sets: [docker-plaement]\n  groups:\n    a: {docker: forbiden}\n    \
             b: {match: 'severity > 3'}\n    c: {match: 'vm.name ='}\n    d: {working_hours: [always]}\n    \
             default: {vms: [x]}\n  rules:\n    Own: {when: 'true', why: x}\n    exec_in_container: {when: 'true', why: x}\n    \
             own: {when: 'severity >', why: x}\n  exceptions:\n    \
             - {rule: nosuch, vms: [], until: soon, reason: ' '}\n",
        )
        .unwrap_err();
        for part in [
            "p.yaml:2:9: `policy.zone`",
            "did you mean `docker-placement`?",
            "p.yaml:5:",
            "p.yaml:6:16: `policy.groups.b.match`: asks for more",
            "p.yaml:7:16: `policy.groups.c.match`: expected the end at byte 8, found `=`",
            "`always` is no time of the week",
            "the group `default` is that of",
            "`Own` cannot be the name of a rule",
            "a shipped rule has that name",
            "`policy.rules.own.when`: expected",
            "there is no rule `nosuch`",
            "names no machine",
            "`soon` is no time",
            "has no reason",
        ] {
            assert!(error.contains(part), "{part} is not in:\n{error}");
        }
        assert_eq!(error.matches("hint: ").count(), error.matches("p.yaml:").count(), "{error}");
    }
}
