//! The configuration reference in Markdown, from the schemas of all parts and sections.
//!
//! Invariant: nothing is listed here by hand, so the reference cannot fall behind the code.

use std::fmt::Write as _;

use schemars::{Schema, schema_for};
use serde_json::Value;

use super::digests::Digest;
use super::sections::{Admin, Identity, Journal, Receipts};
use crate::identity::PROVIDERS;
use crate::part::Kind;
use crate::policy::{ExceptionOptions, GroupOptions, PolicyOptions, RULE_SETS, RuleOptions};
use crate::sinks::SINKS;
use crate::sources::SOURCES;

/// Tables in tables are followed so far.
const DEPTH_MAX: usize = 6;

const HEAD: &str = "\
# Configuration reference

Made by `wharfinger generate reference` from the code; do not edit.

One file in YAML (`.yaml`, `.yml`), TOML (`.toml`) or JSON (`.json`). An unknown option is an error.
In strings, `${VAR}` is the environment variable, `${VAR:-default}` has a default, `${VAR:?message}`
ends with a message, and `$$` is a dollar sign.

| written | means |
|---|---|
| size | `64MiB`: a whole number and `B`, `KiB`, `MiB`, `GiB`, `TiB` (1024) or `KB`, `MB`, `GB`, `TB` (1000) |
| duration | `5s`: a whole number and `ms`, `s`, `m`, `h` or `d`; `1h30m` |
| time of day | `06:00`: hours and minutes, UTC |
| address:port | `127.0.0.1:5514`, `[::1]:5514`, `0.0.0.0:5514` |
| secret | `{file: path}`, `{env: NAME}`, `{credential: NAME}` (systemd), or the secret itself |

`data_dir` is the folder for what must not be lost: `/var/lib/wharfinger` for root,
`$XDG_STATE_HOME/wharfinger` or `~/.local/state/wharfinger` for everybody else.
";

const SINKS_HEAD: &str = "\
Where events go: `sinks: {name: {type: …}}`. Every sink also takes:

| option | value | default | what it does |
|---|---|---|---|
| `on_full` | `block`, `drop_with_gap` | `drop_with_gap` | What happens when the journal is full because this sink \
is behind: it loses the oldest events, counted and declared by a gap record, and no other sink is held up; or nothing \
is lost, and all sources wait. The sink that is furthest ahead never loses any: sources wait for it. |
| `when` | expression | every event | Which events the sink is sent; the others are counted as `filtered`. A part of \
CEL: canonical fields (`wharfinger list fields`) or `fields[\"group.name\"]`; `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, \
`&&`, `\\|\\|`, `!`, `has()`, `.startsWith()`, `.endsWith()`, `.contains()`, `timestamp(\"…\")`, `true`, `false`; at most 16 \
KiB. A field that an event does not have is equal to nothing. Gap records come always: no loss is silent. |
| `redact` | list of `env`, `tokens`, `passwords`, `cards`, `emails` | none | What is taken out of texts and raw bytes \
before they leave by this sink, and counted: `[masked/RULE]` stands in its place. `{rule: emails, hash: {file: …}}` \
puts a hash with that key there instead. Not for `archive`, which seals evidence. See docs/redaction.md. |";

/// The whole reference.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    section("## `identity`", &schema_for!(Identity), &mut out);
    out.push_str("\n### `identity.providers: {name: {…}}`\n\n");
    out.push_str(
        "Who is asked which machines there are, or what this one is, again and again; the last good answer stays.\n",
    );
    of_kinds(&mut out, "####", PROVIDERS);
    section("## `policy`", &schema_for!(PolicyOptions), &mut out);
    section("### `policy.groups: {name: {…}}`", &schema_for!(GroupOptions), &mut out);
    section("### `policy.rules: {name: {…}}`", &schema_for!(RuleOptions), &mut out);
    section("### `policy.exceptions: [{…}]`", &schema_for!(ExceptionOptions), &mut out);
    rule_sets(&mut out);
    section("## `journal`", &schema_for!(Journal), &mut out);
    section("## `receipts`", &schema_for!(Receipts), &mut out);
    section("## `admin`", &schema_for!(Admin), &mut out);
    section("## `digests: {name: {…}}`", &schema_for!(Digest), &mut out);
    parts(&mut out, "sources", "Where events come from: `sources: {name: {type: …}}`.", SOURCES);
    parts(&mut out, "sinks", SINKS_HEAD, SINKS);
    out
}

fn section(heading: &str, schema: &Schema, out: &mut String) {
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let _ = write!(out, "\n{heading}\n\n{about}\n");
    options(schema, out);
}

fn rule_sets(out: &mut String) {
    out.push_str(
        "\n### Shipped rules\n\n| rule set | rule | severity | finds | unless allowed by |\n|---|---|---|---|---|\n",
    );
    for (set, rule) in RULE_SETS.iter().flat_map(|set| set.rules.iter().map(move |rule| (set, rule))) {
        let unless = rule.unless.map_or_else(|| "nothing".to_owned(), |allowance| format!("`{}`", allowance.name()));
        let about = cell(rule.about);
        let _ = writeln!(out, "| `{}` | `{}` | {} | {about} | {unless} |", set.name, rule.id, rule.severity);
    }
}

