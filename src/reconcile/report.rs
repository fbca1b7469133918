//! What reconciling found.

use std::collections::BTreeMap;

use super::NAMED_MAX;

/// One source in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    pub archived: u64,
    pub missing: u64,
    pub duplicate: u64,
    pub late: u64,
}

/// Counts are exact; of the ids at most ten thousand of a kind are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Events of the archive that the SIEM should have.
    pub archived: u64,
    /// Events of the archive that were not asked for, or are for another sink.
    pub not_expected: u64,
    /// Ids in the export.
    pub found: u64,
    pub missing: u64,
    /// Of the missing, those that gap records of the gateway declare.
    pub declared: u64,
    /// Copies beyond the first.
    pub duplicates: u64,
    /// Ids that the period of the archive does not have.
    pub unknown: u64,
    /// What stands for an id and is none.
    pub malformed: u64,
    pub late: u64,
    pub missing_ids: Vec<String>,
    pub duplicate_ids: Vec<String>,
    pub unknown_ids: Vec<String>,
    pub malformed_ids: Vec<String>,
    pub late_ids: Vec<String>,
    /// By source, and hours since 1970 of receipt.
    pub rows: BTreeMap<(String, i64), Row>,
    /// Hashes of the configurations that came into force.
    pub configurations: Vec<String>,
}

impl Report {
    pub(super) fn name(ids: &mut Vec<String>, id: &str) {
        if ids.len() < NAMED_MAX {
            ids.push(id.chars().take(64).collect());
        }
    }

    /// Whether the SIEM has everything, once and in time, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.missing + self.duplicates + self.unknown + self.malformed + self.late == 0
    }
}
