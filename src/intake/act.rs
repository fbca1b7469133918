//! Acts: who has done something with what is in custody: read, exported, replayed, verified it.
//!
//! Way of an act: a verb of the command line → control socket, or a file that the next start takes in →
//! **event of the gateway** → journal → every sink, the archive among them. Invariant: what the kernel says
//! of the peer replaces what the verb says of itself.

use serde::{Deserialize, Serialize};
use wharfinger_formats::{Event, Field, Time, Value};

/// What was done, as a line of the file and as a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Act {
    /// The same for the beginning and the end of one: 16 hexadecimal digits.
    pub id: String,
    /// `read`, `export`, `replay`, `reconcile`, `verify`.
    pub action: String,
    /// When, nanoseconds since 1970.
    pub time: i64,
    /// The arguments as they were written, so far as there is room for them.
    pub arguments: Vec<String>,
    /// How many there were, if there was no room for all of their text.
    pub arguments_count: Option<u64>,
    /// Absent when it begins: `success`, `failure`.
    pub outcome: Option<String>,
    /// The exit code, when it has ended.
    pub exit: Option<i64>,
    pub user: Option<String>,
    pub uid: Option<u32>,
    /// Who has logged in, before `su` or `sudo`.
    pub login_uid: Option<u32>,
    pub pid: Option<u32>,
    pub terminal: Option<String>,
    /// The address of the other end of an SSH session, as its environment says.
    pub ssh: Option<String>,
}

/// Texts of an act, and its arguments together, are cut at so many bytes.
const TEXT_MAX: usize = 8 * 1024;
const CLASSES: &[(&str, &str)] = &[
    ("read", "custody.read"),
    ("close", "custody.close"),
    ("export", "custody.export"),
    ("hold", "custody.hold"),
    ("replay", "custody.replay"),
    ("reconcile", "custody.reconcile"),
    ("verify", "custody.verify"),
];

impl Act {
    /// Without what there is no room for in an event.
    #[must_use]
    pub fn cut(mut self) -> Act {
        let (count, mut left) = (self.arguments.len(), TEXT_MAX);
        let mut is_cut = false;
        self.arguments.retain_mut(|argument| {
            let is_in = !is_cut && left > 0;
            is_cut |= !is_in || argument.len() > left;
            argument.truncate(argument.floor_char_boundary(left));
            // An empty one takes room, too.
            left = left.saturating_sub(argument.len() + 1);
            is_in
        });
        if is_cut {
            self.arguments_count.get_or_insert(count as u64);
        }
        self
    }

    /// The message, for people.
    pub(super) fn text(&self) -> String {
        let user = self.user.as_deref().unwrap_or("somebody");
        let outcome = match &self.outcome {
            None => "begins".to_owned(),
            Some(outcome) => format!("{outcome}, exit code {}", self.exit.unwrap_or(0)),
        };
        let mut text = format!("custody: {user}: {}: wharfinger {}", outcome, self.arguments.join(" "));
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text
    }

    pub(super) fn fill(&self, event: &mut Event<'_>) {
        let class =
            CLASSES.iter().find(|(action, _)| *action == self.action).map_or("custody.other", |(_, class)| class);
        event.set(Field::EventClass, class);
        event.set(Field::Name, class);
        event.set(Field::Severity, 3);
        event.set(Field::Time, Time(self.time));
        event.set_text(Field::Action, &self.action);
        event.set_text(Field::Outcome, self.outcome.as_deref().unwrap_or("unknown"));
        event.set_text(Field::UserName, self.user.as_deref().unwrap_or_default());
        for (field, number) in [(Field::UserId, self.uid), (Field::ProcessId, self.pid)] {
            if let Some(number) = number {
                event.set(field, &*number.to_string());
            }
        }
        event.set_text(Field::SrcIp, self.ssh.as_deref().unwrap_or_default());
        event.extra("custody", "id", &*self.id);
        if let Ok(arguments) = serde_json::to_string(&self.arguments) {
            event.extra("custody", "arguments", Value::Json(&arguments));
        }
        event.extra("custody", "phase", if self.outcome.is_none() { "begin" } else { "end" });
        if let Some(terminal) = &self.terminal {
            event.extra("custody", "terminal", &**terminal);
        }
        let count = self.arguments_count.and_then(|count| i64::try_from(count).ok());
        let numbers = [("arguments_count", count), ("login_uid", self.login_uid.map(i64::from)), ("exit", self.exit)];
        for (name, number) in numbers {
            if let Some(number) = number {
                event.extra("custody", name, number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_a_limit_and_their_count_stays() {
        let few = Act { arguments: vec!["archive".to_owned(), "é".repeat(100)], ..Act::default() };
        assert_eq!(few.clone().cut(), few);
        let many = Act { arguments: vec![String::new(); 100_000], ..Act::default() }.cut();
        assert_eq!((many.arguments.len(), many.arguments_count), (TEXT_MAX, Some(100_000)));
        let long = Act { arguments: vec!["cat".to_owned(), "é".repeat(1 << 20), "x".to_owned()], ..Act::default() };
        let cut = long.cut();
        assert_eq!((cut.arguments.len(), cut.arguments_count), (2, Some(3)));
        assert!(cut.arguments.concat().len() <= TEXT_MAX);
        assert_eq!(cut.clone().cut().arguments_count, Some(3), "what was cut is not counted anew");
    }
}
