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
    /// The arguments as they were written.
    pub arguments: Vec<String>,
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

/// Texts of an act are cut at so many bytes.
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
        for (name, number) in [("login_uid", self.login_uid.map(i64::from)), ("exit", self.exit)] {
            if let Some(number) = number {
                event.extra("custody", name, number);
            }
        }
    }
}
