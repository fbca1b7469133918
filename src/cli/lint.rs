//! `wharfinger lint`: which clauses of their standard lines break, where, and what would be right.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use wharfinger_formats::lint::{Finding, LINTERS, Level, Linter, corrected, detect, linter};

use super::failure::{Exit, Failure};
use super::input::{Input, Line, Lines};
use super::output;
use super::visible::{visible, visible_bytes};
use crate::part::describe_io;

/// Check lines against the standard of their format: each finding names the clause, the bytes and
/// what a correct line would be; exit code 65 when there is an error
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files to read (also gzip and zstd); `-` or none is stdin
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Format of the lines: cef, leef, rfc5424 or hec; `auto` looks at each
    #[arg(long, value_name = "FORMAT", default_value = "auto", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(names()))]
    from: String,

    /// What to print
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    format: Form,

    /// End with exit code 65 for warnings too
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// One object a finding
    Json,
    /// SARIF 2.1.0, for code hosts and editors
    Sarif,
}

/// The longest line that is looked at.
const LINE_MAX: usize = 1 << 20;

/// So many findings are kept for SARIF, which is one document.
const SARIF_MAX: usize = 10_000;

fn names() -> Vec<&'static str> {
    std::iter::once("auto").chain(LINTERS.iter().map(|linter| linter.name)).collect()
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut check = Check {
        form: arguments.format,
        named: linter(&arguments.from),
        colour,
        lines: 0,
        errors: 0,
        warnings: 0,
        unknown: 0,
        out: String::new(),
        results: Vec::new(),
    };
    let stdin = [PathBuf::from("-")];
    for file in if arguments.files.is_empty() { &stdin[..] } else { &arguments.files } {
        let mut input = Input::open(file).map_err(|error| {
            let error = anyhow::anyhow!(describe_io(&error)).context(format!("cannot open `{}`", file.display()));
            Failure::new(Exit::NoInput, error, "check the path")
        })?;
        check.file(&mut input)?;
    }
    if check.form == Form::Sarif {
        output::write(format!("{:#}\n", check.sarif()).as_bytes())?;
    }
    check.conclude(arguments.strict)
}

struct Check {
    form: Form,
    named: Option<&'static Linter>,
    colour: bool,
    lines: u64,
    errors: u64,
    warnings: u64,
    /// Lines no linter is for.
    unknown: u64,
    out: String,
    /// For SARIF.
    results: Vec<Value>,
}

impl Check {
    fn file(&mut self, input: &mut Input) -> Result<(), Failure> {
        let mut lines = Lines::new(LINE_MAX);
        let mut number = 0;
        loop {
            let more = lines.fill(input).map_err(|error| {
                let error =
                    anyhow::anyhow!(describe_io(&error)).context(format!("cannot read `{}` to its end", input.name));
                Failure::new(Exit::Data, error, "what was read until here has been checked; is the file whole?")
            })?;
            while let Some(line) = lines.next() {
                number += 1;
                self.line(&input.name, number, line);
            }
            output::write(self.out.as_bytes())?;
            self.out.clear();
            if !more {
                return Ok(());
            }
        }
    }

    fn line(&mut self, file: &str, number: u64, line: Line<'_>) {
        let Line::Whole(line) = line else {
            self.lines += 1;
            self.unknown += 1;
            return;
        };
        if line.trim_ascii().is_empty() {
            return;
        }
        self.lines += 1;
        let Some(linter) = self.named.or_else(|| detect(line)) else {
            self.unknown += 1;
            return;
        };
        let findings = linter.check(line);
        for finding in &findings {
            match finding.rule.level {
                Level::Error => self.errors += 1,
                Level::Warning => self.warnings += 1,
            }
            match self.form {
                Form::Text => self.text(file, number, line, finding),
                Form::Json => self.json(file, number, finding),
                Form::Sarif if self.results.len() < SARIF_MAX => {
                    self.results.push(sarif_result(file, number, line, finding));
                }
                Form::Sarif => {}
            }
        }
        if self.form == Form::Text && findings.iter().any(|finding| finding.fix.is_some()) {
            let correct = visible_bytes(&corrected(line, &findings));
            let _ = writeln!(self.out, "{}:{number}: correct: {correct}\n", visible(file));
        }
    }

