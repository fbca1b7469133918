//! Frameworks: what each clause asks for and what is evidence for it. Plain data in `catalog/`.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

macro_rules! frameworks {
    ($( $name:literal )+) => {
        const FILES: &[(&str, &str)] = &[ $( ($name, include_str!(concat!("../../../catalog/", $name, ".toml"))), )+ ];
    };
}

frameworks! {
    "cis-controls-8.1" "cis-docker-1.6.0" "dora-2024-1774" "glba-314.4" "hipaa-164.312" "iso-27001-2022"
    "nis2-2024-2690" "nist-800-190" "nist-800-53-r5" "pci-dss-4.0.1" "sec-17a-4" "soc2-2017"
}

/// See above.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    pub framework: String,
    pub version: String,
    pub title: String,
    /// Raised with every change of the file.
    pub catalog: u32,
    pub scope: String,
    pub clause: Vec<Clause>,
}

/// One clause.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    pub id: String,
    pub asks: String,
    pub shows: String,
    /// Classes of which every event is evidence.
    pub classes: Vec<String>,
    pub parts: Vec<Part>,
    pub cannot: Option<String>,
}

/// A part of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Coverage,
    Events,
    Findings,
    Gaps,
    Tally,
    Integrity,
    Custody,
    Details,
    Clocks,
    Delays,
}

impl Framework {
    /// # Errors
    /// There is none of that name.
    pub fn read(name: &str) -> Result<Framework> {
        match FILES.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => toml::from_str(text).with_context(|| format!("catalog/{name}.toml")),
            None => {
                let known: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
                bail!("there is no framework `{name}`; hint: there are {}", known.join(", "))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::classes::Classes;

    #[test]
    fn every_framework_is_whole() {
        let classes = Classes::read().unwrap();
        for (name, _) in FILES {
            let framework = Framework::read(name).unwrap();
            assert_eq!(format!("{}-{}", framework.framework, framework.version), *name);
            let mut ids = HashSet::new();
            for clause in &framework.clause {
                assert!(ids.insert(&clause.id), "{name}: {} stands there twice", clause.id);
                let unknown: Vec<_> =
                    clause.classes.iter().filter(|id| !classes.all.iter().any(|class| class.id == **id)).collect();
                assert!(unknown.is_empty(), "{name} {}: {unknown:?}", clause.id);
                assert!(!clause.shows.is_empty() && !clause.asks.is_empty(), "{name} {}", clause.id);
            }
            let text = serde_json::to_string(&framework).unwrap().to_lowercase();
            assert!(!text.contains("complian"), "{name}: a pack is evidence, and says no more");
        }
        assert!(Framework::read("pci-dss-3").unwrap_err().to_string().contains("pci-dss-4.0.1"));
    }
}
