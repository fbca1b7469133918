//! `wharfinger inventory`: which machines are known, which one something belongs to, and what is wrong with a file.
//!
//! It reads the files of the configuration and what providers said last; it asks nobody.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::table::{Cell, count, table};
use super::visible::visible;
use crate::gateway;
use crate::identity::{Entry, Facts, Identity, Inventory, Local, Snapshot, changes, inventory, summary};

/// Show which machines the inventories know, and which one an address, a name or a UUID belongs to
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List every machine
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show all that is known of one machine
    Show {
        /// Its name, or anything that `resolve` takes
        #[arg(value_name = "VM")]
        machine: String,
        #[command(flatten)]
        common: Common,
    },
    /// Say which machine an address, host name, UUID (in either byte order), MAC address or id belongs to. Ends with 1
    /// when none does, or more than one
    Resolve {
        #[arg(value_name = "IP|HOST|UUID|MAC")]
        what: String,
        #[command(flatten)]
        common: Common,
    },
    /// Tell in what two inventory files differ. Ends with 1 when they do
    Diff {
        #[arg(value_name = "FILE_A")]
        old: PathBuf,
        #[arg(value_name = "FILE_B")]
        new: PathBuf,
        #[arg(long, value_name = "FORM", default_value = "text")]
        format: Form,
    },
    /// Say what is wrong or odd in inventory files, with the lines. Ends with 65 when anything is
    Check {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[arg(long, value_name = "FORM", default_value = "text")]
        format: Form,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    file: ConfigFile,
    /// How it is written
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// One object a line
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::List { common } => list(&known(common)?, common.format),
        Verb::Show { machine, common } => show(&known(common)?, machine, common.format),
        Verb::Resolve { what, common } => resolve(&known(common)?, what, common.format),
        Verb::Diff { old, new, format } => diff(old, new, *format),
        Verb::Check { files, format } => check(files, *format),
    }
}

/// The machines as a gateway with this configuration knows them, and how one is found.
fn known(common: &Common) -> Result<(Vec<Entry>, Snapshot), Failure> {
    let config = common.file.load()?.config;
    let failed = |error| Failure::new(Exit::Config, error, "look at `identity.inventory`");
    let entries = gateway::known_machines(&config).map_err(failed)?;
    let group_of = |facts: &Facts| config.policy.group_of(facts).map(str::to_owned);
    let snapshot = Snapshot::grouped(&Local::default(), &entries, &group_of);
    Ok((entries, snapshot))
}

