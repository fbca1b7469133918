//! The section `digests`: which archive is looked through every day, for whom, and where that goes.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use wharfinger_formats::Time;

use super::{Config, is_part_name};
use crate::document::{Mistake, Node, Place, Table, Value, hint_for_name, list, read_options};
use crate::part::{Interval, with_hint};

/// Frameworks of the catalogue, each a file in `catalog`.
pub const FRAMEWORKS: &[&str] = &[
    "cis-controls-8.1",
    "cis-docker-1.6.0",
    "dora-2024-1774",
    "glba-314.4",
    "hipaa-164.312",
    "iso-27001-2022",
    "nis2-2024-2690",
    "nist-800-190",
    "nist-800-53-r5",
    "pci-dss-4.0.1",
    "sec-17a-4",
    "soc2-2017",
];
/// The program that makes them.
const PROGRAM: &str = "wharfinger-report";
/// Whoever was away for longer asks for the days by hand.
const CATCH_UP_DAYS_MAX: u32 = 366;
const DAY_SECONDS: i64 = 24 * 3600;

/// A digest of every day of an archive, by UTC: counts, findings, gaps, and whether it is proven. It goes to a folder
/// as text and JSON, and to every sink as an event `report.digest`. See docs/reports.md.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// The sink of type `archive` that it is of.
    pub archive: String,
    /// For which framework: `pci-dss-4.0.1`, `hipaa-164.312`, `soc2-2017` and others in docs/reports.md.
    #[serde(default = "framework")]
    pub framework: String,
    /// Only machines of this group or with this tag. Default: none, every machine.
    #[serde(default)]
    pub scope: Option<String>,
    /// When a day is looked through: this time of the next day, UTC.
    #[serde(default = "at")]
    pub at: TimeOfDay,
    /// The folder it goes to. Unless it is written, `digests` in the archive itself: in a bucket with `lock` nobody can
    /// remove it. Default: none.
    #[serde(default)]
    pub to: Option<PathBuf>,
    /// So many days are made up for after the gateway was off. At most 366.
    #[serde(default = "catch_up_days")]
    pub catch_up_days: u32,
    /// A machine that says nothing for so long is silent, and the digest names it.
    #[serde(default = "silent_after")]
    pub silent_after: Interval,
}

fn framework() -> String {
    "pci-dss-4.0.1".to_owned()
}
const fn at() -> TimeOfDay {
    TimeOfDay { minutes: 60 }
}
const fn catch_up_days() -> u32 {
    7
}
const fn silent_after() -> Interval {
    Interval::seconds(15 * 60)
}

/// A digest as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDigest {
    pub name: String,
    pub options: Digest,
    /// Where its name stands.
    pub(super) place: Place,
}

/// `06:00`: hours and minutes, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    minutes: i64,
}

impl TimeOfDay {
    /// Seconds since midnight.
    pub const fn seconds(self) -> i64 {
        self.minutes * 60
    }

    fn parse(text: &str) -> Option<TimeOfDay> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |text: &str, limit: i64| {
            let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i64>().ok().filter(|number| is_number && *number < limit)
        };
        Some(TimeOfDay { minutes: number(hours, 24)? * 60 + number(minutes, 60)? })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let cause = || {
            with_hint(format_args!("expected a time of day, found `{text}`"), "write `06:00`, from 00:00 to 23:59, UTC")
        };
        TimeOfDay::parse(text.trim()).ok_or_else(|| D::Error::custom(cause()))
    }
}

impl serde::Serialize for TimeOfDay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for TimeOfDay {
    fn schema_name() -> Cow<'static, str> {
        "time of day".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "time of day" })
    }
}

impl Digest {
    /// The last day whose time has come, in days since 1970.
    pub fn last_due(&self, now: Time) -> i64 {
        (now.seconds() - self.at.seconds()).div_euclid(DAY_SECONDS) - 1
    }
}

