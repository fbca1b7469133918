//! The house rules that a machine can check: who may name whom, how long a file may be, and that
//! each format has its fixtures and its fuzz target.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of `src/` and the rooms their files may name beside themselves. The formats crate is open
/// to all but the `BLIND` ones. ARCHITECTURE.md tells why.
const ROOMS: &[(&str, &[&str])] = &[
    ("planted", &[]),
    ("part", &[]),
    ("stats", &[]),
    ("document", &["part"]),
    ("tls", &["part"]),
    ("facts", &[]),
    ("filter", &[]),
    ("journal", &[]),
    ("identity", &["document", "facts", "part", "tls"]),
    ("policy", &["document", "facts", "filter", "part"]),
    ("intake", &["identity", "journal", "policy", "stats"]),
    ("sources", &["intake", "part", "stats", "tls"]),
    ("archive", &[]),
    ("sinks", &["archive", "filter", "journal", "part", "tls"]),
    ("reconcile", &["archive", "filter"]),
    ("replay", &["archive", "filter", "journal", "part", "sinks"]),
    ("config", &["document", "filter", "identity", "journal", "part", "policy", "sinks", "sources"]),
    ("admin", &["identity", "intake", "journal", "policy", "sinks", "stats"]),
    ("gateway", &["admin", "config", "identity", "intake", "journal", "part", "policy", "sinks", "sources", "stats"]),
    (
        "cli",
        &[
            "admin",
            "archive",
            "config",
            "document",
            "facts",
            "filter",
            "gateway",
            "identity",
            "intake",
            "journal",
            "part",
            "policy",
            "reconcile",
            "replay",
            "sinks",
            "sources",
        ],
    ),
    ("main", &["cli"]),
    // What fuzz targets see.
    ("lib", &["archive", "cli", "sinks", "sources"]),
];

/// Rooms that may not know what an event is.
const BLIND: &[&str] = &["journal", "part", "stats", "document", "tls"];

const FILE_LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                dirs.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no Rust file in {}", dir.display());
    files
}

/// The code of a file without its unit tests and comments; a file of tests has none.
fn code(path: &Path) -> String {
    if path.file_name().is_some_and(|name| name == "tests.rs") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let body = text.split("#[cfg(test)]\n").next().unwrap();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The words that follow `path` in `code`, also inside `use path::{…}`.
fn named_after(code: &str, path: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.trim().chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
    };
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices(path) {
        let rest = &code[at + found.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let (mut depth, mut piece) = (0, String::new());
        for letter in list.chars() {
            match letter {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => names.extend([word(&std::mem::take(&mut piece))]),
                _ if depth == 0 => piece.push(letter),
                _ => {}
            }
        }
        names.insert(word(&piece));
    }
    names.remove("");
    names
}

#[test]
fn rooms_name_only_whom_they_may() {
    let mut wrong = Vec::new();
    let mut rooms = BTreeSet::new();
    for file in rust_files(&root().join("src")) {
        let inside = file.strip_prefix(root().join("src")).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.strip_suffix(".rs").unwrap_or(first);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room `{room}` is not in the table", inside.display()));
            continue;
        };
        rooms.insert(room.to_owned());
        let code = code(&file);
        let mut named = named_after(&code, "crate::");
        named.extend(named_after(&code, "wharfinger::"));
        for name in named {
            let is_room = ROOMS.iter().any(|(room, _)| *room == name);
            if is_room && name != room && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: `{room}` names `{name}`", inside.display()));
            }
        }
        if BLIND.contains(&room) && code.contains("wharfinger_formats") {
            wrong.push(format!("{}: `{room}` knows events", inside.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rooms.contains("intake") && rooms.contains("journal"), "the check looks at the wrong folder");
}

#[test]
fn the_formats_crate_has_no_io_clock_or_async() {
    let forbidden = [
        "std::fs",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "std::io",
        "std::process",
        "std::env::",
        "SystemTime",
        "Instant::",
        "async fn",
    ];
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("formats/src")) {
        let code = code(&file);
        wrong.extend(
            forbidden.iter().filter(|word| code.contains(**word)).map(|word| format!("{}: {word}", file.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for dir in ["src", "formats", "report", "tests", "bench", "benches", "fuzz/fuzz_targets"] {
        let dir = root().join(dir);
        for file in if dir.exists() { rust_files(&dir) } else { Vec::new() } {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().count();
            if lines > FILE_LINES_MAX {
                wrong.push(format!("{}: {lines} lines, more than {FILE_LINES_MAX}", file.display()));
            }
            if !text.starts_with("//!") && !text.starts_with("#!") {
                wrong.push(format!("{}: no `//!` at its top", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_format_has_fixtures_and_a_fuzz_target() {
    let mut missing = Vec::new();
    for format in wharfinger_formats::FORMATS {
        let name = format.name;
        if format.parse.is_some() {
            let fixtures = format!("fixtures/{}", name.replace('_', "-"));
            if !fs::read_dir(root().join(&fixtures)).is_ok_and(|mut entries| entries.next().is_some()) {
                missing.push(format!("{fixtures}: no sample of `{name}`"));
            }
        }
        let target = |suffix: &str| root().join(format!("fuzz/fuzz_targets/{name}{suffix}.rs")).exists();
        if !target("") && !target("_emit") {
            missing.push(format!("fuzz/fuzz_targets/{name}.rs"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(!wharfinger_formats::FORMATS.is_empty());
}

#[test]
fn the_checks_see_what_they_forbid() {
    let code = "use crate::{journal::Batch, sinks::{Sink, drive}};\nlet x = crate::stats::add;";
    assert_eq!(named_after(code, "crate::").into_iter().collect::<Vec<_>>(), ["journal", "sinks", "stats"]);
}