fn list((entries, snapshot): &(Vec<Entry>, Snapshot), form: Form) -> Result<Exit, Failure> {
    // The machine that this runs on stands behind them in a snapshot; it is in no inventory.
    let machines = || entries.iter().zip(snapshot.machines());
    let text = match form {
        Form::Json => machines().map(|(entry, identity)| line(&described(entry, identity))).collect(),
        Form::Text if entries.is_empty() => "no machine is known: name a file in `identity.inventory`\n".to_owned(),
        Form::Text => {
            let rows: Vec<[Cell; 6]> = machines()
                .map(|(entry, identity)| {
                    let uuid = entry.uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
                    let group = identity.fact(wharfinger_formats::Field::VmGroup).unwrap_or_default();
                    [&entry.name, &uuid, group, &entry.power, &words(entry.all_addresses()), &entry.runs_on]
                        .map(Cell::from)
                })
                .collect();
            let machines = count(entries.len() as u64, "machine");
            format!(
                "{machines}\n\n{}",
                table(["machine", "BIOS UUID", "group", "power", "addresses", "runs on"], &rows)
            )
        }
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn show((entries, snapshot): &(Vec<Entry>, Snapshot), machine: &str, form: Form) -> Result<Exit, Failure> {
    let Some((entry, identity)) = found(entries, snapshot, machine) else { return nobody(snapshot, machine) };
    let described = described(entry, identity);
    let text = match form {
        Form::Json => line(&described),
        Form::Text => {
            let width = described.as_object().map_or(0, |facts| facts.keys().map(String::len).max().unwrap_or(0));
            let facts = described.as_object().into_iter().flatten();
            facts.map(|(name, value)| format!("{name:width$}  {}\n", visible(&plain(value)))).collect()
        }
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn resolve((entries, snapshot): &(Vec<Entry>, Snapshot), what: &str, form: Form) -> Result<Exit, Failure> {
    let Some((entry, identity)) = found(entries, snapshot, what) else { return nobody(snapshot, what) };
    let text = match form {
        Form::Json => line(&described(entry, identity)),
        Form::Text => {
            let uuid = entry.uuid.map(|uuid| format!("  {uuid}")).unwrap_or_default();
            format!("{}{uuid}\n", visible(&entry.name))
        }
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn found<'e>(entries: &'e [Entry], snapshot: &'e Snapshot, what: &str) -> Option<(&'e Entry, &'e Identity)> {
    let identity = snapshot.named(what)?;
    let at = snapshot.machines().iter().position(|machine| std::ptr::eq(machine, identity))?;
    Some((entries.get(at)?, identity))
}

fn nobody(snapshot: &Snapshot, what: &str) -> Result<Exit, Failure> {
    let cause = match snapshot.is_shared(what) {
        true => format!("`{}` belongs to more than one machine, so it selects none", visible(what)),
        false => format!("no machine has `{}`", visible(what)),
    };
    let hint = "`wharfinger inventory list` shows what is known, `inventory check FILE` what machines share";
    Err(Failure::new(Exit::Failed, anyhow::anyhow!(cause), hint))
}

/// What is known of a machine; what is not known is not there.
fn described(entry: &Entry, identity: &Identity) -> Value {
    let mut facts = serde_json::Map::new();
    for (field, value) in &identity.facts {
        facts.insert(field.name().to_owned(), json!(value));
    }
    let lists = [
        ("host_names", entry.all_host_names().map(str::to_owned).collect()),
        ("addresses", entry.all_addresses().map(|address| address.to_string()).collect()),
        ("macs", entry.all_macs().map(|mac| mac.to_string()).collect::<Vec<_>>()),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        facts.insert(name.to_owned(), json!(list));
    }
    let texts = [("machine_id", &entry.machine_id), ("agent_id", &entry.agent_id), ("runs_on", &entry.runs_on)];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        facts.insert(name.to_owned(), json!(text));
    }
    Value::Object(facts)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

fn words<T: ToString>(all: impl Iterator<Item = T>) -> String {
    all.map(|one| one.to_string()).collect::<Vec<_>>().join(" ")
}

fn diff(old: &Path, new: &Path, form: Form) -> Result<Exit, Failure> {
    let read = |path: &Path| {
        let failed = |error| Failure::new(Exit::Data, error, "`wharfinger inventory check` shows more");
        inventory::read(path).map(|inventory| inventory.entries).map_err(failed)
    };
    let (old, new) = (read(old)?, read(new)?);
    let all = changes(&old, &new);
    let text = match form {
        Form::Json => all
            .iter()
            .map(|one| line(&json!({ "change": one.kind.name(), "machine": one.entry.name, "what": one.text })))
            .collect(),
        Form::Text => {
            let rows: Vec<[Cell; 3]> =
                all.iter().map(|one| [one.kind.name(), &one.entry.name, &one.text].map(Cell::from)).collect();
            let table =
                if rows.is_empty() { String::new() } else { table(["change", "machine", "what"], &rows) + "\n" };
            format!("{table}{}\n", summary(&all))
        }
    };
    output::write(text.as_bytes())?;
    Ok(if all.is_empty() { Exit::Ok } else { Exit::Failed })
}

fn check(files: &[PathBuf], form: Form) -> Result<Exit, Failure> {
    let mut is_good = true;
    for path in files {
        let read = inventory::read(path);
        is_good &= read.as_ref().is_ok_and(|inventory| inventory.notes.is_empty());
        let text = match (&read, form) {
            (Ok(inventory), Form::Text) => of_file(path, inventory),
            (Ok(inventory), Form::Json) => {
                let notes: Vec<Value> =
                    inventory.notes.iter().map(|note| json!({ "line": note.line, "text": note.text })).collect();
                let machines = inventory.entries.len();
                line(&json!({ "file": path, "kind": inventory.kind, "machines": machines, "notes": notes }))
            }
            (Err(error), Form::Text) => {
                error.mistakes().texts().map(|text| format!("{}\n", super::visible::visible_lines(&text))).collect()
            }
            (Err(error), Form::Json) => {
                let mistakes = error.mistakes().list().iter();
                let mistakes: Vec<Value> = mistakes
                    .map(
                        |one| json!({ "line": one.place.map(|place| place.line), "text": one.cause, "hint": one.hint }),
                    )
                    .collect();
                line(&json!({ "file": path, "mistakes": mistakes }))
            }
        };
        output::write(text.as_bytes())?;
    }
    Ok(if is_good { Exit::Ok } else { Exit::Data })
}

fn of_file(path: &Path, inventory: &Inventory) -> String {
    let path = path.display().to_string();
    let machines = count(inventory.entries.len() as u64, "machine");
    let mut text = format!("{}: {}, {machines}\n", visible(&path), inventory.kind);
    for note in &inventory.notes {
        let place = if note.line == 0 { String::new() } else { format!(":{}", note.line) };
        text.push_str(&format!("{}{place}: {}\n", visible(&path), visible(&note.text)));
    }
    text
}