/// Reads the section; mistakes of one digest do not hide those of another.
pub(super) fn read(root: &Node, errors: &mut Vec<Mistake>) -> Vec<NamedDigest> {
    let Some(section) = root.entry("digests") else { return Vec::new() };
    if !matches!(section.node.value, Value::Table(_) | Value::Null) {
        let cause = format!("`digests`: expected a table of names, found {}", section.node.kind());
        errors.push(Mistake::new(section.node.place, cause, "give each a name: `digests: {daily: {archive: audit}}`"));
    }
    let mut digests = Vec::new();
    for entry in section.node.entries() {
        if !is_part_name(&entry.name) {
            let cause = format!("`{}` cannot be the name of a digest", entry.name);
            errors.push(Mistake::new(entry.place, cause, "use letters, digits, `-` and `_`, at most 64"));
            continue;
        }
        let path = format!("digests.{}", entry.name);
        let table = Table { path: &path, place: entry.place, except: &[] };
        match read_options(&entry.node, table, |options| erased_serde::deserialize(options)) {
            Ok(options) => digests.push(NamedDigest { name: entry.name.clone(), options, place: entry.place }),
            Err(found) => errors.extend(found),
        }
    }
    digests
}

/// The program that makes reports: beside this one, or in the path.
pub fn report_program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    beside.into_iter().chain(in_path).find(|program| program.is_file())
}

impl Config {
    pub(super) fn check_digests(&self, errors: &mut Vec<Mistake>) {
        for digest in &self.digests {
            let NamedDigest { name, options, place } = digest;
            let mut wrong = |option: &str, cause: String, hint: String| {
                let place = self.place(&format!("digests.{name}.{option}")).unwrap_or(*place);
                errors.push(Mistake::new(place, format!("`digests.{name}.{option}`: {cause}"), hint));
            };
            let archives: Vec<&str> =
                self.sinks.iter().filter(|sink| sink.options.is_evidence()).map(|sink| &*sink.name).collect();
            if !archives.contains(&&*options.archive) {
                let cause = format!("there is no sink `{}` of type `archive`", options.archive);
                let hint = match archives.as_slice() {
                    [] => "add one below `sinks`: `audit: {type: archive, path: …}`".to_owned(),
                    archives => format!("name one of {}", list(archives)),
                };
                wrong("archive", cause, hint);
            }
            if !FRAMEWORKS.contains(&&*options.framework) {
                let cause = format!("there is no framework `{}`", options.framework);
                wrong("framework", cause, hint_for_name(&options.framework, FRAMEWORKS));
            }
            if !(1..=CATCH_UP_DAYS_MAX).contains(&options.catch_up_days) {
                let cause = format!("{} days cannot be made up for", options.catch_up_days);
                wrong("catch_up_days", cause, format!("write a number from 1 to {CATCH_UP_DAYS_MAX}"));
            }
            if options.to.as_ref().is_some_and(|to| to.is_file() || to.as_os_str().is_empty()) {
                wrong("to", "it is no folder".to_owned(), "choose another path, or leave it out".to_owned());
            }
            if report_program().is_none() {
                let own = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.display().to_string()));
                let cause = format!(
                    "`{PROGRAM}`, which makes it, is neither in `{}` nor in the path",
                    own.as_deref().unwrap_or("the folder of this program")
                );
                let hint = format!("install `{PROGRAM}` there: `cargo install --locked --path report`");
                errors.push(Mistake::new(*place, format!("`digests.{name}`: {cause}"), hint));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        for (text, seconds) in [("00:00", 0), ("06:30", 23_400), ("23:59", 86_340)] {
            assert_eq!(TimeOfDay::parse(text).unwrap().seconds(), seconds);
            assert_eq!(TimeOfDay::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "6:00", "24:00", "06:60", "06", "+6:00", "06:00:00"] {
            assert_eq!(TimeOfDay::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_is_due_on_the_next_one() {
        let read = |at: &str| Digest {
            archive: String::new(),
            framework: framework(),
            scope: None,
            at: TimeOfDay::parse(at).unwrap(),
            to: None,
            catch_up_days: 7,
            silent_after: silent_after(),
        };
        let due = |at: &str, now: &str| read(at).last_due(Time::parse_rfc3339(now.as_bytes()).unwrap().0);
        // 2026-11-21 is day 20778.
        assert_eq!(due("06:00", "2026-11-22T06:00:00Z"), 20_778);
        assert_eq!(due("06:00", "2026-11-22T05:59:59.999Z"), 20_777);
        assert_eq!(due("00:00", "2026-11-22T00:00:00Z"), 20_778);
        assert_eq!(due("00:00", "2024-03-01T00:00:00Z") - due("00:00", "2024-02-28T12:00:00Z"), 2, "a leap day");
    }

    #[test]
    fn every_framework_of_the_catalogue() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
        let names =
            std::fs::read_dir(folder).unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let mut names: Vec<_> = names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
        names.retain(|name| name != "classes");
        names.sort();
        assert_eq!(names, FRAMEWORKS);
    }
}
