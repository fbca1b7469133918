//! Wazuh's alert for a Docker event: what the manager would have written to `alerts.json`, had its
//! Docker listener seen the event, so that rules and dashboards made for that keep working.
//!
//! As in Wazuh, every value in `data` is a text, `timeNano` is printed as the double it became, a
//! full stop in the name of a label opens an object, and of two names of which one is inside the
//! other the first stays. Unlike Wazuh's listener, `status`, `id` and `from` are there also for
//! engines that no longer send them (API 1.52): the rules look at them.
//!
//! An alert that came from Wazuh goes out as it came. A finding becomes an alert of its rule, of the groups
//! `wharfinger` and `finding` and of that of its rule set. Any other event becomes an alert of rule 0 of group
//! `wharfinger` at the level of its severity.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::rules::{Rule, Tags, rule_for, technique};
use crate::cef::listed;
use crate::json::{write_checked_json, write_json};
use crate::objects::{Objects, Path, write_as_text, write_number};
use crate::{EmitContext, Event, Field, Format, Time, Value};

const DATA: Path = &["data"];
const DOCKER: Path = &["data", "docker"];
const ACTOR: Path = &["data", "docker", "Actor"];

/// Where Wazuh's Docker listener says that its events come from.
const DOCKER_PLACE: &str = "Wazuh-Docker";

/// Levels of objects that the full stops of one label open; a label with more stays one name.
const LEVELS_MAX: usize = 16;

pub(super) fn emit(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_mul(2).saturating_add(1_024));
    let format = event.text(Field::Format);
    if let (Some("wazuh"), Some(raw)) = (format, event.raw_json()) {
        return write_checked_json(out, raw);
    }
    if let (Some("wazuh"), Some(raw)) = (format, event.raw_text())
        && raw.trim_start().starts_with('{')
    {
        return write_json(out, raw);
    }
    match Docker::of(event) {
        Some(docker) => docker.write(context, out),
        None => other(event, context, out),
    }
}

/// What a manager or an agent of Wazuh takes in, for its decoders and rules to judge.
pub(crate) const INPUT: Format = Format {
    name: "wazuh_input",
    about: "What Wazuh takes in: Docker events as its listener writes them",
    detect: None,
    starts: b"",
    parse: None,
    emit: Some(emit_input),
    open: None,
};

/// A Docker event as the listener hands it over; of any other event its fields below `wharfinger`.
fn emit_input(event: &Event<'_>, _: &EmitContext<'_>, out: &mut Vec<u8>) {
    if let Some(docker) = Docker::of(event) {
        return docker.write_input(out);
    }
    let mut input = Objects::begin(out);
    input.text(&[], "integration", "wharfinger");
    let names: BTreeMap<&str, Value<'_>> = event.fields().map(|(field, value)| (field.name(), value)).collect();
    let member = if planted!("wazuh_input_emit") { "integration" } else { "wharfinger" };
    write_tree(&tree(&names), input.member(&[], member));
    input.map(&["fields"], event.extras());
    input.end();
}

/// What the alert of an event says of its rule and of where it was.
pub(super) struct Ruling<'e> {
    pub(super) level: i64,
    pub(super) id: &'e str,
    pub(super) description: Cow<'e, str>,
    /// With commas between them.
    pub(super) groups: Cow<'e, str>,
    pub(super) location: &'e str,
}

pub(super) fn ruling<'e>(event: &'e Event<'e>) -> Ruling<'e> {
    if let Some(docker) = Docker::of(event) {
        let rule = docker.ruled_by();
        let description = docker.described(rule.description).into();
        return Ruling { level: rule.level, id: rule.id, description, groups: "docker".into(), location: DOCKER_PLACE };
    }
    let place = event.extras().find(|extra| extra.group == "wazuh" && extra.name == "location");
    let place = place.and_then(|extra| if let Value::Str(text) = extra.value { Some(text) } else { None });
    let groups = match event.get(Field::RuleGroups) {
        _ if is_finding(event) => own_groups(event).join(",").into(),
        Some(Value::Str(text)) => text.into(),
        Some(Value::Json(list)) => listed(list).unwrap_or(list.into()),
        _ => own_groups(event).join(",").into(),
    };
    Ruling {
        level: level(event),
        id: event.text(Field::RuleId).unwrap_or("0"),
        description: description(event),
        groups,
        location: place.or(event.text(Field::Source)).unwrap_or("wharfinger"),
    }
}

fn is_finding(event: &Event<'_>) -> bool {
    event.extras().any(|extra| extra.group == "finding" && extra.name == "id")
}

