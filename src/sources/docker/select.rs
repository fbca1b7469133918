//! Which containers are meant, by name, image and label.
//!
//! Invariant: what an event does not say leaves nothing out, and what is left out is counted.

use schemars::JsonSchema;
use serde::Deserialize;

use super::glance::Attributes;
use crate::sources::file::glob::name_matches;

/// Names, images or labels of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Containers {
    /// Names, with `*`, `?` and `[a-z]`.
    pub(super) names: Vec<String>,
    /// Images as they were named, written the same way: `registry.example/*`.
    pub(super) images: Vec<String>,
    /// Labels, as `name` or `name=value`, both written the same way.
    pub(super) labels: Vec<String>,
}

/// See above.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) include: Containers,
    pub(super) exclude: Containers,
}

impl Containers {
    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.images.is_empty() && self.labels.is_empty()
    }

    /// Whether one of them is this container's; none: it does not say what is asked for.
    fn have(&self, container: &Attributes<'_>) -> Option<bool> {
        let fits = |patterns: &[String], told: Option<&str>| match (patterns, told) {
            ([], _) => Some(false),
            (_, None) => None,
            (patterns, Some(told)) => Some(patterns.iter().any(|pattern| matches(pattern, told))),
        };
        let name = fits(&self.names, container.get("name").map(|name| name.trim_start_matches('/')));
        let image = fits(&self.images, container.get("image"));
        let label =
            self.labels.iter().any(|label| container.labels().any(|(name, value)| is_label(label, name, value)));
        match (name, image, label) {
            (Some(true), ..) | (_, Some(true), _) | (.., true) => Some(true),
            (None, ..) | (_, None, _) => None,
            _ => Some(false),
        }
    }
}

impl Selection {
    /// Whether it can leave anything out.
    pub(super) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a container is left out: it is excluded, or others are included and it is not.
    pub(super) fn leaves_out(&self, container: &Attributes<'_>) -> bool {
        let is_not_included = !self.include.is_empty() && self.include.have(container) == Some(false);
        is_not_included || self.exclude.have(container) == Some(true)
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    name_matches(pattern.as_bytes(), text.as_bytes())
}

fn is_label(pattern: &str, name: &str, value: &str) -> bool {
    match pattern.split_once('=') {
        Some((of_name, of_value)) => matches(of_name, name) && matches(of_value, value),
        None => matches(pattern, name),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn excluded_or_not_among_those_included() {
        let event = br#"{"Actor":{"Attributes":{"name":"web-1","image":"registry.example/web:1","tier":"front end","name2":"x"}}}"#;
        let container = Attributes::of(event).unwrap();
        let nameless = Attributes::of(br#"{"status":"start","id":"ab","from":"registry.example/web:1"}"#).unwrap();
        let check = |include: &str, exclude: &str, expected: [bool; 2]| {
            let read = |text: &str| serde_json::from_str(text).unwrap();
            let selection = Selection { include: read(include), exclude: read(exclude) };
            let found = [&container, &nameless].map(|container| selection.leaves_out(container));
            assert_eq!(found, expected, "{include} {exclude}");
        };
        check("{}", "{}", [false, false]);
        check("{}", r#"{"names":["web-*"]}"#, [true, false]);
        check("{}", r#"{"names":["web"],"images":["web*"],"labels":["tier=back*"]}"#, [false, false]);
        check("{}", r#"{"labels":["tier=front*"]}"#, [true, false]);
        check("{}", r#"{"labels":["tie?"]}"#, [true, false]);
        check("{}", r#"{"images":["registry.example/*"]}"#, [true, true]);
        check(r#"{"names":["db-*"]}"#, "{}", [true, false]);
        check(r#"{"names":["db-*"],"labels":["tier"]}"#, "{}", [false, false]);
        check(r#"{"images":["other/*"]}"#, "{}", [true, true]);
        check(r#"{"names":["web-*"]}"#, r#"{"names":["web-1"]}"#, [true, false]);
    }
}