fn parts<T: ?Sized>(out: &mut String, section: &str, about: &str, kinds: &[Kind<T>]) {
    // Writing into a string cannot fail, here and below.
    let _ = write!(out, "\n## `{section}`\n\n{about}\n");
    of_kinds(out, "###", kinds);
}

fn of_kinds<T: ?Sized>(out: &mut String, level: &str, kinds: &[Kind<T>]) {
    for kind in kinds {
        let _ = write!(out, "\n{level} `type: {}`\n\n{}\n", kind.name, sentence(kind.about));
        options(&(kind.schema)(), out);
    }
}

fn sentence(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

fn options(schema: &Schema, out: &mut String) {
    let root = schema.as_value();
    let mut rows = String::new();
    table(root, root, "", 0, &mut rows);
    if rows.is_empty() {
        out.push_str("\nIt has no options.\n");
    } else {
        let _ = write!(out, "\n| option | value | default | what it does |\n|---|---|---|---|\n{rows}");
    }
}

/// The rows of a table's options; `prefix` is where the table stands.
fn table(schema: &Value, root: &Value, prefix: &str, depth: usize, rows: &mut String) {
    let schema = resolve(schema, root);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        let target = resolve(option, root);
        let own = option["description"].as_str();
        let (about, default) = split_default(own.or(target["description"].as_str()).unwrap_or_default());
        let default = match (default, &option["default"]) {
            (Some(default), _) if default == "none" || default.contains(' ') => cell(default),
            (Some(default), _) => format!("`{}`", default.trim_matches('`')),
            (None, _) if required.contains(&name.as_str()) => "required".to_owned(),
            (None, Value::String(value)) if value.is_empty() => "none".to_owned(),
            (None, Value::String(value)) => format!("`{value}`"),
            (None, Value::Null) if may_be_absent(option) || is(target, "object") => "none".to_owned(),
            (None, Value::Null) => String::new(),
            (None, value) => format!("`{value}`"),
        };
        let path = format!("{prefix}{name}");
        let _ = writeln!(rows, "| `{path}` | {} | {default} | {} |", kind(option, root), cell(about));
        if depth < DEPTH_MAX {
            table(option, root, &format!("{path}."), depth + 1, rows);
        }
    }
}

/// What stands behind references, and behind "this or nothing".
fn resolve<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let reference = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
        let choices = schema["anyOf"].as_array();
        let only = choices.and_then(|choices| match choices.as_slice() {
            [one, nothing] if nothing["type"] == "null" => Some(one),
            _ => None,
        });
        schema = match (reference.and_then(|path| root.pointer(path)), only) {
            (Some(target), _) | (None, Some(target)) => target,
            (None, None) => return schema,
        };
    }
    schema
}

/// What may be written, in a few words.
fn kind(schema: &Value, root: &Value) -> String {
    let schema = resolve(schema, root);
    if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let words: Vec<String> = choices.iter().map(|choice| kind(choice, root)).collect();
        return words.join(", ");
    }
    if let Some(values) = schema["enum"].as_array() {
        let words: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return words.join(", ");
    }
    if let Some(value) = schema["const"].as_str() {
        return format!("`{value}`");
    }
    if let Some(format) = schema["format"].as_str().filter(|_| is(schema, "string")) {
        return format.to_owned();
    }
    let word = ["array", "object", "boolean", "integer", "number", "string"].into_iter().find(|word| is(schema, word));
    match word {
        Some("array") => format!("list of {}", kind(&schema["items"], root)),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("table of {}", kind(&schema["additionalProperties"], root))
        }
        Some("object") => "table".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some(word) => word.to_owned(),
        None => "anything".to_owned(),
    }
}

fn is(schema: &Value, word: &str) -> bool {
    match &schema["type"] {
        Value::String(one) => one == word,
        Value::Array(several) => several.iter().any(|one| one == word),
        _ => false,
    }
}

/// "This or nothing", in either way that schemas say it.
fn may_be_absent(schema: &Value) -> bool {
    is(schema, "null") || schema["anyOf"].as_array().into_iter().flatten().any(|choice| is(choice, "null"))
}

/// Doc comments end in "Default: …." where serde has no default to show.
fn split_default(about: &str) -> (&str, Option<&str>) {
    match about.rsplit_once("Default: ") {
        Some((about, default)) => (about.trim_end(), Some(default.trim_end_matches('.'))),
        None => (about, None),
    }
}

/// Text that cannot end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_option_has_a_default_or_is_required() {
        let reference = super::reference();
        // An enumeration that derives `Serialize` shows its default; anything else says `Default: …`.
        let without: Vec<&str> = reference.lines().filter(|line| line.contains(" |  | ")).collect();
        assert!(without.is_empty(), "no default is documented for\n{}", without.join("\n"));
        assert!(
            reference.lines().filter(|line| line.starts_with('|')).all(|line| line.ends_with('|')),
            "a broken table"
        );
    }
}
