//! Masks the secrets of an event, in its raw bytes and in every text of it.
//!
//! What stands for a secret is `[masked/RULE]`, or `[masked/RULE/BYTES/HASH]` with a keyed hash: the same secret can
//! be recognized by who has the key, and guessed by nobody else. A password or token that was found once is masked
//! wherever it stands in texts of the event; what says who did what to what is no such text, or a label named
//! `token` could blank the evidence about its own container.
//!
//! Invariant: what only the gateway says (`event_id`, `vm.*`, times of receipt) is never looked into.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::hmac;
use wharfinger_formats::{Event, Extra, Field, Value};

use super::names::{MASK, STAND_IN_BYTES_MAX, is_value, rule_of, stand_in_len};
use super::quotes::Quotes;
use super::secrets::{self, Secret};
use super::{Counts, Rule, cards, commands, emails, environment, whole};

/// A shorter one is masked where its name stands, and not wherever its letters do.
const REPEATED_BYTES_MIN: usize = 6;
/// Secrets of an event that are looked for everywhere.
const REPEATED_MAX: usize = 16;
/// Secrets of which it is asked whether they stand elsewhere; one event may hold many thousands.
const ASKED_MAX: usize = 64;
/// Fields that people or programs write as they like. All others say what happened to whom: a secret of
/// elsewhere in the event is not looked for in them.
const FREE: &[Field] = &[
    Field::Msg,
    Field::Reason,
    Field::ExecCommand,
    Field::HttpUrl,
    Field::FileName,
    Field::FilePath,
    Field::ParseError,
];
/// Ids may be any digits: none of them is taken for the number of a card.
const IDS: &[Field] = &[Field::ContainerId, Field::ImageDigest, Field::HostId, Field::ProcessId, Field::RuleId];
/// The group of extras that are variables of an environment.
const ENVIRONMENT: &str = "env";

/// What stands in the place of a secret.
#[derive(Debug, Clone)]
pub(in crate::sinks) enum How {
    Mask,
    /// Its hash with this key.
    Hash(Arc<hmac::Key>),
}

/// See above.
#[derive(Debug)]
pub(in crate::sinks) struct Masker {
    /// By rule; none where the rule is off.
    how: [Option<How>; Rule::COUNT],
}

/// What is masked wherever it stands.
struct Known {
    text: Vec<u8>,
    rule: &'static str,
}

/// What is looked for in a text.
#[derive(Clone, Copy)]
struct Look<'k> {
    known: &'k [Known],
    cards: bool,
}

impl Masker {
    pub(in crate::sinks) fn new(rules: impl IntoIterator<Item = (Rule, How)>) -> Masker {
        let mut how = [const { None }; Rule::COUNT];
        rules.into_iter().for_each(|(rule, with)| how[rule as usize] = Some(with));
        Masker { how }
    }

    fn has(&self, rule: Rule) -> bool {
        self.how[rule as usize].is_some()
    }

