//! Holds the conformance suite together: `fixtures/conformance/clauses/*.json` lists each rule and the
//! cases that show it, and no rule may lose its last one.
//!
//! A file is an array of `{id, says, cases, tests}`. A case is `FILE: NAME`, and a name that ends in `*`
//! stands for all that begin so. `tests` names functions, `FILE: NAME`, for what is no line of text.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    /// Absent where the id says it all.
    #[serde(default)]
    says: String,
    cases: Vec<String>,
    #[serde(default)]
    tests: Vec<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// The names of the cases of each file of the suite.
fn suite() -> BTreeMap<String, Vec<String>> {
    let folder = root().join("fixtures/conformance");
    let folders = ["", "emit", "frames", "lint"];
    let paths = folders.iter().flat_map(|name| json_files(&folder.join(name)));
    let names = |path: &Path| {
        let cases: Vec<Named> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        cases.into_iter().map(|case| case.name).collect()
    };
    paths.map(|path| (path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned(), names(&path))).collect()
}

#[test]
fn every_rule_has_its_cases_and_every_case_its_rule() {
    let suite = suite();
    let mut unclaimed: BTreeSet<(&str, &str)> =
        suite.iter().flat_map(|(file, names)| names.iter().map(|name| (file.as_str(), name.as_str()))).collect();
    let (mut wrong, mut ids) = (Vec::new(), BTreeSet::new());
    assert_eq!(unclaimed.len(), suite.values().map(Vec::len).sum::<usize>(), "two cases of a file have one name");
    for path in json_files(&root().join("fixtures/conformance/clauses")) {
        let rules: Vec<Rule> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for rule in rules {
            for case in &rule.cases {
                let (file, wanted) = case.split_once(": ").unwrap_or_else(|| panic!("{case}: no file"));
                let is_wanted = |name: &&String| match wanted.strip_suffix('*') {
                    Some(begin) => name.starts_with(begin),
                    None => *name == wanted,
                };
                let found: Vec<_> = suite.get(file).into_iter().flatten().filter(is_wanted).collect();
                if found.is_empty() {
                    wrong.push(format!("{}: {}: no case `{case}`", rule.id, rule.says));
                }
                let file = suite.get_key_value(file).map_or("", |(file, _)| file);
                found.into_iter().for_each(|name| _ = unclaimed.remove(&(file, name.as_str())));
            }
            for test in &rule.tests {
                let (file, name) = test.split_once(": ").unwrap_or_else(|| panic!("{test}: no file"));
                let text = fs::read_to_string(root().join(file)).unwrap_or_default();
                if !text.contains(&format!("fn {name}(")) {
                    wrong.push(format!("{}: no test `{test}`", rule.id));
                }
            }
            if rule.cases.is_empty() {
                wrong.push(format!("{}: no case", rule.id));
            }
            if !ids.insert(rule.id.clone()) {
                wrong.push(format!("{}: twice", rule.id));
            }
        }
    }
    wrong.extend(unclaimed.into_iter().map(|(file, name)| format!("no rule names `{file}: {name}`")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ids.len() > 150, "only {} rules: the files are missing", ids.len());
}
