//! Unit tests of a policy, as users write them: events in, findings out.
//!
//! ```yaml
//! tests:
//!   - name: Docker may not run in production
//!     machine: {vm.name: web-1}
//!     event: {event_class: container.start, image.ref: nginx}
//!     findings: [docker_not_allowed]
//! ```

use wharfinger_formats::{Event, FORMATS, Field, Time};

use crate::document::{Mistake, Node, Place, Text, Value, hint_for_name};
use crate::facts::Facts;

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub place: Place,
    /// What is known of the machine.
    pub machine: Facts,
    /// When it happens; else the time of the event.
    pub at: Option<Time>,
    /// How lines are read: a format, or `auto`.
    pub from: String,
    pub events: Vec<Given>,
    /// The rules that must find something, sorted.
    pub findings: Vec<String>,
}

/// An event of a test: a line as it is received, or its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    pub line: Option<String>,
    fields: Vec<(Name, Is)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Field(Field),
    Extra(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Is {
    Text(String),
    Int(i64),
    Bool(bool),
}

impl Given {
    /// Sets the fields that are written.
    pub fn fill(&self, event: &mut Event<'_>) {
        for (name, is) in &self.fields {
            let value = match is {
                Is::Text(text) => wharfinger_formats::Value::Str(text),
                Is::Int(number) => wharfinger_formats::Value::Int(*number),
                Is::Bool(truth) => wharfinger_formats::Value::Bool(*truth),
            };
            match name {
                Name::Field(field) => event.set(*field, value),
                Name::Extra(name) => {
                    let (group, name) = name.split_once('.').unwrap_or(("", name));
                    event.extra(group, name, value);
                }
            }
        }
    }
}

const OPTIONS: &[&str] = &["name", "machine", "at", "from", "event", "events", "findings"];

/// The tests of a document.
///
/// # Errors
/// Every mistake in it.
pub fn read_cases(root: &Node) -> Result<Vec<Case>, Vec<Mistake>> {
    let hint = "write `tests:` with one entry for each: `- {name: …, event: {…}, findings: []}`";
    let Some(list) = root.entry("tests") else {
        return Err(vec![Mistake::new(root.place, "has no `tests`", hint)]);
    };
    let Value::List(nodes) = &list.node.value else {
        let cause = format!("`tests`: expected a list, found {}", list.node.kind());
        return Err(vec![Mistake::new(list.node.place, cause, hint)]);
    };
    let mut errors = Vec::new();
    let cases = nodes.iter().filter_map(|node| case(node).map_err(|error| errors.push(error)).ok()).collect();
    if errors.is_empty() { Ok(cases) } else { Err(errors) }
}

fn case(node: &Node) -> Result<Case, Mistake> {
    if let Some(entry) = node.entries().iter().find(|entry| !OPTIONS.contains(&entry.name.as_str())) {
        let cause = format!("`tests`: unknown option `{}`", entry.name);
        return Err(Mistake::new(entry.place, cause, hint_for_name(&entry.name, OPTIONS)));
    }
    let value = |name: &str| node.entry(name).map(|entry| &entry.node);
    let Some(name) = value("name").and_then(Node::text) else {
        return Err(Mistake::new(node.place, "a test without a `name`", "say in words what it shows"));
    };
    let from = value("from").and_then(Node::text).unwrap_or("auto");
    if from != "auto" && !FORMATS.iter().any(|format| format.name == from) {
        let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        let place = value("from").map_or(node.place, |node| node.place);
        return Err(Mistake::new(place, format!("there is no format `{from}`"), hint_for_name(from, &names)));
    }
    let at = value("at").map(|node| {
        let time = node.text().and_then(|text| Some((text, Time::parse_rfc3339(text.as_bytes())?)));
        let time = time.filter(|(text, (_, used))| *used == text.len()).map(|(_, (time, _))| time);
        time.ok_or_else(|| Mistake::new(node.place, "`at` is no time", "write `2026-11-21T09:00:00Z`"))
    });
    let machine = value("machine").map_or_else(|| Ok(Facts::default()), machine)?;
    let events = match (value("event"), value("events")) {
        (Some(event), None) => vec![given(event)?],
        (None, Some(Node { value: Value::List(events), .. })) => events.iter().map(given).collect::<Result<_, _>>()?,
        _ => {
            let hint = "write `event:` with a line or fields, or `events:` with a list of them";
            return Err(Mistake::new(node.place, format!("the test `{name}` has no event"), hint));
        }
    };
    let Some(Node { value: Value::List(findings), .. }) = value("findings") else {
        let hint = "write `findings: [rule]`, or `findings: []` for none";
        return Err(Mistake::new(node.place, format!("the test `{name}` expects nothing"), hint));
    };
    let mut findings: Vec<String> = findings.iter().filter_map(|node| node.text().map(str::to_owned)).collect();
    findings.sort();
    let (name, from) = (name.to_owned(), from.to_owned());
    Ok(Case { name, place: node.place, machine, at: at.transpose()?, from, events, findings })
}

fn machine(node: &Node) -> Result<Facts, Mistake> {
    let fact = |(name, place, node): (&str, Place, &Node)| match (Field::from_name(name), node.text()) {
        (Some(field), Some(text)) => Ok((field, text.to_owned())),
        (Some(_), None) => Err(Mistake::new(place, format!("`{name}`: expected a text"), "write it in quotes")),
        (None, _) => {
            Err(Mistake::new(place, format!("`{name}` is no field"), "`wharfinger list fields` names all: `vm.name`"))
        }
    };
    node.entries().iter().map(|entry| fact((&entry.name, entry.place, &entry.node))).collect()
}

fn given(node: &Node) -> Result<Given, Mistake> {
    if let Value::String(Text { text, .. }) = &node.value {
        return Ok(Given { line: Some(text.clone()), fields: Vec::new() });
    }
    let mut fields = Vec::new();
    for entry in node.entries() {
        let name = Field::from_name(&entry.name).map_or_else(|| Name::Extra(entry.name.clone()), Name::Field);
        let is = match &entry.node.value {
            Value::String(text) => Is::Text(text.text.clone()),
            Value::Int(number) => Is::Int(*number),
            Value::Bool(truth) => Is::Bool(*truth),
            _ => {
                let cause = format!("`{}`: expected a text, a number or a boolean", entry.name);
                return Err(Mistake::new(entry.node.place, cause, "write one value"));
            }
        };
        fields.push((name, is));
    }
    match fields.is_empty() {
        true => Err(Mistake::new(node.place, "an event without fields", "write a line in quotes, or fields")),
        false => Ok(Given { line: None, fields }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::document::{self, Language, Mistakes};

    fn cases(text: &str) -> Result<Vec<Case>, String> {
        let root = document::read(text, Language::Yaml).unwrap();
        read_cases(&root).map_err(|errors| Mistakes::new(std::path::Path::new("t.yaml"), errors).to_string())
    }

    #[test]
    fn lines_and_fields() {
        let found = cases(
            "tests:\n  - name: a\n    machine: {vm.name: web-1}\n    at: 2026-11-21T09:00:00Z\n    \
             events: ['a line', {event_class: container.start, form.privileged: true}]\n    findings: [b, a]\n",
        )
        .unwrap();
        let case = &found[0];
        assert_eq!((case.findings.join(" "), case.place.line), ("a b".to_owned(), 2));
        assert_eq!(case.events[0].line.as_deref(), Some("a line"));
        let mut event = Event::new(b"");
        case.events[1].fill(&mut event);
        assert_eq!(event.text(Field::EventClass), Some("container.start"));
        let extra = event.extras().next().unwrap();
        assert_eq!((extra.group, extra.name), ("form", "privileged"));
    }

    #[test]
    fn every_mistake_has_its_line() {
        let error = cases(
            "tests:\n  - {event: x}\n  - {name: a, findings: []}\n  - {name: a, event: x}\n  - {name: a, evnt: x}\n  \
             - {name: a, event: x, findings: [], machine: {vm.nam: b}}\n  - {name: a, event: x, at: noon, findings: []}\n",
        )
        .unwrap_err();
        for part in [
            "t.yaml:2:5: a test without a `name`",
            "t.yaml:3:5: the test `a` has no event",
            "t.yaml:4:5: the test `a` expects nothing",
            "did you mean `event`?",
            "`vm.nam` is no field",
            "`at` is no time",
        ] {
            assert!(error.contains(part), "{part} is not in:\n{error}");
        }
        assert!(cases("x: 1").unwrap_err().contains("has no `tests`"));
    }
}