    /// Whether nothing in the event looks like a secret: most have none, and cost this look alone.
    pub(super) fn is_clean(&self, event: &Event<'_>) -> bool {
        let raw = event.raw();
        if self.suspects(raw) {
            return false;
        }
        // A piece of the raw bytes has been looked at.
        let looked_at = raw.as_ptr_range();
        let is_clean = |text: &str| looked_at.contains(&text.as_ptr()) || !self.suspects(text.as_bytes());
        let value_is_clean = |value: Value<'_>| match value {
            Value::Str(text) | Value::Json(text) => is_clean(text),
            _ => true,
        };
        event.fields().all(|(field, value)| is_ours(field) || value_is_clean(value))
            && event
                .extras()
                .all(|extra| self.whole(&extra).is_none() && is_clean(extra.name) && value_is_clean(extra.value))
    }

    fn suspects(&self, text: &[u8]) -> bool {
        ((self.has(Rule::Passwords) || self.has(Rule::Tokens)) && secrets::is_suspect(text))
            || (self.has(Rule::Passwords) && commands::is_suspect(text))
            || (self.has(Rule::Env) && environment::is_suspect(text))
            || (self.has(Rule::Cards) && cards::find(text).next().is_some())
            || (self.has(Rule::Emails) && emails::find(text).next().is_some())
    }

    /// The event without its secrets, to `then`; none if it has none.
    pub(in crate::sinks) fn rewritten<R>(
        &self,
        event: &Event<'_>,
        then: impl FnOnce(Event<'_>, &Counts) -> R,
    ) -> Option<R> {
        let known = self.known(event);
        let mut counts = Counts::default();
        let raw = self.masked(event.raw(), Look { known: &known, cards: true }, &mut counts);
        let raw = raw.as_deref().unwrap_or(event.raw());
        let mut other = Event::new(raw);
        for (field, value) in event.fields() {
            if is_ours(field) {
                other.set(field, value);
                continue;
            }
            let known = if FREE.contains(&field) { &*known } else { &[] };
            let look = Look { known, cards: !IDS.contains(&field) };
            self.value(value, look, &mut counts, |value| other.set(field, value));
        }
        for extra in event.extras() {
            let name = self.masked(extra.name.as_bytes(), Look { known: &[], cards: true }, &mut counts);
            let name = name.as_deref().map_or(Cow::Borrowed(extra.name), String::from_utf8_lossy);
            match self.whole(&extra) {
                Some((rule, text)) => {
                    counts.add(rule);
                    other.extra(extra.group, name, &*self.stand_in(text.as_bytes(), rule));
                }
                None => {
                    let look = Look { known: &known, cards: true };
                    self.value(extra.value, look, &mut counts, |value| other.extra(extra.group, &name, value));
                }
            }
        }
        (counts.all() > 0).then(|| then(other, &counts))
    }

    /// Gives a value on, masked if it holds a secret.
    fn value(&self, value: Value<'_>, look: Look<'_>, counts: &mut Counts, set: impl FnOnce(Value<'_>)) {
        let (Value::Str(text) | Value::Json(text)) = value else { return set(value) };
        let Some(masked) = self.masked(text.as_bytes(), look, counts) else { return set(value) };
        let masked = String::from_utf8_lossy(&masked);
        match value {
            // What a mask has made of it may be no JSON.
            Value::Json(_) if serde_json::from_str::<serde::de::IgnoredAny>(&masked).is_ok() => {
                set(Value::Json(&masked))
            }
            _ => set(Value::Str(&masked)),
        }
    }

    /// The text with its secrets masked; none if it has none.
    fn masked(&self, text: &[u8], look: Look<'_>, counts: &mut Counts) -> Option<Vec<u8>> {
        let mut secrets = self.find(text, look.cards);
        for known in look.known {
            let repeats = memchr::memmem::find_iter(text, &known.text).map(|at| at..at + known.text.len());
            let repeats = repeats.filter(|range| !is_member_name(text, range));
            secrets.extend(repeats.map(|range| Secret { range, rule: known.rule, quotes: None }));
        }
        secrets.sort_by_key(|secret| (secret.range.start, usize::MAX - secret.range.end));
        let mut end = 0;
        secrets.retain_mut(|secret| {
            secret.range.start = secret.range.start.max(end);
            end = end.max(secret.range.end);
            !secret.range.is_empty()
        });
        if !secrets.is_empty() && whole::is_json(text) {
            secrets = whole::pieces(text, &secrets);
        }
        // What stands for a secret is left, and what is masked already.
        secrets.retain(|secret| !is_stand_in(text, &secret.range));
        let (mut masked, mut from) = (Vec::new(), 0);
        for Secret { range, rule, quotes } in secrets {
            masked.extend_from_slice(&text[from..range.start]);
            let quote = quotes.map(|slashes| "\\".repeat(slashes) + "\"").unwrap_or_default();
            masked.extend_from_slice(quote.as_bytes());
            masked.extend_from_slice(self.stand_in(&text[range.clone()], rule).as_bytes());
            masked.extend_from_slice(quote.as_bytes());
            from = range.end;
            counts.add(rule);
        }
        masked.extend_from_slice(&text[from..]);
        (from > 0).then_some(masked)
    }

    /// What any rule that is on finds; pieces may overlap.
    fn find(&self, text: &[u8], cards: bool) -> Vec<Secret> {
        let quotes = Quotes::of(text);
        let mut found = secrets::find_of(text, &quotes, |rule| self.has(Rule::of(rule)));
        if self.has(Rule::Passwords) {
            commands::find(text, &quotes, &mut found);
        }
        if self.has(Rule::Env) {
            environment::find(text, &mut found);
        }
        if cards && self.has(Rule::Cards) {
            found.extend(cards::find(text));
        }
        if self.has(Rule::Emails) {
            found.extend(emails::find(text));
        }
        found
    }

    pub(in crate::sinks) fn stand_in(&self, secret: &[u8], rule: &str) -> String {
        match &self.how[Rule::of(rule) as usize] {
            Some(How::Hash(key)) => {
                let hash = hmac::sign(key, secret);
                let short = hash.as_ref().get(..8).unwrap_or_default();
                format!("{MASK}{rule}/{}/{}]", secret.len(), hex(short))
            }
            _ => format!("{MASK}{rule}]"),
        }
    }

    /// Secrets of the event that are to be masked wherever they stand. What stands in a field that says who did
    /// what is none of them, and the name of a value neither: they may be guessed, and hide the evidence.
    fn known(&self, event: &Event<'_>) -> Vec<Known> {
        let mut known: Vec<Known> = Vec::new();
        let mut asked = 0;
        let mut keep = |text: &[u8], rule| {
            let is_new = known.len() < REPEATED_MAX && text.len() >= REPEATED_BYTES_MIN;
            let is_new =
                is_new && stand_in_len(text) != Some(text.len()) && known.iter().all(|known| known.text != text);
            let is_secret = matches!(Rule::of(rule), Rule::Passwords | Rule::Tokens);
            if !is_new || !is_secret || asked >= ASKED_MAX {
                return;
            }
            // Each costs a search in every field.
            asked += 1;
            if !is_evidence(event, text) {
                known.push(Known { text: text.to_vec(), rule });
            }
        };
        for extra in event.extras() {
            if let Some((rule, text)) = self.whole(&extra) {
                keep(text.as_bytes(), rule);
            }
        }
        let texts = event.fields().map(|(_, value)| value).chain(event.extras().map(|extra| extra.value));
        let texts = texts.filter_map(|value| match value {
            Value::Str(text) | Value::Json(text) => Some(text.as_bytes()),
            _ => None,
        });
        let names = event.extras().map(|extra| extra.name.as_bytes());
        for text in std::iter::once(event.raw()).chain(texts).chain(names) {
            self.find(text, false).into_iter().for_each(|secret| keep(&text[secret.range], secret.rule));
        }
        known
    }

    /// The value of an extra whose name says it is a secret, unless it says nothing; or one of nothing but the
    /// digits of a card.
    fn whole<'e>(&self, extra: &Extra<'e>) -> Option<(&'static str, Cow<'e, str>)> {
        let named = rule_of(extra.name.as_bytes()).filter(|rule| self.has(Rule::of(rule)));
        let is_variable = || extra.group == ENVIRONMENT && self.has(Rule::Env);
        let rule = named.or_else(|| is_variable().then_some(environment::RULE));
        let text = match extra.value {
            Value::Str("null") | Value::Json("null") => return None,
            Value::Str(text) | Value::Json(text) => Cow::Borrowed(text),
            Value::Int(number) => Cow::Owned(number.to_string()),
            _ => return None,
        };
        let is_number = matches!(extra.value, Value::Int(_)) && self.has(Rule::Cards);
        let Some(rule) = rule else {
            let is_card = is_number && cards::find(text.as_bytes()).any(|card| card.range == (0..text.len()));
            return is_card.then_some((cards::RULE, text));
        };
        let is_one = !text.is_empty() && stand_in_len(text.as_bytes()) != Some(text.len());
        let is_one = is_one && (rule == environment::RULE || is_value(extra.name.as_bytes(), text.as_bytes()));
        is_one.then_some((rule, text))
    }
}

