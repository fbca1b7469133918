//! What the source itself looks at in an event, before any parser does: when, what, to whom, and the
//! attributes of that.
//!
//! Invariant: what it finds decides what is asked or left out, never what an event says.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

pub(super) const SECOND: i64 = 1_000_000_000;

/// The members of an event that matter here. Before API 1.22 `status` and `id` stood for `Action`
/// and `Actor.ID`; before 1.21 there was no `timeNano`.
#[derive(Deserialize)]
pub(super) struct Glance<'a> {
    #[serde(rename = "timeNano", default)]
    time_nano: i64,
    #[serde(default)]
    time: i64,
    #[serde(rename = "Type", borrow, default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(rename = "Action", borrow, default)]
    new_action: Cow<'a, str>,
    #[serde(rename = "Actor", borrow, default)]
    actor: Actor<'a>,
    #[serde(rename = "status", borrow, default)]
    old_action: Cow<'a, str>,
    #[serde(rename = "id", borrow, default)]
    old_id: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
struct Actor<'a> {
    #[serde(rename = "ID", borrow, default)]
    id: Cow<'a, str>,
}

impl<'a> Glance<'a> {
    /// None: it is no event of the engine.
    pub(super) fn of(event: &'a [u8]) -> Option<Glance<'a>> {
        serde_json::from_slice(event).ok()
    }

    /// Nanoseconds since 1970; 0 when the event does not tell.
    pub(super) fn time(&self) -> i64 {
        if self.time_nano > 0 { self.time_nano } else { self.time.saturating_mul(SECOND) }
    }

    /// What was done, with all that stands behind it: `exec_start: sh`.
    pub(super) fn action(&self) -> &str {
        if self.new_action.is_empty() { &self.old_action } else { &self.new_action }
    }

    /// To what: the id of a container, the name of a volume.
    pub(super) fn id(&self) -> &str {
        if self.new_action.is_empty() { &self.old_id } else { &self.actor.id }
    }

    /// Whether the engine tells an exit code or a signal, in words that a label can replace.
    pub(super) fn has_claims(&self) -> bool {
        matches!(self.action(), "die" | "exec_die" | "kill")
    }

    /// Whether it is about a container. Before API 1.22 there was nothing else that is created or started.
    pub(super) fn is_of_container(&self) -> bool {
        self.kind == "container" || self.kind.is_empty()
    }
}

/// What the engine says of a container in an event: `image`, `name`, what belongs to the action, and its labels,
/// which win over all but the first two.
pub(super) struct Attributes<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Attributes<'a> {
    /// None: it is no event of the engine.
    pub(super) fn of(event: &'a [u8]) -> Option<Attributes<'a>> {
        #[derive(Deserialize)]
        struct Read<'a> {
            #[serde(rename = "Actor", borrow, default)]
            actor: Actor<'a>,
            /// The image, before API 1.22.
            #[serde(borrow, default)]
            from: Option<Cow<'a, str>>,
        }
        #[derive(Deserialize, Default)]
        struct Actor<'a> {
            #[serde(rename = "Attributes", borrow, default)]
            attributes: HashMap<Cow<'a, str>, Cow<'a, str>>,
        }
        let Read { actor, from } = serde_json::from_slice(event).ok()?;
        let mut attributes = actor.attributes;
        if let Some(from) = from {
            attributes.entry("image".into()).or_insert(from);
        }
        Some(Attributes(attributes))
    }

    /// From its parts.
    pub(super) fn new(attributes: HashMap<Cow<'a, str>, Cow<'a, str>>) -> Self {
        Attributes(attributes)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// Its labels, and what the engine says by names like theirs.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().map(|(name, value)| (&**name, &**value));
        all.filter(|(name, _)| !matches!(*name, "image" | "name"))
    }
}
