//! Which clauses of its standard a line breaks, where, and what would be right.
//!
//! Parsers read what is meant; linters say what is written wrong, for the people who own the sender.
//! Rules are data: their ids are stable and may be named in a build's configuration.
//!
//! ```
//! use wharfinger_formats::lint::{corrected, linter};
//! let line = br"CEF:0|v|p|1|c|n|12|msg=a b=c";
//! let findings = linter("cef").unwrap().check(line);
//! assert_eq!(findings[0].rule.id, "cef-severity");
//! assert_eq!(&line[findings[0].range.clone()], b"12");
//! assert!(corrected(line, &findings).starts_with(b"CEF:0|v|p|1|c|n|10|"));
//! ```
//!
//! Invariant: total and without state; ranges lie inside the line; no line has more than
//! [`FINDINGS_MAX`] findings, so that a hostile one costs no more than it says.

mod cef;
mod hec;
mod leef;
mod rfc5424;

use std::ops::Range;

use crate::marker::Marker;
use crate::syslog;

/// So many findings of one line are told.
pub const FINDINGS_MAX: usize = 200;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Receivers read something else than is meant, or nothing: the standard forbids it.
    Error,
    /// The standard allows it or is silent, and receivers are known to stumble over it.
    Warning,
}

/// One thing that a standard says.
#[derive(Debug)]
pub struct Rule {
    /// The stable name: `cef-equals`.
    pub id: &'static str,
    /// Where the standard says so, and what it says.
    pub clause: &'static str,
    /// How bad it is to break it.
    pub level: Level,
}

const fn error(id: &'static str, clause: &'static str) -> Rule {
    Rule { id, clause, level: Level::Error }
}

const fn warning(id: &'static str, clause: &'static str) -> Rule {
    Rule { id, clause, level: Level::Warning }
}

/// A place where a line breaks a rule.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// The bytes it is about; empty where something is missing.
    pub range: Range<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// What to write in place of the range, where that can be said without knowing what was meant.
    pub fix: Option<String>,
}

/// The linter of one format.
#[derive(Debug)]
pub struct Linter {
    /// The name users write, that of the format: `cef`.
    pub name: &'static str,
    /// Everything it looks for.
    pub rules: &'static [&'static Rule],
    /// Where a line of the format begins in a frame, behind a header of syslog.
    find: fn(&[u8]) -> Option<usize>,
    check: fn(&mut Report<'_>, usize),
}

/// Every linter, surest first.
pub const LINTERS: &[Linter] = &[cef::LINTER, leef::LINTER, hec::LINTER, rfc5424::LINTER];

/// The linter of that name.
pub fn linter(name: &str) -> Option<&'static Linter> {
    LINTERS.iter().find(|linter| linter.name == name)
}

/// The linter for a line: the first whose format it is.
pub fn detect(line: &[u8]) -> Option<&'static Linter> {
    LINTERS.iter().find(|linter| (linter.find)(line).is_some())
}

impl Linter {
    /// What is wrong with a line, in the order of the bytes; nothing: it is as it should be.
    pub fn check(&self, line: &[u8]) -> Vec<Finding> {
        let mut report = Report { line, findings: Vec::new() };
        (self.check)(&mut report, (self.find)(line).unwrap_or(0));
        let mut findings = report.findings;
        findings.sort_by_key(|finding| (finding.range.start, finding.range.end));
        findings
    }
}

/// The line with every fix made. Of two that overlap the first one is.
pub fn corrected(line: &[u8], findings: &[Finding]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut done = 0;
    for finding in findings {
        if let (Some(fix), true) = (&finding.fix, finding.range.start >= done) {
            out.extend_from_slice(line.get(done..finding.range.start).unwrap_or_default());
            out.extend_from_slice(fix.as_bytes());
            done = finding.range.end;
        }
    }
    out.extend_from_slice(line.get(done..).unwrap_or_default());
    out
}

/// Where a line of a format with a marker begins, also directly behind a PRI. JSON holds other people's lines.
fn marked(marker: Marker, line: &[u8]) -> Option<usize> {
    if matches!(line.first(), Some(b'{' | b'[')) {
        return None;
    }
    let behind_pri = || {
        let at = line.len().saturating_sub(syslog::pri(line)?.0.len());
        marker.version(line, at).map(|_| at)
    };
    marker.find(line).or_else(behind_pri)
}

/// A line and what was found so far.
struct Report<'l> {
    line: &'l [u8],
    findings: Vec<Finding>,
}

impl<'l> Report<'l> {
    fn say(&mut self, rule: &'static Rule, range: Range<usize>, message: impl Into<String>) {
        self.push(rule, range, message.into(), None);
    }

    fn fix(&mut self, rule: &'static Rule, range: Range<usize>, message: impl Into<String>, fix: impl Into<String>) {
        self.push(rule, range, message.into(), Some(fix.into()));
    }

    fn push(&mut self, rule: &'static Rule, range: Range<usize>, message: String, fix: Option<String>) {
        if self.findings.len() < FINDINGS_MAX {
            let end = range.end.min(self.line.len());
            let end = if planted!("lint") { range.end.saturating_add(1) } else { end };
            self.findings.push(Finding { rule, range: range.start.min(end)..end, message, fix });
        }
    }

    fn is_full(&self) -> bool {
        self.findings.len() >= FINDINGS_MAX
    }

    fn bytes(&self, range: Range<usize>) -> &'l [u8] {
        self.line.get(range).unwrap_or_default()
    }

    /// A piece for a message or for a check of text, cut where it is long.
    fn text(&self, range: Range<usize>) -> String {
        const SHOWN: usize = 60;
        let bytes = self.bytes(range);
        let text = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes));
        if bytes.len() > SHOWN { format!("{text}…") } else { text.into_owned() }
    }

    /// Bytes that are not UTF-8.
    fn utf8(&mut self, rule: &'static Rule) {
        let mut at = 0_usize;
        for chunk in self.line.utf8_chunks() {
            at = at.saturating_add(chunk.valid().len());
            let end = at.saturating_add(chunk.invalid().len());
            if end > at {
                self.fix(rule, at..end, "bytes that are not UTF-8; write the character as UTF-8", "\u{fffd}");
            }
            at = end;
            if self.is_full() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_says_where_it_stands() {
        let mut ids = BTreeSet::new();
        for linter in LINTERS {
            for rule in linter.rules {
                assert!(rule.id.starts_with(linter.name) && rule.clause.len() > 20, "{}", rule.id);
                assert!(ids.insert(rule.id), "{} twice", rule.id);
            }
        }
        assert!(ids.len() > 50, "{}", ids.len());
    }

    #[test]
    fn of_two_fixes_that_overlap_one_is_made() {
        static RULE: Rule = error("x", "");
        let finding = |range, fix: &str| Finding { rule: &RULE, range, message: String::new(), fix: Some(fix.into()) };
        let findings = [finding(1..3, "X"), finding(2..4, "Y"), finding(4..4, "Z")];
        assert_eq!(corrected(b"abcdef", &findings), b"aXdZef");
        assert_eq!(corrected(b"abc", &[]), b"abc");
    }
}
