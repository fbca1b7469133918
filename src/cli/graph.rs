//! `wharfinger graph`: which class of events reaches which sink, and what reaches none.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde_json::json;

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::visible::visible;
use crate::config::Config;
use crate::filter::{Class, Filter, Holds};

/// Show which class of events reaches which sink, by which `when`, and what reaches none
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,

    /// How it is written
    #[arg(long, value_enum, default_value = "text")]
    format: GraphFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GraphFormat {
    Text,
    /// For Graphviz
    Dot,
    Mermaid,
    Json,
}

/// Classes of events, by what they begin with. What a `when` names stands beside them.
const FAMILIES: &[&str] = &[
    "api.",
    "archive.",
    "audit.",
    "builder.",
    "config.",
    "container.",
    "daemon.",
    "docker.",
    "finding.",
    "image.",
    "journal.",
    "network.",
    "node.",
    "plugin.",
    "secret.",
    "service.",
    "vm.",
    "volume.",
    "wazuh.",
];
/// Classes of which there is one.
const SINGLE: &[&str] = &["gap", "unparsed"];

/// What is sent to the sinks: a row for each class, a column for each sink.
struct Graph<'c> {
    config: &'c Config,
    rows: Vec<(Class, Vec<Holds>)>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = arguments.file.load()?.config;
    let graph = Graph::new(&config);
    let text = match arguments.format {
        GraphFormat::Text => graph.text(),
        GraphFormat::Dot => graph.dot(),
        GraphFormat::Mermaid => graph.mermaid(),
        GraphFormat::Json => format!("{:#}\n", graph.json()),
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

impl<'c> Graph<'c> {
    fn new(config: &'c Config) -> Graph<'c> {
        let mut classes: BTreeSet<Class> = config
            .sinks
            .iter()
            .flat_map(|sink| sink.every.when.classes())
            .filter(|class| *class != begins(""))
            .collect();
        classes.extend(FAMILIES.iter().map(|family| begins(family)));
        classes.extend(SINGLE.iter().map(|class| Class::Is((*class).to_owned())));
        let mut classes: Vec<Class> = classes.into_iter().collect();
        classes.sort_by_key(Class::to_string);
        classes.push(Class::None);
        let row = |class: Class| {
            let holds = config.sinks.iter().map(|sink| of_class(&sink.every.when, &class)).collect();
            (class, holds)
        };
        Graph { config, rows: classes.into_iter().map(row).collect() }
    }

    /// Classes that no sink is sent.
    fn lost(&self) -> Vec<&Class> {
        let nobody = |row: &&(Class, Vec<Holds>)| row.1.iter().all(|holds| *holds == Holds::Never);
        self.rows.iter().filter(nobody).map(|(class, _)| class).collect()
    }

    /// Each sink with the classes it is sent, and how.
    fn of_sink(&self, at: usize) -> impl Iterator<Item = (&Class, Holds)> {
        self.rows.iter().map(move |(class, holds)| (class, holds[at])).filter(|(_, holds)| *holds != Holds::Never)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for source in &self.config.sources {
            text.push_str(&format!("source {} ({})\n", visible(&source.name), source.kind));
        }
        for sink in &self.config.sinks {
            let when = match sink.every.when.is_all() {
                true => "every event".to_owned(),
                false => format!("when {}", visible(&sink.every.when.to_string())),
            };
            text.push_str(&format!("sink {} ({}): {when}\n", visible(&sink.name), sink.kind));
        }
        text.push('\n');
        let names: Vec<String> = self.config.sinks.iter().map(|sink| visible(&sink.name).into_owned()).collect();
        let widths: Vec<usize> = names.iter().map(|name| name.chars().count().max("some".len())).collect();
        let first = self.rows.iter().map(|(class, _)| class.to_string().chars().count()).max().unwrap_or(0);
        let mut line = |class: &str, cells: Vec<&str>| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("  {cell:width$}"));
            let line = format!("{class:first$}{}", cells.collect::<String>());
            text.push_str(&format!("{}\n", line.trim_end()));
        };
        line("event_class", names.iter().map(String::as_str).collect());
        for (class, holds) in &self.rows {
            line(&visible(&class.to_string()), holds.iter().map(|holds| word(*holds)).collect());
        }
        let lost: Vec<String> = self.lost().iter().map(|class| visible(&class.to_string()).into_owned()).collect();
        text.push_str(&match (lost.is_empty(), self.config.sinks.is_empty()) {
            (_, true) => "\nthere is no sink: nothing is delivered\n".to_owned(),
            (true, _) => "\neach class reaches a sink, some only in part\n".to_owned(),
            (false, _) => format!("\nreach no sink: {}\n", lost.join(", ")),
        });
        text
    }

    fn json(&self) -> serde_json::Value {
        let named = |name: &str, kind: &str| json!({ "name": name, "type": kind });
        let sinks = self.config.sinks.iter().enumerate().map(|(at, sink)| {
            let when = (!sink.every.when.is_all()).then(|| sink.every.when.to_string());
            let classes = self.rows.iter().map(|(class, holds)| (class.to_string(), word(holds[at]).into()));
            let classes: serde_json::Map<String, serde_json::Value> = classes.collect();
            json!({ "name": sink.name, "type": sink.kind, "when": when, "classes": classes })
        });
        json!({
            "sources": self.config.sources.iter().map(|source| named(&source.name, source.kind)).collect::<Vec<_>>(),
            "sinks": sinks.collect::<Vec<_>>(),
            "reach_no_sink": self.lost().iter().map(|class| class.to_string()).collect::<Vec<_>>(),
        })
    }

    /// What every sink is sent is drawn once, from the journal.
    fn dot(&self) -> String {
        let mut text = "digraph wharfinger {\n  rankdir=LR;\n  journal [shape=cylinder];\n".to_owned();
        for (at, source) in self.config.sources.iter().enumerate() {
            text.push_str(&format!("  source{at} [label={}];\n  source{at} -> journal;\n", quoted(&source.name)));
        }
        for (at, sink) in self.config.sinks.iter().enumerate() {
            let (label, edge) = (quoted(&sink.name), quoted(&self.edge(at)));
            text.push_str(&format!("  sink{at} [shape=box, label={label}];\n  journal -> sink{at} [label={edge}];\n"));
        }
        let lost = self.lost();
        if !lost.is_empty() {
            let lost: Vec<String> = lost.iter().map(|class| class.to_string()).collect();
            let label = quoted(&lost.join(", "));
            text.push_str(&format!(
                "  nowhere [shape=plaintext];\n  journal -> nowhere [style=dashed, label={label}];\n"
            ));
        }
        text + "}\n"
    }

    fn mermaid(&self) -> String {
        // Mermaid knows entities of HTML, and no other escape.
        let quoted = |text: &str| {
            let plain = |letter: char| match letter {
                _ if letter.is_ascii_alphanumeric() || " ._-*,=()".contains(letter) => letter.to_string(),
                _ => format!("#{};", u32::from(letter)),
            };
            format!("\"{}\"", text.chars().map(plain).collect::<String>())
        };
        let mut text = "flowchart LR\n  journal[(journal)]\n".to_owned();
        for (at, source) in self.config.sources.iter().enumerate() {
            text.push_str(&format!("  source{at}[{}] --> journal\n", quoted(&source.name)));
        }
        for (at, sink) in self.config.sinks.iter().enumerate() {
            let (label, edge) = (quoted(&sink.name), quoted(&self.edge(at)));
            text.push_str(&format!("  journal -->|{edge}| sink{at}[{label}]\n"));
        }
        let lost = self.lost();
        if !lost.is_empty() {
            let lost: Vec<String> = lost.iter().map(|class| class.to_string()).collect();
            text.push_str(&format!("  journal -.->|{}| nowhere\n", quoted(&lost.join(", "))));
        }
        text
    }

    /// What an edge to a sink says: the classes, those that it is sent in part with a `?`.
    fn edge(&self, at: usize) -> String {
        if self.config.sinks[at].every.when.is_all() {
            return "every event".to_owned();
        }
        let classes = self.of_sink(at).map(|(class, holds)| match holds {
            Holds::Sometimes => format!("{class}?"),
            _ => class.to_string(),
        });
        classes.collect::<Vec<_>>().join(", ")
    }
}

fn begins(prefix: &str) -> Class {
    Class::Begins(prefix.to_owned())
}

/// No loss is silent: gap records go to every sink.
fn of_class(when: &Filter, class: &Class) -> Holds {
    match *class == Class::Is("gap".to_owned()) {
        true => Holds::Always,
        false => when.of_class(class),
    }
}

fn word(holds: Holds) -> &'static str {
    match holds {
        Holds::Always => "all",
        Holds::Sometimes => "some",
        Holds::Never => "-",
    }
}

/// As DOT writes a text; a control character would be a line of its own.
fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(text).replace('\\', "\\\\").replace('"', "\\\""))
}