    /// `file:line:first byte-last byte: level: message [rule]`, and the clause below it.
    fn text(&mut self, file: &str, number: u64, line: &[u8], finding: &Finding) {
        let (on, off) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let shown = visible_bytes(line.get(finding.range.clone()).unwrap_or_default());
        let shown: String = shown.chars().take(80).collect();
        // Writing into a string cannot fail.
        let _ = writeln!(
            self.out,
            "{}:{number}:{}..{}: {on}{}{off}: {} [{}]\n    at `{shown}`; {}",
            visible(file),
            finding.range.start,
            finding.range.end,
            level(finding),
            visible(&finding.message),
            finding.rule.id,
            finding.rule.clause,
        );
    }

    fn json(&mut self, file: &str, number: u64, finding: &Finding) {
        let object = json!({
            "file": file,
            "line": number,
            "rule": finding.rule.id,
            "level": level(finding),
            "start": finding.range.start,
            "end": finding.range.end,
            "message": finding.message,
            "clause": finding.rule.clause,
            "fix": finding.fix,
        });
        let _ = writeln!(self.out, "{object}");
    }

    /// The whole document; columns are bytes, counted from one.
    fn sarif(&mut self) -> Value {
        let rule = |rule: &&wharfinger_formats::lint::Rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.clause },
                "defaultConfiguration": { "level": if rule.level == Level::Error { "error" } else { "warning" } },
            })
        };
        let rules: Vec<Value> = LINTERS.iter().flat_map(|linter| linter.rules.iter().map(rule)).collect();
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": { "name": "wharfinger lint", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
                "columnKind": "unicodeCodePoints",
                "results": std::mem::take(&mut self.results),
            }],
        })
    }

    fn conclude(&self, strict: bool) -> Result<Exit, Failure> {
        let plural = |count: u64, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let mut summary = format!(
            "{} and {} in {}",
            plural(self.errors, "error"),
            plural(self.warnings, "warning"),
            plural(self.lines, "line")
        );
        if self.unknown > 0 {
            let _ = write!(summary, "; {} of a format that is not checked", plural(self.unknown, "line"));
        }
        eprintln!("{summary}");
        Ok(if self.errors > 0 || strict && self.warnings > 0 { Exit::Data } else { Exit::Ok })
    }
}

fn level(finding: &Finding) -> &'static str {
    match finding.rule.level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
}

fn sarif_result(file: &str, number: u64, line: &[u8], finding: &Finding) -> Value {
    // Columns count characters; what is not UTF-8 counts as one.
    let column = |at: usize| String::from_utf8_lossy(line.get(..at).unwrap_or(line)).chars().count() + 1;
    let region = json!({
        "startLine": number,
        "startColumn": column(finding.range.start),
        "endColumn": column(finding.range.end),
        "byteOffset": finding.range.start,
        "byteLength": finding.range.len(),
    });
    let region_in_file = json!({
        "startLine": region["startLine"],
        "startColumn": region["startColumn"],
        "endColumn": region["endColumn"],
    });
    let artifact = json!({ "uri": file });
    let mut result = json!({
        "ruleId": finding.rule.id,
        "level": level(finding),
        "message": { "text": finding.message },
        "locations": [{ "physicalLocation": { "artifactLocation": artifact, "region": region_in_file } }],
        "properties": { "bytes": region },
    });
    if let (Some(fix), Some(object)) = (&finding.fix, result.as_object_mut()) {
        let replacement = json!({ "deletedRegion": region_in_file, "insertedContent": { "text": fix } });
        let changes = json!([{ "artifactLocation": { "uri": file }, "replacements": [replacement] }]);
        object.insert("fixes".to_owned(), json!([{ "artifactChanges": changes }]));
    }
    result
}
