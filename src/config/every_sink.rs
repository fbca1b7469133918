//! Options that every sink takes, beside those of its kind.

use crate::document::{Mistake, Node, Value, hint_for_name, list};
use crate::filter::Filter;
use crate::journal::OnFull;

/// What holds for a sink of any kind.
#[derive(Debug, Clone)]
pub struct EverySink {
    /// What it does when the journal is full.
    pub on_full: OnFull,
    /// Which events it is sent.
    pub when: Filter,
}

impl Default for EverySink {
    fn default() -> Self {
        EverySink { on_full: OnFull::GiveUp, when: Filter::all() }
    }
}

impl EverySink {
    /// The names that are not its kind's.
    pub(super) const OPTIONS: &[&str] = &["type", "on_full", "when"];

    /// Reads them out of the options of the sink at `path`.
    ///
    /// # Errors
    /// Each that is wrong.
    pub(super) fn read(node: &Node, path: &str) -> Result<EverySink, Vec<Mistake>> {
        match (on_full(node, path), when(node, path)) {
            (Ok(on_full), Ok(when)) => Ok(EverySink { on_full, when }),
            (on_full, when) => Err(on_full.err().into_iter().chain(when.err()).collect()),
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