/// Ours ends at 10, Wazuh's levels at 15: what is grave stays above its 12 (high importance).
fn level(event: &Event<'_>) -> i64 {
    let severity = event.int(Field::Severity).unwrap_or(0);
    let level = if is_finding(event) { severity.saturating_mul(3).saturating_add(1) / 2 } else { severity };
    event.int(Field::RuleLevel).unwrap_or(level).clamp(0, 15)
}

fn description<'e>(event: &'e Event<'_>) -> Cow<'e, str> {
    let text = |fields: [Field; 3]| fields.into_iter().find_map(|field| event.text(field));
    let description = text([Field::RuleName, Field::Name, Field::EventClass]).unwrap_or("Unknown event");
    match text([Field::VmName, Field::HostName, Field::Peer]).filter(|_| is_finding(event)) {
        Some(machine) => format!("{description}: {machine}").into(),
        None => description.into(),
    }
}

/// Groups of what no rule of Wazuh is about.
fn own_groups<'e>(event: &'e Event<'_>) -> Vec<&'e str> {
    let is_finding = is_finding(event);
    let set = event.text(Field::RuleGroups).filter(|_| is_finding);
    ["wharfinger"].into_iter().chain(is_finding.then_some("finding")).chain(set).collect()
}

/// A Docker event as the alert names its parts.
struct Docker<'e> {
    event: &'e Event<'e>,
    kind: &'e str,
    word: &'e str,
    /// The action with what follows it: `exec_start: sh -c ls`.
    action: String,
    attributes: BTreeMap<&'e str, Value<'e>>,
}

impl<'e> Docker<'e> {
    fn of(event: &'e Event<'e>) -> Option<Self> {
        let format = event.text(Field::Format);
        let is_docker = !is_finding(event) && format.is_none_or(|format| format.ends_with("docker_events"));
        let (kind, action) = event.text(Field::EventClass)?.split_once('.')?;
        (is_docker && event.has(Field::Action)).then(|| Docker::new(event, kind, action))
    }