/// What only the gateway says, or the configuration.
fn is_ours(field: Field) -> bool {
    field.is_reserved() || field == Field::Source
}

/// Whether a piece of a text is the name of a value: `"piece":`, `piece=`.
fn is_member_name(text: &[u8], piece: &Range<usize>) -> bool {
    let before = text[..piece.start].last();
    let behind = &text[piece.end..];
    let slashes = behind.iter().take_while(|byte| **byte == b'\\').count();
    match behind.get(slashes) {
        Some(quote) if b"\"'".contains(quote) && before == Some(quote) => {
            let mut behind = behind[slashes + 1..].iter().skip_while(|byte| byte.is_ascii_whitespace());
            behind.next().is_some_and(|byte| b":=".contains(byte))
        }
        Some(b'=') => !before.is_some_and(|byte| byte.is_ascii_alphanumeric()),
        _ => false,
    }
}

/// Whether that piece is inside of what stands for a secret.
fn is_stand_in(text: &[u8], range: &Range<usize>) -> bool {
    let from = range.start.saturating_sub(STAND_IN_BYTES_MAX);
    let before = &text[from..text.len().min(range.start + MASK.len())];
    let Some(at) = memchr::memmem::rfind(before, MASK.as_bytes()).map(|at| from + at) else { return false };
    stand_in_len(&text[at..]).is_some_and(|len| at <= range.start && range.end <= at + len)
}

/// Whether a text is part of a field that says who did what, or the name of an extra.
fn is_evidence(event: &Event<'_>, text: &[u8]) -> bool {
    let has = |value| match value {
        Value::Str(value) | Value::Json(value) => memchr::memmem::find(value.as_bytes(), text).is_some(),
        Value::Int(value) => value.to_string().as_bytes() == text,
        _ => false,
    };
    event.fields().any(|(field, value)| !FREE.contains(&field) && has(value))
        || event.extras().any(|extra| extra.name.as_bytes() == text)
}

pub(in crate::sinks) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
