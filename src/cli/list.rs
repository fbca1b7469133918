//! `wharfinger list`: what there is, from the tables themselves.

use clap::ValueEnum;
use serde_json::{Value, json};
use wharfinger_formats::{FORMATS, Field, Format};

use super::failure::{Exit, Failure};
use super::output;
use super::records::readable;
use crate::identity::PROVIDERS;
use crate::sinks::SINKS;
use crate::sources::SOURCES;

/// List formats, sources, sinks, identity providers or the names of fields
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to list; everything but fields when left out
    what: Option<What>,

    /// As JSON, with the options of sources and sinks as JSON Schema
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Formats that can be read or written
    Formats,
    /// Types of sources
    Sources,
    /// Types of sinks
    Sinks,
    /// Types of identity providers
    Providers,
    /// Canonical fields of an event
    Fields,
}

/// Whether a command reads it; native JSON it does where that is named.
fn reads(format: &Format) -> bool {
    readable().contains(&format.name)
}

/// One line: name, what can be done with it, what it is.
type Row = (&'static str, &'static str, &'static str);

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let all = [What::Formats, What::Sources, What::Sinks, What::Providers];
    let wanted = arguments.what.as_ref().map_or(&all[..], std::slice::from_ref);
    let text = if arguments.json {
        let lists = wanted.iter().map(|what| (what.name().to_owned(), what.json())).collect();
        format!("{:#}\n", Value::Object(lists))
    } else {
        wanted.iter().map(|what| what.table()).collect::<Vec<_>>().join("\n")
    };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Formats => "formats",
            What::Sources => "sources",
            What::Sinks => "sinks",
            What::Providers => "providers",
            What::Fields => "fields",
        }
    }

    fn rows(self) -> Vec<Row> {
        let use_of = |reads: bool, writes: bool| match (reads, writes) {
            (true, true) => "read, write",
            (true, false) => "read",
            (false, _) => "write",
        };
        match self {
            What::Formats => FORMATS.iter().map(|f| (f.name, use_of(reads(f), f.emit.is_some()), f.about)).collect(),
            What::Sources => SOURCES.iter().map(|kind| (kind.name, "", kind.about)).collect(),
            What::Sinks => SINKS.iter().map(|kind| (kind.name, "", kind.about)).collect(),
            What::Providers => PROVIDERS.iter().map(|kind| (kind.name, "", kind.about)).collect(),
            What::Fields => {
                let by = |field: &Field| if field.is_reserved() { "gateway only" } else { "" };
                Field::ALL.iter().map(|field| (field.name(), by(field), field.about())).collect()
            }
        }
    }

    fn table(self) -> String {
        let rows = self.rows();
        let width = |text: fn(&Row) -> usize| rows.iter().map(text).max().unwrap_or(0);
        let (name_width, use_width) = (width(|row| row.0.len()), width(|row| row.1.len()));
        let mut text = format!("{}\n", self.name());
        for (name, used, about) in &rows {
            text.push_str(&match use_width {
                0 => format!("  {name:name_width$}  {about}\n"),
                _ => format!("  {name:name_width$}  {used:use_width$}  {about}\n"),
            });
        }
        text
    }

    fn json(self) -> Value {
        let part = |name: &str, about: &str, schema: schemars::Schema| json!({ "name": name, "about": about, "options": schema.as_value() });
        match self {
            What::Formats => {
                let row = |f: &Format| json!({ "name": f.name, "about": f.about, "read": reads(f), "write": f.emit.is_some() });
                FORMATS.iter().map(row).collect()
            }
            What::Sources => SOURCES.iter().map(|kind| part(kind.name, kind.about, (kind.schema)())).collect(),
            What::Sinks => SINKS.iter().map(|kind| part(kind.name, kind.about, (kind.schema)())).collect(),
            What::Providers => PROVIDERS.iter().map(|kind| part(kind.name, kind.about, (kind.schema)())).collect(),
            What::Fields => {
                let row = |field: &Field| json!({ "name": field.name(), "about": field.about(), "reserved": field.is_reserved() });
                Field::ALL.iter().map(row).collect()
            }
        }
    }
}
