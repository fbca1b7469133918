//! News of inventories: what changed, what is odd and what failed, as events of the gateway.

use crate::identity::{Difference, Entry, Identity, Inventory, changes, summary};
use crate::intake::{About, AppendError, Intake};

/// So many changes of machines are told one by one; the rest is in the sum.
const CHANGES_MAX: usize = 1000;
/// So many oddities are told; `wharfinger inventory check` shows all.
const ODDITIES_MAX: usize = 5;

/// What is to be told.
#[derive(Default)]
pub(super) struct News {
    events: Vec<(&'static str, i64, String)>,
    machines: Vec<(&'static str, String, Identity)>,
}

impl News {
    /// Something of an inventory as a whole.
    pub(super) fn say(&mut self, class: &'static str, severity: i64, text: String) {
        self.events.push((class, severity, text));
    }

    /// What is odd in it, if anything is.
    pub(super) fn odd(&mut self, name: &str, odd: &str) {
        if !odd.is_empty() {
            self.say("inventory.odd", 4, format!("{name} is used, but: {odd}"));
        }
    }

    /// What the cloud says of the machine that the gateway runs on.
    pub(super) fn this_machine(&mut self, by: &str, told: &[Entry]) {
        for entry in told {
            let facts = entry.facts();
            let known: Vec<String> = facts.iter().map(|(field, value)| format!("{} `{value}`", field.name())).collect();
            self.say("inventory.changed", 2, format!("{by}: this machine has {}", known.join(", ")));
        }
    }

    /// Which machines came, went and changed.
    pub(super) fn changed(&mut self, by: &str, before: &[Entry], after: &[Entry]) {
        let all = changes(before, after);
        if all.is_empty() {
            return;
        }
        let more = if all.len() > CHANGES_MAX { format!("; the first {CHANGES_MAX} are told") } else { String::new() };
        let text = format!("{by}: {}: {} machines are known{more}", summary(&all), after.len());
        tracing::info!("{text}");
        self.say("inventory.changed", 2, text);
        self.machines.extend(
            all.iter().take(CHANGES_MAX).map(|change| (change.kind.class(), sentence(by, change), change.identity())),
        );
    }

    /// Answers whether it is in the journal.
    pub(super) async fn tell(&self, own: &Intake) -> bool {
        let mut is_told = true;
        for (class, severity, text) in &self.events {
            is_told &= log(own.report(class, *severity, text).await);
        }
        let about = self.machines.iter().map(|(class, text, identity)| About { class, text, facts: &identity.facts });
        log(own.report_about(about).await) && is_told
    }
}

/// The oddities of an inventory, the first of them in words.
pub(super) fn odd(inventory: &Inventory) -> String {
    let told = inventory.notes.iter().take(ODDITIES_MAX).map(|note| match note.line {
        0 => note.text.clone(),
        line => format!("line {line}: {}", note.text),
    });
    let told = told.collect::<Vec<_>>().join("; ");
    match inventory.notes.len().saturating_sub(ODDITIES_MAX) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

fn sentence(by: &str, change: &Difference<'_>) -> String {
    let (name, what) = (&change.entry.name, change.kind.name());
    match change.text.is_empty() {
        true => format!("machine `{name}` {what} ({by})"),
        false => format!("machine `{name}`: {} ({by})", change.text),
    }
}

fn log(told: Result<(), AppendError>) -> bool {
    if let Err(error) = &told {
        tracing::error!("what changed of an inventory cannot be recorded: {error}");
    }
    told.is_ok()
}