    fn ruled_by(&self) -> &'static Rule {
        let command = self.action.split_once(": ").map_or("", |(_, command)| command);
        let role_changed = ["role.old", "role.new"].iter().all(|name| self.attributes.contains_key(name));
        rule_for(self.kind, self.word, command, role_changed)
    }

    fn new(event: &'e Event<'e>, kind: &'e str, word: &'e str) -> Self {
        let mut action = word.to_owned();
        if let Some(detail) = event.text(Field::ExecCommand).or(event.text(Field::Reason)) {
            action.push_str(": ");
            action.push_str(detail);
            // Entry point and arguments are joined by spaces: without arguments one is at the end.
            if word.starts_with("exec_") && !detail.contains(' ') {
                action.push(' ');
            }
        }
        let mut attributes = BTreeMap::new();
        let image = event.get(Field::ImageRef);
        let (image, name, container) = match kind {
            "container" => (image, event.get(Field::ContainerName), None),
            "image" => (None, image.or(event.get(Field::ImageDigest)), None),
            _ => (None, None, event.get(Field::ContainerId)),
        };
        let known = [
            ("image", image),
            ("name", name),
            ("container", container),
            ("exitCode", event.get(Field::ExitCode)),
            ("signal", event.get(Field::Signal)),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                attributes.insert(name, value);
            }
        }
        for extra in event.extras().filter(|extra| extra.group == "attributes") {
            attributes.entry(extra.name).or_insert(extra.value);
        }
        Docker { event, kind, word, action, attributes }
    }

    fn write(&self, context: &EmitContext<'_>, out: &mut Vec<u8>) {
        let event = self.event;
        let rule = self.ruled_by();
        let mut alert = Objects::begin(out);
        head(event, &mut alert);
        self.rule(rule, &mut alert);
        foot(event, context, &mut alert);
        alert.text(&["decoder"], "name", "json");
        alert.text(DATA, "integration", "docker");
        self.docker((DOCKER, ACTOR), &mut alert);
        alert.text(&[], "location", DOCKER_PLACE);
        alert.end();
    }

    /// As Wazuh's listener hands it to the manager.
    fn write_input(&self, out: &mut Vec<u8>) {
        let mut input = Objects::begin(out);
        input.text(&[], "integration", "docker");
        self.docker((&["docker"], &["docker", "Actor"]), &mut input);
        // Which machine it was: the manager knows only who runs the gateway.
        for field in [Field::EventId, Field::VmName, Field::VmUuid, Field::HostName] {
            if let Some(text) = self.event.text(field) {
                input.text(&["wharfinger"], field.name(), text);
            }
        }
        if self.event.get(Field::Replayed) == Some(Value::Bool(true)) {
            input.text(&["wharfinger"], Field::Replayed.name(), "true");
        }
        input.end();
    }

    fn rule(&self, rule: &Rule, alert: &mut Objects<'_>) {
        alert.number(&["rule"], "level", rule.level);
        alert.text(&["rule"], "description", &self.described(rule.description));
        alert.text(&["rule"], "id", rule.id);
        if !rule.mitre.is_empty() {
            let (mut tactics, mut techniques) = (Vec::new(), Vec::new());
            for (tactic, name) in rule.mitre.iter().map(|id| technique(id)) {
                if !tactics.contains(&tactic) {
                    tactics.push(tactic);
                }
                techniques.push(name);
            }
            alert.words(&["rule", "mitre"], "id", rule.mitre);
            alert.words(&["rule", "mitre"], "tactic", &tactics);
            alert.words(&["rule", "mitre"], "technique", &techniques);
        }
        alert.number(&["rule"], "firedtimes", self.event.int(Field::Count).unwrap_or(1));
        alert.member(&["rule"], "mail").extend_from_slice(b"false");
        if !(planted!("wazuh_emit") && rule.level == 0) {
            alert.words(&["rule"], "groups", &["docker"]);
        }
        let Tags(tags) = rule.tags;
        for (standard, clauses) in tags {
            alert.words(&["rule"], standard, clauses);
        }
    }

    /// The description with what stands for `{…}`; what the event does not say is left out.
    fn described(&self, description: &str) -> String {
        let mut text = String::new();
        let mut rest = description;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let (name, next) = after.split_once('}').unwrap_or((after, ""));
            match (name, self.attributes.get(name)) {
                ("Action", _) => text.push_str(&self.action),
                ("Type", _) => text.push_str(self.kind),
                (_, Some(Value::Str(value) | Value::Json(value))) => text.push_str(value),
                (_, Some(Value::Int(value))) => text.push_str(itoa::Buffer::new().format(*value)),
                _ => {}
            }
            rest = next;
        }
        text.push_str(rest);
        text
    }

    /// The event below `docker`, its subject below `actor`.
    fn docker(&self, (docker, actor): (Path, Path), alert: &mut Objects<'_>) {
        let event = self.event;
        let extra = |name: &str| {
            let found = event.extras().find(|extra| extra.group == "docker" && extra.name == name)?;
            if let Value::Str(text) = found.value { Some(text) } else { None }
        };
        let image = event.text(Field::ImageDigest).or(event.text(Field::ImageRef));
        let id = match self.kind {
            "container" => event.text(Field::ContainerId),
            "image" => image,
            _ => extra("Actor.ID"),
        };
        // Only containers and images have them.
        if matches!(self.kind, "container" | "image") {
            alert.text(docker, "status", &self.action);
            if let Some(id) = id {
                alert.text(docker, "id", id);
            }
        }
        if let ("container", Some(image)) = (self.kind, event.text(Field::ImageRef)) {
            alert.text(docker, "from", image);
        }
        alert.text(docker, "Type", self.kind);
        alert.text(docker, "Action", &self.action);
        if let Some(id) = id {
            alert.text(actor, "ID", id);
        }
        if !self.attributes.is_empty() {
            let out = alert.member(actor, "Attributes");
            write_tree(&tree(&self.attributes), out);
        }
        if let Some(scope) = extra("scope") {
            alert.text(docker, "scope", scope);
        }
        if let Some(time) = event.time(Field::Time) {
            write_decoded(alert.member(docker, "time"), time.seconds());
            write_decoded(alert.member(docker, "timeNano"), time.0);
        }
    }
}

/// A whole number as Wazuh's JSON decoder prints it: beyond 32 bits, as the double it became.
fn write_decoded(out: &mut Vec<u8>, number: i64) {
    out.push(b'"');
    match i32::try_from(number) {
        Ok(number) => write_number(out, number.into()),
        Err(_) => {
            write_number(out, number as f64 as i64);
            out.extend_from_slice(b".000000");
        }
    }
    out.push(b'"');
}

/// Attributes by the pieces of their names.
enum Node<'e> {
    Text(Value<'e>),
    Inner(BTreeMap<&'e str, Node<'e>>),
}

fn tree<'e>(attributes: &BTreeMap<&'e str, Value<'e>>) -> BTreeMap<&'e str, Node<'e>> {
    let mut root = BTreeMap::new();
    'names: for (name, value) in attributes {
        let is_flat = name.bytes().filter(|byte| *byte == b'.').count() >= LEVELS_MAX;
        let mut level = &mut root;
        let mut rest = *name;
        while let Some((piece, inner)) = rest.split_once('.').filter(|_| !is_flat) {
            match level.entry(piece).or_insert_with(|| Node::Inner(BTreeMap::new())) {
                Node::Inner(next) => level = next,
                // A text stands there: as in Wazuh, what would be inside of it is left out.
                Node::Text(_) => continue 'names,
            }
            rest = inner;
        }
        level.entry(rest).or_insert(Node::Text(*value));
    }
    root
}

