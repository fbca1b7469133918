//! A finding as an event: what it is about, why, and what to do.
//!
//! Invariant: one that an event makes names it by its place in the batch, so it cannot be stored without it.

use sha2::{Digest, Sha256};
use wharfinger_formats::{Event, Field, Time};

use super::{Policy, Rule};

/// What a finding takes over from the event that caused it: where it was, and on what.
pub(super) const TAKEN: [Field; 22] = [
    Field::ContainerId,
    Field::ContainerName,
    Field::ImageRef,
    Field::ImageDigest,
    Field::ExecCommand,
    Field::UserName,
    Field::UserId,
    Field::SrcIp,
    Field::HostName,
    Field::HostIp,
    Field::HostId,
    Field::HostClaimedName,
    Field::VmUuid,
    Field::VmInstanceUuid,
    Field::VmMoref,
    Field::VmName,
    Field::VmGroup,
    Field::VmEvidence,
    Field::Hypervisor,
    Field::InstanceId,
    Field::VcenterUuid,
    Field::Power,
];

/// Values that come from outside are cut at so many characters in a sentence.
const WORD_CHARS: usize = 120;

/// One finding, as it is told.
#[derive(Debug, Clone, Copy)]
pub struct Finding<'f> {
    pub(super) rule: &'f Rule,
    /// The same as long as the finding is open.
    pub id: &'f str,
    pub(super) state: State<'f>,
    /// How often it happened.
    pub count: u64,
    pub first: Time,
    pub last: Time,
}

/// What is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State<'f> {
    New,
    Again,
    /// The cause is gone, and why.
    Resolved(&'f str),
}

impl State<'_> {
    /// The event's action.
    fn action(self) -> &'static str {
        match self {
            State::New => "create",
            State::Again => "update",
            State::Resolved(_) => "close",
        }
    }
}

/// The id of a finding that opens now: of no other rule, machine or time.
pub(super) fn id(rule: &str, machine: &str, first: Time) -> String {
    let mut hash = Sha256::new();
    for part in [rule, machine] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(first.0.to_le_bytes());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Finding<'_> {
    pub fn rule_id(&self) -> &str {
        &self.rule.id
    }

    /// The message, for people: what, where, why.
    pub fn text(&self, policy: &Policy, cause: &Event<'_>) -> String {
        let machine = [Field::VmName, Field::HostName, Field::VmUuid, Field::Peer];
        let machine = machine.into_iter().find_map(|field| cause.text(field)).unwrap_or("unknown");
        let mut text = format!("{} on `{}`: {}", self.rule.about, cut(machine), self.why(policy, cause));
        if self.count > 1 {
            text.push_str(&format!("; {} times", self.count));
        }
        text
    }

    /// Why it is one: the rule's reason, what happened, and what the policy says. Or why it is none any more.
    pub(super) fn why(&self, policy: &Policy, cause: &Event<'_>) -> String {
        if let State::Resolved(why) = self.state {
            return format!("resolved: {why}");
        }
        let mut why = format!("{} (", self.rule.why);
        // What the clock finds has no event, but a note.
        let what = cause.text(Field::EventClass).or_else(|| cause.text(Field::Reason));
        why.push_str(cut(what.unwrap_or("an event")));
        for (name, field) in [
            ("container", Field::ContainerName),
            ("image", Field::ImageRef),
            ("command", Field::ExecCommand),
            ("user", Field::UserName),
        ] {
            if let Some(value) = cause.text(field) {
                why.push_str(&format!(", {name} `{}`", cut(value)));
            }
        }
        let beyond = self.rule.unless.and_then(|unless| policy.allowances(cause).beyond(unless, cause));
        if let Some(beyond) = beyond {
            why.push_str(&format!(", `{}`", cut(&beyond)));
        }
        why.push_str(&format!("; {})", policy.describe_group(self.rule.unless, cause)));
        why
    }

    /// Sets its fields on an event over its [`text`](Self::text). `cause_id` is the id of the event that made it, or
    /// `-` and how many places before it in the batch that stands; may be empty.
    pub fn fill(&self, policy: &Policy, cause: &Event<'_>, cause_id: &str, event: &mut Event<'_>) {
        let is_over = matches!(self.state, State::Resolved(_));
        for field in TAKEN {
            if let Some(value) = cause.get(field) {
                event.set(field, value);
            }
        }
        event.set(Field::EventClass, self.rule.class.as_str());
        event.set(Field::Name, self.rule.about.as_str());
        event.set(Field::Severity, if is_over { 2 } else { self.rule.severity });
        event.set(Field::Action, self.state.action());
        event.set(Field::Outcome, if is_over { "success" } else { "failure" });
        let why = self.why(policy, cause);
        event.set(Field::Reason, why.as_str());
        event.set(Field::Start, self.first);
        event.set(Field::End, self.last);
        event.set(Field::Count, i64::try_from(self.count).unwrap_or(i64::MAX));
        event.set(Field::RuleId, self.rule.id.as_str());
        event.set(Field::RuleName, self.rule.about.as_str());
        event.set_text(Field::RuleGroups, self.rule.set);
        event.set(Field::VmPolicy, policy.describe_group(self.rule.unless, cause).as_str());
        event.set_text(Field::Cause, cause_id);
        event.extra("finding", "id", self.id);
        event.extra("finding", "state", if is_over { "resolved" } else { "open" });
        event.extra("finding", "why", why.as_str());
        if !is_over && !self.rule.recommendation.is_empty() {
            event.extra("finding", "recommendation", self.rule.recommendation.as_str());
        }
        event.extra("finding", "first_seen", self.first);
        event.extra("finding", "last_seen", self.last);
    }
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(WORD_CHARS).map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}
