//! Native JSON lines as a test reads them from a file sink, a collector or an object.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::process::eventually;

/// The events of lines.
pub fn events(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in `{line}`"))).collect()
}

/// A text field; empty when it is absent.
pub fn text<'e>(event: &'e Value, field: &str) -> &'e str {
    event.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The file a `file` sink writes to.
pub struct SinkFile {
    path: PathBuf,
}

impl SinkFile {
    pub fn in_folder(folder: &Path) -> SinkFile {
        SinkFile { path: folder.join("out.ndjson") }
    }

    /// The sink's place in a config, under the name `out`.
    pub fn config(&self) -> String {
        format!("  out:\n    type: file\n    path: {}\n", self.path.display())
    }

    /// What stands in the file with its line end.
    pub fn text(&self) -> String {
        let mut text = fs::read_to_string(&self.path).unwrap_or_default();
        text.truncate(text.rfind('\n').map_or(0, |at| at + 1));
        text
    }

    /// The events in the file. A line that a kill has torn keeps to itself: it is the beginning of one
    /// that comes again.
    pub fn events(&self) -> Vec<Value> {
        self.events_and_torn().0
    }

    /// The same, and how many lines are torn.
    pub fn events_and_torn(&self) -> (Vec<Value>, usize) {
        let text = self.text();
        let whole = |torn: &str| text.lines().any(|line| line.len() > torn.len() && line.starts_with(torn));
        let event = |line: &str| {
            let event = serde_json::from_str(line).ok();
            let may_come = event.is_some() || whole(line) || text.ends_with(&format!("{line}\n"));
            assert!(may_come, "neither an event nor the beginning of one: `{line}`");
            event
        };
        let events: Vec<Value> = text.lines().filter_map(event).collect();
        let torn = text.lines().count() - events.len();
        (events, torn)
    }

    /// Waits for at least `count` events that `wanted` accepts; answers them.
    pub fn wait_for(&self, count: usize, within: Duration, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually(&format!("{count} events in {}", self.path.display()), within, || {
            let found: Vec<Value> = self.events().into_iter().filter(|event| wanted(event)).collect();
            (found.len() >= count).then_some(found)
        })
    }
}