fn write_tree(level: &BTreeMap<&str, Node<'_>>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (name, node)) in level.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_as_text(out, Value::Str(name));
        out.push(b':');
        match node {
            Node::Text(value) => write_as_text(out, *value),
            Node::Inner(inner) => write_tree(inner, out),
        }
    }
    out.push(b'}');
}

/// What an alert begins with.
fn head(event: &Event<'_>, alert: &mut Objects<'_>) {
    let time = event.time(Field::Time).or(event.time(Field::ObservedTime)).unwrap_or(Time(0));
    let out = alert.member(&[], "timestamp");
    out.push(b'"');
    time.write_rfc3339(3, out);
    // Wazuh writes the offset without a colon; ours is always UTC.
    if out.last() == Some(&b'Z') {
        out.pop();
        out.extend_from_slice(b"+0000");
    }
    out.push(b'"');
}

/// Which machine, which manager, and the alert's id: seconds and a number that differs.
fn foot(event: &Event<'_>, context: &EmitContext<'_>, alert: &mut Objects<'_>) {
    let is_agent_id = |id: &&str| (3..=8).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    alert.text(&["agent"], "id", event.text(Field::HostId).filter(is_agent_id).unwrap_or("000"));
    let name = event.text(Field::HostName).or(event.text(Field::VmName)).unwrap_or("unknown");
    alert.text(&["agent"], "name", name);
    if let Some(ip) = event.text(Field::HostIp) {
        alert.text(&["agent"], "ip", ip);
    }
    alert.text(&["manager"], "name", context.product);
    let time = event.time(Field::Time).or(event.time(Field::ObservedTime)).unwrap_or(Time(0));
    let sequence = event.text(Field::EventId).and_then(|id| id.rsplit_once('-')).map_or("0", |(_, sequence)| sequence);
    let sequence = sequence.trim_start_matches('0');
    let mut id = itoa::Buffer::new().format(time.seconds()).to_owned();
    id.push('.');
    id.push_str(if sequence.is_empty() { "0" } else { sequence });
    alert.text(&[], "id", &id);
}

/// What no Docker rule is about.
fn other(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    let mut alert = Objects::begin(out);
    head(event, &mut alert);
    alert.number(&["rule"], "level", level(event));
    alert.text(&["rule"], "description", &description(event));
    alert.text(&["rule"], "id", event.text(Field::RuleId).unwrap_or("0"));
    alert.number(&["rule"], "firedtimes", event.int(Field::Count).unwrap_or(1));
    alert.member(&["rule"], "mail").extend_from_slice(b"false");
    alert.words(&["rule"], "groups", &own_groups(event));
    foot(event, context, &mut alert);
    if let Some(log) = event.raw_text().filter(|raw| !raw.is_empty()).or(event.text(Field::Msg)) {
        alert.text(&[], "full_log", log);
    }
    alert.text(&["decoder"], "name", "wharfinger");
    let fields = event.fields().filter(|(field, _)| !matches!(field, Field::Time | Field::Msg | Field::Name));
    let names: BTreeMap<&str, Value<'_>> = fields.map(|(field, value)| (field.name(), value)).collect();
    let out = alert.member(DATA, "event");
    write_tree(&tree(&names), out);
    alert.map(&["data", "fields"], event.extras());
    alert.text(&[], "location", event.text(Field::Source).unwrap_or("wharfinger"));
    alert.end();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_open_objects_and_the_first_stays() {
        let names = ["a", "a.b", "com.example.owner", "com.example.team", "", ".", "x..y", "z."];
        let attributes: BTreeMap<_, _> = names.iter().map(|name| (*name, Value::Str("v"))).collect();
        let mut out = Vec::new();
        write_tree(&tree(&attributes), &mut out);
        let expected = r#"{"":"v","a":"v","com":{"example":{"owner":"v","team":"v"}},"x":{"":{"y":"v"}},"z":{"":"v"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let deep = "a.".repeat(100_000);
        let attributes = BTreeMap::from([(deep.as_str(), Value::Str("v"))]);
        assert_eq!(tree(&attributes).len(), 1);
    }

    #[test]
    fn numbers_as_the_decoder_prints_them() {
        for (number, expected) in [
            (1_795_252_533, r#""1795252533""#),
            (1_795_252_533_877_226_211, r#""1795252533877226240.000000""#),
            (i64::from(i32::MAX) + 1, r#""2147483648.000000""#),
        ] {
            let mut out = Vec::new();
            write_decoded(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
