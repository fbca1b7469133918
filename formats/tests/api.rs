//! What others build on: the public items, the examples and the small tree of dependencies.
//!
//! `formats/public-api.txt` lists every public item. A line that goes or changes breaks somebody: the version
//! says so then. `BLESS=1` writes the list anew; the difference is for a reviewer to read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wharfinger_formats::{FORMATS, Field};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The public items of a file, each on a line; `unreachable_pub` sees to it that what says `pub` is public.
fn items(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\n").next().unwrap();
    let mut items = Vec::new();
    let mut lines = code.lines();
    // A public enum is public with its variants.
    let mut in_enum = None;
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if let Some(indent) = in_enum {
            if line.starts_with('}') {
                in_enum = None;
            } else if line.len() - line.trim_start().len() == indent && trimmed.starts_with(char::is_uppercase) {
                items.push(format!("    {}", trimmed.trim_end_matches(['{', ',', ' '])));
            } else if line.len() - line.trim_start().len() == 2 * indent && is_of_a_variant(trimmed) {
                items.push(format!("        {}", trimmed.trim_end_matches(',')));
            }
            continue;
        }
        if !trimmed.starts_with("pub ") {
            continue;
        }
        let mut item = trimmed.to_owned();
        while !item.contains(['{', ';']) && !item.ends_with(',') {
            let Some(next) = lines.next() else { break };
            item = format!("{item} {}", next.trim());
        }
        if item.starts_with("pub enum") {
            in_enum = Some(4);
        }
        let end = item.find([';', '{']).filter(|_| !item.starts_with("pub use")).unwrap_or(item.len());
        let item = item.get(..end).unwrap_or(&item);
        let value = if item.starts_with("pub static") { item.find(" = ") } else { None };
        items.push(item.get(..value.unwrap_or(item.len())).unwrap_or(item).trim().trim_end_matches(',').to_owned());
    }
    items
}

/// Whether it is `name: Type,`, a field of a variant.
fn is_of_a_variant(line: &str) -> bool {
    let name = line.split_once(": ").map_or("", |(name, _)| name);
    line.ends_with(',') && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The lines, each with how often it was there before: two types may have a function of one name.
fn counted(text: &str) -> BTreeSet<(&str, usize)> {
    let mut before = BTreeMap::new();
    let count = |line| {
        let count = before.entry(line).or_insert(0);
        *count += 1;
        (line, *count)
    };
    text.lines().map(count).collect()
}

#[test]
fn the_public_items_are_those_of_the_list() {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    paths.sort();
    let mut found = String::new();
    for path in paths {
        let name = path.strip_prefix(root().join("src")).unwrap().display().to_string();
        // The mistakes on purpose are nobody's to call.
        let items = if name == "planted.rs" { Vec::new() } else { items(&fs::read_to_string(&path).unwrap()) };
        items.iter().for_each(|item| found.push_str(&format!("{name}: {item}\n")));
    }
    Field::ALL.iter().for_each(|field| found.push_str(&format!("field: {}\n", field.name())));
    for format in FORMATS {
        let does = [("read", format.parse.is_some()), ("written", format.emit.is_some())];
        let does: Vec<&str> = does.into_iter().filter(|(_, does)| *does).map(|(word, _)| word).collect();
        found.push_str(&format!("format: {} is {}\n", format.name, does.join(" and ")));
    }
    let path = root().join("public-api.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let listed = fs::read_to_string(&path).unwrap_or_default();
    let (found, listed) = (counted(&found), counted(&listed));
    let gone: Vec<_> = listed.difference(&found).collect();
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "gone or changed: {gone:#?}\nnew: {new:#?}\nhint: what is gone breaks who uses it; BLESS=1 writes the list"
    );
    assert!(found.len() > 100, "only {} items: the sources are elsewhere", found.len());
}

#[test]
fn every_format_has_an_example() {
    let examples = fs::read_to_string(root().join("src/examples.md")).unwrap();
    let without: Vec<_> =
        FORMATS.iter().map(|format| format.name).filter(|name| !examples.contains(&format!("\"{name}\""))).collect();
    assert!(without.is_empty(), "no example of {without:?}");
}

#[test]
fn few_crates_stand_behind_it() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "wharfinger-formats", "--edges", "normal", "--prefix", "none"])
        .args(["--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!((5..=15).contains(&crates.len()), "{} crates: {crates:?}", crates.len());
}
