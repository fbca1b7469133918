//! What leaves by a sink without secrets: rules that are named, for texts and raw bytes of every event.
//!
//! The archive masks with the same hand (`archive/masking.rs`), by rules of its own.
//!
//! Invariants: a sink without rules costs nothing, and an event without a secret one look and no allocation. Nothing
//! is changed in the journal: what a sink may not have, another one may.

mod cards;
mod commands;
mod emails;
mod environment;
mod masker;
mod names;
mod quotes;
mod secrets;
mod values;
mod whole;
mod words;

use std::sync::Arc;

use aws_lc_rs::hmac;
use wharfinger_formats::Event;

use super::{Push, Refused, Sink};
use crate::part::{Problem, Secret, SetupError};

pub(super) use self::masker::{How, Masker, hex};
pub(super) use self::secrets::is_suspect;

/// A shorter key can be found by trying.
const KEY_BYTES_MIN: usize = 16;

/// What is taken for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Env,
    Tokens,
    Passwords,
    Cards,
    Emails,
}

impl Rule {
    pub const COUNT: usize = 5;
    pub const ALL: [Rule; Rule::COUNT] = [Rule::Env, Rule::Tokens, Rule::Passwords, Rule::Cards, Rule::Emails];

    /// What users call it.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Env => "env",
            Rule::Tokens => "tokens",
            Rule::Passwords => "passwords",
            Rule::Cards => "cards",
            Rule::Emails => "emails",
        }
    }

    /// The one users call `name`.
    pub fn named(name: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Whose stand-in says `word`.
    fn of(word: &str) -> Rule {
        match word {
            environment::RULE => Rule::Env,
            "password" | "auth" | "url" => Rule::Passwords,
            cards::RULE => Rule::Cards,
            "email" => Rule::Emails,
            _ => Rule::Tokens,
        }
    }
}

/// How many secrets of each rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts([u32; Rule::COUNT]);

impl Counts {
    fn add(&mut self, word: &str) {
        self.0[Rule::of(word) as usize] += 1;
    }

    pub(super) fn of(&self, rule: Rule) -> u32 {
        self.0[rule as usize]
    }

    pub(super) fn all(&self) -> u32 {
        self.0.iter().sum()
    }

    fn add_all(&mut self, other: &Counts) {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own = own.saturating_add(other));
    }
}

/// The rules of a sink, as the configuration says them: with a key where hashes are wanted.
#[derive(Debug, Clone, Default)]
pub struct Redaction(pub Vec<(Rule, Option<Secret>)>);

impl Redaction {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with its keys on this machine.
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |message: String| Problem {
            option: "redact",
            message,
            hint: format!("`head -c 32 /dev/urandom | base64` makes a key; it has {KEY_BYTES_MIN} bytes at least"),
        };
        self.0.iter().filter_map(|(rule, key)| read(*rule, key.as_ref()?).err()).map(problem).collect()
    }

    /// Reads the keys; none where there is no rule.
    ///
    /// # Errors
    /// A key cannot be read or is too short.
    pub fn open(&self) -> Result<Option<Arc<Redactor>>, SetupError> {
        let mut rules = Vec::new();
        for (rule, key) in &self.0 {
            let how = match key {
                None => How::Mask,
                Some(key) => {
                    let key = read(*rule, key).map_err(|cause| SetupError::new("cannot use `redact`", cause))?;
                    How::Hash(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))
                }
            };
            rules.push((*rule, how));
        }
        Ok((!rules.is_empty()).then(|| Arc::new(Redactor(Masker::new(rules)))))
    }
}

fn read(rule: Rule, key: &Secret) -> Result<String, String> {
    let text = key.read().map_err(|error| format!("rule `{}`: {error}", rule.name()))?;
    match text.len() < KEY_BYTES_MIN {
        true => Err(format!("rule `{}`: a key of {} bytes can be guessed", rule.name(), text.len())),
        false => Ok(text),
    }
}

/// Takes secrets out of events before a sink has them.
#[derive(Debug)]
pub struct Redactor(Masker);

impl Redactor {
    /// Pushes the event without its secrets, and counts them if it is taken.
    pub(super) fn push(&self, sink: &mut dyn Sink, event: &Event<'_>, counts: &mut Counts) -> Result<Push, Refused> {
        if self.0.is_clean(event) {
            return sink.push(event);
        }
        let redacted = self.0.rewritten(event, |event, found| {
            let pushed = sink.push(&event);
            (pushed, *found)
        });
        let Some((pushed, found)) = redacted else { return sink.push(event) };
        if matches!(pushed, Ok(Push::Taken { .. })) {
            counts.add_all(&found);
        }
        pushed
    }
}

/// What the fuzz target `redact` sees.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::sync::LazyLock;

    use super::*;

    /// All rules, with and without hashes.
    static ALL: LazyLock<[Masker; 2]> = LazyLock::new(|| {
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &[7; KEY_BYTES_MIN]));
        [How::Mask, How::Hash(key)].map(|how| Masker::new(Rule::ALL.map(|rule| (rule, how.clone()))))
    });

    /// Whether one look says that nothing is to be taken out.
    #[must_use]
    pub fn is_clean(event: &Event<'_>) -> bool {
        ALL[0].is_clean(event)
    }

    /// The event without its secrets, if it has any.
    pub fn redacted<R>(event: &Event<'_>, is_hashed: bool, then: impl FnOnce(&Event<'_>) -> R) -> Option<R> {
        ALL[usize::from(is_hashed)].rewritten(event, |event, _| then(&event))
    }
}

#[cfg(test)]
mod tests;
