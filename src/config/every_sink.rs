//! Options that every sink takes, beside those of its kind.

use serde::Deserialize;

use crate::document::{Mistake, Node, Table, Value, hint_for_name, list, read_options};
use crate::filter::Filter;
use crate::journal::OnFull;
use crate::part::Secret;
use crate::sinks::redact::{Redaction, Rule};

/// What holds for a sink of any kind.
#[derive(Debug, Clone)]
pub struct EverySink {
    /// What it does when the journal is full.
    pub on_full: OnFull,
    /// Which events it is sent.
    pub when: Filter,
    /// What is taken out of them.
    pub redact: Redaction,
}

impl Default for EverySink {
    fn default() -> Self {
        EverySink { on_full: OnFull::GiveUp, when: Filter::all(), redact: Redaction::default() }
    }
}

impl EverySink {
    /// The names that are not its kind's.
    pub(super) const OPTIONS: &[&str] = &["type", "on_full", "when", "redact"];

    /// Reads them out of the options of the sink at `path`.
    ///
    /// # Errors
    /// Each that is wrong.
    pub(super) fn read(node: &Node, path: &str) -> Result<EverySink, Vec<Mistake>> {
        match (on_full(node, path), when(node, path), redact(node, path)) {
            (Ok(on_full), Ok(when), Ok(redact)) => Ok(EverySink { on_full, when, redact }),
            (on_full, when, redact) => {
                let mistakes = on_full.err().into_iter().chain(when.err());
                Err(mistakes.chain(redact.err().into_iter().flatten()).collect())
            }
        }
    }
}

fn on_full(node: &Node, path: &str) -> Result<OnFull, Mistake> {
    const NAMES: [&str; 2] = ["block", "drop_with_gap"];
    let Some(entry) = node.entry("on_full") else { return Ok(OnFull::GiveUp) };
    match &entry.node.value {
        Value::String(text) if text.text == NAMES[0] => Ok(OnFull::Block),
        Value::String(text) if text.text == NAMES[1] => Ok(OnFull::GiveUp),
        Value::String(text) => {
            let cause = format!("`{path}.on_full`: unknown value `{}`", text.text);
            Err(Mistake::new(entry.node.place, cause, hint_for_name(&text.text, &NAMES)))
        }
        _ => {
            let cause = format!("`{path}.on_full`: expected a word, found {}", entry.node.kind());
            Err(Mistake::new(entry.node.place, cause, format!("one of {}", list(&NAMES))))
        }
    }
}

fn when(node: &Node, path: &str) -> Result<Filter, Mistake> {
    let Some(entry) = node.entry("when") else { return Ok(Filter::all()) };
    let mistake = |cause: String| {
        let hint = "an expression such as `severity >= 5 && event_class.startsWith(\"container.\")`".to_owned();
        Mistake::new(entry.node.place, cause, hint)
    };
    let Value::String(text) = &entry.node.value else {
        return Err(mistake(format!("`{path}.when`: expected a text, found {}", entry.node.kind())));
    };
    Filter::parse(&text.text).map_err(|error| {
        let rest: String = text.text.get(error.at..).unwrap_or_default().chars().take(20).collect();
        let found = if rest.is_empty() { "the end".to_owned() } else { format!("`{rest}`") };
        mistake(format!("`{path}.when`: expected {} at byte {}, found {found}", error.expected, error.at))
    })
}

/// A rule that hashes what it finds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hashed {
    rule: String,
    hash: Secret,
}

fn redact(node: &Node, path: &str) -> Result<Redaction, Vec<Mistake>> {
    let names = Rule::ALL.map(Rule::name);
    let Some(entry) = node.entry("redact") else { return Ok(Redaction::default()) };
    let Value::List(nodes) = &entry.node.value else {
        let cause = format!("`{path}.redact`: expected a list of rules, found {}", entry.node.kind());
        let hint = format!("any of {}: `redact: [tokens, passwords]`", list(&names));
        return Err(vec![Mistake::new(entry.node.place, cause, hint)]);
    };
    let (mut redaction, mut mistakes) = (Redaction::default(), Vec::new());
    for node in nodes {
        let of = format!("{path}.redact");
        let (name, key, place) = match &node.value {
            Value::String(text) => (text.text.clone(), None, node.place),
            Value::Table(_) => {
                let table = Table { path: &of, place: node.place, except: &[] };
                let read = read_options(node, table, |options| erased_serde::deserialize::<Hashed>(options));
                match read {
                    Ok(hashed) => (hashed.rule, Some(hashed.hash), node.place),
                    Err(found) => {
                        mistakes.extend(found);
                        continue;
                    }
                }
            }
            _ => {
                let cause = format!("`{of}`: expected the name of a rule, found {}", node.kind());
                mistakes.push(Mistake::new(node.place, cause, format!("any of {}", list(&names))));
                continue;
            }
        };
        match Rule::named(&name) {
            Some(rule) if redaction.0.iter().any(|(known, _)| *known == rule) => {
                let cause = format!("`{of}`: `{name}` stands there twice");
                mistakes.push(Mistake::new(place, cause, "leave one of them out"));
            }
            Some(rule) => redaction.0.push((rule, key)),
            None => {
                let cause = format!("`{of}`: unknown rule `{name}`");
                mistakes.push(Mistake::new(place, cause, hint_for_name(&name, &names)));
            }
        }
    }
    if mistakes.is_empty() { Ok(redaction) } else { Err(mistakes) }
}
