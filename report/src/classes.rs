//! Classes of audit events: `catalog/classes.toml`, read once.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

const FILE: &str = include_str!("../../catalog/classes.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    version: u32,
    class: Vec<Class>,
}

/// One class.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    pub id: String,
    pub title: String,
    /// What each of its events must say beside its time.
    pub details: Vec<Detail>,
    events: Vec<String>,
}

/// What an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    Vm,
    Object,
    Image,
    User,
}

impl Detail {
    pub fn name(self) -> &'static str {
        match self {
            Detail::Vm => "machine",
            Detail::Object => "object",
            Detail::Image => "image",
            Detail::User => "user",
        }
    }
}

/// See above.
#[derive(Debug)]
pub struct Classes {
    pub version: u32,
    pub all: Vec<Class>,
    /// Index into `all`.
    exact: HashMap<String, usize>,
    /// Those that end in `*`, the longest first.
    begins: Vec<(String, usize)>,
}

impl Classes {
    /// # Errors
    /// The file is not as it must be: an entry stands in two classes.
    pub fn read() -> Result<Classes> {
        Classes::parse(FILE).context("catalog/classes.toml")
    }

    fn parse(text: &str) -> Result<Classes> {
        let Catalog { version, class: all } = toml::from_str(text)?;
        let (mut exact, mut begins) = (HashMap::new(), Vec::new());
        for (index, class) in all.iter().enumerate() {
            for event in &class.events {
                let is_twice = match event.strip_suffix('*') {
                    Some(begin) => {
                        let is_twice = begins.iter().any(|(other, _)| other == begin);
                        begins.push((begin.to_owned(), index));
                        is_twice
                    }
                    None => exact.insert(event.clone(), index).is_some(),
                };
                anyhow::ensure!(!is_twice, "`{event}` stands there twice");
            }
        }
        begins.sort_by_key(|(begin, _)| std::cmp::Reverse(begin.len()));
        Ok(Classes { version, all, exact, begins })
    }

    /// The id of the class of an event class.
    pub fn of(&self, event_class: &str) -> Option<&str> {
        let begins = || self.begins.iter().find(|(begin, _)| event_class.starts_with(begin.as_str()));
        let index = self.exact.get(event_class).or_else(|| begins().map(|(_, index)| index))?;
        self.all.get(*index).map(|class| class.id.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_have_their_class() {
        let classes = Classes::read().unwrap();
        for (event, class) in [
            ("container.start", Some("C1")),
            ("container.exec_create", Some("C2")),
            ("container.log", None),
            ("image.pull", Some("C4")),
            ("image.anything", Some("C4")),
            ("wazuh.87907", Some("C2")),
            ("wazuh.5710", None),
            ("gap", Some("C10")),
            ("compliance.source_silent", Some("C11")),
            ("compliance.docker_not_allowed", Some("X")),
            ("unparsed", None),
        ] {
            assert_eq!(classes.of(event), class, "{event}");
        }
        let ids: Vec<_> = classes.all.iter().map(|class| class.id.as_str()).collect();
        assert_eq!(ids, ["C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11", "X"]);
    }

    #[test]
    fn no_event_is_of_two_classes() {
        let class = |id: &str| format!("[[class]]\nid = \"{id}\"\ntitle = \"t\"\ndetails = []\nevents = [\"a.*\"]\n");
        let error = Classes::parse(&format!("version = 1\n{}{}", class("C1"), class("C2"))).unwrap_err();
        assert_eq!(error.to_string(), "`a.*` stands there twice");
    }
}
