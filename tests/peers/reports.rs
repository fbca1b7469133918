//! The statements of reports in engines of others, over the same Parquet: the same answers.
//!
//! DuckDB always; Spark, a cluster of two workers on this machine, where `SPARK_PYTHON` names a Python that has
//! `pyspark` (4.1) beside a Java 17.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::peers_are_off;
use crate::support::peers_folder;
use crate::support::sealed::Archive;

const ABSENT: &str = "not recorded by source";

#[test]
fn other_engines_answer_the_same() {
    if peers_are_off() {
        return;
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in ["catalog/sql", "catalog/sql/pack"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|ending| ending == "sql")));
    }
    files.sort();
    assert!(files.len() >= 19, "{files:?}");
    let (digests, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.ends_with("digests.sql"));
    check(&Archive::whole(), &others);
    check(&Archive::with_digests(), &digests);
}

fn check(archive: &Archive, files: &[PathBuf]) {
    let tree = archive.path().join("parquet");
    assert!(archive.ask(&["archive", "compact"]).status().unwrap().success());
    let ours: Vec<_> = files.iter().map(|file| (file, rows_of(archive, file))).collect();
    let mut engines = vec![("duckdb", peers_folder().join("duckdb/bin/python"))];
    engines.extend(std::env::var_os("SPARK_PYTHON").map(|python| ("spark", PathBuf::from(python))));
    for (engine, python) in engines {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/engines.py");
        let mut command = Command::new(&python);
        let output = command.arg(script).arg(engine).arg(&tree).args(files).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}; run `tests/setup-peers`", python.display()));
        assert!(output.status.success(), "{engine}: {}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        for (file, (columns, rows)) in &ours {
            let theirs = &said[file.to_str().unwrap()];
            let names: Vec<_> =
                theirs["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            assert_eq!(&names, columns, "{engine}: {}", file.display());
            let cell = |cell: &Value| normal(cell.as_str().unwrap_or(""));
            let row = |row: &Value| row.as_array().unwrap().iter().map(cell).collect::<Vec<_>>();
            let mut theirs: Vec<_> = theirs["rows"].as_array().unwrap().iter().map(row).collect();
            // Where nulls stand in an order is each engine's own.
            theirs.sort();
            assert_eq!(&theirs, rows, "{engine}: {}", file.display());
        }
    }
}

/// Columns, and rows in the order of their texts.
fn rows_of(archive: &Archive, file: &Path) -> (Vec<String>, Vec<Vec<String>>) {
    let mut command = archive.ask(&["query", &format!("@{}", file.display())]);
    let output = command.args(["--format", "csv"]).output().unwrap();
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    let mut reader = csv::Reader::from_reader(&*output.stdout);
    let columns = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let row = |record: csv::StringRecord| record.iter().map(normal).collect::<Vec<_>>();
    let mut rows: Vec<_> = reader.records().map(|record| row(record.unwrap())).collect();
    assert!(!rows.is_empty() || file.ends_with("gaps.sql") || file.ends_with("custody.sql"), "{}", file.display());
    rows.sort();
    (columns, rows)
}

/// Times without zeros at the end of a fraction.
fn normal(cell: &str) -> String {
    let cell = if cell == ABSENT { "" } else { cell };
    match cell.strip_suffix('Z').filter(|rest| rest.contains('.')) {
        Some(rest) => format!("{}Z", rest.trim_end_matches('0').trim_end_matches('.')),
        None => cell.to_owned(),
    }
}
